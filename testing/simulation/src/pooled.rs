//! What a simulated layer one does: takes, drops and delays extrinsics, makes blocks, finalizes them, answers.

use cloister_chain_primitives::{BlockNumber, H256, Registration};
use rand::Rng;
use sp_runtime::{generic::Era, traits::Keccak256};

use crate::{
    layer_one::{self, Effect, Signed},
    life::Life,
    model::ensure,
};

/// An extrinsic that layer one's node holds.
pub struct Pooled {
    extrinsic: Vec<u8>,
    signed: Signed,
    /// The last block that may take it.
    until: BlockNumber,
    registration: Option<Registration>,
}

enum Fate {
    Gone,
    Waits,
}

impl Life {
    /// The node takes what the host submits.
    pub(crate) fn pool(&mut self) {
        let read = self.world.engine.figures().layer_one_read;
        let submitted = std::mem::take(&mut self.world.submitted).into_iter().map(|extrinsic| (extrinsic, None));
        let registrations = std::mem::take(&mut self.world.registrations).into_iter().map(Some);
        let registering = std::mem::take(&mut self.world.registering).into_iter().zip(registrations);
        for (extrinsic, registration) in submitted.chain(registering).collect::<Vec<_>>() {
            let signed = Signed::read(&mut &extrinsic[..]);
            let until = match signed.era {
                Era::Mortal(..) => signed.era.death(read.into()) as u32 - 1,
                Era::Immortal => u32::MAX,
            };
            let known = self.pool.iter().any(|pooled| pooled.extrinsic == extrinsic);
            if !known {
                self.pool.push(Pooled { extrinsic, signed, until, registration });
            }
        }
    }

    /// Layer one makes a block or some.
    pub(crate) fn grow(&mut self) -> Result<(), String> {
        if self.is_stalled() {
            return Ok(());
        }
        for _ in 0..self.random.gen_range(0..3) {
            self.world.build_unread();
        }
        self.include()?;
        let number = self.world.build();
        self.readable.push(number);
        Ok(())
    }

    fn include(&mut self) -> Result<(), String> {
        let at = self.world.chain.headers.len() as u32;
        for pooled in std::mem::take(&mut self.pool) {
            let fate = match self.random.gen_range(0..100) {
                0..8 if !self.draining => {
                    self.count("extrinsic dropped");
                    Fate::Gone
                }
                8..30 if !self.draining => {
                    self.count("extrinsic delayed");
                    Fate::Waits
                }
                _ if at > pooled.until => Fate::Gone,
                _ => self.try_include(at, &pooled)?,
            };
            if let Fate::Waits = fate {
                self.pool.push(pooled);
            }
        }
        Ok(())
    }

    fn try_include(&mut self, at: BlockNumber, pooled: &Pooled) -> Result<Fate, String> {
        let storage = &mut self.world.storage;
        let account = &pooled.signed.account;
        let next = layer_one::next_nonce(storage, account);
        if pooled.signed.nonce != next {
            return Ok(if pooled.signed.nonce < next { Fate::Gone } else { Fate::Waits });
        }
        if let Some(registration) = &pooled.registration {
            // The host tries before it submits.
            let now = self.world.now + 1_000;
            if self.world.registry.register(storage, account, registration, now).is_err() {
                return Ok(Fate::Waits);
            }
            layer_one::use_nonce(storage, account);
            self.count("registered");
            return Ok(Fate::Gone);
        }
        let genesis = self.world.chain.header(0).hash();
        let effects = layer_one::execute(storage, &genesis, at, &pooled.extrinsic).unwrap_or_default();
        effects.into_iter().try_for_each(|effect| self.landed(at, effect))?;
        Ok(Fate::Gone)
    }

    fn landed(&mut self, at: BlockNumber, effect: Effect) -> Result<(), String> {
        self.say(|| format!("layer one: {effect:?}"));
        match effect {
            Effect::Born(_) => {}
            Effect::Anchored(anchor) => {
                self.count("anchored");
                let model = self.saved.as_ref().map_or(&self.model, |saved| &saved.1);
                let block = model.block(anchor.number);
                let is_kept = block.is_some_and(|block| {
                    block.hash == anchor.header_hash && block.ledger.consumed() == anchor.inbox_consumed
                });
                ensure(is_kept, || format!("block {} is anchored and not kept", anchor.number))?;
                self.anchors.push((at, anchor.number));
            }
            // It may have landed unseen, and been sent again.
            Effect::Refused(anchor) if self.anchors.last().is_some_and(|(_, number)| *number == anchor.number) => {
                self.count("anchor repeated");
            }
            Effect::Refused(anchor) => return Err(format!("layer one refuses to anchor block {}", anchor.number)),
            Effect::Unacknowledged(anchor) => {
                return Err(format!("block {} is acknowledged by an earlier incarnation", anchor.number));
            }
            Effect::Processed(_, root) => self.reported(root)?,
        }
        Ok(())
    }

    /// That a root is over calls which follow on those that were reported, or are reported again.
    fn reported(&mut self, root: H256) -> Result<(), String> {
        let model = self.saved.as_mut().map_or(&mut self.model, |saved| &mut saved.1);
        let calls = model.indirect();
        let of = |from: usize, to: usize| match from == to {
            true => H256::zero(),
            false => binary_merkle_tree::merkle_root::<Keccak256, _>(calls[from..to].iter().copied()),
        };
        let found = (0..=model.reported.min(calls.len()))
            .rev()
            .flat_map(|from| (from..=calls.len()).rev().map(move |to| (from, to)))
            .find(|(from, to)| of(*from, *to) == root);
        let Some((_, to)) = found else { return Err(format!("root {root} is not over calls that are due")) };
        model.reported = model.reported.max(to);
        let reported = model.reported;
        // An old copy has the first of these calls, too.
        self.model.reported = reported.min(self.model.indirect().len());
        if !root.is_zero() {
            self.count("indirect calls reported");
        }
        Ok(())
    }

    /// The host passes on finality.
    pub(crate) fn finality(&mut self) {
        let head = self.world.engine.figures().layer_one;
        let newer: Vec<u32> = self.readable.iter().copied().filter(|number| *number > head).collect();
        let Some(newest) = newer.len().checked_sub(1) else { return };
        let at = if self.draining || self.random.gen_bool(0.7) { newest } else { self.random.gen_range(0..=newest) };
        if at > 3 {
            self.count("finality in a burst");
        }
        self.world.tell_finality_of(newer[at]);
    }

    /// The host answers a question, or does not.
    pub(crate) fn answer(&mut self) {
        if self.world.questions.is_empty() {
            return;
        }
        if self.draining {
            self.world.answer_one();
            return;
        }
        let at = self.random.gen_range(0..self.world.questions.len());
        if at > 0 {
            self.count("answered out of order");
            self.world.questions.swap(0, at);
        }
        match self.random.gen_range(0..20) {
            0 => {
                self.count("proof withheld");
                self.world.fail_proofs();
            }
            1 => {
                self.count("proof wrong");
                let (question, ..) = self.world.questions.remove(0);
                self.world.engine.proof(question, Some(vec![vec![1, 2, 3]]));
                self.world.take_actions();
            }
            2 => {
                self.count("proof lost");
                self.world.questions.remove(0);
            }
            _ => {
                self.world.answer_one();
            }
        }
    }
}
