//! Domain separation: every own hash and signature covers a tag, the layer-one genesis, a role and its payload, each
//! with its length before it, so that no two messages of different meaning have equal bytes.

use alloc::vec::Vec;

use crate::H256;

const TAG: &[u8] = b"cloister/1";

/// The bytes that are hashed or signed for `role` on the chain with `genesis`:
/// tag ‖ genesis ‖ role ‖ parts, each as u32 (little endian) length and bytes.
///
/// A part above `u32::MAX` bytes cannot occur: all inputs are bounded far below.
pub fn message(role: &str, genesis: &H256, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [TAG, genesis.as_bytes(), role.as_bytes()].iter().chain(parts) {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// BLAKE2b-256 of [`message`].
pub fn hash(role: &str, genesis: &H256, parts: &[&[u8]]) -> H256 {
    H256(sp_crypto_hashing::blake2_256(&message(role, genesis, parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let genesis = H256::repeat_byte(7);
        assert_ne!(hash("a", &genesis, &[b"bc", b"d"]), hash("a", &genesis, &[b"b", b"cd"]));
        assert_ne!(hash("ab", &genesis, &[b"c"]), hash("a", &genesis, &[b"bc"]));
        assert_ne!(hash("a", &genesis, &[b""]), hash("a", &genesis, &[]));
        assert_ne!(hash("a", &genesis, &[]), hash("a", &H256::zero(), &[]));
    }

    #[test]
    fn encoding_is_frozen() {
        assert_eq!(
            hex::encode(message("role", &H256::zero(), &[b"x"])),
            format!(
                "0a000000{}20000000{}04000000{}0100000078",
                hex::encode("cloister/1"),
                "00".repeat(32),
                hex::encode("role")
            )
        );
    }
}
