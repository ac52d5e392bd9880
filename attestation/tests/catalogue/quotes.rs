//! Quotes: form, signatures, and that the collateral is theirs.

use cloister_attestation::{Error, Evidence, Roots, collateral::RootOfTrust, quote_length, verify};
use cloister_synthetic_evidence::{AT, Authority, Body, Platform, Scenario, Tee, pem};

use crate::trial::{BOTH, SGX, Trial, accepted, authority, stranger};

refusals! {
    quote_too_large: QuoteTooLarge, BOTH, |t| t.after(|quote, _| quote.resize(Evidence::MAX_BYTES + 1, 0));
    quote_empty: QuoteTruncated, BOTH, |t| t.after(|quote, _| quote.clear());
    quote_cut_in_its_signature_data: QuoteTruncated, BOTH, |t| t.after(|quote, _| quote.truncate(quote.len() - 1));
    quote_of_version_5: QuoteVersion, BOTH, |t| t.scenario.quote.header.version = 5;
    quote_of_version_2: QuoteVersion, BOTH, |t| t.scenario.quote.header.version = 2;
    sgx_quote_of_version_4: TeeType, SGX, |t| t.scenario.quote.header.version = 4;
    tdx_quote_of_version_3: TeeType, TDX, |t| t.scenario.quote.header.version = 3;
    tee_type_unknown: TeeType, BOTH, |t| t.scenario.quote.header.tee_type = 1;
    attestation_key_of_p_384: AttestationKeyType, BOTH, |t| t.scenario.quote.header.attestation_key_type = 3;
    vendor_unknown: QeVendor, BOTH, |t| t.scenario.quote.header.qe_vendor_id[15] ^= 1;
    certification_by_encrypted_ppid: CertificationDataType, BOTH, |t| t.scenario.quote.certification_type = 3;
    certification_by_leaf_alone: CertificationDataType, BOTH, |t| t.scenario.quote.certification_type = 4;
    tdx_certification_not_nested: CertificationDataType, TDX, |t| t.scenario.quote.outer_certification_type = 5;
    bytes_after_the_chain: SignatureDataLength, BOTH, |t| t.scenario.quote.inner_trailing = vec![0];
    certification_data_shorter_than_what_is_there: SignatureDataLength, BOTH, |t| {
        t.scenario.quote.lengths.certification_data = Some(100);
    };
    certification_data_longer_than_what_is_there: QuoteTruncated, BOTH, |t| {
        t.scenario.quote.lengths.certification_data = Some(u32::MAX);
    };
    signature_data_longer_than_what_is_there: QuoteTruncated, BOTH, |t| {
        t.scenario.quote.lengths.signature_data = Some(u32::MAX);
    };
    signature_data_shorter_than_a_signature: QuoteTruncated, BOTH, |t| {
        t.scenario.quote.trailing = vec![0; 100];
        t.after(|quote, _| {
            let report = if quote[0] == 3 { 384 } else { 584 };
            quote.truncate(48 + report);
            quote.extend(10u32.to_le_bytes());
            quote.extend([0; 10]);
        });
    };
    outer_certification_data_longer_than_what_is_there: QuoteTruncated, TDX, |t| {
        t.scenario.quote.lengths.outer_certification_data = Some(u32::MAX);
    };
    outer_certification_data_shorter_than_what_is_there: SignatureDataLength, TDX, |t| {
        t.scenario.quote.lengths.outer_certification_data = Some(600);
    };
    authentication_data_longer_than_what_is_there: QuoteTruncated, BOTH, |t| {
        t.scenario.quote.lengths.qe_auth_data = Some(u16::MAX);
    };
    authentication_data_of_31_bytes: QeAuthenticationData, BOTH, |t| t.scenario.quote.qe_auth_data.truncate(31);
    authentication_data_empty: QeAuthenticationData, BOTH, |t| t.scenario.quote.qe_auth_data.clear();
    authentication_data_of_33_bytes: QeAuthenticationData, BOTH, |t| t.scenario.quote.qe_auth_data.push(0);
    bytes_after_the_quote: TrailingBytes, BOTH, |t| t.scenario.quote.trailing = vec![0, 0, 1];

    collateral_of_another_root: QuoteRoot, BOTH, |t| {
        let collateral = Scenario::new(&stranger(), &platform(t.tee)).collateral();
        t.roots = Some(two_roots(&t.scenario.authority));
        t.after(|_, theirs| *theirs = collateral);
    };
    identity_of_another_root: QuoteRoot, BOTH, |t| {
        let identity = Scenario::new(&stranger(), &platform(t.tee)).collateral().qe_identity;
        t.roots = Some(two_roots(&t.scenario.authority));
        t.after(|_, collateral| collateral.qe_identity = identity);
    };
    revocation_list_of_another_root: QuoteRoot, BOTH, |t| {
        let list = Scenario::new(&stranger(), &platform(t.tee)).collateral().pck_crl;
        t.roots = Some(two_roots(&t.scenario.authority));
        t.after(|_, collateral| collateral.pck_crl = list);
    };
    tcb_info_for_the_other_kind: TcbInfoPlatform, BOTH, |t| {
        t.scenario.tcb_info = Trial::good(other(t.tee)).scenario.tcb_info;
        t.scenario.tcb_info.fmspc = t.scenario.sgx_extension.as_ref().and_then(|sgx| sgx.fmspc.clone()).expect("there");
    };
    qe_identity_for_the_other_kind: QeIdentityPlatform, BOTH, |t| {
        t.scenario.qe_identity = Trial::good(other(t.tee)).scenario.qe_identity;
    };
    fmspc_of_another_platform: FmspcMismatch, BOTH, |t| t.scenario.tcb_info.fmspc[5] ^= 1;
    pce_id_of_another_platform: PceIdMismatch, BOTH, |t| t.scenario.tcb_info.pce_id = vec![1, 0];

    qe_report_signed_by_a_stranger: QeReportSignature, BOTH, |t| {
        t.scenario.quote.qe_report_signed_by = Some(stranger().root.key);
    };
    qe_report_signed_by_the_attestation_key: QeReportSignature, BOTH, |t| {
        t.scenario.quote.qe_report_signed_by = Some(t.scenario.quote.attestation_key.clone());
    };
    qe_report_that_vouches_for_nothing: QeReportData, BOTH, |t| t.scenario.quote.qe_report_data = Some([0; 64]);
    qe_report_with_more_than_a_hash: QeReportData, BOTH, |t| {
        let (quote, regions) = t.scenario.quote_with_regions();
        let mut report_data: [u8; 64] = quote[regions.qe_report][320..].try_into().expect("64 bytes");
        report_data[63] = 1;
        t.scenario.quote.qe_report_data = Some(report_data);
    };
    attestation_key_that_nobody_vouches_for: QeReportData, BOTH, |t| {
        let key = stranger().root.key.public();
        let regions = t.scenario.quote_with_regions().1;
        t.after(move |quote, _| quote[regions.attestation_key].copy_from_slice(&key));
    };
    attestation_key_off_the_curve: AttestationKey, BOTH, |t| t.scenario.quote.attestation_public_key = Some([7; 64]);
    quote_signed_by_a_stranger: QuoteSignature, BOTH, |t| t.scenario.quote.signed_by = Some(stranger().root.key);
    quote_signed_by_the_pck: QuoteSignature, BOTH, |t| t.scenario.quote.signed_by = Some(t.scenario.pck.key.clone());
    quote_with_zeros_for_a_signature: QuoteSignature, BOTH, |t| {
        let regions = t.scenario.quote_with_regions().1;
        t.after(move |quote, _| quote[regions.signature].fill(0));
    };
    report_data_changed_after_signing: QuoteSignature, BOTH, |t| {
        let regions = t.scenario.quote_with_regions().1;
        t.after(move |quote, _| quote[regions.body.end - 64] ^= 1);
    };
}

