//! Verification: is a quote genuine under this collateral, and what does it say?

use cloister_claims::{Collateral, Error, Evidence, TdxMeasurements, TeeKind, Validity, Verification};
use sha2::{Digest, Sha256};

use crate::{
    Roots,
    chain::PckCertificate,
    collateral::{
        CrlIssuer, PlatformType, QeIdentity, RevocationList, RootOfTrust, Serial, Signer, TcbInfo, VerifiedCollateral,
    },
    matching::{self, Tcb},
    quote::{Quote, Report, TdReport},
    signature::{SignatureError, verify_signature},
};

/// Verifies evidence with raw collateral at `at` (Unix milliseconds).
///
/// The evidence is parsed first, then TCB info, QE identity, root list and PCK list are verified in this order, then
/// everything is checked as by [`verify_quote`].
pub fn verify(evidence: &Evidence, collateral: &Collateral, roots: &Roots, at: u64) -> Result<Verification, Error> {
    let Evidence::Dcap(quote) = evidence;
    let quote = Quote::parse(quote)?;
    let documents = Documents::verify(collateral, roots)?;
    check(&quote, documents.borrow(), roots, Some(at))
}

/// Verifies a quote with verified collateral at `at` (Unix milliseconds). The collateral may have been verified at another
/// time: whatever depends on time or on newer revocation lists is checked again.
///
/// In this order: the quote's form; the PCK chain's signatures up to a pinned root; that everything hangs on that root;
/// that PCK chain, TCB info, QE identity, root list and PCK list are valid at `at`; that the lists are those of the root and
/// of the PCK certificate's issuer; that they revoke neither PCK certificate nor its issuer nor a signer of collateral; that
/// the collateral is about this platform (type, FMSPC, PCE); the QE report's signature by the PCK key; that the QE report
/// vouches for the attestation key; the attestation key's signature over the quote; QE identity (signer, debug, product,
/// MISCSELECT, attributes, security version); the domain's attributes; the platform's TCB level; the TDX module's identity
/// and level.
pub fn verify_quote(
    quote: &[u8],
    collateral: VerifiedCollateral,
    roots: &Roots,
    at: u64,
) -> Result<Verification, Error> {
    check(&Quote::parse(quote)?, collateral, roots, Some(at))
}

/// The time inside all validities: of certificates, TCB info, QE identity and revocation lists. Everything that does not
/// depend on time is verified. Empty (`from > until`) if the evidence is valid at no time with this collateral.
pub fn validity_window(evidence: &Evidence, collateral: &Collateral, roots: &Roots) -> Result<Validity, Error> {
    let Evidence::Dcap(quote) = evidence;
    let quote = Quote::parse(quote)?;
    let documents = Documents::verify(collateral, roots)?;
    check(&quote, documents.borrow(), roots, None).map(|verification| verification.validity)
}

/// Which collateral a quote needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The root that its certificate chain names.
    pub root: RootOfTrust,
    /// SGX or TDX.
    pub platform: PlatformType,
    /// Of the platform.
    pub fmspc: [u8; 6],
    /// Who issued the platform's certificate, and so whose revocation list is needed.
    pub issuer: CrlIssuer,
}

/// Reads from a quote which collateral it needs. **Nothing is verified**: good for looking collateral up, and for nothing else.
pub fn subject(quote: &[u8], roots: &Roots) -> Result<Subject, Error> {
    let quote = Quote::parse(quote)?;
    let pck = PckCertificate::read_unverified(quote.pck_chain, roots)?;
    Ok(Subject { root: pck.root, platform: platform_type(&quote), fmspc: pck.fmspc, issuer: pck.issuer })
}

/// Collateral whose signatures and form are verified, but not yet its time.
struct Documents {
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    root_crl: Option<RevocationList>,
    pck_crl: Option<RevocationList>,
}

impl Documents {
    fn verify(collateral: &Collateral, roots: &Roots) -> Result<Self, Error> {
        let tcb_info = TcbInfo::verify(&collateral.tcb_info, roots)?;
        let qe_identity = QeIdentity::verify(&collateral.qe_identity, roots)?;
        // The root signs its own list, and every issuer chain ends in it.
        let chain = &collateral.tcb_info.issuer_chain;
        let root_crl = collateral.root_crl.as_ref().map(|crl| RevocationList::verify(crl, chain, roots)).transpose()?;
        let pck_crl = collateral.pck_crl.as_ref();
        let pck_crl = pck_crl.map(|list| RevocationList::verify(&list.crl, &list.issuer_chain, roots)).transpose()?;
        Ok(Self { tcb_info, qe_identity, root_crl, pck_crl })
    }

    fn borrow(&self) -> VerifiedCollateral<'_> {
        VerifiedCollateral {
            tcb_info: &self.tcb_info,
            qe_identity: &self.qe_identity,
            root_crl: self.root_crl.as_ref(),
            pck_crl: self.pck_crl.as_ref(),
        }
    }
}

