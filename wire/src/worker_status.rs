//! What a worker's host says of itself and its enclave, as JSON. It is the host's word: operators' business, never
//! evidence.

use serde::{Deserialize, Serialize};

/// `GET /status` at a worker's health port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// Version of the worker.
    pub version: String,
    /// Seconds since the worker's start.
    pub uptime_seconds: u64,
    /// The shard in base58; empty before the enclave has introduced itself.
    pub shard: String,
    /// The enclave's account on layer one (SS58).
    pub account: String,
    /// Kind of the enclave's environment.
    pub kind: String,
    /// The enclave's fingerprint, 0x hex.
    pub measurement: String,
    /// How far the start is: `starting`, `recovering`, `registering`, `serving`.
    pub phase: String,
    /// Why no blocks are made for now.
    pub paused: Option<String>,
    /// What keeps the enclave's registration or its other extrinsics from layer one, and only the operator removes.
    pub obstacles: Vec<Obstacle>,
    /// Height of the shard.
    pub block: u64,
    /// Height of the newest block that layer one is proven to have anchored.
    pub anchored: u64,
    /// Calls that wait.
    pub pool: u64,
    /// Accounts on the shard.
    pub accounts: u64,
    /// Bytes of keys and values of the state.
    pub state_bytes: u64,
    /// Bytes of blocks since the newest snapshot.
    pub journal_bytes: u64,
    /// The block on which the newest snapshot rests; 0 without one.
    pub snapshot: u64,
    /// Bytes of the file in which all that is kept.
    pub store_bytes: u64,
    /// Entries of layer one's inbox that are consumed.
    pub inbox_consumed: u64,
    /// Entries of the shard's outbox that were ever opened.
    pub outbox_opened: u64,
    /// Those that are not closed.
    pub outbox_open: u64,
    /// What the shard does: `open`, `maintenance` or `retired`; empty before the enclave has said so.
    pub mode: String,
    /// Height of layer one's newest finalized block that the enclave knows.
    pub layer_one: u64,
    /// Height of the newest one whose state was proven to it.
    pub layer_one_read: u64,
    /// That block's time (Unix milliseconds).
    pub layer_one_time: u64,
    /// When the registration expires (Unix milliseconds of layer one); absent before there is one.
    pub registration_expires_at: Option<u64>,
    /// Planck that the enclave's account can spend, in decimal.
    pub account_free: String,
    /// How long they last at the present rate; absent while nothing is spent.
    pub account_lasts_seconds: Option<u64>,
    /// Open connections of clients.
    pub connections: u64,
    /// Requests of clients answered.
    pub rpc_requests: u64,
}

/// Something that an extrinsic of the enclave waits for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Obstacle {
    /// `funds`, `collateral` or `refused`.
    #[serde(rename = "for")]
    pub waits_for: String,
    /// In words.
    pub reason: String,
    /// Planck that the enclave's account lacks, in decimal.
    pub missing: Option<String>,
    /// What removes it; SURI stands for the key of whoever pays.
    pub command: Option<String>,
}
