//! From what the host kept to the state of the newest block: a snapshot, if there is one, and every block after it.
//!
//! The host may leave out what came last; layer one's anchor tells. Anything else that is missing, altered, swapped or of
//! another shard is refused by name.

use cloister_chain_primitives::{AccountId, Acknowledgement, Anchor, BlockNumber, H256, Moment, ShardId};
use cloister_state::{
    CommitmentKey, Manifest, Purpose, Restoring, Scope, SealError, ShardState, SnapshotError, StateDiff,
};
use cloister_wire::sidechain::{BlockData, SidechainHeader, SignedBlock};
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
    /// What became of its calls: sender, operation, and why it failed.
    pub outcomes: Vec<CallOutcome>,
    /// Those of them that came through layer one's inbox.
    pub indirect: Vec<H256>,
}

/// BLAKE2b-256 of the parent's hash and of all that a block says in clear.
pub(crate) fn public_hash(parent_hash: &H256, data: &BlockData) -> H256 {
    let data = BlockData { encrypted_state_diff: Vec::new(), ..data.clone() };
    H256(blake2_256(&(parent_hash, data).encode()))
}

/// Sender, operation, and why it failed.
pub(crate) type CallOutcome = (AccountId, H256, Result<(), String>);

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

    fn base_hash(&self) -> Option<H256> {
        match &self.base {
            Base::Whole(_) => None,
            Base::Restoring(_, manifest) => Some(manifest.first.hash),
        }
    }

    /// Errors carry the height at which the block stands, as far as that is known.
    fn take(&mut self, scope: &Scope<'_>, bytes: &[u8]) -> Result<(), (Option<u64>, BlockFlaw)> {
        let block = SignedBlock::decode_all(&mut &bytes[..]).map_err(|_| (None, BlockFlaw::Encoding))?;
        let number = block.header.block_number;
        let base = self.base_number();
        let expected = match self.height() {
            Some(height) => height.saturating_add(1),
            // The oldest that is kept; it may be the one after the base.
            None => number.clamp(1, base.saturating_add(1)),
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
        let SignedBlock { header, block_data: data, signature } = block;
        let (number, hash) = (header.block_number, header.hash());
        if header.shard_id != *scope.shard {
            return Err(BlockFlaw::OtherShard(header.shard_id));
        }
        let follows = match &self.head {
            Some(parent) => header.parent_hash == parent.head.hash,
            None if number == 1 => header.parent_hash.is_zero(),
            None if number > base => self.base_hash() == Some(header.parent_hash),
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
            if !self.is_parent_acknowledged(scope, &header, &data) {
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
            head: Head { header, hash },
            timestamp: data.timestamp,
            layer_one: (data.layer_one_number, data.layer_one_head),
        });
        self.outcomes.add(number, body.outcomes);
        Ok(())
    }

    fn is_parent_acknowledged(&self, scope: &Scope<'_>, header: &SidechainHeader, data: &BlockData) -> bool {
        match (data.parent_acknowledgements.as_slice(), header.block_number.checked_sub(1)) {
            ([], Some(0)) => true,
            ([Acknowledgement { account, signature }], Some(number @ 1..)) => {
                let inbox_consumed = data.inbox_from;
                let anchor =
                    Anchor { number, header_hash: header.parent_hash, inbox_consumed, outbox_root: H256::zero() };
                *account == self.member && is_signed(signature, &anchor.stored_bytes(scope.genesis, scope.shard), data)
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
const BODY_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use cloister_state::StateSecret;

    use super::*;

    const GENESIS: H256 = H256::repeat_byte(1);
    const SHARD: ShardId = ShardId(H256::repeat_byte(2));

    fn body() -> BlockBody {
        let diff = [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)].into_iter().collect();
        let account = AccountId::new([4; 32]);
        let outcomes =
            vec![(account.clone(), H256::repeat_byte(5), Ok(())), (account, H256::repeat_byte(6), Err("no".into()))];
        BlockBody::new(H256::repeat_byte(7), diff, outcomes, vec![H256::repeat_byte(5)])
    }

    /// A block without changes, sealed and signed as its author does, that carries these acknowledgements. `change` comes
    /// after it was sealed and before it was signed.
    fn block(
        recovery: &Recovery,
        secret: &StateSecret,
        acknowledgements: Vec<Acknowledgement>,
        change: impl FnOnce(&mut BlockData),
    ) -> Vec<u8> {
        let scope = Scope { secret, genesis: &GENESIS, shard: &SHARD };
        let number = recovery.height().map_or(1, |number| number + 1);
        let Base::Whole(state) = &recovery.base else { panic!("no snapshot") };
        let parent_hash = parent(recovery).map_or(H256::zero(), |parent| parent.header_hash);
        let mut block_data = BlockData {
            timestamp: number,
            layer_one_head: H256::zero(),
            layer_one_number: 0,
            block_author: author(1).public().0,
            inbox_from: 0,
            inbox_to: 0,
            signed_top_hashes: vec![],
            parent_acknowledgements: acknowledgements,
            commitment_before: state.commitment(),
            commitment_after: state.commitment(),
            encrypted_state_diff: vec![],
        };
        let body = BlockBody::new(public_hash(&parent_hash, &block_data), StateDiff::default(), vec![], vec![]);
        block_data.encrypted_state_diff = scope.seal(Purpose::Block { number }, &body.encode()).unwrap();
        change(&mut block_data);
        let header = SidechainHeader {
            parent_hash,
            block_number: number,
            shard_id: SHARD,
            block_data_hash: block_data.hash(),
            next_finalization_block_number: 0,
        };
        let signature = author(1).sign(&header.signed_bytes(&GENESIS)).0;
        SignedBlock { header, block_data, signature }.encode()
    }

    fn author(seed: u8) -> ed25519::Pair {
        ed25519::Pair::from_seed(&[seed; 32])
    }

    fn parent(recovery: &Recovery) -> Option<Anchor> {
        let head = &recovery.head.as_ref()?.head;
        let (number, header_hash) = (head.header.block_number, head.hash);
        Some(Anchor { number, header_hash, inbox_consumed: 0, outbox_root: H256::zero() })
    }

    fn acknowledgement(anchor: &Anchor, member: u8, key: u8) -> Acknowledgement {
        let signature = author(key).sign(&anchor.stored_bytes(&GENESIS, &SHARD)).0;
        Acknowledgement { account: AccountId::new([member; 32]), signature }
    }

    #[test]
    fn a_block_carries_the_certificate_of_the_one_before() {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        let state = ShardState::genesis([], &secret.commitment_key());
        let mut recovery = Recovery::begin(AccountId::new([7; 32]), state);
        let take = |recovery: &mut Recovery, acknowledgements| {
            let block = block(recovery, &secret, acknowledgements, |_| {});
            recovery.block(&scope, &block)
        };
        let flaw = |number| Err(RecoveryError::Block { number, flaw: BlockFlaw::Acknowledgements });
        let nothing = Anchor { number: 0, header_hash: H256::zero(), inbox_consumed: 0, outbox_root: H256::zero() };
        assert_eq!(take(&mut recovery, vec![acknowledgement(&nothing, 7, 1)]), flaw(1));
        assert_eq!(take(&mut recovery, vec![]), Ok(()));
        let parent = parent(&recovery).unwrap();
        let good = acknowledgement(&parent, 7, 1);
        for wrong in [
            vec![],
            vec![acknowledgement(&parent, 8, 1)],
            vec![acknowledgement(&parent, 7, 2)],
            vec![acknowledgement(&Anchor { inbox_consumed: 1, ..parent }, 7, 1)],
            vec![good.clone(), good.clone()],
        ] {
            assert_eq!(take(&mut recovery, wrong), flaw(2));
        }
        assert_eq!(take(&mut recovery, vec![good]), Ok(()));
    }

    /// Whoever has a key of whatever kind can sign a block that names it as its author.
    #[test]
    fn what_a_block_says_in_clear_is_what_its_author_sealed() {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        let state = ShardState::genesis([], &secret.commitment_key());
        let mut recovery = Recovery::begin(AccountId::new([7; 32]), state);
        let changes: [fn(&mut BlockData); 6] = [
            |data| data.timestamp = u64::MAX,
            |data| data.layer_one_head = H256::repeat_byte(1),
            |data| data.layer_one_number = 1,
            |data| data.inbox_to = 1,
            |data| data.signed_top_hashes = vec![H256::zero()],
            |data| data.block_author = author(2).public().0,
        ];
        for change in changes {
            let mut forged = SignedBlock::decode(&mut &block(&recovery, &secret, vec![], change)[..]).unwrap();
            let key = if forged.block_data.block_author == author(2).public().0 { 2 } else { 1 };
            forged.signature = author(key).sign(&forged.header.signed_bytes(&GENESIS)).0;
            let refused = recovery.block(&scope, &forged.encode());
            assert_eq!(refused, Err(RecoveryError::Block { number: 1, flaw: BlockFlaw::Forged }));
        }
        let honest = block(&recovery, &secret, vec![], |_| {});
        assert_eq!(recovery.block(&scope, &honest), Ok(()));
    }

    /// Later versions must read what this one wrote.
    #[test]
    fn the_first_format_of_a_body_is_frozen() {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        assert_eq!(hex::encode(body().encode()), BODY);
        assert_eq!(BlockBody::open(&scope, 7, &hex::decode(SEALED).unwrap()), Ok(body()));
        assert_eq!(
            BlockBody::open(&scope, 8, &hex::decode(SEALED).unwrap()),
            Err(BlockFlaw::Changes(SealError::NotAuthentic))
        );
    }

    #[test]
    fn a_body_of_an_unknown_version_is_named() {
        let secret = StateSecret::from_bytes([3; 32]);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
        let open = |plain: &[u8]| BlockBody::open(&scope, 7, &scope.seal(Purpose::Block { number: 7 }, plain).unwrap());
        assert_eq!(open(&[2, 0]), Err(BlockFlaw::Version(2)));
        assert_eq!(open(&[]), Err(BlockFlaw::Changes(SealError::Encoding)));
        assert_eq!(open(&[&body().encode()[..], &[0]].concat()), Err(BlockFlaw::Changes(SealError::Encoding)));
    }

    const BODY: &str = "0107070707070707070707070707070707070707070707070707070707070707070804610104310462000804040404040404040404040404040404040404040404040404040404040404040505050505050505050505050505050505050505050505050505050505050505000404040404040404040404040404040404040404040404040404040404040404060606060606060606060606060606060606060606060606060606060606060601086e6f040505050505050505050505050505050505050505050505050505050505050505";
    const SEALED: &str = "e54db6903196c23de71271f03dccd6241e3bcfe368fceb22fe93e6e8610fee084692f5a1e5c7e50183b3f0720765150d90d7a3cd150ea5a64928d160c7c512c4c52a2a102a490e3e72de6e3cda06372585eb71863e3613547309811694021100d29dfcfd762c069c9ad0fb6c4d242caf806790f5e6f924cfcd24c27444ab06879944e7d37c730fb8527d2f980c8b434a6b07333879c01798ce1553115801967122838655ff20291b19992d429b8604473521e7b4dcf2c6cb3ba16f1bacf4b079b5503a8d3fb6000fad8172f4947df38617aac3fda884f265fff7ecbfbb3ba257e5d8c8aca001f07b0faa9fa45d2e6082d0d088271203830a43a61ec1f1b53d1910";
}
