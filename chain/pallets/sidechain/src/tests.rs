use cloister_chain_primitives::{
    AccountId, Acknowledgement, Anchor, Anchored, EnclaveRecord, Flows, H256, ShardId, Standing, UNIT,
    anchor::{Anchors as _, MAX_MEMBERS},
    calls::Call,
    storage,
};
use codec::{Decode, DecodeAll, Encode};
use frame_support::{
    assert_noop, assert_ok,
    traits::GetStorageVersion,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};
use pallet_enclave_bridge::{Escrow, FlowsOf, Inbox, InboxLength, InboxPruned, Shards};
use sp_core::Pair;
use sp_runtime::{DispatchError, traits::Dispatchable};

use crate::{Anchors, Error, Event, mock::*, weights};

macro_rules! assert_refused {
    ($candidate:expr, $error:ident) => {
        assert_noop!($candidate.submit(), Error::<Test>::$error)
    };
}

/// Events of this pallet in this block, in order.
fn events() -> Vec<Event<Test>> {
    let ours = |record: frame_system::EventRecord<RuntimeEvent, _>| match record.event {
        RuntimeEvent::Sidechain(event) => Some(event),
        _ => None,
    };
    System::events().into_iter().filter_map(ours).collect()
}

/// Goes to the next block, which has no events.
fn next_block() {
    System::set_block_number(System::block_number() + 1);
    System::reset_events();
}

/// A shard with 5 inbox entries whose block 7, anchored in layer one's block 1, has consumed 2. It is block 2 now.
fn anchored() -> (ShardId, Anchor) {
    let shard = born(10, 5);
    let stored = Anchor { inbox_consumed: 2, ..anchor(7) };
    assert_ok!(Candidate::new(shard, None, stored).submit());
    next_block();
    (shard, stored)
}

#[test]
fn storage_version_stands_in_the_genesis() {
    run(|| {
        assert_eq!(Sidechain::on_chain_storage_version(), storage::SIDECHAIN_VERSION);
        let stored = sp_io::storage::get(&storage::sidechain_version()).expect("written at genesis");
        assert_eq!(u16::decode(&mut &stored[..]), Ok(storage::SIDECHAIN_VERSION));
    });
}

#[test]
fn the_first_anchor_has_no_ancestor() {
    run(|| {
        let shard = born(10, 5);
        assert_eq!(Sidechain::anchored(&shard), None);
        assert_refused!(Candidate::new(shard, Some(&anchor(1)), anchor(7)), UnknownAncestor);
        assert_ok!(Candidate::new(shard, None, anchor(7)).submit());
        assert_eq!(Sidechain::anchored(&shard), Some(Anchored { anchor: anchor(7), at: 1 }));
    });
}

#[test]
fn anchors_follow_one_another() {
    run(|| {
        let (shard, stored) = anchored();
        let candidate = Anchor { inbox_consumed: 5, ..anchor(9) };
        assert_ok!(Candidate::new(shard, Some(&stored), candidate).submit());
        assert_eq!(Sidechain::anchored(&shard), Some(Anchored { anchor: candidate, at: 2 }));
        let event = Event::FinalizedSidechainBlock {
            shard,
            block_number: 9,
            block_header_hash: candidate.header_hash,
            validateer: founder(),
            inbox_consumed: 5,
            outbox_root: candidate.outbox_root,
        };
        assert_eq!(events(), [event]);
        // A block that consumes nothing of the inbox.
        next_block();
        let quiet = Anchor { inbox_consumed: 5, ..anchor(10) };
        assert_ok!(Candidate::new(shard, Some(&candidate), quiet).submit());
        assert_eq!(Sidechain::anchored(&shard), Some(Anchored { anchor: quiet, at: 3 }));
    });
}

#[test]
fn anybody_may_submit_but_only_under_an_account() {
    run(|| {
        let (shard, stored) = anchored();
        let candidate = Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(9) });
        for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
            assert_noop!(candidate.clone().call().dispatch(origin), DispatchError::BadOrigin);
        }
        let stranger = RuntimeOrigin::signed(AccountId::new([99; 32]));
        assert_ok!(candidate.call().dispatch(stranger));
    });
}

