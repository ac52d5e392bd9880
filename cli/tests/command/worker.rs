//! A worker whose enclave knows which shard it serves, what the shard owes, and little else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use cloister_chain_primitives::{AccountId, H256, Request, ShardId, UNIT};
use cloister_wire::{
    BoundGetterSigned, DirectRequestStatus, Getter, InboxStatus, OutboxProof, Outcome, PublicGetter, RpcReturnValue,
    SignedAnswer, TrustedCall, TrustedGetter, TrustedOperation,
    envelope::{Context, Purpose, SecretKey, open},
    sidechain::SidechainHeader,
};
use codec::{Decode, Encode};
use futures::{SinkExt, StreamExt};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer, version::TLS13};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sp_core::{Pair, ed25519};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::node::{FINGERPRINT, HEAD_NUMBER, NOW, block_hash, hex0x};

/// An operation that was executed and opened an entry of the outbox.
pub const EXECUTED: H256 = H256::repeat_byte(0x11);
/// One that failed.
pub const FAILED: H256 = H256::repeat_byte(0x22);
/// Height of the shard's newest block.
pub const HEIGHT: u64 = 7;
/// The open unshielding of everybody.
pub const OPEN: u64 = 4;

/// What it signs with, if the registry knows it under this key.
pub fn incarnation_key() -> [u8; 32] {
    incarnation().public().0
}

fn incarnation() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[6; 32])
}

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
        let executed = Executed::default();
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, acceptor.clone(), shard, owed.clone(), log.clone(), executed.clone()));
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
    executed: Executed,
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
                RpcReturnValue::ok(Some(match getter {
                    Getter::Public(PublicGetter::Outbox(from)) => {
                        let page = owed.iter().filter(|proof| proof.entry.number >= from).cloned();
                        page.collect::<Vec<_>>().encode()
                    }
                    Getter::Public(PublicGetter::Inbox) => {
                        InboxStatus { consumed: 6, invokes: 1, shields_credited: 3, shields_returned: 2 }.encode()
                    }
                    Getter::Bound(query) => signed_answer(&shard, &query, &executed).encode(),
                    getter => panic!("{getter:?}"),
                }))
            }
            "author_submitBatch" => {
                let requests = hex::decode(&request["params"][0].as_str().unwrap()[2..]).unwrap();
                let requests = Vec::<Request>::decode(&mut requests.as_slice()).unwrap();
                let answers: Vec<_> = requests.iter().map(|request| take(request, &executed)).collect();
                if answers.contains(&Err(HANGS_UP.to_string())) {
                    return;
                }
                RpcReturnValue::ok(answers)
            }
            "author_getShardVault" => RpcReturnValue::error("no vault: use enclaveBridge.shieldFunds"),
            "author_getFingerprint" => RpcReturnValue::ok(FINGERPRINT),
            "author_pendingExtrinsics" => {
                assert_eq!(request["params"], json!([bs58::encode(shard).into_string()]));
                RpcReturnValue::ok(vec![H256::repeat_byte(8)])
            }
            "chain_getHeader" => RpcReturnValue::ok(SidechainHeader {
                parent_hash: H256::repeat_byte(1),
                block_number: HEIGHT,
                shard_id: shard,
                block_data_hash: H256::repeat_byte(2),
                next_finalization_block_number: 0,
            }),
            "state_getMetadata" => {
                RpcReturnValue { value: b"meta\x0e".to_vec(), do_watch: false, status: DirectRequestStatus::Ok }
            }
            "rpc_methods" => RpcReturnValue::ok(["rpc_methods", "author_getShard"].map(String::from).to_vec()),
            "system_name" => RpcReturnValue::ok("cloister-enclave"),
            "system_version" => RpcReturnValue::ok("0.1.0\x1b[2J"),
            "system_health" => RpcReturnValue::ok("serving"),
            _ => RpcReturnValue::error("unknown to this fake"),
        };
        log.lock().unwrap().push(method);
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": hex0x(&answer.encode()) });
        socket.send(Message::text(answer.to_string())).await.unwrap();
    }
}

/// What became of the operations that it took.
type Executed = Arc<Mutex<BTreeMap<H256, Result<(), String>>>>;

/// Planck that it does not take.
pub const UNWANTED: u128 = 13;
/// Planck whose transfer fails.
pub const TOO_MUCH: u128 = 14;
/// Planck whose transfer it takes and then forgets.
pub const FORGOTTEN: u128 = 15;

/// Planck whose transfer it executes, and hangs up before it answers.
pub const HANGS_UP: u128 = 16;

/// Takes a transfer for execution: its hash, or why not.
fn take(request: &Request, executed: &Executed) -> Result<H256, String> {
    let context = Context { genesis: block_hash(0), shard: request.shard, purpose: Purpose::Request };
    let opened = open(&context, &SecretKey::from_bytes([9; 32]), &request.cyphertext).unwrap();
    let operation = TrustedOperation::decode(&mut opened.as_slice()).unwrap();
    let TrustedOperation::BoundCall(signed) = &operation else { panic!("{operation:?}") };
    let TrustedCall::BalanceTransfer(_, _, amount) = signed.bound.call else { panic!("{signed:?}") };
    let hash = operation.hash();
    match amount {
        UNWANTED => return Err("unwanted\x1b".into()),
        FORGOTTEN => {}
        HANGS_UP => {
            executed.lock().unwrap().insert(hash, Ok(()));
            return Err(HANGS_UP.to_string());
        }
        TOO_MUCH => {
            executed.lock().unwrap().insert(hash, Err("too much".into()));
        }
        _ => {
            executed.lock().unwrap().insert(hash, Ok(()));
        }
    }
    Ok(hash)
}

/// As of the node's finalized head.
fn signed_answer(shard: &ShardId, query: &BoundGetterSigned, executed: &Executed) -> SignedAnswer {
    let outcome = |result, outbox| Outcome { block_number: 5, result, outbox };
    let value = match &query.query.getter {
        TrustedGetter::CallOutcome(_, operation) if *operation == EXECUTED => {
            Some(outcome(Ok(()), Some((OPEN, H256::repeat_byte(3)))).encode())
        }
        TrustedGetter::CallOutcome(_, operation) if *operation == FAILED => {
            Some(outcome(Err("too poor\x1b".into()), None).encode())
        }
        TrustedGetter::CallOutcome(_, operation) => {
            executed.lock().unwrap().get(operation).map(|result| outcome(result.clone(), None).encode())
        }
        TrustedGetter::Unshielding(_, OPEN) => Some((AccountId::new([7; 32]), 5 * UNIT).encode()),
        TrustedGetter::FreeBalance(_) | TrustedGetter::ReservedBalance(_) => Some(UNIT.encode()),
        _ => None,
    };
    let mut answer = SignedAnswer {
        value,
        request_hash: query.hash(),
        commitment: H256::zero(),
        block_number: HEIGHT,
        layer_one_number: HEAD_NUMBER,
        layer_one_head: block_hash(HEAD_NUMBER),
        layer_one_time: NOW,
        signature: [0; 64],
    };
    answer.signature = incarnation().sign(&answer.signed_bytes(&block_hash(0), shard)).0;
    answer
}
