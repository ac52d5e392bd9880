//! Whose anchor vouches for a block, and for what layer one says of an entry that the block opened.

use cloister_chain_primitives::{Anchored, Verdict};
use cloister_wire::Outcome;

use super::{world::*, *};
use crate::Route;

const NUMBER: u64 = 4;

fn anchor(world: &mut World, number: u64) {
    world.set(&storage::anchor(&shard().id), Some(anchored(number).encode()));
}

#[tokio::test]
async fn a_block_is_anchored_once_it_or_a_later_one_is() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let error = client.anchored(7, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotAnchored { height: 7, limit: Duration::ZERO }), "{error}");
    deployment.world(|world| anchor(world, 6));
    assert!(matches!(client.anchored(7, Duration::ZERO).await, Err(Error::NotAnchored { .. })));
    let mut waiting = Box::pin(client.anchored(7, LONG));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    deployment.world(|world| anchor(world, 8));
    assert_eq!(waiting.await.unwrap(), anchored(8));
}

#[tokio::test]
async fn an_anchor_by_another_start_of_the_enclave_vouches_for_nothing_that_this_one_told() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    deployment.world(|world| anchor(world, 6));
    let mut waiting = Box::pin(client.anchored(7, LONG));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    // Its host has it go on from block 6, and layer one anchors other blocks 7 and 8.
    deployment.world(|world| {
        world.restart();
        anchor(world, 8);
    });
    let error = waiting.await.unwrap_err();
    assert!(matches!(error, Error::PerhapsRewound { height: 7 }) && !error.is_refusal(), "{error}");

    // However often it is started, and before anything new is anchored.
    let deployment = Deployment::start().await;
    deployment.world(|world| anchor(world, 6));
    for start in 0..3 {
        deployment.world(World::restart);
        let error = deployment.client.anchored(7, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, Error::PerhapsRewound { height: 7 }), "start {start}: {error}");
        deployment.world(|world| {
            world.grow(Vec::new());
            anchor(world, 8 + start);
        });
        let error = deployment.client.anchored(7, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, Error::PerhapsRewound { height: 7 }), "start {start}: {error}");
        // What it had anchored before stays.
        assert_eq!(deployment.client.anchored(6, Duration::ZERO).await.unwrap(), anchored(6));
    }
}

#[tokio::test]
async fn what_an_enclave_had_anchored_outlives_its_registration() {
    let deployment = Deployment::start().await;
    let own = Anchored { at: START as u32, ..anchored(6) };
    deployment.world(|world| {
        world.set(&storage::anchor(&shard().id), Some(own.encode()));
        world.grow(Vec::new());
        world.set(&storage::enclave(shard().founder()), None);
    });
    assert_eq!(deployment.client.anchored(6, Duration::ZERO).await.unwrap(), own);
    let error = deployment.client.anchored(7, LONG).await.unwrap_err();
    assert!(matches!(error, Error::PerhapsRewound { height: 7 }), "{error}");
}

#[tokio::test]
async fn a_verdict_on_an_entry_that_took_the_number_in_another_history_is_not_taken() {
    for verdict in [Verdict::Paid, Verdict::Refused] {
        let deployment = Deployment::start().await;
        let outcome = Outcome { block_number: 12, result: Ok(()), outbox: Some((NUMBER, H256([6; 32]))) };
        deployment.world(|world| world.outcome = Some(outcome));
        let (alice, bob) = (alice(), bob().account());
        let client = &deployment.client;
        let unshielding = client.unshield(&alice, &bob, 70, Route::Direct, LONG, |_| ()).await.unwrap();
        deployment.world(|world| {
            anchor(world, 11);
            world.restart();
            anchor(world, 12);
            world.grow(Vec::new());
            world.set(&storage::settled(&shard().id, NUMBER), Some(verdict.encode()));
        });
        let error = client.settled(&unshielding, LONG, |_| ()).await.unwrap_err();
        assert!(matches!(error, Error::PerhapsRewound { height: 12 }) && !error.is_refusal(), "{error}");
    }
}
