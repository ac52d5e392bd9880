//! What a shard has in the end, compared with what its users did and were told.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, storage};
use cloister_client::ShardClient;
use sp_keyring::Sr25519Keyring;
use tokio::task::JoinSet;

use super::{ACCOUNTS, Heard, History, OUTSIDE};
use crate::{Chain, Ledgers, Sidechain, deployment::SETTLE_DEADLINE, eventually, signer, worker::Ports};

impl Heard {
    /// Whether all that was told is in the chain of kept blocks.
    pub fn is_kept(&self, sidechain: &Sidechain) -> Result<()> {
        for (operation, block) in &self.in_block {
            let number = sidechain.block_of(operation).with_context(|| format!("{operation:?} is lost"))?;
            ensure!(sidechain.hash(number) == Some(*block), "{operation:?} is in another block than was told");
        }
        for (number, commitment) in &self.states {
            let kept = sidechain.commitment(*number);
            ensure!(kept == Some(*commitment), "block {number} left another state than was told");
        }
        Ok(())
    }
}

/// Where things are in the end.
pub struct Reckoning<'a> {
    /// Layer one.
    pub chain: &'a Chain,
    /// The shard, on a new connection.
    pub shard: &'a ShardClient,
    /// The worker's.
    pub ports: Ports,
    /// The blocks that it keeps.
    pub sidechain: &'a mut Sidechain,
    /// What each of [`ACCOUNTS`] began with.
    pub endowment: Balance,
}

impl Reckoning<'_> {
    /// Compares what everybody has with what they did and were told.
    pub async fn of(&mut self, histories: &[History], heard: &Heard) -> Result<()> {
        let shard = self.shard.shard().id;
        // What was begun and given up may still be on its way.
        let length: u64 = self.chain.storage(&storage::inbox_length(&shard), None).await?.unwrap_or_default();
        eventually("a consumed inbox", SETTLE_DEADLINE, async || {
            Ok((self.shard.inbox_status().await?.consumed == length).then_some(()))
        })
        .await?;
        let ledgers = Ledgers::at_rest(self.chain, self.shard, self.ports).await?;
        self.sidechain.follow(self.ports).await?;
        heard.is_kept(self.sidechain)?;
        ensure!(self.sidechain.consumed() == length);
        self.money(&ledgers, histories).await?;

        let mut asking = JoinSet::new();
        for history in histories {
            for (operation, block) in &history.calls {
                let found = self.sidechain.block_of(operation);
                ensure!(found == Some(*block), "{operation:?} is in block {found:?}, not {block}");
            }
            let remembered = self.sidechain.height().saturating_sub(REMEMBERED_BLOCKS);
            asking.spawn(remembers(self.shard.clone(), history.clone(), remembered));
        }
        while let Some(remembers) = asking.join_next().await {
            remembers??;
        }

        let anchored = self.shard.layer_one().anchor(&shard).await?.context("nothing is anchored")?.anchor;
        ensure!(self.sidechain.hash(anchored.number) == Some(anchored.header_hash), "another chain is anchored");
        for operation in &heard.finalized {
            let number = self.sidechain.block_of(operation).context("what was final is lost")?;
            ensure!(number <= anchored.number, "{operation:?} of block {number} is not final");
        }
        println!(
            "{} calls in {} blocks, {} told to be final; all accounted for",
            histories.iter().map(|history| history.calls.len()).sum::<usize>(),
            self.sidechain.height(),
            heard.finalized.len(),
        );
        Ok(())
    }

    /// Everybody has to the planck what is left of their endowment, and layer one has paid what has left.
    async fn money(&self, ledgers: &Ledgers, histories: &[History]) -> Result<()> {
        let mut expected: HashMap<Sr25519Keyring, Balance> = ACCOUNTS.map(|account| (account, self.endowment)).into();
        let mut outside = 0;
        for effect in histories.iter().flat_map(|history| &history.effects) {
            if let Some(from) = effect.from {
                *expected.entry(from).or_default() -= effect.amount + effect.fee;
            }
            match effect.to {
                Some(to) => *expected.entry(to).or_default() += effect.amount,
                None => outside += effect.amount,
            }
        }
        let paid = self.chain.free_balance(&OUTSIDE.to_account_id()).await?;
        ensure!(paid == outside, "layer one has paid {paid}, not {outside}");
        let owners = ACCOUNTS.map(signer);
        let balances = ledgers.are_of(self.shard, owners.each_ref()).await?;
        for (account, free) in ACCOUNTS.iter().zip(balances) {
            ensure!(free == expected[account], "{account} has {free}, not {}", expected[account]);
        }
        let status = self.shard.inbox_status().await?;
        let shielded = histories.iter().flat_map(|history| &history.effects).filter(|effect| effect.from.is_none());
        ensure!(status.shields_credited == (ACCOUNTS.len() + shielded.count()) as u64, "{status:?}");
        ensure!(status.shields_returned == 0, "{status:?}");
        Ok(())
    }
}

/// Whether the enclave knows each call of a user that is after block `from` where the user saw it, and no other.
async fn remembers(shard: ShardClient, history: History, from: u64) -> Result<()> {
    let owner = signer(history.owner);
    let nonce = shard.nonce(&owner).await?;
    ensure!(nonce as usize == history.calls.len(), "{} has made {nonce} calls", history.owner);
    for (operation, block) in history.calls.iter().filter(|(_, block)| *block > from) {
        let outcome = shard.outcome(&owner, *operation).await?.context("an outcome is forgotten")?;
        ensure!(outcome.block_number == *block && outcome.result.is_ok(), "{operation:?}: {outcome:?}");
    }
    Ok(())
}

/// For how many blocks an enclave remembers outcomes.
const REMEMBERED_BLOCKS: u64 = 1_000;
