//! Health and metrics over plain HTTP. Figures only, nothing about single users.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use prometheus::{
    Counter, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::net::TcpListener;

use crate::{
    admission::Refusal,
    listener::{BoundedListener, Port},
    status::Shared,
};

/// Serves `/is_initialized`: 200 once the enclave serves its shard, 404 before; and `/status`, JSON of a
/// [`WorkerStatus`](cloister_wire::worker_status::WorkerStatus).
pub async fn serve_health(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = BoundedListener::served(listener, Port::Http, shared.clone());
    let health = async |State(shared): State<Arc<Shared>>| {
        if shared.is_serving() {
            (StatusCode::OK, "I am initialized.")
        } else {
            (StatusCode::NOT_FOUND, "I am not initialized.")
        }
    };
    let status = async |State(shared): State<Arc<Shared>>| {
        // Numbers and texts under fixed names always have a JSON form.
        ([(CONTENT_TYPE, "application/json")], serde_json::to_string(&shared.status()).unwrap_or_default())
    };
    let routes = Router::new().route("/is_initialized", get(health)).route("/status", get(status));
    axum::serve(listener, routes.with_state(shared)).await
}

/// Serves `/metrics`.
pub async fn serve_metrics(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = BoundedListener::served(listener, Port::Metrics, shared.clone());
    let metrics = async |State(shared): State<Arc<Shared>>| match shared.metrics.text() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    axum::serve(listener, Router::new().route("/metrics", get(metrics)).with_state(shared)).await
}

/// Counts connections that were refused, by port and reason.
#[derive(Clone, Debug)]
pub struct RefusedConnections(IntCounterVec);

impl RefusedConnections {
    fn with_opts(opts: Opts) -> prometheus::Result<Self> {
        let counters = IntCounterVec::new(opts, &["port", "reason"])?;
        for (port, refusal) in Port::ALL.into_iter().flat_map(|port| Refusal::ALL.map(|refusal| (port, refusal))) {
            // Shown from the start on.
            counters.with_label_values(&[port.name(), refusal.name()]);
        }
        Ok(Self(counters))
    }

    /// One more.
    pub fn count(&self, port: Port, refusal: Refusal) {
        self.0.with_label_values(&[port.name(), refusal.name()]).inc();
    }
}

impl Collector for RefusedConnections {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

macro_rules! metrics {
    ($($(#[$what:meta])* $name:ident: $kind:ty = $help:literal,)*) => {
        /// What a worker measures.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(pub $name: $kind,)*
        }

        impl Metrics {
            /// # Errors
            /// If two metrics had the same name.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new_custom(Some("cloister".into()), None)?;
                $(
                    let $name = <$kind>::with_opts(Opts::new(stringify!($name), $help).into())?;
                    registry.register(Box::new($name.clone()))?;
                )*
                Ok(Self { registry, $($name,)* })
            }
        }
    };
}

metrics! {
    serving: IntGauge = "Whether the enclave serves its shard",
    pool_calls: IntGauge = "Calls that wait in the enclave's pool",
    paused: IntGauge = "Whether no blocks are made for now, or the newest one is not anchored in time (0 or 1)",
    block_number: IntGauge = "Height of the shard",
    anchored_block: IntGauge = "Newest block of the shard that layer one is proven to have anchored; 0 without one",
    unanchored_blocks: IntGauge = "Blocks of the shard after that one",
    execution_seconds_total: Counter = "Seconds that the enclave spent on executing and sealing blocks",
    accounts: IntGauge = "Accounts of the shard",
    state_bytes: IntGauge = "Bytes of keys and values of the shard's state",
    journal_bytes: IntGauge = "Bytes of blocks since the newest snapshot",
    snapshot_block: IntGauge = "Block of the shard on which the newest snapshot rests; 0 without one",
    recovery_seconds: Gauge = "Seconds from the enclave's start to its having the shard's state again; 0 before",
    store_file_bytes: IntGauge = "Bytes of the file in which blocks and snapshots are kept",
    store_commit_seconds: Histogram = "Seconds until what the enclave gave to keep was durable, per commit",
    store_queue: IntGauge = "Requests of the enclave to keep something that are not durable yet",
    layer_one_finalized: IntGauge = "Newest finalized layer-one block that the enclave has verified",
    layer_one_read: IntGauge = "Newest finalized layer-one block whose state the enclave has verified",
    layer_one_time: IntGauge = "That block's time (Unix seconds); 0 before the first one",
    inbox_consumed: IntGauge = "Inbox entries that the shard has consumed",
    inbox_waiting: IntGauge = "Inbox entries on layer one that the shard has not consumed yet, as the node says",
    outbox_opened: IntGauge = "Entries of the shard's outbox that were ever opened",
    outbox_open: IntGauge = "Those that layer one has not settled, or whose settlement no block has taken in",
    maintenance: IntGauge = "Whether the shard is under maintenance (0 or 1)",
    retired: IntGauge = "Whether the shard is retired and its accounts leave (0 or 1)",
    connections: IntGauge = "Open client connections",
    rpc_requests_total: IntCounter = "Client requests that the enclave answered",
    connections_refused_total: RefusedConnections = "Connections refused: too many in all or of one peer, or a peer's too fast",
    blocks_total: IntCounter = "Blocks of the shard that the enclave produced and that are kept",
    snapshot_pieces_total: IntCounter = "Pieces of snapshots that are, or were, kept",
    proof_questions_total: IntCounter = "Storage proofs that the enclave asked for",
    proofs_missing_total: IntCounter = "Storage proofs that layer one's node did not give",
    extrinsics_submitted_total: IntCounter = "Extrinsics that layer one's node took",
    extrinsics_failed_total: IntCounter = "Extrinsics that layer one's node did not take",
    registrations_total: IntCounter = "Registrations of this start that became final",
    registration_expires_at: IntGauge = "When the registration expires, in layer one's time (Unix seconds); 0 without one",
    account_free: Gauge = "Planck that the enclave's account on layer one can spend, as last proven",
    account_lasts_seconds: Gauge = "Seconds that they last at the last ten minutes' rate; infinite if nothing was spent",
    layer_one_connects_total: IntCounter = "Connections made to layer one's node",
}

impl Metrics {
    /// In Prometheus' text format.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Raises a counter to a total that was counted elsewhere.
pub fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use cloister_claims::TeeKind;
    use cloister_wire::worker_status::WorkerStatus;
    use sp_core::crypto::Ss58Codec;

