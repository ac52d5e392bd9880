//! Workers with their enclaves.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{BlockNumber, ShardId};
use cloister_wire::worker_status::WorkerStatus;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    eventually,
    process::{Grandchild, Log, Process, binary},
    to_hex,
};

/// How long a worker may take until it serves: its shard has to be born in a finalized block.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long an enclave may outlive its worker.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// Options of a worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// The only shard that it may serve; the one of its data directory if absent.
    pub shard: Option<ShardId>,
    /// Where it keeps its files; a temporary directory if absent.
    pub data_dir: Option<PathBuf>,
    /// Measured configuration of an ordinary worker; a worker for development, which //Alice helps, if absent.
    pub enclave_config: Option<PathBuf>,
    /// Of a worker for development, the fewest layer-one blocks between the announcement of an upgrade, or of the
    /// shard's end, and its effect; the worker's choice if absent.
    pub upgrade_delay: Option<BlockNumber>,
    /// The enclave's program; the worker's choice if absent.
    pub enclave_binary: Option<PathBuf>,
    /// Seconds that the enclave may say nothing; the worker's default if absent.
    pub enclave_silence: Option<u64>,
    /// More of its arguments.
    pub arguments: Vec<&'static str>,
    /// Whether [`Worker::fill_disk`] is for it.
    pub disk_fills: bool,
}

/// A worker of a development chain.
pub struct Worker {
    process: Process,
    ports: Ports,
    // Its directory is removed after the process has ended.
    setup: Setup,
}

/// With what a worker is started, each time.
struct Setup {
    node_url: String,
    options: WorkerOptions,
    config: Option<PathBuf>,
    data_dir: PathBuf,
    /// Of logs, and of its files unless they have another place.
    directory: TempDir,
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
        let mut worker = Self::listening(Setup::new(node_url, options)?).await?;
        worker.serves().await?;
        Ok(worker)
    }

    /// Starts a worker that nobody helps: its enclave's account has no money, so it never registers. Returns when it
    /// listens for clients and says what it waits for.
    pub async fn start_unregistered(node_url: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = make_config(node_url, &[], directory.path())?;
        let options = WorkerOptions { enclave_config: Some(config), ..WorkerOptions::default() };
        // It has read its configuration, which goes with this directory, before it waits.
        Self::start_idle(node_url, options, "waiting for").await
    }

    /// Starts a worker that will not serve, and waits until it listens for clients and has said `words`.
    pub async fn start_idle(node_url: &str, options: WorkerOptions, words: &str) -> Result<Self> {
        let mut worker = Self::listening(Setup::new(node_url, options)?).await?;
        worker.says(words).await?;
        Ok(worker)
    }

    /// Starts a worker that is expected to end by itself, with `last_words` in its log; returns how.
    pub async fn start_in_vain(node_url: &str, options: WorkerOptions, last_words: &str) -> Result<ExitStatus> {
        let setup = Setup::new(node_url, options)?;
        end_of(&mut setup.spawn()?, last_words).await
    }

    /// Starts it again with its data directory, after it has ended, and waits until it serves.
    pub async fn start_again(&mut self) -> Result<()> {
        self.listen_again().await?;
        self.serves().await
    }

    /// Starts it again with its data directory, after it has ended, and waits until it listens.
    pub async fn listen_again(&mut self) -> Result<()> {
        self.process = self.setup.spawn()?;
        self.ports = Ports::of(&mut self.process, &self.setup.data_dir).await?;
        Ok(())
    }

    /// Starts it again with its data directory, after it has ended, and waits until it has ended by itself with
    /// `last_words` in its log; returns how.
    pub async fn start_again_in_vain(&mut self, last_words: &str) -> Result<ExitStatus> {
        self.process = self.setup.spawn()?;
        end_of(&mut self.process, last_words).await
    }

    async fn listening(setup: Setup) -> Result<Self> {
        let mut process = setup.spawn()?;
        let ports = Ports::of(&mut process, &setup.data_dir).await?;
        Ok(Self { process, ports, setup })
    }

    /// Waits until it serves.
    pub async fn serves(&mut self) -> Result<()> {
        let http = self.ports.http;
        let serving = eventually("a serving shard", START_DEADLINE, async || {
            Ok((http_status(http, "/is_initialized").await? == 200).then_some(()))
        });
        let served = tokio::select! {
            served = serving => served,
            status = self.process.ended() => Err(anyhow::anyhow!("the worker ended ({})", status?)),
        };
        served.map_err(|error| anyhow::anyhow!("{error:#}{}", self.log()))
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
        end_of(&mut self.process, last_words).await
    }

    /// Ends it without warning (SIGKILL), and waits until its enclave has ended, too.
    pub async fn kill(&mut self) -> Result<()> {
        // There may be none yet.
        let enclave = self.enclave();
        self.process.kill().await?;
        let Ok(enclave) = enclave else { return Ok(()) };
        eventually("the enclave's end", END_DEADLINE, async || Ok((!enclave.is_running()).then_some(()))).await
    }

    /// The process of its enclave.
    pub fn enclave(&self) -> Result<Grandchild> {
        self.process.only_child()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.setup.data_dir
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

    /// What its health port says of it.
    pub async fn status(&self) -> Result<WorkerStatus> {
        Ok(serde_json::from_str(&self.page(self.ports.http, "/status").await?)?)
    }

    /// The value of one of its metrics, whose name is given without the prefix; the sum if it has labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let page = self.page(self.ports.metrics, "/metrics").await?;
        let values = page.lines().filter_map(|line| {
            let rest = line.strip_prefix("cloister_")?.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next())?
        });
        let values = values.map(str::parse).collect::<Result<Vec<f64>, _>>().with_context(|| name.to_owned())?;
        ensure!(!values.is_empty(), "no metric {name}");
        Ok(values.iter().sum())
    }

    /// From now on, until it ends, none of its files grows beyond so many bytes, and nothing is written beyond them.
    pub fn fill_disk(&self, bytes: u64) -> Result<()> {
        self.process.limit_files(bytes)
    }

    /// Stops it.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.process.stop().await
    }
}

