//! Pending calls of a shard: bounded, in each sender's order of nonces, fair between senders.
//!
//! It takes only calls whose signature was verified ([`VerifiedCall`]) and knows nothing of state: the sender's next
//! nonce is an argument. It never touches I/O, clocks or keys.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use cloister_chain_primitives::{AccountId, H256, Nonce};
use cloister_stf::VerifiedCall;

/// Pending calls.
#[derive(Default)]
pub struct Pool {
    senders: BTreeMap<AccountId, Sender>,
    /// Senders whose next call is here, by their turn.
    ready: BTreeMap<u64, AccountId>,
    /// Senders by how many of their calls wait for an earlier one: who gives way when the pool is full.
    waiting: BTreeSet<(usize, AccountId)>,
    known: BTreeSet<H256>,
    /// Calls with a last block, by it.
    expiring: BTreeSet<(u64, AccountId, Nonce)>,
    turns: u64,
    /// The last nonce that was taken of each sender since the blocks before were settled.
    in_flight: BTreeMap<AccountId, Nonce>,
}

/// What admitting a call did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Where the call stands.
    pub admitted: Admitted,
    /// The operation that gave way to it in a full pool.
    pub displaced: Option<H256>,
}

/// Where an admitted call stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// It can go into the next block.
    Ready,
    /// It waits for calls with lower nonces.
    Future,
}

/// Why a call was not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The very same operation is pending.
    #[error("the same operation is already pending")]
    AlreadyPending,
    /// The nonce was used.
    #[error("nonce {nonce} is used, the next one is {next}")]
    NonceUsed {
        /// Of the call.
        nonce: Nonce,
        /// That the sender's next call must have.
        next: Nonce,
    },
    /// Another call of the sender with that nonce is pending.
    #[error("another call with nonce {0} is pending")]
    NonceTaken(Nonce),
    /// The nonce is further ahead than [`MAX_PER_SENDER`].
    #[error("nonce {nonce} is too far ahead of {next}")]
    NonceTooFar {
        /// Of the call.
        nonce: Nonce,
        /// That the sender's next call must have.
        next: Nonce,
    },
    /// [`MAX_CALLS`] are pending, and none of them gives way to this one.
    #[error("the pool is full")]
    Full,
}

struct Sender {
    /// Next nonce to hand out; calls below were handed out or executed.
    next: Nonce,
    /// Place in the queue of the call with that nonce, if it is here.
    turn: Option<u64>,
    calls: BTreeMap<Nonce, VerifiedCall>,
}

impl Sender {
    /// How many calls wait for an earlier one.
    fn waiting(&self) -> usize {
        self.calls.len().saturating_sub(usize::from(self.turn.is_some()))
    }
}

impl Pool {
    /// How many calls are pending.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a call can go into the next block.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hashes of the pending operations, [`MAX_TOLD`] at most.
    pub fn pending(&self) -> Vec<H256> {
        self.known.iter().take(MAX_TOLD).copied().collect()
    }

    /// Takes a call of a sender whose next nonce in the newest state is `next`. Nonces in flight count as used.
    ///
    /// In a full pool, the last call of the sender of whom most calls wait gives way to a call whose turn it is, and to
    /// one of a sender of whom fewer wait. So nobody can fill the pool for others with calls that never come up.
    pub fn admit(&mut self, call: VerifiedCall, next: Nonce) -> Result<Admission, Refused> {
        let nonce = call.nonce();
        let taken = self.in_flight.get(call.sender()).copied();
        let next = taken.map_or(next, |taken| next.max(taken.saturating_add(1)));
        if self.known.contains(&call.hash()) {
            return Err(Refused::AlreadyPending);
        }
        // After the last nonce of all there is no next one.
        if nonce < next || taken.is_some_and(|taken| nonce <= taken) {
            return Err(Refused::NonceUsed { nonce, next });
        }
        if nonce.saturating_sub(next) >= MAX_PER_SENDER {
            return Err(Refused::NonceTooFar { nonce, next });
        }
        let account = call.sender().clone();
        let (expected, waiting) = match self.senders.get(&account) {
            Some(sender) if sender.calls.contains_key(&nonce) => return Err(Refused::NonceTaken(nonce)),
            Some(sender) => (sender.next, sender.waiting()),
            None => (next, 0),
        };
        let is_next = nonce == expected;
        let displaced = match self.known.len() >= MAX_CALLS {
            true => Some(self.make_room(is_next, waiting).ok_or(Refused::Full)?),
            false => None,
        };

        self.note(&call);
        let sender =
            self.senders.entry(account.clone()).or_insert_with(|| Sender { next, turn: None, calls: BTreeMap::new() });
        let before = sender.waiting();
        sender.calls.insert(nonce, call);
        if is_next {
            self.give_turn(&account);
        }
        self.count_waiting(account, before);
        Ok(Admission { admitted: if is_next { Admitted::Ready } else { Admitted::Future }, displaced })
    }

