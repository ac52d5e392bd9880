//! Indirect calls: what layer one is given, and what is believed about their end.

use cloister_wire::Outcome;

use super::{world::*, *};
use crate::layer_one::Progress;

#[tokio::test]
async fn an_indirect_call_is_sealed_for_the_shard_and_paid_on_layer_one() {
    let deployment = Deployment::start().await;
    let (who, actual_fee) = (bob().account(), 1_234);
    let paid = PaymentEvent::TransactionFeePaid { who, actual_fee, tip: 0 };
    deployment.world(|world| world.effects = vec![RuntimeEvent::TransactionPayment(paid)]);
    let mut steps = Vec::new();
    let call = TrustedCall::BalanceTransfer(alice().account(), bob().account(), 7);
    let client = &deployment.client;
    let invocation = client.invoke_reporting(&alice(), &bob(), call.clone(), |step| steps.push(step)).await.unwrap();

    let (number, hash) = (INCLUDED, block_hash(INCLUDED.into()));
    let extrinsic = invocation.extrinsic;
    let expected = [
        Progress::Submitted { hash: extrinsic },
        Progress::InBlock { number, hash },
        Progress::Finalized { number, hash },
    ];
    assert_eq!(steps, expected);
    assert_eq!((invocation.nonce, invocation.block_number, invocation.block_hash), (NONCE, number, hash));
    assert_eq!(invocation.fee, Some(actual_fee));
    deployment.world(|world| {
        let operation = world.operation();
        assert_eq!(operation.hash(), invocation.operation);
        let TrustedOperation::IndirectBoundCall(signed) = operation else { panic!("{operation:?}") };
        assert!(signed.verify(&shard().genesis, &shard().scope()));
        assert_eq!(signed.bound, BoundCall { call, nonce: NONCE, last_block: 1_001 });
        assert_eq!(invocation.last_block, 1_001);
        // Nothing of the call is readable, and another account pays.
        let (extrinsic, _) = world.submitted.as_ref().unwrap();
        let contains =
            |account: AccountId| extrinsic.windows(32).any(|window| window == AsRef::<[u8]>::as_ref(&account));
        assert_eq!((contains(bob().account()), contains(alice().account())), (true, false));
    });
}

#[tokio::test]
async fn the_outcome_is_asked_for_once_the_shard_reports_that_it_processed_the_block() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    let executed = async |limit| client.executed(&alice(), &invocation, limit).await;

    // Neither another shard's report, nor one about an earlier block, nor one that is not final.
    deployment.world(|world| {
        world.grow(vec![processed(shard_of(9, 9).id, INCLUDED + 1)]);
        world.grow(vec![processed(shard().id, INCLUDED - 1)]);
        world.blocks.push(vec![processed(shard().id, INCLUDED)]);
    });
    let error = executed(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotProcessed { block_number: INCLUDED, limit: Duration::ZERO }), "{error}");
    assert!(!error.is_refusal());

    let outcomes = [Ok(()), Err("insufficient balance".to_string())];
    let outcomes = outcomes.map(|result| Outcome { block_number: 12, result, outbox: None });
    deployment.world(|world| {
        world.grow(vec![processed(shard().id, INCLUDED + 8)]);
        // However late the wait begins.
        (0..20).for_each(|_| world.grow(Vec::new()));
    });
    for outcome in outcomes {
        deployment.world(|world| world.outcome = Some(outcome.clone()));
        assert_eq!(executed(Duration::ZERO).await.unwrap(), outcome);
    }
    let found = client.processed(INCLUDED, Duration::ZERO).await.unwrap();
    assert_eq!((found.block_number, found.value.block_number), (INCLUDED + 3, INCLUDED));
    assert_eq!(found.value.trusted_calls_merkle_root, H256::repeat_byte(3));
}

#[tokio::test]
async fn a_report_that_comes_while_it_is_awaited_ends_the_wait() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    let outcome = Outcome { block_number: 2, result: Ok(()), outbox: None };
    deployment.world(|world| world.outcome = Some(outcome.clone()));
    let sender = alice();
    let mut waiting = Box::pin(client.executed(&sender, &invocation, LONG));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    deployment.world(|world| world.grow(vec![processed(shard().id, INCLUDED)]));
    assert_eq!(waiting.await.unwrap(), outcome);
}

#[tokio::test]
async fn a_call_that_was_consumed_without_being_executed_is_told_apart() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let call = TrustedCall::Noop(alice().account());
    let invocation = client.invoke(&alice(), &alice(), call).await.unwrap();
    deployment.world(|world| world.grow(vec![processed(shard().id, INCLUDED)]));
    // Its nonce is still the next one.
    for next in [NONCE, 0] {
        deployment.world(|world| world.nonce = Some(next));
        let error = client.executed(&alice(), &invocation, LONG).await.unwrap_err();
        let source = no_effect_yet(&error, &invocation);
        assert!(matches!(source, Error::WithoutEffect { next: told } if *told == next), "{source}");
        assert!(!source.is_refusal());
        let name = format!("{:?}", invocation.operation);
        assert_eq!(
            error.to_string().replace(&name, "0x0707…"),
            "the call 0x0707… had no effect so far, and may still be executed until block 1001 of the shard, because \
             anybody can submit it again"
        );
    }
}

