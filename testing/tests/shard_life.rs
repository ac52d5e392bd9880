//! What becomes of everybody's money when a shard is under maintenance, and when it ends.

use anyhow::{Context, Result, bail};
use cloister_chain_primitives::{
    DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, MIN_SHIELD, ShardConfig, UNIT, UNSHIELD_FEE, Verdict, calls::Call,
};
use cloister_client::{Route, Signer, shard::Error as ShardError, worker::Error as WorkerError};
use cloister_testing::{Deployment, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, signer};
use cloister_wire::{TrustedCall, TrustedOperation};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Dave, Eve, Ferdie};

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_lets_money_out_and_nothing_in() -> Result<()> {
    Deployment::run(async |deployment| {
        let (shard, alice, bob, ferdie) = (&deployment.shard, signer(Alice), signer(Bob), Ferdie.to_account_id());
        let id = shard.shard().id;
        deployment.shield(&alice, 100 * UNIT).await?;
        let before = deployment.chain.free_balance(&ferdie).await?;
        let open = shard.shard().entry.config.active_config.clone();
        let closed = ShardConfig { maintenance_mode: true, ..open.clone() };
        let height = deployment.root(Call::update_shard_config(&id, &closed, 0)).await?;
        deployment.seen(height).await?;

        for call in inward(deployment, &alice)? {
            assert_eq!(deployment.failure(&call, &bob).await?, "enclaveBridge.InMaintenance");
        }
        assert_eq!(
            refusal(deployment, &alice).await?,
            "the shard is under maintenance: it takes no calls but unshieldings"
        );
        let out = shard.unshield(&alice, &ferdie, 10 * UNIT, Route::Direct, SETTLE_DEADLINE, |_| ()).await?;
        let (verdict, _) = shard.settled(&out, SETTLE_DEADLINE, |_| ()).await?;
        assert_eq!(verdict, Verdict::Paid);
        assert_eq!(deployment.chain.free_balance(&ferdie).await?, before + 10 * UNIT);

        let height = deployment.root(Call::update_shard_config(&id, &open, 0)).await?;
        deployment.seen(height).await?;
        shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
        let ledgers = deployment.ledgers().await?;
        let fees = 2 * DIRECT_CALL_FEE + UNSHIELD_FEE;
        assert_eq!(ledgers.are_of(shard, [&alice, &bob]).await?, [89 * UNIT - fees, UNIT]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_shard_pays_everybody_on_layer_one() -> Result<()> {
    let options = WorkerOptions { upgrade_delay: Some(UPGRADE_DELAY), ..WorkerOptions::default() };
    Deployment::run_with(options, async |deployment| {
        let (shard, bob) = (&deployment.shard, signer(Bob));
        let id = shard.shard().id;
        // Whose balance is changed by nothing else: Ferdie pays for all.
        let owners = [Bob, Charlie, Dave, Eve];
        deployment.endow(Ferdie, &[(Bob, 10 * UNIT), (Charlie, 5 * UNIT), (Dave, MIN_SHIELD)]).await?;
        shard.transfer(&bob, &Eve.to_account_id(), EXISTENTIAL_DEPOSIT).await?.in_block().await?;
        let mut before = Vec::new();
        for owner in owners {
            before.push(deployment.chain.free_balance(&owner.to_account_id()).await?);
        }

        deployment.root(Call::retire_shard(&id)).await?;
        let entry = deployment.layer_one.shard(&id).await?.context("the shard is gone")?;
        let retirement = entry.retirement.context("it does not end")?;
        assert_eq!(retirement.opens_at, retirement.announced_at + UPGRADE_DELAY);
        // Until then it takes calls, but no money.
        let [shielding, invocation] = inward(deployment, &bob)?;
        assert_eq!(deployment.failure(&shielding, &signer(Ferdie)).await?, "enclaveBridge.ShardRetired");
        shard.transfer(&bob, &Charlie.to_account_id(), UNIT).await?.in_block().await?;

        deployment.seen(retirement.opens_at).await?;
        assert_eq!(deployment.failure(&invocation, &signer(Ferdie)).await?, "enclaveBridge.ShardRetired");
        let owed = [
            9 * UNIT - EXISTENTIAL_DEPOSIT - 2 * DIRECT_CALL_FEE - UNSHIELD_FEE,
            6 * UNIT - UNSHIELD_FEE,
            MIN_SHIELD - UNSHIELD_FEE,
            // Whom the fee would leave less than an account can have, pays none.
            EXISTENTIAL_DEPOSIT,
        ];
        for ((owner, before), owed) in owners.into_iter().zip(before).zip(owed) {
            eventually(&format!("{owner}'s money"), SETTLE_DEADLINE, async || {
                let free = deployment.chain.free_balance(&owner.to_account_id()).await?;
                Ok((free == before + owed).then_some(()))
            })
            .await?;
        }
        // Nobody is left who could call.
        assert_eq!(
            refusal(deployment, &bob).await?,
            "the shard is retired: it takes no calls, and its accounts are paid on layer one"
        );
        let ledgers = deployment.ledgers().await?;
        assert_eq!(ledgers.are_of(shard, owners.map(signer).each_ref()).await?, [0; 4]);
        assert_eq!(ledgers.books.fees, 2 * DIRECT_CALL_FEE + 3 * UNSHIELD_FEE);
        assert_eq!(ledgers.books.outbox_next, 4);
        Ok(())
    })
    .await
}

/// What a shard takes from layer one: money for `owner`, and a call of theirs.
fn inward(deployment: &Deployment, owner: &Signer) -> Result<[Call; 2]> {
    let shard = deployment.shard.shard();
    let noop = shard.sign_call(TrustedCall::Noop(owner.account()), 0, owner)?;
    let request = shard.seal_operation(&TrustedOperation::IndirectCall(noop))?;
    let sealed = shard.seal_beneficiary(&owner.account())?;
    Ok([Call::shield_funds(&shard.id, &sealed, UNIT), Call::invoke(&request)])
}

/// Why the enclave does not take a transfer, which costs nothing and leaves no nonce.
async fn refusal(deployment: &Deployment, from: &Signer) -> Result<String> {
    let shard = &deployment.shard;
    let before = (shard.nonce(from).await?, shard.free_balance(from).await?);
    let refused = shard.transfer(from, &Ferdie.to_account_id(), UNIT).await;
    let Err(ShardError::Worker(WorkerError::Refused(reason))) = refused.map(|operation| operation.hash()) else {
        bail!("it was taken")
    };
    assert_eq!((shard.nonce(from).await?, shard.free_balance(from).await?), before);
    Ok(reason)
}

/// Layer-one blocks between the announcement of the shard's end and the end.
const UPGRADE_DELAY: u32 = 30;
