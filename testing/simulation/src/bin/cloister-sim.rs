//! Lives of simulated shards, one per seed, in all threads.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use cloister_simulation::{Coverage, live, live_among_liars};

/// Lives of simulated shards: crashes at every boundary, slow and torn disks, a layer one that stalls, loses, delays,
/// reorders, repeats and reorganises. The last line says how many seeds passed; the exit code is 1 if any failed.
#[derive(Parser)]
#[command(name = "cloister-sim", bin_name = "cargo xtask sim")]
struct Arguments {
    /// How many seeds.
    #[arg(long)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads; one for each core if absent.
    #[arg(long)]
    threads: Option<usize>,
    /// Host, clients and users of layer one lie all the time.
    #[arg(long)]
    adversary: bool,
    /// Print how often what happened.
    #[arg(long)]
    coverage: bool,
    /// Print what happens, in a single thread.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let Arguments { seeds, from, threads, adversary, coverage, trace } = Arguments::parse();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if trace { 1 } else { threads.unwrap_or(cores).max(1) };
    // What breaks is printed with its seed; the place of a panic only when one looks for it.
    if !trace {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let (next, failed, lived) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (total, shown) = (Mutex::new(Coverage::new()), Mutex::new(Instant::now()));
    let work = || {
        let mut covered = Coverage::new();
        loop {
            let at = next.fetch_add(1, Relaxed);
            if at >= seeds {
                break;
            }
            let seed = from.wrapping_add(at);
            match (if adversary { live_among_liars } else { live })(seed, None, trace) {
                Ok(life) => life.into_iter().for_each(|(what, count)| *covered.entry(what).or_default() += count),
                Err(broke) => {
                    failed.fetch_add(1, Relaxed);
                    println!("seed {seed}: {broke}");
                }
            }
            let done = lived.fetch_add(1, Relaxed) + 1;
            if let Ok(mut shown) = shown.try_lock()
                && shown.elapsed() >= PROGRESS
            {
                *shown = Instant::now();
                eprintln!("{done} of {seeds} seeds, {} failed", failed.load(Relaxed));
            }
        }
        if let Ok(mut total) = total.lock() {
            covered.into_iter().for_each(|(what, count)| *total.entry(what).or_default() += count);
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    if coverage && let Ok(total) = total.lock() {
        total.iter().for_each(|(what, count)| println!("{count:>12} {what}"));
    }
    let failed = failed.load(Relaxed);
    println!("{} passed, {failed} failed", seeds - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const PROGRESS: Duration = Duration::from_secs(10);
