//! A crash at every operation of the disk: what was said to be durable is there, and nothing half.
use std::{io, path::Path};

use cloister_simulation::torn::{Replay, TornDisk, Unsynced};
use cloister_store::{Kept, StorageBackend, Store, StoreError, Write};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    model::{Author, Model},
    recovered, shard,
};

fn open(disk: &TornDisk) -> Result<Store, StoreError> {
    Store::with_backend(disk.clone(), Path::new("simulated"), shard())
}

/// A whole, closed, empty store.
fn created() -> Vec<u8> {
    let disk = TornDisk::default();
    drop(open(&disk).unwrap());
    disk.contents()
}

/// After so many operations this is durable.
struct Moment {
    operations: usize,
    recovery: Vec<Kept>,
}

/// Some commits, and what had to be there after each.
fn run(disk: &TornDisk, random: &mut ChaCha8Rng) -> Vec<Moment> {
    let (store, mut model, mut author) = (open(disk).unwrap(), Model::default(), Author::new(60_000));
    let mut moments = vec![Moment { operations: 0, recovery: model.recovery() }];
    while moments.len() < COMMITS {
        let writes = author.commit(&model, random);
        if model.commit(&writes) {
            store.commit(&writes).unwrap();
            moments.push(Moment { operations: disk.operations(), recovery: model.recovery() });
        }
    }
    drop(store);
    moments
}

/// That a store with these contents is what it was at the newest of the durable moments, or at the next one.
fn check(contents: &[u8], durable: usize, moments: &[Moment], crash: &str) -> TornDisk {
    let disk = TornDisk::with(contents.to_vec());
    let store = open(&disk).unwrap_or_else(|error| panic!("{crash}: {error}"));
    let recovery = recovered(&store);
    let allowed = &moments[durable..moments.len().min(durable + 2)];
    assert!(allowed.iter().any(|moment| moment.recovery == recovery), "{crash}: {durable} commits are not kept");
    store.commit(&[Write::Mark(vec![1])]).unwrap();
    assert_eq!(recovered(&store)[0], Kept::Mark(vec![1]), "{crash}");
    disk
}

#[test]
fn what_was_committed_survives_a_crash_at_any_operation() {
    let created = created();
    for seed in 0..SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let disk = TornDisk::with(created.clone());
        let moments = run(&disk, &mut random);
        let mut replay = Replay::new(created.clone(), &disk);
        for operations in 0..=disk.operations() {
            replay.advance(operations);
            let durable = moments.iter().rposition(|moment| moment.operations <= operations).unwrap();
            for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some, Unsynced::Torn] {
                let contents = replay.crash(unsynced, &mut random);
                let crash = format!("seed {seed}, operation {operations}, {unsynced:?}");
                let recovered = check(&contents, durable, &moments, &crash);
                if random.gen_ratio(1, 16) {
                    crash_again(contents, &recovered, durable, &moments, &crash, &mut random);
                }
            }
        }
    }
}

/// The recovery itself crashes, and the commit of a mark after it.
fn crash_again(
    contents: Vec<u8>,
    disk: &TornDisk,
    durable: usize,
    moments: &[Moment],
    crash: &str,
    random: &mut ChaCha8Rng,
) {
    let mut replay = Replay::new(contents, disk);
    for operations in 0..=disk.operations() {
        replay.advance(operations);
        let contents = replay.crash(Unsynced::Torn, random);
        let disk = TornDisk::with(contents);
        let store = open(&disk).unwrap_or_else(|error| panic!("{crash}, again at {operations}: {error}"));
        let unmarked = |kept: Vec<Kept>| kept.into_iter().filter(|kept| !matches!(kept, Kept::Mark(_)));
        let kept = unmarked(recovered(&store));
        let allowed = &moments[durable..moments.len().min(durable + 2)];
        let same = |moment: &Moment| unmarked(moment.recovery.clone()).eq(kept.clone());
        assert!(allowed.iter().any(same), "{crash}, again at {operations}: {durable} commits are not kept");
    }
}

#[test]
fn a_commit_that_the_disk_refuses_is_an_error_and_loses_nothing() {
    let created = created();
    for syncs in 0..6 {
        let disk = TornDisk::with(created.clone());
        let store = open(&disk).unwrap();
        store.commit(&[Write::Mark(vec![1])]).unwrap();
        disk.fail_after(syncs);
        let mut kept = 1;
        let error = loop {
            match store.commit(&[Write::Mark(vec![kept + 1])]) {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "simulated: the disk is gone");
        let after = store.commit(&[Write::Mark(vec![99])]).unwrap_err();
        assert!(matches!(after, StoreError::Database { .. }), "{after}");
        drop(store);
        let recovery = recovered(&open(&TornDisk::with(disk.contents())).unwrap());
        assert!([kept, kept + 1].iter().any(|mark| recovery == [Kept::Mark(vec![*mark])]), "{recovery:?}");
    }
}

/// Says that it has synced, and has not.
#[derive(Debug)]
struct Lying(TornDisk);

impl StorageBackend for Lying {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write(offset, bytes)
    }
}

/// Nobody can keep what a disk only says it has. But what is left of it is never taken for what it is not: it is what
/// some earlier commit made it, which only layer one can tell from the newest, or it is damaged.
#[test]
fn a_disk_that_lies_about_syncing_loses_commits_and_never_mixes_them() {
    let created = created();
    let (mut whole, mut older, mut damaged) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let disk = TornDisk::with(created.clone());
        let store = Store::with_backend(Lying(disk.clone()), Path::new("simulated"), shard()).unwrap();
        let (mut model, mut author) = (Model::default(), Author::new(60_000));
        let mut commits = vec![model.recovery()];
        while commits.len() < COMMITS {
            let writes = author.commit(&model, &mut random);
            if model.commit(&writes) {
                store.commit(&writes).unwrap();
                commits.push(model.recovery());
            }
        }
        drop(store);
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some, Unsynced::Torn].into_iter().cycle().take(400) {
            let mut replay = Replay::new(created.clone(), &disk);
            replay.advance(random.gen_range(0..=disk.operations()));
            match open(&TornDisk::with(replay.crash(unsynced, &mut random))) {
                Ok(store) => {
                    let recovery = recovered(&store);
                    let at = commits.iter().rposition(|commit| *commit == recovery);
                    let at = at.unwrap_or_else(|| panic!("seed {seed}, {unsynced:?}: this was never kept"));
                    if at + 1 == commits.len() { whole += 1 } else { older += 1 }
                }
                Err(StoreError::Damaged { .. }) => damaged += 1,
                Err(error) => panic!("seed {seed}, {unsynced:?}: {error}"),
            }
        }
    }
    assert!(whole > 0 && older > 0 && damaged > 0, "{whole} whole, {older} older, {damaged} damaged");
}

const SEEDS: u64 = 3;
const COMMITS: usize = 24;
