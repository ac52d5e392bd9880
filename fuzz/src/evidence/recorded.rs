//! Evidence of genuine hardware (`tests/vectors`), and the rule for whatever is accepted in its place.

use std::{fmt::Debug, sync::LazyLock};

use cloister_attestation::{
    Collateral, Error, Evidence, Roots, Subject, Verification,
    bundle::{Assembler, Part},
    certificate::pem_certificates,
    collateral::{QeIdentity, RevocationList, TcbInfo, VerifiedCollateral},
    quote::Quote,
    subject, validity_window, verify, verify_crl, verify_qe_identity, verify_quote, verify_tcb_info,
};
use der::{Reader, SliceReader};

use super::PARTS;

/// All that is recorded.
pub static RECORDED: LazyLock<[Recorded; 3]> = LazyLock::new(|| {
    [
        Recorded::read(
            include_bytes!("../../../attestation/tests/vectors/sgx-v3/quote.bin"),
            &[include_bytes!("../../../attestation/tests/vectors/sgx-v3/collateral.json")],
        ),
        Recorded::read(
            include_bytes!("../../../attestation/tests/vectors/tdx-v4/quote.bin"),
            &[include_bytes!("../../../attestation/tests/vectors/tdx-v4/collateral.json")],
        ),
        Recorded::read(
            include_bytes!("../../../attestation/tests/vectors/sgx-v3-integritee/quote.bin"),
            &[
                include_bytes!("../../../attestation/tests/vectors/sgx-v3-integritee/tcb_info.json"),
                include_bytes!("../../../attestation/tests/vectors/sgx-v3-integritee/qe_identity.json"),
                include_bytes!("../../../attestation/tests/vectors/sgx-v3-integritee/tcb_info_issuer_chain.pem"),
            ],
        ),
    ]
});

/// Evidence of a platform with its collateral.
pub struct Recorded {
    /// The quote, as it came.
    pub quote: &'static [u8],
    /// What the quote is about.
    pub subject: Subject,
    /// Certificates in the quote, PEM.
    pub pck_chain: &'static [u8],
    /// Files from which the collateral was read.
    pub files: Vec<&'static [u8]>,
    /// The collateral, as it came.
    pub collateral: Collateral,
    /// The last millisecond (Unix) at which all of it is valid.
    pub at: u64,
    /// What is trusted: the vendor's root.
    pub roots: Roots,
    verification: Verification,
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    root_crl: Option<RevocationList>,
    pck_crl: Option<RevocationList>,
    signed: Vec<Vec<u8>>,
}

