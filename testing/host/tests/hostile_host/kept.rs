//! Lies about what was kept. Each ends a start before it serves; the next, honest one has everything.

use cloister_chain_primitives::H256;
use cloister_hostile_host::{Disk, Host, LayerOne, Passing, Start, account};
use cloister_link::{Kept, StopReason, ToEnclave};

use crate::{PAID, SEED, funded, pays, restarts};

/// A shard with three blocks, all anchored; its enclave is gone. What the host has kept, and an older copy.
async fn three_blocks() -> (LayerOne, Disk, Disk) {
    let mut host = funded().await;
    let older = host.disk();
    pays(&host.client("Alice").await, 1).await;
    host.anchored().await;
    host.kill();
    let newest = host.disk();
    assert_eq!((older.blocks.len(), newest.blocks.len()), (2, 3));
    (host.layer_one.clone(), newest, older)
}

/// Starts with what `lie` makes of the truth, and awaits the end.
async fn refused(lie: impl FnOnce(&mut Disk)) -> StopReason {
    let (layer_one, truth, _) = three_blocks().await;
    let mut disk = truth.clone();
    lie(&mut disk);
    let reason = end_of(&layer_one, disk).await;
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(truth)).await;
    assert_eq!(host.client("Alice").await.nonce().await.unwrap(), 2);
    reason
}

async fn end_of(layer_one: &LayerOne, disk: Disk) -> StopReason {
    let mut host = Host::start(layer_one, Start::of(layer_one, SEED).with_disk(disk)).await;
    let reason = host.stopped().await;
    let seen = host.seen();
    assert!(!seen.serving && seen.stores == 0 && seen.submissions == 0, "it did something before it ended");
    reason
}

fn kept(what: &str) -> StopReason {
    StopReason::Kept(what.into())
}

