//! Bugs that other verifiers had: one test each, named after the bug.

use cloister_attestation::{
    Advisory, Crl, Error, Policy, Refusal, Roots, Stance, TcbStatus, TeeKind, Verification, collateral::RootOfTrust,
};
use cloister_synthetic_evidence::{AT, Authority, Body, PckTcb, Scenario, TcbLevel, Tee};

use crate::trial::{BOTH, SGX, TDX, Trial, accepted, refused, stranger};

/// The identity of the quoting enclave was fetched, but never verified (dcap-qvl before 0.3.9, CVE-2026-22696): whoever
/// could make a PCK-signed report of any enclave could quote anything.
#[test]
fn qe_identity_is_verified() {
    refused(BOTH, Error::DocumentSignature, |t| t.after(|_, collateral| collateral.qe_identity.signature[10] ^= 1));
    refused(BOTH, Error::DocumentSignature, |t| {
        t.scenario.qe_identity.signed_by = Some(stranger().tcb_signing.key);
    });
    refused(BOTH, Error::QeMrSigner, |t| t.scenario.quote.qe_report.mr_signer = [0x66; 32]);
    refused(BOTH, Error::QeProductId, |t| t.scenario.quote.qe_report.isv_prod_id += 1);
    refused(BOTH, Error::QeSecurityVersion, |t| t.scenario.quote.qe_report.isv_svn = 5);
    accepted(BOTH, |t| t.scenario.quote.qe_report.isv_svn = 6);
}

/// The comparison of PCESVN was the wrong way round (oasis-core before 26.0).
#[test]
fn pce_svn_is_compared_the_right_way_round() {
    let status = |change: fn(&mut Trial)| accepted(BOTH, change).iter().map(|it| it.tcb_status).collect::<Vec<_>>();
    assert_eq!(status(|t| tcb(t).pce_svn = Some(14)), [TcbStatus::UpToDate; 2], "one above the level");
    assert_eq!(status(|t| tcb(t).pce_svn = Some(13)), [TcbStatus::UpToDate; 2], "at the level");
    assert_eq!(status(|t| tcb(t).pce_svn = Some(12)), [TcbStatus::OutOfDate; 2], "one below the level");
    assert_eq!(status(|t| tcb(t).pce_svn = Some(10)), [TcbStatus::OutOfDate; 2], "at the last level");
    refused(BOTH, Error::TcbLevelMissing, |t| tcb(t).pce_svn = Some(9));
}

/// The TCB status was found, but nobody looked at it (dstack's RA-TLS): here every status meets every policy.
#[test]
fn every_tcb_status_meets_policy() {
    for tee in BOTH {
        for status in STATUSES {
            let mut trial = Trial::good(*tee);
            trial.scenario.tcb_info.tcb_levels[0].tcb_status = status.name().into();
            let verification = trial.verify().expect("a status is a fact, not an error");
            assert_eq!(verification.tcb_status, status);
            for wanted in STATUSES {
                let policy = Policy { tcb_statuses: vec![wanted], ..Policy::default() };
                let expected = match wanted == status && status != TcbStatus::Revoked {
                    true => Ok(()),
                    false => Err(Refusal::TcbStatus),
                };
                assert_eq!(policy.appraise(&verification, AT), expected, "{status:?} where {wanted:?} is wanted");
            }
        }
    }
}

/// A revoked quoting enclave made verification return early, with success (automata PR 144).
#[test]
fn revoked_is_never_accepted() {
    let everything = Policy { tcb_statuses: STATUSES.to_vec(), ..Policy::default() };
    let changes: [(&[Tee], fn(&mut Trial)); 3] = [
        (BOTH, |t| t.scenario.tcb_info.tcb_levels[0].tcb_status = "Revoked".into()),
        (BOTH, |t| t.scenario.qe_identity.tcb_levels[0].tcb_status = "Revoked".into()),
        (TDX, |t| {
            let identities = t.scenario.tcb_info.tdx_module_identities.as_mut().expect("TDX");
            identities[0].tcb_levels[0].tcb_status = "Revoked".into();
        }),
    ];
    for (tees, change) in changes {
        for verification in accepted(tees, change) {
            assert_eq!(verification.tcb_status, TcbStatus::Revoked);
            assert_eq!(everything.appraise(&verification, AT), Err(Refusal::TcbStatus));
        }
    }
}

