//! Money's way out of a shard, by real extrinsics.

mod common;

use cloister_chain_primitives::{
    outbox::OutboxTree, AccountId, Anchor, Flows, OutboxEntry, OutboxKind, OutflowLimit, ShardConfig, ShardId, Verdict,
    EXISTENTIAL_DEPOSIT, UNIT,
};
use cloister_runtime::{Balances, Runtime, RuntimeCall, RuntimeEvent, System};
use common::*;
use frame_support::traits::fungible::Inspect;
use pallet_enclave_bridge::{Error, Escrow, Event, FlowsOf, Settled, SettledPruned, Unclaimed};
use pallet_sidechain::Anchors;
use sp_core::H256;
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Eve};
use sp_runtime::DispatchError;

/// Nobody has its key, and it has no money.
const NOBODY: AccountId = AccountId::new([77; 32]);

/// A shard into which Bob shielded 7 UNIT, in a new block.
fn shielded(chain: &mut Chain) -> ShardId {
    let shard = chain.shard();
    chain.succeed(Bob, shield(shard));
    chain.next();
    shard
}

fn unshields(shard: ShardId, owed: &[(AccountId, u128)]) -> Vec<OutboxEntry> {
    let entries = (0..).zip(owed);
    entries.map(|(number, (to, amount))| entry(shard, number, OutboxKind::Unshield, to.clone(), *amount)).collect()
}

/// Anchors the first block of a shard, which opened these.
fn owe(chain: &Chain, shard: ShardId, entries: Vec<OutboxEntry>) -> OutboxTree {
    let owed = outbox(shard, entries);
    chain.succeed(Alice, anchor(shard, None, &Anchor { outbox_root: owed.root(), ..block(1, 1) }));
    owed
}

/// What a call that takes effect tells last of the bridge.
fn told(chain: &Chain, call: RuntimeCall) -> Event<Runtime> {
    chain.succeed(Alice, call);
    let ours = |event| match event {
        RuntimeEvent::EnclaveBridge(event) => Some(event),
        _ => None,
    };
    System::events().into_iter().rev().find_map(|record| ours(record.event)).expect("it tells something")
}

fn is_deferred(event: &Event<Runtime>) -> bool {
    matches!(event, Event::UnshieldDeferred { .. })
}

fn refused(chain: &Chain, call: RuntimeCall) -> DispatchError {
    chain.send(Alice, call).expect("the extrinsic is valid").expect_err("the call is refused")
}

#[test]
fn identical_unshields_are_both_paid_and_none_twice() {
    development(|chain| {
        let shard = shielded(chain);
        let owed = owe(chain, shard, unshields(shard, &[(NOBODY, UNIT), (NOBODY, UNIT)]));
        for number in 0..2 {
            chain.succeed(Charlie, unshield(shard, &owed, number));
        }
        assert_eq!(Balances::balance(&NOBODY), 2 * UNIT);
        // Settled ones again, in later blocks, too.
        for _ in 0..2 {
            for number in 0..2 {
                let again = refused(chain, unshield(shard, &owed, number));
                assert_eq!(again, Error::<Runtime>::AlreadySettled.into());
            }
            chain.next();
        }
        assert_eq!(Balances::balance(&NOBODY), 2 * UNIT);
        assert_eq!(Escrow::<Runtime>::get(shard), SHIELDED - 2 * UNIT);
    });
}

