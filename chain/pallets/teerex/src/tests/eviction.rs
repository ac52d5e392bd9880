//! Who goes, when, and at whose word.

use cloister_attestation::{Error as Flaw, Refusal, TcbStatus};
use cloister_chain_primitives::{RegistrationRefused as Refused, Standing};
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
fn newer(status: &str) -> cloister_synthetic_evidence::Scenario {
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
        assert_noop!(enclave().submit(enclave().registration(START + 1)), refused(reason));
        // Older collateral does not bring it back.
        assert_noop!(submit_tcb_info(&scenario()), Error::<Test>::OlderCollateral);
        to(START + 3);
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
        enclave().register();
        assert_eq!(standing(), Some(Standing::Active));
    });
}

#[test]
fn revocation_leaves_no_grace() {
    run(|| {
        enclave().register();
        let mut revoking = scenario();
        let serial = revoking.pck_certificate().serial;
        let list = revoking.pck_crl.as_mut().expect("there is one");
        list.revoked = vec![serial];
        list.this_update += 1_000;
        assert_ok!(submit_crls(&revoking));
        to(START + 1);
        assert_ok!(enclave().evict());
        assert_evicted(EvictionReason::NotGenuine(Flaw::PckRevoked));
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
fn collateral_that_nobody_renewed_leaves_grace() {
    bare(true, || {
        let mut short = scenario();
        short.tcb_info.next_update = NOW + HOUR;
        submit(&short);
        enclave().register();
        to(START + 1);
        set_time(NOW + 2 * HOUR);
        assert_ok!(enclave().evict());
        let until = NOW + 2 * HOUR + GRACE;
        let reason = Refused::NotGenuine(Flaw::DocumentExpired);
        assert_eq!(events(), [Event::LeavingEnclave { account: enclave().account, reason, until }]);
        assert_noop!(enclave().submit(enclave().registration(START)), refused(reason));
    });
}
