//! Money's way out.

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, Flows, H256, MIN_SHIELD, OutboxEntry, OutboxKind, OutboxPath,
    OutflowLimit, OutflowUse, ShardBirth, ShardId, UNIT, UNSHIELD_FEE, Verdict,
    outbox::{OutboxTree, outbox_id},
};
use codec::Encode;
use frame_support::{
    assert_noop, assert_ok,
    weights::constants::{ParityDbWeight, WEIGHT_REF_TIME_PER_MICROS},
};
use sp_runtime::{DispatchError, TokenError, traits::Dispatchable};

use super::{balance, born, by_founder, last_event, signed};
use crate::{Error, Escrow, Event, FlowsOf, OutflowUsage, Settled, SubmissionFee as _, Unclaimed, mock::*, weights};

const NOBODY: AccountId = AccountId::new([77; 32]);

/// A shard that owes this, with so many UNIT in its escrow.
fn owing(escrow: Balance, owed: &[(OutboxKind, AccountId, Balance)]) -> (ShardId, Vec<OutboxEntry>) {
    let shard = born(birth());
    assert_ok!(shield(shard, escrow * UNIT).dispatch(signed()));
    (shard, owe(shard, owed))
}

/// Anchors these as all that a shard owes, numbered from 0.
pub fn owe(shard: ShardId, owed: &[(OutboxKind, AccountId, Balance)]) -> Vec<OutboxEntry> {
    let entry = |(number, (kind, beneficiary, amount)): (u64, &(OutboxKind, AccountId, Balance))| OutboxEntry {
        number,
        id: outbox_id(&System::block_hash(0), &shard, 1, number),
        kind: *kind,
        beneficiary: beneficiary.clone(),
        amount: *amount,
    };
    let entries: Vec<_> = (0..).zip(owed).map(entry).collect();
    anchor_open(shard, &entries);
    entries
}

/// Anchors a root over these.
pub fn anchor_open(shard: ShardId, open: &[OutboxEntry]) {
    let tree = OutboxTree::new(&System::block_hash(0), &shard, open.to_vec());
    anchor(shard, |anchor| anchor.outbox_root = tree.root());
}

fn paid(shard: ShardId, entry: &OutboxEntry) -> RuntimeEvent {
    let OutboxEntry { id: call_hash, beneficiary, amount, .. } = entry.clone();
    Event::UnshieldedFunds { shard, beneficiary, amount, call_hash }.into()
}

fn refused(shard: ShardId, entry: &OutboxEntry) -> RuntimeEvent {
    Event::UnshieldRefused { shard, call_hash: entry.id }.into()
}

fn deferred(shard: ShardId, entry: &OutboxEntry) -> RuntimeEvent {
    Event::UnshieldDeferred { shard, call_hash: entry.id }.into()
}

fn limit(shard: ShardId, amount: Balance, period: u32) {
    let limit = Some(OutflowLimit { amount, period });
    assert_ok!(EnclaveBridge::set_outflow_limit(RuntimeOrigin::root(), shard, limit));
}

/// Root takes all that an escrow's account has.
fn drain(shard: ShardId) -> Balance {
    let escrow = EnclaveBridge::escrow_account(&shard);
    let amount = balance(&escrow);
    assert_ok!(Balances::force_transfer(RuntimeOrigin::root(), escrow, NOBODY, amount));
    amount
}

