//! Whether a block that the enclave told of is one that layer one keeps for ever.

use std::time::Duration;

use cloister_chain_primitives::{Anchored, BlockNumber, H256};
use tokio::time::Instant;

use super::{Error, ShardClient};
use crate::layer_one::pause_before;

impl ShardClient {
    /// Waits, for `limit` at most, until the shard's block at `height`, of which the enclave behind this connection has
    /// told, is anchored in a finalized block of layer one. The wait may begin late.
    ///
    /// A height alone says nothing: a host that starts the enclave again can have it go on from what is anchored, and
    /// another block takes the height. Layer one takes anchors of the current start only. So the anchor counts that it
    /// has in a block in which its registry knows the start that this connection leads to. If there is none, and there
    /// is a newer start, that is [`Error::PerhapsRewound`].
    pub async fn anchored(&self, height: u64, limit: Duration) -> Result<Anchored, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(anchored) = self.anchored_by_now(height).await? {
                return Ok(anchored);
            }
            if !pause_before(deadline).await {
                return Err(Error::NotAnchored { height, limit });
            }
        }
    }

    /// The anchor of the block or of one after it at the finalized head; if another start is registered there by now, in
    /// the last block in which this one was. `None` if it may still come.
    async fn anchored_by_now(&self, height: u64) -> Result<Option<Anchored>, Error> {
        let (layer_one, shard) = (self.layer_one(), self.shard());
        let own = &shard.enclave;
        let rewound = Error::PerhapsRewound { height };
        let (mut at, head): (H256, _) = layer_one.finalized_head().await?;
        let mut number: BlockNumber = head.number;
        for step in 0..=MAX_STARTS {
            let (anchored, record) =
                tokio::try_join!(layer_one.anchor_at(&shard.id, at), layer_one.enclave_at(shard.founder(), at))?;
            let earlier = match record {
                Some(record) if record.incarnation_key == own.incarnation_key => {
                    let reached = anchored.filter(|anchored| anchored.anchor.number >= height);
                    return if reached.is_none() && step > 0 { Err(rewound) } else { Ok(reached) };
                }
                Some(record) => record.incarnation_since.checked_sub(1),
                // Nobody has anchored anything since, because nobody may.
                None => anchored.map(|anchored| anchored.at),
            };
            match earlier.filter(|earlier| (own.incarnation_since..number).contains(earlier)) {
                Some(earlier) => number = earlier,
                None => return Err(rewound),
            }
            at = layer_one.block_hash(number).await?;
        }
        Err(rewound)
    }
}

/// Starts of the enclave after this one that are looked at.
const MAX_STARTS: usize = 256;
