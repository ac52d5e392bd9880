//! What the enclave of one shard gives its host to keep: blocks, pieces of snapshots, a mark. Opaque, sealed bytes in
//! one file.
//!
//! Nothing in it is trusted by the enclave, which checks all that it reads back. For the honest operator it must not
//! lose what it said is durable, whatever machine or process did in between, and must not take a damaged file for a
//! whole one.
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

mod error;
mod read;
mod store;
mod tables;
mod write;

pub use cloister_link::{Kept, SnapshotId, Write};
pub use error::{RangeError, StoreError};
pub use read::{Figures, Recovery};
pub use store::{FILE, FORMAT, Store};
pub use write::KEPT_BLOCKS;

/// What a [`Store`] can lie on.
pub use redb::StorageBackend;
