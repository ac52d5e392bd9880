//! Collateral is verified, and never replaced by an older one.

use cloister_attestation::{
    Error as Flaw, Refusal,
    collateral::{CrlIssuer, PlatformType, RootOfTrust},
};
use cloister_chain_primitives::RegistrationRefused;
use cloister_synthetic_evidence::{Authority, Crl, Scenario};
use frame_support::{assert_noop, assert_ok, dispatch::GetDispatchInfo};
use sp_runtime::DispatchError;

use super::{events, not_genuine, refused};
use crate::{
    CollateralKey, Error, Event, QeIdentities, RawQeIdentities, RawRevocationLists, RawTcbInfos, RevocationLists,
    TcbInfos, mock::*, weights,
};

const FMSPC: [u8; 6] = [0x00, 0xa0, 0x67, 0x11, 0x00, 0x00];
const SGX: PlatformType = PlatformType::Sgx;

#[test]
fn collateral_is_stored_verified_and_as_published() {
    run(|| {
        let raw = scenario().collateral();
        assert_eq!(RawTcbInfos::<Test>::get((DEVELOPMENT, SGX, FMSPC)), Some(raw.tcb_info));
        assert_eq!(RawQeIdentities::<Test>::get((DEVELOPMENT, SGX)), Some(raw.qe_identity));
        let list = |issuer| RawRevocationLists::<Test>::get((DEVELOPMENT, issuer)).map(|raw| raw.crl);
        assert_eq!(list(CrlIssuer::Root), raw.root_crl);
        assert_eq!(RawRevocationLists::<Test>::get((DEVELOPMENT, CrlIssuer::Processor)), raw.pck_crl);
        let tcb_info = TcbInfos::<Test>::get((DEVELOPMENT, SGX, FMSPC)).expect("it was taken");
        assert_eq!((tcb_info.evaluation_number, tcb_info.levels.len()), (17, 2));
        let identity = QeIdentities::<Test>::get((DEVELOPMENT, SGX)).expect("it was taken");
        assert_eq!((identity.isv_prod_id, identity.levels.len()), (1, 2));
        let issued = cloister_synthetic_evidence::VALID_FROM;
        let until = cloister_synthetic_evidence::VALID_UNTIL;
        let updated = |collateral| {
            // A list's next update no longer belongs to its validity, a document's does.
            let list = matches!(collateral, CollateralKey::RevocationList(..));
            Event::CollateralUpdated { collateral, issued, valid_until: until - u64::from(list) }
        };
        assert_eq!(
            events(),
            [
                updated(CollateralKey::TcbInfo(DEVELOPMENT, SGX, FMSPC)),
                updated(CollateralKey::QeIdentity(DEVELOPMENT, SGX)),
                updated(CollateralKey::RevocationList(DEVELOPMENT, CrlIssuer::Root)),
                updated(CollateralKey::RevocationList(DEVELOPMENT, CrlIssuer::Processor)),
            ]
        );
    });
}

#[test]
fn collateral_is_known_once() {
    run(|| {
        assert_noop!(submit_tcb_info(&scenario()), Error::<Test>::AlreadyKnown);
        assert_noop!(submit_qe_identity(&scenario()), Error::<Test>::AlreadyKnown);
        assert_noop!(submit_crls(&scenario()), Error::<Test>::AlreadyKnown);
    });
}

#[test]
fn tcb_info_never_gets_older() {
    run(|| {
        let with = |days: u64, number: u64| {
            let mut scenario = scenario();
            scenario.tcb_info.issue_date += days * 24 * HOUR;
            scenario.tcb_info.tcb_evaluation_data_number = number;
            scenario
        };
        assert_ok!(submit_tcb_info(&with(2, 18)));
        assert_noop!(submit_tcb_info(&with(1, 18)), Error::<Test>::OlderCollateral);
        assert_noop!(submit_tcb_info(&with(2, 17)), Error::<Test>::OlderCollateral);
        // Neither makes up for the other.
        assert_noop!(submit_tcb_info(&with(3, 17)), Error::<Test>::OlderCollateral);
        assert_noop!(submit_tcb_info(&with(1, 19)), Error::<Test>::OlderCollateral);
        assert_ok!(submit_tcb_info(&with(3, 18)));
        assert_ok!(submit_tcb_info(&with(3, 19)));
    });
}

#[test]
fn identities_of_quoting_enclaves_never_get_older() {
    run(|| {
        let with = |days: u64, number: u64| {
            let mut scenario = scenario();
            scenario.qe_identity.issue_date += days * 24 * HOUR;
            scenario.qe_identity.tcb_evaluation_data_number = number;
            scenario
        };
        assert_ok!(submit_qe_identity(&with(2, 18)));
        assert_noop!(submit_qe_identity(&with(1, 18)), Error::<Test>::OlderCollateral);
        assert_noop!(submit_qe_identity(&with(3, 17)), Error::<Test>::OlderCollateral);
        assert_ok!(submit_qe_identity(&with(3, 18)));
    });
}

