//! What layer one says of entries of a shard's outbox.

use std::time::Duration;

use cloister_chain_primitives::{BlockNumber, H256, ShardId, Verdict, storage};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Error, Event, Found, LayerOne};

/// What an `unshield_funds` did with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnshieldResult {
    /// For good.
    Settled(Verdict),
    /// Nothing yet: it is over the outflow limit of the period, or before its time.
    Deferred,
}

/// An event about an entry of an outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnshieldEvent {
    /// The shard.
    pub shard: ShardId,
    /// The entry's id.
    pub id: H256,
    /// What was done.
    pub result: UnshieldResult,
}

/// How the wait for a verdict ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// By this verdict, for good.
    Verdict {
        /// What it is.
        verdict: Verdict,
        /// The block that settled the entry.
        block_hash: H256,
    },
    /// The shard has closed the entry, so there was a verdict, in a block before the wait began.
    Forgotten,
}

impl Event {
    /// What was done with an entry of an outbox, if this event is about one.
    pub fn unshield(&self) -> Option<UnshieldEvent> {
        #[derive(Deserialize)]
        struct Fields {
            shard: ShardId,
            call_hash: H256,
        }
        let result = match self.name.as_str() {
            "UnshieldedFunds" => UnshieldResult::Settled(Verdict::Paid),
            "UnshieldRefused" => UnshieldResult::Settled(Verdict::Refused),
            "UnshieldDeferred" => UnshieldResult::Deferred,
            _ => return None,
        };
        let Fields { shard, call_hash: id } = self.fields_of("EnclaveBridge", &self.name)?;
        Some(UnshieldEvent { shard, id, result })
    }
}

impl LayerOne {
    /// What a block knows of entry `number` of a shard's outbox.
    pub async fn settled_at(&self, shard: &ShardId, number: u64, at: H256) -> Result<Option<Verdict>, Error> {
        self.storage(&storage::settled(shard, number), at).await
    }

    /// Waits, for `limit` at most, until a finalized block has a verdict on the entry with this number and id, and tells
    /// `deferred` of each block that put it off. Looks at all finalized blocks from height `from` on, which is to lie
    /// before the entry was opened: layer one forgets a verdict once the shard has closed the entry.
    pub async fn await_verdict(
        &self,
        shard: &ShardId,
        (number, id): (u64, H256),
        from: BlockNumber,
        limit: Duration,
        mut deferred: impl FnMut(BlockNumber),
    ) -> Result<Option<Found<Settlement>>, Error> {
        let deadline = Instant::now() + limit;
        let mut blocks = self.finalized_blocks(from);
        while let Some(Found { block_number, value: block_hash }) = blocks.next_before(deadline).await? {
            let found = |value| Ok(Some(Found { block_number, value }));
            if let Some(verdict) = self.settled_at(shard, number, block_hash).await? {
                return found(Settlement::Verdict { verdict, block_hash });
            }
            let events = self.events(block_hash).await?;
            let results = events.iter().filter_map(Event::unshield);
            for UnshieldEvent { result, .. } in results.filter(|event| (event.shard, event.id) == (*shard, id)) {
                match result {
                    UnshieldResult::Settled(verdict) => return found(Settlement::Verdict { verdict, block_hash }),
                    UnshieldResult::Deferred => deferred(block_number),
                }
            }
            let anchored = self.anchor_at(shard, block_hash).await?;
            if anchored.is_some_and(|anchored| anchored.anchor.outbox_closed > number) {
                return found(Settlement::Forgotten);
            }
        }
        Ok(None)
    }
}
