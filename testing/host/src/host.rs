//! An honest host, but for what passes its [`Lie`].

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use cloister_chain_primitives::{AccountId, BlockNumber, ShardId, registry::WorkerUrl};
use cloister_link::{
    Connections, Kept, PROTOCOL, Receiver, Sender, StopReason, ToEnclave, ToHost, message::ClientLimits,
    transport::split,
};
use cloister_simulation::Disk;
use codec::Encode;
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Client, Identity, LayerOne, Lie, PATIENCE, Passing, Process, Sealed, Seen, honest,
    layer_one::{SPEC_VERSION, TRANSACTION_VERSION},
    seen::keep,
    tap::Tap,
};

/// A host and its enclave's process.
pub struct Host {
    pub layer_one: LayerOne,
    process: Process,
    tap: Tap,
    seen: watch::Receiver<Seen>,
    disk: Arc<Mutex<Disk>>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// With what a host starts its enclave.
pub struct Start {
    pub sealed: Option<Vec<u8>>,
    /// What it gives back.
    pub disk: Disk,
    pub shard: Option<ShardId>,
    pub limits: ClientLimits,
    /// What is told from the first message on.
    pub lie: Lie,
}

impl Start {
    /// The first start of the identity of this seed.
    pub fn of(layer_one: &LayerOne, seed: u8) -> Self {
        Self {
            sealed: Some(Sealed::of(seed).seal(layer_one)),
            disk: Disk::default(),
            shard: None,
            limits: ClientLimits::default(),
            lie: honest(),
        }
    }

    /// A later one.
    pub fn with_disk(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }

