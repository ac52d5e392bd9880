use cloister_chain_primitives::{
    ShardConfig,
    shard::{EnclaveRecord, RSA_MODULUS_BYTES, ShieldingKeys},
    storage,
};
use cloister_link::transport;
use jsonrpsee::server::ServerHandle;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    dev, relay,
    testing::{FakeNode, PATIENCE, VERSION},
};

fn birth() -> ShardBirth {
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: [1; 32],
            max_instances: Some(1),
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 2,
        escrow_cap: None,
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; RSA_MODULUS_BYTES] },
        genesis_commitment: H256::zero(),
        member: EnclaveRecord {
            measurement: [1; 32],
            account: AccountId::new([7; 32]),
            incarnation_key: [8; 32],
            tls_key_hash: [9; 32],
        },
    }
}

fn shard() -> ShardId {
    ShardId(H256::repeat_byte(3))
}

fn identity(protocol: u16) -> ToHost {
    let (measurement, account) = ([1; 32], AccountId::new([7; 32]));
    ToHost::Identity { protocol, simulated: true, measurement, account, birth: birth(), shard: shard() }
}

type EnclaveEnd = (Sender<ToHost>, Receiver<DuplexStream, ToEnclave>);
type HostEnd = (Sender<ToEnclave>, Receiver<DuplexStream, ToHost>);

fn link() -> (HostEnd, EnclaveEnd) {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    (transport::split(near), transport::split(far))
}

/// A session with an enclave that the test plays.
struct Stage {
    node: FakeNode,
    enclave: Sender<ToHost>,
    host: Receiver<DuplexStream, ToEnclave>,
    shared: Arc<Shared>,
    trusted: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    session: JoinHandle<Result<(), WorkerError>>,
    _handle: ServerHandle,
}

