//! What the call costs: layer one's storage, a signature of every acknowledgement, and the sender's repayment.

use frame_support::{
    traits::Get,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};

use crate::Config;

/// Decoding, hashing and bookkeeping.
const OVERHEAD_MICROS: u64 = 20;
/// One ed25519 signature, verified by the node's host function: 73 µs measured natively on one core, rounded up by half
/// because validators may be slower than the machine that measured.
const SIGNATURE_MICROS: u64 = 110;

/// Weight of `confirm_imported_sidechain_block` with so many acknowledgements.
pub fn confirm_imported_sidechain_block<T: Config>(acknowledgements: usize) -> Weight {
    let acknowledgements = u64::try_from(acknowledgements).unwrap_or(u64::MAX);
    // Shard, anchor, genesis hash and inbox length are read, and of every member its record, time and the registry's
    // policy; the anchor is written.
    let reads = acknowledgements.saturating_mul(3).saturating_add(4);
    micros(SIGNATURE_MICROS.saturating_mul(acknowledgements).saturating_add(OVERHEAD_MICROS))
        .saturating_add(T::DbWeight::get().reads_writes(reads, 1))
        .saturating_add(pallet_enclave_bridge::weights::repayment::<T>())
}

fn micros(micros: u64) -> Weight {
    Weight::from_parts(micros.saturating_mul(WEIGHT_REF_TIME_PER_MICROS), 0)
}
