//! Who is registered, and who is refused why.

use cloister_attestation::{Error as Flaw, Evidence, Refusal, Stance, TcbStatus, TeeKind};
use cloister_chain_primitives::{
    AccountId, BuildMode, EXISTENTIAL_DEPOSIT, EnclaveRecord, H256, MARK_DEPOSIT, REGISTRATION_DEPOSIT, Registration,
    RegistrationRefused as Refused, Standing,
    deposit::MAX_RECORD_BYTES,
    domain,
    registry::{IncarnationMark, report_data},
};
use codec::Encode;
use frame_support::{
    assert_noop, assert_ok,
    traits::fungible::{Inspect, InspectHold},
};
use sp_runtime::DispatchError;

use super::{events, refused};
use crate::{Event, EvidenceOf, HoldReason, Incarnations, Policy, SovereignEnclaves, mock::*};

/// Submits a registration that must be refused, and asks the dry run, which must say the same.
fn assert_refused(enclave: &Enclave, registration: Registration, reason: Refused) {
    assert_eq!(Teerex::check(&enclave.account, &registration), Err(reason));
    assert_noop!(enclave.submit(registration), refused(reason));
}

#[test]
fn an_enclave_registers() {
    run(|| {
        System::reset_events();
        let enclave = enclave();
        let url: Vec<u8> = b"wss://worker.example:2000".to_vec();
        let registration =
            Registration { url: Some(url.try_into().expect("it fits")), ..enclave.registration(START - 1) };
        let dry = Teerex::check(&enclave.account, &registration).expect("everything is right");
        assert_ok!(enclave.submit(registration.clone()));
        let record = SovereignEnclaves::<Test>::get(&enclave.account).expect("it is registered");
        assert_eq!(record, dry);
        assert_eq!(
            record,
            EnclaveRecord {
                fingerprint: [0xe1; 32],
                signer: [0xe2; 32],
                kind: TeeKind::Simulated,
                tcb_status: TcbStatus::UpToDate,
                advisories: vec![],
                platform_id_hash: record.platform_id_hash,
                build_mode: BuildMode::Production,
                incarnation_key: [1; 32],
                tls_key_hash: [0xfe; 32],
                url: registration.url,
                bound_block: START - 1,
                incarnation_since: START,
                verified_at: NOW,
                expires_at: NOW + 24 * HOUR,
                standing: Standing::Active,
            }
        );
        assert_ne!(record.platform_id_hash, [0; 32]);
        assert_eq!(EvidenceOf::<Test>::get(&enclave.account), Some(registration.evidence));
        let mark = IncarnationMark { incarnation_key: [1; 32], bound_block: START - 1, incarnation_since: START };
        assert_eq!(Incarnations::<Test>::get(&enclave.account), Some(mark));
        assert_eq!(
            events(),
            [Event::AddedSgxEnclave {
                account: enclave.account.clone(),
                kind: TeeKind::Simulated,
                fingerprint: [0xe1; 32],
                tcb_status: TcbStatus::UpToDate,
                incarnation_key: [1; 32],
                expires_at: NOW + 24 * HOUR,
            }]
        );
        assert_eq!(Teerex::serving(&enclave.account), Some(record));
        assert_eq!(Teerex::serving(&AccountId::new([2; 32])), None);
    });
}

#[test]
fn only_an_account_registers() {
    run(|| {
        let registration = Box::new(enclave().registration(START - 1));
        for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
            assert_noop!(Teerex::register_enclave(origin, registration.clone()), DispatchError::BadOrigin);
        }
    });
}

#[test]
fn a_renewal_keeps_the_incarnation() {
    run(|| {
        let enclave = enclave();
        enclave.register();
        to(START + 50);
        set_time(NOW + 2 * HOUR);
        enclave.register();
        let record = SovereignEnclaves::<Test>::get(&enclave.account).expect("it is registered");
        assert_eq!((record.incarnation_since, record.bound_block), (START, START + 49));
        assert_eq!((record.verified_at, record.expires_at), (NOW + 2 * HOUR, NOW + 26 * HOUR));
        assert!(!events().iter().any(|event| matches!(event, Event::RetiredIncarnation { .. })));
    });
}

