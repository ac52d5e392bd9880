//! What outlives an enclave, and what is refused in its place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{DIRECT_CALL_FEE, UNIT};
use cloister_client::worker::Error as WorkerError;
use cloister_testing::{Deployment, Sidechain, deployment::SETTLE_DEADLINE, eventually, signer};
use cloister_wire::{TrustedCall, TrustedOperation, sidechain::SidechainHeader};
use codec::Encode;
use sp_keyring::Sr25519Keyring::{Alice, Bob};

/// What `cloister-worker` exits with when its enclave ends by itself.
const ENCLAVE_DIED: i32 = 3;
/// What `cloister-worker` exits with when what it kept is refused.
const KEPT_REFUSED: i32 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_outlives_enclave_and_worker() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        let birth = deployment.shard.shard().clone();
        let mut sidechain = Sidechain::new(birth.genesis, birth.id, birth.entry.birth.genesis_commitment);
        deployment.shield(&alice, 100 * UNIT).await?;
        let call = TrustedCall::BalanceTransfer(alice.account(), bob.account(), 30 * UNIT);
        let operation = TrustedOperation::DirectCall(birth.sign_call(call, 0, &alice)?);
        let request = birth.seal_operation(&operation)?;
        let block = deployment.shard.worker().submit_and_watch(&request).await?.in_block().await?;

        for victim in ["enclave", "worker"] {
            match victim {
                "enclave" => {
                    deployment.worker.enclave()?.kill()?;
                    let status = deployment.worker.ends("the enclave ended without a word").await?;
                    assert_eq!(status.code(), Some(ENCLAVE_DIED));
                }
                _ => deployment.worker.kill().await?,
            }
            deployment.start_worker_again().await?;
            assert_eq!(deployment.shard.shard().entry, birth.entry, "the same shard");
            assert_ne!(deployment.shard.shard().enclave.incarnation_key, birth.enclave.incarnation_key);
            assert_eq!(deployment.shard.free_balance(&alice).await?, 70 * UNIT - DIRECT_CALL_FEE);
            assert_eq!(deployment.shard.free_balance(&bob).await?, 30 * UNIT);
            assert_eq!(deployment.shard.nonce(&alice).await?, 1);
            let outcome = deployment.shard.outcome(&alice, operation.hash()).await?.context("no outcome")?;
            assert_eq!(outcome.result, Ok(()));
            sidechain.follow(deployment.worker.ports()).await?;
            assert_eq!(sidechain.hash(outcome.block_number), Some(block));
            let again = deployment.shard.worker().submit_and_watch(&request).await.map(|operation| operation.hash());
            let Err(WorkerError::Refused(reason)) = again else { bail!("{again:?}") };
            assert_eq!(reason, "nonce 0 is used, the next one is 1");
        }

        eventually("an anchor", SETTLE_DEADLINE, async || {
            let status = deployment.worker.status().await?;
            Ok((status.anchored == sidechain.height()).then_some(()))
        })
        .await?;
        let status = deployment.worker.status().await?;
        assert_eq!((status.phase.as_str(), status.block, status.accounts), ("serving", sidechain.height(), 2));
        assert_eq!((status.paused, status.inbox_consumed, status.pool), (None, 1, 0));
        ensure!(status.journal_bytes > 0 && status.store_bytes > status.journal_bytes && status.state_bytes > 0);
        for (metric, value) in [
            ("serving", 1.0),
            ("paused", 0.0),
            ("block_number", sidechain.height() as f64),
            ("anchored_block", sidechain.height() as f64),
            ("unanchored_blocks", 0.0),
            ("accounts", 2.0),
            ("inbox_consumed", 1.0),
            ("registrations_total", 1.0),
        ] {
            assert_eq!(deployment.worker.metric(metric).await?, value, "{metric}");
        }
        for metric in ["recovery_seconds", "store_file_bytes", "journal_bytes", "account_free", "layer_one_finalized"] {
            assert!(deployment.worker.metric(metric).await? > 0.0, "{metric}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_state_than_the_newest_is_served() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.shield(&alice, 100 * UNIT).await?;
        ensure!(deployment.worker.stop().await?.success());
        let file = state_file(deployment.worker.data_dir())?;
        let old = fs::read(&file)?;

        deployment.start_worker_again().await?;
        deployment.shard.transfer(&alice, &bob.account(), 40 * UNIT).await?.finalized(SETTLE_DEADLINE).await?;
        let header: SidechainHeader = deployment.shard.worker().read("chain_getHeader", serde_json::json!([])).await?;
        ensure!(deployment.worker.stop().await?.success());
        let newest = fs::read(&file)?;

        refused(deployment, &file, Some(&old), "layer one has anchored block 2, and the newest that was kept is 1")
            .await?;
        refused(deployment, &file, None, "layer one has anchored block 2, and the newest that was kept is 0").await?;
        let mut altered = newest.clone();
        alter(&mut altered, &header.encode())?;
        refused(deployment, &file, Some(&altered), "").await?;

        // What the advice says helps.
        fs::write(&file, &newest)?;
        deployment.start_worker_again().await?;
        assert_eq!(deployment.shard.free_balance(&alice).await?, 60 * UNIT - DIRECT_CALL_FEE);
        assert_eq!(deployment.shard.free_balance(&bob).await?, 40 * UNIT);
        Ok(())
    })
    .await
}

/// The worker does not serve from this state; its last words name the file, the reason and what to do.
async fn refused(deployment: &mut Deployment, file: &Path, state: Option<&[u8]>, reason: &str) -> Result<()> {
    match state {
        Some(state) => fs::write(file, state)?,
        None => fs::remove_file(file)?,
    }
    let status = deployment.worker.start_again_in_vain("error: ").await?;
    let words = deployment.worker.process().line("error: ", SETTLE_DEADLINE).await?;
    assert_eq!(status.code(), Some(KEPT_REFUSED), "{words}");
    for part in [reason, &file.display().to_string(), "Put the newest whole copy of that file back"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    Ok(())
}

/// Where the state of the one shard of a data directory is.
fn state_file(data_dir: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir)? {
        let file = entry?.path().join("state.redb");
        if file.is_file() {
            found.push(file);
        }
    }
    ensure!(found.len() == 1, "{found:?}");
    found.pop().context("no state")
}

/// Flips one bit of `part` wherever it stands.
fn alter(bytes: &mut [u8], part: &[u8]) -> Result<()> {
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(part)).collect();
    ensure!(!places.is_empty(), "not found");
    for at in places {
        bytes[at] ^= 1;
    }
    Ok(())
}
