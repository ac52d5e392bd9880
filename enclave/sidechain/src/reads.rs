//! What calls read of layer one: their keys are asked for at the head on which the next block rests, apart from what the
//! engine itself must know, so that no call can keep the shard from following layer one.
//!
//! Values count for the head at which they were proven and for no other. A direct call whose keys the host has no proof of
//! is refused. One that came through the inbox cannot be left out, so it fails when it missed four heads. It misses one if
//! the host says that it has no proof, or if blocks were made without it: at one of them it was not proven, and it was not
//! left for want of room or for one before it at a later one. How the host withholds a proof, by silence or by bringing it
//! too late, makes no difference; and because that counts for all that wait at once, they wait no longer than one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloister_chain_primitives::{H256, Moment};
use cloister_light_client::{ProvenValues, VerifiedHeader};
use cloister_stf::{LayerOneValues, Refused, VerifiedCall};

use crate::{
    action::Action,
    choosing::MAX_INBOX_PER_BLOCK,
    engine::{Engine, QUESTION_TIMEOUT_MS},
    inbox::Opened,
    poison::Item,
};

/// What is known of the keys that calls name.
#[derive(Default)]
pub(crate) struct Reads {
    /// The head at which they were proven.
    at: H256,
    values: LayerOneValues,
    /// Bytes of these.
    bytes: usize,
    asked: Option<Asked>,
    /// Whether one call's keys are asked for at a time, until that is found for which a question about several was not
    /// answered.
    alone: bool,
    missed: BTreeMap<Item, Missed>,
    /// Entries of the inbox that miss this head, unless they are executed at it.
    passed_over: BTreeSet<u64>,
}

/// A question that is not answered yet.
struct Asked {
    id: u64,
    at: VerifiedHeader,
    keys: Vec<Vec<u8>>,
    items: Vec<Item>,
    asked_at: Moment,
}

/// A call whose keys were not proven.
struct Missed {
    /// At so many heads.
    heads: u32,
    /// The last of them.
    last: H256,
}

impl Reads {
    /// Whether a call can be executed on this head.
    pub fn knows(&self, head: &H256, call: &VerifiedCall) -> bool {
        let keys = call.layer_one_reads();
        keys.is_empty() || (self.at == *head && keys.iter().all(|key| self.values.contains_key(key)))
    }

    /// Values for a block on this head.
    pub fn values(&self, head: &H256) -> LayerOneValues {
        if self.at == *head { self.values.clone() } else { LayerOneValues::new() }
    }

    /// Whether the host had so many chances that the call is not asked for again.
    fn is_given_up(&self, item: &Item) -> bool {
        self.missed.get(item).is_some_and(|missed| missed.heads >= MAX_HEADS)
    }

    fn miss(&mut self, item: Item, head: H256) {
        let missed = self.missed.entry(item).or_insert(Missed { heads: 0, last: H256::zero() });
        if missed.last != head {
            *missed = Missed { heads: missed.heads.saturating_add(1), last: head };
        }
    }

    /// Values of another head are of no use. Returns what was asked in vain.
    fn move_to(&mut self, head: H256) -> Option<Asked> {
        let left = std::mem::replace(&mut self.at, head);
        for number in std::mem::take(&mut self.passed_over) {
            self.miss(Item::Entry(number), left);
        }
        self.alone = false;
        self.forget_values();
        self.asked.take()
    }

    /// A block goes past an entry of the inbox that is not proven.
    pub fn pass_over(&mut self, entry: u64) {
        self.passed_over.insert(entry);
    }

    /// Nothing more need be known of a call or an entry.
    pub fn forget(&mut self, item: &Item) {
        self.missed.remove(item);
        if let Item::Entry(number) = item {
            self.passed_over.remove(number);
        }
    }

    fn forget_values(&mut self) {
        self.values.clear();
        self.bytes = 0;
    }

    fn learn(&mut self, keys: Vec<Vec<u8>>, values: &ProvenValues) {
        for key in keys {
            let Ok(value) = values.get(&key) else { continue };
            let more = key.len().saturating_add(value.map_or(0, <[u8]>::len));
            self.bytes = self.bytes.saturating_add(more);
            self.values.insert(key, value.map(<[u8]>::to_vec));
        }
    }

