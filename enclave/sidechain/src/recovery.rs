//! From what the host kept to the state of the newest block: a snapshot, if there is one, and every block after it.
//!
//! The host may leave out what came last; layer one's anchor tells. Anything else that is missing, altered, swapped or of
//! another shard is refused by name.

use cloister_chain_primitives::{AccountId, Acknowledgement, BlockNumber, H256, Moment, ShardId};
use cloister_state::{
    CommitmentKey, Manifest, Purpose, Restoring, Scope, SealError, ShardState, SnapshotError, StateDiff,
};
use cloister_wire::sidechain::{BlockData, SignedBlock};
use codec::{Decode, DecodeAll, Encode};
use sp_core::{Pair, ed25519};
use sp_crypto_hashing::blake2_256;

use crate::{anchoring::Stored, engine::Head, outcomes::Outcomes};

/// Something that the host kept, at the enclave's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// What was executed last.
    Mark(Vec<u8>),
    /// What the current snapshot consists of.
    Manifest(Vec<u8>),
    /// The current snapshot's next piece.
    Piece(Vec<u8>),
    /// The next block: SCALE `SignedBlock`.
    Block(Vec<u8>),
}

/// What only the shard's enclaves read of a block.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct BlockBody {
    version: u8,
    /// [`public_hash`] of all that stands beside it in clear, so that nobody else can vouch for that.
    public_hash: H256,
    /// What it changed.
    pub diff: StateDiff,
    /// What became of its calls.
    pub outcomes: Vec<CallOutcome>,
    /// Those of them that came through layer one's inbox.
    pub indirect: Vec<H256>,
}

/// BLAKE2b-256 of the parent's hash and of all that a block says in clear.
pub(crate) fn public_hash(parent_hash: &H256, data: &BlockData) -> H256 {
    let data = BlockData { encrypted_state_diff: Vec::new(), ..data.clone() };
    H256(blake2_256(&(parent_hash, data).encode()))
}

/// Sender, operation, why it failed, and what it opened in the outbox: number and id.
pub(crate) type CallOutcome = (AccountId, H256, Result<(), String>, Option<(u64, H256)>);

impl BlockBody {
    /// In the format that this code writes.
    pub fn new(public_hash: H256, diff: StateDiff, outcomes: Vec<CallOutcome>, indirect: Vec<H256>) -> Self {
        Self { version: BODY_VERSION, public_hash, diff, outcomes, indirect }
    }

    fn open(scope: &Scope<'_>, number: u64, sealed: &[u8]) -> Result<Self, BlockFlaw> {
        let plain = scope.open(Purpose::Block { number }, sealed).map_err(BlockFlaw::Changes)?;
        match plain.first() {
            Some(&BODY_VERSION) => {
                Self::decode_all(&mut plain.as_slice()).map_err(|_| BlockFlaw::Changes(SealError::Encoding))
            }
            Some(&version) => Err(BlockFlaw::Version(version)),
            None => Err(BlockFlaw::Changes(SealError::Encoding)),
        }
    }
}

/// Why the shard cannot go on from what the host kept.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A block.
    #[error("kept block {number}: {flaw}")]
    Block {
        /// The height at which it stands.
        number: u64,
        /// What is wrong.
        flaw: BlockFlaw,
    },
    /// The mark of what was executed last.
    #[error("kept mark: {0}")]
    Mark(SealError),
    /// The mark was written by a version of the code that this one does not know.
    #[error("kept mark: format version {0} is unknown")]
    MarkVersion(u8),
    /// A snapshot was passed after something else.
    #[error("a snapshot after blocks, or a second one")]
    SnapshotOutOfOrder,
    /// A piece without a snapshot that it belongs to.
    #[error("a piece of no snapshot")]
    PieceOfNothing,
    /// The snapshot was completed at a later block than the newest.
    #[error("the kept blocks end at {last}, the snapshot needs those up to {needed}")]
    BlocksMissing {
        /// The newest.
        last: u64,
        /// The block after which the snapshot's last piece was taken.
        needed: u64,
    },
    /// Something came after the end.
    #[error("more after the end of what was kept")]
    AfterEnd,
}

