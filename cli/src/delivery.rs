//! The way of a call to its shard, as the user wants it.

use std::time::{Duration, Instant};

use cloister_client::{Nonce, Route, ShardClient, Signer};

use crate::{CallArgs, Failure, Session};

/// Straight to the enclave or through layer one's inbox, and how long that may take.
pub struct Delivery {
    /// Of layer one's fee; `None` for a direct call, which has none.
    pub payer: Option<Signer>,
    /// For the shard's part.
    pub timeout: Duration,
    /// Blocks of the shard in which the call may be executed; `None` for the client library's default.
    pub lifetime: Option<u64>,
    /// The call's nonce; `None` for the sender's next one.
    pub nonce: Option<Nonce>,
}

impl Delivery {
    /// As the user wrote it. Without a payer, the sender pays layer one's fee.
    pub fn read(session: &Session, sender: &Signer, args: &CallArgs, direct: bool) -> Result<Self, Failure> {
        let payer = match (direct, args.payer.as_deref()) {
            (true, Some(_)) => {
                return Err(Failure::usage("--payer pays layer one's fee, and a call with --direct has none"));
            }
            (true, None) => None,
            (false, Some(payer)) => Some(session.accounts.signer(payer)?),
            (false, None) => Some(sender.clone()),
        };
        let CallArgs { timeout, lifetime, nonce, .. } = *args;
        Ok(Self { payer, timeout: Duration::from_secs(timeout), lifetime, nonce })
    }

    /// A client whose calls live as long as this one is to, and have its nonce.
    pub fn client(&self, client: &ShardClient) -> ShardClient {
        let mut client = client.clone();
        if let Some(blocks) = self.lifetime {
            client = client.with_call_lifetime(blocks);
        }
        if let Some(nonce) = self.nonce {
            client = client.with_call_nonce(nonce);
        }
        client
    }

    /// For the client library.
    pub fn route(&self) -> Route<'_> {
        match &self.payer {
            None => Route::Direct,
            Some(payer) => Route::Inbox { payer },
        }
    }

    /// Whether it goes straight to the enclave.
    pub fn is_direct(&self) -> bool {
        self.payer.is_none()
    }

    /// What is left of the time when the shard's part began at `since`.
    pub fn left(&self, since: Instant) -> Duration {
        self.timeout.saturating_sub(since.elapsed())
    }
}
