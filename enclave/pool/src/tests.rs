mod expiry;
mod room;

use std::collections::HashMap;

use cloister_stf::{Execution, Payments, Program, Rules, verify};
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

/// A call that weighs this much.
fn heavy_call(sender: u32, nonce: Nonce, weight: u64) -> VerifiedCall {
    let scope = SignatureScope { mrenclave: [0; 32], shard: Default::default() };
    let pair = pair(sender);
    let call = TrustedCall::BalanceTransfer(AccountId::new(pair.public().0), account(0), weight.into());
    let signature = pair.sign(&scope.call_bytes(&call, nonce)).into();
    let rules = Rules { program: &AmountIsWeight, ..Rules::default() };
    verify(operation(sender, nonce), TrustedCallSigned { call, nonce, signature }, &scope, &rules).unwrap()
}

struct AmountIsWeight;

impl Program for AmountIsWeight {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::BalanceTransfer(_, _, amount) => u64::try_from(*amount).unwrap(),
            _ => 0,
        }
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        Payments.execute(call, execution)
    }
}

fn take(pool: &mut Pool, limit: usize, weight: u64) -> Vec<H256> {
    pool.take_ready(limit, weight, |_| true).iter().map(VerifiedCall::hash).collect()
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
    let nonces: Vec<_> = pool.take_ready(10, u64::MAX, |_| true).iter().map(VerifiedCall::nonce).collect();
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
    let order: Vec<_> = pool.take_ready(5, u64::MAX, |_| true).iter().map(VerifiedCall::hash).collect();
    assert_eq!(order, [operation(1, 0), operation(2, 0), operation(1, 1), operation(2, 1), operation(1, 2)]);
}

#[test]
fn calls_that_never_come_up_do_not_keep_others_out() {
    let mut pool = full_of_gaps();
    for sender in 100..200 {
        let admission = pool.admit(call(sender, 0), 0).unwrap();
        assert_eq!(admission.admitted, Admitted::Ready);
        assert_eq!(admission.displaced.len(), 1);
    }
    assert_eq!(pool.take_ready(1_000, u64::MAX, |_| true).len(), 100);
    assert_eq!(pool.len(), MAX_CALLS - 100);
}

#[test]
fn a_full_pool_names_no_more_operations_than_one_may_ask_for() {
    let mut pool = full_of_gaps();
    let told = pool.pending();
    assert_eq!(told.len(), MAX_TOLD);
    assert!(told.iter().all(|operation| pool.known.contains(operation)));
    pool = Pool::default();
    admit(&mut pool, 1, 0).unwrap();
    assert_eq!(pool.pending(), [operation(1, 0)]);
}

#[test]
fn in_a_full_pool_who_has_most_waiting_loses_its_last_call() {
    let mut pool = full_of_gaps();
    assert_eq!(admit(&mut pool, 0, 1_001), Err(Refused::Full), "no gain over equals");
    let [displaced] = pool.admit(call(100, 7), 0).unwrap().displaced[..] else { panic!("one is enough") };
    assert_eq!(displaced.to_low_u64_be() as u32, 1_000, "the highest nonce");
    assert!(!pool.known.contains(&displaced));
    // The first call of a sender may push out its own last one.
    let mut pool = Pool::default();
    for nonce in 1..MAX_PER_SENDER {
        admit(&mut pool, 1, nonce).unwrap();
    }
    for sender in 0..(MAX_CALLS - pool.len()) as u32 {
        admit(&mut pool, 100 + sender, 1).unwrap();
    }
    let admission = pool.admit(call(1, 0), 0).unwrap();
    assert_eq!(admission.displaced, [operation(1, MAX_PER_SENDER - 1)]);
}

#[test]
fn a_pool_full_of_ready_calls_is_full() {
    let mut pool = Pool::default();
    for sender in 0..MAX_CALLS as u32 {
        admit(&mut pool, sender, 0).unwrap();
    }
    assert_eq!(admit(&mut pool, u32::MAX, 0), Err(Refused::Full));
    pool.take_ready(1, u64::MAX, |_| true);
    assert_eq!(admit(&mut pool, u32::MAX, 0), Ok(Admitted::Ready));
}

#[test]
fn nothing_is_left_of_a_dropped_sender() {
    let mut pool = Pool::default();
    for nonce in [0, 1, 3] {
        admit(&mut pool, 1, nonce).unwrap();
    }
    admit(&mut pool, 2, 0).unwrap();
    assert_eq!(pool.take_ready(1, u64::MAX, |_| true).len(), 1);
    assert_eq!(pool.drop_sender(&account(1)), [operation(1, 1), operation(1, 3)]);
    assert_eq!(pool.drop_sender(&account(1)), []);
    assert_eq!((pool.len(), pool.ready.len(), pool.waiting.len()), (1, 1, 0));
    assert_eq!(admit(&mut pool, 1, 3), Ok(Admitted::Future), "as if it had never been here");
}

