//! Reading a state through the runtime's own pallets.

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Hashing, Nonce};
use cloister_state::ShardState;
use cloister_wire::{InboxStatus, TrustedGetter, sidechain};
use codec::Encode;
use frame_support::traits::{
    fungible::Inspect,
    tokens::{Fortitude, Preservation},
};
use sp_externalities::set_and_run_with_externalities;
use sp_state_machine::{Ext, OverlayedChanges};

use crate::{
    Owed, VerifiedCall,
    ledger::{Accounts, Books, Inbox, LayerOne, Nonces, Outbox},
    runtime::{Balances, Runtime, System},
};

/// The account's next nonce.
pub fn nonce(state: &ShardState, account: &AccountId) -> Nonce {
    read(state, || Nonces::<Runtime>::get(account))
}

/// Spendable planck.
pub fn free_balance(state: &ShardState, account: &AccountId) -> Balance {
    read(state, || Balances::free_balance(account))
}

/// Reserved planck.
pub fn reserved_balance(state: &ShardState, account: &AccountId) -> Balance {
    read(state, || Balances::reserved_balance(account))
}

/// Whether the account holds the existential deposit.
pub fn account_exists(state: &ShardState, account: &AccountId) -> bool {
    read(state, || System::account_exists(account))
}

/// How many accounts exist.
pub fn account_count(state: &ShardState) -> u64 {
    read(state, Accounts::<Runtime>::get)
}

/// Whether the sender of a direct call could pay its fee now.
pub fn can_pay_fee(state: &ShardState, call: &VerifiedCall) -> bool {
    let spendable = || Balances::reducible_balance(call.sender(), Preservation::Preserve, Fortitude::Polite);
    let fee = call.fee().direct();
    fee == 0 || read(state, spendable) >= fee
}

/// All planck of the shard: the balances of all accounts.
pub fn total_issuance(state: &ShardState) -> Balance {
    read(state, Balances::total_issuance)
}

/// What moved since the shard's birth.
pub fn books(state: &ShardState) -> sidechain::Books {
    read(state, || Books::<Runtime>::get().into())
}

/// The open entries of the outbox, ascending by number.
pub fn outbox(state: &ShardState) -> Vec<Owed> {
    read(state, || Outbox::<Runtime>::iter_values().collect())
}

/// What was consumed of layer one's inbox.
pub fn inbox_status(state: &ShardState) -> InboxStatus {
    read(state, || Inbox::<Runtime>::get().into())
}

/// The newest layer-one block that the state knows; zeros before the first block.
pub fn layer_one_head(state: &ShardState) -> (BlockNumber, H256) {
    read(state, LayerOne::<Runtime>::get)
}

/// The SCALE result of a getter that the state can answer. Who asks must have been checked.
pub fn get(state: &ShardState, getter: &TrustedGetter) -> Option<Vec<u8>> {
    match getter {
        TrustedGetter::FreeBalance(account) => Some(free_balance(state, account).encode()),
        TrustedGetter::ReservedBalance(account) => Some(reserved_balance(state, account).encode()),
        TrustedGetter::Nonce(account) => Some(nonce(state, account).encode()),
        TrustedGetter::Unshielding(account, number) => {
            let entry = read(state, || Outbox::<Runtime>::get(number.to_be_bytes()))?;
            let own = entry.refund_to.as_ref() == Some(account);
            own.then(|| (entry.beneficiary, entry.amount).encode())
        }
        // Outcomes are kept beside the state.
        TrustedGetter::CallOutcome(..) => None,
        TrustedGetter::App(..) => None,
    }
}

/// Runs `f` with the storage that pallets see.
pub(crate) fn with<R>(overlay: &mut OverlayedChanges<Hashing>, state: &ShardState, f: impl FnOnce() -> R) -> R {
    set_and_run_with_externalities(&mut Ext::new(overlay, state, None), f)
}

pub(crate) fn read<R>(state: &ShardState, f: impl FnOnce() -> R) -> R {
    with(&mut OverlayedChanges::default(), state, f)
}
