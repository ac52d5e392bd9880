//! `docs/wire-vectors.json`, by which clients in other languages check themselves: every vector follows from the fixed
//! keys, decodes, verifies and opens. `WRITE_WIRE_VECTORS=1` writes the file anew.

use std::{collections::BTreeMap, path::PathBuf};

use cloister_chain_primitives::domain;
use cloister_wire::{
    AccountId, BoundCall, BoundCallSigned, BoundGetter, BoundGetterSigned, Getter, H256, Outcome, PublicGetter,
    Request, RpcReturnValue, ShardId, SignatureScope, SignedAnswer, TrustedCall, TrustedCallSigned, TrustedGetter,
    TrustedGetterSigned, TrustedOperation,
    envelope::{self, Context, Purpose, SecretKey},
    shielding_key::PublishedShieldingKey,
    verify_signature,
};
use codec::{Decode, DecodeAll, Encode};
use hpke::{
    Deserializable, Kem, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256,
    single_shot_seal,
};
use num_bigint::BigUint;
use rand_core::{CryptoRng, RngCore};
use sp_core::{Pair, ed25519};
use sp_crypto_hashing::sha2_256;
use sp_runtime::MultiSignature;

const GENESIS: H256 = H256::repeat_byte(0x11);
const SHARD: ShardId = ShardId(H256::repeat_byte(0x22));
const MRENCLAVE: [u8; 32] = [0x33; 32];
const SCOPE: SignatureScope = SignatureScope { mrenclave: MRENCLAVE, shard: SHARD };
const EPOCH: u32 = 7;
/// Seeds of the sender (ed25519), of the incarnation, and the X25519 secret of the shard.
const SENDER: [u8; 32] = [0x44; 32];
const INCARNATION: [u8; 32] = [0x55; 32];
const SHIELDING: [u8; 32] = [0x66; 32];
/// ikmE of RFC 9180: of it the ephemeral key pair is derived.
const EPHEMERAL: [u8; 32] = [0x77; 32];

/// PKCS#8 of the shard's RSA key.
const RSA_KEY: &str = include_str!("rsa_key.hex");
/// Bytes of its modulus, and of what is encrypted at a time.
const RSA_BLOCK: usize = 384;
const RSA_CHUNK: usize = 318;

fn rsa_key() -> Vec<u8> {
    hex::decode(RSA_KEY.split_whitespace().collect::<String>()).unwrap()
}

/// Modulus and private exponent, where a key of this size has them.
fn rsa_numbers() -> (BigUint, BigUint) {
    let key = rsa_key();
    (BigUint::from_bytes_be(&key[38..422]), BigUint::from_bytes_be(&key[431..815]))
}

/// RFC 8017, appendix B.2.1.
fn mgf1(seed: &[u8], length: usize) -> Vec<u8> {
    (0u32..).flat_map(|counter| sha2_256(&[seed, &counter.to_be_bytes()].concat())).take(length).collect()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

fn padded(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    [vec![0; RSA_BLOCK - bytes.len()], bytes].concat()
}

/// RSAES-OAEP of RFC 8017, section 7.1.1, with the seed that a client would draw.
fn rsa_encrypt(chunk: &[u8], seed: [u8; 32]) -> Vec<u8> {
    let zeros = vec![0; RSA_BLOCK - chunk.len() - 2 * 32 - 2];
    let block = [&sha2_256(b"")[..], &zeros, &[1], chunk].concat();
    let block = xor(&block, &mgf1(&seed, block.len()));
    let seed = xor(&seed, &mgf1(&block, 32));
    let number = BigUint::from_bytes_be(&[&seed[..], &block].concat());
    padded(&number.modpow(&65_537u32.into(), &rsa_numbers().0))
}

/// The other way, for blocks that are right.
fn rsa_decrypt(block: &[u8]) -> Vec<u8> {
    let (modulus, exponent) = rsa_numbers();
    let plain = padded(&BigUint::from_bytes_be(block).modpow(&exponent, &modulus));
    let (seed, block) = plain[1..].split_at(32);
    let seed = xor(seed, &mgf1(block, 32));
    let block = xor(block, &mgf1(&seed, block.len()));
    let (hash, rest) = block.split_at(32);
    assert_eq!((plain[0], hash), (0, &sha2_256(b"")[..]));
    let end = rest.iter().position(|byte| *byte == 1).unwrap();
    assert!(rest[..end].iter().all(|byte| *byte == 0));
    rest[end + 1..].to_vec()
}

/// Every block under the same seed, which no client may do.
fn rsa_seal(plaintext: &[u8]) -> Vec<u8> {
    plaintext.chunks(RSA_CHUNK).flat_map(|chunk| rsa_encrypt(chunk, EPHEMERAL)).collect()
}

/// A block that begins with a zero, which is not sent.
fn rsa_stripped(chunk: &[u8]) -> Vec<u8> {
    let seeds = (0u16..).map(|count| std::array::from_fn(|at| count.to_be_bytes()[at % 2]));
    let block = seeds.map(|seed| rsa_encrypt(chunk, seed)).find(|block| block[0] == 0).unwrap();
    block.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Gives the ephemeral key's material and nothing else.
struct Fixed;

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        unreachable!("only bytes are drawn")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("only bytes are drawn")
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), EPHEMERAL.len(), "ikmE, once");
        bytes.copy_from_slice(&EPHEMERAL);
    }
}

