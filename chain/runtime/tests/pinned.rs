//! What enclaves and clients know of layer one without its metadata, compared with the runtime.

mod common;

use cloister_attestation::{Evidence, Signed};
use cloister_chain_primitives::{
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
    storage, AccountId, Acknowledgement, Anchor, Anchored, EnclaveRecord, Flows, InboxEntry, OutboxKind, OutflowLimit,
    OutflowUse, Registration, RegistrationPolicy, Retirement, ShardEntry, Verdict, REGISTRATION_DEPOSIT, SHARD_DEPOSIT,
    UNIT,
};
use cloister_runtime::{
    Aura, Balances, EnclaveBridge, Executive, Grandpa, Multisig, Preimage, Proxy, Runtime, RuntimeCall, Scheduler,
    Session, Sidechain, Sudo, System, Teerex, Timestamp, TransactionPayment, Treasury, UncheckedExtrinsic, Utility,
    ValidatorSet, SLOT_DURATION, SS58_PREFIX, VERSION,
};
use codec::{Decode, DecodeAll, Encode};
use common::*;
use frame_support::{
    storage::storage_prefix,
    traits::{Get, PalletInfoAccess},
};
use sp_core::{ed25519, Pair, H256};
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use sp_runtime::{
    generic::Era,
    transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidityError},
    MultiSignature,
};

#[test]
fn pallet_indices() {
    let indices = [
        System::index(),
        Preimage::index(),
        Timestamp::index(),
        Sudo::index(),
        Multisig::index(),
        Proxy::index(),
        Scheduler::index(),
        Utility::index(),
        Balances::index(),
        TransactionPayment::index(),
        ValidatorSet::index(),
        Session::index(),
        Aura::index(),
        Grandpa::index(),
        Treasury::index(),
        Teerex::index(),
        Sidechain::index(),
        EnclaveBridge::index(),
    ];
    assert_eq!(indices, [0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 21, 22, 23, 24, 30, 50, 53, 54]);
}

#[test]
fn version_and_constants() {
    assert_eq!((VERSION.spec_name.as_ref(), VERSION.spec_version), ("cloister", 5));
    assert_eq!((VERSION.transaction_version, VERSION.system_version), (4, 1));
    assert_eq!(SLOT_DURATION, 1_000);
    assert_eq!(<Runtime as frame_system::Config>::SS58Prefix::get(), SS58_PREFIX);
    let deposits: [u128; 2] = [
        <Runtime as pallet_teerex::Config>::RegistrationDeposit::get(),
        <Runtime as pallet_enclave_bridge::Config>::ShardDeposit::get(),
    ];
    assert_eq!(deposits, [REGISTRATION_DEPOSIT, SHARD_DEPOSIT]);
    let limit: Option<OutflowLimit> = <Runtime as pallet_enclave_bridge::Config>::DefaultOutflowLimit::get();
    assert_eq!(limit, Some(OutflowLimit { amount: 100_000 * UNIT, period: 3_600 }));
    let exits: u32 = <Runtime as pallet_enclave_bridge::Config>::MaxExitsPerBlock::get();
    assert_eq!(exits, 256);
}

