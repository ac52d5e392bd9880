//! The protocol between an untrusted host and its enclave: messages, framing and relayed connections, both ends.
//!
//! Trusts neither end: each checks what the other sends, bounds it before allocation and answers a breach with a typed
//! error. Knows nothing of chains or shards beyond the types that it carries, and must never interpret relayed bytes.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

mod client_stream;
pub mod connections;
mod flow;
pub mod frame;
mod kept;
pub mod message;
pub mod transport;

pub use client_stream::ClientStream;
pub use connections::{Connections, ProtocolError};
pub use frame::{LinkError, MAX_FRAME};
pub use kept::{Kept, SnapshotId, Write};
pub use message::{ClientLimits, LinkMessage, PROTOCOL, StopReason, ToEnclave, ToHost};
pub use transport::{Receiver, Sender};
