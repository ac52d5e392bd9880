//! Keeps on disk what the enclave gives, and gives it back at the next start. What waits for the disk has threads of
//! its own, so that a slow disk delays nothing else.

use std::{
    fmt::{self, Debug, Formatter},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cloister_chain_primitives::ShardId;
use cloister_link::{Kept, MAX_FRAME, Sender, ToEnclave, Write};
use cloister_store::{FILE, Recovery, Store, StoreError};
use codec::Encode;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet, spawn_blocking},
};

use crate::{error::WorkerError, status::Shared};

/// Where what is kept of a shard lies.
pub struct Place {
    pub shard: ShardId,
    /// Of the store.
    pub file: PathBuf,
    /// Opens the store; blocks.
    pub open: Box<dyn FnOnce() -> Result<Store, StoreError> + Send>,
}

impl Place {
    /// In a data directory, which has to be there.
    pub fn new(data_dir: &Path, shard: ShardId) -> Self {
        let directory = data_dir.join(format!("shard-{}", hex::encode(shard)));
        Self { shard, file: directory.join(FILE), open: Box::new(move || Store::open(&directory, shard)) }
    }
}

impl Debug for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.file).finish()
    }
}

/// Carries out what an enclave asks to be kept.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    /// None without a store: what is to be kept is not, and no request is answered.
    requests: Option<mpsc::UnboundedSender<Request>>,
    /// Number of the next request.
    next: u64,
    /// Bytes that requests take that are not durable yet.
    queued: Arc<AtomicUsize>,
    /// Ends early only with an error.
    work: JoinSet<Result<(), WorkerError>>,
}

#[derive(Debug)]
struct Request {
    sequence: u64,
    writes: Vec<Write>,
    bytes: usize,
}

impl Keeper {
    /// Opens the store, gives the enclave all that is in it, and stands ready for more. What is said to the enclave is
    /// said by `feeds`.
    pub fn start(
        place: Option<Place>,
        shared: &Arc<Shared>,
        enclave: &Sender<ToEnclave>,
        feeds: &mut JoinSet<()>,
    ) -> Self {
        let (give, given) = mpsc::channel(1);
        feeds.spawn(give_back(given, enclave.clone()));
        let queued = Arc::new(AtomicUsize::new(0));
        let mut work = JoinSet::new();
        let requests = match place {
            Some(place) => {
                let (requests, queue) = mpsc::unbounded_channel();
                let (stored, done) = mpsc::channel(MAX_UNTOLD);
                feeds.spawn(answer(done, enclave.clone()));
                let storing = Storing { queue, stored, queued: queued.clone(), shared: shared.clone() };
                work.spawn(keep(place, storing, give));
                Some(requests)
            }
            None => {
                work.spawn(async move {
                    // Whoever is gone needs nothing.
                    let _ = give.send(ToEnclave::KeptAll).await;
                    Ok(())
                });
                None
            }
        };
        Self { shared: shared.clone(), requests, next: 1, queued, work }
    }

    /// Takes a request, without waiting for anything.
    pub fn store(&mut self, sequence: u64, writes: Vec<Write>) -> Result<(), WorkerError> {
        if sequence != self.next {
            return Err(WorkerError::StoreOutOfOrder { sequence, expected: self.next });
        }
        self.next = self.next.saturating_add(1);
        let Some(requests) = &self.requests else { return Ok(()) };
        let bytes = writes.iter().map(bytes_of).sum::<usize>().saturating_add(REQUEST);
        if self.queued.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > MAX_QUEUED_BYTES {
            return Err(WorkerError::StoreOverrun);
        }
        self.shared.metrics.store_queue.inc();
        // If the work has ended, its error ends the session.
        let _ = requests.send(Request { sequence, writes, bytes });
        Ok(())
    }

    /// How the work has ended, or part of it; `None` if all of it has. Cancel safe.
    pub async fn ended(&mut self) -> Option<Result<(), WorkerError>> {
        let ended = self.work.join_next().await?;
        Some(ended.unwrap_or_else(|error| Err(WorkerError::Service(error.into()))))
    }

    /// Keeps what it has taken, and closes the store.
    pub async fn finish(mut self) -> Result<(), WorkerError> {
        self.requests = None;
        match self.shared.metrics.store_queue.get() {
            0 => {}
            requests => tracing::info!(requests, "the disk has yet to take what the enclave gave last"),
        }
        let mut result = Ok(());
        while let Some(ended) = self.ended().await {
            result = result.and(ended);
        }
        self.shared.blocks.close();
        result
    }
}

