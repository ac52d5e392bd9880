//! What the shard owes on layer one: what may be submitted, what of it layer one has settled, and what the next block
//! closes for that.
//!
//! An entry is submitted only when its block is anchored in a finalized layer-one block and the newest finalized state
//! shows that it is not settled; it is closed only on a proof of what layer one did with it. Neither time nor events
//! count.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use cloister_chain_primitives::{
    BlockNumber, H256, OutboxEntry, OutboxKind, ShardId, Verdict,
    calls::Call,
    outbox::{OutboxTree, outbox_id},
};
use cloister_stf::Owed;
use cloister_wire::OutboxProof;

use crate::extrinsics::RESEND_BLOCKS;

/// The open entries of the newest stored block.
#[derive(Default)]
pub(crate) struct Outbox {
    open: BTreeMap<u64, Open>,
    tree: Arc<OutboxTree>,
    /// Trees of blocks that layer one was asked to anchor, ascending.
    asked: VecDeque<(u64, Arc<OutboxTree>)>,
    /// The anchored block and its tree, if it is known: an earlier start may have had the block anchored.
    anchored: Option<(u64, Arc<OutboxTree>)>,
    /// How many entries may be tried again before their time.
    tries: usize,
    /// The next entry about which layer one is asked, if there are more than fit one question.
    cursor: u64,
}

struct Open {
    entry: OutboxEntry,
    /// Height of the block that opened it.
    block: u64,
    /// Whether layer one was proven not to have settled it, in this start.
    unsettled: bool,
    verdict: Option<Verdict>,
    /// How often it was submitted, and at which height of layer one last.
    submitted: Option<(u32, BlockNumber)>,
}

impl Open {
    fn can_be_submitted(&self, anchored: u64) -> bool {
        self.block <= anchored && self.unsettled && self.verdict.is_none()
    }
}

/// What a block changes.
#[derive(Default)]
pub(crate) struct OutboxChange {
    opened: Vec<Owed>,
    closed: Vec<u64>,
    /// What is open afterwards.
    pub tree: Arc<OutboxTree>,
}

impl Outbox {
    /// Begins with what a recovered state owes.
    pub fn recovered(genesis: &H256, shard: &ShardId, owed: Vec<Owed>) -> Self {
        let mut outbox = Self::default();
        let change = outbox.change(genesis, shard, owed, Vec::new());
        outbox.apply(genesis, shard, change);
        outbox
    }

    /// What is left open when these entries are opened and those, in ascending order, closed.
    pub fn change(&self, genesis: &H256, shard: &ShardId, opened: Vec<Owed>, closed: Vec<u64>) -> OutboxChange {
        if opened.is_empty() && closed.is_empty() {
            return OutboxChange { opened, closed, tree: self.tree.clone() };
        }
        let open = self.open.iter().filter(|(number, _)| closed.binary_search(number).is_err());
        let entries = open.map(|(_, open)| open.entry.clone());
        let entries = entries.chain(opened.iter().map(|owed| owed.entry(genesis, shard))).collect();
        OutboxChange { opened, closed, tree: Arc::new(OutboxTree::new(genesis, shard, entries)) }
    }

    /// A block with this change is stored.
    pub fn apply(&mut self, genesis: &H256, shard: &ShardId, change: OutboxChange) {
        let OutboxChange { opened, closed, tree } = change;
        for number in closed {
            self.open.remove(&number);
        }
        for owed in opened {
            let (entry, block) = (owed.entry(genesis, shard), owed.block);
            let open = Open { entry, block, unsettled: false, verdict: None, submitted: None };
            self.open.insert(open.entry.number, open);
        }
        self.tree = tree;
    }

