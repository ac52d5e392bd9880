//! The sealed identity opens where it was made, with the same keys, and nowhere else.

use std::sync::OnceLock;

use cloister_chain_primitives::AccountId;
use cloister_claims::{Collateral, Evidence, TeeKind};
use cloister_tee::{Attester, OsEntropy, Sealer};
use sp_core::{Pair, ed25519};

use super::*;

const GENESIS: H256 = H256::repeat_byte(7);

/// An environment whose sealing keys follow from its fingerprint.
fn tee(fingerprint: u8) -> Tee {
    let fixed = || Box::new(Fixed([fingerprint; 32]));
    Tee { attester: fixed(), sealer: fixed(), entropy: Box::new(OsEntropy) }
}

struct Fixed([u8; 32]);

impl Attester for Fixed {
    fn kind(&self) -> TeeKind {
        TeeKind::Sgx
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.0
    }

    fn evidence(&self, _: &[u8; 64]) -> Result<Evidence, cloister_tee::Error> {
        Err(cloister_tee::Error::Evidence("none".into()))
    }

    fn collateral(&self) -> Result<Option<Collateral>, cloister_tee::Error> {
        Ok(None)
    }
}

impl Sealer for Fixed {
    fn sealing_key(&self, _: Purpose) -> Result<Zeroizing<[u8; 32]>, cloister_tee::Error> {
        Ok(Zeroizing::new(self.0))
    }
}

/// One for all tests, because drawing it is slow.
fn identity() -> &'static SealedIdentity {
    static IDENTITY: OnceLock<SealedIdentity> = OnceLock::new();
    IDENTITY.get_or_init(|| SealedIdentity::draw(&tee(1)).unwrap())
}

fn refusal(tee: &Tee, genesis: &H256, sealed: &[u8]) -> Error {
    SealedIdentity::unseal(tee, genesis, sealed).err().unwrap()
}

/// Version 1: a key of tests, and no other.
fn version_1() -> Vec<u8> {
    [&[1][..], &[7; 32], &[0; 4], &[9; 32], include_bytes!("test-rsa-key.der")].concat()
}

/// The same with the state secret that version 2 has.
fn version_2() -> Vec<u8> {
    [&[2][..], &[7; 32], &[5; 32], &[0; 4], &[9; 32], include_bytes!("test-rsa-key.der")].concat()
}

#[test]
fn the_next_start_has_the_same_keys() {
    let sealed = identity().seal(&tee(1), &GENESIS).unwrap();
    let again = SealedIdentity::unseal(&tee(1), &GENESIS, &sealed).unwrap();
    assert_eq!(again.account.account(), identity().account.account());
    assert_eq!(again.shielding.public(), identity().shielding.public());
    assert_eq!(again.state_secret.to_bytes(), identity().state_secret.to_bytes());
    assert!(identity().must_be_kept && !again.must_be_kept);
    assert_ne!(again.seal(&tee(1), &GENESIS).unwrap(), sealed, "fresh randomness");
}

#[test]
fn two_drawn_identities_differ() {
    let other = SealedIdentity::draw(&tee(1)).unwrap();
    assert_ne!(other.account.account(), identity().account.account());
    assert_ne!(other.shielding.public(), identity().shielding.public());
    assert_ne!(other.state_secret.to_bytes(), identity().state_secret.to_bytes());
}

#[test]
fn other_code_another_chain_and_altered_bytes_do_not_open() {
    let mut sealed = identity().seal(&tee(1), &GENESIS).unwrap();
    let does_not_open = Error::Tee(cloister_tee::Error::DoesNotOpen);
    assert_eq!(refusal(&tee(2), &GENESIS, &sealed), does_not_open);
    assert_eq!(refusal(&tee(1), &H256::zero(), &sealed), does_not_open);
    *sealed.last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&tee(1), &GENESIS, &sealed), does_not_open);
    assert_eq!(refusal(&tee(1), &GENESIS, &[]), does_not_open);
    assert_eq!(refusal(&tee(1), &GENESIS, &vec![0; MAX_SEALED_BYTES + 1]), Error::TooLarge);
}

#[test]
fn the_plaintext_is_frozen() {
    let opened = SealedIdentity::from_bytes(&version_2()).unwrap();
    assert_eq!(opened.account.account(), AccountId::new(ed25519::Pair::from_seed(&[7; 32]).public().0));
    let public = opened.shielding.public();
    assert_eq!(
        (public.epoch, public.hpke),
        (0, cloister_wire::envelope::SecretKey::from_bytes([9; 32]).public().unwrap())
    );
    assert_eq!(*opened.state_secret.to_bytes(), [5; 32]);
    assert!(!opened.must_be_kept);
    assert_eq!(opened.to_bytes().as_slice(), version_2());
}

#[test]
fn what_the_version_before_sealed_opens_and_gets_a_state_secret() {
    let sealed = cloister_tee::seal(&tee(1), &GENESIS, Purpose::Identity, &version_1()).unwrap();
    let [first, second] = [(); 2].map(|()| SealedIdentity::unseal(&tee(1), &GENESIS, &sealed).unwrap());
    assert!(first.must_be_kept);
    assert_ne!(first.state_secret.to_bytes(), second.state_secret.to_bytes(), "drawn");
    let mut expected = version_2();
    expected[33..65].copy_from_slice(first.state_secret.to_bytes().as_slice());
    assert_eq!(first.to_bytes().as_slice(), expected);
}

#[test]
fn malformed_plaintexts_are_refused() {
    let good = version_2();
    let mut newer = good.clone();
    newer[0] = 3;
    let keys = Error::Keys(cloister_keys::Error::PrivateKeyEncoding);
    for (bytes, error) in [
        (vec![], Error::Malformed),
        (newer, Error::UnknownVersion),
        (good[..32].to_vec(), Error::Malformed),
        (good[..64].to_vec(), Error::Malformed),
        (good[..72].to_vec(), keys.clone()),
        (good[..good.len() - 1].to_vec(), keys.clone()),
        ([&good[..], &[0]].concat(), keys.clone()),
        (version_1()[..40].to_vec(), keys),
    ] {
        let sealed = cloister_tee::seal(&tee(1), &GENESIS, Purpose::Identity, &bytes).unwrap();
        assert_eq!(refusal(&tee(1), &GENESIS, &sealed), error);
    }
}
