//! Payments through layer one's inbox, some of them twice.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use cloister_client::{Call, Wait, layer_one};
use rand::Rng;
use tokio::time::timeout;

use super::{History, Payment, TURN, User};

/// Pays until told to stop.
pub async fn pay(mut user: User) -> Result<History> {
    let mut history = History::of(user.who);
    while user.goes_on() {
        let payment = user.payment(history.next_nonce()?, false)?;
        let mut invoked = Invoked { payment, at: None };
        user.persist(&mut invoked, async |user, invoked| attempt(user, invoked).await).await?;
        user.told.executed();
        history.add(&invoked.payment)?;
    }
    Ok(history)
}

#[derive(Debug)]
struct Invoked {
    payment: Payment,
    /// When layer one had finalized it last.
    at: Option<Instant>,
}

/// Whether it is executed. Sends it if it has not been or takes too long.
async fn attempt(user: &mut User, Invoked { payment, at }: &mut Invoked) -> Result<bool> {
    let Some(shard) = user.connection().await? else { return Ok(false) };
    // In this order: what has no outcome may have one by the time of the second question.
    let Some(outcome) = user.outcome(&shard, payment).await? else { return Ok(false) };
    let Some(next) = user.nonce(&shard).await? else { return Ok(false) };
    ensure!((payment.nonce..=payment.nonce + 1).contains(&next), "the next nonce is {next}");
    match outcome {
        Some(outcome) => {
            payment.is_done(Some(outcome))?;
            return Ok(true);
        }
        None if next > payment.nonce => {
            let Some(outcome) = user.outcome(&shard, payment).await? else { return Ok(false) };
            payment.is_done(outcome)?;
            return Ok(true);
        }
        None => {}
    }
    if at.is_some_and(|at| at.elapsed() < TURN) {
        return Ok(false);
    }
    let times = if user.random.gen_bool(SENT_TWICE) { 2 } else { 1 };
    for _ in 0..times {
        let call = Call::invoke(&user.shard.seal_operation(&payment.operation)?);
        let submitted = timeout(TURN, shard.layer_one().submit(&call, &user.signer, Wait::Finalized)).await;
        match submitted {
            Ok(Ok(_)) => *at = Some(Instant::now()),
            Ok(Err(layer_one::Error::ExtrinsicFailed { failure, .. })) => bail!("layer one: {failure}"),
            Ok(Err(error)) => {
                user.lost(error)?;
                break;
            }
            Err(_) => {
                user.in_trouble("layer one takes its time");
                break;
            }
        }
    }
    Ok(false)
}

/// How many of all are sent a second time without need.
const SENT_TWICE: f64 = 0.25;
