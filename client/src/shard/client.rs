//! Calls and queries through a worker, which is believed nothing that layer one or the enclave's key does not vouch for.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Moment, Nonce};
use cloister_wire::{
    BoundGetter, BoundGetterSigned, Getter, InboxStatus, Outcome, PublicGetter, SignedAnswer, TrustedCall,
    TrustedGetter, TrustedOperation, sidechain::SidechainHeader,
};
use codec::DecodeAll;
use serde_json::json;
use sp_core::{Pair, ed25519};

use super::{Error, Selection, Shard, require_owner};
use crate::{
    LayerOne, Signer, Worker,
    worker::{self, Operation},
};

/// A shard together with a worker whose enclave has said that it serves it.
#[derive(Clone)]
pub struct ShardClient {
    layer_one: LayerOne,
    worker: Worker,
    shard: Shard,
    /// When the registry was last asked whether the enclave may still serve.
    checked: Arc<Mutex<Instant>>,
    recheck_interval: Duration,
    /// The newest block of the shard that was heard of, and when.
    newest_block: Arc<Mutex<Option<(Instant, u64)>>>,
    call_lifetime: u64,
    call_nonce: Option<Nonce>,
}

/// An authenticated answer of the shard's enclave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<T> {
    /// What was asked for, if there is one.
    pub value: Option<T>,
    /// Height of the shard's block that was read.
    pub block_number: u64,
    /// Commitment to the state that was read.
    pub commitment: H256,
    /// Height of the newest finalized layer-one block that the enclave had seen.
    pub layer_one_number: BlockNumber,
    /// Its time, Unix milliseconds.
    pub layer_one_time: Moment,
}

impl ShardClient {
    /// Finds the shard and its enclave's registration on layer one, at the finalized head, and connects to the worker.
    /// Nothing is sent to it before its TLS key has proved to be the registered one, and nothing but the question which
    /// shard it serves before the answer is the shard that is meant.
    pub async fn connect(layer_one: &LayerOne, worker_url: &str, selection: &Selection) -> Result<Self, Error> {
        // The worker decides how long the rest takes.
        let checked = Arc::new(Mutex::new(Instant::now()));
        let (shard, worker) = selection.find(layer_one, worker_url).await?;
        Ok(Self {
            layer_one: layer_one.clone(),
            worker,
            shard,
            checked,
            recheck_interval: RECHECK_INTERVAL,
            newest_block: Arc::default(),
            call_lifetime: CALL_LIFETIME_BLOCKS,
            call_nonce: None,
        })
    }

    /// With another number of the shard's blocks in which a call may be executed after it was signed; 1 000 otherwise,
    /// which are five minutes in which the shard always has work. Blocks that are not made do not count.
    pub fn with_call_lifetime(mut self, blocks: u64) -> Self {
        self.call_lifetime = blocks;
        self
    }

    /// With this nonce for calls, not the sender's next one. Of calls with the same nonce one is executed at most: so what
    /// may still be executed can be sent again, or something else in its place.
    pub fn with_call_nonce(mut self, nonce: Nonce) -> Self {
        self.call_nonce = Some(nonce);
        self
    }

    /// With another time for which the registry's word holds for sending over the open connection; 6 s otherwise.
    /// Queries about an account and shieldings ask the registry each time.
    pub fn with_recheck_interval(mut self, interval: Duration) -> Self {
        self.recheck_interval = interval;
        self
    }

    /// The shard.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The connection to the enclave.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The connection to layer one.
    pub fn layer_one(&self) -> &LayerOne {
        &self.layer_one
    }