#[test]
fn shards_are_anchored_apart() {
    run(|| {
        let (first, stored) = anchored();
        let second = born(11, 0);
        assert_ok!(Candidate::new(second, None, anchor(3)).submit());
        assert_ok!(Candidate::new(first, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(8) }).submit());
        assert_eq!(Sidechain::anchored(&second), Some(Anchored { anchor: anchor(3), at: 2 }));
        assert_refused!(Candidate::new(ShardId(H256::zero()), None, anchor(1)), UnknownShard);
    });
}

#[test]
fn a_block_of_layer_one_takes_one_anchor_of_a_shard() {
    run(|| {
        let (shard, stored) = anchored();
        let (eight, nine) = (Anchor { number: 8, ..stored }, Anchor { number: 9, ..stored });
        assert_ok!(Candidate::new(shard, Some(&stored), eight).submit());
        assert_refused!(Candidate::new(shard, Some(&eight), nine), AnchoredInThisBlock);
        next_block();
        assert_ok!(Candidate::new(shard, Some(&eight), nine).submit());
    });
}

#[test]
fn the_stored_anchor_is_not_taken_again() {
    run(|| {
        let (shard, stored) = anchored();
        let again = Candidate::new(shard, None, stored);
        // The very same call, and with itself as ancestor; later, and in the block that took it.
        assert_refused!(again.clone(), AlreadyAnchored);
        assert_refused!(Candidate::new(shard, Some(&stored), stored), AlreadyAnchored);
        System::set_block_number(1);
        assert_refused!(again, AlreadyAnchored);
    });
}

#[test]
fn acknowledged_conflicts_are_told_and_change_nothing() {
    run(|| {
        let (shard, stored) = anchored();
        let before = Anchors::<Test>::get(shard);
        let other = H256::repeat_byte(0xee);
        let conflicts = [
            // Another block of the same height, and another account of the same block.
            (Some(stored), Anchor { header_hash: other, ..stored }),
            (Some(stored), Anchor { inbox_consumed: 3, ..stored }),
            (Some(stored), Anchor { outbox_root: other, ..stored }),
            (Some(stored), Anchor { outbox_closed: 1, ..stored }),
            (Some(stored), Anchor { fees: 1, ..stored }),
            // A lower height.
            (Some(stored), anchor(6)),
            (None, anchor(6)),
            // An ancestor that is not the stored one.
            (None, anchor(8)),
            (Some(Anchor { header_hash: other, ..stored }), anchor(8)),
            (Some(Anchor { number: 6, ..stored }), anchor(8)),
        ];
        for (ancestor, refused) in conflicts {
            System::reset_events();
            assert_ok!(Candidate::new(shard, ancestor.as_ref(), refused).submit());
            assert_eq!(events(), [Event::AnchorConflict { shard, stored, refused }]);
            assert_eq!(Anchors::<Test>::get(shard), before);
        }
        // The shard goes on, in the same block.
        assert_ok!(Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(8) }).submit());
    });
}

#[test]
fn an_older_anchor_does_not_come_back() {
    run(|| {
        let (shard, stored) = anchored();
        let older = Candidate::new(shard, None, stored);
        let newer = Anchor { inbox_consumed: 2, ..anchor(8) };
        assert_ok!(Candidate::new(shard, Some(&stored), newer).submit());
        assert_refused!(older.clone(), AnchoredInThisBlock);
        next_block();
        assert_ok!(older.submit());
        assert_eq!(events(), [Event::AnchorConflict { shard, stored: newer, refused: stored }]);
        assert_eq!(Sidechain::anchored(&shard), Some(Anchored { anchor: newer, at: 2 }));
    });
}

#[test]
fn strangers_cause_no_conflict() {
    run(|| {
        let (shard, stored) = anchored();
        let forged = Candidate {
            acknowledgements: vec![acknowledge(&second(), &shard, &anchor(6))],
            ..Candidate::new(shard, Some(&stored), anchor(6))
        };
        assert_refused!(forged, WrongSignature);
        assert_refused!(Candidate { acknowledgements: vec![], ..Candidate::new(shard, None, anchor(6)) }, NoMajority);
    });
}

