//! A program that stands between a worker and its enclave and lies to both: by one rule, or by chance under a seed.
//!
//! It never alters what the enclave gives to keep: a host that destroys its own disk loses its shard, which is no news.

mod messages;

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use cloister_link::frame;
use codec::Encode;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use crate::process::binary;

pub use messages::Lied;

/// What is said instead of the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Subcommand)]
pub enum Plan {
    /// Breaks one rule.
    Rule {
        /// Which.
        rule: Rule,
    },
    /// Lies about messages by chance.
    Seeded {
        /// Of all chances.
        seed: u64,
        /// One message of so many, and one of twenty times so many that belong to clients' connections.
        one_in: u32,
        /// From when on.
        from: Since,
    },
}

/// A lie that is told at the first occasion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Rule {
    /// The first message comes twice.
    StartTwice,
    /// The first message is another one.
    TickFirst,
    /// The host speaks an earlier version.
    EarlierProtocol,
    /// The enclave speaks another version.
    OtherProtocol,
    /// A frame's length is above the bound.
    HugeFrame,
    /// The link ends within a frame.
    CutFrame,
    /// A frame holds something that is no message.
    Gibberish,
    /// Nothing of what was kept is given back.
    KeptWithheld,
    /// The first block that was kept comes twice.
    KeptTwice,
    /// A bit of a block that was kept is another one.
    KeptAltered,
    /// Something kept comes after the end of it.
    KeptLate,
    /// A client's connection is opened with a number that was used.
    NumberAgain,
    /// Data of a connection that nobody opened.
    DataOfNobody,
    /// Whatever is to be kept is said to be, and is not.
    StoresNothing,
    /// The worker hears twice that something is to be kept.
    StoreTwice,
}

/// From when on lies are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Since {
    /// The first message.
    Start,
    /// The one after [`ToHost::Serving`](cloister_link::ToHost::Serving).
    Serving,
}

/// The program that a worker is given in the enclave's place. It tells the truth until it is told to lie.
#[derive(Debug)]
pub struct LyingLink {
    directory: TempDir,
    enclave: PathBuf,
}

impl LyingLink {
    /// Before the enclave that can simulate.
    pub fn new() -> Result<Self> {
        let link = Self { directory: tempfile::tempdir()?, enclave: binary("cloister-enclave-simulated")? };
        link.tells_the_truth()?;
        Ok(link)
    }

    /// What the worker is to start.
    pub fn program(&self) -> PathBuf {
        self.directory.path().join("enclave")
    }

    /// From the next start on it lies so.
    pub fn lies(&self, plan: Plan) -> Result<()> {
        let mut command = vec![binary("lying-link")?.into_os_string(), "--enclave".into(), self.enclave.clone().into()];
        command.extend(plan.arguments());
        self.starts(&command)
    }

    /// From the next start on it is the enclave itself.
    pub fn tells_the_truth(&self) -> Result<()> {
        self.starts(&[self.enclave.clone().into_os_string()])
    }

    fn starts(&self, command: &[OsString]) -> Result<()> {
        let words: Vec<_> = command.iter().map(|word| format!("'{}'", Path::new(word).display())).collect();
        let program = self.program();
        // In place of an open file a new one: nobody can run one that is written.
        let unfinished = self.directory.path().join("unfinished");
        fs::write(&unfinished, format!("#!/bin/sh\nexec {}\n", words.join(" ")))?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o700))?;
        Ok(fs::rename(unfinished, program)?)
    }
}

impl Plan {
    fn arguments(self) -> Vec<OsString> {
        let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let words = match self {
            Self::Rule { rule } => vec!["rule".into(), name(&|| rule.to_possible_value())],
            Self::Seeded { seed, one_in, from } => {
                let from = name(&|| from.to_possible_value());
                vec!["seeded".into(), seed.to_string(), one_in.to_string(), from]
            }
        };
        words.into_iter().map(OsString::from).collect()
    }
}

/// What both directions know of each other.
#[derive(Clone, Debug, Default)]
pub struct Common {
    serving: Arc<AtomicBool>,
    /// Lies told so far.
    told: Arc<AtomicUsize>,
}

/// Lies about the messages of one direction.
pub struct Liar<M> {
    plan: Plan,
    common: Common,
    random: StdRng,
    /// Frames that wait for so many messages yet.
    postponed: Vec<(u32, Vec<u8>)>,
    /// Whether a rule's occasion has come.
    done: bool,
    messages: core::marker::PhantomData<fn(M)>,
}

/// What becomes of a message, in whole or broken frames.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Goes where the message was meant to go.
    pub on: Vec<Vec<u8>>,
    /// Goes back to who sent it.
    pub back: Vec<Vec<u8>>,
    /// Then the link ends.
    pub ends: bool,
}

/// What may be done to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// It never comes.
    Withhold,
    /// It comes twice.
    Repeat,
    /// It comes after later ones.
    Postpone,
    /// It says something else.
    Alter,
}

