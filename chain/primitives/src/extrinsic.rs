//! Signed extrinsics of layer one (format version 4 with the runtime's transaction extensions).

use alloc::vec::Vec;

use codec::{Compact, Encode};
use sp_runtime::{MultiSignature, generic::Era};

use crate::{AccountId, Balance, H256, Nonce, calls::Call};

/// What every extrinsic of a chain signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, codec::Decode)]
pub struct ChainVersion {
    /// Hash of block 0.
    pub genesis: H256,
    /// The runtime's `spec_version`.
    pub spec_version: u32,
    /// The runtime's `transaction_version`.
    pub transaction_version: u32,
}

/// How long an extrinsic may be included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mortality {
    /// The period and phase.
    pub era: Era,
    /// Hash of the block at which the era begins; the genesis for an immortal one.
    pub birth_hash: H256,
}

/// Composes a signed extrinsic, with its length before it as the RPC wants it. `sign` gets the payload (at most 256
/// bytes: longer ones are hashed first, as the format says).
pub fn signed(
    call: &Call,
    sender: &AccountId,
    nonce: Nonce,
    mortality: Mortality,
    chain: &ChainVersion,
    sign: impl FnOnce(&[u8]) -> MultiSignature,
) -> Vec<u8> {
    let tip: Balance = 0;
    let no_metadata_hash = 0u8;
    let extensions = (mortality.era, Compact(nonce), Compact(tip), no_metadata_hash);
    let implied = (chain.spec_version, chain.transaction_version, chain.genesis, mortality.birth_hash, None::<H256>);
    let payload = (call, &extensions, implied).encode();
    let signature = if payload.len() > 256 { sign(&sp_crypto_hashing::blake2_256(&payload)) } else { sign(&payload) };
    let address_id = 0u8;
    let body = (0x84u8, address_id, sender, signature, extensions, call).encode();
    body.encode()
}
