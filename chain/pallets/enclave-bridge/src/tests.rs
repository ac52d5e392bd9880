use cloister_chain_primitives::{
    Balance, EXISTENTIAL_DEPOSIT, H256, InboxEntry, MIN_SHIELD, SHARD_DEPOSIT, ShardBirth, ShardEntry, ShardId, UNIT,
    storage,
};
use codec::{Decode, Encode};
use frame_support::{
    assert_noop, assert_ok,
    traits::{
        GetStorageVersion,
        fungible::{Inspect, InspectHold},
    },
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};
use sp_runtime::{DispatchError, TokenError, traits::Dispatchable};

use crate::{Error, Escrow, Event, HoldReason, Inbox, InboxLength, InboxUsage, Shards, mock::*, weights};

mod life;
mod money;
mod outbox;
mod pruning;

fn signed() -> RuntimeOrigin {
    RuntimeOrigin::signed(alice())
}

fn by_founder() -> RuntimeOrigin {
    RuntimeOrigin::signed(founder())
}

fn born(birth: ShardBirth) -> ShardId {
    let shard = birth.shard_id(&System::block_hash(0));
    assert_ok!(create(birth).dispatch(by_founder()));
    shard
}

fn last_event() -> RuntimeEvent {
    System::events().pop().expect("an event was deposited").event
}

macro_rules! assert_refused {
    ($call:expr, $origin:expr, $error:ident) => {
        assert_noop!($call.dispatch($origin), Error::<Test>::$error)
    };
}

#[test]
fn storage_version_stands_in_the_genesis() {
    run(|| {
        assert_eq!(EnclaveBridge::on_chain_storage_version(), storage::ENCLAVE_BRIDGE_VERSION);
        let stored = sp_io::storage::get(&storage::enclave_bridge_version()).expect("written at genesis");
        assert_eq!(u16::decode(&mut &stored[..]), Ok(storage::ENCLAVE_BRIDGE_VERSION));
    });
}

#[test]
fn the_founder_bears_a_shard_once() {
    run(|| {
        assert_noop!(create(birth()).dispatch(RuntimeOrigin::root()), DispatchError::BadOrigin);
        assert_refused!(create(birth()), signed(), NotTheFounder);
        let shard = born(birth());
        assert_eq!(Shards::<Test>::get(shard), Some(ShardEntry::born(birth(), 1)));
        assert_eq!(last_event(), Event::ShardConfigUpdated(shard).into());
        assert_refused!(create(birth()), by_founder(), ShardExists);
    });
}

#[test]
fn only_a_registered_enclave_bears_a_shard() {
    run(|| {
        let stranger = ShardBirth { founder: alice(), ..birth() };
        assert_refused!(create(stranger), signed(), FounderNotServing);
        founder_serves(None);
        assert_refused!(create(birth()), by_founder(), FounderNotServing);
        founder_serves(Some([0; 32]));
        assert_refused!(create(birth()), by_founder(), FingerprintMismatch);
        founder_serves(Some(FINGERPRINT));
        born(birth());
    });
}

#[test]
fn founders_pay_a_deposit_for_every_shard() {
    run(|| {
        let held = || Balances::balance_on_hold(&HoldReason::Shard.into(), &founder());
        born(birth());
        // Each escrow's existential deposit, too.
        assert_eq!((held(), balance(&founder())), (SHARD_DEPOSIT, 1_000 * UNIT - SHARD_DEPOSIT - EXISTENTIAL_DEPOSIT));
        born(ShardBirth { upgrade_delay: 11, ..birth() });
        assert_eq!(held(), 2 * SHARD_DEPOSIT);
        // The existential deposit stays free.
        let third = || create(ShardBirth { upgrade_delay: 12, ..birth() });
        let endow = |free| Balances::force_set_balance(RuntimeOrigin::root(), founder(), free);
        for missing in [EXISTENTIAL_DEPOSIT + 1, 1] {
            assert_ok!(endow(SHARD_DEPOSIT + 2 * EXISTENTIAL_DEPOSIT - missing));
            assert_refused!(third(), by_founder(), DepositNotPaid);
        }
        assert_ok!(endow(SHARD_DEPOSIT + 2 * EXISTENTIAL_DEPOSIT));
        assert_ok!(third().dispatch(by_founder()));
        assert_eq!((held(), balance(&founder())), (3 * SHARD_DEPOSIT, EXISTENTIAL_DEPOSIT));
    });
}

