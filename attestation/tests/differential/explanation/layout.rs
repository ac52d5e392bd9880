//! Bytes that the oracle does not read: a case is laid out again from what it does read.

use cloister_attestation::Error;
use cloister_synthetic_evidence::pem;
use codec::Encode;
use dcap_qvl::quote::{AuthData, Quote};

use crate::comparison::{Case, Claims, Facts, ask_ours};

/// Whether ours agrees with the oracle once the case holds nothing but what the oracle read.
pub fn is_the_difference(case: &Case, claims: &Claims) -> bool {
    let agrees = |case: Case| ask_ours(&case).is_ok_and(|verification| Facts::from(&verification) == claims.facts);
    laid_out_again(case).unwrap_or_default().into_iter().any(agrees)
}

/// Errors that a stray certificate can cause.
pub fn is_about_chains(error: Error) -> bool {
    use Error::*;
    matches!(
        error,
        ChainMalformed
            | ChainLength
            | RootUnknown
            | CertificateVersion
            | CertificateSerial
            | CertificateAlgorithm
            | CertificateAlgorithmMismatch
            | CertificateKey
            | CertificateIssuer
            | CertificateSignature
            | CertificatePeriod
            | CertificateNotYetValid
            | CertificateExpired
            | ExtensionDuplicate
            | ExtensionMalformed
            | ExtensionUnknown
            | BasicConstraints
            | PathLength
            | KeyUsage
            | PckIssuer
            | CrlIssuer
            | CrlSignature
            | PckCrlIssuer
    )
}

/// One case for each certificate that may be the PCK certificate's issuer.
fn laid_out_again(case: &Case) -> Option<Vec<Case>> {
    let quote = Quote::parse(&case.quote).ok()?;
    let certification = match &quote.auth_data {
        AuthData::V3(data) => &data.certification_data,
        AuthData::V4(data) => &data.qe_report_data.certification_data,
    };
    let certificates = certificates(&certification.body.data)?;
    let (pck, others) = certificates.split_first()?;
    let cases = others.iter().filter_map(|issuer| with_chains(case, &quote, pck, issuer));
    Some(cases.collect())
}

fn with_chains(case: &Case, quote: &Quote, pck: &[u8], issuer: &[u8]) -> Option<Case> {
    let mut case = case.clone();
    let chain = |below: &[&[u8]]| {
        let certificates: Vec<_> = below.iter().chain([&case.root.as_slice()]).map(|der| der.to_vec()).collect();
        pem(&certificates)
    };
    let mut quote = quote.clone();
    let certification = match &mut quote.auth_data {
        AuthData::V3(data) => &mut data.certification_data,
        AuthData::V4(data) => {
            data.certification_data.cert_type = 6;
            &mut data.qe_report_data.certification_data
        }
    };
    certification.body.data = chain(&[pck, issuer]);
    let lists_chain = chain(&[issuer]);
    let [tcb, qe] = [&case.collateral.tcb_info, &case.collateral.qe_identity].map(|document| {
        let certificates = certificates(&document.issuer_chain)?;
        Some(chain(&[certificates.first()?]))
    });
    case.collateral.tcb_info.issuer_chain = tcb?;
    case.collateral.qe_identity.issuer_chain = qe?;
    case.collateral.pck_crl.as_mut()?.issuer_chain = lists_chain;
    case.quote = quote.encode();
    Some(case)
}

/// As the oracle reads them.
pub fn certificates(chain: &[u8]) -> Option<Vec<Vec<u8>>> {
    let parsed = ::pem::parse_many(chain).ok()?;
    Some(parsed.into_iter().map(::pem::Pem::into_contents).collect())
}
