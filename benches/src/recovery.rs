//! How long a start takes until its state is whole, by the number of accounts and of blocks after the snapshot: opening
//! the worker's store, which reads the whole file, taking everything out of it, and the engine's work on that.

use std::time::{Duration, Instant};

use cloister_sidechain::{Keep, Kept};
use cloister_simulation::Disk;
use cloister_store::{Store, Write};
use tempfile::TempDir;

use crate::{
    Figure,
    shard::{Shard, write},
};

/// The figures of this module.
pub fn names() -> Vec<String> {
    let rows = ACCOUNTS.iter().flat_map(|accounts| JOURNALS.map(|journal| (*accounts, journal)));
    rows.flat_map(|(accounts, journal)| FIGURES.map(|figure| name(accounts, journal, figure))).collect()
}

/// Measures them.
pub fn measure() -> Vec<Figure> {
    ACCOUNTS.iter().flat_map(|accounts| measure_shard(*accounts)).collect()
}

fn measure_shard(accounts: u64) -> Vec<Figure> {
    let directory = TempDir::new().expect("directory");
    let mut shard = Shard::new(accounts);
    shard.snapshot();
    let (base, mut stored, mut figures) = (shard.height(), 0, Vec::new());
    for journal in JOURNALS {
        while shard.height() < base + journal {
            shard.submit(TRANSFERS);
            assert_eq!(shard.slot().included, TRANSFERS);
        }
        let store = Store::open(directory.path(), shard.world.shard()).expect("store");
        keep(&store, &shard.world.disk, stored);
        let file = store.file_bytes().expect("file");
        drop(store);
        stored = shard.height();

        let (mut opening, mut reading, mut engine, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..RUNS {
            let start = Instant::now();
            let store = Store::open(directory.path(), shard.world.shard()).expect("store");
            opening.push(start.elapsed());
            let start = Instant::now();
            let kept: Vec<_> = store.recovery().expect("recovery").map(|kept| kept.expect("kept")).collect();
            reading.push(start.elapsed());
            let kept: Vec<Kept> = kept.into_iter().map(give).collect();
            bytes = kept.iter().map(length).sum::<usize>();
            engine.push(shard.recover(kept));
        }

        let seconds = |figure, times: &mut [Duration]| Figure::median(name(accounts, journal, figure), times, "s", 1.0);
        let value = |figure, value, unit| Figure { name: name(accounts, journal, figure), value, unit, n: RUNS };
        let [engine_name, read_name, rate_name, accounts_name, open_name, stream_name, file_name] = FIGURES;
        let time = seconds(engine_name, &mut engine);
        let (mib, per_second) = (bytes as f64 / MIB, time.value.recip());
        figures.extend([
            time,
            value(read_name, mib, "MiB"),
            value(rate_name, mib * per_second, "MiB/s"),
            value(accounts_name, accounts as f64 * per_second, "1/s"),
            seconds(open_name, &mut opening),
            seconds(stream_name, &mut reading),
            value(file_name, file as f64 / MIB, "MiB"),
        ]);
    }
    figures
}

/// Brings a store up to what is kept in memory. It has the blocks up to `stored`, and the snapshot if there are any.
fn keep(store: &Store, disk: &Disk, stored: u64) {
    let (name, manifest, first) = disk.snapshot.clone().expect("snapshot");
    let blocks = disk
        .blocks
        .range(stored + 1..)
        .map(|(number, (hash, bytes))| write(Keep::Block { number: *number, hash: *hash, bytes: bytes.clone() }));
    let mark = disk.mark.clone().map(Write::Mark);
    if stored > 0 {
        return commit(store, blocks.chain(mark));
    }
    assert_eq!(disk.blocks.len(), 1, "the one on which the snapshot rests");
    let pieces = disk.pieces.iter().map(|((snapshot, index), bytes)| {
        write(Keep::SnapshotPiece { snapshot: *snapshot, index: *index, bytes: bytes.clone() })
    });
    commit(store, blocks.chain(pieces).chain(mark));
    store.commit(&[write(Keep::Snapshot { snapshot: name, manifest, first })]).expect("commit");
}

/// Several at once, because nobody waits for each.
fn commit(store: &Store, writes: impl Iterator<Item = Write>) {
    let mut batch = Vec::new();
    for write in writes {
        batch.push(write);
        if batch.len() == WRITES_PER_COMMIT {
            store.commit(&batch).expect("commit");
            batch.clear();
        }
    }
    store.commit(&batch).expect("commit");
}

/// As the engine takes it.
fn give(kept: cloister_store::Kept) -> Kept {
    match kept {
        cloister_store::Kept::Mark(bytes) => Kept::Mark(bytes),
        cloister_store::Kept::Manifest(bytes) => Kept::Manifest(bytes),
        cloister_store::Kept::Piece(bytes) => Kept::Piece(bytes),
        cloister_store::Kept::Block(bytes) => Kept::Block(bytes),
    }
}

fn length(kept: &Kept) -> usize {
    let (Kept::Mark(bytes) | Kept::Manifest(bytes) | Kept::Piece(bytes) | Kept::Block(bytes)) = kept;
    bytes.len()
}

fn name(accounts: u64, journal: u64, figure: &str) -> String {
    format!("recovery/accounts={accounts}/blocks={journal}/{figure}")
}

const FIGURES: [&str; 7] =
    ["engine", "kept", "engine_rate", "accounts_rate", "store_open", "store_stream", "store_file"];
const ACCOUNTS: [u64; 3] = [10_000, 100_000, 1_000_000];
const JOURNALS: [u64; 4] = [0, 100, 1_000, 10_000];
/// In each block after the snapshot.
const TRANSFERS: usize = 10;
const RUNS: usize = 3;
const WRITES_PER_COMMIT: usize = 32;
const MIB: f64 = 1024.0 * 1024.0;
