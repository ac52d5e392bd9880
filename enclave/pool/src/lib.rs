//! Pending calls of a shard: bounded, in each sender's order of nonces, fair between senders.
//!
//! It takes only calls whose signature was verified ([`VerifiedCall`]) and knows nothing of state: the sender's next
//! nonce is an argument. It never touches I/O, clocks or keys.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use cloister_chain_primitives::{AccountId, H256, Nonce};
use cloister_stf::VerifiedCall;

/// Pending calls.
#[derive(Default)]
pub struct Pool {
    senders: BTreeMap<AccountId, Sender>,
    /// Senders whose next call is here, by their turn.
    ready: BTreeMap<u64, AccountId>,
    /// Senders by how many of their calls wait for an earlier one: who gives way when the pool is full.
    waiting: BTreeSet<(usize, AccountId)>,
    known: BTreeSet<H256>,
    turns: u64,
}

/// What admitting a call did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Where the call stands.
    pub admitted: Admitted,
    /// The operation that gave way to it in a full pool.
    pub displaced: Option<H256>,
}

/// Where an admitted call stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// It can go into the next block.
    Ready,
    /// It waits for calls with lower nonces.
    Future,
}

/// Why a call was not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The very same operation is pending.
    #[error("the same operation is already pending")]
    AlreadyPending,
    /// The nonce was used.
    #[error("nonce {nonce} is used, the next one is {next}")]
    NonceUsed {
        /// Of the call.
        nonce: Nonce,
        /// That the sender's next call must have.
        next: Nonce,
    },
    /// Another call of the sender with that nonce is pending.
    #[error("another call with nonce {0} is pending")]
    NonceTaken(Nonce),
    /// The nonce is further ahead than [`MAX_PER_SENDER`].
    #[error("nonce {nonce} is too far ahead of {next}")]
    NonceTooFar {
        /// Of the call.
        nonce: Nonce,
        /// That the sender's next call must have.
        next: Nonce,
    },
    /// [`MAX_CALLS`] are pending, and none of them gives way to this one.
    #[error("the pool is full")]
    Full,
}

struct Sender {
    /// Next nonce to hand out; calls below were handed out or executed.
    next: Nonce,
    /// Place in the queue of the call with that nonce, if it is here.
    turn: Option<u64>,
    calls: BTreeMap<Nonce, VerifiedCall>,
}

impl Sender {
    /// How many calls wait for an earlier one.
    fn waiting(&self) -> usize {
        self.calls.len().saturating_sub(usize::from(self.turn.is_some()))
    }
}

impl Pool {
    /// How many calls are pending.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a call can go into the next block.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hashes of the pending operations.
    pub fn pending(&self) -> Vec<H256> {
        self.known.iter().copied().collect()
    }

    /// Takes a call of a sender whose next nonce in the newest state is `next`.
    ///
    /// In a full pool, the last call of the sender of whom most calls wait gives way to a call whose turn it is, and to
    /// one of a sender of whom fewer wait. So nobody can fill the pool for others with calls that never come up.
    pub fn admit(&mut self, call: VerifiedCall, next: Nonce) -> Result<Admission, Refused> {
        let nonce = call.nonce();
        if self.known.contains(&call.hash()) {
            return Err(Refused::AlreadyPending);
        }
        if nonce < next {
            return Err(Refused::NonceUsed { nonce, next });
        }
        if nonce.saturating_sub(next) >= MAX_PER_SENDER {
            return Err(Refused::NonceTooFar { nonce, next });
        }
        let account = call.sender().clone();
        let (expected, waiting) = match self.senders.get(&account) {
            Some(sender) if sender.calls.contains_key(&nonce) => return Err(Refused::NonceTaken(nonce)),
            Some(sender) => (sender.next, sender.waiting()),
            None => (next, 0),
        };
        let is_next = nonce == expected;
        let displaced = match self.known.len() >= MAX_CALLS {
            true => Some(self.make_room(is_next, waiting).ok_or(Refused::Full)?),
            false => None,
        };

        self.known.insert(call.hash());
        let sender =
            self.senders.entry(account.clone()).or_insert_with(|| Sender { next, turn: None, calls: BTreeMap::new() });
        let before = sender.waiting();
        sender.calls.insert(nonce, call);
        if is_next {
            sender.turn = Some(self.turns);
            self.ready.insert(self.turns, account.clone());
            self.turns = self.turns.saturating_add(1);
        }
        self.count_waiting(account, before);
        Ok(Admission { admitted: if is_next { Admitted::Ready } else { Admitted::Future }, displaced })
    }

