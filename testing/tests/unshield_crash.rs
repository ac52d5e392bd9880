//! A worker that is killed on money's way out, at each step between the enclave and its proof that layer one has paid.

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, UNIT, UNSHIELD_FEE, storage};
use cloister_client::Route;
use cloister_testing::{
    Deployment, Tap, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, signer, tap::unshields,
};
use sp_keyring::Sr25519Keyring::{Alice, Ferdie};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_owed_is_paid_once_whenever_the_worker_is_killed() -> Result<()> {
    Deployment::run_tapped(WorkerOptions::default(), async |deployment, tap| {
        let alice = signer(Alice);
        // Operators do not start workers again as often as this.
        deployment.chain.change_policy(|policy| policy.incarnation_gap = 1).await?;
        deployment.shield(&alice, 100 * UNIT).await?;
        let before = paid(deployment).await?;

        // Between anchor and submission.
        let signed_before = asked_for(deployment, tap, 10 * UNIT).await?;
        deployment.worker.kill().await?;
        deployment.start_worker_again().await?;
        // What the start before had signed has no effect any more: the registration had its nonce.
        let outdated = deployment.chain.deliver(&signed_before).await.err().context("it was taken")?;
        ensure!(format!("{outdated:?}").contains("Transaction is outdated"), "{outdated:?}");
        assert_eq!(paid(deployment).await?, before, "nobody has heard of it");
        tap.pass();
        once(deployment, before + 10 * UNIT).await?;

        // Between submission and inclusion.
        let submitted = asked_for(deployment, tap, 11 * UNIT).await?;
        deployment.worker.kill().await?;
        tap.pass();
        deployment.chain.deliver(&submitted).await?;
        assert_eq!(paid(deployment).await?, before + 21 * UNIT);
        deployment.start_worker_again().await?;
        once(deployment, before + 21 * UNIT).await?;

        // Between inclusion and proof.
        let included = asked_for(deployment, tap, 12 * UNIT).await?;
        tap.withhold_proofs();
        deployment.chain.deliver(&included).await?;
        tap.proof_withheld(SETTLE_DEADLINE).await?;
        let open = storage::settled(&deployment.shard.shard().id, 2);
        ensure!(deployment.chain.raw_storage(&open, None).await?.is_some(), "layer one waits for the shard");
        deployment.worker.kill().await?;
        tap.pass();
        tap.pass_proofs();
        deployment.start_worker_again().await?;
        once(deployment, before + 33 * UNIT).await?;

        let fees = 3 * (DIRECT_CALL_FEE + UNSHIELD_FEE);
        let ledgers = deployment.ledgers().await?;
        assert_eq!(ledgers.are_of(&deployment.shard, [&alice]).await?, [67 * UNIT - fees]);
        assert_eq!((ledgers.books.outbox_next, ledgers.books.refunded), (3, 0));
        Ok(())
    })
    .await
}

/// Alice asks for money on layer one. Answers with the extrinsic that has it paid, which is swallowed; the entry is
/// anchored by then.
async fn asked_for(deployment: &Deployment, tap: &Tap, amount: Balance) -> Result<Vec<u8>> {
    let unshields = unshields(deployment.shard.shard().id);
    tap.swallow(unshields.clone());
    let heard = tap.submitted().len();
    let (alice, ferdie) = (signer(Alice), Ferdie.to_account_id());
    deployment.shard.unshield(&alice, &ferdie, amount, Route::Direct, SETTLE_DEADLINE, |_| ()).await?;
    tap.submission(heard, SETTLE_DEADLINE, unshields).await
}

/// What the beneficiary has on layer one.
async fn paid(deployment: &Deployment) -> Result<Balance> {
    deployment.chain.free_balance(&Ferdie.to_account_id()).await
}

/// In the end the beneficiary has this much, and nothing more is on its way.
async fn once(deployment: &Deployment, expected: Balance) -> Result<()> {
    eventually("the payment", SETTLE_DEADLINE, async || Ok((paid(deployment).await? == expected).then_some(())))
        .await?;
    deployment.ledgers().await?;
    assert_eq!(paid(deployment).await?, expected);
    Ok(())
}
