//! What becomes of a block's parts.

use cloister_chain_primitives::{BlockNumber, Moment};
use cloister_state::StateDiff;
use cloister_wire::sidechain::Books;

use crate::{Owed, Refused, ledger::Overflow};

/// A block that was executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// What changed. Keys that have their old value again are not in it.
    pub diff: StateDiff,
    /// What moved since the shard's birth.
    pub books: Books,
    /// Entries of the outbox that the block opened, ascending by number.
    pub opened: Vec<Owed>,
}

/// What became of a call that stands in the block. Its nonce is used in either case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// It did what it says.
    Done,
    /// It changed nothing but the nonce and its fee, for this reason.
    Failed(String),
}

/// What became of an inbox entry that holds a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InvokeOutcome {
    /// It does not decrypt to a call that its sender signed.
    Unreadable,
    /// The call may not be tried. It changed nothing.
    Refused(Refused),
    /// The call stands in the block.
    Executed(CallOutcome),
}

/// What became of a shielding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShieldOutcome {
    /// The beneficiary has the money.
    Credited,
    /// It goes back to who paid on layer one, through the outbox.
    Returned,
}

/// Why a block cannot go on. The execution must be dropped; the state is untouched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Not the successor of the state's block.
    #[error("block number is {got}, expected {expected}")]
    Number {
        /// The parent's plus one.
        expected: u64,
        /// The context's.
        got: u64,
    },
    /// Before the parent's time.
    #[error("time {got} is before the parent's {parent}")]
    Time {
        /// Of the block before.
        parent: Moment,
        /// The context's.
        got: Moment,
    },
    /// Before the parent's head.
    #[error("layer-one height {got} is below the parent's {parent}")]
    LayerOne {
        /// Of the block before.
        parent: BlockNumber,
        /// The context's.
        got: BlockNumber,
    },
    /// An inbox entry was left out or comes twice.
    #[error("inbox entry is number {got}, expected {expected}")]
    Inbox {
        /// The first that was not consumed.
        expected: u64,
        /// The entry's.
        got: u64,
    },
    /// Layer one speaks of an entry of the outbox that was not open before this block.
    #[error("entry {number} of the outbox is not open")]
    NotOpen {
        /// The entry's.
        number: u64,
    },
    /// Layer one never refuses what is nobody's unshielding.
    #[error("entry {number} of the outbox cannot be refused")]
    NotRefusable {
        /// The entry's.
        number: u64,
    },
    /// More money than layer one can have.
    #[error("an amount exceeds what the books can hold")]
    Overflow,
    /// Money was made or lost.
    #[error("the balances do not sum up to what the books say")]
    Issuance,
    /// A pallet panicked outside of a call.
    #[error("runtime panicked")]
    Panicked,
    /// A pallet used a child trie, which a diff cannot carry.
    #[error("runtime wrote a child trie")]
    ChildTrie,
}

impl From<Overflow> for BlockError {
    fn from(Overflow: Overflow) -> Self {
        Self::Overflow
    }
}