#[test]
fn a_new_incarnation_retires_the_one_before() {
    run(|| {
        enclave().register();
        to(START + 50);
        let newer = start(2);
        newer.register();
        let record = SovereignEnclaves::<Test>::get(&newer.account).expect("it is registered");
        assert_eq!((record.incarnation_key, record.incarnation_since), ([2; 32], START + 50));
        let retired = Event::RetiredIncarnation { account: newer.account.clone(), incarnation_key: [1; 32] };
        assert_eq!(events()[0], retired);
        assert!(matches!(events()[1], Event::AddedSgxEnclave { incarnation_key: [2, ..], .. }));
        // The clone that was retired cannot come back with what it signed before it could know.
        let held_back = enclave().registration(START + 49);
        to(START + 51);
        assert_refused(&enclave(), held_back, Refused::NotLater);
    });
}

#[test]
fn evidence_that_is_not_genuine_is_refused() {
    run(|| {
        let enclave = enclave();
        let Evidence::Dcap(quote) = enclave.registration(START - 1).evidence;
        let with = |quote| Registration { evidence: Evidence::Dcap(quote), ..enclave.registration(START - 1) };
        let mut forged = quote.clone();
        forged[48 + 64] ^= 1;
        assert_refused(&enclave, with(forged), Refused::NotGenuine(Flaw::QuoteSignature));
        assert_refused(&enclave, with(quote[..200].to_vec()), Refused::NotGenuine(Flaw::QuoteTruncated));
        assert_refused(&enclave, with(vec![]), Refused::NotGenuine(Flaw::QuoteTruncated));
    });
}

#[test]
fn evidence_under_an_unknown_root_is_refused() {
    run(|| {
        let foreign =
            cloister_synthetic_evidence::Scenario::sgx(&cloister_synthetic_evidence::Authority::from_seed([7; 32]));
        let enclave = enclave();
        let registration = enclave.registration_of(&foreign, START - 1);
        assert_refused(&enclave, registration, Refused::NotGenuine(Flaw::RootUnknown));
    });
}

#[test]
fn evidence_that_is_too_large_is_refused() {
    run(|| {
        let enclave = enclave();
        let evidence = Evidence::Dcap(vec![0; Evidence::MAX_BYTES + 1]);
        let registration = Registration { evidence, ..enclave.registration(START - 1) };
        assert_refused(&enclave, registration, Refused::EvidenceTooLarge);
    });
}

#[test]
fn simulation_is_refused_where_genesis_forbids_it() {
    bare(false, || {
        let enclave = enclave();
        assert_refused(&enclave, enclave.registration(START - 1), Refused::Policy(Refusal::Simulated));
    });
}

#[test]
fn simulation_is_refused_where_the_policy_forbids_it() {
    run(|| {
        set_policy(|policy| policy.appraisal.simulation = Stance::Forbidden);
        let enclave = enclave();
        assert_refused(&enclave, enclave.registration(START - 1), Refused::Policy(Refusal::Simulated));
    });
}

#[test]
fn collateral_must_be_there() {
    bare(true, || {
        let (enclave, scenario) = (enclave(), scenario());
        let registration = enclave.registration(START - 1);
        assert_refused(&enclave, registration.clone(), Refused::TcbInfoMissing);
        assert_ok!(submit_tcb_info(&scenario));
        assert_refused(&enclave, registration.clone(), Refused::QeIdentityMissing);
        assert_ok!(submit_qe_identity(&scenario));
        assert_refused(&enclave, registration.clone(), Refused::Policy(Refusal::CrlMissing));
        let mut only_root = scenario.clone();
        only_root.pck_crl = None;
        assert_ok!(submit_crls(&only_root));
        assert_refused(&enclave, registration.clone(), Refused::Policy(Refusal::CrlMissing));
        assert_ok!(submit_crls(&scenario));
        assert_ok!(enclave.submit(registration));
    });
}

#[test]
fn a_debug_enclave_is_refused_or_says_so() {
    run(|| {
        let mut debug = scenario();
        debug.enclave_report_mut().expect("SGX").attributes[0] |= 2;
        let enclave = enclave();
        let registration = enclave.registration_of(&debug, START - 1);
        assert_refused(&enclave, registration.clone(), Refused::Policy(Refusal::Debug));
        set_policy(|policy| policy.appraisal.debug = Stance::Allowed);
        assert_ok!(enclave.submit(registration));
        let record = SovereignEnclaves::<Test>::get(&enclave.account).expect("it is registered");
        assert_eq!(record.build_mode, BuildMode::Debug);
    });
}

#[test]
fn a_revoked_platform_is_refused() {
    run(|| {
        let mut newer = scenario();
        let serial = newer.pck_certificate().serial;
        let list = newer.pck_crl.as_mut().expect("there is one");
        list.revoked = vec![serial];
        list.this_update += 1_000;
        assert_ok!(submit_crls(&newer));
        let enclave = enclave();
        assert_refused(&enclave, enclave.registration(START - 1), Refused::NotGenuine(Flaw::PckRevoked));
    });
}

