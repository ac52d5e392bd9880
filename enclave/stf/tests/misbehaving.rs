//! Calls that loop, allocate or panic: the call fails with a reason, and the block goes on as if it had done nothing.

mod shard;

use std::{cell::Cell, panic, thread};

use cloister_chain_primitives::UNIT;
use cloister_stf::{
    CallOutcome, Execution, InvokeOutcome, MAX_BYTES, MAX_READS, MAX_WRITES, Payments, Program, Rules, free_balance,
    runtime::Balances,
};
use cloister_wire::TrustedCall;
use frame_support::{
    storage::{unhashed, with_transaction},
    traits::Currency,
};
use shard::{Shard, indirect, sign, transfer, verified_by};
use sp_io::KillStorageResult;
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use sp_runtime::{DispatchError, TransactionOutcome};

const READS: &str = "exceeded its share: more than 10000 storage reads";
const WRITES: &str = "exceeded its share: more than 2000 storage writes";
const BYTES: &str = "exceeded its share: more than 1048576 bytes of storage";
const UNSUPPORTED: &str = "used storage of a kind that shards do not have";
const KIB: usize = 1 << 10;

type Deed = fn() -> Result<(), String>;

/// Pays, but for the call that does nothing, which does this.
struct Does(Deed);

impl Program for Does {
    fn weight(&self, call: &TrustedCall) -> u64 {
        Payments.weight(call)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        match call {
            TrustedCall::Noop(_) => (self.0)(),
            call => Payments.execute(call, execution),
        }
    }
}

fn done() -> CallOutcome {
    CallOutcome::Done
}

fn failed(reason: &str) -> CallOutcome {
    CallOutcome::Failed(reason.into())
}

/// What becomes of the deed as a direct and as an indirect call, each between two payments in one block: both outcomes
/// are the same. If it fails, the block is the same as with one that fails for want of money, or was never tried.
fn outcome_in(new: fn() -> Shard, deed: Deed) -> CallOutcome {
    let mut shard = new();
    shard.program = Box::leak(Box::new(Does(deed)));
    let noop = sign(Alice, 1, TrustedCall::Noop(Alice.to_account_id()));
    let direct = verified_by(&Rules::default(), noop.clone()).unwrap();
    let through_inbox = indirect(&Rules::default(), noop).unwrap();
    let bob = Bob.to_account_id();
    let (before, after) = (transfer(Alice, 0, &bob, UNIT), transfer(Alice, 2, &bob, UNIT));

    let (outcomes, diff) = shard.try_block(|block| [&before, &direct, &after].map(|call| block.call(call).unwrap()));
    let outcome = outcomes[1].clone();
    assert_eq!(outcomes, [done(), outcome.clone(), done()]);
    let (invoked, indirect_diff) = shard.block(|block| {
        assert_eq!(block.call(&before), Ok(done()));
        let invoked = block.invoke(1, Some(&through_inbox)).unwrap();
        assert_eq!(block.call(&after), Ok(done()));
        invoked
    });
    assert_eq!(invoked, InvokeOutcome::Executed(outcome.clone()));
    assert_eq!(free_balance(&shard.state, &bob), 2 * UNIT);
    if let CallOutcome::Failed(reason) = &outcome {
        let calm = new();
        let overdraft = transfer(Alice, 1, &bob, 1 << 100);
        let expected = calm.try_block(|block| {
            block.call(&before).unwrap();
            assert!(matches!(block.call(&overdraft), Ok(CallOutcome::Failed(_))));
            block.call(&after).unwrap();
        });
        assert_eq!(diff, expected.1);
        let expected = calm.try_block(|block| {
            block.call(&before).unwrap();
            block.fail_invoke(1, &through_inbox, reason).unwrap();
            block.call(&after).unwrap();
        });
        assert_eq!(indirect_diff, expected.1);
        shard.assert_sound();
    }
    outcome
}

fn outcome(deed: Deed) -> CallOutcome {
    outcome_in(Shard::with_alice, deed)
}

fn key(number: u32) -> [u8; 8] {
    [*b"deed", number.to_be_bytes()].concat().try_into().unwrap()
}

#[test]
fn a_call_that_reads_for_ever_is_stopped() {
    assert_eq!(
        outcome(|| loop {
            unhashed::get_raw(b"nothing");
        }),
        failed(READS)
    );
    assert_eq!(
        outcome(|| loop {
            unhashed::exists(b"nothing");
        }),
        failed(READS)
    );
    assert_eq!(
        outcome(|| loop {
            sp_io::storage::next_key(b"");
        }),
        failed(READS)
    );
}

