//! Finality that is none: some of layer one's authorities vote for anything, and the host alters what the others signed.

use cloister_chain_primitives::{BlockNumber, H256, Header};
use cloister_light_client::{Error, MAX_HEADERS};
use cloister_synthetic_layer_one::{Chain, Justification, Voters, justification};
use codec::{Decode, Encode};
use rand::Rng;
use sp_runtime::DigestItem;

use crate::{Defect, life::Life};

/// Name, headers, justification, and whether an error is what it must end in.
type Lie = (&'static str, Vec<Header>, Vec<u8>, fn(&Error) -> bool);

impl Life {
    pub(crate) fn lie_about_finality(&mut self) -> Result<(), String> {
        let head = self.world.engine.figures().layer_one;
        let lie = match self.random.gen_range(0..3) {
            0 if head < self.finalized && self.finalized - head < MAX_HEADERS as u32 => self.altered_finality(head),
            1 if head > 0 => self.old_finality(head),
            _ => self.forged_finality(head),
        };
        let (what, headers, justification, expected) = lie;
        self.refused(what, |engine| engine.finality(headers, &justification), expected)
    }

    /// Blocks that layer one never made, on top of the newest that is final.
    fn forged_finality(&mut self, head: BlockNumber) -> Lie {
        let voters = self.world.voters.clone();
        let parent = self.world.chain.header(head);
        let genuine = voters.justify(parent).encode();
        let mut branch = Chain { headers: vec![parent.clone()] };
        for _ in 0..self.random.gen_range(1..4) {
            branch.push(|header| header.state_root = H256::repeat_byte(0xbd));
        }
        let strangers = Voters::new(1, 11..=14);
        let kind = self.random.gen_range(0..9);
        match kind {
            0 => drop(branch.push_change(&strangers, 0)),
            1 => drop(branch.push(|header| header.digest.push(DigestItem::Consensus(*b"FRNK", vec![9; 9])))),
            _ => {}
        }
        if kind == 0 && self.random.gen_bool(0.5) {
            branch.extend(1);
        }
        let headers = branch.headers.split_off(1);
        let target = &headers[headers.len() - 1];
        let most = if self.defect == Some(Defect::AuthoritiesLie) { 3 } else { 2 };
        let some = self.random.gen_range(1..=most);
        let liars = Voters { id: voters.id, keys: voters.keys[..some].to_vec() };
        let minority = liars.justify(target).encode();
        match kind {
            0 if self.random.gen_bool(0.5) => {
                let by_strangers = strangers.justify(target).encode();
                ("lie: finality by authorities that lie made", headers, by_strangers, |error| !error.stops_for_good())
            }
            0 => ("lie: new authorities by a minority", headers, minority, |error| !error.stops_for_good()),
            1 => ("lie: unreadable digest by a minority", headers, minority, |error| !error.stops_for_good()),
            2 if self.random.gen_ratio(1, 4) => {
                let many = vec![target.clone(); MAX_HEADERS + 1];
                ("lie: too many headers", many, minority, |error| matches!(error, Error::TooManyHeaders { .. }))
            }
            3 => {
                let votes = vec![liars.vote(0, target), liars.vote(0, target), liars.vote(0, target)];
                let justification = justification(target, votes, vec![]).encode();
                ("lie: finality by one vote three times", headers, justification, |error| {
                    matches!(error, Error::DuplicateVote { .. })
                })
            }
            4 => {
                let other_set = Voters { id: voters.id + 1, keys: voters.keys };
                let justification = other_set.justify(target).encode();
                ("lie: finality by votes of another set", headers, justification, |error| {
                    matches!(error, Error::ForgedSignature { .. } | Error::WrongSet { .. })
                })
            }
            5 => {
                let justification = strangers.justify(target).encode();
                ("lie: finality by strangers", headers, justification, |error| {
                    matches!(error, Error::UnknownVoter { .. })
                })
            }
            6 => ("lie: finality by votes for another block", headers, genuine, |error| {
                matches!(error, Error::JustificationOfAnotherHeader { .. })
            }),
            7 => {
                // Signatures for one block under votes for another.
                let mut forged = Justification::decode(&mut &genuine[..]).unwrap();
                (forged.commit.target_hash, forged.commit.target_number) = (target.hash(), target.number);
                for vote in &mut forged.commit.precommits {
                    (vote.precommit.target_hash, vote.precommit.target_number) = (target.hash(), target.number);
                }
                ("lie: finality by forged signatures", headers, forged.encode(), |error| {
                    matches!(error, Error::ForgedSignature { .. })
                })
            }
            _ => ("lie: finality by a minority", headers, minority, |error| matches!(error, Error::TooFewVotes { .. })),
        }
    }

    /// What is final, and passed on in another way than it is.
    fn altered_finality(&mut self, head: BlockNumber) -> Lie {
        let voters = self.world.voters.clone();
        let mut headers = self.world.chain.range(head + 1, self.finalized);
        let mut genuine = voters.justify(self.world.chain.header(self.finalized)).encode();
        let at = self.random.gen_range(0..headers.len());
        match self.random.gen_range(0..9) {
            0 => {
                genuine.truncate(self.random.gen_range(1..genuine.len()));
                ("lie: justification cut", headers, genuine, |error| matches!(error, Error::UndecodableJustification))
            }
            1 => {
                let byte = self.random.gen_range(0..genuine.len());
                genuine[byte] ^= 1 << self.random.gen_range(0..8);
                ("lie: justification altered", headers, genuine, |error| !error.stops_for_good())
            }
            2 => ("lie: no justification", headers, vec![], |error| matches!(error, Error::NoJustification)),
            3 => ("lie: no headers", vec![], genuine, |error| matches!(error, Error::NoHeaders)),
            4 => {
                let dropped = headers.remove(at);
                let empty = headers.is_empty();
                if empty {
                    headers.push(Header { number: dropped.number + 1, ..dropped });
                }
                ("lie: header left out", headers, genuine, |error| {
                    matches!(
                        error,
                        Error::WrongNumber { .. }
                            | Error::BrokenAncestry { .. }
                            | Error::JustificationOfAnotherHeader { .. }
                    )
                })
            }
            5 => {
                headers.insert(at, headers[at].clone());
                ("lie: header twice", headers, genuine, |error| {
                    matches!(error, Error::WrongNumber { .. } | Error::BrokenAncestry { .. })
                })
            }
            6 if headers.len() > 1 => {
                headers.reverse();
                ("lie: headers turned round", headers, genuine, |error| matches!(error, Error::WrongNumber { .. }))
            }
            7 => {
                headers[at].digest.logs.clear();
                headers[at].extrinsics_root = H256::repeat_byte(0xbd);
                ("lie: header altered", headers, genuine, is_other_block)
            }
            _ => {
                headers[at].state_root = H256::repeat_byte(0xbd);
                ("lie: state root altered", headers, genuine, is_other_block)
            }
        }
    }

    /// What was final long ago, again.
    fn old_finality(&mut self, head: BlockNumber) -> Lie {
        let target = self.random.gen_range(1..=head);
        let first = if self.random.gen_bool(0.5) { 1 } else { target };
        let genuine = self.world.voters.justify(self.world.chain.header(target)).encode();
        ("lie: old finality again", self.world.chain.range(first, target), genuine, |error| {
            matches!(error, Error::WrongNumber { .. } | Error::BrokenAncestry { .. } | Error::TooManyHeaders { .. })
        })
    }
}

fn is_other_block(error: &Error) -> bool {
    matches!(error, Error::BrokenAncestry { .. } | Error::JustificationOfAnotherHeader { .. })
}
