//! Sealed identities made up outside of an enclave, as whoever has the simulated program can: its sealing keys are no
//! secret. Drawn ones take an RSA key each, which is slow, and cannot be malformed at will.

use cloister_tee::{Purpose, seal, sim::with_fingerprint};

use crate::LayerOne;

/// The plaintext of a sealed identity, part by part.
#[derive(Clone)]
pub struct Sealed {
    pub version: u8,
    pub account_seed: [u8; 32],
    pub state_secret: [u8; 32],
    pub hpke: [u8; 32],
}

impl Sealed {
    /// In the format that enclaves write; other seeds are other accounts with other keys, but for RSA's.
    pub fn of(seed: u8) -> Self {
        Self { version: 2, account_seed: [seed; 32], state_secret: [seed ^ 0x40; 32], hpke: [seed ^ 0x80; 32] }
    }

    /// version ‖ account seed ‖ state secret ‖ shielding keys: epoch, X25519, RSA in DER.
    pub fn plaintext(&self) -> Vec<u8> {
        let Self { version, account_seed, state_secret, hpke } = self;
        [&[*version][..], account_seed, state_secret, &[0; 4], hpke, RSA].concat()
    }

    /// Sealed for enclaves that follow this layer one.
    pub fn seal(&self, layer_one: &LayerOne) -> Vec<u8> {
        sealed_plaintext(layer_one, &self.plaintext())
    }
}

/// Any bytes, sealed as an identity for enclaves that follow this layer one.
pub fn sealed_plaintext(layer_one: &LayerOne, plaintext: &[u8]) -> Vec<u8> {
    let tee = with_fingerprint(layer_one.measurement());
    seal(&tee, &layer_one.genesis(), Purpose::Identity, plaintext).unwrap()
}

/// A key of tests, and no other.
const RSA: &[u8] = include_bytes!("../../../enclave/app/src/identity/test-rsa-key.der");