#[test]
fn an_entry_is_paid_once() {
    run(|| {
        let (shard, open) = owing(10, &[(OutboxKind::Unshield, bob(), 3 * UNIT)]);
        assert_noop!(unshield(shard, &open, 0).dispatch(RuntimeOrigin::root()), DispatchError::BadOrigin);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        assert_eq!(last_event(), paid(shard, &open[0]));
        assert_eq!((balance(&bob()), Settled::<Test>::get(shard, 0)), (3 * UNIT, Some(Verdict::Paid)));
        assert_eq!(Escrow::<Test>::get(shard), 7 * UNIT);
        assert_eq!(FlowsOf::<Test>::get(shard), Flows { shielded: 10 * UNIT, paid: 3 * UNIT, repaid: 0 });
        assert_eq!(balance(&EnclaveBridge::escrow_account(&shard)), 7 * UNIT + EXISTENTIAL_DEPOSIT);

        let again = || {
            assert_noop!(unshield(shard, &open, 0).dispatch(signed()), Error::<Test>::AlreadySettled);
        };
        again();
        // Nor when the shard has closed it, and the verdict is gone.
        anchor(shard, |anchor| anchor.outbox_closed = 1);
        again();
        System::set_block_number(2);
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!(Settled::<Test>::get(shard, 0), None);
        again();
        assert_eq!(balance(&bob()), 3 * UNIT);
    });
}

#[test]
fn a_number_is_settled_whatever_is_owed_under_it_later() {
    run(|| {
        let (shard, open) = owing(10, &[(OutboxKind::Unshield, bob(), UNIT)]);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        let open = owe(shard, &[(OutboxKind::Unshield, alice(), 2 * UNIT)]);
        assert_noop!(unshield(shard, &open, 0).dispatch(signed()), Error::<Test>::AlreadySettled);
    });
}

#[test]
fn identical_entries_are_all_paid() {
    run(|| {
        let (shard, open) = owing(10, &vec![(OutboxKind::Unshield, bob(), UNIT); 5]);
        // In any order.
        for place in [4, 0, 2, 1, 3] {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
        }
        assert_eq!((balance(&bob()), Escrow::<Test>::get(shard)), (5 * UNIT, 5 * UNIT));
    });
}

#[test]
fn only_what_stands_under_the_anchored_root_is_settled() {
    run(|| {
        let owed = [(OutboxKind::Unshield, bob(), UNIT), (OutboxKind::Unshield, alice(), 2 * UNIT)];
        let (shard, open) = owing(10, &owed);
        let genesis = System::block_hash(0);
        let refuse = |shard: ShardId, entry: &OutboxEntry, path: OutboxPath, error: Error<Test>| {
            let OutboxEntry { id: call_hash, beneficiary, amount, .. } = entry.clone();
            let call = crate::Call::unshield_funds { shard, beneficiary, amount, call_hash, path };
            assert_noop!(RuntimeCall::EnclaveBridge(call).dispatch(signed()), error);
        };
        let tree = OutboxTree::new(&genesis, &shard, open.clone());
        let path = || tree.prove(0).expect("it is there").1;
        let other = || tree.prove(1).expect("it is there").1;
        let not_there = |entry: OutboxEntry, path| refuse(shard, &entry, path, Error::NotInOutbox);
        not_there(OutboxEntry { beneficiary: alice(), ..open[0].clone() }, path());
        not_there(OutboxEntry { amount: UNIT + 1, ..open[0].clone() }, path());
        not_there(OutboxEntry { id: open[1].id, ..open[0].clone() }, path());
        not_there(open[0].clone(), other());
        not_there(open[0].clone(), OutboxPath { number: 1, ..path() });
        not_there(open[0].clone(), OutboxPath { kind: OutboxKind::Exit, ..path() });
        not_there(open[0].clone(), OutboxPath { leaf_index: 1, ..path() });
        not_there(open[0].clone(), OutboxPath { leaves: 1, ..path() });
        not_there(open[0].clone(), OutboxPath { siblings: Default::default(), ..path() });

        refuse(ShardId(H256::zero()), &open[0], path(), Error::UnknownShard);
        let anchorless = born(ShardBirth { upgrade_delay: 11, ..birth() });
        refuse(anchorless, &open[0], path(), Error::NotInOutbox);
        // Another shard's entry with all the rest the same.
        anchor(anchorless, |anchor| anchor.outbox_root = tree.root());
        refuse(anchorless, &open[0], path(), Error::NotInOutbox);
        anchor(shard, |anchor| anchor.outbox_root = H256::zero());
        not_there(open[0].clone(), path());
        anchor_open(shard, &open);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
    });
}

