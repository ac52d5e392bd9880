//! Command lines as a user runs them at a deployment: the program `cloister` and those that are built on it.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Deployment, process::binary};

/// The program, pointed at a node and a worker by its variables, with an empty keystore.
pub struct Cli {
    program: PathBuf,
    home: TempDir,
    variables: [(&'static str, String); 3],
}

impl Cli {
    /// For what runs now: a worker that is started again listens elsewhere.
    pub fn of(deployment: &Deployment) -> Result<Self> {
        Self::program(deployment, "cloister")
    }

    /// Another program that takes the same variables.
    pub fn program(deployment: &Deployment, name: &str) -> Result<Self> {
        let worker = &deployment.worker;
        Ok(Self {
            program: binary(name)?,
            home: tempfile::tempdir()?,
            variables: [
                ("CLOISTER_NODE_URL", deployment.node.url().into()),
                ("CLOISTER_WORKER_URL", worker.url()),
                ("CLOISTER_WORKER_STATUS_URL", format!("http://127.0.0.1:{}", worker.ports().http)),
            ],
        })
    }

    /// It with arguments, and with nothing else of this program's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A line of a shell with the same variables, which finds the programs that were built here.
    pub fn shell(&self, line: &str) -> Result<Command> {
        let beside = self.program.parent().context("a program in no directory")?;
        let mut command = Command::new("sh");
        command.args(["-c", line]).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", beside.display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs it to its end; how it ended, and the JSON that it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<(Output, Value)> {
        let output = self.command(arguments).arg("--json").output()?;
        let answer = serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {output:?}"))?;
        Ok((output, answer))
    }

    /// It does what it is told.
    pub fn done(&self, arguments: &[&str]) -> Result<Value> {
        let (output, answer) = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {answer}");
        Ok(answer)
    }

    /// It ends with `code`; the reason that it gives.
    pub fn refused(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let (output, answer) = self.run(arguments)?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {:?} {answer}", output.status);
        Ok(answer["error"].as_str().context("no reason")?.to_owned())
    }
}