/// The other half of the same bug: what returned early checked nothing more. Here whatever is revoked, a forgery is named for
/// what it is, and so is every check that comes later than the one that finds the revoked level.
#[test]
fn revoked_hides_no_forgery() {
    let revocations: [(&[Tee], fn(&mut Trial)); 3] = [
        (BOTH, |t| t.scenario.tcb_info.tcb_levels.iter_mut().for_each(|level| level.tcb_status = "Revoked".into())),
        (BOTH, |t| t.scenario.qe_identity.tcb_levels[0].tcb_status = "Revoked".into()),
        (TDX, |t| {
            let identities = t.scenario.tcb_info.tdx_module_identities.as_mut().expect("TDX");
            identities[0].tcb_levels[0].tcb_status = "Revoked".into();
        }),
    ];
    let forgeries: [(&[Tee], Error, fn(&mut Trial)); 20] = [
        (BOTH, Error::CertificateSignature, |t| t.scenario.pck.certificate.signed_by = Some(stranger().root.key)),
        (BOTH, Error::CertificateSignature, |t| {
            let ca = t.scenario.authority.pck_ca_mut(t.scenario.issuer);
            ca.certificate.signed_by = Some(stranger().root.key);
        }),
        (BOTH, Error::RootUnknown, |t| {
            let mut chain = t.scenario.rightful_pck_chain();
            chain[2] = stranger().root_der();
            t.scenario.pck_chain = Some(chain);
        }),
        (BOTH, Error::DocumentSignature, |t| t.scenario.tcb_info.signed_by = Some(stranger().tcb_signing.key)),
        (BOTH, Error::DocumentSignature, |t| t.scenario.qe_identity.signed_by = Some(stranger().tcb_signing.key)),
        (BOTH, Error::CrlSignature, |t| {
            t.scenario.pck_crl.as_mut().expect("there").signed_by = Some(stranger().root.key);
        }),
        (BOTH, Error::PckRevoked, |t| {
            let serial = t.scenario.pck.certificate.serial.clone();
            t.scenario.pck_crl.as_mut().expect("there").revoked.push(serial);
        }),
        (BOTH, Error::QeReportSignature, |t| t.scenario.quote.qe_report_signed_by = Some(stranger().root.key)),
        (BOTH, Error::QeReportData, |t| t.scenario.quote.qe_report_data = Some([0; 64])),
        (BOTH, Error::QuoteSignature, |t| t.scenario.quote.signed_by = Some(stranger().root.key)),
        (BOTH, Error::QuoteSignature, |t| {
            let regions = t.scenario.quote_with_regions().1;
            t.after(move |quote, _| quote[regions.body.end - 64] ^= 1);
        }),
        (BOTH, Error::QeMrSigner, |t| t.scenario.quote.qe_report.mr_signer[0] ^= 1),
        (BOTH, Error::QeDebug, |t| t.scenario.quote.qe_report.attributes[0] |= 2),
        (BOTH, Error::TcbLevelMissing, |t| tcb(t).pce_svn = Some(9)),
        (TDX, Error::TdAttributesReserved, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[0] |= 2),
        (TDX, Error::TdMigratable, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[3] |= 0x20),
        (TDX, Error::TdSeptVe, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[3] = 0),
        (TDX, Error::TdxModuleUnknown, |t| t.scenario.td_report_mut().expect("TDX").tee_tcb_svn[1] = 2),
        (TDX, Error::TdxModuleSigner, |t| t.scenario.td_report_mut().expect("TDX").mr_signer_seam[0] = 1),
        (TDX, Error::TdxModuleAttributes, |t| t.scenario.td_report_mut().expect("TDX").seam_attributes[0] = 1),
    ];
    for (revocation, (kinds, revoke)) in revocations.into_iter().enumerate() {
        for (tees, error, forge) in forgeries {
            for tee in tees.iter().filter(|tee| kinds.contains(tee)) {
                let mut trial = Trial::good(*tee);
                revoke(&mut trial);
                forge(&mut trial);
                assert_eq!(trial.verify().err(), Some(error), "{tee:?}, revocation {revocation}");
            }
        }
    }
}

