//! Configuration of every pallet.

use cloister_chain_primitives::{
    deposit::deposit, inbox::MAX_INBOX_ENTRIES, EnclaveRecord, OutflowLimit, MARK_DEPOSIT, REGISTRATION_DEPOSIT,
    SHARD_DEPOSIT,
};
use frame_support::{
    derive_impl,
    dispatch::DispatchClass,
    parameter_types,
    traits::{
        fungible::HoldConsideration, tokens::PayFromAccount, tokens::UnityAssetBalanceConversion, ConstBool, ConstU128,
        ConstU32, ConstU64, EqualPrivilegeOnly, LinearStoragePrice, VariantCountOf,
    },
    weights::constants::ParityDbWeight,
    PalletId,
};
use frame_system::{
    limits::{BlockLength, BlockWeights},
    EnsureRoot, EnsureRootWithSuccess,
};
use sp_consensus_aura::sr25519::AuthorityId as AuraId;
use sp_runtime::{
    traits::{AccountIdLookup, BlakeTwo256, ConvertInto, IdentityLookup, OpaqueKeys},
    Perbill, Permill,
};
use sp_version::RuntimeVersion;

use crate::{
    fees, proxy::ProxyType, AccountId, Aura, Balance, Balances, Block, Hash, Nonce, OriginCaller, PalletInfo, Preimage,
    Runtime, RuntimeCall, RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason, RuntimeOrigin, RuntimeTask, Session,
    SessionKeys, Sidechain, System, Teerex, Timestamp, ValidatorSet, BLOCK_HASH_COUNT, DAYS, EXISTENTIAL_DEPOSIT,
    HOURS, MAX_BLOCK_BYTES, MAX_BLOCK_WEIGHT, MAX_VALIDATORS, SESSION_BLOCKS, SLOT_DURATION, SS58_PREFIX, UNIT,
    VERSION,
};

/// Share of a block that ordinary extrinsics may fill.
const NORMAL_RATIO: Perbill = Perbill::from_percent(75);

parameter_types! {
    pub const Version: RuntimeVersion = VERSION;
    pub Weights: BlockWeights = BlockWeights::with_sensible_defaults(MAX_BLOCK_WEIGHT, NORMAL_RATIO);
    pub Length: BlockLength = BlockLength::builder()
        .max_length(MAX_BLOCK_BYTES)
        .modify_max_length_for_class(DispatchClass::Normal, |length| *length = NORMAL_RATIO * MAX_BLOCK_BYTES)
        .build();
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type AccountData = pallet_balances::AccountData<Balance>;
    type AccountId = AccountId;
    type Block = Block;
    type BlockHashCount = ConstU32<BLOCK_HASH_COUNT>;
    type BlockLength = Length;
    type BlockWeights = Weights;
    type DbWeight = ParityDbWeight;
    type Hash = Hash;
    type Lookup = AccountIdLookup<AccountId, ()>;
    type MaxConsumers = ConstU32<16>;
    type Nonce = Nonce;
    type SS58Prefix = Ss58Prefix;
    type SystemWeightInfo = frame_system::weights::SubstrateWeight<Runtime>;
    type Version = Version;
}

impl pallet_timestamp::Config for Runtime {
    type MinimumPeriod = ConstU64<{ SLOT_DURATION / 2 }>;
    type Moment = u64;
    type OnTimestampSet = Aura;
    type WeightInfo = pallet_timestamp::weights::SubstrateWeight<Runtime>;
}

impl pallet_aura::Config for Runtime {
    type AllowMultipleBlocksPerSlot = ConstBool<false>;
    type AuthorityId = AuraId;
    type DisabledValidators = Session;
    type MaxAuthorities = ConstU32<MAX_VALIDATORS>;
    type SlotDuration = ConstU64<SLOT_DURATION>;
}

