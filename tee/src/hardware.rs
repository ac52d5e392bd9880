//! Real environments, told apart by the devices that they offer.

use std::path::Path;

use crate::{Backend, Error, Tee};

/// Whatever hardware the process finds itself in. No backend is built yet, so that opening always says
/// [`Error::NoTee`] with what was looked for.
pub struct Hardware;

/// A sign of an environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// The environment.
    pub environment: &'static str,
    /// Where its device would be.
    pub path: &'static str,
    /// Whether it is there.
    pub present: bool,
}

impl Backend for Hardware {
    fn open(&self, _config: &[u8]) -> Result<Tee, Error> {
        let devices =
            DEVICES.map(|(environment, path)| Device { environment, path, present: Path::new(path).exists() });
        Err(Error::NoTee(devices.to_vec()))
    }
}

const DEVICES: [(&str, &str); 4] = [
    ("SGX under Gramine", "/dev/attestation/quote"),
    ("TDX", "/dev/tdx_guest"),
    ("SEV-SNP", "/dev/sev-guest"),
    ("Nitro", "/dev/nsm"),
];
