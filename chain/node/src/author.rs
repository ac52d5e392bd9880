// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Block authorship: AURA, one author per slot in turn.

use crate::service::{BlockImport, FullClient, Pool, SelectChain};
use cloister_chain_primitives::H256;
use cloister_runtime::opaque::Block;
use futures::Future;
use sc_basic_authorship::ProposerFactory;
use sc_consensus::JustificationSyncLink;
use sc_consensus_aura::{SlotDuration, SlotProportion, StartAuraParams, SyncOracle};
use sp_consensus_aura::sr25519::AuthorityPair;
use sp_inherents::CreateInherentDataProviders;
use sp_keystore::KeystorePtr;
use std::sync::Arc;

/// A validator that writes blocks.
pub struct Author {
    pub client: Arc<FullClient>,
    pub select_chain: SelectChain,
    pub block_import: BlockImport,
    pub proposer_factory: ProposerFactory<Pool, FullClient>,
    pub keystore: KeystorePtr,
    /// Write blocks even without peers: what a chain of one validator needs, and what would fork others.
    pub force_authoring: bool,
    pub telemetry: Option<sc_telemetry::TelemetryHandle>,
}

impl Author {
    /// Writes a block in each of the validator's slots while `sync` says that the node is at the chain's head.
    pub fn run<S>(self, sync: S) -> Result<impl Future<Output = ()>, sc_service::Error>
    where
        S: SyncOracle + JustificationSyncLink<Block> + Clone + Send + Sync + 'static,
    {
        let slot_duration = sc_consensus_aura::slot_duration(&*self.client)?;
        Ok(sc_consensus_aura::start_aura::<AuthorityPair, _, _, _, _, _, _, _, _, _, _>(StartAuraParams {
            slot_duration,
            client: self.client,
            select_chain: self.select_chain,
            block_import: self.block_import,
            proposer_factory: self.proposer_factory,
            sync_oracle: sync.clone(),
            justification_sync_link: sync,
            create_inherent_data_providers: inherents(slot_duration),
            force_authoring: self.force_authoring,
            backoff_authoring_blocks: None::<()>,
            keystore: self.keystore,
            // The rest of the slot is for the others: to import the block before the next author begins.
            block_proposal_slot_portion: SlotProportion::new(2.0 / 3.0),
            max_block_proposal_slot_portion: None,
            telemetry: self.telemetry,
            compatibility_mode: Default::default(),
        })?)
    }
}

/// What every block takes from its author's clock: the slot and the time.
pub fn inherents(
    slot_duration: SlotDuration,
) -> impl CreateInherentDataProviders<
    Block,
    (),
    InherentDataProviders = (sp_consensus_aura::inherents::InherentDataProvider, sp_timestamp::InherentDataProvider),
> + Clone {
    move |_parent: H256, ()| async move {
        let timestamp = sp_timestamp::InherentDataProvider::from_system_time();
        let slot = sp_consensus_aura::inherents::InherentDataProvider::from_timestamp_and_slot_duration(
            *timestamp,
            slot_duration,
        );
        Ok((slot, timestamp))
    }
}
