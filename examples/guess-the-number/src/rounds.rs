//! Rounds: opened, closed, told.

use cloister_chain_primitives::{AccountId, Balance, ShardMode};
use cloister_stf::{Context, Execution};
use codec::{Decode, Encode};
use frame_support::{Blake2_128Concat, pallet_prelude::ValueQuery, storage_alias};

use crate::interface::{HIGHEST, LastRound, Winner};

/// The round that is open.
#[storage_alias]
pub type Current = StorageValue<GuessTheNumber, Round>;

/// Those that are over and not told yet, the oldest first.
#[storage_alias]
pub type Closed = StorageValue<GuessTheNumber, Vec<ClosedRound>, ValueQuery>;

/// The newest that is told.
#[storage_alias]
pub type Last = StorageValue<GuessTheNumber, LastRound>;

/// Each player's guesses in the round in which he guessed last.
#[storage_alias]
pub type Guesses = StorageMap<GuessTheNumber, Blake2_128Concat, AccountId, PlayersGuesses>;

/// A round.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Round {
    pub index: u64,
    /// Drawn when the round was opened; it never leaves the enclave before the round is told.
    pub number: u32,
    /// Rises with every guess, better or not: a round that did not change would show in the size of what the host stores.
    pub guesses: u32,
    pub prize: Balance,
    pub best: Option<(AccountId, u32)>,
}

/// A round that is over.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ClosedRound {
    pub index: u64,
    pub number: u32,
    pub prize: Balance,
    pub winner: AccountId,
    pub guess: u32,
    /// Height of the block that closed it.
    pub block: u64,
}

/// A player's guesses in one round.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct PlayersGuesses {
    pub round: u64,
    pub all: Vec<u32>,
}

/// Where the fees are until somebody wins them.
pub fn pot() -> AccountId {
    cloister_stf::pot("guess-the-number")
}

impl Round {
    fn open(index: u64, prize: Balance, execution: &Execution<'_>) -> Self {
        let random = u128::from_le_bytes(first_half(execution.random("guess-the-number")));
        // Of 2^128 values no remainder is preferred by more than one in 2^118.
        let number = random.checked_rem(HIGHEST.into()).and_then(|rest| u32::try_from(rest).ok()).unwrap_or(0);
        Self { index, number: number.saturating_add(1), guesses: 0, prize, best: None }
    }

    /// Only a closer guess displaces an earlier one.
    pub fn take(&mut self, player: &AccountId, guess: u32, fee: Balance) {
        let closer = |best: &(AccountId, u32)| guess.abs_diff(self.number) < best.1.abs_diff(self.number);
        if self.best.as_ref().is_none_or(closer) {
            self.best = Some((player.clone(), guess));
        }
        self.guesses = self.guesses.saturating_add(1);
        self.prize = self.prize.saturating_add(fee);
    }
}

/// Whether the round's time is over. What was guessed before a shard was retired is its last round.
pub fn is_over(round: &Round, index: u64, context: &Context) -> bool {
    round.index < index || (context.mode == ShardMode::Retired && round.guesses > 0)
}

/// Whether somebody still has something to win. So long the pot stays, also on a shard that everybody else leaves.
pub fn is_owed() -> bool {
    !Closed::get().is_empty() || Current::get().is_some_and(|round| round.guesses > 0)
}

/// What happens at the beginning of every block: the round whose time is over is closed and the next one opened; a closed
/// one is told, and its winner paid, once no host can take back the block that closed it.
pub fn go_on(index: u64, execution: &Execution<'_>) {
    let mut closed = Closed::get();
    let mut current = match Current::get() {
        Some(round) if is_over(&round, index, execution) && closed.len() < MAX_CLOSED => {
            let Round { index: over, number, prize, best, .. } = round;
            let left = match best {
                Some((winner, guess)) => {
                    let block = execution.number;
                    closed.push(ClosedRound { index: over, number, prize, winner, guess, block });
                    0
                }
                None => prize,
            };
            Round::open(index, left, execution)
        }
        Some(round) => round,
        None => Round::open(index, 0, execution),
    };
    let told = closed.iter().take_while(|round| execution.is_anchored(round.block)).count();
    for ClosedRound { index: round, number, prize, winner: account, guess, .. } in closed.drain(..told) {
        // An account that was emptied meanwhile cannot be opened by less than the existential deposit.
        let paid = execution.transfer(&pot(), &account, prize).is_ok();
        if !paid {
            current.prize = current.prize.saturating_add(prize);
        }
        Last::put(LastRound { round, number, winner: Winner { account, guess, prize, paid } });
    }
    Closed::put(closed);
    Current::put(current);
}

fn first_half(bytes: [u8; 32]) -> [u8; 16] {
    let [first, ..] = bytes.as_chunks::<16>().0 else { return [0; 16] };
    *first
}

/// While so many rounds are closed and not told, the open one goes on.
pub const MAX_CLOSED: usize = 4;
