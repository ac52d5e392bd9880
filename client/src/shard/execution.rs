//! A call on either way to the shard, until the shard has executed it.

use std::time::{Duration, Instant};

use cloister_chain_primitives::{BlockNumber, H256, Nonce};
use cloister_wire::{Outcome, TrustedCall, TrustedGetter};

use super::{Error, Invocation, ShardClient};
use crate::{
    Signer,
    layer_one::Progress,
    worker::{self, Stage, Update},
};

/// The way of a call to its shard.
#[derive(Clone, Copy)]
pub enum Route<'a> {
    /// Straight to the enclave.
    Direct,
    /// Through layer one's inbox, which no worker can pass over.
    Inbox {
        /// Who pays layer one's fee.
        payer: &'a Signer,
    },
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// The enclave has it.
    Submitted(H256),
    /// The enclave says something new of it.
    Status(&'a Update),
    /// Layer one says something new of the extrinsic that carries it.
    LayerOne(Progress),
    /// It is in this block of layer one, which the shard has to process.
    InInbox(BlockNumber),
    /// It is executed, in this block of the shard.
    Executed(u64),
}

/// A call that the shard has executed, and that did not fail.
#[derive(Clone, Debug)]
pub struct Executed {
    /// BLAKE2b-256 of the operation, by which the shard knows it.
    pub operation: H256,
    /// Height of the shard's block that holds it.
    pub block_number: u64,
    /// What it opened in the shard's outbox: number and id.
    pub outbox: Option<(u64, H256)>,
    /// How it came through layer one; absent for a direct call.
    pub invocation: Option<Invocation>,
    /// When the shard's part began.
    pub since: Instant,
}

impl ShardClient {
    /// Sends a call with its sender's next nonce and waits until the shard has executed it: for `limit` at most from the
    /// moment on at which the enclave or, finally, layer one has it. One that fails on the shard is
    /// [`CallFailed`](worker::Error::CallFailed). What is not known to be refused, unsent or expired is said so:
    /// [`Error::PerhapsExecuted`], [`Error::NoEffectYet`], [`Error::NotProcessed`], [`Error::NoOutcome`] and
    /// [`NotInTime`](worker::Error::NotInTime).
    pub async fn execute(
        &self,
        sender: &Signer,
        route: Route<'_>,
        call: TrustedCall,
        limit: Duration,
        mut report: impl FnMut(Step),
    ) -> Result<Executed, Error> {
        let (since, operation, invocation, outcome) = match route {
            Route::Direct => {
                let nonce = self.nonce_for_call(sender).await?;
                let last_block = self.last_block().await?;
                let mut operation = self.submit_until(sender, call, nonce, last_block).await?;
                let since = Instant::now();
                let hash = operation.hash();
                report(Step::Submitted(hash));
                if let Err(error) =
                    operation.reached(Stage::InBlock, limit, |update| report(Step::Status(update))).await
                {
                    let sent = Sent { operation: hash, nonce, last_block };
                    let error = Error::of_operation(error, hash);
                    return Err(self.expired_or(sender, &sent, error).await);
                }
                let outcome = self.outcome(sender, hash).await.map_err(|error| error.of_sent(hash))?;
                let outcome = outcome.ok_or(Error::NoOutcome { operation: hash })?;
                (since, hash, None, outcome)
            }
            Route::Inbox { payer } => {
                let layer_one = |progress| report(Step::LayerOne(progress));
                let invocation = self.invoke_reporting(sender, payer, call, layer_one).await?;
                let since = Instant::now();
                report(Step::InInbox(invocation.block_number));
                let outcome = self.executed(sender, &invocation, limit).await?;
                (since, invocation.operation, Some(invocation), outcome)
            }
        };
        let Outcome { block_number, result, outbox } = outcome;
        report(Step::Executed(block_number));
        result.map_err(|reason| worker::Error::CallFailed { operation, reason })?;
        Ok(Executed { operation, block_number, outbox, invocation, since })
    }

    /// That a call has expired, if its enclave says so: its last block has passed, and its nonce is not used. Otherwise
    /// `error`, which is why nothing is known of it or what is.
    pub(super) async fn expired_or(&self, sender: &Signer, sent: &Sent, error: Error) -> Error {
        let is_open = matches!(
            error,
            Error::Worker(worker::Error::NotInTime { .. } | worker::Error::Dropped { .. })
                | Error::PerhapsExecuted { .. }
                | Error::NotProcessed { .. }
                | Error::NoEffectYet { .. }
        );
        if !is_open {
            return error;
        }
        let Sent { operation, nonce, last_block } = *sent;
        match self.ask::<Nonce>(sender, TrustedGetter::Nonce(sender.account())).await {
            Ok(answer) if answer.block_number >= last_block && answer.value.unwrap_or_default() <= nonce => {
                Error::CallExpired { operation, last_block, block: answer.block_number }
            }
            _ => error,
        }
    }
}

/// A call that was sent.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub operation: H256,
    pub nonce: Nonce,
    pub last_block: u64,
}