async fn stage() -> Stage {
    let node = FakeNode::new();
    let (address, handle) = node.serve("127.0.0.1:0").await;
    let ((sender, receiver), (enclave, host)) = link();
    let shared = Arc::new(Shared::new());
    shared.blocks.belong_to(shard());
    let connections = Connections::new(sender.clone(), 16);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trusted = listener.local_addr().unwrap();
    let mut services = JoinSet::new();
    let accepting = relay::accept(listener, connections.clone(), shared.clone());
    services.spawn(async {
        accepting.await;
        Ok(())
    });
    let session = Session {
        sender,
        receiver,
        connections,
        layer_one: Arc::new(LayerOne::new(format!("ws://{address}"))),
        version: VERSION,
        slot: Duration::from_millis(20),
        shared: shared.clone(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let session = tokio::spawn(session.run(services, stopped, |_| {}));
    Stage { node, enclave, host, shared, trusted, stop: Some(stop), session, _handle: handle }
}

impl Stage {
    /// The next message but ticks.
    async fn next(&mut self) -> ToEnclave {
        loop {
            match timeout(PATIENCE, self.host.recv()).await.expect("a message comes").unwrap() {
                ToEnclave::Tick { .. } => {}
                message => return message,
            }
        }
    }

    async fn end(self) -> Result<(), WorkerError> {
        timeout(PATIENCE, self.session).await.expect("the session ends").unwrap()
    }
}

#[tokio::test]
async fn an_enclave_introduces_itself() {
    let ((sender, mut receiver), (enclave, mut host)) = link();
    enclave.send(identity(PROTOCOL)).await.unwrap();
    let introduced = introduce(&sender, &mut receiver, vec![1, 2], Some(shard()), VERSION).await.unwrap();
    assert_eq!((introduced.shard, introduced.simulated), (shard(), true));
    let RuntimeVersion { spec_version, transaction_version } = VERSION;
    let config = vec![1, 2];
    let start =
        ToEnclave::Start { protocol: PROTOCOL, config, shard: Some(shard()), spec_version, transaction_version };
    assert_eq!(host.recv().await.unwrap(), start);
}

#[tokio::test]
async fn introductions_that_go_wrong_have_their_own_errors() {
    async fn introduced(first: Option<ToHost>) -> WorkerError {
        let ((sender, mut receiver), (enclave, host)) = link();
        if let Some(first) = first {
            enclave.send(first).await.unwrap();
        }
        enclave.flush().await.unwrap();
        drop((enclave, host));
        introduce(&sender, &mut receiver, vec![], None, VERSION).await.unwrap_err()
    }
    let error = introduced(Some(identity(PROTOCOL + 1))).await;
    assert!(matches!(error, WorkerError::ProtocolVersion(other) if other == PROTOCOL + 1));
    let error = introduced(Some(ToHost::Serving { shard: shard() })).await;
    assert!(matches!(error, WorkerError::UnexpectedMessage(_)));
    let error = introduced(None).await;
    assert!(matches!(error, WorkerError::EnclaveDied(None)), "{error}");
    let reason = StopReason::ShardOfAnotherIncarnation(shard());
    let error = introduced(Some(ToHost::Stopped { reason })).await;
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("does not persist yet") && error.to_string().contains("--dev"), "{error}");
    let error = introduced(Some(ToHost::Stopped { reason: StopReason::BadConfig("x".into()) })).await;
    assert_eq!((error.exit_code(), error.to_string()), (3, "the enclave stopped: bad configuration: x".into()));
}

#[tokio::test]
async fn a_session_feeds_answers_relays_and_stops() {
    let mut stage = stage().await;
    let ToEnclave::Tick { unix_ms } = timeout(PATIENCE, stage.host.recv()).await.unwrap().unwrap() else {
        panic!("a tick comes first")
    };
    assert!(unix_ms > 1_600_000_000_000);

    // Finality, once the enclave has said from where.
    stage.node.grow(3);
    stage.node.finalize(3);
    stage.enclave.send(ToHost::Synced { number: 0, hash: stage.node.hash(0) }).await.unwrap();
    let ToEnclave::Finality { headers, .. } = stage.next().await else { panic!("finality") };
    assert_eq!(headers.len(), 3);

    // Proofs: the fake node answers with the keys.
    let question = ToHost::ProofQuestion { question: 9, at: stage.node.hash(3), keys: vec![vec![1], vec![2, 3]] };
    stage.enclave.send(question).await.unwrap();
    assert_eq!(stage.next().await, ToEnclave::ProofAnswer { question: 9, proof: Ok(vec![vec![1], vec![2, 3]]) });

    // Extrinsics.
    stage.node.state().refuse_extrinsics = true;
    stage.enclave.send(ToHost::Submit { extrinsic: vec![4, 5] }).await.unwrap();
    let reason = "Invalid Transaction: \"payment\"".to_owned();
    let extrinsic_hash = Hashing::hash(&[4, 5]);
    assert_eq!(stage.next().await, ToEnclave::SubmitFailed { extrinsic_hash, reason });

    // A client: bytes in, bytes out.
    let mut client = TcpStream::connect(stage.trusted).await.unwrap();
    client.write_all(b"question").await.unwrap();
    assert_eq!(stage.next().await, ToEnclave::ConnectionOpened { connection: 0 });
    assert_eq!(stage.next().await, ToEnclave::ConnectionData { connection: 0, bytes: b"question".to_vec() });
    stage.enclave.send(ToHost::ConnectionData { connection: 0, bytes: b"answer".to_vec() }).await.unwrap();
    stage.enclave.send(ToHost::ConnectionClosed { connection: 0 }).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"answer");
    drop(client);
    assert_eq!(stage.next().await, ToEnclave::ConnectionClosed { connection: 0 });

    // Blocks, status and health; a proof question behind them shows that they were handled.
    assert!(!stage.shared.is_serving());
    stage.enclave.send(ToHost::Serving { shard: shard() }).await.unwrap();
    let (hash, bytes) = (H256::repeat_byte(1), vec![1]);
    stage.enclave.send(ToHost::Block { number: 1, hash, shard: shard(), bytes }).await.unwrap();
    let status = ToHost::Status {
        pool: 1,
        block: 2,
        accounts: 3,
        state_bytes: 4,
        layer_one: 5,
        inbox_consumed: 6,
        rpc_requests: 7,
        connections: 8,
    };
    stage.enclave.send(status).await.unwrap();
    stage.enclave.send(ToHost::ProofQuestion { question: 10, at: hash, keys: vec![] }).await.unwrap();
    stage.next().await;
    assert!(stage.shared.is_serving());
    assert_eq!(stage.shared.blocks.range(shard(), H256::zero(), None).unwrap(), [[1]]);
    assert_eq!(stage.shared.metrics.accounts.get(), 3);

    stage.stop.take().unwrap().send(()).unwrap();
    assert_eq!(stage.next().await, ToEnclave::Stop);
    stage.enclave.send(ToHost::Stopped { reason: StopReason::Requested }).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_enclave_that_dies_stops_or_breaks_the_protocol_ends_the_session() {
    let stage_died = stage().await;
    let Stage { enclave, host, session, .. } = stage_died;
    drop((enclave, host));
    let error = timeout(PATIENCE, session).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::EnclaveDied(None)), "{error}");

    let stage_stopped = stage().await;
    let reason = StopReason::FinalityRefused("forged".into());
    stage_stopped.enclave.send(ToHost::Stopped { reason: reason.clone() }).await.unwrap();
    let error = stage_stopped.end().await.unwrap_err();
    assert!(matches!(error, WorkerError::EnclaveStopped(other) if other == reason));

    let stage_early = stage().await;
    stage_early.enclave.send(ToHost::Stopped { reason: StopReason::Requested }).await.unwrap();
    assert_eq!(stage_early.end().await.unwrap_err().exit_code(), 3);

    let stage_breach = stage().await;
    stage_breach.enclave.send(ToHost::ConnectionData { connection: 7, bytes: vec![1] }).await.unwrap();
    let error = stage_breach.end().await.unwrap_err();
    assert!(matches!(error, WorkerError::Breach(_)), "{error}");

    let stage_twice = stage().await;
    stage_twice.enclave.send(identity(PROTOCOL)).await.unwrap();
    assert!(matches!(stage_twice.end().await.unwrap_err(), WorkerError::UnexpectedMessage(_)));
}

