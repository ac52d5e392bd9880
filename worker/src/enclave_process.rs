//! The enclave's process: how it is started and what becomes of it.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    net::UnixStream,
    process::{Child, Command},
};

use crate::error::WorkerError;

/// A running enclave; killed when dropped.
#[derive(Debug)]
pub struct EnclaveProcess {
    child: Child,
}

impl EnclaveProcess {
    /// Starts the program with one end of a socket pair as its standard input; gives the other end.
    pub fn start(program: &Path) -> Result<(Self, UnixStream), WorkerError> {
        let failed = |source| WorkerError::EnclaveStart { path: program.to_owned(), source };
        let (near, far) = StdUnixStream::pair().map_err(failed)?;
        near.set_nonblocking(true).map_err(failed)?;
        let stream = UnixStream::from_std(near).map_err(failed)?;
        let mut command = Command::new(program);
        command.env_clear();
        for kept in KEPT_ENVIRONMENT {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        let child = command
            .stdin(Stdio::from(OwnedFd::from(far)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // A terminal's Ctrl-C is for the worker, which then asks the enclave to stop.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok((Self { child }, stream))
    }

    /// How the process ended; `None` if it has not within `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(patience, self.child.wait()).await.ok()?.ok()
    }
}

/// The program that is started unless another is named. The one that can simulate is of no use where only genuine
/// hardware counts.
pub fn default_program(simulation_allowed: bool) -> Result<PathBuf, WorkerError> {
    let name = if simulation_allowed { "cloister-enclave-simulated" } else { "cloister-enclave" };
    match std::env::current_exe() {
        Ok(this) => Ok(this.with_file_name(name)),
        Err(source) => Err(WorkerError::EnclaveStart { path: name.into(), source }),
    }
}

/// How long an enclave that has said its last word may take to exit.
pub const EXIT_PATIENCE: Duration = Duration::from_secs(2);
/// Nothing that decides about security: logging and panic messages.
const KEPT_ENVIRONMENT: [&str; 2] = ["RUST_LOG", "RUST_BACKTRACE"];

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn standard_input_is_a_stream_in_both_directions() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("enclave");
        std::fs::write(&program, "#!/bin/sh\nread line\nprintf 'got %s' \"$line\" >&0\nexit 7\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let (mut process, mut stream) = EnclaveProcess::start(&program).unwrap();
        stream.write_all(b"hello\n").await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, "got hello");
        assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(7));
    }

    #[test]
    fn the_program_follows_the_configuration() {
        let simulated = default_program(true).unwrap();
        assert_eq!(simulated.file_name().unwrap(), "cloister-enclave-simulated");
        assert_eq!(simulated.with_file_name("cloister-enclave"), default_program(false).unwrap());
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = EnclaveProcess::start(Path::new("/nowhere/enclave")).unwrap_err();
        assert!(error.to_string().starts_with("cannot start the enclave /nowhere/enclave"), "{error}");
    }
}
