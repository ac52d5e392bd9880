//! `cloister-worker run`: ports, layer one, configuration, enclave, session.

use std::{
    fs::{File, TryLockError},
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use cloister_chain_primitives::{H256, registry::WorkerUrl};
use cloister_claims::TeeKind;
use cloister_link::Connections;
use serde_json::json;
use sp_core::crypto::Ss58Codec;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    blocks,
    cli::{RunOptions, parse_worker_url, shard_text},
    enclave_process::{EXIT_PATIENCE, EnclaveProcess},
    error::WorkerError,
    funds::{Purse, Sponsor},
    http, inbox,
    keeper::Place,
    launch::{self, Enclave, Keep, Launch},
    layer_one::{LayerOne, LayerOneError, RuntimeVersion, hex_text},
    listener::{BoundedListener, Port},
    open_files,
    operator::{Operator, event, say},
    registration::{self, Registrar},
    relay,
    session::{Identity, Session},
    status::Shared,
    submission::Submitter,
};

/// Runs until SIGTERM or SIGINT, or until something ends it.
pub async fn run(options: &RunOptions) -> Result<(), WorkerError> {
    let result = serve(options).await;
    if options.json {
        event(&json!({ "event": "stopped", "error": result.as_ref().err().map(ToString::to_string) }));
    }
    result
}

async fn serve(options: &RunOptions) -> Result<(), WorkerError> {
    if !options.enclave.dev && options.enclave.enclave_config.is_none() {
        return Err(WorkerError::NoConfiguration);
    }
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let started = tokio::select! {
        started = start(options) => started?,
        () = &mut stop => return Ok(()),
    };
    let Started { mut process, session, services, _lock } = started;
    let result = session.run(services, stop).await;
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
    let lock = lock_directory(&options.enclave.data_dir)?;
    if let Err(error) = open_files::provide_for(options.clients.max_connections) {
        tracing::warn!(%error);
    }
    let ports = Ports::bind(options).await?;
    let in_use = ports.announce(&options.enclave.data_dir, options.json)?;
    let Ports { trusted, untrusted, http, metrics } = ports;
    // Health and metrics are answered at once, even while layer one cannot be reached.
    let shared = Arc::new(Shared::new());
    let mut services = JoinSet::new();
    let health = http::serve_health(http, shared.clone());
    services.spawn(async { health.await.map_err(WorkerError::Service) });
    let figures = http::serve_metrics(metrics, shared.clone());
    services.spawn(async { figures.await.map_err(WorkerError::Service) });
    let layer_one = Arc::new(LayerOne::new(&options.enclave.node_url));
    let version = reach(&layer_one).await?;
    let config = launch::configuration(&options.enclave, &layer_one).await?;
    layer_one.expect_genesis(config.genesis).await?;
    let slot = Duration::from_millis(config.slot_ms.max(1).into());
    let launch = Launch {
        program: launch::program(&options.enclave, &config)?,
        config,
        data_dir: options.enclave.data_dir.clone(),
        keep: Keep::Identity,
        if_refused: launch::if_refused(&options.enclave),
        shard: options.shard,
        version,
        url: advertised(options, &in_use),
        limits: options.clients.limits(),
    };
    let Enclave { process, sender, receiver, identity } = Enclave::launch(&launch).await?;
    introduce_to_operator(&identity, &in_use, options);
    shared.introduce(&identity);
    let connections = Connections::new(sender.clone(), options.clients.max_connections as usize);
    let measuring = inbox::measure(layer_one.clone(), identity.shard, shared.clone(), inbox::PAUSE);
    services.spawn(async {
        measuring.await;
        Ok(())
    });
    let blocks = blocks::serve(untrusted, shared.clone());
    services.spawn(async { blocks.await.map_err(WorkerError::Service) });
    let trusted = BoundedListener::new(trusted, Port::Trusted, options.clients.bounds(), shared.clone());
    let accepting = relay::accept(trusted, connections.clone());
    services.spawn(async {
        accepting.await;
        Ok(())
    });
    let operator = Operator::new(options.json);
    let sponsor = if options.enclave.dev { Sponsor::Alice } else { Sponsor::Operator };
    let purse = Purse::new(layer_one.clone(), &identity);
    let submitter = Arc::new(Submitter::new(purse.clone(), sponsor, operator.clone(), shared.clone()));
    let (registrations, newest) = watch::channel(None);
    let registrar = Registrar {
        purse,
        shared: shared.clone(),
        operator: operator.clone(),
        submit_collateral: launch::submit_collateral(&options.enclave, &identity)?,
        sponsor,
        collateral: identity.collateral,
        pause: registration::PAUSE,
    };
    services.spawn(async {
        registrar.run(newest).await;
        Ok(())
    });
    let place = Some(Place::new(&options.enclave.data_dir, identity.shard));
    let session = Session {
        sender,
        receiver,
        connections,
        layer_one,
        version,
        slot,
        shared,
        operator,
        submitter,
        registrations,
        silence: Duration::from_secs(options.enclave_silence),
        place,
    };
    Ok(Started { process, session, services, _lock: lock })
}

