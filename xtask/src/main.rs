//! Set-up, demo, tests, simulation, fuzzing and benchmarks behind one command: `cargo xtask`.
//!
//! Depends on nothing but clap and anyhow, so that it builds in seconds on a machine that has only Rust.

mod command;
mod fuzz;
mod setup;
mod wasm;
mod workspace;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::{
    command::{Failed, exec, run},
    setup::Consent,
    workspace::Workspace,
};

fn main() -> ExitCode {
    if let Some(code) = fuzz::as_compiler() {
        return code;
    }
    match dispatch(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // The child has said why; its exit code is the answer that a caller expects.
            error.downcast_ref::<Failed>().map_or(ExitCode::FAILURE, |failed| ExitCode::from(failed.code))
        }
    }
}

/// Set-up, demo, tests, simulation, fuzzing and benchmarks of Cloister.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks what the build needs and installs what is missing.
    Setup {
        /// Install without asking.
        #[arg(long)]
        yes: bool,
        /// Install nothing; exit with 1 if something is missing.
        #[arg(long, conflicts_with = "yes")]
        check: bool,
    },
    /// Builds everything and runs the demo: shield, pay privately, kill the worker, unshield, audit.
    Demo {
        /// Passed on to the demo, for example `--keep`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds everything and runs all tests, or those whose names contain one of the filters.
    Test {
        /// Parts of test names.
        filter: Vec<String>,
    },
    /// Builds and runs the benchmarks; prints JSON lines.
    /// `throughput --accounts N --clients C --block-time MS --seconds S` loads a shard of real processes; its `--help`
    /// lists what else there is.
    Bench {
        /// Passed on to the benchmarks: part of a name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Builds and runs simulated lives of shards, with crashes at every boundary; the last line says how many passed.
    /// `--seeds N [--from S]`; `--help` lists what else there is.
    #[command(disable_help_flag = true)]
    Sim {
        /// Passed on to the simulation.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Builds an instrumented fuzzer and runs targets, or one, under coverage guidance; exits with 1 after a finding.
    Fuzz(fuzz::Options),
    /// Checks format and lints; warnings are errors.
    Lint,
    /// Prints the environment that gives plain cargo the same target directory.
    Env,
}

fn dispatch(cli: Cli) -> Result<()> {
    let workspace = Workspace::find()?;
    match cli.task {
        Task::Setup { yes, check } => {
            let consent = match (yes, check) {
                (_, true) => Consent::CheckOnly,
                (true, _) => Consent::Given,
                _ => Consent::Ask,
            };
            setup::setup(consent)?;
            println!("Set-up is complete.");
            Ok(())
        }
        Task::Demo { arguments } => {
            setup::setup(Consent::Ask)?;
            build(&workspace)?;
            exec(workspace.binary("cloister-demo").args(arguments))
        }
        Task::Test { filter } => {
            setup::setup(Consent::Ask)?;
            // Tests start the real binaries, which a test build alone does not make.
            build(&workspace)?;
            run("build the client with subxt", subxt_client(&workspace, "build")?.arg("--release"))?;
            test(&workspace, &filter)
        }
        Task::Bench { filter } => {
            setup::setup(Consent::Ask)?;
            build(&workspace)?;
            if let Some((_, options)) = filter.split_first().filter(|(name, _)| *name == "throughput") {
                return exec(workspace.binary("cloister-throughput").args(options));
            }
            for benches in ["cloister-benches", "cloister-runtime-benches"] {
                run(benches, workspace.binary(benches).args(&filter))?;
            }
            Ok(())
        }
        Task::Sim { arguments } => {
            setup::setup(Consent::Ask)?;
            build(&workspace)?;
            let mut sim = workspace.binary("cloister-sim");
            sim.args(arguments);
            exec(&mut sim)
        }
        Task::Fuzz(options) => {
            setup::setup(Consent::Ask)?;
            fuzz::fuzz(&workspace, &options)
        }
        Task::Lint => lint(&workspace),
        Task::Env => {
            for (name, value) in workspace.environment() {
                println!("export {name}={}", shell_quoted(&value));
            }
            Ok(())
        }
    }
}

/// Always the whole workspace: another selection of packages would unify features differently and build hundreds of
/// dependencies again.
fn build(workspace: &Workspace) -> Result<()> {
    run("build the binaries", workspace.cargo()?.args(["build", "--release", "--workspace", "--bins"]))
}

/// Cargo in the client's own workspace, which asks for features that would build the node's dependencies again.
fn subxt_client(workspace: &Workspace, command: &str) -> Result<Command> {
    let mut cargo = workspace.cargo()?;
    cargo.args([command, "--manifest-path", "testing/subxt/Cargo.toml"]);
    Ok(cargo)
}

fn test(workspace: &Workspace, filter: &[String]) -> Result<()> {
    let mut cargo = workspace.cargo()?;
    if command::succeeds("cargo-nextest", &["nextest", "--version"]) {
        // Nextest runs no examples of documentation; first, so that its summary is the last line.
        if filter.is_empty() {
            run(
                "test the documentation",
                workspace.cargo()?.args(["test", "--release", "--workspace", "--doc", "--quiet"]),
            )?;
        }
        let config = workspace.root().join("testing/nextest.toml");
        cargo.args(["nextest", "run", "--release", "--workspace", "--config-file"]).arg(config).args(filter);
    } else {
        cargo.args(["test", "--release", "--workspace", "--no-fail-fast", "--"]).args(filter);
    }
    exec(&mut cargo)
}

fn lint(workspace: &Workspace) -> Result<()> {
    run("check the format", workspace.cargo()?.args(["fmt", "--all", "--check"]))?;
    run("check the format of the client with subxt", subxt_client(workspace, "fmt")?.arg("--check"))?;
    let mut clippy = workspace.cargo()?;
    clippy.args(["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    // Lints need no wasm. Cargo keeps what clippy makes of our crates apart from a build's, the runtime's build
    // script included, so the real wasm stays.
    clippy.env("SKIP_WASM_BUILD", "1");
    run("lint", &mut clippy)?;
    if command::succeeds("cargo-deny", &["--version"]) {
        // Advisories need the network: `cargo deny check` asks for them, too.
        let check = ["--offline", "--log-level", "error", "check", "bans", "licenses", "sources"];
        run("check licences, bans and sources", workspace.cargo()?.arg("deny").args(check))?;
        run("download what the client with subxt is made of", subxt_client(workspace, "fetch")?.arg("--locked"))?;
        run("check its licences, bans and sources", subxt_client(workspace, "deny")?.args(check))?;
    }
    Ok(())
}

fn shell_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A program's output, trimmed.
fn output_of(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    anyhow::ensure!(output.status.success(), "{program} {} said {}", arguments.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_environment_survives_a_shell() {
        assert_eq!(shell_quoted("/home/o'brien/target"), r"'/home/o'\''brien/target'");
    }
}
