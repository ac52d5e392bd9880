//! Keys that sign for an account.

use std::fmt;

use cloister_chain_primitives::AccountId;
use sp_core::{Pair, crypto::SecretStringError, ecdsa, ed25519, sr25519};
use sp_runtime::{MultiSignature, MultiSigner, traits::IdentifyAccount};

/// A key pair of one of the kinds that layer one and shards accept. `Debug` shows the account only.
#[derive(Clone)]
pub enum Signer {
    /// Schnorr on ristretto25519, the kind of most Substrate accounts.
    Sr25519(Box<sr25519::Pair>),
    /// EdDSA on edwards25519, the kind of enclave accounts.
    Ed25519(Box<ed25519::Pair>),
    /// ECDSA on secp256k1.
    Ecdsa(ecdsa::Pair),
}

/// A kind of key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scheme {
    /// Schnorr on ristretto25519.
    #[default]
    Sr25519,
    /// EdDSA on edwards25519.
    Ed25519,
    /// ECDSA on secp256k1.
    Ecdsa,
}

/// A secret that names no key.
#[derive(Debug, thiserror::Error)]
#[error("not a secret of an account: {0}")]
pub struct InvalidSecret(String);

impl Signer {
    /// From a secret as Substrate's tools write it: a phrase of 12 to 24 words or `0x` and 32 bytes in hex, with
    /// derivations like `//Alice`; derivations alone start at the public development phrase.
    pub fn from_secret(scheme: Scheme, secret: &str) -> Result<Self, InvalidSecret> {
        fn pair<P: Pair>(secret: &str) -> Result<P, InvalidSecret> {
            // The error's Debug form could show parts of the secret; its kinds are few.
            P::from_string(secret, None).map_err(|error| {
                InvalidSecret(
                    match error {
                        SecretStringError::InvalidPhrase => "the words are not a BIP-39 phrase",
                        SecretStringError::InvalidSeed | SecretStringError::InvalidSeedLength => "the seed is invalid",
                        SecretStringError::InvalidPath => "the derivation is invalid",
                        _ => "neither a phrase, nor a seed in hex, nor a derivation like //Alice",
                    }
                    .into(),
                )
            })
        }
        // Substrate reads an empty secret as the public development phrase, which nobody means.
        if secret.trim().is_empty() {
            return Err(InvalidSecret("it is empty".into()));
        }
        Ok(match scheme {
            Scheme::Sr25519 => Self::Sr25519(Box::new(pair(secret)?)),
            Scheme::Ed25519 => Self::Ed25519(Box::new(pair(secret)?)),
            Scheme::Ecdsa => Self::Ecdsa(pair(secret)?),
        })
    }

    /// The account that the key signs for.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Sr25519(pair) => MultiSigner::from(pair.public()),
            Self::Ed25519(pair) => MultiSigner::from(pair.public()),
            Self::Ecdsa(pair) => MultiSigner::from(pair.public()),
        }
        .into_account()
    }

    /// The public key: 32 bytes, 33 for ECDSA.
    pub fn public_key(&self) -> Vec<u8> {
        match self {
            Self::Sr25519(pair) => pair.public().0.to_vec(),
            Self::Ed25519(pair) => pair.public().0.to_vec(),
            Self::Ecdsa(pair) => pair.public().0.to_vec(),
        }
    }

    /// The kind of key.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Sr25519(_) => Scheme::Sr25519,
            Self::Ed25519(_) => Scheme::Ed25519,
            Self::Ecdsa(_) => Scheme::Ecdsa,
        }
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> MultiSignature {
        match self {
            Self::Sr25519(pair) => pair.sign(message).into(),
            Self::Ed25519(pair) => pair.sign(message).into(),
            Self::Ecdsa(pair) => pair.sign(message).into(),
        }
    }
}

impl From<sr25519::Pair> for Signer {
    fn from(pair: sr25519::Pair) -> Self {
        Self::Sr25519(Box::new(pair))
    }
}

impl From<ed25519::Pair> for Signer {
    fn from(pair: ed25519::Pair) -> Self {
        Self::Ed25519(Box::new(pair))
    }
}

impl From<ecdsa::Pair> for Signer {
    fn from(pair: ecdsa::Pair) -> Self {
        Self::Ecdsa(pair)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signer({})", self.account())
    }
}

#[cfg(test)]
mod tests {
    use cloister_wire::verify_signature;

    use super::*;

    #[test]
    fn every_scheme_signs_for_its_account() {
        for scheme in [Scheme::Sr25519, Scheme::Ed25519, Scheme::Ecdsa] {
            let signer = Signer::from_secret(scheme, "//Alice").unwrap();
            assert_eq!(signer.scheme(), scheme);
            assert!(verify_signature(&signer.sign(b"message"), b"message", &signer.account()));
            assert!(!verify_signature(&signer.sign(b"message"), b"massage", &signer.account()));
        }
    }

    #[test]
    fn development_accounts_are_the_known_ones() {
        let alice = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        assert_eq!(alice.account().to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn refusals_do_not_repeat_the_secret() {
        let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit hold";
        let error = Signer::from_secret(Scheme::Sr25519, phrase).unwrap_err().to_string();
        assert_eq!(error, "not a secret of an account: the words are not a BIP-39 phrase");
        let error = Signer::from_secret(Scheme::Sr25519, " ").unwrap_err().to_string();
        assert_eq!(error, "not a secret of an account: it is empty");
        assert!(!format!("{:?}", Signer::from_secret(Scheme::Sr25519, "//Alice")).contains("//Alice"));
    }
}
