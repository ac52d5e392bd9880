use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use cloister_chain_primitives::{H256, ShardId};
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction, backends::FileBackend,
};

use crate::{
    Figures, RangeError, Recovery, StoreError, Write,
    error::Failure,
    read,
    tables::{META, Tables},
};

/// Name of the file in its directory.
pub const FILE: &str = "state.redb";

/// Version of the layout of the tables.
pub const FORMAT: u32 = 1;

/// The store of one shard. All calls block, and any number of threads may make them; commits wait for each other.
pub struct Store {
    path: Arc<Path>,
    database: Database,
}

impl Store {
    /// Opens the file in `directory`, or creates both. Reads the whole file once, to check it, and removes what there
    /// is of snapshots that were never complete.
    ///
    /// What changes in an open file behind the store's back is the enclave's to notice, as is one bit of the file's
    /// first bytes that after a crash says which of the last two commits is the newest.
    pub fn open(directory: &Path, shard: ShardId) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io { path, error }
        };
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => sync(parent(directory)).map_err(io(directory))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(directory)(error)),
        }
        // Creation is for one at a time; the database itself is locked only once it is there.
        let creation = File::open(directory).map_err(io(directory))?;
        match creation.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(io(directory)(error)),
        }
        if !path.try_exists().map_err(io(&path))? {
            create(directory, &path, shard)?;
        }
        Self::check(builder().open(&path), &path, shard)
    }

    /// A store on something else than a file, for simulations. `name` stands for the file in errors.
    pub fn with_backend(backend: impl StorageBackend, name: &Path, shard: ShardId) -> Result<Self, StoreError> {
        let fresh = backend.len().map_err(|error| StoreError::Io { path: name.to_owned(), error })? == 0;
        let database = builder().create_with_backend(backend);
        if fresh && let Ok(database) = &database {
            initialise(database, shard).map_err(|failure| failure.at(name))?;
        }
        Self::check(database, name, shard)
    }

    fn check(database: Result<Database, redb::DatabaseError>, path: &Path, shard: ShardId) -> Result<Self, StoreError> {
        let store = Self { path: path.into(), database: database.map_err(|error| Failure::from(error).at(path))? };
        store.check_meta(shard)?;
        store.give_up_unfinished().map_err(|failure| failure.at(path))?;
        Ok(store)
    }

    fn check_meta(&self, shard: ShardId) -> Result<(), StoreError> {
        let read = || -> Result<_, Failure> {
            let meta = self.database.begin_read()?.open_table(META)?;
            let format = meta.get("format")?.and_then(|format| format.value().try_into().ok());
            let kept = meta.get("shard")?.and_then(|shard| shard.value().try_into().ok());
            Ok((
                u32::from_le_bytes(format.ok_or(Failure::Damaged("it names no format"))?),
                ShardId(H256(kept.ok_or(Failure::Damaged("it names no shard"))?)),
            ))
        };
        let (found, kept) = read().map_err(|failure| failure.at(&self.path))?;
        let path = self.path.to_path_buf();
        if found != FORMAT {
            return Err(StoreError::Version { path, found });
        }
        if kept != shard {
            return Err(StoreError::OtherShard { path, kept, asked: shard });
        }
        Ok(())
    }

    fn give_up_unfinished(&self) -> Result<(), Failure> {
        let transaction = begin_write(&self.database)?;
        let mut tables = Tables::open(&transaction)?;
        if !tables.has_unfinished()? {
            return Ok(());
        }
        tables.give_up_unfinished()?;
        drop(tables);
        Ok(transaction.commit()?)
    }

    /// Keeps all of them, in this order, or none. They are durable when this returns.
    ///
    /// On disk a piece of a snapshot takes the power of two, of bytes, that holds it and about 40 more. What a snapshot
    /// makes superfluous goes with this and later commits, but never the newest [`KEPT_BLOCKS`](crate::KEPT_BLOCKS).
    pub fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let commit = || -> Result<(), Failure> {
            let transaction = begin_write(&self.database)?;
            Tables::open(&transaction)?.write(writes)?;
            Ok(transaction.commit()?)
        };
        commit().map_err(|failure| failure.at(&self.path))
    }

    /// What the enclave needs to go on.
    pub fn recovery(&self) -> Result<Recovery, StoreError> {
        let recovery = |transaction| Recovery::read(&transaction, self.path.clone());
        self.begin_read().and_then(recovery).map_err(|failure| failure.at(&self.path))
    }

    /// The blocks after `from` up to `until`, or the newest; the zero hash stands before block 1. If they are more
    /// than `max_bytes`, only the first of them, one at least: whoever wants the others asks again from the last.
    pub fn range(&self, from: H256, until: Option<H256>, max_bytes: usize) -> Result<Vec<Vec<u8>>, RangeError> {
        let transaction = self.begin_read().map_err(|failure| failure.at(&self.path))?;
        read::range(&transaction, &self.path, from, until, max_bytes)
    }

    /// What there is.
    pub fn figures(&self) -> Result<Figures, StoreError> {
        let figures = |transaction| Figures::read(&transaction);
        self.begin_read().and_then(figures).map_err(|failure| failure.at(&self.path))
    }

    /// Length of the file, bytes.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        let metadata = fs::metadata(&self.path);
        metadata.map(|metadata| metadata.len()).map_err(|error| StoreError::Io { path: self.path.to_path_buf(), error })
    }

    fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        Ok(self.database.begin_read()?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Store").field(&self.path).finish()
    }
}

/// Makes the file under another name first: one that has the right name is whole, so an empty one is damage, never a
/// store that was about to be created.
fn create(directory: &Path, path: &Path, shard: ShardId) -> Result<(), StoreError> {
    let unfinished = directory.join(UNFINISHED_FILE);
    let make = || -> Result<(), Failure> {
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        initialise(&database, shard)?;
        database.close()?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, path)?;
        Ok(sync(directory)?)
    };
    make().map_err(|failure| failure.at(path))
}

fn initialise(database: &Database, shard: ShardId) -> Result<(), Failure> {
    let transaction = begin_write(database)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert("format", FORMAT.to_le_bytes().as_slice())?;
    meta.insert("shard", shard.as_ref())?;
    drop(meta);
    drop(Tables::open(&transaction)?);
    Ok(transaction.commit()?)
}

/// In two phases: a commit that is the newest is known to be whole, so if it does not read right the file is damaged.
/// With one phase the database would take that for a commit that a crash interrupted, and go back to the one before.
fn begin_write(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Checked when it is opened, a damaged file is an error; later it might be a panic.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn parent(directory: &Path) -> &Path {
    directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const UNFINISHED_FILE: &str = "state.redb.new";
const CACHE_BYTES: usize = 32 * 1024 * 1024;