/// What is wrong with a block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFlaw {
    /// It does not decode.
    #[error("does not decode")]
    Encoding,
    /// Its body was written by a version of the code that this one does not know.
    #[error("format version {0} is unknown")]
    Version(u8),
    /// It is of another shard.
    #[error("is of shard {:?}", .0.0)]
    OtherShard(ShardId),
    /// It has another height.
    #[error("has number {0}")]
    Number(u64),
    /// It does not follow the one before, or is not the one on which the snapshot rests.
    #[error("does not follow the block before")]
    Parent,
    /// Its body is not the one that its header names.
    #[error("has another body than its header says")]
    Body,
    /// The author's signature is wrong.
    #[error("is not signed by its author")]
    Signature,
    /// The block before is not acknowledged in it by the shard's one member, which is its author.
    #[error("does not carry the acknowledgement of the block before")]
    Acknowledgements,
    /// What it changed is not authentic or does not decode.
    #[error("changes: {0}")]
    Changes(SealError),
    /// What it says in clear is not what its author sealed with its changes.
    #[error("says something else in clear than it says sealed")]
    Forged,
    /// The state before it, or after it, has another commitment.
    #[error("the state has another commitment than the block says")]
    Commitment,
}

/// What there was before the process ended.
pub(crate) struct Recovered {
    pub state: ShardState,
    pub head: Option<RecoveredHead>,
    pub outcomes: Outcomes,
    /// The kept blocks, ascending.
    pub blocks: Vec<Stored>,
    /// The block on which the snapshot rests; 0 without one.
    pub base: u64,
    /// Bytes of the blocks after it.
    pub journal_bytes: u64,
}

/// The newest block.
pub(crate) struct RecoveredHead {
    pub head: Head,
    pub timestamp: Moment,
    /// The layer-one block that it rests on.
    pub layer_one: (BlockNumber, H256),
}

/// A state on its way to the newest block.
pub(crate) struct Recovery {
    /// The shard's one member.
    member: AccountId,
    base: Base,
    head: Option<RecoveredHead>,
    outcomes: Outcomes,
    blocks: Vec<Stored>,
    journal_bytes: u64,
}

enum Base {
    Whole(ShardState),
    Restoring(Box<Restoring>, Manifest),
}

impl Recovery {
    /// Begins at a shard's genesis, as a shard does that has no block.
    pub fn begin(member: AccountId, state: ShardState) -> Self {
        Self {
            member,
            base: Base::Whole(state),
            head: None,
            outcomes: Outcomes::default(),
            blocks: Vec::new(),
            journal_bytes: 0,
        }
    }

    /// A snapshot takes genesis' place.
    pub fn manifest(&mut self, scope: &Scope<'_>, key: &CommitmentKey, sealed: &[u8]) -> Result<(), RecoveryError> {
        if self.head.is_some() || matches!(self.base, Base::Restoring(..)) {
            return Err(RecoveryError::SnapshotOutOfOrder);
        }
        let manifest = Manifest::open(scope, sealed)?;
        self.base = Base::Restoring(Box::new(Restoring::begin(manifest.clone(), key)), manifest);
        Ok(())
    }

    /// The snapshot's next piece.
    pub fn piece(&mut self, scope: &Scope<'_>, sealed: &[u8]) -> Result<(), RecoveryError> {
        match &mut self.base {
            Base::Restoring(restoring, _) => Ok(restoring.chunk(scope, sealed)?),
            Base::Whole(_) => Err(RecoveryError::PieceOfNothing),
        }
    }

    /// The next block. With a snapshot, they begin no later than with the one on which it rests: earlier ones say what
    /// layer one may have anchored, and what became of their calls.
    pub fn block(&mut self, scope: &Scope<'_>, bytes: &[u8]) -> Result<(), RecoveryError> {
        if let Base::Restoring(restoring, _) = &self.base {
            restoring.complete()?;
        }
        let at = self.height().map_or(1, |number| number.saturating_add(1));
        self.take(scope, bytes).map_err(|(number, flaw)| RecoveryError::Block { number: number.unwrap_or(at), flaw })
    }

    /// There is no more.
    pub fn finish(self) -> Result<Recovered, RecoveryError> {
        let last = self.height().unwrap_or(0);
        let base = self.base_number();
        let Self { base: state, head, outcomes, blocks, journal_bytes, .. } = self;
        let state = match state {
            Base::Whole(state) => state,
            Base::Restoring(restoring, manifest) => {
                restoring.complete()?;
                if !restoring.is_whole_at(last) || last < manifest.first.number {
                    return Err(RecoveryError::BlocksMissing { last, needed: manifest.last });
                }
                restoring.into_state()
            }
        };
        Ok(Recovered { state, head, outcomes, blocks, base, journal_bytes })
    }

    fn height(&self) -> Option<u64> {
        self.head.as_ref().map(|head| head.head.header.block_number)
    }

    /// The block on which all rests; 0 for genesis.
    fn base_number(&self) -> u64 {
        match &self.base {
            Base::Whole(_) => 0,
            Base::Restoring(_, manifest) => manifest.first.number,
        }
    }

