//! Workers with their enclaves.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::ShardId;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    eventually,
    process::{Log, Process, binary},
    to_hex,
};

/// How long a worker may take until it serves: its shard has to be born in a finalized block.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Options of a worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// A shard of an earlier start, which only survives once enclaves keep their state.
    pub shard: Option<ShardId>,
    /// Where it keeps its files; a temporary directory if absent.
    pub data_dir: Option<PathBuf>,
    /// Measured configuration of an ordinary worker; a worker for development, which //Alice helps, if absent.
    pub enclave_config: Option<PathBuf>,
    /// The enclave's program; the worker's choice if absent.
    pub enclave_binary: Option<PathBuf>,
}

/// A worker of a development chain.
pub struct Worker {
    process: Process,
    ports: Ports,
    // Removed after the process has ended.
    _directory: TempDir,
}

/// Where a worker listens, as it writes it to `ports.json` in its data directory.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ports {
    /// JSON-RPC over TLS that ends in the enclave.
    pub trusted: u16,
    /// JSON-RPC of the host.
    pub untrusted: u16,
    /// Health.
    pub http: u16,
    /// Prometheus metrics.
    pub metrics: u16,
}

impl Worker {
    /// Starts a worker at a node and waits until its shard serves.
    pub async fn start(node_url: &str, options: WorkerOptions) -> Result<Self> {
        let (mut process, directory, data_dir) = Self::spawn(node_url, options)?;
        let serving = async {
            let ports = eventually("the worker's ports", START_DEADLINE, async || Ports::read(&data_dir)).await?;
            eventually("a serving shard", START_DEADLINE, async || {
                Ok((http_status(ports.http, "/is_initialized").await? == 200).then_some(ports))
            })
            .await
        };
        let ports = tokio::select! {
            ports = serving => ports,
            status = process.ended() => Err(anyhow::anyhow!("the worker ended ({})", status?)),
        };
        match ports {
            Ok(ports) => Ok(Self { process, ports, _directory: directory }),
            Err(error) => bail!("{error:#}{}", process.log()),
        }
    }

    /// Starts a worker that nobody helps: its enclave's account has no money, so it never registers. Returns when it
    /// listens for clients and says what it waits for.
    pub async fn start_unregistered(node_url: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("enclave.config");
        let make_config = Command::new(binary("cloister-worker")?)
            .args(["make-config", "--node-url", node_url, "--out"])
            .arg(&config)
            .output()?;
        ensure!(make_config.status.success(), "{make_config:?}");
        let options = WorkerOptions { enclave_config: Some(config), ..WorkerOptions::default() };
        // It has read its configuration, which goes with this directory, before it waits.
        Self::start_idle(node_url, options, "waiting for").await
    }

    /// Starts a worker that will not serve, and waits until it listens for clients and has said `words`.
    pub async fn start_idle(node_url: &str, options: WorkerOptions, words: &str) -> Result<Self> {
        let (mut process, directory, data_dir) = Self::spawn(node_url, options)?;
        let ports = eventually("the worker's ports", START_DEADLINE, async || Ports::read(&data_dir)).await?;
        process.line(words, START_DEADLINE).await?;
        Ok(Self { process, ports, _directory: directory })
    }

    /// Waits until it serves.
    pub async fn serves(&self) -> Result<()> {
        let serving =
            eventually("a serving shard", START_DEADLINE, async || Ok(self.is_serving().await?.then_some(())));
        serving.await.with_context(|| self.log().to_string())
    }

    /// Whether its health page says that it serves.
    pub async fn is_serving(&self) -> Result<bool> {
        Ok(http_status(self.ports.http, "/is_initialized").await? == 200)
    }

    /// Waits until it has said `words`.
    pub async fn says(&mut self, words: &str) -> Result<()> {
        self.process.line(words, START_DEADLINE).await.map(drop)
    }

    /// Waits until it ends by itself after it has said `last_words`; returns how.
    pub async fn ends(&mut self, last_words: &str) -> Result<ExitStatus> {
        self.process.line(last_words, START_DEADLINE).await?;
        let ended = tokio::time::timeout(START_DEADLINE, self.process.ended()).await;
        ended.with_context(|| format!("the worker goes on{}", self.process.log()))?
    }

    /// Starts a worker that is expected to end by itself, with `last_words` in its log; returns how.
    pub async fn start_in_vain(node_url: &str, options: WorkerOptions, last_words: &str) -> Result<ExitStatus> {
        let (mut process, _directory, _) = Self::spawn(node_url, options)?;
        process.line(last_words, START_DEADLINE).await?;
        let ended = tokio::time::timeout(START_DEADLINE, process.ended()).await;
        ended.with_context(|| format!("the worker goes on{}", process.log()))?
    }

    fn spawn(node_url: &str, options: WorkerOptions) -> Result<(Process, TempDir, PathBuf)> {
        let directory = tempfile::tempdir()?;
        let data_dir = options.data_dir.unwrap_or_else(|| directory.path().join("data"));
        Ports::forget(&data_dir)?;
        let mut command = Command::new(binary("cloister-worker")?);
        command.args(["run", "--node-url", node_url]);
        match options.enclave_config {
            Some(config) => command.arg("--enclave-config").arg(config),
            None => command.arg("--dev"),
        };
        for port in ["--trusted-port", "--untrusted-port", "--http-port", "--metrics-port"] {
            command.args([port, "0"]);
        }
        command.arg("--data-dir").arg(&data_dir);
        if let Some(shard) = options.shard {
            command.args(["--shard", &to_hex(shard)]);
        }
        if let Some(program) = options.enclave_binary {
            command.arg("--enclave-binary").arg(program);
        }
        let process = Process::spawn("worker", &mut command, directory.path())?;
        Ok((process, directory, data_dir))
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("wss://127.0.0.1:{}", self.ports.trusted)
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// What it and its enclave have written.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The body of a page of its health or metrics port.
    pub async fn page(&self, port: u16, path: &str) -> Result<String> {
        let (_, body) = http_get(port, path).await?;
        Ok(body)
    }

    /// Stops it.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.process.stop().await
    }
}

impl Ports {
    /// Removes those of an earlier start.
    fn forget(data_dir: &Path) -> Result<()> {
        match std::fs::remove_file(data_dir.join("ports.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// `None` as long as the worker has not written them.
    fn read(data_dir: &Path) -> Result<Option<Self>> {
        match std::fs::read(data_dir.join("ports.json")) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The status code of a plain HTTP answer from this machine.
pub async fn http_status(port: u16, path: &str) -> Result<u16> {
    Ok(http_get(port, path).await?.0)
}

async fn http_get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP status")?;
    Ok((code, body.to_owned()))
}
