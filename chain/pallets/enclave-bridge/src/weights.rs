//! What the calls cost: layer one's storage and, because senders pay nothing on the shard for what comes through the
//! inbox, the enclave's work on one core.
//!
//! The enclave's times are measured (release build, one core): HPKE open 73 µs, one RSA-3072 OAEP decryption 954 µs,
//! verification of an sr25519 signature 44 µs. Layer one cannot tell which envelope a ciphertext is, and what fails to
//! open as HPKE is tried as RSA, so senders pay for both.

use frame_support::{
    traits::Get,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};

use crate::Config;

/// Decoding, hashing and bookkeeping of any call here.
const OVERHEAD_MICROS: u64 = 20;
/// Hashing an entry of the largest size and proving it to the enclave.
const ENTRY_MICROS: u64 = 30;
/// A transfer between two accounts, without their database accesses.
const TRANSFER_MICROS: u64 = 50;
/// Hashing a leaf of an outbox or a node above it.
const HASH_MICROS: u64 = 3;
const HPKE_OPEN_MICROS: u64 = 73;
const RSA_DECRYPT_MICROS: u64 = 954;
const SIGNATURE_MICROS: u64 = 44;
const RSA_BLOCK_BYTES: usize = 384;

/// Weight of `invoke` with a ciphertext of this many bytes.
pub fn invoke<T: Config>(cyphertext: usize) -> Weight {
    micros(OVERHEAD_MICROS.saturating_add(ENTRY_MICROS).saturating_add(SIGNATURE_MICROS))
        .saturating_add(decryption(cyphertext))
        // Shard, length and usage are read; length, usage and the entry are written.
        .saturating_add(T::DbWeight::get().reads_writes(3, 3))
        .saturating_add(founder_serves::<T>())
}

/// Weight of `confirm_processed_parentchain_block` when it prunes so many entries of the inbox and so many verdicts.
pub fn confirm_processed_parentchain_block<T: Config>(entries: u32, verdicts: u32) -> Weight {
    // Each is written, and the count of each kind if there are any.
    let written = |pruned: u32| u64::from(pruned).saturating_add(pruned.min(1).into());
    // Shard, block hash, anchor and both counts are read.
    micros(OVERHEAD_MICROS)
        .saturating_add(T::DbWeight::get().reads_writes(5, written(entries).saturating_add(written(verdicts))))
        .saturating_add(founder_serves::<T>())
        .saturating_add(repayment::<T>())
}

/// Weight of `shield_funds` with an encrypted account of this many bytes.
pub fn shield_funds<T: Config>(encrypted_account: usize) -> Weight {
    micros(OVERHEAD_MICROS.saturating_add(ENTRY_MICROS).saturating_add(TRANSFER_MICROS))
        .saturating_add(decryption(encrypted_account))
        // As `invoke`, and the limit, its use, what was moved, the escrow's booking and two accounts.
        .saturating_add(T::DbWeight::get().reads_writes(9, 8))
        .saturating_add(founder_serves::<T>())
}

/// Weight of `unshield_funds` with a path of so many hashes.
pub fn unshield_funds<T: Config>(siblings: usize) -> Weight {
    let hashes = u64::try_from(siblings).unwrap_or(u64::MAX).saturating_add(1);
    micros(OVERHEAD_MICROS.saturating_add(TRANSFER_MICROS).saturating_add(HASH_MICROS.saturating_mul(hashes)))
        // Genesis hash, shard, anchor, verdict, limit, its use, the escrow's booking, what was moved, two accounts and
        // what is owed are read; verdict, use, booking, what was moved, two accounts or what is owed are written.
        .saturating_add(T::DbWeight::get().reads_writes(11, 6))
        .saturating_add(repayment::<T>())
}

/// Weight of `update_shard_config`.
pub fn update_shard_config<T: Config>() -> Weight {
    micros(OVERHEAD_MICROS).saturating_add(T::DbWeight::get().reads_writes(1, 1))
}

/// Weight of `retire_shard`.
pub fn retire_shard<T: Config>() -> Weight {
    micros(OVERHEAD_MICROS).saturating_add(T::DbWeight::get().reads_writes(1, 1))
}

/// Weight of `set_outflow_limit`.
pub fn set_outflow_limit<T: Config>() -> Weight {
    micros(OVERHEAD_MICROS).saturating_add(T::DbWeight::get().reads_writes(1, 1))
}

/// Weight of `claim`.
pub fn claim<T: Config>() -> Weight {
    // The genesis hash, what is owed and two accounts; all but the hash are written.
    micros(OVERHEAD_MICROS.saturating_add(TRANSFER_MICROS)).saturating_add(T::DbWeight::get().reads_writes(4, 3))
}

/// Weight of repaying the sender of any call.
pub fn repayment<T: Config>() -> Weight {
    // Anchor, shard, the escrow's booking, what was moved, two accounts, the fee's multiplier and the genesis hash are read;
    // booking, what was moved and both accounts are written.
    micros(TRANSFER_MICROS).saturating_add(T::DbWeight::get().reads_writes(8, 4))
}

/// Weight of `create_shard`.
pub fn create_shard<T: Config>() -> Weight {
    // The genesis hash, whether the shard exists, the founder's account and its holds, and the escrow's account are
    // read; the shard, both accounts and holds are written.
    micros(OVERHEAD_MICROS.saturating_add(TRANSFER_MICROS))
        .saturating_add(T::DbWeight::get().reads_writes(5, 4))
        .saturating_add(founder_serves::<T>())
}

fn founder_serves<T: Config>() -> Weight {
    // Its record, time and the registry's policy.
    T::DbWeight::get().reads(3)
}

/// At least one RSA block: without it an inbox could be filled with next to nothing for a tenth of the price.
fn decryption(bytes: usize) -> Weight {
    let blocks = u64::try_from(bytes.div_ceil(RSA_BLOCK_BYTES).max(1)).unwrap_or(u64::MAX);
    micros(RSA_DECRYPT_MICROS.saturating_mul(blocks).saturating_add(HPKE_OPEN_MICROS))
}

fn micros(micros: u64) -> Weight {
    Weight::from_parts(micros.saturating_mul(WEIGHT_REF_TIME_PER_MICROS), 0)
}
