//! What root may demand, and what only genesis may allow.

use cloister_attestation::{Policy as AppraisalPolicy, Refusal, Stance};
use cloister_chain_primitives::{RegistrationPolicy, registry::Appraised};
use frame_support::{assert_noop, assert_ok, traits::Get};
use sp_runtime::{BuildStorage, DispatchError};

use super::events;
use crate::{Error, Event, GenesisConfig, Policy, SimulationAllowed, mock::*};

fn set(policy: RegistrationPolicy) -> sp_runtime::DispatchResult {
    Teerex::set_policy(RuntimeOrigin::root(), Box::new(policy))
}

#[test]
fn root_changes_the_policy() {
    run(|| {
        let stricter = RegistrationPolicy { max_evidence_age: 10, ..policy() };
        assert_noop!(Teerex::set_policy(anybody(), Box::new(stricter.clone())), DispatchError::BadOrigin);
        to(START + 1);
        assert_ok!(set(stricter.clone()));
        assert_eq!(Policy::<Test>::get(), stricter);
        assert_eq!(events(), [Event::PolicyChanged]);
    });
}

#[test]
fn policies_that_make_no_sense_are_refused() {
    run(|| {
        let nonsense = RegistrationPolicy { reattest_interval_ms: 0, ..policy() };
        assert_noop!(set(nonsense), Error::<Test>::NoReattestInterval);
        for max_evidence_age in [0, BLOCK_HASH_COUNT + 1] {
            let nonsense = RegistrationPolicy { max_evidence_age, ..policy() };
            assert_noop!(set(nonsense), Error::<Test>::EvidenceAgeOutOfRange);
        }
        assert_ok!(set(RegistrationPolicy { max_evidence_age: BLOCK_HASH_COUNT, ..policy() }));
    });
}

#[test]
fn root_cannot_allow_what_genesis_forbids() {
    bare(false, || {
        assert!(!SimulationAllowed::<Test>::get());
        assert_noop!(set(policy()), Error::<Test>::SimulationForbidden);
        assert_ok!(set(crate::DefaultPolicy::get()));
    });
    bare(true, || {
        assert!(SimulationAllowed::<Test>::get());
        assert_ok!(set(crate::DefaultPolicy::get()));
        assert_ok!(set(policy()));
    });
}

#[test]
fn a_genesis_that_contradicts_itself_is_none() {
    let build = |teerex: GenesisConfig<Test>| {
        std::panic::catch_unwind(|| RuntimeGenesisConfig { teerex, ..Default::default() }.build_storage()).is_ok()
    };
    assert!(build(GenesisConfig::default()));
    assert!(!build(GenesisConfig { policy: policy(), ..Default::default() }));
    let policy = RegistrationPolicy { reattest_interval_ms: 0, ..policy() };
    assert!(!build(GenesisConfig { simulation_allowed: true, policy, ..Default::default() }));
}

#[test]
fn unless_root_says_otherwise_unpatched_platforms_are_refused() {
    use cloister_attestation::TcbStatus::*;
    let AppraisalPolicy { tcb_statuses, .. } = crate::DefaultPolicy::get().appraisal;
    assert_eq!(tcb_statuses, [UpToDate, SwHardeningNeeded, ConfigurationNeeded, ConfigurationAndSwHardeningNeeded]);
    let anything_else = AppraisalPolicy { tcb_statuses, ..AppraisalPolicy::default() };
    assert_eq!(crate::DefaultPolicy::get().appraisal, anything_else);
    assert_eq!(GenesisConfig::<Test>::default().policy, crate::DefaultPolicy::get());
    for (status, appraisal) in [
        (UpToDate, Ok(())),
        (SwHardeningNeeded, Ok(())),
        (ConfigurationNeeded, Ok(())),
        (ConfigurationAndSwHardeningNeeded, Ok(())),
        (OutOfDate, Err(Refusal::TcbStatus)),
        (OutOfDateConfigurationNeeded, Err(Refusal::TcbStatus)),
        (Revoked, Err(Refusal::TcbStatus)),
    ] {
        run(|| {
            let mut scenario = scenario();
            for level in &mut scenario.tcb_info.tcb_levels {
                level.tcb_status = status.name().into();
            }
            let (quote, collateral) = scenario.build();
            let evidence = cloister_attestation::Evidence::Dcap(quote);
            // No policy is the chain's. Whoever asks may want less.
            assert_eq!(Teerex::appraise(&evidence, &collateral, NOW, None).appraisal, Some(appraisal));
            let own = AppraisalPolicy { simulation: Stance::Allowed, ..AppraisalPolicy::default() };
            let own = Teerex::appraise(&evidence, &collateral, NOW, Some(own)).appraisal;
            assert_eq!(own, Some(if status == Revoked { Err(Refusal::TcbStatus) } else { Ok(()) }));
        });
    }
}

#[test]
fn anybody_may_ask_for_an_appraisal() {
    run(|| {
        let (quote, collateral) = scenario().build();
        let evidence = cloister_attestation::Evidence::Dcap(quote);
        let Appraised { verification, appraisal } = Teerex::appraise(&evidence, &collateral, NOW, None);
        assert_eq!(verification.map(|verification| verification.kind), Ok(cloister_attestation::TeeKind::Simulated));
        assert_eq!(appraisal, Some(Ok(())));
        let own = cloister_attestation::Policy { simulation: Stance::Forbidden, ..Default::default() };
        let Appraised { appraisal, .. } = Teerex::appraise(&evidence, &collateral, NOW, Some(own));
        assert_eq!(appraisal, Some(Err(Refusal::Simulated)));
        let late = cloister_synthetic_evidence::VALID_UNTIL + 1_000;
        let Appraised { verification, appraisal } = Teerex::appraise(&evidence, &collateral, late, None);
        assert!(verification.is_err());
        assert_eq!(appraisal, None);
    });
}
