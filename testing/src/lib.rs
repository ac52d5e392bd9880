//! Harness: real nodes, workers and enclaves as processes on free ports, and what tests and the demo ask of them.
//!
//! Ports are chosen by the processes themselves and read back, so that nothing races for them; waiting is for
//! conditions with a deadline, never for time to pass. For tests only: it knows the development keys, which everybody
//! knows.
#![warn(missing_docs)]

pub mod audit;
pub mod calls;
pub mod chain;
pub mod cli;
pub mod deployment;
pub mod junk;
pub mod ledgers;
pub mod lying_link;
pub mod misbehaviour;
pub mod node;
pub mod peer;
pub mod process;
pub mod sidechain;
pub mod tap;
pub mod users;
pub mod worker;

pub use chain::Chain;
pub use cli::Cli;
pub use deployment::{Deployment, signer};
pub use junk::Junk;
pub use ledgers::Ledgers;
pub use lying_link::LyingLink;
pub use node::{Network, Node};
pub use peer::Peer;
pub use sidechain::Sidechain;
pub use tap::Tap;
pub use users::Users;
pub use worker::{Worker, WorkerOptions};

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks at `condition` again and again until it gives a value. An error of the condition counts as "not yet" and is
/// shown if the deadline passes.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut last = None;
    loop {
        // A condition that hangs must not outlive the deadline either.
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if start.elapsed() >= deadline {
            let not_yet = format!("{what}: not within {deadline:?}");
            return match last {
                Some(error) => Err(error).context(not_yet),
                None => bail!(not_yet),
            };
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// `0x` and two digits a byte, as JSON-RPC writes bytes.
pub fn to_hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::from("0x"), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The reverse of [`to_hex`].
pub fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").with_context(|| format!("{text:?} does not begin with 0x"))?;
    hex::decode(digits).with_context(|| format!("{text:?} is not hex"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let value = eventually("three looks", Duration::from_secs(20), async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn who_waits_in_vain_hears_why() {
        let error = eventually::<()>("the moon", Duration::ZERO, async || bail!("it is cloudy")).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the moon: not within 0ns: it is cloudy");
        let hangs = eventually::<()>("nothing", Duration::from_millis(1), std::future::pending).await;
        assert_eq!(hangs.unwrap_err().to_string(), "nothing: not within 1ms");
    }

    #[test]
    fn hex_is_written_as_it_is_read() {
        assert_eq!(to_hex([0x00, 0xfa]), "0x00fa");
        assert_eq!(from_hex("0x00fa").unwrap(), [0x00, 0xfa]);
        assert!(from_hex("00fa").is_err() && from_hex("0x0").is_err());
    }
}
