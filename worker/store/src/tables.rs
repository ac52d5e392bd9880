use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};

use crate::SnapshotId;

type Bytes = &'static [u8];
type Id = &'static SnapshotId;

/// `format` is a u32, little-endian, and `shard` 32 bytes.
pub(crate) const META: TableDefinition<&str, Bytes> = TableDefinition::new("meta");
pub(crate) const MARK: TableDefinition<(), Bytes> = TableDefinition::new("mark");
/// The current snapshot, how many pieces it has, the block on which it rests, its manifest.
pub(crate) const SNAPSHOT: TableDefinition<(), (Id, u32, u64, Bytes)> = TableDefinition::new("snapshot");
/// How many pieces there are of snapshots that are not complete. Counted here, because looking for pieces reads them.
pub(crate) const TAKEN: TableDefinition<Id, u32> = TableDefinition::new("taken");
/// How many pieces there still are of snapshots that were replaced or given up.
pub(crate) const STALE: TableDefinition<Id, u32> = TableDefinition::new("stale");
pub(crate) const PIECES: TableDefinition<(Id, u32), Bytes> = TableDefinition::new("pieces");
/// Hash and bytes by number, without a gap.
pub(crate) const BLOCKS: TableDefinition<u64, (&'static [u8; 32], Bytes)> = TableDefinition::new("blocks");
pub(crate) const NUMBERS: TableDefinition<&'static [u8; 32], u64> = TableDefinition::new("numbers");

/// Those that a commit changes.
pub(crate) struct Tables<'t> {
    pub mark: Table<'t, (), Bytes>,
    pub snapshot: Table<'t, (), (Id, u32, u64, Bytes)>,
    pub taken: Table<'t, Id, u32>,
    pub stale: Table<'t, Id, u32>,
    pub pieces: Table<'t, (Id, u32), Bytes>,
    pub blocks: Table<'t, u64, (&'static [u8; 32], Bytes)>,
    pub numbers: Table<'t, &'static [u8; 32], u64>,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            mark: transaction.open_table(MARK)?,
            snapshot: transaction.open_table(SNAPSHOT)?,
            taken: transaction.open_table(TAKEN)?,
            stale: transaction.open_table(STALE)?,
            pieces: transaction.open_table(PIECES)?,
            blocks: transaction.open_table(BLOCKS)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }
}

/// The oldest and the newest block.
pub(crate) fn extent(
    blocks: &impl ReadableTable<u64, (&'static [u8; 32], Bytes)>,
) -> Result<Option<(u64, u64)>, StorageError> {
    let oldest = blocks.first()?.map(|(number, _)| number.value());
    let newest = blocks.last()?.map(|(number, _)| number.value());
    Ok(oldest.zip(newest))
}
