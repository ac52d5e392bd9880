//! Anchors and confirmations on the real runtime, as an enclave sends them: together in one batch.

mod common;

use cloister_chain_primitives::{ShardId, H256};
use cloister_runtime::{Balances, Runtime, RuntimeCall, RuntimeEvent, System};
use common::*;
use frame_support::{
    dispatch::GetDispatchInfo,
    traits::{fungible::Inspect, Get},
};
use pallet_enclave_bridge::{Event as BridgeEvent, Inbox, InboxLength, InboxPruned};
use pallet_sidechain::{Anchors, Error, Event};
use pallet_utility::Event as BatchEvent;
use sp_keyring::Sr25519Keyring::{Alice, Bob};

fn force_batch(calls: Vec<RuntimeCall>) -> pallet_utility::Call<Runtime> {
    pallet_utility::Call::force_batch { calls }
}

/// What calls of a batch and their effects told in this block, in order.
fn told() -> Vec<RuntimeEvent> {
    let ours = |event: &RuntimeEvent| match event {
        RuntimeEvent::EnclaveBridge(event) => matches!(event, BridgeEvent::ProcessedParentchainBlock { .. }),
        RuntimeEvent::Sidechain(_) | RuntimeEvent::Utility(_) => true,
        _ => false,
    };
    System::events().into_iter().map(|record| record.event).filter(ours).collect()
}

/// Entries that stand in an inbox, by the first and the number after the last; none lacks in between.
fn left(shard: ShardId) -> std::ops::Range<u64> {
    let mut numbers: Vec<_> = Inbox::<Runtime>::iter_key_prefix(shard).collect();
    numbers.sort();
    let range = InboxPruned::<Runtime>::get(shard)..InboxLength::<Runtime>::get(shard);
    assert!(numbers.into_iter().eq(range.clone()));
    range
}

/// A shard with three entries, in a new block.
fn with_entries(chain: &mut Chain) -> ShardId {
    let shard = chain.shard();
    for call in [invoke(shard), shield(shard), invoke(shard)] {
        chain.succeed(Bob, call);
    }
    chain.next();
    shard
}

#[test]
fn a_confirmation_prunes_what_the_anchor_before_it_allows() {
    development(|chain| {
        let shard = with_entries(chain);
        let (first, second) = (block(7, 2), block(9, 3));
        chain.succeed(FOUNDER, force_batch(vec![anchor(shard, None, &first), confirm(chain, shard)]));
        assert_eq!(left(shard), 2..3);
        let anchored = Event::FinalizedSidechainBlock {
            shard,
            block_number: 7,
            block_header_hash: first.header_hash,
            validateer: FOUNDER.to_account_id(),
            inbox_consumed: 2,
            outbox_root: first.outbox_root,
        };
        let confirmed = BridgeEvent::ProcessedParentchainBlock {
            shard,
            block_hash: chain.parent(),
            trusted_calls_merkle_root: H256::repeat_byte(5),
            block_number: 1,
        };
        let completed = || RuntimeEvent::from(BatchEvent::ItemCompleted);
        let expected = [anchored.into(), completed(), confirmed.into(), completed(), BatchEvent::BatchCompleted.into()];
        assert_eq!(told(), expected);
        // The other way round the confirmation knows only the older anchor.
        chain.next();
        chain.succeed(FOUNDER, force_batch(vec![confirm(chain, shard), anchor(shard, Some(&first), &second)]));
        assert_eq!(left(shard), 2..3);
        assert_eq!(Anchors::<Runtime>::get(shard).map(|stored| (stored.anchor, stored.at)), Some((second, 3)));
        chain.next();
        chain.succeed(FOUNDER, confirm(chain, shard));
        assert_eq!(left(shard), 3..3);
    });
}

#[test]
fn plain_and_atomic_batches_do_as_well() {
    for atomic in [false, true] {
        development(|chain| {
            let shard = with_entries(chain);
            let calls = vec![anchor(shard, None, &block(7, 2)), confirm(chain, shard)];
            let batch = match atomic {
                true => pallet_utility::Call::batch_all { calls },
                false => pallet_utility::Call::batch { calls },
            };
            chain.succeed(FOUNDER, batch);
            assert_eq!(left(shard), 2..3);
        });
    }
}