#[test]
fn revocation_lists_never_get_older() {
    run(|| {
        let with = |days: u64, number: u64| {
            let mut scenario = scenario();
            scenario.root_crl = None;
            let list = scenario.pck_crl.as_mut().expect("there is one");
            list.this_update += days * 24 * HOUR;
            list.extensions[0] = Crl::number(number);
            scenario
        };
        assert_ok!(submit_crls(&with(2, 2)));
        assert_noop!(submit_crls(&with(1, 2)), Error::<Test>::OlderCollateral);
        assert_noop!(submit_crls(&with(3, 1)), Error::<Test>::OlderCollateral);
        assert_ok!(submit_crls(&with(3, 3)));
        let list = RevocationLists::<Test>::get((DEVELOPMENT, CrlIssuer::Processor)).expect("it was taken");
        assert_eq!(list.number, 3);
    });
}

#[test]
fn a_known_list_beside_a_new_one_is_passed_over() {
    run(|| {
        let mut newer = scenario();
        newer.pck_crl.as_mut().expect("there is one").this_update += HOUR;
        to(START + 1);
        assert_ok!(submit_crls(&newer));
        let key = CollateralKey::RevocationList(DEVELOPMENT, CrlIssuer::Processor);
        assert!(matches!(&events()[..], [Event::CollateralUpdated { collateral, .. }] if *collateral == key));
        let none = Scenario { root_crl: None, pck_crl: None, ..newer };
        assert_noop!(submit_crls(&none), Error::<Test>::NoRevocationLists);
    });
}

#[test]
fn forged_collateral_is_refused() {
    run(|| {
        let mut forged = scenario();
        forged.tcb_info.issue_date += HOUR;
        forged.tcb_info.signed_by = Some(forged.pck.key.clone());
        assert_noop!(submit_tcb_info(&forged), not_genuine(Flaw::DocumentSignature));
        forged.qe_identity.signed_by = Some(forged.pck.key.clone());
        assert_noop!(submit_qe_identity(&forged), not_genuine(Flaw::DocumentSignature));
        forged.pck_crl.as_mut().expect("there is one").signed_by = Some(forged.pck.key.clone());
        assert_noop!(submit_crls(&forged), not_genuine(Flaw::CrlSignature));
    });
}

#[test]
fn collateral_must_be_valid_now() {
    bare(true, || {
        let mut late = scenario();
        late.tcb_info.next_update = NOW - 1_000;
        assert_noop!(submit_tcb_info(&late), not_genuine(Flaw::DocumentExpired));
        let mut early = scenario();
        early.qe_identity.issue_date = NOW + 1_000;
        assert_noop!(submit_qe_identity(&early), not_genuine(Flaw::DocumentNotYetValid));
        late.root_crl.as_mut().expect("there is one").next_update = Some(NOW - 1_000);
        assert_noop!(submit_crls(&late), not_genuine(Flaw::CrlExpired));
    });
}

#[test]
fn development_collateral_is_refused_where_genesis_forbids_simulation() {
    bare(false, || {
        assert_noop!(submit_tcb_info(&scenario()), not_genuine(Flaw::RootUnknown));
        assert_noop!(submit_qe_identity(&scenario()), not_genuine(Flaw::RootUnknown));
        assert_noop!(submit_crls(&scenario()), not_genuine(Flaw::RootUnknown));
    });
}

#[test]
fn nobodys_root_is_refused() {
    run(|| {
        let foreign = Scenario::sgx(&Authority::from_seed([7; 32]));
        assert_noop!(submit_tcb_info(&foreign), not_genuine(Flaw::RootUnknown));
    });
}

#[test]
fn a_revoked_signer_replaces_nothing() {
    run(|| {
        let mut revoking = scenario();
        let authority = Authority::development();
        let serials =
            [&authority.tcb_signing, &authority.processor_ca].map(|revoked| revoked.certificate.serial.clone());
        let list = revoking.root_crl.as_mut().expect("there is one");
        list.revoked = serials.to_vec();
        list.this_update += HOUR;
        revoking.pck_crl = None;
        assert_ok!(submit_crls(&revoking));
        let mut newer = scenario();
        newer.tcb_info.issue_date += HOUR;
        newer.qe_identity.issue_date += HOUR;
        newer.root_crl = None;
        newer.pck_crl.as_mut().expect("there is one").this_update += HOUR;
        assert_noop!(submit_tcb_info(&newer), Error::<Test>::SignerRevoked);
        assert_noop!(submit_qe_identity(&newer), Error::<Test>::SignerRevoked);
        assert_noop!(submit_crls(&newer), Error::<Test>::SignerRevoked);
        assert!(TcbInfos::<Test>::contains_key((RootOfTrust::Development, SGX, FMSPC)));
    });
}

