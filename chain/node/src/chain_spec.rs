// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! The chains that the node knows by name, and those that come from a file.
//!
//! A genesis is made by the runtime from its own presets, so that a change of the runtime cannot leave the node with
//! a stale one.

use cloister_chain_primitives::{SS58_PREFIX, UNIT};
use cloister_runtime::WASM_BINARY;
use sc_service::{ChainType, GenericChainSpec, Properties};
use sp_genesis_builder::{DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};
use std::path::PathBuf;

/// The chain named `id`: a preset, the path of a JSON file, or for the empty name the local test network.
pub fn load(id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
    let spec = match id {
        "development" | "dev" => development()?,
        "local_testnet" | "local" | "" => local_testnet()?,
        path => GenericChainSpec::from_json_file(PathBuf::from(path)).map_err(|error| {
            format!("{path} is neither a preset (development, local_testnet) nor a chain specification: {error}")
        })?,
    };
    Ok(Box::new(spec))
}

/// One validator, Alice, whose key everybody knows.
fn development() -> Result<GenericChainSpec, String> {
    preset("Cloister Development", "cloister_development", ChainType::Development, DEV_RUNTIME_PRESET)
}

/// Two validators, Alice and Bob, and sessions that are short enough to see the set change.
fn local_testnet() -> Result<GenericChainSpec, String> {
    preset("Cloister Local Testnet", "cloister_local_testnet", ChainType::Local, LOCAL_TESTNET_RUNTIME_PRESET)
}

fn preset(name: &str, id: &str, chain_type: ChainType, runtime_preset: &str) -> Result<GenericChainSpec, String> {
    // Absent when the runtime was built with SKIP_WASM_BUILD.
    let code = WASM_BINARY.ok_or("this node was built without a runtime; give a chain specification file")?;
    // Read by wallets and explorers; nothing on chain depends on them.
    let properties = Properties::from_iter([
        ("ss58Format".into(), SS58_PREFIX.into()),
        ("tokenDecimals".into(), UNIT.ilog10().into()),
        ("tokenSymbol".into(), "UNIT".into()),
    ]);
    Ok(GenericChainSpec::builder(code, None)
        .with_name(name)
        .with_id(id)
        .with_chain_type(chain_type)
        .with_protocol_id("cloister")
        .with_properties(properties)
        .with_genesis_config_preset_name(runtime_preset)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_their_ids_and_types() {
        for (names, id, chain_type) in [
            (&["development", "dev"][..], "cloister_development", ChainType::Development),
            (&["local_testnet", "local", ""], "cloister_local_testnet", ChainType::Local),
        ] {
            for name in names {
                let spec = load(name).unwrap();
                assert_eq!((spec.id(), spec.chain_type()), (id, chain_type.clone()), "{name}");
                assert_eq!(spec.properties()["tokenDecimals"], 12);
            }
        }
    }

    #[test]
    fn the_runtime_builds_the_genesis_of_every_preset() {
        for name in ["development", "local_testnet"] {
            let storage = load(name).unwrap().as_storage_builder().build_storage().unwrap();
            assert_eq!(storage.top.get(&b":code"[..]).map(Vec::as_slice), WASM_BINARY, "{name}");
        }
    }

    #[test]
    fn an_exported_specification_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain.json");
        std::fs::write(&path, load("development").unwrap().as_json(true).unwrap()).unwrap();
        let spec = load(path.to_str().unwrap()).unwrap();
        assert_eq!((spec.id(), spec.chain_type()), ("cloister_development", ChainType::Development));
    }

    #[test]
    fn an_unknown_name_is_explained() {
        let error = load("mainnet").err().unwrap();
        assert!(error.starts_with("mainnet is neither a preset (development, local_testnet)"), "{error}");
    }
}
