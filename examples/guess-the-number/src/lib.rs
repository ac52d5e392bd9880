//! Guess the number: an example of business logic of one's own, which `docs/tutorial.md` walks through.
//!
//! Every week the enclave draws a number. Who holds enough on layer one may pay an entry fee and guess, a few times a
//! round. The closest guess, the earliest of equals, takes all fees of its round. Nobody learns the number before the
//! block that ended its round is anchored on layer one: until then the host could throw the block away, and somebody who
//! knows the number could play again.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

mod app;
mod interface;
mod rounds;

pub use app::{GuessTheNumber, METHODS};
pub use interface::{Call, HIGHEST, LastRound, MyGuesses, PublicQuery, Query, RoundStatus, Winner};
pub use rounds::pot;
