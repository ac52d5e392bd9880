//! The task that owns a worker's socket: numbers requests, hands out answers and status changes.

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
    while let Some(Command { method, parameters, reply }) = queue.recv().await {
        id += 1;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }).to_string();
        lock(waiting).replies.insert(id, (method, reply));
        if let Err(error) = sink.send(Message::text(message)).await {
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

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::{H256, Request, ShardId};
    use cloister_wire::{RpcReturnValue, TrustedOperationStatus};
    use codec::Encode;
    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::worker::{Worker, to_hex};

    /// The enclave's end of a connection.
    struct Enclave(WebSocketStream<DuplexStream>);

    impl Enclave {
        async fn request(&mut self) -> Value {
            let message = self.0.next().await.unwrap().unwrap();
            serde_json::from_str(message.to_text().unwrap()).unwrap()
        }

        async fn send(&mut self, message: Value) {
            self.0.send(Message::text(message.to_string())).await.unwrap();
        }

        async fn answer(&mut self, request: &Value, result: &[u8]) {
            self.send(json!({ "jsonrpc": "2.0", "id": request["id"], "result": to_hex(result) })).await;
        }

        async fn notify(&mut self, operation: H256, status: TrustedOperationStatus, error: Value) {
            let result = to_hex(&DirectRequestStatus::TrustedOperationStatus(status).encode());
            let params = json!({ "error": error, "result": result, "subscription": to_hex(operation.as_bytes()) });
            self.send(json!({ "jsonrpc": "2.0", "id": 1, "method": SUBMIT_AND_WATCH, "params": params })).await;
        }
    }

    async fn connection() -> (Worker, Enclave) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let ours = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let theirs = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        (Worker { commands: start(ours), url: "wss://worker".into(), tls_key: [0; 32] }, Enclave(theirs))
    }

    fn request() -> Request {
        Request { shard: ShardId::default(), cyphertext: vec![1, 2, 3].try_into().unwrap() }
    }

    const OPERATION: H256 = H256([7; 32]);

    #[tokio::test]
    async fn answers_find_who_asked() {
        let (worker, mut enclave) = connection().await;
        let enclave = tokio::spawn(async move {
            let requests = [enclave.request().await, enclave.request().await];
            for request in requests.iter().rev() {
                let name = request["method"].as_str().unwrap().to_string();
                enclave.answer(request, &RpcReturnValue::ok(name).encode()).await;
            }
        });
        let (name, version) = tokio::join!(
            worker.read::<String>("system_name", json!([])),
            worker.read::<String>("system_version", json!([]))
        );
        assert_eq!((name.unwrap(), version.unwrap()), ("system_name".into(), "system_version".into()));
        enclave.await.unwrap();
    }

    #[tokio::test]
    async fn refusals_and_errors_are_told_apart() {
        let (worker, mut enclave) = connection().await;
        tokio::spawn(async move {
            let request = enclave.request().await;
            enclave.answer(&request, &RpcReturnValue::error("no vault").encode()).await;
            let request = enclave.request().await;
            let error = json!({ "code": -32601, "message": "Method not found" });
            enclave.send(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })).await;
            let request = enclave.request().await;
            enclave.answer(&request, &[1, 2]).await;
            enclave.request().await;
        });
        let error = worker.call("author_getShardVault", json!([])).await.unwrap_err();
        assert!(matches!(error, Error::Refused(reason) if reason == "no vault"));
        let error = worker.call("nonsense", json!([])).await.unwrap_err();
        assert!(matches!(error, Error::NotUnderstood { code: -32601, .. }));
        let error = worker.call("author_getShard", json!([])).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }));
        assert!(matches!(worker.call("author_getShard", json!([])).await, Err(Error::Closed)));
        assert!(matches!(worker.call("author_getShard", json!([])).await, Err(Error::Closed)));
    }

    #[tokio::test]
    async fn an_operation_is_followed_into_its_block() {
        let (worker, mut enclave) = connection().await;
        tokio::spawn(async move {
            let submitted = enclave.request().await;
            assert_eq!(submitted["params"], json!([to_hex(&request().encode())]));
            enclave.answer(&submitted, OPERATION.as_bytes()).await;
            enclave.notify(H256::zero(), TrustedOperationStatus::Invalid, json!("of somebody else")).await;
            enclave.notify(OPERATION, TrustedOperationStatus::Ready, Value::Null).await;
            enclave.notify(OPERATION, TrustedOperationStatus::InSidechainBlock(H256([8; 32])), Value::Null).await;
            // The connection stays open as long as the operation is followed.
            assert!(enclave.0.next().await.unwrap().unwrap().is_close());
        });
        let mut operation = worker.submit_and_watch(&request()).await.unwrap();
        drop(worker);
        assert_eq!(operation.hash(), OPERATION);
        let mut statuses = Vec::new();
        let block = operation.in_block_reporting(|update| statuses.push(update.status)).await.unwrap();
        assert_eq!(block, H256([8; 32]));
        assert_eq!(statuses, [TrustedOperationStatus::Ready, TrustedOperationStatus::InSidechainBlock(block)]);
    }

    #[tokio::test]
    async fn a_failed_call_says_why() {
        let (worker, mut enclave) = connection().await;
        tokio::spawn(async move {
            let submitted = enclave.request().await;
            enclave.answer(&submitted, OPERATION.as_bytes()).await;
            enclave.notify(OPERATION, TrustedOperationStatus::Invalid, json!("FundsUnavailable")).await;
            let submitted = enclave.request().await;
            enclave.answer(&submitted, OPERATION.as_bytes()).await;
            enclave.notify(OPERATION, TrustedOperationStatus::Dropped, Value::Null).await;
            let submitted = enclave.request().await;
            enclave.answer(&submitted, OPERATION.as_bytes()).await;
        });
        let error = worker.submit_and_watch(&request()).await.unwrap().in_block().await.unwrap_err();
        assert!(
            matches!(error, Error::CallFailed { operation, reason } if operation == OPERATION && reason == "FundsUnavailable")
        );
        let error = worker.submit_and_watch(&request()).await.unwrap().in_block().await.unwrap_err();
        assert!(matches!(error, Error::GivenUp { status: TrustedOperationStatus::Dropped, .. }));
        let error = worker.submit_and_watch(&request()).await.unwrap().in_block().await.unwrap_err();
        assert!(matches!(error, Error::Closed));
    }

    #[tokio::test]
    async fn a_refused_submission_is_an_error_even_if_it_is_as_long_as_a_hash() {
        let (worker, mut enclave) = connection().await;
        let reason = "x".repeat(28);
        let refusal = RpcReturnValue::error(&reason).encode();
        assert_eq!(refusal.len(), 32);
        tokio::spawn(async move {
            for refusal in [refusal, RpcReturnValue::error("no").encode(), vec![1; 31]] {
                let submitted = enclave.request().await;
                enclave.answer(&submitted, &refusal).await;
            }
            enclave.request().await;
        });
        let error = worker.submit_and_watch(&request()).await.err().unwrap();
        assert!(matches!(error, Error::Refused(found) if found == reason));
        assert!(
            matches!(worker.submit_and_watch(&request()).await.err().unwrap(), Error::Refused(found) if found == "no")
        );
        assert!(matches!(worker.submit_and_watch(&request()).await.err().unwrap(), Error::Malformed { .. }));
    }

    #[tokio::test]
    async fn nonsense_does_not_end_the_connection() {
        let (worker, mut enclave) = connection().await;
        tokio::spawn(async move {
            let request = enclave.request().await;
            enclave.0.send(Message::text("{")).await.unwrap();
            enclave.send(json!({ "id": 99, "result": "0x" })).await;
            enclave.send(json!({ "id": "1", "result": "0x" })).await;
            enclave.send(json!({ "method": "unasked" })).await;
            enclave.answer(&request, &RpcReturnValue::ok("still here").encode()).await;
            enclave.request().await;
        });
        assert_eq!(worker.read::<String>("system_name", json!([])).await.unwrap(), "still here");
    }
}
