//! A runtime with this pallet, `EnclaveBridge` and a registry that tests fill.

use std::cell::{Cell, RefCell};

use cloister_chain_primitives::{
    AccountId, Acknowledgement, Anchor, Balance, BuildMode, EXISTENTIAL_DEPOSIT, EnclaveRecord, H256, Moment,
    OutflowLimit, Request, SHARD_DEPOSIT, ShardBirth, ShardConfig, ShardId, ShieldingKeys, SidechainBlockConfirmation,
    Standing, UNIT,
};
use cloister_claims::{TcbStatus, TeeKind};
use frame_support::{
    assert_ok, construct_runtime, derive_impl, parameter_types,
    traits::{ConstU32, ConstU128},
    weights::Weight,
};
use frame_system::mocking::MockBlockU32;
use sp_core::{Pair, ed25519};
use sp_runtime::{
    BuildStorage,
    traits::{Dispatchable, IdentityLookup},
};

construct_runtime! {
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        EnclaveBridge: pallet_enclave_bridge,
        Sidechain: crate,
    }
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type AccountData = pallet_balances::AccountData<Balance>;
    type AccountId = AccountId;
    type Block = MockBlockU32<Test>;
    type Lookup = IdentityLookup<AccountId>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
}

parameter_types! {
    pub const NoOutflowLimit: Option<OutflowLimit> = None;
}

impl pallet_enclave_bridge::Config for Test {
    type Anchors = Sidechain;
    type Currency = Balances;
    type DefaultOutflowLimit = NoOutflowLimit;
    type MaxExitsPerBlock = ConstU32<1>;
    type MaxInboxBytesPerBlock = ConstU32<1_000>;
    type MaxInboxEntriesPerBlock = ConstU32<10>;
    type MaxPrunedPerCall = ConstU32<3>;
    type Registry = Registry;
    type RuntimeHoldReason = RuntimeHoldReason;
    type ShardDeposit = ConstU128<SHARD_DEPOSIT>;
    type StrangersRepaidAfter = ConstU32<1>;
    type SubmissionFee = SubmissionFee;
}

/// A planck per picosecond, and a thousand per byte.
pub struct SubmissionFee;

impl pallet_enclave_bridge::SubmissionFee for SubmissionFee {
    fn fee(weight: Weight, call_bytes: usize) -> Balance {
        Balance::from(weight.ref_time()) + 1_000 * call_bytes as Balance
    }
}

impl crate::Config for Test {}

/// Holds the founder's record.
pub struct Registry;

thread_local! {
    static RECORD: RefCell<Option<EnclaveRecord>> = const { RefCell::new(None) };
    static NOW: Cell<Moment> = const { Cell::new(0) };
}

impl pallet_enclave_bridge::RegisteredEnclaves for Registry {
    fn serving(account: &AccountId) -> Option<EnclaveRecord> {
        RECORD.with_borrow(Clone::clone).filter(|record| *account == founder() && record.serves_at(NOW.get()))
    }
}

/// Changes the founder's record; none if it is not registered.
pub fn registered(record: Option<EnclaveRecord>) {
    RECORD.set(record);
}

/// Changes layer one's time. The founder's registration expires at [`EXPIRY`].
pub fn time(now: Moment) {
    NOW.set(now);
}

pub const EXPIRY: Moment = 1_000;

/// What the founder runs.
pub const FINGERPRINT: [u8; 32] = [3; 32];

/// The founder's record while this incarnation serves.
pub fn record(incarnation: &ed25519::Pair) -> EnclaveRecord {
    EnclaveRecord {
        fingerprint: FINGERPRINT,
        signer: [0; 32],
        kind: TeeKind::Sgx,
        tcb_status: TcbStatus::UpToDate,
        advisories: Vec::new(),
        platform_id_hash: [0; 32],
        build_mode: BuildMode::Production,
        incarnation_key: incarnation.public().0,
        tls_key_hash: [8; 32],
        url: None,
        bound_block: 0,
        incarnation_since: 0,
        verified_at: 0,
        expires_at: EXPIRY,
        standing: Standing::Active,
    }
}

