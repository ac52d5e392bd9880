//! Lives of shards: a thousand pass, all that can happen happens in them, and what is planted is found.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use cloister_simulation::{Coverage, Crash, Defect, live, live_among_liars};

/// How a life is lived.
type Live = fn(u64, Option<Defect>, bool) -> Result<Coverage, String>;

/// What became of each seed that failed, and how often what happened in the others.
fn lives(live: Live, seeds: u64, defect: Option<Defect>) -> (BTreeMap<u64, String>, Coverage) {
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
    let (failed, coverage) = lives(live, 1_000, None);
    assert!(failed.is_empty(), "{failed:#?}");
    let crashes = Crash::ALL.map(Crash::name);
    let missing: Vec<_> = crashes.iter().chain(EVENTS).filter(|event| !coverage.contains_key(*event)).collect();
    assert!(missing.is_empty(), "{missing:?} did not happen in {coverage:#?}");
}

#[test]
fn a_thousand_lives_among_liars_lose_and_double_nothing() {
    let (failed, coverage) = lives(live_among_liars, 1_000, None);
    assert!(failed.is_empty(), "{failed:#?}");
    let crashes = Crash::ALL.map(Crash::name);
    let missing: Vec<_> = crashes.iter().chain(LIES).filter(|event| !coverage.contains_key(*event)).collect();
    assert!(missing.is_empty(), "{missing:?} did not happen in {coverage:#?}");
}

#[test]
fn a_life_follows_from_its_seed() {
    for live in [live, live_among_liars] {
        for seed in [3, 1_007] {
            assert_eq!(live(seed, None, false).unwrap(), live(seed, None, false).unwrap());
        }
    }
}

/// Some seeds must fail for the first of these reasons, and none for any other.
fn is_found(defect: Defect, reasons: &[&str]) {
    is_found_in(live, defect, reasons);
}

/// Nobody but liars finds it.
fn is_found_among_liars(defect: Defect, reasons: &[&str]) {
    let (failed, _) = lives(live, 60, Some(defect));
    assert!(failed.is_empty(), "{failed:#?}");
    is_found_in(live_among_liars, defect, reasons);
}

fn is_found_in(live: Live, defect: Defect, reasons: &[&str]) {
    let (failed, _) = lives(live, 60, Some(defect));
    assert!(failed.len() > 5, "{defect:?} is found in {} lives", failed.len());
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
    is_found(Defect::RefundsOnTimeout, &["which is not settled", "is settled twice", "states the books"]);
}

#[test]
fn numbers_of_the_outbox_that_are_given_again_are_found() {
    is_found(Defect::ReusesNumbers, &["was another one before", "is anchored and not kept"]);
}

#[test]
fn a_layer_one_that_takes_any_enclave_for_a_member_is_found() {
    is_found_among_liars(Defect::TakesAnyMember, &["is anchored and not kept"]);
}

#[test]
fn authorities_most_of_which_lie_are_found() {
    is_found_among_liars(Defect::AuthoritiesLie, &["lie not refused"]);
}

#[test]
fn calls_for_another_shard_that_are_taken_are_found() {
    is_found_among_liars(Defect::TakesForeignCalls, &["was never sent"]);
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
    "direct call expired",
    "direct inside",
    "emptying",
    "end of maintenance",
    "entry deferred",
    "entry not in the outbox",
    "entry settled before",
    "entry submitted again",
    "entry submitted",
    "escrow emptied",
    "expired call refused",
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
    "indirect call expired",
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

/// What else has to happen in a thousand lives among liars.
const LIES: &[&str] = &[
    "answer checked",
    "lie: a call in clear",
    "lie: a start's calls by a stranger",
    "lie: anchor by another enclave",
    "lie: anchor by another's key",
    "lie: anchor by nobody",
    "lie: anchor for another shard",
    "lie: anchor under another's signature",
    "lie: another mark",
    "lie: answer again",
    "lie: answer never asked for",
    "lie: birth of a shard that looks alike",
    "lie: birth once more",
    "lie: bound query about another",
    "lie: bytes after a call",
    "lie: call altered",
    "lie: call as root",
    "lie: call for another shard",
    "lie: call for other code",
    "lie: call sent to two starts",
    "lie: call signed by another",
    "lie: call that sets the time",
    "lie: call that shields",
    "lie: call that unshields elsewhere",
    "lie: clock a year ahead",
    "lie: clock a year back",
    "lie: clock as far ahead as may be",
    "lie: clock at its end",
    "lie: clock at nought",
    "lie: consumption confirmed by a stranger",
    "lie: empty proof",
    "lie: evidence never asked for",
    "lie: evidence withheld",
    "lie: finality by a minority",
    "lie: finality by authorities that lie made",
    "lie: finality by forged signatures",
    "lie: finality by one vote three times",
    "lie: finality by strangers",
    "lie: finality by votes for another block",
    "lie: finality by votes of another set",
    "lie: flood of the inbox",
    "lie: header altered",
    "lie: header left out",
    "lie: header twice",
    "lie: headers turned round",
    "lie: justification altered",
    "lie: justification cut",
    "lie: kept altered",
    "lie: kept block left out",
    "lie: kept block twice",
    "lie: kept blocks swapped",
    "lie: kept by another enclave",
    "lie: kept by another shard",
    "lie: kept cut",
    "lie: kept piece left out",
    "lie: kept pieces of nothing",
    "lie: kept pieces swapped",
    "lie: kept snapshot after blocks",
    "lie: kept tail left out",
    "lie: more after the end",
    "lie: new authorities by a minority",
    "lie: no headers",
    "lie: no justification",
    "lie: nothing kept",
    "lie: old finality again",
    "lie: older snapshot",
    "lie: path altered",
    "lie: path to another root",
    "lie: proof from elsewhere",
    "lie: proof of a state that never was",
    "lie: proof of another state",
    "lie: proof of some keys",
    "lie: proof of too many nodes",
    "lie: proof shuffled and stuffed",
    "lie: proof with a node altered",
    "lie: proof with a node cut",
    "lie: proof with a node left out",
    "lie: query about another",
    "lie: query altered",
    "lie: query for another shard",
    "lie: query for other code",
    "lie: query in the inbox",
    "lie: query of another shard",
    "lie: query that lives too long",
    "lie: query whose time is over",
    "lie: root in the inbox",
    "lie: sealed and altered",
    "lie: sealed and cut",
    "lie: sealed for another chain",
    "lie: sealed for another epoch",
    "lie: sealed for another purpose",
    "lie: sealed for another shard",
    "lie: sealed to no point",
    "lie: shielding by a call",
    "lie: signed for another shard",
    "lie: state root altered",
    "lie: stored again",
    "lie: stored what comes later",
    "lie: stored what nobody asked for",
    "lie: too many headers",
    "lie: unreadable digest by a minority",
    "lie: unshielding from elsewhere",
    "lie: version of the runtime",
    "paused: unanchored",
    "paused: unread",
    "reported by a superseded start",
    "shut for want of an anchor",
    "stopped: of two histories the other is anchored",
    "stopped: retired",
    "the other start stopped",
    "two starts at once",
];
