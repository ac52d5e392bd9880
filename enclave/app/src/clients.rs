//! What clients are answered. Decryption and signatures are checked here, outside of the engine's task.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cloister_chain_primitives::{H256, Request, ShardId};
use cloister_keys::ShieldingKeyPair;
use cloister_link::ClientLimits;
use cloister_rpc::{Call, Handler, Limits, Reply, StatusUpdate};
use cloister_sidechain::{CallRefused, Engine, QueryRefused, VerifiedGetter};
use cloister_stf::{Refused, Rules, VerifiedCall, verify, verify_bound};
use cloister_wire::{
    DirectRequestStatus, Getter, RpcReturnValue, SignatureScope, TrustedOperation, TrustedOperationStatus,
    envelope::{Context, Purpose},
    shielding_key::PublishedShieldingKey,
};
use codec::{DecodeAll, Encode};
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{AcquireError, Semaphore, mpsc, oneshot},
    task::{block_in_place, yield_now},
    time::Instant,
};

use crate::{actor::Command, reception::spare_cores};

/// Serves all clients.
pub struct Clients {
    context: Context,
    scope: SignatureScope,
    rules: Rules,
    shielding: Arc<ShieldingKeyPair>,
    metadata: Vec<u8>,
    commands: mpsc::Sender<Command>,
    requests: AtomicU64,
    /// Whether the shard's entry is proven. An enclave whose shard nobody knows has nothing to say about it.
    serving: AtomicBool,
    /// Permits to open a few envelopes or to check who signed a query, in turns: the engine's task must get a core all the
    /// same. That takes less than handing the thread's other clients to another thread would, so they wait for it.
    quick: Semaphore,
    /// Permits to decrypt the published form. The longest ciphertext takes some 40 ms, five hundred times an envelope,
    /// so those who send many wait for each other only.
    published: Semaphore,
}

/// What one connection may use, of what the host allows.
pub fn limits(allowed: &ClientLimits) -> Limits {
    let bytes = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    let milliseconds = |ms: u32| Duration::from_millis(ms.into());
    Limits {
        message_bytes: bytes(allowed.message_bytes),
        requests_per_second: allowed.requests_per_second,
        request_burst: allowed.request_burst,
        watched: bytes(allowed.watched),
        handshake: milliseconds(allowed.handshake_ms),
        idle: milliseconds(allowed.idle_ms),
        // Early enough for the client to answer.
        ping: milliseconds(allowed.idle_ms.saturating_mul(5) / 12),
        write: milliseconds(allowed.write_ms),
        ..Limits::default()
    }
}

impl Clients {
    /// For the engine's shard.
    pub fn new(
        engine: &Engine,
        genesis: H256,
        shielding: Arc<ShieldingKeyPair>,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        let permits = spare_cores();
        Self {
            context: Context { genesis, shard: engine.shard(), purpose: Purpose::Request },
            scope: engine.scope(),
            rules: engine.rules(),
            shielding,
            metadata: cloister_stf::metadata(),
            commands,
            requests: AtomicU64::new(0),
            serving: AtomicBool::new(false),
            quick: Semaphore::new(permits),
            published: Semaphore::new(permits),
        }
    }

