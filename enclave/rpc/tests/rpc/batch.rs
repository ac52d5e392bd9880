//! Many requests in one message.

use std::time::Duration;

use cloister_rpc::{Call, Limits, MAX_SUBMIT_BATCH};
use cloister_wire::{H256, Request, RpcReturnValue, ShardId};
use codec::{Compact, Encode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::connected;

fn requests(count: usize, bytes: usize) -> Vec<Request> {
    let shard = ShardId(H256::repeat_byte(7));
    let request = |number: usize| Request { shard, cyphertext: vec![number as u8; bytes].try_into().unwrap() };
    (0..count).map(request).collect()
}

fn param(bytes: &[u8]) -> Value {
    json!([format!("0x{}", hex::encode(bytes))])
}

#[tokio::test]
async fn a_batch_is_one_call_with_its_requests_in_order() {
    let (server, mut client) = connected(Limits::default()).await;
    // The largest one, of transfers in envelopes, fits a message.
    let largest = requests(MAX_SUBMIT_BATCH, 300);
    for batch in [Vec::new(), requests(3, 3), largest] {
        client.ask(json!(1), "author_submitBatch", param(&batch.encode())).await;
        client.answer().await;
        assert_eq!(server.calls().pop(), Some(Call::SubmitBatch(batch)));
    }
    client.ask(json!(1), "author_submitBatch", json!([hex::encode(requests(1, 1).encode())])).await;
    client.answer().await;
    assert_eq!(server.calls().pop(), Some(Call::SubmitBatch(requests(1, 1))), "without a prefix");
}

#[tokio::test]
async fn what_is_no_batch_or_too_large_a_one_never_reaches_the_handler() {
    let limits = Limits { requests_per_second: u32::MAX, request_burst: u32::MAX, ..Limits::default() };
    let (server, mut client) = connected(limits).await;
    let malformed = "the first parameter is not a hex-encoded list of requests";
    let three = requests(3, 3).encode();
    let no_end = [Compact(4u32).encode(), three[1..].to_vec()].concat();
    let too_long_a_request =
        [Compact(1u32).encode(), vec![7; 32], Compact(16_385u32).encode(), vec![1; 16_385]].concat();
    for (params, reason) in [
        (json!([]), malformed),
        (json!([1]), malformed),
        (json!([[]]), malformed),
        (json!(["zz"]), malformed),
        (json!([""]), malformed),
        (json!(["0x0"]), malformed),
        (param(&[&three[..], &[0]].concat()), malformed),
        (param(&three[..three.len() - 1]), malformed),
        (param(&no_end), malformed),
        (param(&too_long_a_request), malformed),
        (param(&[0xff; 5]), malformed),
        (param(&requests(MAX_SUBMIT_BATCH + 1, 3).encode()), "a batch has at most 128 requests"),
        (param(&Compact(u32::MAX).encode()), "a batch has at most 128 requests"),
        (json!({ "requests": [] }), "the parameters are not an array"),
    ] {
        client.ask(json!(1), "author_submitBatch", params.clone()).await;
        assert_eq!(client.answer().await.1, RpcReturnValue::error(reason), "{params}");
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_batch_costs_as_much_as_its_requests_and_what_is_none_as_the_largest() {
    let limits = Limits { requests_per_second: 100, request_burst: 5, ..Limits::default() };
    for (params, cost) in [
        (param(&requests(45, 3).encode()), 45),
        (param(&requests(MAX_SUBMIT_BATCH, 0).encode()), 128),
        (param(&requests(MAX_SUBMIT_BATCH + 1, 0).encode()), 128),
        (json!(["nonsense"]), 128),
    ] {
        let (_server, mut client) = connected(limits).await;
        let started = Instant::now();
        client.ask(json!(1), "author_submitBatch", params).await;
        client.answer().await;
        client.ask(json!(2), "system_version", json!([])).await;
        client.answer().await;
        assert!(started.elapsed() >= Duration::from_millis((cost - 5 + 1) * 10), "{cost}");
    }
}
