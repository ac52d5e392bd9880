//! Nodes of layer one.

use std::{
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result};
use jsonrpsee::rpc_params;
use tempfile::TempDir;

use crate::{
    Chain,
    chain::TIMEOUT,
    process::{Log, Process, binary},
};

/// How long a node may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A node of layer one with its database in a temporary directory.
pub struct Node {
    process: Process,
    name: String,
    options: Vec<String>,
    url: String,
    /// Where peers reach it, with its identity.
    peer_address: String,
    directory: TempDir,
}

impl Node {
    /// The one validator of a development chain.
    pub async fn dev() -> Result<Self> {
        Self::start("node", &["--dev"]).await
    }

    /// A node with options of its own, as `name` in logs.
    pub async fn start(name: &str, options: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let (process, url) = spawn(name, &options, "0", ANY_ADDRESS, directory.path()).await?;
        let peer_address = peer_address(&Chain::connect(&url).await?).await?;
        Ok(Self { process, name: name.into(), options, url, peer_address, directory })
    }

    /// Another node of the same development chain, which authors and finalizes nothing.
    pub async fn observer(&self) -> Result<Self> {
        let options = ["--chain", "dev", "--bootnodes", &self.peer_address];
        Self::start("observer", &options).await
    }

    /// Starts it again with its database and where it was, after it has ended.
    pub async fn start_again(&mut self) -> Result<()> {
        let port = self.url.rsplit(':').next().context("no port in the address")?;
        let (address, _identity) = self.peer_address.split_once("/p2p/").context("no identity in the address")?;
        let (process, _) = spawn(&self.name, &self.options, port, address, self.directory.path()).await?;
        self.process = process;
        Ok(())
    }

    /// Starts an observer again that finds no peers: it answers, but its chain has ended.
    pub async fn cut_off(&mut self) -> Result<()> {
        self.stop().await?;
        let bootnodes = self.options.iter().position(|option| option == "--bootnodes");
        let at = bootnodes.context("it has no peers to lose")?;
        self.options.drain(at..at + 2);
        self.start_again().await
    }

    /// Where its JSON-RPC listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its database and log are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A new connection to it.
    pub async fn chain(&self) -> Result<Chain> {
        Chain::connect(&self.url).await
    }

    /// What it has written.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops it with its database closed.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.process.stop().await
    }
}

/// Where peers reach a node.
async fn peer_address(chain: &Chain) -> Result<String> {
    crate::eventually("an address for peers", TIMEOUT, async || {
        let addresses: Vec<String> = chain.request("system_localListenAddresses", rpc_params![]).await?;
        Ok(addresses.into_iter().find(|address| address.starts_with("/ip4/127.0.0.1/tcp/")))
    })
    .await
}

/// Two validators, Alice and Bob, on the chain `local_testnet`.
pub struct Network {
    /// Alice's node.
    pub alice: Node,
    /// Bob's node.
    pub bob: Node,
}

impl Network {
    /// Starts both and connects Bob to Alice.
    pub async fn local_testnet() -> Result<Self> {
        // Without a key of its own on disk, a validator wants to be given the one that names it to its peers.
        let alice = Node::start("alice", &["--chain", "local_testnet", "--alice", "--node-key", &node_key(1)]).await?;
        // Reserved peers are looked for again for as long as it takes.
        let (key, alices) = (node_key(2), &alice.peer_address);
        let options = ["--chain", "local_testnet", "--bob", "--node-key", &key, "--reserved-nodes", alices];
        let bob = Node::start("bob", &options).await?;
        Ok(Self { alice, bob })
    }
}

async fn spawn(
    name: &str,
    options: &[String],
    port: &str,
    peer_address: &str,
    directory: &Path,
) -> Result<(Process, String)> {
    let mut command = Command::new(binary("cloister-node")?);
    command
        .args(options)
        .args(["--name", name, "--rpc-port", port, "--listen-addr", peer_address])
        // Nothing of the world outside: no other chain of the same genesis, no metrics port, no telemetry.
        .args(["--no-mdns", "--no-prometheus", "--no-telemetry"])
        // Tests look back to block 0.
        .args(["--state-pruning", "archive", "--blocks-pruning", "archive"])
        .arg("--base-path")
        .arg(directory.join("db"));
    let mut process = Process::spawn(name, &mut command, directory)?;
    let line = process.line(RPC_LINE, START_DEADLINE).await?;
    let url = rpc_url(&line).with_context(|| format!("no address in the log line {line:?}"))?;
    Ok((process, url))
}

fn node_key(number: u8) -> String {
    format!("{number:064x}")
}

/// On this machine, at a port that is free.
const ANY_ADDRESS: &str = "/ip4/127.0.0.1/tcp/0";
/// What a node says when its JSON-RPC listens; the address follows.
const RPC_LINE: &str = "Running JSON-RPC server: addr=";

fn rpc_url(line: &str) -> Option<String> {
    let addresses = line.split_once(RPC_LINE)?.1;
    let address = addresses.split([',', ' ']).find(|address| address.starts_with("127.0.0.1:"))?;
    Some(format!("ws://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rpc_address_is_read_from_the_log() {
        let line = "2026-11-21 10:00:00 Running JSON-RPC server: addr=127.0.0.1:40123,[::1]:40124";
        assert_eq!(rpc_url(line).as_deref(), Some("ws://127.0.0.1:40123"));
        assert_eq!(rpc_url("Running JSON-RPC server: addr=[::1]:1"), None);
    }
}
