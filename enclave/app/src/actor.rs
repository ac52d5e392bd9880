//! The one task that owns the engine. Everything else talks to it by channels.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cloister_chain_primitives::{H256, InboxEntry, ShardId};
use cloister_claims::TeeKind;
use cloister_link::{
    Kept, Write,
    connections::Connections,
    message::{PROTOCOL, StopReason, ToEnclave, ToHost},
    transport::{Receiver, Sender},
};
use cloister_pool::Admitted;
use cloister_rpc::StatusUpdate;
use cloister_sidechain::{
    Action, CallRefused, Engine, Figures, Keep, Opened, Opener, QueryRefused, Stop, VerifiedGetter,
};
use cloister_stf::VerifiedCall;
use cloister_tee::Tee;
use cloister_wire::{TrustedOperationStatus, sidechain::SidechainHeader};
use tokio::{
    net::UnixStream,
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::{self, Clients},
    reception::{Reception, receive},
    setup::Enclave,
};

/// What clients' tasks ask of the engine.
pub enum Command {
    /// Take a call; later statuses go to the watcher.
    Submit {
        call: Box<VerifiedCall>,
        watcher: Option<mpsc::Sender<StatusUpdate>>,
        reply: oneshot::Sender<Result<Admitted, CallRefused>>,
    },
    /// Take calls; what became of each, in their order.
    SubmitBatch { calls: Vec<VerifiedCall>, reply: oneshot::Sender<Vec<Result<Admitted, CallRefused>>> },
    /// Answer a query.
    Query { shard: ShardId, getter: Box<VerifiedGetter>, reply: oneshot::Sender<Result<Option<Vec<u8>>, QueryRefused>> },
    /// Answer a method of the program's own.
    Own { method: &'static str, params: Vec<u8>, reply: oneshot::Sender<Result<Result<Vec<u8>, String>, QueryRefused>> },
    /// The newest header.
    Header { reply: oneshot::Sender<Option<SidechainHeader>> },
    /// Hashes of the pending operations.
    Pending { reply: oneshot::Sender<Vec<H256>> },
}

/// Runs the engine until it, the host or the link ends. Clients are served on threads of their own.
pub async fn run(
    enclave: Enclave,
    sender: Sender<ToHost>,
    receiver: Receiver<UnixStream, ToEnclave>,
    client_threads: Handle,
) -> StopReason {
    let Enclave { engine, tee, shielding, tls, genesis, sealed_identity, collateral, limits } = enclave;
    let kind = tee.attester.kind();
    if kind == TeeKind::Simulated {
        tracing::warn!("this enclave is simulated: whoever runs it can read and change everything in it");
    }
    let identity = ToHost::Identity {
        protocol: PROTOCOL,
        kind,
        measurement: tee.attester.fingerprint(),
        account: engine.birth().founder.clone(),
        birth: engine.birth().clone(),
        shard: engine.shard(),
        sealed_identity,
        collateral,
    };
    if sender.send(identity).await.is_err() {
        return StopReason::Protocol("the link closed before the identity was sent".into());
    }
    let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
    let clients = Arc::new(Clients::new(&engine, genesis, shielding, commands));
    let shutdown = CancellationToken::new();
    let _shut_down_at_end = shutdown.clone().drop_guard();
    let connections = Connections::new(sender.clone(), usize::try_from(limits.connections).unwrap_or(usize::MAX));
    let reception = Reception {
        connections: connections.clone(),
        clients: clients.clone(),
        tls: tls.server_config(),
        limits: clients::limits(&limits),
        threads: client_threads,
        shutdown,
    };
    let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
    let (opening, opened) = Opening::new(engine.opener());
    let mut actor = Actor {
        engine,
        tee,
        sender,
        connections,
        clients,
        opening,
        watchers: HashMap::new(),
        figures: Figures::default(),
        silent_ticks: 0,
        executing: Duration::ZERO,
    };
    tokio::select! {
        reason = actor.run(event_queue, opened, command_queue) => reason,
        reason = receive(receiver, reception, events) => reason,
    }
}

struct Actor {
    engine: Engine,
    tee: Tee,
    sender: Sender<ToHost>,
    connections: Connections<ToHost>,
    clients: Arc<Clients>,
    opening: Opening,
    watchers: HashMap<H256, Vec<mpsc::Sender<StatusUpdate>>>,
    figures: Figures,
    /// Ticks since the host was told figures.
    silent_ticks: u32,
    /// How long the engine took to execute and seal blocks.
    executing: Duration,
}

impl Actor {
    async fn run(
        &mut self,
        mut events: mpsc::Receiver<ToEnclave>,
        mut opened: mpsc::Receiver<(u64, Opened)>,
        mut commands: mpsc::Receiver<Command>,
    ) -> StopReason {
        loop {
            let acted = self.act().await;
            if let Err(reason) = acted {
                return reason;
            }
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => {
                        if let Err(reason) = self.handle(event).await {
                            return reason;
                        }
                    },
                    None => return StopReason::Protocol("the link closed".into()),
                },
                Some((number, opened)) = opened.recv() => self.engine.opened(number, opened),
                Some(command) = commands.recv() => self.obey(command),
            }
        }
    }

    async fn handle(&mut self, event: ToEnclave) -> Result<(), StopReason> {
        match event {
            ToEnclave::Finality { headers, justification } => self.engine.finality(headers, &justification),
            // Why there is none, the host tells its operator.
            ToEnclave::ProofAnswer { question, proof } => self.engine.proof(question, proof.ok()),
            ToEnclave::Tick { unix_ms } => {
                self.timed(|engine| engine.tick(unix_ms));
                return self.report().await;
            }
            ToEnclave::Stored { sequence } => self.timed(|engine| engine.stored(sequence)),
            ToEnclave::Kept(kept) => self.engine.kept(match kept {
                Kept::Mark(bytes) => cloister_sidechain::Kept::Mark(bytes),
                Kept::Manifest(bytes) => cloister_sidechain::Kept::Manifest(bytes),
                Kept::Piece(bytes) => cloister_sidechain::Kept::Piece(bytes),
                Kept::Block(bytes) => cloister_sidechain::Kept::Block(bytes),
            }),
            ToEnclave::KeptAll => self.engine.kept_all(),
            ToEnclave::ChainVersion { spec_version, transaction_version } => {
                self.engine.chain_version(spec_version, transaction_version);
            }
            ToEnclave::SubmitFailed { reason, .. } => {
                // What landed shows in the account's proven nonce; the reason is the operator's to read.
                tracing::warn!(reason = reason.escape_debug().to_string(), "layer one's node refused an extrinsic");
            }
            ToEnclave::Stop => return Err(StopReason::Requested),
            ToEnclave::Start { .. } => return Err(StopReason::Protocol("Start came twice".into())),
            ToEnclave::ConnectionOpened { .. }
            | ToEnclave::ConnectionData { .. }
            | ToEnclave::ConnectionCredit { .. }
            | ToEnclave::ConnectionClosed { .. } => {}
        }
        Ok(())
    }

    fn timed(&mut self, step: impl FnOnce(&mut Engine)) {
        let start = Instant::now();
        step(&mut self.engine);
        self.executing = self.executing.saturating_add(start.elapsed());
    }

    /// Carries out what the engine wants, in order.
    async fn act(&mut self) -> Result<(), StopReason> {
        // Evidence makes the engine want more.
        loop {
            let actions = self.engine.take_actions();
            if actions.is_empty() {
                return Ok(());
            }
            for action in actions {
                self.carry_out(action).await?;
            }
        }
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), StopReason> {
        let message = match action {
            Action::Synced { number, hash } => ToHost::Synced { number, hash },
            Action::AskProof { question, at, keys } => ToHost::ProofQuestion { question, at, keys },
            Action::Submit(extrinsic) => ToHost::Submit { extrinsic },
            Action::Attest(report_data) => {
                self.attest(&report_data);
                return Ok(());
            }
            Action::Register { registration, extrinsic } => ToHost::Register { registration, extrinsic },
            Action::Registered { expires_at } => {
                tracing::info!(expires_at, "the registration is proven");
                ToHost::Registered { expires_at }
            }
            Action::LayerOneBehind { layer_one, clock } => ToHost::LayerOneBehind { layer_one, clock },
            Action::Serving => {
                tracing::info!("the shard's entry is proven; serving");
                self.clients.serve();
                ToHost::Serving { shard: self.engine.shard() }
            }
            Action::Store { sequence, keep } => ToHost::Store {
                sequence,
                writes: vec![match keep {
                    Keep::Mark(mark) => Write::Mark(mark),
                    Keep::Block { number, hash, bytes } => Write::Block { number, hash, bytes },
                    Keep::SnapshotPiece { snapshot, index, bytes } => Write::SnapshotPiece { snapshot, index, bytes },
                    Keep::Snapshot { snapshot, manifest, first } => Write::Snapshot { snapshot, manifest, first },
                }],
            },
            Action::Recovered(number) => {
                tracing::info!(number, "the state is that of the newest kept block");
                ToHost::Recovered { number }
            }
            Action::Open { number, entry } => {
                self.opening.open(number, entry);
                return Ok(());
            }
            Action::Status { operation, status, error } => {
                self.notify(operation, status, error);
                return Ok(());
            }
            Action::BeginBlockFailed(reason) => {
                tracing::error!(reason = reason.escape_debug().to_string(), "the program's begin_block failed");
                return Ok(());
            }
            Action::Refused(error) => {
                tracing::warn!(%error, "refused input from the host");
                return Ok(());
            }
            Action::Stop(stop) => return Err(reason(stop, self.engine.shard())),
        };
        self.send(message).await
    }

    /// Quoting may take a while; the engine waits, because nothing may happen meanwhile that the evidence does not know.
    fn attest(&mut self, report_data: &[u8; 64]) {
        match tokio::task::block_in_place(|| self.tee.attester.evidence(report_data)) {
            Ok(evidence) => self.engine.evidence(evidence),
            Err(error) => tracing::warn!(%error, "no evidence; the engine asks again"),
        }
    }

    fn obey(&mut self, command: Command) {
        // A client that went away meanwhile does not take its answer.
        match command {
            Command::Submit { call, watcher, reply } => {
                let operation = call.hash();
                let admitted = self.engine.submit(*call);
                if let (Ok(_), Some(watcher)) = (&admitted, watcher) {
                    self.watch(operation, watcher);
                }
                let _ = reply.send(admitted);
            }
            Command::SubmitBatch { calls, reply } => {
                let _ = reply.send(calls.into_iter().map(|call| self.engine.submit(call)).collect());
            }
            Command::Query { shard, getter, reply } => {
                let _ = reply.send(self.engine.answer(&shard, &getter));
            }
            Command::Own { method, params, reply } => {
                let _ = reply.send(self.engine.rpc(method, &params));
            }
            Command::Header { reply } => {
                let _ = reply.send(self.engine.header().cloned());
            }
            Command::Pending { reply } => {
                let _ = reply.send(self.engine.pending());
            }
        }
    }

    /// Statuses of an operation go to a client from now on. Where too many are watched the client's notifications end at
    /// once; the call goes on.
    fn watch(&mut self, operation: H256, watcher: mpsc::Sender<StatusUpdate>) {
        if self.watchers.len() >= MAX_WATCHED {
            // Those whose clients went away are let go when their operations get further, which may take long.
            self.watchers.retain(|_, watchers| {
                watchers.retain(|watcher| !watcher.is_closed());
                !watchers.is_empty()
            });
        }
        if self.watchers.len() < MAX_WATCHED {
            self.watchers.entry(operation).or_default().push(watcher);
        }
    }

    fn notify(&mut self, operation: H256, status: TrustedOperationStatus, error: Option<String>) {
        let last = !matches!(
            status,
            TrustedOperationStatus::Ready
                | TrustedOperationStatus::Future
                | TrustedOperationStatus::InSidechainBlock(_)
        );
        let update = StatusUpdate { status, error, last };
        let Some(watchers) = self.watchers.get_mut(&operation) else { return };
        // One that does not keep up with a handful of statuses is let go.
        watchers.retain(|watcher| watcher.try_send(update.clone()).is_ok());
        if last || watchers.is_empty() {
            self.watchers.remove(&operation);
        }
    }

    /// Tells the host new figures, or after a while that there are none: it ends an enclave that is silent.
    async fn report(&mut self) -> Result<(), StopReason> {
        let figures = self.engine.figures();
        self.silent_ticks = self.silent_ticks.saturating_add(1);
        if figures == self.figures && self.silent_ticks < MAX_SILENT_TICKS {
            return Ok(());
        }
        self.silent_ticks = 0;
        self.figures = figures;
        self.send(ToHost::Status {
            pool: u32::try_from(figures.pool).unwrap_or(u32::MAX),
            block: figures.block,
            accounts: figures.accounts,
            state_bytes: figures.state_bytes,
            layer_one: figures.layer_one,
            layer_one_read: figures.layer_one_read,
            layer_one_time: figures.layer_one_time,
            inbox_consumed: figures.inbox_consumed,
            rpc_requests: self.clients.requests(),
            connections: u32::try_from(self.connections.count()).unwrap_or(u32::MAX),
            anchored: figures.anchored,
            journal_bytes: figures.journal_bytes,
            snapshot: figures.snapshot,
            account_free: figures.account_free,
            execution_micros: u64::try_from(self.executing.as_micros()).unwrap_or(u64::MAX),
            paused: figures.paused.map(|pause| pause.to_string()),
            outbox_next: figures.outbox_next,
            outbox_open: figures.outbox_open.into(),
            mode: figures.mode,
        })
        .await
    }

    async fn send(&self, message: ToHost) -> Result<(), StopReason> {
        self.sender.send(message).await.map_err(|error| StopReason::Protocol(error.to_string()))
    }
}