#[test]
fn what_cannot_be_paid_is_refused_for_good() {
    run(|| {
        let escrow = EnclaveBridge::escrow_account(&birth().shard_id(&System::block_hash(0)));
        let owed = [
            // Nobody can have less than the existential deposit.
            (OutboxKind::Unshield, bob(), EXISTENTIAL_DEPOSIT - 1),
            (OutboxKind::Unshield, bob(), 10 * UNIT + 1),
            (OutboxKind::Unshield, escrow, UNIT),
            (OutboxKind::Unshield, alice(), EXISTENTIAL_DEPOSIT - 1),
        ];
        let (shard, open) = owing(10, &owed);
        // More than was shielded is not paid, though somebody gave the money.
        assert_ok!(Balances::transfer_allow_death(signed(), EnclaveBridge::escrow_account(&shard), UNIT));
        for place in 0..3 {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), refused(shard, &open[place as usize]));
            assert_eq!(Settled::<Test>::get(shard, u64::from(place)), Some(Verdict::Refused));
            assert_noop!(unshield(shard, &open, place).dispatch(signed()), Error::<Test>::AlreadySettled);
        }
        assert_eq!(FlowsOf::<Test>::get(shard), Flows { shielded: 10 * UNIT, ..Default::default() });
        assert_eq!((Escrow::<Test>::get(shard), balance(&bob())), (10 * UNIT, 0));
        // Who exists can be paid any little.
        assert_ok!(unshield(shard, &open, 3).dispatch(signed()));
        assert_eq!(last_event(), paid(shard, &open[3]));
    });
}

#[test]
fn everything_that_was_shielded_can_leave_and_no_more() {
    run(|| {
        let owed = [(OutboxKind::Unshield, bob(), 10 * UNIT), (OutboxKind::Unshield, bob(), 1)];
        let (shard, open) = owing(10, &owed);
        for place in 0..2 {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
        }
        assert_eq!(last_event(), refused(shard, &open[1]));
        assert_eq!((balance(&bob()), Escrow::<Test>::get(shard)), (10 * UNIT, 0));
        assert!(!Escrow::<Test>::contains_key(shard));
        assert_eq!(balance(&EnclaveBridge::escrow_account(&shard)), EXISTENTIAL_DEPOSIT);
    });
}

#[test]
fn an_escrow_that_root_emptied_refuses_until_the_money_is_back() {
    run(|| {
        let owed = [(OutboxKind::Unshield, bob(), UNIT), (OutboxKind::Unshield, bob(), 2 * UNIT)];
        let (shard, open) = owing(10, &owed);
        drain(shard);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        assert_eq!(last_event(), refused(shard, &open[0]));
        assert_eq!(Escrow::<Test>::get(shard), 10 * UNIT);
        // All but the existential deposit may leave.
        let escrow = EnclaveBridge::escrow_account(&shard);
        assert_ok!(Balances::transfer_allow_death(signed(), escrow.clone(), 2 * UNIT + EXISTENTIAL_DEPOSIT));
        assert_ok!(unshield(shard, &open, 1).dispatch(signed()));
        assert_eq!(last_event(), paid(shard, &open[1]));
        assert_eq!((balance(&escrow), Escrow::<Test>::get(shard)), (EXISTENTIAL_DEPOSIT, 8 * UNIT));
    });
}

