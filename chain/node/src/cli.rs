// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! The command line: the options and subcommands that Substrate users know, over the chains of [`crate::chain_spec`].

use crate::chain_spec;
use sc_cli::{ChainSpec, KeySubcommand, RunCmd, SubstrateCli};

/// What the process was asked to do; without a subcommand it runs the node.
#[derive(Debug, clap::Parser)]
pub struct Cli {
    #[command(subcommand)]
    pub subcommand: Option<Subcommand>,

    #[command(flatten)]
    pub run: RunCmd,
}

/// Everything but running the node by its bare name.
#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Run the node; the same as no subcommand.
    Run(Box<RunCmd>),

    /// Generate, inspect and insert keys.
    #[command(subcommand)]
    Key(KeySubcommand),

    /// Write a chain's specification as JSON.
    ExportChainSpec(sc_cli::ExportChainSpecCmd),

    /// Write a chain's specification as JSON, with a boot node; the older form of export-chain-spec.
    BuildSpec(sc_cli::BuildSpecCmd),

    /// Execute a block of the database again.
    CheckBlock(sc_cli::CheckBlockCmd),

    /// Write blocks to a file.
    ExportBlocks(sc_cli::ExportBlocksCmd),

    /// Write a block's state as a chain specification.
    ExportState(sc_cli::ExportStateCmd),

    /// Read blocks from a file.
    ImportBlocks(sc_cli::ImportBlocksCmd),

    /// Delete the database.
    PurgeChain(sc_cli::PurgeChainCmd),

    /// Take back unfinalized blocks.
    Revert(sc_cli::RevertCmd),

    /// Print the database's heads.
    ChainInfo(sc_cli::ChainInfoCmd),
}

impl SubstrateCli for Cli {
    fn impl_name() -> String {
        "Cloister Node".into()
    }

    fn impl_version() -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn description() -> String {
        env!("CARGO_PKG_DESCRIPTION").into()
    }

    fn author() -> String {
        "the Cloister authors".into()
    }

    fn support_url() -> String {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/issues").into()
    }

    fn copyright_start_year() -> i32 {
        2026
    }

    fn load_spec(&self, id: &str) -> Result<Box<dyn ChainSpec>, String> {
        chain_spec::load(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::state_pruning;
    use clap::CommandFactory;
    use sc_service::{ChainType, DatabaseSource, PruningMode, Role};

    fn parse(args: &[&str]) -> clap::error::Result<Cli> {
        Cli::try_from_iter([&["cloister-node"], args].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::setup_command(Cli::command()).debug_assert();
    }

    #[test]
    fn every_subcommand_parses() {
        for args in [
            &["run", "--dev"][..],
            &["key", "generate"],
            &["export-chain-spec", "--chain", "development", "--raw"],
            &["build-spec", "--chain", "local_testnet"],
            &["check-block", "1"],
            &["export-blocks", "--from", "1"],
            &["export-state", "1"],
            &["import-blocks", "blocks.json"],
            &["purge-chain", "-y"],
            &["revert", "2"],
            &["chain-info"],
        ] {
            assert!(parse(args).unwrap().subcommand.is_some(), "{args:?}");
        }
        assert!(parse(&["--alice", "--chain", "local"]).unwrap().subcommand.is_none());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for args in [&["--alice", "--bob"][..], &["--tmp", "--base-path", "/tmp"], &["--dev", "chain-info"], &["bench"]]
        {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_development_node_is_an_authority_on_paritydb() {
        let tokio_runtime = sc_cli::build_runtime().unwrap();
        let cli = parse(&["--dev"]).unwrap();
        let config = cli.create_configuration(&cli.run, tokio_runtime.handle().clone()).unwrap();
        assert!(matches!(config.database, DatabaseSource::ParityDb { .. }));
        assert_eq!(config.chain_spec.chain_type(), ChainType::Development);
        assert!(matches!(config.role, Role::Authority));
        assert!(config.force_authoring);
    }

    #[test]
    fn a_new_development_chain_keeps_its_states() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_str().unwrap();
        let tokio_runtime = sc_cli::build_runtime().unwrap();
        let mode = |args: &[&str]| {
            let cli = parse(&[&["--base-path", base], args].concat()).unwrap();
            let config = cli.create_configuration(&cli.run, tokio_runtime.handle().clone()).unwrap();
            (state_pruning(&config), config.database.path().unwrap().to_path_buf())
        };
        let (kept, database) = mode(&["--dev"]);
        assert_eq!(kept, Some(PruningMode::ArchiveCanonical));
        assert_eq!(mode(&["--chain", "local"]).0, Some(PruningMode::ArchiveCanonical));
        assert_eq!(mode(&["--dev", "--state-pruning", "300"]).0, Some(PruningMode::blocks_pruning(300)));
        std::fs::create_dir_all(database).unwrap();
        assert_eq!(mode(&["--dev"]).0, None, "an existing database keeps its mode");
    }
}
