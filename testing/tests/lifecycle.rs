//! What becomes of worker and enclave when what they depend on goes away.

use std::time::Duration;

use anyhow::{Result, ensure};
use cloister_chain_primitives::UNIT;
use cloister_testing::{Deployment, signer};
use sp_keyring::Sr25519Keyring::Alice;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_found_again() -> Result<()> {
    Deployment::run(async |deployment| {
        deployment.shield(&signer(Alice), UNIT).await?;
        let status = deployment.node.stop().await?;
        ensure!(status.success(), "SIGTERM is a clean stop: {status}");
        deployment.worker.process().line("finality was interrupted", SOON).await?;
        ensure!(deployment.worker.process().is_running(), "a lost node is no reason to end");

        deployment.node.start_again().await?;
        deployment.reconnect().await?;
        assert_eq!(deployment.shard.free_balance(&signer(Alice)).await?, UNIT);
        deployment.shield(&signer(Alice), 2 * UNIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_enclave_outlives_its_worker() -> Result<()> {
    Deployment::run(async |deployment| {
        let enclave = deployment.worker.enclave()?;
        ensure!(enclave.is_running());
        deployment.worker.kill().await?;
        ensure!(!enclave.is_running());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_on_request() -> Result<()> {
    Deployment::run(async |deployment| {
        let enclave = deployment.worker.enclave()?;
        let status = deployment.worker.stop().await?;
        ensure!(status.success(), "{status}");
        ensure!(!enclave.is_running(), "the enclave is stopped first");
        Ok(())
    })
    .await
}
