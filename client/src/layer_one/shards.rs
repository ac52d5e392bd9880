//! What layer one records of shards' work: reports in its events, anchors in its storage.

use std::time::Duration;

use cloister_chain_primitives::{Anchored, BlockNumber, H256, ShardId, storage};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

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

    fn fields_of<'a, T: Deserialize<'a>>(&'a self, pallet: &str, name: &str) -> Option<T> {
        let named = self.pallet == pallet && self.name == name;
        named.then(|| T::deserialize(&self.fields).ok())?
    }
}

/// Something found in a finalized block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found<T> {
    /// Height of the block.
    pub block_number: BlockNumber,
    /// What was looked for.
    pub value: T,
}

impl LayerOne {
    /// The first event that `wanted` takes, in the finalized blocks from height `from` on and, until `limit` is over,
    /// in those to come. However late the wait begins, it misses none, as long as the node has the blocks' state.
    pub async fn await_event<T>(
        &self,
        from: BlockNumber,
        limit: Duration,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Result<Option<Found<T>>, Error> {
        let deadline = Instant::now() + limit;
        let mut next = from;
        loop {
            let head = self.finalized_number().await?;
            while next <= head {
                let events = self.events(self.block_hash(next).await?).await?;
                if let Some(value) = events.iter().find_map(&mut wanted) {
                    return Ok(Some(Found { block_number: next, value }));
                }
                next += 1;
            }
            if !pause_before(deadline).await {
                return Ok(None);
            }
        }
    }

    /// A shard's newest anchor at the finalized head.
    pub async fn anchor(&self, shard: &ShardId) -> Result<Option<Anchored>, Error> {
        self.storage(&storage::anchor(shard), self.finalized_hash().await?).await
    }

    /// Waits until a finalized block anchors a shard's block at `height` or above, and so all before it; `None` if that
    /// takes longer than `limit`.
    pub async fn await_anchor(&self, shard: &ShardId, height: u64, limit: Duration) -> Result<Option<Anchored>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let anchored = self.anchor(shard).await?.filter(|anchored| anchored.anchor.number >= height);
            if anchored.is_some() || !pause_before(deadline).await {
                return Ok(anchored);
            }
        }
    }
}

/// Waits a little, but not beyond the deadline; `false` if that is over.
async fn pause_before(deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    sleep(left.min(POLL)).await;
    !left.is_zero()
}

/// A fraction of a block's time.
const POLL: Duration = Duration::from_millis(500);
