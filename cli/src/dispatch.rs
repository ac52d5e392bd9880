//! Which command does what.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::{
    Failure, Global, Program, Report, Session,
    args::{Cli, Command, OutboxCommand, ShardCommand, Trusted, WorkerCommand},
    attest::{self, Attest},
    audit, batch, chain, enclave, failure, fees, listen, manual, outbox, payments, public, shards, status, trusted,
    workers,
};

impl Program for Cli {
    fn global(&self) -> &Global {
        &self.global
    }

    async fn run(self, session: &Session) -> Result<Report, Failure> {
        let scheme = self.global.scheme;
        match self.command {
            Command::Balance { account } => public::balance(session, &account).await,
            Command::Transfer { from, to, amount, wait } => {
                public::transfer(session, &from, &to, amount, wait.into()).await
            }
            Command::SubmitCall { from, call, wait } => public::submit_call(session, &from, call.0, wait.into()).await,
            Command::NewAccount { show_phrase } => public::new_account(session, scheme, show_phrase),
            Command::ListAccounts => public::list_accounts(session),
            Command::ShieldFunds { from, to, amount, selection, wait } => {
                public::shield_funds(session, &from, &to, amount, &selection.into(), wait).await
            }
            Command::Unclaimed { account, shard } => outbox::unclaimed(session, &account, shard).await,
            Command::Claim { from, account, shard, wait } => {
                outbox::claim(session, &from, &account, shard, wait.into()).await
            }
            Command::Fees => fees::show(session).await,
            Command::Listen(args) => listen::listen(session, args).await,
            Command::Audit(args) => audit::audit(session, args).await,
            Command::Outbox { selection, command } => match command {
                OutboxCommand::List => outbox::list(session, &selection.into()).await,
                OutboxCommand::Settle { from, number, wait } => {
                    outbox::settle(session, &selection.into(), &from, number, wait.into()).await
                }
            },
            Command::Shard { command } => match command {
                ShardCommand::Show { shard } => shards::show(session, shard).await,
                ShardCommand::Config { root, maintenance, delay } => {
                    shards::config(session, &root, maintenance, delay).await
                }
                ShardCommand::Retire { root } => shards::retire(session, &root).await,
                ShardCommand::Limit { root, amount, period } => shards::limit(session, &root, amount, period).await,
            },
            Command::ListWorkers => workers::list(session).await,
            Command::Worker { command: WorkerCommand::Status { url, watch: false } } => status::show(&url).await,
            Command::Worker { command: WorkerCommand::Status { url, watch: true } } => {
                status::watch(&url, session.json).await
            }
            Command::Attest { command } => attest(session, command).await,
            Command::Trusted { selection, direct, command } => {
                let selection = selection.into();
                match command {
                    Trusted::Transfer(args) => payments::transfer(session, &selection, args, direct).await,
                    Trusted::TransferBatch(args) => batch::transfer(session, &selection, args).await,
                    Trusted::UnshieldFunds(args) => payments::unshield_funds(session, &selection, args, direct).await,
                    Trusted::Balance { account } => trusted::balance(session, &selection, &account).await,
                    Trusted::Nonce { account } => trusted::nonce(session, &selection, &account).await,
                    Trusted::Outcome { account, operation } => {
                        trusted::outcome(session, &selection, &account, operation).await
                    }
                    Trusted::Unshielding { account, number } => {
                        trusted::unshielding(session, &selection, &account, number).await
                    }
                    Trusted::NewAccount { show_phrase } => public::new_account(session, scheme, show_phrase),
                    Trusted::ListAccounts => public::list_accounts(session),
                    Trusted::GetShard => trusted::get_shard(session, &selection).await,
                    Trusted::GetShardVault => enclave::vault(session, &selection).await,
                    Trusted::GetFingerprint => enclave::fingerprint(session, &selection).await,
                    Trusted::GetHeader => enclave::header(session, &selection).await,
                    Trusted::InboxStatus => enclave::inbox(session, &selection).await,
                    Trusted::PendingCalls => enclave::pending(session, &selection).await,
                    Trusted::PrintMetadata { out } => enclave::metadata(session, &selection, out.as_deref()).await,
                    Trusted::RpcMethods => enclave::methods(session, &selection).await,
                    Trusted::Version => enclave::version(session, &selection).await,
                }
            }
            Command::GetHeader { block } => chain::header(session, block).await,
            Command::PrintMetadata { out } => chain::metadata(session, out.as_deref()).await,
            Command::Completions { shell } => Ok(manual::completions(shell)),
            Command::Man { command, out } => manual::pages(&command, out.as_deref()),
        }
    }

    /// 2 is the word of `attest verify` for a rejection.
    fn usage_code(arguments: &[OsString]) -> u8 {
        let matches = Self::command().ignore_errors(true).try_get_matches_from(arguments).ok();
        let names = matches.as_ref().and_then(|matches| {
            let (outer, matches) = matches.subcommand()?;
            Some((outer, matches.subcommand_name()?))
        });
        if names == Some(("attest", "verify")) { failure::COULD_NOT_RUN } else { failure::USAGE }
    }
}

async fn attest(session: &Session, command: Attest) -> Result<Report, Failure> {
    match command {
        Attest::Show { account, out } => attest::show(session, &account, out.as_deref()).await,
        Attest::Verify(args) => attest::verify(args, session.node_url_given.then_some(session.node_url.as_str())).await,
        Attest::Submit { from, collateral, wait } => attest::submit(session, &from, &collateral, wait.into()).await,
        Attest::Evict { from, account, wait } => attest::evict(session, &from, &account, wait.into()).await,
        Attest::Policy => attest::policy(session).await,
        Attest::SetPolicy { from, file, wait } => attest::set_policy(session, &from, &file, wait.into()).await,
    }
}
