//! A small seeded mutator for test runs: the same inputs every time, for a moment only. libFuzzer looks for longer, and
//! sees what it reaches.

use rand::{Rng, RngCore, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Inputs that follow from a seed and from what they are made of.
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    random: ChaCha8Rng,
}

impl Mutator {
    /// Makes inputs out of these, of which there must be one at least.
    pub fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        assert!(!corpus.is_empty(), "nothing to mutate");
        Self { corpus, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let Self { corpus, random } = self;
        let at = random.gen_range(0..=input.len());
        let end = at.saturating_add(random.gen_range(0..=32)).min(input.len());
        match random.gen_range(0..10) {
            0 | 1 if at < input.len() => input[at] ^= 1 << random.gen_range(0..8),
            2 if at < input.len() => input[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(random).expect("some"),
            3 if at < input.len() => input[at] = random.r#gen(),
            4 => drop(input.drain(at..end)),
            5 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            6 => drop(input.splice(at..at, length(random))),
            7 => {
                let overwritten = length(random);
                let end = at.saturating_add(overwritten.len()).min(input.len());
                input.splice(at..end, overwritten);
            }
            8 => {
                let other = corpus.choose(random).expect("some");
                let from = random.gen_range(0..=other.len());
                let piece = &other[from..from.saturating_add(random.gen_range(0..=64)).min(other.len())];
                input.splice(at..end, piece.iter().copied());
            }
            _ => input.truncate(at),
        }
    }
}

impl Iterator for Mutator {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut input = self.corpus.choose(&mut self.random)?.clone();
        for _ in 0..self.random.gen_range(1..=4) {
            self.mutate(&mut input);
        }
        input.truncate(MAX_BYTES);
        Some(input)
    }
}

/// What stands for a length somewhere: SCALE's compact form in its four modes, or a little-endian number.
fn length(random: &mut ChaCha8Rng) -> Vec<u8> {
    let number = random.next_u64() >> random.gen_range(0..64);
    match random.gen_range(0..6) {
        0 => vec![(number as u8) << 2],
        1 => ((number as u16) << 2 | 1).to_le_bytes().to_vec(),
        2 => ((number as u32) << 2 | 2).to_le_bytes().to_vec(),
        3 => [&[0b11][..], &(number as u32).to_le_bytes()].concat(),
        4 => (number as u16).to_le_bytes().to_vec(),
        _ => number.to_le_bytes().to_vec(),
    }
}

/// Longer inputs say nothing new.
const MAX_BYTES: usize = 64 * 1024;
