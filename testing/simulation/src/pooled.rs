//! What a simulated layer one does: takes, refuses, drops and delays extrinsics, makes blocks, finalizes them, answers.

use cloister_chain_primitives::{AccountId, BlockNumber, H256, InboxEntry, OutboxKind, Registration, Verdict};
use cloister_light_client::MAX_HEADERS;
use rand::{Rng, seq::SliceRandom};
use sp_runtime::{generic::Era, traits::Keccak256};

use crate::{
    bridge,
    layer_one::{self, Called, Effect, Signed},
    life::Life,
    model::{Entry, Holds, Model, ensure},
};

/// An extrinsic that layer one's node holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pooled {
    /// Of the enclave's account.
    Enclave {
        extrinsic: Vec<u8>,
        signed: Signed,
        /// The last block that may take it.
        until: BlockNumber,
        registration: Option<Registration>,
    },
    /// A client's, for the inbox.
    Deposit(Deposit),
    /// Somebody else's call.
    Stranger(Vec<u8>),
    Root(Root),
}

/// What a client sends into the inbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deposit {
    pub entry: InboxEntry,
    pub holds: Holds,
}

/// What root does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// Takes all that lies in the escrow account.
    Empties,
    Maintenance {
        on: bool,
        delay: BlockNumber,
    },
    Retires,
}

enum Fate {
    Included,
    Gone,
    Waits,
}

/// A stranger's account, which exists.
pub const STRANGER: AccountId = AccountId::new([0x77; 32]);

impl Life {
    /// The node takes what the host submits.
    pub(crate) fn pool(&mut self) -> Result<(), String> {
        let read = self.world.engine.figures().layer_one_read;
        let submitted = std::mem::take(&mut self.world.submitted).into_iter().map(|extrinsic| (extrinsic, None));
        let registrations = std::mem::take(&mut self.world.registrations).into_iter().map(Some);
        let registering = std::mem::take(&mut self.world.registering).into_iter().zip(registrations);
        for (extrinsic, registration) in submitted.chain(registering).collect::<Vec<_>>() {
            match &registration {
                None => self.may_be_submitted(&extrinsic)?,
                Some(registration) => {
                    self.incarnation = Some(registration.incarnation_key);
                    self.incarnations.insert(registration.incarnation_key);
                }
            }
            if self.is_spoilt(&extrinsic) {
                continue;
            }
            let signed = Signed::read(&mut &extrinsic[..]);
            let until = match signed.era {
                Era::Mortal(..) => signed.era.death(read.into()) as u32 - 1,
                Era::Immortal => u32::MAX,
            };
            let pooled = Pooled::Enclave { extrinsic, signed, until, registration };
            if !self.draining && self.random.gen_ratio(1, 25) {
                self.count("extrinsic refused");
                continue;
            }
            if !self.pool.contains(&pooled) {
                self.known.push(pooled.clone());
                self.pool.push(pooled);
            }
        }
        Ok(())
    }

    /// That all entries of the outbox in it stand in blocks whose anchor the enclave has seen final.
    fn may_be_submitted(&mut self, extrinsic: &[u8]) -> Result<(), String> {
        let read = self.world.engine.figures().layer_one_read;
        for called in layer_one::calls(extrinsic) {
            let Called::Unshield { entry, .. } = called else { continue };
            let number = entry.number;
            let owed = self.model.owed.get(&number).filter(|(_, owed)| *owed == entry);
            let Some((block, _)) = owed else { return Err(format!("submits {entry:?}, which it does not owe")) };
            let anchored = self.anchors.iter().any(|(at, anchored)| block <= anchored && *at <= read);
            ensure(anchored, || format!("submits entry {number} before its block {block} is finally anchored"))?;
            let first = self.submitted.insert(number);
            self.count(if first { "entry submitted" } else { "entry submitted again" });
        }
        Ok(())
    }

    /// Layer one makes a block or some.
    pub(crate) fn grow(&mut self) -> Result<(), String> {
        if self.is_stalled() {
            return Ok(());
        }
        // What is announced comes sooner than everything else.
        let announced = self.retires() && self.random.gen_ratio(1, 3);
        for _ in 0..self.random.gen_range(0..if announced { 40 } else { 3 }) {
            self.world.build_unread();
        }
        self.include()?;
        let number = self.world.build();
        self.readable.push(number);
        self.modes.insert(number, bridge::mode(&self.world.storage, &self.shard(), number));
        self.times.insert(number, self.world.now);
        self.checkpoint(number);
        Ok(())
    }

