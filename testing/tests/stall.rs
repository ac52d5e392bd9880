//! Layer one stands still for a minute and goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, Moment, UNIT};
use cloister_client::{
    Selection, ShardClient, Wait,
    shard::Error as ShardError,
    worker::{Error as WorkerError, Stage},
};
use cloister_testing::{
    Deployment, Node, Worker, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, process::output_json, signer,
};
use cloister_wire::{TrustedCall, TrustedGetter, TrustedOperationStatus};
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use tokio::time::{Instant, sleep_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_of_layer_one_pauses_the_shard_without_loss() -> Result<()> {
    let validator = Node::dev().await?;
    let observer = validator.observer().await?;
    let worker = Worker::start(observer.url(), WorkerOptions::default()).await?;
    let mut deployment = Deployment::connect(observer, worker).await?;
    let result = stall(&mut deployment, validator).await;
    result.map_err(|error| deployment.explain(error))
}

/// Worker and users are at an observer, which answers on, and knows nothing new.
async fn stall(deployment: &mut Deployment, mut validator: Node) -> Result<()> {
    let (alice, bob) = (signer(Alice), signer(Bob));
    let shard = &deployment.shard;
    deployment.shield(&alice, 100 * UNIT).await?;
    let pay = |amount: Balance| TrustedCall::BalanceTransfer(alice.account(), bob.account(), amount);

    validator.process().freeze()?;
    let frozen = Instant::now();
    // Blocks are made for a while yet.
    let mut first = shard.submit_with_nonce(&alice, pay(UNIT), 0).await?;
    first.in_block().await?;
    let mut waits = shard.submit_with_nonce(&alice, pay(4 * UNIT), 2).await?;
    let status = waits.next().await.context("no status")??.status;
    assert_eq!(status, TrustedOperationStatus::Future);

    let call = shard.shard().sign_call(pay(2 * UNIT), 1, &alice)?;
    let paused = eventually("the pause", PAUSE_DEADLINE, async || {
        // One that nobody may execute, so that none is taken by accident.
        match shard.submit_with_nonce(&alice, pay(UNIT), 0).await {
            Err(ShardError::Worker(WorkerError::Refused(reason))) if reason.starts_with("paused") => Ok(Some(reason)),
            Err(ShardError::Worker(WorkerError::Refused(_))) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(_) => anyhow::bail!("a used nonce was taken"),
        }
    })
    .await?;
    assert_eq!(paused, "paused: layer one's finalized time is too old");
    ensure!(frozen.elapsed() < STALL, "it paused only after {:?}", frozen.elapsed());
    let operation = cloister_wire::TrustedOperation::DirectCall(call);
    let request = shard.shard().seal_operation(&operation)?;
    let refused = shard.worker().submit(&request).await;
    ensure!(matches!(&refused, Err(WorkerError::Refused(reason)) if *reason == paused), "{refused:?}");

    // Who asks is told on what the answer rests.
    let answer = shard.ask::<Balance>(&alice, TrustedGetter::FreeBalance(alice.account())).await?;
    assert_eq!(answer.value, Some(99 * UNIT - DIRECT_CALL_FEE));
    let age = Duration::from_millis(now()?.saturating_sub(answer.layer_one_time));
    ensure!(age > OLD, "the answer rests on a block of {age:?} ago");
    let status = deployment.worker.status().await?;
    assert_eq!(status.paused.as_deref(), Some("layer one's finalized time is too old"));
    assert_eq!(deployment.worker.metric("paused").await?, 1.0);
    let url = format!("http://127.0.0.1:{}", deployment.worker.ports().http);
    let (code, page) = output_json("cloister", &["worker", "status", "--url", &url, "--json"])?;
    assert_eq!((code, &page["serves"], &page["phase"]), (REFUSED, &false.into(), &"serving".into()), "{page}");

    // The scenario's minute.
    sleep_until(frozen + STALL).await;
    ensure!(deployment.worker.process().is_running(), "a stall is no reason to end");
    validator.process().thaw()?;
    let selection = Selection { shard: Some(shard.shard().id), mrenclave: None };
    let mut second = eventually("a shard that goes on", SETTLE_DEADLINE, async || {
        Ok(Some(shard.worker().submit_and_watch(&request).await?))
    })
    .await?;
    second.in_block().await?;
    waits.in_block().await?;
    for operation in [&mut first, &mut second, &mut waits] {
        operation.reached(Stage::Finalized, SETTLE_DEADLINE, |_| ()).await?;
    }
    assert_eq!(shard.nonce(&alice).await?, 3);
    assert_eq!(shard.free_balance(&alice).await?, 93 * UNIT - 3 * DIRECT_CALL_FEE);
    assert_eq!(shard.free_balance(&bob).await?, 7 * UNIT);
    assert_eq!(deployment.worker.status().await?.paused, None);

    // Layer one's inbox, too.
    let shard = ShardClient::connect(&deployment.layer_one, &deployment.worker.url(), &selection).await?;
    let shielding = shard.shield(&alice, &alice.account(), 7 * UNIT, Wait::Finalized).await?;
    ensure!(shielding.inbox_number.is_some());
    deployment.inbox_consumed().await?;
    assert_eq!(shard.free_balance(&alice).await?, 100 * UNIT - 3 * DIRECT_CALL_FEE);
    Ok(())
}

fn now() -> Result<Moment> {
    Ok(Moment::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?)
}

const STALL: Duration = Duration::from_secs(60);
/// The shard pauses when layer one's finalized time is 30 s old.
const PAUSE_DEADLINE: Duration = Duration::from_secs(55);
const OLD: Duration = Duration::from_secs(30);
/// What `cloister` exits with when the answer is no.
const REFUSED: i32 = 3;
