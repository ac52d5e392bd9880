//! A shard's money, its way in and its way out, as a block of layer one left them.

use std::{collections::BTreeMap, ops::Range};

use cloister_chain_primitives::{
    AccountId, Anchored, Balance, BlockNumber, Flows, H256, InboxEntry, OutflowLimit, OutflowUse, ShardEntry, ShardId,
    Verdict, storage,
};

use super::{Error, KEYS_PER_PAGE, LayerOne, malformed};

/// Everything about a shard that one block of layer one knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeState {
    /// Height of the block.
    pub block_number: BlockNumber,
    /// Its hash.
    pub block_hash: H256,
    /// The shard's entry.
    pub entry: ShardEntry,
    /// Its newest anchor.
    pub anchored: Option<Anchored>,
    /// Planck in the escrow by the books of layer one.
    pub escrow: Balance,
    /// What moved, ever.
    pub flows: Flows,
    /// The account that holds the escrow.
    pub escrow_account: AccountId,
    /// Planck that this account has.
    pub escrow_balance: Balance,
    /// Planck of it that are owed to accounts which could not be paid.
    pub unclaimed: Balance,
    /// Entries that the inbox ever had.
    pub inbox_length: u64,
    /// Entries of the inbox that are pruned.
    pub inbox_pruned: u64,
}

/// How fast money may leave a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outflow {
    /// The limit, if there is one.
    pub limit: Option<OutflowLimit>,
    /// Whether root has set it for this shard.
    pub is_own: bool,
    /// What counts in the period of the block.
    pub used: OutflowUse,
    /// Planck that may still leave in it, if there is a limit.
    pub room: Option<Balance>,
}

impl BridgeState {
    /// Numbers of the inbox's entries that no anchored block has consumed.
    pub fn unconsumed(&self) -> Range<u64> {
        self.anchored.map_or(0, |anchored| anchored.anchor.inbox_consumed)..self.inbox_length
    }
}

impl LayerOne {
    /// All that a block knows about a shard; `None` if it knows no such shard.
    pub async fn bridge_at(&self, shard: &ShardId, block_hash: H256) -> Result<Option<BridgeState>, Error> {
        let escrow_account = self.escrow_account(shard);
        let (escrow, flows) = (storage::escrow(shard), storage::flows(shard));
        let (length, pruned) = (storage::inbox_length(shard), storage::inbox_pruned(shard));
        let unclaimed = storage::unclaimed_prefix(shard);
        let (header, entry, anchored, escrow, flows, account, length, pruned, unclaimed) = tokio::try_join!(
            self.header(block_hash),
            self.shard_at(shard, block_hash),
            self.anchor_at(shard, block_hash),
            self.storage::<Balance>(&escrow, block_hash),
            self.storage::<Flows>(&flows, block_hash),
            self.account_at(&escrow_account, block_hash),
            self.storage::<u64>(&length, block_hash),
            self.storage::<u64>(&pruned, block_hash),
            self.storage_map::<Balance>(&unclaimed, block_hash),
        )?;
        let unclaimed = unclaimed.into_iter().fold(0, |sum: Balance, (_, owed)| sum.saturating_add(owed));
        Ok(entry.map(|entry| BridgeState {
            block_number: header.number,
            block_hash,
            entry,
            anchored,
            escrow: escrow.unwrap_or_default(),
            flows: flows.unwrap_or_default(),
            escrow_balance: account.free,
            unclaimed,
            escrow_account,
            inbox_length: length.unwrap_or_default(),
            inbox_pruned: pruned.unwrap_or_default(),
        }))
    }

    /// How fast money may leave a shard, and what has left it, in a block's period.
    pub async fn outflow_at(&self, shard: &ShardId, block_hash: H256) -> Result<Outflow, Error> {
        let (limit_key, use_key) = (storage::outflow_limit(shard), storage::outflow_use(shard));
        let (header, own, usage, metadata) = tokio::try_join!(
            self.header(block_hash),
            self.storage::<OutflowLimit>(&limit_key, block_hash),
            self.storage::<OutflowUse>(&use_key, block_hash),
            self.metadata(block_hash),
        )?;
        let default = metadata.constant::<Option<OutflowLimit>>("EnclaveBridge", "DefaultOutflowLimit").flatten();
        let limit = own.or(default);
        let used = usage.unwrap_or_default();
        let room = limit.map(|limit| limit.room(used, header.number));
        let used = limit.map_or(used, |limit| limit.used(used, header.number));
        Ok(Outflow { limit, is_own: own.is_some(), used, room })
    }

