//! Both windows of one relayed connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::bytes::BytesMut;

use crate::connections::{ProtocolError, WINDOW};

/// Shared between the link's receiving task, which fills it, and the connection's own task, which empties it.
#[derive(Debug)]
pub(crate) struct Flow {
    connection: u64,
    state: Mutex<State>,
    incoming: Notify,
    credit: Notify,
    end: Notify,
}

#[derive(Debug)]
struct State {
    /// Received, not yet taken.
    received: BytesMut,
    /// Bytes that the peer may still send.
    peer_credit: usize,
    /// Taken since credit was last granted.
    ungranted: usize,
    /// The peer has sent all its bytes.
    peer_closed: bool,
    /// Bytes that we may still send.
    own_credit: usize,
}

impl Flow {
    pub(crate) fn new(connection: u64) -> Self {
        let state = State {
            received: BytesMut::new(),
            peer_credit: WINDOW,
            ungranted: 0,
            peer_closed: false,
            own_credit: WINDOW,
        };
        let [incoming, credit, end] = [(); 3].map(|()| Notify::new());
        Self { connection, state: Mutex::new(state), incoming, credit, end }
    }

    pub(crate) fn receive(&self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let connection = self.connection;
        let mut state = self.lock();
        if state.peer_closed {
            return Err(ProtocolError::DataAfterClose { connection });
        }
        state.peer_credit =
            state.peer_credit.checked_sub(bytes.len()).ok_or(ProtocolError::WindowExceeded { connection })?;
        state.received.extend_from_slice(bytes);
        self.incoming.notify_one();
        Ok(())
    }

    pub(crate) fn close(&self) -> Result<(), ProtocolError> {
        let mut state = self.lock();
        if state.peer_closed {
            return Err(ProtocolError::ClosedTwice { connection: self.connection });
        }
        state.peer_closed = true;
        self.incoming.notify_one();
        self.end.notify_one();
        Ok(())
    }

    pub(crate) fn add_credit(&self, bytes: u32) -> Result<(), ProtocolError> {
        let excessive = ProtocolError::CreditExcessive { connection: self.connection };
        let bytes = usize::try_from(bytes).map_err(|_| excessive.clone())?;
        let mut state = self.lock();
        let credit = state.own_credit.saturating_add(bytes);
        if credit > WINDOW {
            return Err(excessive);
        }
        state.own_credit = credit;
        self.credit.notify_one();
        Ok(())
    }

    /// All bytes that were received, at least one; `None` after the last.
    pub(crate) async fn next_received(&self) -> Option<BytesMut> {
        loop {
            {
                let mut state = self.lock();
                if !state.received.is_empty() {
                    return Some(state.received.split());
                }
                if state.peer_closed {
                    return None;
                }
            }
            self.incoming.notified().await;
        }
    }

    /// Waits until the peer sends no more, whether or not all that it sent was taken. One task waits at a time.
    pub(crate) async fn peer_closed(&self) {
        while !self.lock().peer_closed {
            self.end.notified().await;
        }
    }

    /// Notes that bytes were passed on; gives the credit that is now to be granted, if it is worth a message.
    pub(crate) fn taken(&self, bytes: usize) -> Option<u32> {
        let mut state = self.lock();
        state.ungranted = state.ungranted.saturating_add(bytes);
        if state.ungranted < GRANT || state.peer_closed {
            return None;
        }
        let granted = core::mem::take(&mut state.ungranted);
        state.peer_credit = state.peer_credit.saturating_add(granted);
        u32::try_from(granted).ok()
    }

    /// Waits until something may be sent; how many bytes.
    pub(crate) async fn sendable(&self) -> usize {
        loop {
            let credit = self.lock().own_credit;
            if credit > 0 {
                return credit;
            }
            self.credit.notified().await;
        }
    }

    /// Uses credit that [`Flow::sendable`] gave.
    pub(crate) fn sent(&self, bytes: usize) {
        let mut state = self.lock();
        state.own_credit = state.own_credit.saturating_sub(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are worth a message: a peer always has three quarters of its window once all is taken.
const GRANT: usize = WINDOW / 4;