/// Serial number of the one whose key was stolen.
const STOLEN: [u8; 20] = [0x7e; 20];

/// The scenario signed by certificates that have this serial number under the root.
fn signed_by(serial: [u8; 20]) -> Scenario {
    let mut scenario = scenario();
    scenario.root_crl = None;
    scenario.authority.tcb_signing.certificate.serial = serial.to_vec();
    scenario.authority.processor_ca.certificate.serial = serial.to_vec();
    scenario
}

#[test]
fn what_a_stolen_key_signed_is_replaced_whatever_its_age() {
    run(|| {
        let mut stolen = signed_by(STOLEN);
        let list = stolen.pck_crl.as_mut().expect("there is one");
        list.this_update = NOW;
        list.extensions[0] = Crl::number(u64::MAX);
        stolen.tcb_info.issue_date = NOW;
        stolen.tcb_info.tcb_evaluation_data_number = u64::from(u32::MAX);
        stolen.qe_identity.issue_date = NOW;
        stolen.qe_identity.tcb_evaluation_data_number = u64::from(u32::MAX);
        submit(&stolen);
        let genuine = Scenario { root_crl: None, ..scenario() };
        assert_noop!(submit_tcb_info(&genuine), Error::<Test>::OlderCollateral);
        assert_noop!(submit_qe_identity(&genuine), Error::<Test>::OlderCollateral);
        assert_noop!(submit_crls(&genuine), Error::<Test>::OlderCollateral);

        // The root revokes the thief, in one call with the genuine list.
        let mut revoking = scenario();
        let list = revoking.root_crl.as_mut().expect("there is one");
        list.revoked = vec![STOLEN.to_vec()];
        list.this_update += HOUR;
        assert_ok!(submit_crls(&revoking));
        let list = RevocationLists::<Test>::get((DEVELOPMENT, CrlIssuer::Processor)).expect("it was taken");
        assert_eq!(list.number, 1);
        assert_noop!(submit_tcb_info(&stolen), Error::<Test>::SignerRevoked);
        assert_noop!(submit_crls(&stolen), Error::<Test>::SignerRevoked);
        assert_ok!(submit_tcb_info(&genuine));
        assert_ok!(submit_qe_identity(&genuine));
        enclave().register();

        // From then on age counts as ever.
        assert_noop!(submit_tcb_info(&genuine), Error::<Test>::AlreadyKnown);
        let mut older = genuine;
        older.tcb_info.tcb_evaluation_data_number -= 1;
        assert_noop!(submit_tcb_info(&older), Error::<Test>::OlderCollateral);
        older.qe_identity.tcb_evaluation_data_number -= 1;
        assert_noop!(submit_qe_identity(&older), Error::<Test>::OlderCollateral);
        older.pck_crl.as_mut().expect("there is one").extensions[0] = Crl::number(0);
        assert_noop!(submit_crls(&older), Error::<Test>::OlderCollateral);
    });
}

#[test]
fn the_roots_own_list_never_gets_older() {
    run(|| {
        let with = |hours: u64| {
            let mut scenario = scenario();
            scenario.pck_crl = None;
            scenario.root_crl.as_mut().expect("there is one").this_update += hours * HOUR;
            scenario
        };
        assert_ok!(submit_crls(&with(2)));
        assert_noop!(submit_crls(&with(1)), Error::<Test>::OlderCollateral);
    });
}

#[test]
fn nobody_stores_collateral_of_development_platforms_without_end() {
    run(|| {
        let stored = || (TcbInfos::<Test>::iter().count(), RawTcbInfos::<Test>::iter().count());
        let before = stored();
        for number in 1..=u8::MAX {
            let mut other = scenario();
            other.tcb_info.fmspc[5] = number;
            assert_noop!(submit_tcb_info(&other), Error::<Test>::NotTheDevelopmentPlatform);
        }
        let domains = Scenario::tdx(&Authority::development());
        assert_noop!(submit_tcb_info(&domains), Error::<Test>::NotTheDevelopmentPlatform);
        assert_eq!((stored(), before), ((1, 1), (1, 1)));
    });
}

