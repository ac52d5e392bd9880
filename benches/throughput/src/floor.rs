//! What a call's cryptography costs on one core: no worker that opens and verifies every call takes more.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use cloister_chain_primitives::{AccountId, H256, ShardId, ShieldingKeys, UNIT};
use cloister_client::Signer;
use cloister_keys::ShieldingKeyPair;
use cloister_stf::{Rules, verify};
use cloister_wire::{
    SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation,
    envelope::{self, Context, Purpose, SecretKey, seal},
};
use codec::Encode;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustls::crypto::{aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305, hpke::Hpke};
use schnorrkel::{PublicKey, Signature, signing_context, verify_batch};
use sp_core::{Pair, sr25519};

use crate::{SEED, figure::Figure};

/// Medians on one core.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Checking the sr25519 signature of a call.
    pub verify: Duration,
    /// The same in batches of [`BATCH`], for each.
    pub verify_batch: Duration,
    /// Opening an HPKE envelope as the enclave does: TLS's library, and what stands around it.
    pub open_hpke: Duration,
    /// The same with TLS's library alone.
    pub open_hpke_tls: Duration,
    /// The same with the other library of this build that has HPKE, with which clients seal.
    pub open_hpke_clients: Duration,
    /// Opening the published form of an envelope, one block of RSA-3072.
    pub open_rsa: Duration,
}

impl Floor {
    /// Measures on different transfers, each as it would come to an enclave.
    pub fn measure() -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let keys = ShieldingKeyPair::draw(0)?;
        let calls: Vec<Call> =
            (0..CALLS).map(|nonce| Call::draw(nonce, keys.public(), &mut random)).collect::<Result<_>>()?;
        let rsa = published(keys.public())?;
        let mut block = vec![0; 384];
        let (tls_public, tls_secret) = TLS.generate_key_pair()?;
        let secret = SecretKey::from_bytes(*keys.to_bytes()[4..].first_chunk().context("the X25519 key")?);

        let [mut verifying, mut in_batches] = [const { vec![] }; 2];
        let [mut opening, mut opening_tls, mut opening_clients, mut opening_rsa] = [const { vec![] }; 4];
        for call in &calls {
            let start = Instant::now();
            let opened = keys.open_envelope(&CONTEXT, &call.envelope);
            opening.push(start.elapsed());
            ensure!(opened.is_ok_and(|opened| *opened == call.plain), "an envelope does not open");

            let start = Instant::now();
            let opened = envelope::open(&CONTEXT, &secret, &call.envelope);
            opening_clients.push(start.elapsed());
            ensure!(opened.is_ok_and(|opened| *opened == call.plain), "an envelope does not open");

            let (encapsulated, sealed) = TLS.seal(&BOUND_TO, &BOUND_TO, &call.plain, &tls_public)?;
            let start = Instant::now();
            let opened = TLS.open(&encapsulated, &BOUND_TO, &BOUND_TO, &sealed, &tls_secret)?;
            opening_tls.push(start.elapsed());
            ensure!(opened == call.plain, "an envelope does not open");

            let signed = call.signed.clone();
            let start = Instant::now();
            let verified = verify(call.hash, signed, &SCOPE, &Rules::default());
            verifying.push(start.elapsed());
            ensure!(verified.is_ok(), "a signature does not verify");
        }
        for call in calls.iter().take(RSA_CALLS) {
            rsa.encrypt(&OAEP_SHA256_MGF1SHA256, &call.plain, &mut block, None).ok().context("RSA")?;
            let start = Instant::now();
            let opened = keys.open(&CONTEXT, &block);
            opening_rsa.push(start.elapsed());
            ensure!(opened.is_ok(), "an RSA block does not open");
        }
        for calls in calls.chunks_exact(BATCH) {
            let start = Instant::now();
            let context = signing_context(b"substrate");
            let keys: Vec<PublicKey> = calls
                .iter()
                .map(|call| PublicKey::from_bytes(&call.key))
                .collect::<Result<_, _>>()
                .ok()
                .context("keys")?;
            let signatures: Vec<Signature> = calls
                .iter()
                .map(|call| Signature::from_bytes(&call.signature))
                .collect::<Result<_, _>>()
                .ok()
                .context("signatures")?;
            let transcripts = calls.iter().map(|call| context.bytes(&call.bytes));
            let verified = verify_batch(transcripts, &signatures, &keys, false);
            in_batches.push(start.elapsed() / BATCH as u32);
            ensure!(black_box(verified).is_ok(), "a batch does not verify");
        }
        Ok(Self {
            verify: median(&mut verifying),
            verify_batch: median(&mut in_batches),
            open_hpke: median(&mut opening),
            open_hpke_tls: median(&mut opening_tls),
            open_hpke_clients: median(&mut opening_clients),
            open_rsa: median(&mut opening_rsa),
        })
    }

    /// Calls a second that so many cores open, as fast as this build can, and verify one by one.
    pub fn calls_per_second(&self, cores: usize) -> f64 {
        let open = self.open_hpke.min(self.open_hpke_tls).min(self.open_hpke_clients);
        cores as f64 / (open + self.verify).as_secs_f64()
    }

    /// As they are printed.
    pub fn figures(&self, cores: usize) -> Vec<Figure> {
        let us = |name, time: Duration, n| Figure::new(name, time.as_secs_f64() * 1e6, "us", n);
        vec![
            us("floor/verify", self.verify, CALLS as usize),
            us("floor/verify_batch", self.verify_batch, CALLS as usize / BATCH),
            us("floor/open_hpke", self.open_hpke, CALLS as usize),
            us("floor/open_hpke_tls", self.open_hpke_tls, CALLS as usize),
            us("floor/open_hpke_clients", self.open_hpke_clients, CALLS as usize),
            us("floor/open_rsa", self.open_rsa, RSA_CALLS),
            Figure::new("floor/calls_per_s", self.calls_per_second(cores), "1/s", cores),
        ]
    }
}

