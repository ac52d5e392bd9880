//! What a block changed, and its encryption to the shard's enclaves.

use core::fmt;
use std::collections::BTreeMap;

use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use cloister_chain_primitives::{ShardId, domain};
use codec::{Decode, DecodeAll, Encode, Error, Input};
use rand::{RngCore, rngs::OsRng};
use sp_core::H256;

use crate::{EntropyError, StateSecret};

/// New values by key, `None` where the key goes. Keys stand in strictly ascending order, so that a set of changes has
/// one encoding.
#[derive(Clone, PartialEq, Eq, Default, Encode)]
pub struct StateDiff(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl StateDiff {
    /// The changes, in the order of their keys.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Vec<u8>, Option<Vec<u8>>)> for StateDiff {
    /// Of several changes of one key the last counts.
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>>(changes: I) -> Self {
        Self(changes.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl Decode for StateDiff {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let changes = Vec::<(Vec<u8>, Option<Vec<u8>>)>::decode(input)?;
        if !changes.is_sorted_by(|(earlier, _), (later, _)| earlier < later) {
            return Err("keys of a state diff are not in ascending order".into());
        }
        Ok(Self(changes))
    }
}

impl fmt::Debug for StateDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDiff({} keys)", self.0.len())
    }
}

/// Why a diff was not encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// There is no randomness for the message's key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Beyond what the cipher takes under one nonce (256 GiB).
    #[error("diff is too long to be encrypted")]
    TooLong,
    /// Shorter than randomness and authentication tag.
    #[error("encrypted diff has {0} bytes, fewer than {MIN_ENCRYPTED}")]
    TooShort(usize),
    /// Altered, or encrypted under another secret, for another chain, shard or block.
    #[error("encrypted diff is not authentic for this secret, chain, shard and block")]
    NotAuthentic,
    /// Authentic, but no diff.
    #[error("decrypted diff does not decode")]
    Encoding,
}

/// Encrypts the diff of block `number` of a shard: 32 random bytes ‖ ChaCha20-Poly1305 ciphertext and tag.
pub fn encrypt_diff(
    secret: &StateSecret,
    genesis: &H256,
    shard: &ShardId,
    number: u64,
    diff: &StateDiff,
) -> Result<Vec<u8>, DiffError> {
    let mut randomness = [0; RANDOMNESS];
    OsRng.try_fill_bytes(&mut randomness).map_err(EntropyError::from)?;
    encrypt_with(secret, &randomness, genesis, shard, number, diff)
}

/// Opens what [`encrypt_diff`] made for the same chain, shard and block.
pub fn decrypt_diff(
    secret: &StateSecret,
    genesis: &H256,
    shard: &ShardId,
    number: u64,
    encrypted: &[u8],
) -> Result<StateDiff, DiffError> {
    if encrypted.len() < MIN_ENCRYPTED {
        return Err(DiffError::TooShort(encrypted.len()));
    }
    let (randomness, ciphertext) =
        encrypted.split_first_chunk::<RANDOMNESS>().ok_or(DiffError::TooShort(encrypted.len()))?;
    let payload = Payload { msg: ciphertext, aad: &associated(genesis, shard, number) };
    let plain = cipher(secret, randomness).decrypt(&Nonce::default(), payload).map_err(|_| DiffError::NotAuthentic)?;
    StateDiff::decode_all(&mut plain.as_slice()).map_err(|_| DiffError::Encoding)
}

fn encrypt_with(
    secret: &StateSecret,
    randomness: &[u8; RANDOMNESS],
    genesis: &H256,
    shard: &ShardId,
    number: u64,
    diff: &StateDiff,
) -> Result<Vec<u8>, DiffError> {
    let plain = diff.encode();
    let payload = Payload { msg: &plain, aad: &associated(genesis, shard, number) };
    let ciphertext = cipher(secret, randomness).encrypt(&Nonce::default(), payload).map_err(|_| DiffError::TooLong)?;
    Ok([randomness.as_slice(), &ciphertext].concat())
}

fn cipher(secret: &StateSecret, randomness: &[u8; RANDOMNESS]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(secret.diff_key(randomness).as_ref()))
}

