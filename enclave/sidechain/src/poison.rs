//! Calls that ended an enclave. Before anything is executed a sealed mark of it is stored. The next start finds the mark of
//! what was never finished and runs its items in smaller groups, the start after that alone, and what ends that one, too,
//! is set aside.
//!
//! A host can end an enclave whenever it likes, and so bring any call under suspicion: it could as well not deliver it.

use std::collections::BTreeMap;

use cloister_chain_primitives::H256;
use cloister_state::{Purpose, Scope, SealError};
use codec::{Decode, DecodeAll, Encode};

use crate::recovery::RecoveryError;

/// Something that is executed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]
pub(crate) enum Item {
    /// A direct call, by its operation's hash.
    #[codec(index = 0)]
    Call(H256),
    /// An entry of the inbox.
    #[codec(index = 1)]
    Entry(u64),
}

/// How many enclaves ended while they executed an item.
type Deaths = BTreeMap<Item, u8>;

/// What is executed next.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Mark {
    version: u8,
    /// The block that it is to be in.
    block: u64,
    items: Vec<Item>,
    deaths: Deaths,
}

/// What is known of items that may end an enclave.
#[derive(Default)]
pub(crate) struct Suspects {
    deaths: Deaths,
    /// Height at which they came under suspicion.
    judged_at: u64,
    /// Of the start before, until its last block is known.
    last: Option<Mark>,
}

impl Suspects {
    /// Takes in the mark that an earlier start left.
    pub fn open(&mut self, scope: &Scope<'_>, sealed: &[u8]) -> Result<(), RecoveryError> {
        let plain = scope.open(Purpose::Mark, sealed).map_err(RecoveryError::Mark)?;
        let mark = match plain.first() {
            Some(&VERSION) => {
                Mark::decode_all(&mut plain.as_slice()).map_err(|_| RecoveryError::Mark(SealError::Encoding))?
            }
            Some(&version) => return Err(RecoveryError::MarkVersion(version)),
            None => return Err(RecoveryError::Mark(SealError::Encoding)),
        };
        self.last = Some(mark);
        Ok(())
    }

    /// The newest block that was kept has this height: whether the marked one is among them is known now.
    pub fn judge(&mut self, height: u64) {
        self.judged_at = height;
        let Some(Mark { block, items, deaths, .. }) = self.last.take() else { return };
        self.deaths = deaths;
        if block <= height {
            // Executed and stored, so none of them is to blame.
            for item in &items {
                self.deaths.remove(item);
            }
            return;
        }
        for item in items {
            self.deaths.entry(item).and_modify(|deaths| *deaths = deaths.saturating_add(1)).or_insert(1);
        }
        while self.deaths.len() > MAX_SUSPECTS {
            let Some(least) = self.deaths.iter().min_by_key(|(_, deaths)| **deaths).map(|(item, _)| *item) else {
                break;
            };
            self.deaths.remove(&least);
        }
    }

    /// The shard has come this far since [`Self::judge`]. Direct calls that nobody has sent again by now are forgotten, if
    /// they were suspected only once.
    pub fn expire(&mut self, height: u64) {
        if height > self.judged_at.saturating_add(FORGOTTEN_AFTER_BLOCKS) {
            self.judged_at = u64::MAX;
            self.deaths.retain(|item, deaths| *deaths > 1 || matches!(item, Item::Entry(_)));
        }
    }

    /// The sealed mark of these items.
    pub fn seal(&self, scope: &Scope<'_>, block: u64, items: Vec<Item>) -> Result<Vec<u8>, SealError> {
        let mark = Mark { version: VERSION, block, items, deaths: self.deaths.clone() };
        scope.seal(Purpose::Mark, &mark.encode())
    }

    /// With what the item may be executed.
    pub fn company(&self, item: &Item) -> Company {
        match self.deaths.get(item) {
            None => Company::Any,
            Some(1) => Company::Suspects,
            Some(_) => Company::None,
        }
    }

    /// Whether the item is never executed again.
    pub fn is_set_aside(&self, item: &Item) -> bool {
        self.deaths.get(item).is_some_and(|deaths| *deaths >= MAX_DEATHS)
    }

    /// The item was executed, or set aside in a block, and the enclave goes on.
    pub fn acquit(&mut self, item: &Item) {
        self.deaths.remove(item);
    }
}

/// With what an item may be executed in one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Company {
    /// With all that nothing is held against.
    Any,
    /// With a few that are suspected like it.
    Suspects,
    /// With nothing.
    None,
}

impl Company {
    /// Most items in a block of this company.
    pub fn limit(self) -> usize {
        match self {
            Self::Any => usize::MAX,
            // About the root of what a block holds: a few dozen blocks for a thousand innocent calls.
            Self::Suspects => 32,
            Self::None => 1,
        }
    }
}

