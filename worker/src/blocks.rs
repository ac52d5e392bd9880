//! Serves the kept blocks of the shard to peers that are behind, and to whoever audits the shard.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::serve::Listener;
use cloister_chain_primitives::{H256, ShardId};
use cloister_store::{RangeError, Store};
use futures::{SinkExt, StreamExt};
use jsonrpsee::{Methods, RpcModule, types::ErrorObjectOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Error as WebSocketError, Message, protocol::WebSocketConfig},
};

use crate::{
    cli::{parse_shard, shard_text},
    layer_one::hex_text,
    listener::{BoundedListener, Port},
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

/// Serves `sidechain_fetchBlocksFromPeer(from, until?, shard)` as JSON-RPC over WebSocket: hashes in 0x hex, the shard in
/// base58 or 0x hex; the answer is a list of SCALE `SignedBlock`s in 0x hex.
/// Returns only if the method has no valid name.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let mut listener = BoundedListener::served(listener, Port::Untrusted, shared.clone());
    let desk = Desk::new(shared, WRITE)?;
    // When this future is dropped, all connections end.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                let desk = desk.clone();
                connections.spawn(async move {
                    if let Err(error) = desk.attend(stream).await {
                        // Whatever a peer did to its connection is no concern of others.
                        tracing::debug!(%error, "a peer's connection ended");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Why a peer's connection ended other than by its wish.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("the handshake took too long")]
    HandshakeTimeout,
    #[error("the peer does not read")]
    SlowReader,
    #[error("the peer is silent")]
    Silent,
    #[error("WebSocket: {0}")]
    WebSocket(#[from] Box<WebSocketError>),
}

/// Answers peers, each one request at a time: nothing more is read of a peer until it has taken its answer. So many
/// connections as there may be never hold more than one answer each.
#[derive(Clone)]
struct Desk {
    methods: Methods,
    /// Those who read from the disk at a time.
    reads: Arc<Semaphore>,
    /// Until a peer has taken an answer.
    write: Duration,
}

impl Desk {
    fn new(shared: Arc<Shared>, write: Duration) -> io::Result<Self> {
        Ok(Self { methods: methods(shared)?.into(), reads: Arc::new(Semaphore::new(READS)), write })
    }

    async fn attend<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<(), PeerError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_REQUEST_BYTES))
            .max_frame_size(Some(MAX_REQUEST_BYTES))
            .read_buffer_size(MAX_REQUEST_BYTES);
        let handshake = timeout(HANDSHAKE, accept_async_with_config(stream, Some(config))).await;
        let mut socket = handshake.map_err(|_| PeerError::HandshakeTimeout)?.map_err(Box::new)?;
        let mut pinged = false;
        loop {
            let reply = match timeout(PING, socket.next()).await {
                Ok(None | Some(Ok(Message::Close(_)))) => return Ok(()),
                Ok(Some(message)) => {
                    pinged = false;
                    match message.map_err(Box::new)? {
                        Message::Text(request) => Some(Message::text(self.answer(request.as_bytes()).await)),
                        Message::Binary(request) => Some(Message::text(self.answer(&request).await)),
                        _ => None,
                    }
                }
                Err(_) if pinged => return Err(PeerError::Silent),
                Err(_) => {
                    pinged = true;
                    Some(Message::Ping(Default::default()))
                }
            };
            let written = async {
                match reply {
                    Some(reply) => socket.send(reply).await,
                    // The answers to pings are buffered without bound for a peer that does not read them.
                    None => socket.flush().await,
                }
            };
            timeout(self.write, written).await.map_err(|_| PeerError::SlowReader)?.map_err(Box::new)?;
        }
    }

    async fn answer(&self, request: &[u8]) -> String {
        let Ok(request) = std::str::from_utf8(request) else { return INVALID_REQUEST.into() };
        let _turn = self.reads.acquire().await;
        match self.methods.raw_json_request(request, 1).await {
            Ok((answer, _)) => answer,
            Err(_) => INVALID_REQUEST.into(),
        }
    }
}

fn methods(shared: Arc<Shared>) -> io::Result<RpcModule<Arc<Shared>>> {
    let mut module = RpcModule::new(shared);
    module
        .register_blocking_method("sidechain_fetchBlocksFromPeer", |params, shared, _| {
            let (from, until, shard): (H256, Option<H256>, String) = params.parse()?;
            let shard = parse_shard(&shard).map_err(|reason| refused(INVALID_PARAMS, reason))?;
            let blocks = shared.blocks.range(shard, from, until).map_err(refusal)?;
            Ok::<_, ErrorObjectOwned>(blocks.iter().map(|block| hex_text(block)).collect::<Vec<_>>())
        })
        .map_err(io::Error::other)?;
    Ok(module)
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

/// Of blocks, unless the first one alone has more; hex doubles them.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const MAX_REQUEST_BYTES: usize = 4 * 1024;
/// Peers whose blocks are read from the disk at a time.
const READS: usize = 4;
/// Until WebSocket stands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Until a peer has taken an answer.
const WRITE: Duration = Duration::from_secs(30);
/// Silence after which a peer is asked for a sign of life, and after as much again without one given up.
const PING: Duration = Duration::from_secs(20);
/// Also to batches, and to what has no id.
const INVALID_REQUEST: &str = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":null}"#;
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
    use tokio::{
        io::AsyncReadExt,
        net::{TcpSocket, TcpStream},
    };
    use tokio_tungstenite::client_async;

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
        let (_directory, store) = kept(&(1..=9).map(|number| block(number, 100 * 1024)).collect::<Vec<_>>());
        blocks.serve_from(shard(), store);
        assert_eq!(blocks.range(shard(), hash(1), None).unwrap().len(), 2);
    }

    fn request(id: u32) -> String {
        let params = json!([hash(1), null, shard_text(&shard())]);
        json!({"jsonrpc": "2.0", "id": id, "method": "sidechain_fetchBlocksFromPeer", "params": params}).to_string()
    }

    /// Of a worker with a block that fits into no pipe.
    fn desk(write: Duration) -> (TempDir, Desk) {
        let shared = Arc::new(Shared::new());
        let (directory, store) = kept(&[block(1, 1), block(2, 200 * 1024)]);
        shared.blocks.serve_from(shard(), store);
        (directory, Desk::new(shared, write).unwrap())
    }

    #[tokio::test]
    async fn a_peer_that_takes_no_answer_is_read_no_further_and_given_up() {
        let (_directory, desk) = desk(Duration::from_secs(1));
        let (ours, theirs) = tokio::io::duplex(1024);
        let attending = tokio::spawn(async move { desk.attend(ours).await });
        let (mut peer, _) = client_async("ws://worker/", theirs).await.unwrap();
        let mut taken = 0;
        while peer.send(Message::text(request(taken))).await.is_ok() {
            taken += 1;
        }
        let most = (MAX_REQUEST_BYTES + 1024) / request(0).len() + 2;
        assert!(taken as usize <= most, "{taken} requests are taken of one who reads no answer");
        assert!(matches!(attending.await.unwrap(), Err(PeerError::SlowReader)));
    }

    #[tokio::test]
    async fn requests_sent_ahead_are_answered_one_after_another() {
        let (_directory, desk) = desk(Duration::from_secs(600));
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move { desk.attend(ours).await });
        let (peer, _) = client_async("ws://worker/", theirs).await.unwrap();
        let (mut sink, mut stream) = peer.split();
        tokio::spawn(async move {
            for id in 0..100 {
                sink.send(Message::text(request(id))).await.unwrap();
            }
        });
        for id in 0..100 {
            let answer = stream.next().await.unwrap().unwrap().into_text().unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((&answer["id"], answer["result"].as_array().unwrap().len()), (&json!(id), 1));
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_answered_and_too_long_a_message_is_the_last() {
        let (_directory, desk) = desk(Duration::from_secs(600));
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let attending = tokio::spawn(async move { desk.attend(ours).await });
        let (mut peer, _) = client_async("ws://worker/", theirs).await.unwrap();
        let batch = format!("[{},{}]", request(1), request(2));
        for nonsense in [Message::text("nonsense"), Message::text(batch), Message::binary(vec![0xff; 9])] {
            peer.send(nonsense).await.unwrap();
            let answer = peer.next().await.unwrap().unwrap().into_text().unwrap();
            assert_eq!(answer.as_str(), INVALID_REQUEST);
        }
        peer.send(Message::text(" ".repeat(MAX_REQUEST_BYTES + 1))).await.unwrap();
        let ended = attending.await.unwrap();
        let Err(PeerError::WebSocket(error)) = ended else { panic!("{ended:?}") };
        assert!(matches!(*error, WebSocketError::Capacity(_)), "{error}");
    }

    #[tokio::test]
    async fn peers_fetch_blocks_over_rpc() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _serving = tokio::spawn(serve(listener, shared.clone()));
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

    #[tokio::test]
    async fn one_peer_cannot_take_all_connections() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _serving = tokio::spawn(serve(listener, shared.clone()));
        let mut idle = Vec::new();
        for _ in 0..32 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)));
        let text = shared.metrics.text().unwrap();
        assert!(text.contains("{port=\"untrusted\",reason=\"peer\"} 1\n"), "{text}");

        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let other = socket.connect(address).await.unwrap();
        let (mut other, _) = client_async("ws://worker/", other).await.unwrap();
        other.send(Message::text(request(7))).await.unwrap();
        let answer = other.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(answer.contains("\"id\":7") && answer.contains("-32003"), "{answer}");
    }
}
