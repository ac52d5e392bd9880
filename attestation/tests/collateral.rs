//! Certificates, revocation lists and signed documents, each by itself: what is genuine is read as recorded, and nothing of
//! what is signed can change unnoticed.

use cloister_attestation::{
    Advisory, Collateral, Error, Roots, Signed, TcbStatus, Validity,
    certificate::{Certificate, pem_certificates},
    chain::{PckCertificate, SgxType},
    collateral::{CrlIssuer, PlatformType, QeIdentity, RevocationList, RootOfTrust, Serial, TcbInfo},
    roots, verify_crl, verify_qe_identity, verify_signature, verify_tcb_info,
};
use cloister_synthetic_evidence::{AT, Authority, Key, Scenario, VALID_FROM, VALID_UNTIL, pem};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// 2025-07-01T00:00:00Z: inside the collateral of both recorded platforms.
const JULY: u64 = 1_751_328_000_000;

/// A recorded platform.
struct Recorded {
    tcb_info: Signed,
    qe_identity: Signed,
    root_crl: Vec<u8>,
    pck_crl: Vec<u8>,
    pck_crl_chain: Vec<u8>,
    pck_chain: Vec<u8>,
}

impl Recorded {
    fn sgx() -> Self {
        Self::read(include_str!("vectors/sgx-v3/collateral.json"), include_bytes!("vectors/sgx-v3/quote.bin"))
    }

    fn tdx() -> Self {
        Self::read(include_str!("vectors/tdx-v4/collateral.json"), include_bytes!("vectors/tdx-v4/quote.bin"))
    }

    fn read(collateral: &str, quote: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_str(collateral).expect("JSON");
        let text = |name: &str| json[name].as_str().expect("a string").to_owned();
        let bytes = |name: &str| hex::decode(text(name)).expect("hexadecimal");
        let signed = |name: &str| Signed {
            body: text(name).into_bytes(),
            signature: bytes(&format!("{name}_signature")).try_into().expect("64 bytes"),
            issuer_chain: text(&format!("{name}_issuer_chain")).into_bytes(),
        };
        let find = |needle: &[u8]| quote.windows(needle.len()).position(|window| window == needle);
        let rfind = |needle: &[u8]| quote.windows(needle.len()).rposition(|window| window == needle);
        let end = b"-----END CERTIFICATE-----";
        let chain = find(b"-----BEGIN").expect("a chain")..rfind(end).expect("a chain") + end.len();
        Self {
            tcb_info: signed("tcb_info"),
            qe_identity: signed("qe_identity"),
            root_crl: bytes("root_ca_crl"),
            pck_crl: bytes("pck_crl"),
            pck_crl_chain: text("pck_crl_issuer_chain").into_bytes(),
            pck_chain: quote[chain].to_vec(),
        }
    }
}

fn seconds(from: u64, until: u64) -> Validity {
    Validity { from: from * 1000, until: until * 1000 }
}

fn advisories(names: &[Advisory]) -> Vec<&str> {
    names.iter().map(Advisory::as_str).collect()
}

#[test]
fn roots_are_those_that_are_published() {
    let hash = hex::encode(Sha256::digest(roots::INTEL));
    assert_eq!(hash, "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3");
    assert_eq!(Certificate::from_der(roots::INTEL).expect("a certificate").subject, "Intel SGX Root CA");
    assert_eq!(roots::DEVELOPMENT, Authority::development().root_der());

    assert_eq!(Roots::intel().find(roots::INTEL), Some(RootOfTrust::Intel));
    assert_eq!(Roots::intel().find(roots::DEVELOPMENT), None);
    assert_eq!(Roots::intel_and_development().find(roots::DEVELOPMENT), Some(RootOfTrust::Development));
    assert_eq!(Roots::new(&[(RootOfTrust::Intel, b"no certificate")]), Err(Error::ChainMalformed));
}

