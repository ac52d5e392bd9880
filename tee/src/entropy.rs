//! Randomness of the environment's operating system.

use crate::{Entropy, Error};

/// The system's generator through aws-lc, which mixes in the processor's own (RDRAND): a lying kernel alone does not
/// know what comes out.
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| Error::Entropy)
    }
}
