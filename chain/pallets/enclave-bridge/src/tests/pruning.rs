use std::collections::BTreeMap;

use cloister_chain_primitives::{EXISTENTIAL_DEPOSIT, InboxEntry, ShardBirth, ShardId, UNIT, Verdict, storage};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::GetDispatchInfo,
    weights::{RuntimeDbWeight, Weight},
};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use sp_runtime::traits::Dispatchable;

use super::{balance, born, by_founder, last_event, signed};
use crate::{Error, Escrow, Event, Inbox, InboxLength, InboxPruned, Settled, SettledPruned, mock::*, weights};

/// Appends an entry to the inbox in a block of its own.
fn append(shard: ShardId) {
    System::set_block_number(System::block_number() + 1);
    assert_ok!(invoke(shard, 1).dispatch(signed()));
}

/// A shard with so many entries in its inbox.
fn with_entries(count: u64) -> ShardId {
    let shard = born(birth());
    (0..count).for_each(|_| append(shard));
    shard
}

/// Anchors a block of a shard that has consumed so many entries.
fn consumed(shard: ShardId, inbox_consumed: u64) {
    anchor(shard, |anchor| anchor.inbox_consumed = inbox_consumed);
}

/// Numbers of the entries that stand in an inbox.
fn left(shard: ShardId) -> Vec<u64> {
    let mut numbers: Vec<_> = Inbox::<Test>::iter_key_prefix(shard).collect();
    numbers.sort();
    numbers
}

#[test]
fn what_is_consumed_goes_bit_by_bit() {
    run(|| {
        let shard = with_entries(10);
        consumed(shard, 8);
        // Three go with one call.
        for (pruned, rest) in [(3, 3..10), (6, 6..10), (8, 8..10), (8, 8..10)] {
            assert_ok!(confirm(shard).dispatch(by_founder()));
            assert_eq!((InboxPruned::<Test>::get(shard), left(shard)), (pruned, rest.collect()));
        }
        assert_eq!(InboxLength::<Test>::get(shard), 10);
        // Numbers go on.
        append(shard);
        assert_eq!((InboxLength::<Test>::get(shard), left(shard)), (11, vec![8, 9, 10]));
        consumed(shard, 11);
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!((InboxPruned::<Test>::get(shard), left(shard)), (11, vec![]));
    });
}

#[test]
fn without_an_anchor_nothing_goes() {
    run(|| {
        let shard = with_entries(2);
        let other = born(ShardBirth { upgrade_delay: 11, ..birth() });
        consumed(other, 0);
        for shard in [shard, other] {
            assert_ok!(confirm(shard).dispatch(by_founder()));
            assert!(!sp_io::storage::exists(&storage::inbox_pruned(&shard)));
        }
        // Nor with another shard's.
        consumed(other, 2);
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!(left(shard), [0, 1]);
        let told = last_event();
        assert!(matches!(
            told,
            RuntimeEvent::EnclaveBridge(Event::ProcessedParentchainBlock { shard: confirmed, .. }) if confirmed == shard
        ));
    });
}

#[test]
fn an_anchor_that_goes_back_removes_and_restores_nothing() {
    run(|| {
        let shard = with_entries(4);
        consumed(shard, 3);
        assert_ok!(confirm(shard).dispatch(by_founder()));
        consumed(shard, 1);
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!((InboxPruned::<Test>::get(shard), left(shard)), (3, vec![3]));
    });
}

#[test]
fn a_refused_confirmation_prunes_nothing() {
    run(|| {
        let shard = with_entries(2);
        consumed(shard, 2);
        assert_noop!(confirm(shard).dispatch(signed()), Error::<Test>::NotTheFounder);
        founder_serves(None);
        assert_noop!(confirm(shard).dispatch(by_founder()), Error::<Test>::FounderNotServing);
        assert_eq!(left(shard), [0, 1]);
    });
}

#[test]
fn money_stays_in_the_escrow_when_its_entry_goes() {
    run(|| {
        let shard = born(birth());
        assert_ok!(shield(shard, UNIT).dispatch(signed()));
        consumed(shard, 1);
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!((left(shard), Escrow::<Test>::get(shard)), (vec![], UNIT));
        assert_eq!(balance(&EnclaveBridge::escrow_account(&shard)), UNIT + EXISTENTIAL_DEPOSIT);
    });
}

