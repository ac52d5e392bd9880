//! Revocation lists: form, signature, and what they revoke.

use cloister_attestation::{Collateral, verify_crl};
use cloister_synthetic_evidence::{AT, Authority, Certified, Crl, Extension, Name, PckIssuer, der, pem};
use const_oid::{
    ObjectIdentifier,
    db::{rfc5280, rfc5912},
};

use crate::trial::{BOTH, Trial, accepted, authority, stranger};

refusals! {
    root_crl_too_large: CrlTooLarge, BOTH, |t| t.after(|_, collateral| {
        collateral.root_crl.as_mut().expect("there").resize(Collateral::MAX_CRL_BYTES + 1, 0);
    });
    root_crl_that_is_not_der: CrlMalformed, BOTH, |t| t.after(|_, collateral| collateral.root_crl = Some(vec![5, 0]));
    root_crl_with_trailing_bytes: CrlMalformed, BOTH, |t| t.after(|_, collateral| {
        collateral.root_crl.as_mut().expect("there").push(0);
    });
    root_crl_in_pem: CrlMalformed, BOTH, |t| t.after(|_, collateral| {
        collateral.root_crl = collateral.root_crl.take().map(|crl| pem(&[crl]));
    });
    pck_crl_of_version_1: CrlVersion, BOTH, |t| {
        crl(t).version = None;
        crl(t).extensions.clear();
    };
    pck_crl_of_version_3: CrlVersion, BOTH, |t| crl(t).version = Some(2);
    pck_crl_signed_with_sha_384: CrlAlgorithm, BOTH, |t| {
        crl(t).algorithm = rfc5912::ECDSA_WITH_SHA_384;
        crl(t).outer_algorithm = rfc5912::ECDSA_WITH_SHA_384;
    };
    pck_crl_that_says_another_algorithm_outside: CrlAlgorithmMismatch, BOTH, |t| {
        crl(t).outer_algorithm = rfc5912::ECDSA_WITH_SHA_384;
    };
    pck_crl_that_says_another_algorithm_inside: CrlAlgorithmMismatch, BOTH, |t| {
        crl(t).algorithm = rfc5912::ECDSA_WITH_SHA_384;
    };
    pck_crl_of_nobody_in_its_chain: CrlIssuer, BOTH, |t| crl(t).issuer = Name::of("Intel SGX PCK Other CA");
    root_crl_of_another_root: CrlIssuer, BOTH, |t| t.scenario.root_crl = Some(Crl::of(&stranger_with_another_name().root));
    pck_crl_signed_by_a_stranger: CrlSignature, BOTH, |t| crl(t).signed_by = Some(stranger().processor_ca.key);
    root_crl_signed_by_the_pck_issuer: CrlSignature, BOTH, |t| {
        let key = t.scenario.authority.pck_ca(t.scenario.issuer).key.clone();
        t.scenario.root_crl.as_mut().expect("there").signed_by = Some(key);
    };
    pck_crl_changed_after_signing: CrlSignature, BOTH, |t| {
        crl(t).revoked = vec![vec![0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]];
        t.after(|_, collateral| {
            let crl = &mut collateral.pck_crl.as_mut().expect("there").crl;
            let at = crl.windows(4).position(|octets| octets == b"EFGH").expect("there");
            crl[at] ^= 1;
        });
    };
    delta_crl: CrlExtension, BOTH, |t| crl(t).extensions.push(delta_indicator(true));
    delta_crl_that_says_so_in_passing: CrlExtension, BOTH, |t| crl(t).extensions.push(delta_indicator(false));
    delta_root_crl: CrlExtension, BOTH, |t| root_crl(t).extensions.push(delta_indicator(false));
    crl_of_part_of_the_certificates: CrlExtension, BOTH, |t| crl(t).extensions.push(distribution_point(true));
    crl_of_part_of_the_certificates_that_says_so_in_passing: CrlExtension, BOTH, |t| {
        crl(t).extensions.push(distribution_point(false));
    };
    root_crl_of_part_of_the_certificates: CrlExtension, BOTH, |t| root_crl(t).extensions.push(distribution_point(false));
    crl_for_one_distribution_point: CrlExtension, BOTH, |t| crl(t).extensions.push(Extension {
        oid: rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT,
        critical: false,
        value: der::sequence(&[der::explicit(0, &der::explicit(0, &der::element(0x86, b"https://example.invalid")))]),
    });
    crl_with_an_unknown_critical_extension: CrlExtension, BOTH, |t| crl(t).extensions.push(unknown(true));
    crl_number_malformed: CrlExtensionMalformed, BOTH, |t| crl(t).extensions[0].value = vec![5, 0];
    crl_number_negative: CrlExtensionMalformed, BOTH, |t| crl(t).extensions[0].value = der::integer(&[0xff]);
    crl_number_missing: CrlExtensionMalformed, BOTH, |t| crl(t).remove_extension(rfc5280::ID_CE_CRL_NUMBER);
    crl_without_extensions: CrlExtensionMalformed, BOTH, |t| root_crl(t).extensions.clear();
    crl_number_twice: CrlExtensionMalformed, BOTH, |t| crl(t).extensions.push(Crl::number(1));
    crl_without_next_update: CrlNextUpdateMissing, BOTH, |t| crl(t).next_update = None;
    crl_that_ends_before_it_begins: CrlPeriod, BOTH, |t| {
        crl(t).this_update = t.at;
        crl(t).next_update = Some(t.at - 1000);
    };
    crl_that_revokes_a_negative_serial: CrlSerial, BOTH, |t| crl(t).revoked = vec![vec![0x80]];

    pck_certificate_revoked: PckRevoked, BOTH, |t| crl(t).revoked = vec![t.scenario.pck.certificate.serial.clone()];
    pck_certificate_revoked_among_others: PckRevoked, BOTH, |t| {
        let serial = t.scenario.pck.certificate.serial.clone();
        // Published lists are sorted by date, not by number.
        crl(t).revoked = vec![vec![0x7f; 20], vec![1], serial, vec![0x7f, 0], vec![2]];
    };
    pck_issuer_revoked: PckIssuerRevoked, BOTH, |t| {
        revoke(t, t.scenario.authority.pck_ca(t.scenario.issuer).certificate.serial.clone());
    };
    tcb_info_signer_revoked: TcbInfoSignerRevoked, BOTH, |t| {
        revoke(t, t.scenario.authority.tcb_signing.certificate.serial.clone());
    };
    identity_signer_revoked: QeIdentitySignerRevoked, BOTH, |t| {
        let authority = t.scenario.authority.clone();
        let signer = reissued(&authority.tcb_signing);
        revoke(t, signer.certificate.serial.clone());
        let identity = t.scenario.qe_identity.sign(&signer, &authority.root);
        t.after(move |_, collateral| collateral.qe_identity = identity);
    };
    crl_signer_revoked: CrlSignerRevoked, BOTH, |t| {
        let authority = t.scenario.authority.clone();
        let signer = reissued(authority.pck_ca(t.scenario.issuer));
        revoke(t, signer.certificate.serial.clone());
        let chain = pem(&[signer.certificate.der(&authority.root.key), authority.root_der()]);
        t.after(move |_, collateral| collateral.pck_crl.as_mut().expect("there").issuer_chain = chain);
    };
    root_revoked_by_itself: CrlSignerRevoked, BOTH, |t| {
        revoke(t, t.scenario.authority.root.certificate.serial.clone());
    };
    pck_crl_of_the_other_authority: PckCrlIssuer, BOTH, |t| {
        let other = match t.scenario.issuer {
            PckIssuer::Processor => PckIssuer::Platform,
            PckIssuer::Platform => PckIssuer::Processor,
        };
        let authority = t.scenario.authority.clone();
        t.after(move |_, collateral| {
            let list = collateral.pck_crl.as_mut().expect("there");
            list.crl = Crl::of(authority.pck_ca(other)).der(&authority.pck_ca(other).key);
            list.issuer_chain = authority.pck_ca_chain(other);
        });
    };
    root_crl_as_pck_crl: PckCrlIssuer, BOTH, |t| t.after(|_, collateral| {
        collateral.pck_crl.as_mut().expect("there").crl = collateral.root_crl.clone().expect("there");
    });
    // From raw collateral, a list in the root's place is the root's or nobody's.
    pck_crl_as_root_crl: RootCrlIssuer, BOTH, |t| t.exchange = Some(|collateral| collateral.root_crl = collateral.pck_crl);
    lists_exchanged: RootCrlIssuer, BOTH, |t| t.exchange = Some(|collateral| {
        std::mem::swap(&mut collateral.root_crl, &mut collateral.pck_crl);
    });
}

