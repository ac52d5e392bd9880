//! Gets the enclave registered on layer one: whatever stands in the way is removed on a development chain and told to
//! the operator everywhere else.
//!
//! The enclave signs its registrations itself and decides when a newer one is due; here it is only decided when one is
//! worth submitting. Nothing of this is trusted: the enclave serves once its record is proven to it.

use std::{sync::Arc, time::Duration};

use cloister_chain_primitives::{Balance, REGISTRATION_DEPOSIT, Registration, RegistrationRefused, calls::Call};
use cloister_claims::{Collateral, Error, Refusal};
use cloister_wire::worker_status::Obstacle as Shown;
use sp_core::crypto::Ss58Codec;
use tokio::sync::watch;

use crate::{
    alice,
    funds::{Funds, Purse, Sponsor},
    layer_one::LayerOneError,
    operator::{Operator, Progress, Told, printable, units},
    status::{Concern, Shared},
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
    #[error(
        "it has {} of the {} that it needs for deposits and fees; send it {}",
        units(*.free), units(*.needed), units(.needed.saturating_sub(*.free))
    )]
    Funds { free: Balance, needed: Balance },
    #[error("{refusal}")]
    Collateral { refusal: RegistrationRefused, command: String },
    #[error("layer one would not take the registration: {0}")]
    Refused(RegistrationRefused),
    #[error("layer one's node did not take the registration: {0}")]
    NotTaken(String),
    #[error("the enclave has to sign the registration anew, and will: {0}")]
    SignedTooEarly(String),
}

impl Obstacle {
    /// Whether a few blocks remove it.
    pub fn passes(&self) -> bool {
        // The node's best block is the one that the evidence names: as good as always at first.
        matches!(self, Self::Refused(RegistrationRefused::UnknownBlock) | Self::SignedTooEarly(_))
    }

    /// What this is about, for programs.
    pub fn waits_for(&self) -> &'static str {
        match self {
            Self::Funds { .. } => "funds",
            Self::Collateral { .. } => "collateral",
            Self::Refused(_) | Self::NotTaken(_) | Self::SignedTooEarly(_) => "refused",
        }
    }

    /// For the worker's status, with the command that removes it.
    pub fn shown(&self, purse: &Purse) -> Shown {
        let missing = match self {
            Self::Funds { free, needed } => Some(needed.saturating_sub(*free)),
            _ => None,
        };
        let (account, url) = (purse.account.to_ss58check(), purse.layer_one.url());
        let transfer = |missing: Balance| {
            let amount = units(missing).replace(' ', "");
            format!("cloister transfer SURI {account} {amount} --node-url {url}")
        };
        let command = match self {
            Self::Collateral { command, .. } => Some(command.clone()),
            _ => missing.map(transfer),
        };
        Shown {
            waits_for: self.waits_for().into(),
            reason: printable(&self.to_string()),
            missing: missing.map(|missing| missing.to_string()),
            command,
        }
    }
}

/// Submits an enclave's registrations.
#[derive(Debug)]
pub struct Registrar {
    pub purse: Purse,
    pub shared: Arc<Shared>,
    pub operator: Operator,
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
                match pending {
                    Some(pending) => self.attend(&pending, &mut told).await,
                    None => self.shared.set_obstacles(Concern::Registration, Vec::new()),
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
                    self.shared.set_obstacles(Concern::Registration, Vec::new());
                    self.operator.tell(&Progress::Registering { block_number: pending.registration.block_number });
                    return;
                }
                Ok(Attempt::ObstacleRemoved) => continue,
                Ok(Attempt::Waits(obstacles)) => {
                    let lasting = obstacles.iter().filter(|obstacle| !obstacle.passes());
                    let shown = lasting.map(|obstacle| obstacle.shown(&self.purse)).collect();
                    self.shared.set_obstacles(Concern::Registration, shown);
                    told.tell(&self.operator, &self.purse.account, obstacles);
                }
                Err(error) => tracing::warn!(%error, "the registration waits for layer one's node"),
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn attempt(&self, pending: &Pending) -> Result<Attempt, LayerOneError> {
        let obstacles = self.obstacles(pending).await?;
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
        match self.purse.layer_one.submit(&pending.extrinsic).await {
            Ok(()) => {
                self.shared.metrics.extrinsics_submitted_total.inc();
                Ok(Attempt::Submitted)
            }
            Err(error) => {
                let signed_too_early = error.wants_new_signature();
                let LayerOneError::Refused { message, .. } = error else { return Err(error) };
                self.shared.metrics.extrinsics_failed_total.inc();
                Ok(Attempt::Waits(vec![match signed_too_early {
                    true => Obstacle::SignedTooEarly(message),
                    false => Obstacle::NotTaken(message),
                }]))
            }
        }
    }