impl<M: Lied> Liar<M> {
    /// By a plan; both directions of a link have one `common`.
    pub fn new(plan: Plan, common: Common) -> Self {
        let seed = if let Plan::Seeded { seed, .. } = plan { seed } else { 0 };
        let random = StdRng::seed_from_u64(seed ^ M::SALT);
        Self { plan, common, random, postponed: Vec::new(), done: false, messages: core::marker::PhantomData }
    }

    /// What is said in the place of an encoded message.
    pub fn tell(&mut self, encoded: &[u8]) -> Told {
        let Ok(message) = M::decode_all(&mut &encoded[..]) else {
            return Told { on: vec![framed(encoded)], ..Told::default() };
        };
        let mut told = match self.plan {
            Plan::Rule { rule } => message.by_rule(rule, &mut self.done).unwrap_or_else(|| Told::truth(&message)),
            Plan::Seeded { one_in, from, .. } => {
                let begun = from == Since::Start || self.common.serving.load(Ordering::Relaxed);
                let one_in = if message.is_bulk() { one_in.saturating_mul(20) } else { one_in };
                match begun && self.random.gen_ratio(1, one_in.max(1)) {
                    true => self.lie(&message),
                    false => Told::truth(&message),
                }
            }
        };
        if message.is_serving() {
            self.common.serving.store(true, Ordering::Relaxed);
        }
        for (wait, _) in &mut self.postponed {
            *wait = wait.saturating_sub(1);
        }
        told.on.extend(self.postponed.extract_if(.., |(wait, _)| *wait == 0).map(|(_, frame)| frame));
        told
    }

    fn lie(&mut self, message: &M) -> Told {
        let (manners, breaches) = message.manners();
        // What breaks the link's rules ends it, so it comes seldom.
        let all = if self.random.gen_ratio(1, 20) { [manners, breaches].concat() } else { manners.to_vec() };
        let Some(manner) = (!all.is_empty()).then(|| all[self.random.gen_range(0..all.len())]) else {
            return Told::truth(message);
        };
        let mut told = Told::default();
        match manner {
            Manner::Withhold => {}
            Manner::Repeat => told.on = vec![frame_of(message), frame_of(message)],
            Manner::Postpone => self.postponed.push((self.random.gen_range(2..7), frame_of(message))),
            Manner::Alter => told.on = vec![frame_of(&message.altered(&mut self.random))],
        }
        let number = self.common.told.fetch_add(1, Ordering::Relaxed) + 1;
        eprintln!("lying-link: lie {number}: {manner:?} {}", message.name());
        told
    }
}

impl Told {
    fn truth(message: &impl Encode) -> Self {
        Self { on: vec![frame_of(message)], ..Self::default() }
    }
}

/// What is encoded here has come in a frame.
fn frame_of(message: &impl Encode) -> Vec<u8> {
    frame::encode(message).unwrap_or_default()
}

fn framed(encoded: &[u8]) -> Vec<u8> {
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), encoded].concat()
}

#[cfg(test)]
mod tests {
    use cloister_link::{ToEnclave, ToHost};

    use super::*;

    fn liar(plan: Plan) -> Liar<ToEnclave> {
        Liar::new(plan, Common::default())
    }

    fn tick(unix_ms: u64) -> Vec<u8> {
        ToEnclave::Tick { unix_ms }.encode()
    }

    #[test]
    fn a_rule_is_broken_once_and_a_seed_says_which_lies_are_told() {
        let mut liar_once = liar(Plan::Rule { rule: Rule::HugeFrame });
        let huge = liar_once.tell(&tick(1)).on;
        assert_eq!(huge[0][..4], (frame::MAX_FRAME as u32 + 1).to_le_bytes());
        assert_eq!(liar_once.tell(&tick(2)).on, [framed(&tick(2))]);

        let plan = Plan::Seeded { seed: 7, one_in: 2, from: Since::Start };
        let told = |plan| {
            let mut liar = liar(plan);
            (0..64).map(|at| liar.tell(&tick(at))).collect::<Vec<_>>()
        };
        let truth = (0..64).map(|at| Told { on: vec![framed(&tick(at))], ..Told::default() });
        assert_eq!(told(plan), told(plan));
        assert_ne!(told(plan), truth.clone().collect::<Vec<_>>());
        assert_ne!(told(plan), told(Plan::Seeded { seed: 8, one_in: 2, from: Since::Start }));
        let later = Plan::Seeded { seed: 7, one_in: 2, from: Since::Serving };
        assert_eq!(told(later), truth.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_to_be_kept_is_never_altered() {
        let store = ToHost::Store { sequence: 1, writes: Vec::new() };
        let (manners, breaches) = store.manners();
        assert!(!manners.contains(&Manner::Alter) && !breaches.contains(&Manner::Alter));
    }

    #[test]
    fn the_program_is_what_it_was_told_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let link = LyingLink { directory, enclave: "/bin/echo".into() };
        link.tells_the_truth().unwrap();
        let said = std::process::Command::new(link.program()).output().unwrap();
        assert_eq!(said.stdout, b"\n");
    }
}
