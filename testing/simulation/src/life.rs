//! One simulated life of a shard: its enclave ends again and again, its host is slow, its layer one is what it is.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
};

use cloister_chain_primitives::{AccountId, Anchor, Balance, BlockNumber, OutboxEntry, ShardId, ShardMode};
use cloister_sidechain::{Keep, Kept, Opened, Pause};
use cloister_state::{ShardState, StateSecret};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    World,
    adversary::Adversary,
    clients::Clients,
    crash::{Crash, Defect},
    media::Media,
    model::Model,
    outsiders::Plans,
    pooled::Pooled,
    reorganising::Checkpoint,
};

/// How often what happened.
pub type Coverage = BTreeMap<&'static str, u64>;

/// A life in the making.
pub struct Life {
    pub(crate) random: ChaCha8Rng,
    pub(crate) world: World,
    pub(crate) media: Media,
    pub(crate) model: Model,
    /// Built from the kept blocks alone, beside the engine.
    pub(crate) replica: ShardState,
    pub(crate) secret: StateSecret,
    pub(crate) clients: Clients,
    /// What layer one's node holds.
    pub(crate) pool: Vec<Pooled>,
    /// What blocks hold that are not final, and which.
    pub(crate) included: Vec<(BlockNumber, Pooled)>,
    /// What the enclave ever submitted.
    pub(crate) known: Vec<Pooled>,
    /// Layer one after the newest final block and after each one since.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// The newest block that some start was told to be final.
    pub(crate) finalized: BlockNumber,
    /// What the shard does, by readable blocks.
    pub(crate) modes: BTreeMap<BlockNumber, ShardMode>,
    /// Who had what on layer one at the beginning.
    pub(crate) rich: BTreeMap<AccountId, Balance>,
    pub(crate) plans: Plans,
    /// Entries of the outbox that the enclave has submitted.
    pub(crate) submitted: BTreeSet<u64>,
    /// Whether a stranger has moved the anchor.
    pub(crate) moved: bool,
    /// Entries of the outbox that stood in kept blocks.
    pub(crate) published: BTreeMap<u64, OutboxEntry>,
    /// What is kept and not acknowledged.
    pub(crate) kept: VecDeque<u64>,
    /// What the enclave has not got back yet.
    pub(crate) to_give_back: Option<VecDeque<Kept>>,
    /// Blocks of layer one whose state is there.
    pub(crate) readable: Vec<u32>,
    /// Heights that layer one has anchored, and in which of its blocks.
    pub(crate) anchors: Vec<(u32, u64)>,
    /// Entries of the inbox that some start has opened.
    pub(crate) opened: BTreeMap<u64, Opened>,
    pub(crate) endings: u32,
    pub(crate) starts: u32,
    pub(crate) snapshot_half: bool,
    /// What there was before the host gave back an old copy.
    pub(crate) saved: Option<Box<(Media, Model)>>,
    pub(crate) backup: Option<(Media, u64)>,
    /// Whether the engine that serves was found to have the model's state.
    pub(crate) compared: bool,
    pub(crate) draining: bool,
    pub(crate) defect: Option<Defect>,
    pub(crate) coverage: Coverage,
    pub(crate) trace: bool,
    pub(crate) planned: Vec<Crash>,
    pub(crate) sends: Sends,
    /// Of the host's clock, ms.
    pub(crate) skew: i64,
    pub(crate) stalled_until: u64,
    /// How likely the host does at once what it is asked to, in percent.
    pub(crate) promptness: u32,
    /// The incarnation that wants to be registered or is.
    pub(crate) incarnation: Option<[u8; 32]>,
    /// All that this shard's starts had.
    pub(crate) incarnations: BTreeSet<[u8; 32]>,
    /// Incarnations that layer one registered, and in which of its blocks.
    pub(crate) registered: Vec<(BlockNumber, [u8; 32])>,
    /// What layer one anchored, and in which of its blocks.
    pub(crate) anchored: Vec<(BlockNumber, Anchor)>,
    /// Layer one's time, by readable blocks.
    pub(crate) times: BTreeMap<BlockNumber, u64>,
    /// Where everybody lies.
    pub(crate) adversary: Option<Adversary>,
}

/// What clients send above all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    All,
    Direct,
    Invokes,
}

/// Lives the life of a seed. What happened in it, or what broke.
pub fn live(seed: u64, defect: Option<Defect>, trace: bool) -> Result<Coverage, String> {
    caught(|| Life::begin(seed, defect, trace, None))
}

