//! Eviction, which anybody may ask for and only the rules decide.
//!
//! Collateral that has run out or whose signer was revoked says nothing against a platform, or anybody could have
//! everybody evicted as soon as nobody renews it. It does not have to: with such collateral no registration is renewed,
//! so that all of them expire.

use cloister_attestation::{Error as Flaw, Policy as AppraisalPolicy, TcbStatus};
use cloister_chain_primitives::{AccountId, EnclaveRecord, RegistrationRefused, Standing};
use frame_support::dispatch::{DispatchResultWithPostInfo, PostDispatchInfo};

use crate::{Config, Error, Event, EvictionReason, EvidenceOf, Pallet, Policy, SovereignEnclaves, weights};

impl<T: Config> Pallet<T> {
    pub(crate) fn evict_enclave(account: AccountId) -> DispatchResultWithPostInfo {
        let record = SovereignEnclaves::<T>::get(&account).ok_or(Error::<T>::NotRegistered)?;
        let now = Self::now();
        // Without looking at evidence, and for less.
        let over = match record.standing {
            _ if Self::expires_at(&record) <= now => Some(EvictionReason::Expired),
            Standing::Leaving { until } if until <= now => Some(EvictionReason::Unwanted),
            Standing::Active | Standing::Leaving { .. } => None,
        };
        if let Some(reason) = over {
            Self::evicted(account, reason);
            return Ok(PostDispatchInfo { actual_weight: Some(weights::evict_expired::<T>()), ..Default::default() });
        }
        let evidence = EvidenceOf::<T>::get(&account).ok_or(Error::<T>::NotRegistered)?;
        let policy = Policy::<T>::get();
        // The age of collateral is nothing that the platform could help.
        let appraisal = AppraisalPolicy { max_collateral_age_ms: None, ..policy.appraisal };
        let refused = match Self::verify_again(&evidence, record.verified_at) {
            Ok(verification) if verification.tcb_status == TcbStatus::Revoked => {
                Self::evicted(account, EvictionReason::PlatformRevoked);
                return Ok(().into());
            }
            Ok(verification) => appraisal.appraise(&verification, now).map_err(RegistrationRefused::Policy),
            Err(refused) if is_of_collateral(refused) => Ok(()),
            Err(RegistrationRefused::NotGenuine(flaw)) => {
                Self::evicted(account, EvictionReason::NotGenuine(flaw));
                return Ok(().into());
            }
            Err(refused) => Err(refused),
        };
        match (refused, record.standing) {
            // An enclave that was told to leave has stopped. To come back it registers.
            (_, Standing::Leaving { .. }) => Err(Error::<T>::GraceNotOver.into()),
            (Ok(()), Standing::Active) => Err(Error::<T>::StillWanted.into()),
            (Err(reason), Standing::Active) => {
                let until = now.saturating_add(policy.eviction_grace_ms);
                let standing = Standing::Leaving { until };
                SovereignEnclaves::<T>::insert(&account, EnclaveRecord { standing, ..record });
                // What it stated before it could know must not bring it back.
                Self::refuse_earlier(&account);
                Self::deposit_event(Event::LeavingEnclave { account, reason, until });
                Ok(().into())
            }
        }
    }

    fn evicted(account: AccountId, reason: EvictionReason) {
        Self::remove(&account);
        Self::deposit_event(Event::EvictedEnclave { account, reason });
    }
}

/// Whether the collateral is at fault, not the platform.
fn is_of_collateral(refused: RegistrationRefused) -> bool {
    use RegistrationRefused::{NotGenuine, QeIdentityMissing, TcbInfoMissing};
    matches!(
        refused,
        TcbInfoMissing
            | QeIdentityMissing
            | NotGenuine(Flaw::TcbInfoSignerRevoked | Flaw::QeIdentitySignerRevoked | Flaw::CrlSignerRevoked)
    )
}
