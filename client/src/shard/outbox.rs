//! Money's way out of a shard, from a call to layer one's verdict, and what anybody can do for it.

use std::time::Duration;

use cloister_chain_primitives::{AccountId, Anchored, Balance, BlockNumber, H256, OutboxEntry, Verdict, calls::Call};
use cloister_wire::{Getter, OutboxProof, PublicGetter, TrustedCall, TrustedGetter};
use codec::DecodeAll;
use tokio::time::Instant;

use super::{Error, Executed, Route, ShardClient, Step};
use crate::{
    Signer, Wait,
    layer_one::{self, Event, Found, Progress, Settlement, SubmittedExtrinsic, UnshieldResult, pause_before},
};

/// An unshielding that the shard has executed.
#[derive(Clone, Debug)]
pub struct Unshielding {
    /// The call.
    pub executed: Executed,
    /// Number of its entry in the shard's outbox.
    pub number: u64,
    /// The entry's id, by which layer one names it.
    pub id: H256,
    /// A finalized block of layer one before the call.
    pub sent_after: BlockNumber,
}

/// What became of an entry that somebody submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// This extrinsic did it.
    Done(UnshieldResult),
    /// Another one had settled it before.
    Before(Verdict),
    /// Layer one has another root than the path leads to: a newer block was anchored in the meantime.
    PathOutdated,
    /// The extrinsic was not awaited.
    Unknown,
}

impl ShardClient {
    /// Moves planck from `from`'s account on the shard to an account of layer one: waits until the shard has executed
    /// the call, see [`Self::execute`]. [`Self::settled`] tells what layer one makes of it.
    pub async fn unshield(
        &self,
        from: &Signer,
        to: &AccountId,
        amount: Balance,
        route: Route<'_>,
        limit: Duration,
        report: impl FnMut(Step),
    ) -> Result<Unshielding, Error> {
        let sent_after = self.layer_one().finalized_number().await?;
        let call = TrustedCall::BalanceUnshield(from.account(), to.clone(), amount, self.shard().id);
        let executed = self.execute(from, route, call, limit, report).await?;
        let (number, id) = executed.outbox.ok_or(Error::NothingOpened { operation: executed.operation })?;
        Ok(Unshielding { executed, number, id, sent_after })
    }