#[test]
fn calls() {
    let shard = birth().shard_id(&genesis_hash());
    let (hash, root) = (H256::repeat_byte(1), H256::repeat_byte(2));
    let url: Vec<u8> = b"wss://worker.example:2000".to_vec();
    let registered = Registration { url: Some(url.try_into().expect("it fits")), ..registration(9, &hash) };
    let signed = Signed { body: vec![3; 70], signature: [4; 64], issuer_chain: vec![5; 80] };
    let transfer: RuntimeCall =
        pallet_balances::Call::transfer_allow_death { dest: Bob.to_account_id().into(), value: 3 }.into();
    let anchor =
        Anchor { number: 3, header_hash: hash, inbox_consumed: 4, outbox_root: root, outbox_closed: 5, fees: 6 };
    let owed = outbox(shard, (0..3).map(|number| entry(shard, number, OutboxKind::Exit, bob(), UNIT)).collect());
    let (owed_entry, path) = owed.prove(1).expect("it is open");
    let limit = OutflowLimit { amount: 7, period: 8 };
    let acknowledgements = vec![Acknowledgement { account: FOUNDER.to_account_id(), signature: [5; 64] }];
    let pairs: [(Call, RuntimeCall); 22] = [
        (Call::transfer_allow_death(&Bob.to_account_id(), 3), transfer.clone()),
        (Call::sudo(&Call::create_shard(&birth())), pallet_sudo::Call::sudo { call: Box::new(create()) }.into()),
        (
            Call::batch_all(&[Call::transfer_allow_death(&Bob.to_account_id(), 3), Call::create_shard(&birth())]),
            pallet_utility::Call::batch_all { calls: vec![transfer.clone(), create()] }.into(),
        ),
        (
            Call::force_batch(&[Call::transfer_allow_death(&Bob.to_account_id(), 3), Call::create_shard(&birth())]),
            pallet_utility::Call::force_batch { calls: vec![transfer.clone(), create()] }.into(),
        ),
        (
            Call::confirm_imported_sidechain_block(&shard, Some(&anchor.confirmation()), &anchor, &acknowledgements),
            pallet_sidechain::Call::confirm_imported_sidechain_block {
                shard,
                latest_finalized_ancestor: Some(anchor.confirmation()),
                finalization_candidate: anchor.confirmation(),
                inbox_consumed: 4,
                outbox_root: root,
                outbox_closed: 5,
                fees: 6,
                acknowledgements: acknowledgements.clone().try_into().expect("it fits"),
            }
            .into(),
        ),
        (Call::invoke(&request(shard)), invoke(shard)),
        (
            Call::confirm_processed_parentchain_block(&shard, &hash, 9, &root),
            pallet_enclave_bridge::Call::confirm_processed_parentchain_block {
                shard,
                block_hash: hash,
                block_number: 9,
                trusted_calls_merkle_root: root,
            }
            .into(),
        ),
        (Call::shield_funds(&shard, &beneficiary(), SHIELDED), shield(shard)),
        (Call::create_shard(&birth()), create()),
        (Call::unshield_funds(&shard, owed_entry, &path), unshield(shard, &owed, 1)),
        (
            Call::update_shard_config(&shard, &birth().config, 9),
            pallet_enclave_bridge::Call::update_shard_config { shard, config: birth().config, upgrade_delay: 9 }.into(),
        ),
        (Call::retire_shard(&shard), pallet_enclave_bridge::Call::retire_shard { shard }.into()),
        (
            Call::set_outflow_limit(&shard, Some(&limit)),
            pallet_enclave_bridge::Call::set_outflow_limit { shard, limit: Some(limit) }.into(),
        ),
        (
            Call::set_outflow_limit(&shard, None),
            pallet_enclave_bridge::Call::set_outflow_limit { shard, limit: None }.into(),
        ),
        (Call::claim(&shard, &bob()), pallet_enclave_bridge::Call::claim { shard, account: bob() }.into()),
        (
            Call::register_enclave(&registered),
            pallet_teerex::Call::register_enclave { registration: Box::new(registered.clone()) }.into(),
        ),
        (
            Call::register_tcb_info(&signed),
            pallet_teerex::Call::register_tcb_info {
                body: signed.body.clone().try_into().expect("it fits"),
                signature: signed.signature,
                issuer_chain: signed.issuer_chain.clone().try_into().expect("it fits"),
            }
            .into(),
        ),
        (
            Call::register_quoting_enclave(&signed),
            pallet_teerex::Call::register_quoting_enclave {
                body: signed.body.clone().try_into().expect("it fits"),
                signature: signed.signature,
                issuer_chain: signed.issuer_chain.clone().try_into().expect("it fits"),
            }
            .into(),
        ),
        (
            Call::register_crls(&[vec![1; 300], vec![2; 20]], &signed.issuer_chain),
            pallet_teerex::Call::register_crls {
                crls: vec![vec![1; 300].try_into().expect("it fits"), vec![2; 20].try_into().expect("it fits")]
                    .try_into()
                    .expect("they fit"),
                issuer_chain: signed.issuer_chain.clone().try_into().expect("it fits"),
            }
            .into(),
        ),
        (Call::unregister_sovereign_enclave(), pallet_teerex::Call::unregister_sovereign_enclave {}.into()),
        (Call::evict(&Bob.to_account_id()), pallet_teerex::Call::evict { account: Bob.to_account_id() }.into()),
        (
            Call::set_policy(&pallet_teerex::DefaultPolicy::get()),
            pallet_teerex::Call::set_policy { policy: Box::new(pallet_teerex::DefaultPolicy::get()) }.into(),
        ),
    ];
    for (ours, runtimes) in pairs {
        assert_eq!(RuntimeCall::decode_all(&mut &ours.encode()[..]), Ok(runtimes.clone()));
        assert_eq!(ours.encode(), runtimes.encode());
    }
}

