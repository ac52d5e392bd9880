//! Submits the enclave's extrinsics other than registrations. The enclave repeats what does not land; here it is seen
//! to that somebody pays.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use crate::{
    funds::{Purse, Sponsor},
    http::Metrics,
    layer_one::{LayerOneError, persist},
    operator::{Operator, Told},
    registration::Obstacle,
    status::{Concern, Shared},
};

/// Submits extrinsics of one enclave.
#[derive(Debug)]
pub struct Submitter {
    purse: Purse,
    sponsor: Sponsor,
    operator: Operator,
    shared: Arc<Shared>,
    told: Mutex<Told>,
}

impl Submitter {
    pub fn new(purse: Purse, sponsor: Sponsor, operator: Operator, shared: Arc<Shared>) -> Self {
        Self { purse, sponsor, operator, shared, told: Mutex::default() }
    }

    /// `Err` says why layer one's node does not have it.
    pub async fn submit(&self, extrinsic: &[u8]) -> Result<(), String> {
        // Layer one would take a birth that pays its fee alone, and the fee, and nothing would be born.
        if self.purse.bears(extrinsic)
            && let Some(reason) = self.see_to_funds(extrinsic).await
        {
            return Err(reason);
        }
        let Metrics { extrinsics_submitted_total, extrinsics_failed_total, .. } = &self.shared.metrics;
        match persist(PATIENCE, || self.purse.layer_one.submit(extrinsic)).await {
            Ok(()) => {
                extrinsics_submitted_total.inc();
                self.shared.set_obstacles(Concern::Extrinsics, Vec::new());
                self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Ok(())
            }
            Err(error) => {
                extrinsics_failed_total.inc();
                let reason = match &error {
                    LayerOneError::Refused { message, .. } => message.clone(),
                    other => other.to_string(),
                };
                // The enclave submits it again in either case.
                if error.is_connection() || self.see_to_funds(extrinsic).await.is_none() {
                    tracing::warn!(%error, "layer one did not take an extrinsic of the enclave");
                }
                Err(reason)
            }
        }
    }

    /// `Some` if the account cannot pay for an extrinsic, and nobody does now: the operator is told.
    async fn see_to_funds(&self, extrinsic: &[u8]) -> Option<String> {
        let funds = match persist(PATIENCE, || self.purse.for_extrinsic(extrinsic)).await {
            Ok(funds) if funds.free < funds.least => funds,
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(%error, "whether the account can pay is not known");
                return None;
            }
        };
        let obstacle = Obstacle::Funds { free: funds.free, needed: funds.needed };
        if self.sponsor == Sponsor::Alice {
            match timeout(ALICES_PATIENCE, self.purse.have_alice_pay(funds.needed)).await {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => tracing::warn!(%error, %obstacle, "//Alice could not help"),
                Err(_) => tracing::warn!(%obstacle, "//Alice could not help in time"),
            }
        }
        let reason = obstacle.to_string();
        self.shared.set_obstacles(Concern::Extrinsics, vec![obstacle.shown(&self.purse)]);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.tell(&self.operator, &self.purse.account, vec![obstacle]);
        Some(reason)
    }
}

/// For one request.
const PATIENCE: Duration = Duration::from_secs(25);
/// For a transfer. A node may go on saying that nothing has come of it.
const ALICES_PATIENCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
