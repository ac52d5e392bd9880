//! The light client against a synthetic chain: what it follows and, check by check, what it refuses.

mod authority_changes;
mod finality;
mod mutations;
mod proofs;
