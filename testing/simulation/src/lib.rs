//! Engines of shards with their hosts, disks, clients and layer one in one thread, in virtual time. For tests only.

pub mod disk;
pub mod layer_one;
pub mod world;

pub use disk::Disk;
pub use world::{UNIT, World, account, key, state};
