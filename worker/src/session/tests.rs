mod keeping;
mod lies;

use cloister_link::transport;
use jsonrpsee::server::ServerHandle;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    admission::Bounds,
    funds::Sponsor,
    listener::{BoundedListener, Port},
    registration::Obstacle,
    relay,
    testing::{FakeNode, PATIENCE, VERSION, account, identity, purse, registration, shard, status},
};

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
    progress: mpsc::UnboundedReceiver<Progress>,
    newest: watch::Receiver<Newest>,
    trusted: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    session: JoinHandle<Result<(), WorkerError>>,
    _handle: ServerHandle,
}

async fn stage() -> Stage {
    stage_with(None).await
}

async fn stage_with(place: Option<Place>) -> Stage {
    stage_of(place, PATIENCE).await
}

async fn stage_of(place: Option<Place>, silence: Duration) -> Stage {
    let node = FakeNode::new();
    let (address, handle) = node.serve("127.0.0.1:0").await;
    let ((sender, receiver), (enclave, host)) = link();
    let shared = Arc::new(Shared::new());
    let connections = Connections::new(sender.clone(), 16);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trusted = listener.local_addr().unwrap();
    let mut services = JoinSet::new();
    let bounds = Bounds { connections: 16, per_peer: 16, per_second_per_peer: 1_000 };
    let listener = BoundedListener::new(listener, Port::Trusted, bounds, shared.clone());
    let accepting = relay::accept(listener, connections.clone());
    services.spawn(async {
        accepting.await;
        Ok(())
    });
    let (tell, progress) = mpsc::unbounded_channel();
    let (registrations, newest) = watch::channel(None);
    let operator = Operator::listening(move |progress| tell.send(progress.clone()).unwrap_or_default());
    let session = Session {
        sender,
        receiver,
        connections,
        layer_one: Arc::new(LayerOne::new(format!("ws://{address}"))),
        version: VERSION,
        slot: Duration::from_millis(20),
        shared: shared.clone(),
        submitter: submitter(address, &operator, &shared),
        operator,
        registrations,
        silence,
        place,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let session = tokio::spawn(session.run(services, stopped));
    Stage { node, enclave, host, shared, progress, newest, trusted, stop: Some(stop), session, _handle: handle }
}

fn submitter(node: std::net::SocketAddr, operator: &Operator, shared: &Arc<Shared>) -> Arc<Submitter> {
    Arc::new(Submitter::new(purse(node), Sponsor::Operator, operator.clone(), shared.clone()))
}

impl Stage {
    /// The next message but ticks and the end of what is kept.
    async fn next(&mut self) -> ToEnclave {
        loop {
            match self.next_but_ticks().await {
                ToEnclave::KeptAll => {}
                message => return message,
            }
        }
    }

    async fn next_but_ticks(&mut self) -> ToEnclave {
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
async fn an_enclave_that_says_nothing_is_given_up() {
    let stage = stage_of(None, Duration::from_millis(200)).await;
    let error = stage.end().await.unwrap_err();
    assert!(matches!(error, WorkerError::EnclaveHangs { seconds: 0 }), "{error}");
}

#[tokio::test]
async fn an_enclave_introduces_itself() {
    let ((sender, mut receiver), (enclave, mut host)) = link();
    enclave.send(identity(PROTOCOL)).await.unwrap();
    let introduction = Introduction {
        config: vec![1, 2],
        shard: Some(shard()),
        version: VERSION,
        sealed_identity: Some(vec![3]),
        url: None,
        limits: ClientLimits { connections: 9, ..ClientLimits::default() },
    };
    let introduced = introduce(&sender, &mut receiver, introduction).await.unwrap();
    assert_eq!((introduced.shard, introduced.kind), (shard(), TeeKind::Simulated));
    assert_eq!(introduced.sealed_identity.unwrap(), b"sealed");
    let RuntimeVersion { spec_version, transaction_version } = VERSION;
    let start = ToEnclave::Start {
        protocol: PROTOCOL,
        config: vec![1, 2],
        shard: Some(shard()),
        spec_version,
        transaction_version,
        sealed_identity: Some(vec![3]),
        url: None,
        limits: ClientLimits { connections: 9, ..ClientLimits::default() },
    };
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
        let introduction = Introduction {
            config: vec![],
            shard: None,
            version: VERSION,
            sealed_identity: None,
            url: None,
            limits: ClientLimits::default(),
        };
        introduce(&sender, &mut receiver, introduction).await.unwrap_err()
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
    assert!(error.to_string().contains("--data-dir") && error.to_string().contains("--shard"), "{error}");
    let error = introduced(Some(ToHost::Stopped { reason: StopReason::BadConfig("x".into()) })).await;
    assert_eq!((error.exit_code(), error.to_string()), (3, "the enclave stopped: bad configuration: x".into()));
    let error = introduced(Some(ToHost::Stopped { reason: StopReason::Tee("no device".into()) })).await;
    assert_eq!(error.exit_code(), 7);
    assert!(error.to_string().contains("no device") && error.to_string().contains("--enclave-binary"), "{error}");
}

#[tokio::test]
async fn a_lost_registration_has_its_own_exit_code() {
    for (reason, hint) in [
        (StopReason::Retired, "copies of one data directory"),
        (StopReason::Evicted, "Start the worker again"),
        (StopReason::Expired, "Start the worker again"),
    ] {
        let stage = stage().await;
        stage.enclave.send(ToHost::Stopped { reason: reason.clone() }).await.unwrap();
        let error = stage.end().await.unwrap_err();
        assert_eq!(error.exit_code(), 6, "{reason}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn registrations_are_passed_on_until_one_is_final() {
    let mut stage = stage().await;
    for block in [5, 6] {
        let register = ToHost::Register { registration: registration(block), extrinsic: vec![block as u8] };
        stage.enclave.send(register).await.unwrap();
        let wanted = |newest: &Newest| newest.as_ref().is_some_and(|pending| pending.extrinsic == [block as u8]);
        let pending = timeout(PATIENCE, stage.newest.wait_for(wanted)).await.unwrap().unwrap().clone().unwrap();
        assert_eq!(pending.registration, registration(block));
    }
    let expires_at = 1_700_000_000_999;
    stage.enclave.send(ToHost::Registered { expires_at }).await.unwrap();
    let progress = timeout(PATIENCE, stage.progress.recv()).await.unwrap().unwrap();
    assert_eq!(progress, Progress::Registered { expires_at });
    assert_eq!(*stage.newest.borrow(), None);
    assert_eq!(stage.shared.metrics.registrations_total.get(), 1);
    assert_eq!(stage.shared.metrics.registration_expires_at.get(), 1_700_000_000);
    assert!(!stage.shared.is_serving(), "registered is not serving");

    stage.enclave.send(ToHost::Serving { shard: shard() }).await.unwrap();
    let progress = timeout(PATIENCE, stage.progress.recv()).await.unwrap().unwrap();
    assert_eq!(progress, Progress::Serving { shard: shard() });
    assert!(stage.shared.is_serving());
}

#[tokio::test]
async fn the_operator_is_told_that_the_clock_keeps_a_registration_waiting() {
    let log = Log::default();
    let _listening = log.listen();
    let mut stage = stage().await;
    let behind = |clock| ToHost::LayerOneBehind { layer_one: 1_000, clock };
    stage.enclave.send(behind(62_000)).await.unwrap();
    stage.enclave.send(behind(122_000)).await.unwrap();
    stage.enclave.send(ToHost::Registered { expires_at: 9 }).await.unwrap();
    stage.enclave.send(behind(182_000)).await.unwrap();
    for expected in [
        Progress::LayerOneBehind { layer_one: 1_000, clock: 62_000 },
        Progress::Registered { expires_at: 9 },
        Progress::LayerOneBehind { layer_one: 1_000, clock: 182_000 },
    ] {
        assert_eq!(timeout(PATIENCE, stage.progress.recv()).await.unwrap().unwrap(), expected);
    }
    let repeated = Progress::LayerOneBehind { layer_one: 1_000, clock: 122_000 };
    assert!(log.text().contains(&format!("WARN cloister_worker::session: still {repeated}")), "{}", log.text());
}

#[tokio::test]
async fn that_the_node_has_no_proofs_is_logged_with_its_reason_and_sparingly() {
    let log = Log::default();
    let _listening = log.listen();
    let mut stage = stage().await;
    stage.node.state().refuse_proofs = true;
    let reason = "layer one refused state_getReadProof: State already discarded (4003)";
    for question in 1..=3 {
        let at = stage.node.hash(0);
        stage.enclave.send(ToHost::ProofQuestion { question, at, keys: vec![vec![1]] }).await.unwrap();
        assert_eq!(stage.next().await, ToEnclave::ProofAnswer { question, proof: Err(reason.into()) });
    }
    let counted = async {
        while stage.shared.metrics.proofs_missing_total.get() < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
    assert_eq!(log.text().matches(reason).count(), 1, "{}", log.text());
}

#[tokio::test]
async fn an_extrinsic_that_the_account_cannot_pay_is_told_with_the_missing_amount() {
    let mut stage = stage().await;
    stage.node.state().refuse_extrinsics = Some("payment");
    stage.enclave.send(ToHost::Submit { extrinsic: vec![4, 5] }).await.unwrap();
    let progress = timeout(PATIENCE, stage.progress.recv()).await.unwrap().unwrap();
    let Progress::Waiting { account: told, obstacle: Obstacle::Funds { free: 0, needed } } = progress else {
        panic!("{progress:?}")
    };
    assert_eq!(told, account());
    assert!(needed > 0);
}

/// What is logged by this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
        tracing::subscriber::set_default(logger)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_session_feeds_answers_relays_and_stops() {
    let mut stage = stage().await;
    let unix_ms = loop {
        if let ToEnclave::Tick { unix_ms } = timeout(PATIENCE, stage.host.recv()).await.unwrap().unwrap() {
            break unix_ms;
        }
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
    stage.node.state().refuse_extrinsics = Some("payment");
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

    // Status and health; a proof question behind them shows that they were handled.
    assert!(!stage.shared.is_serving());
    stage.enclave.send(ToHost::Serving { shard: shard() }).await.unwrap();
    stage.enclave.send(status()).await.unwrap();
    stage.enclave.send(ToHost::ProofQuestion { question: 10, at: stage.node.hash(3), keys: vec![] }).await.unwrap();
    stage.next().await;
    assert!(stage.shared.is_serving());
    let metrics = &stage.shared.metrics;
    assert_eq!((metrics.accounts.get(), metrics.layer_one_read.get(), metrics.layer_one_time.get()), (3, 6, 7));
    assert_eq!((metrics.anchored_block.get(), metrics.unanchored_blocks.get(), metrics.paused.get()), (11, 9, 1));

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
    services.spawn(async { Err(WorkerError::Service(std::io::ErrorKind::AddrInUse.into())) });
    let (operator, shared) = (Operator::listening(|_| {}), Arc::new(Shared::new()));
    let session = Session {
        connections: Connections::new(sender.clone(), 1),
        sender,
        receiver,
        layer_one: Arc::new(LayerOne::new(format!("ws://{address}"))),
        version: VERSION,
        slot: Duration::from_millis(20),
        submitter: submitter(address, &operator, &shared),
        shared,
        operator,
        registrations: watch::channel(None).0,
        silence: PATIENCE,
        place: None,
    };
    let ended = timeout(PATIENCE, session.run(services, std::future::pending())).await.unwrap();
    assert!(matches!(ended, Err(WorkerError::Service(_))));
}
