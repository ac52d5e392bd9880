//! Calls that loop, grow, panic, end the enclave or are larger than a slot: the shard goes on, and their senders learn
//! why nothing came of them. In an enclave that was made for it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, UNIT};
use cloister_client::{Invocation, Signer, worker::Error as WorkerError};
use cloister_testing::{
    Deployment, WorkerOptions,
    deployment::SETTLE_DEADLINE,
    misbehaviour::{ABORTS, COMPUTES, GROWS, PANICS, READS, WEIGHS, WEIGHT, WRITES},
    process::binary,
    signer,
};
use cloister_wire::{TrustedCall, TrustedOperation};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};

/// What stops a call that uses too much, and its sender reads. The figures are part of the shard's rules.
const STOPPED: [(Balance, &str); 4] = [
    (READS, "exceeded its share: more than 10000 storage reads"),
    (WRITES, "exceeded its share: more than 2000 storage writes"),
    (GROWS, "exceeded its share: more than 1048576 bytes of storage"),
    (PANICS, "panicked"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_bound_fails_and_the_shard_goes_on() -> Result<()> {
    misbehaving(async |deployment| {
        let (alice, ferdie) = (signer(Alice), signer(Ferdie));
        let indirect = [Bob, Charlie, Dave, Eve];
        endow(deployment, &[Alice, Bob, Charlie, Dave, Eve]).await?;

        for (nonce, (amount, reason)) in (0..).zip(STOPPED) {
            let failed = deployment.shard.transfer(&alice, &ferdie.account(), amount).await?.in_block().await;
            let Err(WorkerError::CallFailed { reason: told, operation }) = failed else { bail!("{failed:?}") };
            assert_eq!(told, reason);
            let outcome = deployment.shard.outcome(&alice, operation).await?.context("no outcome")?;
            assert_eq!(outcome.result, Err(reason.to_owned()), "and so it can be asked for later");
            assert_eq!(deployment.shard.nonce(&alice).await?, nonce + 1);
        }
        let Err(refused) = deployment.shard.transfer(&alice, &ferdie.account(), WEIGHS).await else {
            bail!("a call that fills no slot was taken")
        };
        assert_eq!(refused.to_string(), format!("the enclave refused: {}", too_heavy()));

        for (sender, (amount, reason)) in indirect.into_iter().zip(STOPPED) {
            indirectly_fails(deployment, sender, amount, reason).await?;
        }
        indirectly_fails(deployment, Alice, WEIGHS, &too_heavy()).await?;

        assert_eq!(deployment.shard.free_balance(&ferdie).await?, 0);
        deployment.shard.transfer(&alice, &ferdie.account(), UNIT).await?.in_block().await?;
        for sender in [Alice, Bob, Charlie, Dave, Eve] {
            // What fails has cost its fee all the same.
            let paid = if sender == Alice { UNIT + 5 * DIRECT_CALL_FEE } else { 0 };
            assert_eq!(deployment.shard.free_balance(&signer(sender)).await?, ENDOWMENT - paid, "{sender}");
        }
        assert_eq!(deployment.shard.free_balance(&ferdie).await?, UNIT);
        Ok(())
    })
    .await
}

/// The same call again ends the enclave again, and again alone in its block; after that it is not taken any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_call_that_ended_three_enclaves_is_refused() -> Result<()> {
    misbehaving(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        endow(deployment, &[Alice, Bob]).await?;
        deployment.shard.transfer(&bob, &alice.account(), UNIT).await?.in_block().await?;
        let shard = deployment.shard.shard();
        let call = TrustedCall::BalanceTransfer(alice.account(), bob.account(), ABORTS);
        let operation = TrustedOperation::DirectCall(shard.sign_call(call, 0, &alice)?);

        for death in 1..=3 {
            let request = deployment.shard.shard().seal_operation(&operation)?;
            let mut deadly = deployment.shard.worker().submit_and_watch(&request).await?;
            let ended = deadly.in_block().await;
            ensure!(breaks_off(&ended), "death {death}: {ended:?}");
            let status = deployment.worker.ends("the enclave ended without a word").await?;
            assert_eq!(status.code(), Some(ENCLAVE_DIED));
            deployment.start_worker_again().await?;
            // Others are served between the deaths and after, and nothing of what they did is lost.
            assert_eq!(deployment.shard.nonce(&bob).await?, death);
            deployment.shard.transfer(&bob, &alice.account(), UNIT).await?.in_block().await?;
        }
        let request = deployment.shard.shard().seal_operation(&operation)?;
        let refused = deployment.shard.worker().submit_and_watch(&request).await;
        let Err(WorkerError::Refused(reason)) = refused.map(|operation| operation.hash()) else { bail!("taken again") };
        assert_eq!(reason, "the call was set aside: it ended the enclave that executed it");

        // It has used neither its nonce nor its fee.
        assert_eq!(deployment.shard.nonce(&alice).await?, 0);
        deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
        assert_eq!(deployment.shard.free_balance(&alice).await?, ENDOWMENT + 3 * UNIT - DIRECT_CALL_FEE);
        assert_eq!(deployment.shard.free_balance(&bob).await?, ENDOWMENT - 3 * UNIT - 4 * DIRECT_CALL_FEE);
        Ok(())
    })
    .await
}

