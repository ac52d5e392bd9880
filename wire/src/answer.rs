//! What a worker answers.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use cloister_chain_primitives::H256;
use codec::{Decode, Encode};

/// The value of every method's `result`, in hex.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RpcReturnValue {
    /// The method's answer, or the reason of an error as a SCALE `String`.
    pub value: Vec<u8>,
    /// Whether notifications follow.
    pub do_watch: bool,
    /// How it went.
    pub status: DirectRequestStatus,
}

impl RpcReturnValue {
    /// A plain answer.
    pub fn ok(value: impl Encode) -> Self {
        Self { value: value.encode(), do_watch: false, status: DirectRequestStatus::Ok }
    }

    /// A refusal with its reason.
    pub fn error(reason: impl std::fmt::Display) -> Self {
        Self { value: reason.to_string().encode(), do_watch: false, status: DirectRequestStatus::Error }
    }
}

/// How a request went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum DirectRequestStatus {
    /// Answered.
    #[codec(index = 0)]
    Ok,
    /// How far the operation is.
    #[codec(index = 1)]
    TrustedOperationStatus(TrustedOperationStatus),
    /// Refused.
    #[codec(index = 2)]
    Error,
}

/// How far an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TrustedOperationStatus {
    /// Taken.
    #[codec(index = 0)]
    Submitted,
    /// Waits for calls with lower nonces.
    #[codec(index = 1)]
    Future,
    /// Can go into the next block.
    #[codec(index = 2)]
    Ready,
    /// Known to other enclaves.
    #[codec(index = 3)]
    Broadcast,
    /// In the block with this hash.
    #[codec(index = 4)]
    InSidechainBlock(H256),
    /// Its block was abandoned.
    #[codec(index = 5)]
    Retracted,
    /// Its block took too long to become final.
    #[codec(index = 6)]
    FinalityTimeout,
    /// Its block is anchored in a finalized layer-one block.
    #[codec(index = 7)]
    Finalized,
    /// Replaced by another one with the same nonce.
    #[codec(index = 8)]
    Usurped,
    /// Pushed out of the pool.
    #[codec(index = 9)]
    Dropped,
    /// Failed.
    #[codec(index = 10)]
    Invalid,
}
