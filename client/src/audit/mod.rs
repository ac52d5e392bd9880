//! An audit of a shard: what its blocks state, as the enclave signed it, against what layer one holds.
//!
//! Needs no key and trusts no worker: blocks come from a worker's host, and count only as far as they lead, by parent
//! hashes, to the block that layer one has anchored. What it shows is that books, anchor and escrow agree. That the
//! enclave counted right inside its blocks is the enclave's word, as trustworthy as its code and hardware.

mod blocks;
mod checks;
mod host;
#[cfg(test)]
mod tests;

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use cloister_chain_primitives::{BlockNumber, EXISTENTIAL_DEPOSIT, H256, ShardId};
use cloister_wire::sidechain::Books;
use jsonrpsee::core::ClientError;
use tokio::time::Instant;

use crate::{
    LayerOne,
    layer_one::{self, BridgeState, finalized::pause_before},
};

pub use blocks::{BlockCheck, BlockChecks, Walk};
pub use checks::{LayerOneFacts, check_books};
pub use host::Host;

/// What an audit found.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What layer one knew, in the finalized block at which the audit was made.
    pub bridge: BridgeState,
    /// Heights of the shard's blocks that were read; none for a shard without an anchor.
    pub blocks: Option<RangeInclusive<u64>>,
    /// The shard's books after the anchored block.
    pub books: Books,
    /// What was checked.
    pub checks: Vec<Check>,
}

