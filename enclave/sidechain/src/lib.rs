//! A shard's engine: follows layer one, consumes the shard's inbox by proof, orders calls into blocks, answers queries.
//!
//! Sans-IO: events go in, [`Action`]s come out; there are no sockets, clocks, threads or disks here. Everything from
//! the host is either verified (headers, proofs, what it kept) or a hint that can only delay (time, the chain's version).
//! It must never serve before the registration of this very start and its shard's entry are proven in finalized storage
//! and its state contains what layer one has anchored, never go on when a finalized block shows the registration replaced,
//! removed or expired, never act on what is not proven, and never tell anybody of a block that is not stored.
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

mod action;
mod anchoring;
mod carried;
mod choosing;
mod engine;
mod extrinsics;
mod following;
mod inbox;
mod outbox;
mod outcomes;
mod poison;
mod production;
mod queries;
mod reads;
mod recovery;
mod registration;
mod storing;

pub use action::{Action, Keep, Stop};
pub use anchoring::NotNewest;
pub use choosing::{MAX_CALLS_PER_BLOCK, MAX_INBOX_PER_BLOCK};
pub use engine::{Engine, Identity, Setup, SetupError};
pub use inbox::{Opened, Opener};
pub use production::{MAX_BLOCKS_UNREAD, MAX_CLOCK_AHEAD_MS, MAX_UNANCHORED, Pause};
pub use queries::{CallRefused, Figures, MAX_QUERY_LIFETIME_BLOCKS, QueryRefused, VerifiedGetter};
pub use recovery::{BlockFlaw, Kept, RecoveryError};
pub use storing::SnapshotRules;
