// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! The node's parts put together: database, client, pool and import queue ([`open`]); on top of them network,
//! JSON-RPC, authorship and finality ([`start`]).

use crate::{
    author::{self, Author},
    finality::{JUSTIFICATION_PERIOD, Pace},
    rpc,
};
use cloister_chain_primitives::H256;
use cloister_runtime::{RuntimeApi, opaque::Block};
use futures::FutureExt;
use sc_basic_authorship::ProposerFactory;
use sc_client_api::Backend;
use sc_consensus::{DefaultImportQueue, LongestChain};
use sc_consensus_aura::ImportQueueParams;
use sc_consensus_grandpa::{
    FinalityProofProvider, GrandpaBlockImport, GrandpaParams, LinkHalf, SharedVoterState, warp_proof::NetworkProvider,
};
use sc_executor::WasmExecutor;
use sc_network::{NetworkBackend, config::FullNetworkConfiguration};
use sc_offchain::{OffchainWorkerOptions, OffchainWorkers};
use sc_service::{
    BuildNetworkParams, ChainType, Configuration, Error, KeystoreContainer, PruningMode, SpawnTasksParams,
    TFullBackend, TFullClient, TaskManager, WarpSyncConfig,
};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sc_transaction_pool::TransactionPoolHandle;
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_blockchain::HeaderBackend;
use sp_consensus_aura::sr25519::AuthorityPair as AuraPair;
use std::sync::Arc;

pub type FullClient = TFullClient<Block, RuntimeApi, WasmExecutor>;
pub type FullBackend = TFullBackend<Block>;
pub type Pool = TransactionPoolHandle<Block, FullClient>;
pub type SelectChain = LongestChain<FullBackend, Block>;
/// Every block goes through GRANDPA, which looks for changes of the validator set.
pub type BlockImport = GrandpaBlockImport<FullBackend, Block, FullClient, SelectChain>;

/// An opened chain: all that subcommands need, and what a running node is built on.
pub struct Chain {
    pub client: Arc<FullClient>,
    pub backend: Arc<FullBackend>,
    pub import_queue: DefaultImportQueue<Block>,
    pub task_manager: TaskManager,
    keystore: KeystoreContainer,
    pool: Arc<Pool>,
    select_chain: SelectChain,
    block_import: BlockImport,
    grandpa: LinkHalf<Block, FullClient, SelectChain>,
    telemetry: Option<Telemetry>,
}

/// Opens the database, which gets the genesis block if it is empty.
pub fn open(config: &mut Configuration) -> Result<Chain, Error> {
    config.state_pruning = state_pruning(config);
    let config = &*config;
    let telemetry = config
        .telemetry_endpoints
        .clone()
        .filter(|endpoints| !endpoints.is_empty())
        .map(|endpoints| {
            let worker = TelemetryWorker::new(TELEMETRY_BUFFER)?;
            let telemetry = worker.handle().new_telemetry(endpoints);
            Ok::<_, sc_telemetry::Error>((worker, telemetry))
        })
        .transpose()?;
    let telemetry_handle = || telemetry.as_ref().map(|(_, telemetry)| telemetry.handle());

    let executor = sc_service::new_wasm_executor(&config.executor);
    // No pruning filter: the one that GRANDPA offers keeps each block with a justification, here every block.
    let (client, backend, keystore, task_manager) =
        sc_service::new_full_parts::<Block, RuntimeApi, _>(config, telemetry_handle(), executor, Vec::new())?;
    let client = Arc::new(client);

    let select_chain = LongestChain::new(backend.clone());
    let pool = sc_transaction_pool::Builder::new(
        task_manager.spawn_essential_handle(),
        client.clone(),
        config.role.is_authority().into(),
    )
    .with_options(config.transaction_pool.clone())
    .with_prometheus(config.prometheus_registry())
    .build();

    let (block_import, grandpa) = sc_consensus_grandpa::block_import(
        client.clone(),
        JUSTIFICATION_PERIOD,
        &client,
        select_chain.clone(),
        telemetry_handle(),
    )?;
    let import_queue = sc_consensus_aura::import_queue::<AuraPair, _, _, _, _, _>(ImportQueueParams {
        block_import: block_import.clone(),
        justification_import: Some(Box::new(block_import.clone())),
        client: client.clone(),
        create_inherent_data_providers: author::inherents(sc_consensus_aura::slot_duration(&*client)?),
        spawner: &task_manager.spawn_essential_handle(),
        registry: config.prometheus_registry(),
        check_for_equivocation: Default::default(),
        telemetry: telemetry_handle(),
        compatibility_mode: Default::default(),
    })?;

    let telemetry = telemetry.map(|(worker, telemetry)| {
        task_manager.spawn_handle().spawn("telemetry", None, worker.run());
        telemetry
    });
    Ok(Chain {
        client,
        backend,
        import_queue,
        task_manager,
        keystore,
        pool: Arc::new(pool),
        select_chain,
        block_import,
        grandpa,
        telemetry,
    })
}

/// Which states the database keeps. That of a new development chain keeps all finalized ones unless asked otherwise, so
/// that enclaves can still be configured from its first block; an existing database keeps the mode it was made with.
pub fn state_pruning(config: &Configuration) -> Option<PruningMode> {
    let is_new = config.database.path().is_some_and(|path| !path.exists());
    match config.chain_spec.chain_type() {
        ChainType::Development | ChainType::Local if is_new => {
            config.state_pruning.clone().or(Some(PruningMode::ArchiveCanonical))
        }
        _ => config.state_pruning.clone(),
    }
}