#[test]
fn what_is_over_the_limit_waits_for_the_next_period() {
    run(|| {
        let owed = [6, 3, 5, 11].map(|units| (OutboxKind::Unshield, bob(), units * UNIT));
        let (shard, open) = owing(50, &owed);
        limit(shard, 10 * UNIT, 5);
        for (place, told) in [(0, paid(shard, &open[0])), (2, deferred(shard, &open[2])), (1, paid(shard, &open[1]))] {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), told);
        }
        assert_eq!(Settled::<Test>::get(shard, 2), None);
        assert_eq!(OutflowUsage::<Test>::get(shard), OutflowUse { block: 1, left: 9 * UNIT, shielded: 0 });
        // A whole period would not be enough.
        assert_ok!(unshield(shard, &open, 3).dispatch(signed()));
        assert_eq!(last_event(), refused(shard, &open[3]));
        System::set_block_number(4);
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert_eq!(last_event(), deferred(shard, &open[2]));
        System::set_block_number(5);
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert_eq!(last_event(), paid(shard, &open[2]));
        assert_eq!(OutflowUsage::<Test>::get(shard), OutflowUse { block: 5, left: 5 * UNIT, shielded: 0 });
        assert_eq!(balance(&bob()), 14 * UNIT);
    });
}

#[test]
fn root_sets_the_limit_and_takes_it_back() {
    run(|| {
        let (shard, open) = owing(50, &[6, 3, 4, 1].map(|units| (OutboxKind::Unshield, bob(), units * UNIT)));
        let set = |limit| EnclaveBridge::set_outflow_limit(RuntimeOrigin::root(), shard, limit);
        assert_noop!(EnclaveBridge::set_outflow_limit(signed(), shard, None), DispatchError::BadOrigin);
        let unknown = ShardId(H256::zero());
        assert_noop!(
            EnclaveBridge::set_outflow_limit(RuntimeOrigin::root(), unknown, None),
            Error::<Test>::UnknownShard
        );
        assert_noop!(set(Some(OutflowLimit { amount: UNIT, period: 0 })), Error::<Test>::EmptyPeriod);

        let default = OutflowLimit { amount: 8 * UNIT, period: 10 };
        DefaultOutflowLimit::set(Some(default));
        assert_eq!(EnclaveBridge::outflow_limit(&shard), Some(default));
        System::set_block_number(12);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        assert_ok!(unshield(shard, &open, 1).dispatch(signed()));
        assert_eq!(last_event(), deferred(shard, &open[1]));
        // Neither a longer nor a shorter period forgets what has left in it.
        for period in [100, 3, 1] {
            let limit = Some(OutflowLimit { amount: 9 * UNIT, period });
            assert_ok!(set(limit));
            assert_eq!(last_event(), Event::OutflowLimitSet { shard, limit }.into());
            assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
            assert_eq!(last_event(), deferred(shard, &open[2]));
        }
        assert_ok!(set(None));
        assert_eq!(EnclaveBridge::outflow_limit(&shard), Some(default));
        // Less than has left.
        assert_ok!(set(Some(OutflowLimit { amount: UNIT, period: 100 })));
        assert_ok!(unshield(shard, &open, 3).dispatch(signed()));
        assert_eq!(last_event(), deferred(shard, &open[3]));
    });
}

#[test]
fn what_could_not_leave_within_a_period_does_not_come_in() {
    run(|| {
        let shard = born(birth());
        limit(shard, 10 * UNIT, 5);
        assert_noop!(shield(shard, 10 * UNIT + 1).dispatch(signed()), Error::<Test>::AboveOutflowLimit);
        assert_ok!(shield(shard, 10 * UNIT).dispatch(signed()));
    });
}

#[test]
fn returns_wait_for_the_limit_and_are_never_refused() {
    run(|| {
        let (shard, open) = owing(50, &[6, 5, 20].map(|units| (OutboxKind::Return, alice(), units * UNIT)));
        let before = balance(&alice());
        limit(shard, 10 * UNIT, 5);
        for (place, told) in
            [(0, paid(shard, &open[0])), (1, deferred(shard, &open[1])), (2, deferred(shard, &open[2]))]
        {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), told);
        }
        System::set_block_number(5);
        for (place, told) in [(1, paid(shard, &open[1])), (2, deferred(shard, &open[2]))] {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), told);
        }
        limit(shard, 25 * UNIT, 5);
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert_eq!(balance(&alice()) - before, 31 * UNIT);
    });
}

