//! What others than the enclave and its clients do on layer one: strangers who have entries paid, and root.

use std::collections::BTreeMap;

use cloister_chain_primitives::{AccountId, Balance, OutflowLimit, calls::Call};
use cloister_wire::{Getter, OutboxProof, PublicGetter};
use codec::{DecodeAll, Encode};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    Crash, Defect, UNIT,
    bridge::{self, Bridge},
    clients,
    layer_one::{self, Called},
    life::Life,
    model::ensure,
    pooled::{Pooled, Root, STRANGER},
};

/// What root is going to do in a life.
#[derive(Clone, Copy, Default)]
pub struct Plans {
    pub empties: bool,
    pub maintains: bool,
    /// Whether it ends the shard, and whether before all is over.
    pub retires: Option<bool>,
}

impl Plans {
    pub fn draw(random: &mut ChaCha8Rng, defect: Option<Defect>) -> Self {
        Self {
            empties: random.gen_ratio(1, 8) && defect.is_none(),
            maintains: random.gen_ratio(1, 4) && defect.is_none(),
            retires: (random.gen_ratio(1, 6) && defect.is_none()).then(|| random.gen_bool(0.5)),
        }
    }
}

/// Who has what on layer one, and how fast money may leave the shard.
pub fn begin(bridge: &mut Bridge, random: &mut ChaCha8Rng, defect: Option<Defect>) -> BTreeMap<AccountId, Balance> {
    bridge.defect = defect;
    let existing = clients::PUBLIC[..clients::EXISTING].iter().chain([&STRANGER]);
    bridge.accounts = existing.map(|account| (account.clone(), UNIT)).collect();
    bridge.closed.insert(clients::PUBLIC[clients::PUBLIC.len() - 1].clone());
    if random.gen_ratio(1, 4) {
        bridge.closed.insert(clients::accounts()[0].clone());
    }
    if random.gen_bool(0.5) || defect == Some(Defect::RefundsOnTimeout) {
        let most = if defect.is_some() { 2 } else { 12 };
        let amount = random.gen_range(UNIT..most * UNIT);
        bridge.limit = Some(OutflowLimit { amount, period: random.gen_range(4..20) });
    }
    bridge.accounts.clone()
}

impl Life {
    /// What the enclave tells everybody of its outbox, which must prove itself.
    fn proofs(&mut self) -> Result<Vec<OutboxProof>, String> {
        let answer = self.world.answer(&self.shard(), Getter::Public(PublicGetter::Outbox(0)));
        let Ok(Some(answer)) = answer else { return Ok(Vec::new()) };
        let proofs = Vec::<OutboxProof>::decode_all(&mut &answer[..]).map_err(|error| error.to_string())?;
        let read = self.world.engine.figures().layer_one_read;
        let anchored =
            self.anchors.iter().rfind(|(at, _)| *at <= read).and_then(|(_, number)| self.model.block(*number));
        let root = anchored.map(|block| block.outbox_root);
        for OutboxProof { entry, path } in &proofs {
            let owed = self.model.owed.get(&entry.number).is_some_and(|(_, owed)| owed == entry);
            let proven = root.is_some_and(|root| path.proves(&self.world.genesis(), &self.shard(), entry, &root));
            ensure(owed && proven, || format!("{entry:?} is told and not under the anchored root"))?;
        }
        if !proofs.is_empty() {
            self.count("outbox told");
        }
        Ok(proofs)
    }

    /// A stranger has entries paid, tries to have others paid, or repeats what the enclave submitted.
    pub(crate) fn stranger(&mut self) -> Result<(), String> {
        let proofs = self.proofs()?;
        if self.random.gen_ratio(1, 4)
            && let Some(Pooled::Enclave { extrinsic, registration: None, .. }) = self.known.choose(&mut self.random)
        {
            self.pool.push(Pooled::Stranger(layer_one::call_bytes(extrinsic)));
            return Ok(());
        }
        for OutboxProof { mut entry, path } in proofs {
            match self.random.gen_range(0..6) {
                0 => continue,
                1 => {
                    entry.amount += Balance::from(self.random.gen_range(1..u64::MAX));
                    self.count("forged amount");
                }
                2 => {
                    entry.beneficiary = STRANGER;
                    self.count("forged beneficiary");
                }
                _ => {}
            }
            let call = Call::unshield_funds(&self.shard(), &entry, &path).encode();
            for _ in 0..self.random.gen_range(1..3) {
                self.pool.push(Pooled::Stranger(call.clone()));
            }
        }
        Ok(())
    }

    /// Everything that can be paid is, by a stranger's hand.
    pub(crate) fn help(&mut self) -> Result<(), String> {
        for OutboxProof { entry, path } in self.proofs()? {
            let call = Call::unshield_funds(&self.shard(), &entry, &path).encode();
            self.pool.push(Pooled::Stranger(call));
        }
        Ok(())
    }

    /// Old bytes come to the node again.
    pub(crate) fn repeat(&mut self) {
        if let Some(pooled) = self.known.choose(&mut self.random).cloned() {
            self.pool.push(pooled);
            self.count("extrinsic submitted again");
        }
    }

    /// Root does something of what it is going to.
    pub(crate) fn root(&mut self) {
        let Plans { empties, maintains, retires } = self.plans;
        let delay = if self.random.gen_bool(0.5) { 0 } else { self.random.gen_range(1..6) };
        match self.random.gen_range(0..8) {
            0 if empties => self.pool.push(Pooled::Root(Root::Empties)),
            1 if maintains => self.pool.push(Pooled::Root(Root::Maintenance { on: true, delay })),
            2 | 3 if maintains => self.pool.push(Pooled::Root(Root::Maintenance { on: false, delay })),
            4 if retires == Some(true) => self.pool.push(Pooled::Root(Root::Retires)),
            _ => {}
        }
    }

    /// Whether the end of the shard is announced.
    pub(crate) fn retires(&self) -> bool {
        self.plans.retires.is_some()
            && bridge::shard_entry(&self.world.storage, &self.shard()).is_some_and(|entry| entry.retirement.is_some())
    }
    /// Whether some open entry of the outbox is so far that this crash is due.
    pub(crate) fn owes(&self, crash: Crash) -> bool {
        let anchored = self.anchors.last().map_or(0, |(_, number)| *number);
        let verdicts = &self.world.bridge.verdicts;
        let submits = |number: u64| {
            self.pool.iter().any(|pooled| {
                let Pooled::Enclave { extrinsic, registration: None, .. } = pooled else { return false };
                let calls = layer_one::calls(extrinsic);
                calls.iter().any(|called| matches!(called, Called::Unshield { entry, .. } if entry.number == number))
            })
        };
        self.world.serving
            && self.model.ledger().outbox().iter().any(|(number, owed)| {
                let settled = verdicts.contains_key(number);
                match crash {
                    Crash::EntryUnproven => settled,
                    Crash::EntrySubmitted => !settled && submits(*number),
                    _ => !settled && owed.block <= anchored && !submits(*number),
                }
            })
    }
}
