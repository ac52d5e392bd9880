//! Child processes: what runs is printed before, how long it took after.

use std::{
    fmt,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};

/// A child that ended with an error which it has explained itself.
#[derive(Debug)]
pub struct Failed {
    what: String,
    /// What to exit with.
    pub code: u8,
}

impl Failed {
    /// Something that was explained already.
    pub fn new(what: String) -> Self {
        Self { what, code: 1 }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failed {}

/// Runs a step to its end.
pub fn run(step: &str, command: &mut Command) -> Result<()> {
    eprintln!("==> {step}: {}", shown(command));
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    let seconds = start.elapsed().as_secs_f64();
    if status.success() {
        eprintln!("==> {step}: done in {seconds:.1} s");
        return Ok(());
    }
    Err(Failed { what: format!("{step}: {} after {seconds:.1} s ({status})", shown(command)), code: code(status) }
        .into())
}

/// Becomes the last step, so that its exit code, its signals and its last line are the task's own.
pub fn exec(command: &mut Command) -> Result<()> {
    eprintln!("==> {}", shown(command));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", shown(command)))
}

/// Whether a program exists and ends well, in silence.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
}
