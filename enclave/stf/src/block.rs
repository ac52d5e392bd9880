//! Execution of one block on top of a state that it does not change: the result is a diff.

use core::{convert::Infallible, fmt};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Hashing, Moment, ShardMode};
use cloister_state::ShardState;
use cloister_wire::sidechain;
use frame_support::traits::{OnFinalize, OnInitialize, UnfilteredDispatchable};
use sp_state_machine::OverlayedChanges;

use crate::{
    BlockError, CallOutcome, Execution, Finished, Inputs, InvokeOutcome, Owed, Program, Refused, VerifiedCall,
    admission::admit,
    ledger::{Books, Inbox, LayerOne, Outbox, Pallet as Ledger},
    meter::Meter,
    read,
    runtime::{AllPalletsWithSystem, Balances, Runtime, RuntimeOrigin, System, Timestamp},
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
    /// What the shard does, by its entry in that block's state.
    pub mode: ShardMode,
}

/// A block in the making.
pub struct BlockExecution<'a> {
    state: &'a ShardState,
    overlay: OverlayedChanges<Hashing>,
    context: BlockContext,
    inputs: Arc<Inputs>,
    pub(crate) mode: ShardMode,
    program: &'static dyn Program,
    /// Random numbers drawn.
    draws: u64,
    written: usize,
    /// The number of the first entry of the outbox that the block may open.
    pub(crate) outbox_from: u64,
    opened: Vec<Owed>,
}