struct Call {
    signed: TrustedCallSigned,
    hash: H256,
    plain: Vec<u8>,
    envelope: Vec<u8>,
    /// What was signed, by whom, and the signature, as the library for batches takes them.
    bytes: Vec<u8>,
    key: [u8; 32],
    signature: [u8; 64],
}

impl Call {
    fn draw(nonce: u32, keys: &ShieldingKeys, random: &mut ChaCha8Rng) -> Result<Self> {
        let pair = sr25519::Pair::from_seed(&random.r#gen());
        let to: AccountId = random.r#gen::<[u8; 32]>().into();
        let call = TrustedCall::BalanceTransfer(Signer::from(pair.clone()).account(), to, UNIT);
        let bytes = SCOPE.call_bytes(&call, nonce);
        let signature = pair.sign(&bytes);
        let signed = TrustedCallSigned { call, nonce, signature: signature.into() };
        let operation = TrustedOperation::DirectCall(signed.clone());
        let plain = operation.encode();
        let envelope = seal(&CONTEXT, keys.epoch, &keys.hpke, &plain)?;
        Ok(Self {
            signed,
            hash: operation.hash(),
            plain,
            envelope,
            bytes,
            key: pair.public().0,
            signature: signature.0,
        })
    }
}

fn published(keys: &ShieldingKeys) -> Result<OaepPublicEncryptingKey> {
    let components = PublicKeyComponents { n: keys.rsa_modulus.to_vec(), e: vec![1, 0, 1] };
    let key: PublicEncryptingKey = components.try_into().ok().context("the RSA modulus")?;
    OaepPublicEncryptingKey::new(key).ok().context("the RSA key")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Signatures checked together.
pub const BATCH: usize = 64;
const CALLS: u32 = 2_048;
const RSA_CALLS: usize = 100;
const SCOPE: SignatureScope = SignatureScope { mrenclave: [5; 32], shard: ShardId(H256::repeat_byte(6)) };
const TLS: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305;
/// As long as what an envelope is bound to.
const BOUND_TO: [u8; 96] = [7; 96];
const CONTEXT: Context =
    Context { genesis: H256::repeat_byte(4), shard: ShardId(H256::repeat_byte(6)), purpose: Purpose::Request };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_measured_on_calls_that_hold() {
        let floor = Floor::measure().unwrap();
        let names: Vec<_> = floor.figures(2).iter().map(|figure| figure.name.clone()).collect();
        let open = ["open_hpke", "open_hpke_tls", "open_hpke_clients", "open_rsa"];
        let expected = [&["verify", "verify_batch"][..], &open, &["calls_per_s"]].concat();
        assert_eq!(names, expected.iter().map(|name| format!("floor/{name}")).collect::<Vec<_>>());
        assert!(floor.figures(2).iter().all(|figure| figure.value > 0.0));
        assert!(floor.calls_per_second(4) > floor.calls_per_second(2));
        // Whichever library is the fastest counts.
        let us = Duration::from_micros;
        let floor =
            Floor { verify: us(60), open_hpke: us(100), open_hpke_tls: us(50), open_hpke_clients: us(40), ..floor };
        assert_eq!(floor.calls_per_second(2).round(), 20_000.0);
        assert_eq!(Floor { open_hpke: us(20), ..floor }.calls_per_second(2).round(), 25_000.0);
    }
}