fn associated(genesis: &H256, shard: &ShardId, number: u64) -> Vec<u8> {
    domain::message("state-diff", genesis, &[shard.as_ref(), &number.to_le_bytes()])
}

const RANDOMNESS: usize = 32;
const MIN_ENCRYPTED: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: H256 = H256::repeat_byte(1);
    const SHARD: ShardId = ShardId(H256::repeat_byte(2));

    fn secret() -> StateSecret {
        StateSecret::from_bytes([3; 32])
    }

    fn diff() -> StateDiff {
        [(b"b".to_vec(), None), (b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), Some(b"2".to_vec()))]
            .into_iter()
            .collect()
    }

    fn encrypted() -> Vec<u8> {
        encrypt_diff(&secret(), &GENESIS, &SHARD, 7, &diff()).unwrap()
    }

    #[test]
    fn changes_are_sorted_and_the_last_one_counts() {
        let changes: Vec<_> = diff().0;
        assert_eq!(changes, [(b"a".to_vec(), Some(b"2".to_vec())), (b"b".to_vec(), None)]);
    }

    #[test]
    fn what_was_encrypted_can_be_decrypted() {
        assert_eq!(decrypt_diff(&secret(), &GENESIS, &SHARD, 7, &encrypted()).unwrap(), diff());
        let nothing = encrypt_diff(&secret(), &GENESIS, &SHARD, 7, &StateDiff::default()).unwrap();
        assert!(decrypt_diff(&secret(), &GENESIS, &SHARD, 7, &nothing).unwrap().is_empty());
    }

    #[test]
    fn equal_diffs_have_unlike_ciphertexts() {
        assert_ne!(encrypted()[RANDOMNESS..], encrypted()[RANDOMNESS..]);
    }

    #[test]
    fn encryption_is_frozen() {
        let bytes = encrypt_with(&secret(), &[4; 32], &GENESIS, &SHARD, 7, &diff()).unwrap();
        assert_eq!(hex::encode(diff().encode()), "080461010432046200");
        assert_eq!(
            hex::encode(bytes),
            "0404040404040404040404040404040404040404040404040404040404040404bd07478611310e199403a3069e451fe75d78c8d79a5c0f41e6"
        );
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let good = encrypted();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            let result = decrypt_diff(&secret(), &GENESIS, &SHARD, 7, &bad);
            assert!(matches!(result, Err(DiffError::NotAuthentic)), "byte {position}: {result:?}");
        }
    }

    #[test]
    fn truncation_is_noticed() {
        let good = encrypted();
        for length in 0..good.len() {
            let result = decrypt_diff(&secret(), &GENESIS, &SHARD, 7, &good[..length]);
            if length < MIN_ENCRYPTED {
                assert!(matches!(result, Err(DiffError::TooShort(n)) if n == length), "{length}: {result:?}");
            } else {
                assert!(matches!(result, Err(DiffError::NotAuthentic)), "{length}: {result:?}");
            }
        }
    }

    #[test]
    fn another_secret_chain_shard_or_block_does_not_open_it() {
        let bytes = encrypted();
        for result in [
            decrypt_diff(&StateSecret::from_bytes([4; 32]), &GENESIS, &SHARD, 7, &bytes),
            decrypt_diff(&secret(), &H256::zero(), &SHARD, 7, &bytes),
            decrypt_diff(&secret(), &GENESIS, &ShardId::default(), 7, &bytes),
            decrypt_diff(&secret(), &GENESIS, &SHARD, 8, &bytes),
        ] {
            assert!(matches!(result, Err(DiffError::NotAuthentic)), "{result:?}");
        }
    }

    #[test]
    fn only_the_canonical_encoding_decodes() {
        for changes in [
            vec![(b"b".to_vec(), None::<Vec<u8>>), (b"a".to_vec(), None)],
            vec![(b"a".to_vec(), None), (b"a".to_vec(), None)],
        ] {
            let unsorted = StateDiff(changes);
            assert!(StateDiff::decode(&mut unsorted.encode().as_slice()).is_err());
            let bytes = encrypt_diff(&secret(), &GENESIS, &SHARD, 7, &unsorted).unwrap();
            assert!(matches!(decrypt_diff(&secret(), &GENESIS, &SHARD, 7, &bytes), Err(DiffError::Encoding)));
        }
    }
}
