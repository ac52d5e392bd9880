//! Intel's profile of certificates and revocation lists.

use cloister_attestation::{Error, chain::PckCertificate};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::{Decode, ErrorKind, Reader, Tag, asn1::BitStringRef};
use x509_cert::{
    Certificate,
    crl::CertificateList,
    ext::pkix::{BasicConstraints, KeyUsage},
};

use super::{layout::certificates, quote, roots};
use crate::comparison::Case;

/// Whether some certificate has what this error is about.
pub fn is_broken(case: &Case, error: Error) -> bool {
    let any = |breaks: &dyn Fn(&Certificate) -> bool| all_certificates(case).iter().any(breaks);
    match error {
        // Ours knows no purpose of TLS, of which the oracle asks for one if there are any.
        Error::KeyUsage => {
            any(&|certificate| !has_usual_key_usage(certificate) || has_extension(certificate, EXTENDED_KEY_USAGE))
        }
        Error::PckSubject => {
            common_names(case).first().is_some_and(|leaf| !leaf.contains("CN=Intel SGX PCK Certificate"))
        }
        Error::PckIssuer | Error::CrlIssuer | Error::TcbSigner => {
            let known = ["Intel SGX PCK P", "Intel SGX TCB Signing", "Root CA"];
            common_names(case).iter().skip(1).any(|name| !known.iter().any(|known| name.contains(known)))
        }
        Error::ChainLength => {
            quote(case).and_then(|quote| certificates(quote.pck_chain)).is_some_and(|chain| chain.len() != 3)
        }
        Error::CertificateSerial => any(&|certificate| {
            let serial = certificate.tbs_certificate.serial_number.as_bytes();
            serial[0] & 0x80 != 0 || serial.iter().all(|byte| *byte == 0)
        }),
        // The oracle knows those of TLS, and looks at none of its root's.
        Error::ExtensionUnknown => any(&|certificate| {
            let understood = [BasicConstraints::OID, KeyUsage::OID];
            let extensions = certificate.tbs_certificate.extensions.iter().flatten();
            let mut critical = extensions.filter(|of| of.critical && !understood.contains(&of.extn_id));
            critical.any(|extension| TLS_EXTENSIONS.contains(&extension.extn_id) || is_root(case, certificate))
        }),
        Error::ExtensionDuplicate => any(&|certificate| {
            let ids: Vec<_> =
                certificate.tbs_certificate.extensions.iter().flatten().map(|extension| extension.extn_id).collect();
            ids.iter().any(|id| ids.iter().filter(|other| *other == id).count() > 1)
        }),
        Error::ExtensionMalformed => any(&|certificate| {
            extension::<KeyUsage>(certificate).is_some_and(|usage| usage.is_err())
                || extension::<FilledBits>(certificate).is_some_and(|bits| bits.is_err())
                || extension::<BasicConstraints>(certificate).is_some_and(|constraints| constraints.is_err())
        }),
        // The oracle looks at nothing of its root but name and key; a leaf's path length is pointless for it.
        Error::BasicConstraints | Error::PathLength => {
            any(&|certificate| {
                let constraints = extension::<BasicConstraints>(certificate).and_then(Result::ok);
                match is_root(case, certificate) {
                    true => constraints
                        .is_none_or(|constraints| !constraints.ca || constraints.path_len_constraint == Some(0)),
                    false => constraints
                        .is_some_and(|constraints| !constraints.ca && constraints.path_len_constraint.is_some()),
                }
            })
        }
        Error::CertificateNotYetValid | Error::CertificateExpired | Error::CertificatePeriod => {
            let root = Certificate::from_der(&case.root).expect("a root");
            let validity = root.tbs_certificate.validity;
            let [from, until] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
            !(from..=until).contains(&case.at_seconds)
        }
        Error::ChainMalformed
        | Error::RootUnknown
        | Error::CertificateVersion
        | Error::CertificateAlgorithmMismatch
        | Error::CertificateAlgorithm
        | Error::CertificateKey => roots(case).is_none(),
        Error::SgxExtensionMalformed
        | Error::SgxExtensionDuplicate
        | Error::SgxExtensionIncomplete
        | Error::SgxType => {
            let chain = quote(case).zip(roots(case));
            chain.is_some_and(|(quote, roots)| PckCertificate::read_unverified(quote.pck_chain, &roots) == Err(error))
        }
        _ => false,
    }
}

