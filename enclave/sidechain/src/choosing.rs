//! What the next block executes, and in which order: the inbox first, then what the pool hands out.

use std::collections::{BTreeSet, VecDeque};

use cloister_chain_primitives::{AccountId, Moment};
use cloister_stf::{Context, MAX_OPEN_OUTBOX, VerifiedCall};

use crate::{
    action::Action,
    engine::Engine,
    inbox::Opened,
    poison::{Company, Item},
    reads::{MAX_WAITING, Sorted},
};

/// What a block executes.
#[derive(Default)]
pub(crate) struct Batch {
    pub entries: Vec<(u64, Opened)>,
    pub calls: Vec<VerifiedCall>,
    /// Whether the program wants a block of its own accord.
    pub due: bool,
}

impl Batch {
    fn len(&self) -> usize {
        self.entries.len().saturating_add(self.calls.len())
    }

    /// Splits off what comes after so many items.
    pub fn split_off(&mut self, executed: usize) -> Self {
        let entries = self.entries.split_off(executed.min(self.entries.len()));
        let calls = self.calls.split_off(executed.saturating_sub(self.entries.len()).min(self.calls.len()));
        Self { entries, calls, due: false }
    }

    pub fn items(&self) -> Vec<Item> {
        let entries = self.entries.iter().map(|(number, _)| Item::Entry(*number));
        entries.chain(self.calls.iter().map(|call| Item::Call(call.hash()))).collect()
    }
}

impl Engine {
    /// What the next block executes: inbox first, within the budget of a slot, and in the company that each item may have.
    pub(crate) fn choose(&mut self) -> Batch {
        let mut batch = Batch::default();
        let (mut weight, mut company) = (self.program.begin_block_weight(), None);
        let mut fits = |engine: &Self, chosen: usize, item: Item, more: u64| {
            let total = weight.saturating_add(more);
            let of_item = engine.suspects.company(&item);
            let company = *company.get_or_insert(of_item);
            let fits = chosen == 0 || (total <= engine.budget && of_item == company && chosen < company.limit());
            if fits {
                weight = total;
            }
            fits
        };
        let most = if self.takes_from_inbox() { MAX_INBOX_PER_BLOCK } else { 0 };
        if most > 0 {
            self.pass_over_unread();
        }
        while batch.entries.len() < most
            && let Some((number, opened)) = self.inbox.peek()
            && self.is_entry_ready(number, opened)
            && fits(self, batch.entries.len(), Item::Entry(number), self.weight_of(opened))
        {
            batch.entries.extend(self.inbox.take());
        }
        self.excuse_read();
        let carried = std::mem::take(&mut self.carried);
        let Sorted { mut ready, mut waiting } = self.sort_out(carried);
        // Those that waited for layer one keep nobody waiting.
        if ready.iter().all(|call| !call.layer_one_reads().is_empty()) {
            let weight = ready.iter().fold(0u64, |sum, call| sum.saturating_add(call.weight()));
            let room = self.budget.saturating_sub(weight);
            let taken = self.take_ready(MAX_CALLS_PER_BLOCK.saturating_sub(ready.len()), room, &waiting);
            Sorted { ready, waiting } = self.sort_out(ready.into_iter().chain(waiting).chain(taken));
        }
        while batch.calls.len() < MAX_CALLS_PER_BLOCK
            && let Some(call) = ready.front()
            && fits(self, batch.len(), Item::Call(call.hash()), call.weight())
        {
            batch.calls.extend(ready.pop_front());
        }
        // Those that wait hold up nobody else.
        self.carried = ready;
        self.carried.extend(waiting);
        batch
    }

    /// Takes calls from the pool while these wait for layer one. When so many wait that more must not, what would wait, too,
    /// stays in the pool, whose bounds hold, and others go past it.
    fn take_ready(&mut self, limit: usize, weight: u64, waiting: &VecDeque<VerifiedCall>) -> Vec<VerifiedCall> {
        let Some(head) = self.view.as_ref().map(|view| view.hash) else { return Vec::new() };
        let mut senders: BTreeSet<AccountId> = waiting.iter().map(|call| call.sender().clone()).collect();
        let (mut room, reads) = (MAX_WAITING.saturating_sub(waiting.len()), &self.reads);
        self.pool.take_ready(limit, weight, |call| {
            if reads.knows(&head, call) && !senders.contains(call.sender()) {
                return true;
            }
            let may_wait = room > 0;
            if may_wait {
                room = room.saturating_sub(1);
                senders.insert(call.sender().clone());
            }
            may_wait
        })
    }

