//! One case, put to both verifiers.

use std::collections::BTreeSet;

use cloister_attestation::{
    Collateral, Error, Evidence, Roots, TcbStatus, Verification, collateral::RootOfTrust, verify,
};
use dcap_qvl::{QuoteClaims, QuoteCollateralV3, quote::Report, verify::QuoteVerifier};

use crate::explanation::{Explanation, explain};

/// What both verifiers are asked.
#[derive(Clone)]
pub struct Case {
    pub quote: Vec<u8>,
    pub collateral: Collateral,
    /// DER.
    pub root: Vec<u8>,
    /// Whole seconds: the oracle knows no parts of them.
    pub at_seconds: u64,
}

/// What both say.
pub struct Answers {
    pub ours: Result<Verification, Error>,
    pub oracle: Result<Claims, String>,
}

impl Answers {
    /// Whether both accept and state the same.
    pub fn agree(&self) -> bool {
        matches!(self, Self { ours: Ok(ours), oracle: Ok(claims) } if Facts::from(ours) == claims.facts)
    }
}

/// What the oracle states of a quote that it accepts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    pub facts: Facts,
    pub pce_id: Vec<u8>,
}

/// What both verifiers state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub status: String,
    pub advisories: BTreeSet<String>,
    pub evaluation_number: u32,
    pub fmspc: [u8; 6],
    pub tcb_date: u64,
    pub debug: bool,
    pub report_data: [u8; 64],
    /// MRENCLAVE and MRSIGNER, or MRTD and MRSIGNERSEAM.
    pub measurements: [Vec<u8>; 2],
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Agreement {
    /// Both accept and state the same.
    Accepted,
    /// Both reject, or ours states what the default policy rejects: [`TcbStatus::Revoked`], a service TD.
    Rejected,
    /// They differ for a reason that was checked.
    Explained(Explanation),
}

/// Agreement, or what each side says.
pub fn compare(case: &Case) -> Result<Agreement, String> {
    let answers = ask(case);
    if let Some(explanation) = explain(case, &answers) {
        return Ok(Agreement::Explained(explanation));
    }
    match (&answers.ours, &answers.oracle) {
        (Err(_), Err(_)) => Ok(Agreement::Rejected),
        _ if answers.agree() => Ok(Agreement::Accepted),
        // What is an error for the oracle is a fact for us if it is a policy's business.
        (Ok(ours), Err(reason))
            if ours.tcb_status == TcbStatus::Revoked && reason == "TCB status is invalid: Revoked" =>
        {
            Ok(Agreement::Rejected)
        }
        (Ok(ours), Err(reason)) if serves_td(ours) && reason == "SERVTD_EXT is enabled" => Ok(Agreement::Rejected),
        (Err(ours), Ok(claims)) => Err(format!("only the oracle accepts ({}); ours: {ours:?}", claims.facts.status)),
        (Ok(ours), Err(reason)) => Err(format!("only ours accepts ({}); the oracle: {reason}", ours.tcb_status.name())),
        (Ok(ours), Ok(claims)) => {
            Err(format!("other facts; ours: {:?}; the oracle: {:?}", Facts::from(ours), claims.facts))
        }
    }
}

fn serves_td(verification: &Verification) -> bool {
    verification.tdx.as_ref().is_some_and(|tdx| tdx.service_td)
}

/// Both answers.
pub fn ask(case: &Case) -> Answers {
    Answers { ours: ask_ours(case), oracle: ask_oracle(case) }
}

fn ask_ours(case: &Case) -> Result<Verification, Error> {
    let roots = Roots::new(&[(RootOfTrust::Intel, &case.root)])?;
    verify(&Evidence::Dcap(case.quote.clone()), &case.collateral, &roots, case.at_seconds * 1000)
}

/// The oracle takes documents as text and cannot do without revocation lists. Its claims ask for a little more than its
/// verdict does (legible dates, small numbers of revocation lists), which can only make it stricter.
fn ask_oracle(case: &Case) -> Result<Claims, String> {
    let collateral = oracle_collateral(&case.collateral)?;
    let verifier = QuoteVerifier::new(case.root.clone()).allow_debug(true);
    let accept_all = dcap_qvl::QuotePolicy::claims_only(case.at_seconds);
    let claims = verifier.verify_with_policy(&case.quote, collateral, case.at_seconds, &accept_all);
    claims.map(Claims::from).map_err(|error| format!("{error:#}"))
}

fn oracle_collateral(collateral: &Collateral) -> Result<QuoteCollateralV3, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "not text".to_owned());
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = collateral;
    let pck_crl = pck_crl.as_ref().ok_or("no PCK revocation list")?;
    Ok(QuoteCollateralV3 {
        pck_crl_issuer_chain: text(&pck_crl.issuer_chain)?,
        root_ca_crl: root_crl.clone().ok_or("no root revocation list")?,
        pck_crl: pck_crl.crl.clone(),
        tcb_info_issuer_chain: text(&tcb_info.issuer_chain)?,
        tcb_info: text(&tcb_info.body)?,
        tcb_info_signature: tcb_info.signature.to_vec(),
        qe_identity_issuer_chain: text(&qe_identity.issuer_chain)?,
        qe_identity: text(&qe_identity.body)?,
        qe_identity_signature: qe_identity.signature.to_vec(),
        pck_certificate_chain: None,
    })
}

impl From<&Verification> for Facts {
    fn from(verification: &Verification) -> Self {
        let measurements = match &verification.tdx {
            Some(tdx) => [tdx.mr_td.to_vec(), tdx.mr_signer_seam.to_vec()],
            None => [verification.fingerprint.to_vec(), verification.signer.to_vec()],
        };
        Self {
            status: verification.tcb_status.name().to_owned(),
            advisories: verification.advisories.iter().map(|advisory| advisory.as_str().to_owned()).collect(),
            evaluation_number: verification.evaluation_number,
            fmspc: verification.fmspc,
            tcb_date: verification.tcb_date / 1000,
            debug: verification.debug,
            report_data: verification.report_data,
            measurements,
        }
    }
}

impl From<QuoteClaims> for Claims {
    fn from(claims: QuoteClaims) -> Self {
        let (debug, report_data, measurements) = match &claims.report {
            Report::SgxEnclave(report) => (
                report.attributes[0] & 0b10 != 0,
                report.report_data,
                [report.mr_enclave.to_vec(), report.mr_signer.to_vec()],
            ),
            report => {
                let td = report.as_td10().expect("a TD report");
                // DEBUG and the bits of profiling.
                let debug = td.td_attributes[0] & 0b111_0001 != 0;
                (debug, td.report_data, [td.mr_td.to_vec(), td.mr_signer_seam.to_vec()])
            }
        };
        let facts = Facts {
            status: claims.tcb.status.to_string(),
            advisories: claims.tcb.advisory_ids.iter().cloned().collect(),
            evaluation_number: claims.tcb.eval_data_number,
            fmspc: claims.platform.pck.fmspc,
            tcb_date: claims.platform.tcb_date_tag,
            debug,
            report_data,
            measurements,
        };
        Self { facts, pce_id: claims.platform.pck.pce_id }
    }
}