#[test]
fn the_least_shielding_can_be_returned_to_an_account_that_it_emptied() {
    run(|| {
        let (shard, open) = owing(1, &[(OutboxKind::Return, bob(), MIN_SHIELD - UNSHIELD_FEE)]);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        assert_eq!(balance(&bob()), EXISTENTIAL_DEPOSIT);
    });
}

#[test]
fn what_cannot_be_returned_is_owed_for_ever() {
    run(|| {
        let owed = [(OutboxKind::Return, bob(), 400), (OutboxKind::Return, bob(), 600)];
        let (shard, open) = owing(10, &owed);
        let claim = || EnclaveBridge::claim(signed(), shard, bob());
        assert_noop!(EnclaveBridge::claim(RuntimeOrigin::none(), shard, bob()), DispatchError::BadOrigin);
        assert_noop!(claim(), Error::<Test>::NothingUnclaimed);
        for (place, owes) in [(0, 400), (1, 1_000)] {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), paid(shard, &open[place as usize]));
            let booked = Event::BookedUnclaimed { shard, account: bob(), amount: open[place as usize].amount };
            assert!(System::events().iter().any(|record| record.event == booked.clone().into()));
            assert_eq!(Unclaimed::<Test>::get(shard, bob()), owes);
        }
        assert_eq!(FlowsOf::<Test>::get(shard), Flows { shielded: 10 * UNIT, paid: 1_000, repaid: 0 });
        assert_eq!(Escrow::<Test>::get(shard), 10 * UNIT - 1_000);
        assert_noop!(claim(), DispatchError::Token(TokenError::BelowMinimum));
        assert_ok!(Balances::transfer_allow_death(signed(), bob(), UNIT));
        assert_ok!(claim());
        assert_eq!(last_event(), Event::Claimed { shard, account: bob(), amount: 1_000 }.into());
        assert_eq!(balance(&bob()), UNIT + 1_000);
        assert_noop!(claim(), Error::<Test>::NothingUnclaimed);
        assert_eq!(Escrow::<Test>::get(shard), 10 * UNIT - 1_000);
    });
}

#[test]
fn accounts_leave_once_the_retirement_is_there() {
    run(|| {
        let owed: Vec<_> = (0..5).map(|_| (OutboxKind::Exit, bob(), 9 * UNIT)).collect();
        let (shard, open) = owing(50, &owed);
        let told = |place| {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            last_event()
        };
        assert_eq!(told(0), deferred(shard, &open[0]));
        assert_ok!(EnclaveBridge::retire_shard(RuntimeOrigin::root(), shard));
        System::set_block_number(10);
        assert_eq!(told(0), deferred(shard, &open[0]));
        // Outside the limit of ordinary outflow, but so many per block.
        limit(shard, 1, 1_000);
        System::set_block_number(11);
        assert_eq!([0, 1].map(told), [paid(shard, &open[0]), paid(shard, &open[1])]);
        assert_eq!(told(2), deferred(shard, &open[2]));
        assert_eq!(OutflowUsage::<Test>::get(shard), OutflowUse::default());
        System::set_block_number(12);
        assert_eq!([2, 3, 4].map(told), [paid(shard, &open[2]), paid(shard, &open[3]), deferred(shard, &open[4])]);
        System::set_block_number(13);
        assert_eq!(told(4), paid(shard, &open[4]));
        assert_eq!((balance(&bob()), Escrow::<Test>::get(shard)), (45 * UNIT, 5 * UNIT));
    });
}

