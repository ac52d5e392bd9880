//! A chain without a node: builds blocks on the real runtime from a genesis preset.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use cloister_attestation::{Evidence, Signed};
use cloister_chain_primitives::{
    outbox::{outbox_id, OutboxTree},
    registry::report_data,
    AccountId, Acknowledgement, Anchor, Balance, BlockNumber, EncryptedBeneficiary, Header, Nonce, OutboxEntry,
    OutboxKind, Registration, Request, ShardBirth, ShardConfig, ShardId, ShieldingKeys, H256, UNIT,
};
use cloister_runtime::{
    genesis, Balances, EnclaveBridge, Executive, Runtime, RuntimeCall, RuntimeEvent, RuntimeGenesisConfig, Sidechain,
    SignedPayload, System, Teerex, TxExtension, UncheckedExtrinsic, SLOT_DURATION,
};
use cloister_synthetic_evidence::{Authority, Scenario};
use codec::Encode;
use frame_support::{
    dispatch::GetDispatchInfo,
    traits::{fungible::Inspect, BuildGenesisConfig, PalletInfoAccess},
};
use serde_json::Value;
use sp_consensus_aura::AURA_ENGINE_ID;
use sp_core::{ed25519, Pair};
use sp_io::TestExternalities;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
    generic::{Digest, DigestItem, Era},
    traits::Header as _,
    ApplyExtrinsicResult, DispatchError,
};

/// Slot of block 0.
const FIRST_SLOT: u64 = 1_700_000_000;

/// Hash of block 0. The runtime learns it from block 1's header.
pub fn genesis_hash() -> H256 {
    H256::repeat_byte(0x47)
}

/// State after a preset's genesis.
pub fn preset(name: &str) -> TestExternalities {
    let mut config = serde_json::to_value(RuntimeGenesisConfig::default()).expect("a configuration is JSON");
    let patch = genesis::preset(&name.into()).expect("the preset exists");
    merge(&mut config, serde_json::from_slice(&patch).expect("a preset is JSON"));
    let config: RuntimeGenesisConfig = serde_json::from_value(config).expect("the patched genesis is complete");
    let mut storage = TestExternalities::default();
    storage.execute_with(|| config.build());
    storage
}

/// RFC 7386, as a node does it.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            patch.into_iter().for_each(|(key, value)| merge(target.entry(key).or_insert(Value::Null), value));
        }
        (target, patch) => *target = patch,
    }
}

/// Runs on a chain of the `development` preset whose block 1 is open.
pub fn development(test: impl FnOnce(&mut Chain)) {
    chain("development", test)
}

/// Runs on a chain of a preset whose block 1 is open.
pub fn chain(name: &str, test: impl FnOnce(&mut Chain)) {
    preset(name).execute_with(|| {
        let mut chain = Chain { parent: genesis_hash(), number: 0 };
        chain.open();
        test(&mut chain);
    });
}

/// The chain; its newest block is open for extrinsics.
pub struct Chain {
    parent: H256,
    pub number: BlockNumber,
}

impl Chain {
    fn open(&mut self) {
        self.number += 1;
        let slot = FIRST_SLOT + u64::from(self.number);
        let digest = Digest { logs: vec![DigestItem::PreRuntime(AURA_ENGINE_ID, slot.encode())] };
        let header = Header::new(self.number, H256::zero(), H256::zero(), self.parent, digest);
        Executive::initialize_block(&header);
        let now = pallet_timestamp::Call::set { now: slot * SLOT_DURATION };
        let inherent = UncheckedExtrinsic::new_bare(RuntimeCall::Timestamp(now));
        Executive::apply_extrinsic(inherent).expect("time is valid").expect("time is set");
    }

    /// Finishes the open block and opens the next one.
    pub fn next(&mut self) -> Header {
        let header = Executive::finalize_block();
        self.parent = header.hash();
        self.open();
        header
    }

    /// Finishes blocks until this one is open.
    pub fn to(&mut self, number: BlockNumber) {
        while self.number < number {
            self.next();
        }
    }

    /// Hash of the newest finished block.
    pub fn parent(&self) -> H256 {
        self.parent
    }

