//! The engine against a synthetic layer one: what it does, and what a lying host cannot make it do.

mod expiry;
mod hostile_host;
mod indirect;
mod outbox;
mod payments;
mod persistence;
mod program;
mod registration;
mod retirement;
