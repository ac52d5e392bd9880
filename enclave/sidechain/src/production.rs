//! Making blocks.

use cloister_chain_primitives::{AccountId, H256, InboxEntry, Moment};
use cloister_state::{StateDiff, encrypt_diff};
use cloister_stf::{BlockContext, BlockError, BlockExecution, CallOutcome, VerifiedCall};
use cloister_wire::{
    TrustedOperationStatus,
    envelope::Purpose,
    sidechain::{BlockData, SidechainHeader, SignedBlock},
};
use codec::DecodeAll;

use crate::engine::{Action, Engine, Head, Stop};

/// What came of a block's work.
struct Executed {
    diff: StateDiff,
    included: Vec<Included>,
    /// Sender, operation and reason of calls that are no part of the block.
    refused: Vec<(AccountId, H256, String)>,
}

/// A call that is part of the block.
struct Included {
    sender: AccountId,
    operation: H256,
    result: Result<(), String>,
}

impl Engine {
    /// Makes a block if there is work and layer one's clock allows it.
    pub(crate) fn produce(&mut self) {
        if self.inbox.is_empty() && !self.pool.has_ready() {
            return;
        }
        let Some(timestamp) = self.slot_time() else { return };
        // A host that ticks faster than it should gets no more than twice the blocks; one with a little jitter loses none.
        let earliest = self.parent_time.map_or(0, |time| time.saturating_add(Moment::from(self.slot_ms) / 2));
        if timestamp < earliest {
            return;
        }
        let Some(view) = &self.view else { return };
        let (layer_one_number, layer_one_head) = (view.number, view.hash);
        let number = self.height().saturating_add(1);

        let inbox_from = self.consumed;
        let entries: Vec<InboxEntry> = self.inbox.drain(..self.inbox.len().min(MAX_INBOX_PER_BLOCK)).collect();
        let inbox_to = inbox_from.saturating_add(u64::try_from(entries.len()).unwrap_or(0));
        let calls = self.pool.take_ready(MAX_CALLS_PER_BLOCK);

        let context = BlockContext { number, timestamp, layer_one_number, layer_one_head };
        let executed = match self.execute(context, entries, inbox_from, &calls) {
            Ok(executed) => executed,
            // The state is untouched, but what was taken out of the queues is gone: going on would lose it.
            Err(error) => return self.stop(Stop::Block(error)),
        };
        let Executed { diff, included, refused } = executed;
        for (sender, operation, reason) in refused {
            self.refuse(&sender, operation, reason);
        }
        if inbox_from == inbox_to && included.is_empty() {
            return;
        }
        let data = BlockData {
            timestamp,
            layer_one_head,
            layer_one_number,
            block_author: self.identity.incarnation.public(),
            inbox_from,
            inbox_to,
            signed_top_hashes: included.iter().map(|call| call.operation).collect(),
            commitment_before: self.state.commitment(),
            commitment_after: H256::zero(),
            encrypted_state_diff: Vec::new(),
        };
        self.seal(number, data, &diff, included);
        if inbox_to > inbox_from {
            self.confirm(layer_one_head, layer_one_number);
        }
    }

