//! Gets the enclave registered on layer one: whatever stands in the way is removed on a development chain and told to
//! the operator everywhere else.
//!
//! The enclave signs its registrations itself and decides when a newer one is due; here it is only decided when one is
//! worth submitting. Nothing of this is trusted: the enclave serves once its record is proven to it.

use std::{sync::Arc, time::Duration};

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, Registration, RegistrationRefused, UNIT, calls::Call,
};
use cloister_claims::{Collateral, Refusal};
use tokio::{sync::watch, time::Instant};

use crate::{
    alice,
    layer_one::{LayerOne, LayerOneError},
    operator::{Operator, Progress, units},
    session::Shared,
};

/// A registration that the enclave wants submitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    pub registration: Registration,
    /// Signed, with its length before it.
    pub extrinsic: Vec<u8>,
}

/// The newest registration that the enclave wants submitted; none once one is final.
pub type Newest = Option<Arc<Pending>>;

/// Why a registration is not submitted yet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("it has {}; send it {} for its registration and the extrinsics after it", units(*.free), units(*.needed))]
    Funds { free: Balance, needed: Balance },
    #[error("{refusal}")]
    Collateral { refusal: RegistrationRefused, command: String },
    #[error("layer one would not take the registration: {0}")]
    Refused(RegistrationRefused),
    #[error("layer one's node did not take the registration: {0}")]
    NotTaken(String),
}

/// Who pays for an enclave and provides its collateral.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sponsor {
    Operator,
    /// Of development chains.
    Alice,
}

/// Submits an enclave's registrations.
#[derive(Debug)]
pub struct Registrar {
    pub layer_one: Arc<LayerOne>,
    pub shared: Arc<Shared>,
    pub operator: Operator,
    pub account: AccountId,
    pub sponsor: Sponsor,
    /// What the enclave itself brought.
    pub collateral: Option<Collateral>,
    /// How the operator submits missing collateral.
    pub submit_collateral: String,
    /// Between two looks at what stands in the way.
    pub pause: Duration,
}

