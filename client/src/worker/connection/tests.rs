//! Answers, statuses and what goes wrong, over a connection whose other end the test holds.
#![allow(clippy::type_complexity, reason = "tables of cases")]

use std::time::Duration;

use cloister_chain_primitives::{H256, Request, ShardId};
use cloister_wire::{RpcReturnValue, TrustedOperationStatus};
use codec::Encode;
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::protocol::Role;

mod break_off;
mod together;

use super::*;
use crate::worker::{Stage, Worker, to_hex};

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
    let (url, answer_limit) = ("wss://worker".into(), Duration::from_secs(30));
    (Worker { commands: start(ours), url, tls_key: [0; 32], answer_limit }, Enclave(theirs))
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

/// An enclave that takes one operation after another and tells these statuses of them. It keeps the connection.
async fn telling(statuses: Vec<Vec<(TrustedOperationStatus, Option<&'static str>)>>) -> Worker {
    let (worker, mut enclave) = connection().await;
    tokio::spawn(async move {
        for statuses in statuses {
            let submitted = enclave.request().await;
            enclave.answer(&submitted, OPERATION.as_bytes()).await;
            for (status, reason) in statuses {
                enclave.notify(OPERATION, status, json!(reason)).await;
            }
        }
        while enclave.0.next().await.is_some() {}
    });
    worker
}

const BLOCK: H256 = H256([8; 32]);
const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_failed_call_says_why() {
    let fates: [(TrustedOperationStatus, Option<&str>, fn(&Error) -> bool, &str); 6] = [
        (
            TrustedOperationStatus::Invalid,
            Some("FundsUnavailable"),
            |error| matches!(error, Error::CallFailed { operation, .. } if *operation == OPERATION),
            "the call failed on the shard: FundsUnavailable",
        ),
        (
            TrustedOperationStatus::Invalid,
            None,
            |error| matches!(error, Error::CallFailed { .. }),
            "the call failed on the shard: the enclave gives no reason",
        ),
        (
            TrustedOperationStatus::Dropped,
            Some("the pool is full"),
            |error| matches!(error, Error::Dropped { reason: Some(_), .. }),
            "the shard's pool dropped the call 0x0707…: the pool is full",
        ),
        (
            TrustedOperationStatus::Usurped,
            None,
            |error| matches!(error, Error::Usurped { reason: None, .. }),
            "another call with the same nonce took the place of the call 0x0707…",
        ),
        (
            TrustedOperationStatus::Retracted,
            None,
            |error| matches!(error, Error::Retracted { reason: None, .. }),
            "the shard's block with the call 0x0707… was abandoned",
        ),
        (
            TrustedOperationStatus::FinalityTimeout,
            None,
            |error| matches!(error, Error::FinalityTimeout { reason: None, .. }),
            "the enclave gave up waiting until layer one anchors the call 0x0707…",
        ),
    ];
    let name = format!("{OPERATION:?}");
    for (status, reason, expected, text) in fates {
        // Before and after the operation's block.
        let in_block = (TrustedOperationStatus::InSidechainBlock(BLOCK), None);
        let worker = telling(vec![vec![(status, reason)], vec![in_block, (status, reason)]]).await;
        let mut before = worker.submit_and_watch(&request()).await.unwrap();
        let mut after = worker.submit_and_watch(&request()).await.unwrap();
        for error in [before.in_block().await.unwrap_err(), after.finalized(LONG).await.unwrap_err()] {
            assert!(expected(&error), "{error:?}");
            assert_eq!(error.to_string().replace(&name, "0x0707…"), text);
            assert_eq!(error.is_refusal(), status != TrustedOperationStatus::FinalityTimeout);
        }
    }
}

#[tokio::test]
async fn an_operation_is_followed_until_its_block_is_anchored() {
    let statuses = [
        TrustedOperationStatus::Ready,
        TrustedOperationStatus::InSidechainBlock(BLOCK),
        TrustedOperationStatus::Finalized,
    ];
    let told = statuses.map(|status| (status, None)).to_vec();
    let worker = telling(vec![told.clone(), told]).await;
    let mut operation = worker.submit_and_watch(&request()).await.unwrap();
    let mut seen = Vec::new();
    let block = operation.finalized_reporting(LONG, |update| seen.push(update.status)).await.unwrap();
    assert_eq!((block, seen.as_slice()), (BLOCK, &statuses[..]));

    // In two steps, and again, because it is known by then.
    let mut operation = worker.submit_and_watch(&request()).await.unwrap();
    assert_eq!(operation.in_block().await.unwrap(), BLOCK);
    let mut seen = Vec::new();
    operation.finalized_reporting(LONG, |update| seen.push(update.status)).await.unwrap();
    assert_eq!(seen, [TrustedOperationStatus::Finalized]);
    assert_eq!(operation.finalized(Duration::ZERO).await.unwrap(), BLOCK);
    assert_eq!(operation.in_block().await.unwrap(), BLOCK);
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_and_can_go_on() {
    let (worker, mut enclave) = connection().await;
    let (go_on, mut going_on) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let submitted = enclave.request().await;
        enclave.answer(&submitted, OPERATION.as_bytes()).await;
        going_on.recv().await;
        enclave.notify(OPERATION, TrustedOperationStatus::InSidechainBlock(BLOCK), Value::Null).await;
        going_on.recv().await;
        enclave.notify(OPERATION, TrustedOperationStatus::Finalized, Value::Null).await;
        // The connection is gone only now.
        going_on.recv().await;
    });
    let mut operation = worker.submit_and_watch(&request()).await.unwrap();
    let limit = Duration::from_millis(1);
    let error = operation.reached(Stage::InBlock, limit, |_| ()).await.unwrap_err();
    let Error::NotInTime { operation: found, stage: Stage::InBlock, limit: awaited } = error else { panic!("{error}") };
    assert_eq!((found, awaited), (OPERATION, limit));
    go_on.send(()).await.unwrap();
    operation.in_block().await.unwrap();
    let error = operation.finalized(limit).await.unwrap_err();
    assert!(matches!(error, Error::NotInTime { stage: Stage::Finalized, .. }) && !error.is_refusal());
    assert!(error.to_string().ends_with("is not anchored in a finalized block of layer one after 0 s"), "{error}");
    go_on.send(()).await.unwrap();
    operation.finalized(LONG).await.unwrap();
}