/// So many enclaves an item may end before it is set aside: the third of them executed nothing else.
const MAX_DEATHS: u8 = 3;
/// Most items under suspicion: some blocks of them. A mark has 34 bytes for each.
const MAX_SUSPECTS: usize = 4_096;
const FORGOTTEN_AFTER_BLOCKS: u64 = 1_000;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::ShardId;
    use cloister_state::StateSecret;

    use super::*;

    const GENESIS: H256 = H256::repeat_byte(1);
    const SHARD: ShardId = ShardId(H256::repeat_byte(2));

    fn call(number: u64) -> Item {
        Item::Call(H256::from_low_u64_be(number))
    }

    /// A start that executes `items` for block 5 and ends; the next one finds blocks up to `height`.
    fn restart(before: &Suspects, items: &[Item], height: u64) -> Suspects {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        let sealed = before.seal(&scope, 5, items.to_vec()).unwrap();
        let mut next = Suspects::default();
        next.open(&scope, &sealed).unwrap();
        next.judge(height);
        next
    }

    #[test]
    fn what_was_stored_is_not_suspected() {
        let next = restart(&Suspects::default(), &[call(1), Item::Entry(2)], 5);
        assert_eq!((next.company(&call(1)), next.company(&Item::Entry(2))), (Company::Any, Company::Any));
    }

    #[test]
    fn what_ends_three_enclaves_is_set_aside_and_its_company_is_not() {
        for bad in [call(1), Item::Entry(1)] {
            let next = restart(&Suspects::default(), &[bad, call(2), call(3)], 4);
            assert_eq!([bad, call(2), call(3)].map(|item| next.company(&item)), [Company::Suspects; 3]);
            let next = restart(&next, &[bad, call(2)], 4);
            assert_eq!([bad, call(2)].map(|item| next.company(&item)), [Company::None; 2]);
            assert_eq!((next.company(&call(3)), next.is_set_aside(&bad)), (Company::Suspects, false));
            let next = restart(&next, &[bad], 4);
            assert!(next.is_set_aside(&bad) && !next.is_set_aside(&call(2)));
            let mut next = restart(&next, &[call(2)], 5);
            assert_eq!((next.company(&call(2)), next.is_set_aside(&bad)), (Company::Any, true), "acquitted");
            next.acquit(&bad);
            assert!(!next.is_set_aside(&bad));
        }
    }

    #[test]
    fn direct_calls_that_nobody_sends_again_are_forgotten() {
        let mut suspects = restart(&Suspects::default(), &[call(1), Item::Entry(2)], 4);
        suspects.expire(4 + FORGOTTEN_AFTER_BLOCKS);
        assert_eq!(suspects.company(&call(1)), Company::Suspects);
        suspects.expire(5 + FORGOTTEN_AFTER_BLOCKS);
        assert_eq!((suspects.company(&call(1)), suspects.company(&Item::Entry(2))), (Company::Any, Company::Suspects));
    }

    #[test]
    fn of_too_many_suspects_the_least_suspected_go() {
        let many: Vec<_> = (0..MAX_SUSPECTS as u64).map(call).collect();
        let mut suspects = restart(&Suspects::default(), &many[..1], 4);
        suspects = restart(&suspects, &many, 4);
        suspects = restart(&suspects, &[Item::Entry(7)], 4);
        assert_eq!(suspects.deaths.len(), MAX_SUSPECTS);
        assert_eq!(suspects.company(&call(0)), Company::None, "it was suspected twice");
    }

    /// Later versions must read what this one wrote.
    #[test]
    fn the_first_format_of_a_mark_is_frozen() {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        let mut suspects = restart(&Suspects::default(), &[call(1)], 4);
        suspects.open(&scope, &hex::decode(SEALED).unwrap()).unwrap();
        assert_eq!(suspects.last.as_ref().map(|mark| hex::encode(mark.encode())), Some(MARK.into()));
        suspects.judge(8);
        assert_eq!((suspects.company(&call(1)), suspects.company(&Item::Entry(2))), (Company::None, Company::Suspects));
    }

    #[test]
    fn a_mark_of_an_unknown_version_and_one_that_is_altered_are_refused() {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        let mut suspects = Suspects::default();
        let sealed = scope.seal(Purpose::Mark, &[2]).unwrap();
        assert_eq!(suspects.open(&scope, &sealed), Err(RecoveryError::MarkVersion(2)));
        let mut sealed = suspects.seal(&scope, 1, vec![call(1)]).unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(suspects.open(&scope, &sealed), Err(RecoveryError::Mark(SealError::NotAuthentic)));
    }

    const MARK: &str = "010900000000000000080000000000000000000000000000000000000000000000000000000000000000010102000000000000000400000000000000000000000000000000000000000000000000000000000000000101";
    const SEALED: &str = "bbf098c906eee4de7d2bd059dd966e57ed79759dc30c2800a8224ea4e25470478b3801a72501996a9b7f76646bef93547f8dec334b2e3e1fd9e2f97b3302ffb9ade62e54cf9de57d9eb9939fbff3d75a68a25daabbd29df4bbed8242807814b9fa8011043b6096017017651cdf294143b397b51b028f0090fc9349181e22538cfea6a8b113ad8f";
}