    /// Sends a call.
    pub fn send(&self, signer: Sr25519Keyring, call: impl Into<RuntimeCall>) -> ApplyExtrinsicResult {
        Executive::apply_extrinsic(signed(signer, call.into()))
    }

    /// Sends an extrinsic that was signed before.
    pub fn apply(&self, extrinsic: UncheckedExtrinsic) -> ApplyExtrinsicResult {
        Executive::apply_extrinsic(extrinsic)
    }

    /// Signs a call as an enclave does: for some blocks from the newest finished one on.
    pub fn sign_mortal(
        &self,
        signer: Sr25519Keyring,
        call: impl Into<RuntimeCall>,
        nonce: Nonce,
    ) -> UncheckedExtrinsic {
        signed_with(signer, call.into(), nonce, Era::mortal(64, u64::from(self.number - 1)))
    }

    /// Sends a call that must take effect.
    pub fn succeed(&self, signer: Sr25519Keyring, call: impl Into<RuntimeCall>) {
        self.send(signer, call).expect("the extrinsic is valid").expect("the call takes effect");
    }

    /// Sends a call as root that must take effect.
    pub fn sudo(&self, call: impl Into<RuntimeCall>) {
        self.succeed(Sr25519Keyring::Alice, pallet_sudo::Call::sudo { call: Box::new(call.into()) });
        let last = System::events().into_iter().rev().find_map(|record| match record.event {
            RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result }) => Some(sudo_result),
            _ => None,
        });
        assert_eq!(last, Some(Ok(())), "the call of root takes effect");
    }

    /// Submits the development root's collateral.
    pub fn collateral(&self) {
        let scenario = scenario();
        let collateral = scenario.collateral();
        let Signed { body, signature, issuer_chain } = collateral.tcb_info;
        let (body, issuer_chain) = (body.try_into().expect("it fits"), issuer_chain.try_into().expect("it fits"));
        self.succeed(FOUNDER, pallet_teerex::Call::register_tcb_info { body, signature, issuer_chain });
        let Signed { body, signature, issuer_chain } = collateral.qe_identity;
        let (body, issuer_chain) = (body.try_into().expect("it fits"), issuer_chain.try_into().expect("it fits"));
        self.succeed(FOUNDER, pallet_teerex::Call::register_quoting_enclave { body, signature, issuer_chain });
        let crls = collateral.root_crl.into_iter().chain(collateral.pck_crl.map(|list| list.crl));
        let crls: Vec<_> = crls.map(|crl| crl.try_into().expect("it fits")).collect();
        let issuer_chain = scenario.authority.pck_ca_chain(scenario.issuer).try_into().expect("it fits");
        self.succeed(
            FOUNDER,
            pallet_teerex::Call::register_crls { crls: crls.try_into().expect("they fit"), issuer_chain },
        );
    }

    /// Registers the founder, naming the newest finished block.
    pub fn register(&self) {
        let registration = Box::new(registration(self.number - 1, &self.parent));
        self.succeed(FOUNDER, pallet_teerex::Call::register_enclave { registration });
    }

    /// Bears a shard and returns its id.
    pub fn shard(&self) -> ShardId {
        self.collateral();
        self.register();
        self.succeed(FOUNDER, pallet_enclave_bridge::Call::create_shard { birth: Box::new(birth()) });
        birth().shard_id(&genesis_hash())
    }
}

/// The account of the enclave of these tests.
pub const FOUNDER: Sr25519Keyring = Sr25519Keyring::Ferdie;
/// What it runs.
const FINGERPRINT: [u8; 32] = [1; 32];

/// Evidence and collateral of the founder's platform.
pub fn scenario() -> Scenario {
    Scenario::sgx(&Authority::development()).with_measurement(&FINGERPRINT)
}

/// Key of the founder's incarnation.
pub fn incarnation() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[6; 32])
}

/// Key of its next incarnation.
pub fn next_incarnation() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[7; 32])
}

/// A registration of the founder that names a block.
pub fn registration(block_number: BlockNumber, block_hash: &H256) -> Registration {
    registration_of(&incarnation(), block_number, block_hash)
}

