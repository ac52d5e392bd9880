//! What a simulated host does with what it is to keep, and what is left when its machine ends.

use cloister_chain_primitives::{H256, OutboxKind};
use cloister_sidechain::{Keep, Kept, MAX_CLOCK_AHEAD_MS, NotNewest, Stop};
use cloister_wire::sidechain::SignedBlock;
use codec::Decode;
use rand::Rng;

use crate::{
    crash::{Crash, Defect},
    life::{Life, describe, genesis},
    media::Ending,
    model::{Around, Opened, ensure},
};

impl Life {
    /// The host keeps the oldest of what it was asked to.
    pub(crate) fn write(&mut self) -> Result<(), String> {
        if self.defect == Some(Defect::AcknowledgesFirst) && self.world.unkept.len() < 2 && !self.draining {
            // It says so before it writes.
            let Some((sequence, keep)) = self.world.unkept.front().cloned() else { return Ok(()) };
            if let Keep::Block { bytes, .. } = &keep {
                self.follow(&[&bytes[..]])?;
            }
            self.world.engine.stored(sequence);
            self.world.take_actions();
            return Ok(());
        }
        let Some((sequence, keep)) = self.world.unkept.pop_front() else { return Ok(()) };
        self.say(|| format!("writes {}", describe(&keep)));
        if self.crashes(Crash::WhileWritten) {
            return self.end(Some(keep));
        }
        match &keep {
            Keep::SnapshotPiece { .. } => self.snapshot_half = true,
            Keep::Snapshot { .. } => {
                self.snapshot_half = false;
                self.count("snapshot");
            }
            _ => {}
        }
        self.media.commit(keep.clone())?;
        if let Keep::Block { bytes, .. } = &keep {
            self.follow(&[&bytes[..]])?;
        }
        self.kept.push_back(sequence);
        Ok(())
    }

    /// The host says that it has kept the oldest of what it did not say.
    pub(crate) fn acknowledge(&mut self) -> Result<(), String> {
        let Some(sequence) = self.kept.pop_front() else { return Ok(()) };
        self.world.engine.stored(sequence);
        if self.crashes(Crash::BeforeDelivered) {
            return self.end(None);
        }
        self.world.take_actions();
        self.absorb()
    }

    /// Blocks that are kept become part of what must be true, unless they are already.
    fn follow(&mut self, blocks: &[&[u8]]) -> Result<(), String> {
        for mut bytes in blocks.iter().copied() {
            let block = SignedBlock::decode(&mut bytes).map_err(|error| error.to_string())?;
            let number = block.header.block_number;
            if number <= self.model.height() {
                continue;
            }
            let opened = Opened::new(&block, &self.secret, &self.world.genesis(), &self.shard())?;
            let (refunded, expired) = (self.model.ledger().books.refunded, self.model.expired);
            let before = self.replica.commitment();
            ensure(before == block.block_data.commitment_before, || format!("block {number} rests on another state"))?;
            let open = cloister_stf::outbox(&self.replica);
            let first = cloister_stf::books(&self.replica).outbox_next;
            self.replica.apply(&opened.diff);
            let after = self.replica.commitment();
            ensure(after == block.block_data.commitment_after, || format!("block {number} comes to another state"))?;
            let still = cloister_stf::outbox(&self.replica);
            let is_closed = |number: &u64| still.binary_search_by_key(number, |owed| owed.number).is_err();
            let around = Around {
                mode: self.modes.get(&block.block_data.layer_one_number).copied().unwrap_or_default(),
                verdicts: &self.world.bridge.verdicts,
                closed: open.iter().map(|owed| owed.number).filter(is_closed).collect(),
                exits: still.into_iter().filter(|owed| owed.number >= first && owed.kind == OutboxKind::Exit).collect(),
                endings: self.endings,
            };
            self.model.apply(&block, &opened, &around)?;
            self.is_in_time(&block)?;
            self.count("block");
            if self.model.ledger().books.refunded > refunded {
                self.count("refunded");
            }
            if self.model.expired > expired {
                self.count("indirect call expired");
            }
            for (number, (_, entry)) in self.model.owed.range(first..) {
                if self.published.insert(*number, entry.clone()).is_some_and(|before| before != *entry) {
                    return Err(format!("entry {number} of the outbox was another one before"));
                }
            }
            let set_aside = |(_, result): &(H256, Result<(), String>)| matches!(result, Err(reason) if reason.starts_with("set aside"));
            if self.model.blocks.last().is_some_and(|block| block.outcomes.iter().any(set_aside)) {
                self.count("indirect call set aside");
            }
        }
        Ok(())
    }

