//! Certificates and revocation lists as they are encoded (RFC 5280 §4.1, §5.1), before anything is known about who
//! signed them: whatever the bytes, reading takes time linear in their number.
//!
//! Names stay encoded. Sets, of which they consist, are sorted by a reader that decodes them; and what is compared
//! byte by byte cannot be equal to one reader and different to another.

use alloc::vec::Vec;

use const_oid::ObjectIdentifier;
use der::{
    Decode, Reader, SliceReader, Tag, TagNumber, Tagged,
    asn1::{AnyRef, BitStringRef, ContextSpecific, PrintableStringRef, Utf8StringRef},
};
use p256::ecdsa::Signature;
use x509_cert::{
    Version,
    crl::RevokedCert,
    ext::Extensions,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
    time::{Time, Validity},
};

/// The frame that certificates and revocation lists share. The signed bytes are kept as they came: encoding them
/// again might heal what somebody changed.
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

/// What is signed of a certificate. There are no unique identifiers: RFC 5280 §4.1.2.8 forbids authorities to write
/// them.
pub(crate) struct TbsCertificate<'a> {
    pub(crate) version: Version,
    pub(crate) serial: SerialNumber,
    pub(crate) algorithm: AlgorithmIdentifierRef<'a>,
    pub(crate) issuer: &'a [u8],
    pub(crate) validity: Validity,
    pub(crate) subject: &'a [u8],
    pub(crate) public_key: SubjectPublicKeyInfoRef<'a>,
    pub(crate) extensions: Extensions,
}

impl<'a> TbsCertificate<'a> {
    pub(crate) fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let certificate = reader.sequence(|reader| {
            Ok(Self {
                version: explicit(reader, TagNumber::N0)?.unwrap_or(Version::V1),
                serial: reader.decode()?,
                algorithm: reader.decode()?,
                issuer: name(reader)?,
                validity: reader.decode()?,
                subject: name(reader)?,
                public_key: reader.decode()?,
                extensions: explicit(reader, TagNumber::N3)?.unwrap_or_default(),
            })
        })?;
        reader.finish(certificate)
    }
}

/// What is signed of a revocation list.
pub(crate) struct TbsCertList<'a> {
    /// Lists of version 1 do not state it.
    pub(crate) version: Option<Version>,
    pub(crate) algorithm: AlgorithmIdentifierRef<'a>,
    pub(crate) issuer: &'a [u8],
    pub(crate) this_update: Time,
    pub(crate) next_update: Option<Time>,
    pub(crate) revoked: Vec<RevokedCert>,
    pub(crate) extensions: Extensions,
}

impl<'a> TbsCertList<'a> {
    pub(crate) fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let list = reader.sequence(|reader| {
            Ok(Self {
                version: reader.decode()?,
                algorithm: reader.decode()?,
                issuer: name(reader)?,
                this_update: reader.decode()?,
                next_update: reader.decode()?,
                revoked: reader.decode::<Option<_>>()?.unwrap_or_default(),
                extensions: explicit(reader, TagNumber::N0)?.unwrap_or_default(),
            })
        })?;
        reader.finish(list)
    }
}

/// The common name in a name; `None` if it has none, several, or one that is no text.
pub(crate) fn common_name(name: &[u8]) -> der::Result<Option<&str>> {
    let mut reader = SliceReader::new(name)?;
    let names = reader.sequence(|parts| {
        let mut names = Vec::new();
        while !parts.is_finished() {
            let part: AnyRef = parts.decode()?;
            part.tag().assert_eq(Tag::Set)?;
            let mut attributes = SliceReader::new(part.value())?;
            while !attributes.is_finished() {
                let (id, value): (ObjectIdentifier, AnyRef) =
                    attributes.sequence(|attribute| Ok((attribute.decode()?, attribute.decode()?)))?;
                if id == COMMON_NAME {
                    names.push(value);
                }
            }
        }
        Ok(names)
    })?;
    Ok(match reader.finish(names)?.as_slice() {
        [value] => {
            let utf8 = value.decode_as::<Utf8StringRef>().map(|text| text.as_str());
            utf8.or_else(|_| value.decode_as::<PrintableStringRef>().map(|text| text.as_str())).ok()
        }
        _ => None,
    })
}

/// A name as it is encoded.
fn name<'a>(reader: &mut impl Reader<'a>) -> der::Result<&'a [u8]> {
    reader.peek_tag()?.assert_eq(Tag::Sequence)?;
    reader.tlv_bytes()
}

/// A field with this explicit tag if it comes next. The library's own reader skips whatever has a lower number.
fn explicit<'a, T: Decode<'a>>(reader: &mut impl Reader<'a>, number: TagNumber) -> der::Result<Option<T>> {
    let tag = Tag::ContextSpecific { constructed: true, number };
    if reader.is_finished() || reader.peek_tag()? != tag {
        return Ok(None);
    }
    reader.decode().map(|field: ContextSpecific<T>| Some(field.value))
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Extensions by RFC 5280 §4.2.1 (certificates), §5.2 (lists) and §5.3 (entries of lists). The library's own
/// constants are not relied on: its issuing distribution point is another extension's.
pub(crate) mod extension {
    use const_oid::ObjectIdentifier;

    /// Allowed where they are not critical, and then not applied; but each must be a SEQUENCE.
    pub const UNAPPLIED: [ObjectIdentifier; 3] = [SUBJECT_ALT_NAME, NAME_CONSTRAINTS, CRL_DISTRIBUTION_POINTS];
    const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
    const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
    const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");

    pub const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    pub const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
    pub const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
    /// Intel's extension of PCK certificates.
    pub const SGX: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");

    pub const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
    pub const DELTA_CRL_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
    pub const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

    pub const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
    pub const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");
}
