//! What calls do.

use cloister_chain_primitives::{AccountId, Balance, DIRECT_CALL_FEE, UNSHIELD_FEE};
use cloister_wire::TrustedCall;

use crate::{Context, Execution, dispatch};

/// What the calls of a shard do and what they weigh.
///
/// Every enclave of a shard must come to the same result: a program looks at nothing but its arguments and the storage in
/// whose externalities it runs. Most write an [`App`](crate::App), which decodes what the engine passes on as bytes.
pub trait Program: Send + Sync {
    /// Declared weight: picoseconds of execution on the reference machine, as FRAME's `ref_time`. An upper bound for
    /// every state, because a slot is filled by it before anything runs.
    fn weight(&self, call: &TrustedCall) -> u64;

    /// Executes an admitted call, inside externalities. What it changed is taken back if it fails, panics or exceeds
    /// its share of storage. The reason is what the sender reads, and enclaves agree on it.
    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String>;

    /// What the call's sender pays, whatever becomes of the call once it is admitted.
    fn fee(&self, call: &TrustedCall) -> Fee {
        let layer_one = if matches!(call, TrustedCall::BalanceUnshield(..)) { UNSHIELD_FEE } else { 0 };
        match call {
            // Root fills the first accounts of a simulated shard, and may have none itself.
            TrustedCall::BalanceSetBalance(..) => Fee::default(),
            _ => Fee { work: DIRECT_CALL_FEE, layer_one },
        }
    }

    /// Storage keys of layer one that must be proven before the call can be executed: [`MAX_LAYER_ONE_READS`] at most, of
    /// [`MAX_LAYER_ONE_KEY`] bytes each. They depend on nothing but the call.
    fn layer_one_reads(&self, _call: &TrustedCall) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Declared weight of [`Self::begin_block`]. 0 says that there is none.
    fn begin_block_weight(&self) -> u64 {
        0
    }

    /// Runs in every block before its calls, inside externalities. What it changed is taken back if it fails.
    fn begin_block(&self, _execution: &Execution<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Whether a block must be made for [`Self::begin_block`] alone. `next` is where that block would stand.
    fn due(&self, _next: &Context) -> bool {
        false
    }

    /// Accounts that do not leave a retired shard yet, inside externalities. What it writes is taken back.
    fn stays(&self, _context: &Context) -> Vec<AccountId> {
        Vec::new()
    }

    /// Answers `owner`'s query about the account.
    fn answer(&self, _owner: &AccountId, _query: &[u8], _context: &Context) -> Option<Vec<u8>> {
        None
    }

    /// Answers anybody's query.
    fn answer_public(&self, _query: &[u8], _context: &Context) -> Option<Vec<u8>> {
        None
    }

    /// Methods of the worker's RPC that are the program's own. Names that the worker has already stay the worker's.
    fn methods(&self) -> &'static [&'static str] {
        &[]
    }

    /// Answers one of them.
    fn rpc(&self, _method: &str, _params: &[u8], _context: &Context) -> Result<Vec<u8>, String> {
        Err("no such method".into())
    }
}

/// Most keys of layer one that a call may name.
pub const MAX_LAYER_ONE_READS: usize = 4;
/// Most bytes of each.
pub const MAX_LAYER_ONE_KEY: usize = 128;

/// What a call costs, in planck.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fee {
    /// For the enclave's work. A call that came through layer one's inbox has paid it there.
    pub work: Balance,
    /// For what layer one takes to do its part.
    pub layer_one: Balance,
}

impl Fee {
    /// Of a call that came by the worker's RPC.
    pub fn direct(&self) -> Balance {
        self.work.saturating_add(self.layer_one)
    }

    /// Of a call that came through layer one's inbox.
    pub fn indirect(&self) -> Balance {
        self.layer_one
    }
}

/// The program of production: payments between the accounts of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Payments;

impl Program for Payments {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::BalanceTransfer(..) => TRANSFER,
            TrustedCall::BalanceSetBalance(..) => SET_BALANCE,
            TrustedCall::BalanceUnshield(..) => UNSHIELD,
            // `verify` lets only the first of these through; the others fail at once.
            TrustedCall::Noop(_)
            | TrustedCall::BalanceShield(..)
            | TrustedCall::TimestampSet(..)
            | TrustedCall::App(..) => NOOP,
        }
    }

    fn execute(&self, call: &TrustedCall, _: &Execution<'_>) -> Result<(), String> {
        dispatch::call(call)
    }
}

const MICROSECOND: u64 = 1_000_000;
/// Twice what `BlockExecution::call` takes in release on the reference machine (2 virtual cores of an AMD EPYC, busy)
/// for a transfer that opens an account: 53 us at the 95th percentile; between existing accounts it is 35 us. It also
/// covers a transfer's part in the commitment and the encryption of its block's diff.
const TRANSFER: u64 = 100 * MICROSECOND;
/// As a transfer, without a fee; measured: 40 us.
const SET_BALANCE: u64 = 80 * MICROSECOND;
/// As a transfer; measured: 35 us. The entry's part in the tree over the open entries is 10 us.
const UNSHIELD: u64 = 90 * MICROSECOND;
/// Admission with its fee takes 19 us; the rest is the part of nonce and account in the commitment and the encryption
/// of the diff.
const NOOP: u64 = 40 * MICROSECOND;
