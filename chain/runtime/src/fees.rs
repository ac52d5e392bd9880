//! What a call costs its sender: one planck per picosecond of weight, more for every byte, and more still while blocks
//! stay fuller than they should be.

use codec::{Compact, CompactLen};
use frame_support::{
    dispatch::{DispatchClass, DispatchInfo, Pays},
    parameter_types,
    traits::{
        fungible::Credit,
        tokens::imbalance::{ResolveTo, SplitTwoWays},
    },
    weights::{ConstantMultiplier, IdentityFee, Weight},
};
use pallet_transaction_payment::{Multiplier, TargetedFeeAdjustment};
use sp_runtime::{generic::Era, traits::TransactionExtension, FixedPointNumber, Perquintill, SaturatedConversion};

use crate::{AccountId, Balance, Balances, Runtime, RuntimeCall, TransactionPayment, TxExtension};

/// Fee of a weight: a second of execution costs 1 UNIT.
pub type WeightToFee = IdentityFee<Balance>;
/// Fee of an extrinsic's bytes: a megabyte costs 1 UNIT.
pub type LengthToFee = ConstantMultiplier<Balance, PlanckPerByte>;

/// 20 % of fees and tips go to the treasury, 80 % are burnt.
pub type Split = SplitTwoWays<Balance, Credit<AccountId, Balances>, ToTreasury, Burnt, 20, 80>;
type ToTreasury = ResolveTo<pallet_treasury::TreasuryAccountId<Runtime>, Balances>;
/// Credit that is dropped is taken off the issuance.
type Burnt = ();

/// Raises fees while blocks are fuller than a quarter, and lowers them back to one. Full blocks double them in half an hour
/// and make them a hundredfold in three and a half: whoever would keep a shard's anchors and renewals out of blocks for the
/// day that a registration lasts has paid 850 000 UNIT after five hours. A peak of ten minutes costs a quarter more.
pub type Adjustment =
    TargetedFeeAdjustment<Runtime, TargetBlockFullness, AdjustmentVariable, MinimumMultiplier, MaximumMultiplier>;

/// What `EnclaveBridge` repays: the fee of a signed extrinsic with one call and no tip, as an enclave sends it.
pub struct Submission;

/// Bytes of such an extrinsic beside its call and the length in front: version, sender, signature, era of some blocks,
/// the first nonces, tip, and that there is no hash of metadata.
const ENVELOPE_BYTES: u32 = 1 + 33 + 65 + 2 + 1 + 1 + 1;

impl pallet_enclave_bridge::SubmissionFee for Submission {
    fn fee(weight: Weight, call_bytes: usize) -> Balance {
        let length = ENVELOPE_BYTES.saturating_add(call_bytes.saturated_into());
        let length = length.saturating_add(Compact::<u32>::compact_len(&length).saturated_into());
        let info = DispatchInfo {
            call_weight: weight,
            extension_weight: extension_weight(),
            class: DispatchClass::Normal,
            pays_fee: Pays::Yes,
        };
        TransactionPayment::compute_fee(length, &info, 0)
    }
}

/// Weight of checking such an extrinsic, whatever it calls.
fn extension_weight() -> Weight {
    let mortal = Era::mortal(64, 0);
    let extension: TxExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(mortal),
        frame_system::CheckNonce::from(0),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
    );
    extension.weight(&RuntimeCall::System(frame_system::Call::remark { remark: Default::default() }))
}

parameter_types! {
    pub const PlanckPerByte: Balance = 1_000_000;
    pub const TargetBlockFullness: Perquintill = Perquintill::from_percent(25);
    pub AdjustmentVariable: Multiplier = Multiplier::saturating_from_rational(1, 2_000);
    pub MinimumMultiplier: Multiplier = Multiplier::saturating_from_integer(1);
    pub MaximumMultiplier: Multiplier = Multiplier::saturating_from_integer(1_000);
}