impl pallet_grandpa::Config for Runtime {
    type EquivocationReportSystem = ();
    type KeyOwnerProof = sp_core::Void;
    type MaxAuthorities = ConstU32<MAX_VALIDATORS>;
    type MaxNominators = ConstU32<0>;
    type MaxSetIdSessionEntries = ConstU64<0>;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
}

impl pallet_validator_set::Config for Runtime {
    type MaxValidators = ConstU32<MAX_VALIDATORS>;
}

impl pallet_session::Config for Runtime {
    type Currency = Balances;
    type DisablingStrategy = ();
    type KeyDeposit = ConstU128<UNIT>;
    type Keys = SessionKeys;
    type NextSessionRotation = Self::ShouldEndSession;
    type RuntimeEvent = RuntimeEvent;
    type SessionHandler = <SessionKeys as OpaqueKeys>::KeyTypeIdProviders;
    type SessionManager = ValidatorSet;
    type ShouldEndSession = pallet_session::PeriodicSessions<ConstU32<SESSION_BLOCKS>, ConstU32<0>>;
    type ValidatorId = AccountId;
    type ValidatorIdOf = ConvertInto;
    type WeightInfo = pallet_session::weights::SubstrateWeight<Runtime>;
}

impl pallet_balances::Config for Runtime {
    type AccountStore = System;
    type Balance = Balance;
    type DoneSlashHandler = ();
    type DustRemoval = ();
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ();
    type ReserveIdentifier = [u8; 8];
    type RuntimeEvent = RuntimeEvent;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type RuntimeHoldReason = RuntimeHoldReason;
    type WeightInfo = pallet_balances::weights::SubstrateWeight<Runtime>;
}

impl pallet_transaction_payment::Config for Runtime {
    type FeeMultiplierUpdate = fees::Adjustment;
    type LengthToFee = fees::LengthToFee;
    type OnChargeTransaction = pallet_transaction_payment::FungibleAdapter<Balances, fees::Split>;
    type OperationalFeeMultiplier = frame_support::traits::ConstU8<5>;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_transaction_payment::weights::SubstrateWeight<Runtime>;
    type WeightToFee = fees::WeightToFee;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}

impl pallet_utility::Config for Runtime {
    type PalletsOrigin = OriginCaller;
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_utility::weights::SubstrateWeight<Runtime>;
}

impl pallet_multisig::Config for Runtime {
    type BlockNumberProvider = System;
    type Currency = Balances;
    type DepositBase = ConstU128<{ deposit(1, 88) }>;
    type DepositFactor = ConstU128<{ deposit(0, 32) }>;
    type MaxSignatories = ConstU32<100>;
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_multisig::weights::SubstrateWeight<Runtime>;
}

impl pallet_proxy::Config for Runtime {
    type AnnouncementDepositBase = ConstU128<{ deposit(1, 48) }>;
    type AnnouncementDepositFactor = ConstU128<{ deposit(0, 66) }>;
    type BlockNumberProvider = System;
    type CallHasher = BlakeTwo256;
    type Currency = Balances;
    type MaxPending = ConstU32<32>;
    type MaxProxies = ConstU32<32>;
    type ProxyDepositBase = ConstU128<{ deposit(1, 40) }>;
    type ProxyDepositFactor = ConstU128<{ deposit(0, 37) }>;
    type ProxyType = ProxyType;
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_proxy::weights::SubstrateWeight<Runtime>;
}

parameter_types! {
    pub const PreimageHoldReason: RuntimeHoldReason =
        RuntimeHoldReason::Preimage(pallet_preimage::HoldReason::Preimage);
    pub const Ss58Prefix: u16 = SS58_PREFIX;
}

impl pallet_preimage::Config for Runtime {
    type Consideration = HoldConsideration<
        AccountId,
        Balances,
        PreimageHoldReason,
        LinearStoragePrice<ConstU128<{ deposit(2, 64) }>, ConstU128<{ deposit(0, 1) }>, Balance>,
    >;
    type Currency = Balances;
    type ManagerOrigin = EnsureRoot<AccountId>;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_preimage::weights::SubstrateWeight<Runtime>;
}