#[test]
fn anchors_need_distinct_members_in_majority() {
    run(|| {
        let (shard, stored) = anchored();
        let right = Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(9) });
        let with = |acknowledgements| Candidate { acknowledgements, ..right.clone() };
        let [ours] = &right.acknowledgements[..] else { panic!("the founder alone acknowledges") };
        let foreign = Acknowledgement { account: alice(), ..ours.clone() };
        assert_refused!(with(vec![]), NoMajority);
        assert_refused!(with(vec![foreign.clone()]), NotAMember);
        assert_refused!(with(vec![ours.clone(), foreign]), NotAMember);
        assert_refused!(with(vec![ours.clone(), ours.clone()]), AcknowledgedTwice);
        assert_refused!(with(vec![ours.clone(); MAX_MEMBERS as usize]), AcknowledgedTwice);
        assert_ok!(right.submit());
    });
}

#[test]
fn members_must_serve_as_what_the_shard_authorises() {
    run(|| {
        let (shard, stored) = anchored();
        let candidate = Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(9) });
        registered(None);
        assert_refused!(candidate.clone(), MemberNotServing);
        registered(Some(EnclaveRecord { standing: Standing::Leaving { until: EXPIRY }, ..record(&first()) }));
        assert_refused!(candidate.clone(), MemberNotServing);
        registered(Some(EnclaveRecord { fingerprint: [0; 32], ..record(&first()) }));
        assert_refused!(candidate.clone(), FingerprintMismatch);
        registered(Some(record(&first())));
        time(EXPIRY);
        assert_refused!(candidate.clone(), MemberNotServing);
        time(EXPIRY - 1);
        assert_ok!(candidate.submit());
    });
}

#[test]
fn what_an_earlier_incarnation_signed_does_not_land() {
    run(|| {
        let (shard, stored) = anchored();
        let late = Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(9) });
        registered(Some(record(&second())));
        assert_refused!(late.clone(), WrongSignature);
        // Nor does its conflict count as one.
        assert_refused!(Candidate::new(shard, Some(&stored), anchor(6)), WrongSignature);
        let acknowledgements = vec![acknowledge(&second(), &shard, &late.anchor)];
        assert_ok!(Candidate { acknowledgements, ..late }.submit());
    });
}

#[test]
fn signatures_are_for_one_anchor_shard_and_chain() {
    run(|| {
        let (shard, stored) = anchored();
        let right = Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(9) });
        let signed = |bytes: Vec<u8>| {
            let acknowledgement = Acknowledgement { account: founder(), signature: first().sign(&bytes).0 };
            Candidate { acknowledgements: vec![acknowledgement], ..right.clone() }
        };
        let other = H256::repeat_byte(0xee);
        assert_refused!(signed(right.anchor.signed_bytes(&other, &shard)), WrongSignature);
        assert_refused!(signed(right.anchor.signed_bytes(&genesis(), &ShardId(other))), WrongSignature);
        assert_refused!(signed(right.anchor.encode()), WrongSignature);
        let others = [
            Anchor { number: 10, ..right.anchor },
            Anchor { header_hash: other, ..right.anchor },
            Anchor { inbox_consumed: 3, ..right.anchor },
            Anchor { outbox_root: other, ..right.anchor },
            Anchor { outbox_closed: 1, ..right.anchor },
            Anchor { fees: 1, ..right.anchor },
        ];
        for anchor in others {
            // The signature of another anchor under this one, and of this one under another.
            assert_refused!(signed(anchor.signed_bytes(&genesis(), &shard)), WrongSignature);
            assert_refused!(Candidate { anchor, ..right.clone() }, WrongSignature);
        }
        for bit in [0, 255, 256, 511] {
            let mut broken = right.clone();
            broken.acknowledgements[0].signature[bit / 8] ^= 1 << (bit % 8);
            assert_refused!(broken, WrongSignature);
        }
        assert_ok!(signed(right.anchor.signed_bytes(&genesis(), &shard)).submit());
    });
}

#[test]
fn the_inbox_is_consumed_forwards_and_no_further_than_it_reaches() {
    run(|| {
        let (shard, stored) = anchored();
        let consumed = |inbox_consumed| Candidate::new(shard, Some(&stored), Anchor { inbox_consumed, ..anchor(9) });
        assert_refused!(consumed(1), InboxConsumedDecreased);
        assert_refused!(consumed(6), InboxNotReached);
        assert_refused!(consumed(u64::MAX), InboxNotReached);
        assert_ok!(consumed(5).submit());
        let empty = born(11, 0);
        assert_refused!(Candidate::new(empty, None, Anchor { inbox_consumed: 1, ..anchor(1) }), InboxNotReached);
    });
}

