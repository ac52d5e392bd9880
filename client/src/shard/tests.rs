//! Whom the registry lets serve, which shard an enclave serves, and that nothing is sent to anybody else.
#![allow(clippy::type_complexity, reason = "tables of cases")]

mod anchored;
mod break_off;
mod expiry;
mod hostile;
mod invocation;
mod outbox;
mod shielding;
pub(crate) mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloister_chain_primitives::{BuildMode, MIN_SHIELD, ShardBirth, ShardConfig, shard::ShieldingKeys, storage};
use cloister_claims::TcbStatus;
use cloister_wire::{DirectRequestStatus, RpcReturnValue, envelope::SecretKey};
use codec::Encode;
use futures::{SinkExt, StreamExt};
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer, version::TLS13};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sp_core::{Pair, ed25519};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::*;
use crate::{
    LayerOne, Pin, Scheme, Wait,
    layer_one::{self, to_hex},
    worker,
};

pub(super) const SECRET: [u8; 32] = [9; 32];
const NOW: Moment = 1_000_000;

pub(crate) fn incarnation() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[1; 32])
}

pub(crate) fn shard() -> Shard {
    let config = ShardConfig {
        enclave_fingerprint: [2; 32],
        max_instances: Some(1),
        authorities: None,
        maintenance_mode: false,
    };
    let hpke = SecretKey::from_bytes(SECRET).public().unwrap();
    let birth = ShardBirth {
        config,
        upgrade_delay: 10,
        escrow_cap: None,
        shielding_keys: ShieldingKeys { epoch: 0, hpke, rsa_modulus: [5; 384] },
        genesis_commitment: H256::zero(),
        founder: AccountId::new([3; 32]),
    };
    let genesis = H256::repeat_byte(6);
    let id = birth.shard_id(&genesis);
    Shard { id, entry: ShardEntry::born(birth, 1), enclave: record(), genesis }
}

pub(crate) fn record() -> EnclaveRecord {
    EnclaveRecord {
        fingerprint: [2; 32],
        signer: [7; 32],
        kind: TeeKind::Simulated,
        tcb_status: TcbStatus::UpToDate,
        advisories: Vec::new(),
        platform_id_hash: [8; 32],
        build_mode: BuildMode::Production,
        incarnation_key: incarnation().public().0,
        tls_key_hash: [4; 32],
        url: None,
        bound_block: 5,
        incarnation_since: 0,
        verified_at: NOW - 1_000,
        expires_at: NOW + 1,
        standing: Standing::Active,
    }
}

/// The shard as the registry with this record lets it be used.
fn served(record: Option<EnclaveRecord>, now: Moment) -> Result<Shard, Error> {
    let Shard { id, entry, genesis, .. } = shard();
    Shard::served(id, entry, record, genesis, now)
}

fn changed(change: impl FnOnce(&mut EnclaveRecord)) -> Option<EnclaveRecord> {
    let mut record = record();
    change(&mut record);
    Some(record)
}

#[test]
fn a_registered_enclave_serves_until_its_registration_expires() {
    assert_eq!(served(Some(record()), NOW).unwrap(), shard());
    let error = served(Some(record()), NOW + 1).unwrap_err();
    assert!(matches!(error, Error::Expired { expires_at, now, .. } if expires_at == now), "{error}");
    let error = served(Some(record()), NOW + 5_001).unwrap_err();
    assert!(error.to_string().ends_with("expired 5 s ago"), "{error}");
}

#[test]
fn nobody_else_serves() {
    let error = served(None, NOW).unwrap_err();
    assert!(matches!(&error, Error::NotRegistered { enclave, .. } if *enclave == AccountId::new([3; 32])), "{error}");
    let error = served(changed(|record| record.fingerprint = [9; 32]), NOW).unwrap_err();
    assert!(
        matches!(error, Error::FingerprintMismatch { found, wanted, .. } if (found, wanted) == ([9; 32], [2; 32])),
        "{error}"
    );
    let leaving = changed(|record| record.standing = Standing::Leaving { until: NOW + 60_000 });
    let error = served(leaving, NOW).unwrap_err();
    assert!(matches!(error, Error::Leaving { until, .. } if until == NOW + 60_000), "{error}");
}

