//! Who has an account on the measured shard.

use cloister_chain_primitives::{AccountId, Balance, UNIT};
use cloister_client::Signer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sp_core::{Pair, sr25519};

use crate::{
    SEED,
    bulk::{ACCOUNT_WEIGHT, MAX_NAMED, MAX_NUMBERED, Opened, Opening, numbered},
};

/// The accounts of a shard, but for the bank's, which opens them.
pub struct Population {
    /// Those whose keys we have.
    senders: Vec<Signer>,
    /// All, without the bank.
    accounts: u64,
}

impl Population {
    /// So many, the bank's included.
    pub fn new(accounts: u64) -> Self {
        let accounts = accounts.saturating_sub(1);
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let senders = (0..accounts.min(MAX_SENDERS)).map(|_| sr25519::Pair::from_seed(&random.r#gen()).into());
        Self { senders: senders.collect(), accounts }
    }

    /// How many, the bank included.
    pub fn accounts(&self) -> u64 {
        self.accounts + 1
    }

    /// Those who can send.
    pub fn senders(&self) -> &[Signer] {
        &self.senders
    }

    /// Any account.
    pub fn draw(&self, random: &mut impl Rng) -> AccountId {
        let index = random.gen_range(0..self.accounts);
        let sender = usize::try_from(index).ok().and_then(|index| self.senders.get(index));
        sender.map_or_else(|| numbered(index), Signer::account)
    }

    /// What opens all of them, in calls that weigh no more than `budget` picoseconds each.
    pub fn openings(&self, budget: u64) -> Vec<Opening> {
        // The call itself weighs something, too.
        let most = (budget / ACCOUNT_WEIGHT).saturating_sub(10).max(1);
        let named = self.senders.chunks(most.min(MAX_NAMED) as usize).map(|senders| Opening {
            accounts: Opened::Named(senders.iter().map(Signer::account).collect()),
            each: SENDERS_BALANCE,
        });
        let first = self.senders.len() as u64;
        let most = most.min(MAX_NUMBERED);
        let numbered = (first..self.accounts).step_by(most as usize).map(|from| Opening {
            accounts: Opened::Numbered { from, until: self.accounts.min(from + most) },
            each: OTHERS_BALANCE,
        });
        named.chain(numbered).collect()
    }

    /// What the bank needs for that, in planck.
    pub fn cost(&self) -> Balance {
        let senders = self.senders.len() as Balance;
        senders * SENDERS_BALANCE + (Balance::from(self.accounts) - senders) * OTHERS_BALANCE + FOR_FEES
    }
}

/// More would not be more different: between two calls of one sender there are as many of others.
const MAX_SENDERS: u64 = 20_000;
/// Enough for the fees of ten thousand calls.
const SENDERS_BALANCE: Balance = UNIT;
const OTHERS_BALANCE: Balance = UNIT / 100;
const FOR_FEES: Balance = 1_000 * UNIT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_open_everybody_once_and_fit_a_slot() {
        for (accounts, budget) in [(2, 240), (1_000, 240), (25_000, 240), (25_000, 8)] {
            let population = Population::new(accounts);
            let budget = budget * 1_000_000_000;
            let mut opened = 0;
            let mut cost = 0;
            for opening in population.openings(budget) {
                let count = match &opening.accounts {
                    Opened::Named(named) => named.len() as u64,
                    Opened::Numbered { from, until } => until - from,
                };
                assert!((1..=MAX_NUMBERED).contains(&count) && count * ACCOUNT_WEIGHT < budget);
                opened += count;
                cost += Balance::from(count) * opening.each;
            }
            assert_eq!((opened, cost + FOR_FEES), (accounts - 1, population.cost()));
        }
    }
}
