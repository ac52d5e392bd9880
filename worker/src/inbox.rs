//! How much waits in layer one's inbox for the shard. The node says so, and not the enclave, so that it also shows while
//! the enclave waits for money or is given no proofs.

use std::{sync::Arc, time::Duration};

use cloister_chain_primitives::ShardId;
use tokio::time::{MissedTickBehavior, interval};

use crate::{layer_one::LayerOne, status::Shared};

/// Measures the inbox for ever. While the node does not answer, its last word stands.
pub async fn measure(layer_one: Arc<LayerOne>, shard: ShardId, shared: Arc<Shared>, pause: Duration) {
    let mut turns = interval(pause);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        match layer_one.inbox_length(&shard).await {
            Ok(length) => shared.set_inbox_length(length),
            Err(error) => tracing::debug!(%error, "layer one's node does not say how long the inbox is"),
        }
    }
}

/// Well below the distance at which metrics are read.
pub const PAUSE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::storage;
    use cloister_link::ToHost;
    use codec::Encode;
    use tokio::time::timeout;

    use super::*;
    use crate::testing::{FakeNode, PATIENCE, shard, status};

    /// What the enclave says once it has consumed so many entries.
    fn consumed(entries: u64) -> ToHost {
        let mut status = status();
        if let ToHost::Status { inbox_consumed, .. } = &mut status {
            *inbox_consumed = entries;
        }
        status
    }

    async fn until_waiting(shared: &Shared, entries: i64) {
        let waiting = async {
            while shared.metrics.inbox_waiting.get() != entries {
                tokio::task::yield_now().await;
            }
        };
        let found = || shared.metrics.inbox_waiting.get();
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{} instead of {entries}", found()));
    }

    #[tokio::test]
    async fn what_the_shard_has_not_consumed_waits() {
        let node = FakeNode::new();
        let (address, _handle) = node.serve("127.0.0.1:0").await;
        let layer_one = Arc::new(LayerOne::new(format!("ws://{address}")));
        let shared = Arc::new(Shared::new());
        let grow = |value: Vec<u8>| node.state().storage.insert(storage::inbox_length(&shard()), value);
        grow(12u64.encode());
        let measuring = measure(layer_one.clone(), shard(), shared.clone(), Duration::from_millis(1));
        let measuring = tokio::spawn(measuring);

        // Before it has its state an enclave cannot say what was consumed.
        shared.set_inbox_length(12);
        shared.hear(consumed(0), 0);
        assert_eq!(shared.metrics.inbox_waiting.get(), 0);
        shared.set_recovered(Duration::ZERO);
        shared.hear(consumed(5), 0);
        until_waiting(&shared, 7).await;
        grow(20u64.encode());
        until_waiting(&shared, 15).await;
        shared.hear(consumed(20), 0);
        assert_eq!(shared.metrics.inbox_waiting.get(), 0);
        // The node may be behind what it gave the enclave before.
        shared.hear(consumed(21), 0);
        assert_eq!(shared.metrics.inbox_waiting.get(), 0);

        // What cannot be a length changes nothing, and the next is taken.
        grow(vec![1]);
        let error = layer_one.inbox_length(&shard()).await.unwrap_err().to_string();
        assert_eq!(error, "layer one's answer to state_getStorage makes no sense: Not enough data to fill buffer");
        grow(30u64.encode());
        until_waiting(&shared, 9).await;
        measuring.abort();
    }
}
