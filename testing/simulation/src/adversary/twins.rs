//! Two starts of the same sealed identity at once, each with a copy of what was kept, each asked by clients. Layer one
//! registers one of them at a time, and only that one's blocks are anchored.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem::swap,
};

use cloister_chain_primitives::OutboxEntry;
use cloister_sidechain::{Kept, Stop};
use cloister_state::ShardState;
use cloister_synthetic_layer_one::Registry;
use rand::Rng;

use crate::{
    World,
    clients::Clients,
    life::{Life, genesis},
    media::Media,
    model::{Model, ensure},
    pooled::Pooled,
};

/// A start that goes on while another one is looked at. What layer one has is with the other.
pub struct Twin {
    world: World,
    media: Media,
    model: Model,
    replica: ShardState,
    clients: Clients,
    published: BTreeMap<u64, OutboxEntry>,
    kept: VecDeque<u64>,
    to_give_back: Option<VecDeque<Kept>>,
    snapshot_half: bool,
    compared: bool,
    incarnation: Option<[u8; 32]>,
    incarnations: BTreeSet<[u8; 32]>,
}

impl Twin {
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    pub(crate) fn had(&self, incarnation: &[u8; 32]) -> bool {
        self.incarnations.contains(incarnation)
    }
}

impl Life {
    /// The host starts the enclave once more, with a copy of what it keeps, and lets the other one go on.
    pub(crate) fn start_twin(&mut self) -> Result<(), String> {
        let is_alone = self.twin().is_none() && self.saved.is_none() && self.to_give_back.is_none();
        if !is_alone || self.world.stopped.is_some() {
            return Ok(());
        }
        self.backup = None;
        let mut world = self.world.start_without_disk();
        (world.keeps, world.opens) = (false, false);
        let twin = Twin {
            world,
            media: self.media.copy()?,
            model: self.model.clone(),
            replica: genesis(&self.secret),
            clients: Clients::default(),
            published: self.published.clone(),
            kept: VecDeque::new(),
            to_give_back: None,
            snapshot_half: false,
            compared: false,
            incarnation: None,
            incarnations: BTreeSet::new(),
        };
        let Some(adversary) = &mut self.adversary else { return Ok(()) };
        adversary.twins += 1;
        adversary.twin = Some(Box::new(twin));
        // Either may have another anchored than this one would.
        self.moved = true;
        self.count("two starts at once");
        self.switch();
        self.start(true)
    }

    /// Looks at the other start, if there is one.
    pub(crate) fn switch(&mut self) {
        let Some(mut other) = self.adversary.as_mut().and_then(|adversary| adversary.twin.take()) else { return };
        let twin = &mut *other;
        swap(&mut self.world, &mut twin.world);
        swap(&mut self.media, &mut twin.media);
        swap(&mut self.model, &mut twin.model);
        swap(&mut self.replica, &mut twin.replica);
        swap(&mut self.clients, &mut twin.clients);
        swap(&mut self.published, &mut twin.published);
        swap(&mut self.kept, &mut twin.kept);
        swap(&mut self.to_give_back, &mut twin.to_give_back);
        swap(&mut self.snapshot_half, &mut twin.snapshot_half);
        swap(&mut self.compared, &mut twin.compared);
        swap(&mut self.incarnation, &mut twin.incarnation);
        swap(&mut self.incarnations, &mut twin.incarnations);
        // Layer one is the same for both.
        let (here, there) = (&mut self.world, &mut twin.world);
        swap(&mut here.chain, &mut there.chain);
        swap(&mut here.storage, &mut there.storage);
        swap(&mut here.bridge, &mut there.bridge);
        swap(&mut here.states, &mut there.states);
        swap(&mut here.registry, &mut there.registry);
        swap(&mut here.landed, &mut there.landed);
        swap(&mut here.now, &mut there.now);
        // And so is what came from it, what clients signed, and what they were told to be final.
        let (here, there) = (&mut self.model, &mut twin.model);
        swap(&mut here.entries, &mut there.entries);
        swap(&mut here.sent, &mut there.sent);
        swap(&mut here.finalized, &mut there.finalized);
        swap(&mut here.reported, &mut there.reported);
        if let Some(adversary) = &mut self.adversary {
            adversary.twin = Some(other);
        }
    }

    /// Whether layer one has registered a later incarnation than this start's.
    pub(crate) fn is_superseded(&self) -> bool {
        let own = self.registered.iter().rposition(|(_, incarnation)| Some(*incarnation) == self.incarnation);
        own.is_some_and(|own| own + 1 < self.registered.len()) && self.had_twins()
    }

    /// This start's history is not the one that layer one has anchored: only the other one goes on.
    pub(crate) fn give_way(&mut self, stop: &Stop) -> Result<(), String> {
        ensure(!self.holds_anchor(), || format!("has what is anchored, and stops: {stop}"))?;
        self.count("stopped: of two histories the other is anchored");
        self.leave_to_twin();
        ensure(self.holds_anchor(), || format!("nobody has what is anchored: {stop}"))
    }

    fn leave_to_twin(&mut self) {
        self.switch();
        if let Some(adversary) = &mut self.adversary {
            adversary.twin = None;
        }
        self.backup = None;
    }

    /// Whether the newest final anchor is of this history.
    fn holds_anchor(&self) -> bool {
        let newest = self.anchored.iter().rfind(|(at, _)| self.draining || *at <= self.finalized);
        newest.is_none_or(|(_, anchor)| {
            self.model.block(anchor.number).is_some_and(|block| block.hash == anchor.header_hash)
        })
    }

    /// The host ends one of two starts. Before that it is shown the truth, and if it is not the one that is registered
    /// it does not go on.
    pub(crate) fn one_start_is_left(&mut self) -> Result<(), String> {
        if self.twin().is_none() {
            return Ok(());
        }
        self.pool.retain(|pooled| !matches!(pooled, Pooled::Enclave { .. }));
        self.switch();
        self.world.attests = true;
        self.tell_version(true);
        let here = self.holds_anchor();
        self.switch();
        match (self.holds_anchor(), here) {
            (true, false) => self.switch(),
            (true, true) if self.random.gen_bool(0.5) => self.switch(),
            (true, true) | (false, true) => {}
            (false, false) => return Err("nobody has what is anchored".into()),
        }
        // What is looked at now goes.
        self.grow()?;
        self.finality();
        let stops = self.shown_the_truth();
        let registered = Registry::record(&self.world.storage, &self.world.account());
        let is_registered = registered.is_some_and(|record| Some(record.incarnation_key) == self.incarnation);
        ensure(is_registered || stops || !self.world.engine.is_serving(), || "two starts serve at once".into())?;
        if stops {
            self.count("the other start stopped");
        }
        self.leave_to_twin();
        ensure(self.holds_anchor(), || "what is left has not what is anchored".into())
    }

    /// All that is final is proven to it; whether it ends.
    fn shown_the_truth(&mut self) -> bool {
        while self.world.stopped.is_none() && self.world.answer_one() {}
        for _ in 0..2 {
            // What it waits for may have been lost long ago.
            self.world.now += 40_000;
            self.world.engine.tick(self.world.now);
            self.world.take_actions();
            while self.world.stopped.is_none() && self.world.answer_one() {}
        }
        self.world.stopped.is_some()
    }
}
