//! Certificate chains by role. Each role has its exact length and its names, so that a key made for one thing cannot sign
//! another: a platform's key no collateral, a PCK authority's no TCB info.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use cloister_claims::{Error, Validity};

use crate::{
    certificate::{Certificate, pem_certificates},
    collateral::{CrlIssuer, RootOfTrust, Serial, Signer},
    roots::Roots,
    time,
};

pub use crate::sgx_extension::SgxType;

/// A platform's certificate and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PckCertificate {
    /// Its root.
    pub root: RootOfTrust,
    /// Who issued it.
    pub issuer: CrlIssuer,
    /// Its serial number under its issuer.
    pub serial: Serial,
    /// Its issuer's serial number under the root.
    pub issuer_serial: Serial,
    /// Public key, x ‖ y.
    pub public_key: [u8; 64],
    /// The platform's provisioning id.
    pub ppid: [u8; 16],
    /// CPUSVN as the processor writes it.
    pub cpu_svn: [u8; 16],
    /// CPUSVN by TCB component: what TCB levels are compared with.
    pub tcb_components: [u8; 16],
    /// ISVSVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// Provisioning certification enclave.
    pub pce_id: [u8; 2],
    /// Family, model, stepping, platform type and custom SKU.
    pub fmspc: [u8; 6],
    /// How the platform protects memory.
    pub sgx_type: SgxType,
    /// The time inside the validities of the whole chain.
    pub validity: Validity,
}

impl PckCertificate {
    /// Checks a PEM chain of leaf, issuing authority and root, at whatever time; see [`Self::check_time`].
    pub fn verify(pem: &[u8], roots: &Roots) -> Result<Self, Error> {
        let chain = Chain::read(pem, roots, PCK_CHAIN)?;
        let pck = Self::of(&chain)?;
        chain.verify()?;
        Ok(pck)
    }

    /// Reads a chain without checking any signature: nothing that it says may be believed.
    pub fn read_unverified(pem: &[u8], roots: &Roots) -> Result<Self, Error> {
        Self::of(&Chain::read(pem, roots, PCK_CHAIN)?)
    }

    /// Whether the whole chain is valid at `at` (Unix milliseconds).
    pub fn check_time(&self, at: u64) -> Result<(), Error> {
        check_chain_time(&self.validity, at)
    }

    fn of(chain: &Chain) -> Result<Self, Error> {
        let [leaf, authority] = chain.certificates.as_slice() else {
            return Err(Error::ChainLength);
        };
        let issuer = pck_authority(authority).ok_or(Error::PckIssuer)?;
        if leaf.subject != PCK_CERTIFICATE {
            return Err(Error::PckSubject);
        }
        let extension = leaf.sgx_extension.as_deref().ok_or(Error::SgxExtensionMissing)?;
        let platform = crate::sgx_extension::Platform::read(extension)?;
        Ok(Self {
            root: chain.root,
            issuer,
            serial: leaf.serial.clone(),
            issuer_serial: authority.serial.clone(),
            public_key: leaf.public_key,
            ppid: platform.ppid,
            cpu_svn: platform.cpu_svn,
            tcb_components: platform.tcb_components,
            pce_svn: platform.pce_svn,
            pce_id: platform.pce_id,
            fmspc: platform.fmspc,
            sgx_type: platform.sgx_type,
            validity: chain.validity(),
        })
    }
}

/// A PEM chain that ends in a pinned root.
pub(crate) struct Chain {
    pub(crate) root: RootOfTrust,
    pub(crate) root_certificate: Certificate,
    /// Below the root, leaf first.
    pub(crate) certificates: Vec<Certificate>,
}

impl Chain {
    /// Reads a chain of as many certificates and looks its root up. No signature is checked.
    pub(crate) fn read(pem: &[u8], roots: &Roots, length: RangeInclusive<usize>) -> Result<Self, Error> {
        let ders = pem_certificates(pem)?;
        if !length.contains(&ders.len()) {
            return Err(Error::ChainLength);
        }
        let mut certificates = ders.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>()?;
        let (root_der, root_certificate) = ders.last().zip(certificates.pop()).ok_or(Error::ChainLength)?;
        let root = roots.find(root_der).ok_or(Error::RootUnknown)?;
        Ok(Self { root, root_certificate, certificates })
    }

    /// Checks names, constraints, key usage and signatures of a chain that ends in a leaf.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let (leaf, authorities) = self.certificates.split_first().ok_or(Error::ChainLength)?;
        leaf.check_leaf()?;
        let mut subject = leaf;
        for (below, authority) in authorities.iter().chain([&self.root_certificate]).enumerate() {
            authority.check_authority(below)?;
            subject.check_issued_by(authority)?;
            subject = authority;
        }
        Ok(())
    }

    /// Reads and checks the chain of a signer of TCB info or QE identity.
    pub(crate) fn verify_tcb_signer(pem: &[u8], roots: &Roots) -> Result<TcbSigner, Error> {
        let chain = Self::read(pem, roots, 2..=2)?;
        let [leaf] = chain.certificates.as_slice() else {
            return Err(Error::ChainLength);
        };
        if leaf.subject != TCB_SIGNING {
            return Err(Error::TcbSigner);
        }
        chain.verify()?;
        let signer = Signer { serial: leaf.serial.clone(), validity: chain.validity() };
        Ok(TcbSigner { root: chain.root, public_key: leaf.public_key, signer })
    }

    /// The time inside the validities of all certificates.
    pub(crate) fn validity(&self) -> Validity {
        let below = self.certificates.iter();
        below.fold(self.root_certificate.validity, |validity, certificate| validity.intersect(&certificate.validity))
    }
}

/// A verified signer of TCB info or QE identity.
pub(crate) struct TcbSigner {
    pub(crate) root: RootOfTrust,
    pub(crate) public_key: [u8; 64],
    pub(crate) signer: Signer,
}

/// Which of the authorities that issue PCK certificates this is by its name.
pub(crate) fn pck_authority(certificate: &Certificate) -> Option<CrlIssuer> {
    match certificate.subject.as_str() {
        PCK_PROCESSOR => Some(CrlIssuer::Processor),
        PCK_PLATFORM => Some(CrlIssuer::Platform),
        _ => None,
    }
}

pub(crate) fn check_chain_time(validity: &Validity, at: u64) -> Result<(), Error> {
    time::check(validity, at, Error::CertificateNotYetValid, Error::CertificateExpired)
}

/// Leaf, authority, root.
const PCK_CHAIN: RangeInclusive<usize> = 3..=3;
const PCK_CERTIFICATE: &str = "Intel SGX PCK Certificate";
const PCK_PROCESSOR: &str = "Intel SGX PCK Processor CA";
const PCK_PLATFORM: &str = "Intel SGX PCK Platform CA";
const TCB_SIGNING: &str = "Intel SGX TCB Signing";