#[test]
fn what_layer_one_cannot_pay_is_refused() {
    development(|chain| {
        let shard = shielded(chain);
        let owed = [(NOBODY, EXISTENTIAL_DEPOSIT - 1), (NOBODY, UNIT), (Charlie.to_account_id(), UNIT)];
        let owed = owe(chain, shard, unshields(shard, &owed));
        chain.succeed(Alice, unshield(shard, &owed, 0));
        assert_eq!(Settled::<Runtime>::get(shard, 0), Some(Verdict::Refused));
        // Root empties the escrow.
        chain.sudo(pallet_balances::Call::force_transfer {
            source: escrow(&shard).into(),
            dest: Eve.to_account_id().into(),
            value: SHIELDED,
        });
        for number in 1..3 {
            chain.succeed(Alice, unshield(shard, &owed, number));
            assert_eq!(Settled::<Runtime>::get(shard, number), Some(Verdict::Refused));
        }
        assert_eq!((Balances::balance(&NOBODY), Balances::balance(&escrow(&shard))), (0, EXISTENTIAL_DEPOSIT));
        assert_eq!(FlowsOf::<Runtime>::get(shard), Flows { shielded: SHIELDED, paid: 0, repaid: 0 });
    });
}

#[test]
fn what_reaches_the_limit_is_paid_in_the_next_period() {
    development(|chain| {
        let shard = shielded(chain);
        let limit = OutflowLimit { amount: 3 * UNIT, period: 5 };
        chain.sudo(pallet_enclave_bridge::Call::set_outflow_limit { shard, limit: Some(limit) });
        let owed = owe(chain, shard, unshields(shard, &[(NOBODY, 2 * UNIT), (NOBODY, 2 * UNIT)]));
        chain.succeed(Alice, unshield(shard, &owed, 0));
        while chain.number < 5 {
            assert!(is_deferred(&told(chain, unshield(shard, &owed, 1))));
            assert_eq!(Settled::<Runtime>::get(shard, 1), None);
            chain.next();
        }
        chain.succeed(Alice, unshield(shard, &owed, 1));
        assert_eq!(Balances::balance(&NOBODY), 4 * UNIT);
    });
}

#[test]
fn everybody_leaves_a_retired_shard() {
    development(|chain| {
        let shard = shielded(chain);
        chain.sudo(pallet_enclave_bridge::Call::retire_shard { shard });
        let shards = [(NOBODY, 3 * UNIT), (AccountId::new([78; 32]), 5), (Charlie.to_account_id(), UNIT)];
        let exits = (0..)
            .zip(&shards)
            .map(|(number, (account, amount))| entry(shard, number, OutboxKind::Exit, account.clone(), *amount));
        let owed = owe(chain, shard, exits.collect());
        assert_eq!(refused(chain, shield(shard)), Error::<Runtime>::ShardRetired.into());
        chain.succeed(Bob, invoke(shard));
        assert!(is_deferred(&told(chain, unshield(shard, &owed, 0))));
        // It was born with a delay of ten blocks.
        chain.to(12);
        assert_eq!(refused(chain, invoke(shard)), Error::<Runtime>::ShardRetired.into());
        let charlie = Balances::balance(&Charlie.to_account_id());
        chain.succeed(
            Alice,
            pallet_utility::Call::batch_all { calls: (0..3).map(|number| unshield(shard, &owed, number)).collect() },
        );
        assert_eq!(Balances::balance(&NOBODY), 3 * UNIT);
        assert_eq!(Balances::balance(&Charlie.to_account_id()), charlie + UNIT);
        // What is less than an account can have waits for it to have more.
        let poor = shards[1].0.clone();
        assert_eq!(Unclaimed::<Runtime>::get(shard, &poor), 5);
        let value = EXISTENTIAL_DEPOSIT;
        chain.succeed(Bob, pallet_balances::Call::transfer_allow_death { dest: poor.clone().into(), value });
        chain.succeed(Bob, pallet_enclave_bridge::Call::claim { shard, account: poor.clone() });
        assert_eq!(Balances::balance(&poor), EXISTENTIAL_DEPOSIT + 5);
        assert_eq!(Escrow::<Runtime>::get(shard), SHIELDED - 4 * UNIT - 5);
    });
}

