//! Bytes that the oracle does not read: a case is laid out again from what it does read.

use cloister_attestation::Error;
use cloister_synthetic_evidence::pem;
use codec::Encode;
use dcap_qvl::quote::{AuthData, Quote};
use der::Decode;
use x509_cert::Certificate;

use crate::comparison::Case;

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

/// The case with nothing but what the oracle reads of its quote; and besides of its chains, one case for each certificate that
/// may be the PCK certificate's issuer.
pub fn laid_out_again(case: &Case) -> Option<Vec<Case>> {
    let mut quote = Quote::parse(&case.quote).ok()?;
    let certification = match &mut quote.auth_data {
        AuthData::V3(data) => &mut data.certification_data,
        AuthData::V4(data) => {
            data.certification_data.cert_type = 6;
            &mut data.qe_report_data.certification_data
        }
    };
    let chain = std::mem::take(&mut certification.body.data);
    let with_quote_chain = |case: &Case, chain: Vec<u8>| {
        let mut quote = quote.clone();
        match &mut quote.auth_data {
            AuthData::V3(data) => data.certification_data.body.data = chain,
            AuthData::V4(data) => data.qe_report_data.certification_data.body.data = chain,
        }
        Case { quote: quote.encode(), ..case.clone() }
    };
    let mut cases = vec![with_quote_chain(case, chain.clone())];
    if let Some([pck, issuers @ ..]) = certificates(&chain).as_deref() {
        cases.extend(issuers.iter().filter_map(|issuer| {
            let case = with_collateral_chains(case, issuer)?;
            Some(with_quote_chain(&case, pem(&[pck.clone(), issuer.clone(), case.root.clone()])))
        }));
    }
    // Of a PCK certificate straight under the root it reads the root's list only.
    if let (Some(root_crl), Some(list)) = (&case.collateral.root_crl, &mut cases[0].collateral.pck_crl)
        && let Some([pck, ..]) = certificates(&chain).as_deref()
        && is_issued_by(pck, &case.root)
    {
        list.crl.clone_from(root_crl);
        list.issuer_chain.clone_from(&case.collateral.tcb_info.issuer_chain);
    }
    Some(cases)
}

fn is_issued_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let names = |der| Certificate::from_der(der).map(|of| (of.tbs_certificate.issuer, of.tbs_certificate.subject));
    matches!((names(certificate), names(issuer)), (Ok((named, _)), Ok((_, subject))) if named == subject)
}

/// Each signer straight under the root.
fn with_collateral_chains(case: &Case, pck_issuer: &[u8]) -> Option<Case> {
    let mut case = case.clone();
    let chain = |signer: &[u8]| pem(&[signer.to_vec(), case.root.clone()]);
    let [tcb, qe] = [&case.collateral.tcb_info, &case.collateral.qe_identity].map(|document| {
        let certificates = certificates(&document.issuer_chain)?;
        Some(chain(certificates.first()?))
    });
    let of_list = chain(pck_issuer);
    case.collateral.tcb_info.issuer_chain = tcb?;
    case.collateral.qe_identity.issuer_chain = qe?;
    case.collateral.pck_crl.as_mut()?.issuer_chain = of_list;
    Some(case)
}

/// As the oracle reads them.
pub fn certificates(chain: &[u8]) -> Option<Vec<Vec<u8>>> {
    let parsed = ::pem::parse_many(chain).ok()?;
    Some(parsed.into_iter().map(::pem::Pem::into_contents).collect())
}
