//! Trusted operations: what stands inside an encrypted request.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use cloister_chain_primitives::{AccountId, Balance, H256, Moment, Nonce, ShardId, domain};
use codec::{Decode, Encode};
use sp_crypto_hashing::blake2_256;
use sp_runtime::MultiSignature;

use crate::{getter::Getter, verify_signature};

/// What a request carries.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TrustedOperation {
    /// A call that came through layer one's inbox.
    #[codec(index = 0)]
    IndirectCall(TrustedCallSigned),
    /// A call that came through the worker's RPC.
    #[codec(index = 1)]
    DirectCall(TrustedCallSigned),
    /// A query.
    #[codec(index = 2)]
    Get(Getter),
    /// Own form, through the worker's RPC: see [`BoundCall`].
    #[codec(index = 64)]
    BoundCall(BoundCallSigned),
    /// Own form, through layer one's inbox. The way is no part of what is signed, but of what is encrypted: everybody
    /// sees the ciphertext in the inbox, and must not learn what the enclave would tell who submits it.
    #[codec(index = 65)]
    IndirectBoundCall(BoundCallSigned),
}

impl TrustedOperation {
    /// BLAKE2b-256 of the encoding, by which clients name the operation.
    pub fn hash(&self) -> H256 {
        H256(blake2_256(&self.encode()))
    }
}

/// A call with its sender's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct TrustedCallSigned {
    /// What to do.
    pub call: TrustedCall,
    /// The sender's nonce on the shard.
    pub nonce: Nonce,
    /// Over the bytes that [`SignatureScope::call_bytes`] gives.
    pub signature: MultiSignature,
}

impl TrustedCallSigned {
    /// Whether the call's sender signed it for `scope`.
    pub fn verify(&self, scope: &SignatureScope) -> bool {
        verify_signature(&self.signature, &scope.call_bytes(&self.call, self.nonce), self.call.sender())
    }
}

/// A call that holds for one chain, one shard, one enclave code and a short time.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BoundCall {
    /// What to do.
    pub call: TrustedCall,
    /// The sender's nonce on the shard.
    pub nonce: Nonce,
    /// Last block of the shard that may hold the call. In a later one it is refused and leaves no trace.
    pub last_block: u64,
}

/// A [`BoundCall`] with its sender's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BoundCallSigned {
    /// The call.
    pub bound: BoundCall,
    /// The sender's, over [`BoundCall::signed_bytes`].
    pub signature: MultiSignature,
}

impl BoundCall {
    /// The bytes that the sender signs.
    pub fn signed_bytes(&self, genesis: &H256, scope: &SignatureScope) -> Vec<u8> {
        domain::message("call", genesis, &[scope.shard.as_ref(), &scope.mrenclave, &self.encode()])
    }
}

impl BoundCallSigned {
    /// Whether the call's sender signed it for this chain and `scope`.
    pub fn verify(&self, genesis: &H256, scope: &SignatureScope) -> bool {
        verify_signature(&self.signature, &self.bound.signed_bytes(genesis, scope), self.bound.call.sender())
    }
}

/// The enclave code and shard for which a call is signed. Signing the shard signs the chain, because a shard's id is a
/// hash over the genesis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignatureScope {
    /// Fingerprint of the enclaves that serve the shard.
    pub mrenclave: [u8; 32],
    /// The shard.
    pub shard: ShardId,
}

impl SignatureScope {
    /// call ‖ nonce (u32, little endian) ‖ mrenclave ‖ shard.
    pub fn call_bytes(&self, call: &TrustedCall, nonce: Nonce) -> Vec<u8> {
        (call, nonce, self.mrenclave, self.shard).encode()
    }
}

/// Calls of a shard. The first field is always the sender.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TrustedCall {
    /// Does nothing.
    #[codec(index = 0)]
    Noop(AccountId),
    /// (root, account, free, reserved): sets a balance, where simulation is allowed.
    #[codec(index = 1)]
    BalanceSetBalance(AccountId, AccountId, Balance, Balance),
    /// (from, to, planck).
    #[codec(index = 2)]
    BalanceTransfer(AccountId, AccountId, Balance),
    /// (incognito account, public account, planck, shard).
    #[codec(index = 3)]
    BalanceUnshield(AccountId, AccountId, Balance, ShardId),
    /// (enclave, account, planck, origin): never accepted from a client.
    #[codec(index = 4)]
    BalanceShield(AccountId, AccountId, Balance, ParentchainId),
    /// (enclave, time, origin): never accepted from a client.
    #[codec(index = 5)]
    TimestampSet(AccountId, Moment, ParentchainId),
    /// (sender, payload): a call of the shard's own business logic. What the payload means its program says.
    #[codec(index = 64)]
    App(AccountId, Vec<u8>),
}

impl TrustedCall {
    /// Who must have signed the call.
    pub fn sender(&self) -> &AccountId {
        match self {
            Self::Noop(sender)
            | Self::BalanceSetBalance(sender, ..)
            | Self::BalanceTransfer(sender, ..)
            | Self::BalanceUnshield(sender, ..)
            | Self::BalanceShield(sender, ..)
            | Self::TimestampSet(sender, ..)
            | Self::App(sender, _) => sender,
        }
    }
}

/// A chain that a shard listens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ParentchainId {
    /// Layer one.
    #[codec(index = 0)]
    LayerOne,
    /// A first other chain.
    #[codec(index = 1)]
    TargetA,
    /// A second other chain.
    #[codec(index = 2)]
    TargetB,
}

/// What became of a call, for its sender.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Outcome {
    /// Height of the shard's block that holds the call.
    pub block_number: u64,
    /// Why it failed, if it did.
    pub result: Result<(), String>,
    /// What it opened in the shard's outbox: number and id, by which layer one names it.
    pub outbox: Option<(u64, H256)>,
}