#[test]
fn the_named_block_must_be_known_and_recent() {
    run(|| {
        let enclave = enclave();
        let oldest = START - Policy::<Test>::get().max_evidence_age;
        assert_refused(&enclave, enclave.registration(START), Refused::UnknownBlock);
        assert_refused(&enclave, enclave.registration(START + 1), Refused::UnknownBlock);
        assert_refused(&enclave, enclave.registration(oldest - 1), Refused::EvidenceTooOld);
        assert_refused(&enclave, enclave.registration(0), Refused::EvidenceTooOld);
        frame_system::BlockHash::<Test>::remove(oldest);
        assert_refused(&enclave, enclave.registration(oldest), Refused::UnknownBlock);
        frame_system::BlockHash::<Test>::insert(oldest, block_hash(oldest));
        assert_ok!(enclave.submit(enclave.registration(oldest)));
    });
}

#[test]
fn the_report_data_binds_sender_chain_keys_and_block() {
    run(|| {
        let enclave = enclave();
        let Enclave { account, incarnation_key: key, tls_key_hash: tls } = &enclave;
        let (genesis, hash) = (System::block_hash(0), block_hash(START - 1));
        let stranger = AccountId::new([2; 32]);
        let (foreign, zero) = (H256::repeat_byte(9), [0; 32]);
        for stated in [
            report_data(&foreign, account, key, tls, &hash),
            report_data(&genesis, &stranger, key, tls, &hash),
            report_data(&genesis, account, &zero, tls, &hash),
            report_data(&genesis, account, key, &zero, &hash),
            report_data(&genesis, account, key, tls, &block_hash(START - 2)),
            [0; 64],
        ] {
            let registration = enclave.registration_with(&scenario(), START - 1, &stated);
            assert_refused(&enclave, registration, Refused::ReportData);
        }
        // Nobody else can submit what the enclave attested.
        let thief = Enclave { account: stranger, ..enclave.clone() };
        assert_refused(&thief, enclave.registration(START - 1), Refused::ReportData);
        // Nor change a key on the way.
        let registration = Registration { tls_key_hash: [9; 32], ..enclave.registration(START - 1) };
        assert_refused(&enclave, registration, Refused::ReportData);
        enclave.register();
    });
}

#[test]
fn the_report_data_binds_tag_and_role() {
    run(|| {
        let enclave = enclave();
        let Enclave { account, incarnation_key, tls_key_hash } = &enclave;
        let genesis = System::block_hash(0);
        let hash = block_hash(START - 1);
        let parts: [&[u8]; 4] = [account.as_ref(), incarnation_key, tls_key_hash, hash.as_bytes()];
        let message = domain::message("registration", &genesis, &parts);
        let stating = |message: &[u8], account: &AccountId| {
            let mut stated = [0; 64];
            stated[..32].copy_from_slice(account.as_ref());
            stated[32..].copy_from_slice(&sp_io::hashing::sha2_256(message));
            enclave.registration_with(&scenario(), START - 1, &stated)
        };
        for role in ["", "shard", "Registration", "registration "] {
            let message = domain::message(role, &genesis, &parts);
            assert_refused(&enclave, stating(&message, account), Refused::ReportData);
        }
        // Its length, and a byte of it.
        for at in [0, 4] {
            let mut other_tag = message.clone();
            other_tag[at] ^= 1;
            assert_refused(&enclave, stating(&other_tag, account), Refused::ReportData);
        }
        assert_refused(&enclave, stating(&message[14..], account), Refused::ReportData);
        // The first half alone says who it is; the second must agree.
        assert_refused(&enclave, stating(&message, &AccountId::new([2; 32])), Refused::ReportData);
        assert_ok!(enclave.submit(stating(&message, account)));
    });
}

#[test]
fn zeros_after_a_quote_are_not_stored() {
    run(|| {
        let enclave = enclave();
        let registration = enclave.registration(START - 1);
        let Evidence::Dcap(mut quote) = registration.evidence.clone();
        quote.resize(Evidence::MAX_BYTES, 0);
        assert_ok!(enclave.submit(Registration { evidence: Evidence::Dcap(quote), ..registration.clone() }));
        assert_eq!(EvidenceOf::<Test>::get(&enclave.account), Some(registration.evidence));
        assert_noop!(enclave.evict(), crate::Error::<Test>::StillWanted);
    });
}

