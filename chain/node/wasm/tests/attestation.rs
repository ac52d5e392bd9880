// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! What the runtime's wasm says of evidence, asked as `state_call` asks it, and that the native runtime says the same.

use cloister_attestation::{Crl, Error, Evidence, Policy, Refusal, Stance, TcbStatus, TeeKind};
use cloister_chain_primitives::{AccountId, EnclaveRecord, RegistrationRefused, calls::Call, registry::Appraised};
use cloister_runtime_wasm::{
    Wasm,
    evidence::{INTEGRITEE, JULY_2025, Recorded, registration, sgx_v3, sgx_v3_integritee, simulated, tdx_v4},
    extrinsic,
};
use sp_keyring::Sr25519Keyring::Ferdie;

fn appraise(wasm: &mut Wasm, recorded: &Recorded, at: u64, policy: Option<Policy>) -> Appraised {
    let arguments = (&recorded.evidence, &recorded.collateral, at, policy);
    let appraised: Appraised = wasm.call("TeerexApi_appraise", &arguments);
    assert_eq!(wasm.call_native::<Appraised>("TeerexApi_appraise", &arguments), appraised);
    appraised
}

#[test]
fn recorded_evidence_has_its_stated_verdict() {
    let wasm = &mut Wasm::default();
    for (recorded, kind, status, advisories) in [
        (
            sgx_v3(),
            TeeKind::Sgx,
            TcbStatus::ConfigurationAndSwHardeningNeeded,
            &["INTEL-SA-00289", "INTEL-SA-00615"][..],
        ),
        (tdx_v4(), TeeKind::Tdx, TcbStatus::UpToDate, &[]),
    ] {
        let Appraised { verification, appraisal } = appraise(wasm, &recorded, JULY_2025, None);
        let verification = verification.expect("it is genuine");
        assert_eq!((verification.kind, verification.tcb_status), (kind, status));
        assert!(verification.advisories.iter().map(|advisory| advisory.as_str()).eq(advisories.iter().copied()));
        assert!(verification.revocation_checked && !verification.debug);
        assert_eq!(appraisal, Some(Ok(())));

        let at = verification.validity.until - 1_000;
        assert_eq!(appraise(wasm, &recorded, at, None).appraisal, Some(Ok(())));
        let expired = appraise(wasm, &recorded, verification.validity.until + 1_000, None);
        let early = appraise(wasm, &recorded, verification.validity.from - 1_000, None);
        for refused in [&expired, &early] {
            assert_eq!(refused.appraisal, None);
        }
        assert!(matches!(expired.verification, Err(Error::DocumentExpired | Error::CrlExpired)), "{expired:?}");
        assert!(matches!(early.verification, Err(Error::DocumentNotYetValid | Error::CrlNotYetValid)), "{early:?}");
    }
}

#[test]
fn evidence_without_revocation_lists_needs_a_policy_that_says_so() {
    let wasm = &mut Wasm::default();
    let recorded = sgx_v3_integritee();
    assert_eq!(appraise(wasm, &recorded, INTEGRITEE, None).appraisal, Some(Err(Refusal::CrlMissing)));
    let policy = Policy { crl: Crl::Optional, ..Policy::default() };
    assert_eq!(appraise(wasm, &recorded, INTEGRITEE, Some(policy.clone())).appraisal, Some(Err(Refusal::Debug)));
    let policy = Policy { debug: Stance::Allowed, ..policy };
    let Appraised { verification, appraisal } = appraise(wasm, &recorded, INTEGRITEE, Some(policy));
    assert_eq!(appraisal, Some(Ok(())));
    let verification = verification.expect("it is genuine");
    assert_eq!(verification.tcb_status, TcbStatus::SwHardeningNeeded);
    assert!(verification.advisories.iter().map(|advisory| advisory.as_str()).eq(["INTEL-SA-00334"]));
    assert!(verification.debug && !verification.revocation_checked);
    assert_eq!(verification.fingerprint[..4], [0x6f, 0x90, 0x12, 0x0b]);
    assert_eq!(verification.fmspc, [0x00, 0x90, 0x6e, 0xa1, 0x00, 0x00]);
}

#[test]
fn forged_evidence_is_not_genuine() {
    let wasm = &mut Wasm::default();
    for mut recorded in [sgx_v3(), tdx_v4()] {
        let Evidence::Dcap(quote) = &mut recorded.evidence;
        quote[48 + 320] ^= 1;
        let Appraised { verification, appraisal } = appraise(wasm, &recorded, JULY_2025, None);
        assert_eq!((verification.err(), appraisal), (Some(Error::QuoteSignature), None));
    }
}

#[test]
fn an_enclave_registers() {
    let wasm = &mut Wasm::default();
    wasm.open_block(JULY_2025);
    let account = AccountId::from(Ferdie.public());
    let registration = registration(&account);
    type Checked = Result<EnclaveRecord, RegistrationRefused>;
    let arguments = (&account, &registration);
    let check = |wasm: &mut Wasm| {
        let checked: Checked = wasm.call("TeerexApi_check_registration", arguments);
        assert_eq!(wasm.call_native::<Checked>("TeerexApi_check_registration", &arguments), checked);
        checked
    };
    assert_eq!(check(wasm), Err(RegistrationRefused::TcbInfoMissing));
    let scenario = simulated();
    let collateral = scenario.collateral();
    let crls: Vec<_> = collateral.root_crl.into_iter().chain(collateral.pck_crl.map(|list| list.crl)).collect();
    let calls = [
        Call::register_tcb_info(&collateral.tcb_info),
        Call::register_quoting_enclave(&collateral.qe_identity),
        Call::register_crls(&crls, &scenario.authority.pck_ca_chain(scenario.issuer)),
    ];
    for (nonce, call) in (0..).zip(&calls) {
        wasm.apply(&extrinsic(Ferdie, nonce, call)).expect("valid").expect("takes effect");
    }
    let record = check(wasm).expect("everything is there");
    assert_eq!((record.kind, record.incarnation_key), (TeeKind::Simulated, registration.incarnation_key));
    wasm.apply(&extrinsic(Ferdie, 3, &Call::register_enclave(&registration))).expect("valid").expect("takes effect");
    assert_eq!(check(wasm), Err(RegistrationRefused::NotLater));
}
