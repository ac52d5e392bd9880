//! State transition function: a FRAME runtime of unmodified pallets, driven by trusted calls and read by getters.
//!
//! Trusts its caller for what comes from layer one (inbox entries, verdicts, heads, time), because the caller has
//! proofs; trusts nothing in a client's call beyond its signature. Money is neither made nor lost but as the books say.
//! It must never look at a clock, at randomness or at anything outside the state that it is given: every enclave of a
//! shard must come to the same diff.
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

mod admission;
mod app;
mod asking;
mod block;
mod context;
mod dispatch;
mod genesis;
pub mod ledger;
mod meter;
mod money;
mod outbox;
mod outcome;
mod program;
mod read;
pub mod runtime;
mod scratch;

pub use admission::{Refused, Rules, VerifiedCall, verify, verify_bound};
pub use app::{App, WithApp};
pub use asking::{answer, answer_public, context, due, rpc};
pub use block::{BlockContext, BlockExecution};
pub use context::{Context, Execution, Inputs, LayerOneValues, pot};
pub use genesis::{Entry, GenesisError, genesis_storage, metadata};
pub use meter::{MAX_BYTES, MAX_READS, MAX_WRITES};
pub use outbox::{MAX_OPEN_OUTBOX, Owed};
pub use outcome::{BlockError, CallOutcome, Finished, InvokeOutcome, ShieldOutcome};
pub use program::{Fee, MAX_LAYER_ONE_KEY, MAX_LAYER_ONE_READS, Payments, Program};
pub use read::{
    account_count, account_exists, books, can_pay_fee, free_balance, get, inbox_status, layer_one_head, nonce, outbox,
    reserved_balance, total_issuance,
};
