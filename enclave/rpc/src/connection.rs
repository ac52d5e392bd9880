//! One connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cloister_wire::{H256, RpcReturnValue};
use futures::{SinkExt, Stream, StreamExt, stream::SelectAll};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{
        Error as WebSocketError, Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    Call, Handler, Method, Reply, StatusUpdate,
    message::{Incoming, Notification, Problem, Refused, Request, Response},
};

/// What one connection may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest message, bytes. The largest request is about 33 kB in hex.
    pub message_bytes: usize,
    /// Most requests in one batch.
    pub batch: usize,
    /// Bytes of a batch's answers after which its other requests are refused.
    pub batch_answers: usize,
    /// Most operations watched at once.
    pub watched: usize,
    /// Until TLS and WebSocket stand.
    pub handshake: Duration,
    /// Until the handler has answered one call.
    pub answer: Duration,
    /// Until the client has taken one message.
    pub write: Duration,
    /// Silence after which the client is asked for a sign of life.
    pub ping: Duration,
    /// Silence after which the connection ends; above `ping`.
    pub idle: Duration,
    /// Until the client has answered the end.
    pub close: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 128 * 1024,
            batch: 32,
            batch_answers: 256 * 1024,
            watched: 64,
            handshake: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            write: Duration::from_secs(20),
            ping: Duration::from_secs(25),
            idle: Duration::from_secs(60),
            close: Duration::from_secs(5),
        }
    }
}

/// Why a connection ended other than by the client's or the enclave's wish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// TLS and WebSocket did not stand in time.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// The TLS handshake was refused by one side.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The client does not keep to the WebSocket protocol, or the transport broke.
    #[error("WebSocket: {0}")]
    WebSocket(#[source] Box<WebSocketError>),
    /// A message was above [`Limits::message_bytes`].
    #[error("a message was too large")]
    MessageTooLarge,
    /// The client did not take a message in time.
    #[error("the client does not read")]
    SlowReader,
    /// The client gave no sign of life.
    #[error("the client is silent")]
    Idle,
}

/// Serves one connection until the client leaves, breaks a rule or `shutdown` is cancelled. Never fails for what a
/// client asks, only for how.
pub async fn serve<S>(
    stream: S,
    tls: Arc<rustls::ServerConfig>,
    handler: Arc<dyn Handler>,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = select! {
        socket = timeout(limits.handshake, handshake(stream, tls, &limits)) => {
            socket.map_err(|_| Error::HandshakeTimeout)??
        }
        () = shutdown.cancelled() => return Ok(()),
    };
    let mut connection =
        Connection { socket, handler, limits, watched: SelectAll::new(), last_heard: Instant::now(), pinged: false };
    let (end, code) = select! {
        end = connection.run() => {
            let code = match end {
                Ok(()) => CloseCode::Normal,
                Err(Error::MessageTooLarge) => CloseCode::Size,
                Err(_) => CloseCode::Policy,
            };
            (end, code)
        }
        () = shutdown.cancelled() => (Ok(()), CloseCode::Away),
    };
    if !matches!(end, Err(Error::SlowReader | Error::Idle | Error::WebSocket(_))) {
        connection.close(code).await;
    }
    end
}

async fn handshake<S>(
    stream: S,
    tls: Arc<rustls::ServerConfig>,
    limits: &Limits,
) -> Result<WebSocketStream<TlsStream<S>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsAcceptor::from(tls).accept(stream).await.map_err(Error::Tls)?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes))
        .read_buffer_size(READ_BUFFER_BYTES);
    accept_async_with_config(stream, Some(config)).await.map_err(websocket)
}

