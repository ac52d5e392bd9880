//! Money on its way out: what is believed about it, and what anybody can do for it.

use cloister_chain_primitives::{
    Balance, OutboxEntry, OutboxKind, Verdict,
    calls::Call,
    outbox::{OutboxTree, outbox_id},
};
use cloister_wire::{Getter, OutboxProof, Outcome, PublicGetter};
use codec::DecodeAll;

use super::{world::*, *};
use crate::{
    Route, Step, Unshielding,
    layer_one::{Found, Progress, UnshieldResult},
    shard::Submitted,
};

const AMOUNT: Balance = 70;
const NUMBER: u64 = 4;
const ID: H256 = H256([6; 32]);

fn outcome(result: Result<(), String>, outbox: Option<(u64, H256)>) -> Option<Outcome> {
    Some(Outcome { block_number: 12, result, outbox })
}

fn event(event: BridgeEvent) -> RuntimeEvent {
    RuntimeEvent::EnclaveBridge(event)
}

/// Sends an unshielding straight to the enclave, which opens entry 4 for it in a block that is anchored.
async fn unshield(deployment: &Deployment) -> Unshielding {
    deployment.world(|world| {
        world.outcome = outcome(Ok(()), Some((NUMBER, ID)));
        world.set(&storage::anchor(&shard().id), Some(anchored(12).encode()));
    });
    let (alice, bob) = (alice(), bob().account());
    deployment.client.unshield(&alice, &bob, AMOUNT, Route::Direct, LONG, |_| ()).await.unwrap()
}

fn settle(world: &mut World, verdict: Verdict) {
    world.grow(Vec::new());
    world.set(&storage::settled(&shard().id, NUMBER), Some(verdict.encode()));
}

#[tokio::test]
async fn an_unshielding_names_its_entry_whichever_way_it_goes() {
    let call = TrustedCall::BalanceUnshield(alice().account(), bob().account(), AMOUNT, shard().id);
    let deployment = Deployment::start().await;
    deployment.world(|world| world.outcome = outcome(Ok(()), Some((NUMBER, ID))));
    let mut steps = Vec::new();
    let (sender, to) = (alice(), bob().account());
    let sending = deployment.client.unshield(&sender, &to, AMOUNT, Route::Direct, LONG, |step| {
        steps.push(format!("{step:?}").split(['(', ' ']).next().unwrap_or_default().to_string());
    });
    let sent = sending.await.unwrap();
    assert_eq!(steps, ["Submitted", "Status", "Status", "Executed"]);
    let TrustedOperation::BoundCall(signed) = deployment.world(|world| world.operation()) else { panic!() };
    assert!(signed.verify(&shard().genesis, &shard().scope()));
    assert_eq!((&signed.bound.call, signed.bound.nonce), (&call, NONCE));
    assert_eq!((sent.number, sent.id, sent.sent_after), (NUMBER, ID, START as u32));
    assert_eq!((sent.executed.block_number, sent.executed.invocation), (12, None));

    let deployment = Deployment::start().await;
    deployment.world(|world| {
        world.outcome = outcome(Ok(()), Some((NUMBER, ID)));
        world.effects = vec![processed(shard().id, INCLUDED)];
    });
    let payer = bob();
    let mut executed = None;
    let sending =
        deployment.client.unshield(&sender, &to, AMOUNT, Route::Inbox { payer: &payer }, LONG, |step| match step {
            Step::LayerOne(Progress::Submitted { .. } | Progress::InBlock { .. } | Progress::Finalized { .. }) => {}
            Step::InInbox(INCLUDED) => executed = Some(0),
            Step::Executed(block) => executed = executed.map(|_| block),
            other => panic!("{other:?}"),
        });
    let sent = sending.await.unwrap();
    assert_eq!((sent.number, sent.id, executed), (NUMBER, ID, Some(12)));
    let TrustedOperation::IndirectBoundCall(signed) = deployment.world(|world| world.operation()) else { panic!() };
    assert_eq!(signed.bound.call, call);
}

#[tokio::test]
async fn what_the_shard_does_not_execute_opens_nothing() {
    let deployment = Deployment::start().await;
    let (sender, to) = (alice(), bob().account());
    let unshield = async |outcome| {
        deployment.world(|world| world.outcome = outcome);
        deployment.client.unshield(&sender, &to, AMOUNT, Route::Direct, LONG, |_| ()).await.unwrap_err()
    };
    let error = unshield(outcome(Err("the outbox is full".into()), None)).await;
    let expected = "the outbox is full";
    assert!(matches!(&error, Error::Worker(worker::Error::CallFailed { reason, .. }) if reason == expected), "{error}");
    assert!(matches!(unshield(None).await, Error::NoOutcome { .. }));
    assert!(matches!(unshield(outcome(Ok(()), None)).await, Error::NothingOpened { .. }));
}

