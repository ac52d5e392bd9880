//! What host and enclave say to each other. The encoding is frozen by tests; a change raises [`PROTOCOL`].
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, H256, Header, Moment, Registration, ShardBirth, ShardId, ShardMode,
    registry::WorkerUrl,
};
use cloister_claims::{Collateral, TeeKind};
use codec::{Decode, DecodeWithMemTracking, Encode};

use crate::{Kept, Write};

/// Version of this protocol. Both ends name theirs in their first message and refuse another.
pub const PROTOCOL: u16 = 6;

/// Most headers in one [`ToEnclave::Finality`].
pub const MAX_HEADERS: usize = 1024;

/// From the host. To an enclave all of it is a hint, or is verified.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub enum ToEnclave {
    /// The first message.
    #[codec(index = 0)]
    Start {
        /// The host's [`PROTOCOL`].
        protocol: u16,
        /// SCALE `MeasuredConfig`; the enclave measures these bytes.
        config: Vec<u8>,
        /// The shard that the operator wants served, if it must be a certain one.
        shard: Option<ShardId>,
        /// Of layer one's runtime.
        spec_version: u32,
        /// Of layer one's runtime.
        transaction_version: u32,
        /// What the host kept of [`ToHost::Identity::sealed_identity`], if anything.
        sealed_identity: Option<Vec<u8>>,
        /// Where clients find the worker; registered as it is.
        url: Option<WorkerUrl>,
        /// What clients may use.
        limits: ClientLimits,
    },
    /// Layer one's runtime changed. A hint: a wrong one makes extrinsics invalid, nothing else.
    #[codec(index = 1)]
    ChainVersion {
        /// The runtime's `spec_version`.
        spec_version: u32,
        /// The runtime's `transaction_version`.
        transaction_version: u32,
    },
    /// Newly finalized headers.
    #[codec(index = 2)]
    Finality {
        /// From the one after the last finalized up to the justified one, at most [`MAX_HEADERS`].
        headers: Vec<Header>,
        /// SCALE GRANDPA justification of the last header.
        justification: Vec<u8>,
    },
    /// To [`ToHost::ProofQuestion`].
    #[codec(index = 3)]
    ProofAnswer {
        /// Number of the question.
        question: u64,
        /// Trie nodes, or why there are none.
        proof: Result<Vec<Vec<u8>>, String>,
    },
    /// The host's clock, once per slot.
    #[codec(index = 4)]
    Tick {
        /// Unix milliseconds.
        unix_ms: Moment,
    },
    /// A client connected. Numbers rise with every connection.
    #[codec(index = 5)]
    ConnectionOpened {
        /// Number of the connection.
        connection: u64,
    },
    /// Bytes from the client; at least one, and no more than the credit that is left.
    #[codec(index = 6)]
    ConnectionData {
        /// Number of the connection.
        connection: u64,
        /// What the client sent.
        bytes: Vec<u8>,
    },
    /// The client has taken bytes.
    #[codec(index = 7)]
    ConnectionCredit {
        /// Number of the connection.
        connection: u64,
        /// How many.
        bytes: u32,
    },
    /// No more bytes come from the client.
    #[codec(index = 8)]
    ConnectionClosed {
        /// Number of the connection.
        connection: u64,
    },
    /// Layer one's node did not take an extrinsic of [`ToHost::Submit`].
    #[codec(index = 9)]
    SubmitFailed {
        /// BLAKE2b-256 of the extrinsic.
        extrinsic_hash: H256,
        /// What the node said.
        reason: String,
    },
    /// Asks the enclave to end.
    #[codec(index = 10)]
    Stop,
    /// Something of what was kept. After [`ToHost::Identity`] all of it comes, once.
    #[codec(index = 11)]
    Kept(Kept),
    /// There is no more of what was kept.
    #[codec(index = 12)]
    KeptAll,
    /// [`ToHost::Store`] is done; all of it outlives this machine's power.
    #[codec(index = 13)]
    Stored {
        /// Its number.
        sequence: u64,
    },
}

