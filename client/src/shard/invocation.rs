//! Indirect calls: through layer one's inbox, of which a worker can leave out nothing.

use std::time::Duration;

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Nonce, calls::Call};
use cloister_wire::{Outcome, TrustedCall, TrustedOperation};

use super::{Error, ShardClient, execution::Sent};
use crate::{
    Signer, Wait,
    layer_one::{self, Found, ProcessedParentchainBlock, Progress},
};

/// A call in a finalized block of layer one, which the shard will execute or has executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    /// BLAKE2b-256 of the operation, by which the shard knows it.
    pub operation: H256,
    /// The nonce on the shard that the call was signed with.
    pub nonce: Nonce,
    /// The last block of the shard that may hold the call.
    pub last_block: u64,
    /// The extrinsic that carried it.
    pub extrinsic: H256,
    /// Height of the extrinsic's block.
    pub block_number: BlockNumber,
    /// Hash of the extrinsic's block.
    pub block_hash: H256,
    /// Planck that layer one took for the extrinsic, if its runtime told.
    pub fee: Option<Balance>,
}

impl ShardClient {
    /// Pays planck on the shard through layer one's inbox, at the sender's expense there. Waits until layer one has
    /// finalized the call; [`Self::executed`] tells what the shard makes of it.
    pub async fn transfer_indirect(&self, from: &Signer, to: &AccountId, amount: Balance) -> Result<Invocation, Error> {
        self.invoke(from, from, TrustedCall::BalanceTransfer(from.account(), to.clone(), amount)).await
    }

    /// Sends a call with its sender's next nonce through layer one's inbox; `payer` signs and pays for the extrinsic.
    /// Waits until layer one has finalized it.
    pub async fn invoke(&self, sender: &Signer, payer: &Signer, call: TrustedCall) -> Result<Invocation, Error> {
        self.invoke_reporting(sender, payer, call, |_| ()).await
    }

    /// As [`Self::invoke`], and tells `report` how the extrinsic goes on.
    pub async fn invoke_reporting(
        &self,
        sender: &Signer,
        payer: &Signer,
        call: TrustedCall,
        report: impl FnMut(Progress),
    ) -> Result<Invocation, Error> {
        let nonce = self.nonce(sender).await?;
        self.invoke_with_nonce(sender, payer, call, nonce, report).await
    }

    /// As [`Self::invoke_reporting`], with a nonce of the caller's choice.
    pub async fn invoke_with_nonce(
        &self,
        sender: &Signer,
        payer: &Signer,
        call: TrustedCall,
        nonce: Nonce,
        report: impl FnMut(Progress),
    ) -> Result<Invocation, Error> {
        let last_block = self.last_block().await?;
        let signed = self.shard().sign_bound_call(call, nonce, last_block, sender)?;
        let operation = TrustedOperation::IndirectBoundCall(signed);
        let request = self.shard().seal_operation(&operation)?;
        self.recheck().await?;
        let invoke = Call::invoke(&request);
        let extrinsic = self.layer_one().submit_reporting(&invoke, payer, Wait::Finalized, report).await?;
        let inclusion = extrinsic.inclusion.ok_or_else(|| layer_one::Error::Malformed {
            what: "an extrinsic's status",
            reason: "it is final and in no block".into(),
        })?;
        Ok(Invocation {
            operation: operation.hash(),
            nonce,
            last_block,
            extrinsic: extrinsic.hash,
            block_number: inclusion.block_number,
            block_hash: inclusion.block_hash,
            fee: inclusion.fee(),
        })
    }

    /// Waits, for `limit` at most, until a finalized block reports that the shard has consumed its inbox up to layer
    /// one's block `height`. Reports since that block count too, so the wait may begin late.
    pub async fn processed(
        &self,
        height: BlockNumber,
        limit: Duration,
    ) -> Result<Found<ProcessedParentchainBlock>, Error> {
        let shard = self.shard().id;
        let report = self.layer_one().await_event(height, limit, |event| {
            event.processed_parentchain_block().filter(|report| report.shard == shard && report.block_number >= height)
        });
        report.await?.ok_or(Error::NotProcessed { block_number: height, limit })
    }

    /// Waits, for `limit` at most, until the shard has processed an invocation, and asks the enclave what became of it.
    /// The outcome of a call that was executed may be that it failed. One that was consumed without being executed has
    /// none: [`Error::WithoutEffect`]. The shard forgets outcomes after 1 000 blocks, after fewer if they are full: who
    /// asks later than that gets [`Error::NoOutcome`], for a call that was executed as for one whose nonce another took.
    /// One that was not consumed and can no longer be executed is [`Error::CallExpired`].
    pub async fn executed(&self, sender: &Signer, invocation: &Invocation, limit: Duration) -> Result<Outcome, Error> {
        let Invocation { operation, nonce, last_block, .. } = *invocation;
        if let Err(error) = self.processed(invocation.block_number, limit).await {
            // Up to its anchor the shard could go back, and consume the entry in an earlier block than before.
            return Err(match self.anchored(last_block, Duration::ZERO).await {
                Ok(_) => self.expired_or(sender, &Sent { operation, nonce, last_block }, error).await,
                Err(_) => error,
            });
        }
        let of_sent = |error: Error| error.of_sent(operation);
        if let Some(outcome) = self.outcome(sender, operation).await.map_err(of_sent)? {
            return Ok(outcome);
        }
        // An executed call has used its nonce.
        match self.nonce(sender).await.map_err(of_sent)? > nonce {
            true => Err(Error::NoOutcome { operation }),
            false => Err(Error::WithoutEffect { operation }),
        }
    }
}
