//! Certificate chains and Intel's extension.

use cloister_attestation::{Collateral, Evidence, Roots, collateral::RootOfTrust};
use cloister_synthetic_evidence::{
    Certificate, Extension, Name, Role, der, pem,
    sgx_extension::{PckTcb, SGX_EXTENSION, SgxExtension, entry},
};
use const_oid::{
    ObjectIdentifier,
    db::{rfc5280, rfc5912},
};

use crate::{
    cost::{ISSUER, SUBJECT, edit_pck, edited},
    trial::{BOTH, Trial, accepted, stranger},
};

refusals! {
    pck_chain_that_is_not_pem: ChainMalformed, BOTH, |t| t.scenario.quote.certification_data = Some(b"certificate".to_vec());
    pck_chain_whose_pem_is_no_certificate: ChainMalformed, BOTH, |t| {
        let mut chain = t.scenario.rightful_pck_chain();
        chain[0] = vec![5, 0];
        t.scenario.pck_chain = Some(chain);
    };
    pck_chain_with_text_before_it: ChainMalformed, BOTH, |t| {
        let chain = [b"text\n".to_vec(), pem(&t.scenario.rightful_pck_chain())].concat();
        t.scenario.quote.certification_data = Some(chain);
    };
    tcb_info_chain_that_is_not_pem: ChainMalformed, BOTH, |t| {
        t.after(|_, collateral| collateral.tcb_info.issuer_chain = b"certificate".to_vec());
    };
    certificate_with_trailing_bytes: ChainMalformed, BOTH, |t| {
        let mut chain = t.scenario.rightful_pck_chain();
        chain[0].push(0);
        t.scenario.pck_chain = Some(chain);
    };
    subject_that_is_no_name: ChainMalformed, BOTH, |t| {
        edit_pck(t, SUBJECT, der::sequence(&[der::sequence(&[der::sequence(&[])])]));
    };
    subject_with_bytes_after_a_part: ChainMalformed, BOTH, |t| {
        let part = der::sequence(&[der::oid(rfc5280::ID_CE_KEY_USAGE), der::utf8("a"), der::utf8("b")]);
        edit_pck(t, SUBJECT, der::sequence(&[der::set(&[part])]));
    };
    certificate_with_unique_identifiers: ChainMalformed, BOTH, |t| {
        let tbs = t.scenario.pck_certificate().tbs();
        pck(t).raw = Some(edited(&tbs, |elements| elements.insert(7, der::element(0x81, &[0, 1]))));
    };
    certificate_with_an_unknown_field_before_its_extensions: ChainMalformed, BOTH, |t| {
        let tbs = t.scenario.pck_certificate().tbs();
        pck(t).raw = Some(edited(&tbs, |elements| elements.insert(7, der::explicit(0, &der::unsigned(2)))));
    };
    empty_pck_chain: ChainLength, BOTH, |t| t.scenario.pck_chain = Some(vec![]);
    pck_chain_without_root: ChainLength, BOTH, |t| {
        t.scenario.pck_chain = Some(t.scenario.rightful_pck_chain()[..2].to_vec());
    };
    pck_chain_without_issuer: ChainLength, BOTH, |t| {
        let mut chain = t.scenario.rightful_pck_chain();
        chain.remove(1);
        t.scenario.pck_chain = Some(chain);
    };
    pck_chain_with_one_more: ChainLength, BOTH, |t| {
        let chain = t.scenario.rightful_pck_chain();
        t.scenario.pck_chain = Some([&chain[..], &chain[2..]].concat());
    };
    tcb_info_chain_with_one_more: ChainLength, BOTH, |t| {
        let chain = t.scenario.rightful_pck_chain();
        t.after(move |_, collateral| collateral.tcb_info.issuer_chain.extend(pem(&chain[2..])));
    };
    qe_identity_chain_without_root: ChainLength, BOTH, |t| {
        let authority = t.scenario.authority.clone();
        let signer = authority.tcb_signing.certificate.der(&authority.root.key);
        t.after(move |_, collateral| collateral.qe_identity.issuer_chain = pem(&[signer]));
    };
    root_of_the_same_name_and_key: RootUnknown, BOTH, |t| {
        // What is pinned is the whole certificate.
        t.roots = Some(Roots::new(&[(RootOfTrust::Intel, &t.scenario.authority.root_der())]).expect("good"));
        t.scenario.authority.root.certificate.not_after -= 1000;
    };
    root_of_a_stranger_in_the_quote: RootUnknown, BOTH, |t| {
        let mut chain = t.scenario.rightful_pck_chain();
        chain[2] = stranger().root_der();
        t.scenario.pck_chain = Some(chain);
    };
    root_of_a_stranger_under_the_identity: RootUnknown, BOTH, |t| {
        let (authority, root) = (t.scenario.authority.clone(), stranger().root_der());
        let signer = authority.tcb_signing.certificate.der(&authority.root.key);
        t.after(move |_, collateral| collateral.qe_identity.issuer_chain = pem(&[signer, root]));
    };
    pck_chain_too_large: ChainTooLarge, BOTH, |t| {
        let chain = t.scenario.rightful_pck_chain();
        t.scenario.quote.certification_data = Some(pem(&[&chain[..], &chain, &chain].concat()));
        assert!(t.scenario.quote().len() < Evidence::MAX_BYTES);
    };
    issuer_chain_too_large: ChainTooLarge, BOTH, |t| t.after(|_, collateral| {
        collateral.qe_identity.issuer_chain.resize(Collateral::MAX_CHAIN_BYTES + 1, b'\n');
    });

    pck_certificate_of_version_2: CertificateVersion, BOTH, |t| pck(t).version = Some(1);
    tcb_signer_of_version_1: CertificateVersion, BOTH, |t| {
        t.scenario.authority.tcb_signing.certificate.version = None;
        t.scenario.authority.tcb_signing.certificate.extensions.clear();
    };
    serial_number_zero: CertificateSerial, BOTH, |t| pck(t).serial = vec![0];
    serial_number_negative: CertificateSerial, BOTH, |t| pck(t).serial = vec![0x80, 1];
    certificate_signed_with_sha_384: CertificateAlgorithm, BOTH, |t| {
        pck(t).algorithm = rfc5912::ECDSA_WITH_SHA_384;
        pck(t).outer_algorithm = rfc5912::ECDSA_WITH_SHA_384;
    };
    certificate_that_says_another_algorithm_outside: CertificateAlgorithmMismatch, BOTH, |t| {
        pck(t).outer_algorithm = rfc5912::ECDSA_WITH_SHA_384;
    };
    certificate_that_says_another_algorithm_inside: CertificateAlgorithmMismatch, BOTH, |t| {
        pck(t).algorithm = rfc5912::ECDSA_WITH_SHA_384;
    };
    key_off_the_curve: CertificateKey, BOTH, |t| pck(t).public_key = [&[4][..], &[7; 64]].concat();
    key_compressed: CertificateKey, BOTH, |t| {
        let point = t.scenario.pck.key.public();
        pck(t).public_key = [&[2 + (point[63] & 1)], &point[..32]].concat();
    };
    key_of_another_curve: CertificateKey, BOTH, |t| pck(t).curve = rfc5912::SECP_384_R_1;
    key_of_another_algorithm: CertificateKey, BOTH, |t| pck(t).key_algorithm = rfc5912::ID_EC_DH;
    pck_certificate_naming_another_issuer: CertificateIssuer, BOTH, |t| pck(t).issuer = Name::of("Intel SGX PCK Other CA");
    // Readers that order a name's parts, or compare text, would take it for the same name.
    pck_certificate_naming_its_issuer_in_another_encoding: CertificateIssuer, BOTH, |t| {
        let issuer = pck(t).issuer.clone();
        let part = |(oid, text): &(_, String)| der::set(&[der::sequence(&[der::oid(*oid), der::utf8(text)])]);
        edit_pck(t, ISSUER, der::sequence(&issuer.0.iter().map(part).collect::<Vec<_>>()));
    };
    pck_certificate_naming_its_issuer_in_another_order: CertificateIssuer, BOTH, |t| pck(t).issuer.0.reverse();
    pck_issuer_naming_another_root: CertificateIssuer, BOTH, |t| ca(t).issuer = Name::of("Another Root CA");
    tcb_signer_naming_another_root: CertificateIssuer, BOTH, |t| {
        t.scenario.authority.tcb_signing.certificate.issuer = Name::of("Another Root CA");
    };
    pck_certificate_signed_by_a_stranger: CertificateSignature, BOTH, |t| pck(t).signed_by = Some(stranger().root.key);
    pck_certificate_signed_by_itself: CertificateSignature, BOTH, |t| pck(t).signed_by = Some(t.scenario.pck.key.clone());
    pck_issuer_signed_by_a_stranger: CertificateSignature, BOTH, |t| ca(t).signed_by = Some(stranger().root.key);
    tcb_signer_signed_by_a_stranger: CertificateSignature, BOTH, |t| {
        t.scenario.authority.tcb_signing.certificate.signed_by = Some(stranger().root.key);
    };
    certificate_that_ends_before_it_begins: CertificatePeriod, BOTH, |t| {
        pck(t).not_before = t.at;
        pck(t).not_after = t.at - 1000;
    };

    extension_twice: ExtensionDuplicate, BOTH, |t| {
        let extension = pck(t).extensions[3].clone();
        pck(t).extensions.push(extension);
    };
    sgx_extension_as_two_extensions: ExtensionDuplicate, BOTH, |t| {
        let extension = t.scenario.sgx_extension.as_ref().map(SgxExtension::extension);
        pck(t).extensions.extend(extension);
    };
    basic_constraints_malformed: ExtensionMalformed, BOTH, |t| {
        pck(t).extension_mut(rfc5280::ID_CE_BASIC_CONSTRAINTS).expect("there").value = vec![5, 0];
    };
    key_usage_malformed: ExtensionMalformed, BOTH, |t| {
        pck(t).extension_mut(rfc5280::ID_CE_KEY_USAGE).expect("there").value = vec![0x30, 0];
    };
    key_usage_beyond_its_end: ExtensionMalformed, BOTH, |t| {
        ca(t).extension_mut(rfc5280::ID_CE_KEY_USAGE).expect("there").value = der::bits(1, &[0b0000_0111]);
    };
    distribution_points_malformed: ExtensionMalformed, BOTH, |t| {
        pck(t).extension_mut(rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS).expect("there").value = der::set(&[]);
    };
    distribution_points_followed_by_a_byte: ExtensionMalformed, BOTH, |t| {
        let signer = &mut t.scenario.authority.tcb_signing.certificate;
        signer.extension_mut(rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS).expect("there").value.push(0);
    };
    critical_extension_unknown: ExtensionUnknown, BOTH, |t| pck(t).extensions.push(unknown(true));
    critical_extension_unknown_in_the_tcb_signer: ExtensionUnknown, BOTH, |t| {
        t.scenario.authority.tcb_signing.certificate.extensions.push(unknown(true));
    };

    pck_issuer_that_is_no_authority: BasicConstraints, BOTH, |t| {
        *ca(t).extension_mut(rfc5280::ID_CE_BASIC_CONSTRAINTS).expect("there") = Extension::basic_constraints(Role::Leaf);
    };
    pck_issuer_without_basic_constraints: BasicConstraints, BOTH, |t| {
        ca(t).remove_extension(rfc5280::ID_CE_BASIC_CONSTRAINTS);
    };
    pck_certificate_that_is_an_authority: BasicConstraints, BOTH, |t| {
        let constraints = Extension::basic_constraints(Role::Authority(0));
        *pck(t).extension_mut(rfc5280::ID_CE_BASIC_CONSTRAINTS).expect("there") = constraints;
    };
    tcb_signer_that_is_an_authority: BasicConstraints, BOTH, |t| {
        let constraints = Extension::basic_constraints(Role::Authority(0));
        let signer = &mut t.scenario.authority.tcb_signing.certificate;
        *signer.extension_mut(rfc5280::ID_CE_BASIC_CONSTRAINTS).expect("there") = constraints;
    };
    root_that_allows_no_authority_below: PathLength, BOTH, |t| {
        let constraints = Extension::basic_constraints(Role::Authority(0));
        let root = &mut t.scenario.authority.root.certificate;
        *root.extension_mut(rfc5280::ID_CE_BASIC_CONSTRAINTS).expect("there") = constraints;
    };
    pck_issuer_that_must_not_sign_certificates: KeyUsage, BOTH, |t| {
        *ca(t).extension_mut(rfc5280::ID_CE_KEY_USAGE).expect("there") = Extension::key_usage(Role::Leaf);
    };
    pck_certificate_that_must_not_sign: KeyUsage, BOTH, |t| {
        *pck(t).extension_mut(rfc5280::ID_CE_KEY_USAGE).expect("there") = Extension::key_usage(Role::Authority(0));
    };
    tcb_signer_that_must_not_sign: KeyUsage, BOTH, |t| {
        let signer = &mut t.scenario.authority.tcb_signing.certificate;
        *signer.extension_mut(rfc5280::ID_CE_KEY_USAGE).expect("there") = Extension::key_usage(Role::Authority(0));
    };
    pck_certificate_with_two_common_names: PckSubject, BOTH, |t| {
        let name = pck(t).subject.0[0].clone();
        pck(t).subject.0.push(name);
    };
    pck_certificate_of_something_else: PckSubject, BOTH, |t| pck(t).subject = Name::of("Intel SGX Attestation Report Signing");
    tcb_signer_as_pck_certificate: PckSubject, BOTH, |t| pck(t).subject = Name::of("Intel SGX TCB Signing");
    pck_issuer_of_something_else: PckIssuer, BOTH, |t| {
        t.scenario.pck_crl = None;
        ca(t).subject = Name::of("Intel SGX PCK Other CA");
        pck(t).issuer = Name::of("Intel SGX PCK Other CA");
    };
    tcb_signer_of_something_else: TcbSigner, BOTH, |t| {
        t.scenario.authority.tcb_signing.certificate.subject = Name::of("Intel SGX PCK Certificate");
    };

    sgx_extension_missing: SgxExtensionMissing, BOTH, |t| t.scenario.sgx_extension = None;
    sgx_extension_that_is_no_sequence: SgxExtensionMalformed, BOTH, |t| with_sgx_extension(t, vec![5, 0]);
    sgx_extension_with_trailing_bytes: SgxExtensionMalformed, BOTH, |t| {
        let value = [sgx(t).der(), vec![0]].concat();
        with_sgx_extension(t, value);
    };
    ppid_too_short: SgxExtensionMalformed, BOTH, |t| sgx(t).ppid = Some(vec![1; 15]);
    fmspc_too_long: SgxExtensionMalformed, BOTH, |t| sgx(t).fmspc = Some(vec![1; 7]);
    pce_id_too_long: SgxExtensionMalformed, BOTH, |t| sgx(t).pce_id = Some(vec![0; 3]);
    cpu_svn_too_short: SgxExtensionMalformed, BOTH, |t| tcb(t).cpu_svn = Some(vec![0; 15]);
    component_above_a_byte: SgxExtensionMalformed, BOTH, |t| tcb(t).components[4] = 256;
    pce_svn_above_two_bytes: SgxExtensionMalformed, BOTH, |t| tcb(t).pce_svn = Some(65_536);
    component_negative: SgxExtensionMalformed, BOTH, |t| {
        tcb(t).components.pop();
        tcb(t).more.push(entry(PckTcb::oid(16), der::integer(&[0xff])));
    };
    ppid_twice: SgxExtensionDuplicate, BOTH, |t| {
        let ppid = sgx(t).ppid.clone().expect("there");
        sgx(t).more.push(entry(SGX_EXTENSION.push_arc(1).expect("short"), der::octets(&ppid)));
    };
    second_fmspc: SgxExtensionDuplicate, BOTH, |t| {
        sgx(t).more.push(entry(SGX_EXTENSION.push_arc(4).expect("short"), der::octets(&[0; 6])));
    };
    second_pce_svn: SgxExtensionDuplicate, BOTH, |t| tcb(t).more.push(entry(PckTcb::oid(17), der::unsigned(99)));
    pck_certificate_with_17_components: SgxExtensionDuplicate, BOTH, |t| tcb(t).components.push(0);
    pck_certificate_with_15_components: SgxExtensionIncomplete, BOTH, |t| _ = tcb(t).components.pop();
    ppid_missing: SgxExtensionIncomplete, BOTH, |t| sgx(t).ppid = None;
    tcb_missing: SgxExtensionIncomplete, BOTH, |t| sgx(t).tcb = None;
    pce_svn_missing: SgxExtensionIncomplete, BOTH, |t| tcb(t).pce_svn = None;
    cpu_svn_missing: SgxExtensionIncomplete, BOTH, |t| tcb(t).cpu_svn = None;
    pce_id_missing: SgxExtensionIncomplete, BOTH, |t| sgx(t).pce_id = None;
    fmspc_missing: SgxExtensionIncomplete, BOTH, |t| sgx(t).fmspc = None;
    sgx_type_missing: SgxExtensionIncomplete, BOTH, |t| sgx(t).sgx_type = None;
    sgx_type_unknown: SgxType, BOTH, |t| sgx(t).sgx_type = Some(3);
}

