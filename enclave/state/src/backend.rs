//! [`ShardState`] as the storage under `sp-state-machine`'s overlay.

use std::ops::Bound;

use sp_core::{
    H256, Hasher,
    storage::{ChildInfo, StateVersion},
};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{
    Backend, BackendTransaction, IterArgs, StateMachineStats, StorageIterator, StorageKey, StorageValue, UsageInfo,
};
use sp_trie::{MerkleValue, PrefixedMemoryDB};

use crate::ShardState;

/// What this storage does not have. Inside a runtime each is a panic, which the boundary around dispatch turns into
/// the call's failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No pallet of a shard uses child tries.
    #[error("a shard's state has no child tries")]
    ChildTrie,
    /// The commitment is a sum over entries, not a trie.
    #[error("a shard's state has no merkle values")]
    MerkleValue,
}

impl Backend<BlakeTwo256> for ShardState {
    type Error = BackendError;
    type TrieBackendStorage = PrefixedMemoryDB<BlakeTwo256>;
    type RawIter = RawIter;

    fn storage(&self, key: &[u8]) -> Result<Option<StorageValue>, BackendError> {
        Ok(self.get(key).map(<[u8]>::to_vec))
    }

    fn storage_hash(&self, key: &[u8]) -> Result<Option<H256>, BackendError> {
        Ok(self.get(key).map(BlakeTwo256::hash))
    }

    fn exists_storage(&self, key: &[u8]) -> Result<bool, BackendError> {
        Ok(self.get(key).is_some())
    }

    fn next_storage_key(&self, key: &[u8]) -> Result<Option<StorageKey>, BackendError> {
        Ok(self.first_key(Bound::Excluded(key)).map(<[u8]>::to_vec))
    }

    /// The commitment after `delta`; there is no transaction, because [`ShardState::apply`] makes the changes.
    fn storage_root<'a>(
        &self,
        delta: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        _: StateVersion,
    ) -> (H256, BackendTransaction<BlakeTwo256>) {
        (self.commitment_after(delta), BackendTransaction::default())
    }

    fn raw_iter(&self, arguments: IterArgs) -> Result<RawIter, BackendError> {
        if arguments.child_info.is_some() {
            return Err(BackendError::ChildTrie);
        }
        let prefix = arguments.prefix.unwrap_or_default();
        let start = arguments.start_at.map_or(prefix, |start| start.max(prefix));
        let next = if arguments.start_at_exclusive && arguments.start_at == Some(start) {
            Bound::Excluded(start.to_vec())
        } else {
            Bound::Included(start.to_vec())
        };
        Ok(RawIter { prefix: prefix.to_vec(), next, complete: false })
    }

    fn register_overlay_stats(&self, _: &StateMachineStats) {}

    fn usage_info(&self) -> UsageInfo {
        UsageInfo::empty()
    }

    fn closest_merkle_value(&self, _: &[u8]) -> Result<Option<MerkleValue<H256>>, BackendError> {
        Err(BackendError::MerkleValue)
    }

    fn child_closest_merkle_value(&self, _: &ChildInfo, _: &[u8]) -> Result<Option<MerkleValue<H256>>, BackendError> {
        Err(BackendError::ChildTrie)
    }

    fn child_storage(&self, _: &ChildInfo, _: &[u8]) -> Result<Option<StorageValue>, BackendError> {
        Err(BackendError::ChildTrie)
    }

    fn child_storage_hash(&self, _: &ChildInfo, _: &[u8]) -> Result<Option<H256>, BackendError> {
        Err(BackendError::ChildTrie)
    }

    fn next_child_storage_key(&self, _: &ChildInfo, _: &[u8]) -> Result<Option<StorageKey>, BackendError> {
        Err(BackendError::ChildTrie)
    }

    /// The root of a child trie that does not exist: the signature leaves no room for an error. Whoever executes on this
    /// storage must refuse an overlay with child changes.
    fn child_storage_root<'a>(
        &self,
        _: &ChildInfo,
        _: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        _: StateVersion,
    ) -> (H256, bool, BackendTransaction<BlakeTwo256>) {
        (H256::default(), true, BackendTransaction::default())
    }
}

/// Walks keys in order.
pub struct RawIter {
    prefix: Vec<u8>,
    next: Bound<Vec<u8>>,
    complete: bool,
}

impl RawIter {
    fn advance(&mut self, state: &ShardState) -> Option<StorageKey> {
        if self.complete {
            return None;
        }
        let key = state
            .first_key(self.next.as_ref().map(Vec::as_slice))
            .filter(|key| key.starts_with(&self.prefix))
            .map(<[u8]>::to_vec);
        match &key {
            Some(key) => self.next = Bound::Excluded(key.clone()),
            None => self.complete = true,
        }
        key
    }
}

impl StorageIterator<BlakeTwo256> for RawIter {
    type Backend = ShardState;
    type Error = BackendError;

    fn next_key(&mut self, state: &ShardState) -> Option<Result<StorageKey, BackendError>> {
        self.advance(state).map(Ok)
    }

    fn next_pair(&mut self, state: &ShardState) -> Option<Result<(StorageKey, StorageValue), BackendError>> {
        let key = self.advance(state)?;
        let value = state.get(&key)?.to_vec();
        Some(Ok((key, value)))
    }

    fn was_complete(&self) -> bool {
        self.complete
    }
}
