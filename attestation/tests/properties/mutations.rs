//! A seeded mutator: as many inputs as there is time for, the same every time. Fuzzers run the same targets for longer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{Rng, RngCore, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::targets::{TARGETS, Target};

/// Mutations of a good input, per target.
const MUTATIONS: u64 = 1000;
/// Inputs without any structure, per target.
const NOISE: u64 = 200;

#[test]
fn good_inputs_pass() {
    for (_, target, good) in TARGETS {
        target(&good());
        target(&[]);
    }
}

#[test]
fn nothing_panics_on_mutations() {
    let corpus: Vec<_> = TARGETS.iter().map(|(_, _, good)| good()).collect();
    for (index, target) in TARGETS.iter().enumerate() {
        for seed in 0..MUTATIONS {
            let random = &mut ChaCha8Rng::seed_from_u64(seed << 8 | index as u64);
            let mut input = corpus[index].clone();
            for _ in 0..random.gen_range(1..=4) {
                mutate(&mut input, &corpus, random);
            }
            run(target, seed, &input);
        }
    }
}

#[test]
fn nothing_panics_on_noise() {
    for (index, target) in TARGETS.iter().enumerate() {
        for seed in 0..NOISE {
            let random = &mut ChaCha8Rng::seed_from_u64(1 << 63 | seed << 8 | index as u64);
            let mut input = vec![0; random.gen_range(0..2048)];
            random.fill_bytes(&mut input);
            run(target, seed, &input);
        }
    }
}

fn run((name, target, _): &Target, seed: u64, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!("{name}, seed {seed}: {}", hex::encode(input));
    }
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut ChaCha8Rng) {
    let at = random.gen_range(0..=input.len());
    let end = (at + random.gen_range(0..=32)).min(input.len());
    match random.gen_range(0..9) {
        0 if at < input.len() => input[at] ^= 1 << random.gen_range(0..8),
        1 if at < input.len() => input[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(random).expect("some"),
        2 if at < input.len() => input[at] = random.r#gen(),
        3 => drop(input.drain(at..end)),
        4 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        5 => drop(input.splice(at..end, TOKENS.choose(random).expect("some").iter().copied())),
        6 => {
            let other = corpus.choose(random).expect("some");
            let from = random.gen_range(0..=other.len());
            let piece = other[from..(from + random.gen_range(0..=64)).min(other.len())].to_vec();
            input.splice(at..end, piece);
        }
        7 => input.truncate(at),
        _ => {
            let number = random.next_u64().to_le_bytes();
            let length = random.gen_range(1..=8).min(input.len() - at);
            input[at..at + length].copy_from_slice(&number[..length]);
        }
    }
}

/// What parsers look for.
const TOKENS: &[&[u8]] = &[
    b"{}",
    b"[]",
    b"[[[[[[[[",
    b"\"",
    b":",
    b",",
    b"null",
    b"-1",
    b"1e400",
    b"0.5",
    b"18446744073709551616",
    b"65536",
    b"256",
    b"\\u0000",
    b"\\ud800",
    b"\"Revoked\"",
    b"\"UpToDate\"",
    b"\"TDX_00\"",
    b"\"TDX_FF\"",
    b"\"2049-02-30T00:00:00Z\"",
    b"\"9999-12-31T23:59:59Z\"",
    b"-----BEGIN CERTIFICATE-----",
    b"-----END CERTIFICATE-----",
    &[0x30, 0x80],
    &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    &[0x02, 0x01, 0x80],
    &[0x02, 0x00],
    &[0x05, 0x00],
    &[0x01, 0x01, 0xff],
    &[0x17, 0x0d],
    &[0xff; 8],
    &[0; 8],
];
