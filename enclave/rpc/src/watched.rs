//! How an operation goes on, until it ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use cloister_wire::H256;
use futures::Stream;
use tokio::sync::mpsc;

use crate::StatusUpdate;

/// The updates of one operation.
pub(crate) struct Watched {
    hash: H256,
    updates: mpsc::Receiver<StatusUpdate>,
    ended: bool,
}

impl Watched {
    pub(crate) fn new(hash: H256, updates: mpsc::Receiver<StatusUpdate>) -> Self {
        Self { hash, updates, ended: false }
    }
}

impl Stream for Watched {
    type Item = (H256, StatusUpdate);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let update = futures::ready!(self.updates.poll_recv(context));
        self.ended = update.as_ref().is_none_or(|update| update.last);
        let hash = self.hash;
        Poll::Ready(update.map(|update| (hash, update)))
    }
}

#[cfg(test)]
mod tests {
    use cloister_wire::TrustedOperationStatus;
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn nothing_follows_the_last_update() {
        let (sender, updates) = mpsc::channel(4);
        let update = |last| StatusUpdate { status: TrustedOperationStatus::Ready, error: None, last };
        sender.try_send(update(false)).unwrap();
        sender.try_send(update(true)).unwrap();
        sender.try_send(update(false)).unwrap();
        let watched = Watched::new(H256::zero(), updates);
        assert_eq!(watched.map(|(_, update)| update.last).collect::<Vec<_>>().await, [false, true]);
    }
}
