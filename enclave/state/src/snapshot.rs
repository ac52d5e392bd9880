//! Snapshots of a state that goes on changing.
//!
//! A snapshot is taken piece by piece, in the order of keys, each piece of the state as it is after some block. So none is
//! larger than its taker wants, and nothing is copied or held back. The pieces do not fit together by themselves: a change
//! of block n counts for a key exactly if the key's piece was taken before block n. Whoever restores therefore needs every
//! block after the first piece's, and has a whole state, with the commitment of the last piece's block, only after that.

use std::ops::Bound;

use codec::{Decode, DecodeAll, Encode};
use rand::{RngCore, rngs::OsRng};
use sp_core::H256;

use crate::{CommitmentKey, EntropyError, Purpose, Scope, SealError, ShardState, StateDiff};

/// A block on which a snapshot rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Point {
    /// Height; 0 before the first block.
    pub number: u64,
    /// Hash of its header; zero before the first block.
    pub hash: H256,
}

/// What a snapshot consists of. Kept last: what it is there for is complete.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Manifest {
    version: u8,
    snapshot: [u8; 16],
    chunks: u32,
    /// The block after which the first piece was taken. Later ones are needed to restore.
    pub first: Point,
    /// The block after which the last piece was taken.
    pub last: u64,
}

/// Why nothing can be restored from a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The manifest is not authentic or does not decode.
    #[error("manifest of a snapshot: {0}")]
    Manifest(SealError),
    /// Written by a version of the code that this one does not know.
    #[error("manifest of a snapshot: format version {0} is unknown")]
    Version(u8),
    /// A piece is not authentic at its place, or does not decode.
    #[error("piece {index} of a snapshot: {error}")]
    Chunk {
        /// Its place, from 0.
        index: u32,
        /// What is wrong.
        error: SealError,
    },
    /// There are fewer pieces than the manifest says.
    #[error("a snapshot has {got} of {expected} pieces")]
    Missing {
        /// By the manifest.
        expected: u32,
        /// That came.
        got: u32,
    },
    /// There are more pieces than the manifest says.
    #[error("a snapshot has more than {0} pieces")]
    TooMany(u32),
}

#[derive(Encode, Decode)]
struct Chunk {
    /// The block after which it was taken.
    block: u64,
    /// Its last key; the last piece has none and covers all that is left.
    end: Option<Vec<u8>>,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Takes one snapshot.
pub struct SnapshotWriter {
    manifest: Manifest,
    next: Option<Bound<Vec<u8>>>,
}

impl SnapshotWriter {
    /// Begins at a block, after which the first piece is taken, or a later one.
    pub fn begin(first: Point) -> Result<Self, EntropyError> {
        let mut snapshot = [0; 16];
        OsRng.try_fill_bytes(&mut snapshot)?;
        let manifest = Manifest { version: VERSION, snapshot, chunks: 0, first, last: first.number };
        Ok(Self { manifest, next: Some(Bound::Unbounded) })
    }

    /// Seals the next piece, of the state after block `block`, with some `max_bytes` of keys and values. `None` if the last
    /// one was taken.
    pub fn chunk(
        &mut self,
        state: &ShardState,
        block: u64,
        scope: &Scope<'_>,
        max_bytes: usize,
    ) -> Option<Result<Vec<u8>, SealError>> {
        let start = self.next.as_ref()?;
        let (mut entries, mut bytes, mut end) = (Vec::new(), 0usize, None);
        for (key, value) in state.range(start.as_ref().map(Vec::as_slice)) {
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            entries.push((key.to_vec(), value.to_vec()));
            if bytes >= max_bytes {
                end = Some(key.to_vec());
                break;
            }
        }
        let purpose = Purpose::SnapshotChunk { snapshot: self.manifest.snapshot, index: self.manifest.chunks };
        let sealed = scope.seal(purpose, &Chunk { block, end: end.clone(), entries }.encode());
        if sealed.is_ok() {
            self.next = end.map(Bound::Excluded);
            self.manifest.chunks = self.manifest.chunks.saturating_add(1);
            self.manifest.last = block;
        }
        Some(sealed)
    }