    /// A block with these items is made.
    pub fn settle(&mut self, items: &[Item]) {
        for item in items {
            self.forget(item);
        }
        if self.bytes > MAX_BYTES_HELD {
            self.forget_values();
        }
    }
}

impl Engine {
    /// Whether what the call reads of layer one is proven at the head that the view shows.
    pub(crate) fn is_readable(&self, call: &VerifiedCall) -> bool {
        self.view.as_ref().is_some_and(|view| self.reads.knows(&view.hash, call))
    }

    /// Whether an entry of the inbox waits for nothing of layer one. One that fails without being tried does not.
    pub(crate) fn is_entry_ready(&self, number: u64, opened: &Opened) -> bool {
        let item = Item::Entry(number);
        match opened {
            Opened::Invoke(Some(call)) => {
                call.weight() > self.budget
                    || self.suspects.is_set_aside(&item)
                    || self.reads.is_given_up(&item)
                    || self.is_readable(call)
            }
            Opened::Invoke(None) | Opened::Shield { .. } => true,
        }
    }

    /// A block is begun. What of the inbox it could take and is not proven was asked for, unless too many bytes are held.
    pub(crate) fn pass_over_unread(&mut self) {
        if self.reads.bytes > MAX_BYTES_HELD {
            return;
        }
        let next = self.inbox.opened_ones().take(MAX_INBOX_PER_BLOCK);
        let unread = next.filter(|(number, opened)| !self.is_entry_ready(*number, opened));
        for number in unread.map(|(number, _)| number).collect::<Vec<_>>() {
            self.reads.pass_over(number);
        }
    }

    /// What the block leaves although it is proven waits for others: the host is not to blame.
    pub(crate) fn excuse_read(&mut self) {
        let left = self.inbox.opened_ones().take(MAX_INBOX_PER_BLOCK);
        let read = left.filter(|(number, opened)| self.is_entry_ready(*number, opened));
        for number in read.map(|(number, _)| number).collect::<Vec<_>>() {
            self.reads.passed_over.remove(&number);
        }
    }

    /// Splits calls into those that can be executed now and those that wait for layer one's state; with each of these
    /// wait its sender's later ones. The order stays.
    pub(crate) fn sort_out(&self, calls: impl IntoIterator<Item = VerifiedCall>) -> Sorted {
        let mut sorted = Sorted::default();
        let mut senders = BTreeSet::new();
        for call in calls {
            if self.is_readable(&call) && !senders.contains(call.sender()) {
                sorted.ready.push_back(call);
            } else {
                senders.insert(call.sender().clone());
                sorted.waiting.push_back(call);
            }
        }
        sorted
    }

    /// Asks for the keys of waiting calls, as of the head that the view shows; one question at a time.
    pub(crate) fn ask_for_calls(&mut self) {
        let Some(view) = &self.view else { return };
        if self.stopped || !self.serving {
            return;
        }
        let (at, head) = (view.header.clone(), view.hash);
        if self.reads.at != head
            && let Some(asked) = self.reads.move_to(head)
        {
            self.asked_in_vain(&asked);
        }
        let overdue = |asked: &mut Asked| self.time_hint.abs_diff(asked.asked_at) >= QUESTION_TIMEOUT_MS;
        if let Some(asked) = self.reads.asked.take_if(overdue) {
            self.not_proven(&asked);
        }
        if self.reads.asked.is_some() || self.reads.bytes > MAX_BYTES_HELD {
            return;
        }
        let most = if self.reads.alone { 1 } else { usize::MAX };
        let (mut keys, mut items) = (BTreeSet::new(), Vec::new());
        for (item, call) in self.waiting_for_layer_one(&head) {
            let more: Vec<_> = call.layer_one_reads().iter().filter(|key| !keys.contains(*key)).cloned().collect();
            if items.len() >= most || keys.len().saturating_add(more.len()) > MAX_KEYS_PER_PROOF {
                break;
            }
            keys.extend(more);
            items.push(item);
        }
        if items.is_empty() {
            return;
        }
        self.questions_asked = self.questions_asked.saturating_add(1);
        let (id, keys) = (self.questions_asked, Vec::from_iter(keys));
        self.actions.push(Action::AskProof { question: id, at: head, keys: keys.clone() });
        self.reads.asked = Some(Asked { id, at, keys, items, asked_at: self.time_hint });
    }

