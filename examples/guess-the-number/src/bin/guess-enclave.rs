//! `guess-enclave`: a shard's enclave that pays and plays, on a simulated TEE. One that proves itself takes another backend.

use std::process::ExitCode;

use cloister_enclave::WithApp;
use guess_the_number::GuessTheNumber;

fn main() -> ExitCode {
    cloister_enclave::main("guess-enclave", &cloister_tee::sim::Simulated, &WithApp(GuessTheNumber::WEEKLY))
}
