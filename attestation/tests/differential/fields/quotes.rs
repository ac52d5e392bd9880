//! Fields of the quote.

use cloister_synthetic_evidence::{Body, Key};
use rand::{Rng, seq::SliceRandom};
use sha2::{Digest, Sha256};

use super::{Mutation, flip};

pub const MUTATIONS: &[Mutation] = &[
    ("quote version", |scenario, random| scenario.quote.header.version = random.gen_range(0..7)),
    ("quote version 5", |scenario, random| {
        let body = scenario.quote.body.encode();
        let kind: u16 = *[1, 2, 2, 2, 3].choose(random).expect("kinds");
        let size = body.len() as u32;
        scenario.quote.header.version = 5;
        scenario.quote.body = Body::Raw([&kind.to_le_bytes()[..], &size.to_le_bytes(), &body].concat());
    }),
    ("attestation key type", |scenario, random| scenario.quote.header.attestation_key_type = random.gen_range(0..5)),
    ("TEE type", |scenario, random| {
        scenario.quote.header.tee_type = *[0, 0x81, 1, 0x8100, 0x8100_0000].choose(random).expect("types")
    }),
    ("QE vendor", |scenario, random| flip(&mut scenario.quote.header.qe_vendor_id, random)),
    ("header's security versions", |scenario, random| {
        (scenario.quote.header.qe_svn, scenario.quote.header.pce_svn) = random.r#gen()
    }),
    ("header's user data", |scenario, random| scenario.quote.header.user_data = random.r#gen()),
    ("body", |scenario, random| {
        let mut body = scenario.quote.body.encode();
        flip(&mut body, random);
        scenario.quote.body = Body::Raw(body);
    }),
    ("attributes", |scenario, random| match &mut scenario.quote.body {
        Body::Sgx(report) => flip(&mut report.attributes, random),
        Body::Tdx(report) => flip(&mut report.td_attributes, random),
        Body::Raw(_) => {}
    }),
    ("attributes", |scenario, random| match &mut scenario.quote.body {
        Body::Sgx(report) => report.attributes = random.r#gen(),
        Body::Tdx(report) => flip(&mut report.td_attributes, random),
        Body::Raw(_) => {}
    }),
    ("TEE_TCB_SVN", |scenario, random| {
        if let Some(report) = scenario.td_report_mut() {
            let at = random.gen_range(0..4);
            report.tee_tcb_svn[at] = random.gen_range(0..7);
        }
    }),
    ("SEAM", |scenario, random| {
        if let Some(report) = scenario.td_report_mut() {
            match random.r#gen() {
                true => flip(&mut report.seam_attributes, random),
                false => flip(&mut report.mr_signer_seam, random),
            }
        }
    }),
    ("QE report", |scenario, random| {
        let report = &mut scenario.quote.qe_report;
        match random.gen_range(0..6) {
            0 => flip(&mut report.attributes, random),
            1 => flip(&mut report.misc_select, random),
            2 => flip(&mut report.mr_signer, random),
            3 => report.isv_prod_id = random.gen_range(0..4),
            4 => flip(&mut report.reserved3, random),
            _ => report.isv_svn = random.gen_range(0..10),
        }
    }),
    ("QE report's data", |scenario, random| {
        let quote = &mut scenario.quote;
        let hash = Sha256::new_with_prefix(quote.attestation_key.public()).chain_update(&quote.qe_auth_data).finalize();
        let mut data = [0; 64];
        data[..32].copy_from_slice(&hash);
        flip(&mut data, random);
        quote.qe_report_data = Some(data);
    }),
    ("QE authentication data", |scenario, random| {
        let length = *[0, 16, 31, 32, 32, 32, 33, 64].choose(random).expect("lengths");
        scenario.quote.qe_auth_data = (0..length).map(|_| random.r#gen()).collect();
    }),
    ("quote's signer", |scenario, random| scenario.quote.signed_by = Some(Key::from_seed(&random.r#gen(), "other"))),
    ("QE report's signer", |scenario, random| {
        scenario.quote.qe_report_signed_by = Some(Key::from_seed(&random.r#gen(), "other"))
    }),
    ("certification data's type", |scenario, random| scenario.quote.certification_type = random.gen_range(0..9)),
    ("outer certification data's type", |scenario, random| {
        scenario.quote.outer_certification_type = random.gen_range(0..9)
    }),
    ("lengths", |scenario, random| {
        let chain = scenario.quote_with_regions().1.certification_data.len() as i64;
        let nearly = |right: i64, random: &mut rand_chacha::ChaCha8Rng| right + random.gen_range(-2..=2);
        let inner = 384 + 64 + 2 + scenario.quote.qe_auth_data.len() as i64 + 6 + chain;
        let nested = scenario.quote.header.version >= 4;
        let lengths = &mut scenario.quote.lengths;
        match random.gen_range(0..4) {
            0 => lengths.certification_data = Some(nearly(chain, random) as u32),
            1 => lengths.outer_certification_data = Some(nearly(inner, random) as u32),
            2 => lengths.signature_data = Some(nearly(inner + if nested { 134 } else { 128 }, random) as u32),
            _ => lengths.qe_auth_data = Some(nearly(32, random) as u16),
        }
    }),
    ("bytes after the quote", |scenario, random| {
        let byte = *[0, 0, 0, 1, 0xff].choose(random).expect("bytes");
        scenario.quote.trailing = vec![byte; random.gen_range(1..100)];
    }),
    ("bytes after the certification data", |scenario, random| {
        let byte = *[0, 0xff].choose(random).expect("bytes");
        scenario.quote.inner_trailing = vec![byte; random.gen_range(1..100)];
    }),
    ("PCK chain", |scenario, random| {
        let mut chain = scenario.rightful_pck_chain();
        let authority = &scenario.authority;
        match random.gen_range(0..9) {
            0 => chain.truncate(2),
            1 => chain.truncate(1),
            2 => chain.reverse(),
            3 => chain.swap(1, 2),
            4 => chain.push(chain[1].clone()),
            5 => chain.insert(1, authority.tcb_signing.certificate.der(&authority.root.key)),
            6 => flip(&mut chain[2], random),
            7 => chain.push(chain[2].clone()),
            _ => chain.clear(),
        }
        scenario.pck_chain = Some(chain);
    }),
    ("PCK chain's text", |scenario, random| {
        let pem = cloister_synthetic_evidence::pem(&scenario.rightful_pck_chain());
        let pem = String::from_utf8(pem).expect("text");
        let text = match random.gen_range(0..6) {
            0 => pem.replace('\n', "\r\n"),
            1 => pem.replace("-----BEGIN", "\n-----BEGIN"),
            2 => format!("certificates:\n{pem}"),
            3 => format!("{pem}end of certificates"),
            4 => pem.replace("CERTIFICATE", "X509 CERTIFICATE"),
            _ => pem.trim_end().to_owned(),
        };
        scenario.quote.certification_data = Some(text.into_bytes());
    }),
];
