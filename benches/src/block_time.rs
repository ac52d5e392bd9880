//! What one block costs, by the number of accounts: 500 verified transfers between accounts drawn at random, the
//! commitment and the encryption of the diff. Signatures are made and checked before; see [`crate::client_cost`].

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use cloister_chain_primitives::{AccountId, Balance, ShardMode, UNIT};
use cloister_state::{Purpose, Scope, ShardState, StateSecret};
use cloister_stf::{
    BlockContext, BlockExecution, CallOutcome, Inputs, Payments, Rules, VerifiedCall, account_count, free_balance,
    genesis_storage, total_issuance, verify,
};
use cloister_wire::{H256, ShardId, SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation};
use codec::Encode;
use rand::{Rng, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use sp_core::{Pair, sr25519};

use crate::{
    Figure, SEED,
    accounts::{self, BALANCE},
};

/// The figures of this module.
pub fn names() -> Vec<String> {
    SIZES.iter().map(|accounts| name(*accounts)).chain([RATIO.into()]).collect()
}

/// Measures them; the sizes take turns, so that what else the machine does meets all of them.
pub fn measure() -> Vec<Figure> {
    let mut shards: Vec<Shard> = SIZES.iter().map(|accounts| Shard::new(*accounts)).collect();
    let mut times = vec![Vec::new(); shards.len()];
    for round in 0..WARM_UP + BLOCKS {
        for turn in 0..shards.len() {
            let which = (turn + round) % shards.len();
            let time = shards[which].block(round);
            if round >= WARM_UP {
                times[which].push(time);
            }
        }
    }
    let mut figures: Vec<Figure> = SIZES
        .iter()
        .zip(&mut times)
        .map(|(accounts, times)| Figure::median(name(*accounts), times, "ms", 1e-3))
        .collect();
    let value = figures[2].value / figures[0].value;
    figures.push(Figure { name: RATIO.into(), value, unit: "ratio", n: BLOCKS });
    figures
}

fn name(accounts: usize) -> String {
    format!("block_time/accounts={accounts}")
}

struct Shard {
    state: ShardState,
    /// The calls of every block.
    blocks: Vec<Vec<VerifiedCall>>,
}

impl Shard {
    /// Every account has called once before, so that all sizes do the same work: each transfer changes two accounts and
    /// one nonce, and no key is new.
    fn new(accounts: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let draws: Vec<Vec<usize>> =
            (0..WARM_UP + BLOCKS).map(|_| index::sample(&mut random, accounts, 2 * TRANSFERS).into_vec()).collect();
        let mut keys: HashMap<usize, sr25519::Pair> = HashMap::new();
        for sender in draws.iter().flat_map(|draw| &draw[..TRANSFERS]) {
            keys.entry(*sender).or_insert_with(|| sr25519::Pair::from_seed(&random.r#gen()));
        }
        // Only who sends needs a key.
        let ids: Vec<AccountId> = (0..accounts)
            .map(|account| {
                keys.get(&account).map_or_else(|| random.r#gen::<[u8; 32]>().into(), |key| key.public().into())
            })
            .collect();
        let mut nonces = vec![1; accounts];
        let blocks = draws
            .iter()
            .map(|draw| {
                let (senders, recipients) = draw.split_at(TRANSFERS);
                let transfers = senders.iter().zip(recipients).map(|(from, to)| {
                    let amount = random.gen_range(1..UNIT);
                    let call = TrustedCall::BalanceTransfer(ids[*from].clone(), ids[*to].clone(), amount);
                    let nonce = nonces[*from];
                    nonces[*from] += 1;
                    signed(&keys[from], call, nonce)
                });
                transfers.collect()
            })
            .collect();

        let key = StateSecret::from_bytes(SECRET).commitment_key();
        let state =
            ShardState::genesis(genesis_storage().expect("genesis").into_iter().chain(accounts::storage(&ids)), &key);
        assert_eq!(account_count(&state), accounts as u64);
        assert_eq!(free_balance(&state, &ids[0]), BALANCE);
        assert_eq!(total_issuance(&state), BALANCE * accounts as Balance);
        Self { state, blocks }
    }

    fn block(&mut self, round: usize) -> Duration {
        let number = round as u64 + 1;
        let context = BlockContext {
            number,
            timestamp: 300 * number,
            layer_one_number: 1,
            layer_one_head: H256::repeat_byte(1),
            mode: ShardMode::Open,
        };
        let secret = StateSecret::from_bytes(SECRET);
        let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SCOPE.shard };
        let calls = &self.blocks[round];

        let start = Instant::now();
        let mut block = BlockExecution::begin(&self.state, context, Inputs::none(), &Payments).expect("context");
        let done = calls.iter().filter(|call| block.call(call) == Ok(CallOutcome::Done)).count();
        let diff = block.finish().expect("block").diff;
        let changes = diff.len();
        let prepared = self.state.prepare(diff);
        let encrypted = scope.seal(Purpose::Block { number }, &prepared.diff().encode()).expect("encryption");
        let commitment = prepared.commitment_after();
        assert!(self.state.commit(prepared));
        let time = start.elapsed();

        assert_eq!((done, self.state.commitment(), encrypted.is_empty()), (TRANSFERS, commitment, false));
        // Two accounts and a nonce per transfer; height, time, issuance, books and, at first, the layer-one head.
        assert!((3 * TRANSFERS + 4..=3 * TRANSFERS + 5).contains(&changes), "{changes} keys");
        time
    }
}

/// A call that went through signing and checking.
fn signed(key: &sr25519::Pair, call: TrustedCall, nonce: u32) -> VerifiedCall {
    let signature = key.sign(&SCOPE.call_bytes(&call, nonce)).into();
    let signed = TrustedCallSigned { call, nonce, signature };
    let hash = TrustedOperation::DirectCall(signed.clone()).hash();
    verify(hash, signed, &SCOPE, &Rules::default()).expect("good signature")
}

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];
const RATIO: &str = "block_time/ratio_1M_1k";
const TRANSFERS: usize = 500;
const WARM_UP: usize = 2;
const BLOCKS: usize = 51;
const SECRET: [u8; 32] = [3; 32];
const GENESIS: H256 = H256::repeat_byte(4);
const SCOPE: SignatureScope = SignatureScope { mrenclave: [5; 32], shard: ShardId(H256::repeat_byte(6)) };