#[test]
fn a_refused_anchor_does_not_hinder_the_confirmation() {
    development(|chain| {
        let shard = with_entries(chain);
        // Somebody else was faster.
        chain.succeed(Alice, anchor(shard, None, &block(7, 2)));
        chain.next();
        chain.succeed(FOUNDER, force_batch(vec![anchor(shard, None, &block(7, 2)), confirm(chain, shard)]));
        let told = told();
        assert_eq!(
            told[0],
            RuntimeEvent::Utility(BatchEvent::ItemFailed { error: Error::<Runtime>::AlreadyAnchored.into() })
        );
        assert!(matches!(told[1], RuntimeEvent::EnclaveBridge(BridgeEvent::ProcessedParentchainBlock { .. })));
        assert_eq!(left(shard), 2..3);
    });
}

#[test]
fn a_conflict_is_told_from_inside_a_batch_and_allows_nothing() {
    development(|chain| {
        let shard = with_entries(chain);
        let stored = block(7, 1);
        chain.succeed(Alice, anchor(shard, None, &stored));
        chain.next();
        // Another history of the same height that has consumed more.
        let refused = block(7, 3);
        chain.succeed(FOUNDER, force_batch(vec![anchor(shard, None, &refused), confirm(chain, shard)]));
        let conflict = Event::AnchorConflict { shard, stored, refused };
        assert_eq!(told()[..2], [conflict.into(), BatchEvent::ItemCompleted.into()]);
        assert_eq!(left(shard), 1..3);
        assert_eq!(Anchors::<Runtime>::get(shard).map(|stored| stored.anchor), Some(stored));
    });
}

#[test]
fn a_failed_confirmation_takes_no_anchor_back() {
    development(|chain| {
        let shard = with_entries(chain);
        let first = block(7, 2);
        // Anybody may anchor, but only the founder confirms.
        chain.succeed(Bob, force_batch(vec![anchor(shard, None, &first), confirm(chain, shard)]));
        assert_eq!(Anchors::<Runtime>::get(shard).map(|stored| stored.anchor), Some(first));
        assert_eq!(left(shard), 0..3);
    });
}

#[test]
fn a_call_prunes_what_a_block_can_add() {
    development(|chain| {
        let most: u32 = <Runtime as pallet_enclave_bridge::Config>::MaxInboxEntriesPerBlock::get();
        let pruned: u32 = <Runtime as pallet_enclave_bridge::Config>::MaxPrunedPerCall::get();
        assert!(pruned >= most);
        let shard = chain.shard();
        // Two blocks as full as they may be and half a one.
        for half in 0..5 {
            if half % 2 == 0 {
                chain.next();
            }
            let calls = vec![invoke(shard); most as usize / 2];
            chain.succeed(Bob, pallet_utility::Call::batch_all { calls });
        }
        chain.next();
        let length = InboxLength::<Runtime>::get(shard);
        assert_eq!(length, u64::from(most) * 5 / 2);
        let first = block(7, length);
        chain.succeed(FOUNDER, anchor(shard, None, &first));
        for pruned in (1..=3).map(|calls| length.min(calls * u64::from(pruned))) {
            chain.next();
            chain.succeed(FOUNDER, confirm(chain, shard));
            assert_eq!(left(shard), pruned..length);
        }
    });
}

#[test]
fn pruning_is_paid_for_by_entry() {
    development(|chain| {
        let shard = with_entries(chain);
        let fee = |call: RuntimeCall| {
            let before = Balances::balance(&FOUNDER.to_account_id());
            chain.succeed(FOUNDER, call);
            before - Balances::balance(&FOUNDER.to_account_id())
        };
        let nothing = fee(confirm(chain, shard));
        chain.succeed(Alice, anchor(shard, None, &block(7, 3)));
        let three = fee(confirm(chain, shard));
        // A planck per picosecond of the database's writes: three entries and their count. The rest is given back.
        let write = u128::from(<Runtime as frame_system::Config>::DbWeight::get().write);
        assert_eq!(three, nothing + 4 * write);
        let declared = u128::from(confirm(chain, shard).get_dispatch_info().call_weight.ref_time());
        assert!(declared > 256 * write);
    });
}
