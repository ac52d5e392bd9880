//! Anchors: what layer one records of a shard's newest block, on the word of the shard's members.

use alloc::vec::Vec;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{AccountId, Balance, BlockNumber, H256, ShardId, domain};

/// Most members of a shard, and so most acknowledgements of an anchor.
pub const MAX_MEMBERS: u32 = 32;

/// What members of a shard acknowledge of one of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Anchor {
    /// The block's height.
    pub number: u64,
    /// Hash of its header.
    pub header_hash: H256,
    /// Entries of the shard's inbox that are consumed after it.
    pub inbox_consumed: u64,
    /// Merkle root over the entries of the shard's outbox that are open after it, see
    /// [`OutboxTree`](crate::outbox::OutboxTree).
    pub outbox_root: H256,
    /// Entries of the outbox below this number are closed after it, so that what layer one says of them can go.
    pub outbox_closed: u64,
    /// Planck of fees that left the shard's issuance up to it. They lie in the escrow and repay layer one's fees.
    pub fees: Balance,
}

impl Anchor {
    /// The bytes that a member signs with the key of its incarnation.
    pub fn signed_bytes(&self, genesis: &H256, shard: &ShardId) -> Vec<u8> {
        domain::message("anchor", genesis, &[shard.as_ref(), &self.encode()])
    }

    /// The bytes that a member signs when it has the block stored, for the certificate in the next block. Everybody can
    /// read that, so it must not be what layer one takes: strangers could anchor one block after another before the
    /// shard's own anchors land.
    pub fn stored_bytes(&self, genesis: &H256, shard: &ShardId) -> Vec<u8> {
        domain::message("stored", genesis, &[shard.as_ref(), &self.encode()])
    }

    /// The published name of the block. An anchor's encoding begins with it.
    pub fn confirmation(&self) -> SidechainBlockConfirmation {
        SidechainBlockConfirmation { block_number: self.number, block_header_hash: self.header_hash }
    }
}

/// Names a block of a shard, as published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct SidechainBlockConfirmation {
    /// Its height.
    pub block_number: u64,
    /// Hash of its header.
    pub block_header_hash: H256,
}

/// A member's signature under an anchor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Acknowledgement {
    /// The member.
    pub account: AccountId,
    /// Over [`Anchor::signed_bytes`], by the incarnation key (ed25519) of the member's record.
    pub signature: [u8; 64],
}

/// A shard's newest anchor as layer one stores it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Anchored {
    /// The anchor.
    pub anchor: Anchor,
    /// Height of the layer-one block that took it.
    pub at: BlockNumber,
}

/// Whether so many members speak for a shard of so many.
pub fn is_majority(acknowledged: usize, members: usize) -> bool {
    acknowledged > members / 2
}

/// Where the newest anchors of shards are read.
pub trait Anchors {
    /// The shard's newest anchor, if it ever had one.
    fn anchored(shard: &ShardId) -> Option<Anchored>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: Anchor = Anchor {
        number: 0x0102,
        header_hash: H256::repeat_byte(3),
        inbox_consumed: 0x0405,
        outbox_root: H256::repeat_byte(6),
        outbox_closed: 0x0708,
        fees: 0x090a,
    };

    #[test]
    fn encodings_are_frozen() {
        let (three, six) = ("03".repeat(32), "06".repeat(32));
        let anchor =
            format!("0201000000000000{three}0504000000000000{six}08070000000000000a090000000000000000000000000000");
        assert_eq!(hex::encode(ANCHOR.encode()), anchor);
        assert_eq!(hex::encode(ANCHOR.confirmation().encode()), format!("0201000000000000{three}"));
        assert_eq!(hex::encode(Anchored { anchor: ANCHOR, at: 7 }.encode()), format!("{anchor}07000000"));
        let acknowledgement = Acknowledgement { account: AccountId::new([8; 32]), signature: [9; 64] };
        assert_eq!(hex::encode(acknowledgement.encode()), "08".repeat(32) + &"09".repeat(64));
        assert_eq!(
            (Anchor::max_encoded_len(), Anchored::max_encoded_len(), Acknowledgement::max_encoded_len()),
            (104, 108, 96)
        );
    }

    #[test]
    fn signed_bytes_are_frozen() {
        let signed = ANCHOR.signed_bytes(&H256::repeat_byte(1), &ShardId(H256::repeat_byte(2)));
        assert_eq!(
            hex::encode(signed),
            format!(
                "0a000000{}20000000{}06000000{}20000000{}68000000{}",
                hex::encode("cloister/1"),
                "01".repeat(32),
                hex::encode("anchor"),
                "02".repeat(32),
                hex::encode(ANCHOR.encode())
            )
        );
    }

    #[test]
    fn signed_bytes_bind_every_part() {
        let (genesis, shard) = (H256::repeat_byte(1), ShardId(H256::repeat_byte(2)));
        let right = ANCHOR.signed_bytes(&genesis, &shard);
        let zero = H256::zero();
        assert_ne!(right, ANCHOR.stored_bytes(&genesis, &shard));
        assert_ne!(right, ANCHOR.signed_bytes(&zero, &shard));
        assert_ne!(right, ANCHOR.signed_bytes(&genesis, &ShardId(zero)));
        let others = [
            Anchor { number: 0, ..ANCHOR },
            Anchor { header_hash: zero, ..ANCHOR },
            Anchor { inbox_consumed: 0, ..ANCHOR },
            Anchor { outbox_root: zero, ..ANCHOR },
            Anchor { outbox_closed: 0, ..ANCHOR },
            Anchor { fees: 0, ..ANCHOR },
        ];
        for other in others {
            assert_ne!(right, other.signed_bytes(&genesis, &shard));
        }
    }

    #[test]
    fn half_is_no_majority() {
        let enough = |members| (0..=members).find(|acknowledged| is_majority(*acknowledged, members));
        assert_eq!([1, 2, 3, 4, 5, 32].map(enough), [1, 2, 2, 3, 3, 17].map(Some));
        // Nobody cannot speak for a shard without members.
        assert!(!is_majority(0, 0));
    }
}
