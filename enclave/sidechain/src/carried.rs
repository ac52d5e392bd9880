//! Calls that the pool has handed out and that are in no block yet: what becomes of those that cannot be executed, and what
//! their senders are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloister_chain_primitives::{AccountId, H256, Nonce};
use cloister_stf::{Refused, VerifiedCall};
use cloister_wire::TrustedOperationStatus;

use crate::{action::Action, engine::Engine, poison::Item};

impl Engine {
    /// Calls whose last block has passed leave the queues. What their senders have in line after them waits for others
    /// with their nonces.
    pub(crate) fn expire(&mut self) {
        let block = self.height().saturating_add(1);
        let mut expired: BTreeMap<AccountId, (VerifiedCall, Vec<VerifiedCall>)> = BTreeMap::new();
        for call in std::mem::take(&mut self.carried) {
            if let Some((_, later)) = expired.get_mut(call.sender()) {
                later.push(call);
            } else if call.last_block().is_some_and(|last_block| last_block < block) {
                expired.insert(call.sender().clone(), (call, Vec::new()));
            } else {
                self.carried.push_back(call);
            }
        }
        for (call, later) in expired.into_values() {
            self.tell_expired(call.hash());
            self.give_back(&call, later);
        }
        for operation in self.pool.expire(block) {
            self.tell_expired(operation);
        }
    }

    /// A call that the pool has handed out will not be executed. Its sender's later ones wait for another with its nonce.
    pub(crate) fn refuse_carried(&mut self, operation: &H256, refusal: &Refused) {
        let Some(at) = self.carried.iter().position(|call| call.hash() == *operation) else { return };
        let after = self.carried.split_off(at);
        let (mut refused, mut later) = (None, Vec::new());
        for call in after {
            match &refused {
                None => refused = Some(call),
                Some(refused) if refused.sender() == call.sender() => later.push(call),
                Some(_) => self.carried.push_back(call),
            }
        }
        let (status, error) = (TrustedOperationStatus::Invalid, Some(refusal.to_string()));
        self.actions.push(Action::Status { operation: *operation, status, error });
        if let Some(refused) = refused {
            self.give_back(&refused, later);
        }
    }

    /// The pool gets back what was in line after a call that is gone.
    fn give_back(&mut self, gone: &VerifiedCall, later: Vec<VerifiedCall>) {
        for call in &later {
            let (operation, status) = (call.hash(), TrustedOperationStatus::Future);
            self.actions.push(Action::Status { operation, status, error: None });
        }
        for call in later.iter().chain([gone]) {
            self.reads.forget(&Item::Call(call.hash()));
        }
        let next = cloister_stf::nonce(&self.state, gone.sender());
        for operation in self.pool.give_back(gone, later, next) {
            self.tell_usurped(operation);
        }
    }

    /// Indirect calls of these senders have used nonces: the calls with the same nonces, wherever they wait, came too late.
    pub(crate) fn overtake<'a>(&mut self, senders: impl Iterator<Item = &'a AccountId>) {
        let next = |sender: &AccountId| (sender.clone(), cloister_stf::nonce(&self.state, sender));
        let nexts: BTreeMap<AccountId, Nonce> = senders.map(next).collect();
        if nexts.is_empty() {
            return;
        }
        self.drop_carried(|call| nexts.get(call.sender()).is_some_and(|next| call.nonce() < *next), Self::tell_usurped);
        for (sender, next) in nexts {
            for operation in self.pool.overtaken(&sender, next) {
                self.tell_usurped(operation);
            }
        }
    }

    /// Calls that are no part of a block, and with each the sender's later ones, whose turn can never come. No block is
    /// under way: what is in line is all that is taken.
    pub(crate) fn tell_refused(&mut self, refused: Vec<(VerifiedCall, Refused)>) {
        let mut senders = BTreeSet::new();
        for (call, refusal) in refused {
            if let Refused::Nonce { expected, got } = refusal
                && got < expected
            {
                self.tell_usurped(call.hash());
                continue;
            }
            let status = match refusal {
                Refused::Expired { .. } => TrustedOperationStatus::Dropped,
                _ => TrustedOperationStatus::Invalid,
            };
            let (operation, error) = (call.hash(), Some(refusal.to_string()));
            self.actions.push(Action::Status { operation, status, error });
            senders.insert(call.sender().clone());
        }
        if senders.is_empty() {
            return;
        }
        self.drop_carried(|call| senders.contains(call.sender()), Self::tell_dropped);
        for sender in senders {
            for operation in self.pool.drop_sender(&sender) {
                self.tell_dropped(operation);
            }
        }
    }

    /// Nothing of a batch is on its way any more.
    pub(crate) fn settle(&mut self, items: &[Item]) {
        for item in items {
            self.suspects.acquit(item);
        }
        self.reads.settle(items);
        self.pool.settled(&self.carried);
    }

    /// Some of the calls in line will not be executed, and nobody waits for others in their place.
    fn drop_carried(&mut self, goes: impl Fn(&VerifiedCall) -> bool, tell: fn(&mut Self, H256)) {
        let (gone, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.carried).into_iter().partition(goes);
        self.carried = stay;
        for call in gone {
            self.reads.forget(&Item::Call(call.hash()));
            tell(self, call.hash());
        }
    }

    fn tell_expired(&mut self, operation: H256) {
        let error = Some("its last block has passed".into());
        self.actions.push(Action::Status { operation, status: TrustedOperationStatus::Dropped, error });
    }

    fn tell_dropped(&mut self, operation: H256) {
        let error = Some("an earlier call of the sender was refused".into());
        self.actions.push(Action::Status { operation, status: TrustedOperationStatus::Dropped, error });
    }

    fn tell_usurped(&mut self, operation: H256) {
        let error = Some("another call of the sender with this nonce came first, through layer one".into());
        self.actions.push(Action::Status { operation, status: TrustedOperationStatus::Usurped, error });
    }
}
