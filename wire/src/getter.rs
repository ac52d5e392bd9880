//! Queries of a shard's state.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use cloister_chain_primitives::{AccountId, BlockNumber, H256, Moment, OutboxEntry, OutboxPath, ShardId, domain};
use codec::{Decode, Encode};
use sp_crypto_hashing::blake2_256;
use sp_runtime::MultiSignature;

use crate::verify_signature;

/// A query.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Getter {
    /// Anybody may ask.
    #[codec(index = 0)]
    Public(PublicGetter),
    /// The published form: only the account itself may ask, but its signature can be replayed by who sees it.
    #[codec(index = 1)]
    Trusted(TrustedGetterSigned),
    /// Own form, see [`BoundGetter`].
    #[codec(index = 64)]
    Bound(BoundGetterSigned),
}

/// Queries about the shard as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum PublicGetter {
    /// [`InboxStatus`]: how far the shard has come in layer one's inbox.
    #[codec(index = 64)]
    Inbox,
    /// Up to 256 [`OutboxProof`]s by ascending number, from this number on: entries of the outbox that layer one has not
    /// settled yet, with paths into the root that is anchored. What layer one has not finally anchored is not told.
    #[codec(index = 65)]
    Outbox(u64),
    /// A query of the shard's own business logic. What question and answer mean its program says.
    #[codec(index = 66)]
    App(Vec<u8>),
}

/// With this anybody can have an entry of the outbox paid.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OutboxProof {
    /// The entry.
    pub entry: OutboxEntry,
    /// Its path into the `outbox_root` that was anchored last.
    pub path: OutboxPath,
}

/// What a shard has consumed of its inbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct InboxStatus {
    /// Entries consumed, which is the number of the next one.
    pub consumed: u64,
    /// Of those, calls.
    pub invokes: u64,
    /// Of those, shieldings that were credited.
    pub shields_credited: u64,
    /// Of those, shieldings that could not be credited and are returned to their senders through the outbox.
    pub shields_returned: u64,
}

/// Queries about an account, for that account only.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TrustedGetter {
    /// Spendable planck, u128.
    #[codec(index = 0)]
    FreeBalance(AccountId),
    /// Reserved planck, u128.
    #[codec(index = 1)]
    ReservedBalance(AccountId),
    /// The account's next nonce, u32.
    #[codec(index = 2)]
    Nonce(AccountId),
    /// What became of the operation with this hash, an [`Outcome`](crate::Outcome). Kept for 1 000 blocks.
    #[codec(index = 64)]
    CallOutcome(AccountId, H256),
    /// The account's unshielding with this number in the outbox, as (public account, planck), while it is open.
    #[codec(index = 65)]
    Unshielding(AccountId, u64),
    /// A query of the shard's own business logic about the account. What question and answer mean its program says.
    #[codec(index = 66)]
    App(AccountId, Vec<u8>),
}

impl TrustedGetter {
    /// Who must have signed the query.
    pub fn owner(&self) -> &AccountId {
        match self {
            Self::FreeBalance(owner)
            | Self::ReservedBalance(owner)
            | Self::Nonce(owner)
            | Self::CallOutcome(owner, _)
            | Self::Unshielding(owner, _)
            | Self::App(owner, _) => owner,
        }
    }
}

/// A query as published clients sign it: over the getter's encoding alone.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct TrustedGetterSigned {
    /// What is asked.
    pub getter: TrustedGetter,
    /// The owner's.
    pub signature: MultiSignature,
}

impl TrustedGetterSigned {
    /// Whether the account asked itself.
    pub fn verify(&self) -> bool {
        verify_signature(&self.signature, &self.getter.encode(), self.getter.owner())
    }
}

/// A query that holds for one shard, one enclave code and a short time, and whose answer is signed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BoundGetter {
    /// What is asked.
    pub getter: TrustedGetter,
    /// Last block of the shard at which it may be answered.
    pub last_block: u64,
    /// Drawn by the client; stands in the answer's request hash.
    pub client_nonce: [u8; 16],
}

/// A [`BoundGetter`] with its owner's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BoundGetterSigned {
    /// The query.
    pub query: BoundGetter,
    /// The owner's, over [`BoundGetter::signed_bytes`].
    pub signature: MultiSignature,
}

impl BoundGetter {
    /// The bytes that the owner signs.
    pub fn signed_bytes(&self, genesis: &H256, shard: &ShardId, mrenclave: &[u8; 32]) -> Vec<u8> {
        domain::message("getter", genesis, &[shard.as_ref(), mrenclave, &self.encode()])
    }
}

impl BoundGetterSigned {
    /// Whether the account asked itself, this shard and this code.
    pub fn verify(&self, genesis: &H256, shard: &ShardId, mrenclave: &[u8; 32]) -> bool {
        verify_signature(
            &self.signature,
            &self.query.signed_bytes(genesis, shard, mrenclave),
            self.query.getter.owner(),
        )
    }

    /// By which the answer names the query.
    pub fn hash(&self) -> H256 {
        H256(blake2_256(&self.encode()))
    }
}

/// The answer to a [`BoundGetter`]: what, of which state, seen from which layer-one block.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedAnswer {
    /// The SCALE result, if there is one.
    pub value: Option<Vec<u8>>,
    /// [`BoundGetterSigned::hash`] of the query.
    pub request_hash: H256,
    /// Commitment to the state that was read.
    pub commitment: H256,
    /// Height of the shard's block with that state.
    pub block_number: u64,
    /// Height of the newest finalized layer-one block that the enclave has seen.
    pub layer_one_number: BlockNumber,
    /// Its hash.
    pub layer_one_head: H256,
    /// Its time, Unix milliseconds.
    pub layer_one_time: Moment,
    /// The incarnation's (ed25519), over [`SignedAnswer::signed_bytes`].
    pub signature: [u8; 64],
}

impl SignedAnswer {
    /// The bytes that the incarnation signs.
    pub fn signed_bytes(&self, genesis: &H256, shard: &ShardId) -> Vec<u8> {
        let fields = (
            &self.value,
            self.request_hash,
            self.commitment,
            self.block_number,
            self.layer_one_number,
            self.layer_one_head,
            self.layer_one_time,
        );
        domain::message("answer", genesis, &[shard.as_ref(), &fields.encode()])
    }
}