impl CryptoRng for Fixed {}

fn sender() -> AccountId {
    AccountId::new(ed25519::Pair::from_seed(&SENDER).public().0)
}

fn sign(message: &[u8]) -> MultiSignature {
    MultiSignature::Ed25519(ed25519::Pair::from_seed(&SENDER).sign(message))
}

fn info(epoch: u32) -> Vec<u8> {
    domain::message("envelope", &GENESIS, &[SHARD.as_ref(), &epoch.to_le_bytes()])
}

fn associated_data(purpose: &str) -> Vec<u8> {
    domain::message("envelope-purpose", &GENESIS, &[SHARD.as_ref(), purpose.as_bytes()])
}

fn seal(purpose: &str, plaintext: &[u8]) -> Vec<u8> {
    let public = SecretKey::from_bytes(SHIELDING).public().unwrap();
    let recipient = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public).unwrap();
    let (encapsulated, cyphertext) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
        &OpModeS::Base,
        &recipient,
        &info(EPOCH),
        plaintext,
        &associated_data(purpose),
        &mut Fixed,
    )
    .unwrap();
    [&envelope::MAGIC[..], &EPOCH.to_le_bytes(), &encapsulated.to_bytes(), &cyphertext].concat()
}

fn call() -> TrustedCall {
    TrustedCall::BalanceTransfer(sender(), AccountId::new([0x88; 32]), 1_000_000_000_000)
}

fn published() -> TrustedCallSigned {
    TrustedCallSigned { call: call(), nonce: 5, signature: sign(&SCOPE.call_bytes(&call(), 5)) }
}

/// More than fits into one block of RSA.
fn long() -> TrustedOperation {
    let call = TrustedCall::App(sender(), vec![0xcc; 300]);
    TrustedOperation::DirectCall(TrustedCallSigned { signature: sign(&SCOPE.call_bytes(&call, 5)), call, nonce: 5 })
}

fn bound() -> BoundCallSigned {
    let bound = BoundCall { call: call(), nonce: 5, last_block: 1_000 };
    BoundCallSigned { signature: sign(&bound.signed_bytes(&GENESIS, &SCOPE)), bound }
}

fn query() -> BoundGetterSigned {
    let query =
        BoundGetter { getter: TrustedGetter::FreeBalance(sender()), last_block: 1_000, client_nonce: [0x99; 16] };
    BoundGetterSigned { signature: sign(&query.signed_bytes(&GENESIS, &SHARD, &MRENCLAVE)), query }
}

fn answer() -> SignedAnswer {
    let mut answer = SignedAnswer {
        value: Some(1_000_000_000_000u128.encode()),
        request_hash: query().hash(),
        commitment: H256::repeat_byte(0xaa),
        block_number: 12,
        layer_one_number: 34,
        layer_one_head: H256::repeat_byte(0xbb),
        layer_one_time: 1_700_000_000_000,
        signature: [0; 64],
    };
    let incarnation = ed25519::Pair::from_seed(&INCARNATION);
    answer.signature = incarnation.sign(&answer.signed_bytes(&GENESIS, &SHARD)).0;
    answer
}

