//! A host that lies about its clock, about layer one's runtime, and about what it has stored.

use cloister_claims::Evidence;
use cloister_sidechain::{Action, MAX_CLOCK_AHEAD_MS, RecoveryError, Stop};
use rand::{Rng, seq::SliceRandom};

use super::foreign;
use crate::{life::Life, model::ensure};

impl Life {
    /// The clock jumps, and back with the next tick.
    pub(crate) fn lie_about_the_clock(&mut self) -> Result<(), String> {
        let now = self.world.now;
        let layer_one = self.world.engine.figures().layer_one_time;
        let (what, hint) = match self.random.gen_range(0..5) {
            0 => ("lie: clock at nought", 0),
            1 => ("lie: clock at its end", u64::MAX),
            2 => ("lie: clock a year back", now - YEAR_MS),
            3 => ("lie: clock a year ahead", now + YEAR_MS),
            _ => ("lie: clock as far ahead as may be", layer_one + MAX_CLOCK_AHEAD_MS),
        };
        self.world.engine.tick(hint);
        self.world.take_actions();
        self.count(what);
        Ok(())
    }

    /// The host says that it has stored what it was never asked to, or said so before.
    pub(crate) fn lie_about_what_is_stored(&mut self) -> Result<(), String> {
        let asked = self.world.unkept.back().map(|(sequence, _)| *sequence).or(self.kept.back().copied());
        let oldest = self.kept.front().copied().or(self.world.unkept.front().map(|(sequence, _)| *sequence));
        let acknowledged = oldest.map_or(0, |oldest| oldest - 1);
        match (self.random.gen_range(0..3), asked) {
            (0, Some(asked)) => {
                let ahead = asked + self.random.gen_range(1..9);
                self.ignored("lie: stored what comes later", |engine| engine.stored(ahead))
            }
            (1, _) if acknowledged > 0 => {
                let again = self.random.gen_range(1..=acknowledged);
                self.ignored("lie: stored again", |engine| engine.stored(again))
            }
            _ => {
                let never = [0, u64::MAX][self.random.gen_range(0..2)];
                self.ignored("lie: stored what nobody asked for", |engine| engine.stored(never))
            }
        }
    }

    /// What the host says of layer one's runtime only spoils extrinsics; evidence that it withholds only delays.
    pub(crate) fn lie_about_the_chain(&mut self) -> Result<(), String> {
        match self.random.gen_range(0..4) {
            0 => {
                let misled = self.adversary.as_ref().is_some_and(|adversary| adversary.misled);
                self.tell_version(misled);
                self.count("lie: version of the runtime");
            }
            1 => {
                self.world.attests = !self.world.attests;
                if let Some(adversary) = &mut self.adversary {
                    adversary.withheld = true;
                }
                self.count("lie: evidence withheld");
            }
            // One that was asked for may still wait where evidence is withheld.
            _ if self.adversary.as_ref().is_some_and(|adversary| !adversary.withheld) => {
                let evidence = Evidence::Dcap(vec![1, 2, 3]);
                self.ignored("lie: evidence never asked for", |engine| engine.evidence(evidence))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The host says which version layer one has.
    pub(crate) fn tell_version(&mut self, truly: bool) {
        let Some(adversary) = &mut self.adversary else { return };
        adversary.misled = !truly;
        let (spec_version, transaction_version) = if truly { (1, 1) } else { (7, 9) };
        self.world.engine.chain_version(spec_version, transaction_version);
    }

    /// More comes after all that was kept: the enclave ends, and the next start has all of it.
    pub(crate) fn pass_more_after_the_end(&mut self) -> Result<(), String> {
        if self.to_give_back.is_some() {
            return Ok(());
        }
        self.world.take_actions();
        match foreign().kept.choose(&mut self.random).filter(|_| self.random.gen_bool(0.7)) {
            Some(kept) => self.world.engine.kept(kept.clone()),
            None => self.world.engine.kept_all(),
        }
        let actions = self.world.engine.take_actions();
        let stopped = matches!(&actions[..], [Action::Stop(Stop::Kept(RecoveryError::AfterEnd))]);
        ensure(stopped && !self.world.engine.is_serving(), || format!("goes on after the end: {actions:?}"))?;
        self.count("lie: more after the end");
        self.end(None)
    }
}

const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
