//! Genesis presets. All their keys are derived from the published development phrase: whoever reads this can sign for
//! them, so their finality proves nothing to anybody but a developer.

use alloc::vec::Vec;

use cloister_attestation::{Policy, Stance};
use cloister_chain_primitives::RegistrationPolicy;
use frame_support::{build_struct_json_patch, traits::Get};
use serde_json::Value;
use sp_genesis_builder::{PresetId, DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

use crate::{
    AccountId, Balance, BalancesConfig, RuntimeGenesisConfig, SessionConfig, SessionKeys, SudoConfig, TeerexConfig,
    ValidatorSetConfig, UNIT,
};

/// What every endowed account of a preset starts with.
pub const ENDOWMENT: Balance = 1_000_000 * UNIT;

/// The preset with this id: a JSON patch of the genesis configuration.
pub fn preset(id: &PresetId) -> Option<Vec<u8>> {
    let patch = match id.as_ref() {
        DEV_RUNTIME_PRESET => development(),
        LOCAL_TESTNET_RUNTIME_PRESET => local_testnet(),
        _ => return None,
    };
    serde_json::to_vec(&patch).ok()
}

/// The ids of all presets.
pub fn preset_names() -> Vec<PresetId> {
    alloc::vec![PresetId::from(DEV_RUNTIME_PRESET), PresetId::from(LOCAL_TESTNET_RUNTIME_PRESET)]
}

/// One validator, Alice.
fn development() -> Value {
    patch(&[(Sr25519Keyring::Alice, Ed25519Keyring::Alice)])
}

/// Two validators, Alice and Bob.
fn local_testnet() -> Value {
    patch(&[(Sr25519Keyring::Alice, Ed25519Keyring::Alice), (Sr25519Keyring::Bob, Ed25519Keyring::Bob)])
}

fn patch(validators: &[(Sr25519Keyring, Ed25519Keyring)]) -> Value {
    // Aura's and Grandpa's first authorities follow from the session keys.
    let keys = validators.iter().map(|(sr25519, ed25519)| {
        let keys = SessionKeys { aura: sr25519.public().into(), grandpa: ed25519.public().into() };
        (sr25519.to_account_id(), sr25519.to_account_id(), keys)
    });
    build_struct_json_patch!(RuntimeGenesisConfig {
        balances: BalancesConfig { balances: endowed().map(|account| (account, ENDOWMENT)).collect::<Vec<_>>() },
        session: SessionConfig { keys: keys.collect::<Vec<_>>() },
        sudo: SudoConfig { key: Some(Sr25519Keyring::Alice.to_account_id()) },
        teerex: TeerexConfig { simulation_allowed: true, policy: policy() },
        validator_set: ValidatorSetConfig {
            validators: validators.iter().map(|(account, _)| account.to_account_id()).collect::<Vec<_>>()
        },
    })
}

/// The chain's usual policy, and enclaves without a TEE.
fn policy() -> RegistrationPolicy {
    let policy = pallet_teerex::DefaultPolicy::get();
    RegistrationPolicy { appraisal: Policy { simulation: Stance::Allowed, ..policy.appraisal }, ..policy }
}

fn endowed() -> impl Iterator<Item = AccountId> {
    Sr25519Keyring::well_known().map(|account| account.to_account_id())
}