    /// The enclave gets back some of what was kept.
    pub(crate) fn give_back(&mut self) -> Result<(), String> {
        let Some(kept) = &mut self.to_give_back else { return Ok(()) };
        let some = if self.draining { kept.len() } else { self.random.gen_range(0..=kept.len()) };
        let left = kept.len() - some;
        for kept in kept.drain(..some) {
            self.world.engine.kept(kept);
        }
        if self.starts > 1 && self.crashes(Crash::InRecovery) {
            return self.end(None);
        }
        if left == 0 {
            self.to_give_back = None;
            self.world.engine.kept_all();
            self.world.take_actions();
            let (recovered, height) = (self.world.recovered, self.model.height());
            ensure(recovered == Some(height) || self.world.stopped.is_some(), || {
                format!("recovered {recovered:?}, {height} are kept")
            })?;
            let newest = self.world.engine.header().map(|header| header.hash());
            let expected = self.model.block(height).map(|block| block.hash);
            ensure(newest == expected || self.world.stopped.is_some(), || format!("recovered another block {height}"))?;
        }
        Ok(())
    }

    /// Enclave and host end, while `writing` is being kept, and start again.
    pub(crate) fn end(&mut self, writing: Option<Keep>) -> Result<(), String> {
        self.endings += 1;
        let ending = if self.random.gen_bool(0.5) { Ending::Killed } else { Ending::Power };
        self.media.end(ending, writing, &mut self.random)?;
        if self.defect == Some(Defect::LosesNewest) {
            self.media.lose_newest();
        }
        if self.defect == Some(Defect::ReusesNumbers) {
            let anchored = self.anchors.last().map_or(0, |(_, number)| *number);
            self.media.rewind(anchored);
            self.model.rewind(anchored);
            self.replica = genesis(&self.secret);
            return self.start(true);
        }
        let rarity = if self.adversary.is_some() { 2 } else { 12 };
        if self.saved.is_none()
            && self.twin().is_none()
            && self.random.gen_ratio(1, rarity)
            && let Some((media, height)) = self.backup.take()
        {
            self.count("old copy given back");
            let old = std::mem::replace(&mut self.media, media);
            self.saved = Some(Box::new((old, self.model.clone())));
            self.model.rewind(height);
            self.replica = genesis(&self.secret);
            self.start(true)
        } else {
            self.start(false)
        }
    }

    /// The host starts with what it kept.
    pub(crate) fn start(&mut self, anew: bool) -> Result<(), String> {
        self.starts += 1;
        self.incarnation = None;
        self.world.replace_engine();
        self.kept.clear();
        self.snapshot_half = false;
        self.compared = false;
        self.clients.start_over();
        if self.random.gen_bool(0.3) {
            self.pool.clear();
        }
        let kept = self.media.kept()?;
        let blocks: Vec<&[u8]> = kept
            .iter()
            .filter_map(|kept| if let Kept::Block(bytes) = kept { Some(&bytes[..]) } else { None })
            .collect();
        if anew {
            for mut bytes in blocks.iter().copied().take(self.model.height() as usize) {
                let block = SignedBlock::decode(&mut bytes).map_err(|error| error.to_string())?;
                let opened = Opened::new(&block, &self.secret, &self.world.genesis(), &self.shard())?;
                self.replica.apply(&opened.diff);
            }
            if self.defect != Some(Defect::ReusesNumbers) {
                self.published = self.model.owed.iter().map(|(number, (_, entry))| (*number, entry.clone())).collect();
            }
        }
        self.nothing_lost(&blocks)?;
        self.follow(&blocks)?;
        self.model.ledger().compare(&self.replica, crate::clients::accounts())?;
        let kept = self.lie_before_the_truth(kept)?;
        self.to_give_back = Some(kept.into());
        Ok(())
    }

