//! Finalized blocks, one after another.

use std::time::Duration;

use cloister_chain_primitives::{BlockNumber, H256};
use tokio::time::{Instant, sleep};

use super::{Error, Event, LayerOne};

/// Something found in a finalized block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found<T> {
    /// Height of the block.
    pub block_number: BlockNumber,
    /// What was looked for.
    pub value: T,
}

/// Walks the finalized blocks from some height on, those to come too, and leaves none out.
#[derive(Clone)]
pub struct FinalizedBlocks {
    layer_one: LayerOne,
    next: BlockNumber,
    /// Newest finalized block known.
    head: Option<BlockNumber>,
}

impl FinalizedBlocks {
    /// The next block's height and hash, once it is finalized.
    pub async fn next(&mut self) -> Result<Found<H256>, Error> {
        loop {
            if let Some(block) = self.known().await? {
                return Ok(block);
            }
            sleep(POLL).await;
        }
    }

    /// The same, or `None` if it is not finalized by `deadline`.
    pub async fn next_before(&mut self, deadline: Instant) -> Result<Option<Found<H256>>, Error> {
        loop {
            let block = self.known().await?;
            if block.is_some() || !pause_before(deadline).await {
                return Ok(block);
            }
        }
    }

    /// The next block, if it is finalized already.
    async fn known(&mut self) -> Result<Option<Found<H256>>, Error> {
        if self.head.is_none_or(|head| head < self.next) {
            let head = self.layer_one.finalized_number().await?;
            self.head = Some(head);
            if head < self.next {
                return Ok(None);
            }
        }
        let block_number = self.next;
        let value = self.layer_one.block_hash(block_number).await?;
        self.next = block_number.saturating_add(1);
        Ok(Some(Found { block_number, value }))
    }
}

impl LayerOne {
    /// The finalized blocks from height `from` on. However late the walk begins, it misses none; what it reads of old
    /// blocks depends on whether the node still has their state.
    pub fn finalized_blocks(&self, from: BlockNumber) -> FinalizedBlocks {
        FinalizedBlocks { layer_one: self.clone(), next: from, head: None }
    }

    /// The first event that `wanted` takes, in the finalized blocks from height `from` on and, until `limit` is over,
    /// in those to come.
    pub async fn await_event<T>(
        &self,
        from: BlockNumber,
        limit: Duration,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Result<Option<Found<T>>, Error> {
        let deadline = Instant::now() + limit;
        let mut blocks = self.finalized_blocks(from);
        while let Some(Found { block_number, value: hash }) = blocks.next_before(deadline).await? {
            if let Some(value) = self.events(hash).await?.iter().find_map(&mut wanted) {
                return Ok(Some(Found { block_number, value }));
            }
        }
        Ok(None)
    }
}

/// Waits a little, but not beyond the deadline; `false` if that is over.
pub(crate) async fn pause_before(deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    sleep(left.min(POLL)).await;
    !left.is_zero()
}

/// A fraction of a block's time.
const POLL: Duration = Duration::from_millis(400);
