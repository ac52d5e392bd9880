//! The command line of what concerns a shard's money on layer one, and the shard itself.

use clap::{Args, Subcommand, ValueEnum};
use cloister_client::{Balance, BlockNumber, ShardId};

use super::{
    WaitFor, examples,
    values::{parse_node_url, parse_shard},
};
use crate::amount;

#[derive(Subcommand, Debug)]
pub enum OutboxCommand {
    /// List what the shard owes on layer one by its anchored block, and layer one has not settled
    List,
    /// Have what the shard owes paid: anybody may, if the shard's own enclave does not
    ///
    /// Each entry goes to layer one with its path into the anchored root. What was paid or refused before stays so. The
    /// fee is repaid to you as far as the shard's fees reach.
    #[command(after_long_help = examples::OUTBOX_SETTLE)]
    Settle {
        /// Who signs and pays layer one's fee
        from: String,
        /// Only the entry with this number [default: all]
        #[arg(long)]
        number: Option<u64>,
        /// How long to wait
        #[arg(long, value_enum, default_value = "in-block")]
        wait: WaitFor,
    },
}

#[derive(Subcommand, Debug)]
pub enum ShardCommand {
    /// Show a shard as layer one has it: configuration, end, limit, escrow, flows, anchor
    #[command(after_long_help = examples::SHARD_SHOW)]
    Show {
        /// The shard, in 0x hex or base58 [default: the one that the worker serves]
        #[arg(long, value_parser = parse_shard)]
        shard: Option<ShardId>,
    },
    /// Change the configuration of a shard (root)
    ///
    /// A shard in maintenance takes no money and no calls, except those by which money leaves it. Only its members'
    /// code is fixed for ever.
    #[command(after_long_help = examples::SHARD_CONFIG)]
    Config {
        #[command(flatten)]
        root: RootArgs,
        /// Whether the shard is in maintenance
        #[arg(long, value_enum)]
        maintenance: Switch,
        /// Blocks of layer one until it holds
        #[arg(long, value_name = "BLOCKS", default_value_t = 0)]
        delay: BlockNumber,
    },
    /// Announce the end of a shard (root); nothing takes it back
    ///
    /// At once it takes no money any more. After the delay that the shard was born with it takes no calls, and
    /// everything on it goes to the same accounts on layer one.
    Retire {
        #[command(flatten)]
        root: RootArgs,
    },
    /// Change how fast money may leave a shard (root)
    ///
    /// What is over the limit of a period is paid in the next one; an unshielding of more than a whole period's amount
    /// is refused.
    #[command(after_long_help = examples::SHARD_LIMIT)]
    Limit {
        #[command(flatten)]
        root: RootArgs,
        /// Most in one period, like 1000, 0.5 or 123planck; or `default`
        #[arg(value_parser = parse_limit)]
        amount: Limit,
        /// Blocks of layer one in a period; none with `default`
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        period: Option<BlockNumber>,
    },
}

/// How much may leave a shard in a period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// What layer one allows all shards.
    Default,
    /// Planck.
    Amount(Balance),
}

fn parse_limit(text: &str) -> Result<Limit, amount::InvalidAmount> {
    match text {
        "default" => Ok(Limit::Default),
        text => amount::parse(text).map(Limit::Amount),
    }
}

/// Of root's calls about a shard. Neither shard nor key has a default: none of them is harmless.
#[derive(Args, Debug)]
pub struct RootArgs {
    /// The shard, in 0x hex or base58
    #[arg(long, value_parser = parse_shard)]
    pub shard: ShardId,
    /// Root's key
    #[arg(long, value_name = "ACCOUNT")]
    pub sudo: String,
    /// How long to wait
    #[arg(long, value_enum, default_value = "in-block")]
    pub wait: WaitFor,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Switch {
    /// Only money that leaves
    On,
    /// Open
    Off,
}

#[derive(Args, Debug)]
pub struct AuditArgs {
    /// The shard, in 0x hex or base58
    #[arg(long, value_parser = parse_shard)]
    pub shard: ShardId,
    /// A worker's untrusted port, which gives the shard's blocks
    #[arg(
        long,
        env = "CLOISTER_WORKER_BLOCKS_URL",
        hide_env_values = true,
        default_value = "ws://127.0.0.1:2001",
        value_name = "URL",
        value_parser = parse_node_url
    )]
    pub url: String,
    /// First block of the shard to look at [default: the first, or the oldest that the worker keeps]
    #[arg(long, value_name = "BLOCK", default_value_t = 1, hide_default_value = true)]
    pub from: u64,
}

#[derive(Args, Debug)]
pub struct ListenArgs {
    /// Only what concerns this shard, in 0x hex or base58
    #[arg(long, value_parser = parse_shard)]
    pub shard: Option<ShardId>,
    /// First block [default: the newest finalized one]
    #[arg(long, value_name = "BLOCK")]
    pub from: Option<BlockNumber>,
    /// End after so many blocks
    #[arg(long, value_name = "N")]
    pub blocks: Option<u32>,
    /// End after the first event with this name, like UnshieldedFunds
    #[arg(long, value_name = "NAME", conflicts_with = "blocks")]
    pub until_event: Option<String>,
}
