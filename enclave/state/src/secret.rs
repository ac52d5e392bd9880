//! The secret of one state epoch and the keys that follow from it.

use core::fmt;

use cloister_chain_primitives::H256;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const TAG: &[u8] = b"cloister/1";
const COMMITMENT: &[u8] = b"state-commitment";
const HEDGE: &[u8] = b"message-randomness";
const BLOCK: &[u8] = b"block-randomness";

/// 256 bits drawn for one epoch of one shard's state; never derived from an older secret, so that erasing it really
/// closes the epoch.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StateSecret([u8; 32]);

/// Keys the commitment to a shard's state. Without it strangers could test guesses of balances against published
/// commitments.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CommitmentKey(pub(crate) [u8; 32]);

/// From which the random numbers of one block are drawn: the same for whoever has the shard's secret, unknown to all
/// others. It knows no chance but what is in its input, so that no start of an enclave can draw twice.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BlockRandomness([u8; 32]);

/// The operating system gave no randomness.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no randomness from the operating system: {0}")]
pub struct EntropyError(String);

impl From<rand::Error> for EntropyError {
    fn from(error: rand::Error) -> Self {
        Self(error.to_string())
    }
}

impl StateSecret {
    /// A secret that was drawn, unsealed or handed over.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of the epoch's commitments.
    pub fn commitment_key(&self) -> CommitmentKey {
        CommitmentKey(*self.derive(&[TAG, COMMITMENT]))
    }

    /// The randomness of the block after `parent`, which has this height and rests on this block of layer one.
    pub fn block_randomness(&self, parent: &H256, number: u64, layer_one_head: &H256) -> BlockRandomness {
        let parts = [TAG, BLOCK, parent.as_ref(), &number.to_le_bytes(), layer_one_head.as_ref()];
        BlockRandomness(*self.derive(&parts))
    }

    /// The key of one sealed message of this role, given the 256 random bits that stand beside it. A key serves one message,
    /// which is why the nonce of the cipher can be zero and nothing depends on a counter that a host could rewind.
    pub(crate) fn message_key(&self, role: &str, randomness: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        self.derive(&[TAG, role.as_bytes(), randomness])
    }

    /// What stands beside a message: 256 bits that follow from the operating system's randomness, from where the message
    /// belongs and from the message itself. Unlike messages have unlike ones even if a lying kernel gives the same
    /// randomness twice; then nothing shows but that two messages are equal.
    pub(crate) fn hedged(&self, randomness: &[u8; 32], associated: &[u8], plain: &[u8]) -> [u8; 32] {
        let length = u64::try_from(associated.len()).unwrap_or(u64::MAX);
        let mut hasher = blake3::Hasher::new_keyed(&self.derive(&[TAG, HEDGE]));
        hasher.update(randomness).update(&length.to_le_bytes()).update(associated).update(plain);
        *hasher.finalize().as_bytes()
    }

    /// For sealing it together with the enclave's other keys.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// HKDF-SHA256 (RFC 5869) without salt; `info` is each part with its u32 (little endian) length before it.
    fn derive(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut info = Vec::new();
        for part in parts {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            info.extend_from_slice(&length.to_le_bytes());
            info.extend_from_slice(part);
        }
        let mut key = Zeroizing::new([0; 32]);
        #[allow(clippy::expect_used, reason = "continuing with a key of zeros would be worse than stopping")]
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(&info, key.as_mut())
            .expect("32 bytes are below HKDF's limit of 8 160");
        key
    }
}

impl BlockRandomness {
    /// One that a test needs to be known.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 256 bits for this purpose; `count` tells one draw of the block from the others.
    pub fn draw(&self, domain: &[u8], count: u64) -> [u8; 32] {
        *blake3::Hasher::new_keyed(&self.0).update(&count.to_le_bytes()).update(domain).finalize().as_bytes()
    }
}

impl CommitmentKey {
    /// A key that a test or a benchmark needs to be known.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for StateSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateSecret(..)")
    }
}

impl fmt::Debug for BlockRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockRandomness(..)")
    }
}

impl fmt::Debug for CommitmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitmentKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN_DRAW: &str = "dd1af9ae35d202e5177aab69816f21d0109d239bf9b5beef2d28329916f33d69";

    #[test]
    fn derivation_is_frozen() {
        let secret = StateSecret::from_bytes([7; 32]);
        assert_eq!(
            hex::encode(secret.commitment_key().0),
            "4d6df02e1200c43f91598b8ba64ecf936dbfa50cd7333aecbd6165adc2ea7c28"
        );
        assert_eq!(
            hex::encode(*secret.message_key("state-diff", &[9; 32])),
            "ba455bdfc8cf1ebf27bbebfd0d822f7abb9e64c27c14015675febb84822ff74a"
        );
    }

    #[test]
    fn each_part_of_a_draw_changes_it() {
        let draw = |secret: u8, parent: u8, number, head: u8, domain: &[u8], count| {
            let secret = StateSecret::from_bytes([secret; 32]);
            let randomness = secret.block_randomness(&H256([parent; 32]), number, &H256([head; 32]));
            hex::encode(randomness.draw(domain, count))
        };
        let draws = [
            draw(7, 1, 2, 3, b"dice", 0),
            draw(8, 1, 2, 3, b"dice", 0),
            draw(7, 2, 2, 3, b"dice", 0),
            draw(7, 1, 3, 3, b"dice", 0),
            draw(7, 1, 2, 4, b"dice", 0),
            draw(7, 1, 2, 3, b"coin", 0),
            draw(7, 1, 2, 3, b"dice", 1),
        ];
        assert_eq!(draws.iter().collect::<std::collections::BTreeSet<_>>().len(), draws.len());
        assert_eq!(draws[0], FROZEN_DRAW);
    }

    #[test]
    fn secrets_are_never_printed() {
        let secret = StateSecret::from_bytes([7; 32]);
        assert_eq!(format!("{secret:?} {:?}", secret.commitment_key()), "StateSecret(..) CommitmentKey(..)");
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let secret = StateSecret::from_bytes([7; 32]);
        assert_ne!(secret.derive(&[b"a", b"bc"]), secret.derive(&[b"ab", b"c"]));
        assert_ne!(secret.derive(&[b"a"]), secret.derive(&[b"a", b""]));
    }
}