#[test]
fn another_start_of_the_same_enclave_is_another_enclave() {
    let shard = shard();
    shard.still_served(Some(record()), NOW).unwrap();
    shard.still_served(changed(|record| (record.bound_block, record.expires_at) = (9, NOW + 9)), NOW).unwrap();
    for newer in [changed(|record| record.incarnation_key = [0; 32]), changed(|record| record.tls_key_hash = [0; 32])] {
        let error = shard.still_served(newer, NOW).unwrap_err();
        assert!(matches!(error, Error::Retired { .. }), "{error}");
    }
    assert!(matches!(shard.still_served(None, NOW), Err(Error::NotRegistered { .. })));
    assert!(matches!(shard.still_served(Some(record()), NOW + 1), Err(Error::Expired { .. })));
}

#[test]
fn what_the_registry_says_is_a_refusal() {
    for record in [None, changed(|record| record.fingerprint = [9; 32]), changed(|record| record.expires_at = 0)] {
        let error = served(record, NOW).unwrap_err();
        assert!(error.is_refusal() && error.is_registry(), "{error}");
    }
    assert!(!Error::NoAnswer.is_registry());
}

/// A node that shows one finalized block with the given storage, and takes no extrinsics.
struct Node {
    layer_one: LayerOne,
    values: Arc<Mutex<BTreeMap<String, String>>>,
    _server: ServerHandle,
}

const HEAD: H256 = H256([1; 32]);

impl Node {
    async fn start(values: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let values: BTreeMap<_, _> = values.into_iter().map(|(key, value)| (to_hex(&key), to_hex(&value))).collect();
        let values = Arc::new(Mutex::new(values));
        let mut module = RpcModule::new(values.clone());
        fn at_head(at: H256) -> Result<(), ErrorObjectOwned> {
            if at == HEAD { Ok(()) } else { Err(ErrorObjectOwned::owned(1, "another block", None::<()>)) }
        }
        module.register_method("chain_getBlockHash", |_, _, _| json!(shard().genesis)).unwrap();
        module.register_method("chain_getFinalizedHead", |_, _, _| json!(HEAD)).unwrap();
        module
            .register_method("chain_getHeader", |_, _, _| {
                let hash = H256::zero();
                let digest = json!({ "logs": [] });
                json!({ "parentHash": hash, "number": "0x9", "stateRoot": hash, "extrinsicsRoot": hash, "digest": digest })
            })
            .unwrap();
        module
            .register_method("state_getStorage", move |parameters, values, _| {
                let (key, at): (String, H256) = parameters.parse()?;
                at_head(at).map(|()| values.lock().unwrap().get(&key).cloned())
            })
            .unwrap();
        module
            .register_method("state_getKeysPaged", move |parameters, values, _| {
                let (prefix, count, start, at): (String, usize, Option<String>, H256) = parameters.parse()?;
                let after = |key: &&String| start.as_ref().is_none_or(|start| *key > start);
                let values = values.lock().unwrap();
                let keys = values.keys().filter(|key| key.starts_with(&prefix)).filter(after);
                at_head(at).map(|()| keys.take(count).cloned().collect::<Vec<_>>())
            })
            .unwrap();
        module
            .register_method("state_queryStorageAt", move |parameters, values, _| {
                let (keys, at): (Vec<String>, H256) = parameters.parse()?;
                let values = values.lock().unwrap();
                let changes: Vec<_> = keys.iter().map(|key| (key, values.get(key))).collect();
                at_head(at).map(|()| json!([{ "block": at, "changes": changes }]))
            })
            .unwrap();
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let _server = server.start(module);
        Self { layer_one: LayerOne::connect(&url).await.unwrap(), values, _server }
    }

    /// One with the shard, its enclave's record and the time.
    async fn with(record: Option<EnclaveRecord>, now: Moment) -> Self {
        let node = Self::start([(storage::timestamp(), now.encode())]).await;
        node.list(&shard(), record);
        node
    }

