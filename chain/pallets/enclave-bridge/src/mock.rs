//! A runtime with this pallet, money and batches.

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, EncryptedBeneficiary, H256, Request, ShardBirth, ShardConfig, ShardId,
    ShieldingKeys, UNIT, shard::EnclaveRecord,
};
use frame_support::{
    construct_runtime, derive_impl,
    traits::{ConstU32, ConstU128},
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

impl crate::Config for Test {
    type Currency = Balances;
    type MaxInboxBytesPerBlock = ConstU32<MAX_BYTES>;
    type MaxInboxEntriesPerBlock = ConstU32<MAX_ENTRIES>;
}

/// Runs at block 1 with 1 000 UNIT for Alice and the member.
pub fn run(test: impl FnOnce()) {
    let mut storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: vec![(alice(), 1_000 * UNIT), (member(), 1_000 * UNIT)],
            ..Default::default()
        },
        ..Default::default()
    }
    .build_storage()
    .map(sp_io::TestExternalities::new)
    .expect("the genesis is valid");
    storage.execute_with(|| {
        System::set_block_number(1);
        test();
    });
}

pub fn alice() -> AccountId {
    AccountId::new([1; 32])
}

pub fn member() -> AccountId {
    AccountId::new([2; 32])
}

pub fn birth() -> ShardBirth {
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: [3; 32],
            max_instances: None,
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 10,
        escrow_cap: Some(100 * UNIT),
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; 384] },
        genesis_commitment: H256::repeat_byte(6),
        member: EnclaveRecord {
            measurement: [3; 32],
            account: member(),
            incarnation_key: [7; 32],
            tls_key_hash: [8; 32],
        },
    }
}

pub fn create(birth: ShardBirth) -> RuntimeCall {
    RuntimeCall::EnclaveBridge(crate::Call::create_shard { birth: Box::new(birth) })
}

pub fn invoke(shard: ShardId, bytes: usize) -> RuntimeCall {
    RuntimeCall::EnclaveBridge(crate::Call::invoke { request: request(shard, bytes) })
}

pub fn request(shard: ShardId, bytes: usize) -> Request {
    Request { shard, cyphertext: vec![9; bytes].try_into().expect("a test's ciphertext is short") }
}

pub fn shield(shard: ShardId, amount: Balance) -> RuntimeCall {
    let encrypted_beneficiary = beneficiary();
    RuntimeCall::EnclaveBridge(crate::Call::shield_funds { shard, encrypted_beneficiary, amount })
}

pub fn beneficiary() -> EncryptedBeneficiary {
    vec![10; 88].try_into().expect("88 bytes fit")
}
