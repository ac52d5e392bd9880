//! The simulated environment: an ordinary process that takes the same road as real hardware and proves nothing.
//!
//! Its evidence is an SGX quote under the development root, whose private key is public, with fixed collateral of its own;
//! verifiers call it `TeeKind::Simulated`, and take it only where genesis allows simulation. Its fingerprint is what it
//! declares of itself. Its sealing keys follow from that fingerprint, so that sealed bytes are bound to code and
//! configuration as they are on hardware, but are no secret to whoever has the program.

use std::{fs::File, io::Read};

use cloister_chain_primitives::config::MeasuredConfig;
use cloister_claims::{Collateral, Evidence, TeeKind};
use cloister_synthetic_evidence::{Authority, Platform};
use codec::DecodeAll;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Attester, Backend, Error, OsEntropy, Purpose, Sealer, Tee};

/// The simulated environment.
pub struct Simulated;

impl Backend for Simulated {
    /// Measures the running binary and `config`.
    fn open(&self, config: &[u8]) -> Result<Tee, Error> {
        let config = MeasuredConfig::decode_all(&mut &*config).map_err(|_| Error::MalformedConfig)?;
        let binary = binary_hash().map_err(|error| Error::Measurement(error.to_string()))?;
        Ok(with_fingerprint(config.simulated_measurement(&binary)))
    }
}

/// A simulated environment that declares this fingerprint.
pub fn with_fingerprint(fingerprint: [u8; 32]) -> Tee {
    let simulation = Simulation { fingerprint };
    Tee { attester: Box::new(simulation), sealer: Box::new(simulation), entropy: Box::new(OsEntropy) }
}

#[derive(Clone, Copy)]
struct Simulation {
    fingerprint: [u8; 32],
}

impl Attester for Simulation {
    fn kind(&self) -> TeeKind {
        TeeKind::Simulated
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, Error> {
        // Evidence of one account comes from one platform at every start, without anything to keep for it.
        let (account, _) = report_data.split_at(32);
        let id = Sha256::new_with_prefix(PLATFORM_LABEL).chain_update(account).finalize().into();
        let (authority, platform) = (Authority::development(), Platform::sgx(id));
        let quote = cloister_synthetic_evidence::sgx_quote(&authority, &platform, &self.fingerprint, report_data);
        Ok(Evidence::Dcap(quote))
    }

    fn collateral(&self) -> Result<Option<Collateral>, Error> {
        // All simulated platforms are of one family, so that they share collateral.
        let collateral = cloister_synthetic_evidence::collateral(&Authority::development(), &Platform::sgx([0; 32]));
        Ok(Some(collateral))
    }
}

impl Sealer for Simulation {
    fn sealing_key(&self, purpose: Purpose) -> Result<Zeroizing<[u8; 32]>, Error> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(SEALING_LABEL), &self.fingerprint)
            .expand(purpose.label(), key.as_mut_slice())
            .map_err(|_| Error::SealingKey)?;
        Ok(key)
    }
}

/// SHA-256 of the running binary.
fn binary_hash() -> std::io::Result<[u8; 32]> {
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(hasher.finalize().into()),
            Some(chunk) => hasher.update(chunk),
        }
    }
}

const PLATFORM_LABEL: &[u8] = b"cloister/1 simulated platform";
const SEALING_LABEL: &[u8] = b"cloister/1 simulated sealing key";
