//! Calls that ended an enclave. Before anything is executed a sealed mark of it is stored; the next start finds the mark of
//! what was never finished, runs each of its items alone, and sets aside what ends an enclave alone.
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

/// How often an item ended an enclave while it was executed alone, for being suspected before; 0 for the first time.
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
        let Some(Mark { block, items, deaths, .. }) = self.last.take() else { return };
        self.deaths = deaths;
        if block <= height {
            // Executed and stored, so none of them is to blame.
            for item in &items {
                self.deaths.remove(item);
            }
            return;
        }
        let alone = items.len() == 1;
        for item in items {
            // The first time an enclave ends may be for any reason: many blocks have but one item.
            self.deaths.entry(item).and_modify(|deaths| *deaths = deaths.saturating_add(alone.into())).or_insert(0);
        }
        while self.deaths.len() > MAX_SUSPECTS {
            self.deaths.pop_first();
        }
    }

    /// The sealed mark of these items.
    pub fn seal(&self, scope: &Scope<'_>, block: u64, items: Vec<Item>) -> Result<Vec<u8>, SealError> {
        let mark = Mark { version: VERSION, block, items, deaths: self.deaths.clone() };
        scope.seal(Purpose::Mark, &mark.encode())
    }

    /// Whether the item must be executed alone.
    pub fn is_suspect(&self, item: &Item) -> bool {
        self.deaths.contains_key(item)
    }

    /// Whether the item is never executed again.
    pub fn is_set_aside(&self, item: &Item) -> bool {
        let most = match item {
            Item::Call(_) => 1,
            Item::Entry(_) => MAX_DEATHS_ALONE,
        };
        self.deaths.get(item).is_some_and(|deaths| *deaths >= most)
    }

    /// The item was executed, or set aside in a block, and the enclave goes on.
    pub fn acquit(&mut self, item: &Item) {
        self.deaths.remove(item);
    }
}

/// So many starts an entry of the inbox may end alone before it is set aside: with the one that brought it under
/// suspicion, three. A direct call can be sent again; for that one is enough.
const MAX_DEATHS_ALONE: u8 = 2;
/// Most items under suspicion: a few blocks of them.
const MAX_SUSPECTS: usize = 4_096;
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
        assert!(!next.is_suspect(&call(1)) && !next.is_suspect(&Item::Entry(2)));
    }

    #[test]
    fn a_direct_call_is_set_aside_when_it_ends_an_enclave_alone() {
        let next = restart(&Suspects::default(), &[call(1), call(2)], 4);
        assert!(next.is_suspect(&call(1)) && next.is_suspect(&call(2)));
        assert!(!next.is_set_aside(&call(1)) && !next.is_set_aside(&call(2)));
        let next = restart(&next, &[call(1)], 4);
        assert!(next.is_set_aside(&call(1)) && !next.is_set_aside(&call(2)) && next.is_suspect(&call(2)));
        let next = restart(&next, &[call(2)], 5);
        assert!(next.is_set_aside(&call(1)) && !next.is_suspect(&call(2)), "acquitted");
    }

    #[test]
    fn an_entry_of_the_inbox_may_end_three_starts() {
        let entry = Item::Entry(7);
        let mut suspects = restart(&Suspects::default(), &[entry], 4);
        for starts in 2..=3 {
            assert!(suspects.is_suspect(&entry) && !suspects.is_set_aside(&entry));
            suspects = restart(&suspects, &[entry], 4);
            assert_eq!(suspects.is_set_aside(&entry), starts == 3);
        }
        suspects.acquit(&entry);
        assert!(!suspects.is_suspect(&entry));
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
        assert!(suspects.is_suspect(&call(1)) && suspects.is_suspect(&Item::Entry(2)));
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

    const MARK: &str = "010900000000000000080000000000000000000000000000000000000000000000000000000000000000010102000000000000000400000000000000000000000000000000000000000000000000000000000000000100";
    const SEALED: &str = "f2eab05636ead3ddb3db070671301de560119b1c63728535b6c7d7d5a5d4a3afb2fa26ad4fa7f3e769f875448f9f7735c4357354c10b2a451526c97cf4f3062373318e7b96e1ad19f35a0ca2dfa00388673fbcc3d6d103f09a6b492721565e5f45e8fafe2429f138db5b99aea5c3a247909cf71a95154ab61e48f14ce172193f8b5f6d96071b7c";
}
