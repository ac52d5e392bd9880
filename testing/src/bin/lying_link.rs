//! `lying-link`: what a worker takes for its enclave. Starts the real one and lies to both. For tests only.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use cloister_link::{MAX_FRAME, ToEnclave, ToHost};
use cloister_testing::lying_link::{Common, Liar, Lied, Plan};

/// Stands between a worker and its enclave.
#[derive(Parser)]
struct Options {
    /// The enclave's program.
    #[arg(long)]
    enclave: PathBuf,
    #[command(subcommand)]
    plan: Plan,
}

fn main() -> ExitCode {
    let Options { enclave, plan } = Options::parse();
    match relay(&enclave, plan) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lying-link: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Passes messages until the enclave has ended; its exit code.
fn relay(enclave: &Path, plan: Plan) -> Result<u8> {
    let host = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let (near, far) = UnixStream::pair()?;
    let mut command = Command::new(enclave);
    let mut child = command.stdin(Stdio::from(OwnedFd::from(far))).stdout(Stdio::null()).spawn()?;
    // The command holds the far end as long as it lives.
    drop(command);
    let common = Common::default();
    let (to_host, to_enclave) = (End::new(host.try_clone()?), End::new(near.try_clone()?));
    {
        let (liar, on, back) = (Liar::<ToEnclave>::new(plan, common.clone()), to_enclave.clone(), to_host.clone());
        thread::spawn(move || {
            // The host is gone, or was made to seem so; the enclave ends by itself.
            let _ = pass(host, liar, &on, &back);
            on.shut();
        });
    }
    // The enclave is gone; its exit code says how.
    let _ = pass(near, Liar::<ToHost>::new(plan, common), &to_host, &to_enclave);
    let status = child.wait()?;
    to_host.shut();
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Where frames go. Both directions write to both ends.
#[derive(Clone)]
struct End(Arc<Mutex<UnixStream>>);

impl End {
    fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(frame)?)
    }

    fn shut(&self) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Write);
    }
}

/// Passes one direction's messages until it ends.
fn pass<M: Lied>(mut from: UnixStream, mut liar: Liar<M>, on: &End, back: &End) -> Result<()> {
    while let Some(message) = read(&mut from)? {
        let told = liar.tell(&message);
        for frame in &told.on {
            on.send(frame)?;
        }
        for frame in &told.back {
            back.send(frame)?;
        }
        if told.ends {
            bail!("the lie ends the link");
        }
    }
    Ok(())
}

/// The next message without its length; `None` at the end.
fn read(stream: &mut UnixStream) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = usize::try_from(u32::from_le_bytes(length))?;
    if length > MAX_FRAME {
        bail!("a frame of {length} bytes");
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).context("a frame that was cut")?;
    Ok(Some(message))
}
