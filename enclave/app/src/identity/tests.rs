//! The sealed identity opens where it was made, with the same keys, and nowhere else.

use std::sync::OnceLock;

use cloister_chain_primitives::AccountId;
use cloister_claims::{Collateral, Evidence, TeeKind};
use cloister_tee::{Attester, Entropy, OsEntropy, Sealer};
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

/// An environment without randomness.
struct Starved;

impl Entropy for Starved {
    fn fill(&self, _: &mut [u8]) -> Result<(), cloister_tee::Error> {
        Err(cloister_tee::Error::Entropy)
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

/// The plaintext, with a key of tests, and no other.
fn plaintext() -> Vec<u8> {
    [&[2][..], &[7; 32], &[5; 32], &[0; 4], &[9; 32], include_bytes!("test-rsa-key.der")].concat()
}

/// Version 1, which had no state secret.
fn version_1() -> Vec<u8> {
    [&[1][..], &[7; 32], &[0; 4], &[9; 32], include_bytes!("test-rsa-key.der")].concat()
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
    let opened = SealedIdentity::from_bytes(&plaintext()).unwrap();
    assert_eq!(opened.account.account(), AccountId::new(ed25519::Pair::from_seed(&[7; 32]).public().0));
    let public = opened.shielding.public();
    assert_eq!(
        (public.epoch, public.hpke),
        (0, cloister_wire::envelope::SecretKey::from_bytes([9; 32]).public().unwrap())
    );
    assert_eq!(*opened.state_secret.to_bytes(), [5; 32]);
    assert!(!opened.must_be_kept);
    assert_eq!(opened.to_bytes().as_slice(), plaintext());
}

/// A downgrade: sealed by an enclave of the same code and platform or not, no other version is read.
#[test]
fn other_versions_are_refused() {
    let with_version = |version: u8| [&[version], &plaintext()[1..]].concat();
    for plaintext in [version_1(), with_version(0), with_version(1), with_version(3), with_version(255), vec![1]] {
        let sealed = cloister_tee::seal(&tee(1), &GENESIS, Purpose::Identity, &plaintext).unwrap();
        assert_eq!(refusal(&tee(1), &GENESIS, &sealed), Error::UnknownVersion);
    }
}

#[test]
fn without_randomness_there_is_no_identity() {
    let starved = Tee { entropy: Box::new(Starved), ..tee(1) };
    let no_entropy = Error::Tee(cloister_tee::Error::Entropy);
    assert_eq!(SealedIdentity::draw(&starved).err().unwrap(), no_entropy);
    // One that was sealed opens, and is not sealed again with what nobody drew.
    let sealed = identity().seal(&tee(1), &GENESIS).unwrap();
    let opened = SealedIdentity::unseal(&starved, &GENESIS, &sealed).unwrap();
    assert_eq!(opened.seal(&starved, &GENESIS).unwrap_err(), no_entropy);
}

#[test]
fn malformed_plaintexts_are_refused() {
    let good = plaintext();
    let keys = Error::Keys(cloister_keys::Error::PrivateKeyEncoding);
    for (bytes, error) in [
        (vec![], Error::Malformed),
        (good[..32].to_vec(), Error::Malformed),
        (good[..64].to_vec(), Error::Malformed),
        (good[..72].to_vec(), keys.clone()),
        (good[..good.len() - 1].to_vec(), keys.clone()),
        ([&good[..], &[0]].concat(), keys),
    ] {
        let sealed = cloister_tee::seal(&tee(1), &GENESIS, Purpose::Identity, &bytes).unwrap();
        assert_eq!(refusal(&tee(1), &GENESIS, &sealed), error);
    }
}
