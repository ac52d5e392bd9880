use cloister_chain_primitives::H256;
use redb::ReadableTable;

use crate::{
    SnapshotId, StoreError, Write,
    error::Failure,
    tables::{Tables, extent},
};

/// At least so many of the newest blocks are kept.
pub const KEPT_BLOCKS: u64 = 1000;

impl Tables<'_> {
    pub(crate) fn write(&mut self, writes: &[Write]) -> Result<(), Failure> {
        let mut pieces = SWEPT_PIECES;
        for write in writes {
            match write {
                Write::Block { number, hash, bytes } => self.block(*number, hash, bytes)?,
                Write::SnapshotPiece { snapshot, index, bytes } => {
                    self.piece(snapshot, *index, bytes)?;
                    pieces = pieces.saturating_add(1);
                }
                Write::Snapshot { snapshot, manifest, first } => self.complete(snapshot, manifest, *first)?,
                Write::Mark(bytes) => drop(self.mark.insert((), bytes.as_slice())?),
            }
        }
        self.sweep_pieces(pieces)?;
        self.sweep_blocks()
    }

    /// What a crash left of snapshots that were not complete goes, and all that was to be swept.
    pub(crate) fn give_up_unfinished(&mut self) -> Result<(), Failure> {
        self.give_up_taken()?;
        self.sweep_pieces(u32::MAX)
    }

    /// Whether [`Self::give_up_unfinished`] would change anything.
    pub(crate) fn has_unfinished(&self) -> Result<bool, Failure> {
        Ok(self.taken.first()?.is_some() || self.stale.first()?.is_some())
    }

    fn block(&mut self, number: u64, hash: &H256, bytes: &[u8]) -> Result<(), Failure> {
        let first = self.snapshot.get(())?.map(|snapshot| snapshot.value().2);
        let kept = extent(&self.blocks)?;
        if let Some(first) = first.filter(|first| number <= *first) {
            return Err(Failure::Refused(StoreError::BeforeSnapshot { number, first }));
        }
        let (oldest, newest) = match (kept, first) {
            (Some(kept), _) => kept,
            (None, Some(first)) => (first.saturating_add(1), first),
            (None, None) => (number, number),
        };
        if number < oldest || number > newest.saturating_add(1) {
            return Err(Failure::Refused(StoreError::Gap { number, oldest, newest }));
        }
        if kept.is_some() {
            (number..=newest).rev().try_for_each(|number| self.remove_block(number))?;
        }
        self.blocks.insert(number, (hash.as_fixed_bytes(), bytes))?;
        self.numbers.insert(hash.as_fixed_bytes(), number)?;
        Ok(())
    }

    fn remove_block(&mut self, number: u64) -> Result<(), Failure> {
        let Some(hash) = self.blocks.remove(number)?.map(|block| *block.value().0) else { return Ok(()) };
        // A later block of the same hash is none of this one's.
        if self.numbers.get(&hash)?.is_some_and(|of| of.value() == number) {
            self.numbers.remove(&hash)?;
        }
        Ok(())
    }

    fn piece(&mut self, snapshot: &SnapshotId, index: u32, bytes: &[u8]) -> Result<(), Failure> {
        let current = self.snapshot.get(())?.is_some_and(|current| current.value().0 == snapshot);
        if current || self.stale.get(snapshot)?.is_some() {
            return Err(Failure::Refused(StoreError::Closed(*snapshot)));
        }
        let expected = self.taken.get(snapshot)?.map_or(0, |count| count.value());
        if index > expected {
            let snapshot = *snapshot;
            return Err(Failure::Refused(StoreError::MissingPiece { snapshot, index, expected }));
        }
        self.pieces.insert((snapshot, index), bytes)?;
        self.taken.insert(snapshot, expected.max(index.saturating_add(1)))?;
        Ok(())
    }

    fn complete(&mut self, snapshot: &SnapshotId, manifest: &[u8], first: u64) -> Result<(), Failure> {
        let Some(pieces) = self.taken.remove(snapshot)?.map(|count| count.value()) else {
            return Err(Failure::Refused(StoreError::NoPieces(*snapshot)));
        };
        if let Some((oldest, newest)) = extent(&self.blocks)?
            && (first > newest || first.saturating_add(1) < oldest)
        {
            return Err(Failure::Refused(StoreError::OutOfReach { first, oldest, newest }));
        }
        if let Some(replaced) = self.snapshot.insert((), (snapshot, pieces, first, manifest))? {
            let (id, pieces, ..) = replaced.value();
            self.stale.insert(id, pieces)?;
        }
        self.give_up_taken()
    }

    fn give_up_taken(&mut self) -> Result<(), Failure> {
        while let Some((id, pieces)) = self.taken.pop_first()? {
            self.stale.insert(id.value(), pieces.value())?;
        }
        Ok(())
    }

    /// Removes as many stale pieces as it may. To remove one is to read it; a whole snapshot at once would keep blocks
    /// waiting.
    fn sweep_pieces(&mut self, mut budget: u32) -> Result<(), Failure> {
        while budget > 0 {
            let Some((id, left)) = self.stale.first()?.map(|(id, left)| (*id.value(), left.value())) else {
                return Ok(());
            };
            let swept = left.min(budget);
            let left = left.saturating_sub(swept);
            for index in left..left.saturating_add(swept) {
                self.pieces.remove((&id, index))?;
            }
            match left {
                0 => self.stale.remove(&id)?.is_some(),
                left => self.stale.insert(&id, left)?.is_some(),
            };
            budget = budget.saturating_sub(swept);
        }
        Ok(())
    }

    /// Removes the oldest of the blocks that nobody needs, more than came in the meantime.
    fn sweep_blocks(&mut self) -> Result<(), Failure> {
        let first = self.snapshot.get(())?.map(|snapshot| snapshot.value().2);
        let (Some(first), Some((oldest, newest))) = (first, extent(&self.blocks)?) else { return Ok(()) };
        // The one on which the snapshot rests is needed, too: it says that the earlier ones are its ancestors.
        let Some(last) =
            newest.checked_sub(KEPT_BLOCKS).zip(first.checked_sub(1)).map(|(newest, first)| newest.min(first))
        else {
            return Ok(());
        };
        (oldest..=last).take(SWEPT_BLOCKS).try_for_each(|number| self.remove_block(number))
    }
}

/// So many stale pieces a commit removes, and one more for each that it brings.
const SWEPT_PIECES: u32 = 4;
/// Most blocks that a commit removes because nobody needs them.
const SWEPT_BLOCKS: usize = 256;
