//! Genesis presets, sessions and fees.

mod common;

use cloister_attestation::{Policy, Stance, TcbStatus};
use cloister_chain_primitives::{MARK_DEPOSIT, REGISTRATION_DEPOSIT, SHARD_DEPOSIT};
use cloister_runtime::{genesis, Balances, Runtime, RuntimeHoldReason, System, UNIT};
use codec::DecodeAll;
use common::*;
use frame_support::traits::fungible::{Inspect, InspectHold};
use pallet_validator_set::Error;
use sp_consensus_grandpa::{AuthorityId as GrandpaId, ConsensusLog, GRANDPA_ENGINE_ID};
use sp_keyring::{
    Ed25519Keyring,
    Sr25519Keyring::{self, Alice, Bob, Charlie, Eve, FerdieStash},
};
use sp_runtime::{traits::Dispatchable, DispatchError};

fn grandpa_authorities() -> Vec<GrandpaId> {
    pallet_grandpa::Pallet::<Runtime>::grandpa_authorities().into_iter().map(|(id, _)| id).collect()
}

fn aura_authorities() -> Vec<sp_core::sr25519::Public> {
    pallet_aura::Authorities::<Runtime>::get().into_iter().map(Into::into).collect()
}

#[test]
fn presets_build() {
    assert_eq!(genesis::preset_names(), ["development", "local_testnet"]);
    assert_eq!(genesis::preset(&"mainnet".into()), None);
    let validators = [("development", vec![Alice]), ("local_testnet", vec![Alice, Bob])];
    for (name, validators) in validators {
        preset(name).execute_with(|| {
            let accounts: Vec<_> = validators.iter().map(|key| key.to_account_id()).collect();
            assert_eq!(pallet_session::Validators::<Runtime>::get(), accounts);
            assert_eq!(pallet_validator_set::Validators::<Runtime>::get().into_inner(), accounts);
            assert_eq!(aura_authorities(), validators.iter().map(|key| key.public()).collect::<Vec<_>>());
            let finalizers: Vec<GrandpaId> =
                [Ed25519Keyring::Alice, Ed25519Keyring::Bob].map(|key| key.public().into()).to_vec();
            assert_eq!(grandpa_authorities(), finalizers[..validators.len()]);
            assert_eq!(pallet_sudo::Key::<Runtime>::get(), Some(Alice.to_account_id()));
            for account in [Alice, Bob, Charlie, Eve, FerdieStash] {
                assert_eq!(Balances::balance(&account.to_account_id()), 1_000_000 * UNIT);
            }
        });
    }
}

#[test]
fn presets_allow_simulation_and_nothing_else_does() {
    for name in ["development", "local_testnet"] {
        preset(name).execute_with(|| {
            assert!(pallet_teerex::SimulationAllowed::<Runtime>::get());
            let policy = pallet_teerex::Policy::<Runtime>::get();
            assert_eq!(policy.appraisal, Policy { simulation: Stance::Allowed, ..strict() });
            assert_eq!((policy.max_evidence_age, policy.incarnation_gap), (250, 3));
            assert_eq!((policy.reattest_interval_ms, policy.eviction_grace_ms), (86_400_000, 600_000));
        });
    }
    let default = cloister_runtime::TeerexConfig::default();
    assert!(!default.simulation_allowed);
    assert_eq!(default.policy.appraisal, strict());
}

/// What a chain demands of evidence unless its genesis says otherwise: patched hardware.
fn strict() -> Policy {
    use TcbStatus::*;
    let tcb_statuses = vec![UpToDate, SwHardeningNeeded, ConfigurationNeeded, ConfigurationAndSwHardeningNeeded];
    Policy { tcb_statuses, ..Policy::default() }
}

#[test]
fn validators_change_after_the_next_session() {
    chain("local_testnet", |chain| {
        chain.sudo(pallet_validator_set::Call::set_validators { validators: vec![Alice.to_account_id()] });
        let mut changes = Vec::new();
        while chain.number < 42 {
            let number = chain.number;
            for log in chain.next().digest.logs {
                if let Some((GRANDPA_ENGINE_ID, mut log)) = log.as_consensus() {
                    changes.push((number, ConsensusLog::<u32>::decode_all(&mut log).expect("a log of GRANDPA")));
                }
            }
        }
        // Session keys wait for a session; without a new list nothing changes.
        let [(20, ConsensusLog::ScheduledChange(change))] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(change.delay, 0);
        assert_eq!(change.next_authorities, [(Ed25519Keyring::Alice.public().into(), 1)]);
        assert_eq!(pallet_grandpa::CurrentSetId::<Runtime>::get(), 1);
        assert_eq!(grandpa_authorities(), [Ed25519Keyring::Alice.public().into()]);
        assert_eq!(aura_authorities(), [Alice.public()]);
        assert_eq!(pallet_session::CurrentIndex::<Runtime>::get(), 4);
    });
}

