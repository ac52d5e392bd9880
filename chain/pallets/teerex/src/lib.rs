//! Registry of attested enclaves on layer one.
//!
//! An enclave registers with evidence that this runtime verifies itself, under the pinned roots of
//! `cloister-attestation` and collateral that anybody may submit. Every start of an enclave is a new incarnation, which
//! retires the one before it; registrations expire; whoever likes may evict an enclave that expired or is no longer
//! wanted. A deposit is held of its account as long as it is registered, and a small part of it for ever.
//!
//! Trusts its roots, its origins and layer one's time. It must never take evidence on anybody's word, replace collateral
//! by an older one, or take a registration that was made before a newer one or before its enclave went. Development
//! evidence counts only on chains whose genesis says so; no call changes that. On those everybody has the development
//! root's keys, so that anybody can submit collateral under it and have enclaves without a TEE evicted; it speaks of one
//! kind of platform, so that what anybody can have stored has a bound.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![allow(unused_qualifications, reason = "code that FRAME generates")]

extern crate alloc;

mod api;
mod collateral;
mod eviction;
mod refused;
mod registration;
mod verification;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use api::*;
pub use pallet::*;
pub use refused::{NotGenuine, Refused};

#[frame_support::pallet]
pub mod pallet {
    use alloc::{boxed::Box, vec::Vec};

    use cloister_attestation::{
        Collateral, Evidence, Policy as AppraisalPolicy, Signed, SignedCrl, TcbStatus, TeeKind,
        collateral::{CrlIssuer, PlatformType, QeIdentity, RevocationList, RootOfTrust, TcbInfo},
    };
    use cloister_chain_primitives::{
        AccountId, Balance, BlockNumber, EnclaveRecord, H256, Moment, Registration, RegistrationPolicy,
        RegistrationRefused, registry::IncarnationMark,
    };
    use frame_support::{
        pallet_prelude::*,
        traits::{Time, fungible::MutateHold},
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::SaturatedConversion;

    use crate::{NotGenuine, Refused, weights};

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(cloister_chain_primitives::storage::TEEREX_VERSION);

    /// A signed document as it is submitted.
    pub type Document = BoundedVec<u8, ConstU32<{ bound(Collateral::MAX_DOCUMENT_BYTES) }>>;
    /// A PEM chain, signer first, root last.
    pub type Chain = BoundedVec<u8, ConstU32<{ bound(Collateral::MAX_CHAIN_BYTES) }>>;
    /// Revocation lists, DER: the root's and those of its two issuing authorities.
    pub type Crls = BoundedVec<BoundedVec<u8, ConstU32<{ bound(Collateral::MAX_CRL_BYTES) }>>, ConstU32<3>>;
    /// The platforms that a TCB info speaks about.
    pub type TcbInfoKey = (RootOfTrust, PlatformType, [u8; 6]);
    /// The quoting enclaves that an identity speaks about.
    pub type QeIdentityKey = (RootOfTrust, PlatformType);
    /// The certificates that a revocation list speaks about.
    pub type CrlKey = (RootOfTrust, CrlIssuer);

    // Records and collateral hold lists whose bounds are those of the documents they come from.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    /// The types of layer one are fixed by `cloister-chain-primitives`, because enclaves and clients read this pallet's
    /// storage without metadata.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId = AccountId, Hash = H256> {
        /// Layer one's time: of this block, while it is built.
        type Time: Time<Moment = Moment>;

        /// The money of deposits.
        type Currency: MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;

        /// Why money is held.
        type RuntimeHoldReason: From<HoldReason>;

        /// Planck that are held of a registered enclave's account.
        #[pallet::constant]
        type RegistrationDeposit: Get<Balance>;

        /// Planck of them that stay held when the record is gone, for the mark that stays.
        #[pallet::constant]
        type MarkDeposit: Get<Balance>;
    }

