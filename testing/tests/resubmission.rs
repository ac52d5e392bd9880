//! Calls through layer one's inbox that somebody copies and submits again: executed once at most, and their sender is told
//! that they had no effect only when that is final.

use std::time::Duration;

use anyhow::{Context, Result};
use cloister_chain_primitives::{AccountId, H256, InboxEntry, Request, ShardConfig, UNIT, calls::Call, storage};
use cloister_client::{
    Invocation, Route, ShardClient, Signer, Wait, layer_one,
    shard::{self, Error},
};
use cloister_testing::{Deployment, deployment::SETTLE_DEADLINE, signer};
use cloister_wire::TrustedCall;
use codec::{Decode, Encode};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Dave, Eve, Ferdie};

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_call_is_executed_once_and_not_told_as_final_before() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, eve) = (signer(Alice), signer(Eve));
        deployment.shield(&alice, 20 * UNIT).await?;

        // Ferdie is nobody on the shard, so that the call is consumed without effect.
        let ferdie = signer(Ferdie);
        let call = Copied::invoke(deployment, &deployment.shard, &ferdie, 3 * UNIT).await?;
        call.has_no_effect_yet(deployment).await?;
        // Eve submits it again in vain. Then he is somebody, and she does once more.
        call.submit_again(deployment, &eve).await?;
        call.has_no_effect_yet(deployment).await?;
        deployment.shield(&ferdie, 10 * UNIT).await?;
        let before = deployment.shard.free_balance(&ferdie).await?;
        assert_eq!(before, 10 * UNIT);
        call.submit_again(deployment, &eve).await?;
        let outcome = deployment.shard.executed(&ferdie, &call.invocation, Duration::ZERO).await?;
        assert_eq!((outcome.result, outcome.outbox), (Ok(()), None));
        call.submit_again(deployment, &eve).await?;
        assert_eq!(deployment.shard.nonce(&ferdie).await?, 1);
        assert_eq!(deployment.shard.free_balance(&ferdie).await?, 7 * UNIT);
        assert_eq!(deployment.shard.free_balance(&signer(Bob)).await?, 3 * UNIT);

        // What was sent with the same nonce in its place is not executed beside it.
        let instead = deployment.shard.clone().with_call_nonce(call.invocation.nonce);
        let again = instead.execute(&ferdie, Route::Direct, pay(&ferdie, 3 * UNIT), SETTLE_DEADLINE, |_| ()).await;
        assert!(matches!(again, Err(Error::NonceUsed { nonce: 0, next: 1 })), "{again:?}");

        // Dave's holds for four blocks more. Once they are anchored it is refused for good, and a copy changes nothing.
        let (dave, short) = (signer(Dave), deployment.shard.clone().with_call_lifetime(4));
        let call = Copied::invoke(deployment, &short, &dave, UNIT).await?;
        call.has_no_effect_yet(deployment).await?;
        for _ in 0..4 {
            let noop = TrustedCall::Noop(alice.account());
            deployment.shard.execute(&alice, Route::Direct, noop, SETTLE_DEADLINE, |_| ()).await?;
        }
        let last_block = call.invocation.last_block;
        deployment.shard.anchored(last_block, SETTLE_DEADLINE).await?;
        call.is_refused(deployment).await?;
        deployment.shield(&dave, 10 * UNIT).await?;
        call.submit_again(deployment, &eve).await?;
        call.is_refused(deployment).await?;
        assert_eq!(deployment.shard.nonce(&dave).await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_extrinsic_failed_can_be_submitted_by_others_all_the_same() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, eve) = (signer(Alice), signer(Eve));
        deployment.shield(&alice, 20 * UNIT).await?;
        set_maintenance(deployment, true).await?;
        let error = deployment.shard.transfer_indirect(&alice, &bob(), 3 * UNIT).await.unwrap_err();
        let Error::NoEffectYet { operation, nonce: 0, source, .. } = &error else { panic!("{error:?}") };
        let Error::LayerOne(layer_one::Error::ExtrinsicFailed { block_hash, failure, .. }) = &**source else {
            panic!("{source:?}")
        };
        assert_eq!(failure.name, "enclaveBridge.InMaintenance");
        let copy = published(deployment, *block_hash).await?;
        set_maintenance(deployment, false).await?;
        deployment.layer_one.submit(&Call::invoke(&copy), &eve, Wait::Finalized).await?;
        deployment.inbox_consumed().await?;
        let outcome = deployment.shard.outcome(&alice, *operation).await?.context("not executed")?;
        assert_eq!(outcome.result, Ok(()));
        assert_eq!(deployment.shard.free_balance(&signer(Bob)).await?, 3 * UNIT);
        Ok(())
    })
    .await
}

