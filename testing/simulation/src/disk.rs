//! What a host keeps, as its store keeps it.

use std::collections::BTreeMap;

use cloister_chain_primitives::H256;
use cloister_sidechain::{Keep, Kept};

/// Everything that was written, durable at once.
#[derive(Clone, Default, Debug)]
pub struct Disk {
    pub mark: Option<Vec<u8>>,
    /// Name, manifest and base of the current snapshot.
    pub snapshot: Option<([u8; 16], Vec<u8>, u64)>,
    pub pieces: BTreeMap<([u8; 16], u32), Vec<u8>>,
    pub blocks: BTreeMap<u64, (H256, Vec<u8>)>,
}

impl Disk {
    /// Writes one request.
    pub fn write(&mut self, keep: Keep) {
        match keep {
            Keep::Mark(mark) => self.mark = Some(mark),
            Keep::Block { number, hash, bytes } => {
                self.blocks.split_off(&number);
                self.blocks.insert(number, (hash, bytes));
            }
            Keep::SnapshotPiece { snapshot, index, bytes } => {
                self.pieces.insert((snapshot, index), bytes);
            }
            Keep::Snapshot { snapshot, manifest, first } => {
                self.pieces.retain(|(name, _), _| *name == snapshot);
                self.snapshot = Some((snapshot, manifest, first));
                let newest = self.blocks.last_key_value().map_or(0, |(number, _)| *number);
                let kept_from = newest.saturating_sub(KEPT_BLOCKS - 1).min(first);
                self.blocks = self.blocks.split_off(&kept_from);
            }
        }
    }

    /// What an enclave gets back, in order.
    pub fn kept(&self) -> Vec<Kept> {
        let mut kept: Vec<Kept> = self.mark.iter().cloned().map(Kept::Mark).collect();
        if let Some((name, manifest, _)) = &self.snapshot {
            kept.push(Kept::Manifest(manifest.clone()));
            let pieces = self.pieces.iter().filter(|((of, _), _)| of == name);
            kept.extend(pieces.map(|(_, bytes)| Kept::Piece(bytes.clone())));
        }
        kept.extend(self.blocks.values().map(|(_, bytes)| Kept::Block(bytes.clone())));
        kept
    }

    /// Forgets the newest blocks, down to this height.
    pub fn rewind(&mut self, height: u64) {
        self.blocks.split_off(&(height + 1));
    }
}

const KEPT_BLOCKS: u64 = 1_000;
