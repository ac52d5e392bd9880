//! The rules of a registration.

use cloister_attestation::{Evidence, quote_length};
use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, BuildMode, EnclaveRecord, H256, Registration, RegistrationPolicy,
    RegistrationRefused, Standing,
    deposit::MAX_RECORD_BYTES,
    registry::{IncarnationMark, report_data},
};
use codec::Encode;
use frame_support::{
    ensure,
    traits::{
        Get,
        fungible::{InspectHold, MutateHold},
        tokens::Precision,
    },
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::Zero;

use crate::{Config, Event, EvidenceOf, HoldReason, Incarnations, Pallet, Policy, SovereignEnclaves};

impl<T: Config> Pallet<T> {
    /// What would be recorded of this registration of `account`, or why it is refused. Cheap checks come first, the
    /// deposit last: nobody is told to pay for what would be refused all the same.
    pub fn check(account: &AccountId, registration: &Registration) -> Result<EnclaveRecord, RegistrationRefused> {
        let Registration { evidence, incarnation_key, tls_key_hash, block_number, url } = registration;
        let policy = Policy::<T>::get();
        ensure!(evidence.bytes().len() <= Evidence::MAX_BYTES, RegistrationRefused::EvidenceTooLarge);
        let block_hash = Self::recent_block(*block_number, &policy)?;
        let incarnation_since = Self::incarnation_since(account, incarnation_key, *block_number, &policy)?;

        let now = Self::now();
        let verification = Self::verify(evidence, now)?;
        let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero());
        let stated = report_data(&genesis, account, incarnation_key, tls_key_hash, &block_hash);
        ensure!(verification.report_data == stated, RegistrationRefused::ReportData);
        policy.appraisal.appraise(&verification, now).map_err(RegistrationRefused::Policy)?;
        let record = EnclaveRecord {
            fingerprint: verification.fingerprint,
            signer: verification.signer,
            kind: verification.kind,
            tcb_status: verification.tcb_status,
            advisories: verification.advisories,
            platform_id_hash: verification.platform_id_hash,
            build_mode: if verification.debug { BuildMode::Debug } else { BuildMode::Production },
            incarnation_key: *incarnation_key,
            tls_key_hash: *tls_key_hash,
            url: url.clone(),
            bound_block: *block_number,
            incarnation_since,
            verified_at: now,
            expires_at: now.saturating_add(policy.reattest_interval_ms),
            standing: Standing::Active,
        };
        ensure!(record.encoded_size() <= MAX_RECORD_BYTES, RegistrationRefused::RecordTooLarge);
        let paid = SovereignEnclaves::<T>::contains_key(account);
        let payable = || T::Currency::can_hold(&HoldReason::Registration.into(), account, Self::unpaid(account));
        ensure!(paid || payable(), RegistrationRefused::Deposit);
        Ok(record)
    }

    /// What an account without a record has to pay: the deposit, less what is held for its mark.
    fn unpaid(account: &AccountId) -> Balance {
        let held = T::Currency::balance_on_hold(&HoldReason::Registration.into(), account);
        T::RegistrationDeposit::get().saturating_sub(held)
    }

    /// Records an enclave whose registration was checked.
    pub(crate) fn register(
        account: AccountId,
        evidence: Evidence,
        record: EnclaveRecord,
    ) -> Result<(), RegistrationRefused> {
        let EnclaveRecord { incarnation_key, bound_block, incarnation_since, .. } = record;
        match SovereignEnclaves::<T>::get(&account).map(|predecessor| predecessor.incarnation_key) {
            None => T::Currency::hold(&HoldReason::Registration.into(), &account, Self::unpaid(&account))
                .map_err(|_| RegistrationRefused::Deposit)?,
            Some(retired) if retired != incarnation_key => {
                let account = account.clone();
                Self::deposit_event(Event::RetiredIncarnation { account, incarnation_key: retired });
            }
            Some(_) => {}
        }
        Incarnations::<T>::insert(&account, IncarnationMark { incarnation_key, bound_block, incarnation_since });
        Self::deposit_event(Event::AddedSgxEnclave {
            account: account.clone(),
            kind: record.kind,
            fingerprint: record.fingerprint,
            tcb_status: record.tcb_status,
            incarnation_key,
            expires_at: record.expires_at,
        });
        EvidenceOf::<T>::insert(&account, without_padding(evidence));
        SovereignEnclaves::<T>::insert(&account, record);
        Ok(())
    }

    /// Removes an enclave's record and gives its deposit back but for the part of the mark, which stays.
    pub(crate) fn remove(account: &AccountId) {
        SovereignEnclaves::<T>::remove(account);
        EvidenceOf::<T>::remove(account);
        Self::refuse_earlier(account);
        // Whatever the deposit was then. An account with something on hold exists, so it can be given back; were it not
        // so, the record must go none the less.
        let reason = HoldReason::Registration.into();
        let amount = T::Currency::balance_on_hold(&reason, account).saturating_sub(T::MarkDeposit::get());
        let _ = T::Currency::release(&reason, account, amount, Precision::BestEffort);
        Self::deposit_event(Event::RemovedSovereignEnclave(account.clone()));
    }

    /// Has what an enclave signed before refused: its next registration must name this block or a later one, at which
    /// it sees that its record is gone or that it was told to leave.
    pub(crate) fn refuse_earlier(account: &AccountId) {
        Incarnations::<T>::mutate_extant(account, |mark| {
            mark.bound_block = mark.bound_block.max(Self::height().saturating_sub(1));
        });
    }

    /// The hash of the block that evidence names.
    fn recent_block(block_number: BlockNumber, policy: &RegistrationPolicy) -> Result<H256, RegistrationRefused> {
        let age = Self::height().checked_sub(block_number).filter(|age| *age > 0);
        let age = age.ok_or(RegistrationRefused::UnknownBlock)?;
        ensure!(age <= policy.max_evidence_age, RegistrationRefused::EvidenceTooOld);
        let hash = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::from(block_number));
        ensure!(!hash.is_zero(), RegistrationRefused::UnknownBlock);
        Ok(hash)
    }

    /// The height at which the incarnation first registered: that of this block, unless this is a renewal.
    ///
    /// A new incarnation must name a block that has the first registration of the one before it below itself. Whoever
    /// attests to such a block has seen in its state whether another incarnation took its place, and stops then. So what
    /// an incarnation signs without knowing of a newer one is refused for ever after that one.
    fn incarnation_since(
        account: &AccountId,
        incarnation_key: &[u8; 32],
        block_number: BlockNumber,
        policy: &RegistrationPolicy,
    ) -> Result<BlockNumber, RegistrationRefused> {
        let Some(mark) = Incarnations::<T>::get(account) else { return Ok(Self::height()) };
        ensure!(block_number > mark.bound_block, RegistrationRefused::NotLater);
        if mark.incarnation_key == *incarnation_key {
            return Ok(mark.incarnation_since);
        }
        let earliest = mark.incarnation_since.saturating_add(policy.incarnation_gap);
        ensure!(block_number >= earliest, RegistrationRefused::TooSoon);
        Ok(Self::height())
    }
}

/// Verifiers take zeros after a quote. Nobody needs them again.
fn without_padding(evidence: Evidence) -> Evidence {
    let Evidence::Dcap(mut quote) = evidence;
    quote.truncate(quote_length(&quote).unwrap_or(quote.len()));
    Evidence::Dcap(quote)
}
