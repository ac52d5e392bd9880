//! A shard's blocks as its host keeps them, read by somebody who has no key to what they changed.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{H256, ShardId};
use cloister_wire::sidechain::{Books, SignedBlock};
use codec::DecodeAll;
use jsonrpsee::{core::client::ClientT, rpc_params, ws_client::WsClientBuilder};
use sp_core::{Pair, ed25519};

use crate::{from_hex, to_hex, worker::Ports};

/// All blocks of a shard from the first on, each checked against the one before: hashes, numbers, commitments, inbox,
/// the author's signature, that no total in the books falls, and that no operation comes twice.
#[derive(Debug)]
pub struct Sidechain {
    genesis: H256,
    shard: ShardId,
    /// By height, from 1.
    blocks: Vec<Block>,
    /// Height of the block of an operation.
    operations: HashMap<H256, u64>,
}

#[derive(Debug)]
struct Block {
    hash: H256,
    commitment: H256,
    consumed: u64,
    books: Books,
}

impl Sidechain {
    /// No blocks yet. `commitment` is that of the state before the first.
    pub fn new(genesis: H256, shard: ShardId, commitment: H256) -> Self {
        let before = Block { hash: H256::zero(), commitment, consumed: 0, books: Books::default() };
        Self { genesis, shard, blocks: vec![before], operations: HashMap::new() }
    }

    /// Reads the blocks that have come since the last time. That they continue the chain shows that none was lost.
    pub async fn follow(&mut self, ports: Ports) -> Result<()> {
        let host =
            WsClientBuilder::new().max_response_size(16 << 20).build(format!("ws://127.0.0.1:{}", ports.untrusted));
        let host = host.await.context("the host's port")?;
        loop {
            let params = rpc_params![self.newest().hash, None::<H256>, to_hex(self.shard)];
            let blocks: Vec<String> = host.request("sidechain_fetchBlocksFromPeer", params).await?;
            if blocks.is_empty() {
                return Ok(());
            }
            for block in &blocks {
                let block = SignedBlock::decode_all(&mut from_hex(block)?.as_slice())?;
                let number = block.header.block_number;
                self.append(block).with_context(|| format!("kept block {number}"))?;
            }
        }
    }

    /// Height of the newest block; 0 before the first.
    pub fn height(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// Entries of the inbox that are consumed after the newest block.
    pub fn consumed(&self) -> u64 {
        self.newest().consumed
    }

    /// The books after the newest block.
    pub fn books(&self) -> Books {
        self.newest().books
    }

    /// Hash of the block at a height.
    pub fn hash(&self, number: u64) -> Option<H256> {
        self.at(number).map(|block| block.hash)
    }

    /// Commitment to the state after the block at a height; at 0, before the first.
    pub fn commitment(&self, number: u64) -> Option<H256> {
        self.at(number).map(|block| block.commitment)
    }

    /// Height of the block with an operation.
    pub fn block_of(&self, operation: &H256) -> Option<u64> {
        self.operations.get(operation).copied()
    }

    fn at(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    fn newest(&self) -> &Block {
        self.blocks.last().expect("there is one before the first")
    }

    fn append(&mut self, block: SignedBlock) -> Result<()> {
        let SignedBlock { header, block_data, signature } = block;
        let (number, parent) = (header.block_number, self.newest());
        ensure!(number == self.height() + 1 && header.parent_hash == parent.hash, "does not follow {}", self.height());
        ensure!(header.shard_id == self.shard, "is of another shard");
        ensure!(header.block_data_hash == block_data.hash(), "has another body");
        ensure!(block_data.commitment_before == parent.commitment, "is on top of another state");
        ensure!(block_data.inbox_from == parent.consumed, "leaves entries of the inbox out, or repeats them");
        let (books, before) = (block_data.books, parent.books);
        let totals = |books: &Books| {
            let Books { shielded, opened, paid, refunded, fees, minted, burnt, outbox_next, outbox_closed } = *books;
            [shielded, opened, paid, refunded, fees, minted, burnt, outbox_next.into(), outbox_closed.into()]
        };
        let falls = totals(&before).into_iter().zip(totals(&books)).any(|(before, after)| after < before);
        ensure!(!falls && books.issuance().is_some() && books.open().is_some(), "has books without sense: {books:?}");
        let author = ed25519::Public::from_raw(block_data.block_author);
        let signature = ed25519::Signature::from_raw(signature);
        let signed = header.signed_bytes(&self.genesis);
        ensure!(ed25519::Pair::verify(&signature, signed, &author), "is not signed by its author");
        for operation in block_data.signed_top_hashes {
            let earlier = self.operations.insert(operation, number);
            ensure!(earlier.is_none(), "repeats operation {operation:?} of block {earlier:?}");
        }
        let (commitment, consumed) = (block_data.commitment_after, block_data.inbox_to);
        self.blocks.push(Block { hash: header.hash(), commitment, consumed, books });
        Ok(())
    }
}
