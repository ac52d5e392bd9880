//! The runtime of a shard: FRAME's pallets as they are, and the [`ledger`].
#![allow(missing_docs, reason = "construct_runtime generates items without documentation")]

use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT, Hashing, Moment};
use frame_support::{
    construct_runtime, derive_impl, parameter_types,
    traits::{Imbalance, OnUnbalanced},
};
use sp_runtime::{
    MultiSignature,
    generic::{self, UncheckedExtrinsic},
    traits::IdentityLookup,
};

use crate::ledger;

/// A block as FRAME wants it named. Blocks of a shard are those of `cloister_wire::sidechain`; this type only carries
/// the number.
pub type Block =
    generic::Block<generic::Header<u64, Hashing>, UncheckedExtrinsic<AccountId, RuntimeCall, MultiSignature, ()>>;

// The indices are part of the metadata that clients read; those of layer one are kept where the pallet is the same.
construct_runtime!(
    pub enum Runtime {
        System: frame_system = 0,
        Timestamp: pallet_timestamp = 3,
        Balances: pallet_balances = 10,
        Ledger: ledger = 64,
    }
);

parameter_types! {
    pub const ExistentialDeposit: Balance = EXISTENTIAL_DEPOSIT;
    pub const MinimumPeriod: Moment = 0;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
    type OnNewAccount = Ledger;
    type OnKilledAccount = Ledger;
}

/// Several blocks may have equal time: a slot's time comes from layer one where the host's hint is refused.
#[derive_impl(pallet_timestamp::config_preludes::TestDefaultConfig)]
impl pallet_timestamp::Config for Runtime {
    type Moment = Moment;
    type MinimumPeriod = MinimumPeriod;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
    type DustRemoval = DustToFees;
}

impl ledger::Config for Runtime {}

/// Books what reaped accounts leave behind as a fee: it stays in the shard's escrow on layer one.
pub struct DustToFees;

impl OnUnbalanced<pallet_balances::CreditOf<Runtime, ()>> for DustToFees {
    fn on_nonzero_unbalanced(credit: pallet_balances::CreditOf<Runtime, ()>) {
        // Dropping the credit lowers the issuance. Fees cannot exceed that, and a block with wrong books is refused.
        ledger::Books::<Runtime>::mutate(|books| books.fees = books.fees.saturating_add(credit.peek()));
    }
}
