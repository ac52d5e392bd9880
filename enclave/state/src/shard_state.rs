//! The keys and values of one shard.

use core::fmt;
use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use sp_core::H256;

use crate::{CommitmentKey, LtHash, StateDiff};

/// A shard's whole state in memory.
///
/// Reading, and changing the value of a key that exists, touch one bucket of a hash table, so that a block costs the
/// same however many accounts there are. The hash is keyed with process randomness (accounts choose their own keys);
/// its order is never seen, because all iteration goes through the ordered set of keys, which only new and vanishing
/// keys touch. It cannot be cloned: nothing may take time that grows with the state.
pub struct ShardState {
    values: HashMap<Arc<[u8]>, Box<[u8]>>,
    order: BTreeSet<Arc<[u8]>>,
    commitment: LtHash,
    bytes: usize,
}

impl ShardState {
    /// The state before a shard's first block. Of several entries with one key the last counts.
    pub fn genesis(entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, key: &CommitmentKey) -> Self {
        let entries = entries.into_iter();
        let mut state = Self {
            values: HashMap::with_capacity(entries.size_hint().0),
            order: BTreeSet::new(),
            commitment: LtHash::new(key),
            bytes: 0,
        };
        for (key, value) in entries {
            state.put(&key, &value);
        }
        state
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.values.get(key).map(AsRef::as_ref)
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.order.iter().filter_map(|key| Some((key.as_ref(), self.get(key)?)))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Commitment to all entries.
    pub fn commitment(&self) -> H256 {
        self.commitment.digest()
    }

    /// Makes the changes of a block.
    pub fn apply(&mut self, diff: &StateDiff) {
        self.apply_changes(diff.changes());
    }

    /// The changes of a block with the commitment to the state after them. The state stays as it is.
    pub fn prepare(&self, diff: StateDiff) -> PreparedDiff {
        let commitment = self.commitment_of(diff.changes());
        PreparedDiff { before: self.commitment(), after: commitment.digest(), diff, commitment }
    }

    /// Makes changes that were prepared on this very state; whether they were.
    #[must_use]
    pub fn commit(&mut self, prepared: PreparedDiff) -> bool {
        let fits = self.commitment() == prepared.before;
        if fits {
            for (key, value) in prepared.diff.changes() {
                match value {
                    Some(value) => self.set(key, value),
                    None => drop(self.unset(key)),
                }
            }
            self.commitment = prepared.commitment;
        }
        fits
    }

    /// Makes changes.
    pub(crate) fn apply_changes<'a>(&mut self, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.put(key, value),
                None => self.delete(key),
            }
        }
    }

    /// The commitment after changes that are not made.
    pub(crate) fn commitment_after<'a>(&self, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> H256 {
        self.commitment_of(changes).digest()
    }

    fn commitment_of<'a>(&self, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> LtHash {
        let mut commitment = self.commitment.clone();
        for (key, value) in changes {
            let old = self.get(key);
            if old == value {
                continue;
            }
            if let Some(old) = old {
                commitment.remove(key, old);
            }
            if let Some(value) = value {
                commitment.insert(key, value);
            }
        }
        commitment
    }

    /// The entries from `start` on, in the order of their keys.
    pub(crate) fn range(&self, start: Bound<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
        let keys = self.order.range::<[u8], _>((start, Bound::Unbounded));
        keys.filter_map(|key| Some((key.as_ref(), self.get(key)?)))
    }

    /// The first key from `start` on.
    pub(crate) fn first_key(&self, start: Bound<&[u8]>) -> Option<&[u8]> {
        self.order.range::<[u8], _>((start, Bound::Unbounded)).next().map(AsRef::as_ref)
    }

    /// Gives a key a value.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        if let Some(old) = self.values.get(key) {
            if old.as_ref() == value {
                return;
            }
            self.commitment.remove(key, old);
        }
        self.commitment.insert(key, value);
        self.set(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(old) = self.unset(key) {
            self.commitment.remove(key, &old);
        }
    }

    /// Gives a key a value without a look at the commitment.
    fn set(&mut self, key: &[u8], value: &[u8]) {
        match self.values.get_mut(key) {
            Some(slot) => {
                self.bytes = self.bytes.saturating_sub(slot.len()).saturating_add(value.len());
                if slot.len() == value.len() {
                    slot.copy_from_slice(value);
                } else {
                    *slot = value.into();
                }
            }
            None => {
                let shared: Arc<[u8]> = key.into();
                self.order.insert(Arc::clone(&shared));
                self.values.insert(shared, value.into());
                self.bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
            }
        }
    }

    /// Takes a key away, likewise.
    fn unset(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        let old = self.values.remove(key)?;
        self.order.remove(key);
        self.bytes = self.bytes.saturating_sub(key.len()).saturating_sub(old.len());
        Some(old)
    }
}

/// What [`ShardState::prepare`] made.
pub struct PreparedDiff {
    before: H256,
    after: H256,
    diff: StateDiff,
    commitment: LtHash,
}

impl PreparedDiff {
    /// Commitment to the state before.
    pub fn commitment_before(&self) -> H256 {
        self.before
    }

    /// Commitment to the state after.
    pub fn commitment_after(&self) -> H256 {
        self.after
    }

    /// The changes.
    pub fn diff(&self) -> &StateDiff {
        &self.diff
    }
}

impl fmt::Debug for ShardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardState({} keys, {} bytes)", self.len(), self.bytes)
    }
}