async fn keep(place: Place, storing: Storing, give: mpsc::Sender<ToEnclave>) -> Result<(), WorkerError> {
    let Place { shard, file, open } = place;
    let panicked = |error: JoinError| StoreError::Damaged { path: file.clone(), reason: error.to_string() };
    let shared = storing.shared.clone();
    let work = async {
        let opening = move || {
            let store = open()?;
            let recovery = store.recovery()?;
            Ok::<_, StoreError>((Arc::new(store), recovery))
        };
        let (store, recovery) = spawn_blocking(opening).await.map_err(panicked)??;
        shared.blocks.serve_from(shard, store.clone());
        let read_file = file.clone();
        let reading = spawn_blocking(move || read(recovery, &read_file, &give));
        let storing = spawn_blocking(move || storing.run(&store));
        let reading = async { reading.await.map_err(panicked)? };
        let storing = async { storing.await.map_err(panicked)? };
        tokio::try_join!(reading, storing)
    };
    match work.await {
        Ok(_) => Ok(()),
        Err(error) if error.is_refusal() => Err(WorkerError::StoreRefused { path: file, error }),
        Err(error) => Err(WorkerError::Store(error)),
    }
}

/// Gives everything that is kept, as fast as it is taken.
fn read(recovery: Recovery, file: &Path, give: &mpsc::Sender<ToEnclave>) -> Result<(), StoreError> {
    for kept in recovery {
        let message = ToEnclave::Kept(kept?);
        if message.encoded_size() > MAX_FRAME {
            let reason = "something kept is longer than anything that an enclave can have given".into();
            return Err(StoreError::Damaged { path: file.to_owned(), reason });
        }
        if give.blocking_send(message).is_err() {
            return Ok(());
        }
    }
    // Whoever is gone needs nothing.
    let _ = give.blocking_send(ToEnclave::KeptAll);
    Ok(())
}

/// Stores until nobody can ask for anything any more and everything that was asked for is durable.
struct Storing {
    queue: mpsc::UnboundedReceiver<Request>,
    /// Waited for when it is full: an enclave that does not hear what is stored has nothing more stored.
    stored: mpsc::Sender<u64>,
    queued: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Storing {
    fn run(mut self, store: &Store) -> Result<(), StoreError> {
        self.measure(store);
        while let Some(Request { sequence, mut writes, mut bytes }) = self.queue.blocking_recv() {
            let mut last = sequence;
            // A commit waits for the disk twice, however many requests share it.
            while bytes < MAX_COMMIT_BYTES
                && let Ok(next) = self.queue.try_recv()
            {
                writes.extend(next.writes);
                bytes = bytes.saturating_add(next.bytes);
                last = next.sequence;
            }
            self.shared.metrics.store_commit_seconds.observe_closure_duration(|| store.commit(&writes))?;
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            self.count(&writes);
            self.measure(store);
            for sequence in sequence..=last {
                self.shared.metrics.store_queue.dec();
                // After the session's end nobody waits for answers.
                let _ = self.stored.blocking_send(sequence);
            }
        }
        Ok(())
    }

    fn count(&self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Block { .. } => self.shared.metrics.blocks_total.inc(),
                Write::SnapshotPiece { .. } => self.shared.metrics.snapshot_pieces_total.inc(),
                Write::Snapshot { .. } | Write::Mark(_) => {}
            }
        }
    }

    fn measure(&self, store: &Store) {
        match store.file_bytes() {
            Ok(bytes) => self.shared.metrics.store_file_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX)),
            Err(error) => tracing::debug!(%error, "the length of the store is not known"),
        }
    }
}

/// Passes on what is kept. Waits whenever some of it is under way, so that it neither piles up nor gets in the way of
/// anything else that the enclave is told.
async fn give_back(mut given: mpsc::Receiver<ToEnclave>, enclave: Sender<ToEnclave>) {
    let mut under_way = 0usize;
    while let Some(message) = given.recv().await {
        under_way = under_way.saturating_add(match &message {
            ToEnclave::Kept(Kept::Mark(bytes) | Kept::Manifest(bytes) | Kept::Piece(bytes) | Kept::Block(bytes)) => {
                bytes.len().saturating_add(OVERHEAD)
            }
            _ => OVERHEAD,
        });
        // The session ends with its link.
        if enclave.send(message).await.is_err() {
            return;
        }
        if under_way >= MAX_UNDER_WAY {
            if enclave.flush().await.is_err() {
                return;
            }
            under_way = 0;
        }
    }
}

async fn answer(mut stored: mpsc::Receiver<u64>, enclave: Sender<ToEnclave>) {
    while let Some(sequence) = stored.recv().await {
        if enclave.send(ToEnclave::Stored { sequence }).await.is_err() {
            return;
        }
    }
}

fn bytes_of(write: &Write) -> usize {
    let bytes = match write {
        Write::Block { bytes, .. } | Write::SnapshotPiece { bytes, .. } | Write::Mark(bytes) => bytes.len(),
        Write::Snapshot { manifest, .. } => manifest.len(),
    };
    bytes.saturating_add(OVERHEAD)
}

/// Bytes that something takes besides its own, at least.
const OVERHEAD: usize = 128;
/// Bytes for which a request counts beside what it asks for, so that there cannot be very many, even of nothing.
const REQUEST: usize = 4 * 1024;
/// So many bytes of requests share a commit; a request alone may be longer.
const MAX_COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// An enclave waits for its blocks and has few pieces under way.
const MAX_QUEUED_BYTES: usize = 1024 * 1024 * 1024;
/// Requests that are durable before the enclave hears it.
const MAX_UNTOLD: usize = 1024;
const MAX_UNDER_WAY: usize = 1024 * 1024;
