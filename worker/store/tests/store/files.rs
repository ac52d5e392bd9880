//! The file: who may open it, what it says.
use std::{fs, os::unix::fs::PermissionsExt};

use cloister_chain_primitives::ShardId;
use cloister_store::{FILE, Kept, Store, StoreError, Write};
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use crate::{open, recovered, shard};

#[test]
fn only_its_owner_reads_the_file() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("new");
    drop(open(&directory));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.join(FILE)), 0o600);
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    let nowhere = root.path().join("not/there");
    let error = Store::open(&nowhere, shard()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { path, .. } if *path == nowhere), "{error}");
}

#[test]
fn it_is_open_once() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    let again = || Store::open(directory.path(), shard());
    let path = directory.path().join(FILE);
    assert_eq!(again().unwrap_err().to_string(), format!("{}: is open already", path.display()));
    drop(store);
    again().unwrap();
}

#[test]
fn many_at_once_open_it_once() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("new");
    let opened = std::thread::scope(|scope| {
        let threads = (0..8).map(|_| scope.spawn(|| Store::open(&directory, shard()))).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let (stores, refusals): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(stores.len(), 1);
    for refusal in refusals {
        assert!(matches!(refusal, Err(StoreError::InUse { .. })), "{refusal:?}");
    }
}

#[test]
fn another_shard_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    let error = Store::open(directory.path(), ShardId::default()).unwrap_err();
    let path = directory.path().join(FILE);
    assert!(error.is_unusable() && !error.is_refusal(), "{error}");
    let [kept, asked] = [shard().0, ShardId::default().0].map(|hash| format!("{hash:?}"));
    assert_eq!(error.to_string(), format!("{}: belongs to shard {kept}, not {asked}", path.display()));
}

#[test]
fn another_format_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    let path = directory.path().join(FILE);
    let write = |format: &[u8]| {
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta = TableDefinition::<&str, &[u8]>::new("meta");
        transaction.open_table(meta).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    write(&2u32.to_le_bytes());
    let error = Store::open(directory.path(), shard()).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: format version 2 is unknown", path.display()));
    write(b"2");
    let error = Store::open(directory.path(), shard()).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: is damaged: it names no format", path.display()));
}

#[test]
fn what_a_crash_left_of_a_creation_is_made_anew() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("state.redb.new"), b"half").unwrap();
    let store = open(directory.path());
    store.commit(&[Write::Mark(vec![1])]).unwrap();
    assert_eq!(recovered(&store), [Kept::Mark(vec![1])]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
