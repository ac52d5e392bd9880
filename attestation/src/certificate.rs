//! One X.509 certificate, version 3 on P-256, read strictly and by itself; chains are the matter of [`crate::chain`].

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use cloister_claims::{Collateral, Error, Validity};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::{
    Decode, Reader, SliceReader,
    asn1::{AnyRef, BitStringRef, PrintableStringRef, Utf8StringRef},
    referenced::OwnedToRef,
};
use p256::{
    EncodedPoint,
    ecdsa::{Signature, VerifyingKey},
};
use x509_cert::{
    TbsCertificate, Version,
    ext::pkix::{BasicConstraints, KeyUsage},
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoOwned},
};

use crate::{collateral::Serial, signature::verify_signature, time};

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
    pub(crate) subject_name: Name,
    issuer_name: Name,
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
        let inner = TbsCertificate::from_der(outer.signed).map_err(|_| Error::ChainMalformed)?;
        if inner.version != Version::V3 {
            return Err(Error::CertificateVersion);
        }
        if inner.signature.owned_to_ref() != outer.algorithm {
            return Err(Error::CertificateAlgorithmMismatch);
        }
        if !outer.is_ecdsa_with_sha256() {
            return Err(Error::CertificateAlgorithm);
        }
        let signature = outer.signature().ok_or(Error::CertificateSignature)?;
        let serial = Serial::read(&inner.serial_number).ok_or(Error::CertificateSerial)?;
        let public_key = public_key(&inner.subject_public_key_info).ok_or(Error::CertificateKey)?;
        let [from, until] = [inner.validity.not_before, inner.validity.not_after].map(time::of_x509);
        let validity = time::period(from, until, Error::CertificatePeriod)?;
        let mut certificate = Self {
            serial,
            validity,
            subject: common_name(&inner.subject).unwrap_or_default(),
            public_key,
            subject_name: inner.subject,
            issuer_name: inner.issuer,
            constraints: None,
            key_usage: None,
            sgx_extension: None,
            signed: outer.signed.to_owned(),
            signature,
        };
        certificate.read_extensions(inner.extensions.unwrap_or_default())?;
        Ok(certificate)
    }

    fn read_extensions(&mut self, extensions: x509_cert::ext::Extensions) -> Result<(), Error> {
        let mut seen = Vec::new();
        for extension in extensions {
            if seen.contains(&extension.extn_id) {
                return Err(Error::ExtensionDuplicate);
            }
            seen.push(extension.extn_id);
            let contents = extension.extn_value.as_bytes();
            match extension.extn_id {
                BasicConstraints::OID => {
                    let read = BasicConstraints::from_der(contents).map_err(|_| Error::ExtensionMalformed)?;
                    self.constraints = Some(read);
                }
                KeyUsage::OID => {
                    self.key_usage = Some(KeyUsage::from_der(contents).map_err(|_| Error::ExtensionMalformed)?);
                }
                // Nothing here has a use of TLS and its like.
                EXTENDED_KEY_USAGE => return Err(Error::KeyUsage),
                SGX_EXTENSION => self.sgx_extension = Some(contents.to_owned()),
                _ if extension.critical => return Err(Error::ExtensionUnknown),
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

/// The frame that certificates and revocation lists share. The signed bytes are kept as they came: encoding them again might
/// heal what somebody changed.
pub(crate) struct SignedDer<'a> {
    pub(crate) signed: &'a [u8],
    pub(crate) algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

impl<'a> SignedDer<'a> {
    pub(crate) fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let frame = reader.sequence(|reader| {
            Ok(Self { signed: reader.tlv_bytes()?, algorithm: reader.decode()?, signature: reader.decode()? })
        })?;
        reader.finish(frame)
    }

    /// By RFC 5758 §3.2 without parameters.
    pub(crate) fn is_ecdsa_with_sha256(&self) -> bool {
        self.algorithm.oid == ECDSA_WITH_SHA256 && self.algorithm.parameters.is_none()
    }

    /// r ‖ s.
    pub(crate) fn signature(&self) -> Option<[u8; 64]> {
        Some(Signature::from_der(self.signature.as_bytes()?).ok()?.to_bytes().into())
    }
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

fn public_key(info: &SubjectPublicKeyInfoOwned) -> Option<[u8; 64]> {
    let curve = info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()?;
    if info.algorithm.oid != EC_PUBLIC_KEY || curve != PRIME256V1 {
        return None;
    }
    let (tag, point) = info.subject_public_key.as_bytes()?.split_first()?;
    let point: [u8; 64] = point.try_into().ok().filter(|_| *tag == UNCOMPRESSED)?;
    let encoded = EncodedPoint::from_untagged_bytes((&point).into());
    VerifyingKey::from_encoded_point(&encoded).is_ok().then_some(point)
}

fn common_name(name: &Name) -> Option<String> {
    let mut names = name.0.iter().flat_map(|part| part.0.iter()).filter(|attribute| attribute.oid == COMMON_NAME);
    let value = AnyRef::from(&names.next()?.value);
    if names.next().is_some() {
        return None;
    }
    let utf8 = value.decode_as::<Utf8StringRef>().map(|text| text.as_str().to_owned());
    utf8.or_else(|_| value.decode_as::<PrintableStringRef>().map(|text| text.as_str().to_owned())).ok()
}

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";
/// SEC 1 §2.3.3.
const UNCOMPRESSED: u8 = 4;
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// Intel's extension of PCK certificates.
pub(crate) const SGX_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