    /// Executes on top of the state, which stays as it is.
    fn execute(
        &self,
        context: BlockContext,
        entries: Vec<InboxEntry>,
        inbox_from: u64,
        calls: &[VerifiedCall],
    ) -> Result<Executed, BlockError> {
        let mut execution = BlockExecution::begin(&self.state, context)?;
        for (entry, position) in entries.into_iter().zip(inbox_from..) {
            match entry {
                // Counted here; executed once blocks outlive a restart of the enclave.
                InboxEntry::Invoke(_) => execution.count_invoke(position)?,
                InboxEntry::Shield { encrypted_beneficiary, amount, sender } => {
                    let beneficiary = self
                        .shielding
                        .open(&self.envelope(Purpose::Beneficiary), &encrypted_beneficiary)
                        .ok()
                        .and_then(|account| AccountId::decode_all(&mut account.as_slice()).ok());
                    execution.shield(position, beneficiary, amount, &sender)?;
                }
            }
        }
        let mut included = Vec::with_capacity(calls.len());
        let mut refused = Vec::new();
        for call in calls {
            let (sender, operation) = (call.sender().clone(), call.hash());
            match execution.call(call) {
                Ok(CallOutcome::Done) => included.push(Included { sender, operation, result: Ok(()) }),
                Ok(CallOutcome::Failed(reason)) => included.push(Included { sender, operation, result: Err(reason) }),
                Err(refusal) => refused.push((sender, operation, refusal.to_string())),
            }
        }
        Ok(Executed { diff: execution.finish()?, included, refused })
    }

    /// max(parent + 1 ms, layer one's time, the host's hint); none while that is too far above layer one's time, because
    /// then finality stalls or the host lies.
    pub(crate) fn slot_time(&self) -> Option<Moment> {
        let view = self.view.as_ref()?;
        let time = self.next_moment().max(view.time).max(self.time_hint);
        (time <= view.time.saturating_add(MAX_CLOCK_AHEAD_MS)).then_some(time)
    }

    pub(crate) fn height(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.header.block_number)
    }

    fn next_moment(&self) -> Moment {
        self.parent_time.map_or(0, |time| time.saturating_add(1))
    }

    fn seal(&mut self, number: u64, mut data: BlockData, diff: &StateDiff, included: Vec<Included>) {
        let Ok(encrypted) = encrypt_diff(&self.state_secret, &self.genesis, &self.shard, number, diff) else {
            return self.stop(Stop::Internal("a state diff could not be encrypted"));
        };
        self.state.apply(diff);
        self.consumed = data.inbox_to;
        self.parent_time = Some(data.timestamp);
        data.commitment_after = self.state.commitment();
        data.encrypted_state_diff = encrypted;
        let header = SidechainHeader {
            parent_hash: self.head.as_ref().map_or(H256::zero(), |head| head.hash),
            block_number: number,
            shard_id: self.shard,
            block_data_hash: data.hash(),
            next_finalization_block_number: 0,
        };
        let hash = header.hash();
        let signature = self.identity.incarnation.sign(&header.signed_bytes(&self.genesis));
        self.head = Some(Head { header: header.clone(), hash });
        // The block goes to the host before anybody is told about it.
        self.actions.push(Action::Block(Box::new(SignedBlock { header, block_data: data, signature })));
        let mut outcomes = Vec::with_capacity(included.len());
        for Included { sender, operation, result } in included {
            let (status, error) = match &result {
                Ok(()) => (TrustedOperationStatus::InSidechainBlock(hash), None),
                Err(reason) => (TrustedOperationStatus::Invalid, Some(reason.clone())),
            };
            self.actions.push(Action::Status { operation, status, error });
            outcomes.push((sender, operation, result));
        }
        self.outcomes.add(number, outcomes);
    }

    /// A call that cannot be included, and with it the sender's later ones, whose turn can never come.
    fn refuse(&mut self, sender: &AccountId, operation: H256, reason: String) {
        self.actions.push(Action::Status { operation, status: TrustedOperationStatus::Invalid, error: Some(reason) });
        for operation in self.pool.drop_sender(sender) {
            self.actions.push(Action::Status {
                operation,
                status: TrustedOperationStatus::Dropped,
                error: Some("an earlier call of the sender was refused".into()),
            });
        }
    }
}

/// Most inbox entries that one block consumes.
pub const MAX_INBOX_PER_BLOCK: usize = 64;
/// Most direct calls in one block.
pub const MAX_CALLS_PER_BLOCK: usize = 1_000;
/// How far the slot time may run ahead of layer one's newest finalized time, in milliseconds.
pub const MAX_CLOCK_AHEAD_MS: Moment = 30_000;
