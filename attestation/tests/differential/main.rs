//! The verifier beside an independent one, `dcap-qvl`: the same verdict, the same TCB status, the same advisories, and the
//! same facts otherwise, on recorded evidence, on mutations of it and of synthetic evidence, and on generated TCB infos.
//!
//! No disagreement is ignored. Where ours is stricter, `explanation.rs` names the rule and checks that this rule and
//! nothing else makes the difference. `DIFFERENTIAL_SEED` and `DIFFERENTIAL_CASES` choose other and more cases.
#![allow(clippy::type_complexity, reason = "tables of cases")]

mod bytes;
mod comparison;
mod explanation;
mod fields;
mod good;
mod run;
mod tcb_infos;

use comparison::{Agreement, ask, compare};
use run::{cases, run};

#[test]
fn recorded_quotes() {
    for (case, status, advisories) in [
        (good::recorded_sgx(), "ConfigurationAndSWHardeningNeeded", vec!["INTEL-SA-00289", "INTEL-SA-00615"]),
        (good::recorded_tdx(), "UpToDate", vec![]),
    ] {
        assert_eq!(compare(&case), Ok(Agreement::Accepted));
        let facts = ask(&case).oracle.expect("accepted").facts;
        assert_eq!(facts.status, status);
        assert!(facts.advisories.iter().eq(advisories));
    }
}

#[test]
fn synthetic_evidence_is_accepted() {
    for case in good::synthetic() {
        assert_eq!(compare(case), Ok(Agreement::Accepted));
    }
}

#[test]
fn changed_bytes() {
    run(cases(5_000), bytes::draw).check("changed bytes");
}

#[test]
fn changed_signatures() {
    run(cases(1_000), bytes::draw_signature).check("changed signatures");
}

#[test]
fn exchanged_parts() {
    run(cases(1_000), bytes::draw_swap).check("exchanged parts");
}

#[test]
fn shifted_times() {
    run(cases(1_000), bytes::draw_time).check("shifted times");
}

#[test]
fn changed_fields_signed_again() {
    run(cases(4_000), fields::draw).check("changed fields, signed again");
}

/// 10 000 TCB infos, more than a quarter of which both accept: agreement on rejection alone would say little.
#[test]
fn generated_tcb_infos() {
    let table = run(cases(10_000), tcb_infos::draw);
    table.check("generated TCB infos");
    assert!(table.count(Agreement::Accepted) * 4 > table.total());
}