#[test]
fn pck_certificates_say_what_is_recorded() {
    let pck = PckCertificate::verify(&Recorded::sgx().pck_chain, &Roots::intel()).expect("genuine");
    assert_eq!(pck.root, RootOfTrust::Intel);
    assert_eq!(pck.issuer, CrlIssuer::Processor);
    assert_eq!(pck.serial, Serial(hex::decode("0081b77732b761e98eb9b963a4abd1e5b9bf5dd8d6").expect("hex")));
    assert_eq!(pck.issuer_serial, Serial(hex::decode("00d0e8aada75d7f92e4917983c7b1465d0d5f2594d").expect("hex")));
    assert_eq!(hex::encode_upper(pck.fmspc), "00A067110000");
    assert_eq!(pck.pce_id, [0, 0]);
    assert_eq!(pck.tcb_components, pck.cpu_svn);
    assert_eq!(pck.sgx_type, SgxType::Standard);
    // From 2023-09-20T21:53:43Z to seven years later.
    assert_eq!(pck.validity, seconds(1_695_246_823, 1_916_171_623));

    let pck = PckCertificate::verify(&Recorded::tdx().pck_chain, &Roots::intel()).expect("genuine");
    assert_eq!(pck.issuer, CrlIssuer::Platform);
    assert_eq!(hex::encode_upper(pck.fmspc), "B0C06F000000");
    assert_eq!(PckCertificate::read_unverified(&Recorded::tdx().pck_chain, &Roots::intel()), Ok(pck));
}

