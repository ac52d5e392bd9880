//! The shard's money after a block, in the plainest way and beside the enclave's code.

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    AccountId, Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, H256, OutboxEntry, OutboxKind, ShardId, ShardMode,
    UNSHIELD_FEE, Verdict, outbox,
};
use cloister_state::ShardState;
use cloister_wire::{InboxStatus, TrustedCall, sidechain::Books};

use crate::model::{Call, ensure};

/// Balances, nonces, the outbox and the books.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    pub books: Books,
    balances: BTreeMap<AccountId, Balance>,
    nonces: BTreeMap<AccountId, u32>,
    outbox: BTreeMap<u64, Owed>,
    inbox: InboxStatus,
}

/// An open entry of the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owed {
    pub block: u64,
    pub kind: OutboxKind,
    pub beneficiary: AccountId,
    pub amount: Balance,
    /// Who asked for it.
    pub refund_to: Option<AccountId>,
}

impl Owed {
    pub fn entry(&self, number: u64, genesis: &H256, shard: &ShardId) -> OutboxEntry {
        OutboxEntry {
            number,
            id: outbox::outbox_id(genesis, shard, self.block, number),
            kind: self.kind,
            beneficiary: self.beneficiary.clone(),
            amount: self.amount,
        }
    }
}

impl Ledger {
    pub fn balance(&self, account: &AccountId) -> Balance {
        self.balances.get(account).copied().unwrap_or(0)
    }

    pub fn nonce(&self, account: &AccountId) -> u32 {
        self.nonces.get(account).copied().unwrap_or(0)
    }

    pub fn consumed(&self) -> u64 {
        self.inbox.consumed
    }

    /// All balances.
    pub fn owned(&self) -> Balance {
        self.balances.values().sum()
    }

    pub fn outbox(&self) -> &BTreeMap<u64, Owed> {
        &self.outbox
    }

    pub fn outbox_mut(&mut self) -> &mut BTreeMap<u64, Owed> {
        &mut self.outbox
    }

    pub fn shield(&mut self, mode: ShardMode, beneficiary: Option<&AccountId>, amount: Balance, sender: &AccountId) {
        self.inbox.consumed += 1;
        self.books.shielded += amount;
        let creditable = |account: &&AccountId| self.balance(account) + amount >= EXISTENTIAL_DEPOSIT;
        match beneficiary.filter(creditable).filter(|_| mode == ShardMode::Open) {
            Some(account) => {
                *self.balances.entry(account.clone()).or_default() += amount;
                self.inbox.shields_credited += 1;
            }
            None => {
                self.books.fees += UNSHIELD_FEE;
                self.open(OutboxKind::Return, sender.clone(), amount - UNSHIELD_FEE, None);
                self.inbox.shields_returned += 1;
            }
        }
    }

    pub fn consume_invoke(&mut self) {
        self.inbox.consumed += 1;
        self.inbox.invokes += 1;
    }

    /// `None` if the call may not be tried; otherwise whether it succeeds, unless it is not to, and which entry of the
    /// outbox it opens.
    pub fn call(&mut self, mode: ShardMode, call: &Call, direct: bool, fails: bool) -> Option<Result<Option<u64>, ()>> {
        let unshields = matches!(call.call, TrustedCall::BalanceUnshield(..));
        let fee = if direct { DIRECT_CALL_FEE } else { 0 } + if unshields { UNSHIELD_FEE } else { 0 };
        let allowed = mode == ShardMode::Open || (mode == ShardMode::Maintenance && unshields);
        let balance = self.balance(&call.sender);
        if !allowed || call.nonce != self.nonce(&call.sender) || balance < fee + EXISTENTIAL_DEPOSIT {
            return None;
        }
        self.nonces.insert(call.sender.clone(), call.nonce + 1);
        self.balances.insert(call.sender.clone(), balance - fee);
        self.books.fees += fee;
        Some(if fails { Err(()) } else { self.execute(&call.call).ok_or(()) })
    }

    /// `None` if it fails.
    fn execute(&mut self, call: &TrustedCall) -> Option<Option<u64>> {
        match call {
            TrustedCall::Noop(_) => Some(None),
            TrustedCall::BalanceTransfer(from, to, amount) => self.transfer(from, to, *amount).map(|()| None),
            TrustedCall::BalanceUnshield(from, to, amount, _) => self.unshield(from, to, *amount).map(Some),
            _ => None,
        }
    }

    fn transfer(&mut self, from: &AccountId, to: &AccountId, amount: Balance) -> Option<()> {
        let left = self.balance(from).checked_sub(amount)?;
        if self.balance(to) + amount < EXISTENTIAL_DEPOSIT {
            return None;
        }
        if from == to {
            return (left >= EXISTENTIAL_DEPOSIT || !self.is_held(from)).then_some(());
        }
        self.leave(from, left)?;
        *self.balances.entry(to.clone()).or_default() += amount;
        Some(())
    }

