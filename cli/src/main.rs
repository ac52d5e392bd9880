//! `cloister`: public and confidential accounts from the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloister_cli::main::<cloister_cli::Cli>()
}
