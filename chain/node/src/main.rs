// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Layer one's node: AURA authorship, GRANDPA finality and JSON-RPC around the runtime of `cloister-runtime`.
//!
//! The only crate that may use the GPL `sc-*` family; nothing trusted depends on it. Enclaves believe none of its
//! answers: whatever they take from a node they check against GRANDPA justifications and storage proofs.
#![allow(clippy::result_large_err, reason = "the error types of sc-cli and sc-service, made once in a process's life")]

mod author;
mod chain_spec;
mod cli;
mod command;
mod finality;
mod finality_proof;
mod rpc;
mod service;

fn main() -> sc_cli::Result<()> {
    command::run()
}
