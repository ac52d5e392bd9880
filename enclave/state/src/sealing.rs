//! Messages that enclaves of a shard write for themselves and the host keeps: nobody else reads or makes them, and none
//! stands for another.

use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use cloister_chain_primitives::{ShardId, domain};
use rand::{RngCore, rngs::OsRng};
use sp_core::H256;
use zeroize::Zeroizing;

use crate::{EntropyError, StateSecret};

/// What a message is for. Messages of unlike purposes have unlike keys and associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// What block `number` changed.
    Block {
        /// Its height.
        number: u64,
    },
    /// A piece of a snapshot.
    SnapshotChunk {
        /// The snapshot's own random name.
        snapshot: [u8; 16],
        /// The piece's place, from 0.
        index: u32,
    },
    /// What a snapshot consists of.
    SnapshotManifest,
    /// What is executed next, stored before it is.
    Mark,
}

/// Why a message was not sealed or opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no randomness for the message's key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Beyond what the cipher takes under one nonce (256 GiB).
    #[error("too long to be sealed")]
    TooLong,
    /// Shorter than randomness and authentication tag.
    #[error("{0} bytes, fewer than {MIN_SEALED}")]
    TooShort(usize),
    /// Altered, or sealed under another secret, for another chain, shard or purpose.
    #[error("not authentic for this secret, chain, shard and purpose")]
    NotAuthentic,
    /// Authentic, but not of the form that its purpose has.
    #[error("does not decode")]
    Encoding,
}

/// Where messages belong.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The shard's secret.
    pub secret: &'a StateSecret,
    /// Layer one.
    pub genesis: &'a H256,
    /// The shard.
    pub shard: &'a ShardId,
}

impl Scope<'_> {
    /// 32 random bytes ‖ ChaCha20-Poly1305 ciphertext and tag. The key follows from secret, purpose and randomness and serves
    /// this one message, so that a host that rewinds what it keeps, or whose kernel repeats its randomness, never gets two
    /// messages under one key.
    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut randomness = [0; RANDOMNESS];
        OsRng.try_fill_bytes(&mut randomness).map_err(EntropyError::from)?;
        self.seal_hedged(&randomness, purpose, plain)
    }

    fn seal_hedged(&self, drawn: &[u8; RANDOMNESS], purpose: Purpose, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_with(&self.secret.hedged(drawn, &self.associated(purpose), plain), purpose, plain)
    }

    /// Opens what [`Self::seal`] made for the same purpose.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let too_short = SealError::TooShort(sealed.len());
        if sealed.len() < MIN_SEALED {
            return Err(too_short);
        }
        let (randomness, ciphertext) = sealed.split_first_chunk::<RANDOMNESS>().ok_or(too_short)?;
        let payload = Payload { msg: ciphertext, aad: &self.associated(purpose) };
        let plain = self.cipher(purpose, randomness).decrypt(&Nonce::default(), payload);
        plain.map(Zeroizing::new).map_err(|_| SealError::NotAuthentic)
    }

    pub(crate) fn seal_with(
        &self,
        randomness: &[u8; RANDOMNESS],
        purpose: Purpose,
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let payload = Payload { msg: plain, aad: &self.associated(purpose) };
        let ciphertext =
            self.cipher(purpose, randomness).encrypt(&Nonce::default(), payload).map_err(|_| SealError::TooLong)?;
        Ok([randomness.as_slice(), &ciphertext].concat())
    }

    fn cipher(&self, purpose: Purpose, randomness: &[u8; RANDOMNESS]) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(Key::from_slice(self.secret.message_key(purpose.role(), randomness).as_ref()))
    }

    fn associated(&self, purpose: Purpose) -> Vec<u8> {
        let message = |parts: &[&[u8]]| {
            let parts: Vec<&[u8]> = [self.shard.as_ref()].into_iter().chain(parts.iter().copied()).collect();
            domain::message(purpose.role(), self.genesis, &parts)
        };
        match purpose {
            Purpose::Block { number } => message(&[&number.to_le_bytes()]),
            Purpose::SnapshotChunk { snapshot, index } => message(&[&snapshot, &index.to_le_bytes()]),
            Purpose::SnapshotManifest | Purpose::Mark => message(&[]),
        }
    }
}

impl Purpose {
    fn role(self) -> &'static str {
        match self {
            Self::Block { .. } => "state-diff",
            Self::SnapshotChunk { .. } => "snapshot-chunk",
            Self::SnapshotManifest => "snapshot",
            Self::Mark => "mark",
        }
    }
}

