//! Calls that hold for a while: how long, what is said of them afterwards, and many at once.

use cloister_wire::TrustedOperationStatus;

use super::{world::*, *};
use crate::Route;

fn pay() -> TrustedCall {
    TrustedCall::BalanceTransfer(alice().account(), bob().account(), 7)
}

fn bound(world: &World) -> BoundCall {
    match world.operation() {
        TrustedOperation::BoundCall(signed) | TrustedOperation::IndirectBoundCall(signed) => signed.bound,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_holds_for_a_thousand_blocks_after_the_newest_or_for_as_many_as_wanted() {
    let deployment = Deployment::start().await;
    deployment.world(|world| world.height = Some(70));
    for (lifetime, last_block) in [(None, 1_070), (Some(3), 73), (Some(u64::MAX), u64::MAX)] {
        let client = deployment.client.clone();
        let client = match lifetime {
            Some(blocks) => client.with_call_lifetime(blocks),
            None => client,
        };
        client.submit(&alice(), pay()).await.unwrap();
        let expected = BoundCall { call: pay(), nonce: NONCE, last_block };
        assert_eq!(deployment.world(|world| bound(world)), expected);
        deployment.world(|world| world.forget());
        let invocation = client.invoke(&alice(), &alice(), pay()).await.unwrap();
        assert_eq!((deployment.world(|world| bound(world)), invocation.last_block), (expected, last_block));
    }
}

#[tokio::test]
async fn the_newest_block_is_asked_for_unless_it_was_just_heard_of() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.submit_with_nonce(&alice(), pay(), 0).await.unwrap();
    assert_eq!(deployment.asked(), ["chain_getHeader", "author_submitAndWatchExtrinsic"]);
    client.submit_with_nonce(&alice(), pay(), 0).await.unwrap();
    assert_eq!(deployment.asked(), ["author_submitAndWatchExtrinsic"]);
    // This fake has no header: there is no block yet.
    assert_eq!(deployment.world(|world| bound(world)).last_block, 1_000);
    client.submit_until(&alice(), pay(), 0, 9).await.unwrap();
    assert_eq!(deployment.world(|world| bound(world)).last_block, 9);
}

#[tokio::test]
async fn nobody_signs_a_call_for_others() {
    let error = shard().sign_bound_call(TrustedCall::Noop(bob().account()), 0, 1, &alice()).unwrap_err();
    assert!(matches!(error, Error::WrongSigner { .. }), "{error}");
}

/// What is said of a direct call of which the enclave said this, with the nonce and the height that it tells afterwards.
async fn said(statuses: &[TrustedOperationStatus], nonce: Nonce, height: u64, limit: Duration) -> (H256, Error) {
    let deployment = Deployment::start().await;
    deployment.world(|world| world.statuses = Some(statuses.to_vec()));
    let client = deployment.client.clone().with_call_lifetime(9);
    let (sender, mut operation) = (alice(), H256::zero());
    let sending = client.execute(&sender, Route::Direct, pay(), limit, |step| {
        if let crate::Step::Submitted(hash) = step {
            operation = hash;
            deployment.world(|world| (world.nonce, world.height) = (Some(nonce), Some(height)));
        }
    });
    let error = sending.await.unwrap_err();
    (operation, error)
}

#[tokio::test]
async fn a_direct_call_has_expired_once_its_last_block_is_made_and_its_nonce_unused() {
    let dropped = [TrustedOperationStatus::Future, TrustedOperationStatus::Dropped];
    for (statuses, limit) in [(&dropped[..], LONG), (&dropped[..1], Duration::from_millis(20))] {
        for (nonce, height) in [(NONCE, 10), (NONCE, 11), (NONCE - 1, 10)] {
            let (sent, error) = said(statuses, nonce, height, limit).await;
            assert!(
                matches!(error, Error::CallExpired { operation, last_block: 10, block }
                    if (operation, block) == (sent, height)),
                "{error}"
            );
            assert!(error.is_refusal());
        }
        for (nonce, height) in [(NONCE + 1, 11), (NONCE, 9)] {
            let (sent, error) = said(statuses, nonce, height, limit).await;
            match &error {
                Error::Worker(worker::Error::Dropped { operation, .. }) if statuses.len() == 2 => {
                    assert_eq!(*operation, sent);
                }
                Error::Worker(worker::Error::NotInTime { operation, .. }) => assert_eq!(*operation, sent),
                other => panic!("{other}"),
            }
        }
    }
    // What was executed is not asked about.
    let (_, error) = said(&[TrustedOperationStatus::Invalid], NONCE, 11, LONG).await;
    assert!(matches!(error, Error::Worker(worker::Error::CallFailed { .. })), "{error}");
}

#[tokio::test]
async fn an_indirect_call_has_expired_once_its_last_block_is_anchored_and_its_nonce_unused() {
    let deployment = Deployment::start().await;
    let client = deployment.client.clone().with_call_lifetime(9);
    let invocation = client.invoke(&alice(), &alice(), pay()).await.unwrap();
    assert_eq!(invocation.last_block, 10);
    let error = async || client.executed(&alice(), &invocation, Duration::ZERO).await.unwrap_err();
    deployment.world(|world| world.height = Some(12));
    // The shard could go back before the block, and execute the call then.
    assert!(matches!(error().await, Error::NotProcessed { .. }));
    deployment.world(|world| {
        world.grow(Vec::new());
        world.set(&storage::anchor(&shard().id), Some(anchored(9).encode()));
    });
    assert!(matches!(error().await, Error::NotProcessed { .. }));
    deployment.world(|world| {
        world.grow(Vec::new());
        world.set(&storage::anchor(&shard().id), Some(anchored(11).encode()));
    });
    let expired = error().await;
    assert!(
        matches!(expired, Error::CallExpired { operation, last_block: 10, block: 12 }
            if operation == invocation.operation),
        "{expired}"
    );
    deployment.world(|world| world.nonce = Some(NONCE + 1));
    assert!(matches!(error().await, Error::NotProcessed { .. }));
}

#[tokio::test]
async fn a_batch_is_one_message_and_has_an_answer_for_each() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.nonce(&alice()).await.unwrap();
    deployment.asked();
    let calls = vec![pay(), TrustedCall::Noop(alice().account())];
    let answers = client.submit_batch(&alice(), calls.clone()).await.unwrap();
    let asked = deployment.asked();
    assert_eq!(asked.iter().filter(|method| method.starts_with("author_")).count(), 1, "{asked:?}");
    let sent = deployment.world(|world| world.batch.clone());
    for (place, (operation, call)) in sent.iter().zip(&calls).enumerate() {
        let TrustedOperation::BoundCall(signed) = operation else { panic!("{operation:?}") };
        assert!(signed.verify(&shard().genesis, &shard().scope()));
        let nonce = NONCE + place as u32;
        assert_eq!(signed.bound, BoundCall { call: call.clone(), nonce, last_block: 1_001 });
    }
    assert_eq!((sent.len(), answers.len()), (2, 2));
    assert!(matches!(answers[0], Ok(hash) if hash == sent[0].hash()));
    assert!(
        matches!(&answers[1], Err(Error::Worker(worker::Error::Refused(why))) if why == "no more than one"),
        "{answers:?}"
    );
    assert!(client.submit_batch(&alice(), vec![]).await.unwrap().is_empty());
    let error = client.submit_batch(&alice(), vec![TrustedCall::Noop(bob().account())]).await.unwrap_err();
    assert!(matches!(error, Error::WrongSigner { .. }), "{error}");

    deployment.world(|world| world.named = Some(H256::zero()));
    let answers = client.submit_operations(&sent).await.unwrap();
    assert!(
        matches!(answers[0], Err(Error::OtherOperation { sent: ours, found }) if (ours, found) == (sent[0].hash(), H256::zero())),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_batch_with_another_number_of_answers_is_malformed() {
    let worker = FakeWorker::answering(shard().id, |_| {
        Some((RpcReturnValue::ok(vec![Ok::<_, String>(H256::zero())]).encode(), Vec::new()))
    })
    .await;
    let client = Worker::connect(&worker.url, Pin::TlsKey(worker.tls_key_hash)).await.unwrap();
    let error = client.submit_batch(&[]).await.unwrap_err();
    let worker::Error::PerhapsExecuted { source, .. } = &error else { panic!("{error}") };
    assert!(
        matches!(&**source, worker::Error::Malformed { what, reason }
            if (what.as_str(), reason.as_str()) == ("author_submitBatch", "1 answers to 0 requests")),
        "{source}"
    );
}