    /// Height of the shard's newest block, 0 before the first.
    pub async fn block_number(&self) -> Result<u64, Error> {
        self.recheck_if_due().await?;
        let number = match self.worker.read::<SidechainHeader>("chain_getHeader", json!([])).await {
            Ok(header) => header.block_number,
            Err(worker::Error::Refused(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        self.heard_of(number);
        Ok(number)
    }

    /// Spendable planck; only the owner can ask.
    pub async fn free_balance(&self, owner: &Signer) -> Result<Balance, Error> {
        Ok(self.ask(owner, TrustedGetter::FreeBalance(owner.account())).await?.value.unwrap_or_default())
    }

    /// Reserved planck; only the owner can ask.
    pub async fn reserved_balance(&self, owner: &Signer) -> Result<Balance, Error> {
        Ok(self.ask(owner, TrustedGetter::ReservedBalance(owner.account())).await?.value.unwrap_or_default())
    }

    /// The account's next nonce on the shard; only the owner can ask.
    pub async fn nonce(&self, owner: &Signer) -> Result<Nonce, Error> {
        Ok(self.ask(owner, TrustedGetter::Nonce(owner.account())).await?.value.unwrap_or_default())
    }

    /// What became of an operation, if the shard still remembers; only its sender can ask.
    pub async fn outcome(&self, sender: &Signer, operation: H256) -> Result<Option<Outcome>, Error> {
        Ok(self.ask(sender, TrustedGetter::CallOutcome(sender.account(), operation)).await?.value)
    }

    /// How far the shard has come in its inbox; anybody can ask.
    pub async fn inbox_status(&self) -> Result<InboxStatus, Error> {
        self.recheck_if_due().await?;
        let getter = Getter::Public(PublicGetter::Inbox);
        let value = self.worker.execute_getter(self.shard.id, &getter).await?.ok_or(Error::NoAnswer)?;
        InboxStatus::decode_all(&mut value.as_slice()).map_err(|_| Error::Undecodable)
    }

    /// Asks about an account, with a query that holds for this shard, its code and a short time, and checks the
    /// enclave's signature, that it follows layer one, and that the registry still knows this start of it.
    pub async fn ask<T: DecodeAll>(&self, owner: &Signer, getter: TrustedGetter) -> Result<Answer<T>, Error> {
        require_owner(owner, getter.owner())?;
        self.recheck().await?;
        let last_block = self.block_number().await?.saturating_add(QUERY_LIFETIME_BLOCKS);
        let query = BoundGetter { getter, last_block, client_nonce: rand::random() };
        let signed_bytes = query.signed_bytes(&self.shard.genesis, &self.shard.id, &self.shard.scope().mrenclave);
        let query = BoundGetterSigned { query, signature: owner.sign(&signed_bytes) };

        let request_hash = query.hash();
        let value = self.worker.execute_getter(self.shard.id, &Getter::Bound(query)).await?.ok_or(Error::NoAnswer)?;
        let answer = SignedAnswer::decode_all(&mut value.as_slice()).map_err(|_| Error::Undecodable)?;
        // The enclave's host may have held it back until another start took the place of this one.
        let finalized = self.recheck().await?;
        verify(&self.shard, request_hash, &answer, finalized)?;
        if answer.layer_one_number <= finalized.number {
            let own = self.layer_one.block_hash(answer.layer_one_number).await?;
            if own != answer.layer_one_head {
                return Err(Error::OtherChain { number: answer.layer_one_number, seen: answer.layer_one_head, own });
            }
        }
        self.heard_of(answer.block_number);
        let value = match answer.value {
            Some(value) => Some(T::decode_all(&mut value.as_slice()).map_err(|_| Error::Undecodable)?),
            None => None,
        };
        Ok(Answer {
            value,
            block_number: answer.block_number,
            commitment: answer.commitment,
            layer_one_number: answer.layer_one_number,
            layer_one_time: answer.layer_one_time,
        })
    }

    /// Pays planck on the shard.
    pub async fn transfer(&self, from: &Signer, to: &AccountId, amount: Balance) -> Result<Operation, Error> {
        self.submit(from, TrustedCall::BalanceTransfer(from.account(), to.clone(), amount)).await
    }

    /// Sends a call with its sender's next nonce. What is not known to be refused or unsent is
    /// [`Error::PerhapsExecuted`], here and in the methods below.
    pub async fn submit(&self, sender: &Signer, call: TrustedCall) -> Result<Operation, Error> {
        let nonce = self.nonce_for_call(sender).await?;
        self.submit_with_nonce(sender, call, nonce).await
    }

    /// Sends a call.
    pub async fn submit_with_nonce(
        &self,
        sender: &Signer,
        call: TrustedCall,
        nonce: Nonce,
    ) -> Result<Operation, Error> {
        let last_block = self.last_block().await?;
        self.submit_until(sender, call, nonce, last_block).await
    }

    /// Sends a call that may be in the shard's block `last_block` at the latest.
    pub async fn submit_until(
        &self,
        sender: &Signer,
        call: TrustedCall,
        nonce: Nonce,
        last_block: u64,
    ) -> Result<Operation, Error> {
        let signed = self.shard.sign_bound_call(call, nonce, last_block, sender)?;
        let operation = TrustedOperation::BoundCall(signed);
        self.recheck_if_due().await?;
        let sent = operation.hash();
        let request = self.shard.seal_operation(&operation)?;
        let submitted = self.worker.submit_and_watch(&request).await;
        let operation = submitted.map_err(|error| Error::of_operation(error, sent))?;
        match operation.hash() == sent {
            true => Ok(operation),
            false => Err(Error::OtherOperation { sent, found: operation.hash() }),
        }
    }

    /// Sends calls of one sender in one message, with its next nonces; 128 at most, and no more than the worker takes in
    /// a message. The operation of each, or why the enclave does not take it: then those after it wait for another call
    /// with its nonce. What becomes of them [`Self::outcome`] tells. If nothing is known of any that were sent, it is
    /// [`Error::BatchPerhapsExecuted`]; with every other error none was taken.
    pub async fn submit_batch(
        &self,
        sender: &Signer,
        calls: Vec<TrustedCall>,
    ) -> Result<Vec<Result<H256, Error>>, Error> {
        let nonce = self.nonce_for_call(sender).await?;
        let last_block = self.last_block().await?;
        let signed = calls.into_iter().zip(nonce..).map(|(call, nonce)| {
            let signed = self.shard.sign_bound_call(call, nonce, last_block, sender)?;
            Ok(TrustedOperation::BoundCall(signed))
        });
        self.submit_operations(&signed.collect::<Result<Vec<_>, Error>>()?).await
    }

    /// As [`Self::submit_batch`], with operations of whomever that are signed already.
    pub async fn submit_operations(&self, operations: &[TrustedOperation]) -> Result<Vec<Result<H256, Error>>, Error> {
        self.recheck_if_due().await?;
        let requests: Vec<_> = operations.iter().map(|it| self.shard.seal_operation(it)).collect::<Result<_, _>>()?;
        let answers = self.worker.submit_batch(&requests).await.map_err(|error| match error {
            worker::Error::PerhapsExecuted { source, .. } => Error::BatchPerhapsExecuted {
                operations: operations.iter().map(TrustedOperation::hash).collect(),
                source: Box::new(Error::from(*source)),
            },
            error => error.into(),
        })?;
        let answer = |(operation, answer): (&TrustedOperation, Result<H256, worker::Error>)| {
            let (sent, found) = (operation.hash(), answer?);
            if sent == found { Ok(found) } else { Err(Error::OtherOperation { sent, found }) }
        };
        Ok(operations.iter().zip(answers).map(answer).collect())
    }

    /// The nonce of a call that is signed now.
    pub(super) async fn nonce_for_call(&self, sender: &Signer) -> Result<Nonce, Error> {
        let next = self.nonce(sender).await?;
        match self.call_nonce {
            Some(nonce) if nonce < next => Err(Error::NonceUsed { nonce, next }),
            wanted => Ok(wanted.unwrap_or(next)),
        }
    }

    /// The last block of the shard for a call that is signed now.
    pub(super) async fn last_block(&self) -> Result<u64, Error> {
        let heard = *self.newest_block.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = match heard {
            Some((when, number)) if when.elapsed() < BLOCK_KNOWN_FOR => number,
            _ => self.block_number().await?,
        };
        Ok(newest.saturating_add(self.call_lifetime))
    }

    fn heard_of(&self, block: u64) {
        *self.newest_block.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), block));
    }