    /// Seals what makes the snapshot complete, once there are no more pieces.
    pub fn manifest(&self, scope: &Scope<'_>) -> Option<Result<Vec<u8>, SealError>> {
        self.next.is_none().then(|| scope.seal(Purpose::SnapshotManifest, &self.manifest.encode()))
    }

    /// The snapshot's own random name.
    pub fn name(&self) -> [u8; 16] {
        self.manifest.snapshot
    }

    /// How many pieces were taken.
    pub fn chunks(&self) -> u32 {
        self.manifest.chunks
    }

    /// The block after which the first piece was taken.
    pub fn first(&self) -> &Point {
        &self.manifest.first
    }
}

impl Manifest {
    /// Opens what [`SnapshotWriter::manifest`] sealed.
    pub fn open(scope: &Scope<'_>, sealed: &[u8]) -> Result<Self, SnapshotError> {
        let plain = scope.open(Purpose::SnapshotManifest, sealed).map_err(SnapshotError::Manifest)?;
        match plain.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(SnapshotError::Version(version)),
            None => return Err(SnapshotError::Manifest(SealError::Encoding)),
        }
        Self::decode_all(&mut plain.as_slice()).map_err(|_| SnapshotError::Manifest(SealError::Encoding))
    }
}

/// A state that is put together from a snapshot and the blocks after it.
pub struct Restoring {
    manifest: Manifest,
    state: ShardState,
    taken: u32,
    /// Last key of each piece, and the block after which it was taken.
    ranges: Vec<(Option<Vec<u8>>, u64)>,
}

impl Restoring {
    /// Begins with nothing of the state.
    pub fn begin(manifest: Manifest, key: &CommitmentKey) -> Self {
        Self { manifest, state: ShardState::genesis([], key), taken: 0, ranges: Vec::new() }
    }

    /// Takes the next piece.
    pub fn chunk(&mut self, scope: &Scope<'_>, sealed: &[u8]) -> Result<(), SnapshotError> {
        let Manifest { snapshot, chunks, .. } = self.manifest;
        let index = self.taken;
        if index >= chunks {
            return Err(SnapshotError::TooMany(chunks));
        }
        let chunk_error = |error| SnapshotError::Chunk { index, error };
        let plain = scope.open(Purpose::SnapshotChunk { snapshot, index }, sealed).map_err(chunk_error)?;
        let chunk = Chunk::decode_all(&mut plain.as_slice()).map_err(|_| chunk_error(SealError::Encoding))?;
        for (key, value) in &chunk.entries {
            self.state.put(key, value);
        }
        self.ranges.push((chunk.end, chunk.block));
        self.taken = index.saturating_add(1);
        Ok(())
    }

    /// Whether pieces are missing still.
    pub fn complete(&self) -> Result<(), SnapshotError> {
        let Manifest { chunks: expected, .. } = self.manifest;
        if self.taken == expected { Ok(()) } else { Err(SnapshotError::Missing { expected, got: self.taken }) }
    }

    /// Makes the changes of block `number`, as far as the pieces do not have them.
    pub fn apply(&mut self, number: u64, diff: &StateDiff) {
        if number > self.manifest.last {
            return self.state.apply(diff);
        }
        let ranges = &self.ranges;
        let missing = |key: &[u8]| {
            let at = ranges.partition_point(|(end, _)| end.as_deref().is_some_and(|end| end < key));
            ranges.get(at).is_none_or(|(_, taken_after)| *taken_after < number)
        };
        let changes = diff.changes().filter(|(key, _)| missing(key));
        self.state.apply_changes(changes);
    }

    /// Whether the state after block `number` is whole, so that it has that block's commitment.
    pub fn is_whole_at(&self, number: u64) -> bool {
        self.complete().is_ok() && number >= self.manifest.last
    }

