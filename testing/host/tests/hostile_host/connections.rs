//! Connections of clients that the host makes up, mixes up or cuts.

use cloister_hostile_host::{Host, LayerOne, Passing, Start};
use cloister_link::{ClientLimits, ToEnclave, ToHost, connections::WINDOW, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{SEED, breach, ends, funded, goes_on, tells_the_truth};

/// A number above all that an honest host has used in these tests.
const NUMBER: u64 = 1_000;

async fn ends_after(messages: impl IntoIterator<Item = ToEnclave>, reason: &str) {
    let host = funded().await;
    // At once, so that nothing else comes between.
    let frames: Vec<_> = messages.into_iter().flat_map(|message| frame::encode(&message).unwrap()).collect();
    host.inject(Passing::Bytes(frames));
    ends(host, breach(reason)).await;
}

fn open(connection: u64) -> ToEnclave {
    ToEnclave::ConnectionOpened { connection }
}

fn data(connection: u64, bytes: usize) -> ToEnclave {
    ToEnclave::ConnectionData { connection, bytes: vec![22; bytes] }
}

fn close(connection: u64) -> ToEnclave {
    ToEnclave::ConnectionClosed { connection }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_must_be_opened_in_order() {
    ends_after([open(NUMBER), open(NUMBER)], "connection 1000 was opened out of order").await;
    ends_after([open(NUMBER), open(NUMBER - 1)], "connection 999 was opened out of order").await;
    ends_after([open(0)], "connection 0 was opened out of order").await;
    ends_after([open(u64::MAX)], &format!("connection {} was opened out of order", u64::MAX)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_of_a_connection_that_was_never_opened() {
    let never = "connection 1000 was never opened";
    ends_after([data(NUMBER, 1)], never).await;
    ends_after([close(NUMBER)], never).await;
    ends_after([ToEnclave::ConnectionCredit { connection: NUMBER, bytes: 1 }], never).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_without_bytes_is_a_breach() {
    ends_after([open(NUMBER), data(NUMBER, 0)], "connection 1000 sent empty data").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_data_than_a_window_is_a_breach() {
    ends_after([open(NUMBER), data(NUMBER, WINDOW + 1)], "connection 1000 exceeded its window").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_for_more_than_was_sent_is_a_breach() {
    for bytes in [1, u32::MAX] {
        let credit = ToEnclave::ConnectionCredit { connection: NUMBER, bytes };
        ends_after([open(NUMBER), credit], "connection 1000 was granted more than its window").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_the_end_of_a_connection() {
    for (after, reason) in
        [(data as fn(u64, usize) -> _, "sent data after its end"), (|of, _| close(of), "was closed twice")]
    {
        let mut host = funded().await;
        // Whoever serves the connection may see its end sooner, and then there is nothing left to break.
        let mut number = NUMBER;
        while !host.seen().ended() {
            let messages = [open(number), close(number), after(number, 1)];
            host.inject(Passing::Bytes(messages.iter().flat_map(|message| frame::encode(message).unwrap()).collect()));
            number += 1;
            tokio::task::yield_now().await;
        }
        let cloister_link::StopReason::Protocol(why) = host.stopped().await else { panic!("no breach") };
        assert!(why.starts_with("connection ") && why.ends_with(reason), "{why}");
        crate::restarts(&host.layer_one, host.seen().disk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_closed_and_the_others_served() {
    let layer_one = LayerOne::start();
    let limits = ClientLimits { connections: 4, ..Default::default() };
    let host = Host::served(&layer_one, Start { limits, ..Start::of(&layer_one, SEED) }).await;
    host.shield(&cloister_hostile_host::account("Alice"), crate::SHIELDED).await;
    let alice = host.client("Alice").await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(tokio::net::TcpStream::connect(host.address()).await.unwrap());
    }
    // Three find room, and each of the others is closed at once.
    for stream in &mut flood[3..] {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }
    assert_eq!(alice.balance().await.unwrap(), crate::SHIELDED);
    drop(flood);
    host.until("room again", |seen| (seen.connections == 1).then_some(())).await;
    assert_eq!(host.client("Alice").await.balance().await.unwrap(), crate::SHIELDED);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_bytes_of_a_client_end_its_connection_and_nothing_else() {
    for to_enclave in [true, false] {
        let host = funded().await;
        let alice = host.client("Alice").await;
        host.lie(move |mut passing| {
            match &mut passing {
                Passing::ToEnclave(ToEnclave::ConnectionData { bytes, .. }) if to_enclave => {
                    *bytes.last_mut().unwrap() ^= 1
                }
                Passing::ToHost(ToHost::ConnectionData { bytes, .. }) if !to_enclave => *bytes.last_mut().unwrap() ^= 1,
                _ => {}
            }
            vec![passing]
        });
        let error = alice.pay(&cloister_hostile_host::account("Bob"), crate::PAID, 1).await.unwrap_err();
        assert!(!error.is_refusal(), "{error}");
        host.be_honest();
        if to_enclave {
            goes_on(&host).await;
        } else {
            // The call came through; it was the answer that did not.
            let alice = host.client("Alice").await;
            host.until("executed", |seen| (seen.block > 2).then_some(())).await;
            host.anchored().await;
            assert_eq!(alice.nonce().await.unwrap(), 2);
        }
    }
}

/// Who speaks through the connection of another says nothing that a client signed or an enclave would answer.
#[tokio::test(flavor = "multi_thread")]
async fn swapped_connections_end_and_nothing_else() {
    let host = funded().await;
    let (alice, bob) = (host.client("Alice").await, host.client("Bob").await);
    host.lie(|mut passing| {
        if let Passing::ToEnclave(ToEnclave::ConnectionData { connection, .. }) = &mut passing {
            *connection = [0, 2, 1][*connection as usize];
        }
        vec![passing]
    });
    // That of the payment was 0.
    let (first, second) = tokio::join!(alice.nonce(), bob.nonce());
    assert!(first.is_err() && second.is_err());
    host.be_honest();
    tells_the_truth(&host).await;
}

/// The same bytes again, on a connection of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_conversation_replayed_does_nothing() {
    let host = funded().await;
    let (record, mut recorded) = tokio::sync::mpsc::unbounded_channel();
    host.lie(move |passing| {
        if let Passing::ToEnclave(ToEnclave::ConnectionData { bytes, .. }) = &passing {
            record.send(bytes.clone()).unwrap();
        }
        vec![passing]
    });
    crate::pays(&host.client("Alice").await, 1).await;
    host.be_honest();
    let mut replay = tokio::net::TcpStream::connect(host.address()).await.unwrap();
    while let Ok(bytes) = recorded.try_recv() {
        // It does not listen long.
        if replay.write_all(&bytes).await.is_err() {
            break;
        }
    }
    // All that comes is the beginning of a handshake that nobody can complete, and its end.
    let mut answer = Vec::new();
    let _ = replay.read_to_end(&mut answer).await;
    assert_eq!(host.client("Alice").await.nonce().await.unwrap(), 2);
}
