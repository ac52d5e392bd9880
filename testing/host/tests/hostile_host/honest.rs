//! The harness itself: without a lie all goes well.

use cloister_hostile_host::{Host, LayerOne, Sealed, Start};

use crate::{SEED, funded, goes_on, restarts};

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_host_is_served_and_served_again() {
    let mut host = funded().await;
    host.stop().await;
    assert_eq!(host.disk().blocks, host.seen().disk.blocks);
    restarts(&host.layer_one, host.disk()).await;
}

/// What these tests make up is what an enclave takes for its own: it seals the like.
#[tokio::test(flavor = "multi_thread")]
async fn a_drawn_identity_is_kept_and_comes_back() {
    let layer_one = LayerOne::start();
    let mut first = Host::served(&layer_one, Start { sealed: None, ..Start::of(&layer_one, SEED) }).await;
    let identity = first.identity();
    let sealed = identity.sealed.clone().expect("a new identity is to be kept");
    first.kill();
    let again = Start { sealed: Some(sealed), ..Start::of(&layer_one, SEED) };
    let second = Host::served(&layer_one, again.with_disk(first.disk())).await;
    assert_eq!((second.identity().shard, second.identity().sealed), (identity.shard, None));
    assert_ne!(Host::served(&layer_one, Start::of(&layer_one, SEED)).await.identity().shard, identity.shard);
}

/// Byte for byte the same plaintext on either side would not be enough: the format must be the current one.
#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_identity_is_of_the_current_version() {
    let layer_one = LayerOne::start();
    let sealed = Sealed::of(SEED).seal(&layer_one);
    let host = Host::served(&layer_one, Start { sealed: Some(sealed), ..Start::of(&layer_one, SEED) }).await;
    assert_eq!(host.identity().sealed, None, "nothing new to keep");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shielded_while_an_enclave_is_away_is_credited_when_it_is_back() {
    let mut host = funded().await;
    host.kill();
    host.layer_one.shield(&host.identity().birth, &cloister_hostile_host::account("Charlie"), crate::PAID);
    let again = Host::served(&host.layer_one, Start::of(&host.layer_one, SEED).with_disk(host.disk())).await;
    again.until("consumed", |seen| (seen.inbox_consumed == 2).then_some(())).await;
    assert_eq!(again.client("Charlie").await.balance().await.unwrap(), crate::PAID);
    goes_on(&again).await;
}
