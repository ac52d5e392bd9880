//! Money on its way in: what is not sent at all, and whether it arrived.

use cloister_wire::InboxStatus;

use super::{world::*, *};

#[tokio::test]
async fn less_than_could_be_returned_is_not_sent() {
    let deployment = Deployment::start().await;
    let (sender, to, amount) = (alice(), bob().account(), MIN_SHIELD - 1);
    let error = deployment.client.shield(&sender, &to, amount, Wait::Finalized).await.unwrap_err();
    assert!(matches!(error, Error::BelowMinimumShield { amount } if amount == MIN_SHIELD - 1), "{error}");
    assert!(deployment.asked().is_empty() && deployment.world(|world| world.submitted.is_none()));
}

fn status(consumed: u64, shields_credited: u64, shields_returned: u64) -> InboxStatus {
    InboxStatus { consumed, invokes: 0, shields_credited, shields_returned }
}

/// What a client that waits for entry 7 is told, the enclave answering so.
async fn credited(answers: &[InboxStatus]) -> Result<(), Error> {
    let deployment = Deployment::start().await;
    deployment.world(|world| world.inbox = answers.iter().copied().collect());
    deployment.client.credited(7, status(5, 5, 0), Duration::from_secs(5)).await
}

#[tokio::test]
async fn a_shielding_is_credited_if_nothing_was_returned_when_it_was_consumed() {
    credited(&[status(8, 8, 0)]).await.unwrap();
    // Another one was returned, but before.
    credited(&[status(7, 6, 1), status(8, 7, 1)]).await.unwrap();
}

#[tokio::test]
async fn a_shielding_that_is_returned_is_no_success() {
    let error = credited(&[status(7, 7, 0), status(8, 7, 1)]).await.unwrap_err();
    assert!(matches!(error, Error::ShieldReturned { number: 7 }) && error.is_refusal(), "{error}");
    // Of three that were consumed at once, which one?
    let error = credited(&[status(8, 7, 1)]).await.unwrap_err();
    assert!(matches!(error, Error::ShieldPerhapsReturned { number: 7 }) && !error.is_refusal(), "{error}");
}

#[tokio::test]
async fn an_entry_that_is_not_consumed_is_not_awaited_for_ever() {
    let deployment = Deployment::start().await;
    deployment.world(|world| world.inbox = [status(7, 7, 0)].into());
    let error = deployment.client.credited(7, status(5, 5, 0), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotConsumed { number: 7, limit: Duration::ZERO }), "{error}");
}