#[test]
fn what_is_closed_and_what_is_collected_never_shrinks() {
    run(|| {
        let (shard, stored) = anchored();
        let (outbox_closed, fees) = (3, 5);
        let next = Anchor { inbox_consumed: 2, outbox_closed, fees, ..anchor(9) };
        assert_ok!(Candidate::new(shard, Some(&stored), next).submit());
        next_block();
        let then = |outbox_closed, fees| {
            Candidate::new(shard, Some(&next), Anchor { outbox_closed, fees, number: 10, ..next })
        };
        assert_refused!(then(2, 5), OutboxClosedDecreased);
        assert_refused!(then(0, 9), OutboxClosedDecreased);
        assert_refused!(then(3, 4), FeesDecreased);
        assert_ok!(then(3, 5).submit());
        let stored = Sidechain::anchored(&shard).expect("it was anchored").anchor;
        assert_eq!((stored.number, stored.outbox_closed, stored.fees), (10, 3, 5));
    });
}

#[test]
fn who_anchors_is_repaid_out_of_the_shards_fees() {
    run(|| {
        let (shard, stored) = anchored();
        let encrypted_beneficiary = vec![10; 88].try_into().expect("88 bytes fit");
        assert_ok!(EnclaveBridge::shield_funds(RuntimeOrigin::signed(founder()), shard, encrypted_beneficiary, UNIT));
        let money = || Balances::free_balance(founder());
        let by_founder = |candidate: Candidate| candidate.call().dispatch(RuntimeOrigin::signed(founder()));
        let cost = |call: &RuntimeCall| {
            let weight = weights::confirm_imported_sidechain_block::<Test>(1);
            <SubmissionFee as pallet_enclave_bridge::SubmissionFee>::fee(weight, call.encoded_size())
        };

        let first = Anchor { inbox_consumed: 2, fees: UNIT / 2, ..anchor(8) };
        let candidate = Candidate::new(shard, Some(&stored), first);
        let (before, cost) = (money(), cost(&candidate.clone().call()));
        assert_ok!(by_founder(candidate.clone()));
        assert_eq!(money() - before, cost);
        assert_eq!(FlowsOf::<Test>::get(shard), Flows { shielded: UNIT, paid: 0, repaid: cost });
        assert_eq!(Escrow::<Test>::get(shard), UNIT - cost);

        // Neither what is refused nor what conflicts.
        let before = money();
        assert!(by_founder(candidate).is_err());
        next_block();
        assert_ok!(by_founder(Candidate::new(shard, Some(&stored), Anchor { number: 9, ..first })));
        assert!(matches!(events()[..], [Event::AnchorConflict { .. }]));
        assert_eq!(money(), before);
        // Nor beyond what was collected. An anchor lands all the same.
        FlowsOf::<Test>::mutate(shard, |flows| flows.repaid = UNIT / 2 - 7);
        assert_ok!(by_founder(Candidate::new(shard, Some(&first), Anchor { number: 9, ..first })));
        assert_eq!(money() - before, 7);
        next_block();
        let ninth = Anchor { number: 9, ..first };
        assert_ok!(by_founder(Candidate::new(shard, Some(&ninth), Anchor { number: 10, ..first })));
        assert_eq!(money() - before, 7);
    });
}

#[test]
fn the_bridge_prunes_what_an_anchor_has_consumed() {
    run(|| {
        let left = |shard| {
            let mut numbers: Vec<_> = Inbox::<Test>::iter_key_prefix(shard).collect();
            numbers.sort();
            numbers
        };
        let confirm = |shard| {
            let founder = RuntimeOrigin::signed(founder());
            EnclaveBridge::confirm_processed_parentchain_block(founder, shard, genesis(), 0, H256::zero())
        };
        let empty = born(11, 2);
        let (shard, stored) = anchored();
        assert_ok!(confirm(shard));
        assert_eq!((InboxPruned::<Test>::get(shard), left(shard)), (2, vec![2, 3, 4]));
        assert_eq!(InboxLength::<Test>::get(shard), 5);
        // What conflicts and what is refused counts for nothing.
        assert_ok!(Candidate::new(shard, None, Anchor { inbox_consumed: 5, ..anchor(9) }).submit());
        assert!(matches!(events()[..], [Event::AnchorConflict { .. }]));
        assert_refused!(
            Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 6, ..anchor(9) }),
            InboxNotReached
        );
        assert_ok!(confirm(shard));
        assert_eq!(left(shard), [2, 3, 4]);
        assert_ok!(Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 4, ..anchor(9) }).submit());
        assert_ok!(confirm(shard));
        assert_eq!((InboxPruned::<Test>::get(shard), left(shard)), (4, vec![4]));
        // A shard without an anchor keeps all.
        assert_ok!(confirm(empty));
        assert_eq!((InboxPruned::<Test>::get(empty), left(empty)), (0, vec![0, 1]));
    });
}

