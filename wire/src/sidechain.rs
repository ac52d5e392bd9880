//! Blocks of a shard.

use cloister_chain_primitives::{Acknowledgement, Anchor, Balance, BlockNumber, H256, Moment, ShardId, domain};
use codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sp_crypto_hashing::blake2_256;

/// The published header.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct SidechainHeader {
    /// Hash of the block before; zero for the first.
    pub parent_hash: H256,
    /// Height, from 1.
    pub block_number: u64,
    /// The shard.
    pub shard_id: ShardId,
    /// [`BlockData::hash`].
    pub block_data_hash: H256,
    /// Height of the next block to be anchored on layer one; 0, because any block may be.
    pub next_finalization_block_number: u64,
}

impl SidechainHeader {
    /// BLAKE2b-256 of the encoding.
    pub fn hash(&self) -> H256 {
        H256(blake2_256(&self.encode()))
    }
}

/// A shard's books: what moved since its birth, in planck. Every block states those after it, so that anybody can check
/// them against layer one. They show consistency; that the enclave counted right is its code's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Books {
    /// Shieldings consumed, those that were returned included.
    pub shielded: Balance,
    /// Entries of the outbox opened.
    pub opened: Balance,
    /// Of those, closed as paid.
    pub paid: Balance,
    /// Of those, closed as refused and credited again.
    pub refunded: Balance,
    /// Fees and dust that left the issuance. They lie in the escrow and repay layer one's fees.
    pub fees: Balance,
    /// Set out of nothing, where simulation is allowed.
    pub minted: Balance,
    /// Set to nothing, where simulation is allowed.
    pub burnt: Balance,
    /// Entries of the outbox ever opened; the next one has this number.
    pub outbox_next: u64,
    /// Entries of the outbox below this number are closed.
    pub outbox_closed: u64,
}

impl Books {
    /// The sum of all balances on the shard, by the books: shielded − opened + refunded − fees, and what simulation set.
    /// `None` if that is less than nothing or overflows.
    pub fn issuance(&self) -> Option<Balance> {
        let credit = self.shielded.checked_add(self.refunded)?.checked_add(self.minted)?;
        credit.checked_sub(self.opened)?.checked_sub(self.fees)?.checked_sub(self.burnt)
    }

    /// What layer one owes for open entries of the outbox. `None` if that is less than nothing.
    pub fn open(&self) -> Option<Balance> {
        self.opened.checked_sub(self.paid)?.checked_sub(self.refunded)
    }
}

/// What a block did.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BlockData {
    /// Slot time, Unix milliseconds.
    pub timestamp: Moment,
    /// Newest finalized layer-one block that the author saw.
    pub layer_one_head: H256,
    /// Its height.
    pub layer_one_number: BlockNumber,
    /// The author's incarnation key (ed25519).
    pub block_author: [u8; 32],
    /// Inbox entries consumed before this block.
    pub inbox_from: u64,
    /// Inbox entries consumed after this block.
    pub inbox_to: u64,
    /// Hashes of the operations, in the order of execution.
    pub signed_top_hashes: Vec<H256>,
    /// Certificate of the block before: acknowledgements of its anchor by a majority of the shard's members, each of which
    /// has it stored durably. Empty in the first block.
    pub parent_acknowledgements: Vec<Acknowledgement>,
    /// The shard's books after this block.
    pub books: Books,
    /// Merkle root over the entries of the outbox that are open after this block.
    pub outbox_root: H256,
    /// Commitment to the state before.
    pub commitment_before: H256,
    /// Commitment to the state after.
    pub commitment_after: H256,
    /// What changed, encrypted to the shard's enclaves.
    pub encrypted_state_diff: Vec<u8>,
}

impl BlockData {
    /// BLAKE2b-256 of the encoding.
    pub fn hash(&self) -> H256 {
        H256(blake2_256(&self.encode()))
    }
}

/// A block with its author's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedBlock {
    /// The header.
    pub header: SidechainHeader,
    /// The body.
    pub block_data: BlockData,
    /// The author's (ed25519), over [`SidechainHeader::signed_bytes`].
    pub signature: [u8; 64],
}

impl SignedBlock {
    /// What layer one is to know of the block.
    pub fn anchor(&self) -> Anchor {
        let Self { header, block_data: data, .. } = self;
        Anchor {
            number: header.block_number,
            header_hash: header.hash(),
            inbox_consumed: data.inbox_to,
            outbox_root: data.outbox_root,
            outbox_closed: data.books.outbox_closed,
            fees: data.books.fees,
        }
    }
}

impl SidechainHeader {
    /// The bytes that a block's author signs.
    pub fn signed_bytes(&self, genesis: &H256) -> Vec<u8> {
        domain::message("block", genesis, &[self.hash().as_bytes()])
    }
}
