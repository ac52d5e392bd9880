//! Evidence recorded on genuine hardware, with the verdicts stated for it (tests/vectors/README.md).

use cloister_attestation::{
    Collateral, Error, Evidence, Policy, Refusal, Roots, Signed, TcbStatus, TeeKind, Validity, Verification,
    bundle::{self, Assembler, BundleError, Part},
    collateral::{CrlIssuer, PlatformType, RootOfTrust, VerifiedCollateral},
    quote::Quote,
    subject, validity_window, verify, verify_crl, verify_qe_identity, verify_quote, verify_tcb_info,
};
use serde_json::Value;

const SGX_QUOTE: &[u8] = include_bytes!("vectors/sgx-v3/quote.bin");
const SGX_COLLATERAL: &str = include_str!("vectors/sgx-v3/collateral.json");
const TDX_QUOTE: &[u8] = include_bytes!("vectors/tdx-v4/quote.bin");
const TDX_COLLATERAL: &str = include_str!("vectors/tdx-v4/collateral.json");
const INTEGRITEE_QUOTE: &[u8] = include_bytes!("vectors/sgx-v3-integritee/quote.bin");
const INTEGRITEE_TCB_INFO: &[u8] = include_bytes!("vectors/sgx-v3-integritee/tcb_info.json");
const INTEGRITEE_QE_IDENTITY: &[u8] = include_bytes!("vectors/sgx-v3-integritee/qe_identity.json");
const INTEGRITEE_CHAIN: &[u8] = include_bytes!("vectors/sgx-v3-integritee/tcb_info_issuer_chain.pem");

/// 2022-12-21.
const INTEGRITEE_TIME: u64 = 1_671_606_747_000;

struct Recorded {
    evidence: Evidence,
    collateral: Collateral,
}

impl Recorded {
    fn sgx() -> Self {
        Self { evidence: Evidence::Dcap(SGX_QUOTE.to_vec()), collateral: bundle::parse_json(SGX_COLLATERAL).unwrap() }
    }

    fn tdx() -> Self {
        Self { evidence: Evidence::Dcap(TDX_QUOTE.to_vec()), collateral: bundle::parse_json(TDX_COLLATERAL).unwrap() }
    }

    fn integritee() -> Self {
        let mut assembler = Assembler::default();
        for file in [INTEGRITEE_QE_IDENTITY, INTEGRITEE_CHAIN, INTEGRITEE_TCB_INFO] {
            assembler.add(file).unwrap();
        }
        let collateral = assembler.finish(None).unwrap();
        Self { evidence: Evidence::Dcap(INTEGRITEE_QUOTE.to_vec()), collateral }
    }

    fn window(&self) -> Validity {
        validity_window(&self.evidence, &self.collateral, &Roots::intel()).unwrap()
    }

    fn verify(&self, at: u64) -> Result<Verification, Error> {
        verify(&self.evidence, &self.collateral, &Roots::intel(), at)
    }
}

