//! What `attest verify` prints.

use cloister_claims::{Evidence, TeeKind, Verification};
use cloister_client::Appraised;
use serde_json::{Value, json};

use crate::{
    output::Report,
    time,
    workers::{DEBUG, SIMULATED},
};

/// Exit code of a rejection.
const REJECTED: u8 = 2;

/// Who looked at the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckedBy {
    /// This program.
    Native,
    /// The runtime of the node's finalized head.
    Chain,
}

impl CheckedBy {
    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Chain => "chain",
        }
    }
}

/// The report on evidence as of `at` (Unix milliseconds; `None` if there is no time at which it could hold).
pub fn report(evidence: &Evidence, appraised: &Appraised, at: Option<u64>, checked_by: CheckedBy) -> Report {
    let reason = match (&appraised.verification, appraised.appraisal) {
        (Err(error), _) => Some((error.name(), error.to_string())),
        (Ok(_), Some(Err(refusal))) => Some((refusal.name(), refusal.to_string())),
        (Ok(_), Some(Ok(()))) => None,
        // Not appraised is not accepted.
        (Ok(_), None) => Some(("NotAppraised", "nobody appraised the evidence".to_string())),
    };
    let verification = appraised.verification.as_ref().ok();
    let facts = verification.map(facts);
    let fact = |name: &str| facts.as_ref().map(|facts| facts[name].clone()).unwrap_or_default();

    let mut report =
        Report::default().last_line_is_json().hidden("verdict", if reason.is_none() { "accepted" } else { "rejected" });
    for name in FACTS {
        report = report.hidden(name, fact(name));
    }
    report = report
        .hidden("reason", reason.as_ref().map(|(name, _)| *name))
        .hidden("message", reason.as_ref().map(|(_, message)| message.as_str()))
        .hidden("at", at)
        .hidden("checked_by", checked_by.name())
        .hidden("evidence_bytes", evidence.bytes().len());

    if verification.is_some_and(|verification| verification.kind == TeeKind::Simulated) {
        report = report.banner(SIMULATED);
    }
    if verification.is_some_and(|verification| verification.debug) {
        report = report.banner(DEBUG);
    }
    report = match &reason {
        None => report.row("verdict", "accepted"),
        Some((name, message)) => {
            report.row("verdict", "REJECTED").row("reason", format_args!("{message} ({name})")).with_code(REJECTED)
        }
    };
    if let Some(at) = at {
        report = report.row("at", time::utc(at));
    }
    report = report.row(
        "checked by",
        match checked_by {
            CheckedBy::Native => "this program",
            CheckedBy::Chain => "the chain's runtime",
        },
    );
    if let Some(verification) = verification {
        report = rows(report, verification, &fact("measurement"), &fact("signer"));
    }
    report
}

fn facts(verification: &Verification) -> Value {
    let tdx = verification.tdx.as_ref();
    json!({
        "kind": verification.kind.name(),
        "tcb_status": verification.tcb_status.name(),
        "advisories": advisories(verification),
        "measurement": tdx.map_or_else(|| hex::encode(verification.fingerprint), |tdx| hex::encode(tdx.mr_td)),
        "signer": tdx.map_or_else(|| hex::encode(verification.signer), |tdx| hex::encode(tdx.mr_signer_seam)),
        "report_data": hex::encode(verification.report_data),
        "debug": verification.debug,
        "platform_id_hash": hex::encode(verification.platform_id_hash),
        "fingerprint": hex::encode(verification.fingerprint),
        "rtmr": tdx.map(|tdx| tdx.rtmr.map(hex::encode)),
        "service_td": tdx.map(|tdx| tdx.service_td),
        "product_id": verification.product_id,
        "security_version": verification.security_version,
        "fmspc": hex::encode(verification.fmspc),
        "evaluation_number": verification.evaluation_number,
        "tcb_date": verification.tcb_date,
        "revocation_checked": verification.revocation_checked,
        "collateral_issued": verification.collateral_issued,
        "valid_from": verification.validity.from,
        "valid_until": verification.validity.until,
    })
}

/// What only genuine evidence says, in the order of [`facts`].
const FACTS: [&str; 20] = [
    "kind",
    "tcb_status",
    "advisories",
    "measurement",
    "signer",
    "report_data",
    "debug",
    "platform_id_hash",
    "fingerprint",
    "rtmr",
    "service_td",
    "product_id",
    "security_version",
    "fmspc",
    "evaluation_number",
    "tcb_date",
    "revocation_checked",
    "collateral_issued",
    "valid_from",
    "valid_until",
];

fn advisories(verification: &Verification) -> Vec<&str> {
    verification.advisories.iter().map(|advisory| advisory.as_str()).collect()
}

fn rows(report: Report, verification: &Verification, measurement: &Value, signer: &Value) -> Report {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let names = match verification.tdx {
        Some(_) => ("mrtd", "mrsignerseam"),
        None => ("mrenclave", "mrsigner"),
    };
    let open = advisories(verification);
    let mut report = report
        .row("kind", verification.kind.name())
        .row("tcb status", verification.tcb_status.name())
        .row("advisories", if open.is_empty() { "none".to_string() } else { open.join(", ") })
        .row(names.0, text(measurement))
        .row(names.1, text(signer));
    if let Some(tdx) = &verification.tdx {
        for (name, register) in ["rtmr0", "rtmr1", "rtmr2", "rtmr3"].into_iter().zip(tdx.rtmr) {
            report = report.row(name, hex::encode(register));
        }
        report = report.row("fingerprint", hex::encode(verification.fingerprint));
    }
    let validity = &verification.validity;
    report
        .row("report data", hex::encode(verification.report_data))
        .row("debug", if verification.debug { "yes" } else { "no" })
        .row("platform", hex::encode(verification.platform_id_hash))
        .row("revocation", if verification.revocation_checked { "checked" } else { "NOT checked: no lists" })
        .row("valid", format_args!("{} to {}", time::utc(validity.from), time::utc(validity.until)))
}