/// Comparing pairwise up to the shorter list ignored components (dcap-qvl PR 164).
#[test]
fn short_and_long_component_lists_are_refused() {
    refused(BOTH, Error::TcbComponents, |t| _ = level(t).tcb.sgx_components.pop());
    refused(BOTH, Error::TcbComponents, |t| level(t).tcb.sgx_components.push(0));
    refused(TDX, Error::TcbComponents, |t| _ = level(t).tcb.tdx_components.as_mut().expect("TDX").pop());
    refused(TDX, Error::TcbComponents, |t| level(t).tcb.tdx_components.as_mut().expect("TDX").push(0));
    refused(TDX, Error::TcbComponents, |t| level(t).tcb.tdx_components = None);
    refused(BOTH, Error::SgxExtensionIncomplete, |t| _ = tcb(t).components.pop());
    refused(BOTH, Error::SgxExtensionDuplicate, |t| tcb(t).components.push(0));
}

/// Quotes of other vendors' quoting enclaves were taken for Intel's (dcap-qvl issue 127).
#[test]
fn foreign_vendor_is_refused() {
    refused(BOTH, Error::QeVendor, |t| t.scenario.quote.header.qe_vendor_id = [0; 16]);
    refused(BOTH, Error::QeVendor, |t| t.scenario.quote.header.qe_vendor_id[0] ^= 0x80);
}

/// A domain that is bound to a service domain was accepted unseen, then refused whatever the policy (dcap-qvl issue 163).
/// In the report of TDX 1.0 an attribute shows the binding; the report of 1.5, which names it, comes in quotes of version 5.
#[test]
fn service_td_is_a_matter_of_policy() {
    let unbound = &accepted(TDX, |_| ())[0];
    assert!(!domain(unbound).service_td);
    assert_eq!(Policy::default().appraise(unbound, AT), Ok(()));

    let bound = &accepted(TDX, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[2] |= 2)[0];
    assert!(domain(bound).service_td);
    assert_eq!(Policy::default().appraise(bound, AT), Err(Refusal::ServiceTd));
    let willing = Policy { service_td: Stance::Allowed, ..Policy::default() };
    assert_eq!(willing.appraise(bound, AT), Ok(()));

    // With the report of 1.5, none is accepted, whether it names a service domain or not: neither in its own format ...
    for mr_service_td in [[0; 48], [0x5d; 48]] {
        let mut trial = Trial::good(Tee::Tdx);
        let report = td_report_1_5(&trial, &[0; 16], &mr_service_td);
        trial.scenario.quote.header.version = 5;
        let kind_and_size = [&3u16.to_le_bytes()[..], &(report.len() as u32).to_le_bytes()].concat();
        trial.scenario.quote.body = Body::Raw([kind_and_size, report].concat());
        assert_eq!(trial.verify().err(), Some(Error::QuoteVersion));

        // ... nor in that of the shorter report, which it would follow with lengths of its own.
        for (tee_tcb_svn_2, error) in [([0; 16], Error::TrailingBytes), ([5; 16], Error::QuoteTruncated)] {
            let mut trial = Trial::good(Tee::Tdx);
            trial.scenario.quote.body = Body::Raw(td_report_1_5(&trial, &tee_tcb_svn_2, &mr_service_td));
            assert_eq!(trial.verify().err(), Some(error));
        }
    }
}

/// TEE_TCB_SVN_2 and MRSERVICETD behind a report of TDX 1.0.
fn td_report_1_5(trial: &Trial, tee_tcb_svn_2: &[u8; 16], mr_service_td: &[u8; 48]) -> Vec<u8> {
    [&trial.scenario.quote.body.encode()[..], tee_tcb_svn_2, mr_service_td].concat()
}