struct Connection<S> {
    socket: WebSocketStream<TlsStream<S>>,
    handler: Arc<dyn Handler>,
    limits: Limits,
    watched: SelectAll<Watched>,
    last_heard: Instant,
    /// Whether the client was asked for a sign of life since it was last heard.
    pinged: bool,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Answers messages one after another and passes on updates between and during them. While a call is under way
    /// nothing is read, so that a client that asks faster than it is answered fills its own buffers, not ours.
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            let silence = if self.pinged { self.limits.idle } else { self.limits.ping };
            let deadline = self.last_heard.checked_add(silence).unwrap_or(self.last_heard);
            select! {
                message = self.socket.next() => {
                    match message {
                        Some(Ok(Message::Text(text))) => self.answer(text.as_bytes()).await?,
                        Some(Ok(Message::Binary(bytes))) => self.answer(&bytes).await?,
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Ok(_)) => {}
                        Some(Err(WebSocketError::Capacity(_))) => return self.refuse_oversized().await,
                        Some(Err(error)) => return Err(websocket(error)),
                    }
                    self.last_heard = Instant::now();
                    self.pinged = false;
                }
                Some((hash, update)) = self.watched.next(), if !self.watched.is_empty() => {
                    self.notify(&hash, update).await?;
                }
                () = sleep_until(deadline) => {
                    if self.pinged {
                        return Err(Error::Idle);
                    }
                    self.send(Message::Ping(Default::default())).await?;
                    self.pinged = true;
                }
            }
        }
    }

    async fn answer(&mut self, message: &[u8]) -> Result<(), Error> {
        // Watched from now on, but heard of only after their hash.
        let mut fresh = Vec::new();
        match Incoming::parse(message, self.limits.batch) {
            Incoming::Single(request) => {
                if let Some(response) = self.respond(request, &mut fresh).await? {
                    self.send_json(&response).await?;
                }
            }
            Incoming::Batch(requests) => {
                let mut responses = Vec::with_capacity(requests.len());
                let mut bytes = 0usize;
                for request in requests {
                    let request = match request {
                        // All answers wait in memory for the last one: a small batch must not ask for large ones.
                        Ok(Request { id: Some(id), .. }) if bytes >= self.limits.batch_answers => {
                            Err(Refused { id, problem: Problem::AnswersTooLarge })
                        }
                        request => request,
                    };
                    if let Some(response) = self.respond(request, &mut fresh).await? {
                        bytes = bytes.saturating_add(response.bytes());
                        responses.push(response);
                    }
                }
                if !responses.is_empty() {
                    self.send_json(&responses).await?;
                }
            }
        }
        self.watched.extend(fresh);
        Ok(())
    }

    /// The response to one request; none to a JSON-RPC notification, which is carried out all the same.
    async fn respond(
        &mut self,
        request: Result<Request, Refused>,
        fresh: &mut Vec<Watched>,
    ) -> Result<Option<Response>, Error> {
        let Request { id, method, params } = match request {
            Ok(request) => request,
            Err(refused) => return Ok(Some(Response::refused(refused))),
        };
        let wants_answer = id.is_some();
        let id = id.unwrap_or_default();
        let response = match Method::from_name(&method).filter(|method| self.handler.methods().contains(method)) {
            None => Response::refused(Refused { id, problem: Problem::MethodNotFound }),
            Some(method) => match Call::parse(method, &params) {
                Err(error) => Response::value(&RpcReturnValue::error(error), id),
                Ok(None) => Response::value(&self.names(), id),
                // Refused before the handler takes the operation.
                Ok(Some(Call::SubmitAndWatch(_))) if self.watches_too_many(fresh) => {
                    Response::value(&RpcReturnValue::error(TOO_MANY_WATCHED), id)
                }
                Ok(Some(call)) => match self.call(call).await? {
                    Reply::Answer(value) => Response::value(&value, id),
                    Reply::Watch { hash, updates } => {
                        if wants_answer {
                            fresh.push(Watched { hash, updates, ended: false });
                        }
                        Response::hash(&hash, id)
                    }
                },
            },
        };
        Ok(wants_answer.then_some(response))
    }

    async fn call(&mut self, call: Call) -> Result<Reply, Error> {
        let handler = self.handler.clone();
        let mut reply = std::pin::pin!(timeout(self.limits.answer, handler.call(call)));
        loop {
            select! {
                reply = &mut reply => {
                    return Ok(reply.unwrap_or_else(|_| Reply::Answer(RpcReturnValue::error(NO_ANSWER))));
                }
                Some((hash, update)) = self.watched.next(), if !self.watched.is_empty() => {
                    self.notify(&hash, update).await?;
                }
            }
        }
    }

    fn names(&self) -> RpcReturnValue {
        RpcReturnValue::ok(self.handler.methods().iter().map(|method| method.name()).collect::<Vec<_>>())
    }

    fn watches_too_many(&self, fresh: &[Watched]) -> bool {
        self.watched.len().saturating_add(fresh.len()) >= self.limits.watched
    }

    /// The rest of an oversized message is never read as one, so this is the connection's last answer.
    async fn refuse_oversized(&mut self) -> Result<(), Error> {
        let refused = Refused { id: serde_json::Value::Null, problem: Problem::MessageTooLarge };
        self.send_json(&Response::refused(refused)).await?;
        Err(Error::MessageTooLarge)
    }

    async fn notify(&mut self, hash: &H256, update: StatusUpdate) -> Result<(), Error> {
        self.send_json(&Notification::new(hash, update)).await
    }

    async fn send_json(&mut self, message: &impl Serialize) -> Result<(), Error> {
        // Strings, numbers and lists always have a JSON form.
        let json = serde_json::to_string(message).unwrap_or_default();
        self.send(Message::Text(json.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        match timeout(self.limits.write, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(websocket),
            Err(_) => Err(Error::SlowReader),
        }
    }

    /// Says goodbye and waits until the client has heard it.
    async fn close(mut self, code: CloseCode) {
        let farewell = async {
            let frame = CloseFrame { code, reason: Default::default() };
            // An error ends the farewell early, which is all that is left to do about it.
            let _ = self.socket.close(Some(frame)).await;
            while let Some(Ok(_)) = self.socket.next().await {}
            let stream = self.socket.get_mut();
            let _ = stream.shutdown().await;
            if code == CloseCode::Size {
                // Who is still writing would see a broken connection before the last answer.
                let mut rest = [0; 1024];
                while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
            }
        };
        let _ = timeout(self.limits.close, farewell).await;
    }
}

/// The updates of one operation.
struct Watched {
    hash: H256,
    updates: mpsc::Receiver<StatusUpdate>,
    ended: bool,
}

impl Stream for Watched {
    type Item = (H256, StatusUpdate);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let update = futures::ready!(self.updates.poll_recv(context));
        self.ended = update.as_ref().is_none_or(|update| update.last);
        let hash = self.hash;
        Poll::Ready(update.map(|update| (hash, update)))
    }
}

