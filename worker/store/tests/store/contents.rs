//! What is kept, given back and refused.
use cloister_store::{Figures, KEPT_BLOCKS, Kept, RangeError, Store, StoreError, Write};
use tempfile::TempDir;

use crate::{block, blocks, bytes, complete, hash, open, piece, recovered, snapshot};

fn empty() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    (directory, store)
}

fn refusal(store: &Store, writes: &[Write]) -> String {
    let before = recovered(store);
    let refusal = store.commit(writes).unwrap_err().to_string();
    assert_eq!(recovered(store), before);
    refusal
}

#[test]
fn a_recovery_has_everything_in_its_order_also_after_reopening() {
    let (directory, store) = empty();
    assert!(recovered(&store).is_empty());
    store.commit(&blocks(1..=3)).unwrap();
    store.commit(&[Write::Mark(vec![1]), Write::Mark(vec![2])]).unwrap();
    assert_eq!(recovered(&store)[..2], [Kept::Mark(vec![2]), Kept::Block(bytes(1))]);
    store.commit(&snapshot(7, 2, 2)).unwrap();
    let expected = [
        Kept::Mark(vec![2]),
        Kept::Manifest(vec![7; 16]),
        Kept::Piece(vec![7, 0]),
        Kept::Piece(vec![7, 1]),
        Kept::Block(bytes(1)),
        Kept::Block(bytes(2)),
        Kept::Block(bytes(3)),
    ];
    assert_eq!(recovered(&store), expected);
    drop(store);
    let store = open(directory.path());
    assert_eq!(recovered(&store), expected);
    let figures = Figures { oldest_block: Some(1), newest_block: Some(3), snapshot_first: Some(2) };
    assert_eq!(store.figures().unwrap(), figures);
    assert!(store.file_bytes().unwrap() > 0);
}

#[test]
fn a_refused_write_takes_the_whole_commit_with_it() {
    let (_directory, store) = empty();
    store.commit(&blocks(5..=6)).unwrap();
    let error = store.commit(&[block(9)]).unwrap_err();
    assert!(error.is_refusal() && !error.is_unusable(), "{error}");
    let refused = refusal(&store, &[block(7), Write::Mark(vec![1]), block(9)]);
    assert_eq!(refused, "block 9 does not join the blocks 5 to 7");
    assert_eq!(refusal(&store, &[block(4)]), "block 4 does not join the blocks 5 to 6");
    store.commit(&[]).unwrap();
    store.commit(&[block(7)]).unwrap();
}

#[test]
fn a_block_written_again_replaces_all_later_ones() {
    let (_directory, store) = empty();
    store.commit(&blocks(1..=5)).unwrap();
    let other = Write::Block { number: 3, hash: hash(103), bytes: bytes(103) };
    store.commit(&[other]).unwrap();
    assert_eq!(recovered(&store), [1, 2, 103].map(|number| Kept::Block(bytes(number))));
    assert!(matches!(store.range(hash(4), None, 99), Err(RangeError::UnknownBlock(unknown)) if unknown == hash(4)));
    assert_eq!(store.range(hash(2), Some(hash(103)), 99).unwrap(), [bytes(103)]);
    store.commit(&[block(4)]).unwrap();
}

#[test]
fn blocks_join_the_snapshot() {
    let (_directory, store) = empty();
    store.commit(&snapshot(7, 1, 10)).unwrap();
    assert_eq!(refusal(&store, &[block(12)]), "block 12 does not join the blocks 11 to 10");
    store.commit(&blocks(11..=14)).unwrap();
    store.commit(&snapshot(8, 1, 12)).unwrap();
    let refused = "block 12 is not after block 12, on which the snapshot rests";
    assert_eq!(refusal(&store, &[block(12)]), refused);
    store.commit(&[block(13)]).unwrap();
    for first in [9, 14] {
        let refused = format!("a snapshot that rests on block {first} does not join the blocks 11 to 13");
        assert_eq!(refusal(&store, &snapshot(9, 1, first)), refused);
    }
    store.commit(&snapshot(9, 1, 10)).unwrap();
    assert_eq!(recovered(&store)[2..], [11, 12, 13].map(|number| Kept::Block(bytes(number))));
}

#[test]
fn a_snapshot_has_all_its_pieces_or_is_none() {
    let (_directory, store) = empty();
    let (mine, other) = ([7; 16], [8; 16]);
    let none = "snapshot 07070707070707070707070707070707 has no pieces";
    assert_eq!(refusal(&store, &[complete(mine, 0)]), none);
    store.commit(&[piece(mine, 0), piece(other, 0), piece(mine, 0)]).unwrap();
    let missing = "piece 2 of snapshot 07070707070707070707070707070707 came before piece 1";
    assert_eq!(refusal(&store, &[piece(mine, 2)]), missing);
    store.commit(&[piece(mine, 1), complete(mine, 0)]).unwrap();
    let closed = "snapshot 07070707070707070707070707070707 takes no more pieces";
    assert_eq!(refusal(&store, &[piece(mine, 2)]), closed);
    let pieces = [Kept::Piece(vec![7, 0]), Kept::Piece(vec![7, 1])];
    assert_eq!(recovered(&store)[1..], pieces);
    assert!(matches!(store.commit(&[complete(mine, 0)]), Err(StoreError::NoPieces(id)) if id == mine));
}

