//! Blocks of layer one that are not final may be thrown away, with all that they did.

use cloister_chain_primitives::BlockNumber;
use rand::{Rng, seq::SliceRandom};

use crate::{bridge::Bridge, layer_one::Storage, life::Life};

/// Layer one after a block.
pub struct Checkpoint {
    number: BlockNumber,
    storage: Storage,
    bridge: Bridge,
    entries: usize,
    anchors: usize,
    reported: usize,
}

impl Life {
    /// Notes what the newest block leaves.
    pub(crate) fn checkpoint(&mut self, number: BlockNumber) {
        let reported = self.saved.as_ref().map_or(&self.model, |saved| &saved.1).reported;
        self.checkpoints.push(Checkpoint {
            number,
            storage: self.world.storage.clone(),
            bridge: self.world.bridge.clone(),
            entries: self.model.entries.len(),
            anchors: self.anchors.len(),
            reported,
        });
    }

    /// What is final stays.
    pub(crate) fn forget_checkpoints(&mut self) {
        let finalized = self.finalized;
        self.checkpoints.retain(|checkpoint| checkpoint.number >= finalized);
        self.included.retain(|(at, _)| *at > finalized);
    }

    /// Another branch becomes the best one. What stood in the blocks that go is in the pool again, or lost.
    pub(crate) fn reorganise(&mut self) {
        let tip = self.world.next_block() - 1;
        let older = self.checkpoints.iter().filter(|checkpoint| checkpoint.number < tip).count();
        if older == 0 {
            return;
        }
        self.checkpoints.truncate(self.random.gen_range(0..older) + 1);
        let Some(fork) = self.checkpoints.last() else { return };
        let (number, reported) = (fork.number, fork.reported);
        let (verdicts, anchors) = (fork.bridge.verdicts.len(), fork.anchors);
        let lost = [
            (self.world.bridge.verdicts.len() > verdicts, "verdict thrown away"),
            (self.anchors.len() > anchors, "anchor thrown away"),
        ];
        self.world.storage = fork.storage.clone();
        self.world.bridge = fork.bridge.clone();
        self.world.chain.headers.truncate(number as usize + 1);
        self.model.entries.truncate(fork.entries);
        self.anchors.truncate(fork.anchors);
        let saved = self.saved.as_mut().map(|saved| &mut saved.1);
        for model in [&mut self.model].into_iter().chain(saved) {
            model.reported = reported.min(model.indirect().len());
        }
        self.readable.retain(|readable| *readable <= number);
        self.modes.split_off(&(number + 1));
        self.registered.retain(|(at, _)| *at <= number);
        self.anchored.retain(|(at, _)| *at <= number);
        let first = self.included.partition_point(|(at, _)| *at <= number);
        for (_, pooled) in self.included.split_off(first) {
            if self.random.gen_ratio(1, 5) {
                self.count("lost in a reorganisation");
            } else {
                self.pool.push(pooled);
            }
        }
        self.pool.shuffle(&mut self.random);
        self.count("reorganised");
        lost.into_iter().filter(|(lost, _)| *lost).for_each(|(_, what)| self.count(what));
    }
}