fn request(cyphertext: Vec<u8>) -> Request {
    Request { shard: SHARD, cyphertext: cyphertext.try_into().unwrap() }
}

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let direct = TrustedOperation::BoundCall(bound());
    let getter = TrustedGetter::FreeBalance(sender());
    let getter_signed = TrustedGetterSigned { signature: sign(&getter.encode()), getter: getter.clone() };
    let envelope = seal("request", &direct.encode());
    let mut wrapped = published();
    wrapped.signature = sign(&[b"<Bytes>", &SCOPE.call_bytes(&call(), 5)[..], b"</Bytes>"].concat());
    let hash = |operation: TrustedOperation| operation.hash().encode();
    let submitted =
        cloister_wire::DirectRequestStatus::TrustedOperationStatus(cloister_wire::TrustedOperationStatus::Submitted);
    let outcome = Outcome { block_number: 12, result: Err("insufficient balance".into()), outbox: None };
    let batch: Vec<Result<H256, String>> = vec![Ok(direct.hash()), Err("unknown shard".into())];
    BTreeMap::from([
        ("genesis", GENESIS.encode()),
        ("shard", SHARD.encode()),
        ("mrenclave", MRENCLAVE.to_vec()),
        ("sender.seed", SENDER.to_vec()),
        ("sender.public", sender().encode()),
        ("incarnation.seed", INCARNATION.to_vec()),
        ("incarnation.public", ed25519::Pair::from_seed(&INCARNATION).public().0.to_vec()),
        ("hpke.epoch", EPOCH.encode()),
        ("hpke.secret", SHIELDING.to_vec()),
        ("hpke.public", SecretKey::from_bytes(SHIELDING).public().unwrap().to_vec()),
        ("hpke.ephemeral_ikm", EPHEMERAL.to_vec()),
        ("domain.message", domain::message("role", &GENESIS, &[b"one", b""])),
        ("call.transfer", call().encode()),
        ("call.published.signed_bytes", SCOPE.call_bytes(&call(), 5)),
        ("call.published", published().encode()),
        ("call.published.wrapped", wrapped.encode()),
        ("operation.published.indirect", TrustedOperation::IndirectCall(published()).encode()),
        ("operation.published.direct", TrustedOperation::DirectCall(published()).encode()),
        ("operation.published.direct.hash", hash(TrustedOperation::DirectCall(published()))),
        ("call.bound.signed_bytes", bound().bound.signed_bytes(&GENESIS, &SCOPE)),
        ("call.bound", bound().encode()),
        ("operation.bound.direct", direct.encode()),
        ("operation.bound.direct.hash", hash(direct.clone())),
        ("operation.bound.indirect", TrustedOperation::IndirectBoundCall(bound()).encode()),
        ("operation.bound.indirect.hash", hash(TrustedOperation::IndirectBoundCall(bound()))),
        ("getter.public.inbox", Getter::Public(PublicGetter::Inbox).encode()),
        ("getter.published", Getter::Trusted(getter_signed).encode()),
        ("getter.bound.signed_bytes", query().query.signed_bytes(&GENESIS, &SHARD, &MRENCLAVE)),
        ("getter.bound", Getter::Bound(query()).encode()),
        ("getter.bound.hash", query().hash().encode()),
        ("getter.bound.request", request(Getter::Bound(query()).encode()).encode()),
        ("answer.signed_bytes", answer().signed_bytes(&GENESIS, &SHARD)),
        ("answer.signed", answer().encode()),
        ("answer.outcome", outcome.encode()),
        ("envelope.info", info(EPOCH)),
        ("envelope.request.aad", associated_data("request")),
        ("envelope.request", envelope.clone()),
        ("envelope.beneficiary.aad", associated_data("beneficiary")),
        ("envelope.beneficiary", seal("beneficiary", &sender().encode())),
        ("rsa.secret", rsa_key()),
        (
            "rsa.public",
            PublishedShieldingKey::new(&padded(&rsa_numbers().0).try_into().unwrap()).to_json().into_bytes(),
        ),
        ("rsa.operation", rsa_seal(&TrustedOperation::DirectCall(published()).encode())),
        ("rsa.operation.stripped", rsa_stripped(&TrustedOperation::DirectCall(published()).encode())),
        ("operation.long", long().encode()),
        ("rsa.operation.long", rsa_seal(&long().encode())),
        ("request", request(envelope.clone()).encode()),
        ("batch", vec![request(envelope.clone()), request(envelope)].encode()),
        ("batch.answer", RpcReturnValue::ok(batch).encode()),
        (
            "return.submitted",
            RpcReturnValue { value: direct.hash().encode(), do_watch: false, status: submitted }.encode(),
        ),
        ("return.getter", RpcReturnValue::ok(Some(answer().encode())).encode()),
        ("return.error", RpcReturnValue::error("unknown shard").encode()),
    ])
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The file's vectors, by name.
fn file() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(directory().join("wire-vectors.json")).unwrap();
    let entries: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    entries.into_iter().map(|(name, hex)| (name, hex::decode(hex.strip_prefix("0x").unwrap()).unwrap())).collect()
}

