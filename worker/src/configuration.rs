//! Measured configurations: read from a file, or made from a node, which whoever uses them then trusts.

use std::{path::Path, time::Duration};

use cloister_chain_primitives::{
    BlockNumber,
    config::{Checkpoint, MeasuredConfig},
};
use codec::{DecodeAll, Encode};
use sp_crypto_hashing::twox_128;

use crate::{
    cli::MakeConfigOptions,
    error::WorkerError,
    layer_one::{LayerOne, LayerOneError},
};

/// Reads a configuration.
pub fn read(path: &Path) -> Result<MeasuredConfig, WorkerError> {
    let bytes = std::fs::read(path).map_err(|source| WorkerError::File { path: path.to_owned(), source })?;
    MeasuredConfig::decode_all(&mut &bytes[..])
        .map_err(|source| WorkerError::BadConfiguration { path: path.to_owned(), source })
}

/// Writes the configuration for a node's chain to a file.
pub async fn make_config(options: &MakeConfigOptions) -> Result<(), WorkerError> {
    let layer_one = LayerOne::new(&options.node_url);
    let choices = Choices {
        simulation_allowed: !options.no_simulation,
        unbound_getters_allowed: !options.no_unbound_getters,
        slot_ms: options.slot_ms,
        min_upgrade_delay: options.min_upgrade_delay,
    };
    let config = of_node(&layer_one, &choices).await?;
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
    pub unbound_getters_allowed: bool,
    pub slot_ms: u32,
    pub min_upgrade_delay: BlockNumber,
}

/// The configuration for a node's chain, followed from its first block; or, if the node has pruned that block's state,
/// from its newest finalized one.
pub async fn of_node(layer_one: &LayerOne, choices: &Choices) -> Result<MeasuredConfig, LayerOneError> {
    let genesis = layer_one.block_hash(0).await?;
    let checkpoint = match layer_one.state_call("GrandpaApi_grandpa_authorities", &[], Some(genesis)).await {
        Ok(authorities) => Checkpoint { number: 0, hash: genesis, set_id: 0, authorities },
        Err(error) if error.is_pruned() => newest_checkpoint(layer_one).await?,
        Err(error) => return Err(error),
    };
    let Choices { simulation_allowed, unbound_getters_allowed, slot_ms, min_upgrade_delay } = *choices;
    Ok(MeasuredConfig { genesis, checkpoint, simulation_allowed, unbound_getters_allowed, slot_ms, min_upgrade_delay })
}

/// A finalized block at which no change of authorities is under way: only there the runtime's authorities and set number
/// are those of the next block, and a light client that starts there misses no announcement.
async fn newest_checkpoint(layer_one: &LayerOne) -> Result<Checkpoint, LayerOneError> {
    let pending_change = [twox_128(b"Grandpa"), twox_128(b"PendingChange")].concat();
    for _ in 0..CHECKPOINT_ATTEMPTS {
        let (number, hash) = layer_one.finalized().await?;
        if layer_one.storage(&pending_change, Some(hash)).await?.is_none() {
            let set_id = layer_one.state_call("GrandpaApi_current_set_id", &[], Some(hash)).await?;
            let authorities = layer_one.state_call("GrandpaApi_grandpa_authorities", &[], Some(hash)).await?;
            return Ok(Checkpoint { number, hash, set_id, authorities });
        }
        tokio::time::sleep(RETRY).await;
    }
    let reason = "a change of authorities stays pending; ask a node that keeps all states".to_owned();
    Err(LayerOneError::Unexpected { method: "state_getStorage".into(), reason })
}

const CHECKPOINT_ATTEMPTS: u32 = 30;
const RETRY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeNode;

    #[tokio::test]
    async fn a_configuration_starts_at_block_0_or_at_a_node_that_forgot_it_at_its_newest_finalized_block() {
        let node = FakeNode::new();
        let (address, _handle) = node.serve("127.0.0.1:0").await;
        let layer_one = LayerOne::new(format!("ws://{address}"));
        let choices =
            Choices { simulation_allowed: true, unbound_getters_allowed: false, slot_ms: 300, min_upgrade_delay: 1 };
        let config = of_node(&layer_one, &choices).await.unwrap();
        assert_eq!((config.genesis, config.checkpoint.hash), (node.hash(0), node.hash(0)));
        assert_eq!(config.checkpoint.authorities, [([3; 32], 1)]);
        assert_eq!((config.simulation_allowed, config.unbound_getters_allowed), (true, false));

        node.grow(9);
        node.finalize(7);
        node.state().pruned = true;
        let config = of_node(&layer_one, &choices).await.unwrap();
        assert_eq!((config.genesis, config.checkpoint.hash), (node.hash(0), node.hash(7)));
        assert_eq!((config.checkpoint.number, config.checkpoint.set_id), (7, 5));
    }

    #[test]
    fn a_written_configuration_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let error = read(&path).unwrap_err();
        assert!(error.to_string().starts_with("cannot use"), "{error}");
        let checkpoint = Checkpoint { number: 1, hash: Default::default(), set_id: 2, authorities: vec![([3; 32], 1)] };
        let genesis = Default::default();
        let config = MeasuredConfig {
            genesis,
            checkpoint,
            simulation_allowed: false,
            unbound_getters_allowed: true,
            slot_ms: 300,
            min_upgrade_delay: 4,
        };
        std::fs::write(&path, config.encode()).unwrap();
        assert_eq!(read(&path).unwrap(), config);
        std::fs::write(&path, [config.encode(), vec![0]].concat()).unwrap();
        assert_eq!(read(&path).unwrap_err().exit_code(), 2);
    }
}
