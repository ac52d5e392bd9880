//! Calls with a last block.

use cloister_stf::verify_bound;
use cloister_wire::{BoundCall, BoundCallSigned};

use super::*;

fn until(last_block: u64, sender: u32, nonce: Nonce) -> VerifiedCall {
    let scope = SignatureScope { mrenclave: [0; 32], shard: Default::default() };
    let pair = pair(sender);
    let bound = BoundCall { call: TrustedCall::Noop(account(sender)), nonce, last_block };
    let signature = pair.sign(&bound.signed_bytes(&H256::zero(), &scope)).into();
    let signed = BoundCallSigned { bound, signature };
    verify_bound(operation(sender, nonce), signed, &H256::zero(), &scope, &Rules::default()).unwrap()
}

fn is_clean(pool: &Pool) -> bool {
    pool.is_empty()
        && pool.senders.is_empty()
        && pool.ready.is_empty()
        && pool.waiting.is_empty()
        && pool.expiring.is_empty()
}

#[test]
fn a_call_leaves_after_its_last_block_and_later_ones_wait_for_another() {
    let mut pool = Pool::default();
    for call in [until(7, 1, 0), until(9, 1, 1), call(1, 2), until(8, 2, 0)] {
        pool.admit(call, 0).unwrap();
    }
    assert_eq!(pool.expire(7), [], "which is the last block of one");
    assert_eq!(pool.expire(8), [operation(1, 0)]);
    assert_eq!(pool.expire(8), [], "once");
    assert_eq!(take(&mut pool, 10, u64::MAX), [operation(2, 0)], "1 waits for 0");
    assert_eq!(admit(&mut pool, 1, 0), Ok(Admitted::Ready), "its nonce is free");
    assert_eq!(pool.expire(10), [operation(1, 1)]);
    assert_eq!(take(&mut pool, 10, u64::MAX), [operation(1, 0)]);
    assert_eq!(pool.len(), 1, "2 waits for 1");
    pool.drop_sender(&account(1));
    assert!(is_clean(&pool));
}

#[test]
fn all_that_expire_leave_at_once_and_whatever_else_happens_leaves_nothing_of_them() {
    let mut pool = Pool::default();
    for nonce in [3, 1, 0, 2] {
        pool.admit(until(u64::from(nonce), 1, nonce), 0).unwrap();
    }
    assert_eq!(pool.expire(u64::MAX), [0, 1, 2, 3].map(|nonce| operation(1, nonce)));
    assert!(is_clean(&pool));
    for leave in [
        (|pool| drop(take(pool, 10, u64::MAX))) as fn(&mut Pool),
        |pool| drop(pool.drop_sender(&account(1))),
        |pool| drop(pool.overtaken(&account(1), 9)),
    ] {
        for nonce in 0..3 {
            pool.admit(until(5, 1, nonce), 0).unwrap();
        }
        leave(&mut pool);
        assert!(is_clean(&pool));
        assert_eq!(pool.expire(6), []);
        pool.settled([]);
    }
}

#[test]
fn of_a_taken_call_that_expires_the_later_ones_come_back() {
    let mut pool = Pool::default();
    for nonce in 0..5 {
        pool.admit(until(5, 1, nonce), 0).unwrap();
    }
    pool.admit(call(2, 0), 0).unwrap();
    let mut taken = pool.take_ready(5, u64::MAX, |_| true);
    assert_eq!(taken.iter().map(VerifiedCall::hash).collect::<Vec<_>>()[..2], [operation(1, 0), operation(2, 0)]);
    // 0 is on its way into a block, 1 is not.
    taken.retain(|call| *call.sender() == account(1) && call.nonce() > 0);
    let gone = taken.remove(0);
    assert_eq!(pool.give_back(&gone, taken, 0), []);
    assert_eq!((pool.len(), pool.has_ready()), (3, false));
    assert_eq!(admit(&mut pool, 1, 0), Err(Refused::NonceUsed { nonce: 0, next: 1 }), "in flight");
    assert_eq!(admit(&mut pool, 1, 2), Err(Refused::AlreadyPending));
    assert_eq!(admit(&mut pool, 1, 1), Ok(Admitted::Ready));
    assert_eq!(take(&mut pool, 10, u64::MAX), [1, 2, 3, 4].map(|nonce| operation(1, nonce)));
    assert!(is_clean(&pool));

    // The first of all, with none after it.
    pool.settled([]);
    pool.admit(until(5, 3, 0), 0).unwrap();
    let gone = pool.take_ready(10, u64::MAX, |_| true).remove(0);
    assert_eq!(pool.give_back(&gone, Vec::new(), 0), []);
    assert!(is_clean(&pool));
    assert_eq!(admit(&mut pool, 3, 0), Ok(Admitted::Ready));
}

#[test]
fn what_comes_back_after_its_nonce_was_used_elsewhere_waits_for_nobody() {
    // The state's next nonce, what came too late by then, and what is ready.
    type Case<'a> = (Nonce, &'a [Nonce], &'a [Nonce]);
    let cases: [Case<'_>; 5] = [(0, &[], &[]), (1, &[], &[]), (2, &[], &[2, 3]), (3, &[2], &[3]), (5, &[2, 3], &[])];
    for (next, late, ready) in cases {
        let operations = |nonces: &[Nonce]| nonces.iter().map(|nonce| operation(1, *nonce)).collect::<Vec<_>>();
        let mut pool = Pool::default();
        for nonce in 0..4 {
            pool.admit(until(5, 1, nonce), 0).unwrap();
        }
        let mut taken = pool.take_ready(3, u64::MAX, |_| true);
        let later = vec![taken.remove(2)];
        let gone = taken.remove(1);
        assert_eq!(pool.give_back(&gone, later, next), operations(late), "next {next}");
        assert_sound(&pool).unwrap();
        assert_eq!(take(&mut pool, 10, u64::MAX), operations(ready), "next {next}");
    }
}

proptest! {
    /// Whatever comes, is taken, comes back and expires: no call is there that has expired, none is lost that has not, and
    /// the indices agree.
    #[test]
    fn what_expires_leaves_and_nothing_else(
        steps in proptest::collection::vec((0..3u32, 0..6u32, 0..12u64, 0..6u8), 1..80),
    ) {
        let mut pool = Pool::default();
        let mut lasts: HashMap<H256, u64> = HashMap::new();
        let mut block = 0;
        for (sender, nonce, ahead, step) in steps {
            match step {
                0 => {
                    block += 1;
                    for operation in pool.expire(block) {
                        let last = lasts.remove(&operation);
                        prop_assert!(last.is_some_and(|last| last < block), "{:?} at {}", last, block);
                    }
                }
                1 => {
                    let taken = pool.take_ready(3, u64::MAX, |_| true);
                    // The first of each sender does not make it.
                    for sender in 0..3 {
                        let own = |call: &&VerifiedCall| *call.sender() == account(sender);
                        let mut own = taken.iter().filter(own).cloned();
                        let Some(first) = own.next() else { continue };
                        lasts.remove(&first.hash());
                        prop_assert_eq!(pool.give_back(&first, own.collect(), 0), []);
                    }
                    pool.settled([]);
                }
                _ => {
                    let call = until(block + ahead, sender, nonce);
                    if pool.admit(call.clone(), 0).is_ok() {
                        lasts.insert(call.hash(), block + ahead);
                    }
                }
            }
            prop_assert_eq!(pool.len(), lasts.len());
            prop_assert_eq!(pool.expiring.len(), lasts.len());
            assert_sound(&pool)?;
        }
    }
}
