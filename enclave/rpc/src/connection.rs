//! One connection.

use std::{io, iter, sync::Arc, time::Duration};

use cloister_wire::{H256, RpcReturnValue};
use futures::{FutureExt, SinkExt, StreamExt, stream::SelectAll};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{
        Error as WebSocketError, Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Call, Handler, Limits, Method, ParamsError, Reply, StatusUpdate,
    message::{Incoming, Notification, Problem, Refused, Request, Response},
    metered::Metered,
    rate::Rate,
    watched::Watched,
};

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
    /// A message was above [`Limits::message_bytes`], or its fragments without end.
    #[error("a message was too large")]
    MessageTooLarge,
    /// A message was begun and did not end in time.
    #[error("a message took too long")]
    MessageTooSlow,
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
    let now = Instant::now();
    let mut connection = Connection {
        socket,
        handler,
        limits,
        rate: Rate::new(limits.requests_per_second, limits.request_burst, now),
        watched: SelectAll::new(),
        last_heard: now,
        pinged: false,
    };
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
) -> Result<WebSocketStream<Metered<TlsStream<S>>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsAcceptor::from(tls).accept(stream).await.map_err(Error::Tls)?;
    // Twice, for the headers of small fragments and for what is read ahead.
    let stream = Metered::new(stream, limits.message_bytes.saturating_mul(2).saturating_add(READ_BUFFER_BYTES));
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes))
        .read_buffer_size(READ_BUFFER_BYTES);
    let mut socket = accept_async_with_config(stream, Some(config)).await.map_err(websocket)?;
    socket.get_mut().end_message();
    Ok(socket)
}

struct Connection<S> {
    socket: WebSocketStream<Metered<TlsStream<S>>>,
    handler: Arc<dyn Handler>,
    limits: Limits,
    rate: Rate,
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
    /// nothing is read, nor above the client's rate, so that a client that asks faster than it is answered fills its
    /// own buffers, not ours.
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            let silence = if self.pinged { self.limits.idle } else { self.limits.ping };
            let ready = self.rate.ready().unwrap_or(self.last_heard);
            // While it is not read a client cannot be heard.
            let listening = self.last_heard.max(ready);
            let deadline = listening.checked_add(silence).unwrap_or(listening);
            let socket = &mut self.socket;
            let message = async {
                if ready > Instant::now() {
                    sleep_until(ready).await;
                }
                socket.next().await
            };
            select! {
                message = message => {
                    match message {
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Ok(message)) => self.hear(message).await?,
                        Some(Err(WebSocketError::Capacity(_))) => return self.refuse_oversized().await,
                        Some(Err(_)) if self.socket.get_ref().is_endless() => return self.refuse_oversized().await,
                        Some(Err(error)) => return Err(websocket(error)),
                    }
                    self.last_heard = Instant::now();
                    self.pinged = false;
                }
                Some(update) = self.watched.next(), if !self.watched.is_empty() => self.notify(update).await?,
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

