//! The trusted process: everything that must be trusted and nothing else.
//!
//! It has one channel, the link, which the host passes as standard input; it opens no socket and no file but what its
//! environment ([`cloister_tee`]) needs. There are no options: whatever decides its security is in the measured
//! configuration, and which environments it can run in is decided by who links it ([`main`]), never by the host.
//! Logs go to standard error and say nothing about users.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

mod actor;
mod clients;
mod identity;
mod reception;
mod setup;

use std::{io::IsTerminal, process::ExitCode};

use clap::Command;
use cloister_link::{
    message::{PROTOCOL, StopReason, ToEnclave, ToHost},
    transport::{self, Receiver, Sender},
};
use cloister_stf::Program;
pub use cloister_stf::{App, Payments, WithApp};
use cloister_tee::Backend;
use tokio::{
    net::UnixStream,
    runtime::{Builder, Handle},
};

/// Runs the process `name` in the environment that `backend` opens, with calls that do what `program` says, from the host's first message to the end.
pub fn main(name: &'static str, backend: &dyn Backend, program: &'static dyn Program) -> ExitCode {
    Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Cloister's trusted process. Started by cloister-worker, with the link as standard input.")
        .get_matches();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new("info"))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // A panic's message may hold what a call carried; the place says enough. It ends at the boundary around the call.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(place = panic.location().map(ToString::to_string), "a panic was caught");
    }));
    let engine = Builder::new_multi_thread().enable_all().build();
    match engine.and_then(|engine| Ok((engine, reception::client_threads()?))) {
        Ok((engine, clients)) => {
            let code = engine.block_on(run(backend, program, clients.handle().clone()));
            // What a client's call still does has nobody to answer.
            clients.shutdown_background();
            code
        }
        Err(error) => {
            tracing::error!(%error, "no threads to run on");
            ExitCode::FAILURE
        }
    }
}

async fn run(backend: &dyn Backend, program: &'static dyn Program, client_threads: Handle) -> ExitCode {
    let stream = match transport::from_standard_input() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "standard input is no link: this program is started by cloister-worker");
            return ExitCode::FAILURE;
        }
    };
    let (sender, receiver) = transport::split::<_, ToHost, ToEnclave>(stream);
    let reason = serve(backend, program, &sender, receiver, client_threads).await;
    let requested = reason == StopReason::Requested;
    if !requested {
        tracing::error!(%reason, "stopped");
    }
    // The host may be gone; then nobody needs the reason.
    let _ = sender.send(ToHost::Stopped { reason }).await;
    let _ = sender.flush().await;
    if requested { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs from the first message to the end, and says why it ended.
async fn serve(
    backend: &dyn Backend,
    program: &'static dyn Program,
    sender: &Sender<ToHost>,
    mut receiver: Receiver<UnixStream, ToEnclave>,
    client_threads: Handle,
) -> StopReason {
    let start = match receiver.recv().await {
        Ok(ToEnclave::Start { protocol, .. }) if protocol != PROTOCOL => {
            return StopReason::Protocol(format!("the host speaks version {protocol}, this enclave {PROTOCOL}"));
        }
        Ok(ToEnclave::Start {
            config, shard, spec_version, transaction_version, sealed_identity, url, limits, ..
        }) => setup::Start { config, shard, spec_version, transaction_version, sealed_identity, url, limits },
        Ok(_) => return StopReason::Protocol("the first message must be Start".into()),
        Err(error) => return StopReason::Protocol(error.to_string()),
    };
    match setup::set_up(backend, program, start) {
        Ok(enclave) => actor::run(enclave, sender.clone(), receiver, client_threads).await,
        Err(error) => error.into(),
    }
}
