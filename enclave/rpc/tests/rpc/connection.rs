//! Requests and answers, and how connections end.

use std::time::Duration;

use cloister_keys::TlsIdentity;
use cloister_rpc::{Call, Error, Limits, Method};
use cloister_wire::{
    DirectRequestStatus, H256, RpcReturnValue,
    TrustedOperationStatus::{InSidechainBlock, Invalid, Ready, Submitted},
};
use codec::{DecodeAll, Encode};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::harness::{Client, HASH, Server, connected, decoded, request, return_value, tls, update};

/// The published client numbers every request 1 and matches answers by arrival.
#[tokio::test]
async fn a_slow_request_does_not_let_a_later_one_overtake() {
    let (server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "system_name", json!([])).await;
    client.ask(json!(1), "system_version", json!([])).await;
    client.ask(json!(1), "system_name", json!([])).await;
    server.handler.permits.add_permits(1);
    assert_eq!(client.answer().await, (json!(1), RpcReturnValue::ok("name")));
    assert_eq!(client.answer().await, (json!(1), RpcReturnValue::ok("version")));
    server.handler.permits.add_permits(1);
    assert_eq!(client.answer().await, (json!(1), RpcReturnValue::ok("name")));
    assert_eq!(server.calls(), [Call::Name, Call::Version, Call::Name]);
}

#[tokio::test]
async fn ids_are_echoed_and_params_may_be_absent() {
    let (_server, mut client) = connected(Limits::default()).await;
    for id in [json!(0), json!(18_446_744_073_709_551_615_u64), json!("x"), json!(null)] {
        client.ask(id.clone(), "system_version", json!([])).await;
        assert_eq!(client.answer().await, (id, RpcReturnValue::ok("version")));
    }
    client.send(r#"{"jsonrpc":"2.0","method":"system_version","id":5}"#).await;
    assert_eq!(client.text().await, r#"{"jsonrpc":"2.0","result":"0x201c76657273696f6e0000","id":5}"#);
}

#[tokio::test]
async fn what_has_no_id_is_carried_out_and_not_answered() {
    let (server, mut client) = connected(Limits::default()).await;
    client.send(json!({"jsonrpc": "2.0", "method": "author_submitExtrinsic", "params": [request()]})).await;
    client.send(r#"[{"jsonrpc":"2.0","method":"system_version"}]"#).await;
    client.ask(json!(2), "system_version", json!([])).await;
    assert_eq!(client.answer().await.0, json!(2));
    assert!(matches!(server.calls()[..], [Call::Submit(_), Call::Version, Call::Version]));
}

#[tokio::test]
async fn binary_messages_count_too() {
    let (_server, mut client) = connected(Limits::default()).await;
    let text = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1}).to_string();
    client.0.send(Message::binary(text.into_bytes())).await.unwrap();
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn the_connection_stays_open_after_a_submission() {
    let (_server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "author_submitExtrinsic", json!([request()])).await;
    let (_, answer) = client.answer().await;
    assert_eq!(answer.value, HASH.encode());
    assert_eq!(answer.status, DirectRequestStatus::TrustedOperationStatus(Submitted));
    client.ask(json!(1), "system_version", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn a_watched_submission_is_told_as_published() {
    let (mut server, mut client) = connected(Limits::default()).await;
    client.ask(json!(9), "author_submitAndWatchExtrinsic", json!([request()])).await;
    let hash = "ab".repeat(32);
    assert_eq!(client.text().await, format!(r#"{{"jsonrpc":"2.0","result":"0x{hash}","id":9}}"#));

    let updates = server.watched.recv().await.unwrap();
    updates.send(update(Ready, None, false)).await.unwrap();
    updates.send(update(InSidechainBlock(H256::repeat_byte(0xcd)), None, true)).await.unwrap();
    // After the last one nothing is told, though the handler goes on.
    updates.send(update(Ready, None, false)).await.unwrap();
    for status in ["0102".to_string(), format!("0104{}", "cd".repeat(32))] {
        assert_eq!(
            client.text().await,
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"author_submitAndWatchExtrinsic","params":{{"error":null,"result":"0x{status}","subscription":"0x{hash}"}}}}"#
            )
        );
    }
    client.ask(json!(1), "system_version", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn a_failure_carries_its_reason() {
    let (mut server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "author_submitAndWatchExtrinsic", json!([request()])).await;
    client.text().await;
    let updates = server.watched.recv().await.unwrap();
    updates.send(update(Invalid, Some("too little money"), true)).await.unwrap();
    let notification = client.json().await;
    assert_eq!(notification["params"]["error"], "too little money");
    assert_eq!(notification["params"]["result"], "0x010a");
}

#[tokio::test]
async fn updates_come_while_a_call_is_under_way() {
    let (mut server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "author_submitAndWatchExtrinsic", json!([request()])).await;
    client.text().await;
    let updates = server.watched.recv().await.unwrap();
    client.ask(json!(2), "system_name", json!([])).await;
    updates.send(update(Ready, None, false)).await.unwrap();
    assert_eq!(client.json().await["params"]["result"], "0x0102");
    server.handler.permits.add_permits(1);
    assert_eq!(client.answer().await, (json!(2), RpcReturnValue::ok("name")));
}

#[tokio::test]
async fn a_batch_is_answered_in_one_message_and_then_updated() {
    let (mut server, mut client) = connected(Limits::default()).await;
    let entry =
        |id: u32, method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id});
    let batch = json!([
        entry(1, "author_submitAndWatchExtrinsic", json!([request()])),
        entry(2, "nonsense", json!([])),
        17,
        entry(3, "system_name", json!([])),
        entry(4, "system_version", json!([])),
    ]);
    client.send(batch).await;
    let updates = server.watched.recv().await.unwrap();
    updates.send(update(Ready, None, true)).await.unwrap();
    server.handler.permits.add_permits(1);
    let answers = client.json().await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 5);
    assert_eq!(decoded::<H256>(answers[0]["result"].as_str().unwrap()), HASH);
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(2), &json!(-32_601)));
    assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&json!(null), &json!(-32_600)));
    assert_eq!((&answers[3]["id"], return_value(&answers[3])), (&json!(3), RpcReturnValue::ok("name")));
    assert_eq!((&answers[4]["id"], return_value(&answers[4])), (&json!(4), RpcReturnValue::ok("version")));
    assert_eq!(client.json().await["params"]["result"], "0x0102");
}

