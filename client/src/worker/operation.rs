//! A submitted operation, followed until its block is anchored.

use std::{fmt, time::Duration};

use cloister_chain_primitives::H256;
use cloister_wire::TrustedOperationStatus;
use tokio::{sync::mpsc, time::timeout};

use super::{Error, SUBMIT_AND_WATCH, connection::Command, malformed};

/// A submitted operation and what becomes of it.
pub struct Operation {
    hash: H256,
    updates: mpsc::Receiver<Result<Update, Error>>,
    /// The shard's block with the operation, once it is told.
    block: Option<H256>,
    is_final: bool,
    _connection: mpsc::Sender<Command>,
}

/// A change of an operation's status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// The new status.
    pub status: TrustedOperationStatus,
    /// Why, if it failed.
    pub reason: Option<String>,
}

/// How far an operation has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It is executed, in a durable block of the shard.
    InBlock,
    /// That block is anchored in a finalized block of layer one.
    Finalized,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InBlock => "in a block of the shard",
            Self::Finalized => "anchored in a finalized block of layer one",
        })
    }
}

impl Operation {
    pub(super) fn new(
        hash: H256,
        updates: mpsc::Receiver<Result<Update, Error>>,
        connection: mpsc::Sender<Command>,
    ) -> Self {
        Self { hash, updates, block: None, is_final: false, _connection: connection }
    }

    /// BLAKE2b-256 of the operation, as the enclave says.
    pub fn hash(&self) -> H256 {
        self.hash
    }

    /// The next change; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        let update = self.updates.recv().await?;
        match update.as_ref().map(|update| update.status) {
            Ok(TrustedOperationStatus::InSidechainBlock(block)) => self.block = Some(block),
            Ok(TrustedOperationStatus::Finalized) => self.is_final = true,
            _ => {}
        }
        Some(update)
    }

    /// Waits until the operation is in a block of the shard, for two minutes at most; the block's hash.
    pub async fn in_block(&mut self) -> Result<H256, Error> {
        self.in_block_reporting(|_| ()).await
    }

    /// As [`Self::in_block`], and tells `report` of every status.
    pub async fn in_block_reporting(&mut self, report: impl FnMut(&Update)) -> Result<H256, Error> {
        self.reached(Stage::InBlock, EXECUTION_TIMEOUT, report).await
    }

    /// Waits until the operation's block is anchored in a finalized block of layer one; the hash of the shard's block.
    pub async fn finalized(&mut self, limit: Duration) -> Result<H256, Error> {
        self.finalized_reporting(limit, |_| ()).await
    }

    /// As [`Self::finalized`], and tells `report` of every status that was not told before.
    pub async fn finalized_reporting(&mut self, limit: Duration, report: impl FnMut(&Update)) -> Result<H256, Error> {
        self.reached(Stage::Finalized, limit, report).await
    }

    /// Waits until the operation has come so far, and tells `report` of every status that was not told before. The hash
    /// of the shard's block that holds it. After an [`Error::NotInTime`] the wait can go on with another call; after an
    /// [`Error::PerhapsExecuted`] only the shard itself can tell.
    pub async fn reached(
        &mut self,
        stage: Stage,
        limit: Duration,
        mut report: impl FnMut(&Update),
    ) -> Result<H256, Error> {
        let operation = self.hash;
        let unheard =
            |error: Error| Error::PerhapsExecuted { what: format!("the call {operation:?}"), source: Box::new(error) };
        let waiting = async {
            loop {
                match (self.block, stage) {
                    (Some(block), Stage::InBlock) => return Ok(block),
                    (Some(block), Stage::Finalized) if self.is_final => return Ok(block),
                    (None, _) if self.is_final => {
                        let reason = "an operation is final that is in no block";
                        return Err(unheard(malformed(SUBMIT_AND_WATCH, reason)));
                    }
                    _ => {}
                }
                // The enclave took it, so that nothing but a status says that it is not executed.
                let update = self.next().await.ok_or(Error::Closed).flatten().map_err(unheard)?;
                report(&update);
                let Update { status, reason } = update;
                match status {
                    TrustedOperationStatus::Invalid => {
                        let reason = reason.unwrap_or_else(|| "the enclave gives no reason".into());
                        return Err(Error::CallFailed { operation, reason });
                    }
                    TrustedOperationStatus::Retracted => return Err(Error::Retracted { operation, reason }),
                    TrustedOperationStatus::FinalityTimeout => {
                        return Err(Error::FinalityTimeout { operation, reason });
                    }
                    TrustedOperationStatus::Usurped => return Err(Error::Usurped { operation, reason }),
                    TrustedOperationStatus::Dropped => return Err(Error::Dropped { operation, reason }),
                    TrustedOperationStatus::Submitted
                    | TrustedOperationStatus::Future
                    | TrustedOperationStatus::Ready
                    | TrustedOperationStatus::Broadcast
                    | TrustedOperationStatus::InSidechainBlock(_)
                    | TrustedOperationStatus::Finalized => {}
                }
            }
        };
        timeout(limit, waiting).await.map_err(|_| Error::NotInTime { operation, stage, limit })?
    }
}

/// Above any pause of a shard that its rules allow.
const EXECUTION_TIMEOUT: Duration = Duration::from_secs(120);
