//! Certificates, every field of which can be made wrong before they are signed.

use const_oid::db::{rfc4519, rfc5280, rfc5912};
use pem_rfc7468::LineEnding;
use sha2::{Digest, Sha256};

use crate::{
    VALID_FROM, VALID_UNTIL,
    der::{self, Oid},
    key::Key,
};

/// A key and the certificate over it.
#[derive(Clone)]
pub struct Certified {
    /// The key.
    pub key: Key,
    /// The certificate.
    pub certificate: Certificate,
}

/// An X.509 certificate.
#[derive(Clone)]
pub struct Certificate {
    /// 2 is version 3; absent is version 1.
    pub version: Option<u8>,
    /// Content octets of the INTEGER.
    pub serial: Vec<u8>,
    /// Signature algorithm inside the signed part.
    pub algorithm: Oid,
    /// Signature algorithm beside the signature.
    pub outer_algorithm: Oid,
    /// Who says so.
    pub issuer: Name,
    /// Unix milliseconds, encoded in seconds.
    pub not_before: u64,
    /// Unix milliseconds, encoded in seconds.
    pub not_after: u64,
    /// Of whom.
    pub subject: Name,
    /// Algorithm of the subject's key.
    pub key_algorithm: Oid,
    /// Its curve.
    pub curve: Oid,
    /// SEC1 point, 04 ‖ x ‖ y.
    pub public_key: Vec<u8>,
    /// Extensions.
    pub extensions: Vec<Extension>,
    /// Signed in place of what the fields above say (TBSCertificate).
    pub raw: Option<Vec<u8>>,
    /// Signs in place of the issuer.
    pub signed_by: Option<Key>,
}

/// An extension of a certificate or a revocation list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Which.
    pub oid: Oid,
    /// Whether whoever does not know it must refuse the certificate.
    pub critical: bool,
    /// DER.
    pub value: Vec<u8>,
}

/// A distinguished name: single-valued relative names in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(pub Vec<(Oid, String)>);

/// What a certificate's key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Issue certificates, with this many authorities below at most.
    Authority(u8),
    /// Sign anything but certificates.
    Leaf,
}

impl Certificate {
    /// As Intel issues them; `issuer` is the issuer's name and key, the subject's own for a root.
    pub fn new(subject: &str, subject_key: &Key, issuer: &str, issuer_key: &Key, role: Role) -> Self {
        let crl = "https://cloister.invalid/development.crl";
        Self {
            version: Some(2),
            serial: der::magnitude(&key_id(subject_key)),
            algorithm: rfc5912::ECDSA_WITH_SHA_256,
            outer_algorithm: rfc5912::ECDSA_WITH_SHA_256,
            issuer: Name::of(issuer),
            not_before: VALID_FROM,
            not_after: VALID_UNTIL,
            subject: Name::of(subject),
            key_algorithm: rfc5912::ID_EC_PUBLIC_KEY,
            curve: rfc5912::SECP_256_R_1,
            public_key: [&[4][..], &subject_key.public()].concat(),
            extensions: vec![
                Extension::authority_key_id(issuer_key),
                Extension::crl_distribution_point(crl),
                Extension::subject_key_id(subject_key),
                Extension::key_usage(role),
                Extension::basic_constraints(role),
            ],
            raw: None,
            signed_by: None,
        }
    }

    /// The signed part.
    pub fn tbs(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let version = self.version.map(|version| der::explicit(0, &der::unsigned(version.into())));
        let extensions: Vec<_> = self.extensions.iter().map(Extension::der).collect();
        let extensions = if extensions.is_empty() { vec![] } else { der::explicit(3, &der::sequence(&extensions)) };
        der::sequence(&[
            version.unwrap_or_default(),
            der::integer(&self.serial),
            algorithm(self.algorithm),
            self.issuer.der(),
            der::sequence(&[der::time(self.not_before), der::time(self.not_after)]),
            self.subject.der(),
            der::sequence(&[
                der::sequence(&[der::oid(self.key_algorithm), der::oid(self.curve)]),
                der::bits(0, &self.public_key),
            ]),
            extensions,
        ])
    }

