//! Passes layer one's finality to the enclave in order.
//!
//! Each batch of headers ends at a block for which there is a justification and never goes past a block at which the
//! GRANDPA authorities change: that one is finalized by the old set, its successors by the new one.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use cloister_chain_primitives::{BlockNumber, H256, Header};
use cloister_link::{LinkError, MAX_FRAME, Sender, ToEnclave, message::MAX_HEADERS};
use codec::{Decode, Encode};
use jsonrpsee::core::client::Subscription;
use sp_core::Bytes;
use sp_runtime::DigestItem;
use tokio::{sync::watch, time::timeout};

use crate::layer_one::{GRANDPA_ENGINE_ID, LayerOne, LayerOneError};

/// The newest block that the enclave knows to be final.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Synced {
    pub number: BlockNumber,
    pub hash: H256,
}

/// What the enclave is told next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    pub headers: Vec<Header>,
    pub justification: Vec<u8>,
}

/// Why there is no next batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinalityError {
    #[error(transparent)]
    LayerOne(#[from] LayerOneError),
    #[error("the node's block {number} does not follow the block that the enclave knows to be final")]
    Diverged { number: BlockNumber },
    #[error("the node has no justification for blocks {first} to {last}")]
    NoJustification { first: BlockNumber, last: BlockNumber },
    #[error("the enclave did not take blocks {first} to {last} for final")]
    Refused { first: BlockNumber, last: BlockNumber },
    #[error("the enclave said nothing to blocks {first} to {last}")]
    Unanswered { first: BlockNumber, last: BlockNumber },
    #[error("blocks {first} to {last} do not fit a message to the enclave: {length} bytes")]
    TooLong { first: BlockNumber, last: BlockNumber, length: usize },
}

/// The start of an encoded GRANDPA justification, which says for what it is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct JustificationTarget {
    round: u64,
    pub hash: H256,
    pub number: BlockNumber,
}

/// A justification that was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    pub target: JustificationTarget,
    pub justification: Vec<u8>,
}

impl Announced {
    /// `None` if these bytes are no justification that an enclave can be given.
    pub fn new(justification: Vec<u8>) -> Option<Self> {
        if !fits(&justification) {
            return None;
        }
        Some(Self { target: JustificationTarget::decode(&mut &justification[..]).ok()?, justification })
    }
}

/// Follows a node's finality.
#[derive(Debug)]
pub struct Follower {
    layer_one: Arc<LayerOne>,
    /// Heights at which scheduled changes take effect, as the blocks say that the enclave knows to be final.
    changes: BTreeSet<BlockNumber>,
    /// The same of the last batches, under the hashes of their last blocks: a node may have invented them.
    proposed: VecDeque<(H256, Vec<BlockNumber>)>,
    /// Since the enclave last took a batch.
    failures: u32,
    /// For the enclave to say something to a batch.
    patience: Duration,
}

impl Follower {
    pub fn new(layer_one: Arc<LayerOne>) -> Self {
        Self { layer_one, changes: BTreeSet::new(), proposed: VecDeque::new(), failures: 0, patience: ENCLAVE_PATIENCE }
    }

