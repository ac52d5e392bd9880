//! Validity: each end of each part, to the millisecond.

use cloister_attestation::{Evidence, Roots, Validity, collateral::RootOfTrust, validity_window};
use cloister_synthetic_evidence::{AT, Certificate, VALID_FROM, VALID_UNTIL};

use crate::trial::{BOTH, Trial, accepted};

refusals! {
    pck_certificate_not_yet_valid: CertificateNotYetValid, BOTH, |t| t.scenario.pck.certificate.not_before = t.at + 1000;
    pck_certificate_expired: CertificateExpired, BOTH, |t| t.scenario.pck.certificate.not_after = t.at - 1000;
    pck_issuer_not_yet_valid: CertificateNotYetValid, BOTH, |t| ca(t).not_before = t.at + 1000;
    pck_issuer_expired: CertificateExpired, BOTH, |t| ca(t).not_after = t.at - 1000;
    root_not_yet_valid: CertificateNotYetValid, BOTH, |t| t.scenario.authority.root.certificate.not_before = t.at + 1000;
    root_expired: CertificateExpired, BOTH, |t| t.scenario.authority.root.certificate.not_after = t.at - 1000;
    tcb_signer_not_yet_valid: CertificateNotYetValid, BOTH, |t| {
        t.scenario.authority.tcb_signing.certificate.not_before = t.at + 1000;
    };
    tcb_signer_expired: CertificateExpired, BOTH, |t| t.scenario.authority.tcb_signing.certificate.not_after = t.at - 1000;
    tcb_info_not_yet_valid: DocumentNotYetValid, BOTH, |t| t.scenario.tcb_info.issue_date = t.at + 1000;
    tcb_info_expired: DocumentExpired, BOTH, |t| t.scenario.tcb_info.next_update = t.at - 1000;
    qe_identity_not_yet_valid: DocumentNotYetValid, BOTH, |t| t.scenario.qe_identity.issue_date = t.at + 1000;
    qe_identity_expired: DocumentExpired, BOTH, |t| t.scenario.qe_identity.next_update = t.at - 1000;
    root_crl_not_yet_valid: CrlNotYetValid, BOTH, |t| t.scenario.root_crl.as_mut().expect("there").this_update = t.at + 1000;
    root_crl_expired: CrlExpired, BOTH, |t| t.scenario.root_crl.as_mut().expect("there").next_update = Some(t.at - 1000);
    pck_crl_not_yet_valid: CrlNotYetValid, BOTH, |t| t.scenario.pck_crl.as_mut().expect("there").this_update = t.at + 1000;
    pck_crl_expired: CrlExpired, BOTH, |t| t.scenario.pck_crl.as_mut().expect("there").next_update = Some(t.at - 1000);
    everything_before_the_beginning: CertificateNotYetValid, BOTH, |t| t.at = VALID_FROM - 1;
    everything_after_the_end: CertificateExpired, BOTH, |t| t.at = VALID_UNTIL + 1;
    everything_at_the_beginning_of_time: CertificateNotYetValid, BOTH, |t| t.at = 0;
    everything_at_the_end_of_time: CertificateExpired, BOTH, |t| t.at = u64::MAX;
    tcb_info_one_millisecond_late: DocumentExpired, BOTH, |t| {
        t.scenario.tcb_info.next_update = AT;
        t.at = AT + 1;
    };
    tcb_info_one_millisecond_early: DocumentNotYetValid, BOTH, |t| {
        t.scenario.tcb_info.issue_date = AT;
        t.at = AT - 1;
    };
    // Intel's library takes a list's next update for the first moment of its absence, unlike every other end.
    crl_at_its_next_update: CrlExpired, BOTH, |t| t.scenario.pck_crl.as_mut().expect("there").next_update = Some(t.at);
}

#[test]
fn both_ends_are_valid() {
    accepted(BOTH, |t| t.at = VALID_FROM);
    accepted(BOTH, |t| {
        t.scenario.pck.certificate.not_after = t.at;
        t.scenario.tcb_info.next_update = t.at;
        t.scenario.qe_identity.next_update = t.at;
        t.scenario.pck_crl.as_mut().expect("there").next_update = Some(t.at + 1000);
    });
    accepted(BOTH, |t| {
        t.scenario.pck.certificate.not_before = t.at;
        t.scenario.tcb_info.issue_date = t.at;
        t.scenario.qe_identity.issue_date = t.at;
        t.scenario.pck_crl.as_mut().expect("there").this_update = t.at;
    });
}

/// The stated validity is the one that verification enforces: inside it succeeds, one millisecond outside it fails.
#[test]
fn the_stated_window_is_the_enforced_one() {
    const HOUR: u64 = 3_600_000;
    let changes: [(fn(&mut Trial), Validity); 6] = [
        (|_| (), Validity { from: VALID_FROM, until: VALID_UNTIL - 1 }),
        (|t| t.scenario.pck.certificate.not_before = AT, Validity { from: AT, until: VALID_UNTIL - 1 }),
        (|t| t.scenario.tcb_info.next_update = AT + HOUR, Validity { from: VALID_FROM, until: AT + HOUR }),
        (|t| t.scenario.qe_identity.issue_date = AT - HOUR, Validity { from: AT - HOUR, until: VALID_UNTIL - 1 }),
        (
            |t| t.scenario.pck_crl.as_mut().expect("there").next_update = Some(AT + HOUR),
            Validity { from: VALID_FROM, until: AT + HOUR - 1 },
        ),
        (
            |t| t.scenario.authority.tcb_signing.certificate.not_after = AT + HOUR,
            Validity { from: VALID_FROM, until: AT + HOUR },
        ),
    ];
    for tee in BOTH {
        for (change, window) in changes {
            let mut trial = Trial::good(*tee);
            change(&mut trial);
            let (quote, collateral) = trial.scenario.build();
            let roots = Roots::new(&[(RootOfTrust::Intel, &trial.scenario.authority.root_der())]).expect("good");
            assert_eq!(validity_window(&Evidence::Dcap(quote), &collateral, &roots), Ok(window));
            let at = |at| {
                let mut trial = Trial::good(*tee);
                change(&mut trial);
                trial.at = at;
                trial.verify()
            };
            assert_eq!(at(window.from).expect("first").validity, window);
            assert_eq!(at(window.until).expect("last").validity, window);
            assert!(at(window.from - 1).is_err() && at(window.until + 1).is_err());
        }
    }
}

fn ca(trial: &mut Trial) -> &mut Certificate {
    &mut trial.scenario.authority.pck_ca_mut(trial.scenario.issuer).certificate
}
