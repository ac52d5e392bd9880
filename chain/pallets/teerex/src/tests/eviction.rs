//! Who goes, when, and at whose word.

use cloister_attestation::{Error as Flaw, Refusal, Stance, TcbStatus};
use cloister_chain_primitives::{RegistrationRefused as Refused, Standing};
use cloister_synthetic_evidence::Scenario;
use frame_support::{assert_noop, assert_ok, dispatch::GetDispatchInfo};
use sp_runtime::DispatchError;

use super::{events, refused};
use crate::{Error, Event, EvictionReason, EvidenceOf, SovereignEnclaves, mock::*, weights};

const GRACE: u64 = 10 * 60 * 1_000;

fn standing() -> Option<Standing> {
    SovereignEnclaves::<Test>::get(enclave().account).map(|record| record.standing)
}

fn assert_evicted(reason: EvictionReason) {
    let account = enclave().account;
    assert_eq!(SovereignEnclaves::<Test>::get(&account), None);
    assert_eq!(EvidenceOf::<Test>::get(&account), None);
    let removed = Event::RemovedSovereignEnclave(account.clone());
    assert_eq!(events(), [removed, Event::EvictedEnclave { account, reason }]);
}

/// The scenario with a TCB info that is newer by a day and says this of the platform.
fn newer(status: &str) -> Scenario {
    let mut newer = scenario();
    newer.tcb_info.issue_date += 24 * HOUR;
    newer.tcb_info.tcb_evaluation_data_number += 1;
    // The platform falls to the second level.
    newer.tcb_info.tcb_levels[0].tcb.sgx_components[0] += 1;
    newer.tcb_info.tcb_levels[1].tcb_status = status.into();
    newer
}

/// Registers under a policy that wants platforms that are up to date, and goes to the next block.
fn registered_up_to_date() {
    set_policy(|policy| policy.appraisal.tcb_statuses = vec![TcbStatus::UpToDate]);
    enclave().register();
    to(START + 1);
}

#[test]
fn who_is_wanted_stays() {
    run(|| {
        assert_noop!(enclave().evict(), Error::<Test>::NotRegistered);
        enclave().register();
        assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
        for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
            assert_noop!(
                Teerex::evict(origin, enclave().account).map_err(|error| error.error),
                DispatchError::BadOrigin
            );
        }
    });
}

#[test]
fn anybody_evicts_the_expired() {
    run(|| {
        let enclave = enclave();
        enclave.register();
        to(START + 1);
        set_time(NOW + 24 * HOUR - 1);
        assert!(Teerex::serving(&enclave.account).is_some());
        assert_noop!(enclave.evict(), Error::<Test>::StillWanted);
        set_time(NOW + 24 * HOUR);
        // Whether somebody evicts it or not, it does not count.
        assert_eq!(Teerex::serving(&enclave.account), None);
        let done = Teerex::evict(anybody(), enclave.account.clone()).expect("it expired");
        assert_eq!(done.actual_weight, Some(weights::evict_expired::<Test>()));
        let charged = crate::Call::<Test>::evict { account: enclave.account }.get_dispatch_info().call_weight;
        assert!(weights::evict_expired::<Test>().ref_time() < charged.ref_time());
        assert_evicted(EvictionReason::Expired);
    });
}

#[test]
fn an_expired_enclave_renews_itself() {
    run(|| {
        enclave().register();
        to(START + 1);
        set_time(NOW + 25 * HOUR);
        enclave().register();
        assert!(Teerex::serving(&enclave().account).is_some());
    });
}

