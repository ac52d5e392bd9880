//! Entry points for arbitrary bytes, shared by the seeded mutator beside it and by fuzzers. Each panics if a rule is broken
//! and returns otherwise. Where a signature would stop every mutation, the bytes are signed first: contents are hostile,
//! their signer is rightful.

use std::sync::LazyLock;

use cloister_attestation::{
    Collateral, Error, Evidence, Roots, Signed, bundle,
    chain::PckCertificate,
    collateral::{CrlIssuer, QeIdentity, RevocationList, RootOfTrust, TcbInfo, VerifiedCollateral},
    subject, validity_window, verify, verify_crl, verify_qe_identity, verify_quote, verify_tcb_info,
};
use cloister_synthetic_evidence::{AT, Authority, Crl, Extension, Scenario, Tee, pem, sgx_extension::SGX_EXTENSION};
use codec::DecodeAll;

/// A target, and an input that it takes to its end.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<u8>);

/// All targets.
pub const TARGETS: &[Target] = &[
    ("sgx quote", quote, || WORLD.sgx.quote.clone()),
    ("tdx quote", quote, || WORLD.tdx.quote.clone()),
    ("evidence", evidence, || codec::Encode::encode(&(Evidence::Dcap(WORLD.sgx.quote.clone()), &WORLD.sgx.raw))),
    ("sgx tcb info", tcb_info, || WORLD.sgx.raw.tcb_info.body.clone()),
    ("tdx tcb info", tcb_info, || WORLD.tdx.raw.tcb_info.body.clone()),
    ("qe identity", qe_identity, || WORLD.sgx.raw.qe_identity.body.clone()),
    ("issuer chain", issuer_chain, || WORLD.sgx.raw.tcb_info.issuer_chain.clone()),
    ("pck certificate", pck_certificate, || WORLD.sgx.scenario.pck_certificate().tbs()),
    ("sgx extension", sgx_extension, || WORLD.tdx.scenario.sgx_extension.as_ref().expect("there").der()),
    ("revocation list", revocation_list, || {
        let mut crl = Crl::of(&WORLD.authority.root);
        crl.revoked = vec![vec![1], vec![0x7f; 20]];
        crl.tbs()
    }),
    ("signed revocation list", signed_revocation_list, || WORLD.sgx.raw.root_crl.clone().expect("there")),
    ("bundle", bundle_file, || bundle::to_json(&WORLD.sgx.raw).into_bytes()),
];

/// A quote under good collateral.
pub fn quote(quote: &[u8]) {
    let read = subject(quote, &WORLD.roots);
    for side in [&WORLD.sgx, &WORLD.tdx] {
        let result = verify_quote(quote, side.collateral(), &WORLD.roots, AT);
        if let Ok(verification) = result {
            let subject = read.expect("what verifies can be read");
            assert_eq!((subject.fmspc, subject.root), (verification.fmspc, RootOfTrust::Intel));
            assert!(verification.validity.contains(AT) && verification.revocation_checked);
            // Whatever changed is no part of what is signed: the claims are those of the quote that was signed.
            let genuine = verify_quote(&side.quote, side.collateral(), &WORLD.roots, AT);
            assert_eq!(genuine.as_ref(), Ok(&verification));
        }
    }
}

/// SCALE of evidence and collateral, as it comes in calls.
pub fn evidence(bytes: &[u8]) {
    let Ok((evidence, collateral)) = <(Evidence, Collateral)>::decode_all(&mut &bytes[..]) else {
        return;
    };
    let window = validity_window(&evidence, &collateral, &WORLD.roots);
    match verify(&evidence, &collateral, &WORLD.roots, AT) {
        Ok(verification) => assert_eq!(window, Ok(verification.validity)),
        Err(error) => assert!(window.is_ok_and(|window| !window.contains(AT)) || window.err() == Some(error)),
    }
}

/// The body of a TCB info.
pub fn tcb_info(body: &[u8]) {
    let signed = sign(body);
    if let Ok(tcb_info) = verify_tcb_info(&signed, &WORLD.roots, AT) {
        assert!(!tcb_info.levels.is_empty() && tcb_info.validity.contains(AT));
        for side in [&WORLD.sgx, &WORLD.tdx] {
            let collateral = VerifiedCollateral { tcb_info: &tcb_info, ..side.collateral() };
            let _: Result<_, Error> = verify_quote(&side.quote, collateral, &WORLD.roots, AT);
        }
    }
}

/// The body of an identity.
pub fn qe_identity(body: &[u8]) {
    let signed = sign(body);
    if let Ok(qe_identity) = verify_qe_identity(&signed, &WORLD.roots, AT) {
        assert!(!qe_identity.levels.is_empty() && qe_identity.validity.contains(AT));
        for side in [&WORLD.sgx, &WORLD.tdx] {
            let collateral = VerifiedCollateral { qe_identity: &qe_identity, ..side.collateral() };
            let _: Result<_, Error> = verify_quote(&side.quote, collateral, &WORLD.roots, AT);
        }
    }
}

