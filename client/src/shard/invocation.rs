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
    /// Waits until layer one has finalized it. What layer one was sent is public, even if it failed there: that is
    /// [`Error::NoEffectYet`], and what is not heard of [`Error::PerhapsExecuted`].
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
        let nonce = self.nonce_for_call(sender).await?;
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
        let layer_one = self.layer_one();
        let payers_nonce = layer_one.next_nonce(&payer.account()).await?;
        let extrinsic = layer_one.sign(&Call::invoke(&request), payer, payers_nonce).await?;
        let sent = Sent { operation: operation.hash(), nonce, last_block };
        let submitted = layer_one.submit_encoded(&extrinsic, Wait::Finalized, report).await;
        let extrinsic = submitted.map_err(|error| sent.not_final(error))?;
        let inclusion = extrinsic.inclusion.ok_or_else(|| {
            let reason = "it is final and in no block".into();
            sent.not_final(layer_one::Error::Malformed { what: "an extrinsic's status", reason })
        })?;
        Ok(Invocation {
            operation: sent.operation,
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
    /// none, and that is not final: [`Error::NoEffectYet`], until its last block is anchored. [`Self::anchored`] waits for
    /// that; asked again, this tells the outcome, or [`Error::CallExpired`] of a call that can no longer be executed,
    /// consumed or not. The shard forgets outcomes after 1 000 blocks, after fewer if they are full: who asks later than
    /// that gets [`Error::NoOutcome`], for a call that was executed as for one whose nonce another took.
    pub async fn executed(&self, sender: &Signer, invocation: &Invocation, limit: Duration) -> Result<Outcome, Error> {
        let Invocation { operation, nonce, last_block, .. } = *invocation;
        let sent = Sent { operation, nonce, last_block };
        let of_sent = |error: Error| error.of_sent(operation);
        match self.processed(invocation.block_number, limit).await {
            Ok(_) => {}
            Err(error @ Error::NotProcessed { .. }) => {
                return Err(self.expired_if_anchored(sender, &sent, error).await);
            }
            Err(error) => return Err(of_sent(error)),
        }
        if let Some(outcome) = self.outcome(sender, operation).await.map_err(of_sent)? {
            return Ok(outcome);
        }
        // An executed call has used its nonce.
        let next = self.nonce(sender).await.map_err(of_sent)?;
        if next > nonce {
            // What had no outcome may have been executed between the two questions.
            let outcome = self.outcome(sender, operation).await.map_err(of_sent)?;
            return outcome.ok_or(Error::NoOutcome { operation });
        }
        let error = sent.without_effect(Error::WithoutEffect { next });
        Err(self.expired_if_anchored(sender, &sent, error).await)
    }

    /// As [`Self::expired_or`], for a call that everybody can submit again. Up to its anchor the shard could go back, and
    /// have the call in an earlier block than its last one.
    async fn expired_if_anchored(&self, sender: &Signer, sent: &Sent, error: Error) -> Error {
        match self.anchored(sent.last_block, Duration::ZERO).await {
            Ok(_) => self.expired_or(sender, sent, error).await,
            Err(_) => error,
        }
    }
}

impl Sent {
    fn without_effect(&self, source: Error) -> Error {
        let Self { operation, nonce, last_block } = *self;
        Error::NoEffectYet { operation, nonce, last_block, source: Box::new(source) }
    }

    /// What layer one's node says of the extrinsic with the call. Only what its pool did not take is as good as unsent:
    /// everything else others may have seen, and can submit again.
    fn not_final(&self, error: layer_one::Error) -> Error {
        match error {
            error @ layer_one::Error::Refused(_) => error.into(),
            error @ (layer_one::Error::GivenUp { .. } | layer_one::Error::ExtrinsicFailed { .. }) => {
                self.without_effect(error.into())
            }
            error => Error::from(error).of_sent(self.operation),
        }
    }
}