#[test]
fn the_file_holds_exactly_these_vectors() {
    let vectors = vectors();
    if std::env::var_os("WRITE_WIRE_VECTORS").is_some() {
        let entries: BTreeMap<_, _> =
            vectors.iter().map(|(name, bytes)| (name, format!("0x{}", hex::encode(bytes)))).collect();
        let text = serde_json::to_string_pretty(&entries).unwrap() + "\n";
        // At once, because the other tests read it at the same time.
        let new = directory().join("wire-vectors.json.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, directory().join("wire-vectors.json")).unwrap();
    }
    let file = file();
    for (name, bytes) in &vectors {
        assert_eq!(file.get(*name), Some(bytes), "{name}");
    }
    assert_eq!(file.len(), vectors.len());
}

#[test]
fn the_page_names_every_vector() {
    let page = std::fs::read_to_string(directory().join("wire.md")).unwrap();
    for name in vectors().into_keys() {
        assert!(page.contains(&format!("`{name}`")), "docs/wire.md does not say what {name} is");
    }
}

/// Decodes the vector and encodes it again.
#[track_caller]
fn decoded<T: Decode + Encode>(name: &str) -> T {
    let bytes = &file()[name];
    let value = T::decode_all(&mut bytes.as_slice()).unwrap();
    assert_eq!(value.encode(), *bytes, "{name}");
    value
}

#[test]
fn the_vectors_decode_verify_and_open() {
    let file = file();
    for name in ["operation.published.direct", "operation.published.indirect"] {
        match decoded::<TrustedOperation>(name) {
            TrustedOperation::DirectCall(signed) | TrustedOperation::IndirectCall(signed) => {
                assert!(signed.verify(&SCOPE), "{name}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(decoded::<TrustedCallSigned>("call.published.wrapped").verify(&SCOPE));
    for name in ["operation.bound.direct", "operation.bound.indirect"] {
        let operation = decoded::<TrustedOperation>(name);
        assert_eq!(operation.hash().encode(), file[&format!("{name}.hash")]);
        match operation {
            TrustedOperation::BoundCall(signed) | TrustedOperation::IndirectBoundCall(signed) => {
                assert!(signed.verify(&GENESIS, &SCOPE), "{name}");
                assert!(verify_signature(&signed.signature, &file["call.bound.signed_bytes"], &sender()));
            }
            other => panic!("{other:?}"),
        }
    }
    let Getter::Trusted(published) = decoded::<Getter>("getter.published") else { panic!() };
    assert!(published.verify());
    let Getter::Bound(bound) = decoded::<Getter>("getter.bound") else { panic!() };
    assert!(bound.verify(&GENESIS, &SHARD, &MRENCLAVE));
    assert_eq!(bound.hash().encode(), file["getter.bound.hash"]);

    decoded::<TrustedOperation>("operation.long");
    for (cyphertext, plaintext) in [
        ("rsa.operation", "operation.published.direct"),
        ("rsa.operation.stripped", "operation.published.direct"),
        ("rsa.operation.long", "operation.long"),
    ] {
        let opened: Vec<u8> = file[cyphertext].chunks(RSA_BLOCK).flat_map(rsa_decrypt).collect();
        assert_eq!(opened, file[plaintext], "{cyphertext}");
    }
    assert_eq!(file["rsa.operation.stripped"].len(), RSA_BLOCK - 1);

    let answer = decoded::<SignedAnswer>("answer.signed");
    assert_eq!(answer.request_hash, bound.hash());
    let signature = ed25519::Signature::from_raw(answer.signature);
    let incarnation = ed25519::Public::from_raw(file["incarnation.public"].clone().try_into().unwrap());
    assert!(ed25519::Pair::verify(&signature, &file["answer.signed_bytes"], &incarnation));
    decoded::<Outcome>("answer.outcome");

    let secret = SecretKey::from_bytes(SHIELDING);
    let request = decoded::<Request>("request");
    for (purpose, envelope, plaintext) in [
        (Purpose::Request, "envelope.request", "operation.bound.direct"),
        (Purpose::Beneficiary, "envelope.beneficiary", "sender.public"),
    ] {
        let context = Context { genesis: GENESIS, shard: SHARD, purpose };
        let opened = envelope::open(&context, &secret, &file[envelope]).unwrap();
        assert_eq!(*opened, file[plaintext]);
    }
    assert_eq!(request.cyphertext.to_vec(), file["envelope.request"]);
    assert_eq!(decoded::<Vec<Request>>("batch"), [request.clone(), request]);
    for name in ["batch.answer", "return.submitted", "return.getter", "return.error"] {
        decoded::<RpcReturnValue>(name);
    }
    let batch = decoded::<RpcReturnValue>("batch.answer").value;
    let answers = Vec::<Result<H256, String>>::decode_all(&mut batch.as_slice()).unwrap();
    assert_eq!(answers.len(), 2);
}
