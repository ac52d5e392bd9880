//! Entry points for everything that host, clients, chain and disk can make us decode.
//!
//! Each [`Target`] takes any bytes. It panics if a property does not hold, and so does whatever it calls: that is how
//! it tells of a finding. The first byte chooses among a family's decoders. `cargo xtask fuzz` runs targets under
//! coverage guidance; the tests replay `corpus/` and mutate it for a while.
#![warn(missing_docs)]

mod answers;
mod engine;
mod evidence;
mod input;
mod kept;
mod layer_one;
mod light_client;
mod link;
mod mutator;
mod request;
mod scale;
mod shard;
mod text;
mod wire;

pub use mutator::Mutator;

/// A family of decoders.
pub struct Target {
    /// As `cargo xtask fuzz` and `corpus/` name it.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// What real encodings look like, to start with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "link", run: link::run, seeds: link::seeds },
    Target { name: "request", run: request::run, seeds: request::seeds },
    Target { name: "wire", run: wire::run, seeds: wire::seeds },
    Target { name: "kept", run: kept::run, seeds: kept::seeds },
    Target { name: "light_client", run: light_client::run, seeds: light_client::seeds },
    Target { name: "layer_one", run: layer_one::run, seeds: layer_one::seeds },
    Target { name: "evidence", run: evidence::run, seeds: evidence::seeds },
    Target { name: "answers", run: answers::run, seeds: answers::seeds },
    Target { name: "text", run: text::run, seeds: text::seeds },
    Target { name: "engine", run: engine::run, seeds: engine::seeds },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
