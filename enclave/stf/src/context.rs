//! What a program may know beside the call and the state.

use std::{cell::Cell, collections::BTreeMap, fmt, ops::Deref};

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Moment, ShardMode};
use cloister_state::BlockRandomness;
use codec::Encode;
use frame_support::traits::fungible::Inspect;
use sp_crypto_hashing::blake2_256;

use crate::{block::BlockContext, dispatch, runtime::Balances};

/// Where a shard stands. Queries see the newest block, calls the one that they are executed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// Height of the block.
    pub number: u64,
    /// Its time, Unix milliseconds: never before layer one's newest finalized time nor before an earlier block's, and no
    /// more than half a minute ahead of layer one's, whatever the host says.
    pub timestamp: Moment,
    /// Height of the finalized layer-one block that it rests on.
    pub layer_one_number: BlockNumber,
    /// Its hash.
    pub layer_one_head: H256,
    /// What the shard does. All accounts of a retired shard are paid on layer one from the first block on that says so.
    /// A pot is nobody's there: [`App::stays`](crate::App::stays) keeps it until the program has paid out of it.
    pub mode: ShardMode,
    /// Height of the newest block that layer one is proven to have anchored: the only thing that survives a host which
    /// brings back an older state. What a rewind must not reveal is told, and acted upon, from there on only.
    pub anchored: u64,
}

impl Context {
    /// Spendable planck of an account.
    pub fn balance(&self, account: &AccountId) -> Balance {
        Balances::balance(account)
    }

    /// Whether no host can take back the block of this height any more.
    pub fn is_anchored(&self, number: u64) -> bool {
        number <= self.anchored
    }
}

/// What a block knows that is not in its state.
#[derive(Clone)]
pub struct Inputs {
    /// From which its random numbers are drawn.
    pub randomness: BlockRandomness,
    /// Height of the newest block that layer one is proven to have anchored, in the block that this one rests on.
    pub anchored: u64,
    /// What that block's state is proven to hold under the keys that calls name.
    pub layer_one: LayerOneValues,
}

/// Values by key; `None` is proven absence.
pub type LayerOneValues = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What runs in a block, and what it can do there. It reads the [`Context`] by dereference.
///
/// Storage of its own a program reaches as pallets do, by `frame_support::storage_alias` or
/// `frame_support::storage::unhashed`, under a prefix that is none of the runtime's pallets'.
pub struct Execution<'a> {
    context: Context,
    inputs: &'a Inputs,
    keys: &'a [Vec<u8>],
    draws: &'a Cell<u64>,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(block: &BlockContext, inputs: &'a Inputs, keys: &'a [Vec<u8>], draws: &'a Cell<u64>) -> Self {
        let BlockContext { number, timestamp, layer_one_number, layer_one_head, mode } = *block;
        let anchored = inputs.anchored;
        let context = Context { number, timestamp, layer_one_number, layer_one_head, mode, anchored };
        Self { context, inputs, keys, draws }
    }

    /// What layer one's state holds under a key, as proven for the block that this one rests on; `None` if nothing.
    ///
    /// # Errors
    /// The call did not name the key: nothing is known about it, which is not absence.
    pub fn layer_one(&self, key: &[u8]) -> Result<Option<&[u8]>, String> {
        // What other calls of the block have named must make no difference.
        let named = self.keys.iter().any(|named| named == key);
        let value = self.inputs.layer_one.get(key).filter(|_| named);
        value.map(Option::as_deref).ok_or_else(|| "a key of layer one was read that the call does not name".into())
    }

    /// 256 random bits for this purpose. Every enclave of the shard draws the same in the same block, another draw gets
    /// others, and nobody can tell them who is not told: neither the host nor the authors of calls.
    ///
    /// A host that throws away blocks that are not anchored yet has them drawn anew. So what depends on a draw must not show
    /// before [`Context::is_anchored`] says so of the block that drew.
    pub fn random(&self, domain: &str) -> [u8; 32] {
        let count = self.draws.get();
        self.draws.set(count.saturating_add(1));
        self.inputs.randomness.draw(domain.as_bytes(), count)
    }

    /// Moves money. An account that is left with less than the existential deposit is closed.
    pub fn transfer(&self, from: &AccountId, to: &AccountId, amount: Balance) -> Result<(), String> {
        dispatch::transfer(from, to, amount)
    }
}

impl Deref for Execution<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Inputs {
    /// For a block of a program that looks at none of it: a test's, a benchmark's.
    pub fn none() -> Self {
        Self { randomness: BlockRandomness::from_bytes([0; 32]), anchored: 0, layer_one: LayerOneValues::new() }
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { anchored, layer_one, randomness: _ } = self;
        f.debug_struct("Inputs").field("anchored", anchored).field("keys", &layer_one.len()).finish_non_exhaustive()
    }
}

/// The account of a pot: money that only the shard's program moves, because nobody has a key for it.
pub fn pot(name: &str) -> AccountId {
    AccountId::new(blake2_256(&(POT_TAG, name).encode()))
}

const POT_TAG: &str = "cloister/1/pot";
