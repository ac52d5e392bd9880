//! Input that costs a careless reader time out of proportion to its length, most of it before any signature is
//! checked. It fits into every limit of size and is refused for what it is.

use ::der::{Decode, Reader, SliceReader, asn1::AnyRef};
use cloister_attestation::{Collateral, Evidence};
use cloister_synthetic_evidence::{Extension, der};
use const_oid::{ObjectIdentifier, db::rfc4519};
use serde_json::json;

use crate::trial::{BOTH, Trial, accepted};

refusals! {
    crl_whose_issuer_fills_it: CrlIssuer, BOTH, |t| {
        let crl = t.scenario.pck_crl.as_mut().expect("there");
        let name = unsorted_name(Collateral::MAX_CRL_BYTES - 500);
        crl.raw = Some(edited(&crl.tbs(), |elements| elements[2] = name));
        assert!(t.scenario.collateral().pck_crl.expect("there").crl.len() < Collateral::MAX_CRL_BYTES);
    };
    root_crl_whose_issuer_fills_it: CrlIssuer, BOTH, |t| {
        let crl = t.scenario.root_crl.as_mut().expect("there");
        let name = unsorted_name(Collateral::MAX_CRL_BYTES - 500);
        crl.raw = Some(edited(&crl.tbs(), |elements| elements[2] = name));
    };
    pck_certificate_whose_subject_fills_it: PckSubject, BOTH, |t| edit_pck(t, SUBJECT, unsorted_name(3000));
    pck_certificate_whose_issuer_fills_it: CertificateIssuer, BOTH, |t| edit_pck(t, ISSUER, unsorted_name(3000));
    tcb_signer_whose_subject_fills_it: TcbSigner, BOTH, |t| {
        let signer = &mut t.scenario.authority.tcb_signing.certificate;
        signer.raw = Some(edited(&signer.tbs(), |elements| elements[SUBJECT] = unsorted_name(4000)));
    };
    extension_again_after_many_others: ExtensionDuplicate, BOTH, |t| {
        t.scenario.pck.certificate.extensions.extend(unknown_extensions());
        let first = t.scenario.pck.certificate.extensions[0].clone();
        t.scenario.pck.certificate.extensions.push(first);
    };
    last_of_many_revoked_certificates: PckRevoked, BOTH, |t| {
        let serials = falling_serials().chain([t.scenario.pck.certificate.serial.clone()]);
        t.scenario.pck_crl.as_mut().expect("there").revoked = serials.collect();
    };
    pem_that_only_begins: ChainMalformed, BOTH, |t| {
        let text = b"-----BEGIN CERTIFICATE-----".repeat(Collateral::MAX_CHAIN_BYTES / 27);
        t.scenario.quote.certification_data = Some(text);
    };
    pem_that_only_ends: ChainMalformed, BOTH, |t| {
        let text = b"-----END CERTIFICATE-----".repeat(Collateral::MAX_CHAIN_BYTES / 25);
        t.after(|_, collateral| collateral.qe_identity.issuer_chain = text);
    };
    document_that_is_all_depth: DocumentMalformed, BOTH, |t| {
        let depth = Collateral::MAX_DOCUMENT_BYTES / 2 - 10;
        let text = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        t.scenario.tcb_info.raw = Some(text.into_bytes());
    };
    field_again_after_many_others: DocumentFieldDuplicate, BOTH, |t| {
        let fields: String = (0..7000).rev().map(|number| format!(r#""{number}":0,"#)).collect();
        let text = format!(r#"{{{fields}"6999":0}}"#);
        assert!(text.len() < Collateral::MAX_DOCUMENT_BYTES);
        t.scenario.qe_identity.raw = Some(text.into_bytes());
    };
    fraction_of_many_digits: DocumentField, BOTH, |t| {
        let text = format!(r#"{{"id":"SGX","version":3.{}}}"#, "0".repeat(60_000));
        t.scenario.tcb_info.raw = Some(text.into_bytes());
    };
}

/// The same where nothing is wrong with it.
#[test]
fn what_is_merely_long_is_accepted() {
    accepted(BOTH, |t| t.scenario.pck.certificate.extensions.extend(unknown_extensions()));
    accepted(BOTH, |t| {
        let crl = t.scenario.pck_crl.as_mut().expect("there");
        crl.revoked = falling_serials().collect();
        let length = t.scenario.collateral().pck_crl.expect("there").crl.len();
        assert!((Collateral::MAX_CRL_BYTES * 9 / 10..Collateral::MAX_CRL_BYTES).contains(&length));
    });
    accepted(BOTH, |t| t.edit_tcb_info(|json| json["new"] = json!((0..10_000).collect::<Vec<_>>())));
    accepted(BOTH, |t| t.scenario.quote.trailing = vec![0; Evidence::MAX_BYTES - t.scenario.quote().len()]);
}

/// Changes the elements of a DER sequence.
pub fn edited(sequence: &[u8], edit: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let contents = AnyRef::from_der(sequence).expect("DER").value();
    let mut reader = SliceReader::new(contents).expect("short");
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.tlv_bytes().expect("an element").to_vec());
    }
    edit(&mut elements);
    der::sequence(&elements)
}

/// Puts an element into the signed part of the PCK certificate.
pub fn edit_pck(trial: &mut Trial, at: usize, element: Vec<u8>) {
    let certificate = trial.scenario.pck_certificate();
    trial.scenario.pck.certificate.raw = Some(edited(&certificate.tbs(), |elements| elements[at] = element));
}

/// A name of one part. Its attributes are in the reverse of the order that DER asks for: whoever sorts them by
/// insertion takes half the square of their number in steps.
fn unsorted_name(bytes: usize) -> Vec<u8> {
    let attribute = |number: usize| der::sequence(&[der::oid(rfc4519::OU), der::octets(&number.to_be_bytes()[6..])]);
    let count = bytes / attribute(0).len();
    der::sequence(&[der::set(&(0..count).rev().map(attribute).collect::<Vec<_>>())])
}

fn unknown_extensions() -> Vec<Extension> {
    let oid = |number| ObjectIdentifier::new_unwrap("1.3.6.1").push_arc(number).expect("short");
    (0..200).rev().map(|number| Extension { oid: oid(number), critical: false, value: vec![] }).collect()
}

/// As many as a list has room for, each below the one before.
fn falling_serials() -> impl Iterator<Item = Vec<u8>> {
    (0x4000_0000u32..0x4000_0000 + 11_000).rev().map(|number| number.to_be_bytes().to_vec())
}

/// Where the elements of a certificate's signed part are.
pub const ISSUER: usize = 3;
pub const SUBJECT: usize = 5;
