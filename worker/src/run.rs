//! `cloister-worker run`: ports, layer one, configuration, enclave, session.

use std::{
    fs::{File, TryLockError},
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use cloister_chain_primitives::{H256, config::MeasuredConfig};
use cloister_link::{Connections, ToEnclave, ToHost, transport};
use codec::{DecodeAll, Encode};
use serde_json::json;
use sp_core::crypto::Ss58Codec;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{
    blocks,
    cli::{DEFAULT_MIN_UPGRADE_DELAY, DEFAULT_SLOT_MS, RunOptions, shard_text},
    dev,
    enclave_process::{self, EnclaveProcess},
    error::WorkerError,
    http,
    layer_one::{LayerOne, LayerOneError, hex_text},
    relay,
    session::{Identity, Session, Shared, introduce},
};

/// Prints a line; whoever has closed our standard output does not want it.
macro_rules! say {
    ($($line:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

/// Runs until SIGTERM or SIGINT, or until something ends it.
pub async fn run(options: &RunOptions) -> Result<(), WorkerError> {
    let result = serve(options).await;
    if options.json {
        event(json!({ "event": "stopped", "error": result.as_ref().err().map(ToString::to_string) }));
    }
    result
}

async fn serve(options: &RunOptions) -> Result<(), WorkerError> {
    if !options.dev && options.enclave_config.is_none() {
        return Err(WorkerError::NoConfiguration);
    }
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let started = tokio::select! {
        started = start(options) => started?,
        () = &mut stop => return Ok(()),
    };
    let Started { mut process, session, services, _lock } = started;
    let json = options.json;
    let result = session
        .run(services, stop, |shard| {
            if json {
                event(json!({ "event": "serving", "shard": shard_text(shard) }));
            } else {
                say!("serving shard {}", shard_text(shard));
            }
        })
        .await;
    let patience = if result.is_ok() { EXIT_PATIENCE } else { Duration::from_millis(500) };
    let status = process.wait(patience).await;
    match result {
        Err(WorkerError::EnclaveDied(None)) => Err(WorkerError::EnclaveDied(status)),
        result => result,
    }
}

struct Started {
    process: EnclaveProcess,
    session: Session<tokio::net::UnixStream>,
    services: JoinSet<Result<(), WorkerError>>,
    /// Keeps other workers out of the data directory.
    _lock: File,
}

async fn start(options: &RunOptions) -> Result<Started, WorkerError> {
    let lock = lock_directory(&options.data_dir)?;
    let ports = Ports::bind(options).await?;
    let in_use = ports.announce(&options.data_dir, options.json)?;
    let Ports { trusted, untrusted, http, metrics } = ports;
    // Health and metrics are answered at once, even while layer one cannot be reached.
    let shared = Arc::new(Shared::new());
    let mut services = JoinSet::new();
    let health = http::serve_health(http, shared.clone());
    services.spawn(async { health.await.map_err(WorkerError::Service) });
    let figures = http::serve_metrics(metrics, shared.clone());
    services.spawn(async { figures.await.map_err(WorkerError::Service) });
    let layer_one = Arc::new(LayerOne::new(&options.node_url));
    let version = reach(&layer_one).await?;
    let config = configuration(options, &layer_one).await?;
    layer_one.expect_genesis(config.genesis).await?;
    let program = match &options.enclave_binary {
        Some(program) => program.clone(),
        None => enclave_process::default_program()
            .map_err(|source| WorkerError::EnclaveStart { path: "cloister-enclave".into(), source })?,
    };
    let (mut process, stream) = EnclaveProcess::start(&program)?;
    let (sender, mut receiver) = transport::split::<_, ToEnclave, ToHost>(stream);
    let identity = match introduce(&sender, &mut receiver, config.encode(), options.shard, version).await {
        Err(WorkerError::EnclaveDied(None)) => {
            return Err(WorkerError::EnclaveDied(process.wait(EXIT_PATIENCE).await));
        }
        identity => identity?,
    };
    introduce_to_operator(&identity, &in_use, options);
    shared.blocks.belong_to(identity.shard);
    let connections = Connections::new(sender.clone(), options.max_connections);
    services.spawn(serve_blocks(untrusted, shared.clone()));
    let accepting = relay::accept(trusted, connections.clone(), shared.clone());
    services.spawn(async {
        accepting.await;
        Ok(())
    });
    // Who wants a certain shard does not want a new one.
    if options.dev && options.shard.is_none() {
        let layer_one = layer_one.clone();
        let Identity { account, birth, shard, .. } = identity;
        services.spawn(async move { dev::bear(&layer_one, &birth, &account, &shard).await });
    }
    let slot = Duration::from_millis(config.slot_ms.max(1).into());
    let session = Session { sender, receiver, connections, layer_one, version, slot, shared };
    Ok(Started { process, session, services, _lock: lock })
}

async fn serve_blocks(listener: TcpListener, shared: Arc<Shared>) -> Result<(), WorkerError> {
    let (_, handle) = blocks::serve(listener, shared).await.map_err(WorkerError::Service)?;
    handle.stopped().await;
    Ok(())
}

/// Waits for a node to answer, however long that takes.
async fn reach(layer_one: &LayerOne) -> Result<crate::layer_one::RuntimeVersion, LayerOneError> {
    loop {
        match layer_one.runtime_version().await {
            Err(error) if error.is_connection() => tracing::warn!(%error, "waiting for layer one"),
            result => return result,
        }
    }
}

async fn configuration(options: &RunOptions, layer_one: &LayerOne) -> Result<MeasuredConfig, WorkerError> {
    let Some(path) = options.enclave_config.clone() else {
        let choices = dev::Choices {
            simulation_allowed: true,
            slot_ms: DEFAULT_SLOT_MS,
            min_upgrade_delay: DEFAULT_MIN_UPGRADE_DELAY,
        };
        return Ok(dev::configuration(layer_one, &choices).await?);
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(WorkerError::File { path, source }),
    };
    MeasuredConfig::decode_all(&mut &bytes[..]).map_err(|source| WorkerError::BadConfiguration { path, source })
}

/// Makes the data directory this process's alone, until the file is closed.
fn lock_directory(directory: &Path) -> Result<File, WorkerError> {
    let path = directory.join("lock");
    let opened = std::fs::create_dir_all(directory).and_then(|()| File::create(&path));
    let lock = match opened {
        Ok(lock) => lock,
        Err(source) => return Err(WorkerError::File { path, source }),
    };
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(WorkerError::DataDirectoryInUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(WorkerError::File { path, source }),
    }
}

/// The sockets on which a worker listens.
struct Ports {
    trusted: TcpListener,
    untrusted: TcpListener,
    http: TcpListener,
    metrics: TcpListener,
}

impl Ports {
    async fn bind(options: &RunOptions) -> Result<Self, WorkerError> {
        let bind = async |port| {
            let address = SocketAddr::new(options.listen_address, port);
            let listen = |source| WorkerError::Listen { address: address.to_string(), source };
            TcpListener::bind(address).await.map_err(listen)
        };
        Ok(Self {
            trusted: bind(options.trusted_port).await?,
            untrusted: bind(options.untrusted_port).await?,
            http: bind(options.http_port).await?,
            metrics: bind(options.metrics_port).await?,
        })
    }

    /// Names the ports in the data directory and, as JSON, on standard output.
    fn announce(&self, data_dir: &Path, json: bool) -> Result<Addresses, WorkerError> {
        let address = |listener: &TcpListener| listener.local_addr().map_err(WorkerError::Runtime);
        let addresses = Addresses {
            trusted: address(&self.trusted)?,
            untrusted: address(&self.untrusted)?,
            http: address(&self.http)?,
            metrics: address(&self.metrics)?,
        };
        let mut ports = json!({
            "trusted": addresses.trusted.port(),
            "untrusted": addresses.untrusted.port(),
            "http": addresses.http.port(),
            "metrics": addresses.metrics.port(),
        });
        let path = data_dir.join("ports.json");
        let unfinished = data_dir.join("ports.json.new");
        // Renamed into place, so that nobody reads half of it.
        std::fs::write(&unfinished, ports.to_string())
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|source| WorkerError::File { path, source })?;
        tracing::info!(%ports, "listening");
        if json {
            ports["event"] = json!("listening");
            event(ports);
        }
        Ok(addresses)
    }
}

/// Where a worker listens.
struct Addresses {
    trusted: SocketAddr,
    untrusted: SocketAddr,
    http: SocketAddr,
    metrics: SocketAddr,
}

fn introduce_to_operator(identity: &Identity, addresses: &Addresses, options: &RunOptions) {
    let Identity { simulated, measurement, account, birth, shard } = identity;
    let birth_call = hex_text(&dev::birth_call(birth).encode());
    let address = account.to_ss58check();
    if options.json {
        event(json!({
            "event": "identity",
            "shard": shard_text(shard),
            "account": address,
            "measurement": hex_text(measurement),
            "simulated": simulated,
            "birth_call": birth_call,
        }));
        return;
    }
    say!("cloister-worker {}", env!("CARGO_PKG_VERSION"));
    say!("  layer one    {}", options.node_url);
    say!("  shard        {}", shard_text(shard));
    say!("  account      {address}");
    say!("  measurement  {:?}", H256(*measurement));
    if *simulated {
        say!("  evidence     SIMULATED, self-declared: only the process itself says what code it runs.");
        say!("               For development; it protects nothing from this machine's operator.");
    } else {
        say!("  evidence     of the hardware");
    }
    say!("  clients      wss://{}  (TLS ends in the enclave)", addresses.trusted);
    say!("  peers        ws://{}", addresses.untrusted);
    say!("  health       http://{}/is_initialized", addresses.http);
    say!("  metrics      http://{}/metrics", addresses.metrics);
    if let Some(wanted) = options.shard {
        say!("  wanted       {}", shard_text(&wanted));
    } else if !options.dev {
        say!();
        say!("Waiting for the shard's birth. Root of layer one must submit this call, sudo(create_shard):");
        say!("cloister submit-call ROOT {birth_call}");
        say!("and {address} needs money for its extrinsics (1000 UNIT will do).");
    }
}

fn event(event: serde_json::Value) {
    say!("{event}");
}

/// Ends at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>, WorkerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkerError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkerError::Runtime)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// How long an enclave that has said its last word may take to exit.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_one_workers_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/data");
        let lock = lock_directory(&path).unwrap();
        let error = lock_directory(&path).unwrap_err();
        assert!(matches!(&error, WorkerError::DataDirectoryInUse { path: named } if *named == path), "{error}");
        drop(lock);
        lock_directory(&path).unwrap();
    }
}
