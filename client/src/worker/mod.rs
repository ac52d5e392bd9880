//! JSON-RPC with a worker's enclave: a WebSocket over TLS that ends inside the enclave.

mod connection;
mod operation;
mod tls;

use std::{io, time::Duration};

use cloister_chain_primitives::{H256, Request, ShardId};
use cloister_wire::{DirectRequestStatus, Getter, RpcReturnValue};
use codec::{Decode, DecodeAll, Encode};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, protocol::WebSocketConfig},
};

use connection::{Command, Reply};

#[doc(hidden)]
pub use connection::says_something;
pub use operation::{Operation, Stage, Update};
pub use tls::Pin;
#[doc(hidden)]
pub use tls::key_hash;

/// A connection to a worker. Clones share it; it closes when the last one and all its [`Operation`]s are dropped.
#[derive(Clone)]
pub struct Worker {
    commands: mpsc::Sender<Command>,
    url: String,
    tls_key: [u8; 32],
    answer_limit: Duration,
}

/// What went wrong between this program and an enclave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not an address of a worker.
    #[error("{url:?} is not an address like wss://host:port")]
    InvalidUrl {
        /// What was given.
        url: String,
    },
    /// No TCP connection.
    #[error("cannot reach a worker at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The worker's TLS key is none of those that were asked for.
    #[error("the worker at {url} has the TLS key {}, which layer one does not record for this shard", hex::encode(.found))]
    WrongTlsKey {
        /// Where.
        url: String,
        /// SHA-256 of the key that it has.
        found: [u8; 32],
    },
    /// The TLS handshake did not succeed.
    #[error("no TLS with the worker at {url}")]
    Tls {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The WebSocket handshake did not succeed.
    #[error("no WebSocket with the worker at {url}")]
    WebSocket {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The connection is gone.
    #[error("the worker closed the connection")]
    Closed,
    /// No answer in time.
    #[error("the worker did not answer {what} within {} s", .limit.as_secs())]
    TimedOut {
        /// What was awaited.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// An answer does not have the form that it must have.
    #[error("the worker's answer to {what} is malformed: {reason}")]
    Malformed {
        /// What was asked.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A JSON-RPC error: the request as such was not understood.
    #[error("the worker does not understand {method}: {message} (code {code})")]
    NotUnderstood {
        /// What was asked.
        method: String,
        /// JSON-RPC's code.
        code: i64,
        /// The worker's words.
        message: String,
    },
    /// The enclave refused the request.
    #[error("the enclave refused: {0}")]
    Refused(String),
    /// The call was executed and failed.
    #[error("the call failed on the shard: {reason}")]
    CallFailed {
        /// The operation.
        operation: H256,
        /// Why.
        reason: String,
    },
    /// The operation left the pool without being executed.
    #[error("the shard's pool dropped the call {operation:?}{}", because(.reason))]
    Dropped {
        /// The operation.
        operation: H256,
        /// Why, if the enclave says so.
        reason: Option<String>,
    },
    /// Another call with the same nonce was executed: the operation never will be.
    #[error("another call with the same nonce took the place of the call {operation:?}{}", because(.reason))]
    Usurped {
        /// The operation.
        operation: H256,
        /// Why, if the enclave says so.
        reason: Option<String>,
    },
    /// The shard's block with the operation was abandoned.
    #[error("the shard's block with the call {operation:?} was abandoned{}", because(.reason))]
    Retracted {
        /// The operation.
        operation: H256,
        /// Why, if the enclave says so.
        reason: Option<String>,
    },
    /// The enclave no longer waits until the operation's block is anchored. It may be later.
    #[error("the enclave gave up waiting until layer one anchors the call {operation:?}{}", because(.reason))]
    FinalityTimeout {
        /// The operation.
        operation: H256,
        /// Why, if the enclave says so.
        reason: Option<String>,
    },
    /// Something that the enclave executes was sent, and then nothing was heard of it, or nothing that can be understood.
    #[error("{what} was sent, and what became of it is not known")]
    PerhapsExecuted {
        /// What was sent.
        what: String,
        /// Why nothing is known.
        #[source]
        source: Box<Error>,
    },
    /// The operation did not get as far as was awaited in the time that the caller gave it.
    #[error("the call {operation:?} is not {stage} after {} s", .limit.as_secs())]
    NotInTime {
        /// The operation.
        operation: H256,
        /// What was awaited.
        stage: Stage,
        /// How long.
        limit: Duration,
    },
}

impl Error {
    /// Whether the enclave said no, as opposed to not having been heard.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::CallFailed { .. }
                | Self::Dropped { .. }
                | Self::Usurped { .. }
                | Self::Retracted { .. }
        )
    }

    /// The same about something that was sent for execution: by itself it would read as if nothing had happened. A refusal
    /// stays one, and so does what says that the request was not even looked at.
    fn of_sent(self, what: impl FnOnce() -> String) -> Self {
        match self {
            error @ (Self::Refused(_) | Self::PerhapsExecuted { .. }) => error,
            error @ Self::NotUnderstood { code, .. } if NOT_LOOKED_AT.contains(&code) => error,
            error => Self::PerhapsExecuted { what: what(), source: Box::new(error) },
        }
    }
}

impl Worker {
    /// Connects to a worker's trusted port, `wss://host:port`.
    pub async fn connect(url: &str, pin: Pin) -> Result<Self, Error> {
        let connecting = Self::connect_unhurried(url, pin);
        let limit = CONNECTION_TIMEOUT;
        timeout(limit, connecting).await.map_err(|_| Error::TimedOut { what: format!("at {url}"), limit })?
    }

    async fn connect_unhurried(url: &str, pin: Pin) -> Result<Self, Error> {
        let invalid = || Error::InvalidUrl { url: url.into() };
        let request = url.into_client_request().map_err(|_| invalid())?;
        if request.uri().scheme_str() != Some("wss") {
            return Err(invalid());
        }
        let host = request.uri().host().ok_or_else(invalid)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let port = request.uri().port_u16().unwrap_or(DEFAULT_PORT);
        let server_name = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
        let tls_error = |source| Error::Tls { url: url.into(), source };
        let config = tls::client_config(pin).map_err(|error| tls_error(io::Error::other(error)))?;

        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|source| Error::Unreachable { url: url.into(), source })?;
        let tls =
            TlsConnector::from(config).connect(server_name, tcp).await.map_err(|source| {
                match tls::rejected_key(&source) {
                    Some(found) => Error::WrongTlsKey { url: url.into(), found },
                    None => tls_error(source),
                }
            })?;
        let tls_key = tls.get_ref().1.peer_certificates().and_then(|chain| tls::key_hash(chain.first()?));
        let tls_key = tls_key.ok_or_else(|| tls_error(io::Error::other("the worker showed no certificate")))?;
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let (socket, _) = client_async_with_config(request, tls, Some(limits))
            .await
            .map_err(|source| Error::WebSocket { url: url.into(), source: Box::new(source) })?;
        let commands = connection::start(socket);
        Ok(Self { commands, url: url.into(), tls_key, answer_limit: ANSWER_TIMEOUT })
    }

    /// With another time in which each answer must come; 30 s otherwise.
    pub fn with_answer_limit(mut self, limit: Duration) -> Self {
        self.answer_limit = limit;
        self
    }

    /// The worker's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the key that the worker proved to have.
    pub fn tls_key(&self) -> &[u8; 32] {
        &self.tls_key
    }

    /// Any method; its `result` as it came.
    pub async fn request(&self, method: &str, parameters: Value) -> Result<Value, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(method, parameters, Reply::Answer(reply)).await?;
        self.awaited(method, answer).await
    }

    /// A method that answers with an [`RpcReturnValue`]; one of status `Error` is [`Error::Refused`].
    pub async fn call(&self, method: &str, parameters: Value) -> Result<RpcReturnValue, Error> {
        return_value(method, &self.request(method, parameters).await?)
    }

    /// As [`Self::call`], with the value decoded.
    pub async fn read<T: DecodeAll>(&self, method: &str, parameters: Value) -> Result<T, Error> {
        decoded(method, &self.call(method, parameters).await?)
    }

    /// The shard that the enclave says it serves.
    pub async fn shard(&self) -> Result<ShardId, Error> {
        self.read("author_getShard", json!([])).await
    }

    /// Submits an encrypted operation; its hash. What is not known to be refused or unsent is
    /// [`Error::PerhapsExecuted`], here and in the methods below.
    pub async fn submit(&self, request: &Request) -> Result<H256, Error> {
        self.deliver("author_submitExtrinsic", request, Ok).await
    }

    /// Submits encrypted operations in one message, [`MAX_BATCH`] at most: the hash of each, or why it was refused.
    pub async fn submit_batch(&self, requests: &[Request]) -> Result<Vec<Result<H256, Error>>, Error> {
        let method = "author_submitBatch";
        let answers = self.deliver(method, requests, |answers: Vec<Result<H256, String>>| {
            match answers.len() == requests.len() {
                true => Ok(answers),
                false => Err(malformed(method, format!("{} answers to {} requests", answers.len(), requests.len()))),
            }
        });
        Ok(answers.await?.into_iter().map(|answer| answer.map_err(Error::Refused)).collect())
    }

    /// Submits an encrypted operation and follows it.
    pub async fn submit_and_watch(&self, request: &Request) -> Result<Operation, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(SUBMIT_AND_WATCH, json!([to_hex(&request.encode())]), Reply::Watch(reply)).await?;
        let answered = self.awaited(SUBMIT_AND_WATCH, answer).await;
        let operation = answered.and_then(|(answer, updates)| {
            let hash = match updates {
                Some(_) => hex_bytes(SUBMIT_AND_WATCH, &answer)?,
                // Not a hash: a refusal, which `return_value` makes an error of.
                None => return_value(SUBMIT_AND_WATCH, &answer)?.value,
            };
            match (<[u8; 32]>::try_from(hash), updates) {
                (Ok(hash), Some(updates)) => Ok(Operation::new(H256(hash), updates, self.commands.clone())),
                _ => Err(malformed(SUBMIT_AND_WATCH, "neither a hash nor a refusal")),
            }
        });
        operation.map_err(|error| error.of_sent(|| SUBMIT_AND_WATCH.into()))
    }

    /// Asks for a getter's result.
    pub async fn execute_getter(&self, shard: ShardId, getter: &Getter) -> Result<Option<Vec<u8>>, Error> {
        let cyphertext =
            getter.encode().try_into().map_err(|_| malformed("state_executeGetter", "the query is too long"))?;
        let request = Request { shard, cyphertext };
        self.read("state_executeGetter", json!([to_hex(&request.encode())])).await
    }

    /// Sends what the enclave is to execute. From then on only a refusal says that it does not.
    async fn deliver<T: DecodeAll, U>(
        &self,
        method: &str,
        requests: &(impl Encode + ?Sized),
        understand: impl FnOnce(T) -> Result<U, Error>,
    ) -> Result<U, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(method, json!([to_hex(&requests.encode())]), Reply::Answer(reply)).await?;
        let answered = self.awaited(method, answer).await;
        let understood =
            answered.and_then(|answer| decoded(method, &return_value(method, &answer)?)).and_then(understand);
        understood.map_err(|error| error.of_sent(|| method.into()))
    }

    /// Hands a request to the connection. If that fails nothing was sent.
    async fn send(&self, method: &str, parameters: Value, reply: Reply) -> Result<(), Error> {
        let limit = self.answer_limit;
        let command = Command { method: method.into(), parameters, reply };
        match timeout(limit, self.commands.send(command)).await {
            Ok(sent) => sent.map_err(|_| Error::Closed),
            Err(_) => Err(Error::TimedOut { what: method.into(), limit }),
        }
    }

    async fn awaited<T>(&self, method: &str, answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        let limit = self.answer_limit;
        match timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|_| Error::Closed)?,
            Err(_) => Err(Error::TimedOut { what: method.into(), limit }),
        }
    }
}