    /// Removes and returns up to `limit` calls, which together weigh no more than `weight` picoseconds. Senders take
    /// turns in the order of arrival, and a sender's calls stay in the order of nonces.
    ///
    /// The first call for which there is no room ends the batch and is the first of the next one: if lighter calls
    /// went past it, it could wait for ever. Unless `weight` is zero, the first call is always taken: for being too
    /// heavy a call is refused at admission, not here.
    ///
    /// The nonces of what is returned are in flight until [`Pool::settled`].
    pub fn take_ready(&mut self, limit: usize, weight: u64) -> Vec<VerifiedCall> {
        let mut taken = Vec::new();
        let mut room = weight;
        while taken.len() < limit && room > 0 {
            let Some(entry) = self.ready.first_entry() else { break };
            let Some(sender) = self.senders.get_mut(entry.get()) else {
                entry.remove();
                continue;
            };
            let weight = sender.calls.get(&sender.next).map_or(0, VerifiedCall::weight);
            if weight > room && !taken.is_empty() {
                break;
            }
            room = room.saturating_sub(weight);
            let account = entry.remove();
            let before = sender.waiting();
            sender.turn = None;
            let Some(call) = sender.calls.remove(&sender.next) else { continue };
            self.known.remove(&call.hash());
            if let Some(last_block) = call.last_block() {
                self.expiring.remove(&(last_block, account.clone(), call.nonce()));
            }
            self.in_flight.insert(account.clone(), call.nonce());
            taken.push(call);
            sender.next = sender.next.saturating_add(1);
            if sender.calls.contains_key(&sender.next) {
                // Behind all others: a thousand calls of one sender delay another's by one call, not by a block.
                self.give_turn(&account);
            } else if sender.calls.is_empty() {
                self.senders.remove(&account);
            }
            self.count_waiting(account, before);
        }
        taken
    }

    /// The state tells the next nonces of all calls that were taken: their block was applied, or dropped.
    pub fn settled(&mut self) {
        self.settled_except(|_| false);
    }

    /// As [`Self::settled`], but for senders of whom calls that were taken still wait for a block.
    pub fn settled_except(&mut self, waits: impl Fn(&AccountId) -> bool) {
        self.in_flight.retain(|sender, _| waits(sender));
    }

    /// The next nonce of a sender in the newest state is `next`, because calls that were never here have used nonces.
    /// Removes the calls that came too late and returns their operations; the sender's later calls stay, and the one
    /// with that nonce is ready.
    pub fn overtaken(&mut self, account: &AccountId, next: Nonce) -> Vec<H256> {
        let Some(sender) = self.senders.get_mut(account) else { return Vec::new() };
        if next <= sender.next {
            return Vec::new();
        }
        let before = sender.waiting();
        let later = sender.calls.split_off(&next);
        let late = mem::replace(&mut sender.calls, later);
        sender.next = next;
        let is_ready = sender.calls.contains_key(&next);
        if is_ready && sender.turn.is_none() {
            self.give_turn(account);
        } else if let Some(turn) = sender.turn.take_if(|_| !is_ready) {
            self.ready.remove(&turn);
        }
        if self.senders.get(account).is_some_and(|sender| sender.calls.is_empty()) {
            self.senders.remove(account);
        }
        self.count_waiting(account.clone(), before);
        self.forget_all(late.into_values())
    }

    /// The next block is number `block`. Removes the calls whose last block was an earlier one and returns their
    /// operations. Their senders' later calls stay and wait for others with these nonces.
    pub fn expire(&mut self, block: u64) -> Vec<H256> {
        let mut operations = Vec::new();
        while self.expiring.first().is_some_and(|(last, ..)| *last < block)
            && let Some((_, account, nonce)) = self.expiring.pop_first()
        {
            let Some(sender) = self.senders.get_mut(&account) else { continue };
            let before = sender.waiting();
            let Some(call) = sender.calls.remove(&nonce) else { continue };
            if let Some(turn) = sender.turn.take_if(|_| nonce == sender.next) {
                self.ready.remove(&turn);
            }
            if sender.calls.is_empty() {
                self.senders.remove(&account);
            }
            self.count_waiting(account, before);
            self.known.remove(&call.hash());
            operations.push(call.hash());
        }
        operations
    }