/// Starts a node over the network `N`. It runs until the task manager is dropped.
pub fn start<N: NetworkBackend<Block, H256>>(mut config: Configuration) -> Result<TaskManager, Error> {
    let Chain {
        client,
        backend,
        import_queue,
        mut task_manager,
        keystore,
        pool,
        select_chain,
        block_import,
        grandpa,
        mut telemetry,
    } = open(&mut config)?;
    let telemetry_handle = telemetry.as_ref().map(Telemetry::handle);
    let authority_set = grandpa.shared_authority_set().clone();
    let voter_state = SharedVoterState::empty();

    let prometheus = config.prometheus_registry().cloned();
    let network_metrics = N::register_notification_metrics(prometheus.as_ref());
    let mut net_config = FullNetworkConfiguration::<_, _, N>::new(&config.network, prometheus.clone());
    let grandpa_protocol =
        sc_consensus_grandpa::protocol_standard_name(&client.info().genesis_hash, &config.chain_spec);
    let (grandpa_peers, grandpa_notifications) = sc_consensus_grandpa::grandpa_peers_set_config::<_, N>(
        grandpa_protocol.clone(),
        network_metrics.clone(),
        net_config.peer_store_handle(),
    );
    net_config.add_notification_protocol(grandpa_peers);
    let (network, system_rpc_tx, tx_handler_controller, sync, _bitswap) =
        sc_service::build_network(BuildNetworkParams {
            config: &config,
            net_config,
            client: client.clone(),
            transaction_pool: pool.clone(),
            spawn_handle: task_manager.spawn_handle(),
            spawn_essential_handle: task_manager.spawn_essential_handle(),
            import_queue,
            block_announce_validator_builder: None,
            warp_sync_config: Some(WarpSyncConfig::WithProvider(Arc::new(NetworkProvider::new(
                backend.clone(),
                authority_set.clone(),
                Vec::new(),
            )))),
            block_relay: None,
            metrics: network_metrics,
            gap_sync_body_policy: None,
        })?;

    if config.offchain_worker.enabled {
        let workers = OffchainWorkers::new(OffchainWorkerOptions {
            runtime_api_provider: client.clone(),
            keystore: Some(keystore.keystore()),
            offchain_db: backend.offchain_storage(),
            transaction_pool: Some(OffchainTransactionPoolFactory::new(pool.clone())),
            network_provider: Arc::new(network.clone()),
            is_validator: config.role.is_authority(),
            enable_http_requests: true,
            custom_extensions: |_| Vec::new(),
        })?;
        let spawner = task_manager.spawn_handle();
        task_manager.spawn_handle().spawn(
            "offchain-workers-runner",
            "offchain-worker",
            workers.run(client.clone(), spawner).boxed(),
        );
    }

    let author = config.role.is_authority().then(|| Author {
        client: client.clone(),
        select_chain,
        block_import,
        proposer_factory: ProposerFactory::new(
            task_manager.spawn_handle(),
            client.clone(),
            pool.clone(),
            prometheus.as_ref(),
            telemetry_handle.clone(),
        ),
        keystore: keystore.keystore(),
        force_authoring: config.force_authoring,
        telemetry: telemetry_handle.clone(),
    });
    let rpc_sources = rpc::Sources {
        client: client.clone(),
        pool: pool.clone(),
        finality: rpc::Finality {
            authority_set: authority_set.clone(),
            voter_state: voter_state.clone(),
            justifications: grandpa.justification_stream(),
            proofs: FinalityProofProvider::new_for_service(backend.clone(), Some(authority_set)),
        },
    };

    let pace = Pace::of(&config.chain_spec.chain_type());
    let voter = (!config.disable_grandpa).then(|| GrandpaParams {
        config: sc_consensus_grandpa::Config {
            gossip_duration: pace.gossip_duration(),
            justification_generation_period: JUSTIFICATION_PERIOD,
            observer_enabled: false,
            local_role: config.role,
            name: Some(config.network.node_name.clone()),
            // Without keys a node only follows the votes.
            keystore: config.role.is_authority().then(|| keystore.keystore()),
            telemetry: telemetry_handle.clone(),
            protocol_name: grandpa_protocol,
        },
        link: grandpa,
        network: network.clone(),
        sync: sync.clone(),
        notification_service: grandpa_notifications,
        voting_rule: pace.voting_rule(),
        prometheus_registry: prometheus,
        shared_voter_state: voter_state,
        telemetry: telemetry_handle,
        offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(pool.clone()),
    });

    sc_service::spawn_tasks(SpawnTasksParams {
        config,
        client,
        backend,
        task_manager: &mut task_manager,
        keystore: keystore.keystore(),
        transaction_pool: pool,
        rpc_builder: Box::new(move |executor| {
            rpc_sources.clone().into_module(executor).map_err(|error| Error::Application(Box::new(error)))
        }),
        network,
        system_rpc_tx,
        tx_handler_controller,
        sync_service: sync.clone(),
        telemetry: telemetry.as_mut(),
        tracing_execute_block: None,
    })?;

    // Last, because a voter looks for its key once per round: the keys of a development seed are in the keystore now.
    let essential = task_manager.spawn_essential_handle();
    if let Some(author) = author {
        essential.spawn_blocking("aura", "block-authoring", author.run(sync)?);
    }
    if let Some(voter) = voter {
        essential.spawn_blocking("grandpa-voter", "finality", sc_consensus_grandpa::run_grandpa_voter(voter)?);
    }
    Ok(task_manager)
}

/// Telemetry messages that wait for the connection before they are dropped.
const TELEMETRY_BUFFER: usize = 16;
