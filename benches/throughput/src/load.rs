//! Calls that are signed and encrypted before anything is measured.

use std::{
    collections::HashMap,
    num::NonZero,
    thread::{self, available_parallelism},
};

use anyhow::{Result, ensure};
use cloister_chain_primitives::{Balance, H256, Request};
use cloister_client::{Shard, Signer};
use cloister_wire::{TrustedCall, TrustedOperation};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{SEED, population::Population};

/// What is sent.
pub struct Load {
    /// By client, in the order in which each sends.
    pub requests: Vec<Vec<Request>>,
    /// Which client sends an operation.
    pub senders: HashMap<H256, usize>,
}

impl Load {
    /// So many transfers for each client. No two clients send for one account, and each takes turns with its accounts.
    pub fn prepare(shard: &Shard, population: &Population, clients: usize, calls: usize) -> Result<Self> {
        let senders = population.senders();
        ensure!(senders.len() >= clients, "{clients} clients need as many accounts that send");
        let threads = available_parallelism().map_or(1, NonZero::get);
        let own = |client: usize| senders.iter().skip(client).step_by(clients).collect::<Vec<&Signer>>();
        let mut load = Self { requests: Vec::new(), senders: HashMap::new() };
        for client in 0..clients {
            let own = own(client);
            let made = thread::scope(|scope| {
                let share = calls.div_ceil(threads).max(1);
                let parts: Vec<_> = (0..calls)
                    .step_by(share)
                    .map(|from| {
                        let (own, seed) = (&own, [SEED, client as u64, from as u64]);
                        scope.spawn(move || part(shard, population, own, from..calls.min(from + share), seed))
                    })
                    .collect();
                parts.into_iter().map(|part| part.join().expect("no panic")).collect::<Result<Vec<_>>>()
            })?;
            let (hashes, requests): (Vec<_>, Vec<_>) = made.into_iter().flatten().unzip();
            load.senders.extend(hashes.into_iter().map(|hash| (hash, client)));
            load.requests.push(requests);
        }
        Ok(load)
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.senders.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }
}

fn part(
    shard: &Shard,
    population: &Population,
    senders: &[&Signer],
    places: std::ops::Range<usize>,
    seed: [u64; 3],
) -> Result<Vec<(H256, Request)>> {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut::<8>().0.iter_mut().zip(seed).for_each(|(bytes, part)| *bytes = part.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(bytes);
    places
        .map(|place| {
            let sender = senders[place % senders.len()];
            let nonce = u32::try_from(place / senders.len())?;
            let to = population.draw(&mut random);
            let call = TrustedCall::BalanceTransfer(sender.account(), to, random.gen_range(1..MAX_AMOUNT));
            let operation = TrustedOperation::DirectCall(shard.sign_call(call, nonce, sender)?);
            Ok((operation.hash(), shard.seal_operation(&operation)?))
        })
        .collect()
}

/// Planck; far less than a fee, so that nobody becomes rich or poor.
const MAX_AMOUNT: Balance = 1_000_000;
