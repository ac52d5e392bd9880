//! A disk under the real store that tells what it was told, and what of that a crash at any moment leaves.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

use cloister_store::StorageBackend;
use rand::Rng;

#[derive(Clone, Debug)]
enum Operation {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
    Sync,
}

#[derive(Debug, Default)]
struct State {
    contents: Vec<u8>,
    operations: Vec<Operation>,
    /// How many syncs succeed before the disk is gone.
    syncs_left: Option<u32>,
}

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct TornDisk(Arc<Mutex<State>>);

impl TornDisk {
    /// A disk on which these bytes are durable.
    pub fn with(contents: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { contents, ..State::default() })))
    }

    /// All that was written, synced or not: what a process leaves that is killed.
    pub fn contents(&self) -> Vec<u8> {
        self.state().contents.clone()
    }

    /// How many operations there were.
    pub fn operations(&self) -> usize {
        self.state().operations.len()
    }

    /// It is gone after so many syncs.
    pub fn fail_after(&self, syncs: u32) {
        self.state().syncs_left = Some(syncs);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl StorageBackend for TornDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().contents.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes =
            self.state().contents.get(offset as usize..).and_then(|rest| rest.get(..out.len())).map(<[u8]>::to_vec);
        out.copy_from_slice(&bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let operation = Operation::Length(len as usize);
        let mut state = self.state();
        operation.apply(&mut state.contents);
        state.operations.push(operation);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        match &mut state.syncs_left {
            Some(0) => return Err(io::Error::other("the disk is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        state.operations.push(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let operation = Operation::Write { offset: offset as usize, bytes: bytes.to_vec() };
        let mut state = self.state();
        operation.apply(&mut state.contents);
        state.operations.push(operation);
        Ok(())
    }
}

impl Operation {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                contents.resize(contents.len().max(offset + bytes.len()), 0);
                contents[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => contents.resize(*length, 0),
            Self::Sync => {}
        }
    }

    /// As a disk may split it: sectors of a write are independent of each other.
    fn sectors(&self) -> Vec<Self> {
        let Self::Write { offset, bytes } = self else { return vec![self.clone()] };
        let mut sectors = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let end = bytes.len().min(start + SECTOR - (offset + start) % SECTOR);
            sectors.push(Self::Write { offset: offset + start, bytes: bytes[start..end].to_vec() });
            start = end;
        }
        sectors
    }
}

/// What of the operations after the last sync reached the disk.
#[derive(Clone, Copy, Debug)]
pub enum Unsynced {
    Lost,
    Kept,
    /// Some whole operations.
    Some,
    /// Some sectors of some operations, in any order.
    Torn,
}

/// Walks through what a disk was told, to crash at every point.
pub struct Replay {
    durable: Vec<u8>,
    operations: Vec<Operation>,
    unsynced: Range<usize>,
}

impl Replay {
    /// Of what `disk` was told since it had `contents`.
    pub fn new(contents: Vec<u8>, disk: &TornDisk) -> Self {
        Self { durable: contents, operations: disk.state().operations.clone(), unsynced: 0..0 }
    }

    /// Goes on to just after so many operations.
    pub fn advance(&mut self, operations: usize) {
        while self.unsynced.end < operations {
            if let Operation::Sync = self.operations[self.unsynced.end] {
                self.operations[self.unsynced.clone()].iter().for_each(|operation| operation.apply(&mut self.durable));
                self.unsynced.start = self.unsynced.end + 1;
            }
            self.unsynced.end += 1;
        }
    }

    /// What a crash here leaves.
    pub fn crash(&self, unsynced: Unsynced, random: &mut impl Rng) -> Vec<u8> {
        let mut contents = self.durable.clone();
        let mut pending = self.operations[self.unsynced.clone()].to_vec();
        let share = random.gen_range(0.05..0.95);
        match unsynced {
            Unsynced::Lost => pending.clear(),
            Unsynced::Kept => {}
            Unsynced::Some => pending.retain(|_| random.gen_bool(share)),
            Unsynced::Torn => {
                pending = pending.iter().flat_map(Operation::sectors).collect();
                pending.retain(|_| random.gen_bool(share));
            }
        }
        pending.iter().for_each(|operation| operation.apply(&mut contents));
        contents
    }
}

const SECTOR: usize = 512;