#[test]
fn who_cannot_be_paid_leaves_all_the_same() {
    run(|| {
        let escrow = EnclaveBridge::escrow_account(&birth().shard_id(&System::block_hash(0)));
        let owed = [
            (OutboxKind::Exit, bob(), 7),
            (OutboxKind::Exit, escrow.clone(), UNIT),
            (OutboxKind::Exit, bob(), 2 * UNIT),
        ];
        let (shard, open) = owing(50, &owed);
        assert_ok!(EnclaveBridge::retire_shard(RuntimeOrigin::root(), shard));
        System::set_block_number(11);
        for place in 0..2 {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), paid(shard, &open[place as usize]));
        }
        assert_eq!([bob(), escrow.clone()].map(|account| Unclaimed::<Test>::get(shard, account)), [7, UNIT]);
        // To itself a transfer would succeed.
        assert_noop!(EnclaveBridge::claim(signed(), shard, escrow), DispatchError::Token(TokenError::CannotCreate));
        System::set_block_number(12);
        drain(shard);
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert_eq!(last_event(), paid(shard, &open[2]));
        assert_eq!(Unclaimed::<Test>::get(shard, bob()), 2 * UNIT + 7);
        assert_eq!(Escrow::<Test>::get(shard), 47 * UNIT - 7);
    });
}

#[test]
fn money_that_a_shard_made_up_is_owed_to_nobody() {
    run(|| {
        let (shard, open) = owing(
            10,
            &[
                (OutboxKind::Exit, bob(), 11 * UNIT),
                (OutboxKind::Return, bob(), 11 * UNIT),
                (OutboxKind::Exit, bob(), 10 * UNIT),
            ],
        );
        assert_ok!(EnclaveBridge::retire_shard(RuntimeOrigin::root(), shard));
        System::set_block_number(11);
        for (place, told) in
            [(0, deferred(shard, &open[0])), (1, deferred(shard, &open[1])), (2, paid(shard, &open[2]))]
        {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), told);
        }
        assert_eq!(balance(&bob()), 10 * UNIT);
    });
}

#[test]
fn who_submits_is_repaid_out_of_the_shards_fees() {
    run(|| {
        let owed = [
            (OutboxKind::Unshield, bob(), UNIT),
            (OutboxKind::Unshield, bob(), 50 * UNIT),
            (OutboxKind::Exit, bob(), UNIT),
            (OutboxKind::Unshield, bob(), UNIT),
        ];
        let (shard, open) = owing(10, &owed);
        let cost = |call: &RuntimeCall| SubmissionFee::fee(weights::unshield_funds::<Test>(2), call.encoded_size());
        let send = |place: u32| {
            let call = unshield(shard, &open, place);
            let (before, cost) = (balance(&alice()), cost(&call));
            assert_ok!(call.dispatch(signed()));
            (balance(&alice()) - before, cost)
        };
        anchor(shard, |anchor| anchor.fees = 2 * cost(&unshield(shard, &open, 0)) + 9);
        // What is paid, and what is refused, but not what is to be submitted again.
        let (repaid, cost) = send(0);
        assert_eq!((repaid, last_event()), (cost, Event::FeeRepaid { shard, account: alice(), amount: cost }.into()));
        assert_eq!(send(1).0, cost);
        assert_eq!(Settled::<Test>::get(shard, 1), Some(Verdict::Refused));
        assert_eq!(send(2).0, 0);
        assert_eq!(send(3).0, 9);
        let repaid = 2 * cost + 9;
        assert_eq!(FlowsOf::<Test>::get(shard), Flows { shielded: 10 * UNIT, paid: 2 * UNIT, repaid });
        assert_eq!(Escrow::<Test>::get(shard), 8 * UNIT - repaid);
    });
}

/// Whoever copies what the founder submits and lands first gets nothing for it.
#[test]
fn strangers_are_repaid_once_the_founder_seems_to_be_gone() {
    run(|| {
        StrangersRepaidAfter::set(20);
        let (shard, open) = owing(10, &[(); 3].map(|()| (OutboxKind::Unshield, bob(), UNIT)));
        anchor(shard, |anchor| anchor.fees = UNIT);
        let repaid = || FlowsOf::<Test>::get(shard).repaid;
        System::set_block_number(20);
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        assert_eq!((repaid(), balance(&bob())), (0, UNIT));
        assert_ok!(unshield(shard, &open, 1).dispatch(by_founder()));
        let founders = repaid();
        assert!(founders > 0);
        System::set_block_number(21);
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert!(repaid() > founders);
    });
}

