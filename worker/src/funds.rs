//! Money for the enclave's account: what it must hold for deposits and fees.

use std::sync::Arc;

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, H256, REGISTRATION_DEPOSIT, SHARD_DEPOSIT, ShardBirth, ShardId, UNIT,
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
    storage,
};
use codec::Encode;
use sp_core::ed25519;
use sp_runtime::generic::Era;

use crate::{
    alice,
    layer_one::{LayerOne, LayerOneError},
    operator::units,
    session::Identity,
};

/// Who pays for an enclave and provides its collateral.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sponsor {
    Operator,
    /// Of development chains.
    Alice,
}

/// An enclave's account, and the shard that it pays for.
#[derive(Clone, Debug)]
pub struct Purse {
    pub layer_one: Arc<LayerOne>,
    pub account: AccountId,
    pub birth: ShardBirth,
    pub shard: ShardId,
}

/// What an account has, and what it should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Funds {
    /// In planck, without what is held as deposits.
    pub free: Balance,
    /// Less than this, and what is due now is not paid.
    pub least: Balance,
    /// With what follows soon.
    pub needed: Balance,
}

impl Purse {
    pub fn new(layer_one: Arc<LayerOne>, identity: &Identity) -> Self {
        let Identity { account, birth, shard, .. } = identity;
        Self { layer_one, account: account.clone(), birth: birth.clone(), shard: *shard }
    }

    /// For a registration. As long as the shard is not born that follows at once, so its price is due, too, and some
    /// renewals' with it; later a renewal does not wait for the money for the next.
    pub async fn for_registration(&self, extrinsic: &[u8]) -> Result<Funds, LayerOneError> {
        let fee = self.layer_one.fee(extrinsic).await?;
        let is_registered = self.exists(storage::enclave(&self.account)).await?;
        let deposit = if is_registered { 0 } else { REGISTRATION_DEPOSIT };
        let now = fee.saturating_add(deposit).saturating_add(EXISTENTIAL_DEPOSIT);
        let later = fee.saturating_mul(FEES_IN_HAND);
        let birth = match self.is_born().await? {
            true => 0,
            false => self.layer_one.fee(&self.unsigned_birth()).await?.saturating_add(BIRTH),
        };
        let needed = now.saturating_add(birth).saturating_add(later);
        Ok(Funds { free: self.free().await?, least: if birth == 0 { now } else { needed }, needed })
    }

    /// For any other extrinsic of the enclave.
    pub async fn for_extrinsic(&self, extrinsic: &[u8]) -> Result<Funds, LayerOneError> {
        let fee = self.layer_one.fee(extrinsic).await?;
        let deposit = if self.bears(extrinsic) && !self.is_born().await? { BIRTH } else { 0 };
        let least = fee.saturating_add(deposit).saturating_add(EXISTENTIAL_DEPOSIT);
        Ok(Funds { free: self.free().await?, least, needed: least.saturating_add(fee.saturating_mul(FEES_IN_HAND)) })
    }

    /// Whether an extrinsic is the birth of the shard.
    pub fn bears(&self, extrinsic: &[u8]) -> bool {
        extrinsic.ends_with(&Call::create_shard(&self.birth).encode())
    }

    /// Has //Alice pay, until the account has this much.
    pub async fn have_alice_pay(&self, needed: Balance) -> Result<(), alice::NoEffect> {
        let amount = FUNDING.max(needed);
        tracing::info!(amount = units(amount), "funding the enclave's account as //Alice");
        let funded = || async { Ok(self.free().await? >= needed) };
        alice::act(&self.layer_one, &[Call::transfer_allow_death(&self.account, amount)], funded).await
    }

    async fn free(&self) -> Result<Balance, LayerOneError> {
        Ok(self.layer_one.account(&self.account).await?.free)
    }

    async fn is_born(&self) -> Result<bool, LayerOneError> {
        self.exists(storage::shard(&self.shard)).await
    }

    async fn exists(&self, key: Vec<u8>) -> Result<bool, LayerOneError> {
        Ok(self.layer_one.storage(&key, None).await?.is_some())
    }

    /// As long as the real one, and so as expensive.
    fn unsigned_birth(&self) -> Vec<u8> {
        let call = Call::create_shard(&self.birth);
        let chain = ChainVersion { genesis: H256::zero(), spec_version: 0, transaction_version: 0 };
        let mortality = Mortality { era: Era::mortal(64, 0), birth_hash: H256::zero() };
        extrinsic::signed(&call, &self.account, 0, mortality, &chain, |_| ed25519::Signature::default().into())
    }
}

/// What a shard's birth takes beside its fee: the deposit, and what opens the escrow's account.
pub const BIRTH: Balance = SHARD_DEPOSIT + EXISTENTIAL_DEPOSIT;
/// Fees of a registration that an account should have in hand: confirmations and renewals follow.
pub const FEES_IN_HAND: u128 = 10;
/// Planck that //Alice gives at least.
pub const FUNDING: Balance = 1_000 * UNIT;
