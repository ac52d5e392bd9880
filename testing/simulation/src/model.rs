//! What must be true of a shard, in the plainest way: accounts, the inbox, and what became of every call, block by block.

use std::collections::{BTreeMap, BTreeSet};

use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT, H256};
use cloister_state::{Purpose, Scope, ShardState, StateDiff, StateSecret};
use cloister_stf::fee_account;
use cloister_wire::{InboxStatus, ShardId, TrustedCall, sidechain::SignedBlock};
use codec::DecodeAll;

/// A call that somebody signed.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: H256,
    pub sender: AccountId,
    pub nonce: u32,
    pub call: TrustedCall,
}

/// An entry of the inbox.
#[derive(Clone, Debug)]
pub struct Entry {
    pub holds: Holds,
    /// How often the enclave had ended when it came.
    pub endings: u32,
}

#[derive(Clone, Debug)]
pub enum Holds {
    Shield {
        beneficiary: Option<AccountId>,
        amount: Balance,
    },
    /// `None` if it is no indirect call that its sender signed.
    Invoke(Option<Call>),
}

/// The shard after a block.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    balances: BTreeMap<AccountId, Balance>,
    nonces: BTreeMap<AccountId, u32>,
    dust: Balance,
    set_aside: Balance,
    shielded: Balance,
    inbox: InboxStatus,
}

/// A kept block.
#[derive(Clone, Debug)]
pub struct Block {
    pub hash: H256,
    /// What became of its calls.
    pub outcomes: Vec<(H256, Result<(), String>)>,
    /// How many of them, at the front, came through the inbox.
    pub indirect: usize,
    pub commitment: H256,
    pub ledger: Ledger,
}

/// The shard, as far as its blocks are kept.
#[derive(Clone, Default)]
pub struct Model {
    pub blocks: Vec<Block>,
    pub entries: Vec<Entry>,
    /// Direct calls that were sent.
    pub sent: BTreeMap<H256, Call>,
    /// Calls that stand in a block, and in which.
    pub executed: BTreeMap<H256, u64>,
    /// Calls whose clients heard that they stand in a block.
    pub told: BTreeSet<H256>,
    /// Calls whose clients heard that they are final.
    pub finalized: BTreeSet<H256>,
    /// How many indirect calls layer one has heard of.
    pub reported: usize,
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

    fn exists(&self, account: &AccountId) -> bool {
        self.balances.contains_key(account)
    }

    fn shield(&mut self, beneficiary: Option<&AccountId>, amount: Balance) {
        self.inbox.consumed += 1;
        self.shielded += amount;
        match beneficiary.filter(|account| self.balance(account) + amount >= EXISTENTIAL_DEPOSIT) {
            Some(account) => {
                *self.balances.entry(account.clone()).or_default() += amount;
                self.inbox.shields_credited += 1;
            }
            None => {
                self.set_aside += amount;
                self.inbox.shields_set_aside += 1;
            }
        }
    }

    /// `None` if the call may not be tried. Whether it succeeds, unless it is not to.
    fn call(&mut self, call: &Call, fails: bool) -> Option<bool> {
        if call.nonce != self.nonce(&call.sender) || !self.exists(&call.sender) {
            return None;
        }
        self.nonces.insert(call.sender.clone(), call.nonce + 1);
        Some(!fails && self.execute(&call.call))
    }

    fn execute(&mut self, call: &TrustedCall) -> bool {
        let TrustedCall::BalanceTransfer(from, to, amount) = call else { return matches!(call, TrustedCall::Noop(_)) };
        let Some(left) = self.balance(from).checked_sub(*amount) else { return false };
        if self.balance(to) + amount < EXISTENTIAL_DEPOSIT {
            return false;
        }
        if from == to {
            return true;
        }
        self.balances.insert(from.clone(), left);
        *self.balances.entry(to.clone()).or_default() += amount;
        if left < EXISTENTIAL_DEPOSIT {
            self.balances.remove(from);
            self.take_dust(left);
        }
        true
    }

    fn take_dust(&mut self, left: Balance) {
        self.dust += left;
        let fees = self.balance(&fee_account());
        if left > 0 && fees + self.dust >= EXISTENTIAL_DEPOSIT {
            self.balances.insert(fee_account(), fees + self.dust);
            self.dust = 0;
        }
    }

    /// That nothing was made or lost.
    fn check(&self) -> Result<(), String> {
        let owned: Balance = self.balances.values().sum();
        let all = owned + self.dust + self.set_aside;
        ensure(all == self.shielded, || format!("{all} planck of {} that were shielded", self.shielded))
    }

    /// That a state is this one.
    pub fn compare(&self, state: &ShardState, accounts: &[AccountId]) -> Result<(), String> {
        let fees = fee_account();
        for account in accounts.iter().chain([&fees]) {
            let (balance, nonce) = (cloister_stf::free_balance(state, account), cloister_stf::nonce(state, account));
            let expected = (self.balance(account), self.nonce(account));
            ensure((balance, nonce) == expected, || {
                format!("{account} has {balance} and nonce {nonce} instead of {expected:?}")
            })?;
        }
        let issuance = cloister_stf::total_issuance(state);
        let set_aside: Balance = (0..self.inbox.consumed)
            .filter_map(|number| cloister_stf::set_aside(state, number))
            .map(|(_, amount)| amount)
            .sum();
        ensure(issuance + set_aside == self.shielded && set_aside == self.set_aside, || {
            format!("{issuance} planck and {set_aside} set aside of {}", self.shielded)
        })?;
        let inbox = cloister_stf::inbox_status(state);
        ensure(inbox == self.inbox, || format!("consumed {inbox:?} instead of {:?}", self.inbox))
    }
}

