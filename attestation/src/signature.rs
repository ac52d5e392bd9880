//! ECDSA over P-256 with SHA-256, the only signature algorithm that DCAP knows.

use p256::{
    EncodedPoint,
    ecdsa::{Signature, VerifyingKey, signature::Verifier},
};

/// Checks `signature` (r ‖ s, big-endian) over the SHA-256 of `message` under the uncompressed point `key` (x ‖ y).
///
/// For every signature (r, s) there is (r, n − s), which holds too. Neither X.509 nor DCAP asks for the lower s, and vendors
/// sign with either; so nothing may take the bytes of a signature for the identity of what was signed.
pub fn verify_signature(key: &[u8; 64], message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    let point = EncodedPoint::from_untagged_bytes(key.into());
    let key = VerifyingKey::from_encoded_point(&point).map_err(|_| SignatureError::Key)?;
    let signature = Signature::from_slice(signature).map_err(|_| SignatureError::Signature)?;
    key.verify(message, &signature).map_err(|_| SignatureError::Signature)
}

/// Why a signature does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key is no point of the curve.
    #[error("the key is not a point of P-256")]
    Key,
    /// The signature is not this key's over this message.
    #[error("the signature does not match")]
    Signature,
}
