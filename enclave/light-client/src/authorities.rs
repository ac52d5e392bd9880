//! Who finalizes: the current authority set and the change that is under way.

use std::collections::BTreeMap;

use cloister_chain_primitives::{BlockNumber, Header};
use codec::DecodeAll;
use sp_consensus_grandpa::{AuthorityId, AuthorityWeight, ConsensusLog, GRANDPA_ENGINE_ID, ScheduledChange, SetId};
use sp_runtime::DigestItem;

use crate::{Error, MAX_AUTHORITIES};

/// The current set, and the next one while a change is pending.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    current: AuthoritySet,
    pending: Option<PendingChange>,
}

impl Authorities {
    pub(crate) fn new(current: AuthoritySet) -> Self {
        Self { current, pending: None }
    }

    pub(crate) fn current(&self) -> &AuthoritySet {
        &self.current
    }

    /// The last block that the current set finalizes, if that is known.
    pub(crate) fn last_block(&self) -> Option<BlockNumber> {
        self.pending.as_ref().map(|change| change.last_block)
    }

    /// The change that these headers, which follow the last finalized one, signal.
    ///
    /// `PastSetChange` if they go beyond the last block of the current set: its authorities do not vote for later
    /// blocks, and whoever keeps its old keys could otherwise finalize a chain of their own.
    pub(crate) fn signalled_by(&self, headers: &[Header]) -> Result<Option<PendingChange>, Error> {
        let mut signalled: Option<PendingChange> = None;
        for header in headers {
            let last = self.last_block().or(signalled.as_ref().map(|change| change.last_block));
            if let Some(last) = last.filter(|last| header.number > *last) {
                return Err(Error::PastSetChange { last });
            }
            for log in grandpa_logs(header) {
                match log? {
                    ConsensusLog::ScheduledChange(_) if self.pending.is_some() || signalled.is_some() => {
                        return Err(Error::SecondChange { number: header.number });
                    }
                    ConsensusLog::ScheduledChange(change) => {
                        signalled = Some(PendingChange::new(&self.current, header.number, change)?);
                    }
                    ConsensusLog::ForcedChange(..) => {
                        return Err(Error::ForcedChange { number: header.number });
                    }
                    ConsensusLog::Pause(_) => return Err(Error::Paused { number: header.number }),
                    // A disabled authority authors nothing but its votes count until the set changes; a resumption
                    // without a pause says nothing. Full nodes ignore both too.
                    ConsensusLog::OnDisabled(_) | ConsensusLog::Resume(_) => {}
                }
            }
        }
        Ok(signalled)
    }

    /// Takes over what [`Self::signalled_by`] found in the headers up to the now finalized `number`.
    pub(crate) fn finalized(&mut self, number: BlockNumber, signalled: Option<PendingChange>) {
        match self.pending.take().or(signalled) {
            Some(change) if change.last_block <= number => self.current = change.next,
            pending => self.pending = pending,
        }
    }
}

/// A scheduled change that was signalled in a block.
#[derive(Clone, Debug)]
pub(crate) struct PendingChange {
    /// The block that signalled, plus the delay: once it is finalized, the next set finalizes its descendants.
    last_block: BlockNumber,
    next: AuthoritySet,
}

impl PendingChange {
    fn new(
        current: &AuthoritySet,
        signalled_at: BlockNumber,
        change: ScheduledChange<BlockNumber>,
    ) -> Result<Self, Error> {
        let out_of_range = Error::ChangeOutOfRange { number: signalled_at };
        let last_block = signalled_at.checked_add(change.delay).ok_or(out_of_range.clone())?;
        let id = current.id.checked_add(1).ok_or(out_of_range)?;
        Ok(Self { last_block, next: AuthoritySet::new(id, change.next_authorities)? })
    }
}

