//! Writes what every fuzz target starts with into `corpus/`, where `cargo fuzz run` looks for it.

use std::{fs, io, path::Path};

use arbitrary::{Arbitrary, Unstructured};
use cloister_attestation_fuzz::{PropertyInput, RECORDED, Substitution};

fn main() -> io::Result<()> {
    let quotes = RECORDED.iter().map(|recorded| recorded.quote.to_vec());
    let whole_files = (0..)
        .zip(RECORDED.iter())
        .flat_map(|(platform, recorded)| recorded.files.iter().map(move |file| [&[platform, 0], *file].concat()));
    write("quote", quotes)?;
    write("collateral", Substitution::seeds().inspect(assert_is_read_back))?;
    write("registration", Substitution::seeds())?;
    write("bundle", Substitution::seeds().chain(whole_files).inspect(assert_is_read_back))?;
    write("signed", PropertyInput::seeds())
}

fn write(target: &str, seeds: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    for (index, seed) in seeds.enumerate() {
        fs::write(corpus.join(format!("seed-{index:02}")), seed)?;
    }
    Ok(())
}

/// Seeds are written by hand in the form that is derived for reading.
fn assert_is_read_back(seed: &Vec<u8>) {
    let read = Substitution::arbitrary_take_rest(Unstructured::new(seed)).expect("long enough");
    assert_eq!([&[read.platform, read.part], read.bytes].concat(), *seed);
}
