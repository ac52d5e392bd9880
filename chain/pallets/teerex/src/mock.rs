//! A runtime with this pallet, money and time, and enclaves under the development root.

use cloister_attestation::{Evidence, Policy as AppraisalPolicy, Stance, collateral::RootOfTrust};
use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, EXISTENTIAL_DEPOSIT, H256, MARK_DEPOSIT, Moment, REGISTRATION_DEPOSIT,
    Registration, RegistrationPolicy, UNIT, registry::report_data,
};
use cloister_synthetic_evidence::{AT, Authority, Scenario};
use frame_support::{
    assert_ok, construct_runtime, derive_impl,
    traits::{ConstU32, ConstU128, Get},
};
use frame_system::mocking::MockBlockU32;
use sp_runtime::{BuildStorage, DispatchResult, traits::IdentityLookup};

construct_runtime! {
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Timestamp: pallet_timestamp,
        Teerex: crate,
    }
}

/// Blocks whose hash is remembered.
pub const BLOCK_HASH_COUNT: BlockNumber = 400;

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type AccountData = pallet_balances::AccountData<Balance>;
    type AccountId = AccountId;
    type Block = MockBlockU32<Test>;
    type BlockHashCount = ConstU32<BLOCK_HASH_COUNT>;
    type Lookup = IdentityLookup<AccountId>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
}

#[derive_impl(pallet_timestamp::config_preludes::TestDefaultConfig)]
impl pallet_timestamp::Config for Test {}

impl crate::Config for Test {
    type Currency = Balances;
    type MarkDeposit = ConstU128<MARK_DEPOSIT>;
    type RegistrationDeposit = ConstU128<REGISTRATION_DEPOSIT>;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Time = Timestamp;
}

/// Height at which tests begin.
pub const START: BlockNumber = 1_000;
/// The time then.
pub const NOW: Moment = AT;
pub const HOUR: Moment = 60 * 60 * 1_000;

/// Runs on a chain that allows simulation and has the development root's collateral.
pub fn run(test: impl FnOnce()) {
    bare(true, || {
        submit(&scenario());
        test();
    });
}

/// What the enclaves' accounts 1 and 2 have.
pub const MONEY: Balance = 10 * UNIT;

/// Runs on a chain without collateral.
pub fn bare(simulation_allowed: bool, test: impl FnOnce()) {
    let teerex = crate::GenesisConfig {
        simulation_allowed,
        policy: if simulation_allowed { policy() } else { crate::DefaultPolicy::get() },
        ..Default::default()
    };
    let balances = pallet_balances::GenesisConfig {
        balances: [1, 2].map(|number| (AccountId::new([number; 32]), MONEY)).to_vec(),
        ..Default::default()
    };
    let storage = RuntimeGenesisConfig { balances, teerex, ..Default::default() }.build_storage();
    let mut storage: sp_io::TestExternalities = storage.expect("the genesis is valid").into();
    storage.execute_with(|| {
        set_time(NOW);
        to(START);
        test();
    });
}

/// The usual policy, and simulation.
pub fn policy() -> RegistrationPolicy {
    let policy = crate::DefaultPolicy::get();
    RegistrationPolicy { appraisal: AppraisalPolicy { simulation: Stance::Allowed, ..policy.appraisal }, ..policy }
}

/// Changes the policy as root.
pub fn set_policy(change: impl FnOnce(&mut RegistrationPolicy)) {
    let mut policy = crate::Policy::<Test>::get();
    change(&mut policy);
    assert_ok!(Teerex::set_policy(RuntimeOrigin::root(), Box::new(policy)));
}

/// Goes to a height; the blocks before it have hashes.
pub fn to(height: BlockNumber) {
    for number in System::block_number().max(height.saturating_sub(BLOCK_HASH_COUNT))..height {
        if number > 0 {
            frame_system::BlockHash::<Test>::insert(number, block_hash(number));
        }
    }
    System::set_block_number(height);
    System::reset_events();
}

pub fn set_time(now: Moment) {
    pallet_timestamp::Now::<Test>::put(now);
}