parameter_types! {
    pub ScheduledWeight: frame_support::weights::Weight = Perbill::from_percent(80) * MAX_BLOCK_WEIGHT;
}

impl pallet_scheduler::Config for Runtime {
    type BlockNumberProvider = System;
    type MaxScheduledPerBlock = ConstU32<50>;
    type MaximumWeight = ScheduledWeight;
    type OriginPrivilegeCmp = EqualPrivilegeOnly;
    type PalletsOrigin = OriginCaller;
    type Preimages = Preimage;
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type RuntimeOrigin = RuntimeOrigin;
    type ScheduleOrigin = EnsureRoot<AccountId>;
    type WeightInfo = pallet_scheduler::weights::SubstrateWeight<Runtime>;
}

parameter_types! {
    pub const TreasuryPalletId: PalletId = PalletId(*b"py/trsry");
    pub const NothingBurnt: Permill = Permill::zero();
    pub const MaxSpend: Balance = Balance::MAX;
}

impl pallet_treasury::Config for Runtime {
    type AssetKind = ();
    type BalanceConverter = UnityAssetBalanceConversion;
    type Beneficiary = AccountId;
    type BeneficiaryLookup = IdentityLookup<AccountId>;
    type BlockNumberProvider = System;
    type Burn = NothingBurnt;
    type BurnDestination = ();
    type Currency = Balances;
    type MaxApprovals = ConstU32<100>;
    type PalletId = TreasuryPalletId;
    type Paymaster = PayFromAccount<Balances, pallet_treasury::TreasuryAccountId<Runtime>>;
    type PayoutPeriod = ConstU32<{ 30 * DAYS }>;
    type RejectOrigin = EnsureRoot<AccountId>;
    type RuntimeEvent = RuntimeEvent;
    type SpendFunds = ();
    type SpendOrigin = EnsureRootWithSuccess<AccountId, MaxSpend>;
    type SpendPeriod = ConstU32<{ DAYS }>;
    type WeightInfo = pallet_treasury::weights::SubstrateWeight<Runtime>;
}

impl pallet_teerex::Config for Runtime {
    type Currency = Balances;
    type MarkDeposit = ConstU128<MARK_DEPOSIT>;
    type RegistrationDeposit = ConstU128<REGISTRATION_DEPOSIT>;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Time = Timestamp;
}

/// Enclaves of `Teerex`, as `EnclaveBridge` asks for them.
pub struct Registry;

impl pallet_enclave_bridge::RegisteredEnclaves for Registry {
    fn serving(account: &AccountId) -> Option<EnclaveRecord> {
        Teerex::serving(account)
    }
}

parameter_types! {
    /// What a shard may lose in an hour before anybody can look, if an enclave is broken or its keys are stolen.
    pub const DefaultOutflowLimit: Option<OutflowLimit> = Some(OutflowLimit { amount: 100_000 * UNIT, period: HOURS });
}

impl pallet_enclave_bridge::Config for Runtime {
    type Anchors = Sidechain;
    type Currency = Balances;
    type DefaultOutflowLimit = DefaultOutflowLimit;
    // As many as a shard opens in one of its blocks.
    type MaxExitsPerBlock = ConstU32<256>;
    type Registry = Registry;
    type RuntimeHoldReason = RuntimeHoldReason;
    type ShardDeposit = ConstU128<SHARD_DEPOSIT>;
    type SubmissionFee = fees::Submission;
    // At the least two thirds of a block's time, so that whoever takes all of it raises the price of the next.
    type MaxInboxEntriesPerBlock = ConstU32<MAX_INBOX_ENTRIES>;
    type MaxInboxBytesPerBlock = ConstU32<{ 1024 * 1024 }>;
    // Some rounds of anchoring.
    type StrangersRepaidAfter = ConstU32<20>;
    // More than an inbox takes in a block, and as many verdicts as a block gives to exits.
    type MaxPrunedPerCall = ConstU32<256>;
}

impl pallet_sidechain::Config for Runtime {}
