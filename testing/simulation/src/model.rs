//! What must be true of a shard, in the plainest way: accounts, the inbox, and what became of every call, block by block.

use std::collections::{BTreeMap, BTreeSet};

use cloister_chain_primitives::{
    AccountId, BlockNumber, H256, OutboxEntry, ShardMode, Verdict,
    outbox::{self, OutboxTree},
};
use cloister_state::{Purpose, Scope, StateDiff, StateSecret};
use cloister_stf::Owed;
use cloister_wire::{ShardId, TrustedCall, sidechain::SignedBlock};
use codec::DecodeAll;

use crate::ledger::Ledger;

/// A call that somebody signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    pub operation: H256,
    pub sender: AccountId,
    pub nonce: u32,
    /// No later block may hold it.
    pub last_block: Option<u64>,
    pub call: TrustedCall,
}

impl Call {
    /// Whether it comes too late for a block.
    pub fn is_expired(&self, block: u64) -> bool {
        self.last_block.is_some_and(|last_block| last_block < block)
    }
}

/// An entry of the inbox.
#[derive(Clone, Debug)]
pub struct Entry {
    pub holds: Holds,
    /// How often the enclave had ended when it came.
    pub endings: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holds {
    Shield {
        beneficiary: Option<AccountId>,
        amount: u128,
        sender: AccountId,
    },
    /// `None` if it is no indirect call that its sender signed.
    Invoke(Option<Call>),
}

/// A kept block.
#[derive(Clone, Debug)]
pub struct Block {
    pub hash: H256,
    /// What became of its calls.
    pub outcomes: Vec<(H256, Result<(), String>)>,
    /// How many of them, at the front, came through the inbox.
    pub indirect: usize,
    pub commitment: H256,
    pub outbox_root: H256,
    pub ledger: Ledger,
}

/// The shard, as far as its blocks are kept.
#[derive(Clone, Default)]
pub struct Model {
    pub genesis: H256,
    pub blocks: Vec<Block>,
    pub entries: Vec<Entry>,
    /// Direct calls that were sent.
    pub sent: BTreeMap<H256, Call>,
    /// Calls that stand in a block, and in which.
    pub executed: BTreeMap<H256, u64>,
    /// Calls whose clients heard that they stand in a block.
    pub told: BTreeSet<H256>,
    /// Calls whose clients heard that they are final.
    pub finalized: BTreeSet<H256>,
    /// How many indirect calls layer one has heard of.
    pub reported: usize,
    /// Every entry of the outbox, and the block that opened it.
    pub owed: BTreeMap<u64, (u64, OutboxEntry)>,
    /// Those that are closed, in which block, and how.
    pub closed: BTreeMap<u64, (u64, Verdict)>,
    /// Indirect calls that were consumed after their last block.
    pub expired: u64,
}

/// What a block rests on and did, besides what it says in clear.
pub struct Around<'a> {
    /// What the shard does at the layer-one block that it rests on.
    pub mode: ShardMode,
    /// What layer one has settled, and in which of its blocks.
    pub verdicts: &'a BTreeMap<u64, (BlockNumber, OutboxEntry, Verdict)>,
    /// Entries of the outbox that it closed, by its diff.
    pub closed: Vec<u64>,
    /// Those that it opened for accounts that leave, by its diff.
    pub exits: Vec<Owed>,
    /// How often the enclave has ended.
    pub endings: u32,
}

impl Model {
    pub fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The shard now.
    pub fn ledger(&self) -> Ledger {
        self.blocks.last().map(|block| block.ledger.clone()).unwrap_or_default()
    }

    pub fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Executed indirect calls, in order.
    pub fn indirect(&self) -> Vec<H256> {
        let of = |block: &Block| block.outcomes[..block.indirect].iter().map(|(of, _)| *of).collect::<Vec<_>>();
        self.blocks.iter().flat_map(of).collect()
    }