fn decoded<T: DecodeAll>(method: &str, answer: &RpcReturnValue) -> Result<T, Error> {
    T::decode_all(&mut answer.value.as_slice()).map_err(|error| malformed(method, error))
}

/// Decodes a `result` that must be an [`RpcReturnValue`].
fn return_value(method: &str, result: &Value) -> Result<RpcReturnValue, Error> {
    let bytes = hex_bytes(method, result)?;
    let answer = RpcReturnValue::decode_all(&mut bytes.as_slice()).map_err(|error| malformed(method, error))?;
    match answer.status {
        DirectRequestStatus::Error => Err(Error::Refused(
            String::decode(&mut answer.value.as_slice()).unwrap_or_else(|_| "the reason is unreadable".into()),
        )),
        DirectRequestStatus::Ok | DirectRequestStatus::TrustedOperationStatus(_) => Ok(answer),
    }
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn hex_bytes(what: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let text = value.as_str().ok_or_else(|| malformed(what, "not a string"))?;
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|error| malformed(what, error))
}

fn malformed(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Malformed { what: what.into(), reason: reason.to_string() }
}

fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Most operations that are submitted in one message.
pub const MAX_BATCH: usize = 128;
const SUBMIT_AND_WATCH: &str = "author_submitAndWatchExtrinsic";
const DEFAULT_PORT: u16 = 2000;
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// JSON-RPC's codes of what was not looked at: no JSON, no request, no such method, wrong parameters, a message or a
/// batch that is too large.
const NOT_LOOKED_AT: [i64; 6] = [-32_700, -32_600, -32_601, -32_602, -32_007, -32_010];
/// Metadata is the largest answer.
const MAX_MESSAGE: usize = 8 << 20;