    /// Errors carry the height at which the block stands, as far as that is known.
    fn take(&mut self, scope: &Scope<'_>, bytes: &[u8]) -> Result<(), (Option<u64>, BlockFlaw)> {
        let block = SignedBlock::decode_all(&mut &bytes[..]).map_err(|_| (None, BlockFlaw::Encoding))?;
        let number = block.header.block_number;
        let base = self.base_number();
        let expected = match self.height() {
            Some(height) => height.saturating_add(1),
            // The oldest that is kept; no later than the base.
            None => number.clamp(1, base.max(1)),
        };
        if number != expected {
            return Err((Some(expected), BlockFlaw::Number(number)));
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.check_and_apply(scope, block, base).map_err(|flaw| (Some(number), flaw))?;
        if number > base {
            self.journal_bytes = self.journal_bytes.saturating_add(length);
        }
        Ok(())
    }

    fn check_and_apply(&mut self, scope: &Scope<'_>, block: SignedBlock, base: u64) -> Result<(), BlockFlaw> {
        let anchor = block.anchor();
        let SignedBlock { header, block_data: data, signature } = block;
        let (number, hash) = (anchor.number, anchor.header_hash);
        if header.shard_id != *scope.shard {
            return Err(BlockFlaw::OtherShard(header.shard_id));
        }
        let follows = match &self.head {
            Some(parent) => header.parent_hash == parent.head.hash,
            None if number == 1 => header.parent_hash.is_zero(),
            // What stands before the base is true if the base's chain of parents leads to it.
            None => true,
        };
        let is_base = match &self.base {
            Base::Restoring(_, manifest) if manifest.first.number == number => hash == manifest.first.hash,
            _ => true,
        };
        if !follows || !is_base {
            return Err(BlockFlaw::Parent);
        }
        if data.hash() != header.block_data_hash {
            return Err(BlockFlaw::Body);
        }
        if number > base {
            if !is_signed(&signature, &header.signed_bytes(scope.genesis), &data) {
                return Err(BlockFlaw::Signature);
            }
            if !self.is_parent_acknowledged(scope, &data) {
                return Err(BlockFlaw::Acknowledgements);
            }
        }
        let body = BlockBody::open(scope, number, &data.encrypted_state_diff)?;
        if body.public_hash != public_hash(&header.parent_hash, &data) {
            return Err(BlockFlaw::Forged);
        }
        if number > base {
            self.apply(number, &body.diff, &data.commitment_before, &data.commitment_after)?;
        }
        self.blocks.push(Stored { number, hash, operations: Vec::new(), indirect: body.indirect });
        self.head = Some(RecoveredHead {
            head: Head { header, hash, anchor },
            timestamp: data.timestamp,
            layer_one: (data.layer_one_number, data.layer_one_head),
        });
        self.outcomes.add(number, body.outcomes);
        Ok(())
    }

    fn is_parent_acknowledged(&self, scope: &Scope<'_>, data: &BlockData) -> bool {
        match (data.parent_acknowledgements.as_slice(), self.head.as_ref().map(|parent| &parent.head.anchor)) {
            ([], None) => true,
            ([Acknowledgement { account, signature }], Some(parent)) => {
                *account == self.member && is_signed(signature, &parent.stored_bytes(scope.genesis, scope.shard), data)
            }
            _ => false,
        }
    }

    fn apply(&mut self, number: u64, diff: &StateDiff, before: &H256, after: &H256) -> Result<(), BlockFlaw> {
        let check = |state: &ShardState, commitment: &H256| match state.commitment() == *commitment {
            true => Ok(()),
            false => Err(BlockFlaw::Commitment),
        };
        match &mut self.base {
            Base::Whole(state) => {
                check(state, before)?;
                state.apply(diff);
                check(state, after)
            }
            Base::Restoring(restoring, _) => {
                if restoring.is_whole_at(number.saturating_sub(1)) {
                    check(restoring.state(), before)?;
                }
                restoring.apply(number, diff);
                if restoring.is_whole_at(number) { check(restoring.state(), after) } else { Ok(()) }
            }
        }
    }
}

/// Whether the block's author signed.
fn is_signed(signature: &[u8; 64], message: &[u8], data: &BlockData) -> bool {
    let author = ed25519::Public::from_raw(data.block_author);
    ed25519::Pair::verify(&ed25519::Signature::from_raw(*signature), message, &author)
}

/// The format of bodies that this code writes.
const BODY_VERSION: u8 = 2;

#[cfg(test)]
mod tests;
