//! Keys of an enclave and of a shard: the layer-one account, the incarnation, TLS, and shielding.
//!
//! Every key is drawn from the operating system's randomness inside the enclave. Those of one start (incarnation, TLS)
//! can never leave memory. Account and shielding keys can be taken out as bytes, for sealing inside the enclave and for
//! nothing else. All keys are wiped, most of them by aws-lc; nothing here writes or prints one. Of an envelope that is
//! opened, copies of its plaintext and of the secret that its sender made for it alone stay in freed memory: the library
//! that opens it wipes the keys that it derives, and not those.
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

mod envelope;
mod shielding;
mod signing;
mod tls;

pub use shielding::ShieldingKeyPair;
pub use signing::{AccountKey, IncarnationKey};
pub use tls::TlsIdentity;

/// Why a key was not drawn or not of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system gave no randomness, or there was no memory.
    #[error("no key could be drawn")]
    Draw,
    /// A public key came out in a form that this crate does not know.
    #[error("the public key has an unexpected encoding")]
    PublicKeyEncoding,
    /// A private key is not in the form in which this crate keeps it.
    #[error("the private key has an unexpected encoding")]
    PrivateKeyEncoding,
    /// No certificate could be signed.
    #[error("no certificate could be made for the TLS key")]
    Certificate,
    /// The TLS library refused protocol versions or certificate.
    #[error("the TLS configuration was refused")]
    TlsConfiguration,
    /// Whatever is wrong with a ciphertext: one answer for all, so that nobody learns from it what a key decrypts.
    #[error("the ciphertext does not open")]
    DoesNotOpen,
}
