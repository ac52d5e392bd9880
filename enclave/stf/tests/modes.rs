//! Shards in maintenance, and retired ones, which every account leaves.

mod shard;

use std::{any::Any, collections::BTreeMap, panic};

use cloister_chain_primitives::{
    AccountId, Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, MIN_SHIELD, OutboxKind, ShardMode, UNIT, UNSHIELD_FEE,
    Verdict,
};
use cloister_stf::{
    CallOutcome, Context, Execution, Finished, InvokeOutcome, MAX_OPEN_OUTBOX, Owed, Payments, Program, Refused, Rules,
    ShieldOutcome, account_count, account_exists, books, inbox_status, outbox, total_issuance,
};
use cloister_wire::TrustedCall;
use frame_support::storage::unhashed;
use shard::{Shard, account_key, changes, indirect, sign, unshield, verified_by};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Ferdie};

fn id(who: Sr25519Keyring) -> AccountId {
    who.to_account_id()
}

fn simulated() -> Rules {
    Rules { simulation_allowed: true, root: Some(id(Alice)), ..Rules::default() }
}

/// Every call that a client can make.
fn calls() -> [TrustedCall; 4] {
    [
        TrustedCall::Noop(id(Alice)),
        TrustedCall::BalanceTransfer(id(Alice), id(Bob), UNIT),
        TrustedCall::BalanceSetBalance(id(Alice), id(Bob), UNIT, 0),
        unshield(Alice, &id(Ferdie), UNIT),
    ]
}

#[test]
fn only_money_that_leaves_is_moved_in_maintenance() {
    for call in calls() {
        let leaves = matches!(call, TrustedCall::BalanceUnshield(..));
        let mut shard = Shard::with_alice();
        shard.mode = ShardMode::Maintenance;
        let direct = verified_by(&simulated(), sign(Alice, 0, call.clone())).unwrap();
        let through_inbox = indirect(&simulated(), sign(Alice, 0, call)).unwrap();
        let (outcome, finished) = shard.try_block(|block| block.call(&direct));
        let invoked = shard.try_block(|block| block.invoke(1, Some(&through_inbox))).0;
        if leaves {
            assert_eq!((outcome, finished.opened.len()), (Ok(CallOutcome::Done), 1));
            assert_eq!(invoked, Ok(InvokeOutcome::Executed(CallOutcome::Done)));
        } else {
            assert_eq!(outcome, Err(Refused::Maintenance));
            assert_eq!(changes(&finished.diff), shard.calm(), "not even a nonce");
            assert_eq!(invoked, Ok(InvokeOutcome::Refused(Refused::Maintenance)));
        }
        assert_eq!(shard.block(|block| block.exit(256)).0, Ok(0), "nobody leaves");
    }
    let reason = "the shard is in maintenance: only unshieldings are taken";
    assert_eq!(Refused::Maintenance.to_string(), reason);
}

#[test]
fn a_refund_comes_back_in_every_mode() {
    for mode in [ShardMode::Open, ShardMode::Maintenance, ShardMode::Retired] {
        let mut shard = Shard::with_alice();
        let call = shard.sign_next(Alice, unshield(Alice, &id(Ferdie), UNIT));
        assert_eq!(shard.call(&call), Ok(CallOutcome::Done));
        let before = shard.free(Alice);
        shard.mode = mode;
        assert_eq!(shard.block(|block| block.settle(0, Verdict::Refused)).0, Ok(()));
        assert_eq!(shard.free(Alice), before + UNIT);
        shard.assert_sound();
    }
}