fn bob() -> AccountId {
    Bob.to_account_id()
}

fn create() -> RuntimeCall {
    pallet_enclave_bridge::Call::create_shard { birth: Box::new(birth()) }.into()
}

#[test]
fn storage_keys() {
    use pallet_enclave_bridge::{
        Escrow, FlowsOf, Inbox, InboxLength, InboxPruned, OutflowLimits, OutflowUsage, Settled, SettledPruned, Shards,
        Unclaimed,
    };
    use pallet_sidechain::Anchors;
    use pallet_teerex::{EvidenceOf, Policy, SovereignEnclaves};

    let shard = birth().shard_id(&genesis_hash());
    let account = Alice.to_account_id();
    assert_eq!(storage::shard(&shard), Shards::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::shards_prefix(), storage_prefix(b"EnclaveBridge", b"Shards"));
    assert_eq!(storage::inbox_length(&shard), InboxLength::<Runtime>::hashed_key_for(shard));
    for number in [0, 1, 256, u64::MAX] {
        assert_eq!(storage::inbox_entry(&shard, number), Inbox::<Runtime>::hashed_key_for(shard, number));
        assert_eq!(storage::settled(&shard, number), Settled::<Runtime>::hashed_key_for(shard, number));
    }
    assert_eq!(storage::inbox_pruned(&shard), InboxPruned::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::anchor(&shard), Anchors::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::escrow(&shard), Escrow::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::flows(&shard), FlowsOf::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::outflow_limit(&shard), OutflowLimits::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::outflow_use(&shard), OutflowUsage::<Runtime>::hashed_key_for(shard));
    assert_eq!(storage::settled_pruned(&shard), SettledPruned::<Runtime>::hashed_key_for(shard));
    assert!(storage::unclaimed(&shard, &account).starts_with(&storage::unclaimed_prefix(&shard)));
    assert!(storage::unclaimed(&shard, &account).ends_with(account.as_ref()));
    assert_eq!(storage::unclaimed(&shard, &account), Unclaimed::<Runtime>::hashed_key_for(shard, &account));
    assert_eq!(storage::enclave(&account), SovereignEnclaves::<Runtime>::hashed_key_for(&account));
    assert_eq!(storage::enclaves_prefix(), storage_prefix(b"Teerex", b"SovereignEnclaves"));
    assert!(storage::enclave(&account).ends_with(account.as_ref()));
    assert_eq!(storage::evidence(&account), EvidenceOf::<Runtime>::hashed_key_for(&account));
    assert_eq!(storage::registration_policy(), Policy::<Runtime>::hashed_key());
    assert_eq!(storage::account(&account), frame_system::Account::<Runtime>::hashed_key_for(&account));
    assert_eq!(storage::timestamp(), pallet_timestamp::Now::<Runtime>::hashed_key());
}

