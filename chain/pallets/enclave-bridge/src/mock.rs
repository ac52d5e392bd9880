//! A runtime with this pallet, money and batches.

use std::{cell::RefCell, collections::BTreeMap};

use cloister_chain_primitives::{
    AccountId, Anchor, Anchored, Balance, BuildMode, EXISTENTIAL_DEPOSIT, EnclaveRecord, EncryptedBeneficiary, H256,
    OutboxEntry, OutflowLimit, Request, SHARD_DEPOSIT, ShardBirth, ShardConfig, ShardId, ShieldingKeys, Standing, UNIT,
    anchor, outbox::OutboxTree,
};
use cloister_claims::{TcbStatus, TeeKind};
use frame_support::{
    construct_runtime, derive_impl, parameter_types,
    traits::{ConstU32, ConstU128},
    weights::{Weight, constants::ParityDbWeight},
};
use frame_system::mocking::MockBlockU32;
use sp_runtime::{BuildStorage, traits::IdentityLookup};

construct_runtime! {
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Utility: pallet_utility,
        EnclaveBridge: crate,
    }
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type AccountData = pallet_balances::AccountData<Balance>;
    type AccountId = AccountId;
    type Block = MockBlockU32<Test>;
    type DbWeight = ParityDbWeight;
    type Lookup = IdentityLookup<AccountId>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
}

impl pallet_utility::Config for Test {
    type PalletsOrigin = OriginCaller;
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
}

pub const MAX_ENTRIES: u32 = 4;
pub const MAX_BYTES: u32 = 1_000;
pub const MAX_PRUNED: u32 = 3;
pub const MAX_EXITS: u32 = 2;

parameter_types! {
    pub static DefaultOutflowLimit: Option<OutflowLimit> = None;
    pub static StrangersRepaidAfter: u32 = 0;
}

impl crate::Config for Test {
    type Anchors = Anchors;
    type Currency = Balances;
    type DefaultOutflowLimit = DefaultOutflowLimit;
    type MaxExitsPerBlock = ConstU32<MAX_EXITS>;
    type MaxInboxBytesPerBlock = ConstU32<MAX_BYTES>;
    type MaxInboxEntriesPerBlock = ConstU32<MAX_ENTRIES>;
    type MaxPrunedPerCall = ConstU32<MAX_PRUNED>;
    type Registry = Registry;
    type RuntimeHoldReason = RuntimeHoldReason;
    type ShardDeposit = ConstU128<SHARD_DEPOSIT>;
    type StrangersRepaidAfter = StrangersRepaidAfter;
    type SubmissionFee = SubmissionFee;
}

/// A planck per picosecond, and a thousand per byte.
pub struct SubmissionFee;

impl crate::SubmissionFee for SubmissionFee {
    fn fee(weight: Weight, call_bytes: usize) -> Balance {
        Balance::from(weight.ref_time()) + 1_000 * call_bytes as Balance
    }
}

/// The founder with the fingerprint in `SERVING`, and nobody else.
pub struct Registry;

thread_local! {
    static SERVING: RefCell<Option<[u8; 32]>> = const { RefCell::new(Some(FINGERPRINT)) };
    static ANCHORS: RefCell<BTreeMap<ShardId, Anchor>> = const { RefCell::new(BTreeMap::new()) };
}

/// Shards that tests anchor.
pub struct Anchors;

impl anchor::Anchors for Anchors {
    fn anchored(shard: &ShardId) -> Option<Anchored> {
        let anchor = ANCHORS.with_borrow(|anchors| anchors.get(shard).copied())?;
        Some(Anchored { anchor, at: 1 })
    }
}

/// Changes a shard's anchor; before that it has one of a block that did nothing.
pub fn anchor(shard: ShardId, change: impl FnOnce(&mut Anchor)) {
    let zero = H256::zero();
    let first =
        Anchor { number: 1, header_hash: zero, inbox_consumed: 0, outbox_root: zero, outbox_closed: 0, fees: 0 };
    ANCHORS.with_borrow_mut(|anchors| change(anchors.entry(shard).or_insert(first)));
}

