//! Eviction, which anybody may ask for and only the rules decide.

use cloister_attestation::{Error as Flaw, TcbStatus};
use cloister_chain_primitives::{AccountId, EnclaveRecord, RegistrationRefused, Standing};
use frame_support::dispatch::{DispatchResultWithPostInfo, PostDispatchInfo};

use crate::{Config, Error, Event, EvictionReason, EvidenceOf, Pallet, Policy, SovereignEnclaves, weights};

impl<T: Config> Pallet<T> {
    pub(crate) fn evict_enclave(account: AccountId) -> DispatchResultWithPostInfo {
        let record = SovereignEnclaves::<T>::get(&account).ok_or(Error::<T>::NotRegistered)?;
        let now = Self::now();
        // Without looking at evidence, and for less.
        let over = match record.standing {
            _ if record.expires_at <= now => Some(EvictionReason::Expired),
            Standing::Leaving { until } if until <= now => Some(EvictionReason::Unwanted),
            Standing::Active | Standing::Leaving { .. } => None,
        };
        if let Some(reason) = over {
            Self::evicted(account, reason);
            return Ok(PostDispatchInfo { actual_weight: Some(weights::evict_expired::<T>()), ..Default::default() });
        }
        let evidence = EvidenceOf::<T>::get(&account).ok_or(Error::<T>::NotRegistered)?;
        let refused = match Self::verify(&evidence, now) {
            Ok(verification) if verification.tcb_status == TcbStatus::Revoked => {
                Self::evicted(account, EvictionReason::PlatformRevoked);
                return Ok(().into());
            }
            Ok(verification) => {
                Policy::<T>::get().appraisal.appraise(&verification, now).map_err(RegistrationRefused::Policy)
            }
            Err(RegistrationRefused::NotGenuine(flaw)) if !is_expiry(flaw) => {
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
                let until = now.saturating_add(Policy::<T>::get().eviction_grace_ms);
                let standing = Standing::Leaving { until };
                SovereignEnclaves::<T>::insert(&account, EnclaveRecord { standing, ..record });
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

/// Nobody has brought newer collateral. That says nothing against the platform.
fn is_expiry(flaw: Flaw) -> bool {
    matches!(flaw, Flaw::CertificateExpired | Flaw::DocumentExpired | Flaw::CrlExpired)
}
