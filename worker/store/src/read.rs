use std::{
    ops::{Range, RangeInclusive},
    path::Path,
    sync::Arc,
};

use cloister_chain_primitives::H256;
use redb::{ReadOnlyTable, ReadTransaction};

use crate::{
    Kept, RangeError, SnapshotId, StoreError,
    error::Failure,
    tables::{BLOCKS, MARK, NUMBERS, PIECES, SNAPSHOT, extent},
};

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Figures {
    /// Number of the oldest block.
    pub oldest_block: Option<u64>,
    /// Number of the newest block.
    pub newest_block: Option<u64>,
    /// The block on which the current snapshot rests.
    pub snapshot_first: Option<u64>,
}

impl Figures {
    pub(crate) fn read(transaction: &ReadTransaction) -> Result<Self, Failure> {
        let (oldest_block, newest_block) = extent(&transaction.open_table(BLOCKS)?)?.unzip();
        let snapshot_first = transaction.open_table(SNAPSHOT)?.get(())?.map(|snapshot| snapshot.value().2);
        Ok(Self { oldest_block, newest_block, snapshot_first })
    }
}

/// All that a recovery needs, as it was when it was asked for: the mark, manifest and pieces of the current snapshot,
/// all blocks, ascending; also those on which the snapshot rests, because the one that others know to be the newest may
/// be among them. Reads one at a time. Ends after an error.
///
/// What is written meanwhile cannot take the place of what is removed meanwhile, as long as this lives.
pub struct Recovery {
    path: Arc<Path>,
    mark: Option<Vec<u8>>,
    manifest: Option<Vec<u8>>,
    snapshot: SnapshotId,
    indices: Range<u32>,
    numbers: RangeInclusive<u64>,
    pieces: ReadOnlyTable<(&'static SnapshotId, u32), &'static [u8]>,
    blocks: ReadOnlyTable<u64, (&'static [u8; 32], &'static [u8])>,
}

impl Recovery {
    pub(crate) fn read(transaction: &ReadTransaction, path: Arc<Path>) -> Result<Self, Failure> {
        let mark = transaction.open_table(MARK)?.get(())?.map(|mark| mark.value().to_vec());
        let current = transaction.open_table(SNAPSHOT)?.get(())?.map(|snapshot| {
            let (id, pieces, _, manifest) = snapshot.value();
            (*id, pieces, Some(manifest.to_vec()))
        });
        let (snapshot, count, manifest) = current.unwrap_or_default();
        let blocks = transaction.open_table(BLOCKS)?;
        let numbers = extent(&blocks)?.map_or(NONE, |(oldest, newest)| oldest..=newest);
        let pieces = transaction.open_table(PIECES)?;
        Ok(Self { path, mark, manifest, snapshot, indices: 0..count, numbers, pieces, blocks })
    }

    fn read_next(&mut self) -> Result<Option<Kept>, Failure> {
        if let Some(mark) = self.mark.take() {
            return Ok(Some(Kept::Mark(mark)));
        }
        if let Some(manifest) = self.manifest.take() {
            return Ok(Some(Kept::Manifest(manifest)));
        }
        if let Some(index) = self.indices.next() {
            let piece = self.pieces.get((&self.snapshot, index))?.ok_or(Failure::Damaged("a piece is missing"))?;
            return Ok(Some(Kept::Piece(piece.value().to_vec())));
        }
        let Some(number) = self.numbers.next() else { return Ok(None) };
        let block = self.blocks.get(number)?.ok_or(Failure::Damaged("a block is missing"))?;
        Ok(Some(Kept::Block(block.value().1.to_vec())))
    }
}

impl Iterator for Recovery {
    type Item = Result<Kept, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_next()
            .map_err(|failure| {
                (self.indices, self.numbers) = (0..0, NONE);
                failure.at(&self.path)
            })
            .transpose()
    }
}

/// See [`crate::Store::range`].
pub(crate) fn range(
    transaction: &ReadTransaction,
    path: &Path,
    from: H256,
    until: Option<H256>,
    max_bytes: usize,
) -> Result<Vec<Vec<u8>>, RangeError> {
    let failed = |failure: Failure| RangeError::Store(failure.at(path));
    let open = || -> Result<_, Failure> {
        let blocks = transaction.open_table(BLOCKS)?;
        let kept = extent(&blocks)?;
        Ok((blocks, kept, transaction.open_table(NUMBERS)?))
    };
    let (blocks, kept, numbers) = open().map_err(failed)?;
    let number_of = |hash: H256| -> Result<Option<u64>, RangeError> {
        let number = numbers.get(hash.as_fixed_bytes()).map_err(|error| failed(error.into()))?;
        Ok(number.map(|number| number.value()))
    };
    let from_number = match number_of(from)? {
        Some(number) => number,
        None if from.is_zero() && kept.is_none_or(|(oldest, _)| oldest == 1) => 0,
        None => return Err(RangeError::UnknownBlock(from)),
    };
    let until_number = match until {
        Some(until) => number_of(until)?.ok_or(RangeError::UnknownBlock(until))?,
        None => kept.map_or(0, |(_, newest)| newest),
    };
    if until_number < from_number {
        return Err(RangeError::Backwards { from, until: until.unwrap_or_default() });
    }
    let mut answer = Vec::new();
    let mut bytes = 0usize;
    for number in from_number.saturating_add(1)..=until_number {
        let block = blocks.get(number).map_err(|error| failed(error.into()))?;
        let block = block.ok_or_else(|| failed(Failure::Damaged("a block is missing")))?;
        let (_, block) = block.value();
        bytes = bytes.saturating_add(block.len());
        if bytes > max_bytes && !answer.is_empty() {
            break;
        }
        answer.push(block.to_vec());
    }
    Ok(answer)
}

#[allow(clippy::reversed_empty_ranges, reason = "it is to be empty")]
const NONE: RangeInclusive<u64> = 1..=0;
