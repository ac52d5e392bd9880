//! What stands behind the methods.

use cloister_wire::{H256, RpcReturnValue, TrustedOperationStatus};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{Call, Method};

/// Answers calls. One handler serves many connections at once; one connection makes one call at a time, so that a query
/// sees what the request before it did.
pub trait Handler: Send + Sync {
    /// The methods that are served; the others are unknown to clients.
    fn methods(&self) -> &[Method] {
        &Method::ALL
    }

    /// Further ones, of the shard's own business logic. A published method is never one of them.
    fn own_methods(&self) -> &'static [&'static str] {
        &[]
    }

    /// Answers `call`, in a task of its own: what it holds meanwhile, such as a permit that others wait for, it never
    /// holds for longer because a client does not read. A future that is dropped (the connection ended, or its answer
    /// took too long) may have had its effect.
    fn call(&self, call: Call) -> BoxFuture<'_, Reply>;
}

/// The answer to a call.
#[derive(Debug)]
pub enum Reply {
    /// A value or a refusal.
    Answer(RpcReturnValue),
    /// [`Call::SubmitAndWatch`] was taken: the client is told the hash, then each update until one is the last or the
    /// sender is gone.
    Watch {
        /// The operation's.
        hash: H256,
        /// How it goes on. Bounded: who sends must not wait for a slow client.
        updates: mpsc::Receiver<StatusUpdate>,
    },
}

/// A change of an operation's status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusUpdate {
    /// The new status.
    pub status: TrustedOperationStatus,
    /// Why the operation failed, if it did.
    pub error: Option<String>,
    /// Whether no more updates follow.
    pub last: bool,
}