    /// Asks the registry if the last time is too long ago.
    pub(super) async fn recheck_if_due(&self) -> Result<(), Error> {
        let checked = *self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        match checked.elapsed() >= self.recheck_interval {
            true => self.recheck().await.map(|_| ()),
            false => Ok(()),
        }
    }

    /// Asks the registry, at the finalized head, whether the enclave behind the connection may still serve.
    pub(super) async fn recheck(&self) -> Result<Finalized, Error> {
        let layer_one = &self.layer_one;
        let at = layer_one.finalized_hash().await?;
        let (header, time, record) = tokio::try_join!(
            layer_one.header(at),
            layer_one.time_at(at),
            layer_one.enclave_at(self.shard.founder(), at)
        )?;
        self.shard.still_served(record, time)?;
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(Finalized { number: header.number, time })
    }
}

/// The own node's newest finalized block.
#[derive(Clone, Copy)]
pub(super) struct Finalized {
    number: BlockNumber,
    time: Moment,
}

fn verify(shard: &Shard, request_hash: H256, answer: &SignedAnswer, finalized: Finalized) -> Result<(), Error> {
    if answer.request_hash != request_hash {
        return Err(Error::OtherQuery);
    }
    let key = ed25519::Public::from_raw(shard.enclave.incarnation_key);
    let signature = ed25519::Signature::from_raw(answer.signature);
    if !ed25519::Pair::verify(&signature, answer.signed_bytes(&shard.genesis, &shard.id), &key) {
        return Err(Error::BadAnswerSignature);
    }
    let behind_ms = finalized.time.saturating_sub(answer.layer_one_time);
    let behind_blocks = finalized.number.saturating_sub(answer.layer_one_number);
    if behind_ms > MAX_LAG_MS || behind_blocks > MAX_LAG_BLOCKS {
        return Err(Error::StaleAnswer { seen: answer.layer_one_number, finalized: finalized.number, behind_ms });
    }
    Ok(())
}