    /// Removes and returns up to `limit` calls. Senders take turns in the order of arrival, and a sender's calls stay in
    /// the order of nonces. What is returned must be executed or refused now.
    pub fn take_ready(&mut self, limit: usize) -> Vec<VerifiedCall> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some((_, account)) = self.ready.pop_first() else { break };
            let Some(sender) = self.senders.get_mut(&account) else { continue };
            let before = sender.waiting();
            sender.turn = None;
            let Some(call) = sender.calls.remove(&sender.next) else { continue };
            self.known.remove(&call.hash());
            taken.push(call);
            sender.next = sender.next.saturating_add(1);
            if sender.calls.contains_key(&sender.next) {
                // Behind all others: a thousand calls of one sender delay another's by one call, not by a block.
                sender.turn = Some(self.turns);
                self.ready.insert(self.turns, account.clone());
                self.turns = self.turns.saturating_add(1);
            } else if sender.calls.is_empty() {
                self.senders.remove(&account);
            }
            self.count_waiting(account, before);
        }
        taken
    }

    /// Removes all calls of a sender whose earlier call was refused: their nonces can never come up. Returns the
    /// operations.
    pub fn drop_sender(&mut self, account: &AccountId) -> Vec<H256> {
        let Some(sender) = self.senders.remove(account) else { return Vec::new() };
        self.waiting.remove(&(sender.waiting(), account.clone()));
        if let Some(turn) = sender.turn {
            self.ready.remove(&turn);
        }
        let operations: Vec<H256> = sender.calls.values().map(VerifiedCall::hash).collect();
        for operation in &operations {
            self.known.remove(operation);
        }
        operations
    }

    /// Drops a call in favour of a newcomer whose turn it is or of whose sender this many calls wait.
    fn make_room(&mut self, is_next: bool, waiting: usize) -> Option<H256> {
        let (most, account) = self.waiting.last()?.clone();
        if !is_next && waiting.saturating_add(1) >= most {
            return None;
        }
        let sender = self.senders.get_mut(&account)?;
        // The one whose turn it is, if it is here, has the lowest nonce.
        let (_, call) = sender.calls.pop_last()?;
        if sender.calls.is_empty() {
            self.senders.remove(&account);
        }
        self.known.remove(&call.hash());
        self.count_waiting(account, most);
        Some(call.hash())
    }

    fn count_waiting(&mut self, account: AccountId, before: usize) {
        let now = self.senders.get(&account).map_or(0, Sender::waiting);
        if now == before {
            return;
        }
        let entry = (before, account);
        self.waiting.remove(&entry);
        if now > 0 {
            self.waiting.insert((now, entry.1));
        }
    }
}

