//! Execution of one block on top of a state that it does not change: the result is a diff.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Hashing, Moment};
use cloister_state::{ShardState, StateDiff};
use frame_support::traits::{OnFinalize, OnInitialize, UnfilteredDispatchable};
use sp_state_machine::OverlayedChanges;

use crate::{
    Program, Refused, VerifiedCall,
    admission::admit,
    dispatch,
    ledger::{Inbox, LayerOne, Pallet as Ledger},
    meter::Meter,
    read,
    runtime::{AllPalletsWithSystem, Runtime, RuntimeOrigin, System, Timestamp},
    scratch,
};

/// What the author decides about a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockContext {
    /// Height, from 1.
    pub number: u64,
    /// Slot time, Unix milliseconds; not before the parent's.
    pub timestamp: Moment,
    /// Height of the newest finalized layer-one block; not below the parent's.
    pub layer_one_number: BlockNumber,
    /// Its hash.
    pub layer_one_head: H256,
}

/// What became of a call that stands in the block. Its nonce is used in either case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// It did what it says.
    Done,
    /// It changed nothing but the nonce, for this reason.
    Failed(String),
}

/// What became of an inbox entry that holds a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InvokeOutcome {
    /// It does not decrypt to a call that its sender signed.
    Unreadable,
    /// The call may not be tried. It changed nothing.
    Refused(Refused),
    /// The call stands in the block.
    Executed(CallOutcome),
}

/// What became of a shielding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShieldOutcome {
    /// The beneficiary has the money.
    Credited,
    /// It waits to be returned to who paid on layer one.
    SetAside,
}

/// Why a block cannot go on. The execution must be dropped; the state is untouched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Not the successor of the state's block.
    #[error("block number is {got}, expected {expected}")]
    Number {
        /// The parent's plus one.
        expected: u64,
        /// The context's.
        got: u64,
    },
    /// Before the parent's time.
    #[error("time {got} is before the parent's {parent}")]
    Time {
        /// Of the block before.
        parent: Moment,
        /// The context's.
        got: Moment,
    },
    /// Before the parent's head.
    #[error("layer-one height {got} is below the parent's {parent}")]
    LayerOne {
        /// Of the block before.
        parent: BlockNumber,
        /// The context's.
        got: BlockNumber,
    },
    /// An inbox entry was left out or comes twice.
    #[error("inbox entry is number {got}, expected {expected}")]
    Inbox {
        /// The first that was not consumed.
        expected: u64,
        /// The entry's.
        got: u64,
    },
    /// A pallet panicked outside of a call.
    #[error("runtime panicked")]
    Panicked,
    /// A pallet used a child trie, which a diff cannot carry.
    #[error("runtime wrote a child trie")]
    ChildTrie,
}

/// A block in the making.
pub struct BlockExecution<'a> {
    state: &'a ShardState,
    overlay: OverlayedChanges<Hashing>,
    number: u64,
    program: &'static dyn Program,
    written: usize,
}

impl<'a> BlockExecution<'a> {
    /// Opens a block: number, time and layer-one head are set, pallets initialize.
    pub fn begin(
        state: &'a ShardState,
        context: BlockContext,
        program: &'static dyn Program,
    ) -> Result<Self, BlockError> {
        let BlockContext { number, timestamp, layer_one_number, layer_one_head } = context;
        let mut block = Self { state, overlay: OverlayedChanges::default(), number, program, written: 0 };
        block
            .transact(|| {
                let expected = System::block_number().saturating_add(1);
                if number != expected {
                    return Err(BlockError::Number { expected, got: number });
                }
                let parent = Timestamp::get();
                if timestamp < parent {
                    return Err(BlockError::Time { parent, got: timestamp });
                }
                let (parent, _) = LayerOne::<Runtime>::get();
                if layer_one_number < parent {
                    return Err(BlockError::LayerOne { parent, got: layer_one_number });
                }
                System::set_block_number(number);
                LayerOne::<Runtime>::put((layer_one_number, layer_one_head));
                AllPalletsWithSystem::on_initialize(number);
                pallet_timestamp::Call::<Runtime>::set { now: timestamp }
                    .dispatch_bypass_filter(RuntimeOrigin::none())
                    .map(drop)
                    .map_err(|_| BlockError::Panicked)
            })
            .unwrap_or(Err(BlockError::Panicked))?;
        Ok(block)
    }

    /// Consumes inbox entry `number`, a shielding by `sender` on layer one. `beneficiary` is `None` where what the
    /// sender encrypted is no account.
    pub fn shield(
        &mut self,
        number: u64,
        beneficiary: Option<AccountId>,
        amount: Balance,
        sender: &AccountId,
    ) -> Result<ShieldOutcome, BlockError> {
        self.expect_inbox(number)?;
        let credited = beneficiary
            .is_some_and(|account| matches!(self.transact(|| dispatch::credit(&account, amount)), Ok(Ok(()))));
        let outcome = if credited { ShieldOutcome::Credited } else { ShieldOutcome::SetAside };
        self.infallible(|| Ledger::<Runtime>::consume_shield(number, sender, amount, outcome))?;
        Ok(outcome)
    }

