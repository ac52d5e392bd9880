//! How much storage a call may use.
//!
//! Counts what the call asks for, never time, so that all enclaves of a shard stop a call at the same place.

use std::{
    any::{Any, TypeId},
    panic::resume_unwind,
    thread,
};

use cloister_chain_primitives::Hashing;
use cloister_state::ShardState;
use codec::Encode;
use sp_core::{
    Hasher,
    storage::{ChildInfo, StateVersion, TrackedStorageKey},
};
use sp_externalities::{
    Error, Extension, ExtensionStore, Externalities, MultiRemovalResults, set_and_run_with_externalities,
};
use sp_state_machine::{Ext, OverlayedChanges};

/// Most lookups of storage that a call may make: values, hashes and the order of keys.
pub const MAX_READS: u32 = 10_000;
/// Most changes that a call may make. Clearing a prefix counts each key, and opening a transaction counts as one.
pub const MAX_WRITES: u32 = 2_000;
/// Most bytes of keys and values that a call may read and write together.
pub const MAX_BYTES: usize = 1 << 20;

/// What a call has used.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    reads: u32,
    writes: u32,
    bytes: usize,
    written: usize,
    stopped: Option<Stop>,
}

impl Meter {
    /// Runs a call on storage that is metered. A call that exceeds its share is unwound; whoever catches that asks
    /// [`Meter::stopped`] before it believes in any other reason.
    pub(crate) fn run<T>(
        &mut self,
        overlay: &mut OverlayedChanges<Hashing>,
        state: &ShardState,
        call: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let mut storage = Metered { inner: Ext::new(overlay, state, None), state, meter: &mut *self };
        let result = set_and_run_with_externalities(&mut storage, call);
        // A call that caught the unwinding itself has failed all the same.
        self.stopped.map_or(result, |stop| Err(stop.to_string()))
    }

    /// Why the call was stopped, if it was.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// Bytes of keys and values that the call wrote, those of one key as often as it was written.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    fn read(&mut self, bytes: usize) {
        self.count(1, 0, bytes);
    }

    fn write(&mut self, bytes: usize) {
        self.count(0, 1, bytes);
    }

    fn count(&mut self, reads: u32, writes: u32, bytes: usize) {
        self.reads = self.reads.saturating_add(reads);
        self.writes = self.writes.saturating_add(writes);
        self.bytes = self.bytes.saturating_add(bytes);
        if writes > 0 {
            self.written = self.written.saturating_add(bytes);
        }
        let limits = [
            (self.reads > MAX_READS, Stop::Reads),
            (self.writes > MAX_WRITES, Stop::Writes),
            (self.bytes > MAX_BYTES, Stop::Bytes),
        ];
        let exceeded = limits.into_iter().find_map(|(exceeded, stop)| exceeded.then_some(stop));
        // Once stopped a call gets no further, even if it catches the unwinding.
        if let Some(stop) = self.stopped.or(exceeded) {
            self.stop(stop);
        }
    }

    /// Unwinds the call without the process's panic hook, which reports mistakes of the code. While the thread already
    /// unwinds, the storage goes on: destructors of pallets change it (imbalances do), and a second unwinding would
    /// abort the process.
    fn stop(&mut self, stop: Stop) {
        self.stopped.get_or_insert(stop);
        if !thread::panicking() {
            resume_unwind(Box::new(Unwinding));
        }
    }
}

/// Why a call was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("exceeded its share: more than {MAX_READS} storage reads")]
    Reads,
    #[error("exceeded its share: more than {MAX_WRITES} storage writes")]
    Writes,
    #[error("exceeded its share: more than {MAX_BYTES} bytes of storage")]
    Bytes,
    /// Child tries, roots, the transaction index, benchmarks: no pallet of a shard uses them, a diff cannot carry them,
    /// and some have no bound.
    #[error("used storage of a kind that shards do not have")]
    Unsupported,
}

/// What unwinds a call.
struct Unwinding;

/// The block's storage as a call sees it.
struct Metered<'a> {
    inner: Ext<'a, Hashing, ShardState>,
    state: &'a ShardState,
    meter: &'a mut Meter,
}

