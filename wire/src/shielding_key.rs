//! The RSA-3072 shielding key as published clients read it.

use cloister_chain_primitives::shard::{RSA_MODULUS_BYTES, RSA_PUBLIC_EXPONENT};
use serde::{Deserialize, Serialize};

/// Modulus and exponent as little-endian byte arrays; its compact JSON is the value of `author_getShieldingKey`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishedShieldingKey {
    /// Modulus, 384 bytes, little endian.
    pub n: Vec<u8>,
    /// Exponent, 4 bytes, little endian.
    pub e: Vec<u8>,
}

impl PublishedShieldingKey {
    /// From a big-endian modulus.
    pub fn new(modulus: &[u8; RSA_MODULUS_BYTES]) -> Self {
        Self { n: modulus.iter().rev().copied().collect(), e: RSA_PUBLIC_EXPONENT.to_le_bytes().to_vec() }
    }

    /// Compact JSON, `n` first.
    pub fn to_json(&self) -> String {
        // Byte arrays under fixed names always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_little_endian_and_within_the_length_that_clients_accept() {
        let mut modulus = [0u8; RSA_MODULUS_BYTES];
        modulus[0] = 0xc1;
        modulus[383] = 7;
        let json = PublishedShieldingKey::new(&modulus).to_json();
        let parsed: PublishedShieldingKey = serde_json::from_str(&json).unwrap();
        assert_eq!((parsed.n[0], parsed.n[383]), (7, 0xc1));
        assert_eq!(parsed.e, [1, 0, 1, 0]);
        assert!((64..=16_383).contains(&json.len()) && !json.contains(' '));
    }
}
