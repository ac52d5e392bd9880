//! What a client's call costs before it is executed: opening its envelope and checking its signature.

use std::time::Instant;

use cloister_chain_primitives::{AccountId, UNIT};
use cloister_keys::ShieldingKeyPair;
use cloister_stf::{Rules, verify};
use cloister_wire::{
    H256, ShardId, SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation,
    envelope::{Context, Purpose, seal},
};
use codec::Encode;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sp_core::{Pair, sr25519};

use crate::{Figure, SEED};

/// The figures of this module.
pub fn names() -> Vec<String> {
    [VERIFY, OPEN].map(Into::into).to_vec()
}

/// Measures them on as many different transfers.
pub fn measure() -> Vec<Figure> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let keys = ShieldingKeyPair::draw(0).expect("keys");
    let (mut verifying, mut opening) = (Vec::new(), Vec::new());
    for nonce in 0..CALLS {
        let key = sr25519::Pair::from_seed(&random.r#gen());
        let to: AccountId = random.r#gen::<[u8; 32]>().into();
        let call = TrustedCall::BalanceTransfer(key.public().into(), to, UNIT);
        let signature = key.sign(&SCOPE.call_bytes(&call, nonce)).into();
        let signed = TrustedCallSigned { call, nonce, signature };
        let operation = TrustedOperation::DirectCall(signed.clone());
        let envelope = seal(&CONTEXT, 0, &keys.public().hpke, &operation.encode()).expect("envelope");

        let start = Instant::now();
        let opened = keys.open_envelope(&CONTEXT, &envelope);
        opening.push(start.elapsed());
        assert_eq!(opened.as_deref(), Ok(&operation.encode()));

        let hash = operation.hash();
        let start = Instant::now();
        let verified = verify(hash, signed, &SCOPE, &Rules::default());
        verifying.push(start.elapsed());
        assert!(verified.is_ok());
    }
    vec![
        Figure::median(VERIFY.into(), &mut verifying, "us", 1e-6),
        Figure::median(OPEN.into(), &mut opening, "us", 1e-6),
    ]
}

const VERIFY: &str = "client_cost/verify_call_sr25519";
const OPEN: &str = "client_cost/open_hpke_envelope";
const CALLS: u32 = 1_000;
const SCOPE: SignatureScope = SignatureScope { mrenclave: [5; 32], shard: ShardId(H256::repeat_byte(6)) };
const CONTEXT: Context =
    Context { genesis: H256::repeat_byte(4), shard: ShardId(H256::repeat_byte(6)), purpose: Purpose::Request };
