//! The money's side of the simulated layer one: a simple `EnclaveBridge` with one shard, beside the real pallet's code.
//!
//! What enclaves read by proof stands in the storage; what only checks need, in [`Bridge`], which never forgets.

use std::collections::{BTreeMap, BTreeSet};

use cloister_chain_primitives::{
    AccountId, Anchored, Balance, BlockNumber, EXISTENTIAL_DEPOSIT, Flows, H256, MIN_SHIELD, OutboxEntry, OutboxKind,
    OutboxPath, OutflowLimit, Retirement, ShardEntry, ShardId, ShardMode, Verdict, storage,
};
use codec::{Decode, Encode};

use crate::{
    Defect,
    layer_one::{Effect, Storage},
};

/// Where the money of the shard lies. Nobody can unshield to it.
pub const ESCROW: AccountId = AccountId::new([0xec; 32]);
/// Most exits of a shard in a block.
pub const MAX_EXITS_PER_BLOCK: u32 = 256;
/// What a call costs that is repaid, planck.
pub const CALL_COST: Balance = 1_000_000_000;

/// What layer one moved.
#[derive(Clone, Default)]
pub struct Bridge {
    /// Accounts that exist, and what they have.
    pub accounts: BTreeMap<AccountId, Balance>,
    /// Accounts to which nothing can be transferred.
    pub closed: BTreeSet<AccountId>,
    /// What lies in the escrow account besides its existential deposit.
    pub vault: Balance,
    /// What root took out of it.
    pub taken: Balance,
    /// How fast money may leave.
    pub limit: Option<OutflowLimit>,
    /// Everything that was ever settled: in which block, and what was said of it.
    pub verdicts: BTreeMap<u64, (BlockNumber, OutboxEntry, Verdict)>,
    /// What is owed to accounts that could not be paid.
    pub unclaimed: BTreeMap<AccountId, Balance>,
    /// What was repaid for calls, and to whom.
    pub repaid: BTreeMap<AccountId, Balance>,
    pub(crate) defect: Option<Defect>,
    /// The period that flows now, and what it let out.
    outflow: (BlockNumber, Balance),
    /// The block that pays exits now, and how many.
    exits: (BlockNumber, u32),
    settled_pruned: u64,
}

/// Why layer one takes nothing into the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotTaken {
    BelowMinimum,
    AboveOutflowLimit,
    Retired,
}

impl Bridge {
    /// Whether a shielding of so much is taken in the block `at`.
    pub fn may_shield(
        &self,
        storage: &Storage,
        shard: &ShardId,
        at: BlockNumber,
        amount: Balance,
    ) -> Result<(), NotTaken> {
        let retirement = retirement(storage, shard);
        if amount < MIN_SHIELD {
            Err(NotTaken::BelowMinimum)
        } else if self.limit.is_some_and(|limit| amount > limit.amount) {
            Err(NotTaken::AboveOutflowLimit)
        } else if retirement.is_some_and(|retirement| retirement.announced_at <= at) {
            Err(NotTaken::Retired)
        } else {
            Ok(())
        }
    }

    /// Money comes into the escrow.
    pub fn shielded(&mut self, storage: &mut Storage, shard: &ShardId, amount: Balance) {
        self.vault += amount;
        change_flows(storage, shard, |flows| flows.shielded += amount);
    }

    /// Root takes all that lies in the escrow account, whatever is booked.
    pub fn empty(&mut self) {
        self.taken += std::mem::take(&mut self.vault);
    }

    /// Root gives it back.
    pub fn refill(&mut self) {
        self.vault += std::mem::take(&mut self.taken);
    }

