//! Why the two may differ. An explanation holds only if its rule, checked on the very bytes, makes the difference.

mod documents;
mod layout;
mod profile;

use cloister_attestation::{
    Error, Roots, chain::PckCertificate, collateral::RevocationList, collateral::RootOfTrust, quote::Quote,
};

use crate::comparison::{Answers, Case, Claims};

/// A known difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Explanation {
    /// Ours refuses bytes that the oracle does not read: after the quote or its signature data, the outer certification
    /// data's type. With those bytes as they ought to be, both agree.
    UnreadBytesOfQuote,
    /// Ours takes a chain as exactly leaf, issuer and the whole pinned root, in PEM of one form, and verifies the chain of the
    /// PCK revocation list too. The oracle finds its path among whatever certificates there are by the root's name and key,
    /// and does not look at the list's chain. With chains of the oracle's path, both agree.
    UnreadBytesOfChain,
    /// The oracle knows version 5; no part of ours does.
    QuoteVersion5,
    /// The second half of the QE report's data is zero in every quote that Intel's software makes; the oracle ignores it.
    QeReportDataPadding,
    /// The oracle does not compare PCE ids.
    PceId,
    /// Ours refuses a document of a form that Intel does not publish, where the oracle reads on or does not read at all.
    DocumentForm,
    /// Ours holds certificates to Intel's profile (names, key usage, positive serial numbers, the root's own validity), the
    /// oracle to what TLS needs.
    CertificateProfile,
    /// A revocation list from the future; the oracle looks only at when it ends.
    ListOfTheFuture,
    /// Ours refuses lists with parts that it would have to understand, or with numbers that Intel's do not have.
    ListForm,
    /// Levels are compared with the components of CPUSVN, as in Intel's library; the oracle takes CPUSVN's own bytes.
    ComponentsOfCpuSvn,
    /// Intel's format leaves the length of the QE authentication data open; the oracle takes 32 bytes only.
    QeAuthenticationLength,
}

/// The rule that makes the difference, if they differ and there is one.
pub fn explain(case: &Case, Answers { ours, oracle }: &Answers) -> Option<Explanation> {
    match (ours, oracle) {
        (Err(error), Ok(claims)) => stricter(case, *error, claims),
        (Ok(_), Err(reason)) => laxer(case, reason),
        (Ok(_), Ok(_)) => components_differ(case).then_some(Explanation::ComponentsOfCpuSvn),
        (Err(_), Err(_)) => None,
    }
}

fn stricter(case: &Case, error: Error, claims: &Claims) -> Option<Explanation> {
    let explained = |holds: bool, explanation| holds.then_some(explanation);
    match error {
        Error::TrailingBytes | Error::SignatureDataLength | Error::CertificationDataType => {
            explained(layout::is_the_difference(case, claims), Explanation::UnreadBytesOfQuote)
        }
        Error::QuoteVersion => explained(case.quote.starts_with(&[5, 0]), Explanation::QuoteVersion5),
        Error::QeReportData => {
            explained(quote(case)?.qe_report.report_data[32..] != [0; 32], Explanation::QeReportDataPadding)
        }
        Error::PceIdMismatch => explained(documents::pce_id(case)? != claims.pce_id, Explanation::PceId),
        Error::CrlNotYetValid => explained(list_of_the_future(case), Explanation::ListOfTheFuture),
        Error::TcbLevelMissing => explained(components_differ(case), Explanation::ComponentsOfCpuSvn),
        error if layout::is_about_chains(error) && layout::is_the_difference(case, claims) => {
            Some(Explanation::UnreadBytesOfChain)
        }
        error if documents::has_form(case, error) => Some(Explanation::DocumentForm),
        error if profile::is_broken(case, error) => Some(Explanation::CertificateProfile),
        error if profile::is_list_broken(case, error) => Some(Explanation::ListForm),
        _ => None,
    }
}

fn laxer(case: &Case, reason: &str) -> Option<Explanation> {
    match reason {
        "Invalid QE auth data length" if quote(case)?.qe_authentication.len() != 32 => {
            Some(Explanation::QeAuthenticationLength)
        }
        "No matching TCB level found" if components_differ(case) => Some(Explanation::ComponentsOfCpuSvn),
        _ => None,
    }
}

fn quote(case: &Case) -> Option<Quote<'_>> {
    Quote::parse(&case.quote).ok()
}

fn roots(case: &Case) -> Option<Roots> {
    Roots::new(&[(RootOfTrust::Intel, &case.root)]).ok()
}

fn components_differ(case: &Case) -> bool {
    let pck =
        quote(case).zip(roots(case)).map(|(quote, roots)| PckCertificate::read_unverified(quote.pck_chain, &roots));
    matches!(pck, Some(Ok(pck)) if pck.cpu_svn != pck.tcb_components)
}

fn list_of_the_future(case: &Case) -> bool {
    let Some(roots) = roots(case) else { return false };
    let collateral = &case.collateral;
    let root = collateral.root_crl.as_deref().map(|crl| (crl, &collateral.tcb_info.issuer_chain));
    let pck = collateral.pck_crl.as_ref().map(|list| (list.crl.as_slice(), &list.issuer_chain));
    let lists = root.into_iter().chain(pck).map(|(crl, chain)| RevocationList::verify(crl, chain, &roots));
    lists.flatten().any(|list| list.validity.from > case.at_seconds * 1000)
}
