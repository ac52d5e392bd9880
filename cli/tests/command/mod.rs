//! The built command line, run as a user runs it.
#![allow(dead_code, reason = "every test program uses some of it")]

pub mod node;
pub mod pool;
pub mod worker;

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Nobody listens on the discard port.
pub const NOWHERE: &str = "ws://127.0.0.1:9";

/// Nor as a worker.
pub const NO_WORKER: &str = "wss://127.0.0.1:9";

/// A user without keys.
pub struct Cli {
    pub home: tempfile::TempDir,
}

impl Cli {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloister"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("CLOISTER_NODE_URL", NOWHERE)
            // Closed at once, so that a command that reads finds nothing.
            .stdin(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs with `--json`: the exit code and the one object on standard output.
    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
    }
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