#[tokio::test]
async fn layer_ones_verdict_is_the_one_in_its_finalized_storage() {
    for verdict in [Verdict::Paid, Verdict::Refused] {
        let deployment = Deployment::start().await;
        let unshielding = unshield(&deployment).await;
        let mut put_off = Vec::new();
        deployment.world(|world| {
            let (shard, call_hash) = (shard().id, ID);
            // Neither another shard's entry, nor another entry of this one.
            let other = BridgeEvent::UnshieldRefused { shard: shard_of(9, 9).id, call_hash };
            world.grow(vec![event(other), event(BridgeEvent::UnshieldRefused { shard, call_hash: H256::zero() })]);
            world.set(&storage::settled(&shard, NUMBER + 1), Some(Verdict::Refused.encode()));
            world.grow(vec![event(BridgeEvent::UnshieldDeferred { shard, call_hash })]);
        });
        let error =
            deployment.client.settled(&unshielding, Duration::ZERO, |block| put_off.push(block)).await.unwrap_err();
        assert!(matches!(error, Error::NotSettled { number: NUMBER, limit: Duration::ZERO }), "{error}");
        assert_eq!(put_off, [START as u32 + 2]);
        assert!(!error.is_refusal());

        deployment.world(|world| {
            settle(world, verdict);
            // Pruned since.
            world.grow(Vec::new());
            world.set(&storage::settled(&shard().id, NUMBER), None);
        });
        let found = deployment.client.settled(&unshielding, Duration::ZERO, |_| ()).await.unwrap();
        let block = START as u32 + 3;
        assert_eq!(found, (verdict, Found { block_number: block, value: block_hash(block.into()) }));
    }
}

#[tokio::test]
async fn nothing_has_a_verdict_that_is_not_anchored() {
    let deployment = Deployment::start().await;
    let unshielding = unshield(&deployment).await;
    deployment.world(|world| {
        world.set(&storage::anchor(&shard().id), Some(anchored(11).encode()));
        settle(world, Verdict::Paid);
    });
    let error = deployment.client.settled(&unshielding, Duration::ZERO, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::NotSettled { number: NUMBER, limit: Duration::ZERO }), "{error}");
    deployment.world(|world| world.set(&storage::anchor(&shard().id), Some(anchored(12).encode())));
    assert_eq!(deployment.client.settled(&unshielding, LONG, |_| ()).await.unwrap().0, Verdict::Paid);
}

#[tokio::test]
async fn a_verdict_that_no_finalized_block_keeps_is_in_its_events() {
    let (shard, call_hash) = (shard().id, ID);
    let paid = BridgeEvent::UnshieldedFunds { shard, beneficiary: bob().account(), amount: AMOUNT, call_hash };
    for (told, verdict) in
        [(paid, Verdict::Paid), (BridgeEvent::UnshieldRefused { shard, call_hash }, Verdict::Refused)]
    {
        let deployment = Deployment::start().await;
        let unshielding = unshield(&deployment).await;
        deployment.world(|world| world.grow(vec![event(told)]));
        assert_eq!(deployment.client.settled(&unshielding, LONG, |_| ()).await.unwrap().0, verdict);
    }
}

#[tokio::test]
async fn a_verdict_from_before_the_wait_is_not_guessed() {
    let deployment = Deployment::start().await;
    let unshielding = unshield(&deployment).await;
    let anchor = |outcome_closed| {
        let mut anchored = anchored(20);
        anchored.anchor.outbox_closed = outcome_closed;
        Some(anchored.encode())
    };
    let key = storage::anchor(&shard().id);
    deployment.world(|world| world.set(&key, anchor(NUMBER)));
    let wait = async || deployment.client.settled(&unshielding, Duration::ZERO, |_| ()).await.unwrap_err();
    assert!(matches!(wait().await, Error::NotSettled { .. }));
    deployment.world(|world| world.set(&key, anchor(NUMBER + 1)));
    let error = wait().await;
    assert!(matches!(error, Error::VerdictForgotten { number: NUMBER }), "{error}");
}

#[tokio::test]
async fn what_layer_one_refuses_is_closed_once_the_shard_no_longer_tells_of_it() {
    let deployment = Deployment::start().await;
    let owner = alice();
    deployment.world(|world| world.unshielding = Some((NUMBER, AMOUNT, 2)));
    let error = deployment.client.closed(&owner, NUMBER, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotClosed { number: NUMBER, limit: Duration::ZERO }), "{error}");
    assert_eq!(deployment.client.closed(&owner, NUMBER, LONG).await.unwrap(), 1);
}

fn entries() -> Vec<OutboxEntry> {
    let Shard { id: shard, genesis, .. } = shard();
    let entry = |number: u64| OutboxEntry {
        number,
        id: outbox_id(&genesis, &shard, 12, number),
        kind: OutboxKind::Unshield,
        beneficiary: bob().account(),
        amount: AMOUNT + Balance::from(number),
    };
    [4, 5, 7, 8, 9].map(entry).to_vec()
}

