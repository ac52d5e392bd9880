//! The options of every command.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use cloister_client::Scheme;

use super::values::parse_node_url;

/// The options that every command has: whom to connect to, where the keys are, what to print.
#[derive(Args, Debug)]
pub struct Global {
    /// Your own node of layer one: what it says is finalized is believed; ws://host means its port 9944
    #[arg(
        short = 'u',
        long,
        global = true,
        env = "CLOISTER_NODE_URL",
        hide_env_values = true,
        default_value = "ws://127.0.0.1:9944",
        value_name = "URL",
        value_parser = parse_node_url,
        help_heading = CONNECTIONS
    )]
    pub node_url: String,
    /// The node's port, in place of the address's own
    #[arg(short = 'p', long, global = true, value_name = "PORT", help_heading = CONNECTIONS)]
    pub node_port: Option<u16>,
    /// A worker's trusted port; its TLS key must be the one that layer one records; wss://host means its port 2000
    #[arg(
        short = 'U',
        long,
        global = true,
        env = "CLOISTER_WORKER_URL",
        hide_env_values = true,
        default_value = "wss://127.0.0.1:2000",
        value_name = "URL",
        help_heading = CONNECTIONS
    )]
    pub worker_url: String,
    /// The worker's port, in place of the address's own
    #[arg(short = 'P', long, global = true, value_name = "PORT", help_heading = CONNECTIONS)]
    pub worker_port: Option<u16>,
    /// Directory of your keys [default: cloister/keystore in XDG_DATA_HOME or ~/.local/share]
    #[arg(long, global = true, value_name = "DIR", help_heading = KEYS)]
    pub keystore: Option<PathBuf>,
    /// File with the secret that an account named `-` means
    #[arg(long, global = true, value_name = "FILE", help_heading = KEYS)]
    pub suri_file: Option<PathBuf>,
    /// Kind of key that a secret stands for
    #[arg(long, global = true, value_enum, default_value = "sr25519", help_heading = KEYS)]
    pub scheme: SchemeName,
    /// Print one JSON object on standard output, errors too
    #[arg(long, global = true, help_heading = OUTPUT)]
    pub json: bool,
    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = OUTPUT)]
    pub verbose: u8,
}

/// A kind of key that has a place in keystores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SchemeName {
    /// Schnorr on ristretto25519, the kind of most accounts
    Sr25519,
    /// EdDSA on edwards25519
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

const CONNECTIONS: &str = "Connections";
const KEYS: &str = "Keys";
const OUTPUT: &str = "Output";