    /// Feeds the enclave for ever; ends only with the link.
    pub async fn run(mut self, enclave: Sender<ToEnclave>, mut synced: watch::Receiver<Option<Synced>>) {
        loop {
            let Err(error) = self.follow(&enclave, &mut synced).await else { return };
            tracing::warn!(%error, "following layer one's finality was interrupted; trying again");
            tokio::time::sleep(RETRY.saturating_mul(1 << self.failures.min(16)).min(POLL)).await;
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// `Ok` when the link has ended.
    async fn follow(
        &mut self,
        enclave: &Sender<ToEnclave>,
        synced: &mut watch::Receiver<Option<Synced>>,
    ) -> Result<(), FinalityError> {
        let mut announcements = self.layer_one.subscribe_justifications().await?;
        // What was announced before an interruption may be the reason for it.
        let mut announced = None;
        loop {
            let Ok(known) = synced.wait_for(Option::is_some).await.map(|known| *known) else { return Ok(()) };
            let Some(known) = known else { continue };
            if let Some(batch) = self.next_batch(known, announced.as_ref()).await? {
                // An answer to an earlier batch may have come late.
                if *synced.borrow_and_update() == Some(known) {
                    match self.pass(batch, enclave, synced).await? {
                        Passed::LinkEnded => return Ok(()),
                        Passed::Taken => self.failures = 0,
                    }
                }
                // What comes meanwhile must not pile up.
                announced = tokio::select! {
                    biased;
                    newest = newest(&mut announcements) => newest?,
                    () = std::future::ready(()) => None,
                };
                continue;
            }
            announced = tokio::select! {
                newest = newest(&mut announcements) => newest?,
                changed = synced.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return Ok(()),
                },
                // In case an announcement was missed.
                () = tokio::time::sleep(POLL) => None,
            };
        }
    }

    /// Gives the enclave a batch, and hears what it makes of it: it says where it is then, even if it stays there.
    async fn pass(
        &self,
        batch: Batch,
        enclave: &Sender<ToEnclave>,
        synced: &mut watch::Receiver<Option<Synced>>,
    ) -> Result<Passed, FinalityError> {
        let Batch { headers, justification } = batch;
        let height = |header: Option<&Header>| header.map_or(0, |header| header.number);
        let (first, last) = (height(headers.first()), height(headers.last()));
        match enclave.send(ToEnclave::Finality { headers, justification }).await {
            Ok(()) => {}
            Err(LinkError::FrameTooLarge { length }) => return Err(FinalityError::TooLong { first, last, length }),
            Err(_) => return Ok(Passed::LinkEnded),
        }
        match timeout(self.patience, synced.changed()).await {
            Err(_) => Err(FinalityError::Unanswered { first, last }),
            Ok(Err(_)) => Ok(Passed::LinkEnded),
            Ok(Ok(())) => match synced.borrow().is_some_and(|known| known.number >= last) {
                true => Ok(Passed::Taken),
                false => Err(FinalityError::Refused { first, last }),
            },
        }
    }

    /// What follows `known`; `None` if nothing newer is final.
    pub async fn next_batch(
        &mut self,
        known: Synced,
        announced: Option<&Announced>,
    ) -> Result<Option<Batch>, FinalityError> {
        self.learn_changes(known);
        // An announcement comes a moment before the node itself counts the block as final.
        let finalized = match announced.filter(|announced| announced.target.number > known.number) {
            Some(announced) => announced.target.number,
            None => self.layer_one.finalized().await?.0,
        };
        if finalized <= known.number {
            return Ok(None);
        }
        let first = known.number.saturating_add(1);
        let last = finalized.min(known.number.saturating_add(MAX_HEADERS as u32));
        let mut headers = self.layer_one.headers(first, last).await?;
        if let Some(number) = break_in_ancestry(known.hash, &headers) {
            return Err(FinalityError::Diverged { number });
        }
        let end = self.end_of_batch(known.number, headers.iter().map(|(_, header)| header));
        headers.truncate(end);
        let (length, justification) = self.justification(&headers, announced).await?;
        headers.truncate(length);
        self.propose_changes(&headers);
        let headers = headers.into_iter().map(|(_, header)| header).collect();
        Ok(Some(Batch { headers, justification }))
    }

    /// How many of the headers after `known` may be in one batch: up to the first change of authorities, and within
    /// what a frame holds.
    fn end_of_batch<'a>(&self, known: BlockNumber, headers: impl Iterator<Item = &'a Header>) -> usize {
        let mut changes: BTreeSet<_> = self.changes.range(known.saturating_add(1)..).copied().collect();
        let (mut count, mut bytes) = (0, 0usize);
        for header in headers {
            bytes = bytes.saturating_add(header.encoded_size());
            if bytes > MAX_HEADER_BYTES && count > 0 {
                break;
            }
            count += 1;
            changes.extend(scheduled_change(header));
            if changes.contains(&header.number) {
                break;
            }
        }
        count
    }

    /// Takes the changes of a batch for true that the enclave has verified.
    fn learn_changes(&mut self, known: Synced) {
        if let Some(at) = self.proposed.iter().position(|(last, _)| *last == known.hash) {
            self.changes.extend(self.proposed.drain(..).nth(at).into_iter().flat_map(|(_, changes)| changes));
        }
        self.changes.retain(|effective| *effective > known.number);
    }

    fn propose_changes(&mut self, headers: &[(H256, Header)]) {
        let Some((last, _)) = headers.last() else { return };
        self.proposed.retain(|(other, _)| other != last);
        if self.proposed.len() >= MAX_PROPOSED {
            self.proposed.pop_front();
        }
        let changes = headers.iter().filter_map(|(_, header)| scheduled_change(header)).collect();
        self.proposed.push_back((*last, changes));
    }