#[test]
fn storage_values() {
    development(|chain| {
        let shard = chain.shard();
        chain.succeed(Bob, invoke(shard));
        chain.succeed(Bob, shield(shard));

        assert_eq!(stored(&storage::shard(&shard)), Some(ShardEntry::born(birth(), 1)));
        assert_eq!(stored(&storage::inbox_length(&shard)), Some(2u64));
        assert_eq!(stored(&storage::inbox_entry(&shard, 0)), Some(InboxEntry::Invoke(request(shard))));
        let shielding =
            InboxEntry::Shield { encrypted_beneficiary: beneficiary(), amount: SHIELDED, sender: Bob.to_account_id() };
        assert_eq!(stored(&storage::inbox_entry(&shard, 1)), Some(shielding));
        assert_eq!(stored::<InboxEntry>(&storage::inbox_entry(&shard, 2)), None);
        assert_eq!(stored(&storage::escrow(&shard)), Some(SHIELDED));
        assert_eq!(stored(&storage::enclave_bridge_version()), Some(storage::ENCLAVE_BRIDGE_VERSION));
        assert_eq!(stored(&storage::teerex_version()), Some(storage::TEEREX_VERSION));
        assert_eq!(stored(&storage::sidechain_version()), Some(storage::SIDECHAIN_VERSION));
        assert_eq!(stored::<Anchored>(&storage::anchor(&shard)), None);
        assert_eq!(stored(&storage::flows(&shard)), Some(Flows { shielded: SHIELDED, paid: 0, repaid: 0 }));
        let owed = [(bob(), UNIT), (AccountId::new([99; 32]), 1), (AccountId::new([98; 32]), 9)];
        let kinds = [OutboxKind::Unshield, OutboxKind::Unshield, OutboxKind::Return];
        let entries = (0..)
            .zip(kinds)
            .zip(owed)
            .map(|((number, kind), (account, amount))| entry(shard, number, kind, account, amount));
        let owed = outbox(shard, entries.collect());
        let first = Anchor { outbox_root: owed.root(), ..block(3, 2) };
        chain.succeed(Alice, anchor(shard, None, &first));
        assert_eq!(stored(&storage::anchor(&shard)), Some(Anchored { anchor: first, at: 1 }));
        for (number, verdict) in [(0, Verdict::Paid), (1, Verdict::Refused), (2, Verdict::Paid)] {
            assert_eq!(stored::<Verdict>(&storage::settled(&shard, number)), None);
            chain.succeed(Alice, unshield(shard, &owed, number));
            assert_eq!(stored(&storage::settled(&shard, number)), Some(verdict));
        }
        assert_eq!(stored(&storage::unclaimed(&shard, &AccountId::new([98; 32]))), Some(9u128));
        assert_eq!(stored::<u128>(&storage::unclaimed(&shard, &AccountId::new([99; 32]))), None);
        let paid = UNIT + 9;
        assert_eq!(stored(&storage::flows(&shard)), Some(Flows { shielded: SHIELDED, paid, repaid: 0 }));
        assert_eq!(stored(&storage::escrow(&shard)), Some(SHIELDED - paid));
        let used = OutflowUse { block: 1, left: paid, shielded: SHIELDED };
        assert_eq!(stored(&storage::outflow_use(&shard)), Some(used));
        assert_eq!(stored::<OutflowLimit>(&storage::outflow_limit(&shard)), None);
        let limit = OutflowLimit { amount: 7, period: 8 };
        chain.sudo(pallet_enclave_bridge::Call::set_outflow_limit { shard, limit: Some(limit) });
        assert_eq!(stored(&storage::outflow_limit(&shard)), Some(limit));
        chain.sudo(pallet_enclave_bridge::Call::retire_shard { shard });
        let retirement = Some(Retirement { announced_at: 1, opens_at: 11 });
        let retired = ShardEntry { retirement, ..ShardEntry::born(birth(), 1) };
        assert_eq!(stored(&storage::shard(&shard)), Some(retired));
        let founder = FOUNDER.to_account_id();
        let record: EnclaveRecord = stored(&storage::enclave(&founder)).expect("the founder is registered");
        assert_eq!((record.fingerprint, record.bound_block), (birth().config.enclave_fingerprint, 0));
        let evidence: Evidence = stored(&storage::evidence(&founder)).expect("and its evidence is kept");
        assert_eq!(evidence, registration(0, &genesis_hash()).evidence);
        let policy: RegistrationPolicy = stored(&storage::registration_policy()).expect("written at genesis");
        assert_eq!(policy.max_evidence_age, 250);
        assert_eq!(stored(&storage::timestamp()), Some(pallet_timestamp::Now::<Runtime>::get()));
        assert!(sp_io::storage::exists(&storage::events()));

        let bob: storage::AccountInfo = stored(&storage::account(&Bob.to_account_id())).expect("Bob has money");
        let info = System::account(Bob.to_account_id());
        assert_eq!((bob.nonce, bob.free), (2, info.data.free));
        assert_eq!(bob.references, [info.consumers, info.providers, info.sufficients]);
        assert_eq!((bob.reserved, bob.frozen), (info.data.reserved, info.data.frozen));
        assert_eq!(stored::<storage::AccountInfo>(&storage::account(&AccountId::new([99; 32]))), None);
    });
}

