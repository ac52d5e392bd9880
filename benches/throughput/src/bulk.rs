//! Payments, and a call that opens many accounts: a shard of a million cannot be made one call at a time.

use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT};
use cloister_stf::{
    Execution, Payments, Program,
    ledger::{Accounts, Nonces},
    runtime::Runtime,
};
use cloister_wire::TrustedCall;
use codec::{Decode, DecodeAll, Encode};
use frame_system::{AccountInfo, Config};
use sp_crypto_hashing::blake2_256;

/// The program of the measured shard.
#[derive(Clone, Copy, Debug)]
pub struct Bulk;

/// Opens accounts out of the sender's balance. Each has a nonce afterwards, as if it had called before, so that a
/// measured call brings no key that others would not bring.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Opening {
    /// Which.
    pub accounts: Opened,
    /// Planck for each.
    pub each: Balance,
}

/// Which accounts are opened.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Opened {
    /// Those of [`numbered`], whose keys nobody has.
    Numbered {
        /// The first.
        from: u64,
        /// After the last.
        until: u64,
    },
    /// These.
    Named(Vec<AccountId>),
}

/// The account of a number.
pub fn numbered(number: u64) -> AccountId {
    blake2_256(&(b"cloister/throughput/account", number).encode()).into()
}

impl Opening {
    /// The call of `sender` that does it.
    pub fn call(&self, sender: AccountId) -> TrustedCall {
        TrustedCall::App(sender, self.encode())
    }

    fn of(call: &TrustedCall) -> Option<(&AccountId, Self)> {
        let TrustedCall::App(sender, payload) = call else { return None };
        Some((sender, Self::decode_all(&mut payload.as_slice()).ok()?))
    }

    /// Writes what the pallets would write, which deposit events besides: with those a call would open a tenth as many.
    fn open(&self, sender: &AccountId) -> Result<(), String> {
        let cost = self.each.checked_mul(self.accounts.len().into()).ok_or("too much money")?;
        frame_system::Account::<Runtime>::try_mutate(sender, |payer| {
            let left = payer.data.free.checked_sub(cost).filter(|left| *left >= EXISTENTIAL_DEPOSIT);
            payer.data.free = left.ok_or("insufficient balance")?;
            Ok::<_, &str>(())
        })?;
        if self.each < EXISTENTIAL_DEPOSIT {
            return Err("below the existential deposit".into());
        }
        match &self.accounts {
            Opened::Numbered { from, until } => (*from..*until).try_for_each(|number| self.one(&numbered(number)))?,
            Opened::Named(accounts) => accounts.iter().try_for_each(|account| self.one(account))?,
        }
        Accounts::<Runtime>::mutate(|accounts| *accounts = accounts.saturating_add(self.accounts.len()));
        Ok(())
    }

    fn one(&self, account: &AccountId) -> Result<(), String> {
        if frame_system::Account::<Runtime>::contains_key(account) {
            return Err("the account exists".into());
        }
        let mut opened = Info { providers: 1, ..Info::default() };
        opened.data.free = self.each;
        frame_system::Account::<Runtime>::insert(account, opened);
        Nonces::<Runtime>::insert(account, 0);
        Ok(())
    }
}

impl Opened {
    fn len(&self) -> u64 {
        match self {
            Self::Numbered { from, until } => until.saturating_sub(*from),
            Self::Named(accounts) => accounts.len() as u64,
        }
    }
}

impl Program for Bulk {
    fn weight(&self, call: &TrustedCall) -> u64 {
        let opening = Opening::of(call).map_or(0, |(_, opening)| opening.accounts.len().saturating_mul(ACCOUNT_WEIGHT));
        Payments.weight(call).saturating_add(opening)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        match Opening::of(call) {
            Some((sender, opening)) => opening.open(sender),
            None => Payments.execute(call, execution),
        }
    }
}

type Info = AccountInfo<<Runtime as Config>::Nonce, <Runtime as Config>::AccountData>;

/// Picoseconds that opening an account may take, twice what it does; its part in the commitment is included.
pub const ACCOUNT_WEIGHT: u64 = 30_000_000;
/// Most accounts that one call opens by their numbers: each is two changes of storage, and a call may make 2 000.
pub const MAX_NUMBERED: u64 = 900;
/// Most that are named: a request has 16 KiB.
pub const MAX_NAMED: u64 = 450;