/// Changes what is kept of one block.
fn change(disk: &mut Disk, number: u64, change: impl FnOnce(&mut Vec<u8>)) {
    change(&mut disk.blocks.get_mut(&number).unwrap().1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_not_the_newest_state() {
    let (layer_one, newest, older) = three_blocks().await;
    let reason = end_of(&layer_one, older).await;
    assert_eq!(
        reason,
        StopReason::KeptTooOld("layer one has anchored block 3, and the newest that was kept is 2".into())
    );
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(newest)).await;
    assert_eq!(host.client("Alice").await.nonce().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_kept_is_not_the_newest_state() {
    let reason = refused(|disk| *disk = Disk::default()).await;
    assert_eq!(
        reason,
        StopReason::KeptTooOld("layer one has anchored block 3, and the newest that was kept is 0".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_mark_is_refused() {
    let reason = refused(|disk| *disk.mark.as_mut().unwrap().last_mut().unwrap() ^= 1).await;
    assert_eq!(reason, kept("kept mark: not authentic for this secret, chain, shard and purpose"));
    let reason = refused(|disk| disk.mark = Some(vec![])).await;
    assert!(
        matches!(&reason, StopReason::Kept(why) if why.starts_with("kept mark: 0 bytes, fewer than")),
        "{reason:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_block_is_refused_wherever_it_is_altered() {
    let (layer_one, truth, _) = three_blocks().await;
    let length = truth.blocks[&2].1.len();
    let flaws = [
        // Its header: parent, number, shard, body.
        (0, "kept block 2: does not follow the block before"),
        (32, "kept block 2: has number 3"),
        (80, "kept block 2: has another body than its header says"),
        // Its body's first byte and its signature's last.
        (115, "kept block 2: has another body than its header says"),
        (length - 1, "kept block 2: is not signed by its author"),
    ];
    for (at, flaw) in flaws {
        let mut disk = truth.clone();
        change(&mut disk, 2, |block| block[at] ^= 1);
        assert_eq!(end_of(&layer_one, disk).await, kept(flaw), "byte {at}");
    }
    let mut disk = truth.clone();
    change(&mut disk, 2, |block| block.truncate(block.len() - 1));
    assert_eq!(end_of(&layer_one, disk).await, kept("kept block 2: does not decode"));
    let mut disk = truth.clone();
    change(&mut disk, 2, |block| block.push(0));
    assert_eq!(end_of(&layer_one, disk).await, kept("kept block 2: does not decode"));
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(truth)).await;
    assert_eq!(host.client("Alice").await.nonce().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_swapped_and_repeated_blocks_are_refused() {
    let missing = refused(|disk| drop(disk.blocks.remove(&2))).await;
    assert_eq!(missing, kept("kept block 2: has number 3"));
    let swapped = refused(|disk| {
        let second = disk.blocks[&2].clone();
        let third = disk.blocks.insert(3, second).unwrap();
        disk.blocks.insert(2, third);
    });
    assert_eq!(swapped.await, kept("kept block 2: has number 3"));
    let repeated = refused(|disk| {
        let third = disk.blocks[&3].clone();
        disk.blocks.insert(4, third);
    });
    assert_eq!(repeated.await, kept("kept block 4: has number 3"));
    let first = refused(|disk| drop(disk.blocks.remove(&1))).await;
    assert_eq!(first, kept("kept block 1: has number 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_shard_kept_is_refused() {
    let (layer_one, truth, _) = three_blocks().await;
    let mut other = Host::served(&layer_one, Start::of(&layer_one, SEED + 1)).await;
    other.shield(&account("Alice"), PAID).await;
    other.anchored().await;
    let (shard, foreign) = (other.identity().shard, other.disk());
    other.kill();
    let not_authentic = "not authentic for this secret, chain, shard and purpose";
    assert_eq!(end_of(&layer_one, foreign.clone()).await, kept(&format!("kept mark: {not_authentic}")));
    let disk = Disk { mark: None, ..foreign.clone() };
    assert_eq!(end_of(&layer_one, disk).await, kept(&format!("kept block 1: is of shard {:?}", shard.0)));
    // One of its blocks in the midst of the right ones.
    let mut disk = truth.clone();
    disk.blocks.insert(2, foreign.blocks[&1].clone());
    assert_eq!(end_of(&layer_one, disk).await, kept("kept block 2: has number 1"));
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(truth)).await;
    assert_eq!(host.client("Alice").await.nonce().await.unwrap(), 2);
}

/// One kind of thing for another.
#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_was_kept_as_something_else_is_refused() {
    type Swap = fn(Kept) -> Vec<Kept>;
    let not_authentic = "not authentic for this secret, chain, shard and purpose";
    let lies: [(Swap, String); 5] = [
        (|kept| if_mark(kept, Kept::Manifest), format!("manifest of a snapshot: {not_authentic}")),
        (|kept| if_mark(kept, Kept::Piece), "a piece of no snapshot".into()),
        (|kept| if_mark(kept, Kept::Block), "kept block 1: does not decode".into()),
        (|kept| with_block(kept, Kept::Mark), format!("kept mark: {not_authentic}")),
        (|kept| with_block(kept, Kept::Manifest), "a snapshot after blocks, or a second one".into()),
    ];
    let (layer_one, truth, _) = three_blocks().await;
    for (swap, reason) in lies {
        let start = Start::of(&layer_one, SEED).with_disk(truth.clone()).lying(move |passing| match passing {
            Passing::ToEnclave(ToEnclave::Kept(kept)) => {
                swap(kept).into_iter().map(|kept| Passing::ToEnclave(ToEnclave::Kept(kept))).collect()
            }
            passing => vec![passing],
        });
        let mut host = Host::start(&layer_one, start).await;
        assert_eq!(host.stopped().await, kept(&reason));
    }
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(truth)).await;
    assert_eq!(host.client("Alice").await.nonce().await.unwrap(), 2);
}

fn if_mark(kept: Kept, other: fn(Vec<u8>) -> Kept) -> Vec<Kept> {
    match kept {
        Kept::Mark(bytes) => vec![other(bytes)],
        kept => vec![kept],
    }
}

/// Each block, and then the same as something else.
fn with_block(kept: Kept, other: fn(Vec<u8>) -> Kept) -> Vec<Kept> {
    match kept {
        Kept::Block(bytes) => vec![Kept::Block(bytes.clone()), other(bytes)],
        kept => vec![kept],
    }
}

/// An old mark says what was executed last then: what it names is executed with care, and nothing else comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_mark_or_none_changes_nothing() {
    let (layer_one, truth, older) = three_blocks().await;
    for mark in [older.mark, None] {
        let disk = Disk { mark, ..truth.clone() };
        let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(disk)).await;
        let alice = host.client("Alice").await;
        assert_eq!(alice.nonce().await.unwrap(), 2);
    }
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(truth)).await;
    pays(&host.client("Alice").await, 2).await;
}

/// Blocks that this very enclave signed, in a branch that layer one did not anchor.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_not_anchored_is_refused() {
    let mut host = funded().await;
    let (fork, common) = (host.layer_one.fork(), host.disk());
    pays(&host.client("Alice").await, 1).await;
    host.anchored().await;
    host.kill();
    // On a layer one that went on in another way, the same enclave made another block 3.
    let mut other = Host::served(&fork, Start::of(&fork, SEED).with_disk(common)).await;
    other.client("Alice").await.pay(&account("Charlie"), PAID, 1).await.unwrap();
    other.kill();
    assert_ne!(other.disk().blocks[&3].0, host.disk().blocks[&3].0);
    let reason = end_of(&host.layer_one, other.disk()).await;
    assert_eq!(
        reason,
        StopReason::KeptTooOld("layer one has anchored another block 3 than the one that was kept".into())
    );
    let again = Host::served(&host.layer_one, Start::of(&host.layer_one, SEED).with_disk(host.disk())).await;
    assert_eq!(again.client("Alice").await.nonce().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_beside_blocks_are_the_hosts_own_affair() {
    let mut host = funded().await;
    host.kill();
    let mut disk = host.disk();
    disk.blocks.values_mut().for_each(|(hash, _)| *hash = H256::random());
    restarts(&host.layer_one, disk).await;
}