/// Why the invocation had no effect, which is not said to be final.
fn no_effect_yet<'a>(error: &'a Error, invocation: &Invocation) -> &'a Error {
    let Error::NoEffectYet { operation, nonce, last_block, source } = error else { panic!("{error}") };
    let of_call = (invocation.operation, invocation.nonce, invocation.last_block);
    assert_eq!((*operation, *nonce, *last_block), of_call);
    assert!(!error.is_refusal());
    source
}

#[tokio::test]
async fn a_consumed_call_that_somebody_submits_again_is_told_as_executed_and_never_as_final_before() {
    let deployment = Deployment::start().await;
    let client = deployment.client.clone().with_call_lifetime(9);
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    let ask = async || client.executed(&alice(), &invocation, Duration::ZERO).await;
    deployment.world(|world| world.grow(vec![processed(shard().id, INCLUDED)]));
    no_effect_yet(&ask().await.unwrap_err(), &invocation);
    // Made, but not anchored: the host can go back, and a copy be in an earlier block.
    deployment.world(|world| world.height = Some(10));
    no_effect_yet(&ask().await.unwrap_err(), &invocation);
    // Anchored, but not the last one.
    deployment.world(|world| {
        world.grow(Vec::new());
        world.set(&storage::anchor(&shard().id), Some(anchored(9).encode()));
    });
    no_effect_yet(&ask().await.unwrap_err(), &invocation);

    // The copy comes into the last block.
    let outcome = Outcome { block_number: 10, result: Ok(()), outbox: None };
    deployment.world(|world| (world.nonce, world.outcome) = (Some(NONCE + 1), Some(outcome.clone())));
    assert_eq!(ask().await.unwrap(), outcome);
}

#[tokio::test]
async fn a_consumed_call_is_refused_once_its_last_block_is_anchored_and_its_nonce_unused() {
    let deployment = Deployment::start().await;
    let client = deployment.client.clone().with_call_lifetime(9);
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    let ask = async || client.executed(&alice(), &invocation, Duration::ZERO).await.unwrap_err();
    deployment.world(|world| {
        world.grow(vec![processed(shard().id, INCLUDED)]);
        world.set(&storage::anchor(&shard().id), Some(anchored(10).encode()));
    });
    // What the enclave says of a state before the last block counts for nothing.
    deployment.world(|world| world.height = Some(9));
    no_effect_yet(&ask().await, &invocation);
    deployment.world(|world| world.height = Some(10));
    let error = ask().await;
    assert!(
        matches!(error, Error::CallExpired { operation, last_block: 10, block: 10 }
            if operation == invocation.operation),
        "{error}"
    );
    assert!(error.is_refusal());
}

#[tokio::test]
async fn a_call_that_is_executed_between_two_questions_has_its_outcome() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    deployment.world(|world| {
        world.grow(vec![processed(shard().id, INCLUDED)]);
        // The copy is executed as soon as the first answer is on its way.
        world.on_the_way = Some(|world, _| {
            world.nonce = Some(NONCE + 1);
            world.outcome = Some(Outcome { block_number: 2, result: Ok(()), outbox: None });
        });
    });
    let outcome = client.executed(&alice(), &invocation, LONG).await.unwrap();
    assert_eq!(outcome, Outcome { block_number: 2, result: Ok(()), outbox: None });
}