    async fn hear(&mut self, message: Message) -> Result<(), Error> {
        let bytes: &[u8] = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            control => {
                self.rate.charge(1, Instant::now());
                let stream = self.socket.get_mut();
                stream.end_control(control.len());
                // Signs of life amidst a message are none of the message's.
                if stream.is_slow(self.limits.idle) {
                    return Err(Error::MessageTooSlow);
                }
                if control.is_ping() {
                    // The answers to pings are buffered without bound for a client that does not read them.
                    return within(self.limits.write, self.socket.flush()).await;
                }
                return Ok(());
            }
        };
        self.socket.get_mut().end_message();
        self.answer(bytes).await
    }

    async fn answer(&mut self, message: &[u8]) -> Result<(), Error> {
        let incoming = Incoming::parse(message, self.limits.batch);
        let now = Instant::now();
        self.rate.charge(incoming.cost(self.limits.batch), now);
        // For all calls together: who sends many at once keeps a connection busy for no longer than others.
        let deadline = now.checked_add(self.limits.answer).unwrap_or(now);
        // Watched from now on, but heard of only after their hash.
        let mut fresh = Vec::new();
        match incoming {
            Incoming::Single(request) => {
                if let Some(response) = self.respond(request, deadline, &mut fresh).await? {
                    self.send_json(&response).await?;
                }
            }
            Incoming::Batch(requests) => {
                let mut responses = Vec::with_capacity(requests.len());
                let mut bytes = 0usize;
                for request in requests {
                    let request = match request {
                        // All answers wait in memory for the last one: a small batch must not ask for large ones.
                        Ok(Request { id: Some(id), .. }) if bytes >= self.limits.answer_bytes => {
                            Err(Refused { id, problem: Problem::AnswersTooLarge })
                        }
                        request => request,
                    };
                    if let Some(response) = self.respond(request, deadline, &mut fresh).await? {
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
        deadline: Instant,
        fresh: &mut Vec<Watched>,
    ) -> Result<Option<Response>, Error> {
        let Request { id, method, params } = match request {
            Ok(request) => request,
            Err(refused) => return Ok(Some(Response::refused(refused))),
        };
        let wants_answer = id.is_some();
        let id = id.unwrap_or_default();
        let response = match self.parse(&method, &params) {
            None => Response::refused(Refused { id, problem: Problem::MethodNotFound }),
            Some(parsed) => match parsed {
                Err(error) => Response::value(&RpcReturnValue::error(error), id),
                Ok(None) => Response::value(&self.names(), id),
                // Refused before the handler takes the operation.
                Ok(Some(Call::SubmitAndWatch(_))) if self.watches_too_many(fresh) => {
                    Response::value(&RpcReturnValue::error(TOO_MANY_WATCHED), id)
                }
                Ok(Some(call)) => match self.call(call, deadline).await? {
                    Reply::Answer(value) if value.value.len().saturating_mul(2) > self.limits.answer_bytes => {
                        Response::value(&RpcReturnValue::error(ANSWER_TOO_LARGE), id)
                    }
                    Reply::Answer(value) => Response::value(&value, id),
                    Reply::Watch { hash, updates } => {
                        if wants_answer {
                            fresh.push(Watched::new(hash, updates));
                        }
                        Response::hash(&hash, id)
                    }
                },
            },
        };
        Ok(wants_answer.then_some(response))
    }

    /// Checks the parameters of a method, if it is served, and charges what it costs above the one request that was charged
    /// as it was read.
    fn parse(&mut self, name: &str, params: &serde_json::Value) -> Option<Result<Option<Call>, ParamsError>> {
        let Some(method) = Method::from_name(name) else {
            let own = self.handler.own_methods().iter().find(|own| **own == name)?;
            return Some(Call::parse_own(own, params).map(Some));
        };
        if !self.handler.methods().contains(&method) {
            return None;
        }
        let parsed = Call::parse(method, params);
        let cost = match &parsed {
            Ok(Some(call)) => call.cost(),
            Ok(None) => 1,
            Err(_) => ParamsError::cost(method),
        };
        self.rate.charge(cost.saturating_sub(1), Instant::now());
        Some(parsed)
    }

    async fn call(&mut self, call: Call, deadline: Instant) -> Result<Reply, Error> {
        if Instant::now() >= deadline {
            return Ok(Reply::Answer(RpcReturnValue::error(NO_ANSWER)));
        }
        let handler = self.handler.clone();
        let mut reply = AbortOnDropHandle::new(tokio::spawn(async move { handler.call(call).await }));
        loop {
            select! {
                reply = timeout_at(deadline, &mut reply) => return Ok(match reply {
                    Ok(Ok(reply)) => reply,
                    // Too late, or it panicked.
                    _ => Reply::Answer(RpcReturnValue::error(NO_ANSWER)),
                }),
                Some(update) = self.watched.next(), if !self.watched.is_empty() => self.notify(update).await?,
            }
        }
    }

    fn names(&self) -> RpcReturnValue {
        let published = self.handler.methods().iter().map(|method| method.name());
        RpcReturnValue::ok(published.chain(self.handler.own_methods().iter().copied()).collect::<Vec<_>>())
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

    /// Passes on an update, and with it those that are there by now: a block brings many at once.
    async fn notify(&mut self, update: (H256, StatusUpdate)) -> Result<(), Error> {
        let others = iter::from_fn(|| self.watched.next().now_or_never().flatten()).take(MAX_UPDATES_AT_ONCE);
        let others: Vec<_> = others.collect();
        for (hash, update) in iter::once(update).chain(others) {
            let notification = text(&Notification::new(&hash, update));
            within(self.limits.write, self.socket.feed(notification)).await?;
        }
        within(self.limits.write, self.socket.flush()).await
    }

    async fn send_json(&mut self, message: &impl Serialize) -> Result<(), Error> {
        self.send(text(message)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        within(self.limits.write, self.socket.send(message)).await
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
                let stream = stream.get_mut();
                let mut rest = [0; 1024];
                while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
            }
        };
        let _ = timeout(self.limits.close, farewell).await;
    }
}

fn text(message: &impl Serialize) -> Message {
    // Strings, numbers and lists always have a JSON form.
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

/// A message must be taken by its client in time.
async fn within(limit: Duration, written: impl Future<Output = Result<(), WebSocketError>>) -> Result<(), Error> {
    timeout(limit, written).await.map_err(|_| Error::SlowReader)?.map_err(websocket)
}

fn websocket(error: WebSocketError) -> Error {
    Error::WebSocket(Box::new(error))
}

/// Before TLS and WebSocket hand a message on, its bytes lie here; longer ones grow it up to their limit.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Updates that are passed on before others may be read or told, besides the first. They fit the buffer of a WebSocket.
const MAX_UPDATES_AT_ONCE: usize = 63;
const TOO_MANY_WATCHED: &str = "too many operations are watched on this connection";
const ANSWER_TOO_LARGE: &str = "the answer is too large";
const NO_ANSWER: &str = "the enclave did not answer in time";