    /// What comes in may have to go back: while too much waits for that, it stays on layer one.
    fn takes_from_inbox(&self) -> bool {
        self.outbox.len() < MAX_OUTBOX_FOR_INBOX
    }

    /// Whether the program has something to do in a block of this time. What failed or brought nothing on the same blocks is
    /// not tried again.
    pub(crate) fn is_due(&mut self, timestamp: Moment) -> bool {
        let Some(view) = &self.view else { return false };
        let at = (self.height(), view.hash);
        let next = Context {
            number: self.height().saturating_add(1),
            timestamp,
            layer_one_number: view.number,
            layer_one_head: view.hash,
            mode: view.mode,
            anchored: self.unanchored.anchored(),
        };
        if self.due_in_vain == Some(at) {
            return false;
        }
        cloister_stf::due(&self.state, self.program, &next).unwrap_or_else(|reason| {
            self.due_in_vain = Some(at);
            self.actions.push(Action::BeginBlockFailed(reason));
            false
        })
    }

    /// Layer one may have gone on since the batch was chosen: what its calls read is not proven any more. Splits those off.
    pub(crate) fn split_off_unread(&mut self, batch: &mut Batch) -> Batch {
        let ready = |(number, opened): &(u64, Opened)| self.is_entry_ready(*number, opened);
        let entries = batch.entries.iter().position(|entry| !ready(entry)).unwrap_or(batch.entries.len());
        let entries = batch.entries.split_off(entries);
        let unread = |(number, opened): &&(u64, Opened)| !self.is_entry_ready(*number, opened);
        for number in entries.iter().filter(unread).map(|(number, _)| *number).collect::<Vec<_>>() {
            self.reads.pass_over(number);
        }
        let Sorted { ready, waiting } = self.sort_out(std::mem::take(&mut batch.calls));
        batch.calls = ready.into();
        Batch { entries, calls: waiting.into(), due: false }
    }

    /// What was chosen and not executed is first in line again.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        self.inbox.put_back(batch.entries);
        for call in batch.calls.into_iter().rev() {
            self.carried.push_front(call);
        }
    }

    /// Whether what would be chosen first is suspected. One that waits for layer one would not be.
    pub(crate) fn next_is_suspect(&self) -> bool {
        let entry = self
            .inbox
            .peek()
            .filter(|(number, opened)| self.takes_from_inbox() && self.is_entry_ready(*number, opened));
        let item = entry.map(|(number, _)| Item::Entry(number)).or_else(|| self.first_ready_call());
        item.is_some_and(|item| self.suspects.company(&item) != Company::Any)
    }

    fn first_ready_call(&self) -> Option<Item> {
        let mut waiting = BTreeSet::new();
        for call in &self.carried {
            if self.is_readable(call) && !waiting.contains(call.sender()) {
                return Some(Item::Call(call.hash()));
            }
            waiting.insert(call.sender());
        }
        None
    }

    fn weight_of(&self, opened: &Opened) -> u64 {
        match opened {
            // One that no slot has room for fails without being tried.
            Opened::Invoke(Some(call)) if call.weight() <= self.budget => call.weight(),
            Opened::Invoke(_) | Opened::Shield { .. } => ENTRY_WEIGHT,
        }
    }
}

/// Most inbox entries that one block consumes.
pub const MAX_INBOX_PER_BLOCK: usize = 64;
/// While more entries of the outbox than this are open, nothing of the inbox is consumed.
const MAX_OUTBOX_FOR_INBOX: u32 = 4 * MAX_OPEN_OUTBOX;
/// Most direct calls in one block. With what they may write, and the longest reasons for which they may fail, it fits a
/// message to the host.
pub const MAX_CALLS_PER_BLOCK: usize = 2_000;
/// Share of a slot that is given to executing calls, in percent.
pub(crate) const EXECUTION_SHARE: u64 = 80;
/// What crediting a shielding takes, or finding that an entry is nothing; picoseconds.
const ENTRY_WEIGHT: u64 = 100_000_000;
