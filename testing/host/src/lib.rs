//! Stands where `cloister-worker` stands: before the real `cloister-enclave-simulated` process, with a layer one that has
//! no node. For tests only.
//!
//! A [`Host`] is honest: it passes on finality, answers questions, submits what it is given, keeps what it is to keep and
//! relays clients. Between it and the enclave all messages pass a [`Lie`], which a test, or a [`Liar`] under a seed,
//! changes, drops, repeats, reorders or invents. What the enclave truly said is [`Seen`], whatever the host was told of it.

mod client;
mod host;
mod identity;
mod layer_one;
mod liar;
mod process;
mod seen;
mod tap;

pub use client::Client;
pub use cloister_simulation::{Disk, UNIT, account};
pub use host::{Host, Start};
pub use identity::{Sealed, sealed_plaintext};
pub use layer_one::LayerOne;
pub use liar::{Coverage, Liar, Rate};
pub use process::Process;
pub use seen::{Identity, Seen};
pub use tap::{Lie, Passing, honest};

/// How long something that must happen may take on a busy machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