#[test]
fn a_level_has_a_bounded_number_of_advisories() {
    run(|| {
        let names = |count: u32| Some((0..count).map(|number| format!("{number:x}")).collect::<Vec<_>>());
        let mut newer = scenario();
        newer.tcb_info.issue_date += HOUR;
        newer.qe_identity.issue_date += HOUR;
        // As many as a document holds, at a level that no platform may be at.
        newer.tcb_info.tcb_levels[1].advisory_ids = names(8_000);
        assert!(newer.tcb_info.body().len() <= cloister_attestation::Collateral::MAX_DOCUMENT_BYTES);
        assert_noop!(submit_tcb_info(&newer), Error::<Test>::TooManyAdvisories);
        for level in 0..2 {
            newer.tcb_info.tcb_levels[level].advisory_ids = names(65);
            newer.qe_identity.tcb_levels[level].advisory_ids = names(65);
            assert_noop!(submit_tcb_info(&newer), Error::<Test>::TooManyAdvisories);
            assert_noop!(submit_qe_identity(&newer), Error::<Test>::TooManyAdvisories);
            newer.tcb_info.tcb_levels[level].advisory_ids = names(64);
            newer.qe_identity.tcb_levels[level].advisory_ids = names(64);
            if level == 0 {
                newer.tcb_info.tcb_levels[1].advisory_ids = None;
            }
        }
        assert_ok!(submit_tcb_info(&newer));
        assert_ok!(submit_qe_identity(&newer));
    });
}

#[test]
fn an_early_evaluation_does_not_last() {
    run(|| {
        let with = |number: u64, hours: u64| {
            let mut scenario = scenario();
            scenario.tcb_info.tcb_evaluation_data_number = number;
            scenario.tcb_info.issue_date += hours * HOUR;
            scenario.qe_identity.tcb_evaluation_data_number = number;
            scenario.qe_identity.issue_date += hours * HOUR;
            scenario
        };
        let submit = |scenario| (submit_tcb_info(&scenario), submit_qe_identity(&scenario));
        let both = |error: Error<Test>| {
            let error = DispatchError::from(error);
            (Err(error), Err(error))
        };
        // Genuine, but for the early channel: by it no platform is patched.
        let mut early = with(18, 2);
        early.tcb_info.tcb_levels[0].tcb_status = "OutOfDate".into();
        assert_eq!(submit(early.clone()), (Ok(()), Ok(())));
        let enclave = enclave();
        let registration = enclave.registration(START - 1);
        let out_of_date = RegistrationRefused::Policy(Refusal::TcbStatus);
        assert_noop!(enclave.submit(registration.clone()), refused(out_of_date));
        assert_eq!(submit(with(17, 1)), both(Error::OlderCollateral));

        // Root lets it count no longer, whereupon anybody's standard one takes its place for good.
        assert_noop!(Teerex::set_evaluation_limit(anybody(), Some(17)), DispatchError::BadOrigin);
        assert_ok!(Teerex::set_evaluation_limit(RuntimeOrigin::root(), Some(17)));
        assert_eq!(events().last(), Some(&Event::EvaluationLimitSet(Some(17))));
        assert_eq!(submit(with(17, 1)), (Ok(()), Ok(())));
        assert_eq!(submit(early.clone()), both(Error::EvaluationTooNew));
        assert_ok!(enclave.submit(registration));
        // Below the limit age counts as ever.
        assert_eq!(submit(with(16, 3)), both(Error::OlderCollateral));

        assert_ok!(Teerex::set_evaluation_limit(RuntimeOrigin::root(), None));
        assert_eq!(submit(early), (Ok(()), Ok(())));
    });
}

#[test]
fn every_byte_is_paid_for() {
    let of_document = |body, issuer_chain| weights::document::<Test>(body, issuer_chain).ref_time();
    assert!(of_document(70_000, 8_000) > of_document(70_000, 1_000));
    assert!(of_document(70_000, 8_000) > of_document(10_000, 8_000));
    let of_lists = |lists, bytes, issuer_chain| weights::crls::<Test>(lists, bytes, issuer_chain).ref_time();
    assert!(of_lists(2, 9_000, 8_000) > of_lists(2, 9_000, 1_000));
    // The chain comes once and is read with every list.
    let chain = |lists| of_lists(lists, 9_000, 8_000) - of_lists(lists, 9_000, 0);
    assert_eq!(chain(3), 3 * chain(1));
    let call = |chain: usize| {
        let issuer_chain = vec![0; chain].try_into().expect("it fits");
        let body = vec![0; 100].try_into().expect("it fits");
        crate::Call::<Test>::register_tcb_info { body, signature: [0; 64], issuer_chain }.get_dispatch_info()
    };
    assert_eq!(call(8_000).call_weight, weights::document::<Test>(100, 8_000));
}