    use super::*;
    use crate::{cli::shard_text, session::Identity, testing};

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_turns_from_404_to_200() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_health(listener, shared.clone()));
        assert!(get(address, "/is_initialized").await.starts_with("HTTP/1.1 404"));
        shared.set_serving();
        let answer = get(address, "/is_initialized").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("I am initialized."), "{answer}");
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn the_status_page_tells_how_far_the_start_is_and_what_the_enclave_says() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_health(listener, shared.clone()));
        let page = async || {
            let answer = get(address, "/status").await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains("content-type: application/json"),
                "{answer}"
            );
            serde_json::from_str::<WorkerStatus>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let starting = WorkerStatus { version: version.clone(), phase: "starting".into(), ..Default::default() };
        assert_eq!(WorkerStatus { uptime_seconds: 0, ..page().await }, starting);

        let (account, shard) = (testing::account(), testing::shard());
        shared.introduce(&Identity {
            kind: TeeKind::Simulated,
            measurement: [1; 32],
            account: account.clone(),
            birth: testing::birth(),
            shard,
            sealed_identity: None,
            collateral: None,
        });
        assert_eq!(page().await.phase, "recovering");
        shared.set_recovered(Duration::from_millis(1_500));
        assert_eq!(page().await.phase, "registering");
        shared.set_registered(1_700_000_000_999);
        shared.set_serving();
        shared.metrics.store_file_bytes.set(77);
        shared.hear(testing::status(), 2);
        let expected = WorkerStatus {
            version,
            uptime_seconds: 0,
            shard: shard_text(&shard),
            account: account.to_ss58check(),
            kind: "simulated".into(),
            measurement: format!("0x{}", "01".repeat(32)),
            phase: "serving".into(),
            paused: Some("layer one's finality stalls".into()),
            obstacles: Vec::new(),
            block: 20,
            anchored: 11,
            pool: 1,
            accounts: 3,
            state_bytes: 4,
            journal_bytes: 12,
            snapshot: 13,
            store_bytes: 77,
            inbox_consumed: 8,
            outbox_opened: 15,
            outbox_open: 16,
            mode: "retired".into(),
            layer_one: 5,
            layer_one_read: 6,
            layer_one_time: 7_999,
            registration_expires_at: Some(1_700_000_000_999),
            account_free: "14000000000000000000000".into(),
            account_lasts_seconds: None,
            connections: 2,
            rpc_requests: 9,
        };
        assert_eq!(WorkerStatus { uptime_seconds: 0, ..page().await }, expected);

        let text = shared.metrics.text().unwrap();
        for line in [
            "recovery_seconds 1.5",
            "execution_seconds_total 1.5",
            "account_free 14000000000000000000000",
            "account_lasts_seconds inf",
            "unanchored_blocks 9",
            "snapshot_block 13",
            "journal_bytes 12",
            "paused 1",
            "outbox_opened 15",
            "outbox_open 16",
            "retired 1",
            "maintenance 0",
            "store_commit_seconds_count 0",
        ] {
            assert!(text.contains(&format!("\ncloister_{line}\n")), "{line}: {text}");
        }
    }

    #[tokio::test]
    async fn metrics_carry_the_prefix() {
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_metrics(listener, shared.clone()));
        shared.metrics.block_number.set(7);
        raise_to(&shared.metrics.rpc_requests_total, 5);
        raise_to(&shared.metrics.rpc_requests_total, 3);
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("\ncloister_block_number 7\n"), "{answer}");
        assert!(answer.contains("\ncloister_rpc_requests_total 5\n"), "{answer}");
        assert!(answer.contains("\ncloister_serving 0\n"), "{answer}");
    }
}
