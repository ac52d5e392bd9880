//! Pending calls of a shard: bounded in number and in bytes, in each sender's order of nonces, fair between senders.
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

mod room;

use std::collections::{BTreeMap, BTreeSet};

use cloister_chain_primitives::{AccountId, H256, Nonce};
use cloister_stf::VerifiedCall;

use crate::room::{Sender, bytes_of};

/// Pending calls.
#[derive(Default)]
pub struct Pool {
    senders: BTreeMap<AccountId, Sender>,
    /// Senders whose next call is here, by their turn.
    ready: BTreeMap<u64, AccountId>,
    /// Senders by how many bytes of their calls wait for an earlier one: who gives way when the pool is full.
    waiting: BTreeSet<(usize, AccountId)>,
    /// All these bytes.
    waiting_bytes: usize,
    known: BTreeSet<H256>,
    /// Bytes of pending calls.
    bytes: usize,
    /// Bytes of the calls that were taken, until [`Pool::settled`] says that they are in line no more.
    taken_bytes: usize,
    /// Calls with a last block, by it.
    expiring: BTreeSet<(u64, AccountId, Nonce)>,
    turns: u64,
    /// The last nonce that was taken of each sender since the blocks before were settled.
    in_flight: BTreeMap<AccountId, Nonce>,
}

