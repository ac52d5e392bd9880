//! `cloister-enclave-simulated`: the trusted process as an ordinary one, for development. It proves nothing to anybody.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloister_enclave::main("cloister-enclave-simulated", &cloister_tee::sim::Simulated, &cloister_enclave::Payments)
}
