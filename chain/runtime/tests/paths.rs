//! A call or shielding reaches the inbox exactly once, by whatever path it is dispatched.

mod common;

use cloister_chain_primitives::{AccountId, InboxEntry, ShardId, EXISTENTIAL_DEPOSIT, UNIT};
use cloister_runtime::{proxy::ProxyType, OriginCaller, Runtime, RuntimeCall, RuntimeEvent, System};
use codec::Encode;
use common::*;
use frame_support::{dispatch::GetDispatchInfo, traits::fungible::Inspect};
use pallet_enclave_bridge::{Error, Escrow, Inbox, InboxLength};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};
use sp_runtime::DispatchError;

/// What stands in the inbox after `invoke` and `shield` of `sender`, and nothing else does.
fn assert_both_once(shard: ShardId, sender: AccountId) {
    assert_eq!(InboxLength::<Runtime>::get(shard), 2);
    let mut entries: Vec<_> = Inbox::<Runtime>::iter_prefix(shard).collect();
    entries.sort_by_key(|(number, _)| *number);
    let shielding = InboxEntry::Shield { encrypted_beneficiary: beneficiary(), amount: SHIELDED, sender };
    assert_eq!(entries, [(0, InboxEntry::Invoke(request(shard))), (1, shielding)]);
    assert_eq!(Escrow::<Runtime>::get(shard), SHIELDED);
    assert_eq!(cloister_runtime::Balances::balance(&escrow(&shard)), SHIELDED + EXISTENTIAL_DEPOSIT);
}

fn assert_nothing(shard: ShardId) {
    assert_eq!(InboxLength::<Runtime>::get(shard), 0);
    assert_eq!(Inbox::<Runtime>::iter_prefix(shard).count(), 0);
    assert_eq!(Escrow::<Runtime>::get(shard), 0);
}

#[test]
fn directly() {
    development(|chain| {
        let shard = chain.shard();
        chain.succeed(Bob, invoke(shard));
        chain.succeed(Bob, shield(shard));
        assert_both_once(shard, Bob.to_account_id());
    });
}

#[test]
fn in_a_batch() {
    development(|chain| {
        let shard = chain.shard();
        chain.succeed(Bob, pallet_utility::Call::batch { calls: vec![invoke(shard), shield(shard)] });
        assert_both_once(shard, Bob.to_account_id());
    });
}

#[test]
fn not_in_a_failed_batch() {
    development(|chain| {
        let shard = chain.shard();
        let calls = vec![invoke(shard), shield(shard), shield_amount(shard, 1)];
        let refused = chain.send(Bob, pallet_utility::Call::batch_all { calls }).expect("the extrinsic is valid");
        assert_eq!(refused, Err(Error::<Runtime>::BelowMinimumShield.into()));
        assert_nothing(shard);
        chain.next();
        assert_nothing(shard);
    });
}

#[test]
fn by_a_proxy() {
    development(|chain| {
        let shard = chain.shard();
        let by = |proxy_type| pallet_proxy::Call::add_proxy {
            delegate: Charlie.to_account_id().into(),
            proxy_type,
            delay: 0,
        };
        let proxied = |force_proxy_type, call: RuntimeCall| pallet_proxy::Call::proxy {
            real: Bob.to_account_id().into(),
            force_proxy_type,
            call: Box::new(call),
        };
        chain.succeed(Bob, by(ProxyType::NonTransfer));
        chain.succeed(Charlie, proxied(None, invoke(shard)));
        // This kind of proxy may call the shard, but not spend money.
        chain.succeed(Charlie, proxied(None, shield(shard)));
        assert_eq!(InboxLength::<Runtime>::get(shard), 1);
        chain.succeed(Bob, by(ProxyType::Any));
        chain.succeed(Charlie, proxied(Some(ProxyType::Any), shield(shard)));
        assert_both_once(shard, Bob.to_account_id());
    });
}

#[test]
fn by_a_multisig() {
    development(|chain| {
        let shard = chain.shard();
        let mut signatories = vec![Bob.to_account_id(), Charlie.to_account_id()];
        signatories.sort();
        let account = pallet_multisig::Pallet::<Runtime>::multi_account_id(&signatories, 2);
        chain.succeed(
            Alice,
            pallet_balances::Call::transfer_allow_death { dest: account.clone().into(), value: 100 * UNIT },
        );
        for (number, call) in (0..).zip([invoke(shard), shield(shard)]) {
            let max_weight = call.get_dispatch_info().call_weight;
            let approve = |other: AccountId, maybe_timepoint| pallet_multisig::Call::as_multi {
                threshold: 2,
                other_signatories: vec![other],
                maybe_timepoint,
                call: Box::new(call.clone()),
                max_weight,
            };
            chain.succeed(Bob, approve(Charlie.to_account_id(), None));
            assert_eq!(InboxLength::<Runtime>::get(shard), number);
            let timepoint = pallet_multisig::Pallet::<Runtime>::timepoint();
            // Not the extrinsic that runs now, but Bob's, which was the last one.
            let index = timepoint.index - 1;
            chain.succeed(
                Charlie,
                approve(Bob.to_account_id(), Some(pallet_multisig::Timepoint { index, ..timepoint })),
            );
            assert_eq!(InboxLength::<Runtime>::get(shard), number + 1);
        }
        assert_both_once(shard, account);
    });
}

#[test]
fn by_the_scheduler() {
    development(|chain| {
        let shard = chain.shard();
        for call in [invoke(shard), shield(shard)] {
            let as_bob = pallet_utility::Call::<Runtime>::dispatch_as {
                as_origin: Box::new(OriginCaller::system(frame_system::RawOrigin::Signed(Bob.to_account_id()))),
                call: Box::new(call),
            };
            chain.sudo(pallet_scheduler::Call::schedule {
                when: 3,
                maybe_periodic: None,
                priority: 63,
                call: Box::new(as_bob.into()),
            });
        }
        chain.to(2);
        assert_nothing(shard);
        chain.to(3);
        assert_both_once(shard, Bob.to_account_id());
        chain.to(6);
        assert_both_once(shard, Bob.to_account_id());
    });
}

#[test]
fn on_the_first_blocks_of_sessions() {
    development(|chain| {
        let shard = chain.shard();
        let as_bob = pallet_utility::Call::<Runtime>::dispatch_as {
            as_origin: Box::new(OriginCaller::system(frame_system::RawOrigin::Signed(Bob.to_account_id()))),
            call: Box::new(pallet_utility::Call::batch_all { calls: vec![invoke(shard), shield(shard)] }.into()),
        };
        let call = Box::new(as_bob.into());
        chain.sudo(pallet_scheduler::Call::schedule { when: 10, maybe_periodic: None, priority: 63, call });
        chain.to(11);
        assert_both_once(shard, Bob.to_account_id());
    });
}

#[test]
fn a_root_call_is_no_sender() {
    development(|chain| {
        let shard = chain.shard();
        let call = Box::new(invoke(shard));
        chain.succeed(Alice, pallet_sudo::Call::sudo { call });
        let refused = RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result: Err(DispatchError::BadOrigin) });
        assert!(System::events().iter().any(|record| record.event.encode() == refused.encode()));
        assert_nothing(shard);
    });
}