#[tokio::test]
async fn what_layer_one_did_not_execute_is_public_all_the_same() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invoke = async || {
        let call = TrustedCall::Noop(alice().account());
        client.invoke(&alice(), &bob(), call).await.unwrap_err()
    };
    let failed = RuntimeEvent::System(SystemEvent::ExtrinsicFailed { dispatch_error: DispatchError::BadOrigin });
    deployment.world(|world| world.effects = vec![failed]);
    let error = invoke().await;
    let Error::NoEffectYet { operation, nonce: NONCE, last_block: 1_001, source } = &error else { panic!("{error}") };
    assert_eq!(*operation, deployment.world(|world| world.operation().hash()));
    assert!(
        matches!(&**source, Error::LayerOne(layer_one::Error::ExtrinsicFailed { failure, .. })
            if failure.name == "badOrigin"),
        "{source}"
    );
    assert!(!error.is_refusal());

    deployment.world(|world| world.pool = Some(json!({ "usurped": H256::zero() })));
    let error = invoke().await;
    let Error::NoEffectYet { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, Error::LayerOne(layer_one::Error::GivenUp { .. })), "{source}");
    deployment.world(|world| world.pool = Some(json!("dropped")));
    let error = invoke().await;
    let Error::PerhapsExecuted { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, Error::LayerOne(layer_one::Error::OutOfSight { .. })), "{source}");
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_call_takes_the_place_of_another_by_its_nonce() {
    let deployment = Deployment::start().await;
    let client = deployment.client.clone().with_call_nonce(NONCE + 2);
    let call = TrustedCall::Noop(alice().account());
    let invocation = client.invoke(&alice(), &bob(), call.clone()).await.unwrap();
    assert_eq!(invocation.nonce, NONCE + 2);
    deployment.world(|world| world.forget());
    client.submit(&alice(), call.clone()).await.unwrap();
    let TrustedOperation::BoundCall(signed) = deployment.world(|world| world.operation()) else { panic!("direct") };
    assert_eq!(signed.bound.nonce, NONCE + 2);

    // Not after that was executed which it was to take the place of.
    deployment.world(|world| (world.nonce, world.submitted) = (Some(NONCE + 3), None));
    let asked = deployment.asked().len();
    for error in [
        client.invoke(&alice(), &bob(), call.clone()).await.unwrap_err(),
        client.submit(&alice(), call.clone()).await.err().unwrap(),
        client.execute(&alice(), crate::Route::Direct, call.clone(), LONG, |_| ()).await.unwrap_err(),
        client.submit_batch(&alice(), vec![call]).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::NonceUsed { nonce, next } if (nonce, next) == (NONCE + 2, NONCE + 3)),
            "{error}"
        );
        assert!(error.is_refusal());
    }
    assert!(deployment.world(|world| world.submitted.is_none()) && asked > 0);
    assert!(deployment.asked().iter().all(|method| !method.starts_with("author_submit")));
}

#[tokio::test]
async fn a_sent_call_is_not_unsent_because_the_node_is_gone() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    deployment.stop_node().await;
    let error = client.executed(&alice(), &invocation, LONG).await.unwrap_err();
    let Error::PerhapsExecuted { operation, source } = &error else { panic!("{error}") };
    assert!(*operation == invocation.operation && matches!(**source, Error::LayerOne(_)), "{source}");
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_call_whose_outcome_is_forgotten_is_not_said_to_be_without_effect() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    deployment.world(|world| {
        world.grow(vec![processed(shard().id, INCLUDED)]);
        // It was executed, or another one in its place.
        world.nonce = Some(NONCE + 1);
    });
    let error = client.executed(&alice(), &invocation, LONG).await.unwrap_err();
    assert!(matches!(error, Error::NoOutcome { operation } if operation == invocation.operation), "{error}");
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_call_that_was_sent_before_the_registry_retired_its_enclave_is_no_refusal() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    deployment.world(|world| {
        world.grow(vec![processed(shard().id, INCLUDED)]);
        world.restart();
    });
    let error = client.executed(&alice(), &invocation, LONG).await.unwrap_err();
    let Error::PerhapsExecuted { operation, source } = &error else { panic!("{error}") };
    assert!(*operation == invocation.operation && matches!(**source, Error::Retired { .. }), "{source}");
    assert!(!error.is_refusal() && !error.is_registry());
}

#[tokio::test]
async fn nobody_invokes_for_others() {
    let deployment = Deployment::start().await;
    let call = TrustedCall::Noop(bob().account());
    let error = deployment.client.invoke_with_nonce(&alice(), &bob(), call, 0, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::WrongSigner { .. }), "{error}");
    assert!(deployment.world(|world| world.submitted.is_none()));
}

#[tokio::test]
async fn reports_of_shards_are_read_from_events() {
    let deployment = Deployment::start().await;
    let (shard, block_header_hash) = (shard().id, H256::repeat_byte(4));
    let event =
        SidechainEvent::FinalizedSidechainBlock { shard, block_number: 7, block_header_hash, inbox_consumed: 2 };
    deployment.world(|world| world.grow(vec![RuntimeEvent::Sidechain(event), processed(shard, 1)]));
    let events = deployment.client.layer_one().events(block_hash(START as u64 + 1)).await.unwrap();
    let finalized = layer_one::FinalizedSidechainBlock { shard, block_number: 7, block_header_hash, inbox_consumed: 2 };
    assert_eq!(events[0].finalized_sidechain_block(), Some(finalized));
    assert_eq!(events[0].processed_parentchain_block(), None);
    let processed = events[1].processed_parentchain_block().unwrap();
    assert_eq!((processed.shard, processed.block_number, processed.block_hash), (shard, 1, block_hash(1)));
    assert_eq!(events[1].finalized_sidechain_block(), None);
}
