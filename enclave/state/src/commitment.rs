//! Homomorphic commitment to a map: LtHash with 1 024 lanes of 16 bits (Lewi, Kim, Maykov, Weis: "Securing Update
//! Propagation with Homomorphic Hashing", 2019, § 3), its elements drawn from keyed BLAKE3.

use blake3::Hasher;
use sp_core::H256;
use zeroize::Zeroize;

use crate::CommitmentKey;

/// The sum, lane by lane and modulo 2^16, of one pseudo-random vector per entry. An entry is added or taken away
/// without looking at the others, and the order does not matter.
#[derive(Clone)]
pub struct LtHash {
    element_key: [u8; 32],
    digest_key: [u8; 32],
    lanes: Box<[u16; LANES]>,
}

impl LtHash {
    /// Of the empty map.
    pub fn new(key: &CommitmentKey) -> Self {
        Self {
            element_key: blake3::derive_key(ELEMENT_CONTEXT, &key.0),
            digest_key: blake3::derive_key(DIGEST_CONTEXT, &key.0),
            lanes: Box::new([0; LANES]),
        }
    }

    /// Adds an entry that the map does not have.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        let element = self.element(key, value);
        for (lane, pair) in self.lanes.iter_mut().zip(element.as_chunks::<2>().0) {
            *lane = lane.wrapping_add(u16::from_le_bytes(*pair));
        }
    }

    /// Takes away an entry that the map has.
    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        let element = self.element(key, value);
        for (lane, pair) in self.lanes.iter_mut().zip(element.as_chunks::<2>().0) {
            *lane = lane.wrapping_sub(u16::from_le_bytes(*pair));
        }
    }

    /// What is published: keyed BLAKE3-256 of the lanes, little endian.
    pub fn digest(&self) -> H256 {
        let mut bytes = [0; ELEMENT_BYTES];
        for (pair, lane) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.lanes.iter()) {
            *pair = lane.to_le_bytes();
        }
        H256(*blake3::keyed_hash(&self.digest_key, &bytes).as_bytes())
    }

    /// Keyed BLAKE3 of the key's u32 (little endian) length, the key and the value, extended to a whole vector. The
    /// length keeps key and value apart; the value ends with the input.
    fn element(&self, key: &[u8], value: &[u8]) -> [u8; ELEMENT_BYTES] {
        let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let mut hasher = Hasher::new_keyed(&self.element_key);
        hasher.update(&length.to_le_bytes()).update(key).update(value);
        let mut element = [0; ELEMENT_BYTES];
        hasher.finalize_xof().fill(&mut element);
        element
    }
}

impl Drop for LtHash {
    fn drop(&mut self) {
        self.element_key.zeroize();
        self.digest_key.zeroize();
    }
}

const LANES: usize = 1024;
const ELEMENT_BYTES: usize = 2048;
const ELEMENT_CONTEXT: &str = "cloister/1 state commitment: element";
const DIGEST_CONTEXT: &str = "cloister/1 state commitment: digest";

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(entries: &[(&[u8], &[u8])]) -> LtHash {
        let mut hash = LtHash::new(&CommitmentKey([3; 32]));
        for (key, value) in entries {
            hash.insert(key, value);
        }
        hash
    }

    #[test]
    fn order_does_not_matter_and_removal_undoes_insertion() {
        let mut all = hash(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
        assert_eq!(all.digest(), hash(&[(b"c", b"3"), (b"a", b"1"), (b"b", b"2")]).digest());
        all.remove(b"b", b"2");
        assert_eq!(all.digest(), hash(&[(b"a", b"1"), (b"c", b"3")]).digest());
        all.remove(b"a", b"1");
        all.remove(b"c", b"3");
        assert_eq!(all.digest(), hash(&[]).digest());
    }

    #[test]
    fn key_value_and_secret_all_count() {
        let one = hash(&[(b"ab", b"c")]).digest();
        assert_ne!(one, hash(&[(b"a", b"bc")]).digest());
        assert_ne!(one, hash(&[(b"ab", b"")]).digest());
        assert_ne!(one, hash(&[(b"ab", b"c"), (b"ab", b"c")]).digest());
        let mut other = LtHash::new(&CommitmentKey([4; 32]));
        other.insert(b"ab", b"c");
        assert_ne!(one, other.digest());
    }

    #[test]
    fn digest_is_frozen() {
        assert_eq!(hex::encode(hash(&[]).digest()), "bc5797c3389180b0b65b74c8a3244327f44aede9188fb80750844771aa921649");
        assert_eq!(
            hex::encode(hash(&[(b"key", b"value"), (b"", b"")]).digest()),
            "69d4c16b5ecc13f0e2e84bfbbb225faa90b5f9a3da860682703bf448132d85cf"
        );
    }
}
