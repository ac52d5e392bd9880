//! The registry on the real runtime: collateral and evidence of genuine hardware, and the life of an enclave block by block.
//! That the runtime's wasm says the same is a test of `chain/node`, which alone may execute it.

mod common;

use cloister_attestation::{
    bundle,
    collateral::{CrlIssuer, PlatformType, RootOfTrust},
    Collateral, Evidence, Policy, Refusal, Signed,
};
use cloister_chain_primitives::{AccountId, Registration, RegistrationPolicy, RegistrationRefused, Standing};
use cloister_runtime::{Runtime, RuntimeEvent, System, Teerex};
use common::*;
use frame_support::assert_ok;
use pallet_teerex::{Error, EvictionReason, QeIdentities, RevocationLists, SovereignEnclaves, TcbInfos};
use sp_keyring::Sr25519Keyring::{Alice, Bob};

/// Milliseconds: 2025-07-01T00:00:00Z, inside the validity of both recorded collaterals.
const JULY: u64 = 1_751_328_000_000;

fn recorded() -> [(PlatformType, Evidence, Collateral); 2] {
    let sgx = include_bytes!("../../../attestation/tests/vectors/sgx-v3/quote.bin").to_vec();
    let tdx = include_bytes!("../../../attestation/tests/vectors/tdx-v4/quote.bin").to_vec();
    let parse = |json| bundle::parse_json(json).expect("a bundle");
    let sgx_collateral = parse(include_str!("../../../attestation/tests/vectors/sgx-v3/collateral.json"));
    let tdx_collateral = parse(include_str!("../../../attestation/tests/vectors/tdx-v4/collateral.json"));
    [(PlatformType::Sgx, Evidence::Dcap(sgx), sgx_collateral), (PlatformType::Tdx, Evidence::Dcap(tdx), tdx_collateral)]
}

#[test]
fn genuine_collateral_is_taken_and_genuine_evidence_verified_with_it() {
    preset("development").execute_with(|| {
        System::set_block_number(2);
        pallet_timestamp::Now::<Runtime>::put(JULY);
        frame_system::BlockHash::<Runtime>::insert(1, genesis_hash());
        let origin = || frame_system::RawOrigin::Signed(Bob.to_account_id()).into();
        for (platform, evidence, collateral) in recorded() {
            let registration = Registration { evidence, ..registration(1, &genesis_hash()) };
            let check = || Teerex::check(&FOUNDER.to_account_id(), &registration);
            assert_eq!(check(), Err(RegistrationRefused::TcbInfoMissing));
            let bounded = |signed: Signed| {
                (
                    signed.body.try_into().expect("it fits"),
                    signed.signature,
                    signed.issuer_chain.try_into().expect("it fits"),
                )
            };
            let (body, signature, chain) = bounded(collateral.tcb_info);
            assert_ok!(Teerex::register_tcb_info(origin(), body, signature, chain));
            assert_eq!(check(), Err(RegistrationRefused::QeIdentityMissing));
            let (body, signature, chain) = bounded(collateral.qe_identity);
            assert_ok!(Teerex::register_quoting_enclave(origin(), body, signature, chain));
            let list = collateral.pck_crl.expect("recorded");
            let crls: Vec<_> = collateral.root_crl.into_iter().chain([list.crl]).collect();
            let crls: Vec<_> = crls.into_iter().map(|crl| crl.try_into().expect("it fits")).collect();
            let chain = list.issuer_chain.try_into().expect("it fits");
            assert_ok!(Teerex::register_crls(origin(), crls.try_into().expect("they fit"), chain));
            assert!(QeIdentities::<Runtime>::contains_key((RootOfTrust::Intel, platform)));
            // Genuine, but it speaks of nobody here.
            assert_eq!(check(), Err(RegistrationRefused::ReportData));
        }
        assert_eq!(TcbInfos::<Runtime>::iter().count(), 2);
        assert!(RevocationLists::<Runtime>::contains_key((RootOfTrust::Intel, CrlIssuer::Root)));
    });
}

