//! Benchmarks that print one JSON line a figure: `{"name", "value", "unit", "n"}`, `n` being the number of measurements
//! whose median, or what the name says, the value is. An argument selects the figures whose name contains it.
//! Everything is drawn from one seed.

mod accounts;
mod block_time;
mod client_cost;
mod oracle;
mod recovery;
mod shard;
mod slot_time;
mod snapshot_delay;

use std::time::Duration;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| name.contains(&filter);
    for (names, measure) in [
        (block_time::names(), block_time::measure as fn() -> Vec<Figure>),
        (client_cost::names(), client_cost::measure),
        (slot_time::names(), slot_time::measure),
        (snapshot_delay::names(), snapshot_delay::measure),
        (recovery::names(), recovery::measure),
        (oracle::names(), oracle::measure),
    ] {
        if names.iter().any(|name| wanted(name)) {
            measure().iter().filter(|figure| wanted(&figure.name)).for_each(Figure::print);
        }
    }
}

/// One measured value.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    n: usize,
}

impl Figure {
    /// The median of `times`, in a unit of that many seconds.
    fn median(name: String, times: &mut [Duration], unit: &'static str, seconds: f64) -> Self {
        Self::rank(name, times, times.len() / 2, unit, seconds)
    }

    /// Median, 99th percentile and maximum of `times`, in ms. `name` ends before the part that says which.
    fn spread(name: &str, times: &mut [Duration]) -> [Self; 3] {
        let last = times.len() - 1;
        [("median", times.len() / 2), ("p99", last * 99 / 100), ("max", last)]
            .map(|(what, rank)| Self::rank(format!("{name}/{what}"), times, rank, "ms", 1e-3))
    }

    /// The parts that [`Self::spread`] adds to a name.
    fn spread_names(name: &str) -> [String; 3] {
        ["median", "p99", "max"].map(|what| format!("{name}/{what}"))
    }

    fn rank(name: String, times: &mut [Duration], rank: usize, unit: &'static str, seconds: f64) -> Self {
        times.sort();
        Self { name, value: times[rank].as_secs_f64() / seconds, unit, n: times.len() }
    }

    fn print(&self) {
        let Self { name, value, unit, n } = self;
        println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}","n":{n}}}"#);
    }
}

/// Seed of everything drawn.
const SEED: u64 = 2;
