//! From a call to an extrinsic in a block, and what its events say.

use std::{fmt, time::Duration};

use cloister_chain_primitives::{
    Balance, BlockNumber, H256, Nonce,
    calls::Call,
    extrinsic::{Mortality, signed},
};
use jsonrpsee::core::{ClientError, client::Subscription};
use serde::Deserialize;
use sp_crypto_hashing::blake2_256;
use sp_runtime::generic::Era;
use tokio::time::{Instant, timeout_at};

use super::{Error, Event, LayerOne, SubscriptionClientT, from_hex, malformed, to_hex};
use crate::Signer;

/// How long to wait for an extrinsic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Until the pool has it.
    Submitted,
    /// Until it is in a block of the best chain.
    InBlock,
    /// Until its block is finalized.
    Finalized,
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Submitted => "submitted",
            Self::InBlock => "in a block",
            Self::Finalized => "finalized",
        })
    }
}

/// An extrinsic that the node has taken.
#[derive(Clone, Debug)]
pub struct SubmittedExtrinsic {
    /// BLAKE2b-256 of its encoding.
    pub hash: H256,
    /// Where it is; absent after [`Wait::Submitted`].
    pub inclusion: Option<Inclusion>,
}

/// Where an extrinsic is, and what it did.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// The block's hash.
    pub block_hash: H256,
    /// The block's height.
    pub block_number: BlockNumber,
    /// The extrinsic's place in the block.
    pub index: u32,
    /// What the extrinsic emitted.
    pub events: Vec<Event>,
}

impl Inclusion {
    /// Planck that layer one took for the extrinsic, if the runtime told.
    pub fn fee(&self) -> Option<Balance> {
        #[derive(Deserialize)]
        struct Paid {
            actual_fee: String,
        }
        let paid: Paid =
            self.events.iter().find_map(|event| event.fields_of("TransactionPayment", "TransactionFeePaid"))?;
        paid.actual_fee.parse().ok()
    }
}

/// What has become of an extrinsic so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The node has it.
    Submitted {
        /// The extrinsic.
        hash: H256,
    },
    /// It is in this block.
    InBlock {
        /// Height.
        number: BlockNumber,
        /// Hash.
        hash: H256,
    },
    /// It is in this finalized block.
    Finalized {
        /// Height.
        number: BlockNumber,
        /// Hash.
        hash: H256,
    },
}

impl LayerOne {
    /// Signs a call with the account's next nonce and a lifetime of [`LIFETIME_BLOCKS`], submits it and waits. An
    /// extrinsic that failed in its block is an error.
    pub async fn submit(&self, call: &Call, signer: &Signer, wait: Wait) -> Result<SubmittedExtrinsic, Error> {
        self.submit_reporting(call, signer, wait, |_| ()).await
    }

    /// As [`Self::submit`], and tells `report` of every step.
    pub async fn submit_reporting(
        &self,
        call: &Call,
        signer: &Signer,
        wait: Wait,
        report: impl FnMut(Progress),
    ) -> Result<SubmittedExtrinsic, Error> {
        let nonce = self.next_nonce(&signer.account()).await?;
        let extrinsic = self.sign(call, signer, nonce).await?;
        self.submit_encoded(&extrinsic, wait, report).await
    }

    /// The encoded extrinsic of a call, valid from the finalized head on for [`LIFETIME_BLOCKS`].
    pub async fn sign(&self, call: &Call, signer: &Signer, nonce: Nonce) -> Result<Vec<u8>, Error> {
        let chain = self.chain_version().await?;
        let (birth_hash, head) = self.finalized_head().await?;
        // A period below 4 096 is not rounded, so that the era begins at this very block.
        let era = Era::mortal(LIFETIME_BLOCKS, head.number.into());
        let mortality = Mortality { era, birth_hash };
        Ok(signed(call, &signer.account(), nonce, mortality, &chain, |payload| signer.sign(payload)))
    }

