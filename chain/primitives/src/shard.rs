//! What layer one records about a shard.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sp_core::ConstU32;
use sp_runtime::BoundedVec;

use crate::{AccountId, Balance, BlockNumber, H256, domain};

/// Most accounts that a shard's configuration may name as its members' authorities.
pub const MAX_AUTHORITIES: u32 = 64;
/// Bytes of an RSA-3072 modulus.
pub const RSA_MODULUS_BYTES: usize = 384;
/// The public exponent of every shard's RSA key.
pub const RSA_PUBLIC_EXPONENT: u32 = 65_537;

/// Names a shard: the hash of the layer-one genesis and of its birth parameters, so that a client that signs the
/// shard signs the chain too.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
pub struct ShardId(pub H256);

impl AsRef<[u8]> for ShardId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The published part of a shard's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ShardConfig {
    /// Measurement of the enclaves that may serve the shard.
    pub enclave_fingerprint: [u8; 32],
    /// Most members, if limited.
    pub max_instances: Option<u32>,
    /// Accounts that may be members; any if absent.
    pub authorities: Option<BoundedVec<AccountId, ConstU32<MAX_AUTHORITIES>>>,
    /// Whether the shard takes no new calls and money.
    pub maintenance_mode: bool,
}

/// Public keys to which clients encrypt.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ShieldingKeys {
    /// Number of this pair of keys.
    pub epoch: u32,
    /// X25519 public key for the HPKE envelope.
    pub hpke: [u8; 32],
    /// Modulus of the RSA-3072 key, big endian; the exponent is [`RSA_PUBLIC_EXPONENT`].
    pub rsa_modulus: [u8; RSA_MODULUS_BYTES],
}

/// Everything that a shard is born with.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ShardBirth {
    /// The published configuration.
    pub config: ShardConfig,
    /// Layer-one blocks between the announcement of an upgrade and its effect.
    pub upgrade_delay: BlockNumber,
    /// Most planck that the escrow may hold while the shard has one member.
    pub escrow_cap: Option<Balance>,
    /// The shard's shielding keys.
    pub shielding_keys: ShieldingKeys,
    /// Commitment to the shard's state before its first block.
    pub genesis_commitment: H256,
    /// Account of the registered enclave that bears the shard, and its only member.
    pub founder: AccountId,
}

impl ShardBirth {
    /// The id of the shard that is born with these parameters on the chain with `genesis`.
    pub fn shard_id(&self, genesis: &H256) -> ShardId {
        ShardId(domain::hash("shard", genesis, &[&self.encode()]))
    }
}

/// A shard as layer one stores it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ShardEntry {
    /// What it was born with.
    pub birth: ShardBirth,
    /// Height of the block that bore it.
    pub born_at: BlockNumber,
}