#[test]
fn of_ten_thousand_calls_of_one_account_its_window_is_admitted() {
    let mut pool = Pool::default();
    for nonce in 0..10_000 {
        let expected = match nonce {
            0 => Ok(Admitted::Ready),
            1..MAX_PER_SENDER => Ok(Admitted::Future),
            _ => Err(Refused::NonceTooFar { nonce, next: 0 }),
        };
        assert_eq!(admit(&mut pool, 1, nonce), expected);
    }
    assert_eq!(pool.len(), 1_024);
    assert_eq!(pool.take_ready(2_000, u64::MAX, |_| true).len(), 1_024);
    // Calls in flight move the window.
    assert_eq!(admit(&mut pool, 1, 2_047), Ok(Admitted::Future));
    assert_eq!(admit(&mut pool, 1, 2_048), Err(Refused::NonceTooFar { nonce: 2_048, next: 1_024 }));
}

#[test]
fn a_batch_keeps_within_its_weight_and_nobody_goes_past_a_heavy_call() {
    let mut pool = Pool::default();
    for (sender, weight) in [(1, 20), (2, 90), (3, 5)] {
        pool.admit(heavy_call(sender, 0, weight), 0).unwrap();
    }
    pool.admit(heavy_call(1, 1, 10), 0).unwrap();
    assert_eq!(take(&mut pool, 10, 100), [operation(1, 0)], "90 more is too much, and 5 waits behind it");
    pool.admit(heavy_call(4, 0, 1), 0).unwrap();
    assert_eq!(take(&mut pool, 10, 100), [operation(2, 0), operation(3, 0)]);
    assert_eq!(take(&mut pool, 1, 100), [operation(1, 1)]);
    assert_eq!(take(&mut pool, 10, 100), [operation(4, 0)]);
    assert!(pool.is_empty());
}

#[test]
fn the_first_call_is_taken_unless_there_is_no_room_at_all() {
    let mut pool = Pool::default();
    pool.admit(heavy_call(1, 0, 90), 0).unwrap();
    pool.admit(heavy_call(1, 1, 0), 0).unwrap();
    assert_eq!(take(&mut pool, 10, 0), []);
    assert_eq!(take(&mut pool, 0, 100), []);
    assert_eq!(take(&mut pool, 10, 1), [operation(1, 0)]);
    assert_eq!(take(&mut pool, 10, 1), [operation(1, 1)]);
}

#[test]
fn who_may_not_go_keeps_its_turn_and_others_go_past() {
    let mut pool = Pool::default();
    for (sender, nonce) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0)] {
        admit(&mut pool, sender, nonce).unwrap();
    }
    let held_back = [operation(1, 0), operation(2, 1)];
    let taken = pool.take_ready(10, u64::MAX, |call| !held_back.contains(&call.hash()));
    assert_eq!(taken.iter().map(VerifiedCall::hash).collect::<Vec<_>>(), [operation(2, 0), operation(3, 0)]);
    assert_sound(&pool).unwrap();
    let order = [operation(1, 0), operation(2, 1), operation(1, 1)];
    assert_eq!(take(&mut pool, 10, u64::MAX), order);
}

#[test]
fn a_nonce_in_flight_is_used() {
    let mut pool = Pool::default();
    for nonce in [0, 1] {
        admit(&mut pool, 1, nonce).unwrap();
    }
    assert_eq!(take(&mut pool, 10, u64::MAX), [operation(1, 0), operation(1, 1)]);
    // The state still says 0.
    for nonce in [0, 1] {
        assert_eq!(admit(&mut pool, 1, nonce), Err(Refused::NonceUsed { nonce, next: 2 }));
    }
    assert_eq!(admit(&mut pool, 1, 2), Ok(Admitted::Ready));
    pool.settled([]);
    assert_eq!(pool.admit(call(1, 1), 2), Err(Refused::NonceUsed { nonce: 1, next: 2 }), "the state says 2");
    // The batch was dropped with all that came after it: the state says 0 for ever.
    assert_eq!(pool.drop_sender(&account(1)), [operation(1, 2)]);
    assert_eq!(admit(&mut pool, 1, 0), Ok(Admitted::Ready));
}

#[test]
fn the_last_nonce_of_all_is_taken_once() {
    let mut pool = Pool::default();
    let last = u32::MAX;
    pool.admit(call(1, last), last).unwrap();
    assert_eq!(take(&mut pool, 1, u64::MAX), [operation(1, last)]);
    assert_eq!(pool.admit(call(1, last), last), Err(Refused::NonceUsed { nonce: last, next: last }));
}