#[tokio::test]
async fn an_operation_without_an_end_or_without_a_block_is_no_success() {
    let worker = telling(vec![vec![(TrustedOperationStatus::Finalized, None)]]).await;
    let error = worker.submit_and_watch(&request()).await.unwrap().finalized(LONG).await.unwrap_err();
    assert!(matches!(perhaps_executed(&error, &followed()), Error::Malformed { .. }), "{error}");

    let (worker, mut enclave) = connection().await;
    tokio::spawn(async move {
        let submitted = enclave.request().await;
        enclave.answer(&submitted, OPERATION.as_bytes()).await;
        enclave.notify(OPERATION, TrustedOperationStatus::InSidechainBlock(BLOCK), Value::Null).await;
    });
    let error = worker.submit_and_watch(&request()).await.unwrap().finalized(LONG).await.unwrap_err();
    assert!(matches!(perhaps_executed(&error, &followed()), Error::Closed), "{error}");
}

/// Why nothing is known of what was sent.
fn perhaps_executed<'a>(error: &'a Error, expected: &str) -> &'a Error {
    let Error::PerhapsExecuted { what, source } = error else { panic!("{error:?}") };
    assert_eq!(what, expected);
    assert!(!error.is_refusal());
    source
}

/// How an operation is called that was taken.
fn followed() -> String {
    format!("the call {OPERATION:?}")
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
    assert!(matches!(worker.submit_and_watch(&request()).await.err().unwrap(), Error::Refused(found) if found == "no"));
    let error = worker.submit_and_watch(&request()).await.err().unwrap();
    assert!(matches!(perhaps_executed(&error, SUBMIT_AND_WATCH), Error::Malformed { .. }), "{error}");
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

#[tokio::test]
async fn who_sends_more_changes_of_an_operation_than_it_can_have_is_cut_off() {
    let (worker, mut enclave) = connection().await;
    tokio::spawn(async move {
        let submitted = enclave.request().await;
        enclave.answer(&submitted, OPERATION.as_bytes()).await;
        for _ in 0..65 {
            enclave.notify(OPERATION, TrustedOperationStatus::Ready, Value::Null).await;
        }
        // Too late, and so is whatever comes after it.
        enclave.notify(OPERATION, TrustedOperationStatus::InSidechainBlock(BLOCK), Value::Null).await;
        let request = enclave.request().await;
        enclave.answer(&request, &RpcReturnValue::ok("still here").encode()).await;
        while enclave.0.next().await.is_some() {}
    });
    let mut operation = worker.submit_and_watch(&request()).await.unwrap();
    // By the time of this answer all of them have come, and none was read.
    assert_eq!(worker.read::<String>("system_name", json!([])).await.unwrap(), "still here");
    let mut told = 0;
    let error = operation.in_block_reporting(|_| told += 1).await.unwrap_err();
    assert!(matches!(perhaps_executed(&error, &followed()), Error::Closed), "{error}");
    assert_eq!(told, 64);
}