#[test]
fn a_snapshot_that_was_replaced_or_given_up_takes_no_more_pieces_until_it_is_gone() {
    let (_directory, store) = empty();
    store.commit(&snapshot(7, 40, 0)).unwrap();
    store.commit(&(0..40).map(|index| piece([8; 16], index)).collect::<Vec<_>>()).unwrap();
    store.commit(&snapshot(9, 1, 0)).unwrap();
    for id in [7, 8] {
        let refused = format!("snapshot {} takes no more pieces", format!("{id:02x}").repeat(16));
        assert_eq!(refusal(&store, &[piece([id; 16], 0)]), refused);
    }
    (0..20).for_each(|mark| store.commit(&[Write::Mark(vec![mark])]).unwrap());
    store.commit(&snapshot(7, 1, 0)).unwrap();
    assert_eq!(recovered(&store)[2..], [Kept::Piece(vec![7, 0])]);
}

#[test]
fn an_unfinished_snapshot_does_not_outlive_the_store() {
    let (directory, store) = empty();
    store.commit(&snapshot(7, 3, 0)).unwrap();
    store.commit(&[piece([8; 16], 0), piece([8; 16], 1)]).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(recovered(&store).len(), 4);
    let missing = "piece 2 of snapshot 08080808080808080808080808080808 came before piece 0";
    assert_eq!(refusal(&store, &[piece([8; 16], 2)]), missing);
}

#[test]
fn what_nobody_needs_is_removed() {
    let (_directory, store) = empty();
    let newest = KEPT_BLOCKS + 500;
    store.commit(&blocks(1..=newest)).unwrap();
    store.commit(&snapshot(7, 1, 300)).unwrap();
    let oldest = |store: &Store| store.figures().unwrap().oldest_block;
    store.commit(&[block(newest + 1)]).unwrap();
    assert_eq!(oldest(&store), Some(300));
    assert!(matches!(store.range(hash(299), None, 9), Err(RangeError::UnknownBlock(_))));
    // Past the kept ones the snapshot does not reach.
    store.commit(&snapshot(8, 1, newest + 1)).unwrap();
    assert_eq!(oldest(&store), Some(502));
    store.commit(&[block(newest + 2)]).unwrap();
    assert_eq!(oldest(&store), Some(503));
    let kept = (503..=newest + 2).map(|number| Kept::Block(bytes(number)));
    assert_eq!(recovered(&store)[2..], kept.collect::<Vec<_>>());
}

#[test]
fn ranges_exclude_the_first_include_the_last_and_are_bounded() {
    let (_directory, store) = empty();
    let range = |from, until: Option<u64>, max| store.range(hash(from), until.map(hash), max);
    assert!(range(0, None, 99).unwrap().is_empty());
    store.commit(&blocks(1..=5)).unwrap();
    assert_eq!(range(2, Some(4), 99).unwrap(), [bytes(3), bytes(4)]);
    assert_eq!(range(3, None, 99).unwrap(), [bytes(4), bytes(5)]);
    assert_eq!(range(0, Some(2), 99).unwrap(), [bytes(1), bytes(2)]);
    assert!(range(5, None, 99).unwrap().is_empty() && range(4, Some(4), 99).unwrap().is_empty());
    assert_eq!(range(1, None, 0).unwrap().len(), 1);
    assert_eq!(range(1, None, 23).unwrap().len(), 2);
    assert_eq!(range(1, None, 24).unwrap().len(), 3);
    let refusal = |from, until| range(from, until, 99).unwrap_err().to_string();
    assert_eq!(refusal(9, None), format!("block {:?} is not kept", hash(9)));
    assert_eq!(refusal(1, Some(9)), format!("block {:?} is not kept", hash(9)));
    assert_eq!(refusal(1, Some(0)), format!("block {:?} is not kept", hash(0)));
    assert_eq!(refusal(3, Some(2)), format!("block {:?} does not come after {:?}", hash(2), hash(3)));
    let (_directory, late) = empty();
    late.commit(&blocks(2..=3)).unwrap();
    assert!(matches!(late.range(hash(0), None, 99), Err(RangeError::UnknownBlock(zero)) if zero.is_zero()));
}

#[test]
fn a_recovery_shows_the_moment_it_was_asked_for() {
    let (_directory, store) = empty();
    store.commit(&blocks(1..=2)).unwrap();
    store.commit(&snapshot(7, 30, 1)).unwrap();
    let expected = recovered(&store);
    let recovery = store.recovery().unwrap();
    store.commit(&snapshot(8, 30, 2)).unwrap();
    (3..20).for_each(|number| store.commit(&[block(number)]).unwrap());
    assert_eq!(recovery.collect::<Result<Vec<_>, _>>().unwrap(), expected);
}

#[test]
fn snapshots_do_not_make_the_file_grow_for_ever() {
    let (_directory, store) = empty();
    let take = |id: u8| {
        for index in 0..16 {
            let bytes = vec![id; 250_000];
            store.commit(&[Write::SnapshotPiece { snapshot: [id; 16], index, bytes }]).unwrap();
        }
        store.commit(&[complete([id; 16], 0)]).unwrap();
        store.file_bytes().unwrap()
    };
    // Two snapshots of 16 pages of 256 KiB have to find room, not twelve.
    let largest = (1..=12).map(take).max().unwrap();
    assert!(largest < 20_000_000, "{largest}");
}
