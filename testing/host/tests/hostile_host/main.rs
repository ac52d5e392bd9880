//! A lying host before a real enclave: each lie ends in a typed refusal, is ignored, or is outlived; nothing that was
//! confirmed is lost, and nothing untrue is signed.

mod connections;
mod entropy;
mod finality;
mod forms;
mod frames;
mod honest;
mod identity;
mod kept;
mod lives;
mod order;
mod races;
mod storing;

use cloister_client::{Balance, DIRECT_CALL_FEE};
use cloister_hostile_host::{Client, Disk, Host, LayerOne, Start, UNIT, account};
use cloister_link::StopReason;

/// Which identity tests start that need only one.
const SEED: u8 = 1;
/// What Alice has shielded.
const SHIELDED: Balance = 10_000 * UNIT;
/// What she has paid Bob.
const PAID: Balance = UNIT;
/// What she has left.
const LEFT: Balance = SHIELDED - PAID - DIRECT_CALL_FEE;

/// An enclave that serves, with a payment that is anchored.
async fn funded() -> Host {
    let layer_one = LayerOne::start();
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED)).await;
    host.shield(&account("Alice"), SHIELDED).await;
    host.client("Alice").await.pay(&account("Bob"), PAID, 0).await.unwrap();
    host.anchored().await;
    host
}

/// That what was confirmed is there, by the enclave's signed word.
async fn tells_the_truth(host: &Host) {
    let (alice, bob) = (host.client("Alice").await, host.client("Bob").await);
    assert_eq!((alice.nonce().await.unwrap(), alice.balance().await.unwrap()), (1, LEFT));
    assert_eq!((bob.nonce().await.unwrap(), bob.balance().await.unwrap()), (0, PAID));
}

/// That the enclave goes on as if nothing had been said, up to a payment that is anchored.
async fn goes_on(host: &Host) {
    tells_the_truth(host).await;
    pays(&host.client("Alice").await, 1).await;
    host.anchored().await;
}

/// Alice pays Bob once more.
async fn pays(alice: &Client, nonce: u32) {
    alice.pay(&account("Bob"), PAID, nonce).await.unwrap();
    assert_eq!(alice.nonce().await.unwrap(), nonce + 1);
}

/// That the enclave ends for this reason, and that an honest restart with what it had asked to be kept goes on.
async fn ends(mut host: Host, reason: StopReason) {
    assert_eq!(host.stopped().await, reason);
    let disk = host.seen().disk;
    restarts(&host.layer_one, disk).await;
}

/// That an honest host goes on from this.
async fn restarts(layer_one: &LayerOne, disk: Disk) {
    goes_on(&Host::served(layer_one, Start::of(layer_one, SEED).with_disk(disk)).await).await;
}

fn breach(what: &str) -> StopReason {
    StopReason::Protocol(what.into())
}
