//! The command line.

use clap::Parser;
use cloister_client::worker::MAX_BATCH;

/// Measures how many calls a shard takes: a node, a worker, an enclave and clients as processes of this machine.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "cargo xtask bench throughput", bin_name = "cargo xtask bench throughput")]
pub struct Options {
    /// Accounts on the shard.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(2..=100_000_000))]
    pub accounts: u64,
    /// Connections that send.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub clients: u16,
    /// Milliseconds between two blocks of the shard.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub block_time: u32,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Seconds under load before it.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub warm_up: u32,
    /// Calls of each client that may be under way: sent, and in no block that was heard of.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// Calls in one message; 1 for a message each.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_BATCH as i64))]
    pub batch: u16,
    /// Calls to prepare [default: six tenths of what the floor allows in that time].
    #[arg(long)]
    pub calls: Option<usize>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        let options = "throughput --accounts 1000000 --clients 4 --block-time 100 --seconds 9";
        let options = Options::try_parse_from(options.split(' ')).unwrap();
        assert_eq!((options.accounts, options.clients, options.block_time, options.seconds), (1_000_000, 4, 100, 9));
        assert!(Options::try_parse_from(["throughput", "--accounts", "1"]).is_err());
    }
}
