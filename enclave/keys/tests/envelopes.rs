//! Enclaves open envelopes with another library than the one with which clients seal them. Both agree on every byte.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use cloister_keys::{Error, ShieldingKeyPair};
use cloister_wire::{
    H256, ShardId,
    envelope::{self, Context, OVERHEAD, Purpose, SecretKey},
};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305,
    hpke::{Hpke, HpkePublicKey},
};

/// Of `docs/wire-vectors.json`.
const EPOCH: u32 = 7;

static VECTORS: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wire-vectors.json");
    let entries: BTreeMap<String, String> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    entries.into_iter().map(|(name, hex)| (name, hex::decode(hex.strip_prefix("0x").unwrap()).unwrap())).collect()
});

static SECRET: LazyLock<[u8; 32]> = LazyLock::new(|| VECTORS["hpke.secret"].clone().try_into().unwrap());

/// Keys with the documented secret. Nobody encrypts to the RSA key.
static PAIR: LazyLock<ShieldingKeyPair> = LazyLock::new(|| {
    let drawn = ShieldingKeyPair::draw(EPOCH).unwrap().to_bytes();
    let (rsa_at, epoch) = (4 + SECRET.len(), EPOCH.to_le_bytes());
    ShieldingKeyPair::from_bytes(&[&epoch, SECRET.as_slice(), &drawn[rsa_at..]].concat()).unwrap()
});

fn context() -> Context {
    let of = |name: &str| H256::from_slice(&VECTORS[name]);
    Context { genesis: of("genesis"), shard: ShardId(of("shard")), purpose: Purpose::Request }
}

fn sealed(plaintext: &[u8]) -> Vec<u8> {
    envelope::seal(&context(), EPOCH, &PAIR.public().hpke, plaintext).unwrap()
}

/// What both libraries make of an envelope; whatever it is, it is the same.
fn open(context: &Context, bytes: &[u8]) -> Option<Vec<u8>> {
    let ours = PAIR.open_envelope(context, bytes);
    let theirs = envelope::open(context, &SecretKey::from_bytes(*SECRET), bytes);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(ours), Err(theirs)) => assert_eq!((*ours, *theirs), (Error::DoesNotOpen, envelope::Error::DoesNotOpen)),
        differ => panic!("{differ:?}"),
    }
    ours.ok().map(|plaintext| plaintext.to_vec())
}

#[test]
fn the_documented_envelopes_open() {
    assert_eq!(PAIR.public().hpke.as_slice(), VECTORS["hpke.public"]);
    for (purpose, envelope, plaintext) in [
        (Purpose::Request, "envelope.request", "operation.bound.direct"),
        (Purpose::Beneficiary, "envelope.beneficiary", "sender.public"),
    ] {
        let opened = open(&Context { purpose, ..context() }, &VECTORS[envelope]);
        assert_eq!(opened.as_ref(), Some(&VECTORS[plaintext]), "{envelope}");
    }
}

#[test]
fn each_library_opens_what_the_other_seals() {
    let suite = DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305;
    let public = HpkePublicKey(PAIR.public().hpke.to_vec());
    let (info, associated_data) = (context().info(EPOCH), context().associated_data());
    for length in [0, 1, 15, 16, 17, 300, 5_000, 16_384 - OVERHEAD] {
        let plaintext: Vec<u8> = (0..length).map(|place| place as u8).collect();
        assert_eq!(open(&context(), &sealed(&plaintext)).as_ref(), Some(&plaintext), "{length}");
        let (encapsulated, ciphertext) = suite.seal(&info, &associated_data, &plaintext, &public).unwrap();
        let envelope = [&envelope::MAGIC[..], &EPOCH.to_le_bytes(), &encapsulated.0, &ciphertext].concat();
        assert_eq!(open(&context(), &envelope), Some(plaintext), "{length}");
    }
}

#[test]
fn what_is_bound_into_an_envelope_counts() {
    let envelope = sealed(b"secret");
    for other in [
        Context { genesis: H256::zero(), ..context() },
        Context { shard: ShardId(H256::zero()), ..context() },
        Context { purpose: Purpose::Beneficiary, ..context() },
    ] {
        assert_eq!(open(&other, &envelope), None);
    }
    let drawn = ShieldingKeyPair::draw(EPOCH).unwrap();
    assert_eq!(drawn.open_envelope(&context(), &envelope).unwrap_err(), Error::DoesNotOpen, "another key");
}

/// All bits and all lengths: the top bit of the encapsulated key, which X25519 ignores, counts too.
#[test]
fn neither_library_opens_what_is_altered_cut_or_extended() {
    let envelope = sealed(&[5; 8]);
    for bit in 0..envelope.len() * 8 {
        let mut flipped = envelope.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&context(), &flipped), None, "bit {bit}");
    }
    for length in 0..envelope.len() {
        assert_eq!(open(&context(), &envelope[..length]), None, "{length} bytes");
    }
    for more in [1, 16, 384] {
        assert_eq!(open(&context(), &[&envelope[..], &vec![0; more]].concat()), None, "{more} bytes more");
    }
}

/// Points of low order (<https://cr.yp.to/ecdh.html#validate>), in all their encodings: the secret that they give is known to everybody.
#[test]
fn neither_library_opens_with_a_point_of_low_order() {
    let envelope = sealed(&[5; 8]);
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        for top_bit in [0, 0x80] {
            let mut envelope = envelope.clone();
            envelope[8..40].copy_from_slice(&hex::decode(point).unwrap());
            envelope[39] |= top_bit;
            assert_eq!(open(&context(), &envelope), None, "{point} {top_bit}");
        }
    }
}
