//! What becomes of worker and enclave when what they depend on goes away.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, UNIT};
use cloister_client::{LayerOne, Selection, ShardClient, Wait};
use cloister_testing::{Deployment, deployment::SETTLE_DEADLINE, eventually, signer};
use sp_keyring::Sr25519Keyring::Alice;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_found_again() -> Result<()> {
    Deployment::run(async |deployment| {
        shield_until(deployment, UNIT, UNIT).await?;
        let status = deployment.node.stop().await?;
        ensure!(status.success(), "SIGTERM is a clean stop: {status}");
        deployment.worker.process().line("finality was interrupted", SOON).await?;
        ensure!(deployment.worker.process().is_running(), "a lost node is no reason to end");

        deployment.node.start_again().await?;
        deployment.chain = deployment.node.chain().await?;
        deployment.layer_one = LayerOne::connect(deployment.node.url()).await?;
        let selection = Selection { shard: Some(deployment.shard.shard().id), mrenclave: None };
        deployment.shard = ShardClient::connect(&deployment.layer_one, &deployment.worker.url(), &selection).await?;
        shield_until(deployment, 2 * UNIT, 3 * UNIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_enclave_outlives_its_worker() -> Result<()> {
    Deployment::run(async |deployment| {
        let enclave = only_child(deployment.worker.process().id())?;
        deployment.worker.process().kill().await?;
        eventually("the enclave's end", SOON, async || Ok((!is_running(enclave)).then_some(()))).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_on_request() -> Result<()> {
    Deployment::run(async |deployment| {
        let enclave = only_child(deployment.worker.process().id())?;
        let status = deployment.worker.stop().await?;
        ensure!(status.success(), "{status}");
        ensure!(!is_running(enclave), "the enclave is stopped first");
        Ok(())
    })
    .await
}

/// Shields for Alice until she has `total` on the shard.
async fn shield_until(deployment: &Deployment, amount: Balance, total: Balance) -> Result<()> {
    let alice = signer(Alice);
    deployment.shard.shield(&alice, &alice.account(), amount, Wait::Finalized).await?;
    eventually("the shielded money", SETTLE_DEADLINE, async || {
        Ok((deployment.shard.free_balance(&alice).await? == total).then_some(()))
    })
    .await
}

fn only_child(process: u32) -> Result<u32> {
    // Threads other than the first may have started it.
    let mut found: Vec<u32> = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            found.push(child.parse()?);
        }
    }
    ensure!(found.len() == 1, "children: {found:?}");
    found.first().copied().context("no enclave")
}

/// A process that has ended may still wait for its parent to take note.
fn is_running(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    stat.rsplit(") ").next().is_some_and(|state| !state.starts_with('Z'))
}
