//! Evidence and collateral under roots of one's own: for the simulated TEE, tests and benchmarks.
//!
//! Trusts nothing and is trusted by nobody: whoever has a seed has every key below its root, so a verifier must accept such
//! a root only where simulation is wanted. Never asks a clock, never draws randomness: the same scenario is always the same
//! bytes (RFC 6979 nonces). Simple use:
//!
//! ```
//! use cloister_synthetic_evidence::{Authority, Platform, collateral, sgx_quote};
//!
//! let (authority, platform) = (Authority::development(), Platform::sgx([7; 32]));
//! let quote = sgx_quote(&authority, &platform, &[1; 32], &[2; 64]);
//! let collateral = collateral(&authority, &platform);
//! ```
//!
//! Tests change one thing before everything is signed:
//!
//! ```
//! use cloister_synthetic_evidence::{Authority, Scenario};
//!
//! let mut scenario = Scenario::sgx(&Authority::from_seed([9; 32]));
//! scenario.tcb_info.tcb_levels[0].tcb_status = "OutOfDate".into();
//! let (quote, collateral) = scenario.build();
//! ```
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

mod authority;
mod certificate;
mod crl;
pub mod der;
mod documents;
mod key;
mod quote;
mod scenario;
pub mod sgx_extension;

pub use authority::{Authority, DEVELOPMENT_SEED, PckIssuer};
pub use certificate::{Certificate, Certified, Extension, Name, Role, pem, signed, unpem};
use cloister_claims::Collateral;
pub use crl::Crl;
pub use documents::{IsvLevel, QeIdentity, Tcb, TcbInfo, TcbLevel, TdxModule, TdxModuleIdentity};
pub use key::Key;
pub use quote::{Body, EnclaveReport, Header, INTEL_QE_VENDOR_ID, Lengths, Quote, Regions, TdReport};
pub use scenario::{Platform, Scenario, Tee};
pub use sgx_extension::{Configuration, PckTcb, SgxExtension};

/// Unix milliseconds from which everything is valid unless changed: 2020-01-01T00:00:00Z.
pub const VALID_FROM: u64 = 1_577_836_800_000;

/// Unix milliseconds until which everything is valid unless changed: 2049-12-31T23:59:59Z.
pub const VALID_UNTIL: u64 = 2_524_607_999_000;

/// Unix milliseconds inside: 2025-01-01T00:00:00Z.
pub const AT: u64 = 1_735_689_600_000;

/// Unix milliseconds of every TCB level unless changed: 2019-11-13T00:00:00Z.
pub const TCB_DATE: u64 = 1_573_603_200_000;

/// A good quote of an SGX enclave.
pub fn sgx_quote(authority: &Authority, platform: &Platform, mr_enclave: &[u8; 32], report_data: &[u8; 64]) -> Vec<u8> {
    Scenario::new(authority, platform).with_measurement(mr_enclave).with_report_data(report_data).quote()
}

/// A good quote of a TDX domain; `mr_td` is padded with zeros.
pub fn tdx_quote(authority: &Authority, platform: &Platform, mr_td: &[u8; 32], report_data: &[u8; 64]) -> Vec<u8> {
    Scenario::new(authority, platform).with_measurement(mr_td).with_report_data(report_data).quote()
}

/// Good collateral, the same for all platforms with the same [`Tee`] and [`PckIssuer`].
pub fn collateral(authority: &Authority, platform: &Platform) -> Collateral {
    Scenario::new(authority, platform).collateral()
}
