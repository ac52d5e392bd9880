//! What policies want of genuine evidence.

use cloister_attestation::{
    Advisory, Crl, Policy, Refusal, Stance, TcbStatus, TdxMeasurements, TeeKind, Validity, Verification,
};

const NOW: u64 = 1_700_000_000_000;

const STATUSES: [TcbStatus; 7] = [
    TcbStatus::UpToDate,
    TcbStatus::SwHardeningNeeded,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::ConfigurationAndSwHardeningNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];

/// What nobody objects to.
fn verification() -> Verification {
    Verification {
        kind: TeeKind::Sgx,
        fingerprint: [1; 32],
        signer: [2; 32],
        product_id: 3,
        security_version: 4,
        report_data: [5; 64],
        debug: false,
        tdx: None,
        tcb_status: TcbStatus::UpToDate,
        advisories: Vec::new(),
        platform_id_hash: [6; 32],
        fmspc: [7; 6],
        evaluation_number: 17,
        tcb_date: NOW - 1_000_000,
        revocation_checked: true,
        collateral_issued: NOW - 1_000,
        validity: Validity { from: NOW - 1_000, until: NOW + 1_000 },
    }
}

fn domain() -> Verification {
    let tdx = TdxMeasurements {
        mr_td: [1; 48],
        rtmr: [[2; 48]; 4],
        mr_config_id: [0; 48],
        mr_owner: [0; 48],
        mr_owner_config: [0; 48],
        mr_signer_seam: [0; 48],
        attributes: 1 << 28,
        xfam: 0xe7,
        service_td: false,
    };
    Verification { kind: TeeKind::Tdx, tdx: Some(tdx), ..verification() }
}

fn advisory(name: &str) -> Advisory {
    Advisory::try_from(name.to_owned()).unwrap()
}

/// A verification with one thing changed.
fn with(change: impl FnOnce(&mut Verification)) -> Verification {
    let mut verification = verification();
    change(&mut verification);
    verification
}

#[test]
fn nothing_to_object_to() {
    assert_eq!(Policy::default().appraise(&verification(), NOW), Ok(()));
    assert_eq!(Policy::default().appraise(&domain(), NOW), Ok(()));
}

#[test]
fn revocation_lists_are_required_unless_optional() {
    let unchecked = with(|it| it.revocation_checked = false);
    assert_eq!(Policy::default().appraise(&unchecked, NOW), Err(Refusal::CrlMissing));
    let optional = Policy { crl: Crl::Optional, ..Policy::default() };
    assert_eq!(optional.appraise(&unchecked, NOW), Ok(()));
    assert_eq!(optional.appraise(&verification(), NOW), Ok(()));
}

#[test]
fn simulation_is_ruled_by_its_own_stance_alone() {
    let simulated = with(|it| it.kind = TeeKind::Simulated);
    assert_eq!(Policy::default().appraise(&simulated, NOW), Err(Refusal::Simulated));
    let named = Policy { kinds: vec![TeeKind::Simulated], ..Policy::default() };
    assert_eq!(named.appraise(&simulated, NOW), Err(Refusal::Simulated), "naming it among the kinds is not enough");
    let allowed = Policy { kinds: vec![], simulation: Stance::Allowed, ..Policy::default() };
    assert_eq!(allowed.appraise(&simulated, NOW), Ok(()));
    assert_eq!(allowed.appraise(&verification(), NOW), Err(Refusal::Kind), "it opens nothing for hardware");
}

#[test]
fn kinds_of_hardware() {
    let sgx = Policy { kinds: vec![TeeKind::Sgx], ..Policy::default() };
    assert_eq!(sgx.appraise(&verification(), NOW), Ok(()));
    assert_eq!(sgx.appraise(&domain(), NOW), Err(Refusal::Kind));
    let tdx = Policy { kinds: vec![TeeKind::Tdx], ..Policy::default() };
    assert_eq!(tdx.appraise(&verification(), NOW), Err(Refusal::Kind));
    assert_eq!(tdx.appraise(&domain(), NOW), Ok(()));
}

