//! What calls read of layer one: their keys are asked for at the head on which the next block rests, apart from what the
//! engine itself must know, so that no call can keep the shard from following layer one.
//!
//! Values count for the head at which they were proven and for no other. A direct call whose keys the host has no proof of
//! is refused; one that came through the inbox cannot be left out, so it fails when the host had none at four heads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloister_chain_primitives::{AccountId, H256, Moment, Nonce};
use cloister_light_client::{ProvenValues, VerifiedHeader};
use cloister_stf::{LayerOneValues, Refused, VerifiedCall};
use cloister_wire::TrustedOperationStatus;

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
    /// Whether one call's keys are asked for at a time, because a question about several was not answered.
    alone: bool,
    missed: BTreeMap<Item, Missed>,
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
    fn knows(&self, head: &H256, call: &VerifiedCall) -> bool {
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

    /// Values of another head are of no use.
    fn move_to(&mut self, head: H256) {
        if self.at != head {
            self.at = head;
            self.forget_values();
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
            self.missed.remove(item);
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
        self.reads.move_to(head);
        let outdated = |asked: &mut Asked| {
            asked.at.hash() != head || self.time_hint.abs_diff(asked.asked_at) >= QUESTION_TIMEOUT_MS
        };
        if let Some(asked) = self.reads.asked.take_if(outdated) {
            self.not_proven(asked);
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
        let entries = self.inbox.opened_ones().take(MAX_INBOX_PER_BLOCK).filter_map(|(number, opened)| match opened {
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
                self.reads.alone = false;
                if asked.at.hash() == self.reads.at {
                    self.reads.learn(asked.keys, &values);
                }
            }
            // A key that a call names must not be what ends the shard, whatever layer one holds there.
            Some(Err(error)) => {
                self.actions.push(Action::Refused(error));
                self.not_proven(asked);
            }
            None => self.not_proven(asked),
        }
        self.ask_for_calls();
        true
    }

    fn not_proven(&mut self, asked: Asked) {
        let head = asked.at.hash();
        // Of an older head nothing was heard in time; the newer one gives the host another chance.
        let is_current = head == self.reads.at;
        match asked.items.as_slice() {
            // One of them may be what is in the way of all.
            [_, _, ..] if is_current => self.reads.alone = true,
            items => {
                for item in items {
                    self.reads.miss(*item, head);
                    if let Item::Call(operation) = item
                        && (is_current || self.reads.is_given_up(item))
                    {
                        self.refuse_carried(operation, &Refused::LayerOneUnread);
                    }
                }
            }
        }
    }

    /// A call that the pool has handed out will not be executed. Its sender's later ones wait for another with its nonce.
    pub(crate) fn refuse_carried(&mut self, operation: &H256, refusal: &Refused) {
        let Some(refused) = self.carried.iter().position(|call| call.hash() == *operation) else { return };
        let (mut kept, mut later) = (VecDeque::new(), Vec::new());
        let mut given_back: Option<(AccountId, Nonce)> = None;
        for (at, call) in std::mem::take(&mut self.carried).into_iter().enumerate() {
            if at == refused {
                given_back = Some((call.sender().clone(), call.nonce()));
            } else if given_back.as_ref().is_some_and(|(sender, _)| sender == call.sender()) {
                later.push(call);
            } else {
                kept.push_back(call);
            }
        }
        self.carried = kept;
        self.reads.settle(&[Item::Call(*operation)]);
        let (status, error) = (TrustedOperationStatus::Invalid, Some(refusal.to_string()));
        self.actions.push(Action::Status { operation: *operation, status, error });
        for call in &later {
            let (operation, status) = (call.hash(), TrustedOperationStatus::Future);
            self.actions.push(Action::Status { operation, status, error: None });
        }
        if let Some((sender, nonce)) = given_back {
            self.pool.give_back(&sender, nonce, later);
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
/// With more bytes of values than these no more are asked for until a block is made.
const MAX_BYTES_HELD: usize = 4 << 20;
/// While so many calls wait for a block, none that reads of layer one is taken.
pub(crate) const MAX_WAITING: usize = 10_000;
