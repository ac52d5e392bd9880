//! Whoever floods inboxes or fills blocks: bounded weight, prices that hurt, and room for others in the next block.

mod common;

use cloister_chain_primitives::{
    inbox::{MAX_CYPHERTEXT, MAX_ENCRYPTED_BENEFICIARY, MAX_INBOX_ENTRIES},
    AccountId, Anchor, Balance, OutboxKind, Request, ShardId, H256, UNIT,
};
use cloister_runtime::{fees, Balances, Runtime, RuntimeCall, System, SLOT_DURATION};
use codec::{DecodeAll, Encode};
use common::*;
use frame_support::{
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::{fungible::Inspect, Get},
    weights::Weight,
};
use pallet_enclave_bridge::{weights, Error, ExitUsage, InboxLength, InboxUsage};
use pallet_transaction_payment::{Multiplier, NextFeeMultiplier};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};
use sp_runtime::{traits::Convert, DispatchError, FixedPointNumber};

/// Nobody has its key, and it has no money.
const NOBODY: AccountId = AccountId::new([77; 32]);

type Bridge = pallet_enclave_bridge::Call<Runtime>;
type Utility = pallet_utility::Call<Runtime>;

fn invoke_of(shard: ShardId, bytes: u32) -> RuntimeCall {
    let cyphertext = vec![8; bytes as usize].try_into().expect("it fits");
    Bridge::invoke { request: Request { shard, cyphertext } }.into()
}

/// What ordinary extrinsics may take of a block.
fn normal() -> Weight {
    let weights: frame_system::limits::BlockWeights = <Runtime as frame_system::Config>::BlockWeights::get();
    weights.get(DispatchClass::Normal).max_total.expect("there is a limit")
}

// The inbox.

#[test]
fn an_empty_ciphertext_is_no_cheaper_than_an_rsa_block() {
    assert_eq!(weights::invoke::<Runtime>(0), weights::invoke::<Runtime>(384));
    assert_eq!(weights::shield_funds::<Runtime>(0), weights::shield_funds::<Runtime>(384));
    assert!(weights::invoke::<Runtime>(385).ref_time() > weights::invoke::<Runtime>(384).ref_time());
}

/// Whoever would keep everybody else out of a shard pays for two thirds of every block, and the price rises.
#[test]
fn all_of_an_inboxs_room_costs_two_thirds_of_a_block() {
    let quota = weights::invoke::<Runtime>(0).ref_time() * u64::from(MAX_INBOX_ENTRIES);
    assert!(quota * 3 > normal().ref_time() * 2, "{quota}");
    development(|chain| {
        let shard = chain.shard();
        chain.next();
        let price = |chain: &Chain, call: RuntimeCall| {
            let before = Balances::balance(&Bob.to_account_id());
            chain.succeed(Bob, call);
            before - Balances::balance(&Bob.to_account_id())
        };
        let all = || Utility::batch_all { calls: vec![invoke_of(shard, 0); MAX_INBOX_ENTRIES as usize] }.into();
        assert!(price(chain, all()) > UNIT / 4);
        // Others are kept out, of this shard and until the next block.
        assert_eq!(refused(chain, Charlie, invoke(shard)), Error::<Runtime>::TooManyInboxEntries.into());
        assert_eq!(refused(chain, Charlie, shield(shard)), Error::<Runtime>::TooManyInboxEntries.into());
        chain.next();
        chain.succeed(Charlie, invoke(shard));
        assert!(NextFeeMultiplier::<Runtime>::get() > Multiplier::from_u32(1));
        assert_eq!(InboxLength::<Runtime>::get(shard), u64::from(MAX_INBOX_ENTRIES) + 1);
    });
}

/// An enclave that does nothing else is never left behind for ever.
#[test]
fn an_inbox_takes_less_than_an_enclave_consumes() {
    let source = include_str!("../../../enclave/sidechain/src/choosing.rs");
    let line = source.lines().find_map(|line| line.strip_prefix("pub const MAX_INBOX_PER_BLOCK: usize = "));
    let of_a_block: u64 = line.and_then(|line| line.strip_suffix(';')).expect("a constant").parse().expect("a number");
    // The shard's default slot.
    let consumed = of_a_block * SLOT_DURATION / 300;
    let taken: u32 = <Runtime as pallet_enclave_bridge::Config>::MaxInboxEntriesPerBlock::get();
    assert!(u64::from(taken) < consumed, "{taken} a second, but {consumed} consumed");
    // And pruned as fast.
    let pruned: u32 = <Runtime as pallet_enclave_bridge::Config>::MaxPrunedPerCall::get();
    assert!(pruned >= taken);
}

