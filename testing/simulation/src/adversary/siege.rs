//! Layer one includes nothing of the enclave, until it makes no more blocks, and then does again.

use cloister_chain_primitives::ShardMode;
use cloister_sidechain::{CallRefused, MAX_UNANCHORED, Pause};

use crate::{clients::Sent, life::Life, model::ensure};

impl Life {
    pub(crate) fn besiege(&mut self) -> Result<(), String> {
        let starts = self.starts;
        self.censor(true);
        for round in 0..MAX_ROUNDS {
            let figures = self.world.engine.figures();
            let goes_on = self.world.engine.is_serving() && self.starts == starts && figures.mode == ShardMode::Open;
            if !goes_on {
                break;
            }
            if figures.paused == Some(Pause::Unanchored) {
                ensure(figures.block == figures.anchored + MAX_UNANCHORED, || {
                    format!("pauses at block {}, and {} is anchored", figures.block, figures.anchored)
                })?;
                self.is_shut()?;
                break;
            }
            let sent = self.clients.send(&mut self.world, &mut self.model, &mut self.random);
            self.sent(sent)?;
            self.tick();
            self.keep_all()?;
            if round % 4 == 0 {
                self.grow()?;
                self.finality();
                while !self.world.questions.is_empty() && self.starts == starts {
                    self.world.answer_one();
                    self.absorb()?;
                }
                self.keep_all()?;
            }
        }
        self.censor(false);
        Ok(())
    }

    /// It takes no calls and makes no blocks, and says why.
    fn is_shut(&mut self) -> Result<(), String> {
        let height = self.world.engine.figures().block;
        let sent = self.clients.send(&mut self.world, &mut self.model, &mut self.random);
        if let Sent::Call { result, .. } = &sent {
            let refused = matches!(result, Err(CallRefused::Paused(Pause::Unanchored)));
            ensure(refused, || format!("a call after the last block: {result:?}"))?;
        }
        self.sent(sent)?;
        for _ in 0..3 {
            self.tick();
            self.keep_all()?;
        }
        ensure(self.world.engine.figures().block <= height, || "goes on beyond the last block".into())?;
        self.count("shut for want of an anchor");
        Ok(())
    }

    fn keep_all(&mut self) -> Result<(), String> {
        self.absorb()?;
        while !self.world.unkept.is_empty() || !self.kept.is_empty() || !self.world.unopened.is_empty() {
            self.write()?;
            self.acknowledge()?;
            self.open();
            self.absorb()?;
        }
        Ok(())
    }

    fn censor(&mut self, censors: bool) {
        if let Some(adversary) = &mut self.adversary {
            adversary.censors = censors;
        }
    }
}

const MAX_ROUNDS: u32 = 1_500;