impl Registrar {
    /// Attends to the newest registration, dropping older ones; ends with the session.
    pub async fn run(self, mut newest: watch::Receiver<Newest>) {
        let mut told = Told::default();
        loop {
            let pending = newest.borrow_and_update().clone();
            let attended = async {
                if let Some(pending) = pending {
                    self.attend(&pending, &mut told).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                changed = newest.changed() => if changed.is_err() {
                    return;
                },
                () = attended => {}
            }
        }
    }

    /// Ends when layer one's node has taken the registration.
    async fn attend(&self, pending: &Pending, told: &mut Told) {
        loop {
            match self.attempt(pending).await {
                Ok(Attempt::Submitted) => {
                    told.clear();
                    self.operator.tell(&Progress::Registering { block_number: pending.registration.block_number });
                    return;
                }
                Ok(Attempt::ObstacleRemoved) => continue,
                Ok(Attempt::Waits(obstacles)) => told.tell(&self.operator, &self.account, obstacles),
                Err(error) => tracing::warn!(%error, "the registration waits for layer one's node"),
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn attempt(&self, pending: &Pending) -> Result<Attempt, LayerOneError> {
        let mut obstacles = Vec::new();
        obstacles.extend(self.missing_funds(pending).await?);
        obstacles.extend(self.refusal(pending).await?);
        if self.sponsor == Sponsor::Alice
            && let Some(obstacle) = obstacles.first()
        {
            match self.remove(obstacle, pending).await {
                Some(Ok(())) => return Ok(Attempt::ObstacleRemoved),
                Some(Err(error)) => tracing::warn!(%error, %obstacle, "//Alice could not help"),
                None => {}
            }
        }
        if !obstacles.is_empty() {
            return Ok(Attempt::Waits(obstacles));
        }
        match self.layer_one.submit(&pending.extrinsic).await {
            Ok(()) => {
                self.shared.metrics.extrinsics_submitted_total.inc();
                Ok(Attempt::Submitted)
            }
            Err(LayerOneError::Refused { message, .. }) => {
                self.shared.metrics.extrinsics_failed_total.inc();
                Ok(Attempt::Waits(vec![Obstacle::NotTaken(message)]))
            }
            Err(error) => Err(error),
        }
    }

    async fn missing_funds(&self, pending: &Pending) -> Result<Option<Obstacle>, LayerOneError> {
        let fee = self.layer_one.fee(&pending.extrinsic).await?;
        let free = self.layer_one.account(&self.account).await?.free;
        // A fee may not reap the account.
        let least = fee.saturating_add(EXISTENTIAL_DEPOSIT);
        let needed = fee.saturating_mul(FEES_IN_HAND).saturating_add(EXISTENTIAL_DEPOSIT);
        let enough = match self.sponsor {
            Sponsor::Operator => least,
            Sponsor::Alice => needed,
        };
        Ok((free < enough).then_some(Obstacle::Funds { free, needed }))
    }

    /// What layer one would say to the registration now.
    async fn refusal(&self, pending: &Pending) -> Result<Option<Obstacle>, LayerOneError> {
        let Err(refusal) = self.layer_one.check_registration(&self.account, &pending.registration).await? else {
            return Ok(None);
        };
        Ok(Some(match is_for_want_of_collateral(refusal) {
            true => Obstacle::Collateral { refusal, command: self.submit_collateral.clone() },
            false => Obstacle::Refused(refusal),
        }))
    }

    /// As //Alice; `None` if money and collateral do not help.
    async fn remove(&self, obstacle: &Obstacle, pending: &Pending) -> Option<Result<(), alice::NoEffect>> {
        match obstacle {
            Obstacle::Funds { needed, .. } => {
                let amount = FUNDING.max(*needed);
                tracing::info!(amount = units(amount), "funding the enclave's account as //Alice");
                let funded = || async { Ok(self.layer_one.account(&self.account).await?.free >= *needed) };
                Some(alice::act(&self.layer_one, &[Call::transfer_allow_death(&self.account, amount)], funded).await)
            }
            Obstacle::Collateral { .. } => {
                let calls = collateral_calls(self.collateral.as_ref()?);
                tracing::info!("submitting the enclave's collateral as //Alice");
                let known = || async {
                    let checked = self.layer_one.check_registration(&self.account, &pending.registration).await?;
                    Ok(!checked.is_err_and(is_for_want_of_collateral))
                };
                Some(alice::act(&self.layer_one, &calls, known).await)
            }
            Obstacle::Refused(_) | Obstacle::NotTaken(_) => None,
        }
    }
}

/// What became of a look at a registration.
enum Attempt {
    Submitted,
    ObstacleRemoved,
    Waits(Vec<Obstacle>),
}

/// What the operator has been told: news at once, the same again every minute, in the log.
#[derive(Debug, Default)]
struct Told {
    obstacles: Vec<Obstacle>,
    at: Option<Instant>,
}

impl Told {
    fn tell(&mut self, operator: &Operator, account: &AccountId, obstacles: Vec<Obstacle>) {
        let news = obstacles != self.obstacles;
        if !news && self.at.is_some_and(|at| at.elapsed() < REMINDER) {
            return;
        }
        for obstacle in &obstacles {
            let progress = Progress::Waiting { account: account.clone(), obstacle: obstacle.clone() };
            if self.obstacles.contains(obstacle) {
                tracing::info!("still {progress}");
            } else if *obstacle == NEXT_BLOCK {
                // The node's best block is the one that the evidence names: as good as always at first.
                tracing::info!("{progress}");
            } else {
                operator.tell(&progress);
            }
        }
        *self = Self { obstacles, at: Some(Instant::now()) };
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

fn is_for_want_of_collateral(refusal: RegistrationRefused) -> bool {
    use RegistrationRefused::{Policy, QeIdentityMissing, TcbInfoMissing};
    matches!(refusal, TcbInfoMissing | QeIdentityMissing | Policy(Refusal::CrlMissing))
}

/// The calls that submit collateral.
fn collateral_calls(collateral: &Collateral) -> Vec<Call> {
    let mut calls =
        vec![Call::register_tcb_info(&collateral.tcb_info), Call::register_quoting_enclave(&collateral.qe_identity)];
    let root_crl = collateral.root_crl.iter().cloned();
    match &collateral.pck_crl {
        Some(pck) => {
            let crls: Vec<_> = root_crl.chain([pck.crl.clone()]).collect();
            calls.push(Call::register_crls(&crls, &pck.issuer_chain));
        }
        // Every chain ends in the root.
        None => calls.extend(root_crl.map(|crl| Call::register_crls(&[crl], &collateral.tcb_info.issuer_chain))),
    }
    calls
}

/// What the next block removes.
const NEXT_BLOCK: Obstacle = Obstacle::Refused(RegistrationRefused::UnknownBlock);
/// About a block: less often is slow, more often tells nothing new.
pub const PAUSE: Duration = Duration::from_secs(2);
/// What an enclave's account should hold, in fees of a registration: the shard's birth, confirmations and renewals follow.
const FEES_IN_HAND: u128 = 10;
/// Planck that //Alice gives.
const FUNDING: Balance = 1_000 * UNIT;
const REMINDER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
