//! Lies about who is started, and two who are the same.

use cloister_hostile_host::{Host, LayerOne, Sealed, Start, account, sealed_plaintext};
use cloister_link::StopReason;

use crate::{PAID, SEED, funded, pays, restarts, tells_the_truth};

/// Starts with this as the sealed identity; how it ends.
async fn end_of(layer_one: &LayerOne, sealed: Vec<u8>) -> StopReason {
    let mut host = Host::start(layer_one, Start { sealed: Some(sealed), ..Start::of(layer_one, SEED) }).await;
    let reason = host.stopped().await;
    assert!(host.seen().identity.is_none(), "it has said who it is");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_sealed_identity_is_refused_wherever_it_is_altered() {
    let layer_one = LayerOne::start();
    let good = Sealed::of(SEED).seal(&layer_one);
    // Magic and version, randomness, ciphertext, tag.
    for at in [0, 3, 4, 35, 36, 37, 500, good.len() - 16, good.len() - 1] {
        let mut altered = good.clone();
        altered[at] ^= 1;
        assert_eq!(end_of(&layer_one, altered).await, StopReason::SealedIdentity, "byte {at}");
    }
    for length in [0, 1, 4, 35, 36, 51, 52, 500, good.len() - 1] {
        assert_eq!(end_of(&layer_one, good[..length].to_vec()).await, StopReason::SealedIdentity, "{length} bytes");
    }
    let long = [&good[..], &[0]].concat();
    assert_eq!(end_of(&layer_one, long).await, StopReason::SealedIdentity);
    assert_eq!(end_of(&layer_one, vec![0; 64 * 1024 + 1]).await, StopReason::SealedIdentity);
}

/// All of these open: whoever sealed them had this code's key. Their plaintext is none that this code writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_of_the_sealed_format_is_refused() {
    let layer_one = LayerOne::start();
    let current = Sealed::of(SEED).plaintext();
    // Version 1 had no state secret.
    let version_1 = [&[1][..], &current[1..33], &current[65..]].concat();
    for plaintext in
        [version_1, [&[1][..], &current[1..]].concat(), [&[3][..], &current[1..]].concat(), vec![], vec![2]]
    {
        assert_eq!(end_of(&layer_one, sealed_plaintext(&layer_one, &plaintext)).await, StopReason::SealedIdentity);
    }
    let good = sealed_plaintext(&layer_one, &current);
    Host::served(&layer_one, Start { sealed: Some(good), ..Start::of(&layer_one, SEED) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_identity_of_another_chain_or_other_code_is_refused() {
    let (chain, other) = (LayerOne::start(), LayerOne::start_another());
    assert_eq!(end_of(&chain, Sealed::of(SEED).seal(&other)).await, StopReason::SealedIdentity);
    assert_eq!(end_of(&other, Sealed::of(SEED).seal(&chain)).await, StopReason::SealedIdentity);
    let code = LayerOne::of_program(env!("CARGO_BIN_EXE_starved-enclave").into());
    assert_eq!(end_of(&chain, Sealed::of(SEED).seal(&code)).await, StopReason::SealedIdentity);
}

/// The same code on the same chain, but somebody else: it has a shard of its own and none other.
#[tokio::test(flavor = "multi_thread")]
async fn the_identity_of_another_enclave_serves_its_own_shard_only() {
    let mut host = funded().await;
    host.kill();
    let (layer_one, shard, disk) = (host.layer_one.clone(), host.identity().shard, host.disk());
    let start = Start { shard: Some(shard), ..Start::of(&layer_one, SEED + 1) };
    let mut other = Host::start(&layer_one, start).await;
    let StopReason::ShardOfAnotherIncarnation(own) = other.stopped().await else { panic!("it serves") };
    assert_ne!(own, shard);
    let mut other = Host::start(&layer_one, Start::of(&layer_one, SEED + 1).with_disk(disk.clone())).await;
    let not_authentic = "kept mark: not authentic for this secret, chain, shard and purpose";
    assert_eq!(other.stopped().await, StopReason::Kept(not_authentic.into()));
    let mut nobody =
        Host::start(&layer_one, Start { sealed: None, shard: Some(shard), ..Start::of(&layer_one, SEED) }).await;
    assert!(matches!(nobody.stopped().await, StopReason::ShardOfAnotherIncarnation(_)));
    restarts(&layer_one, disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_with_the_same_identity_at_once_the_later_is_served() {
    let mut first = funded().await;
    let layer_one = first.layer_one.clone();
    let alice = first.client("Alice").await;
    let second = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(first.disk())).await;
    // The earlier one has seen the other's registration, too, or will: then it ends for good.
    assert_eq!(first.stopped().await, StopReason::Retired);
    assert!(!alice.nonce().await.unwrap_err().is_refusal());
    crate::goes_on(&second).await;
}

/// While the second comes up the first goes on: what that confirms and has anchored, the second must have.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_with_a_copy_that_has_grown_old_ends() {
    let mut first = funded().await;
    let layer_one = first.layer_one.clone();
    let copy = first.disk();
    pays(&first.client("Alice").await, 1).await;
    first.anchored().await;
    let mut second = Host::start(&layer_one, Start::of(&layer_one, SEED).with_disk(copy)).await;
    let old = "layer one has anchored block 3, and the newest that was kept is 2";
    assert_eq!(second.stopped().await, StopReason::KeptTooOld(old.into()));
    // It was registered before it saw that, which ends the first.
    assert_eq!(first.stopped().await, StopReason::Retired);
    let third = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(first.disk())).await;
    assert_eq!(third.client("Alice").await.nonce().await.unwrap(), 2);
}

/// The first is shown nothing of the second's registration. It confirms what is never anchored; it pauses.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hides_the_second_start_from_the_first_gets_nothing_anchored() {
    let first = funded().await;
    let (layer_one, alice) = (first.layer_one.clone(), first.client("Alice").await);
    first.lie(|passing| match passing {
        cloister_hostile_host::Passing::ToEnclave(cloister_link::ToEnclave::Finality { .. }) => vec![],
        passing => vec![passing],
    });
    let second = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(first.disk())).await;
    let anchors = layer_one.anchors(&first.identity().shard);
    let paid = alice.send(&account("Charlie"), PAID, 1).await;
    let pause = "layer one's finalized time is too old";
    first.until("a pause", |seen| (seen.paused.as_deref() == Some(pause)).then_some(())).await;
    assert_eq!(layer_one.anchors(&first.identity().shard), anchors);
    drop(paid);
    tells_the_truth(&second).await;
    pays(&second.client("Alice").await, 1).await;
    second.anchored().await;
    let fork = first.seen().disk;
    assert!(layer_one.anchors(&first.identity().shard).iter().all(|anchor| {
        let theirs = fork.blocks.get(&anchor.number).map(|(hash, _)| *hash);
        anchor.number < 3 || theirs != Some(anchor.header_hash)
    }));
}