const RANDOMNESS: usize = 32;
const MIN_SEALED: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: H256 = H256::repeat_byte(1);
    const SHARD: ShardId = ShardId(H256::repeat_byte(2));
    const BLOCK: Purpose = Purpose::Block { number: 7 };
    const CHUNK: Purpose = Purpose::SnapshotChunk { snapshot: [5; 16], index: 1 };

    fn secret() -> StateSecret {
        StateSecret::from_bytes([3; 32])
    }

    fn scope(secret: &StateSecret) -> Scope<'_> {
        Scope { secret, genesis: &GENESIS, shard: &SHARD }
    }

    fn sealed(purpose: Purpose) -> Vec<u8> {
        scope(&secret()).seal(purpose, b"plain").unwrap()
    }

    #[test]
    fn what_was_sealed_can_be_opened() {
        for purpose in [BLOCK, CHUNK, Purpose::SnapshotManifest, Purpose::Mark] {
            assert_eq!(**scope(&secret()).open(purpose, &sealed(purpose)).unwrap(), *b"plain");
        }
        let nothing = scope(&secret()).seal(BLOCK, b"").unwrap();
        assert!(scope(&secret()).open(BLOCK, &nothing).unwrap().is_empty());
    }

    #[test]
    fn equal_plaintexts_have_unlike_ciphertexts() {
        assert_ne!(sealed(BLOCK)[RANDOMNESS..], sealed(BLOCK)[RANDOMNESS..]);
    }

    #[test]
    fn a_kernel_that_repeats_its_randomness_gets_no_two_messages_under_one_key() {
        let secret = secret();
        let seal = |purpose, plain: &[u8]| scope(&secret).seal_hedged(&[0; RANDOMNESS], purpose, plain).unwrap();
        let messages = [seal(BLOCK, b"one"), seal(BLOCK, b"two"), seal(CHUNK, b"one"), seal(Purpose::Mark, b"one")];
        for (at, message) in messages.iter().enumerate() {
            assert!(messages[..at].iter().all(|other| other[..RANDOMNESS] != message[..RANDOMNESS]));
        }
        assert_eq!(**scope(&secret).open(BLOCK, &messages[1]).unwrap(), *b"two");
    }

    #[test]
    fn encryption_is_frozen() {
        let plain = hex::decode("080461010432046200").unwrap();
        let bytes = scope(&secret()).seal_with(&[4; 32], BLOCK, &plain).unwrap();
        let expected = "bd07478611310e199403a3069e451fe75d78c8d79a5c0f41e6";
        assert_eq!(hex::encode(bytes), format!("{}{expected}", "04".repeat(32)));
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let good = sealed(BLOCK);
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            let result = scope(&secret()).open(BLOCK, &bad);
            assert!(matches!(result, Err(SealError::NotAuthentic)), "byte {position}: {result:?}");
        }
    }

    #[test]
    fn truncation_is_noticed() {
        let good = sealed(BLOCK);
        for length in 0..good.len() {
            let result = scope(&secret()).open(BLOCK, &good[..length]);
            if length < MIN_SEALED {
                assert!(matches!(result, Err(SealError::TooShort(n)) if n == length), "{length}: {result:?}");
            } else {
                assert!(matches!(result, Err(SealError::NotAuthentic)), "{length}: {result:?}");
            }
        }
    }

    #[test]
    fn nothing_opens_for_another_secret_chain_shard_or_purpose() {
        let (bytes, other) = (sealed(CHUNK), StateSecret::from_bytes([4; 32]));
        let secret = secret();
        let chunk = |snapshot, index| Purpose::SnapshotChunk { snapshot: [snapshot; 16], index };
        for (scope, purpose) in [
            (scope(&other), CHUNK),
            (Scope { genesis: &H256::zero(), ..scope(&secret) }, CHUNK),
            (Scope { shard: &ShardId::default(), ..scope(&secret) }, CHUNK),
            (scope(&secret), chunk(5, 2)),
            (scope(&secret), chunk(6, 1)),
            (scope(&secret), BLOCK),
            (scope(&secret), Purpose::SnapshotManifest),
            (scope(&secret), Purpose::Mark),
        ] {
            let result = scope.open(purpose, &bytes);
            assert!(matches!(result, Err(SealError::NotAuthentic)), "{purpose:?}: {result:?}");
        }
    }
}