#[test]
fn a_shard_whose_founder_does_not_serve_takes_nothing() {
    run(|| {
        let shard = born(birth());
        // Gone, or something else than what the shard authorises.
        for serving in [None, Some([0; 32])] {
            founder_serves(serving);
            assert_refused!(invoke(shard, 1), signed(), ShardNotServed);
            assert_refused!(shield(shard, UNIT), signed(), ShardNotServed);
        }
        founder_serves(Some(FINGERPRINT));
        assert_ok!(invoke(shard, 1).dispatch(signed()));
        assert_ok!(shield(shard, UNIT).dispatch(signed()));
        assert_eq!(InboxLength::<Test>::get(shard), 2);
    });
}

#[test]
fn contradictory_births_are_refused() {
    run(|| {
        let refuse = |mutate: fn(&mut ShardBirth), error: Error<Test>| {
            let mut birth = birth();
            mutate(&mut birth);
            assert_noop!(create(birth).dispatch(by_founder()), error);
        };
        refuse(|birth| birth.config.enclave_fingerprint = [0; 32], Error::FingerprintMismatch);
        refuse(|birth| birth.config.max_instances = Some(0), Error::NoInstancesAllowed);
        refuse(
            |birth| birth.config.authorities = Some(vec![alice()].try_into().expect("one fits")),
            Error::FounderNotAuthorised,
        );
    });
}

#[test]
fn a_named_founder_may_bear_a_shard() {
    run(|| {
        let mut birth = birth();
        birth.config.authorities = Some(vec![alice(), founder()].try_into().expect("two fit"));
        birth.config.max_instances = Some(1);
        born(birth);
    });
}

#[test]
fn invocations_are_numbered_through() {
    run(|| {
        let shard = born(birth());
        assert_ok!(invoke(shard, 10).dispatch(signed()));
        assert_eq!(last_event(), Event::IndirectInvocationRegistered(shard).into());
        assert_ok!(invoke(shard, 11).dispatch(signed()));
        System::set_block_number(2);
        assert_ok!(invoke(shard, 12).dispatch(signed()));
        assert_eq!(InboxLength::<Test>::get(shard), 3);
        for (number, bytes) in [(0, 10), (1, 11), (2, 12)] {
            assert_eq!(Inbox::<Test>::get(shard, number), Some(InboxEntry::Invoke(request(shard, bytes))));
        }
        assert_eq!(Inbox::<Test>::get(shard, 3), None);
    });
}

#[test]
fn calls_and_money_need_a_sender_and_an_open_shard() {
    run(|| {
        let unknown = ShardId(H256::repeat_byte(99));
        assert_refused!(invoke(unknown, 1), signed(), UnknownShard);
        assert_refused!(shield(unknown, UNIT), signed(), UnknownShard);
        let mut closed = birth();
        closed.config.maintenance_mode = true;
        let closed = born(closed);
        assert_refused!(invoke(closed, 1), signed(), InMaintenance);
        assert_refused!(shield(closed, UNIT), signed(), InMaintenance);
        let shard = born(birth());
        assert_noop!(invoke(shard, 1).dispatch(RuntimeOrigin::root()), DispatchError::BadOrigin);
        assert_noop!(shield(shard, UNIT).dispatch(RuntimeOrigin::none()), DispatchError::BadOrigin);
    });
}

#[test]
fn shielded_money_is_booked_in_the_escrow() {
    run(|| {
        let shard = born(birth());
        assert_ok!(shield(shard, 30 * UNIT).dispatch(signed()));
        let event = Event::ShieldFunds { shard, encrypted_beneficiary: beneficiary(), amount: 30 * UNIT };
        assert_eq!(last_event(), event.into());
        assert_ok!(shield(shard, 12 * UNIT).dispatch(signed()));
        assert_eq!(Escrow::<Test>::get(shard), 42 * UNIT);
        assert_eq!(balance(&EnclaveBridge::escrow_account(&shard)), 42 * UNIT + EXISTENTIAL_DEPOSIT);
        assert_eq!(balance(&alice()), 958 * UNIT);
        assert_eq!(InboxLength::<Test>::get(shard), 2);
        let entry = InboxEntry::Shield { encrypted_beneficiary: beneficiary(), amount: 12 * UNIT, sender: alice() };
        assert_eq!(Inbox::<Test>::get(shard, 1), Some(entry));
    });
}

