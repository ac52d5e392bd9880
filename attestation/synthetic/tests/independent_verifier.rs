//! A verifier that is not ours finds the evidence genuine in all but its root.

use cloister_synthetic_evidence::{AT, Authority, PckIssuer, Platform, Scenario, Tee};
use dcap_qvl::{
    QuoteCollateralV3,
    verify::{QuoteVerifier, VerifiedReport},
};

#[test]
fn accepts_every_kind_of_platform() {
    for tee in [Tee::Sgx, Tee::Tdx] {
        for issuer in [PckIssuer::Processor, PckIssuer::Platform] {
            let authority = Authority::from_seed([3; 32]);
            let scenario = Scenario::new(&authority, &Platform { id: [4; 32], tee, issuer });
            let report = verify(&scenario);
            assert_eq!((report.status.as_str(), report.advisory_ids), ("UpToDate", vec![]), "{tee:?} {issuer:?}");
            assert_eq!(Some(report.ppid), scenario.sgx_extension.and_then(|extension| extension.ppid));
        }
    }
}

#[test]
fn sees_what_was_changed() {
    let mut scenario = Scenario::tdx(&Authority::from_seed([3; 32]));
    scenario.td_report_mut().expect("TDX").tee_tcb_svn[0] = 3;
    let report = verify(&scenario);
    assert_eq!((report.status.as_str(), report.advisory_ids), ("OutOfDate", vec!["INTEL-SA-01036".to_owned()]));
}

fn verify(scenario: &Scenario) -> VerifiedReport {
    let (quote, collateral) = scenario.build();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let pck_crl = collateral.pck_crl.expect("list");
    let collateral = QuoteCollateralV3 {
        pck_crl_issuer_chain: text(pck_crl.issuer_chain),
        root_ca_crl: collateral.root_crl.expect("list"),
        pck_crl: pck_crl.crl,
        tcb_info_issuer_chain: text(collateral.tcb_info.issuer_chain),
        tcb_info: text(collateral.tcb_info.body),
        tcb_info_signature: collateral.tcb_info.signature.to_vec(),
        qe_identity_issuer_chain: text(collateral.qe_identity.issuer_chain),
        qe_identity: text(collateral.qe_identity.body),
        qe_identity_signature: collateral.qe_identity.signature.to_vec(),
        pck_certificate_chain: None,
    };
    let verifier = QuoteVerifier::new(scenario.authority.root_der());
    verifier.verify(&quote, &collateral, AT / 1000).unwrap_or_else(|error| panic!("{error:#}"))
}
