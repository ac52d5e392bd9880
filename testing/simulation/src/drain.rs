//! The end of a life: all that waits must come to its end.

use cloister_chain_primitives::ShardMode;
use rand::Rng;

use crate::{
    clients,
    life::Life,
    pooled::{Pooled, Root},
};

impl Life {
    /// Nothing breaks any more, and everybody does what they have to: all that waits must come to its end.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        self.draining = true;
        self.planned.clear();
        self.lies_cease()?;
        self.world.registry.interval_ms = 24 * 60 * 60 * 1_000;
        let helped = self.random.gen_bool(0.5);
        if self.plans.maintains {
            self.pool.push(Pooled::Root(Root::Maintenance { on: false, delay: 0 }));
        }
        if self.plans.retires.is_some() && !self.retires() {
            self.pool.push(Pooled::Root(Root::Retires));
        }
        for round in 0..MAX_ROUNDS {
            while self.to_give_back.is_some() {
                self.give_back()?;
                self.absorb()?;
            }
            self.settle()?;
            if self.is_settled() {
                return self.last_check();
            }
            // Extrinsics that were dropped are signed again when they can no longer land.
            if round > 4 {
                for _ in 0..self.random.gen_range(5..12) {
                    self.world.build_unread();
                }
            }
            if helped {
                self.help()?;
            }
            self.grow()?;
            self.finality();
            while !self.world.questions.is_empty() {
                self.answer();
                self.settle()?;
            }
            for _ in 0..3 {
                self.tick();
                self.settle()?;
                while let clients::Sent::Call { kind, call, result } =
                    self.clients.send_again(&mut self.world, &self.model)
                {
                    let refused = result.is_err();
                    self.sent(clients::Sent::Call { kind, call, result })?;
                    if refused {
                        break;
                    }
                }
            }
        }
        let figures = self.world.engine.figures();
        let (height, entries, reported) = (self.model.height(), self.model.entries.len(), self.model.reported);
        let (indirect, serving) = (self.model.indirect().len(), self.world.serving);
        let (ledger, pool) = (self.model.ledger(), self.pool.len());
        Err(format!(
            "does not settle: serving {serving}, height {height}, {entries} entries, {reported} of {indirect} calls reported, {figures:?}, {ledger:?}, {pool} pooled"
        ))
    }

    fn settle(&mut self) -> Result<(), String> {
        self.absorb()?;
        while !self.world.unkept.is_empty() || !self.kept.is_empty() || !self.world.unopened.is_empty() {
            self.write()?;
            self.acknowledge()?;
            self.open();
            self.absorb()?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let figures = self.world.engine.figures();
        self.world.serving
            && self.compared
            && figures.paused.is_none()
            && figures.block == self.model.height()
            && figures.anchored == figures.block
            && figures.inbox_consumed == self.model.entries.len() as u64
            && (self.moved || self.model.reported == self.model.indirect().len())
            && self.model.ledger().outbox().is_empty()
            && match self.plans.retires {
                Some(_) => figures.mode == ShardMode::Retired && self.model.ledger().owned() == 0,
                None => self.clients.is_idle(&self.model),
            }
    }
}

const MAX_ROUNDS: usize = 300;
