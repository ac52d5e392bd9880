//! Connections of clients, relayed over the link.
//!
//! The host accepts TCP and numbers the connections; the enclave gets each as a byte stream of its own. Per connection
//! and direction at most [`WINDOW`] bytes are under way: a peer that sends more breaks the protocol, and a reader that
//! is slow fills its own window and nobody else's. `Closed` ends one direction; a connection ends when both have ended,
//! or [`LINGER`] after the first, or when its local stream breaks. What is on its way then is lost: neither a reader
//! who takes nothing nor a writer whom nobody reads keeps a connection for longer.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    client_stream::ClientStream, flow::Flow, frame::LinkError, message::LinkMessage, message::ToEnclave,
    transport::Sender,
};

/// Most bytes that may be on their way, per connection and direction.
pub const WINDOW: usize = 256 * 1024;

/// How long the second direction of a connection may outlive the first.
pub const LINGER: Duration = Duration::from_secs(10);

/// How the other end broke the protocol. The link is to be given up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A connection was opened with a number that is not above all earlier ones.
    #[error("connection {connection} was opened out of order")]
    OpenedOutOfOrder {
        /// Its number.
        connection: u64,
    },
    /// A message names a connection that was never opened.
    #[error("connection {connection} was never opened")]
    NeverOpened {
        /// Its number.
        connection: u64,
    },
    /// Data without bytes, of which a window would admit any number.
    #[error("connection {connection} sent empty data")]
    EmptyData {
        /// Its number.
        connection: u64,
    },
    /// More bytes than there was credit for.
    #[error("connection {connection} exceeded its window")]
    WindowExceeded {
        /// Its number.
        connection: u64,
    },
    /// Credit for more bytes than were sent.
    #[error("connection {connection} was granted more than its window")]
    CreditExcessive {
        /// Its number.
        connection: u64,
    },
    /// Data after the end.
    #[error("connection {connection} sent data after its end")]
    DataAfterClose {
        /// Its number.
        connection: u64,
    },
    /// A second end.
    #[error("connection {connection} was closed twice")]
    ClosedTwice {
        /// Its number.
        connection: u64,
    },
}

/// All relayed connections of one end of a link. Clones share them.
///
/// The task that receives from the link passes each connection message to the method of its name; none of
/// them waits for a connection.
#[derive(Debug)]
pub struct Connections<Out> {
    sender: Sender<Out>,
    table: Arc<Mutex<Table>>,
    opening: Arc<tokio::sync::Mutex<()>>,
    most: usize,
}

impl<Out> Clone for Connections<Out> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), table: self.table.clone(), opening: self.opening.clone(), most: self.most }
    }
}

impl<Out: LinkMessage> Connections<Out> {
    /// No connections yet; never more than `most` at a time.
    pub fn new(sender: Sender<Out>, most: usize) -> Self {
        Self { sender, table: Arc::default(), opening: Arc::default(), most }
    }

    /// Open connections, and those that have ended and are still served.
    pub fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// The peer opened a connection: the stream on which it is served, or `None` if there are too many; the peer then
    /// learns that the connection is closed.
    ///
    /// # Errors
    /// [`ProtocolError::OpenedOutOfOrder`].
    pub async fn opened(&self, connection: u64) -> Result<Option<ClientStream>, ProtocolError> {
        let flow = {
            let mut table = self.lock();
            if connection < table.next {
                return Err(ProtocolError::OpenedOutOfOrder { connection });
            }
            // The highest number has none above it: opened once, it could be opened again and again.
            table.next = connection.checked_add(1).ok_or(ProtocolError::OpenedOutOfOrder { connection })?;
            table.insert(connection, self.most)
        };
        let Some(flow) = flow else {
            // Before all bulk, so that refusing does not wait for other connections' bytes. A closed link shows elsewhere.
            let _ = self.sender.send_urgent(Out::connection_closed(connection)).await;
            return Ok(None);
        };
        let (near, far) = tokio::io::duplex(PIPE);
        let entry = Arc::new(Entry { connection, table: self.table.clone() });
        let (held, let_go) = oneshot::channel();
        let (relayed, relaying) = watch::channel(());
        let (sender, counted) = (self.sender.clone(), entry.clone());
        tokio::spawn(async move {
            let _relayed = (relayed, counted);
            let unserved = async {
                // Nobody sends: it ends when the stream is dropped.
                let _ = let_go.await;
            };
            relay(connection, &flow, &sender, near, unserved).await;
        });
        Ok(Some(ClientStream::new(far, relaying, (entry, held))))
    }

    /// The peer sent bytes of a connection.
    ///
    /// # Errors
    /// A [`ProtocolError`] for a breach. Bytes for a connection that ended here meanwhile are dropped.
    pub fn data(&self, connection: u64, bytes: &[u8]) -> Result<(), ProtocolError> {
        if bytes.is_empty() {
            return Err(ProtocolError::EmptyData { connection });
        }
        self.find(connection)?.map_or(Ok(()), |flow| flow.receive(bytes))
    }