#[test]
fn a_deposit_is_held_while_an_enclave_is_registered() {
    run(|| {
        let money = |account: &AccountId| {
            (Balances::balance_on_hold(&HoldReason::Registration.into(), account), Balances::balance(account))
        };
        let (none, held) = ((0, MONEY), (REGISTRATION_DEPOSIT, MONEY - REGISTRATION_DEPOSIT));
        let enclave = enclave();
        let account = &enclave.account;
        let dry = Teerex::check(account, &enclave.registration(START - 1));
        assert!(dry.is_ok() && money(account) == none);
        enclave.register();
        assert_eq!(money(account), held);
        // Neither a renewal nor the next start pays again, nor must be able to.
        assert_ok!(Balances::transfer_all(enclave.origin(), AccountId::new([2; 32]), true));
        assert_eq!(money(account), (REGISTRATION_DEPOSIT, EXISTENTIAL_DEPOSIT));
        to(START + 10);
        enclave.register();
        to(START + 20);
        start(2).register();
        assert_eq!(money(account), (REGISTRATION_DEPOSIT, EXISTENTIAL_DEPOSIT));
        assert_ok!(Teerex::unregister_sovereign_enclave(enclave.origin()));
        // The mark stays stored, and is paid for.
        assert_eq!(money(account), (MARK_DEPOSIT, EXISTENTIAL_DEPOSIT + REGISTRATION_DEPOSIT - MARK_DEPOSIT));
        assert!(Incarnations::<Test>::contains_key(account));
        to(START + 30);
        enclave.register();
        assert_eq!(money(account), (REGISTRATION_DEPOSIT, EXISTENTIAL_DEPOSIT));

        // An eviction gives it back to the account, not to whoever asks for it; a grace does not.
        let other = Enclave { account: AccountId::new([2; 32]), ..start(3) };
        let before = money(&other.account).1;
        other.register();
        set_policy(|policy| policy.appraisal.simulation = Stance::Forbidden);
        assert_ok!(other.evict());
        assert_eq!(money(&other.account), (REGISTRATION_DEPOSIT, before - REGISTRATION_DEPOSIT));
        set_time(NOW + 24 * HOUR);
        assert_ok!(other.evict());
        assert_eq!(money(&other.account), (MARK_DEPOSIT, before - MARK_DEPOSIT));
    });
}

#[test]
fn who_cannot_pay_the_deposit_is_refused() {
    run(|| {
        let enclave = enclave();
        let registration = enclave.registration(START - 1);
        // The existential deposit stays free.
        let endow = |free| Balances::force_set_balance(RuntimeOrigin::root(), enclave.account.clone(), free);
        assert_ok!(endow(REGISTRATION_DEPOSIT + EXISTENTIAL_DEPOSIT - 1));
        assert_refused(&enclave, registration.clone(), Refused::Deposit);
        // Money does not help what is refused all the same, and is not asked for.
        set_policy(|policy| policy.appraisal.simulation = Stance::Forbidden);
        assert_refused(&enclave, registration.clone(), Refused::Policy(Refusal::Simulated));
        set_policy(|policy| policy.appraisal.simulation = Stance::Allowed);
        assert_ok!(endow(REGISTRATION_DEPOSIT + EXISTENTIAL_DEPOSIT));
        assert_ok!(enclave.submit(registration));
        let pauper = Enclave { account: AccountId::new([9; 32]), ..start(3) };
        assert_refused(&pauper, pauper.registration(START - 1), Refused::Deposit);
    });
}

/// So many different advisories of this length.
fn advisories(count: usize, length: usize) -> Option<Vec<String>> {
    Some((0..count).map(|number| format!("{number:0length$}")).collect())
}

#[test]
fn a_record_is_no_larger_than_its_deposit_pays_for() {
    run(|| {
        let enclave = enclave();
        let registration = enclave.registration(START - 1);
        // Of the platform's level and of the quoting enclave's, each as many as a level may have.
        let mut largest = scenario();
        largest.tcb_info.issue_date += HOUR;
        largest.qe_identity.issue_date += HOUR;
        largest.tcb_info.tcb_levels[0].advisory_ids = advisories(64, 64);
        assert_ok!(submit_tcb_info(&largest));
        assert_refused(&enclave, registration.clone(), Refused::RecordTooLarge);
        assert_eq!(Balances::balance_on_hold(&HoldReason::Registration.into(), &enclave.account), 0);
        largest.tcb_info.issue_date += HOUR;
        largest.tcb_info.tcb_levels[0].advisory_ids = advisories(64, 14);
        assert_ok!(submit_tcb_info(&largest));
        let url = Some(vec![b'u'; 256].try_into().expect("it fits"));
        assert_ok!(enclave.submit(Registration { url, ..registration }));
        let record = SovereignEnclaves::<Test>::get(&enclave.account).expect("it is registered");
        assert_eq!(record.advisories.len(), 64);
        assert!(record.encoded_size() <= MAX_RECORD_BYTES);
        // What is stored already stays as it is when the next one is too large.
        largest.qe_identity.tcb_levels[0].advisory_ids = advisories(64, 20);
        assert_ok!(submit_qe_identity(&largest));
        to(START + 10);
        assert_refused(&enclave, enclave.registration(START + 9), Refused::RecordTooLarge);
        assert_eq!(SovereignEnclaves::<Test>::get(&enclave.account), Some(record));
    });
}

