//! What the enclave gives is kept, and given back.

use std::{io, path::Path, sync::Condvar};

use cloister_link::{Kept, Write};
use cloister_store::{StorageBackend, Store, StoreError};

use super::*;
use crate::blocks::BlocksError;

fn hash(number: u64) -> H256 {
    H256::from_low_u64_be(number)
}

fn block(number: u64) -> Write {
    Write::Block { number, hash: hash(number), bytes: vec![number as u8] }
}

fn store(sequence: u64, writes: Vec<Write>) -> ToHost {
    ToHost::Store { sequence, writes }
}

/// What a store holds.
fn contents(data_dir: &Path) -> Vec<Kept> {
    let store = (Place::new(data_dir, shard()).open)().unwrap();
    store.recovery().unwrap().collect::<Result<_, _>>().unwrap()
}

/// What a store holds that another one has open, as if the machine had stopped.
fn contents_meanwhile(data_dir: &Path) -> Vec<Kept> {
    let copy = tempfile::tempdir().unwrap();
    let [from, to] = [data_dir, copy.path()].map(|directory| Place::new(directory, shard()).file);
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap();
    contents(copy.path())
}

async fn stage_in(data_dir: &Path) -> Stage {
    stage_with(Some(Place::new(data_dir, shard()))).await
}

impl Stage {
    /// All that was kept.
    async fn given(&mut self) -> Vec<Kept> {
        let mut given = Vec::new();
        loop {
            match self.next_but_ticks().await {
                ToEnclave::Kept(kept) => given.push(kept),
                ToEnclave::KeptAll => return given,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn stop(mut self) -> Result<(), WorkerError> {
        self.stop.take().unwrap().send(()).unwrap();
        while self.next().await != ToEnclave::Stop {}
        self.enclave.send(ToHost::Stopped { reason: StopReason::Requested }).await.unwrap();
        self.end().await
    }
}

#[tokio::test]
async fn what_was_kept_comes_in_order_and_then_its_end() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut stage = stage_in(data_dir.path()).await;
    assert_eq!(stage.next_but_ticks().await, ToEnclave::KeptAll);
    let piece = |index| Write::SnapshotPiece { snapshot: [1; 16], index, bytes: vec![index as u8, 7] };
    let complete = Write::Snapshot { snapshot: [1; 16], manifest: vec![9], first: 2 };
    let writes = vec![block(1), block(2), piece(0), piece(1), complete, block(3), Write::Mark(vec![8])];
    stage.enclave.send(store(1, writes)).await.unwrap();
    assert_eq!(stage.next().await, ToEnclave::Stored { sequence: 1 });
    assert_eq!(stage.shared.metrics.blocks_total.get(), 3);
    assert_eq!(stage.shared.metrics.snapshot_pieces_total.get(), 2);
    assert!(stage.shared.metrics.store_file_bytes.get() > 0);
    stage.stop().await.unwrap();

    let mut stage = stage_in(data_dir.path()).await;
    let blocks = [1, 2, 3].map(|number| Kept::Block(vec![number]));
    let snapshot = [Kept::Mark(vec![8]), Kept::Manifest(vec![9]), Kept::Piece(vec![0, 7]), Kept::Piece(vec![1, 7])];
    assert_eq!(stage.given().await, [&snapshot[..], &blocks].concat());
    // Peers get them, too.
    assert_eq!(stage.shared.blocks.range(shard(), hash(1), None).unwrap(), [[2], [3]]);
    assert_eq!(stage.shared.metrics.blocks_total.get(), 0);
    stage.enclave.send(ToHost::Recovered { number: 3 }).await.unwrap();
    let progress = timeout(PATIENCE, stage.progress.recv()).await.unwrap().unwrap();
    assert_eq!(progress, Progress::Recovered { number: 3 });
    let shared = stage.shared.clone();
    stage.stop().await.unwrap();
    assert!(matches!(shared.blocks.range(shard(), hash(1), None), Err(BlocksError::ShardUnknown)));
}

#[tokio::test]
async fn what_is_stored_outlives_a_crash() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut stage = stage_in(data_dir.path()).await;
    for number in 1..=5 {
        stage.enclave.send(store(number, vec![block(number), Write::Mark(vec![number as u8])])).await.unwrap();
        assert_eq!(stage.next().await, ToEnclave::Stored { sequence: number });
        let kept = contents_meanwhile(data_dir.path());
        assert_eq!((kept.len() as u64, &kept[0]), (1 + number, &Kept::Mark(vec![number as u8])));
    }
}

#[tokio::test]
async fn what_was_asked_for_before_the_end_is_kept() {
    let data_dir = tempfile::tempdir().unwrap();
    let stage = stage_in(data_dir.path()).await;
    for number in 1..=100 {
        stage.enclave.send(store(number, vec![block(number)])).await.unwrap();
    }
    stage.stop().await.unwrap();
    assert_eq!(contents(data_dir.path()).len(), 100);

    // Also by an enclave that dies.
    let Stage { enclave, mut host, session, .. } = stage_in(data_dir.path()).await;
    for number in 1..=100 {
        enclave.send(store(number, vec![block(100 + number)])).await.unwrap();
    }
    enclave.flush().await.unwrap();
    drop(enclave);
    while timeout(PATIENCE, host.recv()).await.unwrap().is_ok() {}
    let error = timeout(PATIENCE, session).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::EnclaveDied(None)), "{error}");
    assert_eq!(contents(data_dir.path()).len(), 200);
}

