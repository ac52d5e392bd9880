//! What holds for all inputs: no bit of anything signed can change unnoticed, and nothing panics on any bytes.

mod flips;
mod mutations;
mod targets;