/// The same, while host, clients and users of layer one lie.
pub fn live_among_liars(seed: u64, defect: Option<Defect>, trace: bool) -> Result<Coverage, String> {
    caught(|| Life::begin(seed, defect, trace, Some(Adversary::default())))
}

fn caught(begin: impl FnOnce() -> Result<Life, String>) -> Result<Coverage, String> {
    let life = AssertUnwindSafe(|| {
        let mut life = begin()?;
        life.run().map(|()| life.coverage)
    });
    catch_unwind(life).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or("silently")))
    })
}

impl Life {
    fn run(&mut self) -> Result<(), String> {
        let (mut steps, mut serving) = (0, 0);
        let mut rest = self.random.gen_range(20..80);
        loop {
            let left = self.planned.len();
            self.step()?;
            steps += 1;
            serving += u32::from(self.world.serving);
            if self.planned.len() < left {
                (steps, serving) = (0, 0);
            } else if self.planned.is_empty() {
                rest -= 1;
            } else if serving > 100 {
                // It never came up.
                self.planned.pop();
                self.count("crash given up");
                (steps, serving) = (0, 0);
            }
            if steps > MAX_STEPS {
                return Err("the enclave does not come up".into());
            }
            if rest == 0 {
                return self.drain();
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        if self.adversary.is_some() && self.random.gen_ratio(1, 3) {
            self.lie()?;
            self.absorb()?;
        }
        if let Some(crash) = self.planned.last().copied().filter(|crash| self.is_due(*crash)) {
            self.count(crash.name());
            self.planned.pop();
            return self.end(None);
        }
        if self.world.serving && matches!(self.planned.last(), Some(Crash::InRecovery | Crash::BeforeServing)) {
            return self.end(None);
        }
        if self.skew != 0 && self.random.gen_ratio(1, 6) {
            self.skew = 0;
        }
        let what = self.random.gen_range(0..100);
        match what {
            _ if self.to_give_back.is_some() && self.random.gen_bool(0.3) => self.give_back()?,
            _ if !self.world.serving && self.random.gen_bool(0.5) => self.layer_one()?,
            0..26 => self.tick(),
            26..50 => self.host()?,
            50..58 => self.open(),
            58..78 => self.act()?,
            78..96 => self.layer_one()?,
            _ => self.oddity()?,
        }
        self.absorb()
    }

    /// Whether there is now what the crash is to interrupt. The others come up while it happens.
    fn is_due(&self, crash: Crash) -> bool {
        match crash {
            Crash::Executing => {
                self.model.height() > 0 && matches!(self.world.unkept.front(), Some((_, Keep::Block { .. })))
            }
            Crash::BeforeWritten => !self.world.unkept.is_empty(),
            Crash::WhileWritten | Crash::BeforeDelivered | Crash::InRecovery => false,
            Crash::BeforeAcknowledged => !self.kept.is_empty(),
            Crash::BeforeServing => self.world.recovered.is_some() && !self.world.serving && self.starts > 1,
            Crash::AnchorUnseen => {
                let seen = self.world.engine.figures().anchored;
                self.world.serving && self.anchors.last().is_some_and(|(_, number)| *number > seen)
            }
            Crash::EntryAnchored | Crash::EntrySubmitted | Crash::EntryUnproven => self.owes(crash),
            Crash::SnapshotHalf => self.snapshot_half,
            Crash::Serving => self.world.serving && self.model.height() > 2,
        }
    }

    /// Whether the next crash is this one.
    pub(crate) fn crashes(&mut self, crash: Crash) -> bool {
        let due = self.planned.last() == Some(&crash);
        if due {
            self.planned.pop();
            self.count(crash.name());
        }
        due
    }

    pub(crate) fn tick(&mut self) {
        let most = if self.world.now < self.stalled_until { 12_000 } else { 700 };
        self.world.now += self.random.gen_range(100..most);
        let skew = if self.draining { 0 } else { self.skew };
        self.world.engine.tick(self.world.now.saturating_add_signed(skew));
        self.world.take_actions();
        if let Some(pause) = self.world.engine.figures().paused {
            self.count(match pause {
                Pause::ClockAhead => "paused: layer one stalls",
                Pause::Unread => "paused: unread",
                Pause::Expiring => "paused: expiring",
                Pause::Behind => "paused: behind",
                Pause::Unanchored => "paused: unanchored",
                _ => "paused",
            });
        }
    }

    fn host(&mut self) -> Result<(), String> {
        loop {
            match self.random.gen_bool(0.5) {
                true => self.write()?,
                false => self.acknowledge()?,
            }
            let prompt = self.random.gen_range(0..100) < self.promptness;
            if !prompt || (self.world.unkept.is_empty() && self.kept.is_empty()) {
                return Ok(());
            }
        }
    }

    /// Layer one goes a step further, or all of its steps.
    fn layer_one(&mut self) -> Result<(), String> {
        let all = self.random.gen_bool(0.5);
        let one = self.random.gen_range(0..3);
        if all || one == 0 {
            self.grow()?;
        }
        if all || one == 1 {
            self.finality();
        }
        if all || one == 2 {
            self.answer();
        }
        Ok(())
    }

    pub(crate) fn open(&mut self) {
        for _ in 0..self.random.gen_range(1..8) {
            self.open_one();
        }
    }

    fn open_one(&mut self) {
        if self.world.unopened.is_empty() {
            return;
        }
        let at = self.random.gen_range(0..self.world.unopened.len());
        if at > 0 {
            self.count("opened out of order");
        }
        let (number, entry) = self.world.unopened.remove(at);
        // Every start opens it to the same.
        let opener = self.world.engine.opener();
        let opened = self.opened.entry(number).or_insert_with(|| opener.open(entry));
        self.world.engine.opened(number, opened.clone());
    }

    fn act(&mut self) -> Result<(), String> {
        if !self.world.serving && self.random.gen_bool(0.8) {
            return Ok(());
        }
        let Self { clients, world, model, random, sends, .. } = self;
        let (kind, deposit) = match random.gen_range(0..16) {
            0..10 if *sends == Sends::Invokes => clients.invoke(world, model, random),
            0 | 1 if *sends == Sends::Direct => return Ok(()),
            0 => clients.shield(world, random),
            1 => clients.invoke(world, model, random),
            12..15 => return self.stranger(),
            15 => {
                self.root();
                return Ok(());
            }
            2..6 => {
                let sent = clients.send_again(world, model);
                return self.sent(sent);
            }
            _ => {
                let sent = clients.send(world, model, random);
                return self.sent(sent);
            }
        };
        self.count(kind);
        self.pool.push(Pooled::Deposit(deposit));
        Ok(())
    }

    /// What seldom happens.
    fn oddity(&mut self) -> Result<(), String> {
        match self.random.gen_range(0..9) {
            0 => {
                self.skew = [0, 20_000, 45_000, -40_000][self.random.gen_range(0..4)];
                self.count("clock jump");
            }
            1 if self.world.serving && self.random.gen_bool(0.3) => {
                self.stalled_until = self.world.now + self.random.gen_range(10_000..60_000);
                self.count("stall");
            }
            2 if self.defect.is_none() && self.saved.is_none() && self.twin().is_none() => {
                self.backup = Some((self.media.copy()?, self.model.height()));
            }
            3 => {
                // A host that sends nonsense for finality.
                let header = self.world.chain.header(0).clone();
                self.world.engine.finality(vec![header], &[]);
                self.world.take_actions();
                self.count("finality refused");
            }
            4 | 5 => self.repeat(),
            6 | 7 => self.reorganise(),
            _ => self.skew = 0,
        }
        Ok(())
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.world.now < self.stalled_until && !self.draining
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
        self.say(|| what.into());
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8} #{} {}", self.world.now % 100_000_000, self.starts, what());
        }
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.world.shard()
    }
}

/// The state before the first block.
pub(crate) fn genesis(secret: &StateSecret) -> ShardState {
    static ENTRIES: std::sync::OnceLock<Vec<cloister_stf::Entry>> = std::sync::OnceLock::new();
    let entries = ENTRIES.get_or_init(|| cloister_stf::genesis_storage().unwrap());
    ShardState::genesis(entries.iter().cloned(), &secret.commitment_key())
}

pub(crate) fn describe(keep: &Keep) -> String {
    match keep {
        Keep::Mark(_) => "mark".into(),
        Keep::Block { number, .. } => format!("block {number}"),
        Keep::SnapshotPiece { index, .. } => format!("piece {index}"),
        Keep::Snapshot { first, .. } => format!("snapshot on {first}"),
    }
}

/// For an enclave to come up.
const MAX_STEPS: u32 = 6_000;