    /// Waits, for `limit` at most, until a finalized block of the own node has a verdict on an unshielding that this
    /// client has sent, and tells `deferred` of each block that put it off. The wait may begin late. Only entries of a
    /// block that is [anchored](Self::anchored) have verdicts.
    pub async fn settled(
        &self,
        unshielding: &Unshielding,
        limit: Duration,
        deferred: impl FnMut(BlockNumber),
    ) -> Result<(Verdict, Found<H256>), Error> {
        let Unshielding { ref executed, number, id, sent_after } = *unshielding;
        let deadline = Instant::now() + limit;
        // Whatever the node does not tell from here on, the call is executed.
        let of_sent = |error: layer_one::Error| Error::from(error).of_sent(executed.operation);
        // After another start the number could be another entry's, and the id too: it names block and number.
        match self.anchored(executed.block_number, limit).await {
            Err(Error::NotAnchored { .. }) => return Err(Error::NotSettled { number, limit }),
            Err(Error::LayerOne(error)) => return Err(of_sent(error)),
            anchored => anchored?,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let shard = &self.shard().id;
        let waiting = self.layer_one().await_verdict(shard, (number, id), sent_after, left, deferred);
        match waiting.await.map_err(of_sent)? {
            None => Err(Error::NotSettled { number, limit }),
            Some(Found { value: Settlement::Forgotten, .. }) => Err(Error::VerdictForgotten { number }),
            Some(Found { block_number, value: Settlement::Verdict { verdict, block_hash } }) => {
                Ok((verdict, Found { block_number, value: block_hash }))
            }
        }
    }

    /// Waits, for `limit` at most, until the shard has closed an unshielding of `owner`, and so credited one that layer
    /// one refused; the height of the shard's block that was asked.
    pub async fn closed(&self, owner: &Signer, number: u64, limit: Duration) -> Result<u64, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let getter = TrustedGetter::Unshielding(owner.account(), number);
            let answer = self.ask::<(AccountId, Balance)>(owner, getter).await?;
            if answer.value.is_none() {
                return Ok(answer.block_number);
            }
            if !pause_before(deadline).await {
                return Err(Error::NotClosed { number, limit });
            }
        }
    }

    /// The entries of the outbox from a number on that the shard owes by its anchored block, with paths. Anybody can ask,
    /// and check them: see [`Self::anchor`].
    pub async fn outbox(&self, from: u64) -> Result<Vec<OutboxProof>, Error> {
        let mut proofs: Vec<OutboxProof> = Vec::new();
        let mut next = from;
        loop {
            let page = self.outbox_page(next).await?;
            let Some(last) = page.last().map(|proof| proof.entry.number) else { return Ok(proofs) };
            let ascending = page.iter().map(|proof| proof.entry.number).is_sorted_by(|one, other| one < other);
            if !ascending || page[0].entry.number < next {
                return Err(Error::Undecodable);
            }
            proofs.extend(page);
            if proofs.len() > MAX_OWED {
                return Err(Error::TooMuchOwed { most: MAX_OWED });
            }
            let Some(following) = last.checked_add(1) else { return Ok(proofs) };
            next = following;
        }
    }

    async fn outbox_page(&self, from: u64) -> Result<Vec<OutboxProof>, Error> {
        self.recheck_if_due().await?;
        let getter = Getter::Public(PublicGetter::Outbox(from));
        let value = self.worker().execute_getter(self.shard().id, &getter).await?.ok_or(Error::NoAnswer)?;
        Vec::decode_all(&mut value.as_slice()).map_err(|_| Error::Undecodable)
    }

    /// The shard's newest anchor in the finalized head of the own node.
    pub async fn anchor(&self) -> Result<Option<Anchored>, Error> {
        Ok(self.layer_one().anchor(&self.shard().id).await?)
    }

    /// Whether an entry stands under an anchor's root.
    pub fn is_owed(&self, proof: &OutboxProof, anchored: Option<&Anchored>) -> bool {
        let (genesis, shard) = (&self.shard().genesis, &self.shard().id);
        let root = anchored.map(|anchored| anchored.anchor.outbox_root);
        root.is_some_and(|root| proof.path.proves(genesis, shard, &proof.entry, &root))
    }

    /// Has entries paid, at `payer`'s expense as far as the shard's fees do not repay it: all in one extrinsic, in which
    /// what fails hinders nothing else.
    pub async fn settle(
        &self,
        payer: &Signer,
        proofs: &[OutboxProof],
        wait: Wait,
        report: impl FnMut(Progress),
    ) -> Result<(SubmittedExtrinsic, Vec<Submitted>), Error> {
        let shard = self.shard().id;
        let calls: Vec<_> =
            proofs.iter().map(|OutboxProof { entry, path }| Call::unshield_funds(&shard, entry, path)).collect();
        let extrinsic = self.layer_one().submit_reporting(&Call::force_batch(&calls), payer, wait, report).await?;
        let mut results = Vec::with_capacity(proofs.len());
        for OutboxProof { entry: OutboxEntry { number, id, .. }, .. } in proofs {
            results.push(match &extrinsic.inclusion {
                None => Submitted::Unknown,
                Some(inclusion) => {
                    let mut done = inclusion.events.iter().filter_map(Event::unshield);
                    match done.find(|event| (event.shard, event.id) == (shard, *id)) {
                        Some(event) => Submitted::Done(event.result),
                        None => match self.layer_one().settled_at(&shard, *number, inclusion.block_hash).await? {
                            Some(verdict) => Submitted::Before(verdict),
                            None => Submitted::PathOutdated,
                        },
                    }
                }
            });
        }
        Ok((extrinsic, results))
    }
}

/// Above the 4 096 unshieldings and exits and the 16 384 returns and one block's more that a shard lets be open.
const MAX_OWED: usize = 32_768;