#[test]
fn what_the_profile_leaves_open_is_accepted() {
    accepted(BOTH, |t| pck(t).extensions.push(unknown(false)));
    accepted(BOTH, |t| sgx(t).platform_instance_id = None);
    accepted(BOTH, |t| sgx(t).configuration = None);
    accepted(BOTH, |t| sgx(t).sgx_type = Some(0));
    accepted(BOTH, |t| sgx(t).sgx_type = Some(1));
    accepted(BOTH, |t| sgx(t).sgx_type = Some(2));
}

fn pck(trial: &mut Trial) -> &mut Certificate {
    &mut trial.scenario.pck.certificate
}

fn ca(trial: &mut Trial) -> &mut Certificate {
    &mut trial.scenario.authority.pck_ca_mut(trial.scenario.issuer).certificate
}

fn sgx(trial: &mut Trial) -> &mut SgxExtension {
    trial.scenario.sgx_extension.as_mut().expect("there")
}

fn tcb(trial: &mut Trial) -> &mut PckTcb {
    sgx(trial).tcb.as_mut().expect("there")
}

fn with_sgx_extension(trial: &mut Trial, value: Vec<u8>) {
    trial.scenario.sgx_extension = None;
    pck(trial).extensions.push(Extension { oid: SGX_EXTENSION, critical: false, value });
}

fn unknown(critical: bool) -> Extension {
    Extension { oid: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1"), critical, value: vec![5, 0] }
}