    fn set(&self, key: &[u8], value: Option<Vec<u8>>) {
        let mut values = self.values.lock().unwrap();
        match value {
            Some(value) => values.insert(to_hex(key), to_hex(&value)),
            None => values.remove(&to_hex(key)),
        };
    }

    /// Lists a shard, and its founder's record or none.
    fn list(&self, Shard { id, entry, .. }: &Shard, record: Option<EnclaveRecord>) {
        self.set(&storage::shard(id), Some(entry.encode()));
        self.set(&storage::enclave(&entry.birth.founder), record.map(|record| record.encode()));
    }
}

/// A worker whose enclave says which shard it serves, knows nothing else unless told, and remembers what it was asked.
struct FakeWorker {
    url: String,
    tls_key_hash: [u8; 32],
    /// `None` while it does not serve.
    shard: Arc<Mutex<Option<ShardId>>>,
    asked: Arc<Mutex<Vec<String>>>,
    hangs_up: Arc<Mutex<Option<HangsUp>>>,
}

/// When a worker closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HangsUp {
    /// Once it was asked this.
    Asked(&'static str),
    /// Once it has answered this.
    Answered(&'static str),
}

impl FakeWorker {
    async fn serving(shard: ShardId) -> Self {
        Self::answering(shard, |_| None).await
    }

    /// One that also answers the requests that `answer` knows: with a result, and what it says later of it.
    async fn answering(
        shard: ShardId,
        answer: impl Fn(&Value) -> Option<(Vec<u8>, Vec<DirectRequestStatus>)> + Send + Sync + 'static,
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["worker".to_string()]).unwrap().self_signed(&key).unwrap();
        let tls_key_hash = Sha256::digest(key.public_key_der()).into();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        let (shard, asked) = (Arc::new(Mutex::new(Some(shard))), Arc::new(Mutex::new(Vec::new())));
        let hangs_up = Arc::new(Mutex::new(None));
        let state = (shard.clone(), asked.clone(), hangs_up.clone());
        let more = Arc::new(answer);
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, (shard, asked, hangs_up), more) = (acceptor.clone(), state.clone(), more.clone());
                tokio::spawn(async move {
                    // A client that refuses the key is gone.
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let mut socket = accept_async(tls).await.unwrap();
                    while let Some(Ok(Message::Text(request))) = socket.next().await {
                        let request: Value = serde_json::from_str(request.as_str()).unwrap();
                        let method = request["method"].as_str().unwrap().to_string();
                        asked.lock().unwrap().push(method.clone());
                        let ends: Option<HangsUp> = *hangs_up.lock().unwrap();
                        if matches!(ends, Some(HangsUp::Asked(last)) if last == method) {
                            return;
                        }
                        let only = |answer: RpcReturnValue| (answer.encode(), Vec::new());
                        let (answer, statuses) = match (request["method"].as_str(), *shard.lock().unwrap()) {
                            (Some("author_getShard"), Some(shard)) => only(RpcReturnValue::ok(shard)),
                            (_, None) => only(RpcReturnValue::error("not serving")),
                            _ => more(&request).unwrap_or_else(|| only(RpcReturnValue::error("unknown to this fake"))),
                        };
                        let result = to_hex(&answer);
                        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
                        let notify = |status: DirectRequestStatus| {
                            let parameters = json!({ "subscription": result, "result": to_hex(&status.encode()) });
                            json!({ "jsonrpc": "2.0", "method": request["method"], "params": parameters })
                        };
                        for message in [answer].into_iter().chain(statuses.into_iter().map(notify)) {
                            socket.send(Message::text(message.to_string())).await.unwrap();
                        }
                        if matches!(ends, Some(HangsUp::Answered(last)) if last == method) {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, tls_key_hash, shard, asked, hangs_up }
    }

    fn hang_up(&self, when: HangsUp) {
        *self.hangs_up.lock().unwrap() = Some(when);
    }

    fn serve(&self, shard: Option<ShardId>) {
        *self.shard.lock().unwrap() = shard;
    }

    /// What it was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The registration of its enclave.
    fn record(&self) -> EnclaveRecord {
        EnclaveRecord { tls_key_hash: self.tls_key_hash, ..record() }
    }
}

/// Another shard, which another enclave bore.
fn shard_of(founder: u8, born_at: u32) -> Shard {
    let Shard { mut entry, enclave, genesis, .. } = shard();
    entry.birth.founder = AccountId::new([founder; 32]);
    entry.birth.genesis_commitment = H256::repeat_byte(born_at as u8);
    entry.born_at = born_at;
    Shard { id: entry.birth.shard_id(&genesis), entry, enclave, genesis }
}

fn named(shard: &Shard) -> Selection {
    Selection { shard: Some(shard.id), mrenclave: None }
}

fn of_code(fingerprint: [u8; 32], simulation: Stance) -> Option<WantedCode> {
    Some(WantedCode { fingerprint, simulation, debug: Stance::Forbidden })
}

fn alice() -> Signer {
    Signer::from_secret(Scheme::Sr25519, "//Alice").unwrap()
}

/// All that is asked of an enclave before it has said that it serves the shard.
const ONLY_ITS_SHARD: [&str; 1] = ["author_getShard"];

#[tokio::test]
async fn a_shard_is_found_together_with_its_enclave() {
    let node = Node::with(Some(record()), NOW).await;
    assert_eq!(Shard::find(&node.layer_one, shard().id).await.unwrap(), shard());
    let unknown = Shard::find(&node.layer_one, ShardId::default()).await;
    assert!(matches!(unknown, Err(Error::UnknownShard(_))));
}

#[tokio::test]
async fn all_enclaves_are_read_page_by_page() {
    let accounts: Vec<_> =
        (0..600u32).map(|number| AccountId::new(sp_crypto_hashing::blake2_256(&number.encode()))).collect();
    let values = accounts.iter().zip(0..).map(|(account, number)| {
        let record = EnclaveRecord { bound_block: number, ..record() };
        (storage::enclave(account), record.encode())
    });
    let node = Node::start(values).await;
    let found: BTreeMap<_, _> = node.layer_one.enclaves().await.unwrap().into_iter().collect();
    assert_eq!(found.len(), 600);
    for (account, number) in accounts.iter().zip(0..) {
        assert_eq!(found[account].bound_block, number);
    }
}

#[tokio::test]
async fn records_come_in_the_order_of_the_accounts_repeated_ones_too() {
    let node = Node::with(Some(record()), NOW).await;
    let (founder, stranger) = (AccountId::new([3; 32]), AccountId::new([4; 32]));
    let found = node.layer_one.enclaves_of(&[&founder, &stranger, &founder], HEAD).await.unwrap();
    assert_eq!(found, [Some(record()), None, Some(record())]);
}

#[tokio::test]
async fn a_worker_that_may_not_serve_is_not_even_called() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", listener.local_addr().unwrap());
    let refused: [(Option<EnclaveRecord>, fn(&Error) -> bool); 4] = [
        (None, |error| matches!(error, Error::NotRegistered { .. })),
        (changed(|record| record.expires_at = NOW), |error| matches!(error, Error::Expired { .. })),
        (changed(|record| record.standing = Standing::Leaving { until: NOW }), |error| {
            matches!(error, Error::Leaving { .. })
        }),
        (changed(|record| record.fingerprint = [0; 32]), |error| matches!(error, Error::FingerprintMismatch { .. })),
    ];
    for (record, expected) in refused {
        let node = Node::with(record, NOW).await;
        for shard in [Some(shard().id), None] {
            let selection = Selection { shard, mrenclave: None };
            let error = ShardClient::connect(&node.layer_one, &url, &selection).await.err().unwrap();
            assert!(expected(&error), "{error}");
        }
    }
    // Had anybody connected, the connection would be waiting here.
    let called = futures::future::poll_immediate(Box::pin(listener.accept())).await;
    assert!(called.is_none());
}

#[tokio::test]
async fn a_stranger_who_states_the_enclaves_tls_key_gets_none_of_its_clients() {
    let worker = FakeWorker::serving(shard().id).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    // Younger and older than the shard, with any key that the stranger likes.
    for born_at in [9, 0] {
        node.list(&shard_of(13 + born_at as u8, born_at), Some(worker.record()));
    }
    let client = ShardClient::connect(&node.layer_one, &worker.url, &Selection::default()).await.unwrap();
    assert_eq!((client.shard().id, client.shard().founder()), (shard().id, shard().founder()));
    assert_eq!(worker.asked(), ONLY_ITS_SHARD);

    // Nor those who were given the stranger's shard by name.
    let error = ShardClient::connect(&node.layer_one, &worker.url, &named(&shard_of(22, 9))).await.err().unwrap();
    assert!(
        matches!(error, Error::OtherShard { served, wanted } if (served, wanted) == (shard().id, shard_of(22, 9).id)),
        "{error}"
    );
    assert!(error.is_refusal());
    assert_eq!(worker.asked(), ONLY_ITS_SHARD);
}

#[tokio::test]
async fn the_enclave_says_which_of_its_founders_shards_it_serves() {
    let (old, new) = (shard(), shard_of(3, 9));
    let worker = FakeWorker::serving(new.id).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    node.list(&new, Some(worker.record()));

    // A new start without the old state.
    let client = ShardClient::connect(&node.layer_one, &worker.url, &Selection::default()).await.unwrap();
    assert_eq!(client.shard().id, new.id);
    assert_eq!(ShardClient::connect(&node.layer_one, &worker.url, &named(&new)).await.unwrap().shard().id, new.id);
    worker.asked();
    let error = ShardClient::connect(&node.layer_one, &worker.url, &named(&old)).await.err().unwrap();
    assert!(matches!(error, Error::OtherShard { served, wanted } if (served, wanted) == (new.id, old.id)), "{error}");
    assert_eq!(worker.asked(), ONLY_ITS_SHARD);

    // A new start that has recovered the old shard, though it registered long after the shard's birth.
    worker.serve(Some(old.id));
    for selection in [Selection::default(), named(&old)] {
        let client = ShardClient::connect(&node.layer_one, &worker.url, &selection).await.unwrap();
        assert_eq!(client.shard().id, old.id);
    }
}

#[tokio::test]
async fn an_enclaves_claim_counts_only_if_the_registry_bears_it_out() {
    let worker = FakeWorker::serving(ShardId::default()).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    let connect = async |selection| {
        let error = ShardClient::connect(&node.layer_one, &worker.url, &selection).await.err().unwrap();
        assert_eq!(worker.asked(), ONLY_ITS_SHARD);
        error
    };
    let error = connect(Selection::default()).await;
    assert!(matches!(error, Error::UnknownShard(id) if id == ShardId::default()), "{error}");

    let other = shard_of(13, 9);
    worker.serve(Some(other.id));
    node.list(&other, Some(record()));
    let error = connect(Selection::default()).await;
    assert!(
        matches!(&error, Error::OtherTlsKey { shard, enclave } if (*shard, enclave) == (other.id, other.founder())),
        "{error}"
    );
    assert!(error.is_refusal());
    node.list(&other, Some(EnclaveRecord { expires_at: NOW, ..worker.record() }));
    assert!(matches!(connect(Selection::default()).await, Error::Expired { .. }));

    let mut of_other_code = shard_of(13, 9);
    of_other_code.entry.birth.config.enclave_fingerprint = [5; 32];
    node.list(&of_other_code, Some(EnclaveRecord { fingerprint: [5; 32], ..worker.record() }));
    let selection = Selection { shard: None, mrenclave: of_code([2; 32], Stance::Allowed) };
    let error = connect(selection).await;
    assert!(
        matches!(error, Error::WrongMeasurement { found, wanted } if (found, wanted) == ([5; 32], [2; 32])),
        "{error}"
    );

    worker.serve(None);
    for selection in [Selection::default(), named(&shard())] {
        let error = connect(selection).await;
        assert!(matches!(&error, Error::Worker(worker::Error::Refused(why)) if why == "not serving"), "{error}");
    }
}

#[tokio::test]
async fn with_a_fingerprint_wanted_a_simulation_of_it_is_not_even_called() {
    let worker = FakeWorker::serving(shard().id).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    let connect = async |shard, mrenclave| {
        ShardClient::connect(&node.layer_one, &worker.url, &Selection { shard, mrenclave }).await
    };
    for shard in [Some(shard().id), None] {
        let error = connect(shard, of_code([2; 32], Stance::Forbidden)).await.err().unwrap();
        assert!(
            matches!(&error, Error::Simulated { enclave } if *enclave == AccountId::new([3; 32])) && error.is_refusal(),
            "{error}"
        );
        let error = connect(shard, of_code([9; 32], Stance::Allowed)).await.err().unwrap();
        match shard {
            Some(_) => assert!(matches!(error, Error::WrongMeasurement { found, .. } if found == [2; 32]), "{error}"),
            None => assert!(matches!(error, Error::NoShard { mrenclave } if mrenclave == Some([9; 32])), "{error}"),
        }
        assert!(worker.asked().is_empty());
        connect(shard, of_code([2; 32], Stance::Allowed)).await.unwrap();
        assert_eq!(worker.asked(), ONLY_ITS_SHARD);
    }
    node.list(&shard(), Some(EnclaveRecord { kind: TeeKind::Sgx, ..worker.record() }));
    connect(None, of_code([2; 32], Stance::Forbidden)).await.unwrap();
}

#[tokio::test]
async fn with_a_fingerprint_wanted_debug_mode_is_not_even_called() {
    let worker = FakeWorker::serving(shard().id).await;
    let debug = EnclaveRecord { kind: TeeKind::Sgx, build_mode: BuildMode::Debug, ..worker.record() };
    let node = Node::with(Some(debug.clone()), NOW).await;
    let connect = async |shard, mrenclave| {
        ShardClient::connect(&node.layer_one, &worker.url, &Selection { shard, mrenclave }).await
    };
    let wanted = |simulation, debug| Some(WantedCode { fingerprint: [2; 32], simulation, debug });
    for shard in [Some(shard().id), None] {
        // Simulation is another matter.
        for simulation in [Stance::Forbidden, Stance::Allowed] {
            let error = connect(shard, wanted(simulation, Stance::Forbidden)).await.err().unwrap();
            let founder = AccountId::new([3; 32]);
            assert!(matches!(&error, Error::Debug { enclave } if *enclave == founder) && error.is_refusal(), "{error}");
        }
        assert!(worker.asked().is_empty());
        connect(shard, wanted(Stance::Forbidden, Stance::Allowed)).await.unwrap();
        connect(shard, None).await.unwrap();
        worker.asked();
    }
    // Debug mode of a simulation hides no less than any simulation.
    node.list(&shard(), Some(EnclaveRecord { kind: TeeKind::Simulated, ..debug }));
    connect(None, wanted(Stance::Allowed, Stance::Forbidden)).await.unwrap();
    let error = connect(None, wanted(Stance::Forbidden, Stance::Allowed)).await.err().unwrap();
    assert!(matches!(error, Error::Simulated { .. }), "{error}");
}

/// What a client may want of an enclave.
async fn use_all(client: &ShardClient) -> Vec<Result<(), Error>> {
    let (alice, bob) = (alice(), AccountId::new([1; 32]));
    let call = TrustedCall::BalanceTransfer(alice.account(), bob.clone(), 1);
    vec![
        client.free_balance(&alice).await.map(|_| ()),
        client.transfer(&alice, &bob, 1).await.map(|_| ()),
        client.submit_with_nonce(&alice, call, 0).await.map(|_| ()),
        client.shield(&alice, &bob, MIN_SHIELD, Wait::Finalized).await.map(|_| ()),
        client.inbox_status().await.map(|_| ()),
        client.block_number().await.map(|_| ()),
    ]
}

#[tokio::test]
async fn over_an_open_connection_nothing_more_is_sent_to_an_enclave_that_may_no_longer_serve() {
    let worker = FakeWorker::serving(shard().id).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    let client = ShardClient::connect(&node.layer_one, &worker.url, &Selection::default()).await.unwrap();
    let client = client.with_recheck_interval(Duration::ZERO);
    worker.asked();

    let ended: [(Option<EnclaveRecord>, fn(&Error) -> bool); 5] = [
        (Some(EnclaveRecord { incarnation_key: [0; 32], ..worker.record() }), |error| {
            matches!(error, Error::Retired { .. })
        }),
        (Some(EnclaveRecord { tls_key_hash: [0; 32], ..worker.record() }), |error| {
            matches!(error, Error::Retired { .. })
        }),
        (None, |error| matches!(error, Error::NotRegistered { .. })),
        (Some(EnclaveRecord { expires_at: NOW, ..worker.record() }), |error| {
            matches!(error, Error::Expired { expires_at: NOW, now: NOW, .. })
        }),
        (
            Some(EnclaveRecord { standing: Standing::Leaving { until: NOW + 1 }, ..worker.record() }),
            |error| matches!(error, Error::Leaving { until, .. } if *until == NOW + 1),
        ),
    ];
    for (record, expected) in ended {
        node.list(&shard(), record);
        for result in use_all(&client).await {
            let error = result.unwrap_err();
            assert!(expected(&error) && error.is_registry(), "{error}");
        }
        assert!(worker.asked().is_empty());
    }

    // A renewal changes nothing.
    node.list(&shard(), Some(EnclaveRecord { bound_block: 8, expires_at: NOW + 9, ..worker.record() }));
    for result in use_all(&client).await {
        assert!(result.err().is_none_or(|error| !error.is_registry()));
    }
    assert!(worker.asked().contains(&"state_executeGetter".into()));
}

#[tokio::test]
async fn the_registrys_word_holds_for_a_while_but_not_for_money() {
    let worker = FakeWorker::serving(shard().id).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    let client = ShardClient::connect(&node.layer_one, &worker.url, &Selection::default()).await.unwrap();
    let client = client.with_recheck_interval(Duration::from_secs(3_600));
    worker.asked();
    node.list(&shard(), None);
    let call = TrustedCall::Noop(alice().account());
    let submitted = client.submit_with_nonce(&alice(), call, 0).await.err().unwrap();
    assert!(matches!(submitted, Error::Worker(worker::Error::Refused(_))), "{submitted}");
    assert_eq!(worker.asked(), ["chain_getHeader", "author_submitAndWatchExtrinsic"]);
    let queried = client.free_balance(&alice()).await.unwrap_err();
    assert!(matches!(queried, Error::NotRegistered { .. }), "{queried}");
    let shielded = client.shield(&alice(), &alice().account(), MIN_SHIELD, Wait::Finalized).await.unwrap_err();
    assert!(matches!(shielded, Error::NotRegistered { .. }), "{shielded}");
    assert!(worker.asked().is_empty());
}

#[tokio::test]
async fn money_goes_only_to_the_shard_that_the_enclave_serves_at_that_moment() {
    let worker = FakeWorker::serving(shard().id).await;
    let node = Node::with(Some(worker.record()), NOW).await;
    let client = ShardClient::connect(&node.layer_one, &worker.url, &Selection::default()).await.unwrap();
    let shield = async || client.shield(&alice(), &alice().account(), MIN_SHIELD, Wait::Finalized).await.unwrap_err();
    // This node takes no extrinsics: that it was asked to is its error.
    let submitted = shield().await;
    let first_step = "system_accountNextIndex";
    assert!(
        matches!(submitted, Error::LayerOne(layer_one::Error::Rpc { method, .. }) if method == first_step),
        "{submitted}"
    );

    worker.serve(Some(shard_of(3, 9).id));
    let error = shield().await;
    assert!(matches!(error, Error::OtherShard { wanted, .. } if wanted == shard().id), "{error}");
    worker.serve(None);
    let error = shield().await;
    assert!(matches!(&error, Error::Worker(worker::Error::Refused(why)) if why == "not serving"), "{error}");
}
