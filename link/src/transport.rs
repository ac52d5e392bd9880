//! A link over any byte stream: a queueing [`Sender`] and a [`Receiver`].
//!
//! Queues are bounded; a full one makes its senders wait. An end must go on receiving whatever it sends: only then two
//! full directions cannot block each other. So [`Receiver::recv`] is best called from a task that awaits no bulk queue.

use futures::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
};
use tokio_util::codec::FramedRead;

use crate::{
    frame::{self, FrameDecoder, LinkError},
    message::LinkMessage,
};

/// Splits a stream into both directions of a link. Must be called within a tokio runtime: a task writes what
/// the senders queue, until the last sender is gone and the queues are empty, or the stream fails.
pub fn split<S, Out, In>(stream: S) -> (Sender<Out>, Receiver<S, In>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    Out: LinkMessage,
    In: LinkMessage,
{
    let (reader, writer) = tokio::io::split(stream);
    let (urgent, urgent_queue) = mpsc::channel(URGENT_QUEUE);
    let (bulk, bulk_queue) = mpsc::channel(BULK_QUEUE);
    tokio::spawn(async move {
        if let Err(error) = write_frames(writer, urgent_queue, bulk_queue).await {
            tracing::debug!(%error, "link's writer ended");
        }
    });
    let frames = FramedRead::with_capacity(reader, FrameDecoder::default(), READ_BUFFER);
    (Sender { urgent, bulk, messages: core::marker::PhantomData }, Receiver { frames })
}

/// The stream that a host passed as standard input of the enclave that it started.
///
/// # Errors
/// If it is no stream socket, or outside a tokio runtime with I/O.
#[cfg(unix)]
pub fn from_standard_input() -> std::io::Result<tokio::net::UnixStream> {
    use std::os::fd::AsFd;

    let stream = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Queues messages. Clones share the queues.
#[derive(Debug)]
pub struct Sender<Out> {
    urgent: mpsc::Sender<Item>,
    bulk: mpsc::Sender<Item>,
    messages: core::marker::PhantomData<fn(Out)>,
}

impl<Out> Clone for Sender<Out> {
    fn clone(&self) -> Self {
        Self { urgent: self.urgent.clone(), bulk: self.bulk.clone(), messages: self.messages }
    }
}

impl<Out: LinkMessage> Sender<Out> {
    /// Queues a message, waiting while its queue is full. Cancel safe: a cancelled call has sent nothing.
    ///
    /// # Errors
    /// [`LinkError::FrameTooLarge`], [`LinkError::Closed`].
    pub async fn send(&self, message: Out) -> Result<(), LinkError> {
        let queue = if message.is_bulk() { &self.bulk } else { &self.urgent };
        let frame = frame::encode(&message)?;
        queue.send(Item::Frame(frame)).await.map_err(|_| LinkError::Closed)
    }

    /// Queues a message before all bulk.
    pub(crate) async fn send_urgent(&self, message: Out) -> Result<(), LinkError> {
        let frame = frame::encode(&message)?;
        self.urgent.send(Item::Frame(frame)).await.map_err(|_| LinkError::Closed)
    }

    /// Waits until everything that was queued before is written to the stream.
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    pub async fn flush(&self) -> Result<(), LinkError> {
        let (done, written) = oneshot::channel();
        // Bulk gives way to the urgent, so what stands behind bulk stands behind everything.
        self.bulk.send(Item::Flush(done)).await.map_err(|_| LinkError::Closed)?;
        written.await.map_err(|_| LinkError::Closed)
    }
}

/// Receives messages.
#[derive(Debug)]
pub struct Receiver<S, In> {
    frames: FramedRead<ReadHalf<S>, FrameDecoder<In>>,
}

impl<S: AsyncRead + AsyncWrite, In: LinkMessage> Receiver<S, In> {
    /// The next message. Cancel safe. After an error the link is of no more use.
    ///
    /// # Errors
    /// [`LinkError::Closed`] once the other end has closed the stream between two frames, else what is wrong.
    pub async fn recv(&mut self) -> Result<In, LinkError> {
        self.frames.next().await.unwrap_or(Err(LinkError::Closed))
    }
}

enum Item {
    Frame(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

async fn write_frames<S: AsyncWrite>(
    writer: WriteHalf<S>,
    mut urgent: mpsc::Receiver<Item>,
    mut bulk: mpsc::Receiver<Item>,
) -> std::io::Result<()> {
    // Frames that wait together go out together: most are far smaller than what a write costs.
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
    loop {
        let item = tokio::select! {
            biased;
            Some(item) = urgent.recv() => item,
            Some(item) = bulk.recv() => item,
            else => break,
        };
        match item {
            Item::Frame(frame) => writer.write_all(&frame).await?,
            Item::Flush(done) => {
                writer.flush().await?;
                // Whoever no longer waits does not need to know.
                let _ = done.send(());
            }
        }
        if urgent.is_empty() && bulk.is_empty() {
            writer.flush().await?;
        }
    }
    writer.shutdown().await
}

/// Messages.
const URGENT_QUEUE: usize = 256;
/// Messages; a piece of a connection's bytes has at most 16 KiB, so 1 MiB.
const BULK_QUEUE: usize = 64;
/// Bytes.
const READ_BUFFER: usize = 64 * 1024;
/// Bytes.
const WRITE_BUFFER: usize = 64 * 1024;
