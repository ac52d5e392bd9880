//! The store through its public interface: what it keeps, what it refuses, what crashes and damage do to it.
mod contents;
mod crash;
mod damage;
mod files;
mod model;
mod random;

use std::path::Path;

use cloister_chain_primitives::{H256, ShardId};
use cloister_store::{Kept, SnapshotId, Store, Write};

fn shard() -> ShardId {
    ShardId(H256::repeat_byte(9))
}

fn open(directory: &Path) -> Store {
    Store::open(directory, shard()).unwrap()
}

fn recovered(store: &Store) -> Vec<Kept> {
    store.recovery().unwrap().collect::<Result<_, _>>().unwrap()
}

fn hash(number: u64) -> H256 {
    H256::from_low_u64_be(number)
}

fn bytes(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn block(number: u64) -> Write {
    Write::Block { number, hash: hash(number), bytes: bytes(number) }
}

fn blocks(numbers: impl IntoIterator<Item = u64>) -> Vec<Write> {
    numbers.into_iter().map(block).collect()
}

fn piece(snapshot: SnapshotId, index: u32) -> Write {
    Write::SnapshotPiece { snapshot, index, bytes: vec![snapshot[0], index as u8] }
}

fn complete(snapshot: SnapshotId, first: u64) -> Write {
    Write::Snapshot { snapshot, manifest: snapshot.to_vec(), first }
}

/// A snapshot of `pieces` pieces.
fn snapshot(id: u8, pieces: u32, first: u64) -> Vec<Write> {
    (0..pieces).map(|index| piece([id; 16], index)).chain([complete([id; 16], first)]).collect()
}
