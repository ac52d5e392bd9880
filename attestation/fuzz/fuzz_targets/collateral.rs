//! Any bytes as one part of recorded collateral, verified with the recorded quote: body, signature, issuer chain or revocation
//! list.
#![no_main]

use cloister_attestation_fuzz::Substitution;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|substitution: Substitution| {
    if let Some(collateral) = substitution.collateral() {
        substitution.recorded().check_collateral(&collateral);
    }
});