    /// What stands in the way now: money, and what layer one would say.
    async fn obstacles(&self, pending: &Pending) -> Result<Vec<Obstacle>, LayerOneError> {
        let Funds { free, least, needed } = self.purse.for_registration(&pending.extrinsic).await?;
        let enough = match self.sponsor {
            Sponsor::Operator => least,
            Sponsor::Alice => needed,
        };
        let mut obstacles = Vec::new();
        if free < enough {
            obstacles.push(Obstacle::Funds { free, needed });
        }
        let checked = self.purse.layer_one.check_registration(&self.purse.account, &pending.registration).await?;
        match checked {
            Ok(_) => {}
            // Also of money that the account has, but that is frozen.
            Err(RegistrationRefused::Deposit) if obstacles.is_empty() => {
                let needed = needed.max(free.saturating_add(REGISTRATION_DEPOSIT));
                obstacles.push(Obstacle::Funds { free, needed });
            }
            Err(RegistrationRefused::Deposit) => {}
            Err(refusal) if is_for_want_of_collateral(refusal) => {
                obstacles.push(Obstacle::Collateral { refusal, command: self.submit_collateral.clone() });
            }
            Err(refusal) => obstacles.push(Obstacle::Refused(refusal)),
        }
        Ok(obstacles)
    }

    /// As //Alice; `None` if money and collateral do not help.
    async fn remove(&self, obstacle: &Obstacle, pending: &Pending) -> Option<Result<(), alice::NoEffect>> {
        match obstacle {
            Obstacle::Funds { needed, .. } => Some(self.purse.have_alice_pay(*needed).await),
            Obstacle::Collateral { .. } => {
                let calls = collateral_calls(self.collateral.as_ref()?);
                tracing::info!("submitting the enclave's collateral as //Alice");
                let known = || async {
                    let checked =
                        self.purse.layer_one.check_registration(&self.purse.account, &pending.registration).await?;
                    Ok(!checked.is_err_and(is_for_want_of_collateral))
                };
                Some(alice::act(&self.purse.layer_one, &calls, known).await)
            }
            Obstacle::Refused(_) | Obstacle::NotTaken(_) | Obstacle::SignedTooEarly(_) => None,
        }
    }
}

/// What became of a look at a registration.
enum Attempt {
    Submitted,
    ObstacleRemoved,
    Waits(Vec<Obstacle>),
}

/// Whether newer collateral may help. That collateral runs out is a month's routine.
fn is_for_want_of_collateral(refusal: RegistrationRefused) -> bool {
    use RegistrationRefused::{NotGenuine, Policy, QeIdentityMissing, TcbInfoMissing};
    matches!(
        refusal,
        TcbInfoMissing
            | QeIdentityMissing
            | NotGenuine(Error::DocumentExpired | Error::CrlExpired)
            | Policy(Refusal::CrlMissing | Refusal::EvaluationNumber | Refusal::CollateralAge)
    )
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

/// About a block: less often is slow, more often tells nothing new.
pub const PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
