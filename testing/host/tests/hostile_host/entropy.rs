//! An environment without randomness.

use cloister_hostile_host::{Host, LayerOne, Start, UNIT, account};
use cloister_link::StopReason;

use crate::{SEED, pays};

fn starved() -> LayerOne {
    LayerOne::of_program(env!("CARGO_BIN_EXE_starved-enclave").into())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_randomness_nobody_is_born() {
    let layer_one = starved();
    let mut host = Host::start(&layer_one, Start { sealed: None, ..Start::of(&layer_one, SEED) }).await;
    assert_eq!(host.stopped().await, StopReason::Tee("the environment gave no randomness".into()));
    let seen = host.seen();
    assert!(seen.identity.is_none() && seen.synced.is_none(), "it has said who it is");
}

/// An enclave that has an identity goes on, and is not registered before there is evidence.
#[tokio::test(flavor = "multi_thread")]
async fn without_randomness_for_evidence_it_asks_again_until_there_is_some() {
    let layer_one = starved();
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED)).await;
    let refused = "no evidence; the engine asks again error=the environment gave no randomness";
    let log = host.process().log();
    assert_eq!(log.iter().filter(|line| line.ends_with(refused)).count(), 2, "{log:#?}");
    host.shield(&account("Alice"), 5 * UNIT).await;
    pays(&host.client("Alice").await, 0).await;
}
