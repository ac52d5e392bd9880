//! The command line.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, builder::RangedU64ValueParser};
use cloister_chain_primitives::{
    H256, ShardId,
    registry::{MAX_URL_BYTES, WorkerUrl},
};
use cloister_link::ClientLimits;

use crate::admission::Bounds;

const EXIT_CODES: &str = "Exit codes:
  0  stopped on request (SIGTERM, SIGINT), or the command is done
  1  a failure of the host: ports, files
  2  wrong usage, or no configuration for the enclave
  3  the enclave ended by itself, or broke the link's protocol
  4  the wanted shard is not that of the data directory
  5  layer one is another chain than the configuration names
  6  the enclave's registration was replaced by a newer start's, evicted, or expired
  7  no trusted execution environment that works
  8  the sealed identity in the data directory does not open in this enclave
  9  what is kept of the shard is damaged, or the enclave refuses it: it is not the shard's newest state";

/// Host of a Cloister enclave.
#[derive(Debug, Parser)]
#[command(name = "cloister-worker", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start an enclave, have it registered, and serve its shard.
    #[command(after_help = EXIT_CODES)]
    Run(RunOptions),
    /// Print the fingerprint of the enclave's code and configuration. Keeps nothing.
    #[command(after_help = EXIT_CODES)]
    Mrenclave(InspectOptions),
    /// Print the enclave's account on layer one. Makes and keeps a new identity if there is none.
    #[command(after_help = EXIT_CODES)]
    SigningKey(InspectOptions),
    /// Print the enclave's RSA shielding key as clients get it. Makes and keeps a new identity if there is none.
    #[command(after_help = EXIT_CODES)]
    ShieldingKey(InspectOptions),
    /// Write the evidence that an enclave would register with, and its collateral; submits nothing.
    #[command(after_help = EXIT_CODES)]
    DumpRa(DumpOptions),
    /// Write a measured configuration for a node's chain. Whoever uses the file trusts that node.
    #[command(after_help = EXIT_CODES)]
    MakeConfig(MakeConfigOptions),
}

/// Evidence of hardware takes seconds, a slot less.
pub const DEFAULT_SILENCE_SECONDS: u64 = 60;

/// Which enclave, and of which chain.
#[derive(Debug, Args)]
pub struct EnclaveOptions {
    /// JSON-RPC of a layer-one node.
    #[arg(long, default_value = "ws://127.0.0.1:9944", value_parser = parse_node_url)]
    pub node_url: String,
    /// Directory of the sealed identity, of what is kept of its shard, and of ports.json; one worker's alone. Whoever
    /// loses it loses the shard.
    #[arg(long, default_value = "cloister-data")]
    pub data_dir: PathBuf,
    /// Development: configure the enclave from the node. `run` lets //Alice pay for it and submit its collateral, and starts
    /// with a new identity if the kept one does not open.
    #[arg(long)]
    pub dev: bool,
    /// The enclave's program [default: cloister-enclave-simulated beside this program if the configuration allows
    /// simulation, else cloister-enclave].
    #[arg(long)]
    pub enclave_binary: Option<PathBuf>,
    /// Measured configuration, as written by make-config.
    #[arg(long)]
    pub enclave_config: Option<PathBuf>,
}

/// Of `run`. A port of 0 means any free one; `ports.json` in the data directory names those in use.
#[derive(Debug, Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub enclave: EnclaveOptions,
    /// Port whose bytes are relayed to the enclave, where TLS ends.
    #[arg(long, default_value_t = 2000)]
    pub trusted_port: u16,
    /// Port on which peers fetch blocks of the shard.
    #[arg(long, default_value_t = 2001)]
    pub untrusted_port: u16,
    /// Port of /is_initialized and /status.
    #[arg(long, default_value_t = 4545)]
    pub http_port: u16,
    /// Port of /metrics.
    #[arg(long, default_value_t = 8787)]
    pub metrics_port: u16,
    /// Address on which all ports listen.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen_address: IpAddr,
    /// Where clients find this worker, as layer one's registry tells them: wss://host:port [default with --dev: the trusted
    /// port in use].
    #[arg(long, value_parser = parse_worker_url)]
    pub url: Option<WorkerUrl>,
    /// The shard that has to be served (base58 or 0x hex); refused unless it is that of the data directory.
    #[arg(long, value_parser = parse_shard)]
    pub shard: Option<ShardId>,
    /// Seconds that the enclave may say nothing before it is killed: a call that computes without end would hold up all
    /// others. The next start sets it aside, if it comes to that again.
    #[arg(long, default_value_t = DEFAULT_SILENCE_SECONDS, value_parser = clap::value_parser!(u64).range(5..))]
    pub enclave_silence: u64,
    #[command(flatten)]
    pub clients: ClientOptions,
    /// Print events as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// What clients may use on the trusted port. The other ports have bounds of their own. A peer is an IPv4 address, or the