    /// The certificate in DER, signed with the issuer's key unless [`Self::signed_by`] says otherwise.
    pub fn der(&self, issuer_key: &Key) -> Vec<u8> {
        signed(&self.tbs(), self.outer_algorithm, self.signed_by.as_ref().unwrap_or(issuer_key))
    }

    /// The first extension of this kind.
    pub fn extension_mut(&mut self, oid: Oid) -> Option<&mut Extension> {
        self.extensions.iter_mut().find(|extension| extension.oid == oid)
    }

    /// Without extensions of this kind.
    pub fn remove_extension(&mut self, oid: Oid) {
        self.extensions.retain(|extension| extension.oid != oid);
    }
}

impl Extension {
    /// Which key signed.
    pub fn authority_key_id(issuer_key: &Key) -> Self {
        let value = der::sequence(&[der::element(0x80, &key_id(issuer_key))]);
        Self { oid: rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, critical: false, value }
    }

    /// Which key this is.
    pub fn subject_key_id(key: &Key) -> Self {
        Self { oid: rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER, critical: false, value: der::octets(&key_id(key)) }
    }

    /// Where the revocation list is.
    pub fn crl_distribution_point(url: &str) -> Self {
        let full_name = der::explicit(0, &der::explicit(0, &der::element(0x86, url.as_bytes())));
        let value = der::sequence(&[der::sequence(&[full_name])]);
        Self { oid: rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS, critical: false, value }
    }

    /// Certificate and list signing for authorities; digital signature and non-repudiation for leaves.
    pub fn key_usage(role: Role) -> Self {
        let value = match role {
            Role::Authority(_) => der::bits(1, &[0b0000_0110]),
            Role::Leaf => der::bits(6, &[0b1100_0000]),
        };
        Self { oid: rfc5280::ID_CE_KEY_USAGE, critical: true, value }
    }

    /// Whether it is an authority, and how many may follow.
    pub fn basic_constraints(role: Role) -> Self {
        let value = match role {
            Role::Authority(below) => der::sequence(&[der::boolean(true), der::unsigned(below.into())]),
            Role::Leaf => der::sequence(&[]),
        };
        Self { oid: rfc5280::ID_CE_BASIC_CONSTRAINTS, critical: true, value }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let critical = if self.critical { der::boolean(true) } else { vec![] };
        der::sequence(&[der::oid(self.oid), critical, der::octets(&self.value)])
    }
}

impl Name {
    /// A common name in the organisation of all synthetic authorities.
    pub fn of(common_name: &str) -> Self {
        Self(vec![
            (rfc4519::CN, common_name.into()),
            (rfc4519::O, "Cloister Development, not Intel Corporation".into()),
            (rfc4519::C, "US".into()),
        ])
    }

    /// DER.
    pub fn der(&self) -> Vec<u8> {
        let name = |(oid, text): &(Oid, String)| {
            let text = if *oid == rfc4519::C { der::printable(text) } else { der::utf8(text) };
            der::set(&[der::sequence(&[der::oid(*oid), text])])
        };
        der::sequence(&self.0.iter().map(name).collect::<Vec<_>>())
    }
}

/// Certificate or revocation list around a signed part.
pub fn signed(tbs: &[u8], outer_algorithm: Oid, key: &Key) -> Vec<u8> {
    der::sequence(&[tbs.to_vec(), algorithm(outer_algorithm), der::bits(0, &key.sign_der(tbs))])
}

/// PEM of DER certificates, one after the other.
pub fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let pem = |der: &Vec<u8>| pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default();
    certificates.iter().map(pem).collect::<String>().into_bytes()
}

/// DER certificates out of [`pem`]; what is not PEM is left out.
pub fn unpem(pem: &[u8]) -> Vec<Vec<u8>> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = String::from_utf8_lossy(pem);
    text.split_inclusive(END)
        .filter_map(|one| pem_rfc7468::decode_vec(one.as_bytes()).ok())
        .map(|(_, der)| der)
        .collect()
}

/// Key identifier: 20 bytes of a hash, positive as a serial number.
fn key_id(key: &Key) -> Vec<u8> {
    let digest = Sha256::digest(key.public());
    let mut id: Vec<u8> = digest.iter().copied().take(20).collect();
    if let Some(first) = id.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    id
}

pub(crate) fn algorithm(oid: Oid) -> Vec<u8> {
    der::sequence(&[der::oid(oid)])
}
