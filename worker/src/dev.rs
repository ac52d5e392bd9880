//! Configurations made from a node, and the birth of a development shard.

use std::time::Duration;

use cloister_chain_primitives::{
    AccountId, BlockNumber, ShardBirth, ShardId, UNIT,
    calls::Call,
    config::{Checkpoint, MeasuredConfig},
    extrinsic::{self, ChainVersion, Mortality},
    storage,
};
use codec::{Decode, Encode};
use sp_core::{Pair, sr25519};
use sp_crypto_hashing::twox_128;
use sp_runtime::generic::Era;

use crate::{
    cli::MakeConfigOptions,
    error::WorkerError,
    layer_one::{LayerOne, LayerOneError, persist},
};

/// Writes the configuration for a node's chain to a file.
pub async fn make_config(options: &MakeConfigOptions) -> Result<(), WorkerError> {
    let layer_one = LayerOne::new(&options.node_url);
    let choices = Choices {
        simulation_allowed: !options.no_simulation,
        slot_ms: options.slot_ms,
        min_upgrade_delay: options.min_upgrade_delay,
    };
    let config = configuration(&layer_one, &choices).await?;
    std::fs::write(&options.out, config.encode())
        .map_err(|source| WorkerError::File { path: options.out.clone(), source })?;
    println!(
        "{}: genesis {:?}, followed from block {}, {} GRANDPA authorities, {}",
        options.out.display(),
        config.genesis,
        config.checkpoint.number,
        config.checkpoint.authorities.len(),
        if config.simulation_allowed { "simulation allowed" } else { "genuine hardware only" },
    );
    Ok(())
}

/// What the operator decides about a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    pub simulation_allowed: bool,
    pub slot_ms: u32,
    pub min_upgrade_delay: BlockNumber,
}

/// The configuration for a node's chain, followed from its first block; or, if the node has pruned that block's state,
/// from its newest finalized one.
pub async fn configuration(layer_one: &LayerOne, choices: &Choices) -> Result<MeasuredConfig, LayerOneError> {
    let genesis = layer_one.block_hash(0).await?;
    let checkpoint = match layer_one.state_call("GrandpaApi_grandpa_authorities", genesis).await {
        Ok(authorities) => Checkpoint { number: 0, hash: genesis, set_id: 0, authorities },
        Err(error) if error.is_pruned() => newest_checkpoint(layer_one).await?,
        Err(error) => return Err(error),
    };
    let Choices { simulation_allowed, slot_ms, min_upgrade_delay } = *choices;
    Ok(MeasuredConfig { genesis, checkpoint, simulation_allowed, slot_ms, min_upgrade_delay })
}

/// A finalized block at which no change of authorities is under way: only there the runtime's authorities and set number
/// are those of the next block, and a light client that starts there misses no announcement.
async fn newest_checkpoint(layer_one: &LayerOne) -> Result<Checkpoint, LayerOneError> {
    let pending_change = [twox_128(b"Grandpa"), twox_128(b"PendingChange")].concat();
    for _ in 0..CHECKPOINT_ATTEMPTS {
        let (number, hash) = layer_one.finalized().await?;
        if layer_one.storage(&pending_change, Some(hash)).await?.is_none() {
            let set_id = layer_one.state_call("GrandpaApi_current_set_id", hash).await?;
            let authorities = layer_one.state_call("GrandpaApi_grandpa_authorities", hash).await?;
            return Ok(Checkpoint { number, hash, set_id, authorities });
        }
        tokio::time::sleep(RETRY).await;
    }
    let reason = "a change of authorities stays pending; ask a node that keeps all states".to_owned();
    Err(LayerOneError::Unexpected { method: "state_getStorage".into(), reason })
}

/// Bears a shard and funds its enclave's account, paid and sent by //Alice, whom a development chain knows as root.
/// Ends when the best block has the shard.
pub async fn bear(
    layer_one: &LayerOne,
    birth: &ShardBirth,
    account: &AccountId,
    shard: &ShardId,
) -> Result<(), WorkerError> {
    let key = storage::shard(shard);
    let mut reason = "the node took the extrinsic, but no block has the shard".to_owned();
    for attempt in 1..=ATTEMPTS {
        if let Err(error) = persist(PATIENCE, || submit_birth(layer_one, birth, account)).await {
            // Another worker of the same chain may have used //Alice's nonce at the same moment.
            tracing::warn!(attempt, %error, "layer one did not take the shard's birth");
            reason = error.to_string();
            tokio::time::sleep(RETRY).await;
            continue;
        }
        tracing::info!(attempt, "submitted the shard's birth as //Alice");
        for _ in 0..POLLS_PER_ATTEMPT {
            let born = persist(PATIENCE, || layer_one.storage(&key, None)).await;
            if matches!(born, Ok(Some(_))) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Err(WorkerError::Birth { attempts: ATTEMPTS, reason })
}

/// What root must do for a shard to be born, for chains where root is not //Alice.
pub fn birth_call(birth: &ShardBirth) -> Call {
    Call::sudo(&Call::create_shard(birth))
}

async fn submit_birth(layer_one: &LayerOne, birth: &ShardBirth, account: &AccountId) -> Result<(), LayerOneError> {
    let unexpected = |reason: String| LayerOneError::Unexpected { method: "state_getStorage".into(), reason };
    let alice = sr25519::Pair::from_string("//Alice", None).map_err(|error| unexpected(format!("{error:?}")))?;
    let sender = AccountId::from(alice.public());
    let genesis = layer_one.block_hash(0).await?;
    let version = layer_one.runtime_version().await?;
    let nonce = match layer_one.storage(&storage::account(&sender), None).await? {
        Some(bytes) => {
            storage::AccountInfo::decode(&mut &bytes[..]).map_err(|error| unexpected(error.to_string()))?.nonce
        }
        None => 0,
    };
    let chain =
        ChainVersion { genesis, spec_version: version.spec_version, transaction_version: version.transaction_version };
    let call = Call::batch_all(&[birth_call(birth), Call::transfer_allow_death(account, FUNDING)]);
    let mortality = Mortality { era: Era::Immortal, birth_hash: genesis };
    let extrinsic = extrinsic::signed(&call, &sender, nonce, mortality, &chain, |payload| alice.sign(payload).into());
    layer_one.submit(&extrinsic).await
}

/// Planck that an enclave's account gets for its extrinsics.
const FUNDING: u128 = 1_000 * UNIT;
const CHECKPOINT_ATTEMPTS: u32 = 30;
const ATTEMPTS: u32 = 5;
const POLLS_PER_ATTEMPT: u32 = 30;
const POLL: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
