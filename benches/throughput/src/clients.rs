//! Clients that send as fast as the shard takes calls, each with a bounded number under way.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cloister_chain_primitives::Request;
use cloister_client::{
    Worker,
    worker::{Error, Stage},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::Semaphore;

/// What all clients have seen.
#[derive(Default)]
pub struct Tally {
    /// Calls that the enclave took.
    pub taken: AtomicU64,
    /// Refusals and failures, by their words.
    pub refused: Mutex<BTreeMap<String, u64>>,
    /// When a watched call was sent, and how long it took until its block was heard of.
    pub latencies: Mutex<Vec<(Instant, Duration)>>,
    /// Whether a client has nothing left to send.
    pub exhausted: AtomicBool,
    /// Whether clients are to send no more.
    pub stopped: AtomicBool,
}

impl Tally {
    /// Notes that so many calls were refused for one reason; others may be sent in their place.
    fn refuse(&self, error: &Error, calls: usize, room: &Semaphore) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(error.to_string()).or_default() += calls as u64;
        room.add_permits(calls);
    }

    /// How many calls were refused or failed.
    pub fn refusals(&self) -> u64 {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

/// One client.
pub struct Client {
    /// Its connection.
    pub worker: Worker,
    /// What it sends, in this order.
    pub requests: Vec<Request>,
    /// A permit for each call that may be under way. Whoever hears of a call's block gives it back.
    pub room: Arc<Semaphore>,
    /// Calls in one message.
    pub batch: usize,
    /// What all clients have seen.
    pub tally: Arc<Tally>,
}

impl Client {
    /// Sends until it is stopped or has nothing left. A call now and then is sent alone and watched.
    pub async fn send(self) {
        let Self { worker, requests, room, batch, tally } = self;
        let mut requests = requests.into_iter();
        let mut under_way: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut watch_at = Instant::now();
        while !tally.stopped.load(Ordering::Relaxed) {
            let watches = Instant::now() >= watch_at;
            let count = if watches { 1 } else { batch };
            tokio::select! {
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                permits = room.acquire_many(count as u32) => {
                    let Ok(permits) = permits else { break };
                    permits.forget();
                    let calls: Vec<Request> = requests.by_ref().take(count).collect();
                    let (worker, room, tally) = (&worker, &room, &tally);
                    match calls.as_slice() {
                        [] => {
                            tally.exhausted.store(true, Ordering::Relaxed);
                            break;
                        }
                        [_] if watches => {
                            watch_at = Instant::now() + WATCH_EVERY;
                            under_way.push(async move { watch(worker, &calls[0], room, tally).await }.boxed());
                        }
                        _ => under_way.push(async move { submit(worker, &calls, room, tally).await }.boxed()),
                    }
                }
            }
        }
        while under_way.next().await.is_some() {}
    }
}

async fn submit(worker: &Worker, calls: &[Request], room: &Semaphore, tally: &Tally) {
    let answers = match calls {
        [call] => Ok(vec![worker.submit(call).await]),
        calls => worker.submit_batch(calls).await,
    };
    match answers {
        Ok(answers) => {
            for answer in answers {
                match answer {
                    Ok(_) => _ = tally.taken.fetch_add(1, Ordering::Relaxed),
                    Err(error) => tally.refuse(&error, 1, room),
                }
            }
        }
        Err(error) => tally.refuse(&error, calls.len(), room),
    }
}

async fn watch(worker: &Worker, call: &Request, room: &Semaphore, tally: &Tally) {
    let start = Instant::now();
    let heard = async {
        let mut operation = worker.submit_and_watch(call).await?;
        tally.taken.fetch_add(1, Ordering::Relaxed);
        operation.reached(Stage::InBlock, PATIENCE, |_| ()).await
    };
    match heard.await {
        Ok(_) => tally.latencies.lock().unwrap_or_else(PoisonError::into_inner).push((start, start.elapsed())),
        Err(error) => tally.refuse(&error, 1, room),
    }
}

/// A connection watches 64 calls at most, each until it is final.
const WATCH_EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(30);
