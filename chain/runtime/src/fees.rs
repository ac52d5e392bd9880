//! What a call costs its sender: one planck per picosecond of weight, more for every byte, and more still while blocks
//! stay fuller than they should be.

use frame_support::{
    parameter_types,
    traits::{
        fungible::Credit,
        tokens::imbalance::{ResolveTo, SplitTwoWays},
    },
    weights::{ConstantMultiplier, IdentityFee},
};
use pallet_transaction_payment::{Multiplier, TargetedFeeAdjustment};
use sp_runtime::{FixedPointNumber, Perquintill};

use crate::{AccountId, Balance, Balances, Runtime};

/// Fee of a weight: a second of execution costs 1 UNIT.
pub type WeightToFee = IdentityFee<Balance>;
/// Fee of an extrinsic's bytes: a megabyte costs 1 UNIT.
pub type LengthToFee = ConstantMultiplier<Balance, PlanckPerByte>;

/// 20 % of fees and tips go to the treasury, 80 % are burnt.
pub type Split = SplitTwoWays<Balance, Credit<AccountId, Balances>, ToTreasury, Burnt, 20, 80>;
type ToTreasury = ResolveTo<pallet_treasury::TreasuryAccountId<Runtime>, Balances>;
/// Credit that is dropped is taken off the issuance.
type Burnt = ();

/// Raises fees slowly while blocks are fuller than a quarter, and lowers them back to one.
pub type Adjustment =
    TargetedFeeAdjustment<Runtime, TargetBlockFullness, AdjustmentVariable, MinimumMultiplier, MaximumMultiplier>;

parameter_types! {
    pub const PlanckPerByte: Balance = 1_000_000;
    pub const TargetBlockFullness: Perquintill = Perquintill::from_percent(25);
    pub AdjustmentVariable: Multiplier = Multiplier::saturating_from_rational(1, 100_000);
    pub MinimumMultiplier: Multiplier = Multiplier::saturating_from_integer(1);
    pub MaximumMultiplier: Multiplier = Multiplier::saturating_from_integer(1_000);
}
