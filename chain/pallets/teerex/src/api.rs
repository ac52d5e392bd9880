//! What anybody may ask the registry without sending an extrinsic.

use cloister_attestation::{Collateral, Evidence, Policy as AppraisalPolicy, Roots};
use cloister_chain_primitives::{AccountId, EnclaveRecord, Registration, RegistrationRefused, registry::Appraised};

use crate::{Config, Pallet, Policy};

sp_api::decl_runtime_apis! {
    /// Dry runs.
    pub trait TeerexApi {
        /// Looks at evidence as of `at` (Unix milliseconds), with the chain's appraisal policy if none is given. Evidence
        /// under the development root is verified on every chain; what it is worth is the policy's matter.
        fn appraise(evidence: Evidence, collateral: Collateral, at: u64, policy: Option<AppraisalPolicy>) -> Appraised;

        /// What `register_enclave` of `account` would record if it were the last call of this block. A block does not
        /// know its own hash, so evidence that names this very block is taken from the next block on. The account must
        /// be able to pay the deposit; that it must pay a fee before is not looked at.
        fn check_registration(
            account: AccountId,
            registration: Registration,
        ) -> Result<EnclaveRecord, RegistrationRefused>;
    }
}

impl<T: Config> Pallet<T> {
    /// See [`TeerexApi`].
    pub fn appraise(
        evidence: &Evidence,
        collateral: &Collateral,
        at: u64,
        policy: Option<AppraisalPolicy>,
    ) -> Appraised {
        let verification = cloister_attestation::verify(evidence, collateral, &Roots::intel_and_development(), at);
        let policy = policy.unwrap_or_else(|| Policy::<T>::get().appraisal);
        let appraisal = verification.as_ref().ok().map(|verification| policy.appraise(verification, at));
        Appraised { verification, appraisal }
    }
}
