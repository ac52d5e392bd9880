//! Revocation lists.

use const_oid::db::{rfc5280, rfc5912};

use crate::{
    VALID_FROM, VALID_UNTIL,
    certificate::{Certified, Extension, Name, algorithm, signed},
    der::{self, Oid},
    key::Key,
};

/// An X.509 revocation list.
#[derive(Clone)]
pub struct Crl {
    /// 1 is version 2; absent is version 1.
    pub version: Option<u8>,
    /// Signature algorithm inside the signed part.
    pub algorithm: Oid,
    /// Signature algorithm beside the signature.
    pub outer_algorithm: Oid,
    /// Who revokes.
    pub issuer: Name,
    /// Unix milliseconds, encoded in seconds.
    pub this_update: u64,
    /// Unix milliseconds, encoded in seconds.
    pub next_update: Option<u64>,
    /// Content octets of the serial numbers of revoked certificates.
    pub revoked: Vec<Vec<u8>>,
    /// Extensions.
    pub extensions: Vec<Extension>,
    /// Signed in place of what the fields above say (TBSCertList).
    pub raw: Option<Vec<u8>>,
    /// Signs in place of the issuer.
    pub signed_by: Option<Key>,
}

impl Crl {
    /// An authority's list: number 1, nothing revoked.
    pub fn of(issuer: &Certified) -> Self {
        Self {
            version: Some(1),
            algorithm: rfc5912::ECDSA_WITH_SHA_256,
            outer_algorithm: rfc5912::ECDSA_WITH_SHA_256,
            issuer: issuer.certificate.subject.clone(),
            this_update: VALID_FROM,
            next_update: Some(VALID_UNTIL),
            revoked: vec![],
            extensions: vec![Self::number(1), Extension::authority_key_id(&issuer.key)],
            raw: None,
            signed_by: None,
        }
    }

    /// The extension that counts an authority's lists.
    pub fn number(number: u64) -> Extension {
        Extension { oid: rfc5280::ID_CE_CRL_NUMBER, critical: false, value: der::unsigned(number) }
    }

    /// Without extensions of this kind.
    pub fn remove_extension(&mut self, oid: Oid) {
        self.extensions.retain(|extension| extension.oid != oid);
    }

    /// The signed part.
    pub fn tbs(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let entry = |serial: &Vec<u8>| der::sequence(&[der::integer(serial), der::time(self.this_update)]);
        let revoked: Vec<_> = self.revoked.iter().map(entry).collect();
        let extensions: Vec<_> = self.extensions.iter().map(Extension::der).collect();
        der::sequence(&[
            self.version.map(|version| der::unsigned(version.into())).unwrap_or_default(),
            algorithm(self.algorithm),
            self.issuer.der(),
            der::time(self.this_update),
            self.next_update.map(der::time).unwrap_or_default(),
            if revoked.is_empty() { vec![] } else { der::sequence(&revoked) },
            if extensions.is_empty() { vec![] } else { der::explicit(0, &der::sequence(&extensions)) },
        ])
    }

    /// The list in DER, signed with the issuer's key unless [`Self::signed_by`] says otherwise.
    pub fn der(&self, issuer_key: &Key) -> Vec<u8> {
        signed(&self.tbs(), self.outer_algorithm, self.signed_by.as_ref().unwrap_or(issuer_key))
    }
}
