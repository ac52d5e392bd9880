//! Any bytes for the targets of `tests/properties`: hostile contents with a rightful signature.
#![no_main]

use cloister_attestation_fuzz::PropertyInput;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: PropertyInput| input.check());