/// Whether some revocation list has what this error is about.
pub fn is_list_broken(case: &Case, error: Error) -> bool {
    let lists = [case.collateral.root_crl.as_ref(), case.collateral.pck_crl.as_ref().map(|list| &list.crl)];
    let lists: Vec<_> = lists.into_iter().flatten().filter_map(|crl| CertificateList::from_der(crl).ok()).collect();
    let extensions = || lists.iter().flat_map(|list| list.tbs_cert_list.crl_extensions.iter().flatten());
    match error {
        Error::CrlSerial => {
            lists.iter().flat_map(|list| list.tbs_cert_list.revoked_certificates.iter().flatten()).any(|entry| {
                let serial = entry.serial_number.as_bytes();
                serial[0] & 0x80 != 0 || serial.iter().all(|byte| *byte == 0)
            })
        }
        Error::CrlExtension => extensions().any(|extension| extension.extn_id == ISSUING_DISTRIBUTION_POINT),
        Error::CrlExtensionMalformed => lists.iter().any(|list| {
            let extensions = list.tbs_cert_list.crl_extensions.iter().flatten();
            extensions.filter(|extension| extension.extn_id == CRL_NUMBER).count() != 1
        }),
        _ => false,
    }
}

/// Of the quote, then of the documents' signers.
fn all_certificates(case: &Case) -> Vec<Certificate> {
    let collateral = &case.collateral;
    let chains = [
        quote(case).map(|quote| quote.pck_chain),
        Some(collateral.tcb_info.issuer_chain.as_slice()),
        Some(collateral.qe_identity.issuer_chain.as_slice()),
    ];
    let certificates = chains.into_iter().flatten().filter_map(certificates).flatten();
    certificates.filter_map(|der| Certificate::from_der(&der).ok()).collect()
}

fn common_names(case: &Case) -> Vec<String> {
    all_certificates(case).iter().map(|certificate| certificate.tbs_certificate.subject.to_string()).collect()
}

fn is_root(case: &Case, certificate: &Certificate) -> bool {
    Certificate::from_der(&case.root).is_ok_and(|root| root == *certificate)
}

fn has_usual_key_usage(certificate: &Certificate) -> bool {
    let authority =
        extension::<BasicConstraints>(certificate).is_some_and(|constraints| constraints.is_ok_and(|of| of.ca));
    match extension::<KeyUsage>(certificate) {
        Some(Ok(usage)) if authority => usage.key_cert_sign() && usage.crl_sign(),
        Some(Ok(usage)) => usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign(),
        _ => false,
    }
}

fn has_extension(certificate: &Certificate, id: ObjectIdentifier) -> bool {
    certificate.tbs_certificate.extensions.iter().flatten().any(|extension| extension.extn_id == id)
}

fn extension<T: AssociatedOid + for<'a> Decode<'a>>(certificate: &Certificate) -> Option<der::Result<T>> {
    let mut extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let extension = extensions.find(|extension| extension.extn_id == T::OID)?;
    Some(T::from_der(extension.extn_value.as_bytes()))
}

/// Bits of a key usage, of which none fills up the last octet.
struct FilledBits;

impl AssociatedOid for FilledBits {
    const OID: ObjectIdentifier = KeyUsage::OID;
}

impl<'a> Decode<'a> for FilledBits {
    fn decode<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let bits = BitStringRef::decode(reader)?;
        let filling = (1u16 << bits.unused_bits()) - 1;
        match bits.raw_bytes().last() {
            Some(last) if u16::from(*last) & filling != 0 => {
                Err(ErrorKind::Noncanonical { tag: Tag::BitString }.into())
            }
            _ => Ok(Self),
        }
    }
}

/// Names, name constraints, distribution points, purposes.
const TLS_EXTENSIONS: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.30"),
    ObjectIdentifier::new_unwrap("2.5.29.31"),
    EXTENDED_KEY_USAGE,
];

const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
