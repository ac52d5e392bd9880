//! Starts an enclave and lets it introduce itself, with the identity that is kept for it.

use std::path::{Path, PathBuf};

use cloister_attestation::bundle;
use cloister_chain_primitives::{ShardId, config::MeasuredConfig, registry::WorkerUrl};
use cloister_claims::Collateral;
use cloister_link::{ClientLimits, Receiver, Sender, StopReason, ToEnclave, ToHost, transport};
use codec::Encode;
use tokio::net::UnixStream;

use crate::{
    cli::{DEFAULT_MIN_UPGRADE_DELAY, DEFAULT_SLOT_MS, EnclaveOptions},
    configuration,
    enclave_process::{self, EXIT_PATIENCE, EnclaveProcess},
    error::WorkerError,
    layer_one::{LayerOne, RuntimeVersion},
    sealed_identity,
    session::{Identity, Introduction, introduce},
};

/// Which enclave is started, and with what.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub config: MeasuredConfig,
    /// Of the sealed identity.
    pub data_dir: PathBuf,
    pub keep: Keep,
    pub if_refused: IfRefused,
    pub shard: Option<ShardId>,
    pub version: RuntimeVersion,
    pub url: Option<WorkerUrl>,
    pub limits: ClientLimits,
}

/// Whose identity the enclave has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The one in the data directory; a new one, or a newer form of it, is kept there. For whoever holds its lock.
    Identity,
    /// The one in the data directory, which stays as it is.
    Unchanged,
    /// A new one, not kept.
    Nothing,
}

/// What happens when the kept identity does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfRefused {
    Fail,
    /// It is moved aside, and the enclave starts with a new one.
    StartAnew,
}

/// A running enclave that has said who it is.
#[derive(Debug)]
pub struct Enclave {
    pub process: EnclaveProcess,
    pub sender: Sender<ToEnclave>,
    pub receiver: Receiver<UnixStream, ToHost>,
    pub identity: Identity,
}

impl Enclave {
    /// An identity that is to be kept is on the disk when this returns.
    pub async fn launch(launch: &Launch) -> Result<Self, WorkerError> {
        match Self::attempt(launch).await {
            Err(WorkerError::SealedIdentity { path }) if launch.if_refused == IfRefused::StartAnew => {
                let aside = sealed_identity::set_aside(&launch.data_dir)?;
                tracing::warn!(
                    path = %path.display(), aside = %aside.display(),
                    "the sealed identity does not open in this enclave and was moved aside; starting with a new one"
                );
                Self::attempt(launch).await
            }
            launched => launched,
        }
    }

    async fn attempt(launch: &Launch) -> Result<Self, WorkerError> {
        let sealed_identity = match launch.keep {
            Keep::Identity | Keep::Unchanged => sealed_identity::load(&launch.data_dir)?,
            Keep::Nothing => None,
        };
        let (mut process, stream) = EnclaveProcess::start(&launch.program)?;
        let (sender, mut receiver) = transport::split::<_, ToEnclave, ToHost>(stream);
        let introduction = Introduction {
            config: launch.config.encode(),
            shard: launch.shard,
            version: launch.version,
            sealed_identity,
            url: launch.url.clone(),
            limits: launch.limits,
        };
        let identity = match introduce(&sender, &mut receiver, introduction).await {
            Err(WorkerError::EnclaveDied(None)) => {
                return Err(WorkerError::EnclaveDied(process.wait(EXIT_PATIENCE).await));
            }
            Err(WorkerError::EnclaveStopped(StopReason::SealedIdentity)) => {
                return Err(WorkerError::SealedIdentity { path: sealed_identity::path(&launch.data_dir) });
            }
            identity => identity?,
        };
        if let (Some(sealed), Keep::Identity) = (&identity.sealed_identity, launch.keep) {
            sealed_identity::store(&launch.data_dir, sealed)?;
        }
        Ok(Self { process, sender, receiver, identity })
    }

    /// Lets it end.
    pub async fn dismiss(mut self) {
        // If the link is gone the enclave is too; whatever outlives its patience is killed.
        let _ = self.sender.send(ToEnclave::Stop).await;
        let _ = self.process.wait(EXIT_PATIENCE).await;
    }
}

/// The configuration that the options name. Only `--dev` may take it from the node.
pub async fn configuration(options: &EnclaveOptions, layer_one: &LayerOne) -> Result<MeasuredConfig, WorkerError> {
    match &options.enclave_config {
        Some(path) => configuration::read(path),
        None if options.dev => {
            let choices = configuration::Choices {
                simulation_allowed: true,
                unbound_getters_allowed: true,
                slot_ms: DEFAULT_SLOT_MS,
                min_upgrade_delay: DEFAULT_MIN_UPGRADE_DELAY,
            };
            Ok(configuration::of_node(layer_one, &choices).await?)
        }
        None => Err(WorkerError::NoConfiguration),
    }
}

/// The program that the options name, or the one that belongs to the configuration.
pub fn program(options: &EnclaveOptions, config: &MeasuredConfig) -> Result<PathBuf, WorkerError> {
    match &options.enclave_binary {
        Some(program) => Ok(program.clone()),
        None => enclave_process::default_program(config.simulation_allowed),
    }
}

/// What happens to an identity that does not open, by the options.
pub fn if_refused(options: &EnclaveOptions) -> IfRefused {
    if options.dev { IfRefused::StartAnew } else { IfRefused::Fail }
}

/// How the operator submits collateral that layer one lacks: the enclave's own, which is written into the data directory, or
/// the vendor's.
pub fn submit_collateral(options: &EnclaveOptions, identity: &Identity) -> Result<String, WorkerError> {
    let path = match &identity.collateral {
        Some(collateral) => {
            let path = options.data_dir.join(COLLATERAL);
            write_collateral(&path, collateral)?;
            path.display().to_string()
        }
        None => "FILE".into(),
    };
    Ok(format!("cloister attest submit SURI --collateral {path} --node-url {}", options.node_url))
}

/// Writes collateral as a JSON bundle.
pub fn write_collateral(path: &Path, collateral: &Collateral) -> Result<(), WorkerError> {
    std::fs::write(path, bundle::to_json(collateral))
        .map_err(|source| WorkerError::File { path: path.to_owned(), source })
}

/// The bundle's name in a directory.
pub const COLLATERAL: &str = "collateral.json";

#[cfg(test)]
mod tests;