/// All checks; those of time only if there is one.
fn check(quote: &Quote, collateral: VerifiedCollateral, roots: &Roots, at: Option<u64>) -> Result<Verification, Error> {
    let VerifiedCollateral { tcb_info, qe_identity, root_crl, pck_crl } = collateral;
    let pck = PckCertificate::verify(quote.pck_chain, roots)?;
    check_root(pck.root, &collateral)?;
    if let Some(at) = at {
        pck.check_time(at)?;
        tcb_info.check_time(at)?;
        qe_identity.check_time(at)?;
        root_crl.map_or(Ok(()), |list| list.check_time(at))?;
        pck_crl.map_or(Ok(()), |list| list.check_time(at))?;
    }
    check_revocation(&pck, &collateral)?;

    let platform = platform_type(quote);
    if tcb_info.platform != platform {
        return Err(Error::TcbInfoPlatform);
    }
    if qe_identity.platform != platform {
        return Err(Error::QeIdentityPlatform);
    }
    if tcb_info.fmspc != pck.fmspc {
        return Err(Error::FmspcMismatch);
    }
    if tcb_info.pce_id != pck.pce_id {
        return Err(Error::PceIdMismatch);
    }

    check_signatures(quote, &pck)?;
    let qe_level = matching::qe_level(qe_identity, &quote.qe_report)?;
    let claims = Claims::read(quote, pck.root)?;
    let domain = match &quote.report {
        Report::Enclave(_) => None,
        Report::Domain(report) => Some(report),
    };
    let tcb = Tcb::converge(tcb_info, &pck, domain, qe_level)?;
    let lists = [root_crl, pck_crl].into_iter().flatten();
    Ok(Verification {
        kind: claims.kind,
        fingerprint: claims.fingerprint,
        signer: claims.signer,
        product_id: claims.product_id,
        security_version: claims.security_version,
        report_data: claims.report_data,
        debug: claims.debug,
        tdx: claims.tdx,
        tcb_status: tcb.status,
        advisories: tcb.advisories,
        platform_id_hash: tagged_hash("platform", &[root_name(pck.root).as_bytes(), &pck.ppid]),
        fmspc: pck.fmspc,
        evaluation_number: tcb_info.evaluation_number.min(qe_identity.evaluation_number),
        tcb_date: tcb.date,
        revocation_checked: root_crl.is_some() && pck_crl.is_some(),
        collateral_issued: lists
            .clone()
            .map(|list| list.validity.from)
            .fold(tcb_info.validity.from.min(qe_identity.validity.from), u64::min),
        validity: lists
            .map(|list| (&list.validity, list.signer.as_ref()))
            .chain([(&tcb_info.validity, Some(&tcb_info.signer)), (&qe_identity.validity, Some(&qe_identity.signer))])
            .fold(pck.validity, |window, (validity, signer)| {
                let window = window.intersect(validity);
                signer.map_or(window, |signer| window.intersect(&signer.validity))
            }),
    })
}

fn platform_type(quote: &Quote) -> PlatformType {
    match quote.report {
        Report::Enclave(_) => PlatformType::Sgx,
        Report::Domain(_) => PlatformType::Tdx,
    }
}

/// Collateral of one root says nothing about platforms of another.
fn check_root(root: RootOfTrust, collateral: &VerifiedCollateral) -> Result<(), Error> {
    let lists = [collateral.root_crl, collateral.pck_crl].into_iter().flatten();
    let mut roots =
        [collateral.tcb_info.root, collateral.qe_identity.root].into_iter().chain(lists.map(|list| list.root));
    match roots.all(|other| other == root) {
        true => Ok(()),
        false => Err(Error::QuoteRoot),
    }
}

fn check_revocation(pck: &PckCertificate, collateral: &VerifiedCollateral) -> Result<(), Error> {
    if collateral.root_crl.is_some_and(|list| list.issuer != CrlIssuer::Root) {
        return Err(Error::RootCrlIssuer);
    }
    if collateral.pck_crl.is_some_and(|list| list.issuer != pck.issuer) {
        return Err(Error::PckCrlIssuer);
    }
    let revoked = |list: Option<&RevocationList>, serial: &Serial| list.is_some_and(|list| list.revokes(serial));
    if revoked(collateral.pck_crl, &pck.serial) {
        return Err(Error::PckRevoked);
    }
    let under_root = |signer: &Signer| revoked(collateral.root_crl, &signer.serial);
    if revoked(collateral.root_crl, &pck.issuer_serial) {
        return Err(Error::PckIssuerRevoked);
    }
    if under_root(&collateral.tcb_info.signer) {
        return Err(Error::TcbInfoSignerRevoked);
    }
    if under_root(&collateral.qe_identity.signer) {
        return Err(Error::QeIdentitySignerRevoked);
    }
    // A list signed with a revoked key may hide a revocation.
    if collateral.pck_crl.and_then(|list| list.signer.as_ref()).is_some_and(under_root) {
        return Err(Error::CrlSignerRevoked);
    }
    Ok(())
}