/// A registration of this incarnation of the founder.
pub fn registration_of(incarnation: &ed25519::Pair, block_number: BlockNumber, block_hash: &H256) -> Registration {
    let (incarnation_key, tls_key_hash) = (incarnation.public().0, [7; 32]);
    let stated = report_data(&genesis_hash(), &FOUNDER.to_account_id(), &incarnation_key, &tls_key_hash, block_hash);
    let evidence = Evidence::Dcap(scenario().with_report_data(&stated).quote());
    Registration { evidence, incarnation_key, tls_key_hash, block_number, url: None }
}

fn signed(signer: Sr25519Keyring, call: RuntimeCall) -> UncheckedExtrinsic {
    signed_with(signer, call, System::account_nonce(signer.to_account_id()), Era::Immortal)
}

fn signed_with(signer: Sr25519Keyring, call: RuntimeCall, nonce: Nonce, era: Era) -> UncheckedExtrinsic {
    let account = signer.to_account_id();
    let extension = extension(nonce, era);
    let payload = SignedPayload::new(call.clone(), extension.clone()).expect("extensions know the chain");
    let signature = payload.using_encoded(|payload| signer.pair().sign(payload));
    UncheckedExtrinsic::new_signed(call, account.into(), signature.into(), extension)
}

fn extension(nonce: Nonce, era: Era) -> TxExtension {
    (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(era),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
    )
}

/// Parameters of the shard of these tests.
pub fn birth() -> ShardBirth {
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: FINGERPRINT,
            max_instances: Some(1),
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 10,
        escrow_cap: Some(1_000 * UNIT),
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [2; 32], rsa_modulus: [3; 384] },
        genesis_commitment: H256::repeat_byte(4),
        founder: FOUNDER.to_account_id(),
    }
}

/// An encrypted call.
pub fn request(shard: ShardId) -> Request {
    Request { shard, cyphertext: vec![8; 300].try_into().expect("300 bytes fit") }
}

/// An encrypted account.
pub fn beneficiary() -> EncryptedBeneficiary {
    vec![9; 88].try_into().expect("88 bytes fit")
}

/// What `shield` moves.
pub const SHIELDED: Balance = 7 * UNIT;

pub fn invoke(shard: ShardId) -> RuntimeCall {
    pallet_enclave_bridge::Call::<Runtime>::invoke { request: request(shard) }.into()
}

pub fn shield(shard: ShardId) -> RuntimeCall {
    shield_amount(shard, SHIELDED)
}

pub fn shield_amount(shard: ShardId, amount: Balance) -> RuntimeCall {
    let encrypted_account = beneficiary();
    pallet_enclave_bridge::Call::<Runtime>::shield_funds { shard, encrypted_account, amount }.into()
}

/// The account of a shard's escrow.
pub fn escrow(shard: &ShardId) -> AccountId {
    EnclaveBridge::escrow_account(shard)
}

/// A block of a shard with this height and so many consumed entries, which owes nothing and has no fees.
pub fn block(number: u64, inbox_consumed: u64) -> Anchor {
    let header_hash = H256::from_low_u64_be(number);
    Anchor { number, header_hash, inbox_consumed, outbox_root: H256::zero(), outbox_closed: 0, fees: 0 }
}

/// Anchors a block of a shard, acknowledged by the founder.
pub fn anchor(shard: ShardId, ancestor: Option<&Anchor>, anchor: &Anchor) -> RuntimeCall {
    anchor_by(&incarnation(), shard, ancestor, anchor)
}

/// Anchors a block of a shard, acknowledged by this incarnation of the founder.
pub fn anchor_by(
    incarnation: &ed25519::Pair,
    shard: ShardId,
    ancestor: Option<&Anchor>,
    anchor: &Anchor,
) -> RuntimeCall {
    let signature = incarnation.sign(&anchor.signed_bytes(&genesis_hash(), &shard)).0;
    let acknowledgement = Acknowledgement { account: FOUNDER.to_account_id(), signature };
    pallet_sidechain::Call::<Runtime>::confirm_imported_sidechain_block {
        shard,
        latest_finalized_ancestor: ancestor.map(Anchor::confirmation),
        finalization_candidate: anchor.confirmation(),
        inbox_consumed: anchor.inbox_consumed,
        outbox_root: anchor.outbox_root,
        outbox_closed: anchor.outbox_closed,
        fees: anchor.fees,
        acknowledgements: vec![acknowledgement].try_into().expect("one fits"),
    }
    .into()
}

