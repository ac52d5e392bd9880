//! A shard's inbox: the numbered queue in layer one's storage through which money and calls reach an enclave.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::ConstU32;
use sp_runtime::BoundedVec;

use crate::{AccountId, Balance, ShardId};

/// Largest encrypted request, in bytes. The published client sends at most 13 000.
pub const MAX_CYPHERTEXT: u32 = 16_384;
/// Largest encrypted beneficiary of a shielding, in bytes (RSA-3072: 384; HPKE envelope: 88).
pub const MAX_ENCRYPTED_BENEFICIARY: u32 = 512;

/// Most entries that a shard's inbox takes in one block of layer one: fewer than an enclave consumes in the time
/// between two (one block of the shard every 300 ms, 64 entries each), so that no flood keeps it behind for ever.
pub const MAX_INBOX_ENTRIES: u32 = 192;

/// An encrypted operation for a shard, as published clients encode it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Request {
    /// The shard that can decrypt it.
    pub shard: ShardId,
    /// Envelope around a `TrustedOperation` (the published name is kept).
    pub cyphertext: BoundedVec<u8, ConstU32<MAX_CYPHERTEXT>>,
}

/// Envelope around the account that a shielding credits.
pub type EncryptedBeneficiary = BoundedVec<u8, ConstU32<MAX_ENCRYPTED_BENEFICIARY>>;

/// One numbered entry of an inbox.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum InboxEntry {
    /// An indirect call.
    #[codec(index = 0)]
    Invoke(Request),
    /// Money that lies in the shard's escrow and is to be credited on the shard.
    #[codec(index = 1)]
    Shield {
        /// Who is credited, encrypted to the shard.
        encrypted_beneficiary: EncryptedBeneficiary,
        /// Planck.
        amount: Balance,
        /// Who paid, and gets the money back if it cannot be credited.
        sender: AccountId,
    },
}
