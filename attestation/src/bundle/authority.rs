//! Certificates and revocation lists of files, ordered by who issued whom.

use alloc::{string::String, vec::Vec};

use pem_rfc7468::LineEnding;

use super::BundleError;
use crate::{
    collateral::CrlIssuer,
    signature::verify_signature,
    x509::{SignedDer, TbsCertList, TbsCertificate, common_name},
};

/// Certificates of authorities and signers. Nothing is verified but that names fit.
#[derive(Clone, Default, Debug)]
pub(super) struct Authorities(Vec<Authority>);

/// A certificate, and what of it orders certificates.
#[derive(Clone, Debug)]
struct Authority {
    der: Vec<u8>,
    subject: Vec<u8>,
    common_name: String,
    issuer: Vec<u8>,
    /// As encoded: a point in one of several forms.
    key: Vec<u8>,
}

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
        Authority::read(der).map(|authority| self.0.push(authority)).is_ok()
    }

    /// Whose list this is, by its issuer's common name; `None` if it is no list of Intel's hierarchy.
    pub fn kind_of(&self, crl: &[u8]) -> Option<CrlKind> {
        let issuer = common_name(issuer_of_crl(crl)?).ok()??;
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
        self.chain(self.0.iter().find(|authority| authority.common_name.contains("TCB Signing"))?)
    }

    /// PEM of a list's issuer and of the root.
    pub fn chain_of_crl(&self, crl: &[u8]) -> Option<Vec<u8>> {
        let issuer = issuer_of_crl(crl)?;
        self.chain(self.0.iter().find(|authority| authority.subject == issuer)?)
    }

    fn chain(&self, leaf: &Authority) -> Option<Vec<u8>> {
        let root = self.0.iter().find(|root| root.subject == leaf.issuer && root.subject == root.issuer)?;
        let mut pem = String::new();
        for authority in [leaf, root] {
            pem.push_str(&pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, &authority.der).ok()?);
        }
        Some(pem.into_bytes())
    }
}

impl Authority {
    fn read(der: &[u8]) -> der::Result<Self> {
        let certificate = TbsCertificate::read(SignedDer::read(der)?.signed)?;
        Ok(Self {
            der: der.into(),
            subject: certificate.subject.into(),
            common_name: common_name(certificate.subject)?.unwrap_or_default().into(),
            issuer: certificate.issuer.into(),
            key: certificate.public_key.subject_public_key.raw_bytes().into(),
        })
    }
}

fn issuer_of_crl(crl: &[u8]) -> Option<&[u8]> {
    Some(TbsCertList::read(SignedDer::read(crl).ok()?.signed).ok()?.issuer)
}

/// Whether the first certificate of a PEM chain signed `message`: only to find out to which document a signature belongs.
pub(super) fn signs(chain: &[u8], message: &[u8], signature: &[u8; 64]) -> bool {
    let mut authorities = Authorities::default();
    let Ok(pem) = core::str::from_utf8(chain) else {
        return false;
    };
    let _ = authorities.add_pem(pem);
    authorities.0.first().is_some_and(|authority| match authority.key.as_slice() {
        [0x04, point @ ..] => {
            <&[u8; 64]>::try_from(point).is_ok_and(|key| verify_signature(key, message, signature).is_ok())
        }
        _ => false,
    })
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