#[test]
fn a_registration_counts_once() {
    run(|| {
        let enclave = enclave();
        let registration = enclave.registration(START - 1);
        assert_ok!(enclave.submit(registration.clone()));
        assert_refused(&enclave, registration.clone(), Refused::NotLater);
        to(START + 10);
        assert_refused(&enclave, registration, Refused::NotLater);
    });
}

#[test]
fn a_registration_held_back_is_refused_after_a_newer_one() {
    run(|| {
        let held_back = start(1).registration(START - 1);
        to(START + 10);
        start(2).register();
        assert_refused(&start(1), held_back, Refused::NotLater);
        // Also within one incarnation.
        let held_back = start(2).registration(START + 10);
        to(START + 12);
        start(2).register();
        assert_refused(&start(2), held_back, Refused::NotLater);
    });
}

#[test]
fn incarnations_are_apart() {
    run(|| {
        start(1).register();
        set_policy(|policy| policy.incarnation_gap = 3);
        to(START + 4);
        for block in [START, START + 1, START + 2] {
            assert_refused(&start(2), start(2).registration(block), Refused::TooSoon);
        }
        // The gap is between identities' incarnations, not between enclaves.
        let other = Enclave { account: AccountId::new([2; 32]), ..start(3) };
        assert_ok!(other.submit(other.registration(START)));
        assert_ok!(start(2).submit(start(2).registration(START + 3)));
    });
}

#[test]
fn an_incarnation_that_does_not_know_of_a_newer_one_cannot_come_back() {
    run(|| {
        set_policy(|policy| policy.incarnation_gap = 0);
        start(1).register();
        to(START + 20);
        let newer = start(2).registration(START + 10);
        // The older one runs on, is not shown any newer block, and attests to one at which it still was the newest.
        let ignorant = start(1).registration(START + 19);
        assert_ok!(start(2).submit(newer));
        to(START + 21);
        assert_refused(&start(1), ignorant, Refused::TooSoon);
    });
}

#[test]
fn what_was_signed_before_a_record_went_stays_refused() {
    run(|| {
        let enclave = enclave();
        let first = enclave.registration(START - 1);
        assert_ok!(enclave.submit(first.clone()));
        to(START + 20);
        let held_back = enclave.registration(START + 19);
        assert_ok!(Teerex::unregister_sovereign_enclave(enclave.origin()));
        assert_eq!(events(), [Event::RemovedSovereignEnclave(enclave.account.clone())]);
        assert_eq!(EvidenceOf::<Test>::get(&enclave.account), None);
        assert_refused(&enclave, first, Refused::NotLater);
        assert_refused(&enclave, held_back, Refused::NotLater);
        to(START + 21);
        // At this block the enclave sees that it is gone.
        assert_ok!(enclave.submit(enclave.registration(START + 20)));

        // Likewise after an eviction.
        to(START + 40);
        let held_back = enclave.registration(START + 39);
        set_time(NOW + 24 * HOUR);
        assert_ok!(enclave.evict());
        assert_refused(&enclave, held_back, Refused::NotLater);
        // And for the next start.
        assert_refused(&start(2), start(2).registration(START + 39), Refused::NotLater);
        to(START + 41);
        assert_ok!(start(2).submit(start(2).registration(START + 40)));
    });
}

#[test]
fn only_oneself_unregisters() {
    run(|| {
        let enclave = enclave();
        enclave.register();
        assert_noop!(Teerex::unregister_sovereign_enclave(anybody()), crate::Error::<Test>::NotRegistered);
        assert_ok!(Teerex::unregister_sovereign_enclave(enclave.origin()));
        assert_noop!(Teerex::unregister_sovereign_enclave(enclave.origin()), crate::Error::<Test>::NotRegistered);
    });
}
