//! Ed25519 keys that sign.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use cloister_chain_primitives::AccountId;
use sp_core::ed25519::Signature;
use sp_runtime::MultiSignature;

use crate::Error;

/// The enclave's account on layer one.
pub struct AccountKey(SigningKey);

impl AccountKey {
    /// A fresh key that nobody can ever have again.
    pub fn draw() -> Result<Self, Error> {
        SigningKey::draw().map(Self)
    }

    /// The key of 32 secret random bytes, which the caller keeps sealed and wipes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::Draw)?;
        SigningKey::new(pair).map(Self)
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        AccountId::new(self.0.public)
    }

    /// Signs an extrinsic's payload.
    pub fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Ed25519(Signature::from_raw(self.0.sign(payload)))
    }
}

/// The key of one start of the enclave. Whatever it signed can be told from what an earlier start signed.
pub struct IncarnationKey(SigningKey);

impl IncarnationKey {
    /// A fresh key.
    pub fn draw() -> Result<Self, Error> {
        SigningKey::draw().map(Self)
    }

    /// The public key that layer one records.
    pub fn public(&self) -> [u8; 32] {
        self.0.public
    }

    /// Signs domain-separated bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl SigningKey {
    fn draw() -> Result<Self, Error> {
        Self::new(Ed25519KeyPair::generate().map_err(|_| Error::Draw)?)
    }

    fn new(pair: Ed25519KeyPair) -> Result<Self, Error> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| Error::PublicKeyEncoding)?;
        Ok(Self { pair, public })
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        // Ed25519 signatures have 64 bytes; zeros would be a signature that nobody accepts.
        self.pair.sign(message).as_ref().try_into().unwrap_or([0; 64])
    }
}

#[cfg(test)]
mod tests {
    use sp_core::{Pair, ed25519};
    use sp_runtime::traits::Verify;

    use super::*;

    #[test]
    fn layer_one_accepts_what_the_account_signs() {
        let key = AccountKey::draw().unwrap();
        let signature = key.sign(b"payload");
        assert!(signature.verify(&b"payload"[..], &key.account()));
        assert!(!signature.verify(&b"another"[..], &key.account()));
        assert!(!signature.verify(&b"payload"[..], &AccountKey::draw().unwrap().account()));
    }

    #[test]
    fn a_seed_gives_the_same_account_every_time() {
        let key = AccountKey::from_seed(&[7; 32]).unwrap();
        assert_eq!(key.account(), AccountId::new(ed25519::Pair::from_seed(&[7; 32]).public().0));
        let again = AccountKey::from_seed(&[7; 32]).unwrap();
        assert!(again.sign(b"payload").verify(&b"payload"[..], &key.account()));
        assert_ne!(key.account(), AccountKey::from_seed(&[8; 32]).unwrap().account());
    }

    #[test]
    fn clients_accept_what_the_incarnation_signs() {
        let key = IncarnationKey::draw().unwrap();
        let signature = Signature::from_raw(key.sign(b"message"));
        let public = ed25519::Public::from_raw(key.public());
        assert!(ed25519::Pair::verify(&signature, b"message", &public));
        assert!(!ed25519::Pair::verify(&signature, b"another", &public));
        assert_ne!(key.public(), IncarnationKey::draw().unwrap().public());
    }
}