/// Enclaves whose memory the operator can read were accepted (many).
#[test]
fn debug_is_seen_and_refused_by_default() {
    let changes: [(&[Tee], fn(&mut Trial)); 5] = [
        (SGX, |t| t.scenario.enclave_report_mut().expect("SGX").attributes[0] |= 2),
        (TDX, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[0] |= 1),
        (TDX, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[0] |= 0x10),
        (TDX, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[0] |= 0x20),
        (TDX, |t| t.scenario.td_report_mut().expect("TDX").td_attributes[0] |= 0x40),
    ];
    for (tees, change) in changes {
        for verification in accepted(tees, change) {
            assert!(verification.debug);
            assert_eq!(Policy::default().appraise(&verification, AT), Err(Refusal::Debug));
            let willing = Policy { debug: Stance::Allowed, ..Policy::default() };
            assert_eq!(willing.appraise(&verification, AT), Ok(()));
        }
    }
    assert!(accepted(BOTH, |_| ()).iter().all(|verification| !verification.debug));
    // The quoting enclave itself is another matter: no policy allows it.
    refused(BOTH, Error::QeDebug, |t| t.scenario.quote.qe_report.attributes[0] |= 2);
}

/// Bytes behind the quote were accepted, and by some even hashed (oasis-core's test vectors).
#[test]
fn trailing_bytes_are_refused() {
    refused(BOTH, Error::TrailingBytes, |t| t.scenario.quote.trailing = vec![1]);
    refused(BOTH, Error::TrailingBytes, |t| t.scenario.quote.trailing = [vec![0; 60], vec![0x41]].concat());
    refused(BOTH, Error::SignatureDataLength, |t| t.scenario.quote.inner_trailing = vec![0; 8]);
    let [plain, padded] = [vec![], vec![0; 70]].map(|trailing| {
        let mut trial = Trial::good(Tee::Tdx);
        trial.scenario.quote.trailing = trailing;
        trial.verify()
    });
    assert_eq!(plain, padded);
}

/// Expired, future and superseded collateral was accepted (oasis-core's tests). That older collateral does not replace
/// newer is the registry's matter; here the number and the age are stated and policies can bound them.
#[test]
fn stale_collateral_is_refused() {
    refused(BOTH, Error::DocumentExpired, |t| t.scenario.tcb_info.next_update = AT - 1000);
    refused(BOTH, Error::DocumentNotYetValid, |t| t.scenario.tcb_info.issue_date = AT + 1000);
    refused(BOTH, Error::DocumentExpired, |t| t.scenario.qe_identity.next_update = AT - 1000);
    refused(BOTH, Error::DocumentNotYetValid, |t| t.scenario.qe_identity.issue_date = AT + 1000);

    for verification in accepted(BOTH, |t| t.scenario.qe_identity.tcb_evaluation_data_number = 16) {
        assert_eq!(verification.evaluation_number, 16, "the lower of both");
        let policy = |min_evaluation_number| Policy { min_evaluation_number, ..Policy::default() };
        assert_eq!(policy(16).appraise(&verification, AT), Ok(()));
        assert_eq!(policy(17).appraise(&verification, AT), Err(Refusal::EvaluationNumber));
    }
    for verification in accepted(BOTH, |t| {
        t.scenario.tcb_info.issue_date = AT - 5000;
        t.scenario.qe_identity.issue_date = AT - 1000;
        t.scenario.root_crl.as_mut().expect("there").this_update = AT - 9000;
        t.scenario.pck_crl.as_mut().expect("there").this_update = AT - 2000;
    }) {
        assert_eq!(verification.collateral_issued, AT - 9000, "the oldest of all");
        let policy = |age| Policy { max_collateral_age_ms: Some(age), ..Policy::default() };
        assert_eq!(policy(9000).appraise(&verification, AT), Ok(()));
        assert_eq!(policy(8999).appraise(&verification, AT), Err(Refusal::CollateralAge));
    }
}

/// Report data was bound to a key, but not to what the key is for. What is in it is the registry's matter
/// (`cloister_chain_primitives::registry::report_data`); here all 64 bytes are stated as they were attested, and no other.
#[test]
fn report_data_is_stated_in_full() {
    for tee in BOTH {
        let report_data = std::array::from_fn(|index| index as u8);
        let mut trial = Trial::good(*tee);
        trial.scenario = trial.scenario.with_report_data(&report_data);
        assert_eq!(trial.verify().expect("good").report_data, report_data);
    }
    refused(BOTH, Error::QuoteSignature, |t| {
        let regions = t.scenario.quote_with_regions().1;
        t.after(move |quote, _| quote[regions.body.end - 1] ^= 1);
    });
}