#[test]
fn a_retired_shard_takes_no_calls() {
    let mut shard = Shard::with_alice();
    shard.mode = ShardMode::Retired;
    for call in calls() {
        let direct = verified_by(&simulated(), sign(Alice, 0, call.clone())).unwrap();
        let (outcome, finished) = shard.try_block(|block| block.call(&direct));
        assert_eq!(outcome, Err(Refused::Retired));
        assert_eq!(changes(&finished.diff), shard.calm());
        let through_inbox = indirect(&simulated(), sign(Alice, 0, call)).unwrap();
        let invoked = shard.try_block(|block| block.invoke(1, Some(&through_inbox))).0;
        assert_eq!(invoked, Ok(InvokeOutcome::Refused(Refused::Retired)));
    }
    assert_eq!(Refused::Retired.to_string(), "the shard is retired: every account is paid on layer one");
}

/// A shard with these accounts.
fn with_accounts(accounts: impl IntoIterator<Item = (AccountId, Balance)>) -> Shard {
    let mut shard = Shard::new();
    shard.block(|block| {
        for (number, (account, amount)) in (0..).zip(accounts) {
            let outcome = block.shield(number, Some(account.clone()), amount, &account);
            assert_eq!(outcome, Ok(ShieldOutcome::Credited));
        }
    });
    shard.inbox = inbox_status(&shard.state).consumed;
    shard
}

fn exit(shard: &mut Shard, limit: usize) -> (usize, Finished) {
    let (left, finished) = shard.block(|block| block.exit(limit));
    shard.assert_sound();
    (left.unwrap(), finished)
}

fn leaves(number: u64, block: u64, account: &AccountId, amount: Balance) -> Owed {
    Owed { number, block, kind: OutboxKind::Exit, beneficiary: account.clone(), amount, refund_to: None }
}

#[test]
fn every_account_leaves_with_all_it_has() {
    // With and without what the fee takes from the existential deposit.
    let amounts = [1_000 * UNIT, MIN_SHIELD, MIN_SHIELD - 1, EXISTENTIAL_DEPOSIT];
    let paid = [1_000 * UNIT - UNSHIELD_FEE, EXISTENTIAL_DEPOSIT, MIN_SHIELD - 1, EXISTENTIAL_DEPOSIT];
    let mut shard = with_accounts([Alice, Bob, Charlie, Ferdie].map(id).into_iter().zip(amounts));
    let mut accounts: Vec<_> = [Alice, Bob, Charlie, Ferdie].map(id).into_iter().zip(paid).collect();
    accounts.sort_by_key(|(account, _)| account_key(account));
    shard.mode = ShardMode::Retired;
    assert_eq!(exit(&mut shard, 0).0, 0);
    let (left, finished) = exit(&mut shard, 3);
    assert_eq!((left, account_count(&shard.state)), (3, 1));
    let expected = (0..).zip(&accounts).map(|(number, (account, amount))| leaves(number, 3, account, *amount));
    assert_eq!(finished.opened, expected.take(3).collect::<Vec<_>>(), "in the order of their keys");
    let (left, finished) = exit(&mut shard, 256);
    let (account, amount) = &accounts[3];
    assert_eq!((left, finished.opened), (1, vec![leaves(3, 4, account, *amount)]));
    assert_eq!((account_count(&shard.state), total_issuance(&shard.state)), (0, 0));
    assert_eq!(books(&shard.state).fees, 2 * UNSHIELD_FEE);
    assert_eq!(exit(&mut shard, 256).0, 0);
}

#[test]
fn what_is_reserved_leaves_too() {
    let mut shard = Shard::new();
    let set = TrustedCall::BalanceSetBalance(id(Alice), id(Bob), UNIT, 4 * UNIT);
    let set = verified_by(&simulated(), sign(Alice, 0, set)).unwrap();
    assert_eq!(shard.call(&set), Ok(CallOutcome::Done));
    shard.mode = ShardMode::Retired;
    let (left, finished) = exit(&mut shard, 256);
    assert_eq!((left, finished.opened), (1, vec![leaves(0, 2, &id(Bob), 5 * UNIT - UNSHIELD_FEE)]));
    assert!(!account_exists(&shard.state, &id(Bob)));
}

