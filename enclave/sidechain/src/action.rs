//! What an engine wants done, and why it ends.

use cloister_chain_primitives::{BlockNumber, H256, InboxEntry, Moment, Registration, ShardId};
use cloister_light_client::Error;
use cloister_wire::TrustedOperationStatus;

use crate::{anchoring::NotNewest, recovery::RecoveryError};

/// What the engine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The light client stands at this block; send what follows.
    Synced {
        /// Height.
        number: BlockNumber,
        /// Hash.
        hash: H256,
    },
    /// Get a storage proof.
    AskProof {
        /// To be given back with the answer.
        question: u64,
        /// The block.
        at: H256,
        /// What to prove.
        keys: Vec<Vec<u8>>,
    },
    /// Submit an extrinsic to layer one.
    Submit(Vec<u8>),
    /// Make evidence with this report data, for [`Engine::evidence`].
    Attest(Box<[u8; 64]>),
    /// Register, by this extrinsic, once layer one would take it.
    Register {
        /// What the extrinsic states.
        registration: Registration,
        /// It.
        extrinsic: Vec<u8>,
    },
    /// The registration is proven, for the first time or renewed.
    Registered {
        /// When it expires, in layer one's time.
        expires_at: Moment,
    },
    /// A registration is due, and no evidence is made for it, because layer one's proven time is too far behind the
    /// host's clock. Comes again every minute of that clock.
    LayerOneBehind {
        /// Layer one's time as last proven.
        layer_one: Moment,
        /// The host's clock.
        clock: Moment,
    },
    /// The shard's entry is proven; clients may come.
    Serving,
    /// Keep this durably, in the order of the numbers, and say so by [`Engine::stored`].
    Store {
        /// Rises by one, from 1.
        sequence: u64,
        /// What.
        keep: Keep,
    },
    /// The state is that of the newest block that was kept, at this height.
    Recovered(u64),
    /// Open an entry of the inbox, apart from the engine, for [`Engine::opened`].
    Open {
        /// Its number.
        number: u64,
        /// It.
        entry: InboxEntry,
    },
    /// An operation got further.
    Status {
        /// Hash of the operation.
        operation: H256,
        /// How far it is.
        status: TrustedOperationStatus,
        /// Why it failed.
        error: Option<String>,
    },
    /// What the program does at the beginning of a block failed, or the question whether it has something to do, for this
    /// reason; blocks are made without it.
    BeginBlockFailed(String),
    /// Host input was refused; nothing changed.
    Refused(Error),
    /// The engine ends for good.
    Stop(Stop),
}

/// Something for the host to keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What is executed next, in place of the one before.
    Mark(Vec<u8>),
    /// The next block.
    Block {
        /// Height.
        number: u64,
        /// Hash of its header.
        hash: H256,
        /// SCALE `SignedBlock`.
        bytes: Vec<u8>,
    },
    /// The next piece of a snapshot.
    SnapshotPiece {
        /// Which.
        snapshot: [u8; 16],
        /// Counts from 0.
        index: u32,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// A snapshot has all its pieces and replaces all others.
    Snapshot {
        /// Which.
        snapshot: [u8; 16],
        /// What it consists of.
        manifest: Vec<u8>,
        /// The block on which it rests.
        first: u64,
    },
}

/// Why an engine ends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// Layer one did what the light client cannot follow.
    #[error("layer one cannot be followed further: {0}")]
    LayerOne(Error),
    /// Layer one stores its data in a layout that this enclave does not know.
    #[error("layer one's storage layout is unknown to this enclave")]
    StorageLayoutUnknown,
    /// The requested shard is pinned to another incarnation.
    #[error("shard {0:?} is pinned to another incarnation")]
    ShardOfAnotherIncarnation(ShardId),
    /// The requested shard does not exist.
    #[error("shard {0:?} does not exist on layer one")]
    UnknownShard(ShardId),
    /// A newer incarnation of the same identity is registered.
    #[error("layer one knows a newer incarnation of this identity")]
    Retired,
    /// Layer one no longer has the enclave's record, or lets it hand over its keys at most.
    #[error("layer one evicted this enclave")]
    Evicted,
    /// The registration was not renewed in time.
    #[error("the registration on layer one has expired")]
    Expired,
    /// Layer one recorded under the enclave's account what the enclave never stated.
    #[error("layer one's record of this account is of other code, another kind or another TLS key")]
    ForeignRecord,
    /// The shard's entry is no longer the one that this incarnation bore.
    #[error("layer one changed or removed the entry of the served shard")]
    ShardEntryChanged,
    /// What the host kept is not what an enclave of this shard gave it.
    #[error("what the host kept: {0}")]
    Kept(#[from] RecoveryError),
    /// What the host kept is not the newest state, or layer one has anchored what this enclave did not make.
    #[error(transparent)]
    NotNewest(NotNewest),
    /// A block could not be executed.
    #[error("a block could not be executed: {0}")]
    Block(#[from] cloister_stf::BlockError),
    /// The enclave contradicts itself; going on could cost money.
    #[error("internal error: {0}")]
    Internal(&'static str),
}
