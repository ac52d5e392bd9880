//! The newest blocks of the shard, for peers that are behind.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use cloister_chain_primitives::{H256, ShardId};
use jsonrpsee::{
    RpcModule,
    server::{BatchRequestConfig, Server, ServerHandle},
    types::ErrorObjectOwned,
};
use tokio::net::TcpListener;

use crate::{
    cli::{parse_shard, shard_text},
    layer_one::hex_text,
    session::Shared,
};

/// Why blocks cannot be given.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError {
    #[error("this worker serves shard {served}, not {asked}")]
    OtherShard { asked: String, served: String },
    #[error("block {0:?} is not among the newest {CAPACITY}")]
    UnknownBlock(H256),
    #[error("block {until:?} does not come after {from:?}")]
    Backwards { from: H256, until: H256 },
}

/// The newest [`CAPACITY`] blocks, oldest first, of a shard that is known once the enclave has introduced itself.
#[derive(Debug, Default)]
pub struct Blocks {
    shard: OnceLock<ShardId>,
    kept: Mutex<VecDeque<Block>>,
}

#[derive(Debug)]
struct Block {
    number: u64,
    hash: H256,
    bytes: Vec<u8>,
}

impl Blocks {
    /// Says whose blocks these are; the first word counts.
    pub fn belong_to(&self, shard: ShardId) {
        let _ = self.shard.set(shard);
    }

    /// Keeps a block as the newest.
    pub fn push(&self, number: u64, hash: H256, bytes: Vec<u8>) {
        let mut kept = self.lock();
        if kept.len() == CAPACITY {
            kept.pop_front();
        }
        kept.push_back(Block { number, hash, bytes });
    }

    /// The blocks after `from` up to `until`, or the newest; the zero hash stands before block 1. If they are more than one
    /// answer holds, only the first of them: whoever wants the others asks again from the last.
    pub fn range(&self, shard: ShardId, from: H256, until: Option<H256>) -> Result<Vec<Vec<u8>>, BlocksError> {
        let served = self.shard.get().copied().unwrap_or_default();
        if shard != served {
            let [asked, served] = [shard, served].map(|shard| shard_text(&shard));
            return Err(BlocksError::OtherShard { asked, served });
        }
        let kept = self.lock();
        let after = |hash: H256| kept.iter().position(|block| block.hash == hash).map(|at| at + 1);
        let starts_at_first = kept.front().is_none_or(|block| block.number == 1);
        let start = match after(from) {
            Some(start) => start,
            None if from.is_zero() && starts_at_first => 0,
            None => return Err(BlocksError::UnknownBlock(from)),
        };
        let end = match until {
            Some(until) => after(until).ok_or(BlocksError::UnknownBlock(until))?,
            None => kept.len(),
        };
        if end < start {
            return Err(BlocksError::Backwards { from, until: until.unwrap_or_default() });
        }
        let mut bytes = 0usize;
        let fits = |block: &&Block| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(block.bytes.len());
            first || bytes <= MAX_ANSWER_BYTES
        };
        Ok(kept.range(start..end).take_while(fits).map(|block| block.bytes.clone()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Block>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves `sidechain_fetchBlocksFromPeer(from, until?, shard)`: hashes in 0x hex, the shard in base58 or 0x hex; the
/// answer is a list of SCALE `SignedBlock`s in 0x hex.
pub async fn serve(listener: TcpListener, shared: std::sync::Arc<Shared>) -> io::Result<(SocketAddr, ServerHandle)> {
    let server = Server::builder()
        .max_connections(MAX_CONNECTIONS)
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .max_subscriptions_per_connection(0)
        .set_batch_request_config(BatchRequestConfig::Disabled)
        .set_message_buffer_capacity(8)
        .build_from_tcp(listener.into_std()?)?;
    let address = server.local_addr()?;
    let mut module = RpcModule::new(shared);
    module
        .register_method("sidechain_fetchBlocksFromPeer", |params, shared, _| {
            let (from, until, shard): (H256, Option<H256>, String) = params.parse()?;
            let shard = parse_shard(&shard).map_err(|reason| refused(INVALID_PARAMS, reason))?;
            let blocks = shared.blocks.range(shard, from, until).map_err(|error| {
                let code = match error {
                    BlocksError::OtherShard { .. } => OTHER_SHARD,
                    BlocksError::UnknownBlock(_) => UNKNOWN_BLOCK,
                    BlocksError::Backwards { .. } => INVALID_PARAMS,
                };
                refused(code, error.to_string())
            })?;
            Ok::<_, ErrorObjectOwned>(blocks.iter().map(|block| hex_text(block)).collect::<Vec<_>>())
        })
        .map_err(io::Error::other)?;
    Ok((address, server.start(module)))
}

fn refused(code: i32, reason: String) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, reason, None::<()>)
}

const CAPACITY: usize = 1000;
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
const MAX_CONNECTIONS: u32 = 64;
const MAX_REQUEST_BYTES: u32 = 4 * 1024;
/// Hex doubles an answer's bytes; a single block may be longer than an answer of several, but fits a frame of the link.
const MAX_RESPONSE_BYTES: u32 = 10 * 1024 * 1024;
const INVALID_PARAMS: i32 = -32602;
const OTHER_SHARD: i32 = -32001;
const UNKNOWN_BLOCK: i32 = -32002;

#[cfg(test)]
mod tests {
    use jsonrpsee::{core::client::ClientT, ws_client::WsClientBuilder};
    use serde_json::{Value, json};

