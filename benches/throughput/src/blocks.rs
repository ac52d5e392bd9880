//! The shard's blocks as they come, from the worker's port for peers.

use anyhow::{Context, Result, bail};
use cloister_chain_primitives::{H256, ShardId};
use cloister_testing::{from_hex, to_hex};
use cloister_wire::sidechain::SignedBlock;
use codec::DecodeAll;
use jsonrpsee::{
    core::client::ClientT,
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};

/// Blocks after one that is known.
pub struct Blocks {
    host: WsClient,
    shard: String,
    newest: H256,
}

impl Blocks {
    /// Those after `newest`, from a worker's port for peers.
    pub async fn after(newest: H256, port: u16, shard: &ShardId) -> Result<Self> {
        let host = WsClientBuilder::new().max_response_size(MAX_RESPONSE).build(format!("ws://127.0.0.1:{port}"));
        Ok(Self { host: host.await.context("the worker's port for peers")?, shard: to_hex(shard), newest })
    }

    /// Those that have come since the last time.
    pub async fn fresh(&mut self) -> Result<Vec<SignedBlock>> {
        let params = rpc_params![self.newest, None::<H256>, &self.shard];
        let blocks: Vec<String> = self.host.request("sidechain_fetchBlocksFromPeer", params).await?;
        let mut fresh = Vec::with_capacity(blocks.len());
        for block in &blocks {
            let block = SignedBlock::decode_all(&mut from_hex(block)?.as_slice())?;
            if block.header.parent_hash != self.newest {
                bail!("block {} does not follow the one before", block.header.block_number);
            }
            self.newest = block.header.hash();
            fresh.push(block);
        }
        Ok(fresh)
    }
}

const MAX_RESPONSE: u32 = 32 << 20;
