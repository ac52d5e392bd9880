//! Serves the kept blocks of the shard to peers that are behind.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use cloister_chain_primitives::{H256, ShardId};
use cloister_store::{RangeError, Store};
use jsonrpsee::{
    RpcModule,
    server::{BatchRequestConfig, Server, ServerHandle},
    types::ErrorObjectOwned,
};
use tokio::net::TcpListener;

use crate::{
    cli::{parse_shard, shard_text},
    layer_one::hex_text,
    status::Shared,
};

/// Why blocks cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError {
    #[error("this worker does not know yet which shard it serves")]
    ShardUnknown,
    #[error("this worker serves shard {served}, not {asked}")]
    OtherShard { asked: String, served: String },
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// The blocks of one shard, while its store is open.
#[derive(Debug, Default)]
pub struct Blocks(RwLock<Option<(ShardId, Arc<Store>)>>);

impl Blocks {
    /// Says whose blocks these are, and where.
    pub fn serve_from(&self, shard: ShardId, store: Arc<Store>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((shard, store));
    }

    /// Lets go of the store.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The blocks after `from` up to `until`, or the newest, as [`Store::range`] gives them. Reads from the disk.
    pub fn range(&self, shard: ShardId, from: H256, until: Option<H256>) -> Result<Vec<Vec<u8>>, BlocksError> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (served, store) = open.ok_or(BlocksError::ShardUnknown)?;
        if shard != served {
            let [asked, served] = [shard, served].map(|shard| shard_text(&shard));
            return Err(BlocksError::OtherShard { asked, served });
        }
        Ok(store.range(from, until, MAX_ANSWER_BYTES)?)
    }
}

/// Serves `sidechain_fetchBlocksFromPeer(from, until?, shard)`: hashes in 0x hex, the shard in base58 or 0x hex; the
/// answer is a list of SCALE `SignedBlock`s in 0x hex.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<(SocketAddr, ServerHandle)> {
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
        .register_blocking_method("sidechain_fetchBlocksFromPeer", |params, shared, _| {
            let (from, until, shard): (H256, Option<H256>, String) = params.parse()?;
            let shard = parse_shard(&shard).map_err(|reason| refused(INVALID_PARAMS, reason))?;
            let blocks = shared.blocks.range(shard, from, until).map_err(refusal)?;
            Ok::<_, ErrorObjectOwned>(blocks.iter().map(|block| hex_text(block)).collect::<Vec<_>>())
        })
        .map_err(io::Error::other)?;
    Ok((address, server.start(module)))
}

fn refusal(error: BlocksError) -> ErrorObjectOwned {
    let code = match &error {
        BlocksError::ShardUnknown => SHARD_UNKNOWN,
        BlocksError::OtherShard { .. } => OTHER_SHARD,
        BlocksError::Range(RangeError::UnknownBlock(_)) => UNKNOWN_BLOCK,
        BlocksError::Range(RangeError::Backwards { .. }) => INVALID_PARAMS,
        BlocksError::Range(error) => {
            // Peers need not know this machine's paths.
            tracing::error!(%error, "blocks cannot be read");
            return refused(INTERNAL_ERROR, "the blocks cannot be read".into());
        }
    };
    refused(code, error.to_string())
}

fn refused(code: i32, reason: String) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, reason, None::<()>)
}

const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
const MAX_CONNECTIONS: u32 = 64;
const MAX_REQUEST_BYTES: u32 = 4 * 1024;
/// Hex doubles an answer's bytes; a single block may be longer than an answer of several, but fits a frame of the link.
const MAX_RESPONSE_BYTES: u32 = 10 * 1024 * 1024;
const INVALID_PARAMS: i32 = -32602;
const INTERNAL_ERROR: i32 = -32603;
const OTHER_SHARD: i32 = -32001;
const UNKNOWN_BLOCK: i32 = -32002;
const SHARD_UNKNOWN: i32 = -32003;

#[cfg(test)]
mod tests {
    use cloister_store::Write;
    use jsonrpsee::{core::client::ClientT, ws_client::WsClientBuilder};
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    fn shard() -> ShardId {
        ShardId(H256::repeat_byte(9))
    }

    fn hash(number: u64) -> H256 {
        H256::from_low_u64_be(number)
    }

    fn block(number: u64, length: usize) -> Write {
        Write::Block { number, hash: hash(number), bytes: vec![number as u8; length] }
    }

    fn kept(blocks: &[Write]) -> (TempDir, Arc<Store>) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), shard()).unwrap();
        store.commit(blocks).unwrap();
        (directory, Arc::new(store))
    }

    #[test]
    fn an_answer_is_bounded_but_never_stuck() {
        let blocks = Blocks::default();
        let (_directory, store) =
            kept(&(1..=4).map(|number| block(number, MAX_ANSWER_BYTES / 2 + 1)).collect::<Vec<_>>());
        blocks.serve_from(shard(), store);
        assert_eq!(blocks.range(shard(), hash(1), None).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn peers_fetch_blocks_over_rpc() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, _handle) = serve(listener, shared.clone()).await.unwrap();
        let client = WsClientBuilder::default().build(format!("ws://{address}")).await.unwrap();
        let method = "sidechain_fetchBlocksFromPeer";
        let fetch = async |from: u64, until: Value, shard: ShardId| {
            let params = vec![json!(hash(from)), until, json!(shard_text(&shard))];
            client.request::<Vec<String>, _>(method, params).await.map_err(|error| match error {
                jsonrpsee::core::ClientError::Call(error) => (error.code(), error.message().to_owned()),
                error => panic!("{error}"),
            })
        };
        let unknown = (-32003, "this worker does not know yet which shard it serves".to_owned());
        assert_eq!(fetch(0, Value::Null, shard()).await, Err(unknown.clone()));

        let (_directory, store) = kept(&(1..=3).map(|number| block(number, 1)).collect::<Vec<_>>());
        shared.blocks.serve_from(shard(), store);
        assert_eq!(fetch(1, Value::Null, shard()).await.unwrap(), ["0x02", "0x03"]);
        assert_eq!(fetch(1, json!(hash(2)), shard()).await.unwrap(), ["0x02"]);
        assert_eq!(fetch(0, json!(hash(1)), shard()).await.unwrap(), ["0x01"]);
        let [served, other] = [shard(), ShardId::default()].map(|shard| shard_text(&shard));
        let refused = fetch(1, Value::Null, ShardId::default()).await;
        assert_eq!(refused, Err((-32001, format!("this worker serves shard {served}, not {other}"))));
        let refused = fetch(7, Value::Null, shard()).await;
        assert_eq!(refused, Err((-32002, format!("block {:?} is not kept", hash(7)))));
        let refused = fetch(3, json!(hash(2)), shard()).await;
        let backwards = format!("block {:?} does not come after {:?}", hash(2), hash(3));
        assert_eq!(refused, Err((-32602, backwards)));

        shared.blocks.close();
        assert_eq!(fetch(1, Value::Null, shard()).await, Err(unknown));
    }
}
