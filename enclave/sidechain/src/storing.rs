//! What the host keeps for the enclave: requests in order, and snapshots in the background.

use cloister_chain_primitives::H256;
use cloister_state::{Point, Scope, SnapshotWriter};

use crate::{
    action::{Action, Keep, Stop},
    engine::Engine,
};

/// When and how the state is snapshotted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotRules {
    /// Blocks may grow to so many bytes before a snapshot is taken, or to the state's own size if that is more: what
    /// recovery reads stays within a small multiple of the state.
    pub journal_bytes: u64,
    /// Keys and values in a piece, bytes, roughly: one more entry than fits.
    pub piece_bytes: usize,
}

impl Default for SnapshotRules {
    /// After 4 MiB, in pieces of 256 KiB, which take about a millisecond each.
    fn default() -> Self {
        Self { journal_bytes: 4 * 1024 * 1024, piece_bytes: 256 * 1024 }
    }
}

/// Snapshots and the blocks after the newest.
pub(crate) struct Snapshots {
    rules: SnapshotRules,
    /// The block on which the newest snapshot rests; 0 without one.
    pub base: u64,
    /// Bytes of the blocks after it.
    pub journal_bytes: u64,
    taking: Option<Taking>,
}

/// A snapshot that is being taken.
struct Taking {
    writer: SnapshotWriter,
    /// Bytes of the blocks after its base.
    bytes_since: u64,
    step: Step,
}

/// How far it is.
enum Step {
    /// The next piece can be taken.
    Take,
    /// A piece is being stored.
    Piece(u64),
    /// What makes it complete is being stored.
    Manifest(u64),
}

impl Snapshots {
    /// None yet.
    pub fn new(rules: SnapshotRules) -> Self {
        Self { rules, base: 0, journal_bytes: 0, taking: None }
    }

    /// What recovery found.
    pub fn recovered(&mut self, base: u64, journal_bytes: u64) {
        self.base = base;
        self.journal_bytes = journal_bytes;
    }

    /// A block of so many bytes was asked to be kept.
    fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.journal_bytes = self.journal_bytes.saturating_add(bytes);
        if let Some(taking) = &mut self.taking {
            taking.bytes_since = taking.bytes_since.saturating_add(bytes);
        }
    }

    fn stored(&mut self, stored: u64) {
        let Some(taking) = &mut self.taking else { return };
        match taking.step {
            Step::Piece(sequence) if sequence == stored => taking.step = Step::Take,
            Step::Manifest(sequence) if sequence == stored => {
                self.base = taking.writer.first().number;
                self.journal_bytes = taking.bytes_since;
                self.taking = None;
            }
            _ => {}
        }
    }
}

impl Engine {
    /// The host kept what it was asked to keep under this number. Any other number changes nothing.
    pub fn stored(&mut self, sequence: u64) {
        if self.stopped {
            return;
        }
        self.snapshots.stored(sequence);
        self.stored_for_block(sequence);
    }

    /// Asks the host to keep something; under which number.
    pub(crate) fn store(&mut self, keep: Keep) -> u64 {
        if let Keep::Block { bytes, .. } = &keep {
            self.snapshots.count(bytes.len());
        }
        self.stores = self.stores.saturating_add(1);
        self.actions.push(Action::Store { sequence: self.stores, keep });
        self.stores
    }

    /// Goes on with a snapshot by a piece at most, or begins one when the blocks since the last have grown too many.
    pub(crate) fn take_snapshot(&mut self) {
        if self.snapshots.taking.is_none() {
            let state_bytes = u64::try_from(self.state.bytes()).unwrap_or(u64::MAX);
            if self.snapshots.journal_bytes < state_bytes.max(self.snapshots.rules.journal_bytes) {
                return;
            }
            let (number, hash) = self.head.as_ref().map_or((0, H256::zero()), |head| (self.height(), head.hash));
            match SnapshotWriter::begin(Point { number, hash }) {
                // A block that is being stored comes after the base.
                Ok(writer) => {
                    let bytes_since = self.pending_bytes();
                    self.snapshots.taking = Some(Taking { writer, bytes_since, step: Step::Take });
                }
                Err(_) => return self.stop(Stop::Internal("no randomness for a snapshot")),
            }
        }
        let (height, piece_bytes) = (self.height(), self.snapshots.rules.piece_bytes);
        let Some(taking) = self.snapshots.taking.as_mut().filter(|taking| matches!(taking.step, Step::Take)) else {
            return;
        };
        let scope = Scope { secret: &self.state_secret, genesis: &self.genesis, shard: &self.shard };
        let (snapshot, index) = (taking.writer.name(), taking.writer.chunks());
        let keep = match taking.writer.chunk(&self.state, height, &scope, piece_bytes) {
            Some(Ok(bytes)) => Keep::SnapshotPiece { snapshot, index, bytes },
            Some(Err(_)) => return self.stop(Stop::Internal("a piece of a snapshot could not be sealed")),
            None => {
                let first = taking.writer.first().number;
                match taking.writer.manifest(&scope) {
                    Some(Ok(manifest)) => Keep::Snapshot { snapshot, manifest, first },
                    _ => return self.stop(Stop::Internal("a snapshot could not be sealed")),
                }
            }
        };
        let is_piece = matches!(keep, Keep::SnapshotPiece { .. });
        let sequence = self.store(keep);
        if let Some(taking) = &mut self.snapshots.taking {
            taking.step = if is_piece { Step::Piece(sequence) } else { Step::Manifest(sequence) };
        }
    }
}
