//! Any bytes as a file of collateral: alone, and in the place of one among the vendor's files. Whatever the files become is
//! verified with the recorded quote: sorting files must not make anything acceptable.
#![no_main]

use cloister_attestation::bundle::Assembler;
use cloister_attestation_fuzz::{Substitution, properties};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|substitution: Substitution| {
    properties::bundle_file(substitution.bytes);
    let recorded = substitution.recorded();
    for files in [vec![substitution.bytes], substitution.files()] {
        let mut assembler = Assembler::default();
        assembler.add_chain(recorded.pck_chain);
        // Who gives a file that cannot be read gets no collateral.
        if !files.into_iter().all(|file| assembler.add(file).is_ok()) {
            return;
        }
        if let Ok(collateral) = assembler.finish(Some(&recorded.subject)) {
            recorded.check_collateral(&collateral);
        }
    }
});
