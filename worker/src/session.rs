//! The conversation with one running enclave, from its first message to its last.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cloister_chain_primitives::{AccountId, H256, Hashing, Moment, ShardBirth, ShardId, registry::WorkerUrl};
use cloister_claims::{Collateral, TeeKind};
use cloister_link::{ClientLimits, Connections, LinkError, PROTOCOL, Receiver, Sender, StopReason, ToEnclave, ToHost};
use sp_runtime::traits::Hash;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    error::WorkerError,
    finality::{Follower, Synced, follow_versions},
    http::raise_to,
    keeper::{Keeper, Place},
    layer_one::{LayerOne, RuntimeVersion, persist},
    operator::{Operator, Pace, Progress, printable},
    registration::{Newest, Pending},
    status::Shared,
    submission::Submitter,
    watchdog::Watchdog,
};

/// Who was started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub kind: TeeKind,
    pub measurement: [u8; 32],
    pub account: AccountId,
    pub birth: ShardBirth,
    pub shard: ShardId,
    /// To be kept before anything else happens.
    pub sealed_identity: Option<Vec<u8>>,
    /// What the enclave's environment brings of its own.
    pub collateral: Option<Collateral>,
}

/// With what an enclave is started.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// SCALE `MeasuredConfig`.
    pub config: Vec<u8>,
    pub shard: Option<ShardId>,
    pub version: RuntimeVersion,
    pub sealed_identity: Option<Vec<u8>>,
    pub url: Option<WorkerUrl>,
    pub limits: ClientLimits,
}

/// Starts the enclave and lets it introduce itself.
pub async fn introduce<S: AsyncRead + AsyncWrite>(
    sender: &Sender<ToEnclave>,
    receiver: &mut Receiver<S, ToHost>,
    introduction: Introduction,
) -> Result<Identity, WorkerError> {
    let Introduction { config, shard, version, sealed_identity, url, limits } = introduction;
    let RuntimeVersion { spec_version, transaction_version } = version;
    let protocol = PROTOCOL;
    let start =
        ToEnclave::Start { protocol, config, shard, spec_version, transaction_version, sealed_identity, url, limits };
    sender.send(start).await.map_err(lost)?;
    let first = tokio::time::timeout(INTRODUCTION, receiver.recv())
        .await
        .map_err(|_| WorkerError::EnclaveSilent { seconds: INTRODUCTION.as_secs() })?
        .map_err(lost)?;
    match first {
        ToHost::Identity { protocol, .. } if protocol != PROTOCOL => Err(WorkerError::ProtocolVersion(protocol)),
        ToHost::Identity { kind, measurement, account, birth, shard, sealed_identity, collateral, .. } => {
            Ok(Identity { kind, measurement, account, birth, shard, sealed_identity, collateral })
        }
        ToHost::Stopped { reason } => Err(shown(reason).into()),
        _ => Err(WorkerError::UnexpectedMessage("something before its identity")),
    }
}

/// An enclave that has introduced itself.
#[derive(Debug)]
pub struct Session<S> {
    pub sender: Sender<ToEnclave>,
    pub receiver: Receiver<S, ToHost>,
    pub connections: Connections<ToEnclave>,
    pub layer_one: Arc<LayerOne>,
    pub version: RuntimeVersion,
    pub slot: Duration,
    pub shared: Arc<Shared>,
    pub operator: Operator,
    /// Where the enclave's extrinsics go.
    pub submitter: Arc<Submitter>,
    /// Where its registrations go.
    pub registrations: watch::Sender<Newest>,
    /// How long the enclave may say nothing.
    pub silence: Duration,
    /// Of what is kept of its shard; without one the enclave has nothing and keeps nothing.
    pub place: Option<Place>,
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    /// Serves the enclave until it stops. `stop` asks it to; an error of one of `services` ends the session too. What
    /// it asked to be kept is kept when this returns.
    pub async fn run(
        mut self,
        services: JoinSet<Result<(), WorkerError>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        let mut feeds = JoinSet::new();
        let place = self.place.take();
        let file = place.as_ref().map(|place| place.file.clone());
        let mut keeper = Keeper::start(place, &self.shared, &self.sender, &mut feeds);
        let ended = self.converse(services, stop, feeds, &mut keeper).await;
        match (ended, keeper.finish().await) {
            (Err(error), finished) => {
                if let Err(error) = finished {
                    tracing::error!(%error, "and not all of what the enclave gave last is kept");
                }
                Err(match (error, file) {
                    (WorkerError::EnclaveStopped(reason), Some(path)) if is_about_kept(&reason) => {
                        WorkerError::KeptRefused { path, reason }
                    }
                    (error, _) => error,
                })
            }
            (Ok(()), finished) => finished,
        }
    }