#[test]
fn an_account_waits_while_it_is_kept_for_a_refund() {
    for verdict in [Verdict::Paid, Verdict::Refused] {
        let mut shard = with_accounts([Alice, Bob, Charlie].map(|who| (id(who), 10 * UNIT)));
        let tiny = shard.sign_next(Bob, unshield(Bob, &id(Ferdie), 5));
        assert_eq!(shard.call(&tiny), Ok(CallOutcome::Done));
        shard.mode = ShardMode::Retired;
        // Whoever comes before or after leaves, and the limit counts only those who do.
        assert_eq!(exit(&mut shard, 2).0, 2);
        assert_eq!(exit(&mut shard, 256).0, 0);
        assert!(account_exists(&shard.state, &id(Bob)));
        let left = shard.block(|block| {
            block.settle(0, verdict).unwrap();
            block.exit(256)
        });
        assert_eq!(left.0, Ok(1));
        let rest = 10 * UNIT - DIRECT_CALL_FEE - 2 * UNSHIELD_FEE;
        let amount = if verdict == Verdict::Refused { rest } else { rest - 5 };
        assert_eq!(left.1.opened, [leaves(3, 5, &id(Bob), amount)]);
        assert_eq!(account_count(&shard.state), 0);
        shard.assert_sound();
    }
}

#[test]
fn a_refund_after_the_exit_leaves_again() {
    let mut shard = with_accounts([(id(Alice), 10 * UNIT)]);
    let call = shard.sign_next(Alice, unshield(Alice, &id(Ferdie), UNIT));
    assert_eq!(shard.call(&call), Ok(CallOutcome::Done));
    shard.mode = ShardMode::Retired;
    assert_eq!(exit(&mut shard, 256).0, 1);
    assert_eq!(shard.block(|block| block.settle(0, Verdict::Refused)).0, Ok(()));
    let (left, finished) = exit(&mut shard, 256);
    assert_eq!((left, finished.opened), (1, vec![leaves(2, 5, &id(Alice), UNIT - UNSHIELD_FEE)]));
    assert_eq!(total_issuance(&shard.state), 0);
}

/// Payments, and keeps these accounts on a retired shard.
struct Keeps(fn(&Context) -> Vec<AccountId>);

impl Program for Keeps {
    fn weight(&self, call: &TrustedCall) -> u64 {
        Payments.weight(call)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        Payments.execute(call, execution)
    }

    fn stays(&self, context: &Context) -> Vec<AccountId> {
        (self.0)(context)
    }
}

#[test]
fn what_the_program_keeps_stays_until_it_lets_go() {
    static KEEPS: Keeps = Keeps(|context| if context.is_anchored(9) { vec![] } else { vec![id(Bob), id(Ferdie)] });
    let mut shard = with_accounts([Alice, Bob, Charlie].map(|who| (id(who), 10 * UNIT)));
    shard.program = &KEEPS;
    shard.mode = ShardMode::Retired;
    // Whoever comes before or after leaves, and the limit counts only those who do.
    assert_eq!(exit(&mut shard, 2).0, 2);
    shard.inputs.anchored = 8;
    assert_eq!(exit(&mut shard, 256).0, 0);
    assert_eq!(shard.free(Bob), 10 * UNIT);
    shard.inputs.anchored = 9;
    let (left, finished) = exit(&mut shard, 256);
    assert_eq!((left, finished.opened), (1, vec![leaves(2, 4, &id(Bob), 10 * UNIT - UNSHIELD_FEE)]));
    assert_eq!(account_count(&shard.state), 0);
}