/// Nothing of the enclave stops it: the worker ends an enclave that says nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_computes_for_ever_ends_its_enclave_and_not_the_shard() -> Result<()> {
    misbehaving(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        endow(deployment, &[Alice, Bob]).await?;
        let mut endless = deployment.shard.transfer(&alice, &bob.account(), COMPUTES).await?;
        let status = deployment.worker.ends("the enclave has said nothing for 8 s and is killed").await?;
        assert_eq!(status.code(), Some(ENCLAVE_DIED));
        let ended = endless.in_block().await;
        ensure!(breaks_off(&ended), "{ended:?}");
        deployment.start_worker_again().await?;
        assert_eq!(deployment.shard.nonce(&alice).await?, 0);
        deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
        assert_eq!(deployment.shard.free_balance(&bob).await?, ENDOWMENT + UNIT);
        Ok(())
    })
    .await
}

/// Nobody can take an entry of the inbox back, so it is tried by three enclaves before it is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn an_indirect_call_that_ended_three_enclaves_is_set_aside_with_its_reason() -> Result<()> {
    misbehaving(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        endow(deployment, &[Alice, Bob]).await?;
        let invocation = deployment.shard.transfer_indirect(&alice, &bob.account(), ABORTS).await?;
        let last_words = "the enclave ended without a word";
        let status = deployment.worker.ends(last_words).await?;
        assert_eq!(status.code(), Some(ENCLAVE_DIED));
        for death in 2..=3 {
            let status = deployment.worker.start_again_in_vain(last_words).await?;
            assert_eq!(status.code(), Some(ENCLAVE_DIED), "death {death}");
        }
        deployment.start_worker_again().await?;
        fails(deployment, &alice, &invocation, "set aside: it ended the enclave three times").await?;

        // It has used its nonce, as every call that layer one brings.
        assert_eq!(deployment.shard.nonce(&alice).await?, 1);
        deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
        let paid = deployment.shard.transfer_indirect(&bob, &alice.account(), 3 * UNIT).await?;
        let outcome = deployment.shard.executed(&bob, &paid, SETTLE_DEADLINE).await?;
        assert_eq!(outcome.result, Ok(()));
        assert_eq!(deployment.shard.free_balance(&alice).await?, ENDOWMENT + 2 * UNIT - DIRECT_CALL_FEE);
        assert_eq!(deployment.shard.free_balance(&bob).await?, ENDOWMENT - 2 * UNIT);
        Ok(())
    })
    .await
}

async fn misbehaving(scenario: impl AsyncFnOnce(&mut Deployment) -> Result<()>) -> Result<()> {
    let enclave_binary = Some(binary("misbehaving-enclave")?);
    let options = WorkerOptions { enclave_binary, enclave_silence: Some(8), ..WorkerOptions::default() };
    Deployment::run_with(options, scenario).await
}

/// Gives each of them money on the shard.
async fn endow(deployment: &Deployment, accounts: &[Sr25519Keyring]) -> Result<()> {
    let amounts: Vec<_> = accounts.iter().map(|account| (*account, ENDOWMENT)).collect();
    deployment.endow(Ferdie, &amounts).await
}

async fn indirectly_fails(deployment: &Deployment, sender: Sr25519Keyring, amount: Balance, why: &str) -> Result<()> {
    let sender = signer(sender);
    let nonce = deployment.shard.nonce(&sender).await?;
    let invocation = deployment.shard.transfer_indirect(&sender, &Ferdie.to_account_id(), amount).await?;
    fails(deployment, &sender, &invocation, why).await?;
    assert_eq!(deployment.shard.nonce(&sender).await?, nonce + 1, "{why}");
    Ok(())
}

async fn fails(deployment: &Deployment, sender: &Signer, invocation: &Invocation, why: &str) -> Result<()> {
    let outcome = deployment.shard.executed(sender, invocation, PROCESSED).await.context(why.to_owned())?;
    assert_eq!(outcome.result, Err(why.to_owned()));
    Ok(())
}

/// Whether the connection ended before anything was told.
fn breaks_off<T>(ended: &Result<T, WorkerError>) -> bool {
    matches!(ended, Err(WorkerError::PerhapsExecuted { source, .. }) if matches!(**source, WorkerError::Closed))
}

fn too_heavy() -> String {
    // 80 % of 300 ms.
    format!("call weighs {WEIGHT} ps, more than the 240000000000 ps that a slot has")
}

const ENDOWMENT: Balance = 10_000 * UNIT;
/// What `cloister-worker` exits with when its enclave ends by itself.
const ENCLAVE_DIED: i32 = 3;
const PROCESSED: Duration = Duration::from_secs(60);