/// How far an audit has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It goes back along the anchors for the oldest block that the host keeps, and has come to this height.
    Back {
        /// Height of the anchored block.
        height: u64,
    },
    /// It reads and checks the shard's blocks.
    Blocks {
        /// How many it has.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// It reads the entries of inbox and outbox that the books are compared with.
    Entries {
        /// How many it has.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

/// Something that must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it does.
    pub passed: bool,
    /// Figures, or what is wrong.
    pub detail: String,
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Layer one.
    #[error(transparent)]
    LayerOne(#[from] layer_one::Error),
    /// No connection to the worker's host.
    #[error("cannot reach a worker's host at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The host gave no blocks.
    #[error("the worker's host gives no blocks")]
    NoBlocks(#[source] ClientError),
    /// The host's answer is no list of blocks.
    #[error("the worker's host answers with something that is no block: {0}")]
    Malformed(String),
    /// No such shard at the finalized head.
    #[error("layer one knows no finalized shard 0x{}", hex::encode(.0))]
    UnknownShard(ShardId),
    /// The host no longer has blocks that lead to the anchored one, or does not have that yet.
    #[error(
        "the worker's host does not have the shard's block {number}, which layer one has anchored, and the one before"
    )]
    NotKept {
        /// Height of the anchored block.
        number: u64,
    },
    /// The audit was to begin after the anchored block.
    #[error("the audit is to begin at block {from}, and layer one has anchored block {anchored} as the newest")]
    BeginsTooLate {
        /// Where it was to begin.
        from: u64,
        /// Height of the anchored block.
        anchored: u64,
    },
}

impl Audit {
    /// Audits a shard at the finalized head with the blocks that a worker's host keeps, from height `from` on or from
    /// the oldest that is kept. While layer one has paid what the shard does not know yet, it tries again at later heads.
    pub async fn run(layer_one: &LayerOne, host: &Host, shard: &ShardId, from: u64) -> Result<Self, Error> {
        Self::run_reporting(layer_one, host, shard, from, |_| ()).await
    }

    /// As [`Self::run`], and tells `report` how far it has come; at another head it begins anew.
    pub async fn run_reporting(
        layer_one: &LayerOne,
        host: &Host,
        shard: &ShardId,
        from: u64,
        mut report: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + PAID_AHEAD_TIMEOUT;
        loop {
            let audit = Self::at_head(layer_one, host, shard, from, &mut report).await?;
            let is_ahead = audit.bridge.flows.paid > audit.books.paid;
            if !is_ahead || !pause_before(deadline).await {
                return Ok(audit);
            }
        }
    }

    async fn at_head(
        layer_one: &LayerOne,
        host: &Host,
        shard: &ShardId,
        from: u64,
        report: &mut impl FnMut(Progress),
    ) -> Result<Self, Error> {
        let (at, _) = layer_one.finalized_head().await?;
        let bridge = layer_one.bridge_at(shard, at).await?.ok_or(Error::UnknownShard(*shard))?;
        let mut checks = Vec::new();
        let (mut blocks, mut books) = (None, Books::default());
        if let Some(anchored) = &bridge.anchored {
            let anchor = anchored.anchor;
            if from > anchor.number {
                return Err(Error::BeginsTooLate { from, anchored: anchor.number });
            }
            let back = |height| report(Progress::Back { height });
            let mut walk = host.begin(layer_one, shard, &bridge, from, back).await?;
            let first = walk.next_number();
            let total = anchor.number.saturating_add(1).saturating_sub(first);
            let read = |next: u64| report(Progress::Blocks { done: next.saturating_sub(first), total });
            host.follow(&mut walk, shard, &anchor, read).await?;
            let (found, newest) = walk.finish();
            let newest = newest.ok_or(Error::NotKept { number: anchor.number })?;
            blocks = Some(first..=newest.header.block_number);
            books = newest.block_data.books;
            checks.extend(found);
            checks.push(checks::anchored_block(&newest, &anchor));
            let key = newest.block_data.block_author;
            let (head, number) = (newest.block_data.layer_one_head, newest.block_data.layer_one_number);
            let registered = is_registered(layer_one, &bridge, key, head, number).await?;
            checks.push(checks::author(key, registered));
        }
        let facts = LayerOneFacts::read(layer_one, shard, &bridge, &books, report).await?;
        checks.extend(check_books(&bridge, &books, &facts));
        Ok(Self { bridge, blocks, books, checks })
    }

    /// Whether everything holds.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

impl Check {
    fn new(name: &'static str, passed: bool, detail: impl Into<String>) -> Self {
        Self { name, passed, detail: detail.into() }
    }
}

/// Whether a key is that of the founder's incarnation, by the registry of the audited block or, for a block from before
/// a restart, of the block that its author saw as the newest.
async fn is_registered(
    layer_one: &LayerOne,
    bridge: &BridgeState,
    key: [u8; 32],
    head: H256,
    number: BlockNumber,
) -> Result<bool, layer_one::Error> {
    let founder = &bridge.entry.birth.founder;
    let is_key = |record: Option<crate::EnclaveRecord>| record.is_some_and(|record| record.incarnation_key == key);
    if is_key(layer_one.enclave_at(founder, bridge.block_hash).await?) {
        return Ok(true);
    }
    let is_own = number <= bridge.block_number && layer_one.block_hash(number).await? == head;
    Ok(is_own && is_key(layer_one.enclave_at(founder, head).await?))
}

impl LayerOneFacts {
    /// What `bridge` does not say, as the same block knows it.
    async fn read(
        layer_one: &LayerOne,
        shard: &ShardId,
        bridge: &BridgeState,
        books: &Books,
        report: &mut impl FnMut(Progress),
    ) -> Result<Self, layer_one::Error> {
        let at = bridge.block_hash;
        // Everything that is anchored is unpruned from there on; a range that cannot be is for the checks to find.
        let numbers = bridge.unconsumed();
        let numbers = numbers.start.max(bridge.inbox_pruned)..numbers.end;
        let end = books.outbox_next.min(books.outbox_closed.saturating_add(MAX_VERDICTS));
        let of_outbox = books.outbox_closed..end;
        let length = |numbers: &Range<u64>| numbers.end.saturating_sub(numbers.start);
        let total = length(&numbers).saturating_add(length(&of_outbox));
        let mut done = 0u64;
        let mut read = |entries: u64| {
            done = done.saturating_add(entries);
            report(Progress::Entries { done, total });
        };
        read(0);
        let shields_unconsumed = layer_one.shields_reporting(shard, numbers, at, &mut read).await?;
        let verdicts = layer_one.verdicts_reporting(shard, of_outbox, at, &mut read).await?;
        Ok(Self { shields_unconsumed, verdicts, existential_deposit: EXISTENTIAL_DEPOSIT })
    }
}

/// So long after layer one has paid an entry the shard has closed it, unless something is wrong.
const PAID_AHEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// More entries than this never lie between the oldest open one and the newest.
const MAX_VERDICTS: u64 = 1 << 20;
