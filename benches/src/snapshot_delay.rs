//! By how much a snapshot of a million accounts delays blocks of 100 transfers, one a slot, with the worker's store. It
//! takes the place of an older one of the same size, whose pieces are removed after it.

use std::time::Duration;

use cloister_store::{Store, Write};
use tempfile::TempDir;

use crate::{
    Figure,
    shard::{SNAPSHOT_AT_ONCE, Shard, Slot},
};

/// The figures of this module.
pub fn names() -> Vec<String> {
    let spreads = PHASES.iter().flat_map(|phase| PARTS.map(|(part, _)| Figure::spread_names(&name(phase, part))));
    spreads.flatten().collect()
}

/// Measures them: first every slot takes a piece, then the older snapshot is removed, then nothing is going on.
pub fn measure() -> Vec<Figure> {
    let directory = TempDir::new().expect("directory");
    let mut shard = Shard::new(ACCOUNTS);
    shard.restart(SNAPSHOT_AT_ONCE);
    let base = shard.height();
    let pieces = u32::try_from(shard.world.engine.figures().state_bytes / PIECE_BYTES + 1).expect("few");
    let store = Store::open(directory.path(), shard.world.shard()).expect("store");
    keep_older_snapshot(&store, pieces, base);
    shard.store = Some(store);

    let mut slots: [Vec<Slot>; PHASES.len()] = Default::default();
    while shard.world.engine.figures().snapshot != base {
        slots[0].push(block(&mut shard));
    }
    // The last one completes it.
    assert_eq!(slots[0].iter().filter(|slot| slot.took_piece).count(), slots[0].len() - 1);
    slots[1].extend((0..REMOVING).map(|_| block(&mut shard)));
    slots[2].extend((0..AFTER).map(|_| block(&mut shard)));
    assert!(slots[1..].iter().flatten().all(|slot| !slot.took_piece));

    let figures = |(phase, slots): (&&str, &Vec<Slot>)| {
        PARTS.map(|(part, of)| Figure::spread(&name(phase, part), &mut slots.iter().map(of).collect::<Vec<_>>()))
    };
    PHASES.iter().zip(&slots).flat_map(figures).flatten().collect()
}

fn block(shard: &mut Shard) -> Slot {
    shard.submit(TRANSFERS);
    let slot = shard.slot();
    assert_eq!(slot.included, TRANSFERS);
    slot
}

/// The store does not know what it keeps, so any bytes do.
fn keep_older_snapshot(store: &Store, pieces: u32, first: u64) {
    let snapshot = [1; 16];
    for index in 0..pieces {
        let bytes = vec![2; PIECE_BYTES as usize];
        store.commit(&[Write::SnapshotPiece { snapshot, index, bytes }]).expect("commit");
    }
    store.commit(&[Write::Snapshot { snapshot, manifest: vec![3; 100], first }]).expect("commit");
}

fn name(phase: &str, part: &str) -> String {
    format!("snapshot_delay/{phase}/{part}")
}

type Part = (&'static str, fn(&Slot) -> Duration);
const PARTS: [Part; 2] = [("engine", |slot| slot.engine), ("whole", Slot::whole)];
const PHASES: [&str; 3] = ["piece", "removal", "none"];
const ACCOUNTS: u64 = 1_000_000;
const TRANSFERS: usize = 100;
const PIECE_BYTES: u64 = 256 * 1024;
/// Four old pieces go with a commit, of which a slot has two.
const REMOVING: usize = 120;
const AFTER: usize = 1_000;
