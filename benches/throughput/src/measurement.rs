//! From the start of all processes to the figures.

use std::{
    num::NonZero,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::Moment;
use cloister_client::{Pin, Worker};
use cloister_wire::sidechain::{SidechainHeader, SignedBlock};
use futures::future::try_join_all;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{
    blocks::Blocks,
    clients::{Client, Tally},
    figure::Figure,
    floor::Floor,
    load::Load,
    options::Options,
    population::Population,
    processes::{Processes, Usage},
    shard::Measured,
};

/// Measures.
pub async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    say("measuring the floor");
    let floor = Floor::measure()?;
    say("starting node, worker and enclave");
    let measured = Measured::start(options).await?;
    let figures = measure_on(&measured, options, &floor, cores).await;
    figures.map_err(|error| measured.deployment.explain(error))
}

async fn measure_on(measured: &Measured, options: &Options, floor: &Floor, cores: usize) -> Result<Vec<Figure>> {
    say(&format!("opening {} accounts", options.accounts));
    let population = Population::new(options.accounts);
    measured.populate(&population, options).await?;

    let clients = usize::from(options.clients);
    let seconds = f64::from(options.warm_up + options.seconds);
    let calls = options.calls.unwrap_or((floor.calls_per_second(cores) * seconds * LOAD_SHARE) as usize);
    say(&format!("signing and encrypting {calls} calls"));
    let shard = measured.deployment.shard.shard().clone();
    let load = tokio::task::block_in_place(|| Load::prepare(&shard, &population, clients, calls.div_ceil(clients)))?;

    say("sending");
    let run = Run::start(measured, options, load).await?.run(options).await?;
    let mut figures = floor.figures(cores);
    figures.extend(run.figures(floor.calls_per_second(cores)));
    Ok(figures)
}

/// Clients at work.
struct Run {
    load: Load,
    rooms: Vec<Arc<Semaphore>>,
    tally: Arc<Tally>,
    sending: JoinSet<()>,
    blocks: Blocks,
    processes: Processes,
    /// Calls of ours in blocks.
    included: u64,
}

/// One end of the time that is measured.
struct Mark {
    heard: Instant,
    /// The block's time.
    time: Moment,
    usage: Usage,
}

/// What came of it.
struct Measurement {
    start: Mark,
    end: Mark,
    /// Our calls in each block after the first mark, up to the second one.
    blocks: Vec<usize>,
    /// Time from sending to hearing of the block.
    latencies: Vec<Duration>,
    /// Refused or failed, from the first call to the last.
    refused: u64,
    /// Taken, and in no block that was heard of within [`DRAIN`] after the last was sent.
    lost: u64,
}

impl Run {
    async fn start(measured: &Measured, options: &Options, load: Load) -> Result<Self> {
        let deployment = &measured.deployment;
        let worker = deployment.shard.worker();
        let newest: SidechainHeader = worker.read("chain_getHeader", Vec::<()>::new().into()).await?;
        let port = deployment.worker.ports().untrusted;
        let blocks = Blocks::after(newest.hash(), port, &deployment.shard.shard().id).await?;
        let (url, pin) = (deployment.worker.url(), Pin::TlsKey(*worker.tls_key()));
        let connections = load.requests.iter().map(|_| Worker::connect(&url, pin.clone()));
        let connections = try_join_all(connections).await?;
        let mut run = Self {
            rooms: Vec::new(),
            tally: Arc::default(),
            sending: JoinSet::new(),
            blocks,
            processes: Processes::find()?,
            included: 0,
            load,
        };
        let batch = usize::from(options.batch);
        for (worker, requests) in connections.into_iter().zip(std::mem::take(&mut run.load.requests)) {
            let room = Arc::new(Semaphore::new(options.in_flight.into()));
            run.rooms.push(room.clone());
            run.sending.spawn(Client { worker, requests, room, batch, tally: run.tally.clone() }.send());
        }
        Ok(run)
    }

