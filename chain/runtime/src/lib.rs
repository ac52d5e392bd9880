//! Layer one's runtime: registry of shards and enclaves beside stock pallets.
//!
//! Pure wasm without host functions of its own. Pallet indices, call indices and storage keys that enclaves and clients
//! rely on are fixed by `cloister-chain-primitives`; this crate's tests compare.
#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "256"]
#![allow(unused_qualifications, reason = "code that FRAME generates")]

extern crate alloc;

#[cfg(feature = "std")]
include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));

pub mod apis;
pub mod configs;
pub mod fees;
pub mod genesis;
pub mod proxy;

use alloc::{borrow::Cow, vec::Vec};

use frame_support::weights::{constants::WEIGHT_REF_TIME_PER_MILLIS, Weight};
use sp_runtime::{generic, impl_opaque_keys, MultiAddress, MultiSignature};
use sp_version::RuntimeVersion;

pub use apis::{RuntimeApi, RUNTIME_API_VERSIONS};
pub use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, Header, Moment, Nonce, EXISTENTIAL_DEPOSIT, H256, SS58_PREFIX, UNIT,
};

/// A hash of layer one.
pub type Hash = H256;
/// A signature of an extrinsic.
pub type Signature = MultiSignature;
/// How an extrinsic names an account.
pub type Address = MultiAddress<AccountId, ()>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// What an extrinsic carries beside its call. Order and content are those of
/// `cloister_chain_primitives::extrinsic::signed`.
pub type TxExtension = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckEra<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
    frame_metadata_hash_extension::CheckMetadataHash<Runtime>,
);
/// An extrinsic.
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What an extrinsic's sender signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;
/// Executes blocks.
pub type Executive =
    frame_executive::Executive<Runtime, Block, frame_system::ChainContext<Runtime>, Runtime, AllPalletsWithSystem>;

/// Types for a node, which need not know the calls.
pub mod opaque {
    use super::*;

    pub use sp_runtime::OpaqueExtrinsic as UncheckedExtrinsic;

    /// A block whose extrinsics are bytes.
    pub type Block = generic::Block<Header, UncheckedExtrinsic>;
    /// Names a block.
    pub type BlockId = generic::BlockId<Block>;
    /// A hash of layer one.
    pub type Hash = H256;
}

impl_opaque_keys! {
    /// Keys of a validator.
    pub struct SessionKeys {
        /// Authors blocks.
        pub aura: Aura,
        /// Finalizes blocks.
        pub grandpa: Grandpa,
    }
}

/// The runtime's version.
#[sp_version::runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: Cow::Borrowed("cloister"),
    impl_name: Cow::Borrowed("cloister"),
    authoring_version: 1,
    spec_version: 5,
    impl_version: 1,
    apis: RUNTIME_API_VERSIONS,
    transaction_version: 4,
    system_version: 1,
};

/// Milliseconds between two blocks.
pub const SLOT_DURATION: Moment = 1_000;
/// Blocks of a session: so often the set of validators can change.
pub const SESSION_BLOCKS: BlockNumber = 10;
/// Blocks whose hash the runtime remembers; the longest era of an extrinsic.
pub const BLOCK_HASH_COUNT: BlockNumber = 4_096;
/// Blocks of an hour.
pub const HOURS: BlockNumber = 3_600;
/// Blocks of a day.
pub const DAYS: BlockNumber = 24 * HOURS;
/// Most validators.
pub const MAX_VALIDATORS: u32 = 64;
/// Execution time of a block: half a slot, the rest is for its author, the network and the importers.
pub const MAX_BLOCK_WEIGHT: Weight = Weight::from_parts(SLOT_DURATION / 2 * WEIGHT_REF_TIME_PER_MILLIS, u64::MAX);
/// Most bytes of a block.
pub const MAX_BLOCK_BYTES: u32 = 5 * 1024 * 1024;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;

    #[runtime::pallet_index(1)]
    pub type Preimage = pallet_preimage;

    #[runtime::pallet_index(3)]
    pub type Timestamp = pallet_timestamp;

    #[runtime::pallet_index(5)]
    pub type Sudo = pallet_sudo;

    #[runtime::pallet_index(6)]
    pub type Multisig = pallet_multisig;

    #[runtime::pallet_index(7)]
    pub type Proxy = pallet_proxy;

    #[runtime::pallet_index(8)]
    pub type Scheduler = pallet_scheduler;

    #[runtime::pallet_index(9)]
    pub type Utility = pallet_utility;

    #[runtime::pallet_index(10)]
    pub type Balances = pallet_balances;

    #[runtime::pallet_index(11)]
    pub type TransactionPayment = pallet_transaction_payment;

    // Before Session, whose genesis asks it for the first validators.
    #[runtime::pallet_index(21)]
    pub type ValidatorSet = pallet_validator_set;

    #[runtime::pallet_index(22)]
    pub type Session = pallet_session;

    #[runtime::pallet_index(23)]
    pub type Aura = pallet_aura;

    #[runtime::pallet_index(24)]
    pub type Grandpa = pallet_grandpa;

    #[runtime::pallet_index(30)]
    pub type Treasury = pallet_treasury;

    #[runtime::pallet_index(50)]
    pub type Teerex = pallet_teerex;

    #[runtime::pallet_index(53)]
    pub type Sidechain = pallet_sidechain;

    #[runtime::pallet_index(54)]
    pub type EnclaveBridge = pallet_enclave_bridge;
}