    /// The shard is served from now on.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Calls that were answered.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn answer(&self, call: Call) -> Reply {
        let read = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.serving.load(Ordering::Acquire) && !matches!(call, Call::Name | Call::Version) {
            return Reply::Answer(RpcReturnValue::error(CallRefused::NotServing));
        }
        let keys = self.shielding.public();
        Reply::Answer(match call {
            Call::ShieldingKey => RpcReturnValue::ok(PublishedShieldingKey::new(&keys.rsa_modulus).to_json()),
            Call::HpkeKey => RpcReturnValue::ok((keys.epoch, keys.hpke)),
            Call::Shard => RpcReturnValue::ok(self.scope.shard),
            Call::Fingerprint => RpcReturnValue::ok(self.scope.mrenclave),
            Call::ShardVault => RpcReturnValue::error("no vault: use enclaveBridge.shieldFunds"),
            Call::MuRaUrl => RpcReturnValue::error("this worker has one member and provisions nobody"),
            Call::UntrustedUrl => {
                RpcReturnValue::error("ask the operator: an enclave does not know its host's address")
            }
            Call::Submit(request) => match self.submit(request, None, read).await {
                Ok((_, status)) => status,
                Err(refusal) => refusal,
            },
            Call::SubmitAndWatch(request) => {
                let (watcher, updates) = mpsc::channel(STATUS_QUEUE);
                match self.submit(request, Some(watcher), read).await {
                    Ok((hash, _)) => return Reply::Watch { hash, updates },
                    Err(refusal) => refusal,
                }
            }
            Call::SubmitBatch(requests) => self.submit_batch(requests, read).await,
            Call::ExecuteGetter(request) => self.query(request, read).await,
            Call::PendingExtrinsics(shards) => {
                let pending = match shards.contains(&self.scope.shard) {
                    true => self.ask(|reply| Command::Pending { reply }).await.unwrap_or_default(),
                    false => Vec::new(),
                };
                RpcReturnValue::ok(pending)
            }
            // SCALE already: no second length before it.
            Call::Metadata => {
                RpcReturnValue { value: self.metadata.clone(), do_watch: false, status: DirectRequestStatus::Ok }
            }
            Call::Header => match self.ask(|reply| Command::Header { reply }).await.flatten() {
                Some(header) => RpcReturnValue::ok(header),
                None => RpcReturnValue::error("the shard has no block yet"),
            },
            Call::Health => RpcReturnValue::ok("serving"),
            Call::Name => RpcReturnValue::ok("cloister-enclave"),
            Call::Version => RpcReturnValue::ok(env!("CARGO_PKG_VERSION")),
            Call::Own { method, params } => match self.ask(|reply| Command::Own { method, params, reply }).await {
                // SCALE already, as the program made it.
                Some(Ok(Ok(value))) => RpcReturnValue { value, do_watch: false, status: DirectRequestStatus::Ok },
                Some(Ok(Err(reason))) => RpcReturnValue::error(reason),
                Some(Err(refusal)) => RpcReturnValue::error(refusal),
                None => RpcReturnValue::error(STOPPING),
            },
        })
    }

    async fn submit(
        &self,
        request: Request,
        watcher: Option<mpsc::Sender<StatusUpdate>>,
        read: Instant,
    ) -> Result<(H256, RpcReturnValue), RpcReturnValue> {
        if request.shard != self.scope.shard {
            return Err(RpcReturnValue::error("unknown shard"));
        }
        let opened = self.open(&request).await.map_err(|_| RpcReturnValue::error(STOPPING))?;
        let call = match opened {
            Ok(call) => call,
            Err(Refused::Signature) => return Err(opaque(OPAQUE, read).await),
            Err(refusal) => return Err(RpcReturnValue::error(refusal)),
        };
        let hash = call.hash();
        let call = Box::new(call);
        match self.ask(|reply| Command::Submit { call, watcher, reply }).await {
            Some(Ok(_)) => {
                let status = DirectRequestStatus::TrustedOperationStatus(TrustedOperationStatus::Submitted);
                Ok((hash, RpcReturnValue { value: hash.encode(), do_watch: false, status }))
            }
            Some(Err(refusal)) => Err(RpcReturnValue::error(refusal)),
            None => Err(RpcReturnValue::error(STOPPING)),
        }
    }

    /// Takes many calls at the price of one turn of the engine. What is opaque of them is told with all the rest and at the
    /// same steps of time, so that nobody learns more by repeating a ciphertext.
    async fn submit_batch(&self, requests: Vec<Request>, read: Instant) -> RpcReturnValue {
        let others = u64::try_from(requests.len()).unwrap_or(u64::MAX).saturating_sub(1);
        self.requests.fetch_add(others, Ordering::Relaxed);
        let mut opened = Vec::with_capacity(requests.len());
        for few in requests.chunks(ENVELOPES_A_TURN) {
            let Ok(turn) = self.quick.acquire().await else { return RpcReturnValue::error(STOPPING) };
            opened.extend(few.iter().map(|request| self.open_batched(request)));
            drop(turn);
            // Whoever waits for a permit or for this thread comes first.
            yield_now().await;
        }
        let is_opaque = opened.contains(&Err(BatchRefused::Call(Refused::Signature)));
        let calls: Vec<_> = opened.iter().filter_map(|opened| opened.as_ref().ok().cloned()).collect();
        let taken = match calls.is_empty() {
            true => Vec::new(),
            false => match self.ask(|reply| Command::SubmitBatch { calls, reply }).await {
                Some(taken) => taken,
                None => return RpcReturnValue::error(STOPPING),
            },
        };
        let mut taken = taken.into_iter();
        let answer = |opened: Result<VerifiedCall, BatchRefused>| -> Result<H256, String> {
            let call = opened.map_err(|refusal| refusal.to_string())?;
            match taken.next() {
                Some(Ok(_)) => Ok(call.hash()),
                Some(Err(refusal)) => Err(refusal.to_string()),
                None => Err(STOPPING.into()),
            }
        };
        let answers: Vec<_> = opened.into_iter().map(answer).collect();
        if is_opaque {
            tokio::time::sleep_until(due(read, Instant::now())).await;
        }
        RpcReturnValue::ok(answers)
    }

    /// As [`Self::open`], of envelopes only: a hundred ciphertexts of the published form would take longer than the step
    /// of an opaque answer, and so tell how far each came.
    fn open_batched(&self, request: &Request) -> Result<VerifiedCall, BatchRefused> {
        if request.shard != self.scope.shard {
            return Err(BatchRefused::UnknownShard);
        }
        if !self.shielding.is_envelope(&request.cyphertext) {
            return Err(BatchRefused::NoEnvelope);
        }
        let plaintext = self.shielding.open_envelope(&self.context, &request.cyphertext);
        Ok(self.verified(&plaintext.map_err(|_| Refused::Signature)?)?)
    }

    /// Decrypts, decodes and verifies a call. What fails before the signature is checked fails as the signature does,
    /// so that nobody can use the enclave as an oracle for ciphertexts. Who waits for the time of an opaque answer has no
    /// permit any more.
    async fn open(&self, request: &Request) -> Result<Result<VerifiedCall, Refused>, AcquireError> {
        if self.shielding.is_envelope(&request.cyphertext) {
            let _turn = self.quick.acquire().await?;
            if let Ok(plaintext) = self.shielding.open_envelope(&self.context, &request.cyphertext) {
                return Ok(self.verified(&plaintext));
            }
        }
        let _turn = self.published.acquire().await?;
        Ok(block_in_place(|| {
            let plaintext = self.shielding.open_published(&request.cyphertext).map_err(|_| Refused::Signature)?;
            self.verified(&plaintext)
        }))
    }

    fn verified(&self, mut plaintext: &[u8]) -> Result<VerifiedCall, Refused> {
        let operation = TrustedOperation::decode_all(&mut plaintext).map_err(|_| Refused::Signature)?;
        let hash = operation.hash();
        match operation {
            TrustedOperation::DirectCall(signed) => verify(hash, signed, &self.scope, &self.rules),
            TrustedOperation::BoundCall(signed) => {
                verify_bound(hash, signed, &self.context.genesis, &self.scope, &self.rules)
            }
            // What came through layer one everybody could submit, and read from the answer what is in it.
            TrustedOperation::IndirectCall(_) | TrustedOperation::IndirectBoundCall(_) | TrustedOperation::Get(_) => {
                Err(Refused::Signature)
            }
        }
    }

    async fn query(&self, request: Request, read: Instant) -> RpcReturnValue {
        let shard: ShardId = request.shard;
        if shard != self.scope.shard {
            return RpcReturnValue::error(QueryRefused::UnknownShard);
        }
        let Ok(turn) = self.quick.acquire().await else { return RpcReturnValue::error(STOPPING) };
        let verified = Getter::decode_all(&mut request.cyphertext.as_slice())
            .map_err(|_| QueryRefused::NotOwner)
            .and_then(|getter| VerifiedGetter::verify(getter, &self.context.genesis, &self.scope, &self.rules));
        drop(turn);
        let getter = match verified {
            Ok(getter) => getter,
            // By its form, which no secret is needed to see.
            Err(refusal @ QueryRefused::Unbound) => return RpcReturnValue::error(refusal),
            Err(refusal) => return opaque(refusal, read).await,
        };
        match self.ask(|reply| Command::Query { shard, getter: Box::new(getter), reply }).await {
            Some(Ok(value)) => RpcReturnValue::ok(value),
            Some(Err(refusal)) => RpcReturnValue::error(refusal),
            None => RpcReturnValue::error(STOPPING),
        }
    }

    /// `None` if the engine is gone.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Handler for Clients {
    fn own_methods(&self) -> &'static [&'static str] {
        self.rules.program.methods()
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Reply> {
        self.answer(call).boxed()
    }
}

