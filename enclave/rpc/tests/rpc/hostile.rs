//! What clients do to exhaust a connection's server.

use std::time::Duration;

use cloister_keys::TlsIdentity;
use cloister_rpc::{Error, Limits, Method};
use cloister_wire::{RpcReturnValue, TrustedOperationStatus::Ready};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::{
    Error as WebSocketError, Message,
    error::ProtocolError,
    protocol::frame::{
        Frame,
        coding::{CloseCode, Control, Data, OpCode},
    },
};

use crate::harness::{Client, Server, connected, request, return_value, tls, update};

const TEXT: OpCode = OpCode::Data(Data::Text);
const CONTINUED: OpCode = OpCode::Data(Data::Continue);

/// A masked frame as a client sends it.
fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Frame::message(payload.to_vec(), opcode, is_final);
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

impl Client {
    async fn version(&mut self) {
        self.ask(json!(1), "system_version", json!([])).await;
        assert_eq!(self.answer().await.1, RpcReturnValue::ok("version"));
    }

    async fn raw(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
    }
}

fn slow() -> Limits {
    Limits { requests_per_second: 50, request_burst: 5, ..Limits::default() }
}

#[tokio::test]
async fn a_flood_of_requests_is_read_at_the_connections_rate() {
    let (server, client) = connected(slow()).await;
    let started = Instant::now();
    let (mut sink, mut stream) = client.0.split();
    let flood = tokio::spawn(async move {
        let text = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1}).to_string();
        for _ in 0..2_000 {
            sink.send(Message::text(text.clone())).await.unwrap();
        }
    });
    for _ in 0..25 {
        stream.next().await.unwrap().unwrap();
    }
    assert!(started.elapsed() >= Duration::from_millis(400), "5 at once, 20 at 50 per second");
    assert!(server.calls().len() < 100);
    assert!(!flood.is_finished(), "the rest waits with the client");
}

#[tokio::test]
async fn a_batch_costs_what_its_requests_do_and_nonsense_is_not_cheaper() {
    let entry = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1});
    let request = entry.to_string();
    for (flood, cost) in [
        (vec![request; 15], 15),
        (vec![json!(vec![entry; 15]).to_string()], 15),
        (vec![json!(vec![1; 15]).to_string()], 15),
        // Counts as the largest batch.
        (vec![json!(vec![1; 33]).to_string()], 32),
        (vec!["nonsense".into(); 15], 15),
    ] {
        let (_server, mut client) = connected(slow()).await;
        let started = Instant::now();
        for message in &flood {
            client.send(message).await;
            client.text().await;
        }
        client.version().await;
        assert!(started.elapsed() >= Duration::from_millis((cost - 5 + 1) * 20), "{}", flood[0]);
    }
}

/// A rate that keeps a client waiting for longer than it may be silent does not drop it.
#[tokio::test]
async fn who_is_not_read_is_not_silent() {
    let rate = Limits { requests_per_second: 20, request_burst: 1, ..Limits::default() };
    let limits = Limits { ping: Duration::from_millis(100), idle: Duration::from_millis(300), ..rate };
    let (_server, mut client) = connected(limits).await;
    let entry = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1});
    client.send(json!(vec![entry; 30])).await;
    client.text().await;
    client.version().await;
}

/// They are more bytes than a message may have, and are part of none.
#[tokio::test]
async fn pings_without_end_are_answered_at_the_connections_rate() {
    let (_server, mut client) = connected(Limits { message_bytes: 2_000, ..slow() }).await;
    let started = Instant::now();
    for _ in 0..100 {
        client.0.send(Message::Ping(vec![7; 125].into())).await.unwrap();
        assert!(matches!(client.0.next().await.unwrap().unwrap(), Message::Pong(_)));
    }
    assert!(started.elapsed() >= Duration::from_millis(1_900));
    client.version().await;
}

/// The answers to pings must not pile up for a client that takes none of them.
#[tokio::test]
async fn pings_of_a_client_that_does_not_read_end_its_connection() {
    let (server, mut client) = connected(Limits { write: Duration::from_millis(100), ..Limits::default() }).await;
    let ping = frame(OpCode::Control(Control::Ping), true, &[7; 125]);
    let flood = tokio::spawn(async move { while client.0.get_mut().write_all(&ping).await.is_ok() {} });
    assert!(matches!(server.end().await, Err(Error::SlowReader)));
    flood.await.unwrap();
}