/// Blocks of the shard for which a query may be answered: some 20 s of work.
const QUERY_LIFETIME_BLOCKS: u64 = 64;
/// Blocks of the shard in which a call may be executed: five minutes of slots.
const CALL_LIFETIME_BLOCKS: u64 = 1_000;
/// How long the newest block that was heard of is taken for the newest one: a few slots.
const BLOCK_KNOWN_FOR: Duration = Duration::from_secs(6);
/// How far an answer may lag behind the own node.
const MAX_LAG_MS: u64 = 60_000;
const MAX_LAG_BLOCKS: BlockNumber = 60;
/// How long the registry's word holds for sending over an open connection, unless told otherwise.
const RECHECK_INTERVAL: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::ShardId;
    use cloister_claims::Stance;
    use cloister_wire::envelope::{Context, Purpose, SecretKey, open};
    use codec::Encode;

    use super::*;
    use crate::{
        Scheme,
        shard::{
            WantedCode,
            tests::{SECRET, incarnation, shard},
        },
    };

    fn answer(shard: &Shard, signer: &ed25519::Pair) -> SignedAnswer {
        let mut answer = SignedAnswer {
            value: Some(7u128.encode()),
            request_hash: H256::repeat_byte(8),
            commitment: H256::repeat_byte(9),
            block_number: 3,
            layer_one_number: 1_000,
            layer_one_head: H256::repeat_byte(10),
            layer_one_time: 1_000_000,
            signature: [0; 64],
        };
        answer.signature = signer.sign(&answer.signed_bytes(&shard.genesis, &shard.id)).0;
        answer
    }

    const NOW: Finalized = Finalized { number: 1_060, time: 1_060_000 };

    #[test]
    fn a_signed_and_recent_answer_is_believed() {
        let shard = shard();
        let answer = answer(&shard, &incarnation());
        verify(&shard, answer.request_hash, &answer, NOW).unwrap();
        // An own node that is behind makes nothing stale.
        verify(&shard, answer.request_hash, &answer, Finalized { number: 1, time: 0 }).unwrap();
    }

    #[test]
    fn an_answer_to_another_query_is_refused() {
        let shard = shard();
        let answer = answer(&shard, &incarnation());
        assert!(matches!(verify(&shard, H256::zero(), &answer, NOW), Err(Error::OtherQuery)));
    }

    #[test]
    fn an_answer_that_the_enclave_did_not_sign_is_refused() {
        let shard = shard();
        let forged = answer(&shard, &ed25519::Pair::from_seed(&[2; 32]));
        assert!(matches!(verify(&shard, forged.request_hash, &forged, NOW), Err(Error::BadAnswerSignature)));
        let changes: [fn(&mut SignedAnswer); 6] = [
            |answer| answer.value = Some(8u128.encode()),
            |answer| answer.commitment = H256::zero(),
            |answer| answer.block_number += 1,
            |answer| answer.layer_one_number += 1,
            |answer| answer.layer_one_head = H256::zero(),
            |answer| answer.layer_one_time += 1,
        ];
        for change in changes {
            let mut changed = answer(&shard, &incarnation());
            change(&mut changed);
            assert!(matches!(verify(&shard, changed.request_hash, &changed, NOW), Err(Error::BadAnswerSignature)));
        }
        let mut elsewhere = shard.clone();
        elsewhere.id = ShardId::default();
        let honest = answer(&shard, &incarnation());
        assert!(matches!(verify(&elsewhere, honest.request_hash, &honest, NOW), Err(Error::BadAnswerSignature)));
    }

    #[test]
    fn an_answer_of_an_enclave_that_lags_is_stale() {
        let shard = shard();
        let answer = answer(&shard, &incarnation());
        for finalized in [Finalized { number: 1_061, ..NOW }, Finalized { time: 1_060_001, ..NOW }] {
            let error = verify(&shard, answer.request_hash, &answer, finalized).unwrap_err();
            assert!(matches!(error, Error::StaleAnswer { seen: 1_000, .. }), "{error}");
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let shard = shard();
        let alice = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        let call = TrustedCall::BalanceTransfer(alice.account(), AccountId::new([1; 32]), 5);
        let operation = TrustedOperation::DirectCall(shard.sign_call(call, 0, &alice).unwrap());
        let request = shard.seal_operation(&operation).unwrap();
        let context = |purpose| Context { genesis: shard.genesis, shard: shard.id, purpose };
        let secret = SecretKey::from_bytes(SECRET);
        let opened = open(&context(Purpose::Request), &secret, &request.cyphertext).unwrap();
        let opened = TrustedOperation::decode_all(&mut opened.as_slice()).unwrap();
        assert_eq!(opened, operation);
        let TrustedOperation::DirectCall(signed) = opened else { panic!("not a direct call") };
        assert!(signed.verify(&shard.scope()));

        let sealed = shard.seal_beneficiary(&alice.account()).unwrap();
        let opened = open(&context(Purpose::Beneficiary), &secret, &sealed).unwrap();
        assert_eq!(opened.as_slice(), alice.account().encode());
        assert!(open(&context(Purpose::Request), &secret, &sealed).is_err());
    }

    #[test]
    fn nobody_signs_for_others_nor_for_other_code() {
        let shard = shard();
        let alice = Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap();
        let call = TrustedCall::Noop(AccountId::new([1; 32]));
        assert!(matches!(shard.sign_call(call, 0, &alice), Err(Error::WrongSigner { .. })));
        shard.require(None).unwrap();
        let wanted =
            |fingerprint| Some(WantedCode { fingerprint, simulation: Stance::Allowed, debug: Stance::Forbidden });
        shard.require(wanted([2; 32])).unwrap();
        assert!(matches!(shard.require(wanted([3; 32])), Err(Error::WrongMeasurement { .. })));
    }
}
