//! JSON-RPC 2.0 over WebSocket and TLS, as published clients speak it.
//!
//! [`serve`] is one connection from its first byte to its last: the host relays bytes that it cannot read, and TLS
//! ends here. What comes in is bounded in size, number and time before anything is done with it. What a method does is
//! the [`Handler`]'s; this crate knows no keys, no state and no sockets, and it logs nothing of what is said.
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

mod call;
mod calls;
mod connection;
mod handler;
mod limits;
mod message;
mod metered;
mod rate;
mod watched;

pub use call::{Call, MAX_SUBMIT_BATCH, Method, ParamsError};
pub use calls::calls;
pub use connection::{Error, serve};
pub use handler::{Handler, Reply, StatusUpdate};
pub use limits::Limits;
