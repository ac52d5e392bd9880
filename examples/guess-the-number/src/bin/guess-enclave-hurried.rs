//! `guess-enclave-hurried`: the same with rounds of twenty seconds.

use std::process::ExitCode;

use cloister_enclave::WithApp;
use guess_the_number::GuessTheNumber;

fn main() -> ExitCode {
    cloister_enclave::main("guess-enclave-hurried", &cloister_tee::sim::Simulated, &WithApp(GuessTheNumber::HURRIED))
}