#[test]
fn debug() {
    let debug = with(|it| it.debug = true);
    assert_eq!(Policy::default().appraise(&debug, NOW), Err(Refusal::Debug));
    let allowed = Policy { debug: Stance::Allowed, ..Policy::default() };
    assert_eq!(allowed.appraise(&debug, NOW), Ok(()));
}

#[test]
fn service_domains_by_opting_in() {
    let mut bound = domain();
    bound.tdx.as_mut().unwrap().service_td = true;
    assert_eq!(Policy::default().appraise(&bound, NOW), Err(Refusal::ServiceTd));
    let allowed = Policy { service_td: Stance::Allowed, ..Policy::default() };
    assert_eq!(allowed.appraise(&bound, NOW), Ok(()));
}

#[test]
fn every_status_under_every_policy() {
    for status in STATUSES {
        let verification = with(|it| it.tcb_status = status);
        let default = Policy::default().appraise(&verification, NOW);
        assert_eq!(default.is_ok(), status != TcbStatus::Revoked, "{status:?}");
        for accepted in STATUSES {
            let policy = Policy { tcb_statuses: vec![accepted], ..Policy::default() };
            let expected = match status == accepted && status != TcbStatus::Revoked {
                true => Ok(()),
                false => Err(Refusal::TcbStatus),
            };
            assert_eq!(policy.appraise(&verification, NOW), expected, "{status:?} where {accepted:?} is accepted");
        }
        let none = Policy { tcb_statuses: vec![], ..Policy::default() };
        assert_eq!(none.appraise(&verification, NOW), Err(Refusal::TcbStatus));
    }
}

#[test]
fn no_policy_accepts_revoked() {
    let everything = Policy {
        kinds: vec![TeeKind::Sgx, TeeKind::Tdx, TeeKind::Simulated],
        simulation: Stance::Allowed,
        tcb_statuses: STATUSES.to_vec(),
        advisories: None,
        debug: Stance::Allowed,
        service_td: Stance::Allowed,
        crl: Crl::Optional,
        min_evaluation_number: 0,
        max_collateral_age_ms: None,
    };
    for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Simulated] {
        let revoked = with(|it| {
            it.kind = kind;
            it.tcb_status = TcbStatus::Revoked;
        });
        assert_eq!(everything.appraise(&revoked, NOW), Err(Refusal::TcbStatus));
    }
}

#[test]
fn advisories() {
    let open = with(|it| it.advisories = vec![advisory("INTEL-SA-00289"), advisory("INTEL-SA-00615")]);
    assert_eq!(Policy::default().appraise(&open, NOW), Ok(()));
    let accepting = |names: &[&str]| Policy {
        advisories: Some(names.iter().map(|name| advisory(name)).collect()),
        ..Policy::default()
    };
    assert_eq!(accepting(&[]).appraise(&verification(), NOW), Ok(()));
    assert_eq!(accepting(&[]).appraise(&open, NOW), Err(Refusal::Advisory));
    assert_eq!(accepting(&["INTEL-SA-00615"]).appraise(&open, NOW), Err(Refusal::Advisory));
    assert_eq!(accepting(&["INTEL-SA-00615", "INTEL-SA-00289"]).appraise(&open, NOW), Ok(()));
}

#[test]
fn evaluation_number_counts_up() {
    for (least, expected) in [(16, Ok(())), (17, Ok(())), (18, Err(Refusal::EvaluationNumber))] {
        let policy = Policy { min_evaluation_number: least, ..Policy::default() };
        assert_eq!(policy.appraise(&verification(), NOW), expected);
    }
}

#[test]
fn collateral_ages() {
    for (age, expected) in [(0, Err(Refusal::CollateralAge)), (999, Err(Refusal::CollateralAge)), (1_000, Ok(()))] {
        let policy = Policy { max_collateral_age_ms: Some(age), ..Policy::default() };
        assert_eq!(policy.appraise(&verification(), NOW), expected);
    }
    let unbounded = Policy { max_collateral_age_ms: Some(u64::MAX), ..Policy::default() };
    assert_eq!(unbounded.appraise(&verification(), u64::MAX), Ok(()));
}