#[tokio::test]
async fn fragments_without_end_are_a_message_too_large() {
    for payload in [0, 1, 1_000] {
        let limits = Limits { close: Duration::from_millis(500), ..Limits::default() };
        let (server, mut client) = connected(limits).await;
        let (mut reader, mut writer) = split(client.0.get_mut());
        let flood = async {
            let text = vec![b'x'; payload];
            writer.write_all(&frame(TEXT, false, &text)).await.unwrap();
            let continued = frame(CONTINUED, false, &text).repeat(100);
            while writer.write_all(&continued).await.is_ok() {}
        };
        let answer = async {
            let mut last = Vec::new();
            let _ = reader.read_to_end(&mut last).await;
            String::from_utf8_lossy(&last).into_owned()
        };
        let (answer, ()) = tokio::join!(answer, flood);
        assert!(answer.contains(r#""code":-32007"#), "{payload}: {answer}");
        assert!(matches!(server.end().await, Err(Error::MessageTooLarge)), "{payload}");
    }
}

/// Each sign of life would let it go on for as long again.
#[tokio::test]
async fn a_message_that_never_ends_ends_the_connection() {
    let silence = Limits { ping: Duration::from_secs(1), idle: Duration::from_secs(2), ..Limits::default() };
    let limits = Limits { close: Duration::from_millis(100), ..silence };
    let (server, mut client) = connected(limits).await;
    client.raw(&frame(TEXT, false, b"{")).await;
    let stream = client.0.get_mut();
    let more = [frame(CONTINUED, false, b" "), frame(OpCode::Control(Control::Pong), true, b"")].concat();
    while stream.write_all(&more).await.is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
    assert!(matches!(server.end().await, Err(Error::MessageTooSlow)));
}

#[tokio::test]
async fn bytes_of_a_message_are_no_sign_of_life() {
    let limits = Limits { ping: Duration::from_millis(100), idle: Duration::from_millis(400), ..Limits::default() };
    let (server, mut client) = connected(limits).await;
    client.raw(&frame(TEXT, true, &[b' '; 60_000])[..8]).await;
    while client.0.get_mut().write_all(b" ").await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(server.end().await, Err(Error::Idle)));
}

/// Watching for hours, with signs of life only, is what clients do.
#[tokio::test]
async fn a_fragmented_message_between_signs_of_life_is_a_message() {
    let limits = Limits { ping: Duration::from_secs(1), idle: Duration::from_secs(2), ..Limits::default() };
    let (_server, mut client) = connected(Limits { message_bytes: 2_000, ..limits }).await;
    for _ in 0..60 {
        client.raw(&frame(OpCode::Control(Control::Pong), true, &[7; 100])).await;
        sleep(Duration::from_millis(50)).await;
    }
    let text = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1}).to_string();
    for (index, byte) in text.bytes().enumerate() {
        let opcode = if index == 0 { TEXT } else { CONTINUED };
        client.raw(&frame(opcode, index + 1 == text.len(), &[byte])).await;
        client.raw(&frame(OpCode::Control(Control::Pong), true, b"?")).await;
    }
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn a_breach_of_the_websocket_protocol_ends_the_connection() {
    let unmasked = {
        let mut bytes = Vec::new();
        Frame::message(b"{}".to_vec(), TEXT, true).format(&mut bytes).unwrap();
        bytes
    };
    let reserved_bit = {
        let mut bytes = frame(TEXT, true, b"{}");
        bytes[0] |= 0x40;
        bytes
    };
    let reserved_opcode = {
        let mut bytes = frame(TEXT, true, b"{}");
        bytes[0] = 0x83;
        bytes
    };
    let twice_begun = [frame(TEXT, false, b"{"), frame(TEXT, false, b"{")].concat();
    for (bytes, expected) in [
        (unmasked, ProtocolError::UnmaskedFrameFromClient),
        (reserved_bit, ProtocolError::NonZeroReservedBits),
        (reserved_opcode, ProtocolError::InvalidOpcode(3)),
        (frame(CONTINUED, true, b"{}"), ProtocolError::UnexpectedContinueFrame),
        (twice_begun, ProtocolError::ExpectedFragment(Data::Text)),
        (frame(OpCode::Control(Control::Ping), false, b""), ProtocolError::FragmentedControlFrame),
        (frame(OpCode::Control(Control::Ping), true, &[0; 126]), ProtocolError::ControlFrameTooBig),
    ] {
        let (server, mut client) = connected(Limits::default()).await;
        client.raw(&bytes).await;
        let ended = server.end().await;
        let Err(Error::WebSocket(error)) = ended else { panic!("{expected}: {ended:?}") };
        assert!(matches!(&*error, WebSocketError::Protocol(breach) if *breach == expected), "{expected}: {error}");
    }
    let (server, mut client) = connected(Limits::default()).await;
    client.raw(&frame(TEXT, true, &[0xff, 0xfe])).await;
    let ended = server.end().await;
    assert!(matches!(&ended, Err(Error::WebSocket(error)) if matches!(**error, WebSocketError::Utf8(_))), "{ended:?}");
}