/// What the host lets clients use. A host can refuse clients anyway, so these are its own affair; an enclave takes no
/// more than its own ceilings, and no less than it can work with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct ClientLimits {
    /// Most connections at once.
    pub connections: u32,
    /// Requests per second that one connection may go on making.
    pub requests_per_second: u32,
    /// Requests that one connection may make at once after a silence.
    pub request_burst: u32,
    /// Most operations that one connection watches at once.
    pub watched: u32,
    /// Largest message, bytes.
    pub message_bytes: u32,
    /// Until TLS and WebSocket stand, milliseconds.
    pub handshake_ms: u32,
    /// Silence after which a connection ends, milliseconds.
    pub idle_ms: u32,
    /// Until a client has taken one message, milliseconds.
    pub write_ms: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl ClientLimits {
    /// Of an operator who wishes nothing else.
    pub const DEFAULT: Self = Self {
        connections: 1_024,
        requests_per_second: 200,
        request_burst: 400,
        watched: 64,
        message_bytes: 128 * 1_024,
        handshake_ms: 10_000,
        idle_ms: 60_000,
        write_ms: 20_000,
    };

    /// Below these a client could not use the enclave: not complete a handshake, or not send the largest request.
    pub const LEAST: Self = Self {
        connections: 1,
        requests_per_second: 1,
        request_burst: 1,
        watched: 1,
        message_bytes: 40 * 1_024,
        handshake_ms: 100,
        idle_ms: 100,
        write_ms: 100,
    };

    /// Ceilings.
    pub const MOST: Self = Self {
        connections: 16_384,
        requests_per_second: 100_000,
        request_burst: 100_000,
        watched: 1_024,
        message_bytes: 1_024 * 1_024,
        handshake_ms: 60_000,
        idle_ms: 3_600_000,
        write_ms: 120_000,
    };

    /// Bytes of messages that all clients together may have under way: most connections are for messages of the default
    /// size, and the largest messages for an eighth of them.
    pub const MOST_MESSAGE_BYTES: u32 = 2 << 30;

    /// Each limit, or what is nearest to it between [`LEAST`](Self::LEAST) and [`MOST`](Self::MOST); and no more
    /// connections than [`MOST_MESSAGE_BYTES`](Self::MOST_MESSAGE_BYTES) are enough for.
    #[must_use]
    pub fn clamped(self) -> Self {
        let (least, most) = (Self::LEAST, Self::MOST);
        let message_bytes = self.message_bytes.clamp(least.message_bytes, most.message_bytes);
        let affordable = Self::MOST_MESSAGE_BYTES.checked_div(message_bytes).unwrap_or(least.connections);
        Self {
            connections: self.connections.clamp(least.connections, most.connections.min(affordable)),
            requests_per_second: self.requests_per_second.clamp(least.requests_per_second, most.requests_per_second),
            request_burst: self.request_burst.clamp(least.request_burst, most.request_burst),
            watched: self.watched.clamp(least.watched, most.watched),
            message_bytes,
            handshake_ms: self.handshake_ms.clamp(least.handshake_ms, most.handshake_ms),
            idle_ms: self.idle_ms.clamp(least.idle_ms, most.idle_ms),
            write_ms: self.write_ms.clamp(least.write_ms, most.write_ms),
        }
    }
}