/// Authorities with their weights. Not empty, no member twice or without weight, and the sum of weights fits.
#[derive(Clone, Debug)]
pub(crate) struct AuthoritySet {
    id: SetId,
    weights: BTreeMap<AuthorityId, AuthorityWeight>,
    total: AuthorityWeight,
}

impl AuthoritySet {
    pub(crate) fn new(id: SetId, authorities: Vec<(AuthorityId, AuthorityWeight)>) -> Result<Self, Error> {
        if authorities.is_empty() {
            return Err(Error::EmptyAuthoritySet);
        }
        if authorities.len() > MAX_AUTHORITIES {
            return Err(Error::TooManyAuthorities { count: authorities.len(), max: MAX_AUTHORITIES });
        }
        let mut weights = BTreeMap::new();
        let mut total: AuthorityWeight = 0;
        for (authority, weight) in authorities {
            if weight == 0 {
                return Err(Error::ZeroWeight { authority });
            }
            total = total.checked_add(weight).ok_or(Error::WeightOverflow)?;
            if weights.insert(authority.clone(), weight).is_some() {
                return Err(Error::DuplicateAuthority { authority });
            }
        }
        Ok(Self { id, weights, total })
    }

    /// GRANDPA's number of the set.
    pub(crate) fn id(&self) -> SetId {
        self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn weight(&self, authority: &AuthorityId) -> Option<AuthorityWeight> {
        self.weights.get(authority).copied()
    }

    /// The least weight that finalizes: everything but the largest minority below a third, which may be faulty.
    pub(crate) fn threshold(&self) -> AuthorityWeight {
        let faulty = self.total.saturating_sub(1) / 3;
        self.total.saturating_sub(faulty)
    }
}

fn grandpa_logs(header: &Header) -> impl Iterator<Item = Result<ConsensusLog<BlockNumber>, Error>> {
    header.digest.logs.iter().filter_map(|item| match item {
        DigestItem::Consensus(GRANDPA_ENGINE_ID, log) => Some(
            ConsensusLog::decode_all(&mut log.as_slice())
                .map_err(|_| Error::UndecodableConsensusDigest { number: header.number }),
        ),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use sp_core::ed25519;

    use super::*;

    fn authority(seed: u16) -> AuthorityId {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&seed.to_le_bytes());
        ed25519::Public::from_raw(key).into()
    }

    fn set(weights: &[u64]) -> Result<AuthoritySet, Error> {
        AuthoritySet::new(0, (0u16..).zip(weights).map(|(seed, weight)| (authority(seed), *weight)).collect())
    }

    #[test]
    fn threshold_is_more_than_two_thirds() {
        for (total, threshold) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (100, 67)] {
            assert_eq!(set(&[total]).unwrap().threshold(), threshold, "total {total}");
            let voters = finality_grandpa::voter_set::VoterSet::new([(authority(0), total)]).unwrap();
            assert_eq!(voters.threshold().get(), threshold, "total {total}");
        }
        assert_eq!(set(&[u64::MAX]).unwrap().threshold(), u64::MAX - (u64::MAX - 1) / 3);
    }

    #[test]
    fn sets_that_cannot_finalize_are_refused() {
        assert_eq!(set(&[]).unwrap_err(), Error::EmptyAuthoritySet);
        assert_eq!(set(&[1, 0]).unwrap_err(), Error::ZeroWeight { authority: authority(1) });
        assert_eq!(set(&[u64::MAX, 1]).unwrap_err(), Error::WeightOverflow);
        assert_eq!(
            AuthoritySet::new(0, vec![(authority(7), 1), (authority(8), 1), (authority(7), 1)]).unwrap_err(),
            Error::DuplicateAuthority { authority: authority(7) }
        );
        assert!(set(&vec![1; MAX_AUTHORITIES]).is_ok());
        assert_eq!(
            set(&vec![1; MAX_AUTHORITIES + 1]).unwrap_err(),
            Error::TooManyAuthorities { count: MAX_AUTHORITIES + 1, max: MAX_AUTHORITIES }
        );
    }
}
