//! Evidence of trusted execution environments: formats, verification, appraisal against a policy.
//!
//! Two questions are kept apart. *Verification* ([`verify_quote`], [`verify_tcb_info`], …): is the evidence genuine, and
//! what does it say? *Appraisal* ([`Policy::appraise`]): does somebody's policy want it? Time is an argument, roots of trust
//! are an argument, and nothing here asks a clock, a file or a network. The same code runs in layer one's wasm runtime,
//! in enclaves and in the command line.
//!
//! All input is adversarial: sizes are bounded before memory is taken, nothing panics, every check has its own [`Error`].
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

extern crate alloc;

#[cfg(feature = "std")]
pub mod bundle;
pub mod certificate;
pub mod chain;
pub mod collateral;
mod crl;
mod document;
mod json;
mod matching;
mod qe_identity;
pub mod quote;
pub mod roots;
mod sgx_extension;
pub mod signature;
mod tcb_info;
mod time;
mod verify;
mod x509;

pub use cloister_claims::*;
pub use roots::Roots;
pub use signature::verify_signature;
pub use verify::{Subject, subject, validity_window, verify, verify_quote};

use collateral::{QeIdentity, RevocationList, TcbInfo};

/// Bytes of a quote without the zeros that may follow it (see [`quote`]): as many as are worth storing. They verify like the
/// whole. `None` if it does not parse. Nothing is verified.
pub fn quote_length(quote: &[u8]) -> Option<usize> {
    quote::Quote::parse(quote).ok().map(|quote| quote.length)
}

/// Checks TCB info: its signer's chain, its signature, its form, and that all of them are valid at `at` (Unix milliseconds).
pub fn verify_tcb_info(signed: &Signed, roots: &Roots, at: u64) -> Result<TcbInfo, Error> {
    let tcb_info = TcbInfo::verify(signed, roots)?;
    tcb_info.check_time(at)?;
    Ok(tcb_info)
}

/// Checks a quoting enclave's identity like [`verify_tcb_info`].
pub fn verify_qe_identity(signed: &Signed, roots: &Roots, at: u64) -> Result<QeIdentity, Error> {
    let identity = QeIdentity::verify(signed, roots)?;
    identity.check_time(at)?;
    Ok(identity)
}

/// Checks a DER revocation list. `issuer_chain` (PEM) is the root alone, or a certificate and the root that issued it; the
/// list's issuer is one of them.
pub fn verify_crl(crl: &[u8], issuer_chain: &[u8], roots: &Roots, at: u64) -> Result<RevocationList, Error> {
    let list = RevocationList::verify(crl, issuer_chain, roots)?;
    list.check_time(at)?;
    Ok(list)
}