    /// A call of `account` with this nonce was taken and will not be executed. The sender's later calls that were taken
    /// come back, even into a full pool, and wait for another one with that nonce; earlier ones stay in flight.
    pub fn give_back(&mut self, account: &AccountId, nonce: Nonce, later: Vec<VerifiedCall>) {
        match nonce.checked_sub(1) {
            Some(before) => self.in_flight.insert(account.clone(), before),
            None => self.in_flight.remove(account),
        };
        let before = self.senders.get(account).map_or(0, Sender::waiting);
        for call in &later {
            self.note(call);
        }
        let entry = self.senders.entry(account.clone());
        let sender = entry.or_insert_with(|| Sender { next: nonce, turn: None, calls: BTreeMap::new() });
        sender.next = nonce;
        if let Some(turn) = sender.turn.take() {
            self.ready.remove(&turn);
        }
        sender.calls.extend(later.into_iter().map(|call| (call.nonce(), call)));
        if sender.calls.is_empty() {
            self.senders.remove(account);
        }
        self.count_waiting(account.clone(), before);
    }

    /// Removes all calls of a sender whose earlier call was refused: their nonces can never come up. Returns the
    /// operations.
    pub fn drop_sender(&mut self, account: &AccountId) -> Vec<H256> {
        let Some(sender) = self.senders.remove(account) else { return Vec::new() };
        self.waiting.remove(&(sender.waiting(), account.clone()));
        if let Some(turn) = sender.turn {
            self.ready.remove(&turn);
        }
        self.forget_all(sender.calls.into_values())
    }

    /// Drops a call in favour of a newcomer whose turn it is or of whose sender this many calls wait.
    fn make_room(&mut self, is_next: bool, waiting: usize) -> Option<H256> {
        let (most, account) = self.waiting.last()?.clone();
        if !is_next && waiting.saturating_add(1) >= most {
            return None;
        }
        let sender = self.senders.get_mut(&account)?;
        // The one whose turn it is, if it is here, has the lowest nonce.
        let (_, call) = sender.calls.pop_last()?;
        if sender.calls.is_empty() {
            self.senders.remove(&account);
        }
        self.forget(&call);
        self.count_waiting(account, most);
        Some(call.hash())
    }

    fn note(&mut self, call: &VerifiedCall) {
        self.known.insert(call.hash());
        if let Some(last_block) = call.last_block() {
            self.expiring.insert((last_block, call.sender().clone(), call.nonce()));
        }
    }

    fn forget(&mut self, call: &VerifiedCall) {
        self.known.remove(&call.hash());
        if let Some(last_block) = call.last_block() {
            self.expiring.remove(&(last_block, call.sender().clone(), call.nonce()));
        }
    }

    fn forget_all(&mut self, calls: impl Iterator<Item = VerifiedCall>) -> Vec<H256> {
        let forget = |call: VerifiedCall| {
            self.forget(&call);
            call.hash()
        };
        calls.map(forget).collect()
    }

    /// Puts a sender whose next call is here behind all others.
    fn give_turn(&mut self, account: &AccountId) {
        let Some(sender) = self.senders.get_mut(account) else { return };
        sender.turn = Some(self.turns);
        self.ready.insert(self.turns, account.clone());
        self.turns = self.turns.saturating_add(1);
    }

    fn count_waiting(&mut self, account: AccountId, before: usize) {
        let now = self.senders.get(&account).map_or(0, Sender::waiting);
        if now == before {
            return;
        }
        let entry = (before, account);
        self.waiting.remove(&entry);
        if now > 0 {
            self.waiting.insert((now, entry.1));
        }
    }
}

/// Most calls that may be pending. A call takes about half a kilobyte.
pub const MAX_CALLS: usize = 20_000;
/// How far ahead of the next nonce a call may be, and so how many of one sender may be pending.
pub const MAX_PER_SENDER: Nonce = 1_024;
/// Most pending operations that are named at once. Whoever asks costs the engine no more than these.
pub const MAX_TOLD: usize = 1_000;

#[cfg(test)]
mod tests;
