//! What bounds per block and per period count.

use cloister_chain_primitives::BlockNumber;
use codec::{Decode, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// What an inbox took in one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct InboxUse {
    /// The block; a use of an earlier one counts as none.
    pub block: BlockNumber,
    /// Entries.
    pub entries: u32,
    /// Bytes of encoded entries.
    pub bytes: u32,
}

/// Exits that were settled in one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct ExitUse {
    /// The block; a use of an earlier one counts as none.
    pub block: BlockNumber,
    /// Exits.
    pub exits: u32,
}
