//! What a call does, in terms of the runtime. Inside externalities.

use cloister_chain_primitives::{AccountId, Balance};
use cloister_wire::TrustedCall;
use frame_support::traits::{ReservableCurrency, UnfilteredDispatchable, fungible::Mutate};
use sp_runtime::{ArithmeticError, DispatchError, ModuleError, TokenError};

use crate::runtime::{Balances, RuntimeCall, RuntimeOrigin};

/// Executes an admitted call.
pub fn call(call: &TrustedCall) -> Result<(), String> {
    match call {
        TrustedCall::Noop(_) => Ok(()),
        TrustedCall::BalanceTransfer(from, to, amount) => {
            let transfer = pallet_balances::Call::transfer_allow_death { dest: to.clone(), value: *amount };
            dispatch(transfer.into(), RuntimeOrigin::signed(from.clone()))
        }
        TrustedCall::BalanceSetBalance(_, account, free, reserved) => set_balance(account, *free, *reserved),
        // `verify` lets none of these through.
        TrustedCall::BalanceUnshield(..) | TrustedCall::BalanceShield(..) | TrustedCall::TimestampSet(..) => {
            Err("not a client's call".into())
        }
    }
}

/// Makes new money that lies in the shard's escrow on layer one.
pub fn credit(beneficiary: &AccountId, amount: Balance) -> Result<(), String> {
    Balances::mint_into(beneficiary, amount).map(drop).map_err(|error| reason(error).into())
}

fn set_balance(account: &AccountId, free: Balance, reserved: Balance) -> Result<(), String> {
    Balances::unreserve(account, Balances::reserved_balance(account));
    let new_free = free.checked_add(reserved).ok_or_else(|| reason(ArithmeticError::Overflow.into()))?;
    let set = pallet_balances::Call::force_set_balance { who: account.clone(), new_free };
    dispatch(set.into(), RuntimeOrigin::root())?;
    Balances::reserve(account, reserved).map_err(|error| reason(error).into())
}

fn dispatch(call: RuntimeCall, origin: RuntimeOrigin) -> Result<(), String> {
    call.dispatch_bypass_filter(origin).map(drop).map_err(|refused| reason(refused.error).into())
}

/// What the sender reads. Deterministic, because enclaves agree on outcomes.
fn reason(error: DispatchError) -> &'static str {
    match error {
        // More than the whole issuance underflows; to tell the two apart would tell the issuance to anybody who pays.
        DispatchError::Token(TokenError::FundsUnavailable) | DispatchError::Arithmetic(ArithmeticError::Underflow) => {
            "insufficient balance"
        }
        DispatchError::Token(TokenError::BelowMinimum) => "below the existential deposit",
        DispatchError::Token(TokenError::NotExpendable) => "the account cannot be emptied",
        DispatchError::Token(TokenError::Frozen) => "the balance is locked",
        DispatchError::Arithmetic(_) => "the amount is out of range",
        DispatchError::Module(ModuleError { message: Some("InsufficientBalance"), .. }) => "insufficient balance",
        DispatchError::Module(ModuleError { message: Some("ExistentialDeposit"), .. }) => {
            "below the existential deposit"
        }
        DispatchError::Module(ModuleError { message: Some("LiquidityRestrictions"), .. }) => "the balance is locked",
        DispatchError::Module(ModuleError { message: Some(message), .. }) => message,
        other => other.into(),
    }
}