#[test]
fn documents_say_what_is_recorded() {
    let recorded = Recorded::tdx();
    let tcb_info = verify_tcb_info(&recorded.tcb_info, &Roots::intel(), JULY).expect("genuine");
    assert_eq!((tcb_info.root, tcb_info.platform), (RootOfTrust::Intel, PlatformType::Tdx));
    assert_eq!(tcb_info.validity, seconds(1_750_328_163, 1_752_920_163));
    assert_eq!(hex::encode_upper(tcb_info.fmspc), "B0C06F000000");
    assert_eq!(tcb_info.evaluation_number, 17);
    let modules: Vec<_> = tcb_info.tdx_modules.iter().map(|module| (module.version, module.levels.len())).collect();
    assert_eq!(modules, [(0, 0), (3, 1), (1, 2)]);
    assert_eq!(tcb_info.tdx_modules[2].levels[1].isv_svn, 2);
    assert_eq!(tcb_info.tdx_modules[2].levels[1].status, TcbStatus::OutOfDate);
    let [newest, older] = tcb_info.levels.as_slice() else { panic!("two levels") };
    assert_eq!(newest.sgx_components, [2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(newest.tdx_components, Some([5, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!((newest.pce_svn, newest.status, newest.date), (11, TcbStatus::UpToDate, 1_710_288_000_000));
    assert_eq!((older.pce_svn, older.status, older.advisories.len()), (5, TcbStatus::OutOfDate, 14));

    let identity = verify_qe_identity(&recorded.qe_identity, &Roots::intel(), JULY).expect("genuine");
    assert_eq!(identity.platform, PlatformType::Tdx);
    assert_eq!((identity.isv_prod_id, identity.levels.len(), identity.levels[0].isv_svn), (2, 1, 4));
    assert_eq!(identity.signer, tcb_info.signer);

    let recorded = Recorded::sgx();
    let tcb_info = verify_tcb_info(&recorded.tcb_info, &Roots::intel(), JULY).expect("genuine");
    assert_eq!((tcb_info.platform, tcb_info.tdx_modules.len()), (PlatformType::Sgx, 0));
    assert!(tcb_info.levels.iter().all(|level| level.tdx_components.is_none()));
    let identity = verify_qe_identity(&recorded.qe_identity, &Roots::intel(), JULY).expect("genuine");
    assert_eq!(hex::encode_upper(identity.attributes_mask), "FBFFFFFFFFFFFFFF0000000000000000");
    let oldest = identity.levels.last().expect("levels");
    assert_eq!(advisories(&oldest.advisories)[0], "INTEL-SA-00202");
}

#[test]
fn documents_of_one_kind_are_none_of_the_other() {
    let Recorded { tcb_info, qe_identity, .. } = Recorded::sgx();
    assert_eq!(TcbInfo::verify(&qe_identity, &Roots::intel()), Err(Error::DocumentId));
    assert_eq!(QeIdentity::verify(&tcb_info, &Roots::intel()), Err(Error::DocumentId));
}

#[test]
fn revocation_lists_say_what_is_recorded() {
    let recorded = Recorded::tdx();
    let list = verify_crl(&recorded.pck_crl, &recorded.pck_crl_chain, &Roots::intel(), JULY).expect("genuine");
    assert_eq!((list.root, list.issuer, list.number), (RootOfTrust::Intel, CrlIssuer::Platform, 1));
    assert_eq!(list.validity, Validity { from: 1_750_327_235_000, until: 1_752_919_234_999 });
    assert!(list.signer.is_some());
    assert!(list.revokes(&Serial(hex::decode("6fc34e5023e728923435d61aa4b83c618166ad35").expect("hex"))));
    assert!(list.revokes(&Serial(hex::decode("00efae6e9715fca13b87e333e8261ed6d990a926ad").expect("hex"))));
    let pck = PckCertificate::verify(&recorded.pck_chain, &Roots::intel()).expect("genuine");
    assert!(!list.revokes(&pck.serial));

    // The root signs its own list: any chain that ends in it serves.
    for chain in [&recorded.pck_crl_chain, &recorded.tcb_info.issuer_chain, &pem(&[roots::INTEL.to_vec()])] {
        let list = verify_crl(&recorded.root_crl, chain, &Roots::intel(), JULY).expect("genuine");
        assert_eq!((list.issuer, list.revoked.len(), list.signer), (CrlIssuer::Root, 0, None));
    }
    let other = Recorded::sgx().pck_crl_chain;
    assert_eq!(verify_crl(&recorded.pck_crl, &other, &Roots::intel(), JULY), Err(Error::CrlIssuer));
    let signer = &recorded.tcb_info.issuer_chain;
    assert_eq!(verify_crl(&recorded.pck_crl, signer, &Roots::intel(), JULY), Err(Error::CrlIssuer));
}

#[test]
fn validity_includes_both_ends() {
    let Recorded { tcb_info, root_crl, pck_crl_chain, pck_chain, .. } = Recorded::sgx();
    let roots = Roots::intel();
    let Validity { from, until } = verify_tcb_info(&tcb_info, &roots, JULY).expect("genuine").validity;
    let verify = |at| verify_tcb_info(&tcb_info, &roots, at).err();
    assert_eq!(
        [from - 1, from, until, until + 1].map(verify),
        [Some(Error::DocumentNotYetValid), None, None, Some(Error::DocumentExpired)]
    );
    // Before its signer was certified, and after.
    assert_eq!([0, u64::MAX].map(verify), [Some(Error::CertificateNotYetValid), Some(Error::CertificateExpired)]);

    let Validity { from, until } = verify_crl(&root_crl, &pck_crl_chain, &roots, JULY).expect("genuine").validity;
    let verify = |at| verify_crl(&root_crl, &pck_crl_chain, &roots, at).err();
    assert_eq!(
        [from - 1, from, until, until + 1].map(verify),
        [Some(Error::CrlNotYetValid), None, None, Some(Error::CrlExpired)]
    );

    let pck = PckCertificate::verify(&pck_chain, &roots).expect("genuine");
    let Validity { from, until } = pck.validity;
    assert_eq!(
        [from - 1, from, until, until + 1].map(|at| pck.check_time(at).err()),
        [Some(Error::CertificateNotYetValid), None, None, Some(Error::CertificateExpired)]
    );
}

#[test]
fn both_values_of_s_are_signatures() {
    // n, the order of P-256.
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (key, message) = (Key::from_seed(&[3; 32], "malleable"), b"message");
    let signature = key.sign(message);
    let mut other = signature;
    let mut borrow = 0;
    for (s, n) in other[32..].iter_mut().zip(hex::decode(ORDER).expect("hex")).rev() {
        let difference = i16::from(n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = difference.rem_euclid(256) as u8;
    }
    assert_ne!(signature, other);
    assert_eq!(verify_signature(&key.public(), message, &signature), Ok(()));
    assert_eq!(verify_signature(&key.public(), message, &other), Ok(()));
    for bad in [[0; 64], [0xff; 64]] {
        assert!(verify_signature(&key.public(), message, &bad).is_err());
    }
    assert!(verify_signature(&[1; 64], message, &signature).is_err());
}

#[test]
fn chains_are_framed_strictly() {
    let chain = Recorded::sgx().pck_chain;
    let verify = |pem: &[u8]| PckCertificate::verify(pem, &Roots::intel()).map(|_| ());
    assert_eq!(verify(&[&chain[..], b"\n\0"].concat()), Ok(()));
    assert_eq!(verify(&[&b"\n"[..], &chain].concat()), Ok(()));
    assert_eq!(verify(&[&b"x\n"[..], &chain].concat()), Err(Error::ChainMalformed));
    assert_eq!(verify(&[&chain[..], b"\nx"].concat()), Err(Error::ChainMalformed));
    assert_eq!(verify(&[&chain[..], b"\xff"].concat()), Err(Error::ChainMalformed));
    assert_eq!(verify(b""), Err(Error::ChainLength));
    assert_eq!(verify(&vec![b' '; Collateral::MAX_CHAIN_BYTES + 1]), Err(Error::ChainTooLarge));
    assert_eq!(pem_certificates(&chain).expect("PEM").len(), 3);
    // A label that says something else.
    let keys = String::from_utf8(chain).expect("text").replace("CERTIFICATE", "PRIVATE KEY");
    assert_eq!(verify(keys.as_bytes()), Err(Error::ChainMalformed));
}

#[test]
fn collateral_that_is_too_large_is_refused_before_it_is_read() {
    let mut tcb_info = Recorded::sgx().tcb_info;
    tcb_info.body = vec![b' '; Collateral::MAX_DOCUMENT_BYTES + 1];
    assert_eq!(TcbInfo::verify(&tcb_info, &Roots::intel()), Err(Error::DocumentTooLarge));
    let list = vec![0; Collateral::MAX_CRL_BYTES + 1];
    assert_eq!(RevocationList::verify(&list, &tcb_info.issuer_chain, &Roots::intel()), Err(Error::CrlTooLarge));
}

/// A document that an authority of one's own signs.
fn signed_document(body: String) -> Result<TcbInfo, Error> {
    let mut scenario = Scenario::tdx(&Authority::from_seed([8; 32]));
    scenario.tcb_info.raw = Some(body.into_bytes());
    let (_, collateral) = scenario.build();
    let roots = Roots::new(&[(RootOfTrust::Intel, &scenario.authority.root_der())])?;
    verify_tcb_info(&collateral.tcb_info, &roots, AT)
}

#[test]
fn json_is_read_strictly() {
    let good = String::from_utf8(Scenario::tdx(&Authority::from_seed([8; 32])).tcb_info.body()).expect("text");
    let expected = signed_document(good.clone()).expect("good");
    assert_eq!(expected.validity, Validity { from: VALID_FROM, until: VALID_UNTIL });
    // Case of hexadecimal digits and fields that are not known do not matter.
    let relaxed = good.replacen('{', r#"{"new":[null,true,-1,1.5,{"id":2}],"#, 1);
    let fmspc = hex::encode_upper(expected.fmspc);
    assert_eq!(signed_document(relaxed.replace(&fmspc, &fmspc.to_lowercase())), Ok(expected));

    for (from, to, error) in [
        (r#""version":3"#, r#""version":3,"version":3"#, Error::DocumentFieldDuplicate),
        (r#""svn":"#, r#""x":{"y":1,"y":1},"svn":"#, Error::DocumentFieldDuplicate),
        (r#""version":3"#, r#""version":3.0"#, Error::DocumentField),
        (r#""version":3"#, r#""version":"3""#, Error::DocumentField),
        (r#""version":3"#, r#""version":2"#, Error::DocumentVersion),
        (r#""version":3,"#, "", Error::DocumentFieldMissing),
        (r#""id":"TDX","#, "", Error::DocumentFieldMissing),
        (r#""id":"TDX""#, r#""id":"tdx""#, Error::DocumentId),
        (r#""tcbType":0"#, r#""tcbType":1"#, Error::TcbType),
        (r#""pceId":"0000""#, r#""pceId":"00""#, Error::DocumentField),
        (r#""pceId":"0000""#, r#""pceId":"000000""#, Error::DocumentField),
        (r#""svn":"#, r#""svn":256,"was":"#, Error::DocumentField),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00+00:00", Error::DocumentTime),
        ("2020-01-01T00:00:00Z", "2020-02-30T00:00:00Z", Error::DocumentTime),
        (r#""tdxModule":"#, r#""module":"#, Error::TdxModuleMissing),
        ("TDX_01", "TDX_00", Error::TdxModuleId),
        ("TDX_01", "TDX_+1", Error::TdxModuleId),
        ("UpToDate", "uptodate", Error::TcbStatusUnknown),
    ] {
        assert!(good.contains(from), "{from}");
        assert_eq!(signed_document(good.replacen(from, to, 1)), Err(error), "{from} → {to}");
    }
    for body in ["", "[]", "1", "{", "{}}", "nan", &"[".repeat(60_000), &format!("{good}{good}")] {
        assert_eq!(signed_document(body.into()), Err(Error::DocumentMalformed));
    }
}

#[test]
fn levels_are_sorted_whatever_the_order_of_publication() {
    let mut scenario = Scenario::sgx(&Authority::from_seed([8; 32]));
    let newest = scenario.tcb_info.tcb_levels[0].clone();
    let mut older = newest.clone();
    older.tcb.pce_svn -= 1;
    older.tcb_status = "OutOfDate".into();
    let mut verify = |levels: [&_; 2]| {
        scenario.tcb_info.tcb_levels = levels.map(Clone::clone).to_vec();
        let roots = Roots::new(&[(RootOfTrust::Intel, &scenario.authority.root_der())])?;
        verify_tcb_info(&scenario.collateral().tcb_info, &roots, AT).map(|tcb_info| tcb_info.levels)
    };
    let sorted = verify([&newest, &older]).expect("good");
    assert!(sorted[0].pce_svn > sorted[1].pce_svn);
    assert_eq!(verify([&older, &newest]), Ok(sorted));
    let mut same = newest.clone();
    same.tcb_status = "OutOfDate".into();
    assert_eq!(verify([&newest, &same]), Err(Error::LevelsOrder));
}

/// Every bit of what is signed counts: documents, certificates, lists, and the bytes that frame them.
#[test]
fn no_bit_can_flip_unnoticed() {
    let roots = Roots::intel();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let recorded = Recorded::tdx();
    for _ in 0..300 {
        let mut document = recorded.tcb_info.clone();
        flip(&mut document.body, &mut random);
        assert_eq!(TcbInfo::verify(&document, &roots), Err(Error::DocumentSignature));

        let mut document = recorded.qe_identity.clone();
        flip(&mut document.signature, &mut random);
        assert_eq!(QeIdentity::verify(&document, &roots), Err(Error::DocumentSignature));

        let mut list = recorded.pck_crl.clone();
        flip(&mut list, &mut random);
        assert!(RevocationList::verify(&list, &recorded.pck_crl_chain, &roots).is_err());
    }
    let chain = pem_certificates(&recorded.pck_chain).expect("PEM");
    for _ in 0..300 {
        let mut chain = chain.clone();
        flip(chain.choose_mut(&mut random).expect("three"), &mut random);
        assert!(PckCertificate::verify(&pem(&chain), &roots).is_err());
    }
}

fn flip(bytes: &mut [u8], random: &mut ChaCha8Rng) {
    let bit = random.gen_range(0..bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Nothing panics, whatever comes; and what is accepted after a change is what was accepted before it.
#[test]
fn arbitrary_bytes_are_refused_quietly() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_251_121);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let roots = Roots::intel();
    let recorded = Recorded::tdx();
    let pck = PckCertificate::verify(&recorded.pck_chain, &roots).expect("genuine");
    let tcb_info = TcbInfo::verify(&recorded.tcb_info, &roots).expect("genuine");
    let list = RevocationList::verify(&recorded.pck_crl, &recorded.pck_crl_chain, &roots).expect("genuine");
    let ders = pem_certificates(&recorded.pck_chain).expect("PEM");
    for _ in 0..4000 {
        let mut ders = ders.clone();
        mutate(ders.choose_mut(&mut random).expect("three"), &mut random);
        let mut chain = pem(&ders);
        if random.gen_bool(0.2) {
            mutate(&mut chain, &mut random);
        }
        if let Ok(read) = PckCertificate::verify(&chain, &roots) {
            assert_eq!(read, pck, "seed {seed}");
        }
        let _ = PckCertificate::read_unverified(&chain, &roots);

        let mut document = recorded.tcb_info.clone();
        match random.gen_range(0..3) {
            0 => mutate(&mut document.body, &mut random),
            1 => mutate(&mut document.issuer_chain, &mut random),
            _ => flip(&mut document.signature, &mut random),
        }
        if let Ok(read) = TcbInfo::verify(&document, &roots) {
            assert_eq!(read, tcb_info, "seed {seed}");
        }
        let _ = QeIdentity::verify(&document, &roots);

        let (mut der, mut chain) = (recorded.pck_crl.clone(), recorded.pck_crl_chain.clone());
        match random.gen_bool(0.5) {
            true => mutate(&mut der, &mut random),
            false => mutate(&mut chain, &mut random),
        }
        if let Ok(read) = RevocationList::verify(&der, &chain, &roots) {
            assert_eq!(read, list, "seed {seed}");
        }
    }
}

/// Beyond signatures: documents that their signer mutilated, and lists and certificates that are signed whatever they say.
#[test]
fn mutilated_contents_are_refused_quietly() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let authority = Authority::from_seed([8; 32]);
    let roots = Roots::new(&[(RootOfTrust::Intel, &authority.root_der())]).expect("good");
    let good = Scenario::tdx(&authority);
    let extension = good.pck_certificate().extensions.last().expect("Intel's").value.clone();
    for _ in 0..1500 {
        let mut scenario = good.clone();
        let mut body = good.tcb_info.body();
        mutate(&mut body, &mut random);
        scenario.tcb_info.raw = Some(body);
        let mut body = good.qe_identity.body();
        mutate(&mut body, &mut random);
        scenario.qe_identity.raw = Some(body);
        let mut list = good.pck_crl.as_ref().expect("there").tbs();
        mutate(&mut list, &mut random);
        scenario.pck_crl.as_mut().expect("there").raw = Some(list);
        let mut leaf = good.pck_certificate();
        match random.gen_bool(0.5) {
            true => {
                let mut tbs = leaf.tbs();
                mutate(&mut tbs, &mut random);
                leaf.raw = Some(tbs);
            }
            false => {
                let mut value = extension.clone();
                mutate(&mut value, &mut random);
                leaf.extensions.last_mut().expect("Intel's").value = value;
            }
        }
        let mut chain = good.rightful_pck_chain();
        chain[0] = leaf.der(&authority.platform_ca.key);
        let collateral = scenario.collateral();
        let _ = TcbInfo::verify(&collateral.tcb_info, &roots);
        let _ = QeIdentity::verify(&collateral.qe_identity, &roots);
        let pck_crl = collateral.pck_crl.expect("there");
        let _ = RevocationList::verify(&pck_crl.crl, &pck_crl.issuer_chain, &roots);
        let _ = PckCertificate::verify(&pem(&chain), &roots);
    }
}

/// One to three small changes.
fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.gen_range(1..=3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.gen_range(0..bytes.len());
        match random.gen_range(0..6) {
            0 => bytes[at] ^= 1 << random.gen_range(0..8),
            1 => bytes[at] = random.gen_range(0..=255),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.gen_range(0..=255)),
            4 => drop(bytes.remove(at)),
            _ => {
                let end = random.gen_range(at..bytes.len().min(at + 40) + 1).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.gen_range(0..bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
}
