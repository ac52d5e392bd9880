//! Sealed bytes: they open for what they were made for, and for nothing else.

use cloister_chain_primitives::H256;
use cloister_claims::{Collateral, Evidence, TeeKind};
use cloister_tee::{
    Attester, Backend, Entropy, Error, Hardware, OsEntropy, Purpose, SEALED_OVERHEAD, Sealer, Tee, seal, unseal,
};
use zeroize::Zeroizing;

const GENESIS: H256 = H256::repeat_byte(7);

/// An environment of this fingerprint whose sealing keys follow from it, as those of SGX do.
fn environment(fingerprint: u8) -> Tee {
    with_entropy(fingerprint, Box::new(OsEntropy))
}

fn with_entropy(fingerprint: u8, entropy: Box<dyn Entropy>) -> Tee {
    Tee { attester: Box::new(Fixed([fingerprint; 32])), sealer: Box::new(Fixed([fingerprint; 32])), entropy }
}

struct Fixed([u8; 32]);

impl Attester for Fixed {
    fn kind(&self) -> TeeKind {
        TeeKind::Sgx
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.0
    }

    fn evidence(&self, _: &[u8; 64]) -> Result<Evidence, Error> {
        Err(Error::Evidence("none".into()))
    }

    fn collateral(&self) -> Result<Option<Collateral>, Error> {
        Ok(None)
    }
}

impl Sealer for Fixed {
    fn sealing_key(&self, purpose: Purpose) -> Result<Zeroizing<[u8; 32]>, Error> {
        let mut key = self.0;
        key[0] = purpose.label()[0];
        Ok(Zeroizing::new(key))
    }
}

/// The same "random" bytes every time, for frozen bytes only.
struct Constant;

impl Entropy for Constant {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.fill(0x55);
        Ok(())
    }
}

struct Broken;

impl Entropy for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::Entropy)
    }
}

#[test]
fn what_is_sealed_opens_again() {
    let tee = environment(1);
    for plaintext in [&b""[..], b"secret", &[9; 10_000]] {
        let sealed = seal(&tee, &GENESIS, Purpose::Identity, plaintext).unwrap();
        assert_eq!(sealed.len(), plaintext.len() + SEALED_OVERHEAD);
        assert_eq!(unseal(&tee, &GENESIS, Purpose::Identity, &sealed).unwrap().as_slice(), plaintext);
        assert_eq!(unseal(&environment(1), &GENESIS, Purpose::Identity, &sealed).unwrap().as_slice(), plaintext);
    }
}

#[test]
fn every_altered_byte_and_every_truncation_is_noticed() {
    let tee = environment(1);
    let sealed = seal(&tee, &GENESIS, Purpose::Identity, b"secret").unwrap();
    let open = |bytes: &[u8]| unseal(&tee, &GENESIS, Purpose::Identity, bytes).map(|plaintext| plaintext.to_vec());
    for index in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[index] ^= 1 << bit;
            assert_eq!(open(&altered), Err(Error::DoesNotOpen), "bit {bit} of byte {index}");
        }
        assert_eq!(open(&sealed[..index]), Err(Error::DoesNotOpen), "the first {index} bytes");
    }
    assert_eq!(open(&[&sealed[..], &[0]].concat()), Err(Error::DoesNotOpen));
    assert!(open(&sealed).is_ok());
}

#[test]
fn other_code_chain_or_purpose_does_not_open() {
    let sealed = seal(&environment(1), &GENESIS, Purpose::Identity, b"secret").unwrap();
    for (tee, genesis, purpose) in [
        (environment(2), GENESIS, Purpose::Identity),
        (environment(1), H256::zero(), Purpose::Identity),
        (environment(1), GENESIS, Purpose::State),
    ] {
        assert_eq!(unseal(&tee, &genesis, purpose, &sealed).unwrap_err(), Error::DoesNotOpen);
    }
}

#[test]
fn every_sealing_has_fresh_randomness() {
    let tee = environment(1);
    let sealed = || seal(&tee, &GENESIS, Purpose::Identity, b"secret").unwrap();
    let (first, second) = (sealed(), sealed());
    assert_ne!(first[4..36], second[4..36]);
    assert!(!first[36..].iter().zip(&second[36..]).all(|(one, other)| one == other));
    let broken = with_entropy(1, Box::new(Broken));
    assert_eq!(seal(&broken, &GENESIS, Purpose::Identity, b"secret").unwrap_err(), Error::Entropy);
}

#[test]
fn version_1_is_frozen() {
    let tee = with_entropy(1, Box::new(Constant));
    let sealed = seal(&tee, &GENESIS, Purpose::Identity, b"what was sealed must open in later releases").unwrap();
    assert_eq!(hex::encode(&sealed), VERSION_1);
    let opened = unseal(&environment(1), &GENESIS, Purpose::Identity, &hex::decode(VERSION_1).unwrap()).unwrap();
    assert_eq!(opened.as_slice(), b"what was sealed must open in later releases");
}

#[test]
fn without_hardware_the_backend_says_what_it_looked_for() {
    let Err(Error::NoTee(devices)) = Hardware.open(&[]) else { panic!("a backend for hardware that is not built") };
    assert_eq!(devices.len(), 4);
    let message = Error::NoTee(devices).to_string();
    assert!(message.contains("/dev/attestation/quote") && message.contains("/dev/tdx_guest"), "{message}");
}

const VERSION_1: &str = "434c53015555555555555555555555555555555555555555555555555555555555555555cd5442036a8271cb009052fbca7a04e9b51d483cea9c22c29beae309bcfcf9ead3a577067883fc951b9646309f88d8638d5501124615d11bbcfed9";