#[test]
fn newer_collateral_makes_an_enclave_leave_with_grace() {
    run(|| {
        registered_up_to_date();
        assert_ok!(submit_tcb_info(&newer("OutOfDate")));
        // The record says what was true when it was made; it takes somebody to ask.
        assert!(Teerex::serving(&enclave().account).is_some());
        to(START + 2);
        assert_ok!(enclave().evict());
        let until = NOW + GRACE;
        assert_eq!(standing(), Some(Standing::Leaving { until }));
        let reason = Refused::Policy(Refusal::TcbStatus);
        assert_eq!(events(), [Event::LeavingEnclave { account: enclave().account, reason, until }]);
        assert_eq!(Teerex::serving(&enclave().account), None);
        assert!(EvidenceOf::<Test>::contains_key(enclave().account));

        set_time(until - 1);
        assert_noop!(enclave().evict(), Error::<Test>::GraceNotOver);
        // It cannot renew its registration either.
        to(START + 3);
        assert_noop!(enclave().submit(enclave().registration(START + 2)), refused(reason));
        // Older collateral does not bring it back.
        assert_noop!(submit_tcb_info(&scenario()), Error::<Test>::OlderCollateral);
        to(START + 4);
        set_time(until);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::Unwanted);
    });
}

#[test]
fn a_policy_change_evicts_with_grace() {
    run(|| {
        enclave().register();
        to(START + 1);
        set_policy(|policy| policy.appraisal.min_evaluation_number = 18);
        to(START + 2);
        assert_ok!(enclave().evict());
        let until = NOW + GRACE;
        assert_eq!(standing(), Some(Standing::Leaving { until }));
        // The policy wants it again: it has stopped none the less, and must register to serve.
        set_policy(|policy| policy.appraisal.min_evaluation_number = 17);
        assert_noop!(enclave().evict(), Error::<Test>::GraceNotOver);
        to(START + 3);
        enclave().register();
        assert_eq!(standing(), Some(Standing::Active));
    });
}

#[test]
fn what_was_stated_before_a_grace_does_not_end_it() {
    run(|| {
        enclave().register();
        to(START + 10);
        let held_back = enclave().registration(START + 9);
        set_policy(|policy| policy.appraisal.simulation = Stance::Forbidden);
        assert_ok!(enclave().evict());
        set_policy(|policy| policy.appraisal.simulation = Stance::Allowed);
        to(START + 11);
        assert_noop!(enclave().submit(held_back), refused(Refused::NotLater));
        assert_eq!(standing(), Some(Standing::Leaving { until: NOW + GRACE }));
        // At this block the enclave sees that it was told to leave.
        assert_ok!(enclave().submit(enclave().registration(START + 10)));
    });
}

#[test]
fn a_shorter_interval_counts_for_those_who_are_registered() {
    run(|| {
        let enclave = enclave();
        enclave.register();
        to(START + 1);
        set_policy(|policy| policy.reattest_interval_ms = HOUR);
        set_time(NOW + HOUR - 1);
        assert!(Teerex::serving(&enclave.account).is_some());
        assert_noop!(enclave.evict(), Error::<Test>::StillWanted);
        set_time(NOW + HOUR);
        assert_eq!(Teerex::serving(&enclave.account), None);
        // A longer one prolongs nothing that was recorded.
        set_policy(|policy| policy.reattest_interval_ms = 48 * HOUR);
        assert!(Teerex::serving(&enclave.account).is_some());
        set_time(NOW + 24 * HOUR);
        assert_eq!(Teerex::serving(&enclave.account), None);
        set_policy(|policy| policy.reattest_interval_ms = HOUR);
        to(START + 2);
        assert_ok!(enclave.evict());
        assert_evicted(EvictionReason::Expired);
    });
}

/// The scenario with a newer list of the PCK certificate's issuer that revokes the platform.
fn revoking() -> Scenario {
    let mut revoking = scenario();
    let serial = revoking.pck_certificate().serial;
    let list = revoking.pck_crl.as_mut().expect("there is one");
    list.revoked = vec![serial];
    list.this_update += 1_000;
    revoking
}

