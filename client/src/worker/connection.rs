//! The task that owns a worker's socket: numbers requests, hands out answers and status changes.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use cloister_wire::DirectRequestStatus;
use codec::DecodeAll;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{Error, SUBMIT_AND_WATCH, Update, hex_bytes, malformed, return_value};

/// A request on its way to the socket.
pub(super) struct Command {
    pub method: String,
    pub parameters: Value,
    pub reply: Reply,
}

/// Who waits for an answer.
pub(super) enum Reply {
    Answer(oneshot::Sender<Result<Value, Error>>),
    /// An answer that is a hash opens a stream of status changes under that hash.
    Watch(oneshot::Sender<Result<WatchAnswer, Error>>),
}

type WatchAnswer = (Value, Option<mpsc::Receiver<Result<Update, Error>>>);

/// Starts the task; it ends when the socket or the last sender is gone.
pub(super) fn start<S>(socket: WebSocketStream<S>) -> mpsc::Sender<Command>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
    tokio::spawn(async move {
        let (sink, stream) = socket.split();
        let waiting = Mutex::new(Waiting::default());
        // Both directions run at once: a peer that reads slowly must not keep us from reading.
        tokio::select! {
            () = write(sink, queue, &waiting) => {}
            () = read(stream, &waiting) => {}
        }
    });
    commands
}

#[derive(Default)]
struct Waiting {
    replies: HashMap<u64, (String, Reply)>,
    watches: HashMap<String, mpsc::Sender<Result<Update, Error>>>,
    /// Number of watches at which abandoned ones are next removed.
    sweep_at: usize,
}

async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut queue: mpsc::Receiver<Command>,
    waiting: &Mutex<Waiting>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut id: u64 = 0;
    let mut commands = Vec::new();
    // What is asked at once goes out at once.
    while queue.recv_many(&mut commands, QUEUED_COMMANDS).await > 0 {
        let sent = async {
            for Command { method, parameters, reply } in commands.drain(..) {
                id += 1;
                let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }).to_string();
                lock(waiting).replies.insert(id, (method, reply));
                sink.feed(Message::text(message)).await?;
            }
            sink.flush().await
        };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "the worker's socket takes nothing more");
            return;
        }
    }
    let _ = sink.close().await;
}

async fn read<S>(mut stream: SplitStream<WebSocketStream<S>>, waiting: &Mutex<Waiting>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Text(text)) => match serde_json::from_str(text.as_str()) {
                Ok(incoming) => lock(waiting).handle(incoming),
                Err(error) => tracing::warn!(%error, "the worker sent something that is not JSON-RPC"),
            },
            Ok(Message::Close(_)) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the worker's socket gives nothing more");
                return;
            }
        }
    }
}

/// Whether a worker's message says something, to whomever: an answer, a hash or a change of status.
pub fn says_something(message: &str) -> bool {
    let Ok(incoming) = serde_json::from_str::<Incoming>(message) else { return false };
    match incoming.params {
        Some(notification) => update(&notification).is_ok(),
        None => operation_hash(&incoming.result).is_some() || return_value(SUBMIT_AND_WATCH, &incoming.result).is_ok(),
    }
}

#[derive(Deserialize)]
struct Incoming {
    id: Option<Value>,
    method: Option<String>,
    params: Option<Notification>,
    #[serde(default)]
    result: Value,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct Notification {
    #[serde(default)]
    error: Option<Value>,
    result: Value,
    subscription: String,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    message: String,
}

impl Waiting {
    fn handle(&mut self, incoming: Incoming) {
        if incoming.method.is_some() {
            // A notification; its id means nothing.
            if let Some(notification) = incoming.params {
                self.notify(notification);
            }
            return;
        }
        let Some((method, reply)) =
            incoming.id.as_ref().and_then(Value::as_u64).and_then(|id| self.replies.remove(&id))
        else {
            tracing::warn!("the worker answered what nobody asked");
            return;
        };
        let result = match incoming.error {
            Some(ErrorObject { code, message }) => Err(Error::NotUnderstood { method, code, message }),
            None => Ok(incoming.result),
        };
        // Whoever asked may have stopped waiting.
        match reply {
            Reply::Answer(reply) => drop(reply.send(result)),
            Reply::Watch(reply) => {
                let answer = result.map(|answer| {
                    let updates = operation_hash(&answer).map(|hash| self.watch(hash));
                    (answer, updates)
                });
                drop(reply.send(answer));
            }
        }
    }

    fn watch(&mut self, operation: String) -> mpsc::Receiver<Result<Update, Error>> {
        if self.watches.len() >= self.sweep_at {
            self.watches.retain(|_, watch| !watch.is_closed());
            self.sweep_at = self.watches.len().saturating_mul(2).max(64);
        }
        let (updates, receiver) = mpsc::channel(QUEUED_UPDATES);
        self.watches.insert(operation, updates);
        receiver
    }

    fn notify(&mut self, notification: Notification) {
        let Some(watch) = self.watches.get(&notification.subscription) else { return };
        // An operation has fewer changes than fit; who sends more than that is cut off.
        if watch.try_send(update(&notification)).is_err() {
            self.watches.remove(&notification.subscription);
        }
    }
}

/// The answer as a subscription's name if it is a hash. A refusal of the same 32 bytes is told apart by being a
/// well-formed one, which a hash is once in 2^32 at most.
fn operation_hash(answer: &Value) -> Option<String> {
    let bytes = hex_bytes(SUBMIT_AND_WATCH, answer).ok()?;
    if bytes.len() != 32 || matches!(return_value(SUBMIT_AND_WATCH, answer), Err(Error::Refused(_))) {
        return None;
    }
    answer.as_str().map(str::to_string)
}

fn update(notification: &Notification) -> Result<Update, Error> {
    let bytes = hex_bytes(SUBMIT_AND_WATCH, &notification.result)?;
    let status =
        DirectRequestStatus::decode_all(&mut bytes.as_slice()).map_err(|error| malformed(SUBMIT_AND_WATCH, error))?;
    let reason = match &notification.error {
        None | Some(Value::Null) => None,
        Some(Value::String(reason)) => Some(reason.clone()),
        Some(other) => Some(other.to_string()),
    };
    match status {
        DirectRequestStatus::TrustedOperationStatus(status) => Ok(Update { status, reason }),
        DirectRequestStatus::Error => Err(Error::Refused(reason.unwrap_or_else(|| "no reason given".into()))),
        DirectRequestStatus::Ok => Err(malformed(SUBMIT_AND_WATCH, "a notification without a status")),
    }
}

/// No code panics while it holds the lock, and a map that it left would still be whole.
fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

const QUEUED_COMMANDS: usize = 256;
const QUEUED_UPDATES: usize = 64;