/// What the registry says where clients find this worker.
fn advertised(options: &RunOptions, addresses: &Addresses) -> Option<WorkerUrl> {
    let trusted = || parse_worker_url(&format!("wss://{}", addresses.trusted)).ok();
    options.url.clone().or_else(|| options.enclave.dev.then(trusted).flatten())
}

/// Waits for a node to answer, however long that takes.
pub async fn reach(layer_one: &LayerOne) -> Result<RuntimeVersion, LayerOneError> {
    loop {
        match layer_one.runtime_version().await {
            Err(error) if error.is_connection() => tracing::warn!(%error, "waiting for layer one"),
            result => return result,
        }
    }
}

/// Makes the data directory this process's alone, until the file is closed.
pub fn lock_directory(directory: &Path) -> Result<File, WorkerError> {
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
    /// What an earlier start announced is no longer true when this begins.
    async fn bind(options: &RunOptions) -> Result<Self, WorkerError> {
        remove_if_there(&options.enclave.data_dir.join(PORTS))?;
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
        let path = data_dir.join(PORTS);
        let unfinished = data_dir.join(format!("{PORTS}.new"));
        // Renamed into place, so that nobody reads half of it.
        std::fs::write(&unfinished, ports.to_string())
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|source| WorkerError::File { path, source })?;
        tracing::info!(%ports, "listening");
        if json {
            ports["event"] = json!("listening");
            event(&ports);
        }
        Ok(addresses)
    }
}

fn remove_if_there(path: &Path) -> Result<(), WorkerError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(WorkerError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
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
    let Identity { kind, measurement, account, shard, .. } = identity;
    let address = account.to_ss58check();
    if options.json {
        event(&json!({
            "event": "identity",
            "kind": kind.name(),
            "shard": shard_text(shard),
            "account": address,
            "measurement": hex_text(measurement),
        }));
        return;
    }
    let line = |name: &str, value: &dyn std::fmt::Display| say(format_args!("  {name:<12} {value}"));
    say(format_args!("cloister-worker {}", env!("CARGO_PKG_VERSION")));
    line("layer one", &options.enclave.node_url);
    line("shard", &shard_text(shard));
    line("account", &address);
    line("measurement", &format_args!("{:?}", H256(*measurement)));
    match kind {
        TeeKind::Simulated => {
            line("evidence", &"SIMULATED, self-declared: only the process itself says what code it runs.");
            line("", &"For development; it protects nothing from this machine's operator.");
        }
        hardware => line("evidence", &format_args!("of the hardware ({})", hardware.name())),
    }
    line("clients", &format_args!("wss://{}  (TLS ends in the enclave)", addresses.trusted));
    line("peers", &format_args!("ws://{}", addresses.untrusted));
    line("health", &format_args!("http://{}/is_initialized", addresses.http));
    line("metrics", &format_args!("http://{}/metrics", addresses.metrics));
    if let Some(wanted) = options.shard {
        line("wanted", &shard_text(&wanted));
    }
    say("Serves clients once its registration and its shard are final on layer one.");
}

/// Ends at SIGTERM or SIGINT.
pub fn stop_signal() -> Result<impl Future<Output = ()>, WorkerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkerError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkerError::Runtime)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

const PORTS: &str = "ports.json";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[tokio::test]
    async fn the_ports_of_an_earlier_start_are_gone_before_any_is_bound() {
        let directory = tempfile::tempdir().unwrap();
        let stale = directory.path().join("ports.json");
        std::fs::write(&stale, "{}").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let data_dir = directory.path().to_str().unwrap();
        let arguments = ["cloister-worker", "run", "--dev", "--data-dir", data_dir, "--trusted-port", &port];
        let Command::Run(options) = Cli::parse_from(arguments).command else { panic!("run") };
        let error = start(&options).await.err().unwrap();
        assert!(matches!(error, WorkerError::Listen { .. }), "{error}");
        assert!(!stale.exists());
    }

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