#[test]
fn a_block_settles_a_bounded_number_of_exits() {
    development(|chain| {
        let shard = shielded(chain);
        chain.sudo(pallet_enclave_bridge::Call::retire_shard { shard });
        let account = |number: u64| AccountId::new(H256::from_low_u64_be(number + 1).0);
        let exits = (0..300).map(|number| entry(shard, number, OutboxKind::Exit, account(number), EXISTENTIAL_DEPOSIT));
        let owed = owe(chain, shard, exits.collect());
        chain.to(12);
        let submit = |range: std::ops::Range<u64>| {
            let calls = range.map(|number| unshield(shard, &owed, number)).collect();
            chain.succeed(Alice, pallet_utility::Call::force_batch { calls });
        };
        submit(0..150);
        submit(150..300);
        let settled = || Settled::<Runtime>::iter_prefix(shard).count();
        assert_eq!((settled(), Settled::<Runtime>::get(shard, 255)), (256, Some(Verdict::Paid)));
        chain.next();
        let calls = (256..300).map(|number| unshield(shard, &owed, number)).collect();
        chain.succeed(Alice, pallet_utility::Call::force_batch { calls });
        assert_eq!(settled(), 300);
        assert!((0..300).all(|number| Balances::balance(&account(number)) == EXISTENTIAL_DEPOSIT));
    });
}

#[test]
fn maintenance_keeps_nobody_from_leaving() {
    development(|chain| {
        let shard = shielded(chain);
        let update = |maintenance_mode, upgrade_delay| pallet_enclave_bridge::Call::<Runtime>::update_shard_config {
            shard,
            config: ShardConfig { maintenance_mode, ..birth().config },
            upgrade_delay,
        };
        chain.sudo(update(true, 0));
        assert_eq!(refused(chain, invoke(shard)), Error::<Runtime>::InMaintenance.into());
        assert_eq!(refused(chain, shield(shard)), Error::<Runtime>::InMaintenance.into());
        let owed = owe(chain, shard, unshields(shard, &[(NOBODY, UNIT)]));
        chain.succeed(FOUNDER, confirm(chain, shard));
        chain.succeed(Alice, unshield(shard, &owed, 0));
        assert_eq!(Balances::balance(&NOBODY), UNIT);
        chain.sudo(update(false, 3));
        chain.to(4);
        assert_eq!(refused(chain, invoke(shard)), Error::<Runtime>::InMaintenance.into());
        chain.next();
        chain.succeed(Bob, invoke(shard));
    });
}

#[test]
fn an_upgrade_waits_for_the_shards_delay() {
    development(|chain| {
        let shard = shielded(chain);
        let update = |config: ShardConfig, upgrade_delay| {
            let call = pallet_enclave_bridge::Call::<Runtime>::update_shard_config { shard, config, upgrade_delay };
            chain.succeed(Alice, pallet_sudo::Call::sudo { call: Box::new(call.into()) });
            let last = System::events().into_iter().rev().find_map(|record| match record.event {
                RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result }) => Some(sudo_result),
                _ => None,
            });
            last.expect("root was told")
        };
        let foreign = ShardConfig { enclave_fingerprint: [9; 32], ..birth().config };
        assert_eq!(update(foreign, 99), Err(Error::<Runtime>::FingerprintFixed.into()));
        let more = ShardConfig { max_instances: Some(5), ..birth().config };
        assert_eq!(update(more.clone(), 9), Err(Error::<Runtime>::UpgradeDelayTooShort.into()));
        assert_eq!(update(more.clone(), 10), Ok(()));
        let entry = pallet_enclave_bridge::Shards::<Runtime>::get(shard).expect("it was born");
        assert_eq!((entry.config.at(11), entry.config.at(12)), (&birth().config, &more));
    });
}

