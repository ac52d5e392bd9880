//! Certificates and revocation lists of files, ordered by who issued whom.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use der::{Decode, Encode};
use pem_rfc7468::LineEnding;
use x509_cert::{Certificate, crl::CertificateList, name::Name};

use super::BundleError;
use crate::{collateral::CrlIssuer, signature::verify_signature};

/// Certificates of authorities and signers. Nothing is verified but that names fit.
#[derive(Clone, Default, Debug)]
pub(super) struct Authorities(Vec<Certificate>);

/// Whose revocation list something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CrlKind {
    Root,
    Pck(CrlIssuer),
}

impl Authorities {
    /// Takes the certificates of a PEM text and returns its revocation lists.
    pub fn add_pem(&mut self, pem: &str) -> Result<Vec<Vec<u8>>, BundleError> {
        let mut lists = Vec::new();
        let mut rest = pem;
        while let Some(begin) = rest.find(BEGIN) {
            let (_, from_begin) = rest.split_at(begin);
            let end = from_begin.find(END).ok_or(BundleError::Unrecognised)?;
            let (_, after_end) = from_begin.split_at(end);
            let length = after_end.find('\n').map_or(from_begin.len(), |line| end.saturating_add(line));
            let (block, after) = from_begin.split_at_checked(length).ok_or(BundleError::Unrecognised)?;
            rest = after;
            let (label, der) =
                pem_rfc7468::decode_vec(block.trim().as_bytes()).map_err(|_| BundleError::Unrecognised)?;
            match label {
                "CERTIFICATE" if self.add_der(&der) => {}
                "X509 CRL" => lists.push(der),
                _ => return Err(BundleError::Unrecognised),
            }
        }
        Ok(lists)
    }

    /// Takes a certificate. `false` if it is none.
    pub fn add_der(&mut self, der: &[u8]) -> bool {
        let certificate = Certificate::from_der(der);
        certificate.map(|certificate| self.0.push(certificate)).is_ok()
    }

    /// Whose list this is, by its issuer's common name; `None` if it is no list of Intel's hierarchy.
    pub fn kind_of(&self, crl: &[u8]) -> Option<CrlKind> {
        let issuer = CertificateList::from_der(crl).ok()?.tbs_cert_list.issuer.to_string();
        [
            ("Root CA", CrlKind::Root),
            ("Processor CA", CrlKind::Pck(CrlIssuer::Processor)),
            ("Platform CA", CrlKind::Pck(CrlIssuer::Platform)),
        ]
        .into_iter()
        .find_map(|(part, kind)| issuer.contains(part).then_some(kind))
    }

    /// PEM of whoever signs TCB infos and QE identities, and of the root.
    pub fn chain_of_tcb_signer(&self) -> Option<Vec<u8>> {
        let signer = self.0.iter().find(|certificate| subject(certificate).to_string().contains("TCB Signing"))?;
        self.chain(signer)
    }

    /// PEM of a list's issuer and of the root.
    pub fn chain_of_crl(&self, crl: &[u8]) -> Option<Vec<u8>> {
        let issuer = CertificateList::from_der(crl).ok()?.tbs_cert_list.issuer;
        self.chain(self.0.iter().find(|certificate| *subject(certificate) == issuer)?)
    }

    fn chain(&self, leaf: &Certificate) -> Option<Vec<u8>> {
        let root = self.0.iter().find(|root| subject(root) == issuer(leaf) && subject(root) == issuer(root))?;
        let mut pem = String::new();
        for certificate in [leaf, root] {
            pem.push_str(&pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, &certificate.to_der().ok()?).ok()?);
        }
        Some(pem.into_bytes())
    }
}

/// Whether the first certificate of a PEM chain signed `message`: only to find out to which document a signature belongs.
pub(super) fn signs(chain: &[u8], message: &[u8], signature: &[u8; 64]) -> bool {
    let mut authorities = Authorities::default();
    let Ok(pem) = core::str::from_utf8(chain) else {
        return false;
    };
    let _ = authorities.add_pem(pem);
    authorities.0.first().is_some_and(|certificate| {
        let key = &certificate.tbs_certificate.subject_public_key_info.subject_public_key;
        match key.raw_bytes() {
            [0x04, point @ ..] => {
                <&[u8; 64]>::try_from(point).is_ok_and(|key| verify_signature(key, message, signature).is_ok())
            }
            _ => false,
        }
    })
}

fn subject(certificate: &Certificate) -> &Name {
    &certificate.tbs_certificate.subject
}

fn issuer(certificate: &Certificate) -> &Name {
    &certificate.tbs_certificate.issuer
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
