//! A worker whose enclave only knows which shard it serves, and what the shard owes.

use std::sync::{Arc, Mutex};

use cloister_chain_primitives::{Request, ShardId};
use cloister_wire::{Getter, OutboxProof, PublicGetter, RpcReturnValue};
use codec::{Decode, Encode};
use futures::{SinkExt, StreamExt};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer, version::TLS13};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::node::hex0x;

/// A worker; it remembers what it was asked.
pub struct Worker {
    pub url: String,
    pub tls_key_hash: [u8; 32],
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Worker {
    pub fn serving(shard: ShardId) -> Self {
        Self::owing(shard, Vec::new())
    }

    /// One whose enclave says that the shard owes this.
    pub fn owing(shard: ShardId, owed: Vec<OutboxProof>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["worker".to_string()]).unwrap().self_signed(&key).unwrap();
        let tls_key_hash = Sha256::digest(key.public_key_der()).into();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        let log = asked.clone();
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, acceptor.clone(), shard, owed.clone(), log.clone()));
            }
        });
        Self { url, tls_key_hash, asked, _runtime: runtime }
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    shard: ShardId,
    owed: Vec<OutboxProof>,
    log: Arc<Mutex<Vec<String>>>,
) {
    // A client that refuses the key is gone.
    let Ok(tls) = acceptor.accept(tcp).await else { return };
    let mut socket = accept_async(tls).await.unwrap();
    while let Some(Ok(Message::Text(request))) = socket.next().await {
        let request: Value = serde_json::from_str(request.as_str()).unwrap();
        let method = request["method"].as_str().unwrap().to_string();
        let answer = match method.as_str() {
            "author_getShard" => RpcReturnValue::ok(shard),
            "state_executeGetter" => {
                let request = hex::decode(&request["params"][0].as_str().unwrap()[2..]).unwrap();
                let request = Request::decode(&mut request.as_slice()).unwrap();
                let getter = Getter::decode(&mut request.cyphertext.as_slice()).unwrap();
                let Getter::Public(PublicGetter::Outbox(from)) = getter else { panic!("{getter:?}") };
                let page: Vec<_> = owed.iter().filter(|proof| proof.entry.number >= from).cloned().collect();
                RpcReturnValue::ok(Some(page.encode()))
            }
            _ => RpcReturnValue::error("unknown to this fake"),
        };
        log.lock().unwrap().push(method);
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": hex0x(&answer.encode()) });
        socket.send(Message::text(answer.to_string())).await.unwrap();
    }
}
