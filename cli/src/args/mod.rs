//! The command line.

mod bridge;
#[cfg(test)]
mod tests;
mod waits;

use std::{path::PathBuf, str::FromStr};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use cloister_client::{Balance, H256, Scheme, ShardId};

use crate::{
    amount,
    attest::Attest,
    status::{StatusUrl, parse_status_url},
};

pub use bridge::{AuditArgs, Limit, ListenArgs, OutboxCommand, RootArgs, ShardCommand, Switch};
pub use waits::{ShieldWaitFor, TrustedWaitFor, UnshieldWaitFor, WaitFor};

/// Public and confidential accounts of Cloister.
#[derive(Parser, Debug)]
#[command(name = "cloister", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug)]
pub struct Global {
    /// Your own node of layer one: what it says is finalized is believed
    #[arg(
        long,
        global = true,
        env = "CLOISTER_NODE_URL",
        default_value = "ws://127.0.0.1:9944",
        value_name = "URL",
        value_parser = parse_node_url
    )]
    pub node_url: String,
    /// Whether the node stands on the command line.
    #[arg(skip)]
    pub node_url_given: bool,
    /// A worker's trusted port; its TLS key must be the one that layer one records
    #[arg(
        long,
        global = true,
        env = "CLOISTER_WORKER_URL",
        default_value = "wss://127.0.0.1:2000",
        value_name = "URL"
    )]
    pub worker_url: String,
    /// Print one JSON object on standard output, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Directory of your keys [default: cloister/keystore in XDG_DATA_HOME or ~/.local/share]
    #[arg(long, global = true, value_name = "DIR")]
    pub keystore: Option<PathBuf>,
    /// File with the secret that an account named `-` means
    #[arg(long, global = true, value_name = "FILE")]
    pub suri_file: Option<PathBuf>,
    /// Kind of key that a secret stands for
    #[arg(long, global = true, value_enum, default_value = "sr25519")]
    pub scheme: SchemeName,
    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show an account of layer one
    Balance {
        /// SS58, 0x and public key, //Alice, or - for a secret
        account: String,
    },
    /// Pay on layer one, publicly
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
    /// Sign a call of layer one that is encoded already, and submit it
    ///
    /// For calls that have no command of their own.
    SubmitCall {
        /// Who signs
        from: String,
        /// The SCALE-encoded call in hex; you vouch for it with your signature
        #[arg(value_parser = parse_call)]
        call: EncodedCall,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
    /// Make a key and keep it in the keystore
    NewAccount {
        /// Also print the secret phrase
        #[arg(long)]
        show_phrase: bool,
    },
    /// List the keys in the keystore and the development accounts
    ListAccounts,
    /// Move money from layer one into a confidential account; the amount is public, the beneficiary is not
    ///
    /// What the shard cannot credit comes back to who paid, less its fee for that. Ends with 4 then.
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
    /// Show what shards and layer one charge
    Fees,
    /// Follow the finalized blocks of layer one, and print what happens to enclaves and shards
    ///
    /// One line per event, with --json one object; ends with Ctrl-C.
    Listen(ListenArgs),
    /// Check a shard's books against layer one
    ///
    /// Reads the shard's blocks from a worker's untrusted port and everything else from your own node, at one finalized
    /// block. Ends with 5 if something does not agree.
    Audit(AuditArgs),
    /// What a shard owes on layer one
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
    /// List the enclaves that layer one has attested
    ListWorkers,
    /// A worker that you run
    Worker {
        #[command(subcommand)]
        command: WorkerCommand,
    },
    /// Evidence of enclaves: show it, verify it, keep the registry in order
    Attest {
        #[command(subcommand)]
        command: Attest,
    },
    /// Calls and queries of a shard, which only its enclave can read
    Trusted {
        #[command(flatten)]
        selection: SelectionArgs,
        /// Send the call straight to the enclave, which is faster, and not through layer one's inbox
        #[arg(long, global = true)]
        direct: bool,
        #[command(subcommand)]
        command: Trusted,
    },
}

#[derive(Subcommand, Debug)]
pub enum Trusted {
    /// Pay on the shard, privately
    ///
    /// Through layer one's inbox, which no worker can pass over, and whose fee is public; with --direct straight to the
    /// enclave, for the shard's small fee.
    Transfer(TransferArgs),
    /// Move money from a confidential account to layer one; beneficiary and amount are public, the payer is not
    ///
    /// Layer one pays it once the shard's block is anchored, or refuses it, and the shard credits it again: ends with 4
    /// then. The shard's fee is kept. What is over the outflow limit of a period is paid in the next one.
    UnshieldFunds(UnshieldArgs),
    /// Show your confidential account
    Balance {
        /// Whose; its key must be at hand
        account: String,
    },
    /// Show the next nonce of your confidential account
    Nonce {
        /// Whose; its key must be at hand
        account: String,
    },
    /// Show the shard that the worker serves, as layer one records it
    GetShard,
}