/// Hash of a block but the genesis.
pub fn block_hash(number: BlockNumber) -> H256 {
    H256::from_low_u64_be(u64::from(number) + 1_000_000)
}

/// Evidence and collateral of an ordinary platform under the development root.
pub fn scenario() -> Scenario {
    Scenario::sgx(&Authority::development())
}

/// Submits a scenario's collateral.
pub fn submit(scenario: &Scenario) {
    assert_ok!(submit_tcb_info(scenario));
    assert_ok!(submit_qe_identity(scenario));
    assert_ok!(submit_crls(scenario));
}

pub fn submit_tcb_info(scenario: &Scenario) -> DispatchResult {
    let signed = scenario.collateral().tcb_info;
    Teerex::register_tcb_info(
        anybody(),
        signed.body.try_into().expect("it fits"),
        signed.signature,
        signed.issuer_chain.try_into().expect("it fits"),
    )
}

pub fn submit_qe_identity(scenario: &Scenario) -> DispatchResult {
    let signed = scenario.collateral().qe_identity;
    Teerex::register_quoting_enclave(
        anybody(),
        signed.body.try_into().expect("it fits"),
        signed.signature,
        signed.issuer_chain.try_into().expect("it fits"),
    )
}

/// Submits those of the scenario's lists that it has.
pub fn submit_crls(scenario: &Scenario) -> DispatchResult {
    let collateral = scenario.collateral();
    let crls: Vec<_> = collateral.root_crl.into_iter().chain(collateral.pck_crl.map(|signed| signed.crl)).collect();
    let crls: Vec<_> = crls.into_iter().map(|crl| crl.try_into().expect("it fits")).collect();
    let chain = scenario.authority.pck_ca_chain(scenario.issuer);
    Teerex::register_crls(anybody(), crls.try_into().expect("they fit"), chain.try_into().expect("it fits"))
}

pub fn anybody() -> RuntimeOrigin {
    RuntimeOrigin::signed(AccountId::new([0xaa; 32]))
}

/// One start of an enclave.
#[derive(Clone)]
pub struct Enclave {
    pub account: AccountId,
    pub incarnation_key: [u8; 32],
    pub tls_key_hash: [u8; 32],
}

/// The first start of the enclave that tests register.
pub fn enclave() -> Enclave {
    start(1)
}

/// Some start of the same enclave.
pub fn start(number: u8) -> Enclave {
    Enclave { account: AccountId::new([1; 32]), incarnation_key: [number; 32], tls_key_hash: [number ^ 0xff; 32] }
}

impl Enclave {
    pub fn origin(&self) -> RuntimeOrigin {
        RuntimeOrigin::signed(self.account.clone())
    }

    /// A registration that names a block.
    pub fn registration(&self, block_number: BlockNumber) -> Registration {
        self.registration_of(&scenario(), block_number)
    }

    /// The same on another platform.
    pub fn registration_of(&self, scenario: &Scenario, block_number: BlockNumber) -> Registration {
        let genesis = System::block_hash(0);
        self.registration_with(
            scenario,
            block_number,
            &report_data(&genesis, &self.account, &self.incarnation_key, &self.tls_key_hash, &block_hash(block_number)),
        )
    }

    /// The same with any report data.
    pub fn registration_with(
        &self,
        scenario: &Scenario,
        block_number: BlockNumber,
        report_data: &[u8; 64],
    ) -> Registration {
        Registration {
            evidence: Evidence::Dcap(scenario.clone().with_report_data(report_data).quote()),
            incarnation_key: self.incarnation_key,
            tls_key_hash: self.tls_key_hash,
            block_number,
            url: None,
        }
    }

    /// Submits a registration.
    pub fn submit(&self, registration: Registration) -> DispatchResult {
        Teerex::register_enclave(self.origin(), Box::new(registration))
    }

    /// Registers, naming the newest block that can be named.
    pub fn register(&self) {
        assert_ok!(self.submit(self.registration(System::block_number() - 1)));
    }

    pub fn evict(&self) -> DispatchResult {
        Teerex::evict(anybody(), self.account.clone()).map(|_| ()).map_err(|error| error.error)
    }
}

pub const DEVELOPMENT: RootOfTrust = RootOfTrust::Development;