/// The root revokes certificates with these serial numbers.
fn revoke_under_root(serials: Vec<Vec<u8>>) {
    let mut revoking = scenario();
    let list = revoking.root_crl.as_mut().expect("there is one");
    list.revoked = serials;
    list.this_update += 1_000;
    revoking.pck_crl = None;
    assert_ok!(submit_crls(&revoking));
}

#[test]
fn revocation_leaves_no_grace() {
    run(|| {
        enclave().register();
        assert_ok!(submit_crls(&revoking()));
        to(START + 1);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::NotGenuine(Flaw::PckRevoked));
    });
}

#[test]
fn whom_a_revoked_authority_certified_goes_at_once() {
    run(|| {
        enclave().register();
        revoke_under_root(vec![scenario().authority.processor_ca.certificate.serial]);
        to(START + 1);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::NotGenuine(Flaw::PckIssuerRevoked));
    });
}

#[test]
fn evidence_that_newer_collateral_contradicts_goes_at_once() {
    run(|| {
        enclave().register();
        // The vendor knows no level that the platform reaches.
        let mut unknown = newer("OutOfDate");
        for level in &mut unknown.tcb_info.tcb_levels {
            level.tcb.pce_svn = u64::from(u16::MAX);
        }
        unknown.tcb_info.tcb_levels.truncate(1);
        assert_ok!(submit_tcb_info(&unknown));
        to(START + 1);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::NotGenuine(Flaw::TcbLevelMissing));
    });
}

#[test]
fn revocation_ends_a_grace() {
    run(|| {
        registered_up_to_date();
        assert_ok!(submit_tcb_info(&newer("OutOfDate")));
        assert_ok!(enclave().evict());
        let mut revoked = newer("Revoked");
        revoked.tcb_info.issue_date += 1_000;
        assert_ok!(submit_tcb_info(&revoked));
        to(START + 2);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::PlatformRevoked);
    });
}

#[test]
fn a_platform_that_the_vendor_revoked_goes_at_once() {
    run(|| {
        enclave().register();
        assert_ok!(submit_tcb_info(&newer("Revoked")));
        to(START + 1);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::PlatformRevoked);
        to(START + 2);
        assert_noop!(enclave().submit(enclave().registration(START + 1)), refused(Refused::Policy(Refusal::TcbStatus)));
    });
}

#[test]
fn collateral_that_has_run_out_says_nothing_against_a_platform() {
    type Change = fn(&mut Scenario);
    let short: [(Change, Flaw); 4] = [
        (|short| short.tcb_info.next_update = NOW + HOUR, Flaw::DocumentExpired),
        (|short| short.qe_identity.next_update = NOW + HOUR, Flaw::DocumentExpired),
        (|short| short.root_crl.as_mut().expect("there is one").next_update = Some(NOW + HOUR), Flaw::CrlExpired),
        (|short| short.pck_crl.as_mut().expect("there is one").next_update = Some(NOW + HOUR), Flaw::CrlExpired),
    ];
    for (shorten, flaw) in short {
        bare(true, || {
            let mut short = scenario();
            shorten(&mut short);
            submit(&short);
            enclave().register();
            to(START + 1);
            set_time(NOW + 2 * HOUR);
            assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
            assert!(Teerex::serving(&enclave().account).is_some());
            // It cannot renew its registration, which will expire.
            assert_noop!(enclave().submit(enclave().registration(START)), refused(Refused::NotGenuine(flaw)));
            set_time(NOW + 24 * HOUR);
            assert_ok!(enclave().evict());
            assert_evicted(EvictionReason::Expired);
        });
    }
}

#[test]
fn certificates_that_have_run_out_say_nothing_against_a_platform() {
    bare(true, || {
        let mut short = scenario();
        short.authority.tcb_signing.certificate.not_after = NOW + HOUR;
        submit(&short);
        let mut pck = scenario();
        pck.pck.certificate.not_after = NOW + HOUR;
        assert_ok!(enclave().submit(enclave().registration_of(&pck, START - 1)));
        to(START + 1);
        set_time(NOW + 2 * HOUR);
        assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
        let reason = Refused::NotGenuine(Flaw::CertificateExpired);
        assert_noop!(enclave().submit(enclave().registration_of(&pck, START)), refused(reason));
    });
}