/// Simulated evidence reached production (dstack issue 563): the development root is unknown unless asked for, and what
/// hangs on it says so.
#[test]
fn simulated_evidence_says_so() {
    let development = |roots: Roots, tee| {
        let mut trial = Trial::good(tee);
        trial.scenario = match tee {
            Tee::Sgx => Scenario::sgx(&Authority::development()),
            Tee::Tdx => Scenario::tdx(&Authority::development()),
        };
        trial.roots = Some(roots);
        trial.verify()
    };
    assert_eq!(development(Roots::intel(), Tee::Sgx).err(), Some(Error::RootUnknown));
    assert_eq!(development(Roots::intel(), Tee::Tdx).err(), Some(Error::RootUnknown));
    let verification = development(Roots::intel_and_development(), Tee::Sgx).expect("asked for");
    assert_eq!(verification.kind, TeeKind::Simulated);
    assert_eq!(Policy::default().appraise(&verification, AT), Err(Refusal::Simulated));
    let kinds = vec![TeeKind::Sgx, TeeKind::Tdx, TeeKind::Simulated];
    let listed = Policy { kinds, ..Policy::default() };
    assert_eq!(listed.appraise(&verification, AT), Err(Refusal::Simulated), "naming the kind allows nothing");
    let willing = Policy { simulation: Stance::Allowed, ..Policy::default() };
    assert_eq!(willing.appraise(&verification, AT), Ok(()));
    let error = development(Roots::intel_and_development(), Tee::Tdx).err();
    assert_eq!(error, Some(Error::DevelopmentKind));
}

/// The same name under another key: only the pinned certificates are roots.
#[test]
fn a_root_is_pinned_whole() {
    let mut trial = Trial::good(Tee::Sgx);
    trial.scenario = Scenario::sgx(&stranger());
    let pinned = Trial::good(Tee::Sgx).scenario.authority.root_der();
    trial.roots = Some(Roots::new(&[(RootOfTrust::Intel, &pinned)]).expect("good"));
    assert_eq!(trial.verify().err(), Some(Error::RootUnknown));
}

/// What a policy does not want, in its order.
#[test]
fn policies_refuse_each_for_its_own_reason() {
    let [sgx, tdx]: [Verification; 2] = accepted(BOTH, |_| ()).try_into().expect("two");
    let no_lists = &accepted(SGX, |t| t.scenario.pck_crl = None)[0];
    assert_eq!(Policy::default().appraise(no_lists, AT), Err(Refusal::CrlMissing));
    let without = Policy { crl: Crl::Optional, ..Policy::default() };
    assert_eq!(without.appraise(no_lists, AT), Ok(()));

    let only_tdx = Policy { kinds: vec![TeeKind::Tdx], ..Policy::default() };
    assert_eq!(only_tdx.appraise(&sgx, AT), Err(Refusal::Kind));
    assert_eq!(only_tdx.appraise(&tdx, AT), Ok(()));

    let advised = &accepted(SGX, |t| level(t).advisory_ids = Some(vec!["INTEL-SA-00615".into()]))[0];
    let open = |names: &[&str]| {
        let advisories = names.iter().map(|name| Advisory::try_from(String::from(*name)).expect("name")).collect();
        Policy { advisories: Some(advisories), ..Policy::default() }
    };
    assert_eq!(Policy::default().appraise(advised, AT), Ok(()));
    assert_eq!(open(&["INTEL-SA-00615"]).appraise(advised, AT), Ok(()));
    assert_eq!(open(&["INTEL-SA-00616"]).appraise(advised, AT), Err(Refusal::Advisory));
    assert_eq!(open(&[]).appraise(advised, AT), Err(Refusal::Advisory));
    assert_eq!(open(&[]).appraise(&sgx, AT), Ok(()));
}

fn level(trial: &mut Trial) -> &mut TcbLevel {
    &mut trial.scenario.tcb_info.tcb_levels[0]
}

fn tcb(trial: &mut Trial) -> &mut PckTcb {
    trial.scenario.sgx_extension.as_mut().and_then(|sgx| sgx.tcb.as_mut()).expect("there")
}

fn domain(verification: &Verification) -> &cloister_attestation::TdxMeasurements {
    verification.tdx.as_ref().expect("TDX")
}

const STATUSES: [TcbStatus; 7] = [
    TcbStatus::UpToDate,
    TcbStatus::SwHardeningNeeded,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::ConfigurationAndSwHardeningNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];
