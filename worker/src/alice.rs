//! //Alice, who pays for enclaves of development chains. Several workers may act as her at the same time.

use std::time::Duration;

use cloister_chain_primitives::{
    AccountId,
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
};
use sp_core::{Pair, sr25519};
use sp_runtime::generic::Era;

use crate::layer_one::{LayerOne, LayerOneError, persist};

/// What //Alice signed came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{attempts} attempts as //Alice had no effect: {reason}")]
pub struct NoEffect {
    pub attempts: u32,
    pub reason: String,
}

/// Submits calls, each in an extrinsic of its own, until `done` holds in the best block; not at all if it holds already.
/// That some of them fail is no matter, as long as all is done: another worker may have been first.
pub async fn act<F>(layer_one: &LayerOne, calls: &[Call], mut done: impl FnMut() -> F) -> Result<(), NoEffect>
where
    F: Future<Output = Result<bool, LayerOneError>>,
{
    let mut reason = "the node took the extrinsics, but they changed nothing".to_owned();
    for attempt in 1..=ATTEMPTS {
        for poll in 0..POLLS_PER_ATTEMPT {
            match persist(PATIENCE, &mut done).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => reason = error.to_string(),
            }
            if poll == 0
                && let Err(error) = persist(PATIENCE, || submit(layer_one, calls)).await
            {
                tracing::warn!(attempt, %error, "layer one did not take an extrinsic of //Alice");
                reason = error.to_string();
                tokio::time::sleep(RETRY).await;
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Err(NoEffect { attempts: ATTEMPTS, reason })
}

async fn submit(layer_one: &LayerOne, calls: &[Call]) -> Result<(), LayerOneError> {
    let alice = sr25519::Pair::from_string("//Alice", None)
        .map_err(|error| LayerOneError::Unexpected { method: "//Alice".into(), reason: format!("{error:?}") })?;
    let sender = AccountId::from(alice.public());
    let genesis = layer_one.block_hash(0).await?;
    let version = layer_one.runtime_version().await?;
    let chain =
        ChainVersion { genesis, spec_version: version.spec_version, transaction_version: version.transaction_version };
    let mortality = Mortality { era: Era::Immortal, birth_hash: genesis };
    for call in calls {
        let mut collisions = 0;
        loop {
            let nonce = layer_one.next_nonce(&sender).await?;
            let extrinsic =
                extrinsic::signed(call, &sender, nonce, mortality, &chain, |payload| alice.sign(payload).into());
            match layer_one.submit(&extrinsic).await {
                Ok(()) => break,
                // Another worker may have used //Alice's nonce at the same moment.
                Err(error) if error.is_nonce_taken() && collisions < MOST_COLLISIONS => collisions += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(COLLISION_PAUSE).await;
        }
    }
    Ok(())
}

const ATTEMPTS: u32 = 5;
const POLLS_PER_ATTEMPT: u32 = 30;
const POLL: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_COLLISIONS: u32 = 20;
const COLLISION_PAUSE: Duration = Duration::from_millis(100);