    fn unshield(&mut self, from: &AccountId, to: &AccountId, amount: Balance) -> Option<u64> {
        let left = self.balance(from).checked_sub(amount)?;
        // What is too little for an account can be credited again only to one that exists.
        if amount == 0 || self.outbox.len() >= MAX_OPEN || (amount < EXISTENTIAL_DEPOSIT && left < EXISTENTIAL_DEPOSIT)
        {
            return None;
        }
        self.leave(from, left)?;
        Some(self.open(OutboxKind::Unshield, to.clone(), amount, Some(from.clone())))
    }

    /// So much is left to the account, or too little to be one.
    fn leave(&mut self, account: &AccountId, left: Balance) -> Option<()> {
        if left >= EXISTENTIAL_DEPOSIT {
            self.balances.insert(account.clone(), left);
            return Some(());
        }
        if self.is_held(account) {
            return None;
        }
        self.balances.remove(account);
        self.books.fees += left;
        Some(())
    }

    /// Whether what may come back to the account is too little to open it again.
    fn is_held(&self, account: &AccountId) -> bool {
        let mut open = self.outbox.values();
        open.any(|owed| owed.amount < EXISTENTIAL_DEPOSIT && owed.refund_to.as_ref() == Some(account))
    }

    /// An account leaves the shard with all its money.
    pub fn exit(&mut self, owed: &cloister_stf::Owed) -> Result<(), String> {
        let account = &owed.beneficiary;
        let balance = self.balances.remove(account).ok_or_else(|| format!("{account} leaves with nothing"))?;
        let fee = if balance >= UNSHIELD_FEE + EXISTENTIAL_DEPOSIT { UNSHIELD_FEE } else { 0 };
        self.books.fees += fee;
        let number = self.open(OutboxKind::Exit, account.clone(), balance - fee, None);
        ensure(owed.number == number && owed.amount == balance - fee && self.outbox.len() <= MAX_OPEN, || {
            format!("{account} leaves with {owed:?} of {balance} planck")
        })
    }

    fn open(&mut self, kind: OutboxKind, beneficiary: AccountId, amount: Balance, refund_to: Option<AccountId>) -> u64 {
        let number = self.books.outbox_next;
        self.outbox.insert(number, Owed { block: 0, kind, beneficiary, amount, refund_to });
        self.books.opened += amount;
        self.books.outbox_next += 1;
        self.see_closed();
        number
    }

    /// Layer one has said what becomes of an entry.
    pub fn close(&mut self, number: u64, verdict: Verdict) -> Result<(), String> {
        let owed = self.outbox.remove(&number).ok_or_else(|| format!("entry {number} is closed and was not open"))?;
        match (verdict, owed.refund_to) {
            (Verdict::Paid, _) => self.books.paid += owed.amount,
            (Verdict::Refused, Some(account)) => {
                self.books.refunded += owed.amount;
                *self.balances.entry(account).or_default() += owed.amount;
            }
            (Verdict::Refused, None) => return Err(format!("layer one refuses entry {number}, a {:?}", owed.kind)),
        }
        self.see_closed();
        Ok(())
    }

    fn see_closed(&mut self) {
        self.books.outbox_closed = self.outbox.keys().next().copied().unwrap_or(self.books.outbox_next);
    }

    /// That nothing was made or lost.
    pub fn check(&self) -> Result<(), String> {
        let Books { shielded, opened, paid, refunded, fees, .. } = self.books;
        let (owned, open) = (self.owned(), self.outbox.values().map(|owed| owed.amount).sum::<Balance>());
        ensure(owned + open + paid + fees == shielded && opened == open + paid + refunded, || {
            format!("{owned} planck are owned and {open} open, by the books {:?}", self.books)
        })
    }

    /// That a state is this one.
    pub fn compare(&self, state: &ShardState, accounts: &[AccountId]) -> Result<(), String> {
        for account in accounts {
            let (balance, nonce) = (cloister_stf::free_balance(state, account), cloister_stf::nonce(state, account));
            let expected = (self.balance(account), self.nonce(account));
            ensure((balance, nonce) == expected, || {
                format!("{account} has {balance} and nonce {nonce} instead of {expected:?}")
            })?;
        }
        let (issuance, books) = (cloister_stf::total_issuance(state), cloister_stf::books(state));
        ensure(issuance == self.owned() && books == self.books, || {
            format!("{issuance} planck and {books:?} instead of {:?}", self.books)
        })?;
        let outbox = cloister_stf::outbox(state).into_iter().map(|owed| {
            let cloister_stf::Owed { number, block, kind, beneficiary, amount, refund_to, .. } = owed;
            (number, Owed { block, kind, beneficiary, amount, refund_to })
        });
        let outbox: BTreeMap<u64, Owed> = outbox.collect();
        ensure(outbox == self.outbox, || format!("open is {outbox:?} instead of {:?}", self.outbox))?;
        let inbox = cloister_stf::inbox_status(state);
        ensure(inbox == self.inbox, || format!("consumed {inbox:?} instead of {:?}", self.inbox))
    }
}

/// Most entries of the outbox that are open, but for returned shieldings.
const MAX_OPEN: usize = 4_096;