/// The founder's confirmation of the newest finished block.
pub fn confirm(chain: &Chain, shard: ShardId) -> RuntimeCall {
    pallet_enclave_bridge::Call::<Runtime>::confirm_processed_parentchain_block {
        shard,
        block_hash: chain.parent(),
        block_number: chain.number - 1,
        trusted_calls_merkle_root: H256::repeat_byte(5),
    }
    .into()
}

/// An entry of a shard's outbox.
pub fn entry(shard: ShardId, number: u64, kind: OutboxKind, beneficiary: AccountId, amount: Balance) -> OutboxEntry {
    OutboxEntry { number, id: outbox_id(&genesis_hash(), &shard, 1, number), kind, beneficiary, amount }
}

/// What a shard owes.
pub fn outbox(shard: ShardId, entries: Vec<OutboxEntry>) -> OutboxTree {
    OutboxTree::new(&genesis_hash(), &shard, entries)
}

/// Has an entry of a shard's outbox settled.
pub fn unshield(shard: ShardId, outbox: &OutboxTree, number: u64) -> RuntimeCall {
    let (entry, path) = outbox.prove(number).expect("the entry is open");
    let OutboxEntry { id: call_hash, beneficiary, amount, .. } = entry.clone();
    pallet_enclave_bridge::Call::<Runtime>::unshield_funds { shard, beneficiary, amount, call_hash, path }.into()
}

/// Everything that our pallets store.
pub fn ours() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut stored = BTreeMap::new();
    for pallet in [Teerex::name(), Sidechain::name(), EnclaveBridge::name()] {
        let prefix = sp_io::hashing::twox_128(pallet.as_bytes());
        let mut key = prefix.to_vec();
        while let Some(next) = sp_io::storage::next_key(&key).filter(|key| key.starts_with(&prefix)) {
            stored.insert(next.clone(), sp_io::storage::get(&next).expect("it is there").to_vec());
            key = next;
        }
    }
    stored
}

/// Planck of a call's declared time, at the lowest prices.
pub fn declared(call: &RuntimeCall) -> Balance {
    Balance::from(call.get_dispatch_info().call_weight.ref_time())
}

/// Sends what must be refused and answers with why. It changes nothing of ours and costs what it declares.
pub fn refused(chain: &Chain, sender: Sr25519Keyring, call: impl Into<RuntimeCall>) -> DispatchError {
    let call = call.into();
    let (before, money, price) = (ours(), Balances::balance(&sender.to_account_id()), declared(&call));
    let error = chain.send(sender, call).expect("the extrinsic is valid").expect_err("the call is refused");
    assert!(ours() == before, "{error:?} left something behind");
    assert!(money - Balances::balance(&sender.to_account_id()) >= price, "{error:?} is too cheap");
    error
}

/// Sends a batch that goes on after what fails, and answers with what became of each of its calls.
pub fn batch(chain: &Chain, sender: Sr25519Keyring, calls: Vec<RuntimeCall>) -> Vec<Result<(), DispatchError>> {
    System::reset_events();
    chain.succeed(sender, pallet_utility::Call::force_batch { calls });
    let of_call = |event| match event {
        RuntimeEvent::Utility(pallet_utility::Event::ItemCompleted) => Some(Ok(())),
        RuntimeEvent::Utility(pallet_utility::Event::ItemFailed { error }) => Some(Err(error)),
        _ => None,
    };
    System::events().into_iter().filter_map(|record| of_call(record.event)).collect()
}

/// A shard into which Bob shielded 7 UNIT, in a new block.
pub fn shielded(chain: &mut Chain) -> ShardId {
    let shard = chain.shard();
    chain.succeed(Sr25519Keyring::Bob, shield(shard));
    chain.next();
    shard
}