    /// Consumes inbox entry `number` and tries the call in it, `None` where there is none to try.
    ///
    /// An entry comes from layer one and cannot be left out: a refused call leaves nothing but the consumed entry, and
    /// one that is executed has used its nonce, whatever fails.
    pub fn invoke(&mut self, number: u64, call: Option<&VerifiedCall>) -> Result<InvokeOutcome, BlockError> {
        let program = self.program;
        self.invoke_and(number, call, |call| program.execute(call.call()))
    }

    /// Consumes inbox entry `number` and the nonce of the call in it, which fails for this reason without being tried.
    pub fn fail_invoke(&mut self, number: u64, call: &VerifiedCall, reason: &str) -> Result<InvokeOutcome, BlockError> {
        self.invoke_and(number, Some(call), |_| Err(reason.into()))
    }

    /// Consumes inbox entry `number`, a call, without looking at it.
    pub fn set_aside_invoke(&mut self, number: u64) -> Result<(), BlockError> {
        self.expect_inbox(number)?;
        self.infallible(Ledger::<Runtime>::consume_invoke)
    }

    /// Tries a call. A refused one is not part of the block.
    pub fn call(&mut self, call: &VerifiedCall) -> Result<CallOutcome, Refused> {
        let program = self.program;
        self.admit_and(call, || program.execute(call.call()))
    }

    /// Bytes of keys and values that its calls wrote so far: no less than those in the diff.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Closes the block. Keys that have their old value again are not in the diff.
    pub fn finish(mut self) -> Result<StateDiff, BlockError> {
        let number = self.number;
        self.infallible(|| AllPalletsWithSystem::on_finalize(number))?;
        if self.overlay.children().next().is_some() {
            return Err(BlockError::ChildTrie);
        }
        let state = self.state;
        Ok(self
            .overlay
            .changes_mut()
            .filter(|(key, _)| !scratch::is_scratch(key))
            .filter_map(|(key, value)| {
                let value = value.value();
                let changed = state.get(key) != value.map(Vec::as_slice);
                changed.then(|| (key.clone(), value.cloned()))
            })
            .collect())
    }

    fn invoke_and(
        &mut self,
        number: u64,
        call: Option<&VerifiedCall>,
        execute: impl FnOnce(&VerifiedCall) -> Result<(), String>,
    ) -> Result<InvokeOutcome, BlockError> {
        self.set_aside_invoke(number)?;
        let Some(call) = call else { return Ok(InvokeOutcome::Unreadable) };
        Ok(match self.admit_and(call, || execute(call)) {
            Ok(outcome) => InvokeOutcome::Executed(outcome),
            Err(refused) => InvokeOutcome::Refused(refused),
        })
    }

    fn admit_and(
        &mut self,
        call: &VerifiedCall,
        execute: impl FnOnce() -> Result<(), String>,
    ) -> Result<CallOutcome, Refused> {
        self.transact(|| admit(call)).unwrap_or(Err(Refused::Panicked))?;
        let mut meter = Meter::default();
        let result = self.transact_on(|overlay, state| meter.run(overlay, state, execute));
        self.written = self.written.saturating_add(meter.written());
        Ok(match result {
            Ok(Ok(())) => CallOutcome::Done,
            Ok(Err(reason)) => CallOutcome::Failed(reason),
            Err(Panicked) => CallOutcome::Failed(meter.stopped().map_or("panicked".into(), |stop| stop.to_string())),
        })
    }

    fn expect_inbox(&mut self, number: u64) -> Result<(), BlockError> {
        let expected = read::with(&mut self.overlay, self.state, || Inbox::<Runtime>::get().entries);
        if number == expected { Ok(()) } else { Err(BlockError::Inbox { expected, got: number }) }
    }

    fn infallible(&mut self, change: impl FnOnce()) -> Result<(), BlockError> {
        let change = || {
            change();
            Ok::<_, ()>(())
        };
        match self.transact(change) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) | Err(Panicked) => Err(BlockError::Panicked),
        }
    }

    fn transact<T, E>(&mut self, change: impl FnOnce() -> Result<T, E>) -> Result<Result<T, E>, Panicked> {
        self.transact_on(|overlay, state| read::with(overlay, state, change))
    }

    /// Runs `change` in a transaction of its own, which takes effect only if it returns `Ok`: the one boundary at which
    /// a panic of the runtime ends. Transactions that the runtime has left open are rolled back with it.
    fn transact_on<T, E>(
        &mut self,
        change: impl FnOnce(&mut OverlayedChanges<Hashing>, &ShardState) -> Result<T, E>,
    ) -> Result<Result<T, E>, Panicked> {
        let depth = self.overlay.transaction_depth();
        self.overlay.start_transaction();
        let protected = self.overlay.enter_runtime().is_ok();
        let Self { state, overlay, .. } = self;
        // After a panic nothing of the overlay is used but what stood before this transaction.
        let result = catch_unwind(AssertUnwindSafe(|| change(overlay, state)));
        let intact = protected && self.overlay.exit_runtime().is_ok();
        if intact && matches!(result, Ok(Ok(_))) && self.overlay.commit_transaction().is_err() {
            return Err(Panicked);
        }
        while self.overlay.transaction_depth() > depth {
            if self.overlay.rollback_transaction().is_err() {
                return Err(Panicked);
            }
        }
        for key in scratch::event_keys() {
            self.overlay.set_storage(key.clone(), None);
        }
        if intact { result.map_err(|_| Panicked) } else { Err(Panicked) }
    }
}

