//! How fast money leaves a shard.

use cloister_chain_primitives::{Balance, OutflowLimit, OutflowUse, ShardId};
use frame_support::traits::Get;

use crate::{Config, ExitUsage, OutflowLimits, OutflowUsage, Pallet, usage::ExitUse};

/// Whether an amount may leave a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// It may.
    Now,
    /// In a later period.
    Later,
    /// It is more than a whole period's limit.
    Never,
}

impl<T: Config> Pallet<T> {
    /// How fast money may leave a shard, if that is limited.
    pub fn outflow_limit(shard: &ShardId) -> Option<OutflowLimit> {
        OutflowLimits::<T>::get(shard).or_else(T::DefaultOutflowLimit::get)
    }

    /// Whether an amount may leave a shard in this block.
    pub(crate) fn outflow_room(shard: &ShardId, amount: Balance) -> Room {
        match Self::outflow_limit(shard) {
            None => Room::Now,
            Some(limit) if amount > limit.amount => Room::Never,
            Some(limit) if amount > limit.room(OutflowUsage::<T>::get(shard), Self::height()) => Room::Later,
            Some(_) => Room::Now,
        }
    }

    /// Counts what leaves a shard, or is shielded into it, within its limit's period.
    pub(crate) fn count_flow(shard: &ShardId, left: Balance, shielded: Balance) {
        if let Some(limit) = Self::outflow_limit(shard) {
            let block = Self::height();
            let used = limit.used(OutflowUsage::<T>::get(shard), block);
            let (left, shielded) = (used.left.saturating_add(left), used.shielded.saturating_add(shielded));
            OutflowUsage::<T>::insert(shard, OutflowUse { block, left, shielded });
        }
    }

    /// What was shielded before root set a limit gives no room beside it.
    pub(crate) fn forget_shielded(shard: &ShardId) {
        OutflowUsage::<T>::mutate_extant(shard, |used| used.shielded = 0);
    }

    /// Counts an exit of a shard, unless this block has settled as many as it may.
    pub(crate) fn count_exit(shard: &ShardId) -> bool {
        let block = Self::height();
        let used = ExitUsage::<T>::get(shard);
        let exits = if used.block == block { used.exits } else { 0 };
        let counts = exits < T::MaxExitsPerBlock::get();
        if counts {
            ExitUsage::<T>::insert(shard, ExitUse { block, exits: exits.saturating_add(1) });
        }
        counts
    }
}
