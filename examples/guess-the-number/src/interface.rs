//! What clients say and hear.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use cloister_chain_primitives::{AccountId, Balance, Moment};
use codec::{Decode, Encode};

/// What a player can do.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Call {
    /// Pays the entry fee and guesses, from 1 to [`HIGHEST`].
    #[codec(index = 0)]
    Guess(u32),
}

/// What a player can ask about himself.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Query {
    /// A [`MyGuesses`].
    #[codec(index = 0)]
    MyGuesses,
}

/// What everybody can ask.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum PublicQuery {
    /// A [`RoundStatus`].
    #[codec(index = 0)]
    Round,
    /// A [`LastRound`], once there is one.
    #[codec(index = 1)]
    LastRound,
}

/// A player's part in the round that is open.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MyGuesses {
    /// Which round.
    pub round: u64,
    /// In their order.
    pub guesses: Vec<u32>,
    /// How many more there may be.
    pub left: u32,
}

/// The round that is open.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RoundStatus {
    /// Which: rounds are counted from 1970 on.
    pub round: u64,
    /// When it ends, Unix milliseconds of the shard's time.
    pub ends_at: Moment,
    /// How often was guessed.
    pub guesses: u32,
    /// What the winner takes, planck.
    pub prize: Balance,
    /// What a guess costs, planck.
    pub entry_fee: Balance,
    /// How often an account may guess.
    pub attempts: u32,
    /// What a player's account on layer one must hold, planck.
    pub layer_one_minimum: Balance,
}

/// The newest round of which all is told.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LastRound {
    /// Which.
    pub round: u64,
    /// The number that was to be guessed.
    pub number: u32,
    /// Who came closest.
    pub winner: Winner,
}

/// Who won a round.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Winner {
    /// Whose guess it was.
    pub account: AccountId,
    /// The guess.
    pub guess: u32,
    /// Planck.
    pub prize: Balance,
    /// Whether the prize could be paid. If not, it is part of the next one.
    pub paid: bool,
}

/// The highest number that can be drawn.
pub const HIGHEST: u32 = 1_000;
