//! The hardware seen from inside an enclave: evidence about itself, keys to seal with, randomness.
//!
//! A [`Backend`] opens one environment and yields a [`Tee`]; what builds on it does not know which. An environment is
//! trusted for what its vendor promises and for nothing more: sealed bytes go through the host's hands, which can lose
//! them, copy them and bring old ones back, so nothing that must be unique or newest may be taken from them. No sealing
//! key ever leaves this crate's callers' memory, and no backend but `sim` may declare itself what it is.
//!
//! The feature `sim` holds the simulated environment. The production enclave does not ask for it, and a test of
//! `cloister-enclave` shows that its binary holds nothing of it.
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

mod entropy;
mod hardware;
mod sealing;
#[cfg(feature = "sim")]
pub mod sim;

use cloister_claims::{Collateral, Evidence, TeeKind};
use zeroize::Zeroizing;

pub use entropy::OsEntropy;
pub use hardware::{Device, Hardware};
pub use sealing::{Purpose, SEALED_OVERHEAD, seal, unseal};

/// One environment, opened.
pub struct Tee {
    /// Says to others what runs here.
    pub attester: Box<dyn Attester>,
    /// Says nothing to anybody else.
    pub sealer: Box<dyn Sealer>,
    /// Randomness.
    pub entropy: Box<dyn Entropy>,
}

/// Opens an environment.
pub trait Backend {
    /// `config` is the SCALE measured configuration. Environments that cannot measure it at load time extend their
    /// measurement by it, before anything else happens.
    fn open(&self, config: &[u8]) -> Result<Tee, Error>;
}

/// Proves what runs here.
pub trait Attester: Send + Sync {
    /// The kind that verified evidence will have.
    fn kind(&self) -> TeeKind;

    /// The fingerprint of code and configuration that verified evidence will have.
    fn fingerprint(&self) -> [u8; 32];

    /// Fresh evidence that carries `report_data`. May take as long as the platform's quoting takes: some 10 to 100 ms.
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, Error>;

    /// Collateral for this evidence, if the environment has its own; what real hardware needs comes from its vendor.
    fn collateral(&self) -> Result<Option<Collateral>, Error>;
}

/// Keys that only this code on this platform can have.
pub trait Sealer: Send + Sync {
    /// The key for `purpose`. The same at every start of the same code and configuration on the same platform.
    fn sealing_key(&self, purpose: Purpose) -> Result<Zeroizing<[u8; 32]>, Error>;
}

/// Randomness that the host does not know.
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// Why the environment did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No environment that this program has a backend for.
    #[error("no usable environment: looked for {}", Devices(.0))]
    NoTee(Vec<Device>),
    /// The configuration to be measured does not decode.
    #[error("the configuration to measure does not decode")]
    MalformedConfig,
    /// The program could not be read for its measurement.
    #[error("the enclave's own binary could not be read for measurement: {0}")]
    Measurement(String),
    /// Evidence could not be made.
    #[error("evidence could not be made: {0}")]
    Evidence(String),
    /// No randomness.
    #[error("the environment gave no randomness")]
    Entropy,
    /// A key could not be derived.
    #[error("the environment gave no sealing key")]
    SealingKey,
    /// More than can be sealed at once.
    #[error("too much to seal at once")]
    TooLargeToSeal,
    /// Sealed by other code, on another platform, for another chain or purpose, in an unknown version, or altered: one
    /// answer for all, because whoever brings the bytes is the adversary.
    #[error("the sealed bytes do not open")]
    DoesNotOpen,
}

struct Devices<'a>(&'a [Device]);

impl std::fmt::Display for Devices<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, device) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let state = if device.present { "there, but this build has no backend for it" } else { "not there" };
            write!(formatter, "{separator}{} at {} ({state})", device.environment, device.path)?;
        }
        Ok(())
    }
}
