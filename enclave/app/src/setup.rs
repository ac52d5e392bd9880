//! From the host's first message to an engine: open the environment, take up the identity, draw this start's keys.

use std::sync::Arc;

use cloister_chain_primitives::{H256, ShardId, config::MeasuredConfig, extrinsic::ChainVersion, registry::WorkerUrl};
use cloister_claims::Collateral;
use cloister_keys::{IncarnationKey, ShieldingKeyPair, TlsIdentity};
use cloister_link::{ClientLimits, message::StopReason};
use cloister_sidechain::{Engine, Identity, Setup, SnapshotRules};
use cloister_stf::Program;
use cloister_tee::{Backend, Tee};
use codec::DecodeAll;

use crate::identity::{self, SealedIdentity};

/// What the host says when it starts an enclave. Only the configuration decides about security, and that is measured.
pub struct Start {
    /// SCALE [`MeasuredConfig`].
    pub config: Vec<u8>,
    /// The shard that the operator wants.
    pub shard: Option<ShardId>,
    /// Hint.
    pub spec_version: u32,
    /// Hint.
    pub transaction_version: u32,
    /// What an earlier start sealed.
    pub sealed_identity: Option<Vec<u8>>,
    /// Where clients find the worker.
    pub url: Option<WorkerUrl>,
    /// What clients may use, as the host wishes.
    pub limits: ClientLimits,
}

/// An enclave that is ready to follow layer one.
pub struct Enclave {
    pub engine: Engine,
    pub tee: Tee,
    pub shielding: Arc<ShieldingKeyPair>,
    pub tls: TlsIdentity,
    pub genesis: H256,
    /// Of an identity that is new.
    pub sealed_identity: Option<Vec<u8>>,
    pub collateral: Option<Collateral>,
    /// Within this enclave's ceilings.
    pub limits: ClientLimits,
}

/// Why an enclave could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the configuration does not decode")]
    MalformedConfig,
    #[error("the configuration is larger than {MAX_CONFIG_BYTES} bytes")]
    ConfigTooLarge,
    #[error(transparent)]
    Tee(#[from] cloister_tee::Error),
    #[error("a new identity: {0}")]
    NewIdentity(identity::Error),
    #[error("the sealed identity that the host passed: {0}")]
    SealedIdentity(identity::Error),
    #[error("keys: {0}")]
    Keys(#[from] cloister_keys::Error),
    #[error(transparent)]
    Engine(#[from] cloister_sidechain::SetupError),
}

/// Opens the environment and the sealed identity, or makes a new one, and draws this start's own keys.
pub fn set_up(backend: &dyn Backend, program: &'static dyn Program, start: Start) -> Result<Enclave, Error> {
    if start.config.len() > MAX_CONFIG_BYTES {
        return Err(Error::ConfigTooLarge);
    }
    let config = MeasuredConfig::decode_all(&mut start.config.as_slice()).map_err(|_| Error::MalformedConfig)?;
    let genesis = config.genesis;
    let tee = backend.open(&start.config)?;
    let collateral = tee.attester.collateral()?;
    let identity = match start.sealed_identity {
        Some(sealed) => SealedIdentity::unseal(&tee, &genesis, &sealed).map_err(Error::SealedIdentity)?,
        None => SealedIdentity::draw(&tee).map_err(Error::NewIdentity)?,
    };
    let sealed_identity = match identity.must_be_kept {
        true => Some(identity.seal(&tee, &genesis).map_err(Error::NewIdentity)?),
        false => None,
    };
    let shielding = Arc::new(identity.shielding);
    let tls = TlsIdentity::draw()?;
    let engine = Engine::new(Setup {
        chain_version: ChainVersion {
            genesis,
            spec_version: start.spec_version,
            transaction_version: start.transaction_version,
        },
        config,
        kind: tee.attester.kind(),
        fingerprint: tee.attester.fingerprint(),
        identity: Identity {
            account: identity.account,
            incarnation: IncarnationKey::draw()?,
            tls_key_hash: tls.spki_hash(),
        },
        shielding: shielding.clone(),
        state_secret: identity.state_secret,
        program,
        snapshots: SnapshotRules::default(),
        url: start.url,
        requested_shard: start.shard,
    })?;
    Ok(Enclave { engine, tee, shielding, tls, genesis, sealed_identity, collateral, limits: start.limits.clamped() })
}

impl From<Error> for StopReason {
    fn from(error: Error) -> Self {
        match error {
            Error::Tee(error) | Error::NewIdentity(identity::Error::Tee(error)) => Self::Tee(error.to_string()),
            Error::SealedIdentity(error) => {
                tracing::error!(%error, "the sealed identity is not usable");
                Self::SealedIdentity
            }
            Error::NewIdentity(_) | Error::Keys(_) => Self::Internal(error.to_string()),
            Error::MalformedConfig | Error::ConfigTooLarge | Error::Engine(_) => Self::BadConfig(error.to_string()),
        }
    }
}

/// 10 000 authorities take 400 kB.
const MAX_CONFIG_BYTES: usize = 1 << 20;
