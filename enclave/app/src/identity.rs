//! The sealed identity: what of an enclave outlives its process.
//!
//! Account and shielding keys, and the secret under which the shard's state is sealed. Incarnation and TLS keys are drawn
//! at every start and are never part of it, so that whoever starts a copy of it, or an old one, has another incarnation,
//! which layer one tells from the newest.
//!
//! The plaintext is version (1 byte) ‖ seed of the account key (32 bytes) ‖ state secret (32 bytes) ‖ shielding keys (the
//! rest). No other version is read: whoever brings an older form, which may lack what protects this one, is refused.

use cloister_chain_primitives::H256;
use cloister_keys::{AccountKey, ShieldingKeyPair};
use cloister_state::StateSecret;
use cloister_tee::{Purpose, Tee};
use zeroize::Zeroizing;

/// Keys that outlive the process.
pub struct SealedIdentity {
    pub account: AccountKey,
    pub shielding: ShieldingKeyPair,
    pub state_secret: StateSecret,
    /// Whether it is new: the host has to keep it.
    pub must_be_kept: bool,
    seed: Zeroizing<[u8; 32]>,
}

/// Why there is no identity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Tee(#[from] cloister_tee::Error),
    #[error("keys: {0}")]
    Keys(#[from] cloister_keys::Error),
    #[error("the sealed identity is larger than {MAX_SEALED_BYTES} bytes")]
    TooLarge,
    #[error("the sealed identity has an unknown version")]
    UnknownVersion,
    #[error("the sealed identity is malformed")]
    Malformed,
}

impl SealedIdentity {
    /// A new one.
    pub fn draw(tee: &Tee) -> Result<Self, Error> {
        let (mut seed, mut state_secret) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        tee.entropy.fill(seed.as_mut_slice())?;
        tee.entropy.fill(state_secret.as_mut_slice())?;
        Ok(Self {
            account: AccountKey::from_seed(&seed)?,
            shielding: ShieldingKeyPair::draw(FIRST_EPOCH)?,
            state_secret: StateSecret::from_bytes(*state_secret),
            must_be_kept: true,
            seed,
        })
    }

    /// For the same code and configuration on the same platform and chain only.
    pub fn seal(&self, tee: &Tee, genesis: &H256) -> Result<Vec<u8>, Error> {
        Ok(cloister_tee::seal(tee, genesis, Purpose::Identity, &self.to_bytes())?)
    }

    /// Opens what [`Self::seal`] made.
    pub fn unseal(tee: &Tee, genesis: &H256, sealed: &[u8]) -> Result<Self, Error> {
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(Error::TooLarge);
        }
        Self::from_bytes(&cloister_tee::unseal(tee, genesis, Purpose::Identity, sealed)?)
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let shielding = self.shielding.to_bytes();
        let state_secret = self.state_secret.to_bytes();
        let parts = [&[VERSION][..], self.seed.as_slice(), state_secret.as_slice(), &shielding];
        // Never grows, so that no copy stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (version, rest) = bytes.split_first().ok_or(Error::Malformed)?;
        if *version != VERSION {
            return Err(Error::UnknownVersion);
        }
        let (seed, rest) = rest.split_first_chunk::<32>().ok_or(Error::Malformed)?;
        let (state_secret, shielding) = rest.split_first_chunk::<32>().ok_or(Error::Malformed)?;
        Ok(Self {
            account: AccountKey::from_seed(seed)?,
            shielding: ShieldingKeyPair::from_bytes(shielding)?,
            state_secret: StateSecret::from_bytes(*state_secret),
            must_be_kept: false,
            seed: Zeroizing::new(*seed),
        })
    }
}

const VERSION: u8 = 2;
const FIRST_EPOCH: u32 = 0;
/// A sealed identity has some 2 kB.
const MAX_SEALED_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
