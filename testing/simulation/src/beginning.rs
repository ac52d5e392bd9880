//! How a life begins: what its seed decides once and for all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloister_chain_primitives::Balance;
use cloister_sidechain::SnapshotRules;
use cloister_state::StateSecret;
use cloister_stf::{Payments, Program};
use cloister_synthetic_layer_one::Voters;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    UNIT, World,
    adversary::{Adversary, VOTERS},
    clients::{self, Clients},
    crash::{Crash, Defect, PaysTwice},
    life::{Coverage, Life, Sends, genesis},
    media::Media,
    model::{Entry, Model},
    outsiders::{self, Plans},
    pooled::Deposit,
    world::Enclave,
};

impl Life {
    pub(crate) fn begin(
        seed: u64,
        defect: Option<Defect>,
        trace: bool,
        adversary: Option<Adversary>,
    ) -> Result<Self, String> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut identity = [0; 32];
        identity[..8].copy_from_slice(&seed.to_le_bytes());
        let program: &'static dyn Program = if defect == Some(Defect::PaysTwice) { &PaysTwice } else { &Payments };
        let mut snapshots =
            SnapshotRules { journal_bytes: random.gen_range(500..8_000), piece_bytes: random.gen_range(50..1_500) };
        if defect == Some(Defect::ReusesNumbers) {
            // What is lost must not be in a snapshot.
            snapshots.journal_bytes = u64::MAX;
        }
        let voters = Voters::new(0, 1..=if adversary.is_some() { VOTERS } else { 1 });
        let mut world = World::of(Enclave { program, snapshots, identity }, voters, None);
        (world.keeps, world.opens) = (false, false);
        world.registry.incarnation_gap = random.gen_range(1..4);
        if random.gen_ratio(1, 6) {
            world.registry.interval_ms = random.gen_range(20_000..120_000);
        }
        let media = match random.gen_ratio(1, REAL_STORES) && defect.is_none() {
            true => Media::real(world.shard())?,
            false => Media::Plain(crate::Disk::default()),
        };
        let secret = StateSecret::from_bytes(identity);
        let crashes = random.gen_range(1..4);
        // What is executed again and again when the enclave ends comes under suspicion.
        let suspicious = random.gen_ratio(1, 6);
        let sends = match random.gen_bool(0.5) {
            _ if !suspicious => Sends::All,
            true => Sends::Invokes,
            false => Sends::Direct,
        };
        let planned = match suspicious {
            true => vec![Crash::Executing; if sends == Sends::Invokes { 7 } else { 4 }],
            false => (0..crashes).map(|_| Crash::ALL[random.gen_range(0..Crash::ALL.len())]).collect(),
        };
        let promptness = if random.gen_bool(0.5) { 90 } else { random.gen_range(20..80) };
        let model = Model { genesis: world.genesis(), ..Model::default() };
        let mut life = Self {
            replica: genesis(&secret),
            media,
            model,
            secret,
            clients: Clients::default(),
            pool: Vec::new(),
            included: Vec::new(),
            known: Vec::new(),
            checkpoints: Vec::new(),
            finalized: 0,
            modes: BTreeMap::new(),
            rich: outsiders::begin(&mut world.bridge, &mut random, defect),
            plans: Plans::draw(&mut random, defect),
            submitted: BTreeSet::new(),
            moved: false,
            published: BTreeMap::new(),
            kept: VecDeque::new(),
            to_give_back: Some(VecDeque::new()),
            readable: Vec::new(),
            anchors: Vec::new(),
            opened: BTreeMap::new(),
            endings: 0,
            starts: 1,
            snapshot_half: false,
            saved: None,
            backup: None,
            compared: false,
            draining: false,
            defect,
            coverage: Coverage::new(),
            trace,
            planned,
            sends,
            skew: 0,
            stalled_until: 0,
            promptness,
            incarnation: None,
            incarnations: BTreeSet::new(),
            registered: Vec::new(),
            anchored: Vec::new(),
            times: BTreeMap::new(),
            adversary,
            random,
            world,
        };
        if life.media.is_real() {
            life.count("real store");
        }
        for account in &clients::accounts()[..4] {
            let limit = life.world.bridge.limit.map_or(Balance::MAX, |limit| limit.amount);
            let amount = limit.min(10 * UNIT);
            let Deposit { entry, holds } =
                clients::shielding(&life.world, Some(account), amount, clients::PUBLIC[0].clone());
            life.world.append(entry);
            life.model.entries.push(Entry { holds, endings: 0 });
        }
        if life.adversary.is_some() {
            life.enroll_liar()?;
        }
        life.checkpoint(0);
        Ok(life)
    }
}

/// Of so many lives one has the real store under its host; to open it takes milliseconds.
const REAL_STORES: u32 = 16;
