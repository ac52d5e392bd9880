//! Making blocks: choose, mark, execute, store, tell. One block at a time.

use cloister_chain_primitives::{AccountId, BlockNumber, H256, Moment, ShardMode};
use cloister_state::{PreparedDiff, Purpose as Sealed, Scope};
use cloister_stf::{
    BlockContext, BlockError, BlockExecution, CallOutcome, Finished, Inputs, InvokeOutcome, Refused, VerifiedCall,
};
use cloister_wire::{
    TrustedOperationStatus,
    sidechain::{BlockData, SidechainHeader, SignedBlock},
};
use codec::Encode;

use crate::{
    action::{Action, Keep, Stop},
    anchoring,
    choosing::Batch,
    engine::{Engine, Head, View},
    inbox::Opened,
    outbox::{self, MAX_EXITS_PER_BLOCK, MAX_VERDICTS_PER_BLOCK, OutboxChange},
    poison::Item,
    recovery::{self, BlockBody},
};

/// Why nothing is signed for now. It goes on when layer one does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pause {
    /// Finality stalls, or the host's clock is wrong. Only blocks wait for that: an answer says how old what it rests
    /// on is.
    #[error("layer one's finalized time is too old")]
    ClockAhead,
    /// The host does not bring the state of blocks whose finality it does bring.
    #[error("layer one's state was proven too many finalized blocks ago")]
    Unread,
    /// By the clock the registration is over, and no finalized block has shown yet whether it was renewed.
    #[error("the registration on layer one has run out and no renewal is proven")]
    Expiring,
    /// The newest block rests on a later block of layer one than any that is proven. Only blocks wait for that.
    #[error("layer one is proven only up to a block before the one that the newest block rests on")]
    Behind,
    /// Layer one does not anchor, or finality stalls. Only blocks wait for that.
    #[error("{MAX_UNANCHORED} blocks are not anchored on layer one")]
    Unanchored,
}

/// How far the next block is.
#[derive(Default)]
pub(crate) enum Work {
    /// Nothing is begun.
    #[default]
    Idle,
    /// What it executes is chosen; the mark of it is being stored.
    Marked { sequence: u64, batch: Batch },
    /// It is executed and being stored.
    Executed { sequence: u64, block: Box<Pending> },
}

/// A block that is not stored yet. Nobody has heard of it.
pub(crate) struct Pending {
    block: SignedBlock,
    head: Head,
    changes: PreparedDiff,
    executed: Executed,
    outbox: OutboxChange,
    items: Vec<Item>,
}

/// What came of a block's work.
#[derive(Default)]
struct Executed {
    direct: Vec<Included>,
    indirect: Vec<Included>,
    refused: Vec<(VerifiedCall, Refused)>,
    /// How many of the batch's items were executed or refused.
    items: usize,
    /// Entries of the outbox that it closed, ascending.
    closed: Vec<u64>,
    /// Accounts that left.
    exits: usize,
    /// What became of what the program does at the beginning of a block, and whether it changed anything.
    began: (Option<CallOutcome>, bool),
}

/// A call that is part of the block.
struct Included {
    sender: AccountId,
    operation: H256,
    result: Result<(), String>,
    /// What it opened in the outbox.
    outbox: Option<(u64, H256)>,
}

impl Included {
    fn new(call: &VerifiedCall, outcome: CallOutcome, outbox: Option<(u64, H256)>) -> Self {
        let result = match outcome {
            CallOutcome::Done => Ok(()),
            CallOutcome::Failed(mut reason) => {
                reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
                Err(reason)
            }
        };
        Self { sender: call.sender().clone(), operation: call.hash(), result, outbox }
    }

    fn outcome(&self) -> recovery::CallOutcome {
        (self.sender.clone(), self.operation, self.result.clone(), self.outbox)
    }
}

impl Executed {
    fn included(&self) -> impl Iterator<Item = &Included> {
        self.indirect.iter().chain(&self.direct)
    }

    fn indirect_operations(&self) -> Vec<H256> {
        self.indirect.iter().map(|call| call.operation).collect()
    }
}

impl Engine {
    /// Begins a block if none is begun, there is work, and layer one's clock allows it.
    pub(crate) fn produce(&mut self) {
        if matches!(self.work, Work::Idle) {
            self.begin();
        }
    }

    /// What a block waited for is stored.
    pub(crate) fn stored_for_block(&mut self, stored: u64) {
        match std::mem::take(&mut self.work) {
            Work::Marked { sequence, batch } if sequence == stored => self.go_on(batch),
            Work::Executed { sequence, block } if sequence == stored => self.complete(*block),
            waiting => self.work = waiting,
        }
    }