    /// The account that holds a shard's money; nobody has its key.
    pub fn escrow_account(&self, shard: &ShardId) -> AccountId {
        shard.escrow_account(&self.genesis())
    }

    /// Planck that some entries of a shard's inbox shield, as a block left them.
    pub async fn shields_at(&self, shard: &ShardId, numbers: Range<u64>, at: H256) -> Result<Balance, Error> {
        self.shields_reporting(shard, numbers, at, |_| ()).await
    }

    /// As [`Self::shields_at`], and tells `read` of how many entries it has read the next ones.
    pub(crate) async fn shields_reporting(
        &self,
        shard: &ShardId,
        numbers: Range<u64>,
        at: H256,
        mut read: impl FnMut(u64),
    ) -> Result<Balance, Error> {
        let mut shielded: Balance = 0;
        for page in pages("entries of an inbox", numbers)? {
            let entries = page.end.saturating_sub(page.start);
            let keys: Vec<_> = page.map(|number| storage::inbox_entry(shard, number)).collect();
            for entry in self.storage_values(&keys, at).await? {
                match entry.ok_or_else(|| malformed("the inbox", "an entry is missing"))? {
                    InboxEntry::Shield { amount, .. } => shielded = shielded.saturating_add(amount),
                    InboxEntry::Invoke(_) => {}
                }
            }
            read(entries);
        }
        Ok(shielded)
    }

    /// The verdicts on entries of a shard's outbox that a block knows.
    pub async fn verdicts_at(
        &self,
        shard: &ShardId,
        numbers: Range<u64>,
        at: H256,
    ) -> Result<BTreeMap<u64, Verdict>, Error> {
        self.verdicts_reporting(shard, numbers, at, |_| ()).await
    }

    /// As [`Self::verdicts_at`], and tells `read` of how many entries it has read the next verdicts.
    pub(crate) async fn verdicts_reporting(
        &self,
        shard: &ShardId,
        numbers: Range<u64>,
        at: H256,
        mut read: impl FnMut(u64),
    ) -> Result<BTreeMap<u64, Verdict>, Error> {
        let mut found = BTreeMap::new();
        for page in pages("entries of an outbox", numbers)? {
            let entries = page.end.saturating_sub(page.start);
            let keys: Vec<_> = page.clone().map(|number| storage::settled(shard, number)).collect();
            let verdicts = self.storage_values(&keys, at).await?;
            found.extend(page.zip(verdicts).filter_map(|(number, verdict)| Some((number, verdict?))));
            read(entries);
        }
        Ok(found)
    }

    /// Planck that layer one owes to an account which a shard could not be relieved of, at the finalized head.
    pub async fn unclaimed(&self, shard: &ShardId, account: &AccountId) -> Result<Balance, Error> {
        let at = self.finalized_hash().await?;
        Ok(self.storage(&storage::unclaimed(shard, account), at).await?.unwrap_or_default())
    }
}

/// Numbers that somebody else states, page by page. More than there can be are refused before anything is made of them.
fn pages(what: &'static str, numbers: Range<u64>) -> Result<impl Iterator<Item = Range<u64>>, Error> {
    if numbers.end.saturating_sub(numbers.start) > MAX_NUMBERS {
        return Err(Error::TooMany { what, most: MAX_NUMBERS });
    }
    let firsts = numbers.clone().step_by(KEYS_PER_PAGE);
    Ok(firsts.map(move |first| first..numbers.end.min(first.saturating_add(KEYS_PER_PAGE as u64))))
}

/// Hours of full blocks that a shard has not consumed, and more than its outbox can have open.
const MAX_NUMBERS: u64 = 1 << 20;
