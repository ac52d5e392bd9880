//! Certificate revocation lists, version 2 (RFC 5280 §5), complete and of one issuer.

use alloc::vec::Vec;

use cloister_claims::{Collateral, Error};
use der::{Decode, asn1::UintRef};
use x509_cert::{
    Version,
    crl::RevokedCert,
    ext::{Extension, Extensions},
};

use crate::{
    certificate::Certificate,
    chain::{self, Chain, pck_authority},
    collateral::{CrlIssuer, RevocationList, Serial, Signer},
    roots::Roots,
    signature::verify_signature,
    time,
    x509::{SignedDer, TbsCertList, extension},
};

impl RevocationList {
    /// Checks a DER list at whatever time; see [`Self::check_time`]. `issuer_chain` (PEM) is the root alone, or a certificate
    /// and the root that issued it; the list's issuer is one of them.
    pub fn verify(der: &[u8], issuer_chain: &[u8], roots: &Roots) -> Result<Self, Error> {
        if der.len() > Collateral::MAX_CRL_BYTES {
            return Err(Error::CrlTooLarge);
        }
        let outer = SignedDer::read(der).map_err(|_| Error::CrlMalformed)?;
        let list = TbsCertList::read(outer.signed).map_err(|_| Error::CrlMalformed)?;
        if list.version != Some(Version::V2) {
            return Err(Error::CrlVersion);
        }
        if list.algorithm != outer.algorithm {
            return Err(Error::CrlAlgorithmMismatch);
        }
        if !outer.is_ecdsa_with_sha256() {
            return Err(Error::CrlAlgorithm);
        }
        let chain = Chain::read(issuer_chain, roots, 1..=2)?;
        let (issuer, certificate) = find_issuer(&list, &chain)?;
        let signature = outer.signature().ok_or(Error::CrlSignature)?;
        verify_signature(&certificate.public_key, outer.signed, &signature).map_err(|_| Error::CrlSignature)?;

        let number = check_extensions(list.extensions)?;
        let next_update = list.next_update.ok_or(Error::CrlNextUpdateMissing)?;
        let [from, until] = [list.this_update, next_update].map(time::of_x509);
        let mut revoked = list.revoked.into_iter().map(revoked_serial).collect::<Result<Vec<_>, _>>()?;
        revoked.sort_unstable();
        revoked.dedup();
        if issuer == CrlIssuer::Root && revoked.binary_search(&certificate.serial).is_ok() {
            return Err(Error::CrlSignerRevoked);
        }
        Ok(Self {
            root: chain.root,
            issuer,
            // Here alone the end is excluded, as in Intel's library: by then the next list is there.
            validity: time::period(from, until.saturating_sub(1), Error::CrlPeriod)?,
            number,
            revoked,
            signer: match issuer {
                CrlIssuer::Root => None,
                _ => Some(Signer { serial: certificate.serial.clone(), validity: chain.validity() }),
            },
        })
    }

    /// Whether list and signer are valid at `at` (Unix milliseconds).
    pub fn check_time(&self, at: u64) -> Result<(), Error> {
        if let Some(signer) = &self.signer {
            chain::check_chain_time(&signer.validity, at)?;
        }
        time::check(&self.validity, at, Error::CrlNotYetValid, Error::CrlExpired)
    }

    /// Whether the certificate with this serial number under the list's issuer is revoked.
    pub fn revokes(&self, serial: &Serial) -> bool {
        self.revoked.binary_search(serial).is_ok()
    }
}

/// The certificate of the chain that the list names as its issuer, checked up to the root. If that is the root itself, what
/// else the chain holds does not matter.
fn find_issuer<'a>(list: &TbsCertList, chain: &'a Chain) -> Result<(CrlIssuer, &'a Certificate), Error> {
    let root = &chain.root_certificate;
    if list.issuer == root.subject_name {
        root.check_authority(0)?;
        return Ok((CrlIssuer::Root, root));
    }
    let authority = chain.certificates.first().filter(|authority| list.issuer == authority.subject_name);
    let authority = authority.ok_or(Error::CrlIssuer)?;
    let issuer = pck_authority(authority).ok_or(Error::PckIssuer)?;
    authority.check_authority(0)?;
    root.check_authority(1)?;
    authority.check_issued_by(root)?;
    Ok((issuer, authority))
}

/// Refuses lists that do not list everything of their issuer, critical or not; returns the list's number, which every list
/// must have (RFC 5280 §5.2.3): without it nobody could tell an older list from a newer.
fn check_extensions(extensions: Extensions) -> Result<u64, Error> {
    let mut number = None;
    for extension in extensions {
        match extension.extn_id {
            extension::DELTA_CRL_INDICATOR | extension::ISSUING_DISTRIBUTION_POINT => return Err(Error::CrlExtension),
            extension::CRL_NUMBER if number.is_some() => return Err(Error::CrlExtensionMalformed),
            extension::CRL_NUMBER => {
                let read =
                    UintRef::from_der(extension.extn_value.as_bytes()).map_err(|_| Error::CrlExtensionMalformed)?;
                number = Some(to_u64(read.as_bytes()).ok_or(Error::CrlExtensionMalformed)?);
            }
            _ if extension.critical => return Err(Error::CrlExtension),
            _ => {}
        }
    }
    number.ok_or(Error::CrlExtensionMalformed)
}

fn to_u64(big_endian: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    let start = bytes.len().checked_sub(big_endian.len())?;
    bytes.get_mut(start..)?.copy_from_slice(big_endian);
    Some(u64::from_be_bytes(bytes))
}

/// Whatever the reason: on a complete list every entry is revoked.
fn revoked_serial(entry: RevokedCert) -> Result<Serial, Error> {
    let serial = Serial::read(&entry.serial_number).ok_or(Error::CrlSerial)?;
    // The critical extension that exists names another issuer, and with it another certificate.
    let unknown = |extension: &Extension| {
        extension.extn_id == extension::CERTIFICATE_ISSUER
            || (extension.critical && extension.extn_id != extension::REASON_CODE)
    };
    match entry.crl_entry_extensions.unwrap_or_default().iter().any(unknown) {
        true => Err(Error::CrlExtension),
        false => Ok(serial),
    }
}
