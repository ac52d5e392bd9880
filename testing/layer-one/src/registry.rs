//! The registry of enclaves, made up: it believes any evidence, but keeps the rules about incarnations.

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    AccountId, BlockNumber, BuildMode, EnclaveRecord, Moment, Registration, RegistrationRefused, Standing, storage,
};
use cloister_claims::{TcbStatus, TeeKind};
use codec::{Decode, Encode};

/// What all its records have in common.
#[derive(Clone)]
pub struct Registry {
    pub fingerprint: [u8; 32],
    pub kind: TeeKind,
    /// Milliseconds until a registration expires.
    pub interval_ms: Moment,
    /// Fewest blocks between two incarnations.
    pub incarnation_gap: BlockNumber,
}

impl Registry {
    /// Of simulated enclaves with this fingerprint; registrations last a day.
    pub fn new(fingerprint: [u8; 32]) -> Self {
        Self { fingerprint, kind: TeeKind::Simulated, interval_ms: 24 * 60 * 60 * 1_000, incarnation_gap: 3 }
    }

    /// Records `account` in `state` as registered at `now`.
    pub fn register(
        &self,
        state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
        account: &AccountId,
        registration: &Registration,
        now: Moment,
    ) -> Result<(), RegistrationRefused> {
        let Registration { evidence, incarnation_key, tls_key_hash, block_number, url } = registration.clone();
        let previous = Self::record(state, account);
        if previous.as_ref().is_some_and(|previous| block_number <= previous.bound_block) {
            return Err(RegistrationRefused::NotLater);
        }
        let incarnation_since = match previous {
            Some(previous) if previous.incarnation_key == incarnation_key => previous.incarnation_since,
            Some(previous) if block_number < previous.incarnation_since + self.incarnation_gap => {
                return Err(RegistrationRefused::TooSoon);
            }
            _ => block_number,
        };
        let record = EnclaveRecord {
            fingerprint: self.fingerprint,
            signer: [0; 32],
            kind: self.kind,
            tcb_status: TcbStatus::UpToDate,
            advisories: vec![],
            platform_id_hash: [0; 32],
            build_mode: BuildMode::Production,
            incarnation_key,
            tls_key_hash,
            url,
            bound_block: block_number,
            incarnation_since,
            verified_at: now,
            expires_at: now + self.interval_ms,
            standing: Standing::Active,
        };
        state.insert(storage::enclave(account), record.encode());
        state.insert(storage::evidence(account), evidence.encode());
        Ok(())
    }

    /// The record of `account` in `state`.
    pub fn record(state: &BTreeMap<Vec<u8>, Vec<u8>>, account: &AccountId) -> Option<EnclaveRecord> {
        state.get(&storage::enclave(account)).map(|record| EnclaveRecord::decode(&mut record.as_slice()).unwrap())
    }
}
