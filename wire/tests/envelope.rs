//! Envelopes open for what they were made for and for nothing else.

use cloister_wire::{
    H256, ShardId,
    envelope::{self, Context, Error, MAGIC, OVERHEAD, Purpose, SecretKey},
};
use proptest::prelude::*;

const EPOCH: u32 = 7;

fn context() -> Context {
    Context { genesis: H256::repeat_byte(0x11), shard: ShardId(H256::repeat_byte(0x22)), purpose: Purpose::Request }
}

fn secret() -> SecretKey {
    SecretKey::from_bytes(core::array::from_fn(|index| index as u8))
}

fn sealed(plaintext: &[u8]) -> Vec<u8> {
    envelope::seal(&context(), EPOCH, &secret().public().unwrap(), plaintext).unwrap()
}

fn open(envelope: &[u8]) -> Result<Vec<u8>, Error> {
    envelope::open(&context(), &secret(), envelope).map(|plaintext| plaintext.to_vec())
}

/// Made by an independent implementation of RFC 9180 with the ephemeral secret `33..33`.
#[test]
fn frozen_envelopes_open() {
    assert_eq!(
        hex::encode(secret().public().unwrap()),
        "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
    );
    let prefix = "434c4801070000007b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14\
                  49309d504f4948e1796f3e0029b4a3b78a443c401b";
    for (purpose, tag) in [
        (Purpose::Request, "f351c1b2388cb29d6041123fa8a6fe16"),
        (Purpose::Beneficiary, "4cf7c1497f6d42e8a2f8bf4473e75bb9"),
    ] {
        let envelope = hex::decode(format!("{prefix}{tag}")).unwrap();
        assert_eq!(envelope::epoch(&envelope), Some(EPOCH));
        let opened = envelope::open(&Context { purpose, ..context() }, &secret(), &envelope).unwrap();
        assert_eq!(opened.as_slice(), b"frozen since format 1");
    }
}

#[test]
fn an_empty_plaintext_has_an_envelope() {
    let envelope = sealed(b"");
    assert_eq!(envelope.len(), OVERHEAD);
    assert!(envelope.starts_with(&MAGIC));
    assert_eq!(open(&envelope), Ok(vec![]));
}

#[test]
fn another_context_does_not_open() {
    let envelope = sealed(b"secret");
    for other in [
        Context { genesis: H256::repeat_byte(0x12), ..context() },
        Context { shard: ShardId(H256::repeat_byte(0x23)), ..context() },
        Context { purpose: Purpose::Beneficiary, ..context() },
    ] {
        assert_eq!(envelope::open(&other, &secret(), &envelope).unwrap_err(), Error::DoesNotOpen);
    }
}

#[test]
fn another_epoch_does_not_open() {
    let mut envelope = sealed(b"secret");
    envelope[4..8].copy_from_slice(&(EPOCH + 1).to_le_bytes());
    assert_eq!(envelope::epoch(&envelope), Some(EPOCH + 1));
    assert_eq!(open(&envelope), Err(Error::DoesNotOpen));
}

#[test]
fn another_key_does_not_open() {
    let other = SecretKey::from_bytes([1; 32]);
    assert_eq!(envelope::open(&context(), &other, &sealed(b"secret")).unwrap_err(), Error::DoesNotOpen);
}

#[test]
fn what_lacks_the_magic_has_no_epoch_and_does_not_open() {
    let mut envelope = sealed(b"secret");
    envelope[3] = 2;
    assert_eq!(envelope::epoch(&envelope), None);
    assert_eq!(open(&envelope), Err(Error::DoesNotOpen));
    assert_eq!(envelope::epoch(&MAGIC), None);
}

#[test]
fn keys_of_small_order_are_refused_on_both_sides() {
    assert_eq!(envelope::seal(&context(), EPOCH, &[0; 32], b"secret"), Err(Error::InvalidRecipient));
    let mut envelope = sealed(b"secret");
    envelope[8..40].fill(0);
    assert_eq!(open(&envelope), Err(Error::DoesNotOpen));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn opens_to_what_was_sealed(plaintext in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let envelope = sealed(&plaintext);
        prop_assert_eq!(envelope.len(), plaintext.len() + OVERHEAD);
        prop_assert_eq!(open(&envelope), Ok(plaintext));
    }

    #[test]
    fn two_envelopes_of_one_plaintext_differ(plaintext in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_ne!(sealed(&plaintext), sealed(&plaintext));
    }

    #[test]
    fn a_truncated_envelope_does_not_open(cut in 0usize..OVERHEAD + 40) {
        prop_assert_eq!(open(&sealed(&[5; 40])[..cut]), Err(Error::DoesNotOpen));
    }

    #[test]
    fn an_extended_envelope_does_not_open(tail in proptest::collection::vec(any::<u8>(), 1..40)) {
        prop_assert_eq!(open(&[sealed(&[5; 40]), tail].concat()), Err(Error::DoesNotOpen));
    }

    #[test]
    fn junk_does_not_open(junk in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(open(&junk), Err(Error::DoesNotOpen));
        prop_assert_eq!(open(&[&MAGIC[..], &junk].concat()), Err(Error::DoesNotOpen));
    }
}

/// All of them: the top bit of the encapsulated key, which X25519 ignores, counts too.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let envelope = sealed(&[5; 8]);
    for bit in 0..envelope.len() * 8 {
        let mut flipped = envelope.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&flipped), Err(Error::DoesNotOpen), "bit {bit}");
    }
}
