//! Entries of layer one's inbox on their way into a block: proven, opened apart from the engine, executed in order.

use std::{collections::VecDeque, sync::Arc};

use cloister_chain_primitives::{AccountId, Balance, InboxEntry};
use cloister_keys::ShieldingKeyPair;
use cloister_stf::{Rules, VerifiedCall, verify, verify_bound};
use cloister_wire::{
    SignatureScope, TrustedOperation,
    envelope::{Context, Purpose},
};
use codec::DecodeAll;

/// Opens entries. The longest ciphertext of the published form takes some 40 ms, so slots do not wait for it.
#[derive(Clone)]
pub struct Opener {
    /// The shard's shielding keys.
    pub shielding: Arc<ShieldingKeyPair>,
    /// For which requests are sealed.
    pub context: Context,
    /// For what clients sign.
    pub scope: SignatureScope,
    /// Which calls count.
    pub rules: Rules,
}

/// An entry that was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// A call, if it decrypts, its sender signed it for this shard, and clients may make it: one that names too much of layer
    /// one is as little a call as one that only the enclave may make, today and at every later try.
    Invoke(Option<VerifiedCall>),
    /// A shielding.
    Shield {
        /// Who is credited, if the sender encrypted an account.
        beneficiary: Option<AccountId>,
        /// Planck.
        amount: Balance,
        /// Who paid on layer one.
        sender: AccountId,
    },
}

impl Opener {
    /// Opens one.
    pub fn open(&self, entry: InboxEntry) -> Opened {
        match entry {
            InboxEntry::Invoke(request) => Opened::Invoke(self.call(&request.cyphertext)),
            InboxEntry::Shield { encrypted_beneficiary, amount, sender } => {
                let context = Context { purpose: Purpose::Beneficiary, ..self.context };
                let account = self.shielding.open(&context, &encrypted_beneficiary).ok();
                let beneficiary = account.and_then(|account| AccountId::decode_all(&mut account.as_slice()).ok());
                Opened::Shield { beneficiary, amount, sender }
            }
        }
    }

    fn call(&self, cyphertext: &[u8]) -> Option<VerifiedCall> {
        let plaintext = self.shielding.open(&self.context, cyphertext).ok()?;
        let operation = TrustedOperation::decode_all(&mut plaintext.as_slice()).ok()?;
        let hash = operation.hash();
        match operation {
            TrustedOperation::IndirectCall(signed) => verify(hash, signed, &self.scope, &self.rules).ok(),
            TrustedOperation::IndirectBoundCall(signed) => {
                verify_bound(hash, signed, &self.context.genesis, &self.scope, &self.rules).ok()
            }
            TrustedOperation::DirectCall(_) | TrustedOperation::BoundCall(_) | TrustedOperation::Get(_) => None,
        }
    }
}

impl Opened {
    /// What is left of an entry at which opening broke: it is consumed all the same.
    pub fn unreadable(entry: InboxEntry) -> Self {
        match entry {
            InboxEntry::Invoke(_) => Self::Invoke(None),
            InboxEntry::Shield { amount, sender, .. } => Self::Shield { beneficiary: None, amount, sender },
        }
    }
}

/// Proven entries that are in no block yet, by ascending number. `None` while one is being opened.
#[derive(Default)]
pub(crate) struct Inbox {
    first: u64,
    waiting: VecDeque<Option<Opened>>,
}

impl Inbox {
    /// An empty one, whose next entry has this number.
    pub fn starting_at(first: u64) -> Self {
        Self { first, waiting: VecDeque::new() }
    }

    /// Number of the next entry that is not proven yet.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A proven entry that is to be opened; its number.
    pub fn expect(&mut self) -> u64 {
        let number = self.next();
        self.waiting.push_back(None);
        number
    }

    /// An entry was opened. Only the first word counts.
    pub fn opened(&mut self, number: u64, opened: Opened) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot @ None) = at.and_then(|at| self.waiting.get_mut(at)) {
            *slot = Some(opened);
        }
    }

    /// The next entry, if it is opened.
    pub fn peek(&self) -> Option<(u64, &Opened)> {
        self.waiting.front()?.as_ref().map(|opened| (self.first, opened))
    }

    /// All that are opened, up to the first that is not.
    pub fn opened_ones(&self) -> impl Iterator<Item = (u64, &Opened)> {
        (self.first..).zip(self.waiting.iter().map_while(Option::as_ref))
    }

    /// Puts back what was taken, in its order.
    pub fn put_back(&mut self, entries: Vec<(u64, Opened)>) {
        for (number, opened) in entries.into_iter().rev() {
            self.first = number;
            self.waiting.push_front(Some(opened));
        }
    }

    /// Takes the next entry.
    pub fn take(&mut self) -> Option<(u64, Opened)> {
        let number = self.first;
        let opened = self.waiting.pop_front_if(|opened| opened.is_some())??;
        self.first = number.saturating_add(1);
        Some((number, opened))
    }
}
