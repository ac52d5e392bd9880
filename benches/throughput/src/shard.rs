//! A shard of real processes with as many accounts as are wanted.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use cloister_client::{Signer, worker::Stage};
use cloister_testing::{
    Deployment, Node, Worker, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, process::binary, signer,
};
use cloister_wire::{TrustedOperation, worker_status::WorkerStatus};
use sp_keyring::Sr25519Keyring;
use tempfile::TempDir;

use crate::{options::Options, population::Population};

/// Node, worker and enclave.
pub struct Measured {
    /// The processes, and connections to them.
    pub deployment: Deployment,
    _config: TempDir,
}

impl Measured {
    /// Starts them, with blocks in this interval.
    pub async fn start(options: &Options) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("enclave.config");
        let node = Node::dev().await?;
        let slot = options.block_time.to_string();
        let made = Command::new(binary("cloister-worker")?)
            .args(["make-config", "--node-url", node.url(), "--slot-ms", &slot, "--out"])
            .arg(&config)
            .output()?;
        ensure!(made.status.success(), "{made:?}");
        let worker = WorkerOptions {
            enclave_config: Some(config),
            enclave_binary: Some(binary("bulk-enclave")?),
            // What one connection may ask is not what is measured.
            arguments: vec!["--dev", "--requests-per-second", "100000", "--request-burst", "100000"],
            ..WorkerOptions::default()
        };
        let worker = Worker::start(node.url(), worker).await?;
        Ok(Self { deployment: Deployment::connect(node, worker).await?, _config: directory })
    }

    /// Opens all accounts.
    pub async fn populate(&self, population: &Population, options: &Options) -> Result<()> {
        let bank: Signer = signer(Sr25519Keyring::Bob);
        self.deployment.shield(&bank, population.cost()).await?;
        let shard = &self.deployment.shard;
        // The share of a slot that an enclave gives to calls is a little more.
        let budget = u64::from(options.block_time) * PICOSECONDS_PER_MS / 2;
        let mut openings = (0..).zip(population.openings(budget)).peekable();
        while openings.peek().is_some() {
            let mut last = None;
            for (nonce, opening) in openings.by_ref().take(OPENINGS_AT_ONCE) {
                let signed = shard.shard().sign_call(opening.call(bank.account()), nonce, &bank)?;
                let request = shard.shard().seal_operation(&TrustedOperation::DirectCall(signed))?;
                if let Some(before) = last.replace(request) {
                    shard.worker().submit(&before).await?;
                }
            }
            if let Some(last) = last {
                let mut operation = shard.worker().submit_and_watch(&last).await?;
                operation.reached(Stage::InBlock, POPULATE_DEADLINE, |_| ()).await?;
            }
        }
        eventually("all accounts, and layer one at the newest block", SETTLE_DEADLINE, async || {
            let WorkerStatus { accounts, block, anchored, .. } = self.deployment.worker.status().await?;
            let done = accounts == population.accounts() && anchored == block;
            ensure!(done, "{accounts} accounts, block {block}, of which {anchored} are anchored");
            Ok(Some(()))
        })
        .await
    }
}

const PICOSECONDS_PER_MS: u64 = 1_000_000_000;
/// Far fewer than one sender may have in the pool.
const OPENINGS_AT_ONCE: usize = 100;
const POPULATE_DEADLINE: Duration = Duration::from_secs(300);
