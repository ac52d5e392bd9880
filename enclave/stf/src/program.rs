//! What calls do.

use cloister_wire::TrustedCall;

use crate::dispatch;

/// What the calls of a shard do and what they weigh.
///
/// Every enclave of a shard must come to the same result: a program looks at nothing but the call and the storage in
/// whose externalities it runs.
pub trait Program: Send + Sync {
    /// Declared weight: picoseconds of execution on the reference machine, as FRAME's `ref_time`. An upper bound for
    /// every state, because a slot is filled by it before anything runs.
    fn weight(&self, call: &TrustedCall) -> u64;

    /// Executes an admitted call, inside externalities. What it changed is taken back if it fails, panics or exceeds
    /// its share of storage. The reason is what the sender reads, and enclaves agree on it.
    fn execute(&self, call: &TrustedCall) -> Result<(), String>;
}

/// The program of production: payments between the accounts of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Payments;

impl Program for Payments {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::BalanceTransfer(..) => TRANSFER,
            TrustedCall::BalanceSetBalance(..) => SET_BALANCE,
            // `verify` lets only the first of these through; the others fail at once.
            TrustedCall::Noop(_)
            | TrustedCall::BalanceUnshield(..)
            | TrustedCall::BalanceShield(..)
            | TrustedCall::TimestampSet(..) => NOOP,
        }
    }

    fn execute(&self, call: &TrustedCall) -> Result<(), String> {
        dispatch::call(call)
    }
}

const MICROSECOND: u64 = 1_000_000;
/// Twice what `BlockExecution::call` takes in release on the reference machine (2 virtual cores of an AMD EPYC) for a
/// transfer that opens an account: 29 us at the 95th percentile; between existing accounts it is 17 us. It also covers
/// a transfer's part in the commitment and the encryption of its block's diff, 50 us with the execution.
const TRANSFER: u64 = 60 * MICROSECOND;
/// As a transfer; measured: 19 us.
const SET_BALANCE: u64 = 60 * MICROSECOND;
/// Admission takes 2 us; the rest is the nonce's part in the commitment and the encryption of the diff.
const NOOP: u64 = 15 * MICROSECOND;
