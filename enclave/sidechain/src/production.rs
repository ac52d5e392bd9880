//! Making blocks.

use cloister_chain_primitives::{AccountId, BlockNumber, H256, InboxEntry, Moment};
use cloister_state::{Purpose as Sealed, Scope, StateDiff};
use cloister_stf::{BlockContext, BlockError, BlockExecution, CallOutcome, VerifiedCall};
use cloister_wire::{
    TrustedOperationStatus,
    envelope::Purpose,
    sidechain::{BlockData, SidechainHeader, SignedBlock},
};
use codec::{DecodeAll, Encode};

use crate::engine::{Action, Engine, Head, Stop, View};

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
}

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
        let Ok(timestamp) = self.slot_time() else { return };
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

    /// When a block that is made now is made, or why none is.
    pub(crate) fn slot_time(&self) -> Result<Moment, Pause> {
        let (time, view) = self.time_to_sign()?;
        if time > view.time.saturating_add(MAX_CLOCK_AHEAD_MS) { Err(Pause::ClockAhead) } else { Ok(time) }
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

    pub(crate) fn height(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.header.block_number)
    }

    fn next_moment(&self) -> Moment {
        self.parent_time.map_or(0, |time| time.saturating_add(1))
    }

    fn seal(&mut self, number: u64, mut data: BlockData, diff: &StateDiff, included: Vec<Included>) {
        let scope = Scope { secret: &self.state_secret, genesis: &self.genesis, shard: &self.shard };
        let Ok(encrypted) = scope.seal(Sealed::Block { number }, &diff.encode()) else {
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
/// How many finalized layer-one blocks may have gone by since the newest one whose state was proven. A node that lost
/// one state or a host that is slow for a moment is no reason to pause; beyond that, what is signed rests on an old
/// state while a newer one, with an eviction in it perhaps, is withheld.
pub const MAX_BLOCKS_UNREAD: BlockNumber = 20;
