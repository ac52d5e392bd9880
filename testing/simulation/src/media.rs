//! What a simulated host keeps on: a plain disk, or the real store on one that tears.

use std::path::Path;

use cloister_chain_primitives::ShardId;
use cloister_sidechain::{Keep, Kept};
use cloister_store::{Store, Write};
use rand::Rng;

use crate::{
    Disk,
    torn::{Replay, TornDisk, Unsynced},
};

pub enum Media {
    /// Commits are whole or not at all.
    Plain(Disk),
    /// As production keeps it.
    Real(Box<Real>),
}

/// An open store.
pub struct Real {
    shard: ShardId,
    /// What was durable when it was opened.
    opened: Vec<u8>,
    disk: TornDisk,
    store: Store,
}

/// How a machine ends while something is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The processes are killed; what they wrote, the system writes.
    Killed,
    /// Power fails.
    Power,
}

impl Media {
    pub fn real(shard: ShardId) -> Result<Self, String> {
        Ok(Self::Real(Box::new(Real::open(shard, Vec::new())?)))
    }

    pub fn is_real(&self) -> bool {
        matches!(self, Self::Real(_))
    }

    /// Durable when this returns.
    pub fn commit(&mut self, keep: Keep) -> Result<(), String> {
        match self {
            Self::Plain(disk) => disk.write(keep),
            Self::Real(real) => real.store.commit(&[write(keep)]).map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    /// All processes end, while `writing` is being kept.
    pub fn end(&mut self, ending: Ending, writing: Option<Keep>, random: &mut impl Rng) -> Result<(), String> {
        match self {
            Self::Plain(disk) => {
                if let Some(keep) = writing.filter(|_| random.gen_bool(0.5)) {
                    disk.write(keep);
                }
            }
            Self::Real(real) => {
                let before = real.disk.operations();
                if let Some(keep) = writing {
                    real.store.commit(&[write(keep)]).map_err(|error| error.to_string())?;
                }
                let mut replay = Replay::new(real.opened.clone(), &real.disk);
                replay.advance(random.gen_range(before..=real.disk.operations()));
                let kinds = [Unsynced::Lost, Unsynced::Kept, Unsynced::Some, Unsynced::Torn];
                let unsynced = match ending {
                    Ending::Killed => Unsynced::Kept,
                    Ending::Power => kinds[random.gen_range(0..kinds.len())],
                };
                **real = Real::open(real.shard, replay.crash(unsynced, random))?;
            }
        }
        Ok(())
    }

    /// What an enclave gets back, in order.
    pub fn kept(&self) -> Result<Vec<Kept>, String> {
        match self {
            Self::Plain(disk) => Ok(disk.kept()),
            Self::Real(real) => {
                let recovery = real.store.recovery().map_err(|error| error.to_string())?;
                recovery.map(|kept| kept.map(given_back).map_err(|error| error.to_string())).collect()
            }
        }
    }

    /// What a backup of it has.
    pub fn copy(&self) -> Result<Self, String> {
        match self {
            Self::Plain(disk) => Ok(Self::Plain(disk.clone())),
            Self::Real(real) => Ok(Self::Real(Box::new(Real::open(real.shard, real.disk.contents())?))),
        }
    }

    /// Loses the newest block, as no disk may.
    pub fn lose_newest(&mut self) {
        if let Self::Plain(disk) = self {
            disk.blocks.pop_last();
        }
    }

    /// Loses all blocks above this height, likewise.
    pub fn rewind(&mut self, height: u64) {
        if let Self::Plain(disk) = self {
            disk.rewind(height);
        }
    }
}

impl Real {
    fn open(shard: ShardId, contents: Vec<u8>) -> Result<Self, String> {
        let disk = TornDisk::with(contents.clone());
        let store =
            Store::with_backend(disk.clone(), Path::new("simulated"), shard).map_err(|error| error.to_string())?;
        Ok(Self { shard, opened: contents, disk, store })
    }
}

fn write(keep: Keep) -> Write {
    match keep {
        Keep::Mark(mark) => Write::Mark(mark),
        Keep::Block { number, hash, bytes } => Write::Block { number, hash, bytes },
        Keep::SnapshotPiece { snapshot, index, bytes } => Write::SnapshotPiece { snapshot, index, bytes },
        Keep::Snapshot { snapshot, manifest, first } => Write::Snapshot { snapshot, manifest, first },
    }
}

fn given_back(kept: cloister_store::Kept) -> Kept {
    match kept {
        cloister_store::Kept::Mark(mark) => Kept::Mark(mark),
        cloister_store::Kept::Manifest(manifest) => Kept::Manifest(manifest),
        cloister_store::Kept::Piece(piece) => Kept::Piece(piece),
        cloister_store::Kept::Block(block) => Kept::Block(block),
    }
}