    use super::*;

    fn shard() -> ShardId {
        ShardId(H256::repeat_byte(9))
    }

    fn hash(number: u64) -> H256 {
        H256::from_low_u64_be(number)
    }

    fn empty() -> Blocks {
        let blocks = Blocks::default();
        blocks.belong_to(shard());
        blocks
    }

    fn filled(last: u64) -> Blocks {
        let blocks = empty();
        (1..=last).for_each(|number| blocks.push(number, hash(number), vec![number as u8]));
        blocks
    }

    #[test]
    fn ranges_exclude_the_first_and_include_the_last() {
        let blocks = filled(5);
        let range = |from, until: Option<u64>| blocks.range(shard(), hash(from), until.map(hash)).unwrap();
        assert_eq!(range(2, Some(4)), [[3], [4]]);
        assert_eq!(range(3, None), [[4], [5]]);
        assert_eq!(range(0, Some(2)), [[1], [2]]);
        assert!(range(5, None).is_empty() && range(4, Some(4)).is_empty());
        assert!(empty().range(shard(), H256::zero(), None).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        let blocks = filled(CAPACITY as u64 + 2);
        let refusal = |shard, from, until| blocks.range(shard, from, until).unwrap_err();
        assert_eq!(refusal(shard(), hash(2), None), BlocksError::UnknownBlock(hash(2)));
        assert_eq!(refusal(shard(), H256::zero(), None), BlocksError::UnknownBlock(H256::zero()));
        assert_eq!(refusal(shard(), hash(3), Some(hash(2))), BlocksError::UnknownBlock(hash(2)));
        let backwards = BlocksError::Backwards { from: hash(9), until: hash(7) };
        assert_eq!(refusal(shard(), hash(9), Some(hash(7))), backwards);
        assert!(matches!(refusal(ShardId::default(), hash(9), None), BlocksError::OtherShard { .. }));
        assert_eq!(blocks.range(shard(), hash(3), None).unwrap().len(), CAPACITY - 1);
    }

    #[test]
    fn an_answer_is_bounded_but_never_stuck() {
        let blocks = empty();
        for number in 1..=4 {
            blocks.push(number, hash(number), vec![0; MAX_ANSWER_BYTES / 2 + 1]);
        }
        assert_eq!(blocks.range(shard(), hash(1), None).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn peers_fetch_blocks_over_rpc() {
        let shared = std::sync::Arc::new(Shared::new());
        shared.blocks.belong_to(shard());
        (1..=3).for_each(|number| shared.blocks.push(number, hash(number), vec![number as u8]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, _handle) = serve(listener, shared).await.unwrap();
        let client = WsClientBuilder::default().build(format!("ws://{address}")).await.unwrap();
        let method = "sidechain_fetchBlocksFromPeer";
        let fetch = async |until: Value, shard: String| {
            client.request::<Vec<String>, _>(method, vec![json!(hash(1)), until, json!(shard)]).await
        };
        assert_eq!(fetch(Value::Null, shard_text(&shard())).await.unwrap(), ["0x02", "0x03"]);
        assert_eq!(fetch(json!(hash(2)), shard_text(&shard())).await.unwrap(), ["0x02"]);
        let other = fetch(Value::Null, shard_text(&ShardId::default())).await.unwrap_err().to_string();
        assert!(other.contains("this worker serves shard"), "{other}");
        let unknown = fetch(json!(hash(7)), shard_text(&shard())).await.unwrap_err().to_string();
        assert!(unknown.contains("not among the newest 1000"), "{unknown}");
    }
}