#[test]
fn a_call_that_writes_for_ever_is_stopped() {
    let same_key: Deed = || loop {
        unhashed::put(b"key", &1u8);
    };
    assert_eq!(outcome(same_key), failed(WRITES));
    let new_keys: Deed = || {
        for number in 0.. {
            unhashed::put(&key(number), &number);
        }
        Ok(())
    };
    assert_eq!(outcome(new_keys), failed(WRITES));
    assert_eq!(
        outcome(|| loop {
            unhashed::kill(b"nothing");
        }),
        failed(WRITES)
    );
    assert_eq!(
        outcome(|| loop {
            sp_io::storage::append(b"list", vec![1]);
        }),
        failed(WRITES)
    );
    assert_eq!(
        outcome(|| loop {
            sp_io::storage::start_transaction();
        }),
        failed(WRITES)
    );
    assert_eq!(
        outcome(|| loop {
            let _ = sp_io::storage::clear_prefix(b"none", None);
        }),
        failed(WRITES)
    );
    assert_eq!(
        outcome(|| loop {
            sp_io::offchain_index::set(b"key", b"value");
        }),
        failed(WRITES)
    );
}

#[test]
fn a_call_that_allocates_for_ever_is_stopped() {
    let new_values: Deed = || {
        for number in 0.. {
            unhashed::put_raw(&key(number), &[1; 64 * KIB]);
        }
        Ok(())
    };
    assert_eq!(outcome(new_values), failed(BYTES));
    assert_eq!(
        outcome(|| loop {
            sp_io::storage::append(b"list", vec![1; 64 * KIB]);
        }),
        failed(BYTES)
    );
    assert_eq!(
        outcome(|| loop {
            unhashed::get_raw(&[1; 64 * KIB]);
        }),
        failed(BYTES)
    );
    let huge: Deed = || {
        unhashed::put_raw(b"huge", &vec![1; MAX_BYTES]);
        Ok(())
    };
    assert_eq!(outcome(huge), failed(BYTES));
    let reads_one_value: Deed = || {
        unhashed::put_raw(b"large", &[1; 64 * KIB]);
        loop {
            unhashed::get_raw(b"large");
        }
    };
    assert_eq!(outcome(reads_one_value), failed(BYTES));
}

#[test]
fn a_panic_is_the_calls_failure() {
    let deed: Deed = || {
        unhashed::put(b"outside", &1u8);
        with_transaction(|| -> TransactionOutcome<Result<(), DispatchError>> {
            unhashed::put(b"inside", &1u8);
            panic!("a pallet's mistake")
        })
        .map_err(|_| String::new())
    };
    assert_eq!(outcome(deed), failed("panicked"));
}

#[test]
fn storage_that_a_shard_does_not_have_is_the_calls_failure() {
    let write: Deed = || {
        sp_io::default_child_storage::set(b"child", b"key", b"value");
        Ok(())
    };
    assert_eq!(outcome(write), failed(UNSUPPORTED));
    assert_eq!(
        outcome(|| loop {
            sp_io::default_child_storage::get(b"child", b"key");
        }),
        failed(UNSUPPORTED)
    );
    assert_eq!(
        outcome(|| loop {
            sp_io::storage::root(Default::default());
        }),
        failed(UNSUPPORTED)
    );
}

#[test]
fn the_whole_share_can_be_used_and_not_more() {
    let reads: Deed = || {
        (0..MAX_READS).for_each(|_| drop(unhashed::get_raw(b"nothing")));
        Ok(())
    };
    assert_eq!(outcome(reads), done());
    let one_more: Deed = || {
        (0..=MAX_READS).for_each(|_| drop(unhashed::get_raw(b"nothing")));
        Ok(())
    };
    assert_eq!(outcome(one_more), failed(READS));
    let writes: Deed = || {
        (0..MAX_WRITES).for_each(|number| unhashed::put(&key(number), &number));
        Ok(())
    };
    assert_eq!(outcome(writes), done());
    let one_more: Deed = || {
        (0..=MAX_WRITES).for_each(|number| unhashed::put(&key(number), &number));
        Ok(())
    };
    assert_eq!(outcome(one_more), failed(WRITES));
    let bytes: Deed = || {
        unhashed::put_raw(b"key", &vec![1; MAX_BYTES - 3]);
        Ok(())
    };
    assert_eq!(outcome(bytes), done());
    let one_more: Deed = || {
        unhashed::put_raw(b"key", &vec![1; MAX_BYTES - 2]);
        Ok(())
    };
    assert_eq!(outcome(one_more), failed(BYTES));
}

/// Alice's shard with this many keys under one prefix.
fn with_keys(count: u32) -> Shard {
    let mut shard = Shard::with_entries((0..count).map(|number| (key(number).to_vec(), vec![1])).collect());
    shard.shield(Alice, 1_000 * UNIT);
    shard
}