impl fmt::Debug for BlockExecution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockExecution({})", self.number)
    }
}

/// A panic was caught; its message went to the process's hook, except of one that a meter made.
#[derive(Debug)]
struct Panicked;

#[cfg(test)]
mod tests {
    use cloister_state::CommitmentKey;
    use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned};
    use frame_support::storage::{unhashed, with_transaction};
    use sp_keyring::Sr25519Keyring::{Alice, Bob};
    use sp_runtime::{DispatchError, TransactionOutcome};

    use super::*;
    use crate::{Payments, Rules, genesis_storage, runtime::Balances, verify};

    const CONTEXT: BlockContext =
        BlockContext { number: 1, timestamp: 1, layer_one_number: 1, layer_one_head: H256::repeat_byte(1) };

    fn genesis() -> ShardState {
        ShardState::genesis(genesis_storage().unwrap(), &CommitmentKey::from_bytes([1; 32]))
    }

    fn begin(state: &ShardState) -> BlockExecution<'_> {
        let mut block = BlockExecution::begin(state, CONTEXT, &Payments).unwrap();
        let outcome = block.shield(0, Some(Alice.to_account_id()), 1 << 60, &Bob.to_account_id());
        assert_eq!(outcome, Ok(ShieldOutcome::Credited));
        block
    }

    fn noop() -> VerifiedCall {
        let scope = SignatureScope { mrenclave: [0; 32], shard: Default::default() };
        let call = TrustedCall::Noop(Alice.to_account_id());
        let signature = Alice.sign(&scope.call_bytes(&call, 0)).into();
        let signed = TrustedCallSigned { call, nonce: 0, signature };
        verify(H256::zero(), signed, &scope, &Rules::default()).unwrap()
    }

    #[test]
    fn a_panic_takes_back_everything_but_the_nonce() {
        let state = genesis();
        let mut quiet = begin(&state);
        assert_eq!(quiet.call(&noop()), Ok(CallOutcome::Done));

        let mut block = begin(&state);
        let outcome = block.admit_and(&noop(), || {
            unhashed::put(b"outside", &1u8);
            dispatch::credit(&Bob.to_account_id(), 1 << 60).unwrap();
            with_transaction(|| -> TransactionOutcome<Result<(), DispatchError>> {
                unhashed::put(b"inside", &1u8);
                panic!("a pallet's mistake")
            })
            .map_err(|_| String::new())
        });
        assert_eq!(outcome, Ok(CallOutcome::Failed("panicked".into())));
        assert_eq!(block.overlay.transaction_depth(), 0);
        let next = block.transact(|| dispatch::credit(&Alice.to_account_id(), 0));
        assert!(matches!(next, Ok(Ok(()))), "execution goes on");
        assert_eq!(block.finish().unwrap(), quiet.finish().unwrap());
    }

    #[test]
    fn an_unbalanced_transaction_is_rolled_back() {
        let state = genesis();
        let mut block = begin(&state);
        let result = block.transact(|| {
            sp_externalities::with_externalities(|storage| storage.storage_start_transaction());
            unhashed::put(b"dangling", &1u8);
            // The transaction below belongs to the caller and cannot be closed from here.
            sp_externalities::with_externalities(|storage| {
                storage.storage_rollback_transaction().unwrap();
                assert_eq!(storage.storage_rollback_transaction(), Err(()));
                assert_eq!(storage.storage_commit_transaction(), Err(()));
            });
            unhashed::put(b"kept", &1u8);
            Ok::<_, ()>(())
        });
        assert!(matches!(result, Ok(Ok(()))));
        let diff = block.finish().unwrap();
        assert!(diff.changes().any(|(key, _)| key == b"kept"));
        assert!(!diff.changes().any(|(key, _)| key == b"dangling"));
    }

    #[test]
    fn a_shielding_that_would_overflow_is_set_aside() {
        let state = genesis();
        let mut block = begin(&state);
        let issuance = read::with(&mut block.overlay, &state, Balances::total_issuance);
        let outcome = block.shield(1, Some(Alice.to_account_id()), u128::MAX, &Bob.to_account_id());
        assert_eq!(outcome, Ok(ShieldOutcome::SetAside));
        assert_eq!(read::with(&mut block.overlay, &state, Balances::total_issuance), issuance);
    }

    #[test]
    fn child_tries_are_refused() {
        let state = genesis();
        let mut block = begin(&state);
        block.infallible(|| sp_io::default_child_storage::set(b"child", b"key", b"value")).unwrap();
        assert_eq!(block.finish(), Err(BlockError::ChildTrie));
        let mut block = begin(&state);
        let read = block.infallible(|| drop(sp_io::default_child_storage::get(b"child", b"key")));
        assert_eq!(read, Err(BlockError::Panicked));
    }
}
