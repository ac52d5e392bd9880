//! What evidence claims, what policies want, and why either is refused: the terms of attestation, without its checks.
//!
//! Layer one's registry, enclaves and clients share them. The checks are in `cloister-attestation`, which alone makes a
//! [`Verification`] out of evidence.
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

mod collateral;
mod error;
mod policy;
mod types;
mod verification;

pub use collateral::{Collateral, Signed, SignedCrl};
pub use error::Error;
pub use policy::{Crl, Policy, Refusal, Stance};
pub use types::{Advisory, Evidence, TcbStatus, TeeKind, Validity};
pub use verification::{TdxMeasurements, Verification};
