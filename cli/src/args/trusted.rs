//! The command line of calls and queries of a shard.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cloister_claims::Stance;
use cloister_client::{Balance, H256, Nonce, Selection, ShardId, WantedCode};

use super::{
    TrustedWaitFor, UnshieldWaitFor, examples,
    values::{parse_fingerprint, parse_hash, parse_shard},
};
use crate::amount;

#[derive(Subcommand, Debug)]
pub enum Trusted {
    /// Pay on the shard, privately
    ///
    /// Through layer one's inbox, which no worker can pass over, and whose fee is public; with --direct straight to the
    /// enclave, for the shard's small fee.
    #[command(after_long_help = examples::TRUSTED_TRANSFER)]
    Transfer(TransferArgs),
    /// Pay many on the shard, privately, in one message; always straight to the enclave
    ///
    /// One payment a line: account and amount. Up to 128 go in one message, more one message after the other. Ends with
    /// 3 if one was not paid, with 1 if it is not known of one; after such a message no further one is sent.
    #[command(after_long_help = examples::TRANSFER_BATCH)]
    TransferBatch(BatchArgs),
    /// Move money from a confidential account to layer one; beneficiary and amount are public, the payer is not
    ///
    /// Layer one pays it once the shard's block is anchored, or refuses it, and the shard credits it again: ends with 4
    /// then. The shard's fee is kept. What is over the outflow limit of a period is paid in the next one.
    #[command(after_long_help = examples::UNSHIELD_FUNDS)]
    UnshieldFunds(UnshieldArgs),
    /// Show your confidential account
    Balance {
        /// Whose; its key must be at hand
        account: String,
    },
    /// Show the next nonce of your confidential account
    ///
    /// Once it is higher than that of a call, the call was executed.
    Nonce {
        /// Whose; its key must be at hand
        account: String,
    },
    /// Show what became of a call that you sent
    ///
    /// The shard remembers the calls of its last 1 000 blocks. Ends with 3 for one that it does not remember.
    #[command(after_long_help = examples::OUTCOME)]
    Outcome {
        /// Who sent it; its key must be at hand
        account: String,
        /// The operation's hash, as the call's report had it
        #[arg(value_parser = parse_hash)]
        operation: H256,
    },
    /// Show an unshielding of yours that layer one has not settled yet
    ///
    /// Ends with 3 for one that is settled, or that is not yours.
    Unshielding {
        /// Whose; its key must be at hand
        account: String,
        /// Its number in the shard's outbox, as its report had it
        number: u64,
    },
    /// Make a key and keep it in the keystore: the same as `cloister new-account`
    NewAccount {
        /// Also print the secret phrase
        #[arg(long)]
        show_phrase: bool,
    },
    /// List the keys in the keystore: the same as `cloister list-accounts`
    ListAccounts,
    /// Show the shard that the worker serves, as layer one records it
    GetShard,
    /// Show the account to pay to on layer one in order to shield, for shards that have one
    ///
    /// None has one yet: ends with 3. `cloister shield-funds` moves money to a shard.
    GetShardVault,
    /// Show the fingerprint of the enclave's code, as the enclave says
    ///
    /// In base58; layer one's word for it, which is the one that counts, is in `get-shard`.
    GetFingerprint,
    /// Show the header of the shard's newest block
    #[command(visible_alias = "get-sidechain-header")]
    GetHeader,
    /// Show how far the shard has come in layer one's inbox
    InboxStatus,
    /// List the calls that wait in the enclave's pool: their hashes, which is all that it tells anybody
    PendingCalls,
    /// Print the metadata of the shard's runtime, SCALE-encoded in hex
    #[command(visible_alias = "print-sgx-metadata")]
    PrintMetadata {
        /// Write the bytes into this file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the methods of the enclave's JSON-RPC
    RpcMethods,
    /// Show name, version and health of the enclave's program, as it says
    Version,
}

/// Which shard, and what its enclave must be.
#[derive(Args, Debug)]
pub struct SelectionArgs {
    /// The shard, in 0x hex or base58; otherwise the one that the worker serves
    #[arg(long, global = true, value_parser = parse_shard, help_heading = SHARD)]
    pub shard: Option<ShardId>,
    /// Refuse shards whose enclaves have another fingerprint, in hex or base58, only simulate this one, or run in debug
    /// mode
    #[arg(long, global = true, value_name = "FINGERPRINT", value_parser = parse_fingerprint, help_heading = SHARD)]
    pub mrenclave: Option<H256>,
    /// With --mrenclave: a simulated enclave will do, though nothing proves its fingerprint
    #[arg(long, global = true, help_heading = SHARD)]
    pub allow_simulated: bool,
    /// With --mrenclave: debug mode will do, though the enclave's host can read and change everything in it
    #[arg(long, global = true, help_heading = SHARD)]
    pub allow_debug: bool,
}

impl From<SelectionArgs> for Selection {
    fn from(args: SelectionArgs) -> Self {
        let stance = |allowed| if allowed { Stance::Allowed } else { Stance::Forbidden };
        let (simulation, debug) = (stance(args.allow_simulated), stance(args.allow_debug));
        let mrenclave = args.mrenclave.map(|code| WantedCode { fingerprint: code.0, simulation, debug });
        Self { shard: args.shard, mrenclave }
    }
}

/// How a call goes to its shard.
#[derive(Args, Debug)]
pub struct CallArgs {
    /// How long shard and, afterwards, layer one may take for it
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    /// Who pays layer one's fee of a call through the inbox [default: FROM]
    #[arg(long, value_name = "ACCOUNT")]
    pub payer: Option<String>,
    /// In how many blocks of the shard, from now on, it may be executed; after them it never is [default: 1000]
    #[arg(long, value_name = "BLOCKS")]
    pub lifetime: Option<u64>,
    /// With this nonce, in place of a call that may still be executed: one of the two is at most [default: the sender's
    /// next one]
    #[arg(long, value_name = "NONCE")]
    pub nonce: Option<Nonce>,
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

#[derive(Args, Debug)]
pub struct BatchArgs {
    /// Who pays
    pub from: String,
    /// The payments: one a line, empty ones and those that begin with # say nothing
    pub file: PathBuf,
    /// How long the shard may take for one message
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    /// In how many blocks of the shard, from now on, they may be executed; after them they never are [default: 1000]
    #[arg(long, value_name = "BLOCKS")]
    pub lifetime: Option<u64>,
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
    #[command(flatten)]
    pub call: CallArgs,
}

const SHARD: &str = "Which shard";