/// Runs at block 1 of the chain with [`genesis`]. The founder's first incarnation is registered.
pub fn run(test: impl FnOnce()) {
    let mut storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig { balances: vec![(founder(), 1_000 * UNIT)], ..Default::default() },
        ..Default::default()
    }
    .build_storage()
    .map(sp_io::TestExternalities::new)
    .expect("the genesis is valid");
    registered(Some(record(&first())));
    time(0);
    storage.execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, genesis());
        System::set_block_number(1);
        test();
    });
}

pub fn genesis() -> H256 {
    H256::repeat_byte(0x11)
}

/// Submits anchors and is nobody special.
pub fn alice() -> AccountId {
    AccountId::new([1; 32])
}

pub fn founder() -> AccountId {
    AccountId::new([2; 32])
}

/// Key of the founder's first incarnation.
pub fn first() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[71; 32])
}

/// Key of its second.
pub fn second() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[72; 32])
}

/// A shard with so many entries in its inbox. Another delay makes another shard.
pub fn born(upgrade_delay: u32, entries: u64) -> ShardId {
    let birth = ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: FINGERPRINT,
            max_instances: None,
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay,
        escrow_cap: None,
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; 384] },
        genesis_commitment: H256::repeat_byte(6),
        founder: founder(),
    };
    let shard = birth.shard_id(&genesis());
    let by_founder = || RuntimeOrigin::signed(founder());
    let birth = Box::new(birth);
    assert_ok!(EnclaveBridge::create_shard(by_founder(), birth));
    for _ in 0..entries {
        assert_ok!(EnclaveBridge::invoke(by_founder(), Request { shard, cyphertext: Default::default() }));
    }
    shard
}

/// An anchor of the block with this height that has consumed, closed and collected nothing.
pub fn anchor(number: u64) -> Anchor {
    let byte = u8::try_from(number).expect("tests have short chains");
    let (header_hash, outbox_root) = (H256::repeat_byte(byte), H256::repeat_byte(!byte));
    Anchor { number, header_hash, inbox_consumed: 0, outbox_root, outbox_closed: 0, fees: 0 }
}

/// The founder's signature under an anchor on the chain with [`genesis`].
pub fn acknowledge(key: &ed25519::Pair, shard: &ShardId, anchor: &Anchor) -> Acknowledgement {
    Acknowledgement { account: founder(), signature: key.sign(&anchor.signed_bytes(&genesis(), shard)).0 }
}

/// What a call says. Tests change one thing of it.
#[derive(Clone)]
pub struct Candidate {
    pub shard: ShardId,
    pub ancestor: Option<SidechainBlockConfirmation>,
    pub anchor: Anchor,
    pub acknowledgements: Vec<Acknowledgement>,
}

impl Candidate {
    /// Acknowledged by the founder's first incarnation.
    pub fn new(shard: ShardId, ancestor: Option<&Anchor>, anchor: Anchor) -> Self {
        let acknowledgements = vec![acknowledge(&first(), &shard, &anchor)];
        Self { shard, ancestor: ancestor.map(Anchor::confirmation), anchor, acknowledgements }
    }

    pub fn call(self) -> RuntimeCall {
        RuntimeCall::Sidechain(crate::Call::confirm_imported_sidechain_block {
            shard: self.shard,
            latest_finalized_ancestor: self.ancestor,
            finalization_candidate: self.anchor.confirmation(),
            inbox_consumed: self.anchor.inbox_consumed,
            outbox_root: self.anchor.outbox_root,
            outbox_closed: self.anchor.outbox_closed,
            fees: self.anchor.fees,
            acknowledgements: self.acknowledgements.try_into().expect("tests have few members"),
        })
    }

    /// Sent by Alice.
    pub fn submit(self) -> frame_support::dispatch::DispatchResultWithPostInfo {
        self.call().dispatch(RuntimeOrigin::signed(alice()))
    }
}