/// PEM of a signer's chain.
pub fn issuer_chain(pem: &[u8]) {
    let good = &WORLD.sgx.raw;
    let signed = Signed { issuer_chain: pem.to_vec(), ..good.tcb_info.clone() };
    if let Ok(tcb_info) = verify_tcb_info(&signed, &WORLD.roots, AT) {
        assert_eq!(tcb_info, WORLD.sgx.tcb_info);
    }
    let _: Result<_, Error> = PckCertificate::verify(pem, &WORLD.roots);
    let _: Result<_, Error> = verify_crl(good.root_crl.as_deref().expect("there"), pem, &WORLD.roots, AT);
}

/// TBSCertificate of a PCK certificate.
pub fn pck_certificate(tbs: &[u8]) {
    let mut scenario = WORLD.sgx.scenario.clone();
    scenario.pck.certificate.raw = Some(tbs.to_vec());
    pck(&scenario);
}

/// Contents of Intel's extension.
pub fn sgx_extension(contents: &[u8]) {
    let mut scenario = WORLD.sgx.scenario.clone();
    scenario.sgx_extension = None;
    let extension = Extension { oid: SGX_EXTENSION, critical: false, value: contents.to_vec() };
    scenario.pck.certificate.extensions.push(extension);
    pck(&scenario);
}

fn pck(scenario: &Scenario) {
    let chain = pem(&scenario.rightful_pck_chain());
    let verified = PckCertificate::verify(&chain, &WORLD.roots);
    let read = PckCertificate::read_unverified(&chain, &WORLD.roots);
    if let Ok(pck) = verified {
        assert_eq!(read, Ok(pck));
        let _: Result<_, Error> = verify_quote(&scenario.quote(), WORLD.sgx.collateral(), &WORLD.roots, AT);
    }
}

/// TBSCertList of the root's list.
pub fn revocation_list(tbs: &[u8]) {
    let mut crl = Crl::of(&WORLD.authority.root);
    crl.raw = Some(tbs.to_vec());
    signed_revocation_list(&crl.der(&WORLD.authority.root.key));
}

/// A list with its signature.
pub fn signed_revocation_list(crl: &[u8]) {
    let chain = &WORLD.sgx.raw.tcb_info.issuer_chain;
    if let Ok(list) = verify_crl(crl, chain, &WORLD.roots, AT) {
        assert_eq!(list.issuer, CrlIssuer::Root);
        assert!(list.revoked.is_sorted() && list.validity.contains(AT));
    }
}

/// A file that somebody gives to the command line.
pub fn bundle_file(file: &[u8]) {
    if let Ok(text) = std::str::from_utf8(file)
        && let Ok(collateral) = bundle::parse_json(text)
    {
        assert_eq!(bundle::parse_json(&bundle::to_json(&collateral)).as_ref(), Ok(&collateral));
    }
    let mut assembler = bundle::Assembler::default();
    if assembler.add(file).is_ok() {
        let _: Result<_, bundle::BundleError> = assembler.finish(None);
    }
}

fn sign(body: &[u8]) -> Signed {
    let signature = WORLD.authority.tcb_signing.key.sign(body);
    Signed { body: body.to_vec(), signature, issuer_chain: WORLD.sgx.raw.tcb_info.issuer_chain.clone() }
}

/// Good evidence of both kinds and its collateral.
pub struct World {
    /// Stands for Intel.
    pub authority: Authority,
    /// Its root.
    pub roots: Roots,
    /// An SGX enclave.
    pub sgx: Side,
    /// A TDX domain.
    pub tdx: Side,
}

/// Evidence of one kind.
pub struct Side {
    /// What everything is made of.
    pub scenario: Scenario,
    /// The quote.
    pub quote: Vec<u8>,
    /// Raw collateral.
    pub raw: Collateral,
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    root_crl: RevocationList,
    pck_crl: RevocationList,
}

/// The same for everybody.
pub static WORLD: LazyLock<World> = LazyLock::new(|| {
    let authority = Authority::from_seed([0x77; 32]);
    let roots = Roots::new(&[(RootOfTrust::Intel, &authority.root_der())]).expect("good");
    let side = |tee| {
        let scenario = match tee {
            Tee::Sgx => Scenario::sgx(&authority),
            Tee::Tdx => Scenario::tdx(&authority),
        };
        let (quote, raw) = scenario.build();
        let list = raw.pck_crl.as_ref().expect("there");
        let root_crl = raw.root_crl.as_deref().expect("there");
        Side {
            tcb_info: verify_tcb_info(&raw.tcb_info, &roots, AT).expect("good"),
            qe_identity: verify_qe_identity(&raw.qe_identity, &roots, AT).expect("good"),
            root_crl: verify_crl(root_crl, &list.issuer_chain, &roots, AT).expect("good"),
            pck_crl: verify_crl(&list.crl, &list.issuer_chain, &roots, AT).expect("good"),
            scenario,
            quote,
            raw,
        }
    };
    let (sgx, tdx) = (side(Tee::Sgx), side(Tee::Tdx));
    World { authority, roots, sgx, tdx }
});

impl Side {
    /// Verified collateral.
    pub fn collateral(&self) -> VerifiedCollateral<'_> {
        VerifiedCollateral {
            tcb_info: &self.tcb_info,
            qe_identity: &self.qe_identity,
            root_crl: Some(&self.root_crl),
            pck_crl: Some(&self.pck_crl),
        }
    }
}
