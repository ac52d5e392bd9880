//! What a verifier must refuse, each with its own error: everything right, one thing wrong, signed, refused. And beside it
//! what differs only in that thing, and is accepted.
#![allow(clippy::type_complexity, reason = "tables of cases")]

#[macro_use]
mod trial;

mod certificates;
mod cost;
mod coverage;
mod documents;
mod known_bugs;
mod platforms;
mod quotes;
mod revocation;
mod time;
