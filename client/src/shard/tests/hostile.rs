//! Answers that an enclave never gave so, and messages without measure.

use cloister_wire::SignedAnswer;

use super::{world::*, *};
use crate::{Route, layer_one};

/// What comes of a query whose answer is changed on its way.
async fn asked(change: fn(&mut World, &mut SignedAnswer)) -> Error {
    let deployment = Deployment::start().await;
    deployment.client.nonce(&alice()).await.unwrap();
    deployment.world(|world| world.on_the_way = Some(change));
    deployment.client.nonce(&alice()).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_of_an_enclave_that_follows_another_chain_is_refused() {
    let error = asked(|_, answer| {
        answer.layer_one_head = H256::repeat_byte(9);
        sign(answer, &incarnation());
    })
    .await;
    let number = START as u32;
    let (theirs, ours) = (H256::repeat_byte(9), block_hash(number.into()));
    assert!(
        matches!(error, Error::OtherChain { number: at, seen, own } if (at, seen, own) == (number, theirs, ours)),
        "{error}"
    );
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn an_answer_of_another_incarnation_is_refused() {
    let error = asked(|_, answer| sign(answer, &ed25519::Pair::from_seed(&[7; 32]))).await;
    assert!(matches!(error, Error::BadAnswerSignature), "{error}");
}

#[tokio::test]
async fn an_answer_from_before_is_refused() {
    let error = asked(|world, answer| *answer = world.answers[0].clone()).await;
    assert!(matches!(error, Error::OtherQuery), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_held_back_until_another_incarnation_serves_is_refused() {
    let error = asked(|world, _| world.restart()).await;
    assert!(matches!(error, Error::Retired { .. }), "{error}");
    // Until it is stale.
    let error = asked(|world, _| {
        (0..61).for_each(|_| world.grow(Vec::new()));
    })
    .await;
    assert!(matches!(error, Error::StaleAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_call_that_the_enclave_takes_for_another_is_no_success() {
    let deployment = Deployment::start().await;
    let found = H256::repeat_byte(9);
    deployment.world(|world| world.named = Some(found));
    let error = deployment.client.transfer(&alice(), &bob().account(), 7).await.err().unwrap();
    let sent = deployment.world(|world| world.operation().hash());
    assert!(
        matches!(error, Error::OtherOperation { sent: ours, found: theirs } if (ours, theirs) == (sent, found)),
        "{error}"
    );
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_call_whose_outcome_another_incarnation_would_tell_is_no_refusal() {
    let deployment = Deployment::start().await;
    deployment.world(|world| {
        world.on_the_way = Some(|world, _| match world.answers.len() {
            // The nonce, by which the call is signed.
            1 => {}
            _ => world.restart(),
        });
    });
    let (sender, call) = (alice(), TrustedCall::BalanceTransfer(alice().account(), bob().account(), 7));
    let error = deployment.client.execute(&sender, Route::Direct, call, LONG, |_| ()).await.unwrap_err();
    let Error::PerhapsExecuted { operation, source } = &error else { panic!("{error}") };
    assert_eq!(*operation, deployment.world(|world| world.operation().hash()));
    assert!(matches!(**source, Error::Retired { .. }) && !error.is_refusal(), "{source}");
}

#[tokio::test]
async fn a_block_with_more_inbox_entries_than_there_can_be_is_not_searched() {
    let deployment = Deployment::start().await;
    let length = storage::inbox_length(&shard().id);
    deployment.world(|world| world.set_later(START + 1, &length, u64::MAX.encode()));
    let (from, to) = (alice(), bob().account());
    let error = deployment.client.shield(&from, &to, MIN_SHIELD, Wait::Finalized).await.unwrap_err();
    // The money is there all the same.
    let Error::ShieldUnnumbered { extrinsic, source } = &error else { panic!("{error}") };
    let submitted = deployment.world(|world| world.submitted.clone().unwrap().0);
    assert_eq!(extrinsic.0, sp_crypto_hashing::blake2_256(&submitted));
    let expected = "inbox entries in one block";
    assert!(
        matches!(&**source, Error::LayerOne(layer_one::Error::TooMany { what, most: 4_096 }) if *what == expected),
        "{source}"
    );
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_shielding_is_not_refused_because_its_enclave_is_retired_afterwards() {
    let deployment = Deployment::start().await;
    deployment.world(World::restart);
    let client = deployment.client.clone().with_recheck_interval(Duration::ZERO);
    let before = cloister_wire::InboxStatus { consumed: 0, invokes: 0, shields_credited: 0, shields_returned: 0 };
    let error = client.credited(7, before, LONG).await.unwrap_err();
    let Error::PerhapsCredited { number: 7, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, Error::Retired { .. }) && !error.is_refusal(), "{source}");
}

#[tokio::test]
async fn a_message_above_8_mib_ends_the_connection() {
    for (bytes, fits) in [((4 << 20) - 200, true), (4 << 20, false)] {
        let worker = FakeWorker::answering(shard().id, move |_| Some((vec![7; bytes], Vec::new()))).await;
        let client = Worker::connect(&worker.url, Pin::TlsKey(worker.tls_key_hash)).await.unwrap();
        let answer = client.request("state_getMetadata", json!([])).await;
        match fits {
            true => assert_eq!(answer.unwrap().as_str().unwrap().len(), 2 + 2 * bytes),
            false => assert!(matches!(answer, Err(worker::Error::Closed)), "{answer:?}"),
        }
    }
}
