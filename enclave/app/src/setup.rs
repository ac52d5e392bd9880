//! From the host's first message to an engine: measure, draw keys, bear the shard.

use std::{fs::File, io::Read, sync::Arc};

use cloister_chain_primitives::{H256, ShardId, config::MeasuredConfig, extrinsic::ChainVersion};
use cloister_keys::{AccountKey, IncarnationKey, ShieldingKeyPair, TlsIdentity};
use cloister_sidechain::{Engine, Identity, Setup};
use cloister_state::StateSecret;
use codec::DecodeAll;
use sha2::{Digest, Sha256};

/// What the host says when it starts an enclave. Only the configuration matters, and that is measured.
pub struct Start {
    /// SCALE [`MeasuredConfig`].
    pub config: Vec<u8>,
    /// The shard that the operator wants.
    pub shard: Option<ShardId>,
    /// Hint.
    pub spec_version: u32,
    /// Hint.
    pub transaction_version: u32,
}

/// An enclave that is ready to follow layer one.
pub struct Enclave {
    pub engine: Engine,
    pub shielding: Arc<ShieldingKeyPair>,
    pub tls: TlsIdentity,
    pub genesis: H256,
}

/// Why an enclave could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the configuration does not decode")]
    MalformedConfig,
    #[error("the configuration is larger than {MAX_CONFIG_BYTES} bytes")]
    ConfigTooLarge,
    #[error("the enclave's own binary could not be read for measurement: {0}")]
    Measurement(std::io::Error),
    #[error("keys: {0}")]
    Keys(#[from] cloister_keys::Error),
    #[error("state secret: {0}")]
    StateSecret(cloister_state::EntropyError),
    #[error(transparent)]
    Engine(#[from] cloister_sidechain::SetupError),
}

/// Draws all keys for this start. Nothing of an earlier start is used.
pub fn set_up(start: Start) -> Result<Enclave, Error> {
    if start.config.len() > MAX_CONFIG_BYTES {
        return Err(Error::ConfigTooLarge);
    }
    let config = MeasuredConfig::decode_all(&mut start.config.as_slice()).map_err(|_| Error::MalformedConfig)?;
    let measurement = config.simulated_measurement(&binary_hash().map_err(Error::Measurement)?);
    let tls = TlsIdentity::draw()?;
    let shielding = Arc::new(ShieldingKeyPair::draw(FIRST_EPOCH)?);
    let identity =
        Identity { account: AccountKey::draw()?, incarnation: IncarnationKey::draw()?, tls_key_hash: tls.spki_hash() };
    let genesis = config.genesis;
    let engine = Engine::new(Setup {
        chain_version: ChainVersion {
            genesis,
            spec_version: start.spec_version,
            transaction_version: start.transaction_version,
        },
        config,
        measurement,
        identity,
        shielding: shielding.clone(),
        state_secret: StateSecret::draw().map_err(Error::StateSecret)?,
        requested_shard: start.shard,
    })?;
    Ok(Enclave { engine, shielding, tls, genesis })
}

/// SHA-256 of the running binary.
fn binary_hash() -> std::io::Result<[u8; 32]> {
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(hasher.finalize().into()),
            Some(chunk) => hasher.update(chunk),
        }
    }
}

const FIRST_EPOCH: u32 = 0;
/// 10 000 authorities take 400 kB.
const MAX_CONFIG_BYTES: usize = 1 << 20;
