//! What a store has to do, in the plainest way.
use std::collections::BTreeMap;

use cloister_chain_primitives::H256;
use cloister_store::{KEPT_BLOCKS, Kept, SnapshotId, Write};
use rand::{Rng, seq::SliceRandom};

type Pieces = Vec<Vec<u8>>;

/// Keeps every block; of more than [`KEPT_BLOCKS`] it is the newest ones that a store has to have.
#[derive(Clone, Default)]
pub struct Model {
    mark: Option<Vec<u8>>,
    current: Option<(SnapshotId, Pieces, Vec<u8>, u64)>,
    unfinished: BTreeMap<SnapshotId, Pieces>,
    closed: Vec<SnapshotId>,
    blocks: BTreeMap<u64, (H256, Vec<u8>)>,
}

impl Model {
    /// Whether all of them are taken. If not, nothing changes.
    pub fn commit(&mut self, writes: &[Write]) -> bool {
        let mut next = self.clone();
        let taken = writes.iter().all(|write| next.write(write));
        if taken {
            *self = next;
        }
        taken
    }

    pub fn reopen(&mut self) {
        self.unfinished.clear();
        self.closed.clear();
    }

    pub fn recovery(&self) -> Vec<Kept> {
        let mut kept = Vec::from_iter(self.mark.clone().map(Kept::Mark));
        if let Some((_, pieces, manifest, _)) = &self.current {
            kept.push(Kept::Manifest(manifest.clone()));
            kept.extend(pieces.iter().cloned().map(Kept::Piece));
        }
        kept.extend(self.blocks.values().map(|(_, bytes)| Kept::Block(bytes.clone())));
        kept
    }

    /// Those that have to be there: hash and bytes, ascending.
    pub fn served(&self) -> Vec<(H256, Vec<u8>)> {
        let newest = self.newest().unwrap_or(0);
        let oldest = newest.saturating_sub(KEPT_BLOCKS - 1).min(self.first().unwrap_or(0));
        self.blocks.range(oldest..).map(|(_, block)| block.clone()).collect()
    }

    pub fn newest(&self) -> Option<u64> {
        self.blocks.last_key_value().map(|(number, _)| *number)
    }

    pub fn first(&self) -> Option<u64> {
        self.current.as_ref().map(|(.., first)| *first)
    }

    fn write(&mut self, write: &Write) -> bool {
        match write.clone() {
            Write::Mark(mark) => self.mark = Some(mark),
            Write::Block { number, hash, bytes } => {
                let oldest = self.blocks.first_key_value().map(|(number, _)| *number);
                let joins = match (oldest.zip(self.newest()), self.first()) {
                    (_, Some(first)) if number <= first => false,
                    (Some((oldest, newest)), _) => number >= oldest && number <= newest + 1,
                    (None, Some(first)) => number == first + 1,
                    (None, None) => true,
                };
                if !joins {
                    return false;
                }
                self.blocks.split_off(&number);
                self.blocks.insert(number, (hash, bytes));
            }
            Write::SnapshotPiece { snapshot, index, bytes } => {
                if self.current.as_ref().is_some_and(|current| current.0 == snapshot) || self.closed.contains(&snapshot)
                {
                    return false;
                }
                let pieces = self.unfinished.entry(snapshot).or_default();
                let index = index as usize;
                if index > pieces.len() {
                    return false;
                }
                pieces.splice(index..pieces.len().min(index + 1), [bytes]);
            }
            Write::Snapshot { snapshot, manifest, first } => {
                let joins = match self.blocks.first_key_value().zip(self.newest()) {
                    Some(((oldest, _), newest)) => first + 1 >= *oldest && first <= newest,
                    None => true,
                };
                let Some(pieces) = self.unfinished.remove(&snapshot).filter(|pieces| joins && !pieces.is_empty())
                else {
                    return false;
                };
                self.closed.extend(self.current.take().map(|current| current.0));
                self.closed.extend(std::mem::take(&mut self.unfinished).into_keys());
                self.current = Some((snapshot, pieces, manifest, first));
            }
        }
        true
    }
}

/// Writes of which most join what the model has, some do not. Hashes and snapshots never come twice, since a store may
/// forget them.
pub struct Author {
    next_hash: u64,
    next_snapshot: u8,
    largest: usize,
}

impl Author {
    pub fn new(largest: usize) -> Self {
        Self { next_hash: 0, next_snapshot: 0, largest }
    }

    pub fn commit(&mut self, model: &Model, random: &mut impl Rng) -> Vec<Write> {
        let mut ahead = model.clone();
        let writes = (0..random.gen_range(1..5)).map(|_| {
            let write = self.write(&ahead, random);
            ahead.commit(std::slice::from_ref(&write));
            write
        });
        writes.collect()
    }

    fn write(&mut self, model: &Model, random: &mut impl Rng) -> Write {
        let next = model.newest().or(model.first()).unwrap_or(0) + 1;
        match random.gen_range(0..20) {
            0..9 => self.block(next, random),
            9 => self.block(random.gen_range(next.saturating_sub(6)..=next + 1), random),
            10 => Write::Mark(self.bytes(random)),
            11..17 => {
                let unfinished = model.unfinished.iter().collect::<Vec<_>>();
                let (snapshot, pieces) = match unfinished.choose(random) {
                    Some((id, pieces)) if random.gen_bool(0.8) => (**id, pieces.len()),
                    _ => {
                        self.next_snapshot += 1;
                        ([self.next_snapshot; 16], 0)
                    }
                };
                // Seldom one too late, or one again.
                let index = (pieces + random.gen_range(0..20) / 19).saturating_sub(random.gen_range(0..10) / 9) as u32;
                Write::SnapshotPiece { snapshot, index, bytes: self.bytes(random) }
            }
            _ => {
                let unfinished = model.unfinished.keys().copied().collect::<Vec<_>>();
                let snapshot = unfinished.choose(random).copied().unwrap_or([0; 16]);
                let first = random.gen_range((next - 1).saturating_sub(8)..=next);
                Write::Snapshot { snapshot, manifest: self.bytes(random), first }
            }
        }
    }

    fn block(&mut self, number: u64, random: &mut impl Rng) -> Write {
        self.next_hash += 1;
        let hash = H256::from_low_u64_be(self.next_hash);
        Write::Block { number, hash, bytes: self.bytes(random) }
    }

    /// Mostly small, sometimes several pages.
    fn bytes(&self, random: &mut impl Rng) -> Vec<u8> {
        let most = if random.gen_bool(0.2) { self.largest } else { 100 };
        let mut bytes = vec![0; random.gen_range(0..most)];
        random.fill_bytes(&mut bytes);
        bytes
    }
}
