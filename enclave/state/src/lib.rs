//! A shard's state: the keys and values of its FRAME runtime in memory, a commitment to them that follows each change,
//! the sealed messages in which changes outlive the process, and snapshots that are taken while blocks go on.
//!
//! Trusts the memory of the enclave and the secret that it is given. It must never do work that grows with the number
//! of accounts while a block is executed, and never let a key, a value or a secret reach a log.
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

mod backend;
mod commitment;
mod diff;
mod sealing;
mod secret;
mod shard_state;
mod snapshot;

pub use backend::{BackendError, RawIter};
pub use commitment::LtHash;
pub use diff::StateDiff;
pub use sealing::{Purpose, Scope, SealError};
pub use secret::{BlockRandomness, CommitmentKey, EntropyError, StateSecret};
pub use shard_state::{PreparedDiff, ShardState};
pub use snapshot::{Manifest, Point, Restoring, SnapshotError, SnapshotWriter};