    async fn converse(
        mut self,
        mut services: JoinSet<Result<(), WorkerError>>,
        stop: impl Future<Output = ()>,
        mut feeds: JoinSet<()>,
        keeper: &mut Keeper,
    ) -> Result<(), WorkerError> {
        let started = Instant::now();
        let mut watchdog = Watchdog::new(self.silence, started);
        let (synced, follow_synced) = watch::channel(None);
        feeds.spawn(Follower::new(self.layer_one.clone()).run(self.sender.clone(), follow_synced));
        let version = (self.version.spec_version, self.version.transaction_version);
        feeds.spawn(follow_versions(self.layer_one.clone(), self.sender.clone(), version));
        feeds.spawn(tick(self.sender.clone(), self.slot));
        let mut answers = JoinSet::new();
        let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
        let extrinsics = UnderWay::default();
        let proof_errors = Arc::new(Mutex::new(Pace::default()));
        let (mut told_behind, mut is_recovered) = (false, false);
        let mut deadline = None;
        tokio::pin!(stop);
        loop {
            let message = tokio::select! {
                message = self.receiver.recv() => {
                    watchdog.hear(Instant::now());
                    message.map_err(lost)?
                }
                () = tokio::time::sleep_until(watchdog.due()) => {
                    if watchdog.gives_up(Instant::now()) {
                        return Err(WorkerError::EnclaveHangs { seconds: self.silence.as_secs() });
                    }
                    continue;
                }
                () = &mut stop, if deadline.is_none() => {
                    tracing::info!("asking the enclave to stop");
                    deadline = Some(Instant::now() + STOP_PATIENCE);
                    let sender = self.sender.clone();
                    answers.spawn(async move {
                        // If the link is gone the enclave is too.
                        let _ = sender.send(ToEnclave::Stop).await;
                    });
                    continue;
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    tracing::warn!("the enclave did not stop in time and is killed");
                    return Ok(());
                }
                Some(service) = services.join_next() => {
                    service.map_err(|error| WorkerError::Service(error.into()))??;
                    continue;
                }
                Some(kept) = keeper.ended() => {
                    kept?;
                    continue;
                }
                Some(_) = answers.join_next() => continue,
            };
            match message {
                ToHost::Identity { .. } => return Err(WorkerError::UnexpectedMessage("its identity a second time")),
                ToHost::Synced { number, hash } => {
                    self.shared.metrics.layer_one_finalized.set(number.into());
                    synced.send_replace(Some(Synced { number, hash }));
                }
                ToHost::ProofQuestion { question, at, keys } => {
                    self.shared.metrics.proof_questions_total.inc();
                    // Nobody else closes the semaphore, so there are none left.
                    let Ok(turn) = questions.clone().try_acquire_owned() else {
                        return Err(WorkerError::UnexpectedMessage("another question, with too many unanswered,"));
                    };
                    let (layer_one, sender) = (self.layer_one.clone(), self.sender.clone());
                    let (shared, proof_errors) = (self.shared.clone(), proof_errors.clone());
                    answers.spawn(async move {
                        let _turn = turn;
                        if let Err(error) = answer(&layer_one, &sender, question, at, &keys).await {
                            shared.metrics.proofs_missing_total.inc();
                            // The enclave asks again in every slot.
                            if proof_errors.lock().unwrap_or_else(PoisonError::into_inner).is_time(Instant::now()) {
                                tracing::warn!(error, "layer one's node has no proof of what the enclave has to know");
                            }
                        }
                    });
                }
                ToHost::Submit { extrinsic } => {
                    let extrinsic_hash = Hashing::hash(&extrinsic);
                    // Passed on again because it has not landed yet: it may be that money for it is on its way.
                    let Some(entry) = extrinsics.enter(extrinsic_hash)? else { continue };
                    let (submitter, sender) = (self.submitter.clone(), self.sender.clone());
                    answers.spawn(async move {
                        let _entry = entry;
                        if let Err(reason) = submitter.submit(&extrinsic).await {
                            let _ = sender.send(ToEnclave::SubmitFailed { extrinsic_hash, reason }).await;
                        }
                    });
                }
                ToHost::Serving { shard } => {
                    if !self.shared.is_serving() {
                        self.shared.set_serving();
                        self.operator.tell(&Progress::Serving { shard });
                    }
                }
                ToHost::Register { registration, extrinsic } => {
                    self.registrations.send_replace(Some(Arc::new(Pending { registration, extrinsic })));
                }
                ToHost::Registered { expires_at } => {
                    told_behind = false;
                    self.registrations.send_replace(None);
                    self.shared.set_registered(expires_at);
                    self.operator.tell(&Progress::Registered { expires_at });
                }
                ToHost::LayerOneBehind { layer_one, clock } => {
                    let progress = Progress::LayerOneBehind { layer_one, clock };
                    match std::mem::replace(&mut told_behind, true) {
                        true => tracing::warn!("still {progress}"),
                        false => self.operator.tell(&progress),
                    }
                }
                ToHost::Store { sequence, writes } => keeper.store(sequence, writes)?,
                ToHost::Recovered { .. } if std::mem::replace(&mut is_recovered, true) => {
                    return Err(WorkerError::UnexpectedMessage("its recovery a second time"));
                }
                ToHost::Recovered { number } => {
                    self.shared.set_recovered(started.elapsed());
                    self.operator.tell(&Progress::Recovered { number });
                }
                ToHost::ConnectionData { connection, bytes } => self.connections.data(connection, &bytes)?,
                ToHost::ConnectionCredit { connection, bytes } => self.connections.credit(connection, bytes)?,
                ToHost::ConnectionClosed { connection } => self.connections.closed(connection)?,
                mut status @ ToHost::Status { .. } => {
                    if let ToHost::Status { paused: Some(reason), .. } = &mut status {
                        *reason = printable(reason);
                    }
                    self.shared.hear(status, self.connections.count());
                    raise_to(&self.shared.metrics.layer_one_connects_total, self.layer_one.connects());
                }
                ToHost::Stopped { reason: StopReason::Requested } if deadline.is_some() => return Ok(()),
                ToHost::Stopped { reason } => return Err(shown(reason).into()),
            }
        }
    }
}

