//! Authorities: a root and the certificates that Intel's has below it.

use crate::{
    certificate::{Certificate, Certified, Role, pem},
    key::Key,
};

/// A root of trust and who is certified under it. Every certificate may be changed; whatever is built from the authority
/// later carries the change.
#[derive(Clone)]
pub struct Authority {
    /// The root.
    pub root: Certified,
    /// Issues PCK certificates of single-package platforms.
    pub processor_ca: Certified,
    /// Issues PCK certificates of multi-package platforms.
    pub platform_ca: Certified,
    /// Signs TCB info and identities of quoting enclaves.
    pub tcb_signing: Certified,
}

/// Who issues a platform's PCK certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PckIssuer {
    /// Intel SGX PCK Processor CA.
    Processor,
    /// Intel SGX PCK Platform CA.
    Platform,
}

/// Seed of the development root: everybody has its private key, so that evidence under it proves nothing.
pub const DEVELOPMENT_SEED: [u8; 32] = *b"cloister public development root";

impl Authority {
    /// The development root, pinned as `attestation/src/roots/development-root-ca.der`.
    pub fn development() -> Self {
        Self::new(&DEVELOPMENT_SEED, "Cloister Development Root CA")
    }

    /// A root of one's own. Whoever knows the seed has its keys.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self::new(&seed, "Cloister Synthetic Root CA")
    }

    fn new(seed: &[u8; 32], root_name: &str) -> Self {
        let root_key = Key::from_seed(seed, "root");
        let below = |name: &str, role| {
            let key = Key::from_seed(seed, name);
            let certificate = Certificate::new(name, &key, root_name, &root_key, role);
            Certified { key, certificate }
        };
        Self {
            processor_ca: below("Intel SGX PCK Processor CA", Role::Authority(0)),
            platform_ca: below("Intel SGX PCK Platform CA", Role::Authority(0)),
            tcb_signing: below("Intel SGX TCB Signing", Role::Leaf),
            root: Certified {
                certificate: Certificate::new(root_name, &root_key, root_name, &root_key, Role::Authority(1)),
                key: root_key.clone(),
            },
        }
    }

    /// The root's certificate in DER.
    pub fn root_der(&self) -> Vec<u8> {
        self.root.certificate.der(&self.root.key)
    }

    /// The authority that issues PCK certificates.
    pub fn pck_ca(&self, issuer: PckIssuer) -> &Certified {
        match issuer {
            PckIssuer::Processor => &self.processor_ca,
            PckIssuer::Platform => &self.platform_ca,
        }
    }

    /// The same, to change it.
    pub fn pck_ca_mut(&mut self, issuer: PckIssuer) -> &mut Certified {
        match issuer {
            PckIssuer::Processor => &mut self.processor_ca,
            PckIssuer::Platform => &mut self.platform_ca,
        }
    }

    /// PEM chain of the authority that issues PCK certificates, up to the root: comes with its revocation list.
    pub fn pck_ca_chain(&self, issuer: PckIssuer) -> Vec<u8> {
        pem(&[self.pck_ca(issuer).certificate.der(&self.root.key), self.root_der()])
    }
}
