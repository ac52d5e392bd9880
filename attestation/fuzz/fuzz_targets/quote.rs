//! Any bytes as a quote, under recorded collateral.
#![no_main]

use cloister_attestation::subject;
use cloister_attestation_fuzz::RECORDED;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|quote: &[u8]| {
    for recorded in RECORDED.iter() {
        let _ = subject(quote, &recorded.roots);
        recorded.check_quote(quote);
    }
});
