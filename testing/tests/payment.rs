//! Calls on a shard that fail, questions that are none of the asker's business, and shards that are not an enclave's
//! own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, UNIT};
use cloister_client::{
    Pin, Selection, ShardClient, Worker as WorkerClient,
    shard::Error as ShardError,
    worker::{Error as WorkerError, Operation},
};
use cloister_testing::{Deployment, Worker, WorkerOptions, signer};
use cloister_wire::{TrustedCall, TrustedOperationStatus};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};

#[tokio::test(flavor = "multi_thread")]
async fn failing_calls_leave_only_nonce_and_fee() -> Result<()> {
    Deployment::run(async |deployment| {
        let shard = &deployment.shard;
        let (alice, bob, charlie) = (signer(Alice), signer(Bob), signer(Charlie));
        deployment.shield(&alice, 1_000 * UNIT).await?;

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
            assert_eq!(after, (before.0 - DIRECT_CALL_FEE, before.1 + 1), "{reason}");
            let outcome = shard.outcome(&alice, hash).await?.context("no outcome")?;
            assert_eq!(outcome.result, Err(reason.to_owned()), "and so it can be asked for later");
        }
        assert_eq!(shard.free_balance(&bob).await?, 0);

        // What is left works as before.
        shard.transfer(&alice, &bob.account(), 300 * UNIT).await?.in_block().await?;
        assert_eq!(shard.free_balance(&alice).await?, 700 * UNIT - 3 * DIRECT_CALL_FEE);
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
        deployment.shield(&alice, 10 * UNIT).await?;
        let pay = |amount: Balance| TrustedCall::BalanceTransfer(alice.account(), bob.account(), amount);

        // The second first: it has to wait for the first, which has money enough for both only together.
        let mut second = shard.submit_with_nonce(&alice, pay(2 * UNIT), 1).await?;
        let waits = second.next().await.context("no status")??;
        assert_eq!(waits.status, TrustedOperationStatus::Future);
        assert_eq!(shard.free_balance(&bob).await?, 0, "a gap is not jumped over");
        shard.submit_with_nonce(&alice, pay(3 * UNIT), 0).await?.in_block().await?;
        second.in_block().await?;
        assert_eq!(shard.free_balance(&bob).await?, 5 * UNIT);
        assert_eq!(shard.free_balance(&alice).await?, 5 * UNIT - 2 * DIRECT_CALL_FEE);
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
async fn an_enclave_serves_no_shard_but_its_own() -> Result<()> {
    Deployment::run(async |deployment| {
        let (node, first) = (deployment.node.url(), deployment.shard.shard().clone());
        let status = deployment.worker.stop().await?;
        assert!(status.success(), "SIGTERM is a clean stop: {status}{}", deployment.worker.log());

        // An enclave without what the first one's host kept is another one.
        let options = WorkerOptions { shard: Some(first.id), ..WorkerOptions::default() };
        let refused = "the wanted shard is not that of the data directory";
        let status = Worker::start_in_vain(node, options, refused).await?;
        assert_eq!(status.code(), Some(OTHER_SHARD_EXIT_CODE));
        let second = Worker::start(node, WorkerOptions::default()).await?;
        let impostor = WorkerClient::connect(&second.url(), Pin::TlsKey(first.enclave.tls_key_hash)).await;
        assert!(matches!(impostor, Err(WorkerError::WrongTlsKey { .. })), "{:?}", impostor.err());
        let selection = Selection { shard: Some(first.id), mrenclave: None };
        assert!(ShardClient::connect(&deployment.layer_one, &second.url(), &selection).await.is_err());
        let other = ShardClient::connect(&deployment.layer_one, &second.url(), &Selection::default()).await?;
        assert_ne!(other.shard().id, first.id);

        // With it, it is the same.
        let data_dir = Some(deployment.worker.data_dir().into());
        let options = WorkerOptions { shard: Some(first.id), data_dir, ..WorkerOptions::default() };
        let again = Worker::start(node, options).await?;
        let client = ShardClient::connect(&deployment.layer_one, &again.url(), &Selection::default()).await?;
        assert_eq!(client.shard().id, first.id);
        Ok(())
    })
    .await
}

/// What `cloister-worker` exits with when its enclave cannot serve the shard that it was told to serve.
const OTHER_SHARD_EXIT_CODE: i32 = 4;

/// The reason for which a call failed, as its sender is told.
async fn failure(mut operation: Operation) -> Result<String> {
    let ended = tokio::time::timeout(Duration::from_secs(30), operation.in_block()).await?;
    match ended {
        Err(WorkerError::CallFailed { reason, .. }) => Ok(reason),
        other => bail!("it should have failed: {other:?}"),
    }
}
