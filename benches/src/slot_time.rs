//! What a slot costs, by the number of transfers in its block, on a shard of 100 000 accounts: the engine's part
//! (choose, mark, execute, commitment, seal, sign, apply, tell) and the two commits of the worker's store that it
//! waits for. Signatures are made and checked before.

use std::time::Duration;

use cloister_store::Store;
use tempfile::TempDir;

use crate::{
    Figure,
    shard::{Shard, Slot},
};

/// The figures of this module.
pub fn names() -> Vec<String> {
    let names = |transfers: &usize| PARTS.map(|(part, _)| Figure::spread_names(&name(*transfers, part)));
    TRANSFERS.iter().flat_map(names).flatten().collect()
}

/// Measures them; the sizes of blocks take turns.
pub fn measure() -> Vec<Figure> {
    let directory = TempDir::new().expect("directory");
    let mut shard = Shard::new(ACCOUNTS);
    shard.store = Some(Store::open(directory.path(), shard.world.shard()).expect("store"));
    let mut slots: [Vec<Slot>; TRANSFERS.len()] = Default::default();
    for round in 0..WARM_UP + BLOCKS {
        for (transfers, slots) in TRANSFERS.iter().zip(&mut slots) {
            shard.submit(*transfers);
            let slot = shard.slot();
            assert_eq!(slot.included, *transfers);
            if round >= WARM_UP {
                slots.push(slot);
            }
        }
    }
    let figures = |(transfers, slots): (&usize, &Vec<Slot>)| {
        PARTS.map(|(part, of)| Figure::spread(&name(*transfers, part), &mut slots.iter().map(of).collect::<Vec<_>>()))
    };
    TRANSFERS.iter().zip(&slots).flat_map(figures).flatten().collect()
}

fn name(transfers: usize, part: &str) -> String {
    format!("slot_time/transfers={transfers}/{part}")
}

type Part = (&'static str, fn(&Slot) -> Duration);
const PARTS: [Part; 4] = [
    ("engine", |slot| slot.engine),
    ("commit_mark", |slot| slot.mark),
    ("commit_block", |slot| slot.block),
    ("whole", Slot::whole),
];
const TRANSFERS: [usize; 5] = [1, 100, 500, 1_000, 2_000];
const ACCOUNTS: u64 = 100_000;
const WARM_UP: usize = 2;
const BLOCKS: usize = 101;
