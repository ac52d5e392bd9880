//! What of the shard layer one has anchored, and what it is asked to anchor next.

use std::collections::VecDeque;

use cloister_chain_primitives::{
    Acknowledgement, Anchor, Anchored, Balance, BlockNumber, H256, SidechainBlockConfirmation, UNSHIELD_FEE,
    calls::Call,
};
use cloister_wire::TrustedOperationStatus;

use crate::{
    action::{Action, Stop},
    engine::Engine,
    extrinsics::RESEND_BLOCKS,
};

/// The newest blocks, back to the anchored one.
#[derive(Default)]
pub(crate) struct Unanchored {
    /// As last proven.
    anchored: Option<Anchor>,
    blocks: VecDeque<Stored>,
    /// What was anchored when layer one was asked last to anchor something, and at which height that was.
    asked: Option<(Option<Anchor>, BlockNumber)>,
    /// On which layer-one block the newest recovered block rests.
    recovered_on: Option<(BlockNumber, H256)>,
    /// What was consumed of the inbox and not reported yet.
    consumed: Option<Consumed>,
}

/// A block that is kept.
pub(crate) struct Stored {
    pub number: u64,
    pub hash: H256,
    /// Operations that it executed without failure, whose clients wait for more.
    pub operations: Vec<H256>,
    /// Operations that came through the inbox and were executed.
    pub indirect: Vec<H256>,
}

/// What a confirmation says.
struct Consumed {
    number: BlockNumber,
    hash: H256,
    /// Indirect calls that were executed.
    executed: Vec<H256>,
}

/// Why a recovered state is not the shard's newest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotNewest {
    /// It ends before the anchored block.
    #[error("layer one has anchored block {anchored}, and the newest that was kept is {newest}")]
    Behind {
        /// Height of the anchored block.
        anchored: u64,
        /// Height of the newest.
        newest: u64,
    },
    /// It has another block at the anchored height.
    #[error("layer one has anchored another block {anchored} than the one that was kept")]
    Forked {
        /// Height of the anchored block.
        anchored: u64,
    },
    /// The anchored block is older than all that were kept.
    #[error("layer one has anchored block {anchored}, and the oldest that was kept is {oldest}")]
    TooShort {
        /// Height of the anchored block.
        anchored: u64,
        /// Height of the oldest.
        oldest: u64,
    },
}

impl Unanchored {
    /// Begins with blocks that were recovered.
    pub fn recovered(blocks: Vec<Stored>) -> Self {
        Self { blocks: blocks.into(), ..Self::default() }
    }

    /// Height of the anchored block; 0 without one.
    pub fn anchored(&self) -> u64 {
        self.anchored.map_or(0, |anchor| anchor.number)
    }

    /// Adds the newest block.
    pub fn push(&mut self, block: Stored) {
        self.blocks.push_back(block);
    }

    /// Up to this block of layer one the inbox was consumed, by executing these calls.
    pub fn consumed(&mut self, (number, hash): (BlockNumber, H256), calls: impl IntoIterator<Item = H256>) {
        let mut executed = self.consumed.take().map(|consumed| consumed.executed).unwrap_or_default();
        executed.extend(calls);
        self.consumed = Some(Consumed { number, hash, executed });
    }

    /// The newest recovered block rests on this layer-one block.
    pub fn recovered_on(&mut self, layer_one: (BlockNumber, H256)) {
        self.recovered_on = Some(layer_one);
    }

    /// What a start before this one consumed is reported together with the anchor that covers it. `inbox_consumed` entries
    /// are consumed; those that no anchor covers were not reported.
    fn report_recovered(&mut self, inbox_consumed: u64) {
        let Some(layer_one) = self.recovered_on.take() else { return };
        if inbox_consumed > self.anchored.map_or(0, |anchor| anchor.inbox_consumed) {
            let after = self.anchored();
            let blocks = self.blocks.iter().filter(|block| block.number > after);
            let calls: Vec<H256> = blocks.flat_map(|block| block.indirect.iter().copied()).collect();
            self.consumed(layer_one, calls);
        }
    }

    /// Whether what was recovered contains what layer one has anchored, which it must before anybody is served.
    fn check(&self, anchor: &Anchor) -> Result<(), NotNewest> {
        let anchored = anchor.number;
        let oldest = self.blocks.front().map_or(0, |block| block.number);
        let newest = self.blocks.back().map_or(0, |block| block.number);
        if newest < anchored {
            return Err(NotNewest::Behind { anchored, newest });
        }
        match self.blocks.iter().find(|block| block.number == anchored) {
            Some(block) if block.hash == anchor.header_hash => Ok(()),
            Some(_) => Err(NotNewest::Forked { anchored }),
            None => Err(NotNewest::TooShort { anchored, oldest }),
        }
    }

