//! Blocks of a shard, as a worker's host keeps them for peers.

use std::time::Duration;

use cloister_chain_primitives::{Anchor, Anchored, H256, ShardId};
use cloister_wire::sidechain::SignedBlock;
use codec::DecodeAll;
use jsonrpsee::{
    core::{ClientError, client::ClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use tokio::time::timeout;

use super::{Error, Walk};
use crate::{
    LayerOne,
    layer_one::{BridgeState, to_hex},
};

/// A worker's untrusted port. It is believed nothing.
pub struct Host {
    client: WsClient,
}

impl Host {
    /// Connects to `ws://host:port`.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let building = WsClientBuilder::new()
            .connection_timeout(CONNECTION_TIMEOUT)
            .request_timeout(REQUEST_TIMEOUT)
            .max_response_size(MAX_RESPONSE)
            .build(url);
        // The client's own limit ends with the TCP connection.
        let built = timeout(CONNECTION_TIMEOUT, building).await.unwrap_or(Err(ClientError::RequestTimeout));
        Ok(Self { client: built.map_err(|source| Error::Unreachable { url: url.into(), source })? })
    }

    /// The first blocks after `from` up to `until`, at least one if there is any; the zero hash stands before block 1.
    /// `None` if the host has no such blocks, or no longer.
    async fn blocks(&self, shard: &ShardId, from: H256, until: H256) -> Result<Option<Vec<SignedBlock>>, Error> {
        let parameters = rpc_params![from, Some(until), to_hex(shard.as_ref())];
        let answer: Result<Vec<String>, _> = self.client.request("sidechain_fetchBlocksFromPeer", parameters).await;
        let blocks = match answer {
            Ok(blocks) => blocks,
            Err(ClientError::Call(refusal)) if refusal.code() == UNKNOWN_BLOCK => return Ok(None),
            Err(error) => return Err(Error::NoBlocks(error)),
        };
        let decode = |block: &String| {
            let bytes = hex::decode(block.strip_prefix("0x").unwrap_or(block));
            let bytes = bytes.map_err(|error| Error::Malformed(error.to_string()))?;
            SignedBlock::decode_all(&mut bytes.as_slice()).map_err(|error| Error::Malformed(error.to_string()))
        };
        blocks.iter().map(decode).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// Where to begin so that height `from` is covered: before the shard's first block, or at an anchored block that the
    /// host has. Hosts keep the newest blocks only, and give those after a block that they are told; that is one that
    /// layer one has anchored, newest first.
    pub(super) async fn begin(
        &self,
        layer_one: &LayerOne,
        shard: &ShardId,
        bridge: &BridgeState,
        from: u64,
        mut back: impl FnMut(u64),
    ) -> Result<Walk, Error> {
        let genesis = layer_one.genesis();
        let newest = bridge.anchored.ok_or(Error::NotKept { number: 0 })?;
        let until = newest.anchor.header_hash;
        let has = async |block: H256| Ok::<_, Error>(self.blocks(shard, block, until).await?.is_some());
        let from_birth = || Walk::from_birth(genesis, *shard, bridge.entry.birth.genesis_commitment);
        if from <= 1 && has(H256::zero()).await? {
            return Ok(from_birth());
        }
        let mut begin: Option<Anchored> = None;
        let mut anchored = newest;
        while anchored.anchor.number >= from {
            // A node that has forgotten the state of old blocks ends the way back, too.
            let Ok(hash) = layer_one.block_hash(anchored.at.saturating_sub(1)).await else { break };
            let Ok(Some(earlier)) = layer_one.anchor_at(shard, hash).await else { break };
            if earlier.anchor.number >= anchored.anchor.number || !has(earlier.anchor.header_hash).await? {
                break;
            }
            (begin, anchored) = (Some(earlier), earlier);
            back(earlier.anchor.number);
        }
        // The way back may have ended at the shard's first anchor, and its first block be there.
        if anchored.anchor.number >= from && has(H256::zero()).await? {
            return Ok(from_birth());
        }
        let begin = begin.ok_or(Error::NotKept { number: newest.anchor.number })?;
        Ok(Walk::from_anchor(genesis, *shard, &begin.anchor))
    }

    /// Hands a walk all blocks up to the anchored one. What does not follow ends it, because nothing after it counts,
    /// and so does the anchored height: anybody can make blocks that follow each other, and never reach the anchored one.
    /// Tells `read` which height is next.
    pub(super) async fn follow(
        &self,
        walk: &mut Walk,
        shard: &ShardId,
        anchor: &Anchor,
        mut read: impl FnMut(u64),
    ) -> Result<(), Error> {
        while walk.next_number() <= anchor.number {
            read(walk.next_number());
            let Some(blocks) = self.blocks(shard, walk.newest(), anchor.header_hash).await? else { return Ok(()) };
            if blocks.is_empty() {
                return Ok(());
            }
            for block in blocks {
                if walk.next_number() > anchor.number || !walk.take(block) {
                    return Ok(());
                }
            }
        }
        read(walk.next_number());
        Ok(())
    }
}

const UNKNOWN_BLOCK: i32 = -32002;
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Above what a worker answers at most.
const MAX_RESPONSE: u32 = 32 << 20;
