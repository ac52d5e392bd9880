//! What the calls cost: layer one's storage, and the work of verification.
//!
//! The times are measured in the runtime's own wasm by `cargo xtask bench wasm/` (BENCHMARKS.md has the figures): what
//! verification takes grows with the number of P-256 signatures and of parsed certificates, and with the bytes. Weights
//! are above what was measured by 30 % at least, because validators may be slower than the machine that measured.

use frame_support::{
    traits::Get,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};

use crate::Config;

/// Decoding, hashing and bookkeeping of any call here.
const OVERHEAD_MICROS: u64 = 20;
/// One P-256 signature in wasm.
const SIGNATURE_MICROS: u64 = 2_800;
/// Verifying a registration's evidence with stored collateral: four signatures (PCK certificate, its issuer, QE report,
/// quote), two parsed certificates, stored collateral of the largest size, and the matching.
const EVIDENCE_MICROS: u64 = 4 * SIGNATURE_MICROS + 9_000;
/// Parsing a signed document of whatever length, and its chain of certificates.
const DOCUMENT_MICROS: u64 = 4_500;
/// Parsing the chain of a revocation list.
const CHAIN_MICROS: u64 = 1_500;
/// Parsing, hashing and storing a kilobyte of a signed document or of certificates.
const DOCUMENT_MICROS_PER_KB: u64 = 150;
/// Parsing, hashing and storing a kilobyte of a revocation list.
const CRL_MICROS_PER_KB: u64 = 125;

/// Weight of `unregister_sovereign_enclave`.
pub fn unregister<T: Config>() -> Weight {
    // Record, mark, account and its holds are read; they and the evidence are written.
    micros(OVERHEAD_MICROS).saturating_add(T::DbWeight::get().reads_writes(4, 5))
}

/// Weight of taking a signed document of this many bytes with a chain of this many.
pub fn document<T: Config>(body: usize, issuer_chain: usize) -> Weight {
    let kilobytes = kilobytes(body).saturating_add(kilobytes(issuer_chain));
    // The certificate of its signer, and the document.
    let work = SIGNATURE_MICROS
        .saturating_mul(2)
        .saturating_add(DOCUMENT_MICROS)
        .saturating_add(DOCUMENT_MICROS_PER_KB.saturating_mul(kilobytes));
    // Whether simulation is allowed, time, the evaluation limit, the root's list and the older document are read; both forms
    // are written.
    micros(OVERHEAD_MICROS.saturating_add(work)).saturating_add(T::DbWeight::get().reads_writes(5, 2))
}

/// Weight of taking so many revocation lists of so many bytes together, with a chain of this many.
pub fn crls<T: Config>(lists: usize, bytes: usize, issuer_chain: usize) -> Weight {
    let lists = u64::try_from(lists).unwrap_or(u64::MAX);
    // Of each, its issuer's certificate and the list. The chain is read and stored with every list.
    let work = SIGNATURE_MICROS
        .saturating_mul(2)
        .saturating_add(CHAIN_MICROS)
        .saturating_add(DOCUMENT_MICROS_PER_KB.saturating_mul(kilobytes(issuer_chain)))
        .saturating_mul(lists)
        .saturating_add(CRL_MICROS_PER_KB.saturating_mul(kilobytes(bytes)));
    micros(OVERHEAD_MICROS.saturating_add(work))
        .saturating_add(T::DbWeight::get().reads(1))
        // As for a document, without the limit.
        .saturating_add(T::DbWeight::get().reads_writes(3, 2).saturating_mul(lists))
}

/// Weight of `register_enclave` with evidence of this many bytes.
pub fn register_enclave<T: Config>(evidence: usize) -> Weight {
    micros(OVERHEAD_MICROS.saturating_add(EVIDENCE_MICROS))
        .saturating_add(micros(DOCUMENT_MICROS_PER_KB.saturating_mul(kilobytes(evidence))))
        // Policy, time, two block hashes, mark, whether simulation is allowed, four pieces of collateral, the
        // predecessor, account and its holds are read; record, evidence, mark, account and holds are written.
        .saturating_add(T::DbWeight::get().reads_writes(13, 5))
}

/// Weight of `evict` when evidence has to be verified again.
pub fn evict<T: Config>() -> Weight {
    register_enclave::<T>(cloister_attestation::Evidence::MAX_BYTES)
}

/// Weight of `evict` when the registration has run out.
pub fn evict_expired<T: Config>() -> Weight {
    // Time and policy.
    unregister::<T>().saturating_add(T::DbWeight::get().reads(2))
}

/// Weight of `set_policy`.
pub fn set_policy<T: Config>() -> Weight {
    micros(OVERHEAD_MICROS).saturating_add(T::DbWeight::get().reads_writes(1, 1))
}

fn kilobytes(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(1024)).unwrap_or(u64::MAX)
}

fn micros(micros: u64) -> Weight {
    Weight::from_parts(micros.saturating_mul(WEIGHT_REF_TIME_PER_MICROS), 0)
}