    /// One more start finds all of it.
    pub(crate) fn recovers_to_the_same(&mut self) -> Result<(), String> {
        self.backup = None;
        self.end(None)?;
        self.give_back()?;
        ensure(self.world.stopped.is_none() && self.to_give_back.is_none(), || format!("{:?}", self.world.stopped))
    }

    /// A block cannot say a time that is much later than layer one's.
    fn is_in_time(&self, block: &SignedBlock) -> Result<(), String> {
        let data = &block.block_data;
        let layer_one = self.times.get(&data.layer_one_number).copied().unwrap_or(u64::MAX);
        ensure(data.timestamp <= layer_one.saturating_add(MAX_CLOCK_AHEAD_MS), || {
            format!("block {} says the time {}, layer one {layer_one}", block.header.block_number, data.timestamp)
        })
    }

    /// That all blocks are there that were kept.
    fn nothing_lost(&self, blocks: &[&[u8]]) -> Result<(), String> {
        let height = blocks.len() as u64;
        let newest = self.model.height();
        if height < newest {
            let told: Vec<_> = self.model.told.iter().filter(|of| self.model.executed[*of] > height).collect();
            return Err(format!("blocks {} to {newest} are lost, confirmed calls {told:?} with them", height + 1));
        }
        let Some(expected) = self.model.block(newest) else { return Ok(()) };
        let block = SignedBlock::decode(&mut &blocks[newest as usize - 1][..]).map_err(|error| error.to_string())?;
        ensure(block.header.hash() == expected.hash, || format!("block {newest} is another one"))
    }

    /// Whether a registration that the enclave may know is over: the one of which it spoke, or, as long as it spoke of none,
    /// any of this start. A newer one may be there unseen.
    fn expired(&self) -> bool {
        let interval = self.world.registry.interval_ms;
        let own = self.registered.iter().filter(|(_, incarnation)| Some(*incarnation) == self.incarnation);
        let included = own.filter_map(|(at, _)| self.times.get(at)).map(|time| time + interval).min();
        let recorded = self.world.record().map(|record| record.expires_at);
        let known = self.world.registered.or(included.into_iter().chain(recorded).min());
        known.is_some_and(|expires_at| expires_at <= self.world.now)
    }

    /// The enclave has ended by itself. There are few reasons for that.
    pub(crate) fn stopped(&mut self, stop: Stop) -> Result<(), String> {
        self.say(|| format!("stops: {stop}"));
        match stop {
            Stop::Expired if self.expired() => {
                self.count("stopped: expired");
                self.endings += 1;
                self.start(false)
            }
            Stop::NotNewest(NotNewest::Behind { anchored, newest }) if self.saved.is_some() => {
                self.count("stopped: old copy");
                let really = self.anchors.last().is_some_and(|(_, number)| *number == anchored && anchored > newest);
                ensure(really && newest == self.model.height(), || format!("stops without a reason: {stop}"))?;
                if let Some(saved) = self.saved.take() {
                    let now = std::mem::take(&mut self.model);
                    (self.media, self.model) = *saved;
                    (self.model.entries, self.model.sent) = (now.entries, now.sent);
                }
                self.replica = genesis(&self.secret);
                self.endings += 1;
                self.start(true)
            }
            Stop::Retired if self.is_superseded() => {
                self.count("stopped: retired");
                self.endings += 1;
                self.start(false)
            }
            Stop::NotNewest(_) if self.twin().is_some() => self.give_way(&stop),
            stop => Err(format!("stops: {stop}")),
        }
    }
}
