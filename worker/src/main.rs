//! The untrusted host of an enclave: starts and feeds it, keeps what it gives, relays its clients' bytes, talks to
//! layer one, serves blocks, health and metrics, and gets the enclave registered. It sees no plaintext and holds no key
//! of the enclave, only its identity and its state sealed; whatever it tells the enclave, the enclave verifies.

mod admission;
mod alice;
mod blocks;
mod cli;
mod configuration;
mod enclave_process;
mod error;
mod finality;
mod funds;
mod http;
mod inbox;
mod inspect;
mod keeper;
mod launch;
mod layer_one;
mod listener;
mod open_files;
mod operator;
mod registration;
mod relay;
mod run;
mod sealed_identity;
mod session;
mod spending;
mod status;
mod submission;
#[cfg(test)]
mod testing;
mod watchdog;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let result = tokio::runtime::Runtime::new().map_err(error::WorkerError::Runtime).and_then(|runtime| {
        runtime.block_on(async {
            match &cli.command {
                cli::Command::Run(options) => run::run(options).await,
                cli::Command::Mrenclave(options) => inspect::mrenclave(options).await,
                cli::Command::SigningKey(options) => inspect::signing_key(options).await,
                cli::Command::ShieldingKey(options) => inspect::shielding_key(options).await,
                cli::Command::DumpRa(options) => inspect::dump_ra(options).await,
                cli::Command::MakeConfig(options) => configuration::make_config(options).await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
