//! Business logic of one's own, end to end: the example of the tutorial, with real processes.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, UNIT, calls::Call};
use cloister_client::Wait;
use cloister_testing::{Cli, Deployment, WorkerOptions, eventually, process::binary, signer};
use serde_json::Value;
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Ferdie, One};

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_played_and_its_winner_paid() -> Result<()> {
    let enclave_binary = Some(binary("guess-enclave-hurried")?);
    Deployment::run_with(WorkerOptions { enclave_binary, ..WorkerOptions::default() }, async |deployment| {
        let game = Cli::program(deployment, "guess")?;
        let (alice, bob, one) = (signer(Alice), signer(Bob), signer(One));
        for player in [&alice, &bob] {
            deployment.shield(player, 10 * UNIT).await?;
        }
        // Somebody who has money on the shard only.
        deployment.shard.shield(&alice, &one.account(), 10 * UNIT, Wait::Finalized).await?;
        deployment.inbox_consumed().await?;

        let none = game.refused(3, &["last"])?;
        ensure!(none.contains("no round has ended yet"), "{none}");
        let methods: Vec<String> = deployment.shard.worker().read("rpc_methods", serde_json::json!([])).await?;
        ensure!(["guess_round", "guess_lastRound"].iter().all(|own| methods.iter().any(|method| method == own)));

        let poor = game.refused(3, &["play", "//One", "500"])?;
        ensure!(poor.contains("your account on layer one holds too little"), "{poor}");
        let wrong = game.refused(3, &["play", "//Bob", "1001"])?;
        ensure!(wrong.contains("guess a number from 1 to 1000"), "{wrong}");
        // Rounds are short here: both guesses have to be in one of them.
        let round = eventually("two guesses in one round", DEADLINE, async || {
            let before = game.done(&["round"])?;
            game.done(&["play", "//Alice", "250"])?;
            game.done(&["play", "//Bob", "750"])?;
            let after = game.done(&["round"])?;
            Ok((before["round"] == after["round"] && after["guesses"] == 2).then_some(after))
        })
        .await?;
        ensure!(round["prize"] == (2 * UNIT).to_string(), "{round}");

        let told = eventually("the round's number", DEADLINE, async || {
            let told = game.run(&["last"])?.1;
            Ok((told["round"] == round["round"]).then_some(told))
        })
        .await?;
        let number = told["number"].as_u64().context("no number")?;
        let (winner, guess) = if number.abs_diff(250) <= number.abs_diff(750) { (&alice, 250) } else { (&bob, 750) };
        ensure!((1..=1000).contains(&number) && told["guess"] == guess && told["paid"] == true, "{told}");
        ensure!(told["winner"] == winner.account().to_string() && told["prize"] == (2 * UNIT).to_string(), "{told}");
        let mine = game.done(&["my-guesses", "//Alice"])?;
        ensure!(mine["left"].as_u64().is_some_and(|left| left <= 3), "{mine}");

        // What the game moves is neither made nor lost.
        deployment.ledgers().await?;
        let free = planck(&Cli::of(deployment)?.done(&["trusted", "balance", "//One"])?["free"])?;
        ensure!(free == 10 * UNIT - DIRECT_CALL_FEE, "{free}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_ends_pays_its_players_all_that_is_in_the_pot() -> Result<()> {
    let enclave_binary = Some(binary("guess-enclave-hurried")?);
    let options = WorkerOptions { enclave_binary, upgrade_delay: Some(UPGRADE_DELAY), ..WorkerOptions::default() };
    Deployment::run_with(options, async |deployment| {
        let game = Cli::program(deployment, "guess")?;
        let players = [Bob, Charlie];
        deployment.endow(Ferdie, &players.map(|player| (player, 50 * UNIT))).await?;
        let money = async || -> Result<Balance> {
            let [bob, charlie] = players.map(|player| player.to_account_id());
            Ok(deployment.chain.free_balance(&bob).await? + deployment.chain.free_balance(&charlie).await?)
        };
        let before = money().await?;
        deployment.root(Call::retire_shard(&deployment.shard.shard().id)).await?;
        // Whichever round is the last one, both are in it.
        eventually("the shard's end", DEADLINE, async || {
            for player in ["//Bob", "//Charlie"] {
                let (_, answer) = game.run(&["play", player, "500"])?;
                let refusal = answer["error"].as_str().unwrap_or_default();
                if refusal.contains("the shard is retired") {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })
        .await?;
        let books = eventually("the end of what is owed", DEADLINE, async || {
            let books = deployment.ledgers().await?.books;
            Ok((books.issuance() == Some(0) && books.open() == Some(0)).then_some(books))
        })
        .await?;
        ensure!(money().await? == before + books.paid, "{books:?}");
        ensure!(books.paid + books.fees == 100 * UNIT, "{books:?}");
        let last = game.done(&["last"])?;
        ensure!(last["paid"] == true, "{last}");
        Ok(())
    })
    .await
}

/// Layer-one blocks between the announcement of the shard's end and the end.
const UPGRADE_DELAY: u32 = 30;

/// For a round of twenty seconds, its anchor on layer one and the next block.
const DEADLINE: Duration = Duration::from_secs(90);

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

/// All code in the tutorial is the example's.
#[test]
fn the_tutorial_quotes_the_example() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let blocks = blocks("rust");
    ensure!(blocks.len() >= 10);
    for block in blocks {
        let (path, code) = block.split_first().context("an empty block")?;
        let path = path.strip_prefix("// ").with_context(|| format!("no path: {path}"))?;
        let file = fs::read_to_string(root.join(path)).with_context(|| path.to_string())?;
        let file: Vec<_> = file.lines().map(str::trim).collect();
        let mut from = 0;
        for quote in code.split(|line| line.trim() == "// …") {
            let quote: Vec<_> = quote.iter().map(|line| line.trim()).collect();
            let at = file[from..].windows(quote.len()).position(|lines| lines == quote);
            from += at.with_context(|| format!("{path} does not say: {quote:#?}"))? + quote.len();
        }
    }
    Ok(())
}

/// What the tutorial has its reader type works.
#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_can_be_followed() -> Result<()> {
    let start = blocks("console start").concat();
    let programs = start.iter().filter_map(|line| line.strip_prefix("$ ")).filter(|line| line.starts_with("cloister"));
    let mut enclave = None;
    for line in programs {
        let words: Vec<_> = line.split_whitespace().collect();
        let named = words.iter().take_while(|word| !word.starts_with('-'));
        let (program, subcommands) = (words[0], named.skip(1).collect::<Vec<_>>());
        let help = Command::new(binary(program)?).args(subcommands).arg("--help").output()?;
        let help = String::from_utf8(help.stdout)?;
        for option in words.iter().filter(|word| word.starts_with("--")) {
            ensure!(help.contains(option), "{program} has no {option}");
        }
        enclave = enclave.or(line.split_once("--enclave-binary \"$(command -v ").map(|(_, rest)| rest));
    }
    let enclave = enclave.and_then(|rest| rest.split_once(')')).context("no enclave is named")?.0;
    let options = WorkerOptions { enclave_binary: Some(binary(enclave)?), ..WorkerOptions::default() };
    Deployment::run_with(options, async |deployment| {
        let shell = Cli::program(deployment, "guess")?;
        let lines = blocks("console").concat();
        ensure!(lines.len() >= 8);
        for line in lines {
            let line = line.strip_prefix("$ ").with_context(|| format!("no command: {line}"))?;
            let mut command = tokio::process::Command::from(shell.shell(line)?);
            let output = tokio::time::timeout(DEADLINE, command.kill_on_drop(true).output());
            let output = output.await.with_context(|| format!("{line}: still running"))??;
            println!("$ {line}\n{}", String::from_utf8_lossy(&output.stdout));
            ensure!(output.status.success(), "{line}: {output:?}");
        }
        Ok(())
    })
    .await
}

/// The tutorial's blocks with this tag, line by line.
fn blocks(tag: &str) -> Vec<Vec<&'static str>> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in TUTORIAL.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(found), None) => open = Some((found == tag, Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().and_then(|(wanted, lines)| wanted.then_some(lines))),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

fn planck(value: &Value) -> Result<Balance> {
    Ok(value.as_str().context("no amount")?.parse()?)
}
