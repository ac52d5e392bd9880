//! Queues that fill from one end and are pruned from the other.

use cloister_chain_primitives::{InboxEntry, ShardId, anchor::Anchors};
use codec::Encode;
use frame_support::{ensure, traits::Get};
use sp_runtime::SaturatedConversion;

use crate::{
    Config, Error, Inbox, InboxLength, InboxPruned, InboxUsage, Pallet, Settled, SettledPruned, usage::InboxUse,
};

impl<T: Config> Pallet<T> {
    /// Puts an entry at the end of a shard's inbox.
    pub(crate) fn append(shard: &ShardId, entry: InboxEntry) -> Result<(), Error<T>> {
        let block = Self::height();
        let used = InboxUsage::<T>::get(shard);
        let used = if used.block == block { used } else { InboxUse { block, ..Default::default() } };
        let entries = used.entries.saturating_add(1);
        ensure!(entries <= T::MaxInboxEntriesPerBlock::get(), Error::<T>::TooManyInboxEntries);
        let bytes = used.bytes.saturating_add(entry.encoded_size().saturated_into());
        ensure!(bytes <= T::MaxInboxBytesPerBlock::get(), Error::<T>::TooManyInboxBytes);
        InboxUsage::<T>::insert(shard, InboxUse { block, entries, bytes });

        let number = InboxLength::<T>::get(shard);
        InboxLength::<T>::insert(shard, number.checked_add(1).ok_or(Error::<T>::InboxExhausted)?);
        Inbox::<T>::insert(shard, number, entry);
        Ok(())
    }

    /// Removes the oldest entries that the shard has consumed for good, and answers with how many.
    pub(crate) fn prune_inbox(shard: &ShardId) -> u32 {
        let consumed = T::Anchors::anchored(shard).map_or(0, |anchored| anchored.anchor.inbox_consumed);
        let (end, count) = pruning::<T>(InboxPruned::<T>::get(shard), consumed, |number| {
            Inbox::<T>::remove(shard, number);
        });
        if count > 0 {
            InboxPruned::<T>::insert(shard, end);
        }
        count
    }

    /// Removes the oldest verdicts that the shard has read for good, and answers with how many.
    pub(crate) fn prune_settled(shard: &ShardId) -> u32 {
        let closed = T::Anchors::anchored(shard).map_or(0, |anchored| anchored.anchor.outbox_closed);
        let (end, count) = pruning::<T>(SettledPruned::<T>::get(shard), closed, |number| {
            Settled::<T>::remove(shard, number);
        });
        if count > 0 {
            SettledPruned::<T>::insert(shard, end);
        }
        count
    }
}

/// Removes numbers from `first` on below `end`, as many as one call may. Answers with the first that is left, and with
/// how many went.
fn pruning<T: Config>(first: u64, end: u64, remove: impl FnMut(u64)) -> (u64, u32) {
    let end = end.min(first.saturating_add(T::MaxPrunedPerCall::get().into())).max(first);
    (first..end).for_each(remove);
    (end, end.saturating_sub(first).saturated_into())
}
