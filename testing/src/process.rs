//! Child processes with their logs.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::sync::watch;

/// How many lines of its log a failed process shows.
const SHOWN_LINES: usize = 40;
/// How long a process may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// How long what a process wrote before its end may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running child. It stays in this process's group, so that what ends the group (Ctrl-C, a test runner's timeout) ends
/// the child, too; dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: Log,
}

impl Process {
    /// Starts `command` as `name`; what it writes goes to `directory/name.log`.
    pub fn spawn(name: &str, command: &mut Command, directory: &Path) -> Result<Self> {
        let path = directory.join(format!("{name}.log"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        let log = Log::new(&path)?;
        if let Some(output) = child.stdout.take() {
            log.follow(output);
        }
        if let Some(output) = child.stderr.take() {
            log.follow(output);
        }
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The one process that it has started and that still runs.
    pub fn only_child(&self) -> Result<Grandchild> {
        // Threads other than the first may have started it.
        let mut found = Vec::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                found.push(Grandchild(child.parse().ok().and_then(Pid::from_raw).context("no process id")?));
            }
        }
        found.retain(Grandchild::is_running);
        match found.as_slice() {
            [child] => Ok(*child),
            children => bail!("{} has started {children:?}", self.name),
        }
    }

    /// What it has written.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line that contains `text`. Fails with the log's end if the process ends or the deadline passes before.
    pub async fn line(&mut self, text: &str, deadline: Duration) -> Result<String> {
        let log = self.log.clone();
        tokio::select! {
            line = log.line(text) => Ok(line),
            ended = self.ended() => {
                let status = ended?;
                // Its last words may still be on their way through the pipe.
                if let Ok(line) = tokio::time::timeout(LAST_WORDS, self.log.line(text)).await {
                    return Ok(line);
                }
                bail!("{} ended ({status}) before it said {text:?}{}", self.name, self.log)
            }
            () = tokio::time::sleep(deadline) => {
                bail!("{} did not say {text:?} within {deadline:?}{}", self.name, self.log)
            }
        }
    }

    /// Waits until it ends.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // The kernel tells a parent only by a signal, which belongs to the runtime's own children.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        if self.is_running() {
            kill_process(self.pid()?, Signal::TERM).with_context(|| format!("cannot stop {}", self.name))?;
        }
        match tokio::time::timeout(STOP_DEADLINE, self.ended()).await {
            Ok(status) => status,
            Err(_) => bail!("{} did not stop within {STOP_DEADLINE:?}{}", self.name, self.log),
        }
    }

    /// Lets it no longer run, alive as it is (SIGSTOP), until [`Self::thaw`].
    pub fn freeze(&self) -> Result<()> {
        kill_process(self.pid()?, Signal::STOP).with_context(|| format!("cannot freeze {}", self.name))
    }

    /// Lets it run again (SIGCONT).
    pub fn thaw(&self) -> Result<()> {
        kill_process(self.pid()?, Signal::CONT).with_context(|| format!("cannot thaw {}", self.name))
    }

    /// Lets it write nothing beyond so many bytes of any file (RLIMIT_FSIZE).
    pub fn limit_files(&self, bytes: u64) -> Result<()> {
        let limit = Rlimit { current: Some(bytes), maximum: None };
        prlimit(Some(self.pid()?), Resource::Fsize, limit).with_context(|| format!("cannot limit {}", self.name))?;
        Ok(())
    }

    /// Ends it without warning (SIGKILL).
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.ended().await?;
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}{}", self.name, self.log);
        }
    }
}

/// A process that a child has started.
#[derive(Clone, Copy, Debug)]
pub struct Grandchild(Pid);

impl Grandchild {
    /// Whether it runs. One that has ended may still wait for its parent to take note.
    pub fn is_running(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero())) else { return false };
        stat.rsplit(") ").next().is_some_and(|state| !state.starts_with('Z'))
    }

    /// Ends it without warning (SIGKILL).
    pub fn kill(&self) -> Result<()> {
        kill_process(self.0, Signal::KILL).with_context(|| format!("cannot kill {self:?}"))
    }
}

/// The lines that a process wrote so far, in a file and in memory.
#[derive(Clone)]
pub struct Log {
    path: PathBuf,
    written: Arc<Mutex<Written>>,
    count: watch::Sender<usize>,
}

struct Written {
    file: File,
    lines: Vec<String>,
}

