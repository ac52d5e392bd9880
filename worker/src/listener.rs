//! Listeners that keep to their bounds, and the streams of those that the host itself serves.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep},
};

use crate::{
    admission::{Admission, Bounds, Pass, Refusal},
    status::Shared,
};

/// A port of the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    Trusted,
    Untrusted,
    Http,
    Metrics,
}

impl Port {
    pub const ALL: [Self; 4] = [Self::Trusted, Self::Untrusted, Self::Http, Self::Metrics];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
            Self::Http => "http",
            Self::Metrics => "metrics",
        }
    }
}

/// Accepts who may connect.
pub struct BoundedListener {
    listener: TcpListener,
    port: Port,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    silence: Duration,
}

impl BoundedListener {
    pub fn new(listener: TcpListener, port: Port, bounds: Bounds, shared: Arc<Shared>) -> Self {
        Self { listener, port, admission: Admission::new(bounds), shared, silence: SILENCE }
    }

    /// Of a port that the host itself serves.
    pub fn served(listener: TcpListener, port: Port, shared: Arc<Shared>) -> Self {
        Self::new(listener, port, SERVED_BOUNDS, shared)
    }

    /// The next connection that is not refused. Refused ones are closed and counted.
    pub async fn admit(&self) -> (TcpStream, Pass, SocketAddr) {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, as a rule; the connection waits in the kernel meanwhile.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match self.admission.admit(address.ip(), Instant::now()) {
                Ok(pass) => return (stream, pass, address),
                Err(refusal) => self.refused(refusal),
            }
        }
    }

    /// Counts a connection that was refused.
    pub fn refused(&self, refusal: Refusal) {
        self.shared.metrics.connections_refused_total.count(self.port, refusal);
    }
}

impl Listener for BoundedListener {
    type Io = ServedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, pass, address) = self.admit().await;
        (ServedStream::new(stream, pass, self.silence), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it has not been answered for too long, or has sent too much without an answer. So
/// headers and requests without end, dripping ones, and clients that do not read their answers end alike.
pub struct ServedStream {
    stream: TcpStream,
    silence: Duration,
    end: Pin<Box<Sleep>>,
    /// Bytes that were read since something was written.
    unanswered: usize,
    _pass: Pass,
}

impl ServedStream {
    fn new(stream: TcpStream, pass: Pass, silence: Duration) -> Self {
        let end = Box::pin(tokio::time::sleep(silence));
        Self { stream, silence, end, unanswered: 0, _pass: pass }
    }

    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for ServedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unanswered >= MAX_UNANSWERED_BYTES {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let polled = self.stream(context)?.poll_read(context, buffer);
        self.unanswered += buffer.filled().len() - before;
        polled
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.stream(context)?.poll_write(context, bytes);
        if matches!(polled, Poll::Ready(Ok(written)) if written > 0) {
            self.unanswered = 0;
            let end = Instant::now() + self.silence;
            self.end.as_mut().reset(end);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const PAUSE: Duration = Duration::from_millis(100);
/// Probes, scrapers and peers need no more.
const SERVED_BOUNDS: Bounds = Bounds { connections: 64, per_peer: 32, per_second_per_peer: 100 };
/// Longer than most scrapers' interval, so that they keep a connection for some answers.
const SILENCE: Duration = Duration::from_secs(60);
/// Far above what probes, scrapers and peers ask for at once.
const MAX_UNANSWERED_BYTES: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn server(bounds: Bounds, silence: Duration) -> (SocketAddr, Arc<Shared>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::new());
        let mut listener = BoundedListener::new(listener, Port::Http, bounds, shared.clone());
        listener.silence = silence;
        tokio::spawn(async {
            axum::serve(listener, Router::new().route("/", get(async || "x".repeat(8 * 1_024 * 1_024)))).await
        });
        (address, shared)
    }

    /// From an address of its own.
    async fn connect(last: u8, to: SocketAddr) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Whether the server has ended the connection, cleanly or not.
    async fn ended(stream: &mut TcpStream) -> bool {
        matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n").await.unwrap();
        let mut status = [0; 15];
        stream.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200 OK"
    }

    #[tokio::test]
    async fn one_peers_idle_connections_lock_nobody_else_out() {
        let bounds = Bounds { connections: 3, per_peer: 2, per_second_per_peer: 1_000 };
        let (address, shared) = server(bounds, Duration::from_secs(600)).await;
        let _idle = [connect(2, address).await, connect(2, address).await];
        assert!(ended(&mut connect(2, address).await).await);
        let mut other = connect(3, address).await;
        assert!(is_answered(&mut other).await);
        assert!(ended(&mut connect(4, address).await).await);
        let text = shared.metrics.text().unwrap();
        for (reason, count) in [("peer", 1), ("full", 1), ("rate", 0)] {
            let line = format!("cloister_connections_refused_total{{port=\"http\",reason=\"{reason}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[tokio::test]
    async fn who_connects_over_and_over_is_refused() {
        let bounds = Bounds { connections: 3, per_peer: 3, per_second_per_peer: 1 };
        let (address, shared) = server(bounds, Duration::from_secs(600)).await;
        for _ in 0..3 {
            assert!(is_answered(&mut connect(2, address).await).await);
        }
        let mut refused = false;
        for _ in 0..20 {
            refused |= ended(&mut connect(2, address).await).await;
            if refused {
                break;
            }
        }
        assert!(refused);
        let text = shared.metrics.text().unwrap();
        assert!(!text.contains("{port=\"http\",reason=\"rate\"} 0\n"), "{text}");
    }

    #[tokio::test]
    async fn a_request_that_drips_or_never_ends_is_given_up() {
        let bounds = Bounds { connections: 9, per_peer: 9, per_second_per_peer: 100 };
        let (address, _) = server(bounds, Duration::from_millis(300)).await;
        let mut silent = connect(2, address).await;
        assert!(ended(&mut silent).await);

        let mut dripping = connect(2, address).await;
        dripping.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while dripping.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let (address, _) = server(bounds, Duration::from_secs(600)).await;
        let mut endless = connect(2, address).await;
        endless.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while endless.write_all(&[b'x'; 1_000]).await.is_ok() {}
    }

    #[tokio::test]
    async fn who_does_not_read_the_answer_is_given_up() {
        let bounds = Bounds { connections: 1, per_peer: 1, per_second_per_peer: 1_000 };
        let (address, _) = server(bounds, Duration::from_millis(300)).await;
        let mut slow = connect(2, address).await;
        slow.write_all(b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n").await.unwrap();
        // The only place is free again once the slow one has lost it.
        loop {
            let mut other = connect(3, address).await;
            other.write_all(b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n").await.unwrap();
            if !ended(&mut other).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