#[test]
fn the_age_of_collateral_says_nothing_against_a_platform() {
    run(|| {
        let age = NOW - cloister_synthetic_evidence::VALID_FROM;
        set_policy(|policy| policy.appraisal.max_collateral_age_ms = Some(age));
        enclave().register();
        to(START + 1);
        set_time(NOW + 1);
        assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
        let reason = Refused::Policy(Refusal::CollateralAge);
        assert_noop!(enclave().submit(enclave().registration(START)), refused(reason));
    });
}

#[test]
fn collateral_that_has_run_out_hides_no_finding() {
    // As if nobody renewed it, but what it says of the platform is known.
    let short = |mut scenario: Scenario| {
        scenario.tcb_info.next_update = NOW + 48 * HOUR;
        scenario.pck_crl.as_mut().expect("there is one").next_update = Some(NOW + 48 * HOUR);
        scenario
    };
    let registered = || {
        set_policy(|policy| policy.reattest_interval_ms = 96 * HOUR);
        enclave().register();
        to(START + 1);
        set_time(NOW + 25 * HOUR);
    };
    run(|| {
        registered();
        assert_ok!(submit_crls(&short(revoking())));
        set_time(NOW + 72 * HOUR);
        assert_ok!(enclave().evict());
        assert_eq!(standing(), None);
    });
    run(|| {
        set_policy(|policy| policy.appraisal.tcb_statuses = vec![TcbStatus::UpToDate]);
        registered();
        assert_ok!(submit_tcb_info(&short(newer("OutOfDate"))));
        set_time(NOW + 72 * HOUR);
        assert_ok!(enclave().evict());
        assert_eq!(standing(), Some(Standing::Leaving { until: NOW + 72 * HOUR + GRACE }));
    });
}

#[test]
fn a_revoked_signer_of_collateral_says_nothing_against_a_platform() {
    // Two certificates of one authority: the platform's issuer, and the one that signed the list.
    let reissued = || {
        let mut reissued = scenario();
        reissued.authority.processor_ca.certificate.serial = vec![0x7f; 20];
        reissued
    };
    run(|| {
        enclave().register();
        revoke_under_root(vec![scenario().authority.tcb_signing.certificate.serial]);
        to(START + 1);
        assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
        let reason = Refused::NotGenuine(Flaw::TcbInfoSignerRevoked);
        assert_noop!(enclave().submit(enclave().registration(START)), refused(reason));
    });
    // Another certificate signed the TCB info, so that only the identity's signer is revoked.
    run(|| {
        enclave().register();
        let mut other = scenario();
        other.authority.tcb_signing.certificate.serial = vec![0x7e; 20];
        other.tcb_info.issue_date += 1_000;
        assert_ok!(submit_tcb_info(&other));
        revoke_under_root(vec![scenario().authority.tcb_signing.certificate.serial]);
        to(START + 1);
        assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
        let reason = Refused::NotGenuine(Flaw::QeIdentitySignerRevoked);
        assert_noop!(enclave().submit(enclave().registration(START)), refused(reason));
    });
    for revokes_the_platform in [false, true] {
        run(|| {
            enclave().register();
            let mut other = if revokes_the_platform { revoking() } else { scenario() };
            other.authority = reissued().authority;
            other.pck_crl.as_mut().expect("there is one").this_update += 1_000;
            assert_ok!(submit_crls(&other));
            revoke_under_root(vec![vec![0x7f; 20]]);
            to(START + 1);
            // Whoever has the revoked key could have revoked anybody.
            assert_noop!(enclave().evict(), Error::<Test>::StillWanted);
        });
    }
}
