//! A client's connection as the enclave serves it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::{oneshot, watch},
};

use crate::connections::Entry;

/// The bytes of one connection. It counts as open until it is dropped, however early the client leaves, so that clients
/// who leave in the midst of their calls are no more than those who stay.
#[derive(Debug)]
pub struct ClientStream {
    stream: DuplexStream,
    relaying: watch::Receiver<()>,
    _held: (Arc<Entry>, oneshot::Sender<()>),
}

impl ClientStream {
    pub(crate) fn new(
        stream: DuplexStream,
        relaying: watch::Receiver<()>,
        held: (Arc<Entry>, oneshot::Sender<()>),
    ) -> Self {
        Self { stream, relaying, _held: held }
    }

    /// Waits until nothing can come from the client any more nor reach it. That shows neither to who writes nothing nor
    /// to who has not read what came before.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut relaying = self.relaying.clone();
        async move { while relaying.changed().await.is_ok() {} }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