    /// The next block, of which `opened` is what only enclaves read.
    pub fn apply(&mut self, block: &SignedBlock, opened: &Opened, around: &Around<'_>) -> Result<(), String> {
        let (header, data) = (&block.header, &block.block_data);
        let number = header.block_number;
        let at = |what: String| format!("block {number}: {what}");
        let parent = self.blocks.last().map(|parent| parent.hash).unwrap_or_default();
        ensure(number == self.height() + 1 && header.parent_hash == parent, || at("does not follow".into()))?;
        let mut ledger = self.ledger();
        ensure(data.inbox_from == ledger.consumed(), || {
            at(format!("consumes from {}, not {}", data.inbox_from, ledger.consumed()))
        })?;
        let first = ledger.books.outbox_next;
        for number in &around.closed {
            let verdict = self.close(*number, data.layer_one_number, around, &mut ledger).map_err(at)?;
            self.closed.insert(*number, (header.block_number, verdict));
        }
        let entries = self.entries.get(data.inbox_from as usize..data.inbox_to as usize);
        let entries = entries.ok_or_else(|| at("consumes what is not there".into()))?;
        let mut expected = Vec::new();
        for entry in entries {
            match &entry.holds {
                Holds::Shield { beneficiary, amount, sender } => {
                    ledger.shield(around.mode, beneficiary.as_ref(), *amount, sender);
                }
                Holds::Invoke(call) => {
                    ledger.consume_invoke();
                    let Some(call) = call else { continue };
                    if call.is_expired(number) {
                        self.expired += 1;
                        continue;
                    }
                    let set_aside = opened.outcomes.iter().any(|(_, operation, result, _)| {
                        *operation == call.operation && matches!(result, Err(reason) if reason.starts_with("set aside"))
                    });
                    ensure(!set_aside || around.endings >= entry.endings + 3, || {
                        at("sets aside without a reason".into())
                    })?;
                    let tried = ledger.call(around.mode, call, false, set_aside);
                    expected.extend(tried.map(|tried| (call.operation, tried)));
                }
            }
        }
        let indirect = expected.len();
        for operation in data.signed_top_hashes.iter().skip(indirect) {
            let call = self.sent.get(operation).ok_or_else(|| at(format!("{operation} was never sent")))?;
            ensure(!call.is_expired(number), || at(format!("{operation} is executed after its last block")))?;
            let tried = ledger.call(around.mode, call, true, false);
            let tried = tried.ok_or_else(|| at(format!("{operation} may not be executed")))?;
            expected.push((*operation, tried));
        }
        ensure(around.exits.is_empty() || around.mode == ShardMode::Retired, || at("accounts leave".into()))?;
        ensure(around.exits.len() <= MAX_EXITS, || at(format!("{} accounts leave", around.exits.len())))?;
        around.exits.iter().try_for_each(|owed| ledger.exit(owed)).map_err(at)?;
        ledger.check().map_err(at)?;
        let names: Vec<H256> = expected.iter().map(|(operation, _)| *operation).collect();
        ensure(data.signed_top_hashes == names, || at("executes other calls than those of its entries".into()))?;
        let shard = &header.shard_id;
        let id = |entry: u64| outbox::outbox_id(&self.genesis, shard, number, entry);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(operation, tried)| (operation, tried.is_ok(), tried.ok().flatten().map(|entry| (entry, id(entry)))))
            .collect();
        let got = opened.outcomes.iter().map(|(_, operation, result, owed)| (*operation, result.is_ok(), *owed));
        ensure(got.eq(expected.iter().copied()), || {
            at(format!("calls end with {:?} instead of {expected:?}", opened.outcomes))
        })?;
        for operation in names {
            if let Some(before) = self.executed.insert(operation, number) {
                return Err(at(format!("{operation} was executed in block {before} already")));
            }
        }
        ensure(data.books == ledger.books, || {
            at(format!("states the books {:?} instead of {:?}", data.books, ledger.books))
        })?;
        for (entry, owed) in ledger.outbox_mut().range_mut(first..) {
            owed.block = number;
            self.owed.insert(*entry, (number, owed.entry(*entry, &self.genesis, shard)));
        }
        let open: Vec<OutboxEntry> = ledger.outbox().keys().map(|entry| self.owed[entry].1.clone()).collect();
        let outbox_root = OutboxTree::new(&self.genesis, shard, open).root();
        ensure(data.outbox_root == outbox_root, || at("has another outbox under its root".into()))?;
        let outcomes = opened.outcomes.iter().map(|(_, of, result, _)| (*of, result.clone())).collect();
        let (hash, commitment) = (header.hash(), data.commitment_after);
        self.blocks.push(Block { hash, outcomes, indirect, commitment, outbox_root, ledger });
        Ok(())
    }

    /// An entry of the outbox is closed, which only what layer one finally said allows.
    fn close(
        &self,
        number: u64,
        layer_one: BlockNumber,
        around: &Around<'_>,
        ledger: &mut Ledger,
    ) -> Result<Verdict, String> {
        let settled = around.verdicts.get(&number).filter(|(at, ..)| *at <= layer_one);
        let (_, entry, verdict) = settled.ok_or_else(|| format!("closes entry {number}, which is not settled"))?;
        ensure(self.owed.get(&number).is_some_and(|(_, owed)| owed == entry), || {
            format!("layer one settled another entry {number}")
        })?;
        ledger.close(number, *verdict)?;
        Ok(*verdict)
    }

    /// What became of a call that stands in a block.
    pub fn outcome(&self, operation: &H256) -> Option<(u64, &Result<(), String>)> {
        let number = *self.executed.get(operation)?;
        let (_, result) = self.block(number)?.outcomes.iter().find(|(of, _)| of == operation)?;
        Some((number, result))
    }

    /// The host gave back what it kept when the shard had this height.
    pub fn rewind(&mut self, height: u64) {
        self.blocks.truncate(height as usize);
        let executed = &mut self.executed;
        executed.retain(|_, number| *number <= height);
        self.told.retain(|operation| executed.contains_key(operation));
        self.owed.retain(|_, (number, _)| *number <= height);
        self.closed.retain(|_, (number, _)| *number <= height);
        self.reported = self.reported.min(self.indirect().len());
    }
}

/// Sender, operation, what became of it, and number and id of what it opened in the outbox.
type Outcome = (AccountId, H256, Result<(), String>, Option<(u64, H256)>);

/// What only enclaves read of a block.
pub struct Opened {
    pub diff: StateDiff,
    pub outcomes: Vec<Outcome>,
}

impl Opened {
    pub fn new(block: &SignedBlock, secret: &StateSecret, genesis: &H256, shard: &ShardId) -> Result<Self, String> {
        let scope = Scope { secret, genesis, shard };
        let purpose = Purpose::Block { number: block.header.block_number };
        let plain = scope.open(purpose, &block.block_data.encrypted_state_diff).map_err(|error| error.to_string())?;
        type Body = (u8, H256, StateDiff, Vec<Outcome>, Vec<H256>);
        let (_, _, diff, outcomes, _) = Body::decode_all(&mut plain.as_slice()).map_err(|error| error.to_string())?;
        Ok(Self { diff, outcomes })
    }
}

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Most accounts that leave in a block.
const MAX_EXITS: usize = 256;
