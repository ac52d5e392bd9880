//! Money for accounts on the shard. Two shieldings are two payments, so each is one extrinsic, with one nonce on layer
//! one, however often it is sent.

use anyhow::{Result, bail};
use cloister_chain_primitives::MIN_SHIELD;
use cloister_client::{Call, LayerOne, Nonce, Wait, layer_one};
use rand::seq::SliceRandom;
use tokio::time::timeout;

use super::{ACCOUNTS, Effect, History, TURN, User};

/// Shields until told to stop.
pub async fn shield(mut user: User) -> Result<History> {
    let mut history = History::of(user.who);
    let mut nonce = None;
    while user.goes_on() {
        let to = *ACCOUNTS.choose(&mut user.random).unwrap_or(&user.who);
        let amount = user.amount().max(MIN_SHIELD);
        let sealed = user.shard.seal_beneficiary(&to.to_account_id())?;
        let call = Call::shield_funds(&user.shard.id, &sealed, amount);
        let mut shielding = Shielding { call, nonce, extrinsic: None };
        user.persist(&mut shielding, async |user, shielding| attempt(user, shielding).await).await?;
        nonce = shielding.nonce.map(|nonce| nonce + 1);
        history.effects.push(Effect { from: None, to: Some(to), amount, fee: 0 });
    }
    Ok(history)
}

#[derive(Debug)]
struct Shielding {
    call: Call,
    /// That of its extrinsic; layer one's next one if absent.
    nonce: Option<Nonce>,
    extrinsic: Option<Vec<u8>>,
}

/// Whether layer one has finalized it. Sends it if not.
async fn attempt(user: &mut User, shielding: &mut Shielding) -> Result<bool> {
    match timeout(TURN, submit(user, shielding)).await {
        Ok(Ok(is_final)) => return Ok(is_final),
        Ok(Err(layer_one::Error::ExtrinsicFailed { failure, .. })) => bail!("layer one: {failure}"),
        Ok(Err(error)) => {
            if let layer_one::Error::Refused(reason) = &error
                && !reason.contains("Already")
            {
                // Too old, perhaps. Of two with one nonce one counts.
                shielding.extrinsic = None;
            }
            user.lost(error)?;
        }
        Err(_) => user.in_trouble("layer one takes its time"),
    }
    Ok(false)
}

async fn submit(user: &User, shielding: &mut Shielding) -> Result<bool, layer_one::Error> {
    let layer_one = LayerOne::connect(&user.node_url).await?;
    let at = layer_one.finalized_hash().await?;
    let next = layer_one.account_at(&user.signer.account(), at).await?.nonce;
    let nonce = *shielding.nonce.get_or_insert(next);
    if next > nonce {
        return Ok(true);
    }
    let extrinsic = match &shielding.extrinsic {
        Some(extrinsic) => extrinsic.clone(),
        None => layer_one.sign(&shielding.call, &user.signer, nonce).await?,
    };
    shielding.extrinsic = Some(extrinsic.clone());
    layer_one.submit_encoded(&extrinsic, Wait::Finalized, |_| ()).await?;
    Ok(true)
}
