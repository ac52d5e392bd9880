//! Keys: drawn from seeds, so that the same evidence is always the same bytes.

use p256::{
    NonZeroScalar, U256,
    ecdsa::{Signature, SigningKey, signature::Signer},
    elliptic_curve::{bigint::ArrayEncoding, ops::Reduce},
};
use sha2::{Digest, Sha256};

use crate::der;

/// A P-256 key.
#[derive(Clone)]
pub struct Key(SigningKey);

impl Key {
    /// The key of this label under a seed. Whoever knows the seed has the key.
    pub fn from_seed(seed: &[u8; 32], label: &str) -> Self {
        let digest =
            Sha256::new_with_prefix(b"cloister synthetic key").chain_update(seed).chain_update(label).finalize();
        // The bias of a reduction does not matter to keys that everybody can draw.
        let scalar = <NonZeroScalar as Reduce<U256>>::reduce(U256::from_be_byte_array(digest));
        Self(SigningKey::from(scalar))
    }

    /// x ‖ y.
    pub fn public(&self) -> [u8; 64] {
        let mut public = [0; 64];
        let point = self.0.verifying_key().to_encoded_point(false);
        for (to, from) in public.iter_mut().zip(point.as_bytes().iter().skip(1)) {
            *to = *from;
        }
        public
    }

    /// ECDSA over SHA-256 with the nonce of RFC 6979: r ‖ s.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }

    /// [`Self::sign`] as X.509 has it: SEQUENCE of r and s.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.sign(message);
        let (r, s) = signature.split_at(32);
        der::sequence(&[der::integer(&der::magnitude(r)), der::integer(&der::magnitude(s))])
    }
}