/// PCK key → QE report → attestation key → quote.
fn check_signatures(quote: &Quote, pck: &PckCertificate) -> Result<(), Error> {
    verify_signature(&pck.public_key, quote.qe_report.bytes, quote.qe_report_signature)
        .map_err(|_| Error::QeReportSignature)?;
    let vouched = Sha256::new().chain_update(quote.attestation_key).chain_update(quote.qe_authentication).finalize();
    let (stated, padding) = quote.qe_report.report_data.split_at(vouched.len());
    if stated != vouched.as_slice() || padding != [0; 32] {
        return Err(Error::QeReportData);
    }
    verify_signature(quote.attestation_key, quote.signed, quote.signature).map_err(|error| match error {
        SignatureError::Key => Error::AttestationKey,
        SignatureError::Signature => Error::QuoteSignature,
    })
}

/// What the attested report itself states.
struct Claims {
    kind: TeeKind,
    fingerprint: [u8; 32],
    signer: [u8; 32],
    product_id: u16,
    security_version: u16,
    report_data: [u8; 64],
    debug: bool,
    tdx: Option<TdxMeasurements>,
}

impl Claims {
    fn read(quote: &Quote, root: RootOfTrust) -> Result<Self, Error> {
        match (&quote.report, root) {
            (Report::Enclave(report), _) => Ok(Self {
                kind: match root {
                    RootOfTrust::Intel => TeeKind::Sgx,
                    RootOfTrust::Development => TeeKind::Simulated,
                },
                fingerprint: report.mr_enclave,
                signer: report.mr_signer,
                product_id: report.isv_prod_id,
                security_version: report.isv_svn,
                report_data: report.report_data,
                debug: report.is_debug(),
                tdx: None,
            }),
            (Report::Domain(report), RootOfTrust::Intel) => Self::of_domain(report),
            (Report::Domain(_), RootOfTrust::Development) => Err(Error::DevelopmentKind),
        }
    }

    fn of_domain(report: &TdReport) -> Result<Self, Error> {
        let attributes = report.td_attributes;
        if attributes & td_attributes::RESERVED != 0 {
            return Err(Error::TdAttributesReserved);
        }
        // Where it goes and what attests it there is the decision of a migration domain that a TD report 1.0 does not show.
        if attributes & td_attributes::MIGRATABLE != 0 {
            return Err(Error::TdMigratable);
        }
        if attributes & td_attributes::SEPT_VE_DISABLE == 0 {
            return Err(Error::TdSeptVe);
        }
        let [rtmr0, rtmr1, rtmr2, rtmr3] = &report.rtmr;
        let fingerprint = tagged_hash(
            "tdx fingerprint",
            &[
                &attributes.to_le_bytes(),
                &report.xfam.to_le_bytes(),
                &report.mr_td,
                &report.mr_config_id,
                &report.mr_owner,
                &report.mr_owner_config,
                rtmr0,
                rtmr1,
                rtmr2,
                rtmr3,
            ],
        );
        Ok(Self {
            kind: TeeKind::Tdx,
            fingerprint,
            signer: tagged_hash("tdx signer", &[&report.mr_signer_seam]),
            product_id: 0,
            security_version: 0,
            report_data: report.report_data,
            debug: attributes & td_attributes::UNDER_DEBUG != 0,
            tdx: Some(TdxMeasurements {
                mr_td: report.mr_td,
                rtmr: report.rtmr,
                mr_config_id: report.mr_config_id,
                mr_owner: report.mr_owner,
                mr_owner_config: report.mr_owner_config,
                mr_signer_seam: report.mr_signer_seam,
                attributes,
                xfam: report.xfam,
                service_td: attributes & td_attributes::SERVTD_EXT != 0,
            }),
        })
    }
}

/// Bits of a domain's attributes, after Intel's TDX Module ABI specification (348551-008US), table 3.23.
mod td_attributes {
    /// DEBUG (0) and the profiling of the domain's performance by the host (4–6).
    pub const UNDER_DEBUG: u64 = 0x71;
    /// A service domain is bound, and the report's extension would name it.
    pub const SERVTD_EXT: u64 = 1 << 17;
    /// Pages that the host takes away raise no exception in the domain that the host could time.
    pub const SEPT_VE_DISABLE: u64 = 1 << 28;
    /// The domain may move to another platform.
    pub const MIGRATABLE: u64 = 1 << 29;
    /// Bits 1–3, 7–15, 23–26, 32–61: verifiers must refuse them.
    pub const RESERVED: u64 = 0x3fff_ffff_0780_ff8e;
}

const fn root_name(root: RootOfTrust) -> &'static str {
    match root {
        RootOfTrust::Intel => "intel",
        RootOfTrust::Development => "development",
    }
}

/// SHA-256 over `cloister/1`, a role and parts, each as u32 (little endian) length and bytes. The same construction as that
/// of layer one's messages, without a genesis: evidence is the same whatever chain it is shown to.
fn tagged_hash(role: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [b"cloister/1".as_slice(), role.as_bytes()].iter().chain(parts) {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        hash.update(length.to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