    /// Takes in the proven anchor; operations that are final with it.
    fn observe(&mut self, anchored: Option<Anchored>) -> Result<Vec<H256>, NotNewest> {
        let Some(Anchored { anchor, .. }) = anchored else { return Ok(Vec::new()) };
        if self.anchored == Some(anchor) {
            return Ok(Vec::new());
        }
        self.check(&anchor)?;
        self.anchored = Some(anchor);
        let mut operations = Vec::new();
        for block in self.blocks.iter_mut().take_while(|block| block.number <= anchor.number) {
            operations.append(&mut block.operations);
        }
        while self.blocks.front().is_some_and(|block| block.number < anchor.number) {
            self.blocks.pop_front();
        }
        Ok(operations)
    }

    /// Whether layer one is to anchor `newest`, at its height `number`.
    fn is_due(&self, newest: &Anchor, number: BlockNumber) -> bool {
        let news = newest.number > self.anchored();
        // One that landed and was not taken is not repeated in every block, unless the anchor moved by somebody else's hand.
        let recently = self
            .asked
            .is_some_and(|(anchored, at)| self.anchored == anchored && number < at.saturating_add(RESEND_BLOCKS));
        news && !recently
    }
}

impl Engine {
    /// Takes in what layer one has anchored; false if the engine must not go on.
    pub(crate) fn observe_anchor(&mut self, anchored: Option<Anchored>) -> bool {
        match self.unanchored.observe(anchored) {
            Ok(operations) => {
                self.outbox.observe_anchored(self.unanchored.anchored(), self.height());
                let status = TrustedOperationStatus::Finalized;
                self.actions.extend(operations.into_iter().map(|operation| Action::Status {
                    operation,
                    status,
                    error: None,
                }));
                true
            }
            Err(not_newest) => {
                self.stop(Stop::NotNewest(not_newest));
                false
            }
        }
    }

    /// What layer one is to know of the newest stored block.
    pub(crate) fn newest(&self) -> Option<Anchor> {
        self.head.as_ref().map(|head| head.anchor)
    }

    /// Certificate of the newest stored block, from its only member; of none before the first.
    pub(crate) fn certificate(&self) -> Vec<Acknowledgement> {
        let newest = self.newest().map(|anchor| anchor.stored_bytes(&self.genesis, &self.shard));
        newest.map(|message| self.acknowledgement(&message)).into_iter().collect()
    }

    fn acknowledgement(&self, message: &[u8]) -> Acknowledgement {
        let signature = self.identity.incarnation.sign(message);
        Acknowledgement { account: self.identity.account.account(), signature }
    }

    /// Asks layer one to anchor the newest block, reports what was consumed, and has entries of the outbox paid: one
    /// extrinsic at a time.
    pub(crate) fn anchor(&mut self) {
        let Some(view) = &self.view else { return };
        if !self.serving || self.stopped || !self.extrinsics.is_idle() {
            return;
        }
        let number = view.number;
        self.unanchored.report_recovered(self.consumed);
        let mut calls = Vec::new();
        let newest = self.newest();
        // Whether layer one has the newest block's root when it comes to entries of the outbox.
        let mut has_root = newest.is_some() && newest == self.unanchored.anchored;
        if let Some(anchor) = newest.filter(|newest| self.unanchored.is_due(newest, number)) {
            has_root = true;
            self.outbox.ask_to_anchor(anchor.number);
            let acknowledgement = self.acknowledgement(&anchor.signed_bytes(&self.genesis, &self.shard));
            let ancestor: Option<SidechainBlockConfirmation> =
                self.unanchored.anchored.map(|anchored| anchored.confirmation());
            self.unanchored.asked = Some((self.unanchored.anchored, number));
            calls.push(Call::confirm_imported_sidechain_block(
                &self.shard,
                ancestor.as_ref(),
                &anchor,
                &[acknowledgement],
            ));
        }
        // Each confirmation prunes so many entries at most.
        let prunable = self.unanchored.anchored.is_some_and(|anchor| {
            view.inbox_pruned < anchor.inbox_consumed || view.settled_pruned < anchor.outbox_closed
        });
        if prunable && self.unanchored.consumed.is_none() {
            self.unanchored.consumed((view.number, view.hash), []);
        }
        if let Some(Consumed { number, hash, executed }) = self.unanchored.consumed.take() {
            let root = binary_merkle_tree::merkle_root::<sp_runtime::traits::Keccak256, _>(executed);
            calls.push(Call::confirm_processed_parentchain_block(&self.shard, &hash, number, &root));
        }
        if has_root {
            // What the account cannot pay for must not hold up the anchor.
            let affordable = view.account_free.saturating_div(SETTLEMENT_RESERVE);
            calls.extend(self.outbox.submit(
                &self.shard,
                self.unanchored.anchored(),
                number,
                usize::try_from(affordable).unwrap_or(usize::MAX),
            ));
        }
        // Each counts for itself: what one says is true whatever became of the others.
        let call = match <[Call; 1]>::try_from(calls) {
            Ok([call]) => call,
            Err(calls) if calls.is_empty() => return,
            Err(calls) => Call::force_batch(&calls),
        };
        self.extrinsics.add(call);
        self.send_extrinsics();
    }
}

/// What the enclave's account should have in planck for each entry of the outbox that it submits: several times what that
/// costs.
const SETTLEMENT_RESERVE: Balance = 4 * UNSHIELD_FEE;
