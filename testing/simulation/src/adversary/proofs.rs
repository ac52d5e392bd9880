//! Answers that are none: proofs of other states and keys, cut, stuffed, repeated and for questions that nobody asked.

use cloister_chain_primitives::storage;
use codec::Encode;
use rand::{Rng, seq::SliceRandom};

use super::foreign;
use crate::{life::Life, model::ensure, state};

impl Life {
    pub(crate) fn lie_in_a_proof(&mut self) -> Result<(), String> {
        let questions = &self.world.questions;
        let newest = (0..questions.len()).max_by_key(|at| questions[*at].0);
        let Some(at) = newest.filter(|_| self.random.gen_bool(0.8)) else { return self.answer_unasked() };
        let (question, block, keys) = self.world.questions.remove(at);
        let truth = self.world.states[&block].prove(&keys);
        let shard = self.shard();
        let mut proof = truth.clone();
        let byte = self.random.gen_range(0..usize::MAX);
        // Whether an enclave could learn from it what is true.
        let (what, may_be_true) = match self.random.gen_range(0..10) {
            0 => {
                let mut forged = self.world.storage.clone();
                match self.random.gen_range(0..4) {
                    0 => drop(forged.insert(storage::inbox_length(&shard), 1_000u64.encode())),
                    1 => drop(forged.remove(&storage::anchor(&shard))),
                    2 => drop(forged.remove(&storage::enclave(&self.world.account()))),
                    _ => drop(forged.insert(storage::timestamp(), u64::MAX.encode())),
                }
                if forged == self.world.storage {
                    forged.insert(storage::timestamp(), 0u64.encode());
                }
                proof = state(&forged).prove(&keys);
                ("lie: proof of a state that never was", false)
            }
            1 => {
                let states = &self.world.states;
                let others: Vec<_> = states.iter().filter(|(of, _)| **of != block).collect();
                let Some((_, other)) = others.choose(&mut self.random) else { return Ok(()) };
                proof = other.prove(&keys);
                ("lie: proof of another state", false)
            }
            2 => {
                proof = foreign().proof.clone();
                ("lie: proof from elsewhere", false)
            }
            3 => {
                proof = Vec::new();
                ("lie: empty proof", false)
            }
            4 => {
                proof = vec![Vec::new(); 20_000];
                ("lie: proof of too many nodes", false)
            }
            5 => {
                let known: Vec<_> = keys.iter().filter(|_| self.random.gen_bool(0.7)).cloned().collect();
                proof = self.world.states[&block].prove(&known);
                ("lie: proof of some keys", true)
            }
            6 => {
                proof.remove(byte % truth.len());
                ("lie: proof with a node left out", true)
            }
            7 => {
                let node = &mut proof[byte % truth.len()];
                let at = byte % node.len();
                node[at] ^= 1 << self.random.gen_range(0..8);
                ("lie: proof with a node altered", true)
            }
            8 => {
                let node = &mut proof[byte % truth.len()];
                node.truncate(byte % node.len());
                ("lie: proof with a node cut", true)
            }
            _ => {
                proof.shuffle(&mut self.random);
                proof.extend(foreign().proof.iter().cloned());
                proof.extend(truth.iter().take(3).cloned());
                proof.push(vec![0xff; 100]);
                ("lie: proof shuffled and stuffed", true)
            }
        };
        self.world.take_actions();
        let (before, refused) = (self.seen(), self.world.refused.len());
        self.world.engine.proof(question, Some(proof));
        self.world.take_actions();
        let refusals = self.world.refused.len() - refused;
        ensure(may_be_true || self.seen() == before, || format!("lie believed, {what}"))?;
        // An overdue question has been replaced by another one, and what comes to it is ignored.
        if refusals > 0 || self.world.engine.figures().layer_one_read > before.0.layer_one_read {
            self.count(what);
        }
        if let Some(adversary) = &mut self.adversary {
            adversary.answered = Some((question, truth));
        }
        Ok(())
    }

    fn answer_unasked(&mut self) -> Result<(), String> {
        let newest = self.world.questions.iter().map(|(question, ..)| *question).max();
        let before = self.adversary.as_ref().and_then(|adversary| adversary.answered.clone());
        match (before, newest) {
            (Some((question, proof)), newest)
                if newest.is_none_or(|newest| newest > question) && self.random.gen_bool(0.5) =>
            {
                // The start before may have asked under this number, and this one may have not come so far yet.
                if newest.is_some() {
                    self.ignored("lie: answer again", |engine| engine.proof(question, Some(proof)))?;
                }
                Ok(())
            }
            _ => {
                let unasked = [0, u64::MAX, u64::MAX - 1][self.random.gen_range(0..3)];
                let proof = foreign().proof.clone();
                self.ignored("lie: answer never asked for", |engine| engine.proof(unasked, Some(proof)))
            }
        }
    }
}
