//! Why the two may differ. An explanation holds only if its rule, checked on the very bytes, makes the difference.

mod documents;
mod layout;
mod profile;

use cloister_attestation::{
    Error, Roots, chain::PckCertificate, collateral::RevocationList, collateral::RootOfTrust, quote::Quote,
};

use crate::comparison::{Answers, Case, Claims, ask};

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
    /// Ours refuses a quoting enclave whose level has a status that only platforms have; the oracle takes it for up to date.
    StatusOfQuotingEnclave,
    /// The oracle reads at most two octets of PCESVN; from 32 768 on there is a third, for the sign.
    SignOfPceSvn,
    /// Intel's format leaves the length of the QE authentication data open; the oracle takes 32 bytes only.
    QeAuthenticationLength,
}

/// The rule that makes the difference, if they differ and there is one. There may be several, of which one is named.
pub fn explain(case: &Case, answers: &Answers) -> Option<Explanation> {
    match (&answers.ours, &answers.oracle) {
        (Err(error), Ok(claims)) => layout_of(case, *error, claims).or_else(|| by_contents(case, answers)),
        _ => by_contents(case, answers),
    }
}

/// Bytes that the oracle does not read, where ours refuses them. Without them both agree, or what is left is explained too.
fn layout_of(case: &Case, error: Error, claims: &Claims) -> Option<Explanation> {
    let explanation = match error {
        Error::TrailingBytes | Error::SignatureDataLength | Error::CertificationDataType => {
            Explanation::UnreadBytesOfQuote
        }
        error if layout::is_about_chains(error) => Explanation::UnreadBytesOfChain,
        _ => return None,
    };
    let is_the_difference = layout::laid_out_again(case).unwrap_or_default().iter().any(|case| {
        let answers = ask(case);
        answers.oracle.as_ref() == Ok(claims) && (answers.agree() || by_contents(case, &answers).is_some())
    });
    is_the_difference.then_some(explanation)
}

fn by_contents(case: &Case, Answers { ours, oracle }: &Answers) -> Option<Explanation> {
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
        Error::QuoteVersion => explained(case.quote.starts_with(&[5, 0]), Explanation::QuoteVersion5),
        Error::QeReportData => {
            explained(quote(case)?.qe_report.report_data[32..] != [0; 32], Explanation::QeReportDataPadding)
        }
        Error::QeStatus => {
            let status = documents::qe_status(case, quote(case)?.qe_report.isv_svn)?;
            let of_platforms = ["ConfigurationNeeded", "OutOfDateConfigurationNeeded"];
            explained(of_platforms.contains(&status.as_str()), Explanation::StatusOfQuotingEnclave)
        }
        Error::PceIdMismatch => explained(documents::pce_id(case)? != claims.pce_id, Explanation::PceId),
        Error::CrlNotYetValid => explained(list_of_the_future(case), Explanation::ListOfTheFuture),
        Error::TcbLevelMissing => explained(components_differ(case), Explanation::ComponentsOfCpuSvn),
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
        "PceSvn length mismatch" if pck(case)?.pce_svn > 0x7fff => Some(Explanation::SignOfPceSvn),
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

fn pck(case: &Case) -> Option<PckCertificate> {
    PckCertificate::read_unverified(quote(case)?.pck_chain, &roots(case)?).ok()
}

fn components_differ(case: &Case) -> bool {
    pck(case).is_some_and(|pck| pck.cpu_svn != pck.tcb_components)
}

fn list_of_the_future(case: &Case) -> bool {
    let Some(roots) = roots(case) else { return false };
    let collateral = &case.collateral;
    let root = collateral.root_crl.as_deref().map(|crl| (crl, &collateral.tcb_info.issuer_chain));
    let pck = collateral.pck_crl.as_ref().map(|list| (list.crl.as_slice(), &list.issuer_chain));
    let lists = root.into_iter().chain(pck).map(|(crl, chain)| RevocationList::verify(crl, chain, &roots));
    lists.flatten().any(|list| list.validity.from > case.at_seconds * 1000)
}