/// Opens entries of the inbox, one at a time, in threads of its own.
struct Opening {
    opener: Arc<Opener>,
    turns: Arc<Semaphore>,
    opened: mpsc::Sender<(u64, Opened)>,
}

impl Opening {
    fn new(opener: Opener) -> (Self, mpsc::Receiver<(u64, Opened)>) {
        let (opened, receiver) = mpsc::channel(EVENT_QUEUE);
        (Self { opener: Arc::new(opener), turns: Arc::new(Semaphore::new(1)), opened }, receiver)
    }

    fn open(&self, number: u64, entry: InboxEntry) {
        let (opener, turns, opened) = (self.opener.clone(), self.turns.clone(), self.opened.clone());
        tokio::spawn(async move {
            let _turn = turns.acquire().await;
            let unreadable = Opened::unreadable(entry.clone());
            // A panic in what takes a ciphertext apart leaves an entry that nobody can read.
            let result = tokio::task::spawn_blocking(move || opener.open(entry)).await.unwrap_or(unreadable);
            let _ = opened.send((number, result)).await;
        });
    }
}

fn reason(stop: Stop, own: ShardId) -> StopReason {
    match stop {
        Stop::LayerOne(error) => StopReason::FinalityRefused(error.to_string()),
        Stop::StorageLayoutUnknown => StopReason::StorageLayoutUnknown,
        Stop::ShardOfAnotherIncarnation(_) => StopReason::ShardOfAnotherIncarnation(own),
        Stop::UnknownShard(shard) => StopReason::UnknownShard(shard),
        Stop::Retired => StopReason::Retired,
        Stop::Evicted => StopReason::Evicted,
        Stop::Expired => StopReason::Expired,
        Stop::Kept(error) => StopReason::Kept(error.to_string()),
        Stop::NotNewest(not_newest) => StopReason::KeptTooOld(not_newest.to_string()),
        stop => StopReason::Internal(stop.to_string()),
    }
}

/// Operations whose statuses clients wait for at a time: as many as the pool takes, three times over.
const MAX_WATCHED: usize = 60_000;
/// So many ticks pass at most until the host hears of the enclave.
const MAX_SILENT_TICKS: u32 = 10;
/// Messages from the host that wait for the engine.
const EVENT_QUEUE: usize = 64;
/// Commands of clients that wait for the engine.
const COMMAND_QUEUE: usize = 1_024;