#[test]
fn founders_pay_for_what_they_prune() {
    run(|| {
        let shard = with_entries(5);
        consumed(shard, 5);
        let weight = weights::confirm_processed_parentchain_block::<Test>;
        assert_eq!(confirm(shard).get_dispatch_info().call_weight, weight(MAX_PRUNED, MAX_PRUNED));
        for pruned in [3, 2, 0] {
            let done = confirm(shard).dispatch(by_founder()).expect("the founder may");
            assert_eq!(done.actual_weight, Some(weight(pruned, 0)));
        }
        anchor(shard, |anchor| anchor.outbox_closed = 5);
        for pruned in [3, 2, 0] {
            let done = confirm(shard).dispatch(by_founder()).expect("the founder may");
            assert_eq!(done.actual_weight, Some(weight(0, pruned)));
        }
        let database: RuntimeDbWeight = <Test as frame_system::Config>::DbWeight::get();
        assert_ne!(database.writes(1), Weight::zero());
        // Their counts are written, too.
        assert_eq!(weight(3, 0), weight(0, 0).saturating_add(database.writes(4)));
        assert_eq!(weight(3, 2), weight(0, 0).saturating_add(database.writes(7)));
    });
}

#[test]
fn verdicts_go_once_the_shard_has_closed_their_entries() {
    run(|| {
        let shard = born(birth());
        for number in 0..6 {
            Settled::<Test>::insert(shard, number, Verdict::Paid);
        }
        let left = || {
            let mut numbers: Vec<_> = Settled::<Test>::iter_key_prefix(shard).collect();
            numbers.sort();
            numbers
        };
        assert_ok!(confirm(shard).dispatch(by_founder()));
        assert_eq!(left(), [0, 1, 2, 3, 4, 5]);
        anchor(shard, |anchor| anchor.outbox_closed = 4);
        for (pruned, rest) in [(3, vec![3, 4, 5]), (4, vec![4, 5]), (4, vec![4, 5])] {
            assert_ok!(confirm(shard).dispatch(by_founder()));
            assert_eq!((SettledPruned::<Test>::get(shard), left()), (pruned, rest));
        }
        // What was never settled costs the shard's founder, and stops nothing.
        anchor(shard, |anchor| anchor.outbox_closed = u64::MAX);
        for pruned in [7, 10] {
            assert_ok!(confirm(shard).dispatch(by_founder()));
            assert_eq!((SettledPruned::<Test>::get(shard), left()), (pruned, vec![]));
        }
        assert_eq!(sp_io::storage::get(&storage::settled(&shard, 3)), None);
    });
}

/// What happens to one of two shards.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    /// An anchor that has consumed so many parts of 255 of what was not consumed yet.
    Anchor(usize, u8),
    Confirm(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2usize).prop_map(Step::Append),
        1 => (0..2usize, any::<u8>()).prop_map(|(shard, parts)| Step::Anchor(shard, parts)),
        2 => (0..2usize).prop_map(Step::Confirm),
    ]
}

/// What a shard's inbox must look like.
#[derive(Clone, Copy, Default)]
struct Model {
    length: u64,
    consumed: u64,
    pruned: u64,
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(256) })]

    #[test]
    fn exactly_what_is_not_pruned_is_left(steps in vec(step(), 0..100)) {
        run(|| {
            let shards = [birth(), ShardBirth { upgrade_delay: 11, ..birth() }].map(born);
            let mut models = [Model::default(); 2];
            for step in steps {
                match step {
                    Step::Append(index) => {
                        append(shards[index]);
                        models[index].length += 1;
                    }
                    Step::Anchor(index, parts) => {
                        let model = &mut models[index];
                        model.consumed += (model.length - model.consumed) * u64::from(parts) / 255;
                        consumed(shards[index], model.consumed);
                    }
                    Step::Confirm(index) => {
                        assert_ok!(confirm(shards[index]).dispatch(by_founder()));
                        let model = &mut models[index];
                        model.pruned += (model.consumed - model.pruned).min(MAX_PRUNED.into());
                    }
                }
                for (shard, model) in shards.into_iter().zip(models) {
                    let entry = InboxEntry::Invoke(request(shard, 1));
                    let expected = (model.pruned..model.length).map(|number| (number, entry.clone()));
                    let stands: BTreeMap<_, _> = Inbox::<Test>::iter_prefix(shard).collect();
                    assert_eq!(stands, expected.collect());
                    assert_eq!(InboxPruned::<Test>::get(shard), model.pruned);
                    assert_eq!(InboxLength::<Test>::get(shard), model.length);
                }
            }
        });
    }
}
