//! The rules of a registration.

use cloister_attestation::{
    Evidence, Refusal, Roots, Verification,
    collateral::{CrlIssuer, RootOfTrust, VerifiedCollateral},
    subject, verify_quote,
};
use cloister_chain_primitives::{
    AccountId, BlockNumber, BuildMode, EnclaveRecord, H256, Moment, Registration, RegistrationPolicy,
    RegistrationRefused, Standing,
    registry::{IncarnationMark, report_data},
};
use frame_support::ensure;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::Zero;

use crate::{
    Config, Event, EvidenceOf, Incarnations, Pallet, Policy, QeIdentities, RevocationLists, SimulationAllowed,
    SovereignEnclaves, TcbInfos,
};

impl<T: Config> Pallet<T> {
    /// What would be recorded of this registration of `account`, or why it is refused. Cheap checks come first.
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

        Ok(EnclaveRecord {
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
        })
    }

    /// Records an enclave.
    pub(crate) fn register(account: AccountId, evidence: Evidence, record: EnclaveRecord) {
        let EnclaveRecord { incarnation_key, bound_block, incarnation_since, .. } = record;
        Incarnations::<T>::insert(&account, IncarnationMark { incarnation_key, bound_block, incarnation_since });
        if let Some(predecessor) = SovereignEnclaves::<T>::get(&account)
            && predecessor.incarnation_key != incarnation_key
        {
            let incarnation_key = predecessor.incarnation_key;
            Self::deposit_event(Event::RetiredIncarnation { account: account.clone(), incarnation_key });
        }
        Self::deposit_event(Event::AddedSgxEnclave {
            account: account.clone(),
            kind: record.kind,
            fingerprint: record.fingerprint,
            tcb_status: record.tcb_status,
            incarnation_key,
            expires_at: record.expires_at,
        });
        EvidenceOf::<T>::insert(&account, evidence);
        SovereignEnclaves::<T>::insert(&account, record);
    }

    /// Removes an enclave's record. What it signed before stays refused: the next registration must name this block or a
    /// later one, at which an enclave sees that its record is gone.
    pub(crate) fn remove(account: &AccountId) {
        SovereignEnclaves::<T>::remove(account);
        EvidenceOf::<T>::remove(account);
        Incarnations::<T>::mutate_extant(account, |mark| {
            mark.bound_block = mark.bound_block.max(Self::height().saturating_sub(1));
        });
        Self::deposit_event(Event::RemovedSovereignEnclave(account.clone()));
    }

    /// Verifies evidence with the collateral of today.
    pub(crate) fn verify(evidence: &Evidence, now: Moment) -> Result<Verification, RegistrationRefused> {
        let Evidence::Dcap(quote) = evidence;
        let subject = subject(quote, &Roots::intel_and_development()).map_err(RegistrationRefused::NotGenuine)?;
        let root = subject.root;
        // Said before the verifier says less clearly that it does not know the root.
        let simulated = root == RootOfTrust::Development;
        ensure!(!simulated || SimulationAllowed::<T>::get(), RegistrationRefused::Policy(Refusal::Simulated));
        let tcb_info = TcbInfos::<T>::get((root, subject.platform, subject.fmspc));
        let qe_identity = QeIdentities::<T>::get((root, subject.platform));
        let root_crl = RevocationLists::<T>::get((root, CrlIssuer::Root));
        let pck_crl = RevocationLists::<T>::get((root, subject.issuer));
        let collateral = VerifiedCollateral {
            tcb_info: &tcb_info.ok_or(RegistrationRefused::TcbInfoMissing)?,
            qe_identity: &qe_identity.ok_or(RegistrationRefused::QeIdentityMissing)?,
            root_crl: root_crl.as_ref(),
            pck_crl: pck_crl.as_ref(),
        };
        verify_quote(quote, collateral, &Self::roots(), now).map_err(RegistrationRefused::NotGenuine)
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
