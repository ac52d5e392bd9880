//! The command line `cloister`, and the parts that it is made of, for a command line of one's own.
//!
//! Trusts the user's own node and keystore. Secrets never come from the command line without a warning, and are never
//! printed unless asked for. An enclave is introduced to the user before anything is entrusted to it.
//!
//! A program of one's own takes [`Global`] and, if it speaks to a shard, [`SelectionArgs`] and [`CallArgs`] into its
//! arguments, and says what it does in [`Program::run`]; [`main`] does the rest: logging, `--json`, exit codes.
//!
//! ```no_run
//! use clap::Parser;
//! use cloister_cli::{Failure, Global, Program, Report, SelectionArgs, Session};
//!
//! /// Show how far a shard has come.
//! #[derive(Parser)]
//! struct Height {
//!     #[command(flatten)]
//!     global: Global,
//!     #[command(flatten)]
//!     selection: SelectionArgs,
//! }
//!
//! impl Program for Height {
//!     fn global(&self) -> &Global {
//!         &self.global
//!     }
//!
//!     async fn run(self, session: &Session) -> Result<Report, Failure> {
//!         let client = session.connect(&self.selection.into()).await?;
//!         let height = client.block_number().await?;
//!         Ok(Report::default().field_as("height", height, height))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     cloister_cli::main::<Height>()
//! }
//! ```
#![warn(missing_docs)]

mod accounts;
mod address;
pub mod amount;
mod args;
mod attest;
mod audit;
mod batch;
mod chain;
mod console;
mod delivery;
mod dispatch;
mod enclave;
pub mod failure;
mod fees;
mod keystore;
mod listen;
mod manual;
mod outbox;
mod output;
mod payments;
mod program;
mod public;
mod session;
mod shards;
mod status;
mod time;
mod trusted;
mod workers;

pub use accounts::Accounts;
pub use args::{CallArgs, Cli, Global, SelectionArgs, parse_bytes, parse_hash, parse_shard};
pub use console::{Console, Waiting};
pub use delivery::Delivery;
pub use failure::Failure;
pub use keystore::{Keystore, StoredKey};
pub use manual::command;
pub use output::{Report, printable};
pub use program::{Program, main};
pub use public::{extrinsic_report, payment_report};
pub use session::Session;
