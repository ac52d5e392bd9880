//! What the program `misbehaving-enclave` does instead of paying certain amounts. All others it pays.

use cloister_chain_primitives::{Balance, UNIT};

/// Reads storage for ever.
pub const READS: Balance = 1_001 * UNIT;
/// Writes storage for ever.
pub const WRITES: Balance = 1_002 * UNIT;
/// Makes a value in storage longer and longer.
pub const GROWS: Balance = 1_003 * UNIT;
/// Panics.
pub const PANICS: Balance = 1_004 * UNIT;
/// Computes for ever without a look at storage.
pub const COMPUTES: Balance = 1_007 * UNIT;
/// Ends the process.
pub const ABORTS: Balance = 1_005 * UNIT;
/// Declares more weight than a slot has.
pub const WEIGHS: Balance = 1_006 * UNIT;
/// The weight that [`WEIGHS`] declares: an hour.
pub const WEIGHT: u64 = 3_600_000_000_000_000;