#[test]
fn clearing_a_prefix_costs_its_keys() {
    let clear: Deed = || {
        let removed = sp_io::storage::clear_prefix(b"deed", None);
        assert!(matches!(removed, KillStorageResult::AllRemoved(_)));
        Ok(())
    };
    // The call itself is one.
    assert_eq!(outcome_in(|| with_keys(MAX_WRITES - 1), clear), done());
    assert_eq!(outcome_in(|| with_keys(MAX_WRITES), clear), failed(WRITES));
    assert_eq!(outcome_in(|| with_keys(5 * MAX_WRITES), clear), failed(WRITES));
    let some: Deed = || {
        let removed = sp_io::storage::clear_prefix(b"deed", Some(7));
        assert!(matches!(removed, KillStorageResult::SomeRemaining(7)));
        Ok(())
    };
    assert_eq!(outcome_in(|| with_keys(5 * MAX_WRITES), some), done());
}

#[test]
fn a_call_that_catches_its_end_has_failed_all_the_same() {
    let stubborn: Deed = || {
        for _ in 0..3 {
            let read_for_ever = || loop {
                unhashed::get_raw(b"nothing");
            };
            let caught: Result<(), _> = panic::catch_unwind(read_for_ever);
            assert!(caught.is_err());
            assert!(panic::catch_unwind(|| unhashed::put(b"after", &1u8)).is_err(), "not even one more");
        }
        Ok(())
    };
    assert_eq!(outcome(stubborn), failed(READS));
}

thread_local!(static DESTROYED_WHILE_UNWINDING: Cell<u32> = const { Cell::new(0) });

struct ReadsWhenDestroyed;

impl Drop for ReadsWhenDestroyed {
    fn drop(&mut self) {
        unhashed::get_raw(b"nothing");
        DESTROYED_WHILE_UNWINDING.set(DESTROYED_WHILE_UNWINDING.get() + u32::from(thread::panicking()));
    }
}

#[test]
fn destructors_that_use_storage_do_not_abort_the_process() {
    // An imbalance changes the issuance when it is dropped.
    let holds_money: Deed = || {
        let _issued = <Balances as Currency<_>>::issue(UNIT);
        let _reads = ReadsWhenDestroyed;
        loop {
            unhashed::get_raw(b"nothing");
        }
    };
    assert_eq!(outcome(holds_money), failed(READS));
    assert_eq!(DESTROYED_WHILE_UNWINDING.get(), 2, "direct and indirect");
}

#[test]
fn each_call_has_a_share_of_its_own() {
    let mut shard = Shard::with_alice();
    shard.program = &Does(|| {
        (0..MAX_WRITES).for_each(|number| unhashed::put(&key(number), &number));
        Ok(())
    });
    let noop = |nonce| sign(Alice, nonce, TrustedCall::Noop(Alice.to_account_id()));
    let calls = [0, 1, 2].map(|nonce| verified_by(&Rules::default(), noop(nonce)).unwrap());
    let outcomes = shard.block(|block| calls.each_ref().map(|call| block.call(call))).0;
    assert_eq!(outcomes, [Ok(done()), Ok(done()), Ok(done())]);
}

thread_local!(static HOOKED: Cell<u32> = const { Cell::new(0) });

#[test]
fn the_panic_hook_hears_of_panics_alone() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        HOOKED.set(HOOKED.get() + 1);
        before(info);
    }));
    assert_eq!(
        outcome(|| loop {
            unhashed::get_raw(b"nothing");
        }),
        failed(READS)
    );
    assert_eq!(HOOKED.get(), 0);
    assert_eq!(outcome(|| panic!("a pallet's mistake")), failed("panicked"));
    assert_eq!(HOOKED.get(), 2, "direct and indirect");
}

#[test]
fn every_enclave_comes_to_the_same_diff() {
    let deeds: [Deed; 3] = [
        || {
            for number in 0.. {
                unhashed::put(&key(number), &unhashed::get_raw(&key(number)));
            }
            Ok(())
        },
        || panic!("a pallet's mistake"),
        || {
            (0..100).for_each(|number| unhashed::put(&key(number), &sp_io::storage::next_key(&key(number))));
            Ok(())
        },
    ];
    for deed in deeds {
        let run = || {
            let mut shard = with_keys(50);
            shard.program = Box::leak(Box::new(Does(deed)));
            let noop = sign(Alice, 0, TrustedCall::Noop(Alice.to_account_id()));
            let deed = verified_by(&Rules::default(), noop).unwrap();
            let payment = transfer(Alice, 1, &Bob.to_account_id(), UNIT);
            let (outcomes, diff) = shard.block(|block| [block.call(&deed), block.call(&payment)]);
            (outcomes, diff, shard.state.commitment())
        };
        let (one, another) = (run(), run());
        assert_eq!(one, another);
        assert_eq!(one.0[1], Ok(done()));
    }
}