/// An indirect call as everybody sees it on layer one.
struct Copied {
    sender: Signer,
    invocation: Invocation,
    request: Request,
}

impl Copied {
    async fn invoke(deployment: &Deployment, shard: &ShardClient, sender: &Signer, amount: u128) -> Result<Self> {
        let invocation = shard.invoke(sender, &signer(Alice), pay(sender, amount)).await?;
        let (chain, id) = (&deployment.chain, shard.shard().id);
        let at = Some(invocation.block_hash);
        let length: u64 = chain.storage(&storage::inbox_length(&id), at).await?.unwrap_or_default();
        let number = length.checked_sub(1).context("nothing in the inbox")?;
        let entry = chain.storage(&storage::inbox_entry(&id, number), at).await?.context("no entry")?;
        let InboxEntry::Invoke(request) = entry else { panic!("a shielding") };
        Ok(Self { sender: sender.clone(), invocation, request })
    }

    async fn submit_again(&self, deployment: &Deployment, by: &Signer) -> Result<()> {
        deployment.layer_one.submit(&Call::invoke(&self.request), by, Wait::Finalized).await?;
        deployment.inbox_consumed().await
    }

    async fn asked(&self, deployment: &Deployment) -> shard::Error {
        deployment.shard.executed(&self.sender, &self.invocation, SETTLE_DEADLINE).await.unwrap_err()
    }

    async fn has_no_effect_yet(&self, deployment: &Deployment) -> Result<()> {
        let error = self.asked(deployment).await;
        let Error::NoEffectYet { operation, nonce, last_block, source } = &error else { panic!("{error:?}") };
        let of_call = (self.invocation.operation, self.invocation.nonce, self.invocation.last_block);
        assert_eq!((*operation, *nonce, *last_block), of_call);
        assert!(matches!(**source, Error::WithoutEffect { next: 0 }) && !error.is_refusal(), "{source:?}");
        Ok(())
    }

    async fn is_refused(&self, deployment: &Deployment) -> Result<()> {
        let error = self.asked(deployment).await;
        let Error::CallExpired { operation, last_block, block } = error else { panic!("{error:?}") };
        assert_eq!((operation, last_block), (self.invocation.operation, self.invocation.last_block));
        assert!(block >= last_block && error.is_refusal(), "{error}");
        Ok(())
    }
}

/// Root closes or opens the shard, and its enclave has seen it.
async fn set_maintenance(deployment: &Deployment, maintenance_mode: bool) -> Result<()> {
    let shard = deployment.shard.shard();
    let config = ShardConfig { maintenance_mode, ..shard.entry.config.active_config.clone() };
    let height = deployment.root(Call::update_shard_config(&shard.id, &config, 0)).await?;
    deployment.seen(height).await
}

/// The request for the shard in an extrinsic of a block.
async fn published(deployment: &Deployment, block: H256) -> Result<Request> {
    let empty = Request { shard: deployment.shard.shard().id, cyphertext: Default::default() };
    // Pallet, call and shard.
    let head = Call::invoke(&empty).encode()[..2 + 32].to_vec();
    let block = deployment.chain.block(block).await?;
    let found = block.extrinsics.iter().find_map(|extrinsic| {
        let at = extrinsic.windows(head.len()).position(|bytes| bytes == head)?;
        Request::decode(&mut &extrinsic[at + 2..]).ok()
    });
    found.context("the block has no request for the shard")
}

fn bob() -> AccountId {
    Bob.to_account_id()
}

fn pay(from: &Signer, amount: u128) -> TrustedCall {
    TrustedCall::BalanceTransfer(from.account(), bob(), amount)
}