#[test]
fn a_shard_under_maintenance_is_anchored() {
    run(|| {
        let (shard, stored) = anchored();
        Shards::<Test>::mutate(shard, |entry| {
            entry.as_mut().expect("it was born").config.active_config.maintenance_mode = true;
        });
        assert_ok!(Candidate::new(shard, Some(&stored), Anchor { inbox_consumed: 2, ..anchor(9) }).submit());
    });
}

#[test]
fn layout_is_frozen() {
    run(|| {
        let (shard, stored) = anchored();
        assert_eq!(storage::anchor(&shard), Anchors::<Test>::hashed_key_for(shard));
        let bytes = sp_io::storage::get(&storage::anchor(&shard)).expect("the shard is anchored");
        assert_eq!(Anchored::decode_all(&mut &bytes[..]), Ok(Anchored { anchor: stored, at: 1 }));

        let (block_header_hash, outbox_root) = (H256::repeat_byte(1), H256::repeat_byte(2));
        let event = Event::<Test>::FinalizedSidechainBlock {
            shard,
            block_number: 3,
            block_header_hash,
            validateer: founder(),
            inbox_consumed: 4,
            outbox_root,
        };
        // What is published comes first.
        assert_eq!(event.encode(), (0u8, shard, 3u64, block_header_hash, founder(), 4u64, outbox_root).encode());
        let event = Event::<Test>::AnchorConflict { shard, stored, refused: anchor(1) };
        assert_eq!(event.encode(), (1u8, shard, stored, anchor(1)).encode());
        assert_eq!(Error::<Test>::UnknownShard.encode(), [0]);
        assert_eq!(Error::<Test>::AlreadyAnchored.encode(), [1]);
        assert_eq!(Error::<Test>::InboxNotReached.encode(), [11]);
        assert_eq!(Error::<Test>::OutboxClosedDecreased.encode(), [12]);
        assert_eq!(Error::<Test>::FeesDecreased.encode(), [13]);
    });
}

#[test]
fn enclaves_encode_the_call_as_this_pallet_does() {
    run(|| {
        let shard = ShardId(H256::repeat_byte(9));
        for ancestor in [None, Some(anchor(7))] {
            let candidate = Candidate::new(shard, ancestor.as_ref(), anchor(8));
            let ours = Call::confirm_imported_sidechain_block(
                &shard,
                candidate.ancestor.as_ref(),
                &candidate.anchor,
                &candidate.acknowledgements,
            );
            // The pallet's index is the runtime's.
            assert_eq!(ours.encode()[0], 53);
            assert_eq!(ours.encode()[1..], candidate.call().encode()[1..]);
        }
    });
}

#[test]
fn more_acknowledgements_than_members_can_be_do_not_decode() {
    let encoded = |count: u32| {
        let acknowledgement = Acknowledgement { account: founder(), signature: [0; 64] };
        let acknowledgements = vec![acknowledgement; count as usize];
        let call = Call::confirm_imported_sidechain_block(&ShardId::default(), None, &anchor(1), &acknowledgements);
        crate::Call::<Test>::decode_all(&mut &call.encode()[1..])
    };
    assert!(encoded(MAX_MEMBERS).is_ok());
    assert!(encoded(MAX_MEMBERS + 1).is_err());
}

#[test]
fn senders_pay_for_every_signature() {
    let weight = weights::confirm_imported_sidechain_block::<Test>;
    // 73 µs measured.
    let each = Weight::from_parts(100 * WEIGHT_REF_TIME_PER_MICROS, 0);
    assert!(weight(1).all_gte(weight(0).saturating_add(each)));
    assert!(weight(32).all_gte(weight(0).saturating_add(each.saturating_mul(32))));
}