#[test]
fn the_first_refusal_is_named() {
    let mut objectionable = domain();
    objectionable.revocation_checked = false;
    objectionable.kind = TeeKind::Simulated;
    objectionable.debug = true;
    objectionable.tdx.as_mut().unwrap().service_td = true;
    objectionable.tcb_status = TcbStatus::OutOfDate;
    objectionable.advisories = vec![advisory("INTEL-SA-00001")];
    let mut policy = Policy {
        kinds: vec![TeeKind::Sgx],
        tcb_statuses: vec![TcbStatus::UpToDate],
        advisories: Some(vec![]),
        min_evaluation_number: 18,
        max_collateral_age_ms: Some(0),
        ..Policy::default()
    };
    let mut refused = Vec::new();
    while let Err(refusal) = policy.appraise(&objectionable, NOW) {
        refused.push(refusal);
        match refusal {
            Refusal::CrlMissing => policy.crl = Crl::Optional,
            Refusal::Simulated => objectionable.kind = TeeKind::Tdx,
            Refusal::Kind => policy.kinds = vec![TeeKind::Tdx],
            Refusal::Debug => policy.debug = Stance::Allowed,
            Refusal::ServiceTd => policy.service_td = Stance::Allowed,
            Refusal::TcbStatus => policy.tcb_statuses = vec![TcbStatus::OutOfDate],
            Refusal::Advisory => policy.advisories = None,
            Refusal::EvaluationNumber => policy.min_evaluation_number = 17,
            Refusal::CollateralAge => policy.max_collateral_age_ms = None,
            other => panic!("{other}"),
        }
    }
    let order = [
        Refusal::CrlMissing,
        Refusal::Simulated,
        Refusal::Kind,
        Refusal::Debug,
        Refusal::ServiceTd,
        Refusal::TcbStatus,
        Refusal::Advisory,
        Refusal::EvaluationNumber,
        Refusal::CollateralAge,
    ];
    assert_eq!(refused, order);
}

#[test]
fn names_are_those_of_the_variants() {
    for (refusal, name) in [
        (Refusal::CrlMissing, "CrlMissing"),
        (Refusal::Simulated, "Simulated"),
        (Refusal::Kind, "Kind"),
        (Refusal::Debug, "Debug"),
        (Refusal::ServiceTd, "ServiceTd"),
        (Refusal::TcbStatus, "TcbStatus"),
        (Refusal::Advisory, "Advisory"),
        (Refusal::EvaluationNumber, "EvaluationNumber"),
        (Refusal::CollateralAge, "CollateralAge"),
    ] {
        assert_eq!(refusal.name(), name);
        assert_eq!(format!("{refusal:?}"), name);
    }
    for status in STATUSES {
        assert_eq!(serde_json::to_value(status).unwrap(), status.name());
    }
    for kind in [TeeKind::Sgx, TeeKind::Tdx, TeeKind::Simulated] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}

#[test]
fn fields_that_are_left_out_are_the_defaults() {
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
    let policy: Policy = serde_json::from_str(r#"{"crl":"optional","debug":"allowed"}"#).unwrap();
    assert_eq!(policy, Policy { crl: Crl::Optional, debug: Stance::Allowed, ..Policy::default() });
}

#[test]
fn policies_survive_json() {
    let policy = Policy {
        kinds: vec![TeeKind::Tdx],
        simulation: Stance::Allowed,
        tcb_statuses: STATUSES.to_vec(),
        advisories: Some(vec![advisory("INTEL-SA-00615")]),
        debug: Stance::Allowed,
        service_td: Stance::Allowed,
        crl: Crl::Optional,
        min_evaluation_number: 17,
        max_collateral_age_ms: Some(86_400_000),
    };
    for policy in [policy, Policy::default()] {
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
    }
}

#[test]
fn json_that_is_not_understood_is_refused() {
    for json in [
        r#"{"alow_debug":true}"#,
        r#"{"debug":true}"#,
        r#"{"debug":"Allowed"}"#,
        r#"{"kinds":["sev"]}"#,
        r#"{"tcb_statuses":["Fine"]}"#,
        r#"{"advisories":[""]}"#,
        r#"{"crl":"optional","crl":"required"}"#,
        r#"{"min_evaluation_number":-1}"#,
        "[]x",
        "null",
    ] {
        assert!(serde_json::from_str::<Policy>(json).is_err(), "{json}");
    }
}
