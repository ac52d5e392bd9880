//! What clients of a [`World`] sign and ask.

use cloister_chain_primitives::{AccountId, Balance, H256, ShardId};
use cloister_sidechain::{QueryRefused, VerifiedGetter};
use cloister_stf::{VerifiedCall, verify};
use cloister_wire::{
    BoundGetter, BoundGetterSigned, Getter, InboxStatus, OutboxProof, PublicGetter, SignedAnswer, TrustedCall,
    TrustedCallSigned, TrustedGetter, TrustedOperation,
    sidechain::{Books, SignedBlock},
};
use codec::Decode;
use sp_core::{Pair, sr25519};
use sp_runtime::MultiSignature;

use crate::{World, account, key};

impl World {
    pub fn sign(&self, who: &str, call: TrustedCall, nonce: u32) -> VerifiedCall {
        self.sign_with(&key(who), call, nonce)
    }

    /// To derive a key takes a hundred times as long as to sign.
    pub fn sign_with(&self, pair: &sr25519::Pair, call: TrustedCall, nonce: u32) -> VerifiedCall {
        let scope = self.engine.scope();
        let signature = MultiSignature::Sr25519(pair.sign(&scope.call_bytes(&call, nonce)));
        let signed = TrustedCallSigned { call, nonce, signature };
        let hash = TrustedOperation::DirectCall(signed.clone()).hash();
        verify(hash, signed, &scope, &self.engine.rules()).unwrap()
    }

    pub fn transfer(&self, from: &str, to: &str, amount: Balance, nonce: u32) -> VerifiedCall {
        self.sign(from, TrustedCall::BalanceTransfer(account(from), account(to), amount), nonce)
    }

    pub fn unshield(&self, from: &str, to: &AccountId, amount: Balance, nonce: u32) -> VerifiedCall {
        self.sign(from, TrustedCall::BalanceUnshield(account(from), to.clone(), amount, self.shard()), nonce)
    }

    pub fn answer(&self, shard: &ShardId, getter: Getter) -> Result<Option<Vec<u8>>, QueryRefused> {
        let getter = VerifiedGetter::verify(getter, &self.genesis(), &self.engine.scope(), &self.engine.rules())?;
        self.engine.answer(shard, &getter)
    }

    /// What an account's owner reads, with a bound getter whose answer is verified.
    pub fn read<T: Decode>(&self, who: &str, getter: TrustedGetter) -> Option<T> {
        let query = BoundGetter { getter, last_block: self.engine.figures().block, client_nonce: [9; 16] };
        let bytes = query.signed_bytes(&self.genesis(), &self.shard(), &self.engine.scope().mrenclave);
        let signed = BoundGetterSigned { query, signature: MultiSignature::Sr25519(key(who).sign(&bytes)) };
        let hash = signed.hash();
        let answer = self.answer(&self.shard(), Getter::Bound(signed)).unwrap().unwrap();
        let answer = SignedAnswer::decode(&mut answer.as_slice()).unwrap();
        assert_eq!(answer.request_hash, hash);
        let record = self.record().unwrap();
        assert!(sp_core::ed25519::Pair::verify(
            &sp_core::ed25519::Signature::from_raw(answer.signature),
            answer.signed_bytes(&self.genesis(), &self.shard()),
            &sp_core::ed25519::Public::from_raw(record.incarnation_key),
        ));
        answer.value.map(|value| T::decode(&mut value.as_slice()).unwrap())
    }

    /// Commitment to the state of the newest block, as a signed answer has it.
    pub fn commitment(&self) -> H256 {
        let query = BoundGetter {
            getter: TrustedGetter::Nonce(account("Nobody")),
            last_block: self.engine.figures().block,
            client_nonce: [9; 16],
        };
        let bytes = query.signed_bytes(&self.genesis(), &self.shard(), &self.engine.scope().mrenclave);
        let signed = BoundGetterSigned { query, signature: MultiSignature::Sr25519(key("Nobody").sign(&bytes)) };
        let answer = self.answer(&self.shard(), Getter::Bound(signed)).unwrap().unwrap();
        SignedAnswer::decode(&mut answer.as_slice()).unwrap().commitment
    }

    pub fn free_balance(&self, who: &str) -> Balance {
        self.read(who, TrustedGetter::FreeBalance(account(who))).unwrap_or_default()
    }

    pub fn nonce(&self, who: &str) -> u32 {
        self.read(who, TrustedGetter::Nonce(account(who))).unwrap_or_default()
    }

    /// What the enclave tells everybody of its outbox.
    pub fn outbox(&self) -> Vec<OutboxProof> {
        let proofs = self.answer(&self.shard(), Getter::Public(PublicGetter::Outbox(0))).unwrap().unwrap();
        Vec::decode(&mut proofs.as_slice()).unwrap()
    }

    /// The books of the newest block that is kept.
    pub fn books(&self) -> Books {
        let newest = self.disk.blocks.last_key_value();
        newest
            .map_or(Books::default(), |(_, (_, block))| SignedBlock::decode(&mut &block[..]).unwrap().block_data.books)
    }

    pub fn inbox(&self) -> InboxStatus {
        let status = self.answer(&self.shard(), Getter::Public(PublicGetter::Inbox)).unwrap().unwrap();
        InboxStatus::decode(&mut status.as_slice()).unwrap()
    }
}