#[test]
fn a_plain_deposit_is_not_counted() {
    run(|| {
        let shard = born(birth());
        let escrow = EnclaveBridge::escrow_account(&shard);
        assert_ok!(Balances::transfer_allow_death(signed(), escrow.clone(), 500 * UNIT));
        assert_eq!(Escrow::<Test>::get(shard), 0);
        assert_eq!(InboxLength::<Test>::get(shard), 0);
        // Nor does it use up what the shard may hold.
        assert_ok!(shield(shard, 100 * UNIT).dispatch(signed()));
        assert_eq!(Escrow::<Test>::get(shard), 100 * UNIT);
        assert_eq!(balance(&escrow), 600 * UNIT + EXISTENTIAL_DEPOSIT);
    });
}

#[test]
fn escrows_of_shards_are_apart() {
    run(|| {
        let first = born(birth());
        let second = born(ShardBirth { upgrade_delay: 11, ..birth() });
        assert_ne!(EnclaveBridge::escrow_account(&first), EnclaveBridge::escrow_account(&second));
        assert_ok!(shield(second, UNIT).dispatch(signed()));
        assert_eq!(Escrow::<Test>::get(first), 0);
    });
}

#[test]
fn amounts_that_cannot_be_shielded_are_refused() {
    run(|| {
        let shard = born(birth());
        assert_refused!(shield(shard, MIN_SHIELD - 1), signed(), BelowMinimumShield);
        assert_refused!(shield(shard, 100 * UNIT + 1), signed(), EscrowCapExceeded);
        assert_ok!(shield(shard, MIN_SHIELD).dispatch(signed()));
        assert_refused!(shield(shard, 100 * UNIT), signed(), EscrowCapExceeded);

        let uncapped = born(ShardBirth { escrow_cap: None, ..birth() });
        assert_noop!(
            shield(uncapped, 1_001 * UNIT).dispatch(signed()),
            DispatchError::Token(TokenError::FundsUnavailable)
        );
        Escrow::<Test>::insert(uncapped, Balance::MAX);
        assert_refused!(shield(uncapped, UNIT), signed(), EscrowCapExceeded);
    });
}

#[test]
fn a_block_takes_a_bounded_number_of_entries_per_shard() {
    run(|| {
        let shard = born(birth());
        for _ in 0..MAX_ENTRIES {
            assert_ok!(invoke(shard, 1).dispatch(signed()));
        }
        assert_refused!(invoke(shard, 1), signed(), TooManyInboxEntries);
        // The money stays where it is.
        assert_refused!(shield(shard, UNIT), signed(), TooManyInboxEntries);
        assert_eq!(balance(&alice()), 1_000 * UNIT);
        // A shard that is flooded does not close another.
        let other = born(ShardBirth { upgrade_delay: 11, ..birth() });
        assert_ok!(invoke(other, 1).dispatch(signed()));
        System::set_block_number(2);
        assert_ok!(invoke(shard, 1).dispatch(signed()));
        assert_eq!(InboxLength::<Test>::get(shard), u64::from(MAX_ENTRIES) + 1);
    });
}

#[test]
fn a_block_takes_a_bounded_number_of_bytes_per_shard() {
    run(|| {
        let shard = born(birth());
        let first = InboxEntry::Invoke(request(shard, 600)).encoded_size();
        assert_ok!(invoke(shard, 600).dispatch(signed()));
        // Variant, shard and the length of the ciphertext take 35 bytes.
        let rest = MAX_BYTES as usize - first - 35;
        assert_refused!(invoke(shard, rest + 1), signed(), TooManyInboxBytes);
        assert_ok!(invoke(shard, rest).dispatch(signed()));
        let used = InboxUsage::<Test>::get(shard);
        assert_eq!((used.block, used.entries, used.bytes), (1, 2, MAX_BYTES));
        System::set_block_number(2);
        assert_ok!(invoke(shard, 600).dispatch(signed()));
    });
}

#[test]
fn numbers_do_not_start_again() {
    run(|| {
        let shard = born(birth());
        InboxLength::<Test>::insert(shard, u64::MAX);
        assert_refused!(invoke(shard, 1), signed(), InboxExhausted);
    });
}

