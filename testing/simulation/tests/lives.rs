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
    let missing: Vec<_> = crashes.iter().chain(EVENTS).filter(|event| !coverage.contains_key(*event)).collect();
    assert!(missing.is_empty(), "{missing:?} did not happen in {coverage:#?}");
}

#[test]
fn a_life_follows_from_its_seed() {
    for seed in [3, 1_007] {
        assert_eq!(live(seed, None, false).unwrap(), live(seed, None, false).unwrap());
    }
}

/// Some seeds must fail for the first of these reasons, and none for any other.
fn is_found(defect: Defect, reasons: &[&str]) {
    let (failed, _) = lives(60, Some(defect));
    assert!(failed.len() > 10, "{defect:?} is found in {} lives", failed.len());
    assert!(failed.values().any(|broke| broke.contains(reasons[0])), "{failed:#?}");
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

#[test]
fn a_layer_one_that_settles_twice_is_found() {
    is_found(Defect::SettlesTwice, &["is settled twice"]);
}

#[test]
fn a_refund_because_something_took_too_long_is_found() {
    is_found(Defect::RefundsOnTimeout, &["which is not settled", "is settled twice"]);
}

#[test]
fn numbers_of_the_outbox_that_are_given_again_are_found() {
    is_found(Defect::ReusesNumbers, &["was another one before", "is anchored and not kept"]);
}

/// What has to happen in a thousand lives, besides crashes.
const EVENTS: &[&str] = &[
    "account left",
    "anchor of an earlier incarnation",
    "anchor overtaken",
    "anchor thrown away",
    "anchored by a stranger",
    "anchored",
    "answered out of order",
    "block",
    "call set aside",
    "claimed",
    "clock jump",
    "confirmed as failed",
    "confirmed",
    "direct as indirect",
    "direct inside",
    "emptying",
    "end of maintenance",
    "entry deferred",
    "entry not in the outbox",
    "entry settled before",
    "entry submitted again",
    "entry submitted",
    "escrow emptied",
    "extrinsic delayed",
    "extrinsic dropped",
    "extrinsic refused",
    "extrinsic submitted again",
    "extrinsics reordered",
    "fee not paid",
    "finality in a burst",
    "finality refused",
    "finalized",
    "forged amount",
    "forged beneficiary",
    "forged",
    "gap",
    "indirect call set aside",
    "indirect calls reported",
    "indirect gap",
    "indirect unshielding",
    "indirect",
    "invocation refused",
    "large shielding",
    "large unshielding",
    "leaving dust",
    "lost in a reorganisation",
    "maintenance",
    "noop",
    "nothing",
    "old copy given back",
    "old copy served",
    "opened out of order",
    "outbox told",
    "overdraft",
    "paused: expiring",
    "paused: layer one stalls",
    "proof lost",
    "proof withheld",
    "proof wrong",
    "real store",
    "refunded",
    "refused in maintenance",
    "refused in retirement",
    "registered",
    "reorganised",
    "repaid",
    "replayed indirect",
    "replayed",
    "retirement",
    "sent again",
    "serves",
    "settled by a stranger",
    "shielding for nobody",
    "shielding refused",
    "shielding returned",
    "shielding",
    "small shielding",
    "small unshielding",
    "snapshot",
    "stall",
    "stopped: expired",
    "stopped: old copy",
    "too little for an account",
    "transfer",
    "unclaimed",
    "unshielding all but dust",
    "unshielding all",
    "unshielding as others",
    "unshielding paid",
    "unshielding refused",
    "unshielding to the escrow",
    "unshielding too much",
    "unshielding",
    "usurped",
    "verdict thrown away",
];
