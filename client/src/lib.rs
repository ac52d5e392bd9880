//! Client library: layer one through a node that the user chose, and a shard through a worker that the user need not
//! trust.
//!
//! Trusts the node for what is finalized, and the enclave code that the user accepts. Never trusts a worker's host: its
//! TLS key is compared with the shard's entry on layer one, calls are encrypted to the shard's key there, and answers
//! carry the enclave's signature and the layer-one block that it saw.
#![warn(missing_docs)]

pub mod layer_one;
pub mod shard;
pub mod signer;
pub mod worker;

pub use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, EXISTENTIAL_DEPOSIT, H256, Header, Nonce, Request, SS58_PREFIX, ShardEntry,
    ShardId, UNIT, calls::Call, extrinsic::ChainVersion, storage::AccountInfo,
};
pub use layer_one::{Event, LayerOne, Wait};
pub use shard::{Selection, Shard, ShardClient};
pub use signer::{Scheme, Signer};
pub use worker::{Pin, Worker};