/// A certificate that may not sign lists does not become an issuer by being in the chain.
#[test]
fn a_tcb_signer_issues_no_list() {
    let authority = authority();
    let (signer, root) = (&authority.tcb_signing, &authority.root);
    let chain = pem(&[signer.certificate.der(&root.key), authority.root_der()]);
    let roots = crate::quotes::roots(&authority);
    let crl = Crl::of(signer).der(&signer.key);
    assert!(verify_crl(&crl, &chain, &roots, AT).is_err());
    let crl = Crl::of(root).der(&root.key);
    verify_crl(&crl, &chain, &roots, AT).expect("the root's own list");
}

#[test]
fn lists_that_revoke_others_are_accepted() {
    let verifications = accepted(BOTH, |t| {
        let neighbour = [&t.scenario.pck.certificate.serial[..19], &[0]].concat();
        crl(t).revoked = vec![neighbour.clone(), vec![0, 0xff], vec![1]];
        revoke(t, neighbour);
    });
    assert!(verifications.iter().all(|verification| verification.revocation_checked));
    accepted(BOTH, |t| crl(t).extensions.push(unknown(false)));
}

/// A certificate on the wrong list is not revoked: serial numbers count per issuer.
#[test]
fn serial_numbers_count_per_issuer() {
    accepted(BOTH, |t| revoke(t, t.scenario.pck.certificate.serial.clone()));
    accepted(BOTH, |t| crl(t).revoked = vec![t.scenario.authority.tcb_signing.certificate.serial.clone()]);
}

