//! Counts what a client sends until a message ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The stream below the WebSocket. That joins fragments by itself and bounds what they carry, but not how many carry
/// nothing, nor for how long.
pub(crate) struct Metered<S> {
    stream: S,
    /// Bytes that were read since the last message ended, but for control frames. Never more than there were: what was
    /// read ahead of an end is not counted.
    unfinished: usize,
    /// When the first of them was read.
    since: Option<Instant>,
    most: usize,
}

impl<S> Metered<S> {
    /// Counts nothing yet; fails to read once `most` bytes belong to no message that ended.
    pub(crate) fn new(stream: S, most: usize) -> Self {
        Self { stream, unfinished: 0, since: None, most }
    }

    /// A message ended.
    pub(crate) fn end_message(&mut self) {
        self.unfinished = 0;
        self.since = None;
    }

    /// A control frame ended; it may stand amidst a message.
    pub(crate) fn end_control(&mut self, payload: usize) {
        self.unfinished = self.unfinished.saturating_sub(payload.saturating_add(CONTROL_HEADER));
        if self.unfinished == 0 {
            self.since = None;
        }
    }

    /// Whether the message that is under way is longer than any may be.
    pub(crate) fn is_endless(&self) -> bool {
        self.unfinished >= self.most
    }

    /// Whether a message has been under way for longer than `patience`.
    pub(crate) fn is_slow(&self, patience: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() > patience)
    }

    /// Below the count.
    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_endless() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        if read > 0 {
            self.unfinished = self.unfinished.saturating_add(read);
            self.since.get_or_insert_with(Instant::now);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
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

/// Of a control frame from a client: two bytes and the mask (RFC 6455 §5.2).
const CONTROL_HEADER: usize = 6;
