// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Benchmarks of the runtime's wasm that print one JSON line a figure: `{"name", "value", "unit", "n"}`, `n` being the number
//! of measurements whose median the value is. An argument selects the figures whose name contains it.
//!
//! The weights of `pallet-teerex` rest on these. Every extrinsic is measured as a block's author executes it, signature and
//! fee included, and rolled back; `wasm/remark` is one that does nothing.

use std::time::{Duration, Instant};

use cloister_attestation::{Collateral, Roots, verify, verify_signature};
use cloister_chain_primitives::{AccountId, Balance, Registration, calls::Call, registry::Appraised};
use cloister_runtime_wasm::{
    Wasm,
    evidence::{JULY_2025, Recorded, registration, sgx_v3, simulated, tdx_v4},
    extrinsic,
};
use cloister_synthetic_evidence::{Authority, Crl, Scenario};
use codec::{Decode, Encode};
use sp_keyring::Sr25519Keyring::{Bob, Ferdie};
use sp_runtime::ApplyExtrinsicResult;

fn main() {
    let benches = Benches { filter: std::env::args().nth(1).unwrap_or_default() };
    let vectors = [("sgx_v3", sgx_v3()), ("tdx_v4", tdx_v4())];
    benches.native(&vectors);
    let wasm = &mut Wasm::default();
    benches.appraisals(wasm, &vectors);
    benches.signature(wasm);
    wasm.open_block(JULY_2025);
    benches.extrinsics(wasm, &vectors);
}

struct Benches {
    filter: String,
}

impl Benches {
    /// The same verification natively, beside the bare signatures that it contains.
    fn native(&self, vectors: &[(&str, Recorded)]) {
        let roots = Roots::intel();
        for (name, Recorded { evidence, collateral }) in vectors {
            self.measure(&format!("native/verify_{name}"), Unit::Micros, || {
                verify(evidence, collateral, &roots, JULY_2025).expect("genuine");
            });
        }
        let key = cloister_synthetic_evidence::Key::from_seed(&[1; 32], "bench");
        let (public, message) = (key.public(), [7; 512]);
        let signature = key.sign(&message);
        self.measure("native/p256_signature", Unit::Micros, || {
            verify_signature(&public, &message, &signature).expect("right");
        });
    }

    /// Everything from raw bytes: quote, TCB info, QE identity, two revocation lists.
    fn appraisals(&self, wasm: &mut Wasm, vectors: &[(&str, Recorded)]) {
        for (name, Recorded { evidence, collateral }) in vectors {
            let arguments = (evidence, collateral, JULY_2025, Option::<cloister_attestation::Policy>::None).encode();
            self.measure(&format!("wasm/appraise_{name}"), Unit::Millis, || {
                let appraised: Appraised = wasm.dry_run("TeerexApi_appraise", &arguments);
                assert_eq!(appraised.appraisal, Some(Ok(())));
            });
        }
    }

    /// One signature: what an appraisal takes longer that fails at the TCB info's signature than one that fails at the
    /// signature of the certificate before it.
    fn signature(&self, wasm: &mut Wasm) {
        if !self.wants("wasm/p256_signature") {
            return;
        }
        let mut document = simulated();
        document.tcb_info.signed_by = Some(document.pck.key.clone());
        let mut certificate = document.clone();
        certificate.authority.tcb_signing.certificate.signed_by = Some(document.pck.key.clone());
        let arguments = [document, certificate].map(|scenario| {
            let (quote, collateral) = scenario.build();
            let policy = Option::<cloister_attestation::Policy>::None;
            (cloister_attestation::Evidence::Dcap(quote), collateral, JULY_2025, policy).encode()
        });
        let [document, certificate] = arguments.map(|arguments| {
            median(|| {
                let appraised: Appraised = wasm.dry_run("TeerexApi_appraise", &arguments);
                assert!(appraised.verification.is_err());
            })
        });
        print("wasm/p256_signature", Unit::Millis, document.saturating_sub(certificate), SAMPLES);
    }

    fn extrinsics(&self, wasm: &mut Wasm, vectors: &[(&str, Recorded)]) {
        self.extrinsic(wasm, "remark", &Call::encoded([vec![0, 0], [0u8; 100].to_vec().encode()].concat()));
        for (name, Recorded { collateral, .. }) in vectors {
            let Collateral { tcb_info, qe_identity, .. } = collateral;
            let kilobytes = tcb_info.body.len().div_ceil(1024);
            self.extrinsic(
                wasm,
                &format!("register_tcb_info/{name}/{kilobytes}KB"),
                &Call::register_tcb_info(tcb_info),
            );
            let call = Call::register_quoting_enclave(qe_identity);
            self.extrinsic(wasm, &format!("register_quoting_enclave/{name}"), &call);
            let list = collateral.pck_crl.as_ref().expect("recorded");
            let crls: Vec<_> = collateral.root_crl.iter().cloned().chain([list.crl.clone()]).collect();
            let kilobytes = crls.iter().map(Vec::len).sum::<usize>().div_ceil(1024);
            let call = Call::register_crls(&crls, &list.issuer_chain);
            self.extrinsic(wasm, &format!("register_crls/{name}/{kilobytes}KB"), &call);
        }

        // Registrations, with small collateral and with the largest that layer one takes.
        let account = AccountId::from(Ferdie.public());
        let registration = registration(&account);
        submit(wasm, 0, &simulated());
        self.registration(wasm, "register_enclave/small", &registration);
        let large = largest();
        let tcb_info = large.collateral().tcb_info;
        let kilobytes = tcb_info.body.len().div_ceil(1024);
        self.extrinsic(wasm, &format!("register_tcb_info/largest/{kilobytes}KB"), &Call::register_tcb_info(&tcb_info));
        let crls = crls(&large);
        let kilobytes = crls.iter().map(Vec::len).sum::<usize>().div_ceil(1024);
        let chain = large.authority.pck_ca_chain(large.issuer);
        let call = Call::register_crls(&crls, &chain);
        self.extrinsic(wasm, &format!("register_crls/largest/{kilobytes}KB"), &call);
        apply(wasm, 3, &Call::register_tcb_info(&tcb_info));
        apply(wasm, 4, &call);
        self.registration(wasm, "register_enclave/largest", &registration);
    }