/// What the founder runs.
pub const FINGERPRINT: [u8; 32] = [3; 32];

/// Changes what the founder runs; nothing if it may not serve.
pub fn founder_serves(fingerprint: Option<[u8; 32]>) {
    SERVING.set(fingerprint);
}

impl crate::RegisteredEnclaves for Registry {
    fn serving(account: &AccountId) -> Option<EnclaveRecord> {
        let fingerprint = SERVING.with_borrow(|fingerprint| *fingerprint).filter(|_| *account == founder())?;
        Some(EnclaveRecord {
            fingerprint,
            signer: [0; 32],
            kind: TeeKind::Sgx,
            tcb_status: TcbStatus::UpToDate,
            advisories: Vec::new(),
            platform_id_hash: [0; 32],
            build_mode: BuildMode::Production,
            incarnation_key: [7; 32],
            tls_key_hash: [8; 32],
            url: None,
            bound_block: 0,
            incarnation_since: 0,
            verified_at: 0,
            expires_at: 1,
            standing: Standing::Active,
        })
    }
}

/// Runs at block 1 with 1 000 UNIT for Alice and the founder, who is registered.
pub fn run(test: impl FnOnce()) {
    let mut storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: vec![(alice(), 1_000 * UNIT), (founder(), 1_000 * UNIT)],
            ..Default::default()
        },
        ..Default::default()
    }
    .build_storage()
    .map(sp_io::TestExternalities::new)
    .expect("the genesis is valid");
    founder_serves(Some(FINGERPRINT));
    ANCHORS.take();
    DefaultOutflowLimit::set(None);
    storage.execute_with(|| {
        System::set_block_number(1);
        test();
    });
}

pub fn alice() -> AccountId {
    AccountId::new([1; 32])
}

pub fn founder() -> AccountId {
    AccountId::new([2; 32])
}

pub fn birth() -> ShardBirth {
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: FINGERPRINT,
            max_instances: None,
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 10,
        escrow_cap: Some(100 * UNIT),
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; 384] },
        genesis_commitment: H256::repeat_byte(6),
        founder: founder(),
    }
}

/// Never has money to begin with.
pub fn bob() -> AccountId {
    AccountId::new([3; 32])
}

pub fn create(birth: ShardBirth) -> RuntimeCall {
    RuntimeCall::EnclaveBridge(crate::Call::create_shard { birth: Box::new(birth) })
}

pub fn invoke(shard: ShardId, bytes: usize) -> RuntimeCall {
    RuntimeCall::EnclaveBridge(crate::Call::invoke { request: request(shard, bytes) })
}

/// Confirms the newest block that has a hash, or one so old that its hash is forgotten.
pub fn confirm(shard: ShardId) -> RuntimeCall {
    RuntimeCall::EnclaveBridge(crate::Call::confirm_processed_parentchain_block {
        shard,
        block_hash: System::block_hash(System::block_number() - 1),
        block_number: System::block_number() - 1,
        trusted_calls_merkle_root: H256::repeat_byte(1),
    })
}

pub fn request(shard: ShardId, bytes: usize) -> Request {
    Request { shard, cyphertext: vec![9; bytes].try_into().expect("a test's ciphertext is short") }
}

pub fn shield(shard: ShardId, amount: Balance) -> RuntimeCall {
    let encrypted_account = beneficiary();
    RuntimeCall::EnclaveBridge(crate::Call::shield_funds { shard, encrypted_account, amount })
}

pub fn beneficiary() -> EncryptedBeneficiary {
    vec![10; 88].try_into().expect("88 bytes fit")
}

/// Submits the entry at this place of those under a shard's anchored root.
pub fn unshield(shard: ShardId, open: &[OutboxEntry], place: u32) -> RuntimeCall {
    let tree = OutboxTree::new(&System::block_hash(0), &shard, open.to_vec());
    let (entry, path) = tree.prove(open[place as usize].number).expect("the entry is there");
    let OutboxEntry { id: call_hash, beneficiary, amount, .. } = entry.clone();
    RuntimeCall::EnclaveBridge(crate::Call::unshield_funds { shard, beneficiary, amount, call_hash, path })
}
