//! One X.509 certificate, version 3 on P-256, read strictly and by itself; chains are the matter of [`crate::chain`].

use alloc::{borrow::ToOwned, collections::BTreeSet, string::String, vec::Vec};

use cloister_claims::{Collateral, Error, Validity};
use const_oid::ObjectIdentifier;
use der::{
    Decode, Tag, Tagged,
    asn1::{AnyRef, BitStringRef},
};
use p256::{EncodedPoint, ecdsa::VerifyingKey};
use x509_cert::{
    Version,
    ext::{
        Extensions,
        pkix::{BasicConstraints, KeyUsage},
    },
    serial_number::SerialNumber,
    spki::SubjectPublicKeyInfoRef,
};

use crate::{
    collateral::Serial,
    signature::verify_signature,
    time,
    x509::{SignedDer, TbsCertificate, common_name, extension},
};

/// A certificate's contents. Who signed it, and whether it is valid at some time, is not checked by reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Serial number under its issuer.
    pub serial: Serial,
    /// From notBefore to notAfter.
    pub validity: Validity,
    /// The subject's common name; empty if it has none or several.
    pub subject: String,
    /// Public key, x ‖ y.
    pub public_key: [u8; 64],
    /// As encoded, like the issuer's.
    pub(crate) subject_name: Vec<u8>,
    issuer_name: Vec<u8>,
    constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    /// Contents of the SGX extension.
    pub(crate) sgx_extension: Option<Vec<u8>>,
    signed: Vec<u8>,
    signature: [u8; 64],
}

impl Certificate {
    /// Reads one DER certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > Collateral::MAX_CHAIN_BYTES {
            return Err(Error::ChainTooLarge);
        }
        let outer = SignedDer::read(der).map_err(|_| Error::ChainMalformed)?;
        let inner = TbsCertificate::read(outer.signed).map_err(|_| Error::ChainMalformed)?;
        if inner.version != Version::V3 {
            return Err(Error::CertificateVersion);
        }
        if inner.algorithm != outer.algorithm {
            return Err(Error::CertificateAlgorithmMismatch);
        }
        if !outer.is_ecdsa_with_sha256() {
            return Err(Error::CertificateAlgorithm);
        }
        let signature = outer.signature().ok_or(Error::CertificateSignature)?;
        let serial = Serial::read(&inner.serial).ok_or(Error::CertificateSerial)?;
        let public_key = public_key(&inner.public_key).ok_or(Error::CertificateKey)?;
        let [from, until] = [inner.validity.not_before, inner.validity.not_after].map(time::of_x509);
        let validity = time::period(from, until, Error::CertificatePeriod)?;
        let subject = common_name(inner.subject).map_err(|_| Error::ChainMalformed)?.unwrap_or_default();
        let mut certificate = Self {
            serial,
            validity,
            subject: subject.to_owned(),
            public_key,
            subject_name: inner.subject.to_owned(),
            issuer_name: inner.issuer.to_owned(),
            constraints: None,
            key_usage: None,
            sgx_extension: None,
            signed: outer.signed.to_owned(),
            signature,
        };
        certificate.read_extensions(inner.extensions)?;
        Ok(certificate)
    }

    fn read_extensions(&mut self, extensions: Extensions) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for extension in extensions {
            if !seen.insert(extension.extn_id) {
                return Err(Error::ExtensionDuplicate);
            }
            let contents = extension.extn_value.as_bytes();
            match extension.extn_id {
                extension::BASIC_CONSTRAINTS => {
                    let read = BasicConstraints::from_der(contents).map_err(|_| Error::ExtensionMalformed)?;
                    self.constraints = Some(read);
                }
                extension::KEY_USAGE => {
                    self.key_usage = Some(key_usage(contents).ok_or(Error::ExtensionMalformed)?);
                }
                // Nothing here has a use of TLS and its like.
                extension::EXTENDED_KEY_USAGE => return Err(Error::KeyUsage),
                extension::SGX => self.sgx_extension = Some(contents.to_owned()),
                _ if extension.critical => return Err(Error::ExtensionUnknown),
                id if extension::UNAPPLIED.contains(&id) => {
                    let read = AnyRef::from_der(contents).map_err(|_| Error::ExtensionMalformed)?;
                    read.tag().assert_eq(Tag::Sequence).map_err(|_| Error::ExtensionMalformed)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether `issuer` is named as the issuer and signed this.
    pub(crate) fn check_issued_by(&self, issuer: &Self) -> Result<(), Error> {
        if self.issuer_name != issuer.subject_name {
            return Err(Error::CertificateIssuer);
        }
        verify_signature(&issuer.public_key, &self.signed, &self.signature).map_err(|_| Error::CertificateSignature)
    }

    /// Whether this may issue certificates and revocation lists with `below` authorities between it and the leaf.
    pub(crate) fn check_authority(&self, below: usize) -> Result<(), Error> {
        let constraints =
            self.constraints.as_ref().filter(|constraints| constraints.ca).ok_or(Error::BasicConstraints)?;
        if constraints.path_len_constraint.is_some_and(|allowed| below > usize::from(allowed)) {
            return Err(Error::PathLength);
        }
        match self.key_usage {
            Some(usage) if usage.key_cert_sign() && usage.crl_sign() => Ok(()),
            _ => Err(Error::KeyUsage),
        }
    }

    /// Whether this may sign documents and nothing else.
    pub(crate) fn check_leaf(&self) -> Result<(), Error> {
        if self
            .constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca || constraints.path_len_constraint.is_some())
        {
            return Err(Error::BasicConstraints);
        }
        match self.key_usage {
            Some(usage) if usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign() => Ok(()),
            _ => Err(Error::KeyUsage),
        }
    }
}

/// DER certificates of a PEM text, in its order. Between and after them there may be white space, and at the end zero bytes,
/// which Intel's quoting library appends.
pub fn pem_certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    if pem.len() > Collateral::MAX_CHAIN_BYTES {
        return Err(Error::ChainTooLarge);
    }
    let text = core::str::from_utf8(pem).map_err(|_| Error::ChainMalformed)?;
    let mut rest = text.trim_end_matches('\0').trim_ascii();
    let mut certificates = Vec::new();
    while !rest.is_empty() {
        let (document, after) = rest.split_once(PEM_END).ok_or(Error::ChainMalformed)?;
        let length = document.len().saturating_add(PEM_END.len());
        let document =
            rest.get(..length).filter(|document| document.starts_with(PEM_BEGIN)).ok_or(Error::ChainMalformed)?;
        let (_, der) = pem_rfc7468::decode_vec(document.as_bytes()).map_err(|_| Error::ChainMalformed)?;
        certificates.push(der);
        rest = after.trim_ascii_start();
    }
    Ok(certificates)
}

