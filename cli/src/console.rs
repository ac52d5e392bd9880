//! Standard error: what happens, line by line, and on a terminal what is waited for.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cloister_client::{Step, layer_one::Progress, worker::Update};
use cloister_wire::TrustedOperationStatus;
use indicatif::{ProgressBar, ProgressStyle};

/// Where a person reads what goes on. Programs that read too find the same lines, and nothing that moves.
#[derive(Default)]
pub struct Console {
    shows_waits: bool,
    /// What is waited for.
    bar: Mutex<Option<ProgressBar>>,
}

/// Something is waited for until this is dropped.
pub struct Waiting<'a>(&'a Console);

impl Waiting<'_> {
    /// Something else is waited for.
    pub fn now_for(&self, what: impl Display) {
        if let Some(bar) = self.0.bar() {
            bar.set_style(style());
            bar.set_message(what.to_string());
        }
    }

    /// So much is done of something that can be counted.
    pub fn counted(&self, what: impl Display, done: u64, total: u64) {
        if let Some(bar) = self.0.bar() {
            bar.set_style(counting());
            bar.set_message(what.to_string());
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}

impl Console {
    /// One that shows what is waited for if a person looks on.
    pub fn new(json: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self { shows_waits: !json && !is_dumb && io::stderr().is_terminal(), bar: Mutex::default() }
    }

    /// A line that stays.
    pub fn say(&self, line: impl Display) {
        let write = || {
            // Who has closed it wants nothing more.
            let _ = writeln!(io::stderr(), "{line}");
        };
        self.aside(write);
    }

    /// Has something written to the terminal that is not from here.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.bar() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows what is waited for, and for how long already; nothing but on a terminal.
    pub fn waits(&self, what: impl Display) -> Waiting<'_> {
        if self.shows_waits {
            let bar = ProgressBar::new_spinner().with_style(style()).with_message(what.to_string());
            bar.enable_steady_tick(TICK);
            let earlier = self.bar.lock().unwrap_or_else(PoisonError::into_inner).replace(bar);
            if let Some(earlier) = earlier {
                earlier.finish_and_clear();
            }
        }
        Waiting(self)
    }

    /// How an extrinsic goes on.
    pub fn progress(&self, progress: Progress) {
        match progress {
            Progress::Submitted { hash } => self.say(format_args!("submitted {hash:?}")),
            Progress::InBlock { number, hash } => self.say(format_args!("in block #{number} {hash:?}")),
            Progress::Finalized { number, hash } => self.say(format_args!("finalized #{number} {hash:?}")),
        }
    }

    /// How a call to a shard goes on.
    pub fn step(&self, step: Step) {
        match step {
            Step::Submitted(operation) => self.say(format_args!("submitted {operation:?}")),
            Step::Status(update) => self.update(update),
            Step::LayerOne(progress) => self.progress(progress),
            Step::InInbox(block) => {
                self.say(format_args!("waits until the shard reports that it has processed block #{block}"));
            }
            Step::Executed(block) => self.say(format_args!("executed in block #{block} of the shard")),
        }
    }

    fn update(&self, update: &Update) {
        match update.status {
            TrustedOperationStatus::Ready => self.say("ready"),
            TrustedOperationStatus::Future => self.say("waits for calls with lower nonces"),
            TrustedOperationStatus::InSidechainBlock(block) => {
                self.say(format_args!("in block {block:?} of the shard"));
            }
            TrustedOperationStatus::Finalized => self.say("anchored in a finalized block of layer one"),
            _ => {}
        }
    }

    /// The node is asked, or the enclave.
    pub fn asks(&self) -> Waiting<'_> {
        self.waits("waits for the answer")
    }

    fn bar(&self) -> Option<ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    // The template is ours and has no fault; without it there is the default one.
    ProgressStyle::with_template("{spinner} {msg} ({elapsed})").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn counting() -> ProgressStyle {
    let template = "{spinner} {msg} [{bar:20}] {pos} of {len} ({elapsed})";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const TICK: Duration = Duration::from_millis(120);
