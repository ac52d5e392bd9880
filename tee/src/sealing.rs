//! Bytes that only the same code on the same platform opens again, for one chain and purpose.
//!
//! A sealed blob is magic (4 bytes, the last one the version) ‖ 32 fresh random bytes ‖ ChaCha20-Poly1305 ciphertext
//! with its tag (16 bytes). The key is HKDF-SHA256 of the environment's sealing key, salted with the random bytes, so
//! that no counter or clock of the host's decides about its uniqueness; it is used once, with a nonce of zeros. Genesis
//! and purpose are associated data.

use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use cloister_chain_primitives::{H256, domain};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Error, Tee};

/// Bytes that sealing adds.
pub const SEALED_OVERHEAD: usize = MAGIC.len() + SALT_BYTES + 16;

/// What is sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Purpose {
    /// An enclave's keys that outlive its process.
    Identity,
    /// A shard's state.
    State,
}

impl Purpose {
    /// As it stands in key derivation and associated data.
    pub const fn label(self) -> &'static [u8] {
        match self {
            Self::Identity => b"identity",
            Self::State => b"state",
        }
    }
}

/// Seals `plaintext`. Equal plaintexts give different blobs.
pub fn seal(tee: &Tee, genesis: &H256, purpose: Purpose, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut salt = [0; SALT_BYTES];
    tee.entropy.fill(&mut salt)?;
    let payload = Payload { msg: plaintext, aad: &associated_data(genesis, purpose) };
    let ciphertext =
        cipher(tee, purpose, &salt)?.encrypt(&Nonce::default(), payload).map_err(|_| Error::TooLargeToSeal)?;
    Ok([&MAGIC[..], &salt, &ciphertext].concat())
}

/// Opens what [`seal`] made.
pub fn unseal(tee: &Tee, genesis: &H256, purpose: Purpose, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let rest = sealed.strip_prefix(&MAGIC).ok_or(Error::DoesNotOpen)?;
    let (salt, ciphertext) = rest.split_first_chunk::<SALT_BYTES>().ok_or(Error::DoesNotOpen)?;
    let payload = Payload { msg: ciphertext, aad: &associated_data(genesis, purpose) };
    let plaintext = cipher(tee, purpose, salt)?.decrypt(&Nonce::default(), payload).map_err(|_| Error::DoesNotOpen)?;
    Ok(Zeroizing::new(plaintext))
}

fn cipher(tee: &Tee, purpose: Purpose, salt: &[u8; SALT_BYTES]) -> Result<ChaCha20Poly1305, Error> {
    let sealing_key = tee.sealer.sealing_key(purpose)?;
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), sealing_key.as_slice())
        .expand(KEY_LABEL, key.as_mut_slice())
        .map_err(|_| Error::SealingKey)?;
    Ok(ChaCha20Poly1305::new(Key::from_slice(key.as_slice())))
}

fn associated_data(genesis: &H256, purpose: Purpose) -> Vec<u8> {
    domain::message("sealed", genesis, &[purpose.label()])
}

const MAGIC: [u8; 4] = *b"CLS\x01";
const SALT_BYTES: usize = 32;
const KEY_LABEL: &[u8] = b"cloister/1 sealed bytes, key";