/// Why a request of a batch was not taken, before the engine heard of it.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
enum BatchRefused {
    #[error("unknown shard")]
    UnknownShard,
    #[error("a batch takes envelopes for the shard's present key only")]
    NoEnvelope,
    #[error("{}", if *.0 == Refused::Signature { OPAQUE.to_string() } else { .0.to_string() })]
    Call(#[from] Refused),
}

/// The answer to what failed before its signature was checked, once its time has come.
async fn opaque(refusal: impl Display, read: Instant) -> RpcReturnValue {
    tokio::time::sleep_until(due(read, Instant::now())).await;
    RpcReturnValue::error(refusal)
}

/// When the opaque answer to what was read at `read` is given: at the next whole step, so that how long decryption,
/// decoding and the signature's check took shows in steps only.
fn due(read: Instant, now: Instant) -> Instant {
    let step = OPAQUE_STEP.as_millis().max(1);
    let steps = now.saturating_duration_since(read).as_millis().checked_div(step).unwrap_or_default().saturating_add(1);
    let wait = OPAQUE_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
    read.checked_add(wait).unwrap_or(now)
}

/// Envelopes of a batch that are opened at once, before others have their turn: some 1 ms.
const ENVELOPES_A_TURN: usize = 8;
/// Far above what an envelope, the longest published ciphertext and a signature take.
const OPAQUE_STEP: Duration = Duration::from_millis(100);
const OPAQUE: &str = "the request does not decrypt, decode or verify";
const STOPPING: &str = "the enclave is stopping";
/// Statuses of one operation that wait for its client.
const STATUS_QUEUE: usize = 16;

#[cfg(test)]
mod tests;
