//! Every bit of what is signed, and of the signatures, is turned over by itself: none goes unnoticed. Of the long JSON
//! documents one bit of every byte: they are compared by hash before anything else looks at them.

use std::ops::Range;

use cloister_attestation::{
    Signed, chain::PckCertificate, verify_crl, verify_qe_identity, verify_quote, verify_tcb_info,
};
use cloister_synthetic_evidence::{AT, pem, unpem};

use crate::targets::{Side, WORLD};

#[test]
fn sgx_quotes() {
    quotes(&WORLD.sgx);
}

#[test]
fn tdx_quotes() {
    quotes(&WORLD.tdx);
}

fn quotes(side: &Side) {
    let (quote, regions) = side.scenario.quote_with_regions();
    assert!(verify_quote(&quote, side.collateral(), &WORLD.roots, AT).is_ok());
    let signed = [
        regions.header,
        regions.body,
        regions.signature,
        regions.attestation_key,
        regions.qe_report,
        regions.qe_report_signature,
        regions.qe_auth_data,
    ];
    for region in signed {
        every_bit(&quote, region, |quote| verify_quote(quote, side.collateral(), &WORLD.roots, AT).is_ok());
    }
}

/// Lengths and types between the signed parts are not signed. They leave no choice: any other value does not add up.
#[test]
fn lengths_and_types() {
    for side in [&WORLD.sgx, &WORLD.tdx] {
        let (quote, regions) = side.scenario.quote_with_regions();
        let between = [
            regions.body.end..regions.signature.start,
            regions.attestation_key.end..regions.qe_report.start,
            regions.qe_report_signature.end..regions.qe_auth_data.start,
            regions.qe_auth_data.end..regions.certification_data.start,
        ];
        for region in between {
            every_bit(&quote, region, |quote| verify_quote(quote, side.collateral(), &WORLD.roots, AT).is_ok());
        }
    }
}

#[test]
fn pck_certificates() {
    let chain = WORLD.sgx.scenario.rightful_pck_chain();
    certificates(&chain, |pem| PckCertificate::verify(pem, &WORLD.roots).is_ok());
}

#[test]
fn signers_certificates() {
    let document = &WORLD.sgx.raw.tcb_info;
    certificates(&unpem(&document.issuer_chain), |pem| {
        let document = Signed { issuer_chain: pem.to_vec(), ..document.clone() };
        verify_tcb_info(&document, &WORLD.roots, AT).is_ok()
    });
}

/// Certificates whole: with what is around the signed part.
fn certificates(chain: &[Vec<u8>], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(&pem(chain)));
    for index in 0..chain.len() {
        every_bit(&chain[index], 0..chain[index].len(), |certificate| {
            let mut chain = chain.to_vec();
            chain[index] = certificate.to_vec();
            accepts(&pem(&chain))
        });
    }
}

#[test]
fn sgx_tcb_info() {
    documents(&WORLD.sgx.raw.tcb_info, |signed| verify_tcb_info(signed, &WORLD.roots, AT).is_ok());
}

#[test]
fn tdx_tcb_info() {
    documents(&WORLD.tdx.raw.tcb_info, |signed| verify_tcb_info(signed, &WORLD.roots, AT).is_ok());
}

#[test]
fn qe_identities() {
    for side in [&WORLD.sgx, &WORLD.tdx] {
        documents(&side.raw.qe_identity, |signed| verify_qe_identity(signed, &WORLD.roots, AT).is_ok());
    }
}

fn documents(document: &Signed, accepts: impl Fn(&Signed) -> bool) {
    assert!(accepts(document));
    for index in 0..document.body.len() {
        let mut body = document.body.clone();
        body[index] ^= 1 << (index % 8);
        assert!(!accepts(&Signed { body, ..document.clone() }), "byte {index} changed unnoticed");
    }
    every_bit(&document.signature, 0..64, |signature| {
        accepts(&Signed { signature: signature.try_into().expect("64 bytes"), ..document.clone() })
    });
}

#[test]
fn revocation_lists() {
    let list = WORLD.sgx.raw.pck_crl.as_ref().expect("there");
    let root_crl = WORLD.sgx.raw.root_crl.as_ref().expect("there");
    for crl in [root_crl, &list.crl] {
        let accepts = |crl: &[u8]| verify_crl(crl, &list.issuer_chain, &WORLD.roots, AT).is_ok();
        assert!(accepts(crl));
        every_bit(crl, 0..crl.len(), accepts);
    }
}

fn every_bit(bytes: &[u8], region: Range<usize>, accepts: impl Fn(&[u8]) -> bool) {
    let mut bytes = bytes.to_vec();
    for index in region {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            assert!(!accepts(&bytes), "bit {bit} of byte {index} changed unnoticed");
            bytes[index] ^= 1 << bit;
        }
    }
}
