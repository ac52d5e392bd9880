//! Relayed connections over an in-memory link: independence, flow control, ends and breaches.

use std::time::Duration;

use cloister_link::{
    ClientStream, Connections, LinkMessage, ProtocolError, ToEnclave, ToHost,
    connections::WINDOW,
    transport::{self, Receiver, Sender},
};
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a window.
const BUSY: Duration = Duration::from_secs(1);

/// Both ends of a link, each with a task that passes connection messages on and gives all others to the test.
struct Pair {
    host: Connections<ToEnclave>,
    enclave: Connections<ToHost>,
    accepted: mpsc::UnboundedReceiver<ClientStream>,
    host_sender: Sender<ToEnclave>,
    ticks: mpsc::UnboundedReceiver<u64>,
}

fn pair(most_host: usize, most_enclave: usize) -> Pair {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (host_sender, mut from_enclave) = transport::split::<_, ToEnclave, ToHost>(near);
    let (enclave_sender, mut from_host) = transport::split::<_, ToHost, ToEnclave>(far);
    let host = Connections::new(host_sender.clone(), most_host);
    let enclave = Connections::new(enclave_sender, most_enclave);
    let (accept, accepted) = mpsc::unbounded_channel();
    let (tick, ticks) = mpsc::unbounded_channel();
    let connections = host.clone();
    tokio::spawn(async move {
        while let Ok(message) = from_enclave.recv().await {
            match message {
                ToHost::ConnectionData { connection, bytes } => connections.data(connection, &bytes),
                ToHost::ConnectionCredit { connection, bytes } => connections.credit(connection, bytes),
                ToHost::ConnectionClosed { connection } => connections.closed(connection),
                other => panic!("unexpected {other:?}"),
            }
            .unwrap();
        }
    });
    let connections = enclave.clone();
    tokio::spawn(async move {
        while let Ok(message) = from_host.recv().await {
            match message {
                ToEnclave::ConnectionOpened { connection } => {
                    if let Some(stream) = connections.opened(connection).await.unwrap() {
                        let _ = accept.send(stream);
                    }
                }
                ToEnclave::ConnectionData { connection, bytes } => connections.data(connection, &bytes).unwrap(),
                ToEnclave::ConnectionCredit { connection, bytes } => connections.credit(connection, bytes).unwrap(),
                ToEnclave::ConnectionClosed { connection } => connections.closed(connection).unwrap(),
                ToEnclave::Tick { unix_ms } => tick.send(unix_ms).unwrap(),
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    Pair { host, enclave, accepted, host_sender, ticks }
}

impl Pair {
    async fn connect(&mut self) -> (DuplexStream, ClientStream) {
        let (client, relayed) = tokio::io::duplex(8 * 1024);
        self.host.open(relayed).await.unwrap().unwrap();
        (client, timeout(PATIENCE, self.accepted.recv()).await.unwrap().unwrap())
    }

    async fn until_empty(&self) {
        let empty = async {
            while self.host.count() + self.enclave.count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, empty).await.expect("connections are forgotten");
    }
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (seed.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8)) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_connections_carry_several_windows_both_ways() {
    let mut pair = pair(400, 400);
    let mut tasks = Vec::new();
    for seed in 0..300 {
        let (client, server) = pair.connect().await;
        let length = if seed % 50 == 0 { 3 * WINDOW + seed } else { 2_000 + seed };
        tasks.push(tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(server);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        }));
        tasks.push(tokio::spawn(async move {
            let sent = pattern(seed, length);
            let (mut reader, mut writer) = tokio::io::split(client);
            let mut received = Vec::new();
            tokio::join!(
                async {
                    writer.write_all(&sent).await.unwrap();
                    writer.shutdown().await.unwrap();
                },
                async { reader.read_to_end(&mut received).await.unwrap() },
            );
            assert!(received == sent, "connection {seed}");
        }));
    }
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    pair.until_empty().await;
}

#[tokio::test]
async fn a_connection_without_credit_blocks_only_itself() {
    let mut pair = pair(10, 10);
    let (mut slow_client, mut slow_server) = pair.connect().await;
    let writing = tokio::spawn(async move {
        slow_client.write_all(&pattern(1, 4 * WINDOW)).await.unwrap();
        slow_client
    });
    let (mut client, mut server) = pair.connect().await;
    for round in 0..100u64 {
        client.write_all(&[round as u8; 10_000]).await.unwrap();
        let mut received = vec![0; 10_000];
        timeout(PATIENCE, server.read_exact(&mut received)).await.unwrap().unwrap();
        server.write_all(&received).await.unwrap();
        timeout(PATIENCE, client.read_exact(&mut received)).await.unwrap().unwrap();
        pair.host_sender.send(ToEnclave::Tick { unix_ms: round }).await.unwrap();
        assert_eq!(timeout(PATIENCE, pair.ticks.recv()).await.unwrap(), Some(round));
    }
    assert!(!writing.is_finished(), "four windows cannot be under way");
    let mut received = vec![0; 4 * WINDOW];
    timeout(PATIENCE, slow_server.read_exact(&mut received)).await.unwrap().unwrap();
    assert!(received == pattern(1, 4 * WINDOW));
    writing.await.unwrap();
}

#[tokio::test]
async fn what_was_sent_before_the_end_arrives_and_then_the_end() {
    let mut pair = pair(10, 10);
    let (mut client, mut server) = pair.connect().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut question)).await.unwrap().unwrap();
    assert_eq!(question, b"question");
    // The other direction is still open.
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"answer");
    pair.until_empty().await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_stream_of_the_enclave() {
    let mut pair = pair(10, 10);
    let (client, mut server) = pair.connect().await;
    drop(client);
    assert_eq!(timeout(PATIENCE, server.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    drop(server);
    pair.until_empty().await;
}

#[tokio::test]
async fn each_end_has_its_own_limit() {
    let mut limited_host = pair(2, 10);
    let _first = limited_host.connect().await;
    let _second = limited_host.connect().await;
    let (_client, relayed) = tokio::io::duplex(64);
    assert!(limited_host.host.open(relayed).await.unwrap().is_err(), "the stream comes back");

    let mut limited_enclave = pair(10, 2);
    let first = limited_enclave.connect().await;
    let _second = limited_enclave.connect().await;
    let (mut refused, relayed) = tokio::io::duplex(64);
    limited_enclave.host.open(relayed).await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, refused.read(&mut [0; 1])).await.unwrap().unwrap(), 0, "refused by the enclave");
    drop((refused, first));
    let freed = async {
        while limited_enclave.enclave.count() + limited_enclave.host.count() > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
    limited_enclave.connect().await;
}

/// An enclave's connections whose peer is the test itself.
fn alone() -> (Connections<ToHost>, Receiver<DuplexStream, ToHost>, Sender<ToEnclave>) {
    let (near, far) = tokio::io::duplex(1024);
    let (sender, _) = transport::split::<_, ToHost, ToEnclave>(near);
    let (peer, receiver) = transport::split::<_, ToEnclave, ToHost>(far);
    (Connections::new(sender, 8), receiver, peer)
}

#[tokio::test]
async fn breaches_have_their_own_errors() {
    let (connections, _receiver, _peer) = alone();
    assert_eq!(connections.data(0, b"x"), Err(ProtocolError::NeverOpened { connection: 0 }));
    assert_eq!(connections.credit(0, 1), Err(ProtocolError::NeverOpened { connection: 0 }));
    assert_eq!(connections.closed(0), Err(ProtocolError::NeverOpened { connection: 0 }));

    let _stream = connections.opened(5).await.unwrap().unwrap();
    let out_of_order = |connection| ProtocolError::OpenedOutOfOrder { connection };
    assert_eq!(connections.opened(5).await.unwrap_err(), out_of_order(5));
    assert_eq!(connections.opened(4).await.unwrap_err(), out_of_order(4));
    assert_eq!(connections.opened(u64::MAX).await.unwrap_err(), out_of_order(u64::MAX));
    // A number that was left out counts as ended.
    assert_eq!(connections.data(3, b"x"), Ok(()));

    assert_eq!(connections.data(5, b""), Err(ProtocolError::EmptyData { connection: 5 }));
    assert_eq!(connections.credit(5, 1), Err(ProtocolError::CreditExcessive { connection: 5 }));
    assert_eq!(connections.credit(5, u32::MAX), Err(ProtocolError::CreditExcessive { connection: 5 }));
    assert_eq!(connections.closed(5), Ok(()));
    assert_eq!(connections.data(5, b"x"), Err(ProtocolError::DataAfterClose { connection: 5 }));
    assert_eq!(connections.closed(5), Err(ProtocolError::ClosedTwice { connection: 5 }));
}

#[tokio::test]
async fn a_byte_above_the_window_is_a_breach() {
    let (connections, _receiver, _peer) = alone();
    let _unread = connections.opened(0).await.unwrap().unwrap();
    for _ in 0..WINDOW / 1024 {
        connections.data(0, &[0; 1024]).unwrap();
    }
    assert_eq!(connections.data(0, b"x"), Err(ProtocolError::WindowExceeded { connection: 0 }));
}

#[tokio::test]
async fn a_sender_stays_within_the_credit_that_it_was_granted() {
    let (connections, mut receiver, _peer) = alone();
    let mut stream = connections.opened(0).await.unwrap().unwrap();
    tokio::spawn(async move { stream.write_all(&pattern(3, 2 * WINDOW)).await });
    let mut received = Vec::new();
    while received.len() < WINDOW {
        let ToHost::ConnectionData { bytes, .. } = receiver.recv().await.unwrap() else { panic!("data") };
        received.extend(bytes);
    }
    assert_eq!(received.len(), WINDOW);
    // The next bytes are those for which there is new credit, and no more.
    connections.credit(0, 10).unwrap();
    let ToHost::ConnectionData { bytes, .. } = receiver.recv().await.unwrap() else { panic!("data") };
    received.extend(&bytes);
    assert_eq!(bytes.len(), 10);
    assert!(received == pattern(3, 2 * WINDOW)[..WINDOW + 10]);
}

/// Whoever serves a connection may be busy with what its client asked before it left.
#[tokio::test]
async fn a_client_that_leaves_counts_until_its_stream_is_let_go() {
    let (near, far) = tokio::io::duplex(1024);
    let (sender, _) = transport::split::<_, ToHost, ToEnclave>(near);
    let (_peer, mut receiver) = transport::split::<_, ToEnclave, ToHost>(far);
    let connections = Connections::new(sender, 1);
    let stream = connections.opened(0).await.unwrap().unwrap();
    // More than the pipe to the reader holds: the end stays behind what nobody reads.
    connections.data(0, &[0; WINDOW]).unwrap();
    connections.closed(0).unwrap();
    stream.ended().await;
    assert_eq!(receiver.recv().await.unwrap(), ToHost::ConnectionClosed { connection: 0 });
    assert_eq!(connections.count(), 1);
    assert!(connections.opened(1).await.unwrap().is_none(), "there is room for one");
    assert_eq!(receiver.recv().await.unwrap(), ToHost::ConnectionClosed { connection: 1 });
    drop(stream);
    assert_eq!(connections.count(), 0);
    assert!(connections.opened(2).await.unwrap().is_some());
}

#[tokio::test]
async fn a_stream_that_is_open_has_not_ended() {
    let (connections, _receiver, _peer) = alone();
    let stream = connections.opened(0).await.unwrap().unwrap();
    assert!(stream.ended().now_or_never().is_none());
}

/// A client that takes nothing gives no credit, and nobody waits for it.
#[tokio::test]
async fn a_stream_that_is_let_go_ends_without_credit() {
    let (connections, mut receiver, _peer) = alone();
    let mut stream = connections.opened(0).await.unwrap().unwrap();
    let writing = tokio::spawn(async move { timeout(BUSY, stream.write_all(&[0; 2 * WINDOW])).await.is_err() });
    let mut received = 0;
    loop {
        match receiver.recv().await.unwrap() {
            ToHost::ConnectionData { bytes, .. } => received += bytes.len(),
            ended => break assert_eq!(ended, ToHost::ConnectionClosed { connection: 0 }),
        }
    }
    assert_eq!(received, WINDOW);
    assert!(writing.await.unwrap(), "given up");
    while connections.count() > 0 {
        tokio::task::yield_now().await;
    }
}

/// As the host: the enclave has ended a connection whose client does not read.
#[tokio::test]
async fn a_client_that_takes_nothing_does_not_keep_its_connection() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (sender, _) = transport::split::<_, ToEnclave, ToHost>(near);
    let (_enclave, mut receiver) = transport::split::<_, ToHost, ToEnclave>(far);
    let host = Connections::new(sender, 1);
    let (_slow, relayed) = tokio::io::duplex(64);
    host.open(relayed).await.unwrap().unwrap();
    host.data(0, &[0; 1_000]).unwrap();
    host.closed(0).unwrap();
    assert_eq!(receiver.recv().await.unwrap(), ToEnclave::ConnectionOpened { connection: 0 });
    assert_eq!(receiver.recv().await.unwrap(), ToEnclave::ConnectionClosed { connection: 0 });
    while host.count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn only_a_connections_bytes_and_their_end_are_bulk() {
    assert!(ToEnclave::connection_data(1, vec![1]).is_bulk());
    assert!(ToEnclave::connection_closed(1).is_bulk());
    assert!(!ToEnclave::connection_credit(1, 1).is_bulk());
    assert!(!ToEnclave::Tick { unix_ms: 1 }.is_bulk());
}