/// What admitting a call did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Where the call stands.
    pub admitted: Admitted,
    /// The operations that gave way to it in a full pool.
    pub displaced: Vec<H256>,
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
    /// The sender's pending calls would take more than [`MAX_BYTES_PER_SENDER`], and the call is not the next of them.
    #[error("the sender's pending calls would take more than {MAX_BYTES_PER_SENDER} bytes")]
    TooManyBytesOfSender,
    /// [`MAX_CALLS`] are pending, and none of them gives way to this one.
    #[error("the pool is full")]
    Full,
    /// Calls take [`MAX_BYTES`], and not enough of them give way to this one.
    #[error("the pool is full: its calls would take more than {MAX_BYTES} bytes")]
    TooManyBytes,
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
    /// In a full pool, the last calls of the sender of whom most bytes wait give way to a call whose turn it is, and to
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
        let (expected, own) = match self.senders.get(&account) {
            Some(sender) if sender.calls.contains_key(&nonce) => return Err(Refused::NonceTaken(nonce)),
            Some(sender) => (sender.next, sender.bytes()),
            None => (next, 0),
        };
        let (is_next, bytes) = (nonce == expected, bytes_of(&call));
        // The next one brings up those that wait for it.
        if !is_next && own.saturating_add(bytes) > MAX_BYTES_PER_SENDER {
            return Err(Refused::TooManyBytesOfSender);
        }
        let displaced = self.make_room(&account, bytes, is_next)?;

        self.note(&call);
        let sender = self.senders.entry(account.clone()).or_insert_with(|| Sender::new(expected));
        let before = sender.waiting();
        sender.insert(call);
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
    /// A call that may not go now keeps its turn, and others go past it.
    ///
    /// The nonces of what is returned are in flight, and its bytes count, until [`Pool::settled`].
    pub fn take_ready(
        &mut self,
        limit: usize,
        weight: u64,
        mut may_go: impl FnMut(&VerifiedCall) -> bool,
    ) -> Vec<VerifiedCall> {
        let mut taken = Vec::new();
        let mut room = weight;
        let mut from = 0;
        while taken.len() < limit && room > 0 {
            let Some((&turn, account)) = self.ready.range(from..).next() else { break };
            from = turn.saturating_add(1);
            let account = account.clone();
            let Some(sender) = self.senders.get_mut(&account) else { continue };
            let Some(call) = sender.calls.get(&sender.next) else { continue };
            let weight = call.weight();
            if weight > room && !taken.is_empty() {
                break;
            }
            if !may_go(call) {
                continue;
            }
            room = room.saturating_sub(weight);
            self.ready.remove(&turn);
            let before = sender.waiting();
            sender.turn = None;
            let Some(call) = sender.remove(sender.next) else { continue };
            sender.next = sender.next.saturating_add(1);
            let is_ready = sender.calls.contains_key(&sender.next);
            let is_last = sender.calls.is_empty();
            self.forget(&call);
            self.taken_bytes = self.taken_bytes.saturating_add(bytes_of(&call));
            self.in_flight.insert(account.clone(), call.nonce());
            taken.push(call);
            if is_ready {
                // Behind all others: a thousand calls of one sender delay another's by one call, not by a block.
                self.give_turn(&account);
            } else if is_last {
                self.senders.remove(&account);
            }
            self.count_waiting(account, before);
        }
        taken
    }

    /// Of all calls that were taken only these still wait for a block. What became of the others the state tells: their
    /// block was applied, or dropped.
    pub fn settled<'a>(&mut self, in_line: impl IntoIterator<Item = &'a VerifiedCall>) {
        let (mut senders, mut bytes) = (BTreeSet::new(), 0usize);
        for call in in_line {
            senders.insert(call.sender());
            bytes = bytes.saturating_add(bytes_of(call));
        }
        self.in_flight.retain(|sender, _| senders.contains(sender));
        self.taken_bytes = bytes;
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
        let late = sender.split_before(next);
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
        self.forget_all(late)
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
            let turn = sender.turn.take_if(|_| nonce == sender.next);
            let Some(call) = sender.remove(nonce) else { continue };
            if let Some(turn) = turn {
                self.ready.remove(&turn);
            }
            if sender.calls.is_empty() {
                self.senders.remove(&account);
            }
            self.count_waiting(account, before);
            self.forget(&call);
            operations.push(call.hash());
        }
        operations
    }

    /// A call that was taken will not be executed. Its sender's later calls that were taken come back, even into a full
    /// pool, and wait for another one with that nonce; earlier ones stay in flight.
    ///
    /// The sender's next nonce in the newest state is `next`. If that is beyond the call's own, another call has used that
    /// meanwhile, and nobody need wait for it. Returns the operations of those that came too late, as [`Self::overtaken`].
    pub fn give_back(&mut self, gone: &VerifiedCall, later: Vec<VerifiedCall>, next: Nonce) -> Vec<H256> {
        let (account, nonce) = (gone.sender(), gone.nonce());
        match nonce.checked_sub(1) {
            Some(before) => self.in_flight.insert(account.clone(), before),
            None => self.in_flight.remove(account),
        };
        let before = self.senders.get(account).map_or(0, Sender::waiting);
        for call in later.iter().chain([gone]) {
            self.taken_bytes = self.taken_bytes.saturating_sub(bytes_of(call));
        }
        for call in &later {
            self.note(call);
        }
        let sender = self.senders.entry(account.clone()).or_insert_with(|| Sender::new(nonce));
        sender.next = nonce;
        if let Some(turn) = sender.turn.take() {
            self.ready.remove(&turn);
        }
        later.into_iter().for_each(|call| sender.insert(call));
        if sender.calls.is_empty() {
            self.senders.remove(account);
        }
        self.count_waiting(account.clone(), before);
        self.overtaken(account, next)
    }

    /// Removes all calls of a sender whose earlier call was refused: their nonces can never come up. Returns the
    /// operations.
    pub fn drop_sender(&mut self, account: &AccountId) -> Vec<H256> {
        let Some(sender) = self.senders.remove(account) else { return Vec::new() };
        self.count_waiting(account.clone(), sender.waiting());
        if let Some(turn) = sender.turn {
            self.ready.remove(&turn);
        }
        self.forget_all(sender.calls.into_values())
    }

    fn note(&mut self, call: &VerifiedCall) {
        self.known.insert(call.hash());
        self.bytes = self.bytes.saturating_add(bytes_of(call));
        if let Some(last_block) = call.last_block() {
            self.expiring.insert((last_block, call.sender().clone(), call.nonce()));
        }
    }

    fn forget(&mut self, call: &VerifiedCall) {
        self.known.remove(&call.hash());
        self.bytes = self.bytes.saturating_sub(bytes_of(call));
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
        self.waiting_bytes = self.waiting_bytes.saturating_sub(before).saturating_add(now);
        let entry = (before, account);
        self.waiting.remove(&entry);
        if now > 0 {
            self.waiting.insert((now, entry.1));
        }
    }
}

/// Most calls that may be pending. Those that come back find room beyond that: there are no more than were taken.
pub const MAX_CALLS: usize = 20_000;
/// Most bytes of calls that are pending, or were taken and wait for a block: 64 MiB. As many payments as may be pending take
/// a sixth of it; the longest calls of business logic, 16 KiB each, fill it by some four thousand.
pub const MAX_BYTES: usize = 64 << 20;
/// Most bytes of one sender's pending calls: 4 MiB.
pub const MAX_BYTES_PER_SENDER: usize = 4 << 20;
/// How far ahead of the next nonce a call may be, and so how many of one sender may be pending.
pub const MAX_PER_SENDER: Nonce = 1_024;
/// Most pending operations that are named at once. Whoever asks costs the engine no more than these.
pub const MAX_TOLD: usize = 1_000;

#[cfg(test)]
mod tests;