impl Log {
    fn new(path: &Path) -> Result<Self> {
        // A process that is started again goes on in the same file.
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        let written = Arc::new(Mutex::new(Written { file, lines: Vec::new() }));
        Ok(Self { path: path.to_owned(), written, count: watch::Sender::new(0) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a line that contains `text`, from the beginning.
    async fn line(&self, text: &str) -> String {
        let mut count = self.count.subscribe();
        let mut seen = 0;
        loop {
            count.borrow_and_update();
            let found = self.with(|written| {
                let found = written.lines.iter().skip(seen).find(|line| line.contains(text)).cloned();
                seen = written.lines.len();
                found
            });
            if let Some(line) = found {
                return line;
            }
            if count.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether a line so far contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.with(|written| written.lines.iter().any(|line| line.contains(text)))
    }

    /// How many lines so far contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.with(|written| written.lines.iter().filter(|line| line.contains(text)).count())
    }

    /// The newest line that contains `text`.
    pub fn newest(&self, text: &str) -> Option<String> {
        self.with(|written| written.lines.iter().rev().find(|line| line.contains(text)).cloned())
    }

    fn follow(&self, output: impl std::io::Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            // Ends with the last process that holds the pipe.
            while matches!(output.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let count = log.with(|written| {
                    // Without a file there are still the lines in memory.
                    let _ = writeln!(written.file, "{text}");
                    written.lines.push(text);
                    written.lines.len()
                });
                log.count.send_replace(count);
                line.clear();
            }
        });
    }

    fn with<R>(&self, read: impl FnOnce(&mut Written) -> R) -> R {
        read(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The log's end, as it belongs under an error.
impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (skipped, lines) = self.with(|written| {
            let skipped = written.lines.len().saturating_sub(SHOWN_LINES);
            (skipped, written.lines.get(skipped..).unwrap_or_default().to_vec())
        });
        write!(f, "\n--- {} ({skipped} earlier lines)", self.path.display())?;
        for line in lines {
            write!(f, "\n{line}")?;
        }
        write!(f, "\n---")
    }
}

/// A binary of the workspace: in `CLOISTER_BIN_DIR`, or where cargo puts it, beside this program or above it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directories = match env::var_os("CLOISTER_BIN_DIR") {
        Some(directory) => vec![PathBuf::from(directory)],
        // A test lies in `deps`, one below the binaries.
        None => env::current_exe()?.ancestors().skip(1).take(2).map(Path::to_owned).collect(),
    };
    directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file()).with_context(|| {
        format!("there is no {name} in {directories:?}; `cargo xtask test` and `cargo xtask demo` build it")
    })
}

/// Runs a binary of the workspace with nothing of this program's environment; its exit code and the JSON that it printed.
pub fn output_json(name: &str, arguments: &[&str]) -> Result<(i32, serde_json::Value)> {
    let home = tempfile::tempdir()?;
    let output = Command::new(binary(name)?).args(arguments).env_clear().env("HOME", home.path()).output()?;
    let shown = || format!("{name} {arguments:?}: {output:?}");
    let text = std::str::from_utf8(&output.stdout).with_context(shown)?;
    let json = text.find(['{', '[']).and_then(|start| text.get(start..)).with_context(shown)?;
    let answer = serde_json::from_str(json).with_context(shown)?;
    Ok((output.status.code().with_context(shown)?, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> Process {
        Process::spawn("shell", Command::new("sh").args(["-c", script]), directory).unwrap()
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_line_is_awaited_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("echo one; echo two >&2; exec sleep 60", directory.path());
        assert_eq!(process.line("tw", SOON).await.unwrap(), "two");
        assert_eq!(process.line("one", SOON).await.unwrap(), "one");
        assert!(!process.log().contains("three"));
        assert!(process.is_running());
        process.stop().await.unwrap();
        let log = fs::read_to_string(directory.path().join("shell.log")).unwrap();
        assert!(log.contains("one\n") && log.contains("two\n"), "{log}");
    }

    #[tokio::test]
    async fn who_ends_early_shows_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("echo out of luck; exit 3", directory.path());
        process.line("luck", SOON).await.unwrap();
        let error = process.line("ready", SOON).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("out of luck"), "{error}");
    }

    #[tokio::test]
    async fn what_a_child_starts_is_found_and_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("sleep 60 & echo started; wait; echo over; exec sleep 60", directory.path());
        process.line("started", SOON).await.unwrap();
        let grandchild = process.only_child().unwrap();
        assert!(grandchild.is_running());
        grandchild.kill().unwrap();
        process.line("over", SOON).await.unwrap();
        assert!(!grandchild.is_running());
        assert!(process.only_child().is_err());
    }

    #[tokio::test]
    async fn files_stop_growing_at_their_limit() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let script = format!("trap '' XFSZ; while echo 12345 >>'{}'; do :; done; echo full", file.display());
        let mut process = shell(&script, directory.path());
        process.limit_files(1_000).unwrap();
        process.line("full", SOON).await.unwrap();
        assert!(fs::metadata(file).unwrap().len() > 0);
    }

    #[tokio::test]
    async fn nothing_survives_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 60", directory.path());
        let id = process.pid().unwrap();
        drop(process);
        assert_eq!(rustix::process::test_kill_process(id), Err(rustix::io::Errno::SRCH));
    }

    #[test]
    fn a_missing_binary_says_how_to_build_it() {
        let error = binary("cloister-nothing").unwrap_err().to_string();
        assert!(error.contains("cargo xtask test"), "{error}");
    }
}
