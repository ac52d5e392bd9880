//! Any bytes as one part of a recorded document, which is verified by itself, as layer one registers it. Less costs a
//! signature here than in `collateral`, so that parsers see more.
#![no_main]

use cloister_attestation_fuzz::Substitution;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|substitution: Substitution| {
    if let Some(collateral) = substitution.collateral() {
        substitution.recorded().check_document(&collateral, substitution.part());
    }
});