fn websocket(error: WebSocketError) -> Error {
    Error::WebSocket(Box::new(error))
}

/// Before TLS and WebSocket hand a message on, its bytes lie here; longer ones grow it up to their limit.
const READ_BUFFER_BYTES: usize = 8 * 1024;
const TOO_MANY_WATCHED: &str = "too many operations are watched on this connection";
const NO_ANSWER: &str = "the enclave did not answer in time";

#[cfg(test)]
mod tests {
    use cloister_wire::TrustedOperationStatus;

    use super::*;

    #[test]
    fn limits_fit_together() {
        let limits = Limits::default();
        assert!(limits.ping < limits.idle);
        assert!(limits.message_bytes > 2 * 16_384 + 200);
    }

    #[tokio::test]
    async fn nothing_follows_the_last_update() {
        let (sender, updates) = mpsc::channel(4);
        let update = |last| StatusUpdate { status: TrustedOperationStatus::Ready, error: None, last };
        sender.try_send(update(false)).unwrap();
        sender.try_send(update(true)).unwrap();
        sender.try_send(update(false)).unwrap();
        let watched = Watched { hash: H256::zero(), updates, ended: false };
        assert_eq!(watched.map(|(_, update)| update.last).collect::<Vec<_>>().await, [false, true]);
    }
}