    fn registration(&self, wasm: &mut Wasm, name: &str, registration: &Registration) {
        let extrinsic = extrinsic(Ferdie, 0, &Call::register_enclave(registration));
        self.apply(wasm, name, &extrinsic);
    }

    /// Measures a call of Bob's.
    fn extrinsic(&self, wasm: &mut Wasm, name: &str, call: &Call) {
        // As many as were submitted before.
        let nonce: u32 = wasm.call("AccountNonceApi_account_nonce", AccountId::from(Bob.public()));
        self.apply(wasm, name, &extrinsic(Bob, nonce, call));
    }

    fn apply(&self, wasm: &mut Wasm, name: &str, extrinsic: &[u8]) {
        let (name, weight) = (format!("wasm/{name}"), format!("weight/{name}"));
        self.measure(&name, Unit::Millis, || {
            let result: ApplyExtrinsicResult = wasm.dry_run("BlockBuilder_apply_extrinsic", extrinsic);
            result.expect("valid").expect("takes effect");
        });
        if self.wants(&weight) {
            let length = u32::try_from(extrinsic.len()).expect("it fits");
            let arguments = [extrinsic, &length.encode()].concat();
            let Info { weight: (picoseconds, _), .. } = wasm.dry_run("TransactionPaymentApi_query_info", &arguments);
            print(&weight, Unit::Millis, Duration::from_nanos(picoseconds.0 / 1_000), 1);
        }
    }

    fn measure(&self, name: &str, unit: Unit, run: impl FnMut()) {
        if self.wants(name) {
            print(name, unit, median(run), SAMPLES);
        }
    }

    fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }
}

/// As `TransactionPaymentApi` has it.
#[derive(Decode)]
struct Info {
    weight: (codec::Compact<u64>, codec::Compact<u64>),
    _class: u8,
    _fee: Balance,
}

#[derive(Clone, Copy)]
enum Unit {
    Micros,
    Millis,
}

fn median(mut run: impl FnMut()) -> Duration {
    // The first compiles the module.
    run();
    let mut times: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[SAMPLES / 2]
}

fn print(name: &str, unit: Unit, value: Duration, n: usize) {
    let (value, unit) = match unit {
        Unit::Micros => (value.as_secs_f64() * 1e6, "us"),
        Unit::Millis => (value.as_secs_f64() * 1e3, "ms"),
    };
    println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}","n":{n}}}"#);
}

fn submit(wasm: &mut Wasm, nonce: u32, scenario: &Scenario) {
    let collateral = scenario.collateral();
    apply(wasm, nonce, &Call::register_tcb_info(&collateral.tcb_info));
    apply(wasm, nonce + 1, &Call::register_quoting_enclave(&collateral.qe_identity));
    apply(wasm, nonce + 2, &Call::register_crls(&crls(scenario), &scenario.authority.pck_ca_chain(scenario.issuer)));
}

fn apply(wasm: &mut Wasm, nonce: u32, call: &Call) {
    wasm.apply(&extrinsic(Bob, nonce, call)).expect("valid").expect("takes effect");
}

fn crls(scenario: &Scenario) -> Vec<Vec<u8>> {
    let collateral = scenario.collateral();
    collateral.root_crl.into_iter().chain(collateral.pck_crl.map(|list| list.crl)).collect()
}

/// Newer collateral of the same platform that is as large as layer one takes: its level is the last of as many as fit, with
/// as many advisories as a record has room for, and its issuer and the root have revoked thousands of others.
fn largest() -> Scenario {
    let mut scenario = Scenario::sgx(&Authority::development());
    let tcb_info = &mut scenario.tcb_info;
    tcb_info.issue_date += 1_000;
    tcb_info.tcb_levels[0].advisory_ids = Some((0..64).map(|number| format!("INTEL-SA-{number:05}")).collect());
    let levels = (1..=LEVELS).map(|number: u64| {
        let mut level = tcb_info.tcb_levels[0].clone();
        level.tcb.pce_svn = 10_000 - number;
        level.advisory_ids = None;
        level
    });
    tcb_info.tcb_levels = levels.chain(tcb_info.tcb_levels.clone()).collect();
    for list in [&mut scenario.pck_crl, &mut scenario.root_crl] {
        let list = list.as_mut().expect("there is one");
        list.this_update += 1_000;
        list.extensions[0] = Crl::number(2);
        list.revoked = (0..6_000u64).map(|number| [&[1][..], &[0; 11], &number.to_be_bytes()].concat()).collect();
    }
    let bytes = scenario.tcb_info.body().len();
    assert!((Collateral::MAX_DOCUMENT_BYTES * 9 / 10..=Collateral::MAX_DOCUMENT_BYTES).contains(&bytes), "{bytes}");
    scenario
}

/// Levels of the largest TCB info.
const LEVELS: u64 = 220;
/// Measurements a figure.
const SAMPLES: usize = 51;