/// first 64 bits of an IPv6 address.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of clients")]
pub struct ClientOptions {
    /// Most connections at a time.
    #[arg(long, default_value_t = DEFAULT.connections, value_parser = between(|limits| limits.connections))]
    pub max_connections: u32,
    /// Most connections of one peer at a time. Whoever puts a proxy before the worker sees one peer.
    #[arg(long, default_value_t = DEFAULT_CONNECTIONS_PER_PEER, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_peer: u32,
    /// Connections per second that one peer may go on opening, after as many at once as it may have at a time.
    #[arg(long, default_value_t = DEFAULT_OPENED_PER_PEER, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections_per_second_per_peer: u32,
    /// Requests per second that one connection may go on making. Beyond, it is not read.
    #[arg(
        long,
        default_value_t = DEFAULT.requests_per_second,
        value_parser = between(|limits| limits.requests_per_second)
    )]
    pub requests_per_second: u32,
    /// Requests that one connection may make at once after a silence.
    #[arg(long, default_value_t = DEFAULT.request_burst, value_parser = between(|limits| limits.request_burst))]
    pub request_burst: u32,
    /// Largest message, bytes.
    #[arg(long, default_value_t = DEFAULT.message_bytes, value_parser = between(|limits| limits.message_bytes))]
    pub max_message_bytes: u32,
    /// Seconds until TLS and WebSocket must stand.
    #[arg(long, default_value_t = DEFAULT.handshake_ms / 1_000, value_parser = seconds(|limits| limits.handshake_ms))]
    pub handshake_seconds: u32,
    /// Seconds of silence after which a connection ends.
    #[arg(long, default_value_t = DEFAULT.idle_ms / 1_000, value_parser = seconds(|limits| limits.idle_ms))]
    pub idle_seconds: u32,
}

impl ClientOptions {
    /// What the host itself keeps to.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            connections: self.max_connections as usize,
            per_peer: self.max_connections_per_peer,
            per_second_per_peer: self.connections_per_second_per_peer,
        }
    }

    /// What the enclave is told of them.
    pub fn limits(&self) -> ClientLimits {
        ClientLimits {
            connections: self.max_connections,
            requests_per_second: self.requests_per_second,
            request_burst: self.request_burst,
            message_bytes: self.max_message_bytes,
            handshake_ms: self.handshake_seconds.saturating_mul(1_000),
            idle_ms: self.idle_seconds.saturating_mul(1_000),
            ..DEFAULT
        }
    }
}

/// A limit that enclaves take as it is.
fn between(limit: fn(ClientLimits) -> u32) -> RangedU64ValueParser<u32> {
    let (least, most) = (limit(ClientLimits::LEAST), limit(ClientLimits::MOST));
    RangedU64ValueParser::new().range(u64::from(least)..=u64::from(most))
}

/// The same of a limit in milliseconds.
fn seconds(limit: fn(ClientLimits) -> u32) -> RangedU64ValueParser<u32> {
    let (least, most) = (limit(ClientLimits::LEAST).div_ceil(1_000), limit(ClientLimits::MOST) / 1_000);
    RangedU64ValueParser::new().range(u64::from(least)..=u64::from(most))
}

/// Of what prints something about an enclave.
#[derive(Debug, Args)]
pub struct InspectOptions {
    #[command(flatten)]
    pub enclave: EnclaveOptions,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Of `dump-ra`.
#[derive(Debug, Args)]
pub struct DumpOptions {
    #[command(flatten)]
    pub enclave: EnclaveOptions,
    /// Directory for evidence.bin (a raw quote) and collateral.json.
    #[arg(long)]
    pub out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Of `make-config`.
#[derive(Debug, Args)]
pub struct MakeConfigOptions {
    /// JSON-RPC of a layer-one node. If it no longer has the state of block 0, the chain is followed from its newest
    /// finalized block.
    #[arg(long, default_value = "ws://127.0.0.1:9944", value_parser = parse_node_url)]
    pub node_url: String,
    /// Where to write the configuration (SCALE).
    #[arg(long)]
    pub out: PathBuf,
    /// Milliseconds between two blocks of the shard while there is work.
    #[arg(long, default_value_t = DEFAULT_SLOT_MS, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub slot_ms: u32,
    /// Fewest layer-one blocks between the announcement of an upgrade and its effect.
    #[arg(long, default_value_t = DEFAULT_MIN_UPGRADE_DELAY)]
    pub min_upgrade_delay: u32,
    /// Accept evidence of genuine hardware only.
    #[arg(long)]
    pub no_simulation: bool,
    /// Refuse queries about accounts in the published form, which whoever sees one can repeat.
    #[arg(long)]
    pub no_unbound_getters: bool,
}

/// A node's WebSocket; waiting for any other kind of address would never end.
fn parse_node_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"));
    match rest.is_some_and(|rest| !rest.is_empty()) {
        true => Ok(text.into()),
        false => Err("a node's address is like ws://host:port or wss://host:port"),
    }
}

/// Where clients find a worker.
pub fn parse_worker_url(text: &str) -> Result<WorkerUrl, String> {
    let rest = text.strip_prefix("wss://").unwrap_or_default();
    if rest.is_empty() || text.contains(char::is_whitespace) {
        return Err("a worker's address is like wss://host:port".into());
    }
    WorkerUrl::try_from(text.as_bytes().to_vec()).map_err(|_| format!("an address has at most {MAX_URL_BYTES} bytes"))
}

/// A shard in base58 or 0x hex.
pub fn parse_shard(text: &str) -> Result<ShardId, String> {
    let bytes = match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).map_err(|error| error.to_string())?,
        None => bs58::decode(text).into_vec().map_err(|error| error.to_string())?,
    };
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|bytes| format!("a shard has 32 bytes, not {}", bytes.len()))?;
    Ok(ShardId(H256(bytes)))
}

