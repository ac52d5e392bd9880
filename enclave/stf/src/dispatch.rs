//! What a call does, in terms of the runtime. Inside externalities.

use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT};
use cloister_wire::TrustedCall;
use frame_support::traits::{
    ReservableCurrency, UnfilteredDispatchable,
    fungible::Mutate,
    tokens::{Fortitude, Precision, Preservation},
};
use sp_runtime::{ArithmeticError, DispatchError, ModuleError, TokenError};

use crate::{
    ledger::{Books, Overflow, Pallet as Ledger},
    outbox,
    runtime::{Balances, Runtime, RuntimeCall, RuntimeOrigin, System},
};

/// Executes an admitted call.
pub fn call(call: &TrustedCall) -> Result<(), String> {
    match call {
        TrustedCall::Noop(_) => Ok(()),
        TrustedCall::BalanceTransfer(from, to, amount) => transfer(from, to, *amount),
        TrustedCall::BalanceSetBalance(_, account, free, reserved) => set_balance(account, *free, *reserved),
        // That the shard is this one is checked by `verify`.
        TrustedCall::BalanceUnshield(from, to, amount, _) => unshield(from, to, *amount),
        TrustedCall::App(..) => Err("this shard has no business logic of its own".into()),
        // `verify` lets none of these through.
        TrustedCall::BalanceShield(..) | TrustedCall::TimestampSet(..) => Err("not a client's call".into()),
    }
}

/// Pays; the sender's account is closed if less than the existential deposit is left.
pub fn transfer(from: &AccountId, to: &AccountId, amount: Balance) -> Result<(), String> {
    let transfer = pallet_balances::Call::transfer_allow_death { dest: to.clone(), value: amount };
    dispatch(transfer.into(), RuntimeOrigin::signed(from.clone()))
}

/// Makes new money that lies in the shard's escrow on layer one.
pub fn credit(beneficiary: &AccountId, amount: Balance) -> Result<(), String> {
    Balances::mint_into(beneficiary, amount).map(drop).map_err(reason)
}

/// Burns money and opens an entry of the outbox for it.
fn unshield(from: &AccountId, to: &AccountId, amount: Balance) -> Result<(), String> {
    if amount == 0 {
        return Err("nothing to unshield".into());
    }
    if Ledger::<Runtime>::room() == 0 {
        return Err("the outbox is full".into());
    }
    let refundable_once_reaped = amount >= EXISTENTIAL_DEPOSIT;
    let preservation = if refundable_once_reaped { Preservation::Expendable } else { Preservation::Preserve };
    Balances::burn_from(from, amount, preservation, Precision::Exact, Fortitude::Polite).map_err(reason)?;
    if !refundable_once_reaped {
        // There are no more of these references than open entries.
        System::inc_consumers_without_limit(from).map_err(reason)?;
    }
    outbox::unshield(from, to, amount).map_err(|Overflow| OUT_OF_RANGE.into())
}

/// Books what it makes and destroys, dust aside, which is booked by whoever makes it.
fn set_balance(account: &AccountId, free: Balance, reserved: Balance) -> Result<(), String> {
    let with_dust = || Balances::total_issuance().saturating_add(Books::<Runtime>::get().fees);
    let before = with_dust();
    Balances::unreserve(account, Balances::reserved_balance(account));
    let new_free = free.checked_add(reserved).ok_or_else(|| reason(ArithmeticError::Overflow.into()))?;
    let set = pallet_balances::Call::force_set_balance { who: account.clone(), new_free };
    dispatch(set.into(), RuntimeOrigin::root())?;
    Balances::reserve(account, reserved).map_err(reason)?;
    let after = with_dust();
    Books::<Runtime>::try_mutate(|books| {
        let minted = books.minted.checked_add(after.saturating_sub(before));
        books.minted = minted.filter(|minted| *minted <= MAX_MINTED).ok_or(OUT_OF_RANGE)?;
        books.burnt = books.burnt.checked_add(before.saturating_sub(after)).ok_or(OUT_OF_RANGE)?;
        Ok(())
    })
}

fn dispatch(call: RuntimeCall, origin: RuntimeOrigin) -> Result<(), String> {
    call.dispatch_bypass_filter(origin).map(drop).map_err(|refused| reason(refused.error))
}

/// What the sender reads. Deterministic, because enclaves agree on outcomes.
fn reason(error: DispatchError) -> String {
    let reason = match error {
        // More than the whole issuance underflows; to tell the two apart would tell the issuance to anybody who pays.
        DispatchError::Token(TokenError::FundsUnavailable) | DispatchError::Arithmetic(ArithmeticError::Underflow) => {
            "insufficient balance"
        }
        DispatchError::Token(TokenError::BelowMinimum) => "below the existential deposit",
        DispatchError::Token(TokenError::NotExpendable) | DispatchError::ConsumerRemaining => {
            "the account cannot be emptied"
        }
        DispatchError::Token(TokenError::Frozen) => "the balance is locked",
        DispatchError::Arithmetic(_) => OUT_OF_RANGE,
        DispatchError::Module(ModuleError { message: Some("InsufficientBalance"), .. }) => "insufficient balance",
        DispatchError::Module(ModuleError { message: Some("ExistentialDeposit"), .. }) => {
            "below the existential deposit"
        }
        DispatchError::Module(ModuleError { message: Some("LiquidityRestrictions"), .. }) => "the balance is locked",
        DispatchError::Module(ModuleError { message: Some(message), .. }) => message,
        other => other.into(),
    };
    reason.into()
}

const OUT_OF_RANGE: &str = "the amount is out of range";
/// Most planck that are ever set out of nothing: the books must have room for everything that layer one holds.
const MAX_MINTED: Balance = Balance::MAX / 2;
