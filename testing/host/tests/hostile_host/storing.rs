//! A host that says that it has stored what it has not, or gives back less than it stored.

use std::sync::{Arc, Mutex};

use cloister_hostile_host::{Host, Passing, Start, account};
use cloister_link::{StopReason, ToEnclave, ToHost};
use cloister_wire::TrustedOperationStatus;
use futures::FutureExt;

use crate::{LEFT, PAID, SEED, funded, goes_on, pays, tells_the_truth};

/// Acknowledges everything and writes nothing.
fn acknowledges_at_once(passing: Passing) -> Vec<Passing> {
    match passing {
        Passing::ToHost(ToHost::Store { sequence, .. }) => {
            vec![Passing::ToEnclave(ToEnclave::Stored { sequence })]
        }
        passing => vec![passing],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_anchored_and_never_stored_is_missed_at_the_next_start() {
    let mut host = funded().await;
    host.lie(acknowledges_at_once);
    pays(&host.client("Alice").await, 1).await;
    host.anchored().await;
    host.kill();
    let kept = host.disk();
    assert_eq!((kept.blocks.len(), host.seen().disk.blocks.len()), (2, 3));
    let mut next = Host::start(&host.layer_one, Start::of(&host.layer_one, SEED).with_disk(kept)).await;
    let old = "layer one has anchored block 3, and the newest that was kept is 2";
    assert_eq!(next.stopped().await, StopReason::KeptTooOld(old.into()));
}

/// What a host's word alone is worth: a client was told that its call is in a block, and never that it is final.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_neither_stored_nor_anchored_was_never_called_final() {
    let mut host = funded().await;
    host.lie(|passing| match passing {
        Passing::ToHost(ToHost::Submit { .. }) => vec![],
        passing => acknowledges_at_once(passing),
    });
    let alice = host.client("Alice").await;
    let mut operation = alice.send(&account("Bob"), PAID, 1).await.unwrap();
    operation.in_block().await.unwrap();
    let submissions = host.seen().submissions;
    host.until("asks for the anchor", |seen| (seen.submissions > submissions + 1).then_some(())).await;
    // Whatever was said of the call before came before this answer.
    assert_eq!(alice.nonce().await.unwrap(), 2);
    while let Some(update) = operation.next().now_or_never() {
        assert_ne!(update.unwrap().unwrap().status, TrustedOperationStatus::Finalized);
    }
    host.kill();
    // It goes on from what layer one knows. The same call can be made again.
    let next = Host::served(&host.layer_one, Start::of(&host.layer_one, SEED).with_disk(host.disk())).await;
    goes_on(&next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_nobody_hears_of() {
    let host = funded().await;
    let withheld = Arc::new(Mutex::new(Vec::new()));
    let hold = withheld.clone();
    host.lie(move |passing| match passing {
        Passing::ToEnclave(stored @ ToEnclave::Stored { .. }) => {
            hold.lock().unwrap().push(stored);
            vec![]
        }
        passing => vec![passing],
    });
    let alice = host.client("Alice").await;
    let mut operation = alice.send(&account("Bob"), PAID, 1).await.unwrap();
    host.until("asked to keep", |_| (!withheld.lock().unwrap().is_empty()).then_some(())).await;
    host.heard().await;
    tells_the_truth(&host).await;
    host.be_honest();
    for stored in withheld.lock().unwrap().drain(..) {
        host.say(stored);
    }
    operation.in_block().await.unwrap();
    assert_eq!(alice.nonce().await.unwrap(), 2);
}

/// A block was asked to be kept, and its enclave ended before it heard whether it is. Both are a truth to go on from.
#[tokio::test(flavor = "multi_thread")]
async fn an_unacknowledged_block_may_come_back_or_not() {
    for comes_back in [true, false] {
        let mut host = funded().await;
        let stores = host.seen().stores;
        host.lie(move |passing| match passing {
            Passing::ToEnclave(ToEnclave::Stored { sequence }) if sequence > stores + 1 => vec![],
            passing => vec![passing],
        });
        let alice = host.client("Alice").await;
        let operation = alice.send(&account("Bob"), PAID, 1).await.unwrap();
        host.until("asked to keep the block", |seen| seen.disk.blocks.contains_key(&3).then_some(())).await;
        host.heard().await;
        tells_the_truth(&host).await;
        host.kill();
        drop(operation);
        let mut disk = host.seen().disk;
        if !comes_back {
            disk.blocks.remove(&3);
        }
        let next = Host::served(&host.layer_one, Start::of(&host.layer_one, SEED).with_disk(disk)).await;
        let (alice, executed) = (next.client("Alice").await, u32::from(comes_back));
        assert_eq!(alice.nonce().await.unwrap(), 1 + executed);
        let cost = PAID + cloister_client::DIRECT_CALL_FEE;
        assert_eq!(alice.balance().await.unwrap(), LEFT - u128::from(executed) * cost);
        pays(&alice, 1 + executed).await;
        next.anchored().await;
    }
}

/// Every acknowledgement twice, and all earlier ones again.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_acknowledgements_change_nothing() {
    let host = funded().await;
    host.lie(|passing| match passing {
        Passing::ToEnclave(ToEnclave::Stored { sequence }) => (1..=sequence)
            .chain([sequence])
            .map(|sequence| Passing::ToEnclave(ToEnclave::Stored { sequence }))
            .collect(),
        passing => vec![passing],
    });
    let alice = host.client("Alice").await;
    for nonce in 1..10 {
        pays(&alice, nonce).await;
    }
    host.anchored().await;
    let cost = PAID + cloister_client::DIRECT_CALL_FEE;
    assert_eq!(alice.balance().await.unwrap(), LEFT - 9 * cost);
}