#[test]
fn the_largest_invocations_are_bounded_by_a_blocks_weight() {
    development(|chain| {
        let shard = chain.shard();
        chain.next();
        let largest = invoke_of(shard, MAX_CYPHERTEXT);
        // Every RSA block that it may be is paid for: 43 of 954 µs.
        assert!(declared(&largest) > 43 * 954_000_000);
        let mut taken = 0;
        while chain.send(Bob, largest.clone()).is_ok() {
            taken += 1;
        }
        // One less for what checking each extrinsic takes.
        let fits = normal().ref_time() / largest.get_dispatch_info().call_weight.ref_time();
        assert!((fits - 1..=fits).contains(&taken), "{taken} of {fits}");
        assert_eq!(InboxLength::<Runtime>::get(shard), taken);
        // No larger one can be said.
        let longer = Request { shard, cyphertext: vec![8; MAX_CYPHERTEXT as usize].try_into().expect("it fits") };
        let mut call = [vec![54, 0], longer.shard.encode()].concat();
        call.extend(vec![8u8; MAX_CYPHERTEXT as usize + 1].encode());
        assert!(RuntimeCall::decode_all(&mut &call[..]).is_err());
        let beneficiary = vec![8u8; MAX_ENCRYPTED_BENEFICIARY as usize + 1].encode();
        let call = [vec![54, 2], shard.encode(), beneficiary, UNIT.encode()].concat();
        assert!(RuntimeCall::decode_all(&mut &call[..]).is_err());
    });
}

#[test]
fn shards_that_do_not_exist_take_nothing() {
    development(|chain| {
        let unknown = ShardId(H256::repeat_byte(0xee));
        let calls = [
            shield(unknown),
            invoke(unknown),
            Bridge::claim { shard: unknown, account: Bob.to_account_id() }.into(),
            anchor(unknown, None, &block(1, 0)),
        ];
        let errors: [DispatchError; 4] = [
            Error::<Runtime>::UnknownShard.into(),
            Error::<Runtime>::UnknownShard.into(),
            Error::<Runtime>::NothingUnclaimed.into(),
            pallet_sidechain::Error::<Runtime>::UnknownShard.into(),
        ];
        for (call, error) in calls.into_iter().zip(errors) {
            assert_eq!(refused(chain, Bob, call), error);
        }
        assert_eq!(Balances::balance(&escrow(&unknown)), 0);
    });
}

#[test]
fn failing_calls_of_a_batch_use_up_nothing_of_a_blocks_room() {
    development(|chain| {
        let shard = shielded(chain);
        let failing = |call| Utility::batch_all { calls: vec![call, shield_amount(shard, 1)] }.into();
        let before = ours();
        let outcome = batch(chain, Bob, vec![failing(invoke(shard)); 100]);
        assert_eq!(outcome, vec![Err(Error::<Runtime>::BelowMinimumShield.into()); 100]);
        assert!(ours() == before && InboxUsage::<Runtime>::get(shard).block < chain.number);
        // Likewise a retired shard's exits.
        chain.sudo(Bridge::retire_shard { shard });
        let owed = outbox(shard, vec![entry(shard, 0, OutboxKind::Exit, NOBODY, UNIT)]);
        chain.succeed(Alice, anchor(shard, None, &Anchor { outbox_root: owed.root(), ..block(1, 1) }));
        chain.to(13);
        let before = ours();
        let outcome = batch(chain, Bob, vec![failing(unshield(shard, &owed, 0)); 10]);
        assert_eq!(outcome, vec![Err(Error::<Runtime>::ShardRetired.into()); 10]);
        assert!(ours() == before && !ExitUsage::<Runtime>::contains_key(shard));
        chain.succeed(Bob, unshield(shard, &owed, 0));
        assert_eq!(Balances::balance(&NOBODY), UNIT);
    });
}

// Prices.

/// Whoever fills every block to starve shards' anchors and registrations.
#[test]
fn full_blocks_become_dear() {
    let percent = |multiplier: Multiplier| multiplier.saturating_mul_int(100u64);
    development(|chain| {
        for _ in 0..600 {
            System::register_extra_weight_unchecked(normal(), DispatchClass::Normal);
            chain.next();
        }
        // Ten minutes: a quarter more.
        let after = NextFeeMultiplier::<Runtime>::get();
        assert_eq!(percent(after), 125);
        // It falls again, though not as fast as it rose.
        chain.to(chain.number + 600);
        let later = NextFeeMultiplier::<Runtime>::get();
        assert!(later < after && later > Multiplier::from_u32(1));
    });
    preset("development").execute_with(|| {
        System::register_extra_weight_unchecked(normal(), DispatchClass::Normal);
        let of_a_block = Balance::from(normal().ref_time());
        let (mut multiplier, mut paid, mut hours) = (Multiplier::from_u32(1), 0, Vec::new());
        for second in 1..=5 * 3_600 {
            paid += multiplier.saturating_mul_int(of_a_block);
            multiplier = fees::Adjustment::convert(multiplier);
            if second % 3_600 == 0 {
                hours.push((percent(multiplier), paid / UNIT));
            }
        }
        // Percent of the lowest price, and UNIT that were paid so far.
        assert_eq!(hours[0], (385, 2_856));
        assert_eq!(hours[4].0 / 100, 854);
        assert!(hours[4].1 > 850_000);
    });
}