    /// The peer has taken bytes of a connection.
    ///
    /// # Errors
    /// A [`ProtocolError`] for a breach.
    pub fn credit(&self, connection: u64, bytes: u32) -> Result<(), ProtocolError> {
        self.find(connection)?.map_or(Ok(()), |flow| flow.add_credit(bytes))
    }

    /// The peer sends no more bytes of a connection.
    ///
    /// # Errors
    /// A [`ProtocolError`] for a breach.
    pub fn closed(&self, connection: u64) -> Result<(), ProtocolError> {
        self.find(connection)?.map_or(Ok(()), |flow| flow.close())
    }

    fn find(&self, connection: u64) -> Result<Option<Arc<Flow>>, ProtocolError> {
        let table = self.lock();
        if connection >= table.next {
            return Err(ProtocolError::NeverOpened { connection });
        }
        Ok(table.open.get(&connection).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections<ToEnclave> {
    /// Opens a connection to the enclave for a client's stream; its number, or the stream back if there are too
    /// many.
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    pub async fn open<S>(&self, stream: S) -> Result<Result<u64, S>, LinkError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        // Numbers must reach the enclave in order.
        let _opening = self.opening.lock().await;
        let (connection, flow) = {
            let mut table = self.lock();
            let connection = table.next;
            let Some(flow) = table.insert(connection, self.most) else { return Ok(Err(stream)) };
            table.next = connection.saturating_add(1);
            (connection, flow)
        };
        let opened = self.sender.send(ToEnclave::ConnectionOpened { connection }).await;
        if let Err(error) = opened {
            self.lock().open.remove(&connection);
            return Err(error);
        }
        let entry = Entry { connection, table: self.table.clone() };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // Moved in, so that the entry goes when the task ends in whatever way.
            let _entry = entry;
            relay(connection, &flow, &sender, stream, pending()).await;
        });
        Ok(Ok(connection))
    }
}

#[derive(Debug, Default)]
struct Table {
    /// Above all numbers that were ever opened.
    next: u64,
    open: HashMap<u64, Arc<Flow>>,
}

impl Table {
    fn insert(&mut self, connection: u64, most: usize) -> Option<Arc<Flow>> {
        if self.open.len() >= most {
            return None;
        }
        let flow = Arc::new(Flow::new(connection));
        self.open.insert(connection, flow.clone());
        Some(flow)
    }
}

/// Takes a connection out of the table when nobody has to do with it any more.
#[derive(Debug)]
pub(crate) struct Entry {
    connection: u64,
    table: Arc<Mutex<Table>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.connection);
    }
}

/// Passes bytes on in both directions. `unserved` ends when nobody serves `stream` any more.
async fn relay<Out, S>(
    connection: u64,
    flow: &Flow,
    sender: &Sender<Out>,
    stream: S,
    unserved: impl Future<Output = ()>,
) where
    Out: LinkMessage,
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let own_end_sent = AtomicBool::new(false);
    let close = || async {
        if !own_end_sent.load(Ordering::Relaxed) && sender.send(Out::connection_closed(connection)).await.is_ok() {
            own_end_sent.store(true, Ordering::Relaxed);
        }
    };
    let outgoing = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let most = flow.sendable().await.min(CHUNK);
            // A stream that fails has no more bytes either.
            let count = match buffer.get_mut(..most) {
                Some(buffer) => reader.read(buffer).await.unwrap_or(0),
                None => 0,
            };
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            flow.sent(count);
            if sender.send(Out::connection_data(connection, bytes.to_vec())).await.is_err() {
                return;
            }
        }
        close().await;
    };
    let incoming = async {
        while let Some(bytes) = flow.next_received().await {
            // Broken off at the first error: nobody is left to read.
            writer.write_all(&bytes).await.ok()?;
            writer.flush().await.ok()?;
            if let Some(credit) = flow.taken(bytes.len()) {
                sender.send(Out::connection_credit(connection, credit)).await.ok()?;
            }
        }
        writer.shutdown().await.ok()
    };
    let both = async {
        tokio::pin!(outgoing, incoming);
        tokio::select! {
            () = &mut outgoing => {
                let _ = timeout(LINGER, incoming).await;
            }
            done = &mut incoming => if done.is_some() {
                let _ = timeout(LINGER, outgoing).await;
            }
        }
    };
    // Either may come long before the bytes on their way are taken, or without them ever being taken.
    let abandoned = async {
        tokio::select! {
            () = flow.peer_closed() => {}
            () = unserved => {}
        }
        sleep(LINGER).await;
    };
    tokio::select! {
        () = both => {}
        () = abandoned => {}
    }
    close().await;
}

/// Most bytes in one message of a connection.
const CHUNK: usize = 16 * 1024;
/// Bytes between the relay and whoever serves the connection.
const PIPE: usize = 64 * 1024;
