//! Health and metrics over plain HTTP. Figures only, nothing about single users.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get, serve::Listener};
use prometheus::{IntCounter, IntGauge, Opts, Registry, TextEncoder};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use crate::session::Shared;

/// Serves `/is_initialized`: 200 once the enclave serves its shard, 404 before.
pub async fn serve_health(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let health = async |State(shared): State<Arc<Shared>>| {
        if shared.is_serving() {
            (StatusCode::OK, "I am initialized.")
        } else {
            (StatusCode::NOT_FOUND, "I am not initialized.")
        }
    };
    axum::serve(Bounded::new(listener), Router::new().route("/is_initialized", get(health)).with_state(shared)).await
}

/// Serves `/metrics`.
pub async fn serve_metrics(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let metrics = async |State(shared): State<Arc<Shared>>| match shared.metrics.text() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    axum::serve(Bounded::new(listener), Router::new().route("/metrics", get(metrics)).with_state(shared)).await
}

/// Accepts a bounded number of connections at a time, each for a bounded time. Probes and scrapers need no more, and nobody
/// can hold the process's file descriptors or lock them out for long.
struct Bounded {
    listener: TcpListener,
    turns: Arc<Semaphore>,
    lifetime: Duration,
}

impl Bounded {
    fn new(listener: TcpListener) -> Self {
        Self { listener, turns: Arc::new(Semaphore::new(MAX_CONNECTIONS)), lifetime: CONNECTION_LIFETIME }
    }
}

impl Listener for Bounded {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // `None` only of a semaphore that was closed, which nobody does.
        let turn = self.turns.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (BoundedStream { stream, end: Box::pin(tokio::time::sleep(self.lifetime)), _turn: turn }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct BoundedStream {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _turn: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

macro_rules! metrics {
    ($($(#[$what:meta])* $name:ident: $kind:ty = $help:literal,)*) => {
        /// What a worker measures.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(pub $name: $kind,)*
        }

        impl Metrics {
            /// # Errors
            /// If two metrics had the same name.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new_custom(Some("cloister".into()), None)?;
                $(
                    let $name = <$kind>::with_opts(Opts::new(stringify!($name), $help))?;
                    registry.register(Box::new($name.clone()))?;
                )*
                Ok(Self { registry, $($name,)* })
            }
        }
    };
}

metrics! {
    serving: IntGauge = "Whether the enclave serves its shard",
    pool_calls: IntGauge = "Calls that wait in the enclave's pool",
    block_number: IntGauge = "Height of the shard",
    accounts: IntGauge = "Accounts of the shard",
    state_bytes: IntGauge = "Bytes of the shard's state",
    layer_one_finalized: IntGauge = "Newest finalized layer-one block that the enclave has verified",
    layer_one_read: IntGauge = "Newest finalized layer-one block whose state the enclave has verified",
    layer_one_time: IntGauge = "That block's time (Unix seconds); 0 before the first one",
    inbox_consumed: IntGauge = "Inbox entries that the shard has consumed",
    connections: IntGauge = "Open client connections",
    rpc_requests_total: IntCounter = "Client requests that the enclave answered",
    connections_refused_total: IntCounter = "Client connections refused because there were too many",
    blocks_total: IntCounter = "Blocks of the shard that the enclave produced",
    proof_questions_total: IntCounter = "Storage proofs that the enclave asked for",
    proofs_missing_total: IntCounter = "Storage proofs that layer one's node did not give",
    extrinsics_submitted_total: IntCounter = "Extrinsics that layer one's node took",
    extrinsics_failed_total: IntCounter = "Extrinsics that layer one's node did not take",
    registrations_total: IntCounter = "Registrations of this start that became final",
    registration_expires_at: IntGauge = "When the registration expires, in layer one's time (Unix seconds); 0 without one",
    layer_one_connects_total: IntCounter = "Connections made to layer one's node",
}

impl Metrics {
    /// In Prometheus' text format.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Raises a counter to a total that was counted elsewhere.
pub fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

const MAX_CONNECTIONS: usize = 64;
/// Longer than most scrapers' interval, so that they keep a connection for some answers.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_turns_from_404_to_200() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_health(listener, shared.clone()));
        assert!(get(address, "/is_initialized").await.starts_with("HTTP/1.1 404"));
        shared.set_serving();
        let answer = get(address, "/is_initialized").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("I am initialized."), "{answer}");
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn an_idle_connection_locks_nobody_out_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lifetime = Duration::from_millis(200);
        let bounded = Bounded { listener, turns: Arc::new(Semaphore::new(1)), lifetime };
        tokio::spawn(async {
            axum::serve(bounded, Router::new().route("/", axum::routing::get(async || "here"))).await
        });
        let mut idle = TcpStream::connect(address).await.unwrap();
        let started = std::time::Instant::now();
        assert!(get(address, "/").await.ends_with("here"));
        assert!(started.elapsed() >= lifetime / 2, "both were served at once");
        assert_eq!(idle.read(&mut [0]).await.unwrap_or_default(), 0);
    }

    #[tokio::test]
    async fn metrics_carry_the_prefix() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_metrics(listener, shared.clone()));
        shared.metrics.block_number.set(7);
        raise_to(&shared.metrics.rpc_requests_total, 5);
        raise_to(&shared.metrics.rpc_requests_total, 3);
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("\ncloister_block_number 7\n"), "{answer}");
        assert!(answer.contains("\ncloister_rpc_requests_total 5\n"), "{answer}");
        assert!(answer.contains("\ncloister_serving 0\n"), "{answer}");
    }
}
