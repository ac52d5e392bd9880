//! How many calls a shard of real processes takes: a node, a worker, its enclave and clients over TLS, all on this
//! machine. It is compared with what the machine's cores could do if they only opened envelopes and checked signatures.
//!
//! What is sent is signed and encrypted before. What is counted are calls in the shard's blocks, between the times that
//! two blocks state.
#![warn(missing_docs)]

pub mod blocks;
pub mod bulk;
pub mod clients;
pub mod figure;
pub mod floor;
pub mod load;
pub mod measurement;
pub mod options;
pub mod population;
pub mod processes;
pub mod shard;

/// Seed of everything drawn.
const SEED: u64 = 7;