#[tokio::test]
async fn a_failed_service_ends_the_session() {
    let node = FakeNode::new();
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let ((sender, receiver), _enclave) = link();
    let mut services = JoinSet::new();
    services.spawn(async { Err(WorkerError::Birth { attempts: 1, reason: "refused".into() }) });
    let session = Session {
        connections: Connections::new(sender.clone(), 1),
        sender,
        receiver,
        layer_one: Arc::new(LayerOne::new(format!("ws://{address}"))),
        version: VERSION,
        slot: Duration::from_millis(20),
        shared: Arc::new(Shared::new()),
    };
    let ended = timeout(PATIENCE, session.run(services, std::future::pending(), |_| {})).await.unwrap();
    assert!(matches!(ended, Err(WorkerError::Birth { .. })));
}

#[tokio::test]
async fn a_development_shard_is_configured_and_born() {
    let node = FakeNode::new();
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let layer_one = LayerOne::new(format!("ws://{address}"));
    let choices = dev::Choices { simulation_allowed: true, slot_ms: 300, min_upgrade_delay: 1 };
    let config = dev::configuration(&layer_one, &choices).await.unwrap();
    assert_eq!((config.genesis, config.checkpoint.hash), (node.hash(0), node.hash(0)));
    assert_eq!(config.checkpoint.authorities, [([3; 32], 1)]);

    node.grow(9);
    node.finalize(7);
    node.state().pruned = true;
    let config = dev::configuration(&layer_one, &choices).await.unwrap();
    assert_eq!((config.genesis, config.checkpoint.hash), (node.hash(0), node.hash(7)));
    assert_eq!((config.checkpoint.number, config.checkpoint.set_id), (7, 5));

    node.state().storage.insert(storage::shard(&shard()), vec![1]);
    dev::bear(&layer_one, &birth(), &AccountId::new([7; 32]), &shard()).await.unwrap();
    let submitted = node.state().submitted.clone();
    assert_eq!(submitted.len(), 1);
    let call = dev::birth_call(&birth());
    let encoded = codec::Encode::encode(&call);
    assert!(submitted[0].windows(encoded.len()).any(|window| window == encoded), "carries the shard's birth");
}