    fn include(&mut self) -> Result<(), String> {
        let at = self.world.next_block();
        let mut pool = std::mem::take(&mut self.pool);
        if pool.len() > 1 && self.random.gen_bool(0.3) {
            pool.shuffle(&mut self.random);
            self.count("extrinsics reordered");
        }
        for pooled in pool {
            let fate = match self.random.gen_range(0..100) {
                _ if self.is_censored(&pooled) => Fate::Gone,
                0..8 if !self.draining => {
                    self.count("extrinsic dropped");
                    Fate::Gone
                }
                8..30 if !self.draining => {
                    self.count("extrinsic delayed");
                    Fate::Waits
                }
                _ => self.try_include(at, &pooled)?,
            };
            match fate {
                Fate::Included => self.included.push((at, pooled)),
                Fate::Gone => {}
                Fate::Waits => self.pool.push(pooled),
            }
        }
        Ok(())
    }

    fn try_include(&mut self, at: BlockNumber, pooled: &Pooled) -> Result<Fate, String> {
        let shard = self.shard();
        match pooled {
            Pooled::Enclave { until, .. } if at > *until => return Ok(Fate::Gone),
            Pooled::Enclave { extrinsic, signed, registration, .. } => {
                let account = &signed.account;
                let next = layer_one::next_nonce(&self.world.storage, account);
                if signed.nonce != next {
                    return Ok(if signed.nonce < next { Fate::Gone } else { Fate::Waits });
                }
                let Some(registration) = registration else {
                    let effects = self.world.layer_one().execute(extrinsic).unwrap_or_default();
                    effects.into_iter().try_for_each(|effect| self.landed(at, effect, false))?;
                    return Ok(Fate::Included);
                };
                // The host tries before it submits.
                let now = self.world.now + 1_000;
                if self.world.registry.register(&mut self.world.storage, account, registration, now).is_err() {
                    return Ok(Fate::Waits);
                }
                layer_one::use_nonce(&mut self.world.storage, account);
                self.registered.push((at, registration.incarnation_key));
                self.count("registered");
            }
            Pooled::Deposit(deposit) => return Ok(self.deposit(at, deposit)),
            Pooled::Stranger(call) => {
                let effects = self.world.layer_one().dispatch(&STRANGER, call);
                effects.into_iter().try_for_each(|effect| self.landed(at, effect, true))?;
            }
            Pooled::Root(root) => {
                self.say(|| format!("root: {root:?}"));
                let storage = &mut self.world.storage;
                match *root {
                    Root::Empties => {
                        self.world.bridge.empty();
                        self.count("escrow emptied");
                    }
                    Root::Maintenance { on, delay } => {
                        bridge::maintain(storage, &shard, at, on, delay);
                        self.count(if on { "maintenance" } else { "end of maintenance" });
                    }
                    Root::Retires if bridge::shard_entry(storage, &shard).is_none() => return Ok(Fate::Waits),
                    Root::Retires => {
                        bridge::retire(storage, &shard, at);
                        self.count("retirement");
                    }
                }
            }
        }
        Ok(Fate::Included)
    }

    fn deposit(&mut self, at: BlockNumber, deposit: &Deposit) -> Fate {
        let Deposit { entry, holds } = deposit;
        let (storage, shard) = (&self.world.storage, self.shard());
        let taken = match entry {
            InboxEntry::Shield { amount, .. } => self.world.bridge.may_shield(storage, &shard, at, *amount).is_ok(),
            InboxEntry::Invoke(_) => bridge::mode(storage, &shard, at) != cloister_chain_primitives::ShardMode::Retired,
        };
        if !taken {
            self.count(if matches!(entry, InboxEntry::Invoke(_)) { "invocation refused" } else { "shielding refused" });
            return Fate::Gone;
        }
        self.world.append(entry.clone());
        self.model.entries.push(Entry { holds: holds.clone(), endings: self.endings });
        Fate::Included
    }

