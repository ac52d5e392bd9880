//! How changes of status reach a client that watches many operations.

use std::sync::atomic::Ordering;

use cloister_rpc::{Limits, StatusUpdate};
use cloister_wire::{
    H256,
    TrustedOperationStatus::{InSidechainBlock, Ready},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::harness::{Client, Server, connected, request, update};

/// So many operations are watched.
async fn watching(server: &mut Server, client: &mut Client, count: usize) -> Vec<mpsc::Sender<StatusUpdate>> {
    let mut watched = Vec::new();
    for _ in 0..count {
        client.ask(json!(1), "author_submitAndWatchExtrinsic", json!([request()])).await;
        client.text().await;
        watched.push(server.watched.recv().await.unwrap());
    }
    watched
}

/// A block's worth of them: each alone would be a TLS record, a message of the link and a packet.
#[tokio::test]
async fn updates_that_are_there_together_are_told_together() {
    let (mut server, mut client) = connected(Limits::default()).await;
    let watched = watching(&mut server, &mut client, 5).await;
    let before = server.writes.load(Ordering::Relaxed);
    // The server's task runs once this one waits.
    for (number, operation) in watched.iter().enumerate() {
        operation.try_send(update(Ready, None, false)).unwrap();
        let block = InSidechainBlock(H256::repeat_byte(number as u8));
        operation.try_send(update(block, None, true)).unwrap();
    }
    let mut blocks = Vec::new();
    for _ in 0..2 * watched.len() {
        let told = client.json().await["params"]["result"].as_str().unwrap().to_owned();
        blocks.extend(told.strip_prefix("0x0104").map(str::to_owned));
    }
    assert_eq!(server.writes.load(Ordering::Relaxed) - before, 1);
    blocks.sort();
    assert_eq!(blocks, (0..5).map(|number| format!("{number:02x}").repeat(32)).collect::<Vec<_>>());
}

/// Of what goes out together nothing is lost or told twice, however much it is.
#[tokio::test]
async fn more_updates_than_go_out_together_are_all_told() {
    let (mut server, mut client) = connected(Limits { watched: 40, ..Limits::default() }).await;
    let watched = watching(&mut server, &mut client, 40).await;
    for operation in &watched {
        for last in [false, false, false, true] {
            operation.try_send(update(Ready, Some("why"), last)).unwrap();
        }
    }
    for _ in 0..160 {
        assert_eq!(client.json().await["params"]["error"], "why");
    }
    client.ask(json!(2), "system_version", json!([])).await;
    assert_eq!(client.answer().await.0, json!(2), "and nothing else");
}