fn tree() -> OutboxTree {
    let Shard { id: shard, genesis, .. } = shard();
    OutboxTree::new(&genesis, &shard, entries())
}

fn proofs() -> Vec<OutboxProof> {
    let tree = tree();
    let prove = |entry: &OutboxEntry| tree.prove(entry.number).unwrap();
    let proofs = tree.entries().iter().map(prove);
    proofs.map(|(entry, path)| OutboxProof { entry: entry.clone(), path }).collect()
}

#[tokio::test]
async fn all_that_is_owed_is_listed_page_by_page_and_checked_against_the_anchor() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    assert_eq!(client.outbox(0).await.unwrap(), []);
    deployment.world(|world| world.outbox = proofs());
    assert_eq!(client.outbox(0).await.unwrap(), proofs());
    assert_eq!(client.outbox(6).await.unwrap(), proofs()[2..]);

    let mut anchor = anchored(12);
    anchor.anchor.outbox_root = tree().root();
    for proof in proofs() {
        assert!(client.is_owed(&proof, Some(&anchor)));
        assert!(!client.is_owed(&proof, Some(&anchored(12))) && !client.is_owed(&proof, None));
        let mut other = proof;
        other.entry.amount += 1;
        assert!(!client.is_owed(&other, Some(&anchor)));
    }

    deployment.world(|world| world.outbox.swap(0, 1));
    assert!(matches!(client.outbox(0).await, Err(Error::Undecodable)));
}

#[tokio::test]
async fn an_outbox_without_an_end_is_not_read_for_ever() {
    let proof = proofs().remove(0);
    let (first, page) = (proof.entry.number, 4_000);
    let worker = FakeWorker::answering(shard().id, move |request| {
        let bytes = hex::decode(&request["params"][0].as_str()?[2..]).unwrap();
        let request = Request::decode_all(&mut bytes.as_slice()).unwrap();
        let getter = Getter::decode_all(&mut request.cyphertext.as_slice()).unwrap();
        let Getter::Public(PublicGetter::Outbox(from)) = getter else { panic!("{getter:?}") };
        let proofs: Vec<_> = (from..from + page)
            .map(|number| {
                let mut proof = proof.clone();
                proof.entry.number = number;
                proof
            })
            .collect();
        Some((RpcReturnValue::ok(Some(proofs.encode())).encode(), Vec::new()))
    })
    .await;
    let node = Node::with(Some(worker.record()), NOW).await;
    let client = ShardClient::connect(&node.layer_one, &worker.url, &named(&shard())).await.unwrap();
    worker.asked();
    let error = client.outbox(first).await.unwrap_err();
    assert!(matches!(error, Error::TooMuchOwed { most: 32_768 }) && !error.is_refusal(), "{error}");
    assert_eq!(worker.asked().len(), 9);
}

#[tokio::test]
async fn anybody_has_entries_settled_and_reads_what_became_of_each() {
    let deployment = Deployment::start().await;
    let shard = shard().id;
    let ids: Vec<_> = entries().iter().map(|entry| entry.id).collect();
    deployment.world(|world| {
        world.set(&storage::settled(&shard, 8), Some(Verdict::Paid.encode()));
        let paid =
            BridgeEvent::UnshieldedFunds { shard, beneficiary: bob().account(), amount: AMOUNT, call_hash: ids[0] };
        world.effects = vec![
            event(BridgeEvent::UnshieldDeferred { shard, call_hash: ids[2] }),
            event(paid),
            event(BridgeEvent::UnshieldRefused { shard, call_hash: ids[1] }),
            // Of another shard.
            event(BridgeEvent::UnshieldRefused { shard: shard_of(9, 9).id, call_hash: ids[4] }),
        ];
    });
    let (extrinsic, results) = deployment.client.settle(&bob(), &proofs(), Wait::InBlock, |_| ()).await.unwrap();
    let settled = |verdict| Submitted::Done(UnshieldResult::Settled(verdict));
    let expected = [
        settled(Verdict::Paid),
        settled(Verdict::Refused),
        Submitted::Done(UnshieldResult::Deferred),
        Submitted::Before(Verdict::Paid),
        Submitted::PathOutdated,
    ];
    assert_eq!(results, expected);
    assert_eq!(extrinsic.inclusion.unwrap().block_number, INCLUDED);
    let calls: Vec<_> =
        proofs().iter().map(|OutboxProof { entry, path }| Call::unshield_funds(&shard, entry, path)).collect();
    let (submitted, _) = deployment.world(|world| world.submitted.take().unwrap());
    assert!(submitted.ends_with(&Call::force_batch(&calls).encode()));
}
