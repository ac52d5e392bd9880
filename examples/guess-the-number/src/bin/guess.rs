//! `guess`: the game's command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cloister_chain_primitives::Balance;
use cloister_cli::{CallArgs, Delivery, Failure, Global, Program, Report, SelectionArgs, Session, amount};
use cloister_client::ShardClient;
use cloister_wire::{Getter, PublicGetter, TrustedCall, TrustedGetter};
use codec::{DecodeAll, Encode};
use guess_the_number::{Call, LastRound, MyGuesses, PublicQuery, Query, RoundStatus};

/// Guess the number: the closest guess of a round takes all entry fees.
#[derive(Parser)]
#[command(name = "guess", version)]
struct Guess {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pay the entry fee and guess
    Play {
        /// Who plays: //Alice, a name in the keystore
        account: String,
        /// The guess, from 1 to 1000
        number: u32,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Show what a player guessed in the open round; nobody else can ask
    MyGuesses {
        /// The player
        account: String,
    },
    /// Show the open round
    Round,
    /// Show the newest round that is over, its number and its winner
    Last,
}

impl Program for Guess {
    fn global(&self) -> &Global {
        &self.global
    }

    async fn run(self, session: &Session) -> Result<Report, Failure> {
        let client = session.connect(&self.selection.into()).await?;
        match self.command {
            Command::Play { account, number, call } => play(session, &client, &account, number, &call).await,
            Command::MyGuesses { account } => my_guesses(session, &client, &account).await,
            Command::Round => round(&client).await,
            Command::Last => last(&client).await,
        }
    }
}

async fn play(
    session: &Session,
    client: &ShardClient,
    account: &str,
    number: u32,
    call: &CallArgs,
) -> Result<Report, Failure> {
    let player = session.accounts.signer(account)?;
    let delivery = Delivery::read(session, &player, call, true)?;
    let guess = TrustedCall::App(player.account(), Call::Guess(number).encode());
    session.execute(client, &player, guess, &delivery).await?;
    Ok(Report::default().field_as("guessed", number, number))
}

async fn my_guesses(session: &Session, client: &ShardClient, account: &str) -> Result<Report, Failure> {
    let player = session.accounts.signer(account)?;
    let query = TrustedGetter::App(player.account(), Query::MyGuesses.encode());
    let answer = client.ask::<MyGuesses>(&player, query).await?;
    let MyGuesses { round, guesses, left } = answer.value.ok_or_else(no_answer)?;
    let text = guesses.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    Ok(Report::default()
        .field_as("round", round, round)
        .field_as("guesses", guesses, text)
        .field_as("left", left, left))
}

/// Asked as everybody can ask a worker, without an account.
async fn round(client: &ShardClient) -> Result<Report, Failure> {
    let getter = Getter::Public(PublicGetter::App(PublicQuery::Round.encode()));
    let answer = client.worker().execute_getter(client.shard().id, &getter).await.map_err(Failure::could_not_run)?;
    let status = RoundStatus::decode_all(&mut answer.ok_or_else(no_answer)?.as_slice());
    let RoundStatus { round, ends_at, guesses, prize, entry_fee, attempts, .. } = status.map_err(|_| no_answer())?;
    let report = Report::default().field_as("round", round, round).field_as("ends_at", ends_at, ends_at);
    let report = report.field_as("guesses", guesses, guesses).field_as("attempts", attempts, attempts);
    Ok(with_amount(with_amount(report, "prize", prize), "entry_fee", entry_fee))
}

/// Asked by the game's own method of the worker's RPC.
async fn last(client: &ShardClient) -> Result<Report, Failure> {
    let asked = client.worker().read::<LastRound>("guess_lastRound", serde_json::json!([])).await;
    let LastRound { round, number, winner } = asked.map_err(Failure::refused)?;
    let report = Report::default().field_as("round", round, round).field_as("number", number, number);
    let report = report.field("winner", &winner.account).field_as("guess", winner.guess, winner.guess);
    Ok(with_amount(report, "prize", winner.prize).field_as("paid", winner.paid, winner.paid))
}

fn with_amount(report: Report, name: &'static str, planck: Balance) -> Report {
    report.field_as(name, planck.to_string(), amount::format(planck))
}

fn no_answer() -> Failure {
    Failure::refused("the shard does not play this game")
}

fn main() -> ExitCode {
    cloister_cli::main::<Guess>()
}