impl<'a> BlockExecution<'a> {
    /// Opens a block: number, time and layer-one head are set, pallets initialize.
    pub fn begin(
        state: &'a ShardState,
        context: BlockContext,
        inputs: Inputs,
        program: &'static dyn Program,
    ) -> Result<Self, BlockError> {
        let BlockContext { number, timestamp, layer_one_number, layer_one_head, mode } = context;
        let (overlay, inputs, written, opened) = (OverlayedChanges::default(), Arc::new(inputs), 0, Vec::new());
        let outbox_from = read::books(state).outbox_next;
        let mut block = Self { state, overlay, context, inputs, mode, program, draws: 0, written, outbox_from, opened };
        block
            .attempt(|| {
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
            .map(|()| block)
    }

    /// Consumes inbox entry `number` and tries the call in it, `None` where there is none to try.
    ///
    /// An entry comes from layer one and cannot be left out: a refused call leaves nothing but the consumed entry, and
    /// one that is executed has used its nonce and paid its fee, whatever fails.
    pub fn invoke(&mut self, number: u64, call: Option<&VerifiedCall>) -> Result<InvokeOutcome, BlockError> {
        let program = self.program;
        self.invoke_and(number, call, |call, execution| program.execute(call.call(), execution))
    }

    /// Consumes inbox entry `number` with nonce and fee of the call in it, which fails for this reason without being
    /// tried.
    pub fn fail_invoke(&mut self, number: u64, call: &VerifiedCall, reason: &str) -> Result<InvokeOutcome, BlockError> {
        self.invoke_and(number, Some(call), |_, _| Err(reason.into()))
    }

    /// Consumes inbox entry `number`, a call, without looking at it.
    pub fn set_aside_invoke(&mut self, number: u64) -> Result<(), BlockError> {
        self.expect_inbox(number)?;
        self.attempt(|| {
            Ledger::<Runtime>::consume_invoke();
            Ok(())
        })
    }

    /// Tries a call. A refused one is not part of the block.
    pub fn call(&mut self, call: &VerifiedCall) -> Result<CallOutcome, Refused> {
        let program = self.program;
        self.admit_and(call, call.fee().direct(), |execution| program.execute(call.call(), execution))
    }

    /// Runs what the program does at the beginning of a block. A failure changes nothing.
    pub fn begin_block(&mut self) -> CallOutcome {
        let program = self.program;
        if program.begin_block_weight() == 0 {
            return CallOutcome::Done;
        }
        self.metered(&[], |execution| program.begin_block(execution))
    }

    /// Entries of the outbox that were opened so far, ascending by number.
    pub fn opened(&self) -> &[Owed] {
        &self.opened
    }

    /// Bytes of keys and values that its calls wrote so far: no less than those in the diff.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Closes the block, unless money was made or lost in it.
    pub fn finish(mut self) -> Result<Finished, BlockError> {
        let number = self.context.number;
        let books = self.attempt(|| {
            AllPalletsWithSystem::on_finalize(number);
            balanced().ok_or(BlockError::Issuance)
        })?;
        if self.overlay.children().next().is_some() {
            return Err(BlockError::ChildTrie);
        }
        let state = self.state;
        let changes = self.overlay.changes_mut().filter(|(key, _)| !scratch::is_scratch(key));
        let changes = changes.filter_map(|(key, value)| {
            let value = value.value();
            // A key that has its old value again has not changed.
            let changed = state.get(key) != value.map(Vec::as_slice);
            changed.then(|| (key.clone(), value.cloned()))
        });
        Ok(Finished { diff: changes.collect(), books, opened: self.opened })
    }

    fn invoke_and(
        &mut self,
        number: u64,
        call: Option<&VerifiedCall>,
        execute: impl FnOnce(&VerifiedCall, &Execution<'_>) -> Result<(), String>,
    ) -> Result<InvokeOutcome, BlockError> {
        self.set_aside_invoke(number)?;
        let Some(call) = call else { return Ok(InvokeOutcome::Unreadable) };
        Ok(match self.admit_and(call, call.fee().indirect(), |execution| execute(call, execution)) {
            Ok(outcome) => InvokeOutcome::Executed(outcome),
            Err(refused) => InvokeOutcome::Refused(refused),
        })
    }

    fn admit_and(
        &mut self,
        call: &VerifiedCall,
        fee: Balance,
        execute: impl FnOnce(&Execution<'_>) -> Result<(), String>,
    ) -> Result<CallOutcome, Refused> {
        let (number, mode) = (self.context.number, self.mode);
        self.transact(|| admit(call, number, mode, fee)).unwrap_or(Err(Refused::Panicked))?;
        self.written = self.written.saturating_add(ADMISSION_BYTES);
        Ok(self.metered(call.layer_one_reads(), execute))
    }

    /// Runs a part of the program on metered storage, and takes back what it did unless it succeeds and the books agree.
    fn metered(
        &mut self,
        layer_one_keys: &[Vec<u8>],
        execute: impl FnOnce(&Execution<'_>) -> Result<(), String>,
    ) -> CallOutcome {
        let (mut meter, draws, inputs) = (Meter::default(), Cell::new(self.draws), Arc::clone(&self.inputs));
        let execution = Execution::new(&self.context, &inputs, layer_one_keys, &draws);
        let result = self.transact_on(|overlay, state| {
            meter.run(overlay, state, || execute(&execution))?;
            // Whatever is wrong with a call, it must not cost the block.
            read::with(overlay, state, balanced).map(drop).ok_or_else(|| BlockError::Issuance.to_string())
        });
        self.draws = draws.get();
        self.written = self.written.saturating_add(meter.written());
        match result {
            Ok(Ok(())) => {
                self.note_opened();
                CallOutcome::Done
            }
            Ok(Err(reason)) => CallOutcome::Failed(reason),
            Err(Panicked) => CallOutcome::Failed(meter.stopped().map_or("panicked".into(), |stop| stop.to_string())),
        }
    }

    /// Accounts that the program keeps on a retired shard: none if it fails, so that its mistakes hold up nobody.
    pub(crate) fn staying(&mut self) -> Vec<AccountId> {
        let (program, mut meter, draws, inputs) = (self.program, Meter::default(), Cell::new(0), self.inputs.clone());
        let execution = Execution::new(&self.context, &inputs, &[], &draws);
        // An error takes back what it wrote.
        let asked = self.transact_on(|overlay, state| {
            Err::<Infallible, _>(meter.run(overlay, state, || Ok(program.stays(&execution))))
        });
        match asked {
            Ok(Err(Ok(accounts))) => accounts,
            _ => Vec::new(),
        }
    }

    /// Looks what the last change has opened in the outbox.
    pub(crate) fn note_opened(&mut self) {
        let from = self.opened.last().map_or(self.outbox_from, |last| last.number.saturating_add(1));
        let opened = read::with(&mut self.overlay, self.state, || {
            let numbers = from..Books::<Runtime>::get().outbox_next;
            numbers.filter_map(|number| Outbox::<Runtime>::get(number.to_be_bytes())).collect::<Vec<_>>()
        });
        self.opened.extend(opened);
    }

    pub(crate) fn expect_inbox(&mut self, number: u64) -> Result<(), BlockError> {
        let expected = read::with(&mut self.overlay, self.state, || Inbox::<Runtime>::get().entries);
        if number == expected { Ok(()) } else { Err(BlockError::Inbox { expected, got: number }) }
    }

    /// Makes a change that is the enclave's own: if it fails, so does the block.
    pub(crate) fn attempt<T>(&mut self, change: impl FnOnce() -> Result<T, BlockError>) -> Result<T, BlockError> {
        self.transact(change).unwrap_or(Err(BlockError::Panicked))
    }

    pub(crate) fn transact<T, E>(&mut self, change: impl FnOnce() -> Result<T, E>) -> Result<Result<T, E>, Panicked> {
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
        write!(f, "BlockExecution({})", self.context.number)
    }
}

/// The books, if the balances sum up to what they say. Inside externalities.
fn balanced() -> Option<sidechain::Books> {
    let books = sidechain::Books::from(Books::<Runtime>::get());
    (books.issuance() == Some(Balances::total_issuance())).then_some(books)
}

/// A panic was caught; its message went to the process's hook, except of one that a meter made.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Panicked;

/// No less than what admission writes: an account, a nonce, the books and the issuance, with their keys.
const ADMISSION_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use cloister_state::CommitmentKey;
    use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned};
    use frame_support::storage::{unhashed, with_transaction};
    use sp_keyring::Sr25519Keyring::{Alice, Bob};
    use sp_runtime::{DispatchError, TransactionOutcome};

    use super::*;
    use crate::{Payments, Rules, ShieldOutcome, dispatch, genesis_storage, verify};

    const CONTEXT: BlockContext = BlockContext {
        number: 1,
        timestamp: 1,
        layer_one_number: 1,
        layer_one_head: H256::repeat_byte(1),
        mode: ShardMode::Open,
    };

    fn genesis() -> ShardState {
        ShardState::genesis(genesis_storage().unwrap(), &CommitmentKey::from_bytes([1; 32]))
    }

    fn begin(state: &ShardState) -> BlockExecution<'_> {
        let mut block = BlockExecution::begin(state, CONTEXT, Inputs::none(), &Payments).unwrap();
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
    fn a_panic_takes_back_everything_but_nonce_and_fee() {
        let state = genesis();
        let mut quiet = begin(&state);
        assert_eq!(quiet.call(&noop()), Ok(CallOutcome::Done));

        let mut block = begin(&state);
        let outcome = block.admit_and(&noop(), noop().fee().direct(), |_| {
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
        let finished = block.finish().unwrap();
        assert!(finished.diff.changes().any(|(key, _)| key == b"kept"));
        assert!(!finished.diff.changes().any(|(key, _)| key == b"dangling"));
    }

    #[test]
    fn money_from_nowhere_fails_the_call_that_makes_it() {
        let state = genesis();
        let mut quiet = begin(&state);
        assert_eq!(quiet.call(&noop()), Ok(CallOutcome::Done));
        let mut block = begin(&state);
        let outcome =
            block.admit_and(&noop(), noop().fee().direct(), |_| dispatch::credit(&Bob.to_account_id(), 1 << 60));
        assert_eq!(outcome, Ok(CallOutcome::Failed("the balances do not sum up to what the books say".into())));
        assert_eq!(block.finish(), quiet.finish());
    }

    #[test]
    fn a_block_that_makes_or_loses_money_is_not_finished() {
        let state = genesis();
        let mut block = begin(&state);
        assert_eq!(block.transact(|| dispatch::credit(&Bob.to_account_id(), 1 << 60)), Ok(Ok(())));
        assert_eq!(block.finish(), Err(BlockError::Issuance));
        let mut block = begin(&state);
        assert_eq!(block.transact(|| Ledger::<Runtime>::book(|books| &mut books.fees, 1)), Ok(Ok(())));
        assert_eq!(block.finish(), Err(BlockError::Issuance));
        let mut block = begin(&state);
        assert_eq!(block.transact(|| Ledger::<Runtime>::book(|books| &mut books.fees, u128::MAX)), Ok(Ok(())));
        assert_eq!(block.finish(), Err(BlockError::Issuance), "less than nothing");
    }

    #[test]
    fn child_tries_are_refused() {
        let state = genesis();
        let mut block = begin(&state);
        let write = || {
            sp_io::default_child_storage::set(b"child", b"key", b"value");
            Ok(())
        };
        block.attempt(write).unwrap();
        assert_eq!(block.finish(), Err(BlockError::ChildTrie));
        let mut block = begin(&state);
        let read = block.attempt(|| Ok(sp_io::default_child_storage::get(b"child", b"key").is_some()));
        assert_eq!(read, Err(BlockError::Panicked));
    }
}
