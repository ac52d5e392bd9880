//! Blocks of a shard.

use cloister_chain_primitives::{Acknowledgement, BlockNumber, H256, Moment, ShardId, domain};
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

impl SidechainHeader {
    /// The bytes that a block's author signs.
    pub fn signed_bytes(&self, genesis: &H256) -> Vec<u8> {
        domain::message("block", genesis, &[self.hash().as_bytes()])
    }
}
