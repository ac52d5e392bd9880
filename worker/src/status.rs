//! How the worker and its enclave are: what the session learns and the servers tell.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cloister_chain_primitives::{Moment, ShardMode};
use cloister_link::ToHost;
use cloister_wire::worker_status::{Obstacle, WorkerStatus};
use sp_core::crypto::Ss58Codec;
use tokio::time::Instant;

use crate::{
    blocks::Blocks,
    cli::shard_text,
    http::{Metrics, raise_to},
    layer_one::hex_text,
    session::Identity,
    spending::Spending,
};

/// What the session fills and the servers read.
#[derive(Debug)]
pub struct Shared {
    pub blocks: Blocks,
    pub metrics: Metrics,
    started: Instant,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    phase: Phase,
    /// As last heard; what changes by itself is filled in when it is asked for.
    status: WorkerStatus,
    spending: Spending,
    /// Entries that layer one's inbox ever had, as the node says.
    inbox_length: u64,
    /// Those that the shard has consumed, once its enclave has its state.
    inbox_consumed: Option<u64>,
    /// What its operator must remove.
    obstacles: BTreeMap<Concern, Vec<Obstacle>>,
}

/// What an enclave has on its way to layer one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Concern {
    Registration,
    Extrinsics,
}

/// How far a start is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Phase {
    #[default]
    Starting,
    /// The enclave has introduced itself.
    Recovering,
    /// Its state is whole.
    Registering,
    Serving,
}

impl Shared {
    /// Nothing yet.
    pub fn new() -> Self {
        let metrics = Metrics::new().expect("metrics have different names");
        metrics.account_lasts_seconds.set(f64::INFINITY);
        Self { blocks: Blocks::default(), metrics, started: Instant::now(), known: Mutex::default() }
    }

    pub fn is_serving(&self) -> bool {
        self.known().phase == Phase::Serving
    }

    pub fn set_serving(&self) {
        self.known().reach(Phase::Serving);
        self.metrics.serving.set(1);
    }

    /// The enclave has introduced itself.
    pub fn introduce(&self, identity: &Identity) {
        let mut known = self.known();
        known.reach(Phase::Recovering);
        known.status.shard = shard_text(&identity.shard);
        known.status.account = identity.account.to_ss58check();
        known.status.kind = identity.kind.name().into();
        known.status.measurement = hex_text(&identity.measurement);
    }

    /// The enclave has its state again.
    pub fn set_recovered(&self, took: Duration) {
        self.known().reach(Phase::Registering);
        self.metrics.recovery_seconds.set(took.as_secs_f64());
    }

    /// The enclave is registered.
    pub fn set_registered(&self, expires_at: Moment) {
        self.known().status.registration_expires_at = Some(expires_at);
        self.metrics.registrations_total.inc();
        self.metrics.registration_expires_at.set(gauge(expires_at / 1_000));
    }

    /// What is in the way now.
    pub fn set_obstacles(&self, of: Concern, obstacles: Vec<Obstacle>) {
        self.known().obstacles.insert(of, obstacles);
    }

    /// Layer one's inbox has had so many entries.
    pub fn set_inbox_length(&self, length: u64) {
        let mut known = self.known();
        known.inbox_length = length;
        self.metrics.inbox_waiting.set(known.inbox_waiting());
    }

    /// Takes over what an enclave says in [`ToHost::Status`]; any other message says nothing.
    pub fn hear(&self, status: ToHost, connections: usize) {
        let ToHost::Status {
            pool,
            block,
            accounts,
            state_bytes,
            layer_one,
            layer_one_read,
            layer_one_time,
            inbox_consumed,
            rpc_requests,
            connections: _,
            anchored,
            journal_bytes,
            snapshot,
            account_free,
            execution_micros,
            paused,
            outbox_next,
            outbox_open,
            mode,
        } = status
        else {
            return;
        };
        let metrics = &self.metrics;
        metrics.pool_calls.set(pool.into());
        metrics.block_number.set(gauge(block));
        metrics.anchored_block.set(gauge(anchored));
        metrics.unanchored_blocks.set(gauge(block.saturating_sub(anchored)));
        metrics.accounts.set(gauge(accounts));
        metrics.state_bytes.set(gauge(state_bytes));
        metrics.journal_bytes.set(gauge(journal_bytes));
        metrics.snapshot_block.set(gauge(snapshot));
        metrics.layer_one_read.set(layer_one_read.into());
        metrics.layer_one_time.set(gauge(layer_one_time / 1_000));
        metrics.inbox_consumed.set(gauge(inbox_consumed));
        metrics.outbox_opened.set(gauge(outbox_next));
        metrics.outbox_open.set(gauge(outbox_open));
        metrics.retired.set((mode == ShardMode::Retired).into());
        metrics.maintenance.set((mode == ShardMode::Maintenance).into());
        metrics.connections.set(gauge(connections as u64));
        metrics.paused.set(paused.is_some().into());
        raise_to(&metrics.rpc_requests_total, rpc_requests);
        let executed = Duration::from_micros(execution_micros).as_secs_f64() - metrics.execution_seconds_total.get();
        metrics.execution_seconds_total.inc_by(executed.max(0.0));
        metrics.account_free.set(account_free as f64);

        let now = Instant::now();
        let mut known = self.known();
        known.spending.note(account_free, now);
        let lasts = known.spending.lasts(now);
        if known.phase >= Phase::Registering {
            known.inbox_consumed = Some(inbox_consumed);
        }
        metrics.inbox_waiting.set(known.inbox_waiting());
        metrics.account_lasts_seconds.set(lasts.unwrap_or(f64::INFINITY));
        known.status = WorkerStatus {
            paused,
            block,
            anchored,
            pool: pool.into(),
            accounts,
            state_bytes,
            journal_bytes,
            snapshot,
            inbox_consumed,
            outbox_opened: outbox_next,
            outbox_open,
            mode: mode.name().into(),
            layer_one: layer_one.into(),
            layer_one_read: layer_one_read.into(),
            layer_one_time,
            account_free: account_free.to_string(),
            account_lasts_seconds: lasts.map(|seconds| seconds as u64),
            connections: connections as u64,
            rpc_requests,
            ..std::mem::take(&mut known.status)
        };
    }

    /// What is known.
    pub fn status(&self) -> WorkerStatus {
        let known = self.known();
        let mut obstacles: Vec<_> = known.obstacles.values().flatten().cloned().collect();
        obstacles.dedup();
        WorkerStatus {
            obstacles,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.started.elapsed().as_secs(),
            phase: known.phase.name().into(),
            store_bytes: self.metrics.store_file_bytes.get().try_into().unwrap_or_default(),
            ..known.status.clone()
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn reach(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    fn inbox_waiting(&self) -> i64 {
        self.inbox_consumed.map_or(0, |consumed| gauge(self.inbox_length.saturating_sub(consumed)))
    }
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Registering => "registering",
            Self::Serving => "serving",
        }
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