#[test]
fn lists_of_validators_that_would_stop_the_chain_are_refused() {
    chain("local_testnet", |_| {
        let set = |keys: &[Sr25519Keyring], origin| {
            let validators = keys.iter().map(|key| key.to_account_id()).collect();
            let call = pallet_validator_set::Call::<Runtime>::set_validators { validators };
            cloister_runtime::RuntimeCall::from(call).dispatch(origin).map_err(|error| error.error)
        };
        let root = frame_system::RawOrigin::Root;
        let refused = |error: Error<Runtime>| Err(DispatchError::from(error));
        let signed = frame_system::RawOrigin::Signed(Alice.to_account_id());
        assert_eq!(set(&[Alice], signed.into()), Err(DispatchError::BadOrigin));
        assert_eq!(set(&[], root.clone().into()), refused(Error::NoValidators));
        assert_eq!(set(&[Alice, Bob, Alice], root.clone().into()), refused(Error::DuplicateValidator));
        assert_eq!(set(&[Alice, Charlie], root.clone().into()), refused(Error::NoSessionKeys));
        assert_eq!(set(&[Alice; 65], root.into()), refused(Error::TooManyValidators));
    });
}

#[test]
fn a_list_whose_validators_purged_their_keys_waits() {
    chain("local_testnet", |chain| {
        chain.sudo(pallet_validator_set::Call::set_validators { validators: vec![Bob.to_account_id()] });
        chain.succeed(Bob, pallet_session::Call::purge_keys {});
        chain.to(31);
        assert_eq!(aura_authorities(), [Alice.public(), Bob.public()]);
        assert!(pallet_validator_set::Changed::<Runtime>::get());
    });
}

#[test]
fn a_fifth_of_fees_goes_to_the_treasury() {
    development(|chain| {
        let treasury = pallet_treasury::Pallet::<Runtime>::account_id();
        let (issued, held) = (Balances::total_issuance(), Balances::balance(&treasury));
        let money = Balances::balance(&Bob.to_account_id());
        chain.succeed(Bob, frame_system::Call::remark { remark: vec![0; 100] });
        let fee = money - Balances::balance(&Bob.to_account_id());
        assert!(fee > UNIT / 10_000 && fee < UNIT / 100, "{fee}");
        assert_eq!(Balances::balance(&treasury) - held, fee / 5);
        assert_eq!(issued - Balances::total_issuance(), fee - fee / 5);
    });
}

#[test]
fn enclaves_pay_deposits_that_registrations_give_back() {
    development(|chain| {
        let founder = FOUNDER.to_account_id();
        let held = |reason: RuntimeHoldReason| Balances::balance_on_hold(&reason, &founder);
        let of_registration = || held(pallet_teerex::HoldReason::Registration.into());
        let of_shard = || held(pallet_enclave_bridge::HoldReason::Shard.into());
        chain.shard();
        assert_eq!((of_registration(), of_shard()), (REGISTRATION_DEPOSIT, SHARD_DEPOSIT));
        chain.succeed(FOUNDER, pallet_teerex::Call::unregister_sovereign_enclave {});
        // The mark stays.
        assert_eq!((of_registration(), of_shard()), (MARK_DEPOSIT, SHARD_DEPOSIT));
    });
}

#[test]
fn senders_pay_for_the_enclaves_work() {
    development(|chain| {
        let shard = chain.shard();
        let money = Balances::balance(&Bob.to_account_id());
        chain.succeed(Bob, invoke(shard));
        // A planck per picosecond of HPKE, RSA and a signature.
        assert!(money - Balances::balance(&Bob.to_account_id()) > (73 + 954 + 44) * 1_000_000);
        assert_eq!(System::account_nonce(Bob.to_account_id()), 1);
    });
}