    fn begin(&mut self) {
        let Ok(timestamp) = self.slot_time() else { return };
        // A host that ticks faster than it should gets no more than twice the blocks; one with a little jitter loses none.
        let earliest = self.parent_time.map_or(0, |time| time.saturating_add(Moment::from(self.slot_ms) / 2));
        if timestamp < earliest && !self.next_is_suspect() {
            return;
        }
        let mut batch = self.choose();
        batch.due = self.is_due(timestamp);
        let items = batch.items();
        let idle = items.is_empty() && !batch.due;
        if !(idle && self.outbox.verdicts().next().is_none() && !self.accounts_leave())
            && let Some(sequence) = self.mark(items)
        {
            self.work = Work::Marked { sequence, batch };
        }
    }

    /// Has a mark of these items stored.
    fn mark(&mut self, items: Vec<Item>) -> Option<u64> {
        let number = self.height().saturating_add(1);
        let scope = Scope { secret: &self.state_secret, genesis: &self.genesis, shard: &self.shard };
        match self.suspects.seal(&scope, number, items) {
            Ok(mark) => Some(self.store(Keep::Mark(mark))),
            Err(_) => {
                self.stop(Stop::Internal("a mark could not be sealed"));
                None
            }
        }
    }

    /// The mark of a batch is stored.
    fn go_on(&mut self, mut batch: Batch) {
        let (Ok(timestamp), Some(view)) = (self.slot_time(), &self.view) else {
            // Whatever ends the enclave in a pause is nothing that it executes.
            self.put_back(batch);
            self.mark(Vec::new());
            return;
        };
        let context = BlockContext {
            number: self.height().saturating_add(1),
            timestamp,
            layer_one_number: view.number,
            layer_one_head: view.hash,
            mode: view.mode,
        };
        let unread = self.split_off_unread(&mut batch);
        self.put_back(unread);
        self.ask_for_calls();
        // The state is untouched by an error, but what was taken out of the queues is gone: going on would lose it.
        match self.execute(context, &batch) {
            Ok((finished, executed)) => {
                let rest = batch.split_off(executed.items);
                self.put_back(rest);
                self.seal(context, &batch, finished, executed);
            }
            Err(error) => self.stop(Stop::Block(error)),
        }
    }

    /// Executes on top of the state, which stays as it is, until the block is as large as it may be.
    fn execute(&self, context: BlockContext, batch: &Batch) -> Result<(Finished, Executed), BlockError> {
        let parent = self.head.as_ref().map_or(H256::zero(), |head| head.hash);
        let inputs = Inputs {
            randomness: self.state_secret.block_randomness(&parent, context.number, &context.layer_one_head),
            anchored: self.unanchored.anchored(),
            layer_one: self.reads.values(&context.layer_one_head),
        };
        let mut execution = BlockExecution::begin(&self.state, context, inputs, self.program)?;
        let mut executed = Executed::default();
        for (number, verdict) in self.outbox.verdicts().take(MAX_VERDICTS_PER_BLOCK) {
            execution.settle(number, verdict)?;
            executed.closed.push(number);
        }
        let outcome = execution.begin_block();
        let changed = outcome == CallOutcome::Done && execution.written() > 0;
        executed.began = (Some(outcome), changed);
        for (number, opened) in &batch.entries {
            if execution.written() > MAX_WRITTEN_BYTES {
                break;
            }
            executed.items = executed.items.saturating_add(1);
            match opened {
                Opened::Shield { beneficiary, amount, sender } => {
                    execution.shield(*number, beneficiary.clone(), *amount, sender)?;
                }
                Opened::Invoke(call) => {
                    let set_aside = self.suspects.is_set_aside(&Item::Entry(*number));
                    let opened = execution.opened().len();
                    let outcome = match call {
                        Some(call) if set_aside => execution.fail_invoke(*number, call, SET_ASIDE)?,
                        Some(call) if call.weight() > self.budget => {
                            let (weight, limit) = (call.weight(), self.budget);
                            let reason = Refused::TooHeavy { weight, limit }.to_string();
                            execution.fail_invoke(*number, call, &reason)?
                        }
                        Some(call) if !self.is_readable(call) => {
                            execution.fail_invoke(*number, call, &Refused::LayerOneUnread.to_string())?
                        }
                        call => execution.invoke(*number, call.as_ref())?,
                    };
                    if let (Some(call), InvokeOutcome::Executed(outcome)) = (call, outcome) {
                        let outbox = self.opened_since(&execution, opened);
                        executed.indirect.push(Included::new(call, outcome, outbox));
                    }
                }
            }
        }
        let calls = if executed.items == batch.entries.len() { batch.calls.as_slice() } else { &[] };
        for call in calls {
            if execution.written() > MAX_WRITTEN_BYTES {
                break;
            }
            executed.items = executed.items.saturating_add(1);
            let opened = execution.opened().len();
            match execution.call(call) {
                Ok(outcome) => {
                    let outbox = self.opened_since(&execution, opened);
                    executed.direct.push(Included::new(call, outcome, outbox));
                }
                Err(refusal) => executed.refused.push((call.clone(), refusal)),
            }
        }
        if context.mode == ShardMode::Retired {
            executed.exits = execution.exit(MAX_EXITS_PER_BLOCK)?;
        }
        Ok((execution.finish()?, executed))
    }