    /// Somebody has an entry paid.
    pub fn unshield(
        &mut self,
        storage: &mut Storage,
        genesis: &H256,
        at: BlockNumber,
        shard: &ShardId,
        entry: OutboxEntry,
        path: &OutboxPath,
    ) -> Effect {
        let number = entry.number;
        let anchor = anchored(storage, shard).map(|anchored| anchored.anchor);
        let (root, closed) = anchor.map_or((H256::zero(), 0), |anchor| (anchor.outbox_root, anchor.outbox_closed));
        let key = storage::settled(shard, number);
        let forgets = matches!(self.defect, Some(Defect::SettlesTwice | Defect::RefundsOnTimeout));
        if !forgets && (number < closed || storage.contains_key(&key)) {
            return Effect::AlreadySettled(number);
        }
        if !path.proves(genesis, shard, &entry, &root) {
            return Effect::NotInOutbox(entry);
        }
        let Some(verdict) = self.judge(storage, shard, at, &entry) else {
            if self.defect == Some(Defect::RefundsOnTimeout) && entry.kind == OutboxKind::Unshield {
                storage.insert(key, Verdict::Refused.encode());
            }
            return Effect::Deferred(entry);
        };
        if verdict == Verdict::Paid {
            change_flows(storage, shard, |flows| flows.paid += entry.amount);
        }
        storage.insert(key, verdict.encode());
        let before = self.verdicts.insert(number, (at, entry.clone(), verdict));
        Effect::Settled { entry, verdict, again: before.is_some() }
    }

    /// `None` if it is to come again later.
    fn judge(
        &mut self,
        storage: &mut Storage,
        shard: &ShardId,
        at: BlockNumber,
        entry: &OutboxEntry,
    ) -> Option<Verdict> {
        let OutboxEntry { kind, beneficiary, amount, .. } = entry;
        let (amount, booked) = (*amount, escrow(storage, shard));
        if *kind == OutboxKind::Exit {
            let open = retirement(storage, shard).is_some_and(|retirement| retirement.opens_at <= at);
            if self.exits.0 != at {
                self.exits = (at, 0);
            }
            if !open || self.exits.1 == MAX_EXITS_PER_BLOCK {
                return None;
            }
            self.exits.1 += 1;
        } else if let Some(limit) = self.limit {
            let period = at / limit.period;
            if self.outflow.0 != period {
                self.outflow = (period, 0);
            }
            if amount > limit.amount && *kind == OutboxKind::Unshield {
                return Some(Verdict::Refused);
            }
            if self.outflow.1 + amount > limit.amount {
                return None;
            }
        }
        let payable = booked >= amount && self.vault >= amount && self.receives(beneficiary, amount);
        if *kind == OutboxKind::Unshield && !payable {
            return Some(Verdict::Refused);
        }
        assert!(booked >= amount, "the books owe more than is escrowed");
        if *kind != OutboxKind::Exit && self.limit.is_some() {
            self.outflow.1 += amount;
        }
        if payable {
            self.transfer(beneficiary, amount);
        } else {
            *self.unclaimed.entry(beneficiary.clone()).or_default() += amount;
            self.store_unclaimed(storage, shard, beneficiary);
        }
        Some(Verdict::Paid)
    }

    /// Whoever is owed something is paid if that is possible now.
    pub fn claim(&mut self, storage: &mut Storage, shard: &ShardId, account: &AccountId) -> bool {
        let owed = self.unclaimed.get(account).copied().unwrap_or(0);
        if owed == 0 || self.vault < owed || !self.receives(account, owed) {
            return false;
        }
        self.transfer(account, owed);
        self.unclaimed.remove(account);
        self.store_unclaimed(storage, shard, account);
        true
    }

    /// A call is repaid out of what the shard's fees have left of their own.
    pub fn repay(&mut self, storage: &mut Storage, shard: &ShardId, sender: &AccountId) {
        let fees = anchored(storage, shard).map_or(0, |anchored| anchored.anchor.fees);
        let left = fees.saturating_sub(flows(storage, shard).repaid);
        let amount = CALL_COST.min(left).min(escrow(storage, shard)).min(self.vault);
        if amount == 0 || !self.receives(sender, amount) {
            return;
        }
        self.transfer(sender, amount);
        *self.repaid.entry(sender.clone()).or_default() += amount;
        change_flows(storage, shard, |flows| flows.repaid += amount);
    }

    /// What layer one says of closed entries goes, so many at a time.
    pub fn prune_settled(&mut self, storage: &mut Storage, shard: &ShardId, most: u64) {
        let closed = anchored(storage, shard).map_or(0, |anchored| anchored.anchor.outbox_closed);
        let to = closed.min(self.settled_pruned + most).max(self.settled_pruned);
        for number in self.settled_pruned..to {
            storage.remove(&storage::settled(shard, number)).expect("the shard has closed what is not settled");
        }
        self.settled_pruned = to;
        storage.insert(storage::settled_pruned(shard), to.encode());
    }

