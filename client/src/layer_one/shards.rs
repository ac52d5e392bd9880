//! What layer one records of shards' work: reports in its events, anchors in its storage.

use cloister_chain_primitives::{Anchored, BlockNumber, H256, ShardId, storage};
use serde::Deserialize;

use super::{Error, Event, LayerOne};

/// A shard's enclave has consumed the shard's inbox up to a block of layer one.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ProcessedParentchainBlock {
    /// The shard.
    pub shard: ShardId,
    /// Hash of the block.
    pub block_hash: H256,
    /// Its height.
    pub block_number: BlockNumber,
    /// Root over the hashes of the operations that were executed since the report before.
    pub trusted_calls_merkle_root: H256,
}

/// A block of a shard was anchored.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct FinalizedSidechainBlock {
    /// The shard.
    pub shard: ShardId,
    /// Height of the block.
    pub block_number: u64,
    /// Hash of its header.
    pub block_header_hash: H256,
    /// Entries of the shard's inbox that are consumed after it.
    pub inbox_consumed: u64,
}

impl Event {
    /// The report of an enclave, if this event is one.
    pub fn processed_parentchain_block(&self) -> Option<ProcessedParentchainBlock> {
        self.fields_of("EnclaveBridge", "ProcessedParentchainBlock")
    }

    /// The anchored block, if this event is about one.
    pub fn finalized_sidechain_block(&self) -> Option<FinalizedSidechainBlock> {
        self.fields_of("Sidechain", "FinalizedSidechainBlock")
    }

    pub(super) fn fields_of<'a, T: Deserialize<'a>>(&'a self, pallet: &str, name: &str) -> Option<T> {
        let named = self.pallet == pallet && self.name == name;
        named.then(|| T::deserialize(&self.fields).ok())?
    }
}

impl LayerOne {
    /// A shard's newest anchor at the finalized head. It vouches for a block that an enclave told of only if that very
    /// start of the enclave had it anchored: see [`ShardClient::anchored`](crate::ShardClient::anchored).
    pub async fn anchor(&self, shard: &ShardId) -> Result<Option<Anchored>, Error> {
        self.anchor_at(shard, self.finalized_hash().await?).await
    }

    /// A shard's newest anchor as a block left it.
    pub async fn anchor_at(&self, shard: &ShardId, at: H256) -> Result<Option<Anchored>, Error> {
        self.storage(&storage::anchor(shard), at).await
    }
}