impl Recorded {
    fn read(quote: &'static [u8], files: &[&'static [u8]]) -> Self {
        let roots = Roots::intel();
        let mut assembler = Assembler::default();
        files.iter().for_each(|file| assembler.add(file).expect("recorded"));
        let collateral = assembler.finish(None).expect("recorded");
        let evidence = Evidence::Dcap(quote.to_vec());
        let at = validity_window(&evidence, &collateral, &roots).expect("recorded").until;
        let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = &collateral;
        Self {
            verification: verify(&evidence, &collateral, &roots, at).expect("recorded"),
            tcb_info: verify_tcb_info(tcb_info, &roots, at).expect("recorded"),
            qe_identity: verify_qe_identity(qe_identity, &roots, at).expect("recorded"),
            root_crl: root_crl
                .as_ref()
                .map(|list| verify_crl(list, &tcb_info.issuer_chain, &roots, at).expect("recorded")),
            pck_crl: pck_crl
                .as_ref()
                .map(|list| verify_crl(&list.crl, &list.issuer_chain, &roots, at).expect("recorded")),
            signed: signed_bytes(quote, &collateral).expect("recorded"),
            subject: subject(quote, &roots).expect("recorded"),
            pck_chain: Quote::parse(quote).expect("recorded").pck_chain,
            files: files.to_vec(),
            quote,
            collateral,
            at,
            roots,
        }
    }

    /// Verifies another quote under this platform's collateral. Panics if it is accepted and is not the recorded one.
    pub fn check_quote(&self, quote: &[u8]) {
        let collateral = VerifiedCollateral {
            tcb_info: &self.tcb_info,
            qe_identity: &self.qe_identity,
            root_crl: self.root_crl.as_ref(),
            pck_crl: self.pck_crl.as_ref(),
        };
        if let Ok(verification) = verify_quote(quote, collateral, &self.roots, self.at) {
            self.check_accepted(quote, &self.collateral, &verification);
        }
    }

    /// Verifies this platform's quote under other collateral. Panics if it is accepted and is not recorded, or if a
    /// document of it is refused by itself.
    pub fn check_collateral(&self, collateral: &Collateral) {
        let evidence = Evidence::Dcap(self.quote.to_vec());
        if let Ok(verification) = verify(&evidence, collateral, &self.roots, self.at) {
            self.check_accepted(self.quote, collateral, &verification);
            let window = validity_window(&evidence, collateral, &self.roots);
            assert_eq!(window, Ok(verification.validity));
            assert!(PARTS.into_iter().all(|part| self.check_document(collateral, part)), "refused only by itself");
        }
    }

    /// Verifies the document to which a part belongs by itself, as layer one registers it. Panics if it is accepted and
    /// is not recorded; returns whether it is accepted. A document that is not there is.
    pub fn check_document(&self, collateral: &Collateral, part: Part) -> bool {
        let (Collateral { tcb_info, qe_identity, root_crl, pck_crl }, Self { roots, at, .. }) = (collateral, self);
        let check_list = |crl: &[u8], issuer_chain: &[u8]| {
            let lists = RECORDED.iter().flat_map(|recorded| [&recorded.root_crl, &recorded.pck_crl]);
            check_is_recorded(verify_crl(crl, issuer_chain, roots, *at), lists.flatten())
        };
        match part {
            Part::TcbInfo | Part::TcbInfoSignature | Part::TcbInfoChain => {
                let tcb_infos = RECORDED.iter().map(|recorded| &recorded.tcb_info);
                check_is_recorded(verify_tcb_info(tcb_info, roots, *at), tcb_infos)
            }
            Part::QeIdentity | Part::QeIdentitySignature | Part::QeIdentityChain => {
                let qe_identities = RECORDED.iter().map(|recorded| &recorded.qe_identity);
                check_is_recorded(verify_qe_identity(qe_identity, roots, *at), qe_identities)
            }
            Part::RootCrl => root_crl.as_ref().is_none_or(|crl| check_list(crl, &tcb_info.issuer_chain)),
            Part::PckCrl | Part::PckCrlChain => {
                pck_crl.as_ref().is_none_or(|list| check_list(&list.crl, &list.issuer_chain))
            }
        }
    }

    /// The rule. Signatures and what surrounds signed bytes may differ: for every signature there is a second one, PEM
    /// has white space, and zeros may follow a quote. None of it may decide anything.
    ///
    /// One platform's collateral may hold what was recorded with another's, for example the root's revocation list.
    fn check_accepted(&self, quote: &[u8], collateral: &Collateral, verification: &Verification) {
        let signed = signed_bytes(quote, collateral).expect("what is accepted can be read");
        for bytes in &signed {
            let is_recorded = RECORDED.iter().any(|recorded| recorded.signed.contains(bytes));
            assert!(is_recorded, "accepted, but not recorded: {}", bytes.escape_ascii());
        }
        let lists_are_there = collateral.root_crl.is_some() && collateral.pck_crl.is_some();
        assert_eq!(verification.revocation_checked, lists_are_there);
        if signed == self.signed {
            assert_eq!(*verification, self.verification);
        }
    }
}

fn check_is_recorded<'a, T: PartialEq + Debug + 'a>(
    document: Result<T, Error>,
    mut recorded: impl Iterator<Item = &'a T>,
) -> bool {
    let Ok(document) = document else {
        return false;
    };
    assert!(recorded.any(|recorded| *recorded == document), "accepted, but not recorded: {document:?}");
    true
}

/// What signatures cover, directly or by hash, in quote and collateral.
fn signed_bytes(quote: &[u8], collateral: &Collateral) -> Option<Vec<Vec<u8>>> {
    let quote = Quote::parse(quote).ok()?;
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = collateral;
    let whole = [
        quote.signed,
        quote.attestation_key,
        quote.qe_report.bytes,
        quote.qe_authentication,
        &tcb_info.body,
        &qe_identity.body,
    ];
    let mut framed: Vec<_> = root_crl.iter().chain(pck_crl.iter().map(|list| &list.crl)).cloned().collect();
    let pck_crl_chain = pck_crl.as_ref().map(|list| list.issuer_chain.as_slice());
    for chain in [quote.pck_chain, &tcb_info.issuer_chain, &qe_identity.issuer_chain].into_iter().chain(pck_crl_chain) {
        framed.extend(pem_certificates(chain).ok()?);
    }
    let framed = framed.iter().map(|der| signed_in_frame(der).ok().map(<[u8]>::to_vec));
    whole.into_iter().map(|bytes| Some(bytes.to_vec())).chain(framed).collect()
}

/// The first part of a certificate or a revocation list; algorithm and signature follow.
fn signed_in_frame(der: &[u8]) -> der::Result<&[u8]> {
    SliceReader::new(der)?.sequence(|reader| {
        let signed = reader.tlv_bytes()?;
        reader.tlv_bytes()?;
        reader.tlv_bytes()?;
        Ok(signed)
    })
}