/// From the enclave.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
#[allow(clippy::large_enum_variant, reason = "the large one is sent once")]
pub enum ToHost {
    /// The first message: who was started.
    #[codec(index = 0)]
    Identity {
        /// The enclave's [`PROTOCOL`].
        protocol: u16,
        /// What kind of environment it runs in.
        kind: TeeKind,
        /// Fingerprint of code and configuration.
        measurement: [u8; 32],
        /// Its account on layer one.
        account: AccountId,
        /// With what its shard is to be born.
        birth: ShardBirth,
        /// The shard's id.
        shard: ShardId,
        /// A new identity, sealed. The host must have stored it durably before it passes anything on to layer one:
        /// without it the next start has another account.
        sealed_identity: Option<Vec<u8>>,
        /// Collateral for the evidence, if the environment has its own: the simulated one does.
        collateral: Option<Collateral>,
    },
    /// The light client has followed finality up to here; also sent before the first [`ToEnclave::Finality`].
    #[codec(index = 1)]
    Synced {
        /// Height of the newest finalized block.
        number: BlockNumber,
        /// Its hash.
        hash: H256,
    },
    /// Asks for a proof of storage.
    #[codec(index = 2)]
    ProofQuestion {
        /// Number of the question.
        question: u64,
        /// Hash of the block whose state is asked about.
        at: H256,
        /// Storage keys.
        keys: Vec<Vec<u8>>,
    },
    /// An extrinsic for layer one.
    #[codec(index = 3)]
    Submit {
        /// Signed, with its length before it.
        extrinsic: Vec<u8>,
    },
    /// The shard's birth is final; the enclave serves clients.
    #[codec(index = 4)]
    Serving {
        /// The shard.
        shard: ShardId,
    },
    /// Asks that these be kept durably: all or none, in this order. Answered by [`ToEnclave::Stored`]; requests are
    /// carried out in the order of their numbers.
    #[codec(index = 5)]
    Store {
        /// Number of the request; they rise by one, from 1.
        sequence: u64,
        /// What.
        writes: Vec<Write>,
    },
    /// Bytes for the client; at least one, and no more than the credit that is left.
    #[codec(index = 6)]
    ConnectionData {
        /// Number of the connection.
        connection: u64,
        /// What is sent to the client.
        bytes: Vec<u8>,
    },
    /// The enclave has taken bytes.
    #[codec(index = 7)]
    ConnectionCredit {
        /// Number of the connection.
        connection: u64,
        /// How many.
        bytes: u32,
    },
    /// No more bytes come for the client.
    #[codec(index = 8)]
    ConnectionClosed {
        /// Number of the connection.
        connection: u64,
    },
    /// Figures for the operator; nothing about single users.
    #[codec(index = 9)]
    Status {
        /// Calls that wait.
        pool: u32,
        /// Height of the shard.
        block: u64,
        /// Accounts of the shard.
        accounts: u64,
        /// Bytes of the shard's state.
        state_bytes: u64,
        /// Height of the newest finalized block of layer one that the enclave knows.
        layer_one: BlockNumber,
        /// Height of the newest one whose state was proven to it.
        layer_one_read: BlockNumber,
        /// That block's time (Unix milliseconds); 0 without one.
        layer_one_time: Moment,
        /// Inbox entries consumed.
        inbox_consumed: u64,
        /// Requests of clients answered.
        rpc_requests: u64,
        /// Open connections.
        connections: u32,
        /// Height of the newest block that layer one is proven to have anchored.
        anchored: u64,
        /// Bytes of blocks since the newest snapshot.
        journal_bytes: u64,
        /// The block on which the newest snapshot rests; 0 without one.
        snapshot: u64,
        /// Planck that the enclave's account on layer one can spend, as last proven.
        account_free: Balance,
        /// Microseconds that were spent on executing and sealing blocks since the start.
        execution_micros: u64,
        /// Why no blocks are made for now, or the newest block is not anchored, in words.
        paused: Option<String>,
        /// Entries of the outbox that were ever opened.
        outbox_next: u64,
        /// Those that are open.
        outbox_open: u64,
        /// What the shard does.
        mode: ShardMode,
    },
    /// A registration for layer one, to be submitted as `extrinsic` once its account has money and layer one would take
    /// it. Comes again, with newer evidence, until its finality is proven, and before it expires.
    #[codec(index = 11)]
    Register {
        /// What the extrinsic states, for the host to try first.
        registration: Registration,
        /// Signed, with its length before it.
        extrinsic: Vec<u8>,
    },
    /// The registration of this incarnation is final, for the first time or again.
    #[codec(index = 12)]
    Registered {
        /// When it expires, in layer one's time (Unix milliseconds).
        expires_at: Moment,
    },
    /// A registration is due, and no evidence is made for it: layer one's proven time is too far behind the host's
    /// clock. Comes again every minute of that clock.
    #[codec(index = 13)]
    LayerOneBehind {
        /// Layer one's time as last proven (Unix milliseconds).
        layer_one: Moment,
        /// The host's clock (Unix milliseconds).
        clock: Moment,
    },
    /// The state is that of the newest block again.
    #[codec(index = 14)]
    Recovered {
        /// Height of that block; 0 if the shard has none.
        number: u64,
    },
    /// The last message.
    #[codec(index = 10)]
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

/// Why an enclave ended.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, thiserror::Error)]
pub enum StopReason {
    /// The host asked for it.
    #[error("stopped on request")]
    #[codec(index = 0)]
    Requested,
    /// The measured configuration cannot be used.
    #[error("bad configuration: {0}")]
    #[codec(index = 1)]
    BadConfig(String),
    /// What the host passed for finality does not verify.
    #[error("finality refused: {0}")]
    #[codec(index = 2)]
    FinalityRefused(String),
    /// Layer one stores shards in a layout that this enclave does not know.
    #[error("layer one stores shards in an unknown layout: this enclave is older than the chain's runtime")]
    #[codec(index = 3)]
    StorageLayoutUnknown,
    /// The wanted shard belongs to another start of an enclave; holds the shard of this one.
    #[error("the wanted shard was born by another start of an enclave; this start's shard is {:?}", .0.0)]
    #[codec(index = 4)]
    ShardOfAnotherIncarnation(ShardId),
    /// The host broke the link's protocol.
    #[error("protocol breach: {0}")]
    #[codec(index = 5)]
    Protocol(String),
    /// A defect of the enclave.
    #[error("internal error: {0}")]
    #[codec(index = 6)]
    Internal(String),
    /// A newer incarnation of the same identity is registered.
    #[error("layer one knows a newer incarnation of this identity")]
    #[codec(index = 7)]
    Retired,
    /// The wanted shard does not exist on layer one.
    #[error("layer one has no shard {:?}", .0.0)]
    #[codec(index = 8)]
    UnknownShard(ShardId),
    /// The registration expired before it was renewed.
    #[error("the registration on layer one has expired")]
    #[codec(index = 9)]
    Expired,
    /// Layer one evicted the enclave.
    #[error("layer one evicted this enclave")]
    #[codec(index = 10)]
    Evicted,
    /// No trusted execution environment, or it does not work.
    #[error("trusted execution environment: {0}")]
    #[codec(index = 11)]
    Tee(String),
    /// The sealed identity that the host passed does not open here: it is of another enclave, platform or chain, or altered.
    #[error("the sealed identity does not open: it is of another enclave, platform or chain, or it was altered")]
    #[codec(index = 12)]
    SealedIdentity,
    /// What the host kept is not what an enclave of this shard gave it.
    #[error("what was kept of the shard is refused: {0}")]
    #[codec(index = 13)]
    Kept(String),
    /// The kept blocks end before the newest one that layer one has anchored, or do not contain it.
    #[error("what was kept is not the shard's newest state: {0}")]
    #[codec(index = 14)]
    KeptTooOld(String),
}

/// What framing, queueing and relaying need to know of a direction's messages.
pub trait LinkMessage: Encode + DecodeWithMemTracking + Send + 'static {
    /// Bytes of a connection.
    fn connection_data(connection: u64, bytes: Vec<u8>) -> Self;
    /// Credit for a connection.
    fn connection_credit(connection: u64, bytes: u32) -> Self;
    /// End of a connection's bytes.
    fn connection_closed(connection: u64) -> Self;
    /// Whether the message is part of a connection's byte stream. Such messages keep their order among each other and
    /// give way to all others, so that no amount of traffic delays finality or time.
    fn is_bulk(&self) -> bool;
}

macro_rules! link_message {
    ($message:ty) => {
        impl LinkMessage for $message {
            fn connection_data(connection: u64, bytes: Vec<u8>) -> Self {
                Self::ConnectionData { connection, bytes }
            }
            fn connection_credit(connection: u64, bytes: u32) -> Self {
                Self::ConnectionCredit { connection, bytes }
            }
            fn connection_closed(connection: u64) -> Self {
                Self::ConnectionClosed { connection }
            }
            fn is_bulk(&self) -> bool {
                matches!(self, Self::ConnectionData { .. } | Self::ConnectionClosed { .. })
            }
        }
    };
}

link_message!(ToEnclave);
link_message!(ToHost);