    /// What a call opened in the outbox that had so many entries of this block before.
    fn opened_since(&self, execution: &BlockExecution<'_>, before: usize) -> Option<(u64, H256)> {
        execution.opened().get(before).map(|owed| outbox::named(&self.genesis, &self.shard, owed))
    }

    /// Whether the shard is retired and accounts can leave.
    fn accounts_leave(&self) -> bool {
        self.mode() == ShardMode::Retired
            && self.nobody_left_at != Some(self.height())
            && cloister_stf::account_count(&self.state) > 0
    }

    /// What the shard does, as last proven.
    pub(crate) fn mode(&self) -> ShardMode {
        self.view.as_ref().map_or(ShardMode::Open, |view| view.mode)
    }

    fn seal(&mut self, context: BlockContext, batch: &Batch, finished: Finished, mut executed: Executed) {
        let BlockContext { number, timestamp, layer_one_number, layer_one_head, .. } = context;
        let Finished { diff, books, opened } = finished;
        let inbox_from = self.consumed;
        let consumed = u64::try_from(batch.entries.len()).unwrap_or(u64::MAX);
        let inbox_to = inbox_from.saturating_add(consumed);
        if context.mode == ShardMode::Retired && executed.exits == 0 {
            self.nobody_left_at = Some(self.height());
        }
        let (began, wrote) = std::mem::take(&mut executed.began);
        if let Some(CallOutcome::Failed(reason)) = began {
            self.actions.push(Action::BeginBlockFailed(reason));
        }
        let due = batch.due && wrote;
        if batch.due && !wrote {
            self.due_in_vain = Some((self.height(), layer_one_head));
        }
        let idle = inbox_from == inbox_to && executed.direct.is_empty() && !due;
        if idle && executed.closed.is_empty() && executed.exits == 0 {
            // No block: nothing happened.
            self.tell_refused(executed.refused);
            self.settle(&batch.items());
            return;
        }
        let parent_hash = self.head.as_ref().map_or(H256::zero(), |head| head.hash);
        let changes = self.state.prepare(diff);
        let closed = std::mem::take(&mut executed.closed);
        let outbox = self.outbox.change(&self.genesis, &self.shard, opened, closed);
        let mut block_data = BlockData {
            timestamp,
            layer_one_head,
            layer_one_number,
            block_author: self.identity.incarnation.public(),
            inbox_from,
            inbox_to,
            signed_top_hashes: executed.included().map(|call| call.operation).collect(),
            parent_acknowledgements: self.certificate(),
            books,
            outbox_root: outbox.tree.root(),
            commitment_before: changes.commitment_before(),
            commitment_after: changes.commitment_after(),
            encrypted_state_diff: Vec::new(),
        };
        let outcomes = executed.included().map(Included::outcome).collect();
        let public_hash = recovery::public_hash(&parent_hash, &block_data);
        let body = BlockBody::new(public_hash, changes.diff().clone(), outcomes, executed.indirect_operations());
        let scope = Scope { secret: &self.state_secret, genesis: &self.genesis, shard: &self.shard };
        let Ok(encrypted_state_diff) = scope.seal(Sealed::Block { number }, &body.encode()) else {
            return self.stop(Stop::Internal("a state diff could not be encrypted"));
        };
        block_data.encrypted_state_diff = encrypted_state_diff;
        let header = SidechainHeader {
            parent_hash,
            block_number: number,
            shard_id: self.shard,
            block_data_hash: block_data.hash(),
            next_finalization_block_number: 0,
        };
        let signature = self.identity.incarnation.sign(&header.signed_bytes(&self.genesis));
        let block = SignedBlock { header, block_data, signature };
        let anchor = block.anchor();
        let hash = anchor.header_hash;
        let head = Head { header: block.header.clone(), hash, anchor };
        let sequence = self.store(Keep::Block { number, hash, bytes: block.encode() });
        let block = Box::new(Pending { block, head, changes, executed, outbox, items: batch.items() });
        self.work = Work::Executed { sequence, block };
    }

