//! Keys and values of layer one's storage that are read by proof.

use alloc::vec::Vec;

use codec::{Decode, Encode};
use sp_crypto_hashing::{blake2_128, twox_64, twox_128};

use crate::{AccountId, Balance, Nonce, ShardId};

/// The layout of `EnclaveBridge` that this crate knows. Another value at [`enclave_bridge_version`] means that an
/// enclave must not interpret what it reads.
pub const ENCLAVE_BRIDGE_VERSION: u16 = 2;

/// The same for `Teerex` and [`teerex_version`].
pub const TEEREX_VERSION: u16 = 1;

/// The same for `Sidechain` and [`sidechain_version`].
pub const SIDECHAIN_VERSION: u16 = 2;

/// `EnclaveBridge`'s storage version; a SCALE u16.
pub fn enclave_bridge_version() -> Vec<u8> {
    prefix("EnclaveBridge", ":__STORAGE_VERSION__:")
}

/// `Teerex`'s storage version; a SCALE u16.
pub fn teerex_version() -> Vec<u8> {
    prefix("Teerex", ":__STORAGE_VERSION__:")
}

/// `Sidechain`'s storage version; a SCALE u16.
pub fn sidechain_version() -> Vec<u8> {
    prefix("Sidechain", ":__STORAGE_VERSION__:")
}

/// A registered enclave; a SCALE [`EnclaveRecord`](crate::EnclaveRecord).
pub fn enclave(account: &AccountId) -> Vec<u8> {
    blake2_map("Teerex", "SovereignEnclaves", account.as_ref())
}

/// All registered enclaves; the account is the last 32 bytes of each key.
pub fn enclaves_prefix() -> Vec<u8> {
    prefix("Teerex", "SovereignEnclaves")
}

/// The raw evidence of a registered enclave; a SCALE [`Evidence`](cloister_claims::Evidence).
pub fn evidence(account: &AccountId) -> Vec<u8> {
    blake2_map("Teerex", "EvidenceOf", account.as_ref())
}

/// What layer one demands of registrations; a SCALE [`RegistrationPolicy`](crate::RegistrationPolicy).
pub fn registration_policy() -> Vec<u8> {
    prefix("Teerex", "Policy")
}

/// TCB info as submitted; a SCALE [`Signed`](cloister_claims::Signed). `key` is root of trust, platform type and FMSPC.
pub fn raw_tcb_info(key: &impl Encode) -> Vec<u8> {
    blake2_map("Teerex", "RawTcbInfos", &key.encode())
}

/// Identity of a quoting enclave as submitted; a SCALE [`Signed`](cloister_claims::Signed). `key` is root of trust and
/// platform type.
pub fn raw_qe_identity(key: &impl Encode) -> Vec<u8> {
    blake2_map("Teerex", "RawQeIdentities", &key.encode())
}

/// Revocation list as submitted; a SCALE [`SignedCrl`](cloister_claims::SignedCrl). `key` is root of trust and issuer.
pub fn raw_revocation_list(key: &impl Encode) -> Vec<u8> {
    blake2_map("Teerex", "RawRevocationLists", &key.encode())
}

/// The entry of a shard; a SCALE [`ShardEntry`](crate::ShardEntry).
pub fn shard(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "Shards", shard)
}

/// How many entries a shard's inbox ever had; a SCALE u64, absent for 0.
pub fn inbox_length(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "InboxLength", shard)
}

/// How many entries of a shard's inbox were pruned; a SCALE u64, absent for 0.
pub fn inbox_pruned(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "InboxPruned", shard)
}

/// Entry `number` (from 0) of a shard's inbox; a SCALE [`InboxEntry`](crate::InboxEntry), absent once it is pruned.
pub fn inbox_entry(shard: &ShardId, number: u64) -> Vec<u8> {
    numbered_map("Inbox", shard, number)
}

