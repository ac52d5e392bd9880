//! Calls on a shard that fail, questions that are none of the asker's business, and shards of earlier starts.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT, ShardId, UNIT};
use cloister_client::{
    LayerOne, Pin, Selection, Shard, ShardClient, Wait, Worker as WorkerClient,
    shard::Error as ShardError,
    worker::{Error as WorkerError, Operation},
};
use cloister_testing::{Deployment, Node, Worker, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, signer};
use cloister_wire::{TrustedCall, TrustedOperationStatus};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};

#[tokio::test(flavor = "multi_thread")]
async fn failing_calls_leave_only_the_nonce() -> Result<()> {
    Deployment::run(async |deployment| {
        let shard = &deployment.shard;
        let (alice, bob, charlie) = (signer(Alice), signer(Bob), signer(Charlie));
        shield(deployment, 1_000 * UNIT).await?;

        // Not an account of the shard yet: neither money nor a nonce to fail with.
        let mut refused = shard.transfer(&bob, &alice.account(), UNIT).await;
        if let Ok(operation) = &mut refused {
            bail!("a call of nobody was taken: {:?}", operation.in_block().await);
        }
        assert_eq!(shard.nonce(&bob).await?, 0);

        for (amount, reason) in
            [(2_000 * UNIT, "insufficient balance"), (EXISTENTIAL_DEPOSIT - 1, "below the existential deposit")]
        {
            let before = (shard.free_balance(&alice).await?, shard.nonce(&alice).await?);
            let operation = shard.transfer(&alice, &bob.account(), amount).await?;
            let hash = operation.hash();
            assert_eq!(failure(operation).await?, reason, "the notification tells the reason");
            let after = (shard.free_balance(&alice).await?, shard.nonce(&alice).await?);
            assert_eq!(after, (before.0, before.1 + 1), "{reason}");
            let outcome = shard.outcome(&alice, hash).await?.context("no outcome")?;
            assert_eq!(outcome.result, Err(reason.to_owned()), "and so it can be asked for later");
        }
        assert_eq!(shard.free_balance(&bob).await?, 0);

        // What is left works as before.
        shard.transfer(&alice, &bob.account(), 300 * UNIT).await?.in_block().await?;
        assert_eq!(shard.free_balance(&alice).await?, 700 * UNIT);
        assert_eq!(shard.free_balance(&bob).await?, 300 * UNIT);
        assert_eq!(shard.nonce(&alice).await?, 3);

        for (form, answer) in ["published", "bound"].iter().zip(deployment.ask_as_stranger(&alice, &charlie).await?) {
            let Err(WorkerError::Refused(reason)) = answer else { bail!("{form}: {answer:?}") };
            assert_eq!(reason, "the query does not decode or is not signed by the account's owner", "{form}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_run_in_the_order_of_their_nonces() -> Result<()> {
    Deployment::run(async |deployment| {
        let shard = &deployment.shard;
        let (alice, bob) = (signer(Alice), signer(Bob));
        shield(deployment, 10 * UNIT).await?;
        let pay = |amount: Balance| TrustedCall::BalanceTransfer(alice.account(), bob.account(), amount);

        // The second first: it has to wait for the first, which has money enough for both only together.
        let mut second = shard.submit_with_nonce(&alice, pay(2 * UNIT), 1).await?;
        let waits = second.next().await.context("no status")??;
        assert_eq!(waits.status, TrustedOperationStatus::Future);
        assert_eq!(shard.free_balance(&bob).await?, 0, "a gap is not jumped over");
        shard.submit_with_nonce(&alice, pay(3 * UNIT), 0).await?.in_block().await?;
        second.in_block().await?;
        assert_eq!(shard.free_balance(&bob).await?, 5 * UNIT);
        assert_eq!(shard.nonce(&alice).await?, 2);

        // Neither again nor far ahead.
        let used = shard.submit_with_nonce(&alice, pay(UNIT), 0).await;
        assert!(matches!(used, Err(ShardError::Worker(WorkerError::Refused(_)))), "{:?}", used.err());
        let far = shard.submit_with_nonce(&alice, pay(UNIT), 1_000_000).await;
        assert!(matches!(far, Err(ShardError::Worker(WorkerError::Refused(_)))), "{:?}", far.err());
        assert_eq!(shard.free_balance(&bob).await?, 5 * UNIT);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_enclave_refuses_its_old_shard() -> Result<()> {
    let node = Node::dev().await?;
    let mut first = Worker::start(node.url(), WorkerOptions::default()).await?;
    let layer_one = LayerOne::connect(node.url()).await?;
    let old = only_shard(&layer_one).await?;
    let old_key = Shard::find(&layer_one, old).await?.enclave.tls_key_hash;
    let status = first.stop().await?;
    assert!(status.success(), "SIGTERM is a clean stop: {status}{}", first.log());

    let options = WorkerOptions { shard: Some(old), ..WorkerOptions::default() };
    let status = Worker::start_in_vain(node.url(), options, "started anew").await?;
    assert_eq!(status.code(), Some(OLD_SHARD_EXIT_CODE));

    // Without the old shard it gets a new one, and the old one's key is nobody's.
    let second = Worker::start(node.url(), WorkerOptions::default()).await?;
    let impostor = WorkerClient::connect(&second.url(), Pin::TlsKey(old_key)).await;
    assert!(matches!(impostor, Err(WorkerError::WrongTlsKey { .. })), "{:?}", impostor.err());
    let selection = Selection { shard: Some(old), mrenclave: None };
    assert!(ShardClient::connect(&layer_one, &second.url(), &selection).await.is_err());
    let new = ShardClient::connect(&layer_one, &second.url(), &Selection::default()).await?;
    assert_ne!(new.shard().id, old);
    Ok(())
}

/// What `cloister-worker` exits with when its enclave cannot serve the shard that it was told to serve.
const OLD_SHARD_EXIT_CODE: i32 = 4;

async fn only_shard(layer_one: &LayerOne) -> Result<ShardId> {
    match layer_one.shards().await?.as_slice() {
        [(shard, _)] => Ok(*shard),
        shards => bail!("{} shards", shards.len()),
    }
}

/// Moves money of Alice into her account on the shard.
async fn shield(deployment: &Deployment, amount: Balance) -> Result<()> {
    let (shard, alice) = (&deployment.shard, signer(Alice));
    let to: AccountId = alice.account();
    shard.shield(&alice, &to, amount, Wait::Finalized).await?;
    eventually("the shielded money", SETTLE_DEADLINE, async || {
        Ok((shard.free_balance(&alice).await? == amount).then_some(()))
    })
    .await
}

/// The reason for which a call failed, as its sender is told.
async fn failure(mut operation: Operation) -> Result<String> {
    let ended = tokio::time::timeout(Duration::from_secs(30), operation.in_block()).await?;
    match ended {
        Err(WorkerError::CallFailed { reason, .. }) => Ok(reason),
        other => bail!("it should have failed: {other:?}"),
    }
}
