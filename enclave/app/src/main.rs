//! `cloister-enclave`: the trusted process on real hardware. Nothing else is in it, and no simulation.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloister_enclave::main("cloister-enclave", &cloister_tee::Hardware, &cloister_enclave::Payments)
}