/// What became of entry `number` (from 0) of a shard's outbox; a SCALE [`Verdict`](crate::Verdict), absent before that
/// and once an anchor says that the shard has closed the entry.
pub fn settled(shard: &ShardId, number: u64) -> Vec<u8> {
    numbered_map("Settled", shard, number)
}

/// How many verdicts on entries of a shard's outbox were pruned; a SCALE u64, absent for 0.
pub fn settled_pruned(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "SettledPruned", shard)
}

/// What layer one moved for a shard; a SCALE [`Flows`](crate::Flows), absent before anything was.
pub fn flows(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "FlowsOf", shard)
}

/// How fast money may leave a shard, where that is not the default; a SCALE [`OutflowLimit`](crate::OutflowLimit).
pub fn outflow_limit(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "OutflowLimits", shard)
}

/// What counts against that; a SCALE [`OutflowUse`](crate::OutflowUse), absent before anything does.
pub fn outflow_use(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "OutflowUsage", shard)
}

/// Everything that is owed of a shard's money to accounts that could not be paid: SCALE u128s; the account is the last 32
/// bytes of each key.
pub fn unclaimed_prefix(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "Unclaimed", shard)
}

/// What is owed to an account that could not be paid; a SCALE u128, absent for 0.
pub fn unclaimed(shard: &ShardId, account: &AccountId) -> Vec<u8> {
    let mut key = unclaimed_prefix(shard);
    key.extend_from_slice(&blake2_128(account.as_ref()));
    key.extend_from_slice(account.as_ref());
    key
}

/// Planck in a shard's escrow; a SCALE u128, absent for 0.
pub fn escrow(shard: &ShardId) -> Vec<u8> {
    identity_map("EnclaveBridge", "Escrow", shard)
}

/// A shard's newest anchor; a SCALE [`Anchored`](crate::Anchored), absent for a shard that has none.
pub fn anchor(shard: &ShardId) -> Vec<u8> {
    identity_map("Sidechain", "Anchors", shard)
}

/// All shards.
pub fn shards_prefix() -> Vec<u8> {
    prefix("EnclaveBridge", "Shards")
}

/// An account of layer one; a SCALE [`AccountInfo`], absent for an account that does not exist.
pub fn account(account: &AccountId) -> Vec<u8> {
    blake2_map("System", "Account", account.as_ref())
}

/// The block's time in Unix milliseconds; a SCALE u64.
pub fn timestamp() -> Vec<u8> {
    prefix("Timestamp", "Now")
}

/// The block's events.
pub fn events() -> Vec<u8> {
    prefix("System", "Events")
}

/// What layer one stores of an account.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct AccountInfo {
    /// Number of extrinsics that it signed.
    pub nonce: Nonce,
    /// Reference counters, of no meaning to readers.
    pub references: [u32; 3],
    /// Spendable planck, less what is frozen.
    pub free: Balance,
    /// Planck set aside.
    pub reserved: Balance,
    /// Planck of `free` that cannot be spent.
    pub frozen: Balance,
    /// Internal to the pallet.
    pub flags: u128,
}

fn prefix(pallet: &str, item: &str) -> Vec<u8> {
    let mut key = twox_128(pallet.as_bytes()).to_vec();
    key.extend_from_slice(&twox_128(item.as_bytes()));
    key
}

fn identity_map(pallet: &str, item: &str, shard: &ShardId) -> Vec<u8> {
    let mut key = prefix(pallet, item);
    key.extend_from_slice(shard.as_ref());
    key
}

fn numbered_map(item: &str, shard: &ShardId, number: u64) -> Vec<u8> {
    let mut key = identity_map("EnclaveBridge", item, shard);
    let number = number.encode();
    key.extend_from_slice(&twox_64(&number));
    key.extend_from_slice(&number);
    key
}

fn blake2_map(pallet: &str, item: &str, bytes: &[u8]) -> Vec<u8> {
    let mut key = prefix(pallet, item);
    key.extend_from_slice(&blake2_128(bytes));
    key.extend_from_slice(bytes);
    key
}