#[test]
fn a_program_that_fails_to_say_what_it_keeps_keeps_nothing() {
    static PANICS: Keeps = Keeps(|_| panic!("a program's mistake"));
    static LOOPS: Keeps = Keeps(|_| {
        loop {
            unhashed::exists(b"nothing");
        }
    });
    // What was too much stays too much, even for a program that catches it.
    static GOES_ON: Keeps = Keeps(|_| {
        let looped = panic::catch_unwind(|| {
            loop {
                unhashed::exists(b"nothing");
            }
        });
        looped.unwrap_or_else(|_: Box<dyn Any + Send>| vec![id(Bob)])
    });
    for program in [&PANICS, &LOOPS, &GOES_ON] {
        let mut shard = with_accounts([Alice, Bob].map(|who| (id(who), UNIT)));
        shard.program = program;
        shard.mode = ShardMode::Retired;
        assert_eq!(exit(&mut shard, 256).0, 2);
    }
}

#[test]
fn what_a_program_writes_when_it_is_asked_what_it_keeps_is_taken_back() {
    static WRITES: Keeps = Keeps(|_| {
        unhashed::put(b"key", &1u8);
        vec![id(Bob)]
    });
    let mut shard = with_accounts([(id(Alice), UNIT), (id(Bob), UNIT)]);
    shard.program = &WRITES;
    shard.mode = ShardMode::Retired;
    let (left, finished) = exit(&mut shard, 256);
    assert_eq!((left, account_exists(&shard.state, &id(Bob))), (1, true));
    assert!(!changes(&finished.diff).contains_key(b"key".as_slice()));
}

fn somebody(number: u32) -> AccountId {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

#[test]
fn exits_wait_for_room_in_the_outbox() {
    let people = MAX_OPEN_OUTBOX + 10;
    let mut shard = with_accounts((0..people).map(|number| (somebody(number), UNIT)));
    shard.mode = ShardMode::Retired;
    assert_eq!(exit(&mut shard, usize::MAX).0, MAX_OPEN_OUTBOX as usize);
    assert_eq!(exit(&mut shard, 256).0, 0);
    // A returned shielding is taken all the same.
    let inbox = shard.inbox;
    let outcome = shard.block(|block| block.shield(inbox, Some(id(Alice)), UNIT, &id(Alice))).0;
    assert_eq!(outcome, Ok(ShieldOutcome::Returned));
    let left = shard.block(|block| {
        (0..8).for_each(|number| block.settle(number, Verdict::Paid).unwrap());
        block.exit(256)
    });
    // And takes no room from who leaves.
    assert_eq!(left.0, Ok(8));
    assert_eq!(account_count(&shard.state), 2);
    shard.assert_sound();
}

#[test]
fn ten_thousand_accounts_leave_and_all_are_paid() {
    const PEOPLE: u32 = 10_000;
    let owed = |number: u32| EXISTENTIAL_DEPOSIT + Balance::from(number) * 1_000_000;
    let mut shard = with_accounts((0..PEOPLE).map(|number| (somebody(number), owed(number))));
    let shielded = books(&shard.state).shielded;
    shard.mode = ShardMode::Retired;
    let mut paid = BTreeMap::new();
    let mut blocks = 0;
    while account_count(&shard.state) > 0 {
        let open = outbox(&shard.state);
        let (left, finished) = shard.block(|block| {
            for entry in &open {
                block.settle(entry.number, Verdict::Paid).unwrap();
            }
            block.exit(256).unwrap()
        });
        blocks += 1;
        assert_eq!(finished.opened.len(), left);
        assert!(left == 256 || account_count(&shard.state) == 0);
        for entry in finished.opened {
            assert_eq!(paid.insert(entry.beneficiary, entry.amount), None);
        }
    }
    assert_eq!(blocks, PEOPLE.div_ceil(256));
    assert_eq!(paid.len(), PEOPLE as usize);
    for number in 0..PEOPLE {
        let fee = if owed(number) >= MIN_SHIELD { UNSHIELD_FEE } else { 0 };
        assert_eq!(paid[&somebody(number)], owed(number) - fee);
    }
    assert_eq!(paid.values().sum::<Balance>() + books(&shard.state).fees, shielded);
    shard.assert_sound();
}
