//! Asking a program: it reads a state that it cannot change, on metered storage, and whatever it does, the state stays and
//! the enclave goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cloister_chain_primitives::{AccountId, ShardMode};
use cloister_state::ShardState;
use sp_state_machine::OverlayedChanges;

use crate::{
    Context, Program,
    meter::Meter,
    read,
    runtime::{System, Timestamp},
};

/// Where a shard with this state stands. What it does and what layer one has anchored the state does not say.
pub fn context(state: &ShardState, mode: ShardMode, anchored: u64) -> Context {
    let (layer_one_number, layer_one_head) = read::layer_one_head(state);
    let (number, timestamp) = read::read(state, || (System::block_number(), Timestamp::get()));
    Context { number, timestamp, layer_one_number, layer_one_head, mode, anchored }
}

/// Whether the program wants the block made that would stand at `next`; or why it could not be asked.
pub fn due(state: &ShardState, program: &dyn Program, next: &Context) -> Result<bool, String> {
    if program.begin_block_weight() == 0 {
        return Ok(false);
    }
    metered(state, || Ok(program.due(next)))
}

/// The program's answer to a query of `owner`, who must have been checked.
pub fn answer(
    state: &ShardState,
    program: &dyn Program,
    owner: &AccountId,
    query: &[u8],
    context: &Context,
) -> Option<Vec<u8>> {
    metered(state, || Ok(program.answer(owner, query, context))).unwrap_or(None)
}

/// The program's answer to anybody's query.
pub fn answer_public(state: &ShardState, program: &dyn Program, query: &[u8], context: &Context) -> Option<Vec<u8>> {
    metered(state, || Ok(program.answer_public(query, context))).unwrap_or(None)
}

/// The program's answer to a method of its own.
pub fn rpc(
    state: &ShardState,
    program: &dyn Program,
    method: &str,
    params: &[u8],
    context: &Context,
) -> Result<Vec<u8>, String> {
    metered(state, || program.rpc(method, params, context))
}

fn metered<T>(state: &ShardState, ask: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let (mut meter, mut overlay) = (Meter::default(), OverlayedChanges::default());
    // What it wrote goes with the overlay.
    let answered = catch_unwind(AssertUnwindSafe(|| meter.run(&mut overlay, state, ask)));
    answered.unwrap_or_else(|_| Err(meter.stopped().map_or("panicked".into(), |stop| stop.to_string())))
}
