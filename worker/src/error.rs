//! Why a worker ends.

use std::{io, path::PathBuf, process::ExitStatus};

use cloister_chain_primitives::ShardId;
use cloister_link::{LinkError, PROTOCOL, ProtocolError, StopReason};
use cloister_store::StoreError;

use crate::{cli::shard_text, layer_one::LayerOneError};

/// Why a worker ends, other than on request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the data directory {path} is in use by another worker; --data-dir names another one")]
    DataDirectoryInUse { path: PathBuf },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error(
        "no configuration for the enclave: write one with `cloister-worker make-config --out FILE` and pass \
         `--enclave-config FILE`, or pass `--dev` to take it from the node (development only)"
    )]
    NoConfiguration,
    #[error("{path} is no measured configuration: {}", one_line(.source))]
    BadConfiguration { path: PathBuf, source: codec::Error },
    #[error(transparent)]
    LayerOne(#[from] LayerOneError),
    #[error("cannot start the enclave {path}: {source}")]
    EnclaveStart { path: PathBuf, source: io::Error },
    #[error("the enclave ended without a word ({})", .0.map_or("still running".into(), |status| status.to_string()))]
    EnclaveDied(Option<ExitStatus>),
    #[error("the enclave did not introduce itself within {seconds} s")]
    EnclaveSilent { seconds: u64 },
    #[error("the enclave has said nothing for {seconds} s and is killed")]
    EnclaveHangs { seconds: u64 },
    #[error("the enclave speaks version {0} of the link's protocol, this worker {PROTOCOL}")]
    ProtocolVersion(u16),
    #[error("the enclave sent {0} out of place")]
    UnexpectedMessage(&'static str),
    #[error("the link to the enclave: {0}")]
    Link(LinkError),
    #[error("the enclave broke the link's protocol: {0}")]
    Breach(#[from] ProtocolError),
    #[error(
        "the wanted shard is not that of the data directory, which is {}. Without `--shard` the enclave bears and \
         serves that one; `--data-dir` names another directory",
        shard_text(.0)
    )]
    ShardOfAnotherIncarnation(ShardId),
    #[error("the enclave stopped: {0}")]
    EnclaveStopped(StopReason),
    #[error("{0}. Start the worker again to register a new incarnation")]
    RegistrationLost(StopReason),
    #[error("layer one knows a newer start of this enclave's identity: two workers use copies of one data directory")]
    Replaced,
    #[error("{0}. `--enclave-binary` names the enclave's program")]
    Tee(StopReason),
    #[error(
        "the sealed identity {path} does not open: it was made by another enclave program or configuration, on another \
         platform or for another chain, or it was altered. Start what made it; or move the file away, and the enclave \
         starts with a new account that has neither the old one's money nor its shards (`run --dev` does that by itself)"
    )]
    SealedIdentity { path: PathBuf },
    #[error("the enclave asked for something to be kept as request {sequence}, in the place of request {expected}")]
    StoreOutOfOrder { sequence: u64, expected: u64 },
    #[error("the enclave asks for more to be kept than the disk takes, and does not wait")]
    StoreOverrun,
    #[error("what the enclave gave does not join what {path} holds: {error}")]
    StoreRefused { path: PathBuf, error: StoreError },
    #[error("the store of the shard: {}", advised(.0))]
    Store(StoreError),
    #[error("{reason}; the file is {path}{ADVICE}")]
    KeptRefused { path: PathBuf, reason: StopReason },
    #[error("a service ended: {0}")]
    Service(io::Error),
}

impl WorkerError {
    /// The process's exit code; the list stands in `--help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoConfiguration | Self::BadConfiguration { .. } => 2,
            Self::EnclaveDied(_)
            | Self::EnclaveSilent { .. }
            | Self::EnclaveHangs { .. }
            | Self::EnclaveStopped(_)
            | Self::ProtocolVersion(_)
            | Self::UnexpectedMessage(_)
            | Self::Link(_)
            | Self::Breach(_)
            | Self::StoreOutOfOrder { .. }
            | Self::StoreOverrun
            | Self::StoreRefused { .. } => 3,
            Self::ShardOfAnotherIncarnation(_) => 4,
            Self::LayerOne(LayerOneError::OtherChain { .. }) => 5,
            Self::RegistrationLost(_) | Self::Replaced => 6,
            Self::Tee(_) => 7,
            Self::SealedIdentity { .. } => 8,
            Self::KeptRefused { .. } => 9,
            Self::Store(error) if error.is_unusable() => 9,
            _ => 1,
        }
    }
}

const ADVICE: &str = ". Put the newest whole copy of that file back, if there is one; or start with a new data \
                      directory (`--data-dir`), which is a new account and a new shard";

fn advised(error: &StoreError) -> String {
    let advice = if error.is_unusable() { ADVICE } else { "" };
    format!("{error}{advice}")
}

/// The codec's errors take a line per level of nesting.
fn one_line(error: &codec::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl From<StopReason> for WorkerError {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::ShardOfAnotherIncarnation(shard) => Self::ShardOfAnotherIncarnation(shard),
            StopReason::Retired => Self::Replaced,
            StopReason::Expired | StopReason::Evicted => Self::RegistrationLost(reason),
            StopReason::Tee(_) => Self::Tee(reason),
            reason => Self::EnclaveStopped(reason),
        }
    }
}