impl Externalities for Metered<'_> {
    fn storage(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.meter.read(key.len());
        let value = self.inner.storage(key);
        self.meter.count(0, 0, value.as_ref().map_or(0, Vec::len));
        value
    }

    /// Costs what reading costs: the value is hashed.
    fn storage_hash(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.storage(key).map(|value| Hashing::hash(&value).encode())
    }

    fn exists_storage(&mut self, key: &[u8]) -> bool {
        self.meter.read(key.len());
        self.inner.exists_storage(key)
    }

    fn next_storage_key(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.meter.read(key.len());
        let next = self.inner.next_storage_key(key);
        self.meter.count(0, 0, next.as_ref().map_or(0, Vec::len));
        next
    }

    fn place_storage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.meter.write(key.len().saturating_add(value.as_ref().map_or(0, Vec::len)));
        self.inner.place_storage(key, value);
    }

    fn storage_append(&mut self, key: Vec<u8>, value: Vec<u8>) {
        // The first append copies what the state has.
        let copied = self.state.get(&key).map_or(0, <[u8]>::len);
        self.meter.write(key.len().saturating_add(value.len()).saturating_add(copied));
        self.inner.storage_append(key, value);
    }

    /// Stops at the first key too many, however many more the prefix has.
    fn clear_prefix(&mut self, prefix: &[u8], limit: Option<u32>, cursor: Option<&[u8]>) -> MultiRemovalResults {
        self.meter.write(prefix.len());
        let too_many = MAX_WRITES.saturating_sub(self.meter.writes).saturating_add(1);
        let limit = limit.map_or(too_many, |limit| limit.min(too_many));
        let results = self.inner.clear_prefix(prefix, Some(limit), cursor);
        self.meter.count(0, results.unique.max(results.loops), 0);
        results
    }

    fn set_offchain_storage(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.meter.write(key.len().saturating_add(value.map_or(0, <[u8]>::len)));
        self.inner.set_offchain_storage(key, value);
    }

    fn storage_start_transaction(&mut self) {
        self.meter.write(0);
        self.inner.storage_start_transaction();
    }

    fn storage_rollback_transaction(&mut self) -> Result<(), ()> {
        self.inner.storage_rollback_transaction()
    }

    fn storage_commit_transaction(&mut self) -> Result<(), ()> {
        self.inner.storage_commit_transaction()
    }

    fn child_storage_hash(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        self.unsupported(None)
    }

    fn child_storage(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        self.unsupported(None)
    }

    fn next_child_storage_key(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        self.unsupported(None)
    }

    fn kill_child_storage(&mut self, _: &ChildInfo, _: Option<u32>, _: Option<&[u8]>) -> MultiRemovalResults {
        self.unsupported(NOTHING_REMOVED)
    }

    fn clear_child_prefix(&mut self, _: &ChildInfo, _: &[u8], _: Option<u32>, _: Option<&[u8]>) -> MultiRemovalResults {
        self.unsupported(NOTHING_REMOVED)
    }

    fn place_child_storage(&mut self, _: &ChildInfo, _: Vec<u8>, _: Option<Vec<u8>>) {
        self.unsupported(());
    }

    fn storage_root(&mut self, _: StateVersion) -> Vec<u8> {
        self.unsupported(Vec::new())
    }

    fn child_storage_root(&mut self, _: &ChildInfo, _: StateVersion) -> Vec<u8> {
        self.unsupported(Vec::new())
    }

    fn storage_index_transaction(&mut self, _: u32, _: &[u8], _: u32) {
        self.unsupported(());
    }

    fn storage_renew_transaction_index(&mut self, _: u32, _: &[u8]) {
        self.unsupported(());
    }

    fn wipe(&mut self) {
        self.unsupported(());
    }

    fn commit(&mut self) {
        self.unsupported(());
    }

    fn reset_read_write_count(&mut self) {
        self.unsupported(());
    }

    fn set_whitelist(&mut self, _: Vec<TrackedStorageKey>) {
        self.unsupported(());
    }

    fn read_write_count(&self) -> (u32, u32, u32, u32) {
        self.inner.read_write_count()
    }

    fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
        self.inner.get_whitelist()
    }

    fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
        self.inner.get_read_and_written_keys()
    }
}

impl ExtensionStore for Metered<'_> {
    fn extension_by_type_id(&mut self, type_id: TypeId) -> Option<&mut dyn Any> {
        self.inner.extension_by_type_id(type_id)
    }

    fn register_extension_with_type_id(&mut self, type_id: TypeId, extension: Box<dyn Extension>) -> Result<(), Error> {
        self.inner.register_extension_with_type_id(type_id, extension)
    }

    fn deregister_extension_by_type_id(&mut self, type_id: TypeId) -> Result<(), Error> {
        self.inner.deregister_extension_by_type_id(type_id)
    }
}

impl Metered<'_> {
    /// Stops the call. `nothing` is for a destructor that runs while the call unwinds.
    fn unsupported<T>(&mut self, nothing: T) -> T {
        self.meter.stop(Stop::Unsupported);
        nothing
    }
}

const NOTHING_REMOVED: MultiRemovalResults =
    MultiRemovalResults { maybe_cursor: None, backend: 0, unique: 0, loops: 0 };
