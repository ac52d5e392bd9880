//! A worker that breaks off while calls are on their way: what was sent is not said to be unsent or refused.

use cloister_wire::TrustedOperationStatus;

use super::{world::*, *};
use crate::Route;

const WATCH: &str = "author_submitAndWatchExtrinsic";
const BATCH: &str = "author_submitBatch";

fn pay() -> TrustedCall {
    TrustedCall::BalanceTransfer(alice().account(), bob().account(), 7)
}

/// Why nothing is known of an operation that was sent.
fn perhaps_executed(error: &Error, sent: H256) -> &Error {
    let Error::PerhapsExecuted { operation, source } = error else { panic!("{error}") };
    assert_eq!(*operation, sent);
    assert!(!error.is_refusal() && !error.is_registry());
    let said = format!("the call {sent:?} was sent, and what became of it is not known");
    assert_eq!(error.to_string(), said);
    source
}

fn is_closed(why: &Error) -> bool {
    matches!(why, Error::Worker(worker::Error::Closed))
}

#[tokio::test]
async fn a_call_is_perhaps_executed_wherever_the_worker_breaks_off() {
    for when in [HangsUp::Asked(WATCH), HangsUp::Answered(WATCH)] {
        let deployment = Deployment::start().await;
        // Nothing of it is in a block yet.
        deployment.world(|world| world.statuses = Some(vec![TrustedOperationStatus::Ready]));
        deployment.hang_up(when);
        let (sender, mut sent) = (alice(), None);
        let error = deployment
            .client
            .execute(&sender, Route::Direct, pay(), LONG, |step| {
                if let crate::Step::Submitted(operation) = step {
                    sent = Some(operation);
                }
            })
            .await
            .unwrap_err();
        // Its name is known to the sender even if the enclave never had it.
        let Error::PerhapsExecuted { operation, .. } = &error else { panic!("{error}") };
        assert_eq!(sent, (when == HangsUp::Answered(WATCH)).then_some(*operation));
        assert!(is_closed(perhaps_executed(&error, *operation)), "{error:?}");
    }

    // Executed and told so, and then gone before its outcome was.
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let (sender, mut sent) = (alice(), None);
    let executing = client.execute(&sender, Route::Direct, pay(), LONG, |step| {
        if let crate::Step::Submitted(operation) = step {
            sent = Some(operation);
            deployment.hang_up(HangsUp::Asked("state_executeGetter"));
        }
    });
    let error = executing.await.unwrap_err();
    assert!(is_closed(perhaps_executed(&error, sent.unwrap())), "{error:?}");
}

#[tokio::test]
async fn before_it_is_sent_nothing_is_perhaps_executed() {
    let deployment = Deployment::start().await;
    deployment.hang_up(HangsUp::Asked("state_executeGetter"));
    for error in [
        deployment.client.submit(&alice(), pay()).await.err().unwrap(),
        deployment.client.submit_batch(&alice(), vec![pay()]).await.unwrap_err(),
        deployment.client.invoke(&alice(), &bob(), pay()).await.unwrap_err(),
    ] {
        assert!(is_closed(&error), "{error}");
    }
    assert!(deployment.asked().iter().all(|method| !method.starts_with("author_submit")));
    assert!(deployment.world(|world| world.submitted.is_none()));
}

#[tokio::test]
async fn a_batch_is_perhaps_executed_call_by_call() {
    let deployment = Deployment::start().await;
    deployment.hang_up(HangsUp::Asked(BATCH));
    let calls = vec![pay(), TrustedCall::Noop(alice().account())];
    let error = deployment.client.submit_batch(&alice(), calls).await.unwrap_err();
    let Error::BatchPerhapsExecuted { operations, source } = &error else { panic!("{error}") };
    assert!(is_closed(source), "{source}");
    assert!(!error.is_refusal() && !error.is_registry());
    assert_eq!(error.to_string(), "2 calls were sent, and what became of them is not known");

    // They are named as they were sent, so that their sender can ask for them.
    let deployment = Deployment::start().await;
    let calls: Vec<_> = [3, 4].map(|nonce| shard().sign_bound_call(pay(), nonce, 9, &alice()).unwrap()).to_vec();
    let sent: Vec<_> = calls.into_iter().map(TrustedOperation::BoundCall).collect();
    deployment.hang_up(HangsUp::Asked(BATCH));
    let error = deployment.client.submit_operations(&sent).await.unwrap_err();
    let names: Vec<_> = sent.iter().map(TrustedOperation::hash).collect();
    assert!(matches!(&error, Error::BatchPerhapsExecuted { operations, .. } if *operations == names), "{error}");
    assert_eq!(operations.len(), 2);
}