#[test]
fn verdicts_go_when_the_shard_has_closed_their_entries() {
    development(|chain| {
        let shard = shielded(chain);
        let owed = owe(chain, shard, unshields(shard, &[(NOBODY, UNIT), (NOBODY, UNIT), (NOBODY, 2 * UNIT)]));
        for number in 0..2 {
            chain.succeed(Alice, unshield(shard, &owed, number));
        }
        chain.next();
        let rest = outbox(shard, owed.entries()[2..].to_vec());
        let first = Anchors::<Runtime>::get(shard).expect("it was anchored").anchor;
        let second = Anchor { outbox_root: rest.root(), outbox_closed: 2, ..block(2, 1) };
        let calls = vec![anchor(shard, Some(&first), &second), confirm(chain, shard), unshield(shard, &rest, 2)];
        chain.succeed(FOUNDER, pallet_utility::Call::force_batch { calls });
        assert_eq!(SettledPruned::<Runtime>::get(shard), 2);
        assert_eq!(Settled::<Runtime>::iter_prefix(shard).collect::<Vec<_>>(), [(2, Verdict::Paid)]);
        assert_eq!(refused(chain, unshield(shard, &owed, 0)), Error::<Runtime>::AlreadySettled.into());
        assert_eq!(Balances::balance(&NOBODY), 4 * UNIT);
    });
}

/// What one incarnation signed and somebody kept back until the next one was registered.
#[test]
fn what_an_earlier_incarnation_signed_does_no_harm() {
    development(|chain| {
        let shard = shielded(chain);
        let owed = owe(chain, shard, unshields(shard, &[(NOBODY, UNIT)]));
        let first = Anchors::<Runtime>::get(shard).expect("it was anchored").anchor;
        chain.next();
        // Another history than the one that the next incarnation will have.
        let forged = outbox(shard, unshields(shard, &[(NOBODY, UNIT), (NOBODY, 5 * UNIT)]));
        let late = Anchor { outbox_root: forged.root(), fees: UNIT, ..block(2, 1) };
        let nonce = System::account_nonce(FOUNDER.to_account_id());
        let calls = vec![anchor(shard, Some(&first), &late), confirm(chain, shard), unshield(shard, &owed, 0)];
        // The registration of the next incarnation comes before them.
        let presigned: Vec<_> =
            (nonce + 1..).zip(calls).map(|(nonce, call)| chain.sign_mortal(FOUNDER, call, nonce)).collect();

        chain.to(8);
        let registration = Box::new(registration_of(&next_incarnation(), chain.number - 1, &chain.parent()));
        chain.succeed(FOUNDER, pallet_teerex::Call::register_enclave { registration });
        let state = || {
            let anchored = Anchors::<Runtime>::get(shard).expect("it was anchored").anchor;
            (anchored, Settled::<Runtime>::get(shard, 0), Balances::balance(&NOBODY))
        };
        let before = state();
        let mut landed = presigned.into_iter().map(|extrinsic| chain.apply(extrinsic).expect("it is valid"));
        let wrong = DispatchError::from(pallet_sidechain::Error::<Runtime>::WrongSignature);
        assert_eq!(landed.next(), Some(Err(wrong)));
        // The block that it confirms is one that this chain has, and the inbox goes no further than what is anchored.
        assert_eq!(landed.next(), Some(Ok(())));
        assert_eq!(state(), before);
        // What is owed is owed, whoever submits it.
        assert_eq!(landed.next(), Some(Ok(())));
        let paid = (first, Some(Verdict::Paid), UNIT);
        assert_eq!(state(), paid);
        // The next incarnation, which knows nothing of that, submits it as well; and anybody the old anchor.
        assert_eq!(refused(chain, unshield(shard, &owed, 0)), Error::<Runtime>::AlreadySettled.into());
        assert_eq!(refused(chain, anchor(shard, Some(&first), &late)), wrong);
        assert_eq!(refused(chain, unshield(shard, &forged, 1)), Error::<Runtime>::NotInOutbox.into());
        assert_eq!(state(), paid);
        chain.succeed(Alice, anchor_by(&next_incarnation(), shard, Some(&first), &block(2, 1)));
    });
}