    /// Whether so much can be transferred to the account.
    fn receives(&self, account: &AccountId, amount: Balance) -> bool {
        let exists = self.accounts.contains_key(account) || amount >= EXISTENTIAL_DEPOSIT;
        exists && *account != ESCROW && !self.closed.contains(account)
    }

    fn transfer(&mut self, to: &AccountId, amount: Balance) {
        self.vault -= amount;
        *self.accounts.entry(to.clone()).or_default() += amount;
    }

    fn store_unclaimed(&self, storage: &mut Storage, shard: &ShardId, account: &AccountId) {
        let key = storage::unclaimed(shard, account);
        match self.unclaimed.get(account) {
            Some(owed) => drop(storage.insert(key, owed.encode())),
            None => drop(storage.remove(&key)),
        }
    }
}

/// Planck that are booked as the shard's.
pub fn escrow(storage: &Storage, shard: &ShardId) -> Balance {
    decoded(storage, &storage::escrow(shard)).unwrap_or(0)
}

/// What was moved for the shard.
pub fn flows(storage: &Storage, shard: &ShardId) -> Flows {
    decoded(storage, &storage::flows(shard)).unwrap_or_default()
}

/// The shard's newest anchor.
pub fn anchored(storage: &Storage, shard: &ShardId) -> Option<Anchored> {
    decoded(storage, &storage::anchor(shard))
}

/// The shard's entry.
pub fn shard_entry(storage: &Storage, shard: &ShardId) -> Option<ShardEntry> {
    decoded(storage, &storage::shard(shard))
}

/// What the shard does in the block of this height, by this storage.
pub fn mode(storage: &Storage, shard: &ShardId, at: BlockNumber) -> ShardMode {
    shard_entry(storage, shard).map_or(ShardMode::Open, |entry| entry.mode_at(at))
}

/// Root changes the shard's entry, if there is one.
pub fn change_shard(storage: &mut Storage, shard: &ShardId, change: impl FnOnce(&mut ShardEntry)) {
    if let Some(mut entry) = shard_entry(storage, shard) {
        change(&mut entry);
        storage.insert(storage::shard(shard), entry.encode());
    }
}

/// Root announces the shard's end, once.
pub fn retire(storage: &mut Storage, shard: &ShardId, at: BlockNumber) {
    change_shard(storage, shard, |entry| {
        let opens_at = at + entry.birth.upgrade_delay;
        entry.retirement.get_or_insert(Retirement { announced_at: at, opens_at });
    });
}

/// Root turns maintenance on or off so many blocks later.
pub fn maintain(storage: &mut Storage, shard: &ShardId, at: BlockNumber, on: bool, delay: BlockNumber) {
    change_shard(storage, shard, |entry| {
        let mut config = entry.config.at(at).clone();
        entry.config.active_config = config.clone();
        config.maintenance_mode = on;
        match delay {
            0 => {
                entry.config.active_config = config;
                (entry.config.pending_upgrade, entry.config.upgrade_at) = (None, None);
            }
            delay => (entry.config.pending_upgrade, entry.config.upgrade_at) = (Some(config), Some(at + delay)),
        }
    });
}

fn retirement(storage: &Storage, shard: &ShardId) -> Option<Retirement> {
    shard_entry(storage, shard).and_then(|entry| entry.retirement)
}

fn change_flows(storage: &mut Storage, shard: &ShardId, change: impl FnOnce(&mut Flows)) {
    let mut flows = flows(storage, shard);
    change(&mut flows);
    let escrow = flows.shielded.checked_sub(flows.paid + flows.repaid).expect("more leaves the escrow than came");
    storage.insert(storage::flows(shard), flows.encode());
    storage.insert(storage::escrow(shard), escrow.encode());
}

pub(crate) fn decoded<T: Decode>(storage: &Storage, key: &[u8]) -> Option<T> {
    storage.get(key).map(|value| T::decode(&mut &value[..]).unwrap())
}
