//! Formats that clients speak to a worker: trusted operations, getters, answers and envelopes.
//!
//! Shared by enclaves and clients. Encodings of the published interface are frozen by tests. This crate trusts
//! nothing and keeps nothing; every decoder consumes its whole input.
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

pub mod answer;
pub mod envelope;
pub mod getter;
pub mod operation;
pub mod shielding_key;
pub mod sidechain;
pub mod worker_status;

pub use answer::{DirectRequestStatus, RpcReturnValue, TrustedOperationStatus};
pub use cloister_chain_primitives::{AccountId, Balance, H256, Moment, Nonce, Request, ShardId};
pub use getter::{
    BoundGetter, BoundGetterSigned, Getter, InboxStatus, OutboxProof, PublicGetter, SignedAnswer, TrustedGetter,
    TrustedGetterSigned,
};
pub use operation::{
    BoundCall, BoundCallSigned, Outcome, ParentchainId, SignatureScope, TrustedCall, TrustedCallSigned,
    TrustedOperation,
};

use sp_runtime::{MultiSignature, traits::Verify};

/// Whether `signature` is `account`'s over `message`, raw or as wallet extensions wrap it
/// (`<Bytes>` ‖ message ‖ `</Bytes>`). Only the published kinds of signature count.
pub fn verify_signature(signature: &MultiSignature, message: &[u8], account: &AccountId) -> bool {
    if !matches!(signature, MultiSignature::Ed25519(_) | MultiSignature::Sr25519(_) | MultiSignature::Ecdsa(_)) {
        return false;
    }
    signature.verify(message, account)
        || signature.verify([b"<Bytes>", message, b"</Bytes>"].concat().as_slice(), account)
}
