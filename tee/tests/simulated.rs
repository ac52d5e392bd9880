//! The simulated environment takes the same road as hardware, and says what it is.

use cloister_attestation::{Error as NotGenuine, Policy, Refusal, Roots, Stance, TcbStatus, TeeKind, verify};
use cloister_chain_primitives::{
    H256,
    config::{Checkpoint, MeasuredConfig},
};
use cloister_tee::{
    Backend, Error, Purpose, Tee, seal,
    sim::{Simulated, with_fingerprint},
    unseal,
};
use codec::Encode;
use sha2::{Digest, Sha256};

/// 2026-01-01.
const AT: u64 = 1_767_225_600_000;
const REPORT_DATA: [u8; 64] = [6; 64];

fn config(slot_ms: u32) -> MeasuredConfig {
    MeasuredConfig {
        genesis: H256::repeat_byte(1),
        checkpoint: Checkpoint { number: 0, hash: H256::repeat_byte(1), set_id: 0, authorities: vec![([2; 32], 1)] },
        simulation_allowed: true,
        unbound_getters_allowed: true,
        slot_ms,
        min_upgrade_delay: 10,
    }
}

fn open(config: &MeasuredConfig) -> Tee {
    Simulated.open(&config.encode()).unwrap()
}

/// What is measured: another order or another field is another fingerprint.
#[test]
fn the_configurations_encoding_is_frozen() {
    let [genesis, key] = [1, 2].map(|byte| hex::encode([byte; 32]));
    let authorities = format!("04{key}0100000000000000");
    let before = format!("{genesis}00000000{genesis}0000000000000000{authorities}01");
    let after = "2c0100000a000000";
    assert_eq!(hex::encode(config(300).encode()), format!("{before}01{after}"));
    let strict = MeasuredConfig { unbound_getters_allowed: false, ..config(300) };
    assert_eq!(hex::encode(strict.encode()), format!("{before}00{after}"));
    assert_ne!(open(&strict).attester.fingerprint(), open(&config(300)).attester.fingerprint());
}

#[test]
fn its_evidence_verifies_with_its_own_collateral_as_simulated() {
    let tee = with_fingerprint([5; 32]);
    let evidence = tee.attester.evidence(&REPORT_DATA).unwrap();
    let collateral = tee.attester.collateral().unwrap().unwrap();
    let verified = verify(&evidence, &collateral, &Roots::intel_and_development(), AT).unwrap();
    assert_eq!((verified.kind, tee.attester.kind()), (TeeKind::Simulated, TeeKind::Simulated));
    assert_eq!((verified.fingerprint, tee.attester.fingerprint()), ([5; 32], [5; 32]));
    assert_eq!(verified.report_data, REPORT_DATA);
    assert_eq!(verified.tcb_status, TcbStatus::UpToDate);
    assert!(verified.revocation_checked && !verified.debug && verified.advisories.is_empty());

    assert_eq!(Policy::default().appraise(&verified, AT), Err(Refusal::Simulated));
    let with_simulation = Policy { simulation: Stance::Allowed, ..Policy::default() };
    assert_eq!(with_simulation.appraise(&verified, AT), Ok(()));
    // Whoever pins Intel's root only does not even call it genuine.
    assert_eq!(verify(&evidence, &collateral, &Roots::intel(), AT), Err(NotGenuine::RootUnknown));
}

#[test]
fn every_start_has_the_same_collateral_and_each_account_its_platform() {
    let verified = |report_data: [u8; 64]| {
        let tee = with_fingerprint([5; 32]);
        let collateral = tee.attester.collateral().unwrap().unwrap();
        let evidence = tee.attester.evidence(&report_data).unwrap();
        verify(&evidence, &collateral, &Roots::intel_and_development(), AT).unwrap()
    };
    let collateral = |fingerprint| with_fingerprint(fingerprint).attester.collateral().unwrap();
    assert_eq!(collateral([5; 32]), collateral([9; 32]));
    let mut later = REPORT_DATA;
    later[63] ^= 1;
    let mut another = REPORT_DATA;
    another[0] ^= 1;
    assert_eq!(verified(REPORT_DATA).platform_id_hash, verified(later).platform_id_hash);
    assert_ne!(verified(REPORT_DATA).platform_id_hash, verified(another).platform_id_hash);
}

#[test]
fn its_fingerprint_is_of_binary_and_configuration() {
    let binary = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let config = config(300);
    let declared = config.simulated_measurement(&Sha256::digest(binary).into());
    assert_eq!(open(&config).attester.fingerprint(), declared);
    assert_eq!(Simulated.open(&[1, 2, 3]).err(), Some(Error::MalformedConfig));
}

#[test]
fn it_seals_for_the_same_binary_and_configuration_only() {
    let genesis = config(300).genesis;
    let sealed = seal(&open(&config(300)), &genesis, Purpose::Identity, b"secret").unwrap();
    assert_eq!(unseal(&open(&config(300)), &genesis, Purpose::Identity, &sealed).unwrap().as_slice(), b"secret");
    let other = unseal(&open(&config(301)), &genesis, Purpose::Identity, &sealed);
    assert_eq!(other.unwrap_err(), Error::DoesNotOpen);
}
