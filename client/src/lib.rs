//! Client library: layer one through a node that the user chose, and a shard through a worker that the user need not
//! trust.
//!
//! Trusts the node for what is finalized, and the enclave code that the user accepts. Never trusts a worker's host: only
//! an enclave whose evidence layer one has verified, and whose registration counts now, is spoken to; its TLS key is
//! compared with that registration before anything is sent, and before anything private or any money is, the enclave must
//! have said that it serves the very shard that is meant; calls are encrypted to the shard's key on layer one, and answers
//! carry the enclave's signature and the layer-one block that it saw.
#![warn(missing_docs)]

pub mod audit;
pub mod layer_one;
pub mod shard;
pub mod signer;
pub mod worker;

pub use cloister_chain_primitives::{
    AccountId, Anchored, Balance, BlockNumber, BuildMode, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, EnclaveRecord,
    EncryptedBeneficiary, Flows, H256, Header, InboxEntry, MIN_SHIELD, Moment, Nonce, OutboxEntry, OutboxKind,
    OutflowLimit, RegistrationPolicy, Request, Retirement, SS58_PREFIX, ShardConfig, ShardEntry, ShardId, ShardMode,
    Standing, UNIT, UNSHIELD_FEE, Verdict,
    calls::Call,
    extrinsic::ChainVersion,
    registry::{Appraised, report_data},
    storage::AccountInfo,
};
pub use cloister_claims::Stance;
pub use cloister_wire::{Outcome, TrustedCall, TrustedGetter};
pub use layer_one::{BridgeState, Event, LayerOne, Wait};
pub use shard::{Executed, Invocation, Route, Selection, Shard, ShardClient, Step, Unshielding, WantedCode};
pub use signer::{Scheme, Signer};
pub use worker::{Pin, Worker};