#[tokio::test]
async fn requests_are_numbered_without_a_gap() {
    for (numbers, sequence, expected) in [(vec![2], 2, 1), (vec![1, 1], 1, 2), (vec![1, 2, 4], 4, 3)] {
        let data_dir = tempfile::tempdir().unwrap();
        let stage = stage_in(data_dir.path()).await;
        for number in numbers {
            stage.enclave.send(store(number, vec![])).await.unwrap();
        }
        let error = stage.end().await.unwrap_err();
        let text = format!(
            "the enclave asked for something to be kept as request {sequence}, in the place of request {expected}"
        );
        assert_eq!((error.to_string(), error.exit_code()), (text, 3));
    }
}

#[tokio::test]
async fn a_write_that_does_not_join_ends_the_session_and_names_the_file() {
    let data_dir = tempfile::tempdir().unwrap();
    let stage = stage_in(data_dir.path()).await;
    stage.enclave.send(store(1, vec![block(1), block(3)])).await.unwrap();
    let error = stage.end().await.unwrap_err();
    let file = Place::new(data_dir.path(), shard()).file;
    let text = format!(
        "what the enclave gave does not join what {} holds: block 3 does not join the blocks 1 to 1",
        file.display()
    );
    assert_eq!((error.to_string(), error.exit_code()), (text, 3));
    assert!(contents(data_dir.path()).is_empty());
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_named() {
    let data_dir = tempfile::tempdir().unwrap();
    drop(contents(data_dir.path()));
    let file = Place::new(data_dir.path(), shard()).file;
    assert_eq!(file, data_dir.path().join(format!("shard-{}", "03".repeat(32))).join("state.redb"));
    std::fs::write(&file, b"something else").unwrap();
    let error = stage_in(data_dir.path()).await.end().await.unwrap_err();
    assert!(matches!(&error, WorkerError::Store(StoreError::Damaged { path, .. }) if *path == file), "{error}");
    assert_eq!(error.exit_code(), 9);
    assert!(error.to_string().contains("copy of that file") && error.to_string().contains("`--data-dir`"), "{error}");

    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    let open = (Place::new(data_dir.path(), shard()).open)().unwrap();
    let error = stage_in(data_dir.path()).await.end().await.unwrap_err();
    assert_eq!(error.to_string(), format!("the store of the shard: {}: is open already", file.display()));
    assert_eq!(error.exit_code(), 1);
    drop(open);
}

#[tokio::test]
async fn what_the_enclave_refuses_is_named_with_what_can_be_done() {
    for (reason, text) in [
        (StopReason::Kept("x".into()), "what was kept of the shard is refused: x; the file is "),
        (StopReason::KeptTooOld("x".into()), "what was kept is not the shard's newest state: x; the file is "),
    ] {
        let data_dir = tempfile::tempdir().unwrap();
        let stage = stage_in(data_dir.path()).await;
        stage.enclave.send(ToHost::Stopped { reason: reason.clone() }).await.unwrap();
        let error = stage.end().await.unwrap_err();
        let text = format!(
            "{text}{}. Put the newest whole copy of that file back, if there is one; or start with a new data \
             directory (`--data-dir`), which is a new account and a new shard",
            Place::new(data_dir.path(), shard()).file.display()
        );
        assert_eq!((error.to_string(), error.exit_code()), (text, 9));
    }
}

#[tokio::test]
async fn without_a_store_there_is_nothing() {
    let mut stage = stage().await;
    assert_eq!(stage.next_but_ticks().await, ToEnclave::KeptAll);
    stage.enclave.send(store(1, vec![block(1)])).await.unwrap();
    stage.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_waits_for_an_enclave_that_takes_its_time_with_what_was_kept() {
    let data_dir = tempfile::tempdir().unwrap();
    let pieces = (0..8u32).map(|index| Write::SnapshotPiece { snapshot: [1; 16], index, bytes: vec![0; 1 << 20] });
    let complete = Write::Snapshot { snapshot: [1; 16], manifest: vec![9], first: 0 };
    let place = Place::new(data_dir.path(), shard());
    (place.open)().unwrap().commit(&pieces.chain([complete]).collect::<Vec<_>>()).unwrap();

    let mut stage = stage_in(data_dir.path()).await;
    stage.node.state().refuse_proofs = true;
    let at = stage.node.hash(0);
    stage.enclave.send(ToHost::ProofQuestion { question: 1, at, keys: vec![] }).await.unwrap();
    // Counted once the answer is under way, while the enclave reads nothing.
    until(|| stage.shared.metrics.proofs_missing_total.get() == 1).await;
    let mut given = 0;
    let behind = loop {
        match stage.next_but_ticks().await {
            ToEnclave::Kept(_) => given += 1,
            ToEnclave::ProofAnswer { .. } => break 9 - given,
            other => panic!("{other:?}"),
        }
    };
    assert!(behind > 3, "only {behind} came after it");
    assert_eq!(stage.given().await.len(), behind);
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes true");
}

/// A disk whose syncs can be held up, or fail. Clones are the same disk.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<(Mutex<DiskState>, Condvar)>);

#[derive(Debug, Default)]
struct DiskState {
    contents: Vec<u8>,
    is_held: bool,
    is_broken: bool,
}

impl Disk {
    fn place(&self) -> Place {
        let disk = self.clone();
        let open = Box::new(|| Store::with_backend(disk, Path::new("simulated"), shard()));
        Place { shard: shard(), file: "simulated".into(), open }
    }

    fn change(&self, change: impl FnOnce(&mut DiskState)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().contents.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0.0.lock().unwrap().contents[offset as usize..][..out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.0.lock().unwrap().contents.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| state.is_held).unwrap();
        match state.is_broken {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.0.lock().unwrap().contents[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

#[tokio::test]
async fn a_slow_disk_delays_only_what_waits_for_it_and_requests_share_commits() {
    let disk = Disk::default();
    let mut stage = stage_with(Some(disk.place())).await;
    assert_eq!(stage.next_but_ticks().await, ToEnclave::KeptAll);
    disk.change(|state| state.is_held = true);
    for number in 1..=5 {
        stage.enclave.send(store(number, vec![block(number)])).await.unwrap();
    }
    let at = stage.node.hash(0);
    stage.enclave.send(ToHost::ProofQuestion { question: 9, at, keys: vec![vec![1]] }).await.unwrap();
    assert_eq!(stage.next().await, ToEnclave::ProofAnswer { question: 9, proof: Ok(vec![vec![1]]) });
    assert_eq!(stage.shared.metrics.store_queue.get(), 5);
    assert_eq!(stage.shared.metrics.blocks_total.get(), 0);
    disk.change(|state| state.is_held = false);
    for sequence in 1..=5 {
        assert_eq!(stage.next().await, ToEnclave::Stored { sequence });
    }
    assert_eq!(stage.shared.metrics.store_queue.get(), 0);
    assert!(stage.shared.metrics.store_commit_seconds.get_sample_count() <= 3);
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_session_before_anything_is_called_stored() {
    let disk = Disk::default();
    let mut stage = stage_with(Some(disk.place())).await;
    assert_eq!(stage.next_but_ticks().await, ToEnclave::KeptAll);
    disk.change(|state| state.is_broken = true);
    stage.enclave.send(store(1, vec![block(1)])).await.unwrap();
    let Stage { mut host, session, .. } = stage;
    while let Ok(message) = timeout(PATIENCE, host.recv()).await.unwrap() {
        assert!(matches!(message, ToEnclave::Tick { .. }), "{message:?}");
    }
    let error = timeout(PATIENCE, session).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the store of the shard: simulated: the disk is gone");
    assert_eq!(error.exit_code(), 1);
}

#[tokio::test]
async fn requests_to_keep_nothing_are_bounded_too() {
    let disk = Disk::default();
    disk.change(|state| state.is_held = true);
    let ((sender, _receiver), _enclave) = link();
    let (shared, mut feeds) = (Arc::new(Shared::new()), JoinSet::new());
    let mut keeper = Keeper::start(Some(disk.place()), &shared, &sender, &mut feeds);
    let refused = (1..1_000_000).find_map(|sequence| Some((sequence, keeper.store(sequence, vec![]).err()?)));
    let (sequence, error) = refused.expect("it ends");
    assert!(matches!(error, WorkerError::StoreOverrun), "{error}");
    assert_eq!((sequence, error.exit_code()), (1024 * 1024 * 1024 / 4096 + 1, 3));
    disk.change(|state| state.is_held = false);
    drop(feeds);
    keeper.finish().await.unwrap();
}
