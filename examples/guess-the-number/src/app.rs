//! The rules, as the shard's engine calls them.

use cloister_chain_primitives::{
    AccountId, Balance, Moment, UNIT,
    storage::{self, AccountInfo},
};
use cloister_stf::{App, Context, Execution};
use codec::{DecodeAll, Encode};

use crate::{
    interface::{Call, HIGHEST, MyGuesses, PublicQuery, Query, RoundStatus},
    rounds::{self, Closed, Current, Guesses, Last, Round},
};

/// The game. What it depends on is part of the enclave's code, and so of its measurement: nobody can change it unnoticed.
#[derive(Clone, Copy, Debug)]
pub struct GuessTheNumber {
    /// How long a round is, milliseconds.
    pub round_ms: Moment,
    /// Planck for a guess.
    pub entry_fee: Balance,
    /// How often an account may guess in a round.
    pub attempts: u32,
    /// Planck that a player's account on layer one must hold: to guess more often with many accounts costs that much.
    pub layer_one_minimum: Balance,
}

impl GuessTheNumber {
    /// A new number every week.
    pub const WEEKLY: Self =
        Self { round_ms: 7 * 24 * 60 * 60 * 1_000, entry_fee: UNIT, attempts: 3, layer_one_minimum: 10 * UNIT };
    /// The same in a hurry, for trying it out.
    pub const HURRIED: Self = Self { round_ms: 20_000, ..Self::WEEKLY };

    fn round_at(&self, time: Moment) -> u64 {
        time.checked_div(self.round_ms).unwrap_or(0)
    }

    fn status(&self, context: &Context) -> RoundStatus {
        let Self { entry_fee, attempts, layer_one_minimum, .. } = *self;
        let Round { index: round, guesses, prize, .. } = Current::get().unwrap_or(Round {
            index: self.round_at(context.timestamp),
            number: 0,
            guesses: 0,
            prize: 0,
            best: None,
        });
        let ends_at = round.saturating_add(1).saturating_mul(self.round_ms);
        RoundStatus { round, ends_at, guesses, prize, entry_fee, attempts, layer_one_minimum }
    }
}

impl App for GuessTheNumber {
    type Call = Call;
    type Query = Query;
    type PublicQuery = PublicQuery;

    fn weight(&self, _: &Call) -> u64 {
        GUESS_WEIGHT
    }

    fn layer_one_reads(&self, sender: &AccountId, _: &Call) -> Vec<Vec<u8>> {
        vec![storage::account(sender)]
    }

    fn execute(&self, sender: &AccountId, Call::Guess(guess): Call, execution: &Execution<'_>) -> Result<(), String> {
        if !(1..=HIGHEST).contains(&guess) {
            return Err(format!("guess a number from 1 to {HIGHEST}"));
        }
        let account = match execution.layer_one(&storage::account(sender))? {
            Some(mut account) => {
                AccountInfo::decode_all(&mut account).map_err(|_| "layer one has changed".to_string())?
            }
            None => AccountInfo::default(),
        };
        if account.free < self.layer_one_minimum {
            return Err("your account on layer one holds too little".into());
        }
        let mut round = Current::get().ok_or("no round is open")?;
        let mut guesses = Guesses::get(sender).filter(|guesses| guesses.round == round.index).unwrap_or_default();
        if guesses.all.len() >= usize::try_from(self.attempts).unwrap_or(usize::MAX) {
            return Err("no attempts are left in this round".into());
        }
        execution.transfer(sender, &rounds::pot(), self.entry_fee)?;
        guesses.round = round.index;
        guesses.all.push(guess);
        Guesses::insert(sender, guesses);
        round.take(sender, guess, self.entry_fee);
        Current::put(round);
        Ok(())
    }

    fn begin_block_weight(&self) -> u64 {
        ROUND_WEIGHT
    }

    fn begin_block(&self, execution: &Execution<'_>) -> Result<(), String> {
        rounds::go_on(self.round_at(execution.timestamp), execution);
        Ok(())
    }

    fn due(&self, next: &Context) -> bool {
        let closed = Closed::get();
        let is_over = |round: Round| round.guesses > 0 && rounds::is_over(&round, self.round_at(next.timestamp), next);
        closed.first().is_some_and(|first| next.is_anchored(first.block))
            || (closed.len() < rounds::MAX_CLOSED && Current::get().is_some_and(is_over))
    }

    fn stays(&self, _: &Context) -> Vec<AccountId> {
        rounds::is_owed().then(rounds::pot).into_iter().collect()
    }

    fn answer(&self, owner: &AccountId, Query::MyGuesses: Query, context: &Context) -> Option<Vec<u8>> {
        let round = self.status(context).round;
        let guesses = Guesses::get(owner).filter(|guesses| guesses.round == round).map_or(Vec::new(), |mine| mine.all);
        let used = u32::try_from(guesses.len()).unwrap_or(u32::MAX);
        Some(MyGuesses { round, guesses, left: self.attempts.saturating_sub(used) }.encode())
    }

    fn answer_public(&self, query: PublicQuery, context: &Context) -> Option<Vec<u8>> {
        match query {
            PublicQuery::Round => Some(self.status(context).encode()),
            PublicQuery::LastRound => Last::get().map(|last| last.encode()),
        }
    }

    fn methods(&self) -> &'static [&'static str] {
        &METHODS
    }

    fn rpc(&self, method: &str, _: &[u8], context: &Context) -> Result<Vec<u8>, String> {
        match method {
            "guess_round" => Ok(self.status(context).encode()),
            "guess_lastRound" => Last::get().map(|last| last.encode()).ok_or_else(|| "no round has ended yet".into()),
            _ => Err("no such method".into()),
        }
    }
}

/// The methods that the worker's RPC has for everybody.
pub const METHODS: [&str; 2] = ["guess_round", "guess_lastRound"];

const MICROSECOND: u64 = 1_000_000;
/// A payment and two more values that are written.
const GUESS_WEIGHT: u64 = 200 * MICROSECOND;
/// As many payments as rounds can wait, and as much again.
const ROUND_WEIGHT: u64 = 1_000 * MICROSECOND;
