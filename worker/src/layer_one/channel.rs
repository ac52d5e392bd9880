//! A connection to a node that need not be honest. What it sends is bounded before anything is made of it; whoever
//! waits for it waits for a bounded time; and one over which something stays unanswered is not used again.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use jsonrpsee::{
    core::client::{Error, ReceivedMessage, TransportReceiverT, TransportSenderT},
    types::Id,
    ws_client::{PingConfig, WsClient, WsClientBuilder},
};
use jsonrpsee_client_transport::ws::WsTransportClientBuilder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A connection.
#[derive(Debug)]
pub struct Channel {
    pub client: WsClient,
    /// For one answer.
    patience: Duration,
    is_given_up: AtomicBool,
    /// Requests that nobody waits for any more. The client remembers each for as long as it lives.
    forsaken: AtomicUsize,
}

impl Channel {
    /// Connects. `patience` is for all of it, and then for each answer.
    pub async fn open(url: &str, patience: Duration) -> Result<Self, String> {
        let opening = async {
            let transport = WsTransportClientBuilder {
                connection_timeout: patience,
                max_response_size: MAX_MESSAGE,
                // A node that is not trusted does not say where else to connect.
                max_redirections: 1,
                ..WsTransportClientBuilder::default()
            };
            let url = url.parse().map_err(|_| "no URL".to_owned())?;
            transport.build(url).await.map_err(|error| error.to_string())
        };
        // The library bounds the time of TCP alone.
        let (sender, receiver) = tokio::time::timeout(patience, opening)
            .await
            .map_err(|_| format!("no connection within {patience:?}"))??;
        let client = WsClientBuilder::default()
            .enable_ws_ping(PingConfig::new())
            .max_buffer_capacity_per_subscription(MAX_NOTIFICATIONS)
            .build_with_transport(Patient { sender, patience }, Bounded(receiver));
        Ok(Self { client, patience, is_given_up: AtomicBool::new(false), forsaken: AtomicUsize::new(0) })
    }

    /// Whether requests are worth making over it.
    pub fn is_usable(&self) -> bool {
        self.client.is_connected()
            && !self.is_given_up.load(Ordering::Relaxed)
            && self.forsaken.load(Ordering::Relaxed) < MAX_FORSAKEN
    }

    /// Waits for an answer. Without one in time, the next request goes over another connection: this one may be dead in
    /// a way that does not show.
    pub async fn answer<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut waiting = Waiting { forsaken: &self.forsaken, is_answered: false };
        let answer = tokio::time::timeout(self.patience, request).await.unwrap_or(Err(Error::RequestTimeout));
        match answer {
            Err(Error::RequestTimeout) => self.is_given_up.store(true, Ordering::Relaxed),
            _ => waiting.is_answered = true,
        }
        answer
    }
}

struct Waiting<'a> {
    forsaken: &'a AtomicUsize,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.forsaken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Transport(String),
    #[error("the node takes nothing")]
    NothingTaken,
    #[error("a message of the node holds more than {MAX_VALUES} values or {MAX_NESTS} lists and objects")]
    TooManyValues,
    #[error("a message of the node names a request that cannot be")]
    ImpossibleRequest,
}

/// A sender that gives up instead of waiting for ever for a node to read.
struct Patient<T> {
    sender: T,
    patience: Duration,
}

impl<T> Patient<T> {
    async fn wait<E: std::error::Error>(
        patience: Duration,
        sending: impl Future<Output = Result<(), E>> + Send,
    ) -> Result<(), Broken> {
        match tokio::time::timeout(patience, sending).await {
            Ok(sent) => sent.map_err(|error| Broken::Transport(error.to_string())),
            Err(_) => Err(Broken::NothingTaken),
        }
    }
}

#[async_trait]
impl<T: TransportSenderT> TransportSenderT for Patient<T> {
    type Error = Broken;

    async fn send(&mut self, message: String) -> Result<(), Broken> {
        Self::wait(self.patience, self.sender.send(message)).await
    }

    async fn send_ping(&mut self) -> Result<(), Broken> {
        Self::wait(self.patience, self.sender.send_ping()).await
    }

    async fn close(&mut self) -> Result<(), Broken> {
        Self::wait(self.patience, self.sender.close()).await
    }
}

/// A receiver that passes on nothing that would take much more memory than it has bytes.
struct Bounded<T>(T);

#[async_trait]
impl<T: TransportReceiverT + Send> TransportReceiverT for Bounded<T> {
    type Error = Broken;

    async fn receive(&mut self) -> Result<ReceivedMessage, Broken> {
        let message = self.0.receive().await.map_err(|error| Broken::Transport(error.to_string()))?;
        match &message {
            ReceivedMessage::Text(text) => check(text.as_bytes())?,
            ReceivedMessage::Bytes(bytes) => check(bytes)?,
            ReceivedMessage::Pong => {}
        }
        Ok(message)
    }
}

/// The client makes a tree of each message, in which an empty object of two bytes takes hundreds.
fn check(message: &[u8]) -> Result<(), Broken> {
    let count = |wanted: fn(&u8) -> bool| message.iter().filter(|byte| wanted(byte)).count();
    if count(|byte| *byte == b',') > MAX_VALUES || count(|byte| matches!(byte, b'[' | b'{')) > MAX_NESTS {
        return Err(Broken::TooManyValues);
    }
    match message.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => check_batch(message),
        _ => Ok(()),
    }
}

/// The client adds one to the largest number that a batch names. Were that the largest there is, its reading task would
/// panic while the connection seemed to live.
fn check_batch(message: &[u8]) -> Result<(), Broken> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        id: Option<Id<'a>>,
    }
    let impossible = |_| Broken::ImpossibleRequest;
    let answers: Vec<&RawValue> = serde_json::from_slice(message).map_err(impossible)?;
    for answer in answers {
        let answer: Answer<'_> = serde_json::from_str(answer.get()).map_err(impossible)?;
        if answer.id.is_some_and(|id| id.try_parse_inner_as_number().is_ok_and(|number| number == u64::MAX)) {
            return Err(Broken::ImpossibleRequest);
        }
    }
    Ok(())
}

/// Bytes; a full block with its justification as JSON numbers fits.
const MAX_MESSAGE: u32 = 32 * 1024 * 1024;
/// Bytes of justifications are numbers in JSON: there is room for some megabytes.
const MAX_VALUES: usize = 4 * 1024 * 1024;
/// A batch of headers has some per header.
const MAX_NESTS: usize = 64 * 1024;
/// A subscription whose reader is behind by so many ends, and is made anew.
const MAX_NOTIFICATIONS: usize = 16;
/// More than ever are under way at a time.
const MAX_FORSAKEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    struct NeverRead;

    #[async_trait]
    impl TransportSenderT for NeverRead {
        type Error = std::io::Error;

        async fn send(&mut self, _: String) -> Result<(), std::io::Error> {
            std::future::pending().await
        }

        async fn send_ping(&mut self) -> Result<(), std::io::Error> {
            std::future::pending().await
        }

        async fn close(&mut self) -> Result<(), std::io::Error> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_node_that_reads_nothing_is_not_written_to_for_ever() {
        let mut sender = Patient { sender: NeverRead, patience: Duration::from_millis(1) };
        assert!(matches!(sender.send("x".into()).await, Err(Broken::NothingTaken)));
        assert!(matches!(sender.send_ping().await, Err(Broken::NothingTaken)));
        assert!(matches!(sender.close().await, Err(Broken::NothingTaken)));
    }
}