#[test]
fn calls_that_an_indirect_one_overtook_go_and_later_ones_come_up() {
    let mut pool = Pool::default();
    for nonce in [0, 1, 2, 4] {
        admit(&mut pool, 1, nonce).unwrap();
    }
    admit(&mut pool, 2, 0).unwrap();
    assert_eq!(pool.overtaken(&account(1), 0), []);
    assert_eq!(pool.overtaken(&account(3), 7), [], "of whom nothing is pending");
    assert_eq!(pool.overtaken(&account(1), 1), [operation(1, 0)]);
    assert_eq!(pool.overtaken(&account(1), 1), [], "once");
    let first = pool.take_ready(1, u64::MAX, |_| true);
    assert_eq!(first[0].hash(), operation(1, 1), "it kept the sender's turn");
    assert_eq!(pool.overtaken(&account(1), 3), [operation(1, 2)]);
    assert_eq!(take(&mut pool, 10, u64::MAX), [operation(2, 0)], "4 waits for 3");
    assert_eq!(pool.overtaken(&account(1), 4), []);
    assert_eq!(take(&mut pool, 10, u64::MAX), [operation(1, 4)]);
    assert!(pool.is_empty() && pool.senders.is_empty() && pool.ready.is_empty() && pool.waiting.is_empty());
    // All of them at once.
    pool.settled([]);
    for nonce in [5, 6, 9] {
        pool.admit(call(1, nonce), 5).unwrap();
    }
    assert_eq!(pool.overtaken(&account(1), 100), [operation(1, 5), operation(1, 6), operation(1, 9)]);
    assert!(pool.is_empty() && pool.senders.is_empty() && pool.ready.is_empty() && pool.waiting.is_empty());
}

/// What the engine does with a pool of four senders, and the state that it sees.
#[derive(Default)]
struct Engine {
    pool: Pool,
    /// The next nonces of the newest state.
    state: HashMap<u32, Nonce>,
    /// The next nonces if all that was taken is executed.
    taken: HashMap<u32, Nonce>,
}

impl Engine {
    fn taken(&self, sender: u32) -> Nonce {
        self.taken.get(&sender).copied().unwrap_or(0)
    }

    fn step(&mut self, sender: u32, nonce: Nonce, step: u8) -> Result<(), TestCaseError> {
        match step {
            0 | 1 => {
                for call in self.pool.take_ready(3, u64::MAX, |_| true) {
                    let sender = (0..4).find(|sender| account(*sender) == *call.sender()).unwrap();
                    prop_assert_eq!(call.nonce(), self.taken(sender), "each once, in order, without gaps");
                    self.taken.insert(sender, call.nonce() + 1);
                }
            }
            // The block of what was taken is applied.
            2 => {
                self.state = self.taken.clone();
                self.pool.settled([]);
            }
            // It is dropped.
            3 => {
                for sender in 0..4 {
                    if self.taken.get(&sender) != self.state.get(&sender) {
                        self.pool.drop_sender(&account(sender));
                    }
                }
                self.taken = self.state.clone();
                self.pool.settled([]);
            }
            // It is applied, and an indirect call with this nonce was in it.
            4 if nonce >= self.taken(sender) => {
                self.taken.insert(sender, nonce + 1);
                self.state = self.taken.clone();
                self.pool.settled([]);
                let late = self.pool.overtaken(&account(sender), nonce + 1);
                prop_assert!(late.iter().all(|late| *late <= operation(sender, nonce)));
            }
            4 | 5 => {
                self.pool.drop_sender(&account(sender));
            }
            _ => {
                let (state, next) = (self.state.get(&sender).copied().unwrap_or(0), self.taken(sender));
                let admitted = self.pool.admit(call(sender, nonce), state);
                if nonce < next {
                    prop_assert_eq!(admitted, Err(Refused::NonceUsed { nonce, next }));
                } else if let Ok(admission) = admitted {
                    prop_assert_eq!(admission.admitted == Admitted::Ready, nonce == next);
                }
            }
        }
        Ok(())
    }

    fn assert_sound(&self) -> Result<(), TestCaseError> {
        assert_sound(&self.pool)
    }
}

fn assert_sound(pool: &Pool) -> Result<(), TestCaseError> {
    let calls: usize = pool.senders.values().map(|sender| sender.calls.len()).sum();
    prop_assert_eq!(calls, pool.len());
    let bytes: usize = pool.senders.values().flat_map(|sender| sender.calls.values()).map(bytes_of).sum();
    prop_assert_eq!(pool.bytes, bytes);
    prop_assert_eq!(pool.senders.values().map(Sender::bytes).sum::<usize>(), bytes);
    prop_assert_eq!(pool.waiting_bytes, pool.waiting.iter().map(|(waiting, _)| waiting).sum::<usize>());
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
        prop_assert!(sender.calls.keys().all(|nonce| *nonce >= sender.next));
    }
    prop_assert_eq!(pool.ready.len(), pool.senders.values().filter(|sender| sender.turn.is_some()).count());
    Ok(())
}

proptest! {
    /// Whatever comes in whatever order: each sender's calls go out in the order of nonces, once and without gaps, and
    /// the indices agree with the calls.
    #[test]
    fn order_holds_and_indices_agree(steps in proptest::collection::vec((0..4u32, 0..12u32, 0..20u8), 1..120)) {
        let mut engine = Engine::default();
        for (sender, nonce, step) in steps {
            engine.step(sender, nonce, step)?;
            engine.assert_sound()?;
        }
    }
}