    /// The latest justification for one of the headers, and how many headers lead up to it.
    async fn justification(
        &self,
        headers: &[(H256, Header)],
        announced: Option<&Announced>,
    ) -> Result<(usize, Vec<u8>), FinalityError> {
        let position = |hash: H256| headers.iter().position(|(other, _)| *other == hash).map(|at| at + 1);
        if let Some(announced) = announced
            && position(announced.target.hash) == Some(headers.len())
        {
            return Ok((headers.len(), announced.justification.clone()));
        }
        let mut length = headers.len();
        // One block at first, as all are stored as a rule; else one finalization may have covered several.
        for step in [1, 8].into_iter().chain(std::iter::repeat(32)) {
            if length == 0 {
                break;
            }
            let start = length.saturating_sub(step);
            let hashes: Vec<_> = headers[start..length].iter().map(|(hash, _)| *hash).collect();
            let stored = self.layer_one.justifications(&hashes).await?;
            for (at, justification) in stored.into_iter().enumerate().rev() {
                if let Some(justification) = justification.filter(|justification| fits(justification)) {
                    return Ok((start + at + 1, justification));
                }
            }
            length = start;
        }
        let number = |header: Option<&(H256, Header)>| header.map_or(0, |(_, header)| header.number);
        let (first, last) = (number(headers.first()), number(headers.last()));
        // A node that stores few justifications still has the newest.
        if let Some(proof) = self.layer_one.prove_finality(last).await?
            && let Some(length) = position(proof.block)
            && fits(&proof.justification)
        {
            return Ok((length, proof.justification));
        }
        Err(FinalityError::NoJustification { first, last })
    }
}

/// Passes changes of the runtime's version to the enclave for ever; ends only with the link.
pub async fn follow_versions(layer_one: Arc<LayerOne>, enclave: Sender<ToEnclave>, started: (u32, u32)) {
    let mut last = started;
    loop {
        match layer_one.subscribe_runtime_version().await {
            Ok(mut versions) => {
                while let Some(Ok(version)) = versions.next().await {
                    let version = (version.spec_version, version.transaction_version);
                    if version == last {
                        continue;
                    }
                    last = version;
                    let (spec_version, transaction_version) = version;
                    tracing::info!(spec_version, "layer one has a new runtime");
                    let message = ToEnclave::ChainVersion { spec_version, transaction_version };
                    if enclave.send(message).await.is_err() {
                        return;
                    }
                    // A node that changes its mind without end is heard now and then.
                    tokio::time::sleep(RETRY).await;
                }
            }
            Err(error) => tracing::debug!(%error, "no subscription to layer one's runtime version"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What became of a batch that was passed on.
enum Passed {
    Taken,
    LinkEnded,
}

/// Waits for an announcement, and drops those that newer ones follow already. Cancel safe. `None` if the newest is
/// nothing to give an enclave.
async fn newest(announcements: &mut Subscription<Bytes>) -> Result<Option<Announced>, FinalityError> {
    let ended = || LayerOneError::Lost("the subscription to justifications ended".into());
    let mut newest = announcements.next().await;
    for _ in 0..MAX_DROPPED {
        tokio::select! {
            biased;
            newer = announcements.next() => newest = newer,
            () = std::future::ready(()) => break,
        }
    }
    let Some(Ok(justification)) = newest else { return Err(ended().into()) };
    Ok(Announced::new(justification.0))
}

/// Whether a justification leaves room for headers in a frame.
fn fits(justification: &[u8]) -> bool {
    justification.len() <= MAX_JUSTIFICATION_BYTES
}

/// The first header that is not the child of the one before it.
fn break_in_ancestry(mut parent: H256, headers: &[(H256, Header)]) -> Option<BlockNumber> {
    for (hash, header) in headers {
        if header.parent_hash != parent {
            return Some(header.number);
        }
        parent = *hash;
    }
    None
}

/// The height at which a change of authorities that this header announces takes effect.
fn scheduled_change(header: &Header) -> Option<BlockNumber> {
    /// `sp_consensus_grandpa::ConsensusLog`, as far as batches depend on it.
    #[derive(Decode)]
    enum ConsensusLog {
        #[codec(index = 1)]
        ScheduledChange { _next_authorities: Vec<([u8; 32], u64)>, delay: BlockNumber },
    }
    header.digest.logs.iter().find_map(|item| match item {
        DigestItem::Consensus(GRANDPA_ENGINE_ID, log) => match ConsensusLog::decode(&mut &log[..]) {
            Ok(ConsensusLog::ScheduledChange { delay, .. }) => Some(header.number.saturating_add(delay)),
            Err(_) => None,
        },
        _ => None,
    })
}

/// Bytes; the rest of a frame is left to the justification.
const MAX_HEADER_BYTES: usize = 2 * 1024 * 1024;
/// Bytes; some are left for lengths.
const MAX_JUSTIFICATION_BYTES: usize = MAX_FRAME - MAX_HEADER_BYTES - 1024;
/// Batches that the enclave may yet take.
const MAX_PROPOSED: usize = 8;
/// Announcements in one go, so that a node that announces without end is answered, too.
const MAX_DROPPED: usize = 64;
/// An enclave verifies a batch within seconds.
const ENCLAVE_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(6);
const RETRY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
