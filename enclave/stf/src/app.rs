//! Business logic of one's own beside payments.

use cloister_chain_primitives::{AccountId, DIRECT_CALL_FEE};
use cloister_wire::TrustedCall;
use codec::{Decode, DecodeLimit};

use crate::{Context, Execution, Fee, Payments, Program};

/// What a shard does beside payments. [`WithApp`] makes a [`Program`] of it.
///
/// Every enclave of a shard must come to the same result. So an app looks at nothing but its arguments and the storage in
/// whose externalities it runs: no clocks, no files, no randomness but [`Execution::random`], no floating point, no order
/// of hash maps, nothing in `self` that changes. What its methods change is kept only if they return `Ok`; what they read
/// and write of storage is metered; the time that they take is not, so each must end soon for every input.
pub trait App: Send + Sync + 'static {
    /// What clients may have done, SCALE.
    type Call: Decode;
    /// What an account may ask about itself, SCALE. `()` if nothing.
    type Query: Decode;
    /// What everybody may ask, SCALE. `()` if nothing.
    type PublicQuery: Decode;

    /// Declared weight of a call: picoseconds on the reference machine, an upper bound for every state.
    fn weight(&self, call: &Self::Call) -> u64;

    /// What the sender of a call pays, whatever becomes of it once it is admitted.
    fn fee(&self, _call: &Self::Call) -> Fee {
        Fee { work: DIRECT_CALL_FEE, layer_one: 0 }
    }

    /// Storage keys of layer one whose values the call needs: [`crate::MAX_LAYER_ONE_READS`] at most, each of
    /// [`crate::MAX_LAYER_ONE_KEY`] bytes. The call waits until they are proven at the block's own head of layer one.
    /// The host sees them.
    fn layer_one_reads(&self, _sender: &AccountId, _call: &Self::Call) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Executes a call. The reason of a failure is what its sender reads.
    fn execute(&self, sender: &AccountId, call: Self::Call, execution: &Execution<'_>) -> Result<(), String>;

    /// Declared weight of [`Self::begin_block`], which every block has less for its calls. 0 says that there is none.
    fn begin_block_weight(&self) -> u64 {
        0
    }

    /// Runs in every block before its calls. If it fails, the block has none of its changes.
    fn begin_block(&self, _execution: &Execution<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Whether [`Self::begin_block`] has so much to do in a block that is made now that one must be made, although nobody
    /// calls. Asked in every slot: a read or two.
    fn due(&self, _next: &Context) -> bool {
        false
    }

    /// Accounts that stay while everybody leaves a retired shard: pots out of which [`Self::begin_block`] has yet to pay,
    /// because what it rests on is not anchored. They leave as soon as this names them no more, and at once if it fails.
    /// Asked in every block of a retired shard, after [`Self::begin_block`].
    fn stays(&self, _context: &Context) -> Vec<AccountId> {
        Vec::new()
    }

    /// Answers an account's query about itself, SCALE.
    fn answer(&self, _owner: &AccountId, _query: Self::Query, _context: &Context) -> Option<Vec<u8>> {
        None
    }

    /// Answers anybody's query, SCALE.
    fn answer_public(&self, _query: Self::PublicQuery, _context: &Context) -> Option<Vec<u8>> {
        None
    }

    /// Methods of the worker's RPC that are the app's own.
    fn methods(&self) -> &'static [&'static str] {
        &[]
    }

    /// Answers one of them, SCALE. It reads only.
    fn rpc(&self, _method: &str, _params: &[u8], _context: &Context) -> Result<Vec<u8>, String> {
        Err("no such method".into())
    }
}

/// Payments and an [`App`].
#[derive(Clone, Copy, Debug)]
pub struct WithApp<A>(pub A);

impl<A: App> WithApp<A> {
    fn decode(payload: &[u8]) -> Result<A::Call, String> {
        decode(payload).ok_or_else(|| "the call's payload does not decode".into())
    }
}

impl<A: App> Program for WithApp<A> {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::App(_, payload) => match Self::decode(payload) {
                Ok(call) => self.0.weight(&call),
                Err(_) => Payments.weight(call),
            },
            call => Payments.weight(call),
        }
    }

    fn fee(&self, call: &TrustedCall) -> Fee {
        match call {
            TrustedCall::App(_, payload) => match Self::decode(payload) {
                Ok(call) => self.0.fee(&call),
                Err(_) => Payments.fee(call),
            },
            call => Payments.fee(call),
        }
    }

    fn layer_one_reads(&self, call: &TrustedCall) -> Vec<Vec<u8>> {
        let TrustedCall::App(sender, payload) = call else { return Vec::new() };
        Self::decode(payload).map_or(Vec::new(), |call| self.0.layer_one_reads(sender, &call))
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        match call {
            TrustedCall::App(sender, payload) => self.0.execute(sender, Self::decode(payload)?, execution),
            call => Payments.execute(call, execution),
        }
    }

    fn begin_block_weight(&self) -> u64 {
        self.0.begin_block_weight()
    }

    fn begin_block(&self, execution: &Execution<'_>) -> Result<(), String> {
        self.0.begin_block(execution)
    }

    fn due(&self, next: &Context) -> bool {
        self.0.due(next)
    }

    fn stays(&self, context: &Context) -> Vec<AccountId> {
        self.0.stays(context)
    }

    fn answer(&self, owner: &AccountId, query: &[u8], context: &Context) -> Option<Vec<u8>> {
        self.0.answer(owner, decode(query)?, context)
    }

    fn answer_public(&self, query: &[u8], context: &Context) -> Option<Vec<u8>> {
        self.0.answer_public(decode(query)?, context)
    }

    fn methods(&self) -> &'static [&'static str] {
        self.0.methods()
    }

    fn rpc(&self, method: &str, params: &[u8], context: &Context) -> Result<Vec<u8>, String> {
        self.0.rpc(method, params, context)
    }
}

fn decode<T: Decode>(bytes: &[u8]) -> Option<T> {
    T::decode_all_with_depth_limit(MAX_DEPTH, &mut &bytes[..]).ok()
}

/// How deep what clients send may be nested: the stack is bounded.
const MAX_DEPTH: u32 = 16;