    /// The block outlives the enclave: it takes effect, and everybody is told.
    fn complete(&mut self, pending: Pending) {
        let Pending { block: SignedBlock { block_data, .. }, head, changes, executed, outbox, items } = pending;
        let (number, hash) = (head.header.block_number, head.hash);
        if !self.state.commit(changes) {
            return self.stop(Stop::Internal("the state changed under a block"));
        }
        let layer_one = (block_data.layer_one_number, block_data.layer_one_head);
        self.consumed = block_data.inbox_to;
        self.parent_time = Some(block_data.timestamp);
        self.parent_layer_one = block_data.layer_one_number;
        self.head = Some(head);
        self.outbox.apply(&self.genesis, &self.shard, outbox);
        self.suspects.expire(number);
        let indirect = executed.indirect_operations();
        if block_data.inbox_to > block_data.inbox_from {
            self.unanchored.consumed(layer_one, indirect.iter().copied());
        }
        let done = executed.included().filter(|call| call.result.is_ok()).map(|call| call.operation).collect();
        self.unanchored.push(anchoring::Stored { number, hash, operations: done, indirect });
        self.outcomes.add(number, executed.included().map(Included::outcome).collect());
        for Included { operation, result, .. } in executed.included() {
            let (status, error) = match result {
                Ok(()) => (TrustedOperationStatus::InSidechainBlock(hash), None),
                Err(reason) => (TrustedOperationStatus::Invalid, Some(reason.clone())),
            };
            self.actions.push(Action::Status { operation: *operation, status, error });
        }
        self.overtake(executed.indirect.iter().map(|call| &call.sender));
        self.tell_refused(executed.refused);
        self.expire();
        self.settle(&items);
        self.anchor();
        if self.next_is_suspect() {
            // Each goes alone; a slot for each would be long after a crash.
            self.produce();
        }
    }

    /// When a block that is made now is made, or why none is.
    pub(crate) fn slot_time(&self) -> Result<Moment, Pause> {
        let (time, view) = self.time_to_sign()?;
        if time > view.time.saturating_add(MAX_CLOCK_AHEAD_MS) {
            return Err(Pause::ClockAhead);
        }
        if view.number < self.parent_layer_one {
            return Err(Pause::Behind);
        }
        if self.height().saturating_sub(self.unanchored.anchored()) >= MAX_UNANCHORED {
            return Err(Pause::Unanchored);
        }
        Ok(time)
    }

    /// max(parent + 1 ms, layer one's time, the host's hint), and what is proven of layer one; or why nothing is
    /// signed.
    pub(crate) fn time_to_sign(&self) -> Result<(Moment, &View), Pause> {
        let view = self.view.as_ref().ok_or(Pause::Unread)?;
        if self.light_client.head().number.saturating_sub(view.number) > MAX_BLOCKS_UNREAD {
            return Err(Pause::Unread);
        }
        let time = self.next_moment().max(view.time).max(self.time_hint);
        match self.registration.expires_at() {
            Some(expires_at) if time < expires_at => Ok((time, view)),
            _ => Err(Pause::Expiring),
        }
    }

    /// Bytes of a block that is being stored.
    pub(crate) fn pending_bytes(&self) -> u64 {
        match &self.work {
            Work::Executed { block, .. } => u64::try_from(block.block.encoded_size()).unwrap_or(u64::MAX),
            _ => 0,
        }
    }

    pub(crate) fn height(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.header.block_number)
    }

    fn next_moment(&self) -> Moment {
        self.parent_time.map_or(0, |time| time.saturating_add(1))
    }
}

/// How far the slot time may run ahead of layer one's newest finalized time, in milliseconds.
pub const MAX_CLOCK_AHEAD_MS: Moment = 30_000;
/// How many finalized layer-one blocks may have gone by since the newest one whose state was proven. A node that lost
/// one state or a host that is slow for a moment is no reason to pause; beyond that, what is signed rests on an old
/// state while a newer one, with an eviction in it perhaps, is withheld.
pub const MAX_BLOCKS_UNREAD: BlockNumber = 20;
/// Most blocks after the anchored one. At two blocks in a slot of 300 ms they are made in 38 s, well above the 3 s of finality
/// and the 10 blocks after which an anchor that was lost is sent again.
pub const MAX_UNANCHORED: u64 = 256;
/// Bytes of keys and values that a block's calls may have written when another one begins. With what a last call adds, the
/// block fits a message to the host.
const MAX_WRITTEN_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of the reason that a call failed.
const MAX_REASON_BYTES: usize = 256;
const SET_ASIDE: &str = "set aside: it ended the enclave three times";