#[tokio::test]
async fn a_batch_above_the_bound_is_refused_as_a_whole() {
    let (server, mut client) = connected(Limits { batch: 2, ..Limits::default() }).await;
    let entry = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1});
    client.send(json!([entry, entry, entry])).await;
    assert_eq!(client.error_code().await, (Value::Null, -32_010));
    assert!(server.calls().is_empty());
    client.send(json!([entry, entry])).await;
    assert_eq!(client.json().await.as_array().unwrap().len(), 2);
}

/// A hundred bytes of request ask for a hundred kilobytes of answer.
#[tokio::test]
async fn a_batch_does_not_collect_answers_without_bound() {
    let (server, mut client) = connected(Limits::default()).await;
    let entry = |id: u32| json!({"jsonrpc": "2.0", "method": "state_getMetadata", "id": id});
    client.send(json!((0..32).map(entry).collect::<Vec<_>>())).await;
    let answers = client.json().await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 32, "each has an answer");
    // Of 120 kB each.
    assert_eq!(server.calls().len(), 3);
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(answer["id"], json!(id));
        assert_eq!(answer["error"]["code"].as_i64(), (id >= 3).then_some(-32_011));
    }
}

#[tokio::test]
async fn error_objects_are_for_bad_json_and_unknown_methods_and_end_nothing() {
    let (server, mut client) = connected(Limits::default()).await;
    for (text, id, code) in [
        ("nonsense", json!(null), -32_700),
        ("[]", json!(null), -32_600),
        (r#"{"jsonrpc":"2.0","id":3}"#, json!(3), -32_600),
        (r#"{"jsonrpc":"2.0","id":3,"method":"nonsense"}"#, json!(3), -32_601),
        (r#"{"jsonrpc":"2.0","id":"a","method":"sidechain_importBlock"}"#, json!("a"), -32_601),
    ] {
        client.send(text).await;
        assert_eq!(client.error_code().await, (id, code), "{text}");
    }
    assert!(server.calls().is_empty());
    client.ask(json!(1), "system_version", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

/// The published client reads an error object as an empty success.
#[tokio::test]
async fn refusals_of_methods_stand_in_the_result() {
    let (server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "author_getShardVault", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::error("no vault"));
    let before = server.calls().len();
    for params in [json!([]), json!([1]), json!(["0xzz"]), json!([format!("{}00", request())])] {
        client.ask(json!(1), "author_submitExtrinsic", params).await;
        let reason = "the first parameter is not a hex-encoded request";
        assert_eq!(client.answer().await.1, RpcReturnValue::error(reason));
    }
    client.ask(json!(1), "state_executeGetter", json!({"request": request()})).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::error("the parameters are not an array"));
    client.ask(json!(1), "author_pendingExtrinsics", json!(["O"])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::error("a parameter is not a base58-encoded shard"));
    assert_eq!(server.calls().len(), before);
}

#[tokio::test]
async fn only_the_handlers_methods_exist() {
    let identity = TlsIdentity::draw().unwrap();
    let (server, stream) = Server::start(Limits::default(), &identity, vec![Method::RpcMethods, Method::Version]);
    let mut client = Client::connect(stream, &identity).await;
    client.ask(json!(1), "rpc_methods", json!([])).await;
    let names = Vec::<String>::decode_all(&mut client.answer().await.1.value.as_slice()).unwrap();
    assert_eq!(names, ["rpc_methods", "system_version", "game_last"]);
    client.ask(json!(1), "system_name", json!([])).await;
    assert_eq!(client.error_code().await, (json!(1), -32_601));
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn methods_of_the_shards_own_are_passed_on_and_counted_as_others() {
    let (server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "game_last", json!(["0x0102"])).await;
    let own = Call::Own { method: "game_last", params: vec![1, 2] };
    assert_eq!(client.answer().await, (json!(1), RpcReturnValue::error(format!("{own:?}"))));
    client.ask(json!(2), "game_last", json!(["0x0"])).await;
    let malformed = RpcReturnValue::error("the first parameter is not hex-encoded");
    assert_eq!(client.answer().await, (json!(2), malformed));
    client.ask(json!(3), "game_next", json!([])).await;
    assert_eq!(client.error_code().await, (json!(3), -32_601));
    assert_eq!(server.calls(), [own]);
}

#[tokio::test]
async fn a_message_up_to_the_bound_is_read_and_a_larger_one_is_the_last() {
    let limits = Limits { message_bytes: 2_000, ..Limits::default() };
    let (server, mut client) = connected(limits).await;
    let text = json!({"jsonrpc": "2.0", "method": "system_version", "id": 1}).to_string();
    client.send(format!("{text:2000}")).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
    // Far more than fits into the pipe: the answer arrives although the client is still writing.
    client.send(text + &" ".repeat(400_000)).await;
    assert_eq!(client.error_code().await, (Value::Null, -32_007));
    assert_eq!(client.close_code().await, CloseCode::Size);
    drop(client);
    assert!(matches!(server.end().await, Err(Error::MessageTooLarge)));
}

#[tokio::test]
async fn watched_operations_are_bounded() {
    let (mut server, mut client) = connected(Limits { watched: 1, ..Limits::default() }).await;
    let watch = json!({"jsonrpc": "2.0", "method": "author_submitAndWatchExtrinsic", "params": [request()], "id": 1});
    client.send(json!([watch, watch])).await;
    let answers = client.json().await;
    assert_eq!(decoded::<H256>(answers[0]["result"].as_str().unwrap()), HASH);
    let refusal = RpcReturnValue::error("too many operations are watched on this connection");
    assert_eq!(return_value(&answers[1]), refusal);
    client.send(&watch).await;
    assert_eq!(client.answer().await.1, refusal);
    assert_eq!(server.calls().len(), 1, "refused before the operation was taken");

    let updates = server.watched.recv().await.unwrap();
    updates.send(update(Ready, None, true)).await.unwrap();
    client.text().await;
    client.send(&watch).await;
    assert_eq!(decoded::<H256>(client.json().await["result"].as_str().unwrap()), HASH);
}

#[tokio::test]
async fn a_handler_that_forgets_its_watcher_ends_nothing() {
    let (mut server, mut client) = connected(Limits::default()).await;
    client.ask(json!(1), "author_submitAndWatchExtrinsic", json!([request()])).await;
    client.text().await;
    drop(server.watched.recv().await.unwrap());
    client.ask(json!(1), "system_version", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn a_call_without_answer_is_answered() {
    let (_server, mut client) = connected(Limits { answer: Duration::from_millis(20), ..Limits::default() }).await;
    client.ask(json!(1), "system_health", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::error("the enclave did not answer in time"));
    client.ask(json!(1), "system_version", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn a_client_may_leave() {
    let (server, mut client) = connected(Limits::default()).await;
    client.0.close(None).await.unwrap();
    while client.0.next().await.is_some() {}
    assert!(server.end().await.is_ok());
}

#[tokio::test]
async fn a_shutdown_ends_idle_and_busy_connections() {
    for method in ["system_version", "system_health"] {
        let (server, mut client) = connected(Limits::default()).await;
        client.ask(json!(1), "system_version", json!([])).await;
        client.text().await;
        client.ask(json!(1), method, json!([])).await;
        if method == "system_version" {
            client.text().await;
        }
        server.shutdown.cancel();
        assert_eq!(client.close_code().await, CloseCode::Away);
        while client.0.next().await.is_some() {}
        assert!(server.end().await.is_ok());
    }
}

#[tokio::test]
async fn a_shutdown_ends_a_handshake() {
    let identity = TlsIdentity::draw().unwrap();
    let (server, _stream) = Server::start(Limits::default(), &identity, vec![]);
    server.shutdown.cancel();
    assert!(server.end().await.is_ok());
}

#[tokio::test]
async fn handshakes_have_a_deadline() {
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let identity = TlsIdentity::draw().unwrap();
    let (server, _silent) = Server::start(limits, &identity, vec![]);
    assert!(matches!(server.end().await, Err(Error::HandshakeTimeout)));

    // Long enough for a busy machine to finish TLS first.
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let (server, stream) = Server::start(limits, &identity, vec![]);
    let _without_upgrade = tls(stream, &identity).await;
    assert!(matches!(server.end().await, Err(Error::HandshakeTimeout)));
}

#[tokio::test]
async fn what_is_not_tls_or_not_websocket_is_refused() {
    let identity = TlsIdentity::draw().unwrap();
    let (server, mut stream) = Server::start(Limits::default(), &identity, vec![]);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(server.end().await, Err(Error::Tls(_))));

    let (server, stream) = Server::start(Limits::default(), &identity, vec![]);
    let mut stream = tls(stream, &identity).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(server.end().await, Err(Error::WebSocket(_))));
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_one_that_answers_pings_is_not() {
    let limits = Limits { ping: Duration::from_millis(50), idle: Duration::from_millis(200), ..Limits::default() };
    let (server, _silent) = connected(limits).await;
    assert!(matches!(server.end().await, Err(Error::Idle)));

    let limits = Limits { ping: Duration::from_millis(50), idle: Duration::from_secs(20), ..Limits::default() };
    let (_server, mut client) = connected(limits).await;
    for _ in 0..3 {
        // Reading answers it.
        assert!(matches!(client.0.next().await.unwrap().unwrap(), Message::Ping(_)));
    }
    client.ask(json!(1), "system_version", json!([])).await;
    assert_eq!(client.answer().await.1, RpcReturnValue::ok("version"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let limits = Limits { write: Duration::from_millis(100), ..Limits::default() };
    let (server, mut client) = connected(limits).await;
    client.ask(json!(1), "state_getMetadata", json!([])).await;
    assert!(matches!(server.end().await, Err(Error::SlowReader)));
}