    fn landed(&mut self, at: BlockNumber, effect: Effect, strange: bool) -> Result<(), String> {
        self.say(|| format!("layer one: {effect:?}"));
        let model = self.registered_shard();
        match effect {
            Effect::Born(_) | Effect::NotTheFounder => {}
            Effect::Anchored(anchor) => {
                let block = model.block(anchor.number);
                let is_kept = block.is_some_and(|block| {
                    let books = block.ledger.books;
                    (block.hash, block.ledger.consumed(), block.outbox_root, books.outbox_closed, books.fees)
                        == (
                            anchor.header_hash,
                            anchor.inbox_consumed,
                            anchor.outbox_root,
                            anchor.outbox_closed,
                            anchor.fees,
                        )
                });
                ensure(is_kept, || format!("block {} is anchored and not kept", anchor.number))?;
                self.anchors.push((at, anchor.number));
                self.anchored.push((at, anchor));
                self.moved |= strange;
                self.count(if strange { "anchored by a stranger" } else { "anchored" });
            }
            // It may have landed unseen, and been sent again.
            Effect::Refused(anchor) if self.anchors.last().is_some_and(|(_, number)| *number == anchor.number) => {
                self.count("anchor repeated");
            }
            // Another anchor of the same incarnation came first, by a stranger's hand.
            Effect::Refused(_) if strange || self.moved => {
                self.count("anchor overtaken");
            }
            Effect::Refused(anchor) => return Err(format!("layer one refuses to anchor block {}", anchor.number)),
            Effect::Unacknowledged(_) if strange => self.count("anchor of an earlier incarnation"),
            // It was still on its way when another start of the same identity was registered.
            Effect::Unacknowledged(_) if self.had_twins() => self.count("anchor of a superseded start"),
            Effect::Unacknowledged(anchor) => {
                return Err(format!("block {} is acknowledged by an earlier incarnation", anchor.number));
            }
            Effect::Processed(_, root) => self.reported(root)?,
            Effect::Settled { entry, verdict, again } => {
                let number = entry.number;
                ensure(!again, || format!("entry {number} is settled twice"))?;
                let owes = |model: &Model| model.owed.get(&number).is_some_and(|(_, owed)| *owed == entry);
                ensure(owes(model) || self.histories().any(owes), || format!("{entry:?} is settled and not owed"))?;
                if strange {
                    self.count("settled by a stranger");
                }
                self.count(match (entry.kind, verdict) {
                    (OutboxKind::Unshield, Verdict::Paid) => "unshielding paid",
                    (OutboxKind::Unshield, Verdict::Refused) => "unshielding refused",
                    (OutboxKind::Return, _) => "shielding returned",
                    (OutboxKind::Exit, _) => "account left",
                });
                if self.world.bridge.unclaimed.contains_key(&entry.beneficiary) {
                    self.count("unclaimed");
                }
            }
            Effect::Deferred(_) => self.count("entry deferred"),
            Effect::AlreadySettled(_) => self.count("entry settled before"),
            Effect::NotInOutbox(_) => self.count("entry not in the outbox"),
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
        // Calls under a stranger's anchor may never be reported by the start that follows.
        let last = if self.moved { calls.len() } else { model.reported.min(calls.len()) };
        let found = (0..=last)
            .rev()
            .flat_map(|from| (from..=calls.len()).rev().map(move |to| (from, to)))
            .find(|(from, to)| of(*from, *to) == root);
        let to = match found {
            Some((_, to)) => to,
            // A retired start may report what only it executed: nobody acts on that.
            None if self.had_twins() => {
                self.count("reported by a superseded start");
                return Ok(());
            }
            None => return Err(format!("root {root} is not over calls that are due")),
        };
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
        let most = head + MAX_HEADERS as u32;
        let newer: Vec<u32> =
            self.readable.iter().copied().filter(|number| *number > head && *number <= most).collect();
        let Some(newest) = newer.len().checked_sub(1) else { return };
        let at = if self.draining || self.random.gen_bool(0.7) { newest } else { self.random.gen_range(0..=newest) };
        if at > 3 {
            self.count("finality in a burst");
        }
        self.finalized = self.finalized.max(newer[at]);
        self.forget_checkpoints();
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
