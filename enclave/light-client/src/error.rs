//! What the light client refuses, one variant per check.

use cloister_chain_primitives::{BlockNumber, H256};
use sp_consensus_grandpa::{AuthorityId, SetId};
use sp_core::hexdisplay::HexDisplay;

/// Why a checkpoint, an import, a proof or a read was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint is block 0, but not the genesis block.
    #[error("the checkpoint is block 0 with hash {checkpoint}, but genesis is {genesis}")]
    CheckpointContradictsGenesis {
        /// Hash in the checkpoint.
        checkpoint: H256,
        /// Hash in the configuration.
        genesis: H256,
    },

    /// An import without headers.
    #[error("no headers")]
    NoHeaders,
    /// More headers in one import than [`MAX_HEADERS`](crate::MAX_HEADERS).
    #[error("{count} headers in one import, at most {max} are allowed")]
    TooManyHeaders {
        /// Number of headers.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// More bytes of headers in one import than [`MAX_HEADERS_BYTES`](crate::MAX_HEADERS_BYTES).
    #[error("more than {max} bytes of headers in one import")]
    HeadersTooLarge {
        /// The bound, in bytes.
        max: usize,
    },
    /// A header with more digest items than [`MAX_DIGEST_ITEMS`](crate::MAX_DIGEST_ITEMS).
    #[error("header {number} has {count} digest items, at most {max} are allowed")]
    TooManyDigestItems {
        /// The header.
        number: BlockNumber,
        /// Number of its digest items.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A header whose number is not its parent's plus one.
    #[error("header {found} where {expected} is next")]
    WrongNumber {
        /// Number of the parent, plus one.
        expected: BlockNumber,
        /// Number in the header.
        found: BlockNumber,
    },
    /// A header that does not name the previous one as its parent.
    #[error("header {number} is not a child of the header before it")]
    BrokenAncestry {
        /// The header.
        number: BlockNumber,
    },

    /// No justification.
    #[error("no justification")]
    NoJustification,
    /// More bytes than [`MAX_JUSTIFICATION_BYTES`](crate::MAX_JUSTIFICATION_BYTES).
    #[error("justification of {bytes} bytes, at most {max} are allowed")]
    JustificationTooLarge {
        /// Its size, in bytes.
        bytes: usize,
        /// The bound, in bytes.
        max: usize,
    },
    /// Not the SCALE encoding of a justification, or bytes follow it.
    #[error("justification does not decode")]
    UndecodableJustification,
    /// The justification finalizes something else than the last header.
    #[error("justification is for block {number} {hash}")]
    JustificationOfAnotherHeader {
        /// Number that it finalizes.
        number: BlockNumber,
        /// Hash that it finalizes.
        hash: H256,
    },
    /// More than two votes (an equivocation) per authority.
    #[error("{count} votes, at most {max} are allowed")]
    TooManyVotes {
        /// Number of votes.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A vote from outside of the current authority set.
    #[error("vote of {voter}, which is no authority of the current set")]
    UnknownVoter {
        /// The voter.
        voter: AuthorityId,
    },
    /// Two votes of one authority for the same block.
    #[error("duplicate vote of {voter}")]
    DuplicateVote {
        /// The voter.
        voter: AuthorityId,
    },
    /// More than the two votes of an equivocation from one authority.
    #[error("more than two votes of {voter}")]
    ThirdVote {
        /// The voter.
        voter: AuthorityId,
    },
    /// A vote for a block that is no descendant of the one to be finalized.
    #[error("vote for block {hash}, which does not descend from the justified one")]
    VoteNotDescending {
        /// The block.
        hash: H256,
    },
    /// The number of a voted block, or of one of its ancestors, is not what it is said to be.
    #[error("block {hash} on the way to a vote is not block {claimed}")]
    WrongVoteNumber {
        /// The block.
        hash: H256,
        /// The number that it would need to have.
        claimed: BlockNumber,
    },
    /// A header between the justified block and a vote is missing.
    #[error("unknown ancestry of a vote: header {hash} is missing")]
    UnknownVoteAncestry {
        /// The missing header.
        hash: H256,
    },
    /// An ancestry header that no vote needs, or that is there twice.
    #[error("unused ancestry header {hash}")]
    UnusedAncestry {
        /// The header.
        hash: H256,
    },
    /// The votes do not reach the threshold.
    #[error("votes of weight {weight}, at least {threshold} is needed")]
    TooFewVotes {
        /// Summed weight of the voters.
        weight: u64,
        /// What would have sufficed.
        threshold: u64,
    },
    /// A vote that was signed for the set before or after the current one.
    #[error("vote of authority set {found}, the current one is {current}")]
    WrongSet {
        /// The current set.
        current: SetId,
        /// The set of the vote.
        found: SetId,
    },
    /// A vote's signature does not verify.
    #[error("forged signature of {voter}")]
    ForgedSignature {
        /// The alleged voter.
        voter: AuthorityId,
    },

    /// The headers go beyond the block that the current authorities finalize last.
    #[error("headers beyond block {last}, after which the authority set changes")]
    PastSetChange {
        /// The last block of the current set.
        last: BlockNumber,
    },
    /// An authority set change was signalled while one is pending.
    #[error("block {number} signals an authority set change while one is pending")]
    SecondChange {
        /// The signalling block.
        number: BlockNumber,
    },
    /// A forced authority set change, which nobody can follow who sees finalized headers only.
    #[error("block {number} signals a forced authority set change")]
    ForcedChange {
        /// The signalling block.
        number: BlockNumber,
    },
    /// The authorities are told to pause.
    #[error("block {number} pauses finality")]
    Paused {
        /// The signalling block.
        number: BlockNumber,
    },
    /// GRANDPA's message in a header is unknown.
    #[error("GRANDPA digest of block {number} does not decode")]
    UndecodableConsensusDigest {
        /// The block.
        number: BlockNumber,
    },
    /// A change would take effect at a block number or with a set id that does not exist.
    #[error("authority set change of block {number} is out of range")]
    ChangeOutOfRange {
        /// The signalling block.
        number: BlockNumber,
    },
    /// An authority set without members.
    #[error("empty authority set")]
    EmptyAuthoritySet,
    /// An authority set larger than [`MAX_AUTHORITIES`](crate::MAX_AUTHORITIES).
    #[error("{count} authorities, at most {max} are allowed")]
    TooManyAuthorities {
        /// Number of authorities.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// An authority without weight.
    #[error("authority {authority} has no weight")]
    ZeroWeight {
        /// The authority.
        authority: AuthorityId,
    },
    /// An authority that is in its set twice.
    #[error("duplicate authority {authority}")]
    DuplicateAuthority {
        /// The authority.
        authority: AuthorityId,
    },
    /// The weights of a set do not sum up in 64 bits.
    #[error("weights of the authority set overflow")]
    WeightOverflow,

    /// More bytes than [`MAX_PROOF_BYTES`](crate::MAX_PROOF_BYTES).
    #[error("storage proof of {bytes} bytes, at most {max} are allowed")]
    ProofTooLarge {
        /// Its size, in bytes.
        bytes: usize,
        /// The bound, in bytes.
        max: usize,
    },
    /// More nodes than [`MAX_PROOF_NODES`](crate::MAX_PROOF_NODES).
    #[error("storage proof of {nodes} nodes, at most {max} are allowed")]
    TooManyProofNodes {
        /// Number of nodes.
        nodes: usize,
        /// The bound.
        max: usize,
    },
    /// The root node of the header's state is not in the proof.
    #[error("storage proof of another root than {root}")]
    ProofOfAnotherRoot {
        /// The header's state root.
        root: H256,
    },
    /// A node or value on the way to a key is not in the proof.
    #[error("storage proof lacks node {node}")]
    MissingNode {
        /// Hash of the node or value.
        node: H256,
    },
    /// What a finalized state refers to is not a trie.
    #[error("state under root {root} is malformed")]
    MalformedState {
        /// The header's state root.
        root: H256,
    },
    /// A key that was not among those of the read.
    #[error("key 0x{} was not read", HexDisplay::from(key))]
    NotRead {
        /// The key.
        key: Vec<u8>,
    },
    /// A value that is not the SCALE encoding of the asked type, or bytes follow it.
    #[error("value of key 0x{} does not decode", HexDisplay::from(key))]
    UndecodableValue {
        /// The key.
        key: Vec<u8>,
    },
    /// Layer one's storage has a layout that this client cannot interpret.
    #[error("unknown storage layout {found:?} of {pallet}")]
    UnknownStorageLayout {
        /// The pallet.
        pallet: &'static str,
        /// Version that layer one declares, if any.
        found: Option<u16>,
    },
}

impl Error {
    /// Whether layer one itself, by what its authorities finalized, made it impossible to go on. All other refusals
    /// only say that what the host gave is no proof; the true one may still come.
    pub fn stops_for_good(&self) -> bool {
        matches!(
            self,
            Self::SecondChange { .. }
                | Self::ForcedChange { .. }
                | Self::Paused { .. }
                | Self::UndecodableConsensusDigest { .. }
                | Self::ChangeOutOfRange { .. }
                | Self::EmptyAuthoritySet
                | Self::TooManyAuthorities { .. }
                | Self::ZeroWeight { .. }
                | Self::DuplicateAuthority { .. }
                | Self::WeightOverflow
                | Self::MalformedState { .. }
                | Self::UnknownStorageLayout { .. }
        )
    }
}
