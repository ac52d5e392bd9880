use std::{
    io,
    path::{Path, PathBuf},
};

use cloister_chain_primitives::{H256, ShardId};

use crate::SnapshotId;

/// Why something cannot be kept or given back. Nothing of a refused commit is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused. What was being committed may be kept or not; whoever goes on opens the store anew.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process, or this one, has the store open.
    #[error("{}: is open already", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what a store wrote.
    #[error("{}: is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: String,
    },
    /// Written by a version of the code that this one does not know.
    #[error("{}: format version {found} is unknown", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: u32,
    },
    /// The file belongs to another shard.
    #[error("{}: belongs to shard {:?}, not {:?}", .path.display(), .kept.0, .asked.0)]
    OtherShard {
        /// The file.
        path: PathBuf,
        /// The shard that it names.
        kept: ShardId,
        /// The shard that was asked for.
        asked: ShardId,
    },
    /// The database refused; an earlier [`Self::Io`] is the usual cause.
    #[error("{}: {error}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: Box<redb::Error>,
    },
    /// A block neither follows the newest nor replaces one that is kept.
    #[error("block {number} does not join the blocks {oldest} to {newest}")]
    Gap {
        /// Its number.
        number: u64,
        /// The oldest that is kept, or would be next.
        oldest: u64,
        /// The newest that is kept; without any, the one on which the snapshot rests.
        newest: u64,
    },
    /// A block would replace one on which the snapshot rests.
    #[error("block {number} is not after block {first}, on which the snapshot rests")]
    BeforeSnapshot {
        /// Its number.
        number: u64,
        /// The snapshot's.
        first: u64,
    },
    /// A piece of a snapshot came before its predecessor.
    #[error("piece {index} of snapshot {} came before piece {expected}", hex::encode(.snapshot))]
    MissingPiece {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Of the piece.
        index: u32,
        /// Of the piece that is missing.
        expected: u32,
    },
    /// A snapshot without pieces is to become the current one.
    #[error("snapshot {} has no pieces", hex::encode(.0))]
    NoPieces(SnapshotId),
    /// A piece for a snapshot that is the current one, or that another one has replaced.
    #[error("snapshot {} takes no more pieces", hex::encode(.0))]
    Closed(SnapshotId),
    /// With the blocks that are kept, the snapshot would lead nowhere.
    #[error("a snapshot that rests on block {first} does not join the blocks {oldest} to {newest}")]
    OutOfReach {
        /// The block on which it rests.
        first: u64,
        /// The oldest that is kept.
        oldest: u64,
        /// The newest that is kept.
        newest: u64,
    },
}

impl StoreError {
    /// Whether the store is sound, and what was to be kept does not join what is.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Gap { .. }
                | Self::BeforeSnapshot { .. }
                | Self::MissingPiece { .. }
                | Self::NoPieces(_)
                | Self::Closed(_)
                | Self::OutOfReach { .. }
        )
    }

    /// Whether the file is there, and no store of this shard, or none that this code can read.
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Version { .. } | Self::OtherShard { .. })
    }
}

/// Why blocks cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// Never kept, or no more.
    #[error("block {0:?} is not kept")]
    UnknownBlock(H256),
    /// They are in the wrong order.
    #[error("block {until:?} does not come after {from:?}")]
    Backwards {
        /// Where to start.
        from: H256,
        /// Where to end.
        until: H256,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A [`StoreError`] to which the name of the file is still to be added.
pub(crate) enum Failure {
    Database(redb::Error),
    Damaged(&'static str),
    Refused(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl Failure {
    pub(crate) fn at(self, path: &Path) -> StoreError {
        use redb::Error;
        let path = path.to_owned();
        match self {
            Self::Refused(error) => error,
            Self::Damaged(reason) => StoreError::Damaged { path, reason: reason.into() },
            Self::Database(Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch) => StoreError::InUse { path },
            Self::Database(Error::Corrupted(reason)) => StoreError::Damaged { path, reason },
            // So it calls a file that is empty, not a database, or shorter than it says itself.
            Self::Database(Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                StoreError::Damaged { path, reason: error.to_string() }
            }
            Self::Database(Error::Io(error)) => StoreError::Io { path, error },
            Self::Database(
                error @ (Error::UpgradeRequired(_)
                | Error::TableDoesNotExist(_)
                | Error::TableIsMultimap(_)
                | Error::TableTypeMismatch { .. }
                | Error::TypeDefinitionChanged { .. }),
            ) => StoreError::Damaged { path, reason: error.to_string() },
            Self::Database(error) => StoreError::Database { path, error: Box::new(error) },
        }
    }
}