    async fn run(mut self, options: &Options) -> Result<Measurement> {
        let begun = Instant::now();
        let warm = begun + Duration::from_secs(options.warm_up.into());
        let window = Moment::from(options.seconds) * 1_000;
        let mut start: Option<Mark> = None;
        let mut blocks = Vec::new();
        let end = 'measured: loop {
            for block in self.fresh(options).await? {
                let calls = self.count(&block);
                let time = block.block_data.timestamp;
                match &start {
                    None if Instant::now() >= warm => start = Some(self.mark(time)?),
                    None => {}
                    Some(start) => {
                        blocks.push(calls);
                        if time >= start.time + window {
                            break 'measured self.mark(time)?;
                        }
                    }
                }
            }
            ensure!(
                !self.tally.exhausted.load(Ordering::Relaxed),
                "{} calls were too few: see --calls",
                self.load.len()
            );
            let limit = Duration::from_secs((options.warm_up + options.seconds).into()) + STALL;
            ensure!(begun.elapsed() < limit, "the shard stands still: {:?}", self.tally.refused);
        };
        self.tally.stopped.store(true, Ordering::Relaxed);
        // Whoever waits for room is woken, too.
        self.rooms.iter().for_each(|room| room.close());
        let stopped = Instant::now();
        while self.included < self.tally.taken.load(Ordering::Relaxed) && stopped.elapsed() < DRAIN {
            for block in self.fresh(options).await? {
                self.count(&block);
            }
        }
        let start = start.context("no block")?;
        let latencies = self.tally.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let within = latencies.iter().filter(|(sent, _)| (start.heard..end.heard).contains(sent));
        let latencies = within.map(|(_, latency)| *latency).collect();
        for (reason, count) in &*self.tally.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            say(&format!("refused {count}: {reason}"));
        }
        let lost = self.tally.taken.load(Ordering::Relaxed).saturating_sub(self.included);
        Ok(Measurement { start, end, blocks, latencies, refused: self.tally.refusals(), lost })
    }

    /// New blocks; waits a little if there are none.
    async fn fresh(&mut self, options: &Options) -> Result<Vec<SignedBlock>> {
        let fresh = self.blocks.fresh().await?;
        if fresh.is_empty() {
            sleep(Duration::from_millis(u64::from(options.block_time) / 10).clamp(LOOK_LEAST, LOOK_MOST)).await;
        }
        Ok(fresh)
    }

    /// How many of our calls a block holds. Who sent them may send as many more.
    fn count(&mut self, block: &SignedBlock) -> usize {
        let clients = block.block_data.signed_top_hashes.iter().filter_map(|hash| self.load.senders.get(hash));
        let mut count = 0;
        for client in clients {
            count += 1;
            self.rooms[*client].add_permits(1);
        }
        self.included += count as u64;
        count
    }

    fn mark(&self, time: Moment) -> Result<Mark> {
        Ok(Mark { heard: Instant::now(), time, usage: self.processes.usage()? })
    }
}

impl Measurement {
    fn figures(mut self, floor: f64) -> Vec<Figure> {
        let seconds = (self.end.time - self.start.time) as f64 / 1_000.0;
        let calls: usize = self.blocks.iter().sum();
        let rate = calls as f64 / seconds;
        let blocks = self.blocks.len();
        let mut figures = vec![
            Figure::new("throughput/direct", rate, "1/s", calls),
            Figure::new("throughput/direct/ratio_to_floor", rate / floor, "ratio", calls),
            Figure::new("throughput/refused", self.refused as f64, "calls", 1),
            Figure::new("throughput/lost", self.lost as f64, "calls", 1),
            Figure::new("blocks/per_second", blocks as f64 / seconds, "1/s", blocks),
            Figure::new("blocks/calls", calls as f64 / blocks.max(1) as f64, "calls", blocks),
        ];
        self.latencies.sort();
        for (name, percent) in [("p50", 50), ("p95", 95), ("p99", 99)] {
            let rank = self.latencies.len().saturating_sub(1) * percent / 100;
            if let Some(latency) = self.latencies.get(rank) {
                let ms = latency.as_secs_f64() * 1e3;
                figures.push(Figure::new(format!("latency/{name}"), ms, "ms", self.latencies.len()));
            }
        }
        let elapsed = self.end.heard - self.start.heard;
        for ((name, before), (_, after)) in self.start.usage.cpu.iter().zip(&self.end.usage.cpu) {
            let used = after.saturating_sub(*before).as_secs_f64() / elapsed.as_secs_f64();
            figures.push(Figure::new(format!("cpu/{name}"), used, "cores", 1));
        }
        let mib = self.end.usage.enclave_bytes as f64 / f64::from(1 << 20);
        figures.push(Figure::new("memory/enclave", mib, "MiB", 1));
        figures
    }
}

fn say(what: &str) {
    eprintln!("{what}");
}

/// Share of what the floor allows that is prepared. The clients need cores, too.
const LOAD_SHARE: f64 = 0.6;
/// How long a shard may make no progress.
const STALL: Duration = Duration::from_secs(30);
/// How long calls that were taken may take to come into a block once nobody sends.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two looks for a block.
const LOOK_LEAST: Duration = Duration::from_millis(5);
const LOOK_MOST: Duration = Duration::from_millis(30);
