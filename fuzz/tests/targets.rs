//! Replays the corpora and mutates them for a while. How often is chosen so that all takes about a minute of CPU.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use cloister_fuzz::{Mutator, TARGETS, Target, target};

macro_rules! targets {
    ($($name:ident: $mutations:literal,)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            mod $name {
                #[test]
                fn corpus_is_taken() {
                    super::replay(stringify!($name));
                }

                #[test]
                fn mutations_are_taken() {
                    super::mutate(stringify!($name), $mutations);
                }
            }
        )*
    };
}

targets! {
    link: 60_000,
    request: 6_000,
    wire: 20_000,
    kept: 4_000,
    light_client: 6_000,
    layer_one: 200_000,
    evidence: 3_000,
    answers: 20_000,
    text: 10_000,
    engine: 400,
}

#[test]
fn every_target_is_tested_and_every_corpus_has_one() {
    assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), TESTED);
    for directory in fs::read_dir(corpora()).unwrap() {
        let name = directory.unwrap().file_name().into_string().unwrap();
        assert!(target(&name).is_some(), "a corpus of no target: {name}");
    }
}

#[test]
fn corpora_are_small() {
    for target in TARGETS {
        let corpus = corpus(target);
        let bytes: usize = corpus.iter().map(Vec::len).sum();
        assert!((1..=200).contains(&corpus.len()), "{}: {} files", target.name, corpus.len());
        assert!(bytes <= 300_000, "{}: {bytes} bytes", target.name);
    }
}

#[test]
fn mutations_follow_from_the_seed_and_find_what_is_planted() {
    let inputs = |seed| Mutator::new(vec![b"seed".to_vec(), vec![0; 100]], seed).take(10_000).collect::<Vec<_>>();
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    let planted: fn(&[u8]) = |input| assert!(input.first_chunk() != Some(b"sEed"), "planted");
    let found = inputs(1).iter().filter(|input| catch_unwind(|| planted(input)).is_err()).count();
    assert!(found > 0);
}

fn replay(name: &str) {
    let target = target(name).unwrap();
    for input in (target.seeds)().iter().chain(&corpus(target)) {
        take(target, input);
    }
    take(target, &[]);
}

fn mutate(name: &str, mutations: usize) {
    let target = target(name).unwrap();
    let corpus = [(target.seeds)(), corpus(target)].concat();
    for input in Mutator::new(corpus, 6).take(mutations) {
        take(target, &input);
    }
}

fn take(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let digits: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{}: {digits}", target.name);
    }
}

/// By name, so that the order is the same everywhere.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpora().join(target.name)).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