    /// Submits an encoded extrinsic and waits.
    pub async fn submit_encoded(
        &self,
        extrinsic: &[u8],
        wait: Wait,
        mut report: impl FnMut(Progress),
    ) -> Result<SubmittedExtrinsic, Error> {
        let hash = H256(blake2_256(extrinsic));
        let mut statuses: Subscription<Status> = self
            .client
            .subscribe("author_submitAndWatchExtrinsic", (to_hex(extrinsic),), "author_unwatchExtrinsic")
            .await
            .map_err(|error| refusal(hash, error))?;
        report(Progress::Submitted { hash });
        if wait == Wait::Submitted {
            return Ok(SubmittedExtrinsic { hash, inclusion: None });
        }

        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let status = timeout_at(deadline, statuses.next())
                .await
                .map_err(|_| Error::TimedOut { hash, wait, limit: WAIT_LIMIT })?
                .ok_or_else(|| Error::OutOfSight { hash, status: "the node stopped reporting".into() })?
                .map_err(|error| Error::OutOfSight { hash, status: error.to_string() })?;
            let (block_hash, finalized) = match status {
                Status::InBlock(block_hash) => (block_hash, false),
                Status::Finalized(block_hash) => (block_hash, true),
                Status::Future | Status::Ready | Status::Broadcast(_) | Status::Retracted(_) => continue,
                Status::Usurped(_) | Status::Invalid => {
                    return Err(Error::GivenUp { hash, status: status.to_string() });
                }
                // It is in a block, or other nodes may still have it.
                Status::FinalityTimeout(_) | Status::Dropped => {
                    return Err(Error::OutOfSight { hash, status: status.to_string() });
                }
            };
            let in_block = |error: Error| match error {
                error @ Error::ExtrinsicFailed { .. } => error,
                error => Error::OutOfSight { hash, status: format!("it is in block {block_hash:?}, and {error}") },
            };
            let number = self.header(block_hash).await.map_err(in_block)?.number;
            report(match finalized {
                true => Progress::Finalized { number, hash: block_hash },
                false => Progress::InBlock { number, hash: block_hash },
            });
            if finalized || wait == Wait::InBlock {
                let inclusion = self.inclusion(hash, block_hash, number).await.map_err(in_block)?;
                return Ok(SubmittedExtrinsic { hash, inclusion: Some(inclusion) });
            }
        }
    }

    async fn inclusion(&self, hash: H256, block_hash: H256, block_number: u32) -> Result<Inclusion, Error> {
        let block: Option<SignedBlock> = self.request("chain_getBlock", (block_hash,)).await?;
        let block = block.ok_or_else(|| Error::UnknownBlock(format!("{block_hash:?}")))?.block;
        let mut index = None;
        for (place, extrinsic) in (0u32..).zip(&block.extrinsics) {
            if blake2_256(&from_hex("a block", extrinsic)?) == hash.0 {
                index = Some(place);
            }
        }
        let index = index.ok_or_else(|| malformed("a block", "the extrinsic is not where the node says"))?;
        let mut events = self.events(block_hash).await?;
        events.retain(|event| event.extrinsic == Some(index));
        match events.iter().find_map(Event::failure) {
            Some(failure) => Err(Error::ExtrinsicFailed { hash, block_hash, failure: failure.clone() }),
            None => Ok(Inclusion { block_hash, block_number, index, events }),
        }
    }
}

/// What the pool says, as `author_submitAndWatchExtrinsic` encodes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Future,
    Ready,
    Broadcast(#[allow(dead_code, reason = "peers are of no interest")] Vec<String>),
    InBlock(H256),
    Retracted(#[allow(dead_code, reason = "the next block is awaited")] H256),
    FinalityTimeout(H256),
    Finalized(H256),
    Usurped(H256),
    Dropped,
    Invalid,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FinalityTimeout(block) => write!(formatter, "its block {block:?} took too long to become final"),
            Self::Usurped(by) => write!(formatter, "{by:?} took its place"),
            Self::Dropped => formatter.write_str("the node's pool dropped it"),
            Self::Invalid => formatter.write_str("it is no longer valid"),
            _ => formatter.write_str("it is on its way"),
        }
    }
}

#[derive(Deserialize)]
struct SignedBlock {
    block: Block,
}

#[derive(Deserialize)]
struct Block {
    extrinsics: Vec<String>,
}

/// The pool's errors have codes from 1 000 on; the reason stands in their data.
fn refusal(hash: H256, error: ClientError) -> Error {
    match error {
        ClientError::Call(call) if call.code() == ALREADY_IMPORTED => {
            Error::OutOfSight { hash, status: "the node's pool had it already".into() }
        }
        ClientError::Call(call) if (1_000..2_000).contains(&call.code()) => {
            let detail = call.data().and_then(|data| serde_json::from_str::<String>(data.get()).ok());
            Error::Refused(match detail {
                Some(detail) => format!("{}: {detail}", call.message()),
                None => call.message().to_string(),
            })
        }
        source => Error::Rpc { method: "author_submitAndWatchExtrinsic", source },
    }
}

/// Of the pool, for an extrinsic that it has.
const ALREADY_IMPORTED: i32 = 1_013;
/// Blocks in which an extrinsic may be included after the finalized head at which it was signed.
pub const LIFETIME_BLOCKS: u64 = 64;
/// Above the lifetime at blocks of 2 s.
const WAIT_LIMIT: Duration = Duration::from_secs(150);
