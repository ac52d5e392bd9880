// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Carries out what the command line asks for.

use crate::{
    cli::{Cli, Subcommand},
    service::{self, Chain},
};
use cloister_chain_primitives::H256;
use cloister_runtime::opaque::Block;
use sc_cli::{RunCmd, SubstrateCli};
use sc_network::{Litep2pNetworkBackend, NetworkWorker, config::NetworkBackendType};

/// Parses the process's arguments and does as they say. A running node ends on SIGTERM and SIGINT, with its database
/// closed.
pub fn run() -> sc_cli::Result<()> {
    let cli = Cli::from_args();
    match &cli.subcommand {
        None => run_node(&cli, &cli.run),
        Some(Subcommand::Run(cmd)) => run_node(&cli, cmd),
        Some(Subcommand::Key(cmd)) => cmd.run(&cli),
        Some(Subcommand::ExportChainSpec(cmd)) => cmd.run(cli.load_spec(&cmd.chain)?),
        Some(Subcommand::BuildSpec(cmd)) => {
            cli.create_runner(cmd)?.sync_run(|config| cmd.run(config.chain_spec, config.network))
        }
        Some(Subcommand::CheckBlock(cmd)) => cli.create_runner(cmd)?.async_run(|mut config| {
            let Chain { client, import_queue, task_manager, .. } = service::open(&mut config)?;
            Ok((cmd.run(client, import_queue), task_manager))
        }),
        Some(Subcommand::ExportBlocks(cmd)) => cli.create_runner(cmd)?.async_run(|mut config| {
            let Chain { client, task_manager, .. } = service::open(&mut config)?;
            Ok((cmd.run(client, config.database), task_manager))
        }),
        Some(Subcommand::ExportState(cmd)) => cli.create_runner(cmd)?.async_run(|mut config| {
            let Chain { client, task_manager, .. } = service::open(&mut config)?;
            Ok((cmd.run(client, config.chain_spec), task_manager))
        }),
        Some(Subcommand::ImportBlocks(cmd)) => cli.create_runner(cmd)?.async_run(|mut config| {
            let Chain { client, import_queue, task_manager, .. } = service::open(&mut config)?;
            Ok((cmd.run(client, import_queue), task_manager))
        }),
        Some(Subcommand::PurgeChain(cmd)) => cli.create_runner(cmd)?.sync_run(|config| cmd.run(config.database)),
        Some(Subcommand::Revert(cmd)) => cli.create_runner(cmd)?.async_run(|mut config| {
            let Chain { client, backend, task_manager, .. } = service::open(&mut config)?;
            // GRANDPA remembers set changes beside the blocks; those of the blocks taken back must go with them.
            let revert_grandpa = Box::new(|client, _, blocks| Ok(sc_consensus_grandpa::revert(client, blocks)?));
            Ok((cmd.run(client, backend, Some(revert_grandpa)), task_manager))
        }),
        Some(Subcommand::ChainInfo(cmd)) => cli.create_runner(cmd)?.sync_run(|config| cmd.run::<Block>(&config)),
    }
}

fn run_node(cli: &Cli, cmd: &RunCmd) -> sc_cli::Result<()> {
    cli.create_runner(cmd)?.run_node_until_exit(|config| async move {
        Ok(match config.network.network_backend {
            NetworkBackendType::Litep2p => service::start::<Litep2pNetworkBackend>(config)?,
            NetworkBackendType::Libp2p => service::start::<NetworkWorker<Block, H256>>(config)?,
        })
    })
}