impl Setup {
    fn new(node_url: &str, options: WorkerOptions) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| directory.path().join("data"));
        let config = match options.upgrade_delay {
            Some(blocks) => {
                Some(make_config(node_url, &["--min-upgrade-delay", &blocks.to_string()], directory.path())?)
            }
            None => options.enclave_config.clone(),
        };
        Ok(Self { node_url: node_url.into(), options, config, data_dir, directory })
    }

    fn spawn(&self) -> Result<Process> {
        let program = binary("cloister-worker")?;
        let mut command = match self.options.disk_fills {
            true => {
                let mut shell = Command::new("sh");
                // Without the signal a write above the limit fails like one to a full disk.
                shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(program);
                shell
            }
            false => Command::new(program),
        };
        command.args(["run", "--node-url", &self.node_url]);
        if self.options.enclave_config.is_none() {
            command.arg("--dev");
        }
        if let Some(config) = &self.config {
            command.arg("--enclave-config").arg(config);
        }
        for port in ["--trusted-port", "--untrusted-port", "--http-port", "--metrics-port"] {
            command.args([port, "0"]);
        }
        command.arg("--data-dir").arg(&self.data_dir);
        if let Some(shard) = self.options.shard {
            command.args(["--shard", &to_hex(shard)]);
        }
        if let Some(seconds) = self.options.enclave_silence {
            command.args(["--enclave-silence", &seconds.to_string()]);
        }
        if let Some(program) = &self.options.enclave_binary {
            command.arg("--enclave-binary").arg(program);
        }
        command.args(&self.options.arguments);
        Process::spawn("worker", &mut command, self.directory.path())
    }
}

impl Ports {
    /// The file may be an earlier start's until the process says that it listens.
    async fn of(process: &mut Process, data_dir: &Path) -> Result<Self> {
        process.line("listening ports=", START_DEADLINE).await?;
        Ok(serde_json::from_slice(&std::fs::read(data_dir.join("ports.json"))?)?)
    }
}

/// Writes a measured configuration for a node's chain.
fn make_config(node_url: &str, options: &[&str], directory: &Path) -> Result<PathBuf> {
    let config = directory.join("enclave.config");
    let mut command = Command::new(binary("cloister-worker")?);
    let made =
        command.args(["make-config", "--node-url", node_url]).args(options).arg("--out").arg(&config).output()?;
    ensure!(made.status.success(), "{made:?}");
    Ok(config)
}

async fn end_of(process: &mut Process, last_words: &str) -> Result<ExitStatus> {
    process.line(last_words, START_DEADLINE).await?;
    let ended = tokio::time::timeout(START_DEADLINE, process.ended()).await;
    ended.with_context(|| format!("the worker goes on{}", process.log()))?
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