#[test]
fn missing_lists_are_a_fact() {
    let changes: [fn(&mut Trial); 3] = [
        |t| t.scenario.root_crl = None,
        |t| t.scenario.pck_crl = None,
        |t| (t.scenario.root_crl, t.scenario.pck_crl) = (None, None),
    ];
    for change in changes {
        assert!(accepted(BOTH, change).iter().all(|verification| !verification.revocation_checked));
    }
    assert!(accepted(BOTH, |_| ()).iter().all(|verification| verification.revocation_checked));
}

fn crl(trial: &mut Trial) -> &mut Crl {
    trial.scenario.pck_crl.as_mut().expect("there")
}

fn root_crl(trial: &mut Trial) -> &mut Crl {
    trial.scenario.root_crl.as_mut().expect("there")
}

/// Puts a serial number on the root's list.
fn revoke(trial: &mut Trial, serial: Vec<u8>) {
    root_crl(trial).revoked.push(serial);
}

/// Only what changed since the list of that number.
fn delta_indicator(critical: bool) -> Extension {
    Extension { oid: rfc5280::ID_CE_DELTA_CRL_INDICATOR, critical, value: der::unsigned(1) }
}

/// Authorities' certificates only.
fn distribution_point(critical: bool) -> Extension {
    let value = der::sequence(&[der::element(0x82, &[0xff])]);
    Extension { oid: rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT, critical, value }
}

/// Another certificate over the same key.
fn reissued(certified: &Certified) -> Certified {
    let mut certified = certified.clone();
    certified.certificate.serial = vec![0x33; 20];
    certified
}

fn stranger_with_another_name() -> Authority {
    let mut stranger = stranger();
    stranger.root.certificate.subject = Name::of("Another Root CA");
    stranger
}

fn unknown(critical: bool) -> Extension {
    Extension { oid: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1"), critical, value: vec![5, 0] }
}