#[test]
fn an_enclave_lives_and_goes() {
    development(|chain| {
        chain.collateral();
        let account = FOUNDER.to_account_id();
        let stale = registration(0, &genesis_hash());
        chain.to(3);
        chain.register();
        let record = SovereignEnclaves::<Runtime>::get(&account).expect("it is registered");
        assert_eq!((record.bound_block, record.incarnation_since), (2, 3));
        let again = chain.send(FOUNDER, register(stale)).expect("the extrinsic is valid");
        assert_eq!(again, Err(Error::<Runtime>::Registration(RegistrationRefused::NotLater.into()).into()));

        // Renewal.
        chain.to(6);
        chain.register();
        let record = SovereignEnclaves::<Runtime>::get(&account).expect("it is registered");
        assert_eq!((record.bound_block, record.incarnation_since), (5, 3));

        // A policy that does not want simulation evicts with grace.
        let policy = pallet_teerex::Policy::<Runtime>::get();
        let strict = RegistrationPolicy { appraisal: Policy::default(), eviction_grace_ms: 2_000, ..policy };
        chain.sudo(pallet_teerex::Call::set_policy { policy: Box::new(strict) });
        chain.succeed(Bob, evict(&account));
        let standing = SovereignEnclaves::<Runtime>::get(&account).map(|record| record.standing);
        assert!(matches!(standing, Some(Standing::Leaving { .. })));
        assert_eq!(Teerex::serving(&account), None);
        let early = chain.send(Alice, evict(&account)).expect("the extrinsic is valid");
        assert_eq!(early, Err(Error::<Runtime>::GraceNotOver.into()));
        chain.to(8);
        chain.succeed(Alice, evict(&account));
        let reason = EvictionReason::Unwanted;
        let evicted = RuntimeEvent::Teerex(pallet_teerex::Event::EvictedEnclave { account: account.clone(), reason });
        assert!(System::events().iter().any(|record| record.event == evicted));
        assert_eq!(SovereignEnclaves::<Runtime>::get(&account), None);

        chain.to(9);
        let again = chain.send(FOUNDER, register(registration(8, &chain.parent()))).expect("the extrinsic is valid");
        let refused = RegistrationRefused::Policy(Refusal::Simulated);
        assert_eq!(again, Err(Error::<Runtime>::Registration(refused.into()).into()));
    });
}

#[test]
fn who_was_evicted_bears_no_shard() {
    development(|chain| {
        chain.collateral();
        let bear = || pallet_enclave_bridge::Call::create_shard { birth: Box::new(birth()) };
        let refused = chain.send(FOUNDER, bear()).expect("the extrinsic is valid");
        assert_eq!(refused, Err(pallet_enclave_bridge::Error::<Runtime>::FounderNotServing.into()));
        chain.register();
        chain.succeed(FOUNDER, pallet_teerex::Call::unregister_sovereign_enclave {});
        let refused = chain.send(FOUNDER, bear()).expect("the extrinsic is valid");
        assert_eq!(refused, Err(pallet_enclave_bridge::Error::<Runtime>::FounderNotServing.into()));
    });
}

#[test]
fn registrations_fit_a_block_and_are_paid_for() {
    use frame_support::dispatch::{DispatchClass, GetDispatchInfo, Pays};
    let limits = <<Runtime as frame_system::Config>::BlockWeights as frame_support::traits::Get<
        frame_system::limits::BlockWeights,
    >>::get();
    let most = limits.get(DispatchClass::Normal).max_extrinsic.expect("there is a limit");
    development(|_| {
        let registration = registration(0, &genesis_hash());
        let evidence = Evidence::Dcap(vec![0; Evidence::MAX_BYTES]);
        let largest = Registration { evidence, ..registration.clone() };
        for (call, of_a_block) in [
            (cloister_runtime::RuntimeCall::from(register(registration)), 15),
            (register(largest).into(), 10),
            (evict(&Bob.to_account_id()).into(), 10),
            (largest_document(), 10),
            (largest_crls(), 1),
        ] {
            let info = call.get_dispatch_info();
            assert_eq!((info.class, info.pays_fee), (DispatchClass::Normal, Pays::Yes));
            assert!(info.call_weight.ref_time() * of_a_block < most.ref_time(), "{:?}", info.call_weight);
        }
    });
}

fn largest_document() -> cloister_runtime::RuntimeCall {
    let body = vec![0; Collateral::MAX_DOCUMENT_BYTES].try_into().expect("it fits");
    let issuer_chain = vec![0; Collateral::MAX_CHAIN_BYTES].try_into().expect("it fits");
    pallet_teerex::Call::register_tcb_info { body, signature: [0; 64], issuer_chain }.into()
}

fn largest_crls() -> cloister_runtime::RuntimeCall {
    let crl: Vec<u8> = vec![0; Collateral::MAX_CRL_BYTES];
    let crls = vec![crl.try_into().expect("it fits"); 3].try_into().expect("they fit");
    pallet_teerex::Call::register_crls { crls, issuer_chain: Default::default() }.into()
}

fn register(registration: Registration) -> pallet_teerex::Call<Runtime> {
    pallet_teerex::Call::register_enclave { registration: Box::new(registration) }
}

fn evict(account: &AccountId) -> pallet_teerex::Call<Runtime> {
    pallet_teerex::Call::evict { account: account.clone() }
}
