//! Lives of shards: a thousand pass, all that can happen happens in them, and what is planted is found.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use cloister_simulation::{Coverage, Crash, Defect, live};

/// What became of each seed that failed, and how often what happened in the others.
fn lives(seeds: u64, defect: Option<Defect>) -> (BTreeMap<u64, String>, Coverage) {
    let (next, lived) = (AtomicU64::new(0), Mutex::new((BTreeMap::new(), Coverage::new())));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds {
                return;
            }
            let life = live(seed, defect, false);
            let (failed, coverage) = &mut *lived.lock().unwrap();
            match life {
                Ok(life) => life.into_iter().for_each(|(what, count)| *coverage.entry(what).or_default() += count),
                Err(broke) => drop(failed.insert(seed, broke)),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    lived.into_inner().unwrap()
}

#[test]
fn a_thousand_lives_lose_and_double_nothing() {
    let (failed, coverage) = lives(1_000, None);
    assert!(failed.is_empty(), "{failed:#?}");
    let crashes = Crash::ALL.map(Crash::name);
    let missing: Vec<_> = crashes.iter().chain(&EVENTS).filter(|event| !coverage.contains_key(*event)).collect();
    assert!(missing.is_empty(), "{missing:?} did not happen in {coverage:#?}");
}

#[test]
fn a_life_follows_from_its_seed() {
    for seed in [3, 1_007] {
        assert_eq!(live(seed, None, false).unwrap(), live(seed, None, false).unwrap());
    }
}

/// Some seeds must fail for this reason, and none for another.
fn is_found(defect: Defect, reasons: &[&str]) {
    let (failed, _) = lives(60, Some(defect));
    assert!(failed.len() > 10, "{defect:?} is found in {} lives", failed.len());
    for (seed, broke) in failed {
        assert!(reasons.iter().any(|reason| broke.contains(reason)), "{defect:?}, seed {seed}: {broke}");
    }
}

#[test]
fn a_host_that_acknowledges_before_it_writes_is_found() {
    is_found(Defect::AcknowledgesFirst, &["lost, confirmed calls"]);
}

#[test]
fn a_disk_that_loses_its_newest_block_is_found() {
    is_found(Defect::LosesNewest, &["lost, confirmed calls"]);
}

#[test]
fn transfers_that_are_made_twice_are_found() {
    is_found(Defect::PaysTwice, &["instead of", "other calls", "may not be executed"]);
}

/// What has to happen in a thousand lives, besides crashes.
const EVENTS: [&str; 49] = [
    "anchored",
    "answered out of order",
    "block",
    "call set aside",
    "clock jump",
    "confirmed",
    "confirmed as failed",
    "direct as indirect",
    "direct inside",
    "emptying",
    "extrinsic delayed",
    "extrinsic dropped",
    "finality in a burst",
    "finality refused",
    "finalized",
    "forged",
    "gap",
    "indirect",
    "indirect call set aside",
    "indirect calls reported",
    "indirect gap",
    "leaving dust",
    "noop",
    "nothing",
    "old copy given back",
    "old copy served",
    "opened out of order",
    "overdraft",
    "paused: expiring",
    "paused: layer one stalls",
    "proof lost",
    "proof withheld",
    "proof wrong",
    "real store",
    "registered",
    "replayed",
    "replayed indirect",
    "sent again",
    "serves",
    "shielding",
    "shielding for nobody",
    "small shielding",
    "snapshot",
    "stall",
    "stopped: expired",
    "stopped: old copy",
    "too little for an account",
    "transfer",
    "usurped",
];
