//! Engines of shards with their hosts, disks, clients and layer one in one thread, in virtual time. For tests only.
//!
//! [`World`] is driven step by step; [`live`] lives a whole life of a shard that follows from a seed, and checks all
//! along what must be true.

mod adversary;
mod asking;
mod beginning;
pub mod bridge;
mod building;
mod checks;
mod clients;
mod crash;
pub mod disk;
mod drain;
mod host;
pub mod layer_one;
mod ledger;
mod life;
mod media;
mod model;
mod outsiders;
mod pooled;
mod reorganising;
pub mod torn;
pub mod world;

pub use crash::{Crash, Defect};
pub use disk::Disk;
pub use life::{Coverage, live, live_among_liars};
pub use world::{SHIELDER, UNIT, World, account, key, state};
