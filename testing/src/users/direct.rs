//! Payments to the enclave itself, some at a time.

use anyhow::{Result, bail, ensure};
use cloister_client::worker::{Error as WorkerError, Stage};

use super::{History, Payment, TURN, User};

/// Pays until told to stop.
pub async fn pay(mut user: User) -> Result<History> {
    let mut history = History::of(user.who);
    while user.goes_on() {
        let first = history.next_nonce()?;
        let mut burst =
            (first..first + BURST).map(|nonce| user.payment(nonce, true)).collect::<Result<Vec<Payment>>>()?;
        user.persist(&mut burst, async |user, burst| attempt(user, burst).await).await?;
        for payment in &burst {
            history.add(payment)?;
        }
    }
    Ok(history)
}

/// Whether all are executed. Sends those that are not.
async fn attempt(user: &mut User, burst: &mut [Payment]) -> Result<bool> {
    let Some(shard) = user.connection().await? else { return Ok(false) };
    let Some(next) = user.nonce(&shard).await? else { return Ok(false) };
    let first = burst.first().map_or(next, |payment| payment.nonce);
    ensure!((first..=first + BURST).contains(&next), "the next nonce is {next}, after {first} was");
    for payment in burst.iter_mut().filter(|payment| payment.nonce < next && payment.block.is_none()) {
        let Some(outcome) = user.outcome(&shard, payment).await? else { return Ok(false) };
        payment.is_done(outcome)?;
    }
    let mut sent = Vec::new();
    for payment in burst.iter_mut().filter(|payment| payment.nonce >= next) {
        let operation = payment.operation.hash();
        ensure!(!user.told.is_in_block(&operation), "{operation:?} was told to be in a block, and is lost");
        let request = user.shard.seal_operation(&payment.operation)?;
        match shard.worker().submit_and_watch(&request).await {
            Ok(watched) => {
                ensure!(watched.hash() == operation, "the enclave took {:?} for {operation:?}", watched.hash());
                sent.push(watched);
            }
            // It was executed alone when its enclave was killed a second time. That it never will be is certain.
            Err(WorkerError::Refused(reason)) if reason.contains("set aside") => {
                *payment = user.payment(payment.nonce, true)?;
                break;
            }
            Err(WorkerError::Refused(reason)) => {
                user.trouble = reason;
                break;
            }
            Err(error) => {
                user.lost(error)?;
                break;
            }
        }
    }
    let mut last = None;
    for mut operation in sent {
        match operation.reached(Stage::InBlock, TURN, |_| ()).await {
            Ok(block) => {
                user.told.in_block(operation.hash(), block);
                last = Some(operation);
            }
            Err(error) if error.is_refusal() => bail!(error),
            Err(error) => {
                user.lost(error)?;
                break;
            }
        }
    }
    if let Some(operation) = last {
        user.told.follow(operation);
    }
    Ok(burst.iter().all(|payment| payment.block.is_some()))
}

/// How many are on their way at a time.
const BURST: u32 = 4;