fn advisories(verification: &Verification) -> Vec<&str> {
    verification.advisories.iter().map(|advisory| advisory.as_str()).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// One second before the earliest `nextUpdate` among TCB info and QE identity.
fn stated_time(collateral: &str) -> u64 {
    let bundle: Value = serde_json::from_str(collateral).unwrap();
    let documents = ["tcb_info", "qe_identity"].map(|field| bundle[field].as_str().unwrap().to_owned());
    let updates = documents.map(|document| {
        let document: Value = serde_json::from_str(&document).unwrap();
        document["nextUpdate"].as_str().unwrap().to_owned()
    });
    let earliest = updates.iter().min().unwrap();
    assert!(earliest.starts_with("2025-07-19T1"), "{earliest}");
    let clock = |range: std::ops::Range<usize>| earliest[range].parse::<u64>().unwrap();
    // 2025-07-19T00:00:00Z.
    let midnight = 1_752_883_200;
    (midnight + clock(11..13) * 3_600 + clock(14..16) * 60 + clock(17..19) - 1) * 1_000
}

#[test]
fn sgx_has_its_stated_verdict() {
    let recorded = Recorded::sgx();
    let at = stated_time(SGX_COLLATERAL);
    let verification = recorded.verify(at).unwrap();
    assert_eq!(verification.kind, TeeKind::Sgx);
    assert_eq!(verification.tcb_status, TcbStatus::ConfigurationAndSwHardeningNeeded);
    assert_eq!(advisories(&verification), ["INTEL-SA-00289", "INTEL-SA-00615"]);
    assert_eq!(verification.fmspc, array::<6>("00a067110000"));
    assert_eq!(verification.report_data[..13], *b"Hello, world!");
    assert_eq!(
        verification.fingerprint,
        array::<32>("33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb")
    );
    assert_eq!(verification.evaluation_number, 17);
    assert!(verification.revocation_checked && !verification.debug && verification.tdx.is_none());
    assert!(verification.validity.contains(at));
    assert_eq!(Policy::default().appraise(&verification, at), Ok(()));
}

#[test]
fn tdx_has_its_stated_verdict() {
    let recorded = Recorded::tdx();
    let at = recorded.window().until - 1_000;
    let verification = recorded.verify(at).unwrap();
    assert_eq!(verification.kind, TeeKind::Tdx);
    assert_eq!(verification.tcb_status, TcbStatus::UpToDate);
    assert_eq!(advisories(&verification), [""; 0]);
    let tdx = verification.tdx.as_ref().unwrap();
    assert_eq!(
        hex::encode(tdx.mr_td),
        "91eb2b44d141d4ece09f0c75c2c53d247a3c68edd7fafe8a3520c942a604a407de03ae6dc5f87f27428b2538873118b7"
    );
    assert_eq!(tdx.attributes, 1 << 28);
    assert_eq!(tdx.xfam, 0x602e7);
    assert!(!tdx.service_td && !verification.debug && verification.revocation_checked);
    assert_eq!(hex::encode(&verification.report_data[..8]), "9a9d48e7f6799642");
    assert_eq!(Policy::default().appraise(&verification, at), Ok(()));
}

#[test]
fn integritee_has_its_stated_verdict() {
    let recorded = Recorded::integritee();
    let verification = recorded.verify(INTEGRITEE_TIME).unwrap();
    assert_eq!(Policy::default().appraise(&verification, INTEGRITEE_TIME), Err(Refusal::CrlMissing));
    let optional: Policy = serde_json::from_str(r#"{"crl":"optional"}"#).unwrap();
    assert_eq!(optional.appraise(&verification, INTEGRITEE_TIME), Err(Refusal::Debug));
    let lenient: Policy = serde_json::from_str(r#"{"crl":"optional","debug":"allowed"}"#).unwrap();
    assert_eq!(lenient.appraise(&verification, INTEGRITEE_TIME), Ok(()));

    assert_eq!(verification.kind, TeeKind::Sgx);
    assert_eq!(verification.tcb_status, TcbStatus::SwHardeningNeeded);
    assert_eq!(advisories(&verification), ["INTEL-SA-00334"]);
    assert!(verification.debug && !verification.revocation_checked);
    assert_eq!(verification.fmspc, array::<6>("00906ea10000"));
    assert_eq!(
        verification.fingerprint,
        array::<32>("6f90120b5c1f03619112eac855e29d6e0be4f35b2902aa169affff7719277ebc")
    );
    assert_eq!(verification.signer, array::<32>("83d719e77deaca1470f6baf62a4d774303c899db69020f9c70ee1dfc08c7ce9e"));
    let stated = [array::<32>("4159c17656ac1195cea0ae4bdb9733eb6e87143793a26a6e8fcf3940433fcb5f"), [0; 32]].concat();
    assert_eq!(verification.report_data[..], stated);
    // 2022-12-04T22:45:33Z to 2023-01-03T22:45:33Z: the QE identity is the document that is valid for the shortest time.
    assert_eq!(verification.validity.from, 1_670_193_933_000);
    assert_eq!(verification.validity.until / 1_000, 1_672_785_933);
    assert_eq!(verification.collateral_issued, 1_668_689_132_000);
}

/// Computed independently of this code. Layer one stores them: they never change.
#[test]
fn derived_hashes_are_frozen() {
    let [sgx, tdx] = [Recorded::sgx(), Recorded::tdx()].map(|it| it.verify(it.window().until).unwrap());
    let platform = "1139f355d35466f4056d34d9ece8e2641ff9b030b233fa1dfe6888d5d8198857";
    assert_eq!(hex::encode(sgx.platform_id_hash), platform);
    let platform = "cefa1be8b40953c8a4819eac29d4df3a8069ae27f5b07452f4448dfa5d599103";
    assert_eq!(hex::encode(tdx.platform_id_hash), platform);
    let fingerprint = "7870b661887dfc3533cd15392fa0fa3bd5ebbbf2a95c531c8939eacf585b2e12";
    assert_eq!(hex::encode(tdx.fingerprint), fingerprint);
    let signer = "808a25fb0eb14ef381fec36be1eea17c87a6fc6ef92eb9545f6b5e656f30bf17";
    assert_eq!(hex::encode(tdx.signer), signer);
}

#[test]
fn nothing_is_valid_before_or_after_its_window() {
    for (recorded, early, late) in [
        (Recorded::sgx(), Error::DocumentNotYetValid, Error::DocumentExpired),
        (Recorded::tdx(), Error::DocumentNotYetValid, Error::CrlExpired),
        (Recorded::integritee(), Error::DocumentNotYetValid, Error::DocumentExpired),
    ] {
        let Validity { from, until } = recorded.window();
        assert!(from < until);
        let inside = recorded.verify(from).unwrap();
        assert_eq!(recorded.verify(until).as_ref(), Ok(&inside));
        assert_eq!(inside.validity, Validity { from, until });
        assert_eq!(recorded.verify(from - 1), Err(early));
        assert_eq!(recorded.verify(until + 1), Err(late));
        assert!(recorded.verify(0).is_err() && recorded.verify(u64::MAX).is_err());
    }
}

/// As layer one does it: collateral is verified when it is submitted, quotes later with the verified form.
#[test]
fn collateral_that_was_verified_before_gives_the_same_facts() {
    for recorded in [Recorded::sgx(), Recorded::tdx(), Recorded::integritee()] {
        let (roots, Validity { from, until }) = (Roots::intel_and_development(), recorded.window());
        let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = &recorded.collateral;
        let root_crl = root_crl.as_ref().map(|crl| verify_crl(crl, &tcb_info.issuer_chain, &roots, from).unwrap());
        let pck_crl = pck_crl.as_ref().map(|list| verify_crl(&list.crl, &list.issuer_chain, &roots, from).unwrap());
        let collateral = VerifiedCollateral {
            tcb_info: &verify_tcb_info(tcb_info, &roots, from).unwrap(),
            qe_identity: &verify_qe_identity(qe_identity, &roots, from).unwrap(),
            root_crl: root_crl.as_ref(),
            pck_crl: pck_crl.as_ref(),
        };
        let quote = recorded.evidence.bytes();
        assert_eq!(verify_quote(quote, collateral, &roots, until), recorded.verify(until));
        assert_eq!(verify_quote(quote, collateral, &roots, until + 1), recorded.verify(until + 1));
        assert_eq!(verify_quote(quote, collateral, &roots, from - 1), recorded.verify(from - 1));
    }
}

#[test]
fn collateral_of_another_platform_is_refused() {
    let [sgx, tdx, integritee] = [Recorded::sgx(), Recorded::tdx(), Recorded::integritee()];
    let at = sgx.window().intersect(&tdx.window()).until;
    let roots = Roots::intel();
    let mut mixed = sgx.collateral.clone();
    mixed.tcb_info = tdx.collateral.tcb_info.clone();
    assert_eq!(verify(&sgx.evidence, &mixed, &roots, at), Err(Error::TcbInfoPlatform));
    mixed = sgx.collateral.clone();
    mixed.qe_identity = tdx.collateral.qe_identity.clone();
    assert_eq!(verify(&sgx.evidence, &mixed, &roots, at), Err(Error::QeIdentityPlatform));
    mixed = sgx.collateral.clone();
    mixed.pck_crl = tdx.collateral.pck_crl.clone();
    assert_eq!(verify(&sgx.evidence, &mixed, &roots, at), Err(Error::PckCrlIssuer));
    mixed = sgx.collateral.clone();
    mixed.root_crl = sgx.collateral.pck_crl.as_ref().map(|list| list.crl.clone());
    assert_eq!(verify(&sgx.evidence, &mixed, &roots, at), Err(Error::CrlIssuer));
    let mut without_lists = sgx.collateral.clone();
    (without_lists.root_crl, without_lists.pck_crl) = (None, None);
    assert_eq!(verify(&integritee.evidence, &without_lists, &roots, at), Err(Error::FmspcMismatch));
}

#[test]
fn another_root_is_refused() {
    let recorded = Recorded::sgx();
    let at = recorded.window().until;
    let none = Roots::new(&[]).unwrap();
    assert_eq!(verify(&recorded.evidence, &recorded.collateral, &none, at), Err(Error::RootUnknown));
}

#[test]
fn either_list_may_be_missing_and_is_missed() {
    for missing in ["root", "pck", "both"] {
        let mut recorded = Recorded::sgx();
        let at = recorded.window().until;
        if missing != "pck" {
            recorded.collateral.root_crl = None;
        }
        if missing != "root" {
            recorded.collateral.pck_crl = None;
        }
        let verification = recorded.verify(at).unwrap();
        assert!(!verification.revocation_checked, "{missing}");
        assert_eq!(Policy::default().appraise(&verification, at), Err(Refusal::CrlMissing));
    }
}

#[test]
fn subject_names_the_collateral() {
    let roots = Roots::intel();
    let sgx = subject(SGX_QUOTE, &roots).unwrap();
    assert_eq!((sgx.root, sgx.platform, sgx.issuer), (RootOfTrust::Intel, PlatformType::Sgx, CrlIssuer::Processor));
    assert_eq!(sgx.fmspc, array::<6>("00a067110000"));
    let tdx = subject(TDX_QUOTE, &roots).unwrap();
    assert_eq!((tdx.root, tdx.platform, tdx.issuer), (RootOfTrust::Intel, PlatformType::Tdx, CrlIssuer::Platform));
    assert_eq!(tdx.fmspc, array::<6>("b0c06f000000"));
    assert_eq!(subject(&SGX_QUOTE[..100], &roots), Err(Error::QuoteTruncated));
}

#[test]
fn only_zeros_may_follow_a_quote() {
    // The recorded TDX quote has 70 of them.
    assert_eq!(TDX_QUOTE[TDX_QUOTE.len() - 70..], [0; 70]);
    for (quote, window) in [(SGX_QUOTE, Recorded::sgx()), (&TDX_QUOTE[..TDX_QUOTE.len() - 70], Recorded::tdx())] {
        let at = window.window().until;
        let with_tail = |tail: &[u8]| {
            let evidence = Evidence::Dcap([quote, tail].concat());
            verify(&evidence, &window.collateral, &Roots::intel(), at)
        };
        let bare = with_tail(&[]).unwrap();
        assert_eq!(with_tail(&[0]), Ok(bare.clone()));
        assert_eq!(with_tail(&[0; 300]), Ok(bare), "the tail is not part of any fact");
        assert_eq!(with_tail(&[1]), Err(Error::TrailingBytes));
        assert_eq!(with_tail(&[0, 0, 0, 1]), Err(Error::TrailingBytes));
        assert_eq!(with_tail(&vec![0; Evidence::MAX_BYTES]), Err(Error::QuoteTooLarge));
    }
}

/// Every byte that decides the shape of a quote, changed.
#[test]
fn quotes_are_parsed_strictly() {
    let changed = |quote: &[u8], offset: usize, bytes: &[u8]| {
        let mut quote = quote.to_vec();
        quote[offset..offset + bytes.len()].copy_from_slice(bytes);
        Quote::parse(&quote).map(|_| ())
    };
    let sgx = |offset, bytes: &[u8]| changed(SGX_QUOTE, offset, bytes);
    let tdx = |offset, bytes: &[u8]| changed(TDX_QUOTE, offset, bytes);
    for version in [0, 1, 2, 5, 6, 0x103_u16] {
        assert_eq!(sgx(0, &version.to_le_bytes()), Err(Error::QuoteVersion));
    }
    assert_eq!(sgx(2, &[3, 0]), Err(Error::AttestationKeyType));
    assert_eq!(tdx(2, &[2, 1]), Err(Error::AttestationKeyType));
    assert_eq!(sgx(4, &[0x81]), Err(Error::TeeType), "SGX's version with TDX's type");
    assert_eq!(tdx(4, &[0]), Err(Error::TeeType), "TDX's version with SGX's type");
    assert_eq!(sgx(7, &[1]), Err(Error::TeeType));
    assert_eq!(sgx(0, &[4]), Err(Error::TeeType));
    assert_eq!(tdx(0, &[3]), Err(Error::TeeType));
    for (offset, byte) in SGX_QUOTE.iter().enumerate().take(28).skip(12) {
        assert_eq!(sgx(offset, &[byte ^ 1]), Err(Error::QeVendor));
    }

    // Length of the signature data.
    let length = |quote: &[u8], at: usize| u32::from_le_bytes(quote[at..at + 4].try_into().unwrap());
    for at in [0xffff_ffff, length(SGX_QUOTE, 432) + 1] {
        assert_eq!(sgx(432, &at.to_le_bytes()), Err(Error::QuoteTruncated));
    }
    assert_eq!(sgx(432, &(length(SGX_QUOTE, 432) - 1).to_le_bytes()), Err(Error::QuoteTruncated));
    assert_eq!(tdx(632, &(length(TDX_QUOTE, 632) + 1).to_le_bytes()), Err(Error::SignatureDataLength));
    // Authentication data of the quoting enclave, then type and length of the certification data.
    let (authentication, certification) = (436 + 576, 436 + 576 + 34);
    assert_eq!(sgx(authentication, &[31]), Err(Error::QeAuthenticationData));
    for kind in [1, 2, 3, 4, 6, 7_u8] {
        assert_eq!(sgx(certification, &[kind]), Err(Error::CertificationDataType));
    }
    let chain = length(SGX_QUOTE, certification + 2);
    assert_eq!(sgx(certification + 2, &(chain + 1).to_le_bytes()), Err(Error::QuoteTruncated));
    assert_eq!(sgx(certification + 2, &(chain - 1).to_le_bytes()), Err(Error::SignatureDataLength));
    // The certification data of version 4 contain the others.
    assert_eq!(tdx(636 + 128, &[5]), Err(Error::CertificationDataType));
    let outer = length(TDX_QUOTE, 636 + 130);
    assert_eq!(tdx(636 + 130, &(outer - 1).to_le_bytes()), Err(Error::SignatureDataLength));
    let inner = 636 + 134 + 384 + 64 + 34;
    assert_eq!(tdx(inner, &[4]), Err(Error::CertificationDataType));
    let chain = length(TDX_QUOTE, inner + 2);
    assert_eq!(tdx(inner + 2, &(chain + 1).to_le_bytes()), Err(Error::QuoteTruncated));
    assert_eq!(tdx(inner + 2, &(chain - 1).to_le_bytes()), Err(Error::SignatureDataLength));
}

#[test]
fn quotes_that_end_early_are_refused() {
    for length in 0..SGX_QUOTE.len() {
        assert!(Quote::parse(&SGX_QUOTE[..length]).is_err(), "{length}");
    }
    for length in 0..TDX_QUOTE.len() - 70 {
        assert!(Quote::parse(&TDX_QUOTE[..length]).is_err(), "{length}");
    }
}

/// The three links from the platform's key to the report, each broken.
#[test]
fn signatures_and_what_they_cover() {
    for (recorded, report_end, qe_report) in [(Recorded::sgx(), 432, 436 + 128), (Recorded::tdx(), 632, 636 + 134)] {
        let at = recorded.window().until;
        let flipped = |offset: usize| {
            let mut quote = recorded.evidence.bytes().to_vec();
            quote[offset] ^= 1;
            verify(&Evidence::Dcap(quote), &recorded.collateral, &Roots::intel(), at)
        };
        let signature = report_end + 4;
        for offset in [8, 30, 47, 48, report_end - 1, signature, signature + 63] {
            assert_eq!(flipped(offset), Err(Error::QuoteSignature), "{offset}");
        }
        assert_eq!(flipped(signature + 64), Err(Error::QeReportData), "attestation key");
        assert_eq!(flipped(qe_report + 384 + 64 + 2), Err(Error::QeReportData), "authentication data");
        for offset in [qe_report, qe_report + 383, qe_report + 384, qe_report + 384 + 63] {
            assert_eq!(flipped(offset), Err(Error::QeReportSignature), "{offset}");
        }
    }
}

#[test]
fn bundles_survive_json() {
    for collateral in [Recorded::sgx(), Recorded::tdx(), Recorded::integritee()].map(|recorded| recorded.collateral) {
        assert_eq!(bundle::parse_json(&bundle::to_json(&collateral)), Ok(collateral));
    }
}

#[test]
fn bundles_lack_what_they_lack() {
    let without = |field: &str| {
        let mut bundle: Value = serde_json::from_str(SGX_COLLATERAL).unwrap();
        bundle.as_object_mut().unwrap().remove(field).unwrap();
        bundle::parse_json(&bundle.to_string())
    };
    assert_eq!(without("tcb_info"), Err(BundleError::Missing(Part::TcbInfo)));
    assert_eq!(without("tcb_info_signature"), Err(BundleError::Missing(Part::TcbInfoSignature)));
    assert_eq!(without("qe_identity"), Err(BundleError::Missing(Part::QeIdentity)));
    assert_eq!(without("qe_identity_signature"), Err(BundleError::Missing(Part::QeIdentitySignature)));
    assert_eq!(without("root_ca_crl").unwrap().root_crl, None);
    assert_eq!(without("pck_crl").unwrap().pck_crl, None);
    assert_eq!(without("pck_crl_issuer_chain"), Err(BundleError::Missing(Part::PckCrlChain)));
    // Both documents have one signer: the chain of the other serves.
    let one_chain = without("tcb_info_issuer_chain").unwrap();
    let at = Recorded::sgx().window().until;
    assert!(verify(&Recorded::sgx().evidence, &one_chain, &Roots::intel(), at).is_ok());
    assert!(matches!(bundle::parse_json("{}"), Err(BundleError::Json(_))));
    assert!(matches!(bundle::parse_json("x"), Err(BundleError::Json(_))));
}

/// The same collateral as single files in the forms in which the vendor's service and tools give them.
#[test]
fn single_files_make_the_same_collateral() {
    for recorded in [Recorded::sgx(), Recorded::tdx()] {
        let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = &recorded.collateral;
        let (root_crl, pck_crl) = (root_crl.as_ref().unwrap(), pck_crl.as_ref().unwrap());
        let wrapped = |field: &str, signed: &Signed| {
            let body = str::from_utf8(&signed.body).unwrap();
            format!("{{\"{field}\":{body},\"signature\":\"{}\"}}\n", hex::encode(signed.signature)).into_bytes()
        };
        let crl_pem = pem_rfc7468::encode_string("X509 CRL", pem_rfc7468::LineEnding::LF, &pck_crl.crl).unwrap();
        let together = [
            wrapped("tcbInfo", tcb_info),
            wrapped("enclaveIdentity", qe_identity),
            tcb_info.issuer_chain.clone(),
            pck_crl.issuer_chain.clone(),
            hex::encode(root_crl).into_bytes(),
            crl_pem.into_bytes(),
        ];
        let apart = [
            root_crl.clone(),
            hex::encode(tcb_info.signature).into_bytes(),
            pck_crl.crl.clone(),
            qe_identity.signature.to_vec(),
            [pck_crl.issuer_chain.as_slice(), &tcb_info.issuer_chain].concat(),
            qe_identity.body.clone(),
            tcb_info.body.clone(),
        ];
        let subject = subject(recorded.evidence.bytes(), &Roots::intel()).unwrap();
        for files in [together.to_vec(), apart.to_vec()] {
            let mut assembler = Assembler::default();
            files.iter().for_each(|file| assembler.add(file).unwrap());
            let collateral = assembler.finish(Some(&subject)).unwrap();
            assert_eq!(
                (&collateral.tcb_info.body, collateral.tcb_info.signature),
                (&tcb_info.body, tcb_info.signature)
            );
            let at = recorded.window().until;
            assert_eq!(verify(&recorded.evidence, &collateral, &Roots::intel(), at), recorded.verify(at));
        }
    }
}

/// Two platforms' collateral among the files: the evidence decides.
#[test]
fn the_evidence_chooses_among_documents() {
    let (sgx, tdx) = (Recorded::sgx(), Recorded::tdx());
    let mut assembler = Assembler::default();
    assembler.add(SGX_COLLATERAL.as_bytes()).unwrap();
    assembler.add(TDX_COLLATERAL.as_bytes()).unwrap();
    assert_eq!(assembler.clone().finish(None), Err(BundleError::Several(Part::TcbInfo)));
    for recorded in [&sgx, &tdx] {
        let subject = subject(recorded.evidence.bytes(), &Roots::intel()).unwrap();
        let chosen = assembler.clone().finish(Some(&subject)).unwrap();
        assert_eq!(chosen.tcb_info, recorded.collateral.tcb_info);
        assert_eq!(chosen.qe_identity, recorded.collateral.qe_identity);
        assert_eq!(chosen.pck_crl, recorded.collateral.pck_crl);
    }
}

#[test]
fn files_that_are_nothing_are_refused() {
    for file in [b"".as_slice(), b"hello", b"\xff\x00", b"30820120", &[0x30, 3, 2, 1, 0]] {
        assert_eq!(Assembler::default().add(file), Err(BundleError::Unrecognised), "{file:?}");
    }
    let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(Assembler::default().add(pem), Err(BundleError::Unrecognised));
    assert!(matches!(Assembler::default().add(b"{\"a\":1}"), Err(BundleError::Json(_))));
    assert!(matches!(Assembler::default().add(b"{"), Err(BundleError::Json(_))));
}