#[derive(Subcommand, Debug)]
pub enum WorkerCommand {
    /// Show how a worker is, as its host says
    ///
    /// Ends with 3 if the worker answers, but its enclave serves no calls now.
    Status {
        /// The worker's health port
        #[arg(
            long,
            env = "CLOISTER_WORKER_STATUS_URL",
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

#[derive(Args, Debug)]
pub struct TransferArgs {
    #[command(flatten)]
    pub payment: PaymentArgs,
    /// How far to wait
    #[arg(long, value_enum, default_value = "in-block")]
    pub wait: TrustedWaitFor,
}

#[derive(Args, Debug)]
pub struct UnshieldArgs {
    #[command(flatten)]
    pub payment: PaymentArgs,
    /// How far to wait
    #[arg(long, value_enum, default_value = "settled")]
    pub wait: UnshieldWaitFor,
}

/// Of both ways to pay from a confidential account.
#[derive(Args, Debug)]
pub struct PaymentArgs {
    /// Who pays
    pub from: String,
    /// Who is paid
    pub to: String,
    /// Like 1000, 0.5, 300UNIT or 123planck
    #[arg(value_parser = amount::parse)]
    pub amount: Balance,
    /// How long shard and, afterwards, layer one may take for it
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    /// Who pays layer one's fee of a call through the inbox [default: FROM]
    #[arg(long, value_name = "ACCOUNT")]
    pub payer: Option<String>,
}

#[derive(Args, Debug)]
pub struct SelectionArgs {
    /// The shard, in 0x hex or base58; otherwise the one that the worker serves
    #[arg(long, global = true, value_parser = parse_shard)]
    pub shard: Option<ShardId>,
    /// Refuse shards whose enclaves have another fingerprint, only simulate this one, or run in debug mode
    #[arg(long, global = true, value_name = "HEX")]
    pub mrenclave: Option<H256>,
    /// With --mrenclave: a simulated enclave will do, though nothing proves its fingerprint
    #[arg(long, global = true)]
    pub allow_simulated: bool,
    /// With --mrenclave: debug mode will do, though the enclave's host can read and change everything in it
    #[arg(long, global = true)]
    pub allow_debug: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SchemeName {
    Sr25519,
    Ed25519,
}

impl From<SchemeName> for Scheme {
    fn from(name: SchemeName) -> Self {
        match name {
            SchemeName::Sr25519 => Self::Sr25519,
            SchemeName::Ed25519 => Self::Ed25519,
        }
    }
}

impl SchemeName {
    /// As it is written.
    pub fn name(scheme: Scheme) -> &'static str {
        match scheme {
            Scheme::Sr25519 => "sr25519",
            Scheme::Ed25519 => "ed25519",
            Scheme::Ecdsa => "ecdsa",
        }
    }
}

fn parse_node_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"));
    match rest.is_some_and(|rest| !rest.is_empty()) {
        true => Ok(text.into()),
        false => Err("a node's address is like ws://host:port or wss://host:port"),
    }
}

/// A SCALE-encoded call.
#[derive(Clone, Debug)]
pub struct EncodedCall(pub Vec<u8>);

fn parse_call(text: &str) -> Result<EncodedCall, String> {
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|error| error.to_string())?;
    match bytes.len() {
        // Pallet and call index at least.
        0 | 1 => Err("a call has two bytes at least".into()),
        _ => Ok(EncodedCall(bytes)),
    }
}

fn parse_shard(text: &str) -> Result<ShardId, String> {
    if text.starts_with("0x") {
        return H256::from_str(text).map(ShardId).map_err(|_| "a shard in hex is 0x and 64 digits".into());
    }
    let bytes = bs58::decode(text).into_vec().ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(|bytes| ShardId(H256(bytes))).ok_or_else(|| "a shard is 32 bytes in 0x hex or base58".into())
}

const AFTER_HELP: &str = "\
Accounts: an SS58 address or 0x and a public key (keys for signing come from the keystore); a development account like
//Alice; or - for a secret phrase that is read from --suri-file, from CLOISTER_SURI or from standard input.

Amounts: decimal UNIT like 1000, 0.5 or 300UNIT, or planck like 123planck (1 UNIT = 10^12 planck). In JSON, amounts are
planck in decimal strings.

Exit codes:
  0  done
  1  could not run, or how it ended is not known: no connection, no answer in time, an answer that cannot be believed,
     no access to a file. What was sent by then may count all the same: look before you send it again
  2  wrong usage or input
  3  refused by the chain or the shard, or by what the chain says about the enclave; of `worker status`: it does not serve
  4  refused at the other end, and the money came back: an unshielding by layer one, a shielding by the shard
  5  of `audit`: something does not agree
`attest verify` has its own: 0 accepted, 1 could not run (wrong usage too), 2 rejected.

Variables: CLOISTER_NODE_URL, CLOISTER_WORKER_URL, CLOISTER_WORKER_STATUS_URL, CLOISTER_WORKER_BLOCKS_URL, CLOISTER_SURI,
XDG_DATA_HOME.";