/// A shard as operators and clients write it.
pub fn shard_text(shard: &ShardId) -> String {
    bs58::encode(shard.as_ref()).into_string()
}

const DEFAULT: ClientLimits = ClientLimits::DEFAULT;
const DEFAULT_CONNECTIONS_PER_PEER: u32 = 256;
const DEFAULT_OPENED_PER_PEER: u32 = 50;
/// Milliseconds.
pub const DEFAULT_SLOT_MS: u32 = 300;
/// Layer-one blocks.
pub const DEFAULT_MIN_UPGRADE_DELAY: u32 = 100;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["cloister-worker", "run", "--dev", "--trusted-port", "0"]);
        let Command::Run(options) = cli.command else { panic!("run") };
        assert_eq!((options.trusted_port, options.untrusted_port, options.enclave.dev), (0, 2001, true));
        for command in ["mrenclave", "signing-key", "shielding-key"] {
            Cli::parse_from(["cloister-worker", command, "--data-dir", "x", "--dev", "--json"]);
        }
        Cli::parse_from(["cloister-worker", "dump-ra", "--enclave-config", "x", "--out", "y"]);
    }

    #[test]
    fn limits_of_clients_are_flags() {
        let parse = |more: &[&str]| {
            let cli = Cli::try_parse_from([&["cloister-worker", "run"], more].concat())?;
            let Command::Run(options) = cli.command else { panic!("run") };
            Ok::<_, clap::Error>(options.clients)
        };
        let default = parse(&[]).unwrap();
        assert_eq!(default.limits(), ClientLimits::default());
        let bounds = Bounds { connections: 1_024, per_peer: 256, per_second_per_peer: 50 };
        assert_eq!(default.bounds(), bounds);

        let flags = "--max-connections 1 --max-connections-per-peer 2 --connections-per-second-per-peer 3 \
                     --requests-per-second 4 --request-burst 5 --max-message-bytes 60000 --handshake-seconds 7 \
                     --idle-seconds 8";
        let set = parse(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(set.bounds(), Bounds { connections: 1, per_peer: 2, per_second_per_peer: 3 });
        let expected = ClientLimits {
            connections: 1,
            requests_per_second: 4,
            request_burst: 5,
            message_bytes: 60_000,
            handshake_ms: 7_000,
            idle_ms: 8_000,
            ..ClientLimits::default()
        };
        assert_eq!(set.limits(), expected);
        assert_eq!(expected.clamped(), expected);

        // What the enclave would not take as it is.
        for (flag, wrong) in [
            ("--max-connections", "0"),
            ("--max-connections", "16385"),
            ("--max-connections-per-peer", "0"),
            ("--connections-per-second-per-peer", "0"),
            ("--requests-per-second", "0"),
            ("--request-burst", "100001"),
            ("--max-message-bytes", "40959"),
            ("--max-message-bytes", "1048577"),
            ("--handshake-seconds", "61"),
            ("--idle-seconds", "3601"),
        ] {
            let error = parse(&[flag, wrong]).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{flag} {wrong}");
        }
    }

    #[test]
    fn a_worker_speaks_websocket_over_tls() {
        assert_eq!(parse_worker_url("wss://host:2000").unwrap().as_slice(), b"wss://host:2000");
        for wrong in ["", "wss://", "ws://host", "host:2000", "wss://a b"] {
            assert!(parse_worker_url(wrong).is_err(), "{wrong}");
        }
        let long = format!("wss://{}", "a".repeat(MAX_URL_BYTES as usize));
        assert_eq!(parse_worker_url(&long), Err("an address has at most 256 bytes".into()));
    }

    #[test]
    fn a_node_speaks_websocket() {
        for url in ["ws://127.0.0.1:9944", "wss://node.example"] {
            assert_eq!(parse_node_url(url).as_deref(), Ok(url));
        }
        for wrong in ["", "ws://", "http://127.0.0.1:9944", "127.0.0.1:9944"] {
            assert!(parse_node_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_are_read_in_both_spellings() {
        let shard = ShardId(H256::repeat_byte(7));
        assert_eq!(parse_shard(&shard_text(&shard)), Ok(shard));
        assert_eq!(parse_shard(&format!("0x{}", "07".repeat(32))), Ok(shard));
        assert_eq!(parse_shard("0x07"), Err("a shard has 32 bytes, not 1".into()));
        assert!(parse_shard("0xzz").is_err() && parse_shard("l0").is_err());
    }
}