/// A quote that ends anywhere but at its end.
#[test]
fn every_prefix_is_truncated() {
    for tee in BOTH {
        let (quote, collateral) = Trial::good(*tee).scenario.build();
        let roots = roots(&authority());
        for length in 0..quote.len() {
            let prefix = Evidence::Dcap(quote[..length].to_vec());
            assert_eq!(verify(&prefix, &collateral, &roots, AT).err(), Some(Error::QuoteTruncated), "{tee:?} {length}");
        }
    }
}

/// Bytes 0 after the quote are what is left of a caller's buffer: no part of anything.
#[test]
fn trailing_zeros_change_nothing() {
    for tee in BOTH {
        let plain = Trial::good(*tee).verify();
        let mut padded = Trial::good(*tee);
        padded.scenario.quote.trailing = vec![0; 100];
        let (quote, collateral) = padded.scenario.build();
        assert_eq!(padded.verify(), plain);

        let length = quote_length(&quote).expect("a quote");
        assert_eq!(length + 100, quote.len());
        assert_eq!(quote_length(&quote[..length]), Some(length));
        let trimmed = Evidence::Dcap(quote[..length].to_vec());
        assert_eq!(verify(&trimmed, &collateral, &roots(&authority()), AT), plain);
    }
}

#[test]
fn what_is_no_quote_has_no_length() {
    let (quote, _) = Trial::good(Tee::Sgx).scenario.build();
    assert_eq!(quote_length(&[]), None);
    assert_eq!(quote_length(&quote[..quote.len() - 1]), None);
    assert_eq!(quote_length(&[&quote[..], &[1]].concat()), None);
    assert_eq!(quote_length(&[&[5, 0], &quote[2..]].concat()), None);
    let zeros = vec![0; Evidence::MAX_BYTES - quote.len()];
    assert_eq!(quote_length(&[&quote[..], &zeros].concat()), Some(quote.len()));
    assert_eq!(quote_length(&[&quote[..], &zeros, &[0]].concat()), None);
}

