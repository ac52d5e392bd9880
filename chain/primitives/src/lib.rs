//! Types, bounds, domain separation and storage layout that layer one, enclaves and clients agree on.
//!
//! Trusts nothing; holds no logic beyond encoding. It must never depend on the runtime, so that a change of the
//! runtime does not rebuild enclaves and clients. A test of the runtime compares every key, index and encoding
//! here with what the runtime really has.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

extern crate alloc;

pub mod anchor;
pub mod calls;
pub mod config;
pub mod deposit;
pub mod domain;
pub mod extrinsic;
pub mod fees;
pub mod inbox;
pub mod outbox;
pub mod registry;
pub mod shard;
pub mod storage;

pub use anchor::{Acknowledgement, Anchor, Anchored, SidechainBlockConfirmation};
pub use deposit::{MARK_DEPOSIT, REGISTRATION_DEPOSIT, SHARD_DEPOSIT};
pub use fees::{DIRECT_CALL_FEE, MIN_SHIELD, UNSHIELD_FEE};
pub use inbox::{EncryptedBeneficiary, InboxEntry, Request};
pub use outbox::{Flows, OutboxEntry, OutboxKind, OutboxPath, OutflowLimit, OutflowUse, Verdict};
pub use registry::{BuildMode, EnclaveRecord, Registration, RegistrationPolicy, RegistrationRefused, Standing};
pub use shard::{
    Retirement, ShardBirth, ShardConfig, ShardEntry, ShardId, ShardMode, ShieldingKeys, UpgradableShardConfig,
};

/// An account of layer one and of a shard.
pub type AccountId = sp_runtime::AccountId32;
/// Planck; 10^12 planck are 1 UNIT.
pub type Balance = u128;
/// Height of a layer-one block.
pub type BlockNumber = u32;
/// BLAKE2b-256 as layer one uses it.
pub type Hashing = sp_runtime::traits::BlakeTwo256;
/// A layer-one header.
pub type Header = sp_runtime::generic::Header<BlockNumber, Hashing>;
/// Milliseconds since the Unix epoch.
pub type Moment = u64;
/// Number of extrinsics of an account.
pub type Nonce = u32;

pub use sp_core::H256;

/// Planck in one UNIT.
pub const UNIT: Balance = 1_000_000_000_000;
/// Below this many planck an account is reaped, on layer one and on a shard.
pub const EXISTENTIAL_DEPOSIT: Balance = 1_000_000_000;
/// SS58 address format of layer one (generic Substrate).
pub const SS58_PREFIX: u16 = 42;