    pub fn lying(self, lie: impl FnMut(Passing) -> Vec<Passing> + Send + 'static) -> Self {
        Self { lie: Box::new(lie), ..self }
    }
}

impl Host {
    /// Starts an enclave; nothing is awaited.
    pub async fn start(layer_one: &LayerOne, start: Start) -> Self {
        let Start { sealed, disk, shard, limits, lie } = start;
        let (process, enclave) = Process::start(layer_one.program());
        let (near, far) = tokio::io::duplex(PIPE);
        let (sender, receiver) = split::<_, ToEnclave, ToHost>(near);
        let (publish, seen) = watch::channel(Seen { disk: disk.clone(), ..Seen::default() });
        let tap = Tap::open(enclave, split(far), lie, publish);
        let url: WorkerUrl = b"wss://localhost:2000".to_vec().try_into().unwrap();
        let first = ToEnclave::Start {
            protocol: PROTOCOL,
            config: layer_one.config().encode(),
            shard,
            spec_version: SPEC_VERSION,
            transaction_version: TRANSACTION_VERSION,
            sealed_identity: sealed,
            url: Some(url),
            limits,
        };
        sender.send(first).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::new(sender.clone(), MAX_CONNECTIONS);
        let kept = disk.kept().into_iter().map(given_back).collect();
        let disk = Arc::new(Mutex::new(disk));
        let mut tasks = JoinSet::new();
        let (accepting, chain) = (connections.clone(), layer_one.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                // One too many is closed.
                let _ = accepting.open(stream).await;
            }
        });
        let honest =
            Honest { layer_one: chain, sender, connections, disk: disk.clone(), kept, synced: None, passed: None };
        tasks.spawn(honest.run(receiver));
        Self { layer_one: layer_one.clone(), process, tap, seen, disk, address, _tasks: tasks }
    }

    /// Starts the identity of this seed on a layer one of its own and waits until it serves.
    pub async fn serving(seed: u8) -> Self {
        let layer_one = LayerOne::start();
        Self::served(&layer_one, Start::of(&layer_one, seed)).await
    }

    /// Starts an enclave and waits until it serves.
    pub async fn served(layer_one: &LayerOne, start: Start) -> Self {
        let host = Self::start(layer_one, start).await;
        host.until("serving", |seen| seen.serving.then_some(())).await;
        host
    }

    /// What the enclave has said.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    pub fn identity(&self) -> Identity {
        self.seen.borrow().identity.clone().expect("it has not introduced itself")
    }

    /// What the host has kept, which is what it was told to keep.
    pub fn disk(&self) -> Disk {
        self.disk.lock().unwrap().clone()
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// From now on this lie is told.
    pub fn lie(&self, lie: impl FnMut(Passing) -> Vec<Passing> + Send + 'static) {
        self.tap.lie(Box::new(lie));
    }

    /// The same.
    pub fn tell(&self, lie: Lie) {
        self.tap.lie(lie);
    }

    /// From now on nothing is changed.
    pub fn be_honest(&self) {
        self.tap.lie(honest());
    }

    /// Says something to the enclave.
    pub fn say(&self, message: ToEnclave) {
        self.tap.inject(Passing::ToEnclave(message));
    }

    /// Something gets into the link, in whichever direction it goes.
    pub fn inject(&self, passing: Passing) {
        self.tap.inject(passing);
    }

    /// Waits until the enclave has said what `find` looks for.
    ///
    /// # Panics
    /// If it ends before, or says nothing such for long.
    pub async fn until<T>(&self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut seen = self.seen.clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let seen = seen.borrow_and_update();
                if let Some(found) = find(&seen) {
                    return found;
                }
                assert!(!seen.closed, "{what}: the enclave ended: {:?}", seen.stopped);
            }
            if timeout_at(deadline, seen.changed()).await.is_err() {
                panic!("{what}: not in time, {:?}", self.shown());
            }
        }
    }

    /// Waits until the enclave has logged a line with all of these.
    pub async fn logs(&self, parts: &[&str]) {
        // It logs before it next says how it is.
        let found = |_: &Seen| {
            let log = self.process.log();
            log.iter().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
        };
        self.until(&format!("a line with {parts:?}"), found).await;
    }

    /// Waits until so many more reports came: whatever was said to the enclave before was heard.
    pub async fn heard(&self) {
        let reports = self.seen.borrow().reports;
        self.until("a report", |seen| (seen.reports > reports + 1).then_some(())).await;
    }

    /// Waits for the enclave's last word, and for its process.
    pub async fn stopped(&mut self) -> StopReason {
        self.ended().await.expect("it ended without a word")
    }

    /// The same of an enclave that may end without a word.
    pub async fn ended(&mut self) -> Option<StopReason> {
        let mut seen = self.seen.clone();
        let ended = timeout(PATIENCE, seen.wait_for(Seen::ended)).await.expect("it does not end");
        let reason = ended.unwrap().stopped.clone();
        let status = self.process.wait();
        assert_eq!(status.success(), reason == Some(StopReason::Requested), "{status}, {reason:?}");
        reason
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        self.say(ToEnclave::Stop);
        assert_eq!(self.stopped().await, StopReason::Requested);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A client that knows the enclave's TLS key from layer one.
    pub async fn client(&self, who: &str) -> Client {
        timeout(PATIENCE, Client::connect(self, who)).await.expect("no connection in time").unwrap()
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A user shields for `who`, and the shard credits it.
    pub async fn shield(&self, who: &AccountId, amount: u128) {
        let consumed = self.seen.borrow().inbox_consumed;
        self.layer_one.shield(&self.identity().birth, who, amount);
        self.until("shielding", |seen| (seen.inbox_consumed > consumed).then_some(())).await;
    }

    /// Waits until layer one has anchored all blocks, by the enclave's word.
    pub async fn anchored(&self) {
        self.until("anchored", |seen| (seen.block > 0 && seen.anchored == seen.block).then_some(())).await;
    }

    fn shown(&self) -> Seen {
        Seen { disk: Disk::default(), ..self.seen() }
    }
}

/// What an honest host does.
struct Honest {
    layer_one: LayerOne,
    sender: Sender<ToEnclave>,
    connections: Connections<ToEnclave>,
    disk: Arc<Mutex<Disk>>,
    kept: Vec<Kept>,
    synced: Option<BlockNumber>,
    /// From which block finality was passed on last, and up to which.
    passed: Option<(BlockNumber, BlockNumber)>,
}

impl Honest {
    async fn run(mut self, mut receiver: Receiver<DuplexStream, ToHost>) {
        let mut beats = self.layer_one.beats();
        loop {
            let said = tokio::select! {
                message = receiver.recv() => match message {
                    Ok(message) => self.hear(message).await,
                    Err(_) => return,
                },
                beat = beats.changed() => {
                    if beat.is_err() {
                        return;
                    }
                    let now = beats.borrow_and_update().now;
                    match self.say(ToEnclave::Tick { unix_ms: now }).await {
                        Some(()) => self.follow().await,
                        None => None,
                    }
                }
            };
            if said.is_none() {
                return;
            }
        }
    }

    /// `None` if the link is gone.
    async fn say(&self, message: ToEnclave) -> Option<()> {
        self.sender.send(message).await.ok()
    }

    async fn hear(&mut self, message: ToHost) -> Option<()> {
        match message {
            ToHost::Identity { .. } => {
                for kept in std::mem::take(&mut self.kept) {
                    self.say(ToEnclave::Kept(kept)).await?;
                }
                self.say(ToEnclave::KeptAll).await?;
            }
            ToHost::Synced { number, .. } => {
                (self.synced, self.passed) = (Some(number), None);
                self.follow().await?;
            }
            ToHost::ProofQuestion { question, at, keys } => {
                let proof = self.layer_one.prove(&at, &keys).ok_or("no such state".into());
                self.say(ToEnclave::ProofAnswer { question, proof }).await?;
            }
            ToHost::Submit { extrinsic } => self.layer_one.submit(extrinsic),
            ToHost::Register { registration, extrinsic } => self.layer_one.register(registration, extrinsic),
            ToHost::Store { sequence, writes } => {
                writes.into_iter().map(keep).for_each(|keep| self.disk.lock().unwrap().write(keep));
                self.say(ToEnclave::Stored { sequence }).await?;
            }
            // An enclave that breaks the protocol is a lie of this link's; it goes on.
            ToHost::ConnectionData { connection, bytes } => drop(self.connections.data(connection, &bytes)),
            ToHost::ConnectionCredit { connection, bytes } => drop(self.connections.credit(connection, bytes)),
            ToHost::ConnectionClosed { connection } => drop(self.connections.closed(connection)),
            ToHost::Serving { .. }
            | ToHost::Status { .. }
            | ToHost::Registered { .. }
            | ToHost::LayerOneBehind { .. }
            | ToHost::Recovered { .. }
            | ToHost::Stopped { .. } => {}
        }
        Some(())
    }

    /// Passes on what is final and the enclave does not know; again if it took no notice for some blocks.
    async fn follow(&mut self) -> Option<()> {
        let head = self.layer_one.height();
        let Some(synced) = self.synced.filter(|synced| *synced < head) else { return Some(()) };
        if self.passed.is_some_and(|(from, to)| from == synced && head < to + PASSED_AGAIN) {
            return Some(());
        }
        self.passed = Some((synced, head));
        let (headers, justification) = self.layer_one.finality(synced + 1, head.min(synced + MAX_HEADERS));
        self.say(ToEnclave::Finality { headers, justification }).await
    }
}

fn given_back(kept: cloister_sidechain::Kept) -> Kept {
    match kept {
        cloister_sidechain::Kept::Mark(bytes) => Kept::Mark(bytes),
        cloister_sidechain::Kept::Manifest(bytes) => Kept::Manifest(bytes),
        cloister_sidechain::Kept::Piece(bytes) => Kept::Piece(bytes),
        cloister_sidechain::Kept::Block(bytes) => Kept::Block(bytes),
    }
}

const PIPE: usize = 1024 * 1024;
const MAX_CONNECTIONS: usize = 1_024;
const MAX_HEADERS: BlockNumber = 1_024;
/// Blocks.
const PASSED_AGAIN: BlockNumber = 5;
