//! The engine against a synthetic layer one: what it does, and what a lying host cannot make it do.

mod hostile_host;
mod indirect;
mod outbox;
mod payments;
mod persistence;
mod registration;
mod retirement;