/// Header fields that only Intel's own software reads, reserved bytes, and CPUSVN of the reports: signed, not judged.
#[test]
fn what_the_formats_leave_open_is_accepted() {
    accepted(BOTH, |t| {
        t.scenario.quote.header.user_data = [0xff; 20];
        t.scenario.quote.header.qe_svn = 99;
        t.scenario.quote.header.pce_svn = 99;
    });
    accepted(SGX, |t| {
        let report = t.scenario.enclave_report_mut().expect("SGX");
        report.reserved1 = [1; 28];
        report.cpu_svn = [0; 16];
    });
    accepted(BOTH, |t| {
        let chain = pem(&t.scenario.rightful_pck_chain());
        t.scenario.quote.certification_data = Some(chain);
    });
}

/// A body of another length moves everything behind it.
#[test]
fn a_body_of_another_length_is_refused() {
    for tee in BOTH {
        for length in [0, 383, 385, 583, 585, 648] {
            let mut trial = Trial::good(*tee);
            trial.scenario.quote.body = Body::Raw(vec![0; length]);
            assert!(trial.verify().is_err());
        }
    }
}

/// An authority's root in Intel's place.
pub fn roots(authority: &Authority) -> Roots {
    Roots::new(&[(RootOfTrust::Intel, &authority.root_der())]).expect("good")
}

fn two_roots(authority: &Authority) -> Roots {
    let (ours, theirs) = (authority.root_der(), stranger().root_der());
    Roots::new(&[(RootOfTrust::Intel, &ours), (RootOfTrust::Development, &theirs)]).expect("good")
}

fn platform(tee: Tee) -> Platform {
    match tee {
        Tee::Sgx => Platform::sgx([1; 32]),
        Tee::Tdx => Platform::tdx([2; 32]),
    }
}

fn other(tee: Tee) -> Tee {
    match tee {
        Tee::Sgx => Tee::Tdx,
        Tee::Tdx => Tee::Sgx,
    }
}