    /// Why money of an account is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Layer one stores the record and the evidence of its enclave, or the mark that is left of them.
        #[codec(index = 0)]
        Registration,
    }

    /// All registered enclaves whose evidence is their own, by account.
    #[pallet::storage]
    pub type SovereignEnclaves<T> = StorageMap<_, Blake2_128Concat, AccountId, EnclaveRecord>;

    /// The raw evidence of every registered enclave, without padding, for anybody to verify again.
    #[pallet::storage]
    pub type EvidenceOf<T> = StorageMap<_, Blake2_128Concat, AccountId, Evidence>;

    /// The newest incarnation of every account that ever registered. It outlives the record, so that what was signed
    /// before the record went stays refused.
    #[pallet::storage]
    pub type Incarnations<T> = StorageMap<_, Blake2_128Concat, AccountId, IncarnationMark>;

    /// What registrations must satisfy.
    #[pallet::storage]
    pub type Policy<T> = StorageValue<_, RegistrationPolicy, ValueQuery, DefaultPolicy>;

    /// Whether evidence under the development root may count at all. Written at genesis and never again.
    #[pallet::storage]
    pub type SimulationAllowed<T> = StorageValue<_, bool, ValueQuery>;

    /// Highest evaluation number of collateral that counts; any if `None`.
    #[pallet::storage]
    pub type EvaluationLimit<T> = StorageValue<_, u32>;

    /// Verified TCB infos.
    #[pallet::storage]
    pub type TcbInfos<T> = StorageMap<_, Blake2_128Concat, TcbInfoKey, TcbInfo>;

    /// The same as published, for whoever verifies offline.
    #[pallet::storage]
    pub type RawTcbInfos<T> = StorageMap<_, Blake2_128Concat, TcbInfoKey, Signed>;

    /// Verified identities of quoting enclaves.
    #[pallet::storage]
    pub type QeIdentities<T> = StorageMap<_, Blake2_128Concat, QeIdentityKey, QeIdentity>;

    /// The same as published, for whoever verifies offline.
    #[pallet::storage]
    pub type RawQeIdentities<T> = StorageMap<_, Blake2_128Concat, QeIdentityKey, Signed>;

    /// Verified revocation lists.
    #[pallet::storage]
    pub type RevocationLists<T> = StorageMap<_, Blake2_128Concat, CrlKey, RevocationList>;

    /// The same as published, for whoever verifies offline.
    #[pallet::storage]
    pub type RawRevocationLists<T> = StorageMap<_, Blake2_128Concat, CrlKey, SignedCrl>;

    /// Genuine hardware without known weaknesses that a patch of its vendor would mend, evidence of the last four
    /// minutes, renewal every day. What is left to configuration and software stands in the record, status and
    /// advisories, for clients to judge; hyper-threading alone makes a platform need configuration.
    #[pallet::type_value]
    pub fn DefaultPolicy() -> RegistrationPolicy {
        use TcbStatus::*;
        let tcb_statuses =
            alloc::vec![UpToDate, SwHardeningNeeded, ConfigurationNeeded, ConfigurationAndSwHardeningNeeded];
        RegistrationPolicy {
            appraisal: AppraisalPolicy { tcb_statuses, ..AppraisalPolicy::default() },
            max_evidence_age: 250,
            reattest_interval_ms: 24 * 60 * 60 * 1_000,
            incarnation_gap: 3,
            eviction_grace_ms: 10 * 60 * 1_000,
        }
    }

    /// What the registry starts with.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// Whether evidence under the development root may count, for as long as the chain exists.
        pub simulation_allowed: bool,
        /// The first policy.
        pub policy: RegistrationPolicy,
        #[serde(skip)]
        #[doc(hidden)]
        pub _config: PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { simulation_allowed: false, policy: DefaultPolicy::get(), _config: PhantomData }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            SimulationAllowed::<T>::put(self.simulation_allowed);
            Pallet::<T>::check_policy(&self.policy).expect("the genesis has a policy that makes sense");
            Policy::<T>::put(&self.policy);
        }
    }

    /// Why an enclave's registration ended.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub enum EvictionReason {
        /// It was not renewed in time.
        #[codec(index = 0)]
        Expired,
        /// The policy did not want it any longer, and its grace is over.
        #[codec(index = 1)]
        Unwanted,
        /// By what is known today of its platform its evidence is not genuine, for example because it was revoked.
        #[codec(index = 2)]
        NotGenuine(cloister_attestation::Error),
        /// The vendor says that nothing of its platform is to be trusted.
        #[codec(index = 3)]
        PlatformRevoked,
    }

    /// Which collateral changed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub enum CollateralKey {
        /// TCB info.
        #[codec(index = 0)]
        TcbInfo(RootOfTrust, PlatformType, [u8; 6]),
        /// Identity of a quoting enclave.
        #[codec(index = 1)]
        QeIdentity(RootOfTrust, PlatformType),
        /// Revocation list.
        #[codec(index = 2)]
        RevocationList(RootOfTrust, CrlIssuer),
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An enclave of any kind registered, or renewed its registration.
        AddedSgxEnclave {
            /// Its account.
            account: AccountId,
            /// What kind of environment it is.
            kind: TeeKind,
            /// What runs there.
            fingerprint: [u8; 32],
            /// How up to date its platform is.
            tcb_status: TcbStatus,
            /// Signing key of this start.
            incarnation_key: [u8; 32],
            /// From when on the registration does not count.
            expires_at: Moment,
        },
        /// The registration of this account ended.
        RemovedSovereignEnclave(AccountId),
        /// A newer start of the same enclave took this one's place.
        RetiredIncarnation {
            /// Account of both.
            account: AccountId,
            /// Signing key of the one that must not serve any longer.
            incarnation_key: [u8; 32],
        },
        /// The policy does not want an enclave any longer. Until the grace is over it may hand over its keys.
        LeavingEnclave {
            /// Its account.
            account: AccountId,
            /// As what its evidence would be refused now.
            reason: RegistrationRefused,
            /// When the grace is over.
            until: Moment,
        },
        /// An enclave was evicted.
        EvictedEnclave {
            /// Its account.
            account: AccountId,
            /// Why.
            reason: EvictionReason,
        },
        /// Newer collateral was taken.
        CollateralUpdated {
            /// Which.
            collateral: CollateralKey,
            /// When the vendor issued it.
            issued: Moment,
            /// The last moment at which it is valid. By then the vendor has a newer one.
            valid_until: Moment,
        },
        /// Root changed what registrations must satisfy. Whom the new policy does not want can be evicted.
        PolicyChanged,
        /// Root changed the highest evaluation number of collateral that counts.
        EvaluationLimitSet(Option<u32>),
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The registration is refused.
        Registration(Refused),
        /// The collateral is not genuine.
        Collateral(NotGenuine),
        /// The revocation list of the root names the certificate that signed this collateral.
        SignerRevoked,
        /// Layer one has newer collateral of this kind.
        OlderCollateral,
        /// Layer one has this collateral.
        AlreadyKnown,
        /// No revocation list was submitted.
        NoRevocationLists,
        /// This account has no registration.
        NotRegistered,
        /// Nothing speaks against this enclave.
        StillWanted,
        /// The enclave's grace is not over.
        GraceNotOver,
        /// The genesis of this chain forbids simulation.
        SimulationForbidden,
        /// Registrations would expire at once.
        NoReattestInterval,
        /// No evidence would be young enough, or the hashes of the blocks that evidence may name are forgotten before.
        EvidenceAgeOutOfRange,
        /// The development root vouches for one kind of platform, and this TCB info is for another.
        NotTheDevelopmentPlatform,
        /// A level of the document has more advisories than any record could hold.
        TooManyAdvisories,
        /// The document's evaluation number is above the highest that root lets count.
        EvaluationTooNew,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Takes the sender's own registration back, and the deposit.
        #[pallet::call_index(1)]
        #[pallet::weight(weights::unregister::<T>())]
        pub fn unregister_sovereign_enclave(origin: OriginFor<T>) -> DispatchResult {
            let account = ensure_signed(origin)?;
            ensure!(SovereignEnclaves::<T>::contains_key(&account), Error::<T>::NotRegistered);
            Self::remove(&account);
            Ok(())
        }

        /// Takes the identity of a quoting enclave: the signed bytes, their signature and the signer's PEM chain.
        #[pallet::call_index(4)]
        #[pallet::weight(weights::document::<T>(body.len(), issuer_chain.len()))]
        pub fn register_quoting_enclave(
            origin: OriginFor<T>,
            body: Document,
            signature: [u8; 64],
            issuer_chain: Chain,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::take_qe_identity(Signed { body: body.into(), signature, issuer_chain: issuer_chain.into() })
        }

        /// Takes TCB info: the signed bytes, their signature and the signer's PEM chain.
        #[pallet::call_index(5)]
        #[pallet::weight(weights::document::<T>(body.len(), issuer_chain.len()))]
        pub fn register_tcb_info(
            origin: OriginFor<T>,
            body: Document,
            signature: [u8; 64],
            issuer_chain: Chain,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::take_tcb_info(Signed { body: body.into(), signature, issuer_chain: issuer_chain.into() })
        }

        /// Registers the sender as an enclave whose evidence is genuine and wanted, or renews its registration. Another
        /// incarnation key than before retires the incarnation before. The first registration of an account takes a
        /// deposit.
        #[pallet::call_index(10)]
        #[pallet::weight(weights::register_enclave::<T>(registration.evidence.bytes().len()))]
        pub fn register_enclave(origin: OriginFor<T>, registration: Box<Registration>) -> DispatchResult {
            let account = ensure_signed(origin)?;
            let record =
                Self::check(&account, &registration).map_err(|refused| Error::<T>::Registration(refused.into()))?;
            Self::register(account, registration.evidence, record)
                .map_err(|refused| Error::<T>::Registration(refused.into()))?;
            Ok(())
        }

        /// Takes revocation lists (DER) with one PEM chain of their issuers, root last. Lists that are known are passed
        /// over if another is new.
        #[pallet::call_index(11)]
        #[pallet::weight(weights::crls::<T>(crls.len(), crls.iter().map(|crl| crl.len()).sum(), issuer_chain.len()))]
        pub fn register_crls(origin: OriginFor<T>, crls: Crls, issuer_chain: Chain) -> DispatchResult {
            ensure_signed(origin)?;
            Self::take_crls(crls.into_iter().map(Vec::from).collect(), issuer_chain.into())
        }

        /// Evicts an enclave whose registration has expired, whose evidence is no longer genuine or that the policy no
        /// longer wants. In the last case the first call begins the grace, and another one after it removes the record.
        /// Its account gets the deposit back.
        #[pallet::call_index(12)]
        #[pallet::weight(weights::evict::<T>())]
        pub fn evict(origin: OriginFor<T>, account: AccountId) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::evict_enclave(account)
        }

        /// Changes what registrations must satisfy.
        #[pallet::call_index(13)]
        #[pallet::weight(weights::set_policy::<T>())]
        pub fn set_policy(origin: OriginFor<T>, policy: Box<RegistrationPolicy>) -> DispatchResult {
            ensure_root(origin)?;
            Self::check_policy(&policy)?;
            Policy::<T>::put(*policy);
            Self::deposit_event(Event::PolicyChanged);
            Ok(())
        }

        /// Changes the highest evaluation number of TCB infos and identities of quoting enclaves that is taken. Vendors
        /// publish evaluations months before platforms can have been patched, and whoever submits one has them refused.
        /// What is above the limit is replaced by any genuine document below it, however old that one is.
        #[pallet::call_index(14)]
        #[pallet::weight(weights::set_policy::<T>())]
        pub fn set_evaluation_limit(origin: OriginFor<T>, limit: Option<u32>) -> DispatchResult {
            ensure_root(origin)?;
            EvaluationLimit::<T>::set(limit);
            Self::deposit_event(Event::EvaluationLimitSet(limit));
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// The record of an enclave that may serve now.
        pub fn serving(account: &AccountId) -> Option<EnclaveRecord> {
            let now = Self::now();
            SovereignEnclaves::<T>::get(account)
                .filter(|record| record.serves_at(now) && now < Self::expires_at(record))
        }

        /// From when on a registration does not count: earlier than recorded if the interval has been shortened since.
        pub(crate) fn expires_at(record: &EnclaveRecord) -> Moment {
            let interval = Policy::<T>::get().reattest_interval_ms;
            record.expires_at.min(record.verified_at.saturating_add(interval))
        }

        fn check_policy(policy: &RegistrationPolicy) -> Result<(), Error<T>> {
            use cloister_attestation::Stance;
            let simulated = policy.appraisal.simulation == Stance::Allowed;
            ensure!(!simulated || SimulationAllowed::<T>::get(), Error::<T>::SimulationForbidden);
            ensure!(policy.reattest_interval_ms > 0, Error::<T>::NoReattestInterval);
            let ages = 1..=T::BlockHashCount::get().saturated_into::<BlockNumber>();
            ensure!(ages.contains(&policy.max_evidence_age), Error::<T>::EvidenceAgeOutOfRange);
            Ok(())
        }

        pub(crate) fn now() -> Moment {
            T::Time::now()
        }

        pub(crate) fn height() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "constants that are known to fit; cut off, the crate would not build"
    )]
    const fn bound(bytes: usize) -> u32 {
        assert!(bytes <= u32::MAX as usize);
        bytes as u32
    }
}