fn stored<T: Decode>(key: &[u8]) -> Option<T> {
    let value = sp_io::storage::get(key)?;
    Some(T::decode_all(&mut &value[..]).expect("the value has the known encoding"))
}

/// An immortal era.
fn immortal() -> Mortality {
    Mortality { era: Era::Immortal, birth_hash: genesis_hash() }
}

fn version() -> ChainVersion {
    ChainVersion {
        genesis: genesis_hash(),
        spec_version: VERSION.spec_version,
        transaction_version: VERSION.transaction_version,
    }
}

/// Strips the length that the RPC's form has, as a node does.
fn decode(extrinsic: &[u8]) -> UncheckedExtrinsic {
    UncheckedExtrinsic::decode_all(&mut &extrinsic[..]).expect("the extrinsic has the runtime's format")
}

#[test]
fn extrinsics_of_clients_are_valid() {
    development(|chain| {
        let shard = chain.shard();
        let sign = |payload: &[u8]| MultiSignature::from(Bob.pair().sign(payload));
        let bob = Bob.to_account_id();
        // Short and, with a shard's birth, hashed payloads.
        let calls = [
            Call::shield_funds(&shard, &beneficiary(), SHIELDED),
            Call::batch_all(&[Call::invoke(&request(shard)), Call::transfer_allow_death(&Alice.to_account_id(), UNIT)]),
        ];
        for (nonce, call) in (0..).zip(&calls) {
            let bytes = extrinsic::signed(call, &bob, nonce, immortal(), &version(), sign);
            let extrinsic = decode(&bytes);
            assert_eq!(extrinsic.encode(), bytes);
            Executive::apply_extrinsic(extrinsic).expect("valid").expect("takes effect");
        }
        assert_eq!(pallet_enclave_bridge::InboxLength::<Runtime>::get(shard), 2);
    });
}

#[test]
fn mortal_extrinsics_of_an_enclave_are_valid() {
    development(|chain| {
        let pair = ed25519::Pair::from_seed(&[42; 32]);
        let enclave = AccountId::from(pair.public());
        chain.succeed(
            Bob,
            pallet_balances::Call::transfer_allow_death { dest: enclave.clone().into(), value: 10 * UNIT },
        );
        chain.next();
        let birth_block = chain.number - 1;
        let mortality =
            Mortality { era: Era::mortal(64, u64::from(birth_block)), birth_hash: System::block_hash(birth_block) };
        assert!(!mortality.birth_hash.is_zero());
        let call = Call::transfer_allow_death(&Bob.to_account_id(), UNIT);
        let sign = |payload: &[u8]| MultiSignature::from(pair.sign(payload));
        let extrinsic = decode(&extrinsic::signed(&call, &enclave, 0, mortality, &version(), sign));
        Executive::apply_extrinsic(extrinsic).expect("valid").expect("takes effect");
    });
}

#[test]
fn the_pool_takes_only_extrinsics_for_this_chain_and_version() {
    development(|chain| {
        chain.next();
        let validate = |version: ChainVersion, nonce| {
            let call = Call::transfer_allow_death(&Alice.to_account_id(), UNIT);
            let sign = |payload: &[u8]| MultiSignature::from(Bob.pair().sign(payload));
            let bytes = extrinsic::signed(&call, &Bob.to_account_id(), nonce, immortal(), &version, sign);
            Executive::validate_transaction(TransactionSource::External, decode(&bytes), chain.parent())
        };
        let refused = |error: InvalidTransaction| Err(TransactionValidityError::Invalid(error));
        let valid = version();
        let foreign = ChainVersion { genesis: H256::zero(), ..valid };
        let old = ChainVersion { spec_version: 0, ..valid };
        let older = ChainVersion { transaction_version: 0, ..valid };
        assert_eq!(validate(foreign, 0), refused(InvalidTransaction::BadProof));
        assert_eq!(validate(old, 0), refused(InvalidTransaction::BadProof));
        assert_eq!(validate(older, 0), refused(InvalidTransaction::BadProof));
        assert!(validate(valid, 0).is_ok());
    });
}