impl Serial {
    /// Serial numbers are positive; the parser bounds their length.
    pub(crate) fn read(number: &SerialNumber) -> Option<Self> {
        let bytes = number.as_bytes();
        let negative = bytes.first().is_none_or(|first| first & 0x80 != 0);
        let zero = bytes.iter().all(|byte| *byte == 0);
        (!negative && !zero).then(|| Self(bytes.to_owned()))
    }
}

fn public_key(info: &SubjectPublicKeyInfoRef) -> Option<[u8; 64]> {
    let curve = info.algorithm.parameters?.decode_as::<ObjectIdentifier>().ok()?;
    if info.algorithm.oid != EC_PUBLIC_KEY || curve != PRIME256V1 {
        return None;
    }
    let (tag, point) = info.subject_public_key.as_bytes()?.split_first()?;
    let point: [u8; 64] = point.try_into().ok().filter(|_| *tag == UNCOMPRESSED)?;
    let encoded = EncodedPoint::from_untagged_bytes((&point).into());
    VerifyingKey::from_encoded_point(&encoded).is_ok().then_some(point)
}

/// The bits that fill the last octet up are zero in DER (X.690 §11.2.1), and none of them grants anything.
fn key_usage(extension: &[u8]) -> Option<KeyUsage> {
    let bits = BitStringRef::from_der(extension).ok()?;
    let filling = bits.raw_bytes().last().map_or(0, |last| last.trailing_zeros());
    if filling < u32::from(bits.unused_bits()) {
        return None;
    }
    KeyUsage::from_der(extension).ok()
}

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";
/// SEC 1 §2.3.3.
const UNCOMPRESSED: u8 = 4;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
