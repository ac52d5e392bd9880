//! GRANDPA justifications: the signed precommits by which an authority set finalizes a block.
//!
//! The rule is the paper's (Stewart and Kokoris-Kogia, "GRANDPA: a Byzantine Finality Gadget"): a block is final
//! when voters of more than two thirds of the weight precommitted, in one round, to it or to descendants of it.
//!
//! The votes are counted here and not with `finality_grandpa::validate_commit`: that function ignores foreign and
//! duplicate votes where we refuse them, never compares the block number in a vote with the header, and calculates
//! with it. What it accepts from honest nodes is accepted here; a test compares the two.

use std::collections::{BTreeMap, btree_map::Entry};

use cloister_chain_primitives::{H256, Header};
use codec::DecodeAll;
use finality_grandpa::{Message, SignedPrecommit};
use sp_consensus_grandpa::{
    AuthorityId, AuthorityPair, AuthoritySignature, AuthorityWeight, GrandpaJustification, RoundNumber,
    localized_payload_with_buffer,
};
use sp_core::Pair;

use crate::{Error, Head, MAX_JUSTIFICATION_BYTES, authorities::AuthoritySet};

type Vote = SignedPrecommit<H256, u32, AuthoritySignature, AuthorityId>;

/// Checks that `encoded` proves that `set` finalized `target`. Signatures come last because they cost most.
pub(crate) fn verify(encoded: &[u8], target: Head, set: &AuthoritySet) -> Result<(), Error> {
    if encoded.is_empty() {
        return Err(Error::NoJustification);
    }
    if encoded.len() > MAX_JUSTIFICATION_BYTES {
        return Err(Error::JustificationTooLarge { bytes: encoded.len(), max: MAX_JUSTIFICATION_BYTES });
    }
    let GrandpaJustification::<Header> { round, commit, votes_ancestries } =
        DecodeAll::decode_all(&mut &*encoded).map_err(|_| Error::UndecodableJustification)?;
    if commit.target_number != target.number || commit.target_hash != target.hash {
        return Err(Error::JustificationOfAnotherHeader { number: commit.target_number, hash: commit.target_hash });
    }

    let votes = commit.precommits;
    let weight = weigh(&votes, set)?;
    check_ancestry(&votes, &votes_ancestries, target)?;
    let threshold = set.threshold();
    if weight < threshold {
        return Err(Error::TooFewVotes { weight, threshold });
    }
    check_signatures(&votes, round, set)
}

/// The summed weight of the voters.
///
/// Honest justifications carry both votes of an authority that equivocated, so two different votes of one voter are
/// no error. Its weight counts once, and it counts only because *all* votes must support the target.
fn weigh(votes: &[Vote], set: &AuthoritySet) -> Result<AuthorityWeight, Error> {
    enum Cast {
        One(H256),
        Two,
    }

    let max = set.len().saturating_mul(2);
    if votes.len() > max {
        return Err(Error::TooManyVotes { count: votes.len(), max });
    }
    let mut cast = BTreeMap::new();
    let mut sum: AuthorityWeight = 0;
    for vote in votes {
        let voter = || vote.id.clone();
        let weight = set.weight(&vote.id).ok_or_else(|| Error::UnknownVoter { voter: voter() })?;
        match cast.entry(&vote.id) {
            Entry::Vacant(entry) => {
                entry.insert(Cast::One(vote.precommit.target_hash));
                sum = sum.checked_add(weight).ok_or(Error::WeightOverflow)?;
            }
            Entry::Occupied(mut entry) => match entry.get() {
                Cast::One(first) if *first == vote.precommit.target_hash => {
                    return Err(Error::DuplicateVote { voter: voter() });
                }
                Cast::One(_) => *entry.get_mut() = Cast::Two,
                Cast::Two => return Err(Error::ThirdVote { voter: voter() }),
            },
        }
    }
    Ok(sum)
}

/// Walks from each voted block to the target, and refuses headers that no walk came across.
fn check_ancestry(votes: &[Vote], ancestries: &[Header], target: Head) -> Result<(), Error> {
    struct Step<'a> {
        header: &'a Header,
        walked: bool,
    }

    let mut steps = BTreeMap::new();
    for header in ancestries {
        let hash = header.hash();
        if steps.insert(hash, Step { header, walked: false }).is_some() {
            return Err(Error::UnusedAncestry { hash });
        }
    }
    for Vote { precommit, .. } in votes {
        let (mut hash, mut number) = (precommit.target_hash, precommit.target_number);
        loop {
            if hash == target.hash {
                if number != target.number {
                    return Err(Error::WrongVoteNumber { hash, claimed: number });
                }
                break;
            }
            if number <= target.number {
                return Err(Error::VoteNotDescending { hash: precommit.target_hash });
            }
            let step = steps.get_mut(&hash).ok_or(Error::UnknownVoteAncestry { hash })?;
            if step.header.number != number {
                return Err(Error::WrongVoteNumber { hash, claimed: number });
            }
            if step.walked {
                break;
            }
            step.walked = true;
            hash = step.header.parent_hash;
            // Cannot saturate: `number` is above the target's.
            number = number.saturating_sub(1);
        }
    }
    match steps.iter().find(|(_, step)| !step.walked) {
        Some((hash, _)) => Err(Error::UnusedAncestry { hash: *hash }),
        None => Ok(()),
    }
}

fn check_signatures(votes: &[Vote], round: RoundNumber, set: &AuthoritySet) -> Result<(), Error> {
    let mut payload = Vec::new();
    for Vote { precommit, signature, id } in votes {
        let message = Message::Precommit(precommit.clone());
        let mut is_signed_for = |set_id| {
            localized_payload_with_buffer(round, set_id, &message, &mut payload);
            AuthorityPair::verify(signature, &payload, id)
        };
        if is_signed_for(set.id()) {
            continue;
        }
        // Only to name the reason: an honest host may be one set behind, a forger may not.
        let neighbours = [set.id().checked_sub(1), set.id().checked_add(1)];
        return Err(match neighbours.into_iter().flatten().find(|set_id| is_signed_for(*set_id)) {
            Some(found) => Error::WrongSet { current: set.id(), found },
            None => Error::ForgedSignature { voter: id.clone() },
        });
    }
    Ok(())
}
