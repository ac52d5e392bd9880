//! A client that believes only what an enclave signed whose registration it has read from layer one itself.

use cloister_chain_primitives::{AccountId, Balance, Nonce, Request, ShardBirth};
use cloister_client::worker::{Error, Operation, Pin, Worker};
use cloister_simulation::key;
use cloister_wire::{
    BoundCall, BoundCallSigned, BoundGetter, BoundGetterSigned, Getter, InboxStatus, PublicGetter, SignatureScope,
    SignedAnswer, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedGetterSigned, TrustedOperation,
    envelope::{self, Context, Purpose},
};
use codec::{Decode, Encode};
use sp_core::{H256, Pair, ed25519, sr25519};
use sp_runtime::MultiSignature;
use tokio::sync::watch;

use crate::{Host, Seen};

/// A connection to an enclave, and a user's key.
pub struct Client {
    pub worker: Worker,
    pair: sr25519::Pair,
    genesis: H256,
    birth: ShardBirth,
    scope: SignatureScope,
    /// Of the incarnation that layer one recorded when this connected.
    incarnation: ed25519::Public,
    seen: watch::Receiver<Seen>,
}

impl Client {
    /// Through the host's port.
    pub async fn connect(host: &Host, who: &str) -> Result<Self, Error> {
        let identity = host.identity();
        let record = host.layer_one.record(&identity.account).expect("it is not registered");
        let worker = Worker::connect(&format!("wss://{}", host.address()), Pin::TlsKey(record.tls_key_hash)).await?;
        Ok(Self {
            worker,
            pair: key(who),
            genesis: host.layer_one.genesis(),
            scope: SignatureScope { mrenclave: identity.measurement, shard: identity.shard },
            birth: identity.birth,
            incarnation: ed25519::Public::from_raw(record.incarnation_key),
            seen: host.watch(),
        })
    }

    pub fn account(&self) -> AccountId {
        AccountId::new(self.pair.public().0)
    }

    /// A call that the user signed, encrypted to the shard.
    pub fn request(&self, call: TrustedCall, nonce: Nonce) -> Request {
        let signature = MultiSignature::Sr25519(self.pair.sign(&self.scope.call_bytes(&call, nonce)));
        self.sealed(&TrustedOperation::DirectCall(TrustedCallSigned { call, nonce, signature }))
    }

    /// The same up to a last block.
    pub fn request_until(&self, last_block: u64, call: TrustedCall, nonce: Nonce) -> Request {
        let bound = BoundCall { call, nonce, last_block };
        let signature = MultiSignature::Sr25519(self.pair.sign(&bound.signed_bytes(&self.genesis, &self.scope)));
        self.sealed(&TrustedOperation::BoundCall(BoundCallSigned { bound, signature }))
    }

    fn sealed(&self, operation: &TrustedOperation) -> Request {
        let context = Context { genesis: self.genesis, shard: self.scope.shard, purpose: Purpose::Request };
        let keys = &self.birth.shielding_keys;
        let cyphertext = envelope::seal(&context, keys.epoch, &keys.hpke, &operation.encode()).unwrap();
        Request { shard: self.scope.shard, cyphertext: cyphertext.try_into().unwrap() }
    }

    /// The same, for layer one's inbox.
    pub fn invocation(&self, call: TrustedCall, nonce: Nonce) -> Vec<u8> {
        let signature = MultiSignature::Sr25519(self.pair.sign(&self.scope.call_bytes(&call, nonce)));
        let operation = TrustedOperation::IndirectCall(TrustedCallSigned { call, nonce, signature });
        let context = Context { genesis: self.genesis, shard: self.scope.shard, purpose: Purpose::Request };
        let keys = &self.birth.shielding_keys;
        envelope::seal(&context, keys.epoch, &keys.hpke, &operation.encode()).unwrap()
    }

    pub fn transfer(&self, to: &AccountId, amount: Balance) -> TrustedCall {
        TrustedCall::BalanceTransfer(self.account(), to.clone(), amount)
    }

    /// Submits a transfer and follows it.
    pub async fn send(&self, to: &AccountId, amount: Balance, nonce: Nonce) -> Result<Operation, Error> {
        self.worker.submit_and_watch(&self.request(self.transfer(to, amount), nonce)).await
    }

    /// Sends a transfer and waits until the shard has executed it.
    pub async fn pay(&self, to: &AccountId, amount: Balance, nonce: Nonce) -> Result<H256, Error> {
        self.send(to, amount, nonce).await?.in_block().await
    }

    /// Asks with a bound getter.
    ///
    /// # Panics
    /// If what comes is not what the incarnation answers to this very query.
    pub async fn read<T: Decode>(&self, getter: TrustedGetter) -> Result<Option<T>, Error> {
        let query = BoundGetter {
            getter,
            last_block: self.seen.borrow().block + 500,
            client_nonce: *H256::random().0[..16].first_chunk().unwrap(),
        };
        let bytes = query.signed_bytes(&self.genesis, &self.scope.shard, &self.scope.mrenclave);
        let signed = BoundGetterSigned { query, signature: MultiSignature::Sr25519(self.pair.sign(&bytes)) };
        let hash = signed.hash();
        let answer = self.worker.execute_getter(self.scope.shard, &Getter::Bound(signed)).await?.expect("no answer");
        let answer = SignedAnswer::decode(&mut answer.as_slice()).unwrap();
        let message = answer.signed_bytes(&self.genesis, &self.scope.shard);
        assert_eq!(answer.request_hash, hash);
        let signature = ed25519::Signature::from_raw(answer.signature);
        assert!(ed25519::Pair::verify(&signature, message, &self.incarnation), "not the incarnation's answer");
        Ok(answer.value.map(|value| T::decode(&mut value.as_slice()).unwrap()))
    }

    /// Asks in the published form, which whoever sees it can repeat.
    pub async fn read_unbound<T: Decode>(&self, getter: TrustedGetter) -> Result<Option<T>, Error> {
        let signature = MultiSignature::Sr25519(self.pair.sign(&getter.encode()));
        let getter = Getter::Trusted(TrustedGetterSigned { getter, signature });
        let answer = self.worker.execute_getter(self.scope.shard, &getter).await?;
        Ok(answer.map(|value| T::decode(&mut value.as_slice()).unwrap()))
    }

    pub async fn balance(&self) -> Result<Balance, Error> {
        Ok(self.read(TrustedGetter::FreeBalance(self.account())).await?.unwrap_or(0))
    }

    pub async fn nonce(&self) -> Result<Nonce, Error> {
        Ok(self.read(TrustedGetter::Nonce(self.account())).await?.unwrap_or(0))
    }

    /// How far the shard has come in the inbox, by the enclave's word through TLS.
    pub async fn inbox(&self) -> Result<InboxStatus, Error> {
        let answer = self.worker.execute_getter(self.scope.shard, &Getter::Public(PublicGetter::Inbox)).await?;
        Ok(InboxStatus::decode(&mut answer.expect("no answer").as_slice()).unwrap())
    }
}
