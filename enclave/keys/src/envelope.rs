//! Opening envelopes, with the library that ends TLS: it takes half the time of the one with which clients seal.

use cloister_wire::envelope::{self, Context, Parts};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305,
    hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey},
};
use zeroize::Zeroizing;

use crate::Error;

/// The X25519 key of a shard's epoch, wiped when dropped.
pub(crate) struct EnvelopeKey(HpkePrivateKey);

impl EnvelopeKey {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(secret.to_vec().into())
    }

    /// Decrypts an envelope of whichever epoch it names. Every failure is [`Error::DoesNotOpen`].
    pub fn open(&self, context: &Context, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let Parts { epoch, encapsulated, ciphertext } = envelope::parts(bytes).ok_or(Error::DoesNotOpen)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let (info, associated_data) = (context.info(epoch), context.associated_data());
        SUITE
            .open(&encapsulated, &info, &associated_data, ciphertext, &self.0)
            .map(Zeroizing::new)
            .map_err(|_| Error::DoesNotOpen)
    }
}

/// As [`cloister_wire::envelope`] has it.
const SUITE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305;