/// A declared length is believed by nobody.
#[tokio::test]
async fn an_enormous_frame_is_refused_at_its_header() {
    for length in [129 * 1_024_u64, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
        let (server, mut client) = connected(Limits::default()).await;
        let header = [&[0x81, 0x80 | 127][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
        client.raw(&header).await;
        assert_eq!(client.error_code().await, (Value::Null, -32_007), "{length}");
        assert_eq!(client.close_code().await, CloseCode::Size);
        drop(client);
        assert!(matches!(server.end().await, Err(Error::MessageTooLarge)));
    }
}

#[tokio::test]
async fn a_handshake_that_drips_or_never_ends_is_given_up() {
    let identity = TlsIdentity::draw().unwrap();
    let (recorder, mut recorded) = duplex(16 * 1_024);
    let other = TlsIdentity::draw().unwrap();
    let recording = tokio::spawn(async move { tls(recorder, &other).await });
    let mut hello = vec![0; 100];
    recorded.read_exact(&mut hello).await.unwrap();
    recording.abort();
    let limits = Limits { handshake: Duration::from_millis(500), ..Limits::default() };
    let (server, mut stream) = Server::start(limits, &identity, Method::ALL.to_vec());
    for byte in &hello {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(server.end().await, Err(Error::HandshakeTimeout)));

    // A request for an upgrade: slowly, and with headers without end.
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    for (header, pause) in [("x: y\r\n", 100), (&"x: y\r\n".repeat(1_000), 0)] {
        let (server, stream) = Server::start(limits, &identity, Method::ALL.to_vec());
        let mut stream = tls(stream, &identity).await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while stream.write_all(header.as_bytes()).await.is_ok() && stream.flush().await.is_ok() {
            sleep(Duration::from_millis(pause)).await;
        }
        let ended = server.end().await;
        match pause {
            0 => assert!(matches!(&ended, Err(Error::WebSocket(_))), "{ended:?}"),
            _ => assert!(matches!(&ended, Err(Error::HandshakeTimeout)), "{ended:?}"),
        }
    }
}

/// A handler's permit is not for those to keep who do not read.
#[tokio::test]
async fn who_does_not_read_holds_no_permit_that_others_wait_for() {
    let patient = Limits { write: Duration::from_secs(1_000_000), ..Limits::default() };
    let identity = TlsIdentity::draw().unwrap();
    let (mut server, stream) = Server::start(patient, &identity, Method::ALL.to_vec());
    let mut slow = Client::connect(stream, &identity).await;
    slow.ask(json!(1), "author_submitAndWatchExtrinsic", json!([request()])).await;
    slow.text().await;
    let updates = server.watched.recv().await.unwrap();
    slow.ask(json!(2), "author_getMuRaUrl", json!([])).await;
    while server.calls().len() < 2 {
        tokio::task::yield_now().await;
    }
    // Until one of them cannot be written.
    while tokio::time::timeout(Duration::from_millis(500), updates.send(update(Ready, None, false))).await.is_ok() {}

    let (_, no_watched) = tokio::sync::mpsc::unbounded_channel();
    let (_other, stream) = Server::with_handler(patient, &identity, server.handler.clone(), no_watched);
    let mut honest = Client::connect(stream, &identity).await;
    honest.ask(json!(1), "author_getMuRaUrl", json!([])).await;
    while server.calls().len() < 3 {
        tokio::task::yield_now().await;
    }
    server.handler.turns.add_permits(1);
    let answered = tokio::time::timeout(Duration::from_secs(60), honest.answer()).await;
    assert_eq!(answered.expect("the slow one has let go"), (json!(1), RpcReturnValue::ok("turn")));
}

/// One deadline for all that a message asks for.
#[tokio::test]
async fn a_batch_without_answers_keeps_a_connection_no_longer_than_one_call() {
    let limits = Limits { answer: Duration::from_millis(200), ..Limits::default() };
    let (server, mut client) = connected(limits).await;
    let entry = json!({"jsonrpc": "2.0", "method": "system_health", "id": 1});
    client.send(json!(vec![entry; 32])).await;
    drop(client);
    let handler = server.handler.clone();
    let _ = server.end().await;
    assert_eq!(handler.calls.lock().unwrap().len(), 1, "the others were not begun after the deadline");
}

#[tokio::test]
async fn each_request_of_a_batch_that_is_late_is_answered_so() {
    let (_server, mut client) = connected(Limits { answer: Duration::from_millis(200), ..Limits::default() }).await;
    let entry = json!({"jsonrpc": "2.0", "method": "system_health", "id": 1});
    client.send(json!(vec![entry; 3])).await;
    let answers = client.json().await;
    for answer in answers.as_array().unwrap() {
        assert_eq!(return_value(answer), RpcReturnValue::error("the enclave did not answer in time"));
    }
    client.version().await;
}

#[tokio::test]
async fn one_answer_is_not_larger_than_a_batchs() {
    let (_server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "chain_getHeader", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::error("the answer is too large"));
    client.version().await;
}

#[tokio::test]
async fn a_handler_that_panics_ends_nothing() {
    let (_server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "author_getFingerprint", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::error("the enclave did not answer in time"));
    client.version().await;
}

#[tokio::test]
async fn a_client_that_takes_no_updates_is_dropped() {
    let limits = Limits { write: Duration::from_millis(100), ..Limits::default() };
    let (mut server, mut client) = connected(limits).await;
    client.ask(json!(1), "author_submitAndWatchExtrinsic", json!([request()])).await;
    client.text().await;
    let updates = server.watched.recv().await.unwrap();
    while updates.send(update(Ready, None, false)).await.is_ok() {}
    assert!(matches!(server.end().await, Err(Error::SlowReader)));
}
