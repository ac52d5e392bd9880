//! Evidence of enclaves and its collateral.
//!
//! Two worlds. *Recorded*: evidence of genuine hardware. Nobody here has the vendor's keys, so whatever is accepted
//! must be what the vendor signed, byte for byte. *Properties*: the targets of the verifier's own tests, under keys of
//! our own, where hostile contents are signed first and so reach what lies behind a signature.

mod recorded;
mod substitution;
#[path = "../../attestation/tests/properties/targets.rs"]
mod targets;

use cloister_attestation::{bundle::Assembler, subject};
use recorded::{RECORDED, Recorded};
use substitution::{PARTS, Substitution};
use targets::TARGETS;

/// Beside [`TARGETS`].
const RECORDED_TARGETS: [fn(&[u8]); 4] = [quote, collateral, registration, bundle];

pub fn run(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let choice = usize::from(*choice) % (TARGETS.len() + RECORDED_TARGETS.len());
    match TARGETS.get(choice) {
        Some((_, target, _)) => target(bytes),
        None => RECORDED_TARGETS[choice - TARGETS.len()](bytes),
    }
}

/// Any bytes as a quote, under recorded collateral.
fn quote(bytes: &[u8]) {
    for recorded in RECORDED.iter() {
        let _ = subject(bytes, &recorded.roots);
        recorded.check_quote(bytes);
    }
}

/// Any bytes as one part of recorded collateral, verified with the recorded quote: body, signature, issuer chain or
/// revocation list.
fn collateral(bytes: &[u8]) {
    let Some(substitution) = Substitution::read(bytes) else { return };
    if let Some(collateral) = substitution.collateral() {
        substitution.recorded().check_collateral(&collateral);
    }
}

/// The same part's document by itself, as layer one registers it. Less costs a signature here, so that parsers see
/// more.
fn registration(bytes: &[u8]) {
    let Some(substitution) = Substitution::read(bytes) else { return };
    if let Some(collateral) = substitution.collateral() {
        substitution.recorded().check_document(&collateral, substitution.part());
    }
}

/// Any bytes as a file of collateral: alone, and in the place of one among the vendor's files. Whatever the files
/// become is verified with the recorded quote: sorting files must not make anything acceptable.
fn bundle(bytes: &[u8]) {
    let Some(substitution) = Substitution::read(bytes) else { return };
    let recorded = substitution.recorded();
    for files in [vec![substitution.bytes], substitution.files()] {
        let mut assembler = Assembler::default();
        assembler.add_chain(recorded.pck_chain);
        // Who gives a file that cannot be read gets no collateral.
        if !files.into_iter().all(|file| assembler.add(file).is_ok()) {
            return;
        }
        if let Ok(collateral) = assembler.finish(Some(&recorded.subject)) {
            recorded.check_collateral(&collateral);
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let of = |choice: usize, bytes: &[u8]| [&[choice as u8], bytes].concat();
    let mut seeds: Vec<_> = TARGETS.iter().enumerate().map(|(choice, (_, _, good))| of(choice, &good())).collect();
    let first = TARGETS.len();
    seeds.extend(RECORDED.iter().map(|recorded| of(first, recorded.quote)));
    for (index, substitution) in Substitution::seeds().enumerate() {
        seeds.push(of(first + 1 + index % 3, &substitution));
    }
    seeds.extend(
        RECORDED
            .iter()
            .enumerate()
            .map(|(platform, recorded)| of(first + 3, &[&[platform as u8, 0], recorded.files[0]].concat())),
    );
    seeds
}
