//! How values are written.

use std::str::FromStr;

use cloister_client::{H256, ShardId};

pub fn parse_node_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"));
    match rest.is_some_and(|rest| !rest.is_empty()) {
        true => Ok(text.into()),
        false => Err("a node's address is like ws://host:port or wss://host:port"),
    }
}

/// A SCALE-encoded call.
#[derive(Clone, Debug)]
pub struct EncodedCall(pub Vec<u8>);

pub fn parse_call(text: &str) -> Result<EncodedCall, String> {
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|error| error.to_string())?;
    match bytes.len() {
        // Pallet and call index at least.
        0 | 1 => Err("a call has two bytes at least".into()),
        _ => Ok(EncodedCall(bytes)),
    }
}

/// Reads a shard's id: 32 bytes in 0x hex or base58.
pub fn parse_shard(text: &str) -> Result<ShardId, String> {
    if text.starts_with("0x") {
        return H256::from_str(text).map(ShardId).map_err(|_| "a shard in hex is 0x and 64 digits".into());
    }
    base58(text).map(ShardId).ok_or_else(|| "a shard is 32 bytes in 0x hex or base58".into())
}

/// Reads a hash: 64 hexadecimal digits, after 0x or not.
pub fn parse_hash(text: &str) -> Result<H256, &'static str> {
    H256::from_str(text).map_err(|_| "a hash is 0x and 64 hexadecimal digits")
}

/// Reads the fingerprint of enclave code: 64 hexadecimal digits, after 0x or not, or base58, which is shorter.
pub fn parse_fingerprint(text: &str) -> Result<H256, &'static str> {
    let wrong = "a fingerprint is 32 bytes in hex or base58";
    H256::from_str(text).ok().or_else(|| base58(text)).ok_or(wrong)
}

/// Reads bytes in hex, after 0x or not.
pub fn parse_bytes(text: &str) -> Result<Vec<u8>, String> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|error| error.to_string())
}

fn base58(text: &str) -> Option<H256> {
    let bytes = bs58::decode(text).into_vec().ok()?;
    Some(H256(bytes.try_into().ok()?))
}