    /// What is known of the state so far.
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// The state, which the caller has found whole.
    pub fn into_state(self) -> ShardState {
        self.state
    }
}

/// The format that this code writes.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::ShardId;
    use proptest::prelude::*;

    use super::*;
    use crate::StateSecret;

    const GENESIS: H256 = H256::repeat_byte(1);
    const SHARD: ShardId = ShardId(H256::repeat_byte(2));

    fn secret() -> StateSecret {
        StateSecret::from_bytes([3; 32])
    }

    fn scope(secret: &StateSecret) -> Scope<'_> {
        Scope { secret, genesis: &GENESIS, shard: &SHARD }
    }

    fn point(number: u64) -> Point {
        Point { number, hash: H256::repeat_byte(9) }
    }

    fn state(entries: &[(u8, u8)]) -> ShardState {
        let entries = entries.iter().map(|(key, value)| (vec![*key], vec![*value]));
        ShardState::genesis(entries, &secret().commitment_key())
    }

    /// All pieces and the manifest of a state that does not change.
    fn snapshot(state: &ShardState) -> (Vec<Vec<u8>>, Vec<u8>) {
        let secret = secret();
        let mut writer = SnapshotWriter::begin(point(4)).unwrap();
        let mut chunks = Vec::new();
        while let Some(chunk) = writer.chunk(state, 4, &scope(&secret), 4) {
            assert!(writer.manifest(&scope(&secret)).is_none() || writer.next.is_none());
            chunks.push(chunk.unwrap());
        }
        (chunks, writer.manifest(&scope(&secret)).unwrap().unwrap())
    }

    fn restore(chunks: &[Vec<u8>], manifest: &[u8]) -> Result<Restoring, SnapshotError> {
        let secret = secret();
        let mut restoring = Restoring::begin(Manifest::open(&scope(&secret), manifest)?, &secret.commitment_key());
        for chunk in chunks {
            restoring.chunk(&scope(&secret), chunk)?;
        }
        restoring.complete()?;
        Ok(restoring)
    }

    const ENTRIES: [(u8, u8); 7] = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)];

    #[test]
    fn a_quiet_state_is_restored() {
        for entries in [&ENTRIES[..], &ENTRIES[..4], &[]] {
            let state = state(entries);
            let (chunks, manifest) = snapshot(&state);
            let restored = restore(&chunks, &manifest).unwrap();
            assert!(restored.is_whole_at(4));
            assert_eq!(restored.manifest.first, point(4));
            assert_eq!(restored.into_state().commitment(), state.commitment());
        }
    }

    #[test]
    fn pieces_stand_at_their_place_in_their_snapshot() {
        let state = state(&ENTRIES);
        let (chunks, manifest) = snapshot(&state);
        let (others, other_manifest) = snapshot(&state);
        assert_eq!(chunks.len(), 4);
        let error = |chunks: &[Vec<u8>], manifest: &[u8]| restore(chunks, manifest).err().unwrap().to_string();
        let not_authentic = "not authentic for this secret, chain, shard and purpose";
        let mut swapped = chunks.clone();
        swapped.swap(1, 2);
        assert_eq!(error(&swapped, &manifest), format!("piece 1 of a snapshot: {not_authentic}"));
        assert_eq!(error(&others, &manifest), format!("piece 0 of a snapshot: {not_authentic}"));
        assert_eq!(error(&chunks[..3], &manifest), "a snapshot has 3 of 4 pieces");
        assert_eq!(error(&[&chunks[..], &chunks[..1]].concat(), &manifest), "a snapshot has more than 4 pieces");
        assert_eq!(error(&chunks, &chunks[0]), format!("manifest of a snapshot: {not_authentic}"));
        assert_eq!(error(&chunks, &other_manifest), format!("piece 0 of a snapshot: {not_authentic}"));
    }

    #[test]
    fn an_unknown_version_is_named() {
        let secret = secret();
        let manifest = scope(&secret).seal(Purpose::SnapshotManifest, &[2, 0, 0]).unwrap();
        assert_eq!(
            Manifest::open(&scope(&secret), &manifest).unwrap_err().to_string(),
            "manifest of a snapshot: format version 2 is unknown"
        );
        let manifest = scope(&secret).seal(Purpose::SnapshotManifest, &[1, 0]).unwrap();
        assert_eq!(
            Manifest::open(&scope(&secret), &manifest).unwrap_err().to_string(),
            "manifest of a snapshot: does not decode"
        );
    }

    /// Later versions must read what this one wrote.
    #[test]
    fn the_first_format_is_frozen() {
        let secret = secret();
        let name = [6; 16];
        let manifest = Manifest { version: 1, snapshot: name, chunks: 1, first: point(4), last: 4 };
        let sealed = scope(&secret).seal_with(&[7; 32], Purpose::SnapshotManifest, &manifest.encode()).unwrap();
        let chunk = Chunk { block: 4, end: None, entries: vec![(b"k".to_vec(), b"v".to_vec())] };
        assert_eq!(hex::encode(chunk.encode()), "04000000000000000004046b0476");
        let purpose = Purpose::SnapshotChunk { snapshot: name, index: 0 };
        let chunk = scope(&secret).seal_with(&[8; 32], purpose, &chunk.encode()).unwrap();
        let bytes = [&manifest.encode(), &sealed[32..], &chunk[32..]];
        assert_eq!(bytes.map(hex::encode), [MANIFEST, SEALED_MANIFEST, SEALED_CHUNK]);
        let restored = restore(&[chunk], &sealed).unwrap();
        assert_eq!(restored.state().get(b"k"), Some(&b"v"[..]));
    }

    const MANIFEST: &str = "010606060606060606060606060606060601000000040000000000000009090909090909090909090909090909090909090909090909090909090909090400000000000000";
    const SEALED_MANIFEST: &str = "ffb1648bdb5a4070bbefc4883971e4ad936921955456f1a9a163fca52ec4c27042f400794f00d1e0597de79499baaa3d50cfd36772624d67799e4f568120ca5fe04ff12b3ceab29f59a926485445c574f37407be0b";
    const SEALED_CHUNK: &str = "5b9815ed76ce932ceb2addfb73349277a902b9703384c351bf3bb025524e";

    proptest! {
        /// Blocks change the state between any two pieces; snapshot and blocks give the very state of the end.
        #[test]
        fn a_changing_state_is_restored(
            start in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..40),
            blocks in proptest::collection::vec(
                (proptest::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..12), any::<bool>()),
                1..40,
            ),
        ) {
            let secret = secret();
            let mut live = state(&start);
            let mut writer = SnapshotWriter::begin(point(0)).unwrap();
            let (mut chunks, mut diffs, mut commitments) = (Vec::new(), Vec::new(), vec![live.commitment()]);
            for (changes, take) in blocks {
                if take && let Some(chunk) = writer.chunk(&live, diffs.len() as u64, &scope(&secret), 5) {
                    chunks.push(chunk.unwrap());
                }
                let diff: StateDiff =
                    changes.into_iter().map(|(key, value)| (vec![key], value.map(|value| vec![value]))).collect();
                live.apply(&diff);
                diffs.push(diff);
                commitments.push(live.commitment());
            }
            while let Some(chunk) = writer.chunk(&live, diffs.len() as u64, &scope(&secret), 5) {
                chunks.push(chunk.unwrap());
            }
            let manifest = writer.manifest(&scope(&secret)).unwrap().unwrap();
            let mut restored = restore(&chunks, &manifest).unwrap();
            for (diff, number) in diffs.iter().zip(1..) {
                if restored.is_whole_at(number - 1) {
                    prop_assert_eq!(restored.state().commitment(), commitments[number as usize - 1]);
                }
                restored.apply(number, diff);
            }
            prop_assert!(restored.is_whole_at(diffs.len() as u64));
            prop_assert_eq!(restored.into_state().commitment(), live.commitment());
        }
    }
}
