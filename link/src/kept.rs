//! What an enclave gives its host to keep, and gets back at its next start. Opaque, sealed bytes to the host.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use cloister_chain_primitives::H256;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// Names a snapshot; drawn by whoever takes it, never twice the same.
pub type SnapshotId = [u8; 16];

/// Something to be kept.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Write {
    /// The block after the newest; the first one of a store may have any number, unless there is a snapshot, which it
    /// has to follow. Or a block in the place of one that is kept after the one on which the snapshot rests: that one
    /// and all later ones are removed first, because whoever recovered without them goes on from there.
    #[codec(index = 0)]
    Block {
        /// Height.
        number: u64,
        /// Of its header.
        hash: H256,
        /// The block.
        bytes: Vec<u8>,
    },
    /// The next piece of a snapshot, or one of its pieces again.
    #[codec(index = 1)]
    SnapshotPiece {
        /// Which.
        snapshot: SnapshotId,
        /// Counts from 0.
        index: u32,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// A snapshot has all its pieces and is the current one from now on. Pieces of all others are removed, and blocks
    /// on which the snapshot rests, except the newest thousand; some at once, the others later.
    #[codec(index = 2)]
    Snapshot {
        /// Which.
        snapshot: SnapshotId,
        /// What it consists of.
        manifest: Vec<u8>,
        /// The block on which it rests: a recovery applies those after it. No newer than the newest block, if any is
        /// kept.
        first: u64,
    },
    /// Replaces the mark before it.
    #[codec(index = 3)]
    Mark(Vec<u8>),
}

/// Something that was kept. They come in this order: the last mark, the manifest and the pieces of the current
/// snapshot, all kept blocks ascending.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum Kept {
    /// The last mark.
    #[codec(index = 0)]
    Mark(Vec<u8>),
    /// Of the current snapshot.
    #[codec(index = 1)]
    Manifest(Vec<u8>),
    /// Of the current snapshot.
    #[codec(index = 2)]
    Piece(Vec<u8>),
    /// A block.
    #[codec(index = 3)]
    Block(Vec<u8>),
}
