//! Room in the pool: what calls take of it, and who gives way.

use std::{collections::BTreeMap, mem};

use cloister_chain_primitives::{AccountId, H256, Nonce};
use cloister_stf::VerifiedCall;

use crate::{MAX_BYTES, MAX_CALLS, Pool, Refused};

/// One sender's pending calls.
pub(crate) struct Sender {
    /// Next nonce to hand out; calls below were handed out or executed.
    pub next: Nonce,
    /// Place in the queue of the call with that nonce, if it is here.
    pub turn: Option<u64>,
    /// Changed by this module alone, which counts their bytes.
    pub calls: BTreeMap<Nonce, VerifiedCall>,
    bytes: usize,
}

impl Sender {
    pub fn new(next: Nonce) -> Self {
        Self { next, turn: None, calls: BTreeMap::new(), bytes: 0 }
    }

    /// Of all calls.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the calls that wait for an earlier one.
    pub fn waiting(&self) -> usize {
        let next = self.turn.and_then(|_| self.calls.get(&self.next)).map_or(0, bytes_of);
        self.bytes.saturating_sub(next)
    }

    pub fn insert(&mut self, call: VerifiedCall) {
        self.bytes = self.bytes.saturating_add(bytes_of(&call));
        self.calls.insert(call.nonce(), call);
    }

    pub fn remove(&mut self, nonce: Nonce) -> Option<VerifiedCall> {
        let call = self.calls.remove(&nonce)?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&call));
        Some(call)
    }

    /// Removes the calls below a nonce.
    pub fn split_before(&mut self, next: Nonce) -> impl Iterator<Item = VerifiedCall> + use<> {
        let later = self.calls.split_off(&next);
        self.bytes = later.values().fold(0, |sum, call| sum.saturating_add(bytes_of(call)));
        mem::replace(&mut self.calls, later).into_values()
    }
}

impl Pool {
    /// Makes room for a call of `account` with so many bytes; which operations gave way to it. A refusal changes nothing.
    pub(crate) fn make_room(&mut self, account: &AccountId, bytes: usize, is_next: bool) -> Result<Vec<H256>, Refused> {
        let is_full = self.known.len() >= MAX_CALLS;
        let excess = self.bytes.saturating_add(self.taken_bytes).saturating_add(bytes).saturating_sub(MAX_BYTES);
        if !is_full && excess == 0 {
            return Ok(Vec::new());
        }
        let refused = if is_full { Refused::Full } else { Refused::TooManyBytes };
        // A call whose turn it is goes before all that wait; one that waits, too, gets what one sender has more than it.
        let victim = if is_next { None } else { Some(self.who_has_more(account, bytes, excess).ok_or(refused)?) };
        if excess > self.waiting_bytes {
            return Err(refused);
        }
        let (mut displaced, mut freed) = (Vec::new(), 0usize);
        while displaced.is_empty() || freed < excess {
            let victim = victim.clone().or_else(|| self.waiting.last().map(|(_, account)| account.clone()));
            let call = victim.and_then(|victim| self.pop_last(victim)).ok_or(refused)?;
            freed = freed.saturating_add(bytes_of(&call));
            displaced.push(call.hash());
        }
        Ok(displaced)
    }

    /// The sender of whom most waits, if no less waits of it than of `account` once that has `bytes` more and it has given
    /// way by `excess`: otherwise two could push out each other for ever.
    fn who_has_more(&self, account: &AccountId, bytes: usize, excess: usize) -> Option<AccountId> {
        let own = self.senders.get(account).map_or(0, Sender::waiting).saturating_add(bytes);
        let (most, victim) = self.waiting.last()?;
        let mut given = 0usize;
        for call in self.senders.get(victim)?.calls.values().rev() {
            given = given.saturating_add(bytes_of(call));
            if given >= excess {
                break;
            }
        }
        (given >= excess && own <= most.saturating_sub(given)).then(|| victim.clone())
    }

    /// Drops a sender's last call, which waits for an earlier one: whose turn it is has the lowest nonce.
    fn pop_last(&mut self, account: AccountId) -> Option<VerifiedCall> {
        let sender = self.senders.get_mut(&account)?;
        let before = sender.waiting();
        let last = *sender.calls.last_key_value()?.0;
        let call = sender.remove(last)?;
        if sender.calls.is_empty() {
            self.senders.remove(&account);
        }
        self.forget(&call);
        self.count_waiting(account, before);
        Some(call)
    }
}

/// What a call takes of the enclave's memory, roughly.
pub(crate) fn bytes_of(call: &VerifiedCall) -> usize {
    CALL_BYTES.saturating_add(call.heap_bytes())
}

/// What a call takes that holds nothing but fields of fixed size, with its places in the indices.
pub(crate) const CALL_BYTES: usize = 512;
