//! The enclave's process.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use sha2::{Digest, Sha256};
use tokio::net::UnixStream;

/// A running enclave. It is killed when dropped; if it ever caught a panic, the test fails then.
pub struct Process {
    child: Child,
    stderr: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the program as `cloister-worker` does, with one end of a socket pair as its standard input; the other end.
    pub fn start(program: &Path) -> (Self, UnixStream) {
        let (near, far) = StdUnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(near).unwrap();
        let mut child = Command::new(program)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(far)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (lines, output) = (stderr.clone(), BufReader::new(child.stderr.take().unwrap()));
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        (Self { child, stderr, reader: Some(reader) }, stream)
    }

    /// What it has written to standard error.
    pub fn log(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Most memory that it has had in RAM at a time, bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Ends it at once, whatever it is doing.
    pub fn kill(&mut self) {
        // One that has ended already is ended.
        let _ = self.child.kill();
        self.wait();
    }

    /// How it ended, once it has; its link must be closed, or its last word said.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- the enclave's last words\n{}\n---", log[log.len().saturating_sub(30)..].join("\n"));
        } else {
            let panicked: Vec<_> = log.iter().filter(|line| line.contains("a panic was caught")).collect();
            assert!(panicked.is_empty(), "{panicked:#?}");
        }
    }
}

/// The simulated enclave: in `CLOISTER_BIN_DIR`, or where cargo puts it, above this test.
pub(crate) fn simulated() -> PathBuf {
    let directories = match env::var_os("CLOISTER_BIN_DIR") {
        Some(directory) => vec![PathBuf::from(directory)],
        None => env::current_exe().unwrap().ancestors().skip(1).take(2).map(Path::to_owned).collect(),
    };
    let found = directories.iter().map(|directory| directory.join(NAME)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {NAME} in {directories:?}: build the whole workspace"))
}

/// SHA-256 of a program, which is part of its measurement.
pub(crate) fn hash(program: &Path) -> [u8; 32] {
    static HASHES: Mutex<BTreeMap<PathBuf, [u8; 32]>> = Mutex::new(BTreeMap::new());
    let mut hashes = HASHES.lock().unwrap();
    *hashes.entry(program.into()).or_insert_with(|| Sha256::digest(std::fs::read(program).unwrap()).into())
}

const NAME: &str = "cloister-enclave-simulated";
