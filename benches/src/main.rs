//! Benchmarks that print one JSON line a figure: `{"name", "value", "unit", "n"}`, `n` being the number of measurements
//! whose median the value is. An argument selects the figures whose name contains it. Everything is drawn from one
//! seed.

mod block_time;
mod client_cost;

use std::time::Duration;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| name.contains(&filter);
    for (names, measure) in [
        (block_time::names(), block_time::measure as fn() -> Vec<Figure>),
        (client_cost::names(), client_cost::measure),
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
        times.sort();
        let value = times[times.len() / 2].as_secs_f64() / seconds;
        Self { name, value, unit, n: times.len() }
    }

    fn print(&self) {
        let Self { name, value, unit, n } = self;
        println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}","n":{n}}}"#);
    }
}

/// Seed of everything drawn.
const SEED: u64 = 2;