#[test]
fn a_failed_batch_leaves_nothing() {
    run(|| {
        let shard = born(birth());
        let too_much = shield(shard, 101 * UNIT);
        let batch =
            pallet_utility::Call::batch_all { calls: vec![invoke(shard, 1), shield(shard, UNIT), too_much.clone()] };
        let refused = RuntimeCall::Utility(batch).dispatch(signed()).expect_err("the last call is refused");
        assert_eq!(refused.error, Error::<Test>::EscrowCapExceeded.into());
        assert_eq!(InboxLength::<Test>::get(shard), 0);
        assert_eq!(Escrow::<Test>::get(shard), 0);
        assert_eq!(balance(&alice()), 1_000 * UNIT);
        // A plain batch keeps what came before the refused call.
        let batch = pallet_utility::Call::batch { calls: vec![invoke(shard, 1), too_much, invoke(shard, 2)] };
        assert_ok!(RuntimeCall::Utility(batch).dispatch(signed()));
        assert_eq!(InboxLength::<Test>::get(shard), 1);
    });
}

#[test]
fn only_the_founder_confirms_blocks_of_this_chain() {
    run(|| {
        let shard = born(birth());
        let hash = H256::repeat_byte(55);
        frame_system::BlockHash::<Test>::insert(5, hash);
        System::set_block_number(6);
        let confirm = |shard, block_hash, block_number| {
            RuntimeCall::EnclaveBridge(crate::Call::confirm_processed_parentchain_block {
                shard,
                block_hash,
                block_number,
                trusted_calls_merkle_root: H256::repeat_byte(1),
            })
        };
        let founder = by_founder();
        assert_refused!(confirm(ShardId(H256::zero()), hash, 5), founder.clone(), UnknownShard);
        assert_refused!(confirm(shard, hash, 5), signed(), NotTheFounder);
        assert_refused!(confirm(shard, hash, 6), founder.clone(), BlockNotReached);
        assert_refused!(confirm(shard, H256::repeat_byte(56), 5), founder.clone(), BlockHashMismatch);
        // Evicted, retired or expired, or something else than what the shard authorises.
        founder_serves(None);
        assert_refused!(confirm(shard, hash, 5), founder.clone(), FounderNotServing);
        founder_serves(Some([0; 32]));
        assert_refused!(confirm(shard, hash, 5), founder.clone(), FingerprintMismatch);
        founder_serves(Some(FINGERPRINT));
        assert_ok!(confirm(shard, hash, 5).dispatch(founder.clone()));
        let event = Event::ProcessedParentchainBlock {
            shard,
            block_hash: hash,
            trusted_calls_merkle_root: H256::repeat_byte(1),
            block_number: 5,
        };
        assert_eq!(last_event(), event.into());
        assert!(System::block_hash(4).is_zero());
        assert_ok!(confirm(shard, H256::repeat_byte(44), 4).dispatch(founder));
    });
}

#[test]
fn published_layout_is_frozen() {
    run(|| {
        let shard = ShardId(H256::repeat_byte(0xab));
        assert_eq!(invoke(shard, 2).encode()[1..], [&[0][..], &[0xab; 32], &[8, 9, 9]].concat());
        let variants: Vec<u8> = [
            Event::<Test>::ShieldFunds { shard, encrypted_beneficiary: beneficiary(), amount: 1 },
            Event::IndirectInvocationRegistered(shard),
            Event::ShardConfigUpdated(shard),
        ]
        .iter()
        .map(|event| event.encode()[0])
        .collect();
        assert_eq!(variants, [0, 1, 3]);
    });
}

#[test]
fn fees_cover_the_enclaves_work() {
    let micros = |micros| Weight::from_parts(micros * WEIGHT_REF_TIME_PER_MICROS, 0);
    // HPKE, one RSA block, a signature.
    assert!(weights::invoke::<Test>(384).all_gte(micros(73 + 954 + 44)));
    assert!(weights::invoke::<Test>(16_384).all_gte(micros(73 + 43 * 954 + 44)));
    assert!(weights::shield_funds::<Test>(512).all_gte(micros(73 + 2 * 954)));
}

fn balance(account: &cloister_chain_primitives::AccountId) -> Balance {
    Balances::balance(account)
}