    /// Calls whose keys are to be asked for at this head, in the order of their turns.
    fn waiting_for_layer_one(&self, head: &H256) -> impl Iterator<Item = (Item, &VerifiedCall)> {
        let entries = self.inbox.opened_ones().take(MAX_INBOX_PER_BLOCK);
        let entries = entries.filter(|(number, opened)| !self.is_entry_ready(*number, opened));
        let entries = entries.filter_map(|(number, opened)| match opened {
            Opened::Invoke(Some(call)) => Some((Item::Entry(number), call)),
            Opened::Invoke(None) | Opened::Shield { .. } => None,
        });
        let calls = self.carried.iter().map(|call| (Item::Call(call.hash()), call));
        entries.chain(calls).filter(|(item, call)| {
            let missed = self.reads.missed.get(item);
            let again = missed.is_none_or(|missed| missed.last != *head && missed.heads < MAX_HEADS);
            again && !self.reads.knows(head, call)
        })
    }

    /// The answer to a question about calls, if the number is that of one; false if it is not.
    pub(crate) fn proof_for_calls(&mut self, question: u64, proof: &mut Option<Vec<Vec<u8>>>) -> bool {
        let Some(asked) = self.reads.asked.take_if(|asked| asked.id == question) else { return false };
        match proof.take().map(|proof| asked.at.read(proof, &asked.keys)) {
            Some(Ok(values)) => {
                if asked.at.hash() == self.reads.at {
                    self.reads.learn(asked.keys, &values);
                }
            }
            // A key that a call names must not be what ends the shard, whatever layer one holds there.
            Some(Err(error)) => {
                self.actions.push(Action::Refused(error));
                self.not_proven(&asked);
            }
            None => self.not_proven(&asked),
        }
        self.ask_for_calls();
        true
    }

    /// The host has no proof, at the head that the view shows.
    fn not_proven(&mut self, asked: &Asked) {
        let [item] = asked.items.as_slice() else {
            // One of them may be what is in the way of all.
            self.reads.alone = true;
            return;
        };
        self.reads.alone = false;
        match item {
            Item::Entry(number) if *number >= self.consumed => self.reads.miss(*item, asked.at.hash()),
            Item::Entry(_) => {}
            Item::Call(operation) => self.refuse_carried(operation, &Refused::LayerOneUnread),
        }
    }

    /// The view went on before the host answered. The new head gives it another chance.
    fn asked_in_vain(&mut self, asked: &Asked) {
        // What is in a batch by now is asked for again if it comes back; entries are counted when blocks go past them.
        let in_line: BTreeSet<H256> = self.carried.iter().map(VerifiedCall::hash).collect();
        for item in &asked.items {
            if matches!(item, Item::Call(operation) if in_line.contains(operation)) {
                self.reads.miss(*item, asked.at.hash());
            }
        }
        for item in &asked.items {
            if let Item::Call(operation) = item
                && self.reads.is_given_up(item)
            {
                self.refuse_carried(operation, &Refused::LayerOneUnread);
            }
        }
    }
}

/// Calls by whether they can be executed now.
#[derive(Default)]
pub(crate) struct Sorted {
    pub ready: VecDeque<VerifiedCall>,
    pub waiting: VecDeque<VerifiedCall>,
}

/// Most keys in one question.
const MAX_KEYS_PER_PROOF: usize = 64;
/// At so many heads the host may leave a call's keys unproven.
const MAX_HEADS: u32 = 4;
/// With more bytes of values than these no more are asked for until a block is made. A proof more than that is never held.
const MAX_BYTES_HELD: usize = 4 << 20;
/// While so many calls wait for a block, none that reads of layer one is taken.
pub(crate) const MAX_WAITING: usize = 10_000;