/// Otherwise who has as much as the limit could keep everybody else in by shielding and unshielding it.
#[test]
fn what_is_shielded_in_a_period_may_leave_beside_the_limit() {
    run(|| {
        let owed = [20, 10, 1].map(|units| (OutboxKind::Unshield, bob(), units * UNIT));
        let (shard, open) = owing(50, &owed);
        limit(shard, 20 * UNIT, 100);
        for (place, told) in [(0, paid(shard, &open[0])), (1, deferred(shard, &open[1]))] {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), told);
        }
        assert_ok!(shield(shard, 10 * UNIT).dispatch(signed()));
        for (place, told) in [(1, paid(shard, &open[1])), (2, deferred(shard, &open[2]))] {
            assert_ok!(unshield(shard, &open, place).dispatch(signed()));
            assert_eq!(last_event(), told);
        }
        assert_eq!(OutflowUsage::<Test>::get(shard), OutflowUse { block: 1, left: 30 * UNIT, shielded: 10 * UNIT });
        // What was shielded before root set a limit is not part of it.
        limit(shard, 21 * UNIT, 100);
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert_eq!(last_event(), deferred(shard, &open[2]));
    });
}

#[test]
fn confirmations_are_repaid_out_of_the_shards_fees() {
    run(|| {
        let (shard, _) = owing(10, &[]);
        System::set_block_number(2);
        let before = balance(&founder());
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!(balance(&founder()), before);
        anchor(shard, |anchor| (anchor.fees, anchor.inbox_consumed) = (UNIT, 1));
        assert_ok!(confirm(shard).dispatch(by_founder()));
        // For what it has pruned.
        let weight = weights::confirm_processed_parentchain_block::<Test>(1, 0);
        let cost = SubmissionFee::fee(weight, confirm(shard).encoded_size());
        assert_eq!(balance(&founder()) - before, cost);
        assert_eq!(FlowsOf::<Test>::get(shard).repaid, cost);
    });
}

#[test]
fn repayment_never_takes_what_is_not_in_the_escrow() {
    run(|| {
        let (shard, open) = owing(
            10,
            &[
                (OutboxKind::Unshield, bob(), 10 * UNIT - 5),
                (OutboxKind::Unshield, bob(), 10 * UNIT),
                (OutboxKind::Unshield, bob(), 10 * UNIT),
            ],
        );
        // An enclave that lies about fees only empties its own shard's escrow.
        anchor(shard, |anchor| anchor.fees = Balance::MAX);
        let before = balance(&alice());
        assert_ok!(unshield(shard, &open, 0).dispatch(signed()));
        assert_eq!((balance(&alice()) - before, Escrow::<Test>::get(shard)), (5, 0));
        assert_ok!(unshield(shard, &open, 1).dispatch(signed()));
        assert_eq!(balance(&alice()) - before, 5);
        // Nor what root took, which stops nothing else.
        assert_ok!(shield(shard, UNIT).dispatch(signed()));
        drain(shard);
        let before = balance(&alice());
        assert_ok!(unshield(shard, &open, 2).dispatch(signed()));
        assert_eq!(last_event(), refused(shard, &open[2]));
        assert_eq!((balance(&alice()), Escrow::<Test>::get(shard)), (before, UNIT));
    });
}

#[test]
fn senders_pay_for_every_hash_of_a_path() {
    let weight = weights::unshield_funds::<Test>;
    let hash = weight(1).ref_time() - weight(0).ref_time();
    assert!(hash >= WEIGHT_REF_TIME_PER_MICROS);
    assert_eq!(weight(20).ref_time(), weight(0).ref_time() + 20 * hash);
    // With repayment it writes ten values: six of the payment, four of the repayment.
    assert!(weight(0).all_gte(ParityDbWeight::get().writes(10)));
}
