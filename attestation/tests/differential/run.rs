//! Many cases on all cores, and the table of how they ended.

use std::{collections::BTreeMap, env, thread};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::comparison::{Agreement, Case, compare};

/// What kind of case, and the case.
pub type Drawn = (String, Case);

/// How many cases of each kind ended how.
#[derive(Default)]
pub struct Table {
    rows: BTreeMap<String, BTreeMap<Agreement, usize>>,
    /// What is needed to draw such a case again, and what both sides said.
    disagreements: Vec<String>,
}

/// Compares `count` drawn cases.
pub fn run(count: u64, draw: impl Fn(&mut ChaCha8Rng) -> Drawn + Sync) -> Table {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let draw = &draw;
    let work = move |thread: u64| {
        let mut table = Table::default();
        for index in (thread..count).step_by(threads as usize) {
            let (kind, case) = draw(&mut random(index));
            match compare(&case) {
                Ok(agreement) => *table.rows.entry(kind).or_default().entry(agreement).or_default() += 1,
                Err(answers) => table.disagreements.push(format!("case {index}, {kind}: {answers}")),
            }
        }
        table
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().fold(Table::default(), |sum, thread| sum.plus(thread.join().expect("no panic")))
    })
}

impl Table {
    /// Cases in which both sides agree, or ours is stricter for a known reason.
    pub fn total(&self) -> usize {
        self.rows.values().flat_map(BTreeMap::values).sum()
    }

    /// How many cases ended so.
    pub fn count(&self, agreement: Agreement) -> usize {
        self.rows.values().filter_map(|row| row.get(&agreement)).sum()
    }

    /// Prints how the cases ended, and fails on any disagreement.
    pub fn check(&self, title: &str) {
        println!("{title}: {} cases, {SEED_VARIABLE}={}", self.total(), seed());
        for (kind, row) in &self.rows {
            let cells: Vec<_> = row.iter().map(|(agreement, count)| format!("{agreement:?} {count}")).collect();
            println!("  {kind:50} {}", cells.join(", "));
        }
        let disagreements = self.disagreements.join("\n");
        assert!(disagreements.is_empty(), "{title}, {SEED_VARIABLE}={}: unexplained\n{disagreements}", seed());
    }

    fn plus(mut self, other: Self) -> Self {
        for (kind, row) in other.rows {
            for (agreement, count) in row {
                *self.rows.entry(kind.clone()).or_default().entry(agreement).or_default() += count;
            }
        }
        self.disagreements.extend(other.disagreements);
        self
    }
}

/// Randomness of the case with this index.
pub fn random(index: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    random.set_stream(index);
    random
}

/// Fixed unless the environment says otherwise, for longer hunts.
fn seed() -> u64 {
    env::var(SEED_VARIABLE).map_or(3, |seed| seed.parse().expect("a number"))
}

/// Cases to draw: `usual`, or what the environment says.
pub fn cases(usual: u64) -> u64 {
    env::var("DIFFERENTIAL_CASES").map_or(usual, |count| count.parse().expect("a number"))
}

const SEED_VARIABLE: &str = "DIFFERENTIAL_SEED";
