//! The state before a shard's first block.

use codec::Encode;
use sp_runtime::BuildStorage;

use crate::{
    runtime::{Runtime, RuntimeGenesisConfig},
    scratch,
};

/// Entries of a state without accounts and money. They hold no shard id: the id is a hash over the commitment to them.
pub fn genesis_storage() -> Result<Vec<Entry>, GenesisError> {
    let storage = RuntimeGenesisConfig::default().build_storage().map_err(GenesisError)?;
    Ok(storage.top.into_iter().filter(|(key, _)| !scratch::is_scratch(key)).collect())
}

/// A storage key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A pallet refused its part of the genesis.
#[derive(Debug, thiserror::Error)]
#[error("genesis of the shard's runtime: {0}")]
pub struct GenesisError(String);

/// FRAME metadata of the runtime.
pub fn metadata() -> Vec<u8> {
    Runtime::metadata().encode()
}
