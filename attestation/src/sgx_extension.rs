//! The SGX extension of PCK certificates: what Intel says about the platform.
//!
//! After "Intel SGX PCK Certificate and Certificate Revocation List Profile Specification", §1.3.5.

use alloc::vec::Vec;

use cloister_claims::Error;
use const_oid::ObjectIdentifier;
use der::{
    Decode, Reader, SliceReader, Tag, Tagged,
    asn1::{AnyRef, OctetStringRef},
};

use crate::x509::extension;

/// What the extension says.
pub(crate) struct Platform {
    pub(crate) ppid: [u8; 16],
    pub(crate) cpu_svn: [u8; 16],
    pub(crate) tcb_components: [u8; 16],
    pub(crate) pce_svn: u16,
    pub(crate) pce_id: [u8; 2],
    pub(crate) fmspc: [u8; 6],
    pub(crate) sgx_type: SgxType,
}

/// How a platform protects memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SgxType {
    /// Encryption with an integrity tree.
    Standard,
    /// Encryption only.
    Scalable,
    /// Encryption with integrity.
    ScalableWithIntegrity,
}

impl Platform {
    /// Reads the extension's contents. Items that are not known are left alone: later profiles add some.
    pub(crate) fn read(contents: &[u8]) -> Result<Self, Error> {
        let items = Items::read(AnyRef::from_der(contents).map_err(|_| MALFORMED)?, &extension::SGX)?;
        let tcb = Items::read(items.get(2)?, &TCB)?;
        let mut tcb_components = [0; 16];
        for (component, number) in tcb_components.iter_mut().zip(1..) {
            *component = tcb.get(number)?.decode_as().map_err(|_| MALFORMED)?;
        }
        Ok(Self {
            ppid: bytes(items.get(1)?)?,
            cpu_svn: bytes(tcb.get(18)?)?,
            tcb_components,
            pce_svn: tcb.get(17)?.decode_as().map_err(|_| MALFORMED)?,
            pce_id: bytes(items.get(3)?)?,
            fmspc: bytes(items.get(4)?)?,
            sgx_type: sgx_type(items.get(5)?)?,
        })
    }
}

/// A SEQUENCE of pairs of object identifier and value, by the number that the identifier adds to its parent's.
struct Items<'a>(Vec<(u8, AnyRef<'a>)>);

impl<'a> Items<'a> {
    fn read(sequence: AnyRef<'a>, parent: &ObjectIdentifier) -> Result<Self, Error> {
        let pairs = sequence.sequence(read_pairs).map_err(|_| MALFORMED)?;
        let mut items: Vec<(u8, AnyRef)> = Vec::new();
        for (id, value) in pairs {
            let Some([number]) = id.as_bytes().strip_prefix(parent.as_bytes()) else {
                return Err(MALFORMED);
            };
            if items.iter().any(|(other, _)| other == number) {
                return Err(Error::SgxExtensionDuplicate);
            }
            items.push((*number, value));
        }
        Ok(Self(items))
    }

    fn get(&self, number: u8) -> Result<AnyRef<'a>, Error> {
        let item = self.0.iter().find(|(other, _)| *other == number);
        item.map(|(_, value)| *value).ok_or(Error::SgxExtensionIncomplete)
    }
}

fn read_pairs<'a>(reader: &mut SliceReader<'a>) -> der::Result<Vec<(ObjectIdentifier, AnyRef<'a>)>> {
    let mut pairs = Vec::new();
    while !reader.is_finished() {
        pairs.push(reader.sequence(|pair| Ok((pair.decode()?, pair.decode()?)))?);
    }
    Ok(pairs)
}

fn bytes<const N: usize>(value: AnyRef) -> Result<[u8; N], Error> {
    let octets: OctetStringRef = value.decode_as().map_err(|_| MALFORMED)?;
    octets.as_bytes().try_into().map_err(|_| MALFORMED)
}

fn sgx_type(value: AnyRef) -> Result<SgxType, Error> {
    if value.tag() != Tag::Enumerated {
        return Err(MALFORMED);
    }
    match value.value() {
        [0] => Ok(SgxType::Standard),
        [1] => Ok(SgxType::Scalable),
        [2] => Ok(SgxType::ScalableWithIntegrity),
        _ => Err(Error::SgxType),
    }
}

const MALFORMED: Error = Error::SgxExtensionMalformed;
const TCB: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2");
