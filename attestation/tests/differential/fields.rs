//! Mutations of single fields, signed again by whoever ought to sign them.

mod certificates;
mod documents;
mod quotes;

use cloister_synthetic_evidence::Scenario;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    good::{any_scenario, build},
    run::Drawn,
};

/// What is changed, and how.
type Mutation = (&'static str, fn(&mut Scenario, &mut ChaCha8Rng));

/// Changes one field, rarely two, of good evidence and collateral before they are signed.
pub fn draw(random: &mut ChaCha8Rng) -> Drawn {
    let mut scenario = any_scenario(random);
    let mutations = [quotes::MUTATIONS, certificates::MUTATIONS, documents::MUTATIONS];
    let mut mutate = |random: &mut ChaCha8Rng| {
        let (kind, mutate) = mutations.choose(random).and_then(|of| of.choose(random)).expect("mutations");
        mutate(&mut scenario, random);
        *kind
    };
    let mut kind = mutate(random);
    if random.gen_bool(0.1) {
        mutate(random);
        kind = "two of these";
    }
    let mut case = build(&scenario);
    case.root = scenario.authority.root_der();
    (kind.to_owned(), case)
}

/// A bit of these bytes.
fn flip(bytes: &mut [u8], random: &mut ChaCha8Rng) {
    let at = random.gen_range(0..bytes.len());
    bytes[at] ^= 1 << random.gen_range(0..8);
}

/// A time near the one at which everything is verified, Unix milliseconds.
fn about_now(random: &mut ChaCha8Rng) -> u64 {
    cloister_synthetic_evidence::AT + 3_000 - 1_000 * random.gen_range(0..7)
}
