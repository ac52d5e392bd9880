//! `cloister`: public and confidential accounts from the command line.
//!
//! Trusts the user's own node and keystore. Secrets never come from the command line without a warning, and are never
//! printed unless asked for.

mod accounts;
mod amount;
mod args;
mod attest;
mod audit;
mod failure;
mod fees;
mod keystore;
mod listen;
mod outbox;
mod output;
mod payments;
mod public;
mod shards;
mod status;
mod time;
mod trusted;
mod workers;

use std::{io::IsTerminal, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, parser::ValueSource};
use cloister_claims::Stance;
use cloister_client::{Selection, WantedCode};
use tracing_subscriber::EnvFilter;

use accounts::Accounts;
use args::{Cli, Command, Global, OutboxCommand, SelectionArgs, ShardCommand, Trusted, WorkerCommand};
use attest::Attest;
use failure::Failure;
use keystore::Keystore;
use output::Report;

/// What every command works with.
pub struct Session {
    node_url: String,
    worker_url: String,
    accounts: Accounts,
}

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(report) => {
            let code = report.code();
            report.print(json);
            ExitCode::from(code)
        }
        Err(failure) => {
            output::print_failure(&failure, json);
            ExitCode::from(failure.code)
        }
    }
}

fn parse() -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let mut innermost = &matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    cli.global.node_url_given = innermost.value_source("node_url") == Some(ValueSource::CommandLine);
    Ok(cli)
}

fn run(cli: Cli) -> Result<Report, Failure> {
    start_log(cli.global.verbose);
    let scheme = cli.global.scheme;
    let (node_url_given, json) = (cli.global.node_url_given, cli.global.json);
    let session = Session::new(cli.global);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::could_not_run)?;
    runtime.block_on(async {
        match cli.command {
            Command::Balance { account } => public::balance(&session, &account).await,
            Command::Transfer { from, to, amount, wait } => {
                public::transfer(&session, &from, &to, amount, wait.into()).await
            }
            Command::SubmitCall { from, call, wait } => public::submit_call(&session, &from, call.0, wait.into()).await,
            Command::NewAccount { show_phrase } => public::new_account(&session, scheme, show_phrase),
            Command::ListAccounts => public::list_accounts(&session),
            Command::ShieldFunds { from, to, amount, selection, wait } => {
                public::shield_funds(&session, &from, &to, amount, &selection.into(), wait).await
            }
            Command::Claim { from, account, shard, wait } => {
                outbox::claim(&session, &from, &account, shard, wait.into()).await
            }
            Command::Fees => fees::show(&session).await,
            Command::Listen(args) => listen::listen(&session, args, json).await,
            Command::Audit(args) => audit::audit(&session, args).await,
            Command::Outbox { selection, command } => match command {
                OutboxCommand::List => outbox::list(&session, &selection.into()).await,
                OutboxCommand::Settle { from, number, wait } => {
                    outbox::settle(&session, &selection.into(), &from, number, wait.into()).await
                }
            },
            Command::Shard { command } => match command {
                ShardCommand::Show { shard } => shards::show(&session, shard).await,
                ShardCommand::Config { root, maintenance, delay } => {
                    shards::config(&session, &root, maintenance, delay).await
                }
                ShardCommand::Retire { root } => shards::retire(&session, &root).await,
                ShardCommand::Limit { root, amount, period } => shards::limit(&session, &root, amount, period).await,
            },
            Command::ListWorkers => workers::list(&session).await,
            Command::Worker { command: WorkerCommand::Status { url, watch: false } } => status::show(&url).await,
            Command::Worker { command: WorkerCommand::Status { url, watch: true } } => status::watch(&url, json).await,
            Command::Attest { command } => match command {
                Attest::Show { account, out } => attest::show(&session, &account, out.as_deref()).await,
                Attest::Verify(args) => attest::verify(args, node_url_given.then_some(session.node_url.as_str())).await,
                Attest::Submit { from, collateral, wait } => {
                    attest::submit(&session, &from, &collateral, wait.into()).await
                }
                Attest::Evict { from, account, wait } => attest::evict(&session, &from, &account, wait.into()).await,
                Attest::Policy => attest::policy(&session).await,
                Attest::SetPolicy { from, file, wait } => attest::set_policy(&session, &from, &file, wait.into()).await,
            },
            Command::Trusted { selection, direct, command } => {
                let selection = selection.into();
                match command {
                    Trusted::Transfer(args) => payments::transfer(&session, &selection, args, direct).await,
                    Trusted::UnshieldFunds(args) => payments::unshield_funds(&session, &selection, args, direct).await,
                    Trusted::Balance { account } => trusted::balance(&session, &selection, &account).await,
                    Trusted::Nonce { account } => trusted::nonce(&session, &selection, &account).await,
                    Trusted::GetShard => trusted::get_shard(&session, &selection).await,
                }
            }
        }
    })
}

impl Session {
    fn new(global: Global) -> Self {
        let keystore = Keystore::new(global.keystore.as_deref());
        let accounts = Accounts { keystore, scheme: global.scheme.into(), suri_file: global.suri_file };
        Self { node_url: global.node_url, worker_url: global.worker_url, accounts }
    }
}

impl From<SelectionArgs> for Selection {
    fn from(args: SelectionArgs) -> Self {
        let stance = |allowed| if allowed { Stance::Allowed } else { Stance::Forbidden };
        let (simulation, debug) = (stance(args.allow_simulated), stance(args.allow_debug));
        let mrenclave = args.mrenclave.map(|code| WantedCode { fingerprint: code.0, simulation, debug });
        Self { shard: args.shard, mrenclave }
    }
}

/// Help and version go where clap sends them. Wrong usage is one JSON object if `--json` is among the arguments, which
/// clap could not read.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let usage = if verifies() { failure::COULD_NOT_RUN } else { failure::USAGE };
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let failure = Failure { code: usage, ..Failure::usage(usage_message(&error.to_string())) };
        output::print_failure(&failure, true);
    } else {
        // A reader that has closed the stream wants no help.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(usage) } else { ExitCode::SUCCESS }
}

/// Whether the command is `attest verify`, as far as a command line that clap refused tells.
fn verifies() -> bool {
    let matches = Cli::command().ignore_errors(true).try_get_matches().ok();
    let names = matches.as_ref().and_then(|matches| {
        let (outer, matches) = matches.subcommand()?;
        Some((outer, matches.subcommand_name()?))
    });
    names == Some(("attest", "verify"))
}

/// The first paragraph of clap's text, which may list the arguments that are missing, in one line.
fn usage_message(text: &str) -> String {
    let paragraph: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ").trim_start_matches("error: ").to_string()
}

/// RUST_LOG says more exactly what `-v` says roughly.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "cloister=info,cloister_client=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