    /// How many are open.
    pub fn len(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    /// Root over what is open.
    pub fn root(&self) -> H256 {
        self.tree.root()
    }

    /// About which entries layer one is asked next.
    pub fn questions(&mut self) -> Vec<u64> {
        let unsettled = |(number, open): (&u64, &Open)| open.verdict.is_none().then_some(*number);
        let after = self.open.range(self.cursor..).filter_map(unsettled);
        let before = self.open.range(..self.cursor).filter_map(unsettled);
        let numbers: Vec<u64> = after.chain(before).take(MAX_SETTLED_PER_PROOF).collect();
        self.cursor = numbers.last().map_or(0, |last| last.saturating_add(1));
        numbers
    }

    /// What the newest finalized state of layer one has of an entry.
    pub fn learn(&mut self, number: u64, verdict: Option<Verdict>) {
        let Some(open) = self.open.get_mut(&number) else { return };
        open.unsettled = verdict.is_none();
        // Layer one never changes its mind.
        let news = open.verdict.is_none() && verdict.is_some();
        open.verdict = open.verdict.or(verdict);
        if news && open.submitted.is_some_and(|(times, _)| times > 1) {
            // What hindered it may hinder others no longer.
            self.tries = self.tries.saturating_add(TRIES_AFTER_SUCCESS).min(MAX_UNSHIELDS_PER_EXTRINSIC);
        }
    }

    /// What the next block closes.
    pub fn verdicts(&self) -> impl Iterator<Item = (u64, Verdict)> {
        self.open.iter().filter_map(|(number, open)| Some((*number, open.verdict?)))
    }

    /// Layer one is asked to anchor the newest block, which has this height.
    pub fn ask_to_anchor(&mut self, height: u64) {
        if self.asked.back().is_none_or(|(last, _)| *last < height) {
            self.asked.push_back((height, self.tree.clone()));
        }
    }

    /// Layer one is proven to have anchored the block of this height; the newest has that of `newest`.
    pub fn observe_anchored(&mut self, anchored: u64, newest: u64) {
        if self.anchored.as_ref().is_some_and(|(height, _)| *height == anchored) {
            return;
        }
        self.anchored = (anchored == newest).then(|| (anchored, self.tree.clone()));
        while let Some(asked) = self.asked.pop_front_if(|(height, _)| *height <= anchored) {
            if asked.0 == anchored {
                self.anchored = Some(asked);
            }
        }
    }

    /// Calls that have at most `most` entries paid whose blocks are anchored up to `anchored`, under the newest block's
    /// root; `number` is layer one's height.
    pub fn submit(&mut self, shard: &ShardId, anchored: u64, number: BlockNumber, most: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        for at in self.choose(anchored, number, most.min(MAX_UNSHIELDS_PER_EXTRINSIC)) {
            if let Some(open) = self.open.get_mut(&at)
                && let Some((entry, path)) = self.tree.prove(at)
            {
                let times = open.submitted.map_or(0, |(times, _)| times);
                open.submitted = Some((times.saturating_add(1), number));
                calls.push(Call::unshield_funds(shard, entry, &path));
            }
        }
        calls
    }

    /// Which entries are submitted. Every one goes once. What is over the outflow limit lands without effect and costs a
    /// fee, so of those that went before only the one whose turn was longest ago is tried again, when its pause is over;
    /// if that is settled two more go, and so on.
    fn choose(&mut self, anchored: u64, number: BlockNumber, most: usize) -> Vec<u64> {
        let candidates = || self.open.iter().filter(|(_, open)| open.can_be_submitted(anchored));
        let new = || candidates().filter(|(_, open)| open.submitted.is_none());
        let is_return = |open: &Open| open.entry.kind == OutboxKind::Return;
        let mut returns = new().filter(|(_, open)| is_return(open)).map(|(at, _)| *at);
        let others = new().filter(|(_, open)| !is_return(open)).map(|(at, _)| *at);
        // Whoever shields to nobody again and again has others wait for a part of the returns only.
        let mut chosen: Vec<u64> = returns.by_ref().take(most.min(RETURNS_FIRST)).collect();
        chosen.extend(others.take(most.saturating_sub(chosen.len())));
        chosen.extend(returns.take(most.saturating_sub(chosen.len())));
        let mut again: Vec<_> =
            candidates().filter_map(|(at, open)| open.submitted.map(|(times, when)| (when, *at, times))).collect();
        again.sort_unstable();
        let overdue = again.first().is_some_and(|(when, _, times)| {
            let doublings = times.saturating_sub(1).min(MAX_DOUBLINGS);
            number >= when.saturating_add(RESEND_BLOCKS.saturating_mul(2u32.saturating_pow(doublings)))
        });
        let tries = self.tries.max(usize::from(overdue)).min(most.saturating_sub(chosen.len()));
        let before = chosen.len();
        chosen.extend(again.iter().take(tries).map(|(_, at, _)| *at));
        self.tries = self.tries.saturating_sub(chosen.len().saturating_sub(before));
        chosen
    }

    /// Entries from this number on that layer one has anchored and not settled.
    pub fn proofs(&self, from: u64) -> Vec<OutboxProof> {
        let Some((_, tree)) = &self.anchored else { return Vec::new() };
        let unsettled = self.open.range(from..).filter(|(_, open)| open.verdict.is_none());
        let proofs = unsettled.filter_map(|(number, _)| tree.prove(*number));
        proofs.take(MAX_PROOFS).map(|(entry, path)| OutboxProof { entry: entry.clone(), path }).collect()
    }
}

/// The id of what a block of this height opened under this number.
pub(crate) fn named(genesis: &H256, shard: &ShardId, owed: &Owed) -> (u64, H256) {
    (owed.number, outbox_id(genesis, shard, owed.block, owed.number))
}

/// Most entries that one block closes.
pub(crate) const MAX_VERDICTS_PER_BLOCK: usize = 256;
/// Most accounts that leave a retired shard in one block.
pub(crate) const MAX_EXITS_PER_BLOCK: usize = 256;
/// Most entries about which one question asks.
const MAX_SETTLED_PER_PROOF: usize = 256;
/// Most entries in one extrinsic: some 80 ms of a block, and 60 kB.
pub(crate) const MAX_UNSHIELDS_PER_EXTRINSIC: usize = 128;
/// Of those, so many may be returned shieldings before anything else.
const RETURNS_FIRST: usize = 32;
/// How many entries are tried again for one that was settled when it was.
const TRIES_AFTER_SUCCESS: usize = 2;
/// Most entries in one answer.
const MAX_PROOFS: usize = 256;
/// So often the pause before an entry is submitted again doubles: from 10 blocks up to 640.
const MAX_DOUBLINGS: u32 = 6;
