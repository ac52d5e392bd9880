//! A simulated enclave whose environment gives no randomness: no identity can be drawn, and evidence fails twice.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
};

use cloister_claims::{Collateral, Evidence, TeeKind};
use cloister_tee::{Attester, Backend, Entropy, Error, Tee, sim::Simulated};

struct Starved;

impl Backend for Starved {
    fn open(&self, config: &[u8]) -> Result<Tee, Error> {
        let Tee { attester, sealer, .. } = Simulated.open(config)?;
        Ok(Tee { attester: Box::new(Failing(attester, AtomicU32::new(2))), sealer, entropy: Box::new(Self) })
    }
}

impl Entropy for Starved {
    fn fill(&self, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::Entropy)
    }
}

/// Fails so often.
struct Failing(Box<dyn Attester>, AtomicU32);

impl Attester for Failing {
    fn kind(&self) -> TeeKind {
        self.0.kind()
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint()
    }

    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, Error> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { Err(Error::Entropy) } else { self.0.evidence(report_data) }
    }

    fn collateral(&self) -> Result<Option<Collateral>, Error> {
        self.0.collateral()
    }
}

fn main() -> ExitCode {
    cloister_enclave::main("starved-enclave", &Starved, &cloister_enclave::Payments)
}