/// Extrinsics that are under way to layer one, each once.
#[derive(Clone, Debug, Default)]
struct UnderWay(Arc<Mutex<BTreeSet<H256>>>);

impl UnderWay {
    /// `None` if this one is under way already.
    fn enter(&self, extrinsic_hash: H256) -> Result<Option<Entry>, WorkerError> {
        let mut hashes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hashes.contains(&extrinsic_hash) {
            return Ok(None);
        }
        if hashes.len() >= MAX_EXTRINSICS {
            return Err(WorkerError::UnexpectedMessage("another extrinsic, with too many under way,"));
        }
        hashes.insert(extrinsic_hash);
        Ok(Some(Entry { extrinsic_hash, under_way: self.clone() }))
    }
}

/// Takes an extrinsic out when its task ends.
struct Entry {
    extrinsic_hash: H256,
    under_way: UnderWay,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.extrinsic_hash);
    }
}

async fn tick(enclave: Sender<ToEnclave>, slot: Duration) {
    let mut slots = tokio::time::interval(slot);
    slots.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        slots.tick().await;
        if enclave.send(ToEnclave::Tick { unix_ms: now() }).await.is_err() {
            return;
        }
    }
}

/// `Err` if there is no proof, for the reason that the enclave is given, too.
async fn answer(
    layer_one: &LayerOne,
    enclave: &Sender<ToEnclave>,
    question: u64,
    at: H256,
    keys: &[Vec<u8>],
) -> Result<(), String> {
    let proof = persist(ANSWER_PATIENCE, || layer_one.read_proof(keys, at)).await.map_err(|error| error.to_string());
    let outcome = proof.as_ref().map(|_| ()).map_err(Clone::clone);
    let sent = enclave.send(ToEnclave::ProofAnswer { question, proof }).await;
    let Err(LinkError::FrameTooLarge { length }) = sent else { return outcome };
    let reason = format!("the proof has {length} bytes");
    let _ = enclave.send(ToEnclave::ProofAnswer { question, proof: Err(reason.clone()) }).await;
    Err(reason)
}

/// With words that are fit for a terminal.
fn shown(mut reason: StopReason) -> StopReason {
    if let StopReason::BadConfig(words)
    | StopReason::FinalityRefused(words)
    | StopReason::Protocol(words)
    | StopReason::Internal(words)
    | StopReason::Tee(words)
    | StopReason::Kept(words)
    | StopReason::KeptTooOld(words) = &mut reason
    {
        *words = printable(words);
    }
    reason
}

fn is_about_kept(reason: &StopReason) -> bool {
    matches!(reason, StopReason::Kept(_) | StopReason::KeptTooOld(_))
}

fn lost(error: LinkError) -> WorkerError {
    match error {
        LinkError::Closed => WorkerError::EnclaveDied(None),
        // A killed process may leave its end reset instead of closed.
        LinkError::Io(_) => WorkerError::EnclaveDied(None),
        error => WorkerError::Link(error),
    }
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::try_from(since.as_millis()).unwrap_or(Moment::MAX)
}

/// RSA-3072 keys take an enclave some seconds on a slow machine.
const INTRODUCTION: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Below the 30 s after which the enclave asks again.
const ANSWER_PATIENCE: Duration = Duration::from_secs(25);
/// An enclave asks one question at a time, and another one when the answer takes long.
const MAX_QUESTIONS: usize = 32;
/// An enclave has one extrinsic at a time, signed anew every 64 blocks of layer one.
const MAX_EXTRINSICS: usize = 32;

#[cfg(test)]
mod tests;
