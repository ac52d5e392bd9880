//! What the fuzz targets share: inputs, where they come from, and what may be accepted.
//!
//! Two worlds. *Recorded*: evidence of genuine hardware. Nobody here has the vendor's keys, so whatever is accepted must be
//! what the vendor signed, byte for byte. *Properties*: the targets of `tests/properties`, under keys of our own, where
//! hostile contents are signed first and so reach what lies behind a signature.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[path = "../../tests/properties/targets.rs"]
pub mod properties;
mod recorded;
mod substitution;

pub use recorded::{RECORDED, Recorded};
pub use substitution::{PARTS, Substitution};

use arbitrary::Arbitrary;

/// Bytes for one of [`properties::TARGETS`].
#[derive(Arbitrary, Debug)]
pub struct PropertyInput<'a> {
    /// Its index, modulo their number.
    pub target: u8,
    /// Its input.
    pub bytes: &'a [u8],
}

impl PropertyInput<'_> {
    /// Panics if the property does not hold.
    pub fn check(&self) {
        let (_, target, _) = properties::TARGETS[usize::from(self.target) % properties::TARGETS.len()];
        target(self.bytes);
    }

    /// What the fuzzer starts with: of every target the input that it takes to its end.
    pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
        (0..).zip(properties::TARGETS).map(|(index, (_, _, good))| [vec![index], good()].concat())
    }
}