/// Most calls that may be pending. A call takes about half a kilobyte.
pub const MAX_CALLS: usize = 20_000;
/// How far ahead of the next nonce a call may be, and so how many of one sender may be pending.
pub const MAX_PER_SENDER: Nonce = 1_024;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use cloister_stf::{Rules, verify};
    use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned};
    use proptest::prelude::*;
    use sp_core::{Pair, ed25519};

    use super::*;

    fn pair(sender: u32) -> ed25519::Pair {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&sender.to_le_bytes());
        ed25519::Pair::from_seed(&seed)
    }

    fn account(sender: u32) -> AccountId {
        AccountId::new(pair(sender).public().0)
    }

    /// The pool never looks at the operation's hash but as a name, so tests choose it.
    fn call(sender: u32, nonce: Nonce) -> VerifiedCall {
        verify_as(operation(sender, nonce), sender, nonce)
    }

    fn verify_as(operation: H256, sender: u32, nonce: Nonce) -> VerifiedCall {
        let scope = SignatureScope { mrenclave: [0; 32], shard: Default::default() };
        let pair = pair(sender);
        let call = TrustedCall::Noop(AccountId::new(pair.public().0));
        let signature = pair.sign(&scope.call_bytes(&call, nonce)).into();
        verify(operation, TrustedCallSigned { call, nonce, signature }, &scope, &Rules::default()).unwrap()
    }

    fn operation(sender: u32, nonce: Nonce) -> H256 {
        H256::from_low_u64_be(u64::from(sender) << 32 | u64::from(nonce))
    }

    fn admit(pool: &mut Pool, sender: u32, nonce: Nonce) -> Result<Admitted, Refused> {
        pool.admit(call(sender, nonce), 0).map(|admission| admission.admitted)
    }

    /// A pool full of calls of 20 senders that wait for a first one.
    fn full_of_gaps() -> Pool {
        let mut pool = Pool::default();
        for sender in 0..20 {
            for nonce in 1..=1_000 {
                assert_eq!(admit(&mut pool, sender, nonce), Ok(Admitted::Future));
            }
        }
        assert_eq!(pool.len(), MAX_CALLS);
        pool
    }

    #[test]
    fn a_call_is_admitted_once_and_within_its_window() {
        let mut pool = Pool::default();
        assert_eq!(admit(&mut pool, 1, 0), Ok(Admitted::Ready));
        assert_eq!(admit(&mut pool, 1, 0), Err(Refused::AlreadyPending));
        let twin = verify_as(H256::repeat_byte(1), 1, 0);
        assert_eq!(pool.admit(twin, 0), Err(Refused::NonceTaken(0)));
        assert_eq!(admit(&mut pool, 1, MAX_PER_SENDER), Err(Refused::NonceTooFar { nonce: MAX_PER_SENDER, next: 0 }));
        assert_eq!(admit(&mut pool, 1, u32::MAX), Err(Refused::NonceTooFar { nonce: u32::MAX, next: 0 }));
        assert_eq!(admit(&mut pool, 1, MAX_PER_SENDER - 1), Ok(Admitted::Future));
        assert_eq!(pool.admit(call(2, 4), 5), Err(Refused::NonceUsed { nonce: 4, next: 5 }));
        assert_eq!((pool.len(), pool.senders.len()), (2, 1));
    }

    #[test]
    fn the_last_nonce_of_all_can_be_taken() {
        let mut pool = Pool::default();
        for nonce in [u32::MAX, u32::MAX - 1] {
            pool.admit(call(1, nonce), u32::MAX - 1).unwrap();
        }
        let nonces: Vec<_> = pool.take_ready(10).iter().map(VerifiedCall::nonce).collect();
        assert_eq!(nonces, [u32::MAX - 1, u32::MAX]);
        assert!(pool.is_empty() && pool.senders.is_empty() && pool.waiting.is_empty());
    }

    #[test]
    fn senders_take_turns() {
        let mut pool = Pool::default();
        // One who parks calls before anybody else came, and releases them at once.
        for nonce in (0..100).rev() {
            admit(&mut pool, 1, nonce).unwrap();
        }
        admit(&mut pool, 2, 0).unwrap();
        admit(&mut pool, 2, 1).unwrap();
        let order: Vec<_> = pool.take_ready(5).iter().map(VerifiedCall::hash).collect();
        assert_eq!(order, [operation(1, 0), operation(2, 0), operation(1, 1), operation(2, 1), operation(1, 2)]);
    }

    #[test]
    fn calls_that_never_come_up_do_not_keep_others_out() {
        let mut pool = full_of_gaps();
        for sender in 100..200 {
            let admission = pool.admit(call(sender, 0), 0).unwrap();
            assert_eq!(admission.admitted, Admitted::Ready);
            assert!(admission.displaced.is_some());
        }
        assert_eq!(pool.take_ready(1_000).len(), 100);
        assert_eq!(pool.len(), MAX_CALLS - 100);
    }

    #[test]
    fn in_a_full_pool_who_has_most_waiting_loses_its_last_call() {
        let mut pool = full_of_gaps();
        assert_eq!(admit(&mut pool, 0, 1_001), Err(Refused::Full), "no gain over equals");
        let displaced = pool.admit(call(100, 7), 0).unwrap().displaced.unwrap();
        assert_eq!(displaced.to_low_u64_be() as u32, 1_000, "the highest nonce");
        assert!(!pool.pending().contains(&displaced));
        // The first call of a sender may push out its own last one.
        let mut pool = Pool::default();
        for nonce in 1..MAX_PER_SENDER {
            admit(&mut pool, 1, nonce).unwrap();
        }
        for sender in 0..(MAX_CALLS - pool.len()) as u32 {
            admit(&mut pool, 100 + sender, 1).unwrap();
        }
        let admission = pool.admit(call(1, 0), 0).unwrap();
        assert_eq!(admission.displaced, Some(operation(1, MAX_PER_SENDER - 1)));
    }

    #[test]
    fn a_pool_full_of_ready_calls_is_full() {
        let mut pool = Pool::default();
        for sender in 0..MAX_CALLS as u32 {
            admit(&mut pool, sender, 0).unwrap();
        }
        assert_eq!(admit(&mut pool, u32::MAX, 0), Err(Refused::Full));
        pool.take_ready(1);
        assert_eq!(admit(&mut pool, u32::MAX, 0), Ok(Admitted::Ready));
    }

    #[test]
    fn nothing_is_left_of_a_dropped_sender() {
        let mut pool = Pool::default();
        for nonce in [0, 1, 3] {
            admit(&mut pool, 1, nonce).unwrap();
        }
        admit(&mut pool, 2, 0).unwrap();
        assert_eq!(pool.take_ready(1).len(), 1);
        assert_eq!(pool.drop_sender(&account(1)), [operation(1, 1), operation(1, 3)]);
        assert_eq!(pool.drop_sender(&account(1)), []);
        assert_eq!((pool.len(), pool.ready.len(), pool.waiting.len()), (1, 1, 0));
        assert_eq!(admit(&mut pool, 1, 3), Ok(Admitted::Future), "as if it had never been here");
    }

    proptest! {
        /// Whatever comes in whatever order: each sender's calls go out in the order of nonces without gaps, and the
        /// indices agree with the calls.
        #[test]
        fn order_holds_and_indices_agree(steps in proptest::collection::vec((0..4u32, 0..8u32, 0..12u8), 1..80)) {
            let mut pool = Pool::default();
            let mut next: HashMap<u32, Nonce> = HashMap::new();
            for (sender, nonce, step) in steps {
                match step {
                    0 => for taken in pool.take_ready(3) {
                        let sender = (0..4).find(|sender| account(*sender) == *taken.sender()).unwrap();
                        let expected = next.entry(sender).or_default();
                        prop_assert_eq!(taken.nonce(), *expected);
                        *expected += 1;
                    },
                    1 => {
                        pool.drop_sender(&account(sender));
                    },
                    // Refusals are part of the game.
                    _ => {
                        let _ = pool.admit(call(sender, nonce), next.get(&sender).copied().unwrap_or(0));
                    },
                }
                let calls: usize = pool.senders.values().map(|sender| sender.calls.len()).sum();
                prop_assert_eq!(calls, pool.len());
                prop_assert!(pool.senders.values().all(|sender| !sender.calls.is_empty()));
                let waiting: BTreeSet<_> = pool
                    .senders
                    .iter()
                    .map(|(account, sender)| (sender.waiting(), account.clone()))
                    .filter(|(count, _)| *count > 0)
                    .collect();
                prop_assert_eq!(&waiting, &pool.waiting);
                for (account, sender) in &pool.senders {
                    prop_assert_eq!(sender.turn.is_some(), sender.calls.contains_key(&sender.next));
                    prop_assert!(sender.turn.is_none_or(|turn| pool.ready.get(&turn) == Some(account)));
                }
                prop_assert_eq!(pool.ready.len(), pool.senders.values().filter(|sender| sender.turn.is_some()).count());
            }
        }
    }
}
