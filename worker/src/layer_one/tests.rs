//! A node that lies, or says nothing, costs whoever asks it an error: no panic, no wait without end, no memory.

use std::net::SocketAddr;

use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};

use super::{
    meddler::{Meddling, meddle},
    *,
};
use crate::testing::{FakeNode, VERSION};

/// An honest node behind a proxy that meddles with the first connections.
async fn meddled(meddling: Vec<Meddling>) -> (LayerOne, ServerHandle) {
    let (node, handle) = FakeNode::new().serve("127.0.0.1:0").await;
    (impatient(meddle(node, meddling).await), handle)
}

fn impatient(node: SocketAddr) -> LayerOne {
    LayerOne { patience: Duration::from_millis(500), ..LayerOne::new(format!("ws://{node}")) }
}

#[tokio::test]
async fn a_node_that_is_silent_at_the_handshake_holds_nobody_up() {
    let (layer_one, _handle) = meddled(vec![Meddling::Silence, Meddling::Silence]).await;
    for _ in 0..2 {
        let error = layer_one.runtime_version().await.unwrap_err();
        let LayerOneError::Unreachable { reason, .. } = &error else { panic!("{error}") };
        assert_eq!(reason, "no connection within 500ms");
    }
    assert_eq!(layer_one.runtime_version().await, Ok(VERSION));
}

#[tokio::test]
async fn a_connection_that_is_silent_is_not_used_again() {
    let (layer_one, _handle) = meddled(vec![Meddling::Deafness]).await;
    let method = "state_getRuntimeVersion".to_owned();
    assert_eq!(layer_one.runtime_version().await, Err(LayerOneError::Timeout { method }));
    assert_eq!(layer_one.runtime_version().await, Ok(VERSION));
    assert_eq!(layer_one.connects(), 2);

    // One that is silent about its chain is none at all.
    let (layer_one, _handle) = meddled(vec![Meddling::Deafness]).await;
    layer_one.genesis.set(FakeNode::new().hash(0)).unwrap();
    let method = "chain_getBlockHash".to_owned();
    assert_eq!(layer_one.runtime_version().await, Err(LayerOneError::Timeout { method }));
    assert_eq!(layer_one.connects(), 0);
    assert_eq!(layer_one.runtime_version().await, Ok(VERSION));
}

#[tokio::test]
async fn an_answer_that_cannot_be_ends_its_connection_and_nothing_else() {
    let many = |element: &str, count| format!("{{\"result\":[{}1]}}", element.repeat(count));
    for (says, reason) in [
        // The client would add one to the largest number.
        (r#"[{"jsonrpc":"2.0","id":18446744073709551615,"result":1}]"#.to_owned(), "names a request that cannot be"),
        (r#" [{"jsonrpc":"2.0","id":"\u003018446744073709551615","result":1}]"#.to_owned(), "request that cannot be"),
        (r#"[{"jsonrpc":"2.0","id":1,"id":18446744073709551615,"result":1}]"#.to_owned(), "request that cannot be"),
        // A tree of these would take a hundred times their bytes.
        (many("{},", 70_000), "more than 4194304 values or 65536 lists and objects"),
        (many("1,", 4_200_000), "more than 4194304 values or 65536 lists and objects"),
        ("[]".to_owned(), "connection"),
        ("{}".to_owned(), "Unparseable message"),
        (r#"{"jsonrpc":"2.0","id":7777,"result":1}"#.to_owned(), "7777"),
    ] {
        let (layer_one, _handle) = meddled(vec![Meddling::Says(says.clone())]).await;
        let error = layer_one.runtime_version().await.unwrap_err();
        let says = &says[..says.len().min(80)];
        assert!(matches!(&error, LayerOneError::Lost(_)), "{says}: {error:?}");
        assert!(error.to_string().contains(reason), "{says}: {error}");
        assert_eq!(layer_one.runtime_version().await, Ok(VERSION), "{says}");
    }
}

#[tokio::test]
async fn what_a_node_says_is_fit_for_logs_and_short() {
    let words = format!("\x1b]0;x\x07\u{9b}31m\u{202e}{}", "long ".repeat(100_000));
    let mut module = RpcModule::new(words.clone());
    for method in ["author_submitExtrinsic", "state_getRuntimeVersion"] {
        let refused = |_: jsonrpsee::types::Params<'_>, words: &String, _: &jsonrpsee::Extensions| {
            Err::<(), _>(ErrorObjectOwned::owned(1010, words.clone(), Some(words.clone())))
        };
        module.register_method(method, refused).unwrap();
    }
    module.register_method("system_accountNextIndex", |_, words, _| json!(words)).unwrap();
    let server = Server::builder().build("127.0.0.1:0").await.unwrap();
    let layer_one = impatient(server.local_addr().unwrap());
    let _handle = server.start(module);

    let refused = layer_one.submit(&[1]).await.unwrap_err();
    assert!(matches!(&refused, LayerOneError::Refused { code: 1010, .. }), "{refused:?}");
    let unexpected = layer_one.next_nonce(&AccountId::new([1; 32])).await.unwrap_err();
    assert!(matches!(&unexpected, LayerOneError::Unexpected { .. }), "{unexpected:?}");
    for error in [refused, unexpected] {
        let text = error.to_string();
        assert!(text.contains("\\u{1b}]0;x\\u{7}\\u{9b}31m\\u{202e}"), "{text}");
        assert!(!text.contains(|shown: char| shown.is_control() || shown == '\u{202e}'), "{text}");
        assert!(text.chars().count() < 700, "{text}");
    }
}

#[tokio::test]
async fn headers_have_the_heights_that_were_asked_for() {
    let node = FakeNode::new();
    node.grow(5);
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let layer_one = impatient(address);
    assert_eq!(layer_one.headers(1, 5).await.unwrap().len(), 5);
    node.state().headers[3].number = u32::MAX;
    let (method, reason) = ("chain_getHeader".into(), "a header of another height".into());
    assert_eq!(layer_one.headers(1, 5).await, Err(LayerOneError::Unexpected { method, reason }));
}
