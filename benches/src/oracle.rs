//! Whether the time of a refusal tells why a request was refused before its signature was checked: the real enclave, through TLS, asked with requests
//! that do not decrypt, decode or verify, in turns. `t` is Welch's statistic against the first kind; leakage tests
//! (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017) take 4.5 and more for a difference. `work` is
//! what the same requests cost inside, which the answers must not show.

use std::time::{Duration, Instant};

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use cloister_chain_primitives::{AccountId, Request, ShardId, ShieldingKeys, UNIT};
use cloister_client::worker::Worker;
use cloister_hostile_host::{Host, LayerOne, Start};
use cloister_keys::ShieldingKeyPair;
use cloister_stf::{Rules, verify};
use cloister_wire::{
    H256, SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation,
    envelope::{Context, Purpose, seal},
};
use codec::{DecodeAll, Encode};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sp_core::sr25519;

use crate::{Figure, SEED};

/// The figures of this module.
pub fn names() -> Vec<String> {
    KINDS.iter().flat_map(|(kind, _)| PARTS.map(|part| name(kind, part))).collect()
}

/// Measures them.
pub fn measure() -> Vec<Figure> {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let answers = runtime.block_on(answers());
    let work = work();
    let first: Vec<f64> = answers[0].iter().map(Duration::as_secs_f64).collect();
    let mut figures = vec![];
    for (((kind, _), mut answered), mut worked) in KINDS.iter().zip(answers).zip(work) {
        let seconds: Vec<f64> = answered.iter().map(Duration::as_secs_f64).collect();
        let n = seconds.len();
        figures.push(Figure::median(name(kind, "work"), &mut worked, "us", 1e-6));
        figures.push(Figure::median(name(kind, "answer"), &mut answered, "ms", 1e-3));
        figures.push(Figure { name: name(kind, "t"), value: welch(&seconds, &first), unit: "1", n });
    }
    figures
}

/// How long the enclave takes to answer requests of each kind.
async fn answers() -> Vec<Vec<Duration>> {
    let layer_one = LayerOne::start();
    let host = Host::served(&layer_one, Start::of(&layer_one, 1)).await;
    let identity = host.identity();
    let maker = Maker::new(layer_one.genesis(), identity.shard, identity.measurement, &identity.birth.shielding_keys);
    let client = host.client("Alice").await;
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut times = vec![vec![]; KINDS.len()];
    for round in 0..WARM_UP + ANSWERS {
        for (times, (_, make)) in times.iter_mut().zip(KINDS) {
            let time = refusal(&client.worker, &maker.request(*make, &mut random)).await;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    times
}

async fn refusal(worker: &Worker, request: &Request) -> Duration {
    let start = Instant::now();
    let answer = worker.submit(request).await;
    let time = start.elapsed();
    assert!(answer.is_err(), "it was to be refused");
    time
}

/// What opening, decoding and verifying costs until it fails.
fn work() -> Vec<Vec<Duration>> {
    let pair = ShieldingKeyPair::draw(0).expect("keys");
    let maker = Maker::new(H256::repeat_byte(4), ShardId(H256::repeat_byte(6)), [5; 32], pair.public());
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut times = vec![vec![]; KINDS.len()];
    for _ in 0..WORK {
        for (times, (_, make)) in times.iter_mut().zip(KINDS) {
            let request = maker.request(*make, &mut random);
            let start = Instant::now();
            let opened = pair.open(&maker.context, &request.cyphertext).ok();
            let decoded = opened.and_then(|plain| TrustedOperation::decode_all(&mut plain.as_slice()).ok());
            let verified = decoded.map(|operation| {
                let hash = operation.hash();
                let TrustedOperation::DirectCall(signed) = operation else { panic!("no direct call") };
                verify(hash, signed, &maker.scope, &Rules::default())
            });
            times.push(start.elapsed());
            assert!(!matches!(verified, Some(Ok(_))));
        }
    }
    times
}

/// Welch's t of two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let moments = |sample: &[f64]| {
        let n = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / n;
        (mean, sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
    };
    let ((mean, variance), (other_mean, other_variance)) = (moments(one), moments(other));
    let deviation = (variance + other_variance).sqrt();
    if deviation == 0.0 { 0.0 } else { (mean - other_mean) / deviation }
}

/// Makes requests that are refused.
struct Maker {
    context: Context,
    scope: SignatureScope,
    keys: ShieldingKeys,
    rsa: OaepPublicEncryptingKey,
}

impl Maker {
    fn new(genesis: H256, shard: ShardId, mrenclave: [u8; 32], keys: &ShieldingKeys) -> Self {
        let components = PublicKeyComponents { n: keys.rsa_modulus.to_vec(), e: vec![1, 0, 1] };
        let rsa: PublicEncryptingKey = components.try_into().expect("modulus");
        Self {
            context: Context { genesis, shard, purpose: Purpose::Request },
            scope: SignatureScope { mrenclave, shard },
            keys: keys.clone(),
            rsa: OaepPublicEncryptingKey::new(rsa).expect("key"),
        }
    }

    fn request(&self, kind: Kind, random: &mut ChaCha8Rng) -> Request {
        let mut account = [0; 32];
        random.fill_bytes(&mut account);
        // Nobody signed it.
        let call = TrustedCall::BalanceTransfer(AccountId::new(account), AccountId::new(account), UNIT);
        let mut signature = [0; 64];
        random.fill_bytes(&mut signature);
        let signature = sr25519::Signature::from_raw(signature).into();
        let mut plain = TrustedOperation::DirectCall(TrustedCallSigned { call, nonce: 0, signature }).encode();
        if matches!(kind, Kind::Undecoded | Kind::RsaUndecoded) {
            plain[0] = 0xff;
        }
        let mut cyphertext = match kind {
            Kind::Undecrypted | Kind::Undecoded | Kind::Unsigned => {
                seal(&self.context, self.keys.epoch, &self.keys.hpke, &plain).expect("envelope")
            }
            Kind::RsaUndecrypted | Kind::RsaUndecoded | Kind::RsaUnsigned => {
                let mut block = vec![0; 384];
                self.rsa.encrypt(&OAEP_SHA256_MGF1SHA256, &plain, &mut block, None).expect("RSA");
                block
            }
        };
        if matches!(kind, Kind::Undecrypted | Kind::RsaUndecrypted)
            && let Some(last) = cyphertext.last_mut()
        {
            *last ^= 1;
        }
        Request { shard: self.context.shard, cyphertext: cyphertext.try_into().expect("size") }
    }
}

fn name(kind: &str, part: &str) -> String {
    format!("oracle/{kind}/{part}")
}

#[derive(Clone, Copy)]
enum Kind {
    Undecrypted,
    Undecoded,
    Unsigned,
    RsaUndecrypted,
    RsaUndecoded,
    RsaUnsigned,
}

const KINDS: &[(&str, Kind)] = &[
    ("hpke_not_decrypted", Kind::Undecrypted),
    ("hpke_not_decoded", Kind::Undecoded),
    ("hpke_not_signed", Kind::Unsigned),
    ("rsa_not_decrypted", Kind::RsaUndecrypted),
    ("rsa_not_decoded", Kind::RsaUndecoded),
    ("rsa_not_signed", Kind::RsaUnsigned),
];
const PARTS: [&str; 3] = ["work", "answer", "t"];
const WARM_UP: usize = 5;
const ANSWERS: usize = 200;
const WORK: usize = 500;
