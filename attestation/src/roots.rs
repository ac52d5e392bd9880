//! Roots of trust: whole certificates, pinned by hash. Their signatures over themselves prove nothing and are not looked at.

use alloc::{vec, vec::Vec};

use cloister_claims::Error;
use sha2::{Digest, Sha256};

use crate::{certificate::Certificate, collateral::RootOfTrust};

/// Accepted roots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots(Vec<(RootOfTrust, [u8; 32])>);

impl Roots {
    /// Intel's only.
    pub fn intel() -> Self {
        Self(vec![(RootOfTrust::Intel, Sha256::digest(INTEL).into())])
    }

    /// Intel's and the development root.
    pub fn intel_and_development() -> Self {
        let mut roots = Self::intel();
        roots.0.push((RootOfTrust::Development, Sha256::digest(DEVELOPMENT).into()));
        roots
    }

    /// Roots of one's own: DER certificates.
    pub fn new(roots: &[(RootOfTrust, &[u8])]) -> Result<Self, Error> {
        let pin = |(root, der): &(RootOfTrust, &[u8])| {
            Certificate::from_der(der)?;
            Ok((*root, Sha256::digest(der).into()))
        };
        roots.iter().map(pin).collect::<Result<_, _>>().map(Self)
    }

    /// Which root a DER certificate is.
    pub fn find(&self, der: &[u8]) -> Option<RootOfTrust> {
        let hash: [u8; 32] = Sha256::digest(der).into();
        self.0.iter().find(|(_, pinned)| *pinned == hash).map(|(root, _)| *root)
    }
}

/// Intel SGX Root CA, DER.
pub const INTEL: &[u8] = include_bytes!("roots/intel-sgx-root-ca.der");

/// The development root, DER. Its private key is public: whatever hangs on it is simulated and proves nothing.
pub const DEVELOPMENT: &[u8] = include_bytes!("roots/development-root-ca.der");
