//! TLS and WebSocket over memory, a handler that does what the test says.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use cloister_keys::TlsIdentity;
use cloister_rpc::{Call, Error, Handler, Limits, Method, Reply, StatusUpdate, serve};
use cloister_wire::{
    DirectRequestStatus, H256, Request, RpcReturnValue, ShardId,
    TrustedOperationStatus::{self, Submitted},
};
use codec::{Decode, DecodeAll, Encode};
use futures::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::ServerName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};
use tokio_util::sync::CancellationToken;

pub const HASH: H256 = H256::repeat_byte(0xab);

/// Counts what it is asked; answers as the test wants.
pub struct TestHandler {
    pub calls: Mutex<Vec<Call>>,
    /// `system_name` is answered once there is a permit.
    pub permits: Semaphore,
    /// `author_getMuRaUrl` takes one for as long as it is answered.
    pub turns: Semaphore,
    /// Ends of watched operations, to be taken by the test.
    pub watched: mpsc::UnboundedSender<mpsc::Sender<StatusUpdate>>,
    pub methods: Vec<Method>,
}

impl Handler for TestHandler {
    fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn own_methods(&self) -> &'static [&'static str] {
        &["game_last"]
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Reply> {
        self.calls.lock().unwrap().push(call.clone());
        async move {
            match call {
                Call::Name => {
                    self.permits.acquire().await.unwrap().forget();
                    Reply::Answer(RpcReturnValue::ok("name"))
                }
                Call::Version => Reply::Answer(RpcReturnValue::ok("version")),
                Call::Metadata => Reply::Answer(RpcReturnValue::ok(vec![7u8; 60_000])),
                Call::MuRaUrl => {
                    let _turn = self.turns.acquire().await.unwrap();
                    Reply::Answer(RpcReturnValue::ok("turn"))
                }
                // More than any answer may have.
                Call::Header => Reply::Answer(RpcReturnValue::ok(vec![7u8; 200_000])),
                Call::Fingerprint => panic!("a handler's defect"),
                Call::Health => pending().await,
                Call::ShardVault => Reply::Answer(RpcReturnValue::error("no vault")),
                Call::Submit(_) => Reply::Answer(RpcReturnValue {
                    value: HASH.encode(),
                    do_watch: false,
                    status: DirectRequestStatus::TrustedOperationStatus(Submitted),
                }),
                Call::SubmitAndWatch(_) => {
                    let (sender, updates) = mpsc::channel(8);
                    self.watched.send(sender).unwrap();
                    Reply::Watch { hash: HASH, updates }
                }
                other => Reply::Answer(RpcReturnValue::error(format!("{other:?}"))),
            }
        }
        .boxed()
    }
}

pub struct Server {
    pub handler: Arc<TestHandler>,
    pub watched: mpsc::UnboundedReceiver<mpsc::Sender<StatusUpdate>>,
    pub shutdown: CancellationToken,
    /// How often the server has written to the pipe.
    pub writes: Arc<AtomicUsize>,
    pub connection: JoinHandle<Result<(), Error>>,
}

impl Server {
    /// Serves one end of a pipe and gives the other.
    pub fn start(limits: Limits, identity: &TlsIdentity, methods: Vec<Method>) -> (Self, DuplexStream) {
        let (sender, watched) = mpsc::unbounded_channel();
        let [permits, turns] = [(); 2].map(|()| Semaphore::new(0));
        let handler = Arc::new(TestHandler { calls: Mutex::default(), permits, turns, watched: sender, methods });
        Self::with_handler(limits, identity, handler, watched)
    }

    /// A connection more to a handler.
    pub fn with_handler(
        limits: Limits,
        identity: &TlsIdentity,
        handler: Arc<TestHandler>,
        watched: mpsc::UnboundedReceiver<mpsc::Sender<StatusUpdate>>,
    ) -> (Self, DuplexStream) {
        let (ours, theirs) = duplex(16 * 1024);
        let (shutdown, writes) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
        let ours = Counted { stream: ours, writes: writes.clone() };
        let connection = tokio::spawn(serve(ours, identity.server_config(), handler.clone(), limits, shutdown.clone()));
        (Self { handler, watched, shutdown, writes, connection }, theirs)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.handler.calls.lock().unwrap().clone()
    }

    pub async fn end(self) -> Result<(), Error> {
        self.connection.await.unwrap()
    }
}

/// Counts how often it is written to.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

pub struct Client(pub WebSocketStream<TlsStream<DuplexStream>>);

impl Client {
    pub async fn connect(stream: DuplexStream, identity: &TlsIdentity) -> Self {
        let stream = tls(stream, identity).await;
        Self(client_async("wss://localhost/", stream).await.unwrap().0)
    }

    pub async fn send(&mut self, text: impl ToString) {
        self.0.send(Message::text(text.to_string())).await.unwrap();
    }

    pub async fn ask(&mut self, id: Value, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id})).await;
    }

    pub async fn text(&mut self) -> String {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next answer's id and value.
    pub async fn answer(&mut self) -> (Value, RpcReturnValue) {
        let answer = self.json().await;
        (answer["id"].clone(), return_value(&answer))
    }

    pub async fn error_code(&mut self) -> (Value, i64) {
        let answer = self.json().await;
        assert!(answer.get("result").is_none(), "{answer}");
        (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap())
    }

    pub async fn close_code(&mut self) -> CloseCode {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Close(Some(frame)) => return frame.code,
                Message::Ping(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

pub async fn tls(stream: DuplexStream, identity: &TlsIdentity) -> TlsStream<DuplexStream> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

pub async fn connected(limits: Limits) -> (Server, Client) {
    let identity = TlsIdentity::draw().unwrap();
    let (server, stream) = Server::start(limits, &identity, Method::ALL.to_vec());
    (server, Client::connect(stream, &identity).await)
}

pub fn return_value(answer: &Value) -> RpcReturnValue {
    decoded(answer["result"].as_str().unwrap_or_else(|| panic!("{answer}")))
}

pub fn decoded<T: Decode>(hex: &str) -> T {
    T::decode_all(&mut hex::decode(hex.strip_prefix("0x").unwrap()).unwrap().as_slice()).unwrap()
}

pub fn request() -> String {
    let request = Request { shard: ShardId(H256::repeat_byte(7)), cyphertext: vec![1, 2, 3].try_into().unwrap() };
    format!("0x{}", hex::encode(request.encode()))
}

pub fn update(status: TrustedOperationStatus, error: Option<&str>, last: bool) -> StatusUpdate {
    StatusUpdate { status, error: error.map(Into::into), last }
}