impl Model {
    pub fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The shard now.
    pub fn ledger(&self) -> Ledger {
        self.blocks.last().map(|block| block.ledger.clone()).unwrap_or_default()
    }

    pub fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Executed indirect calls, in order.
    pub fn indirect(&self) -> Vec<H256> {
        let of = |block: &Block| block.outcomes[..block.indirect].iter().map(|(of, _)| *of).collect::<Vec<_>>();
        self.blocks.iter().flat_map(of).collect()
    }

    /// The next block, of which `opened` is what only enclaves read. `endings` is how often the enclave has ended.
    pub fn apply(&mut self, block: &SignedBlock, opened: &Opened, endings: u32) -> Result<(), String> {
        let (header, data) = (&block.header, &block.block_data);
        let number = header.block_number;
        let at = |what: String| format!("block {number}: {what}");
        let parent = self.blocks.last().map(|parent| parent.hash).unwrap_or_default();
        ensure(number == self.height() + 1 && header.parent_hash == parent, || at("does not follow".into()))?;
        let mut ledger = self.ledger();
        ensure(data.inbox_from == ledger.consumed(), || {
            at(format!("consumes from {}, not {}", data.inbox_from, ledger.consumed()))
        })?;
        let entries = self.entries.get(data.inbox_from as usize..data.inbox_to as usize);
        let entries = entries.ok_or_else(|| at("consumes what is not there".into()))?;
        let mut expected = Vec::new();
        for entry in entries {
            match &entry.holds {
                Holds::Shield { beneficiary, amount } => ledger.shield(beneficiary.as_ref(), *amount),
                Holds::Invoke(call) => {
                    ledger.inbox.consumed += 1;
                    ledger.inbox.invokes += 1;
                    let Some(call) = call else { continue };
                    let set_aside = opened.outcomes.iter().any(|(_, operation, result)| {
                        *operation == call.operation && matches!(result, Err(reason) if reason.starts_with("set aside"))
                    });
                    ensure(!set_aside || endings >= entry.endings + 3, || at("sets aside without a reason".into()))?;
                    expected.extend(ledger.call(call, set_aside).map(|success| (call.operation, success)));
                }
            }
        }
        let indirect = expected.len();
        for operation in data.signed_top_hashes.iter().skip(indirect) {
            let call = self.sent.get(operation).ok_or_else(|| at(format!("{operation} was never sent")))?;
            let success = ledger.call(call, false).ok_or_else(|| at(format!("{operation} may not be executed")))?;
            expected.push((*operation, success));
        }
        ledger.check().map_err(at)?;
        let names: Vec<H256> = expected.iter().map(|(operation, _)| *operation).collect();
        ensure(data.signed_top_hashes == names, || at("executes other calls than those of its entries".into()))?;
        let outcomes: Vec<_> = opened.outcomes.iter().map(|(_, of, result)| (*of, result.clone())).collect();
        let got: Vec<_> = outcomes.iter().map(|(operation, result)| (*operation, result.is_ok())).collect();
        ensure(got == expected, || at(format!("calls end with {outcomes:?} instead of {expected:?}")))?;
        for operation in names {
            if let Some(before) = self.executed.insert(operation, number) {
                return Err(at(format!("{operation} was executed in block {before} already")));
            }
        }
        let (hash, commitment) = (header.hash(), data.commitment_after);
        self.blocks.push(Block { hash, outcomes, indirect, commitment, ledger });
        Ok(())
    }

    /// What became of a call that stands in a block.
    pub fn outcome(&self, operation: &H256) -> Option<(u64, &Result<(), String>)> {
        let number = *self.executed.get(operation)?;
        let (_, result) = self.block(number)?.outcomes.iter().find(|(of, _)| of == operation)?;
        Some((number, result))
    }

    /// The host gave back what it kept when the shard had this height.
    pub fn rewind(&mut self, height: u64) {
        self.blocks.truncate(height as usize);
        let executed = &mut self.executed;
        executed.retain(|_, number| *number <= height);
        self.told.retain(|operation| executed.contains_key(operation));
        self.reported = self.reported.min(self.indirect().len());
    }
}

/// What only enclaves read of a block.
pub struct Opened {
    pub diff: StateDiff,
    pub outcomes: Vec<(AccountId, H256, Result<(), String>)>,
}

impl Opened {
    pub fn new(block: &SignedBlock, secret: &StateSecret, genesis: &H256, shard: &ShardId) -> Result<Self, String> {
        let scope = Scope { secret, genesis, shard };
        let purpose = Purpose::Block { number: block.header.block_number };
        let plain = scope.open(purpose, &block.block_data.encrypted_state_diff).map_err(|error| error.to_string())?;
        type Body = (u8, H256, StateDiff, Vec<(AccountId, H256, Result<(), String>)>, Vec<H256>);
        let (_, _, diff, outcomes, _) = Body::decode_all(&mut plain.as_slice()).map_err(|error| error.to_string())?;
        Ok(Self { diff, outcomes })
    }
}

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
