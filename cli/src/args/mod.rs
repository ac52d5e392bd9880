//! The command line.

mod bridge;
mod examples;
mod global;
#[cfg(test)]
mod tests;
mod trusted;
mod values;
mod waits;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use cloister_client::{Balance, BlockNumber, ShardId};

use crate::{
    amount,
    attest::Attest,
    status::{StatusUrl, parse_status_url},
};

pub use bridge::{AuditArgs, Limit, ListenArgs, OutboxCommand, RootArgs, ShardCommand, Switch};
pub use global::{Global, SchemeName};
pub use trusted::{BatchArgs, CallArgs, PaymentArgs, SelectionArgs, TransferArgs, Trusted, UnshieldArgs};
pub use values::{EncodedCall, parse_bytes, parse_hash, parse_shard};
pub use waits::{ShieldWaitFor, TrustedWaitFor, UnshieldWaitFor, WaitFor};

/// Public and confidential accounts of Cloister
///
/// Layer one is a public chain: it holds the money, and a registry of enclaves whose evidence it has verified. A shard
/// is a ledger that only such an enclave can read. `shield-funds` moves money into a shard, `trusted` pays and asks
/// there, `trusted unshield-funds` moves it out again.
#[derive(Parser, Debug)]
#[command(
    name = "cloister",
    bin_name = "cloister",
    version,
    after_help = examples::CLOISTER,
    after_long_help = examples::CLOISTER_LONG,
    // The examples are laid out for it.
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show an account of layer one
    ///
    /// What it has at the node's newest block, which may still be replaced. `trusted balance` shows a confidential one.
    #[command(after_long_help = examples::BALANCE)]
    Balance {
        /// Whose: SS58, 0x and public key, //Alice, or - for a secret
        account: String,
    },
    /// Pay on layer one, publicly
    #[command(after_long_help = examples::TRANSFER)]
    Transfer {
        /// Who pays
        from: String,
        /// Who is paid
        to: String,
        /// Like 1000, 0.5, 300UNIT or 123planck
        #[arg(value_parser = amount::parse)]
        amount: Balance,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
    /// Move money from layer one into a confidential account; the amount is public, the beneficiary is not
    ///
    /// What the shard cannot credit comes back to who paid, less its fee for that. Ends with 4 then.
    #[command(after_long_help = examples::SHIELD_FUNDS)]
    ShieldFunds {
        /// Who pays on layer one
        from: String,
        /// Who is credited on the shard
        to: String,
        /// Like 1000, 0.5, 300UNIT or 123planck
        #[arg(value_parser = amount::parse)]
        amount: Balance,
        #[command(flatten)]
        selection: SelectionArgs,
        /// How long to wait
        #[arg(long, value_enum, default_value = "credited")]
        wait: ShieldWaitFor,
    },
    /// Calls and queries of a shard, which only its enclave can read
    ///
    /// A query is signed by the account that it is about, and its answer by the enclave. A call goes through layer
    /// one's inbox, which no worker can pass over; with --direct straight to the enclave, which is faster.
    #[command(after_long_help = examples::TRUSTED)]
    Trusted {
        #[command(flatten)]
        selection: SelectionArgs,
        /// Send a call straight to the enclave, which is faster, and not through layer one's inbox; queries always
        /// go there
        #[arg(long, global = true)]
        direct: bool,
        #[command(subcommand)]
        command: Trusted,
    },
    /// Make a key and keep it in the keystore
    ///
    /// One key serves on layer one and on every shard. Whoever has its file has its money: directory and file are for
    /// their owner only, and nothing else encrypts them.
    #[command(after_long_help = examples::NEW_ACCOUNT)]
    NewAccount {
        /// Also print the secret phrase
        #[arg(long)]
        show_phrase: bool,
    },
    /// List the keys in the keystore and the development accounts
    ListAccounts,
    /// Show what shards and layer one charge
    Fees,
    /// Show what a shard owes to an account that layer one could not pay
    Unclaimed {
        /// Whose
        account: String,
        /// The shard, in 0x hex or base58 [default: the one that the worker serves]
        #[arg(long, value_parser = parse_shard)]
        shard: Option<ShardId>,
    },
    /// Claim what a shard owes to an account that could not be paid
    ///
    /// An account that does not exist takes no less than the existential deposit. What a retired shard or a returned
    /// shielding owes it stays claimable for ever, and anybody may have it paid.
    Claim {
        /// Who signs and pays layer one's fee
        from: String,
        /// Who is paid
        account: String,
        /// The shard, in 0x hex or base58 [default: the one that the worker serves]
        #[arg(long, value_parser = parse_shard)]
        shard: Option<ShardId>,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
    /// What a shard owes on layer one
    ///
    /// Every unshielding is an entry of the shard's outbox until layer one has paid or refused it. The enclave has it
    /// settled by itself; with these commands anybody can see to it.
    Outbox {
        #[command(flatten)]
        selection: SelectionArgs,
        #[command(subcommand)]
        command: OutboxCommand,
    },
    /// A shard on layer one: show it, maintain it, end it
    Shard {
        #[command(subcommand)]
        command: ShardCommand,
    },
    /// Check a shard's books against layer one
    ///
    /// Reads the shard's blocks from a worker's untrusted port and everything else from your own node, at one finalized
    /// block. Ends with 5 if something does not agree.
    #[command(after_long_help = examples::AUDIT)]
    Audit(AuditArgs),
    /// List the enclaves that layer one has attested
    ///
    /// With the kind of hardware, the state of its evidence and the fingerprint of the code (MRENCLAVE), which you
    /// compare with that of a build that you trust, and then demand with --mrenclave.
    #[command(after_long_help = examples::LIST_WORKERS)]
    ListWorkers,
    /// Evidence of enclaves: show it, verify it, keep the registry in order
    Attest {
        #[command(subcommand)]
        command: Attest,
    },
    /// A worker that you run
    Worker {
        #[command(subcommand)]
        command: WorkerCommand,
    },
    /// Follow the finalized blocks of layer one, and print what happens to enclaves and shards
    ///
    /// One line per event, with --json one object; ends with Ctrl-C.
    #[command(after_long_help = examples::LISTEN)]
    Listen(ListenArgs),
    /// Show the header of a block of layer one
    GetHeader {
        /// Height of the block [default: the newest finalized one]
        block: Option<BlockNumber>,
    },
    /// Print the metadata of layer one's runtime, SCALE-encoded in hex
    ///
    /// What tools like subxt or polkadot-api generate their types from.
    #[command(after_long_help = examples::PRINT_METADATA)]
    PrintMetadata {
        /// Write the bytes into this file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Sign a call of layer one that is encoded already, and submit it
    ///
    /// For calls that have no command of their own.
    #[command(after_long_help = examples::SUBMIT_CALL)]
    SubmitCall {
        /// Who signs
        from: String,
        /// The SCALE-encoded call in hex; you vouch for it with your signature
        #[arg(value_parser = values::parse_call)]
        call: EncodedCall,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
    /// Print the script by which a shell completes this command line
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a page of the manual, or write all of them
    #[command(after_long_help = examples::MAN)]
    Man {
        /// Of this command, like `trusted transfer` [default: of cloister itself]
        #[arg(conflicts_with = "out")]
        command: Vec<String>,
        /// Write the pages of all commands into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
pub enum WorkerCommand {
    /// Show how a worker is, as its host says
    ///
    /// Ends with 3 if the worker answers, but its enclave serves no calls now.
    #[command(after_long_help = examples::WORKER_STATUS)]
    Status {
        /// The worker's health port
        #[arg(
            long,
            env = "CLOISTER_WORKER_STATUS_URL",
            hide_env_values = true,
            default_value = "http://127.0.0.1:4545",
            value_name = "URL",
            value_parser = parse_status_url
        )]
        url: StatusUrl,
        /// Show it anew each second, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
}
