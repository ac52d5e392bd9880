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

impl ShardId {
    /// The account that holds the shard's money on the chain with `genesis`. Nobody has its key.
    pub fn escrow_account(&self, genesis: &H256) -> AccountId {
        AccountId::new(domain::hash("escrow", genesis, &[self.as_ref()]).0)
    }
}

/// A shard as layer one stores it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ShardEntry {
    /// What it was born with.
    pub birth: ShardBirth,
    /// Height of the block that bore it.
    pub born_at: BlockNumber,
    /// Its configuration since.
    pub config: UpgradableShardConfig,
    /// Whether and when it ends.
    pub retirement: Option<Retirement>,
}

impl ShardEntry {
    /// A shard as it is born at this height.
    pub fn born(birth: ShardBirth, born_at: BlockNumber) -> Self {
        let config =
            UpgradableShardConfig { active_config: birth.config.clone(), pending_upgrade: None, upgrade_at: None };
        Self { birth, born_at, config, retirement: None }
    }

    /// What the shard does in the block of this height.
    pub fn mode_at(&self, height: BlockNumber) -> ShardMode {
        if self.retirement.is_some_and(|retirement| retirement.opens_at <= height) {
            ShardMode::Retired
        } else if self.config.at(height).maintenance_mode {
            ShardMode::Maintenance
        } else {
            ShardMode::Open
        }
    }
}

/// A configuration and the one that will replace it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct UpgradableShardConfig {
    /// Holds until the other does.
    pub active_config: ShardConfig,
    /// Holds from `upgrade_at` on.
    pub pending_upgrade: Option<ShardConfig>,
    /// Height of the first block in which it does.
    pub upgrade_at: Option<BlockNumber>,
}

impl UpgradableShardConfig {
    /// The configuration that holds in the block of this height.
    pub fn at(&self, height: BlockNumber) -> &ShardConfig {
        match (&self.pending_upgrade, self.upgrade_at) {
            (Some(pending), Some(at)) if at <= height => pending,
            _ => &self.active_config,
        }
    }
}

/// The announced end of a shard. Nothing takes it back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Retirement {
    /// Height of the block that announced it. From then on the shard takes no money.
    pub announced_at: BlockNumber,
    /// Height from which on the shard takes no calls, and all its accounts are paid on layer one.
    pub opens_at: BlockNumber,
}

/// What a shard does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking)]
pub enum ShardMode {
    /// Everything.
    #[default]
    Open,
    /// It takes no money and no calls, except those by which money leaves it.
    Maintenance,
    /// Money leaves it, and nothing else happens.
    Retired,
}

impl ShardMode {
    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Maintenance => "maintenance",
            Self::Retired => "retired",
        }
    }
}
