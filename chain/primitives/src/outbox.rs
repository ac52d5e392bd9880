//! A shard's outbox: the numbered queue in the shard's state through which money leaves it, and what layer one says of
//! each entry.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use alloc::vec::Vec;

use binary_merkle_tree::verify_proof;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::ConstU32;
use sp_runtime::{BoundedVec, traits::Hash};

use crate::{AccountId, Balance, BlockNumber, H256, Hashing, ShardId, domain};

/// Most siblings in a path: more entries than 2^20 are never open at once.
pub const MAX_OUTBOX_DEPTH: u32 = 20;

/// Why money leaves a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum OutboxKind {
    /// An account asked for it. What layer one cannot pay is refused, and credited to that account again.
    #[codec(index = 0)]
    Unshield,
    /// A shielding that could not be credited goes back to who paid it. Never refused.
    #[codec(index = 1)]
    Return,
    /// The shard is retired, and every account leaves. Never refused.
    #[codec(index = 2)]
    Exit,
}

/// What a shard owes on layer one, and anybody may have paid once its block is anchored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OutboxEntry {
    /// Its place in the queue, from 0 without gaps.
    pub number: u64,
    /// [`outbox_id`]: what layer one names it by.
    pub id: H256,
    /// Why.
    pub kind: OutboxKind,
    /// Who is paid.
    pub beneficiary: AccountId,
    /// Planck.
    pub amount: Balance,
}

impl OutboxEntry {
    /// What stands at a leaf of the tree under an anchor's `outbox_root`. Longer than the 64 bytes that inner nodes hash,
    /// so that no node passes for a leaf.
    fn leaf(&self, genesis: &H256, shard: &ShardId) -> Vec<u8> {
        domain::message("outbox-entry", genesis, &[shard.as_ref(), &self.encode()])
    }
}

/// The name of the entry with this number, which the shard's block of this height opened. It is made of nothing that
/// tells who asked for it.
pub fn outbox_id(genesis: &H256, shard: &ShardId, block: u64, number: u64) -> H256 {
    domain::hash("outbox", genesis, &[shard.as_ref(), &block.to_le_bytes(), &number.to_le_bytes()])
}

/// Open entries, ascending by number, and the binary Merkle tree over them (BLAKE2b-256; an odd node moves up).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OutboxTree {
    entries: Vec<OutboxEntry>,
    /// From the leaves' hashes up to the root; empty without entries.
    layers: Vec<Vec<H256>>,
}

impl OutboxTree {
    /// Hashes every entry.
    pub fn new(genesis: &H256, shard: &ShardId, entries: Vec<OutboxEntry>) -> Self {
        let mut layer: Vec<_> = entries.iter().map(|entry| Hashing::hash(&entry.leaf(genesis, shard))).collect();
        let mut layers = Vec::new();
        while layer.len() > 1 {
            let above = layer.chunks(2).map(|pair| match pair {
                [left, right] => Hashing::hash(&[left.as_bytes(), right.as_bytes()].concat()),
                odd => odd.first().copied().unwrap_or_default(),
            });
            let above = above.collect();
            layers.push(core::mem::replace(&mut layer, above));
        }
        if !layer.is_empty() {
            layers.push(layer);
        }
        Self { entries, layers }
    }

    /// The entries.
    pub fn entries(&self) -> &[OutboxEntry] {
        &self.entries
    }

    /// What an anchor has as `outbox_root`; zero without entries.
    pub fn root(&self) -> H256 {
        self.layers.last().and_then(|layer| layer.first()).copied().unwrap_or_default()
    }

    /// The entry with this number and its path. `None` if it is not open, or more entries are open than a path has room
    /// for.
    pub fn prove(&self, number: u64) -> Option<(&OutboxEntry, OutboxPath)> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        let entry = self.entries.get(at)?;
        let mut siblings = BoundedVec::default();
        let mut position = at;
        for layer in &self.layers {
            // The root has no sibling, and neither has an odd node.
            if let Some(sibling) = layer.get(position ^ 1) {
                siblings.try_push(*sibling).ok()?;
            }
            position /= 2;
        }
        let leaf_index = u32::try_from(at).ok()?;
        let leaves = u32::try_from(self.entries.len()).ok()?;
        Some((entry, OutboxPath { number, kind: entry.kind, leaf_index, leaves, siblings }))
    }
}

/// Shows that an entry stands under an anchored `outbox_root`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OutboxPath {
    /// The entry's number.
    pub number: u64,
    /// Its kind.
    pub kind: OutboxKind,
    /// Its place among the entries that were open.
    pub leaf_index: u32,
    /// How many were open.
    pub leaves: u32,
    /// Hashes beside the way from the leaf to the root.
    pub siblings: BoundedVec<H256, ConstU32<MAX_OUTBOX_DEPTH>>,
}

impl OutboxPath {
    /// Whether `entry` stands under `root`.
    pub fn proves(&self, genesis: &H256, shard: &ShardId, entry: &OutboxEntry, root: &H256) -> bool {
        entry.number == self.number
            && entry.kind == self.kind
            && self.leaf_index < self.leaves
            && verify_proof::<Hashing, _, _>(
                root,
                self.siblings.iter().copied(),
                self.leaves,
                self.leaf_index,
                &entry.leaf(genesis, shard),
            )
    }
}

/// What layer one did with an entry, for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Verdict {
    /// The beneficiary has the money, or layer one owes it to them for ever.
    #[codec(index = 0)]
    Paid,
    /// It cannot be paid. The shard credits who asked for it.
    #[codec(index = 1)]
    Refused,
}

/// How fast money may leave a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OutflowLimit {
    /// Planck in one period.
    pub amount: Balance,
    /// Blocks of a period, from 1. Periods begin at multiples of it.
    pub period: BlockNumber,
}

/// What moved within a period, which counts against a shard's [`OutflowLimit`].
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct OutflowUse {
    /// The last block in which something did; if that was in an earlier period, it counts as nothing.
    pub block: BlockNumber,
    /// Planck that left.
    pub left: Balance,
    /// Planck that were shielded since root last set the limit: they may leave again beside it. Otherwise whoever has as
    /// much as the limit could shield and unshield it in every period, and nobody else could leave.
    pub shielded: Balance,
}

impl OutflowLimit {
    /// What may still leave in the period of the block of this height. What moved in a period of another length, before
    /// root set this one, counts in full.
    pub fn room(&self, used: OutflowUse, height: BlockNumber) -> Balance {
        let OutflowUse { left, shielded, .. } = self.used(used, height);
        self.amount.saturating_add(shielded).saturating_sub(left)
    }

    /// What counts in the period of the block of this height.
    pub fn used(&self, used: OutflowUse, height: BlockNumber) -> OutflowUse {
        let start = height.saturating_sub(height.checked_rem(self.period).unwrap_or(0));
        if used.block >= start { used } else { OutflowUse::default() }
    }
}

/// What layer one moved for a shard, ever. What is shielded less what is paid and repaid lies in the escrow.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Flows {
    /// Planck into the escrow.
    pub shielded: Balance,
    /// Planck of entries that are settled as paid, with what is owed as unclaimed.
    pub paid: Balance,
    /// Planck of the shard's fees, given to those who paid layer one's fees for it.
    pub repaid: Balance,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: H256 = H256::repeat_byte(1);
    const SHARD: ShardId = ShardId(H256::repeat_byte(2));

    fn entry(number: u64) -> OutboxEntry {
        OutboxEntry {
            number,
            id: outbox_id(&GENESIS, &SHARD, 7, number),
            kind: OutboxKind::Unshield,
            beneficiary: AccountId::new([3; 32]),
            amount: 4,
        }
    }

    fn tree(entries: u64) -> OutboxTree {
        // Numbers have gaps where entries are closed.
        OutboxTree::new(&GENESIS, &SHARD, (0..entries).map(|number| entry(3 * number)).collect())
    }

    #[test]
    fn encodings_are_frozen() {
        let three = "03".repeat(32);
        let plain = OutboxEntry { id: H256::repeat_byte(5), kind: OutboxKind::Return, ..entry(0x0102) };
        let encoded = format!("0201000000000000{}01{three}04000000000000000000000000000000", "05".repeat(32));
        assert_eq!(hex::encode(plain.encode()), encoded);
        let siblings = alloc::vec![H256::repeat_byte(6)].try_into().unwrap();
        let path = OutboxPath { number: 1, kind: OutboxKind::Exit, leaf_index: 2, leaves: 3, siblings };
        assert_eq!(hex::encode(path.encode()), format!("010000000000000002020000000300000004{}", "06".repeat(32)));
        assert_eq!(Verdict::Paid.encode(), [0]);
        assert_eq!(Verdict::Refused.encode(), [1]);
        let limit = OutflowLimit { amount: 1, period: 2 };
        assert_eq!(hex::encode(limit.encode()), "0100000000000000000000000000000002000000");
        let used = OutflowUse { block: 1, left: 2, shielded: 3 };
        assert_eq!(
            hex::encode(used.encode()),
            format!("01000000{:02x}{}{:02x}{}", 2, "00".repeat(15), 3, "00".repeat(15))
        );
        let id = hex::encode(outbox_id(&GENESIS, &SHARD, 7, 8));
        assert_eq!(id, ID);
        assert_eq!(hex::encode(tree(5).root()), ROOT);
    }

    #[test]
    fn what_is_shielded_may_leave_beside_the_limit_within_its_period() {
        let limit = OutflowLimit { amount: 10, period: 5 };
        let used = OutflowUse { block: 6, left: 7, shielded: 4 };
        assert_eq!([5, 9, 10].map(|height| limit.room(used, height)), [7, 7, 10]);
        assert_eq!(limit.room(OutflowUse { left: 20, ..used }, 9), 0);
        assert_eq!(limit.room(OutflowUse { shielded: Balance::MAX, ..used }, 9), Balance::MAX - 7);
        assert_eq!(OutflowLimit { period: 0, ..limit }.room(used, 9), 10);
    }

    #[test]
    fn trees_are_those_of_the_published_crate() {
        for entries in (0..70).chain([255, 256, 257, 1_000]) {
            let tree = tree(entries);
            let leaves: Vec<_> = tree.entries().iter().map(|entry| entry.leaf(&GENESIS, &SHARD)).collect();
            assert_eq!(tree.root(), binary_merkle_tree::merkle_root::<Hashing, _>(leaves.clone()), "{entries}");
            for (at, entry) in tree.entries().iter().enumerate() {
                let (found, path) = tree.prove(entry.number).unwrap();
                assert_eq!((found, path.leaf_index as usize, u64::from(path.leaves)), (entry, at, entries));
                if entries < 70 {
                    let expected = binary_merkle_tree::merkle_proof::<Hashing, _, _>(leaves.clone(), at as u32).proof;
                    assert_eq!(path.siblings.to_vec(), expected, "{at} of {entries}");
                }
                assert!(path.proves(&GENESIS, &SHARD, entry, &tree.root()));
            }
        }
        assert_eq!(tree(4).prove(1), None);
        assert_eq!(tree(0).root(), H256::zero());
    }

    #[test]
    fn a_path_proves_one_entry_of_one_shard_only() {
        let tree = tree(6);
        let root = tree.root();
        let (entry, path) = tree.prove(6).unwrap();
        let proves = |path: &OutboxPath, entry: &OutboxEntry| path.proves(&GENESIS, &SHARD, entry, &root);
        assert!(proves(&path, entry));
        let others = [
            OutboxEntry { number: 7, ..entry.clone() },
            OutboxEntry { id: H256::zero(), ..entry.clone() },
            OutboxEntry { kind: OutboxKind::Exit, ..entry.clone() },
            OutboxEntry { beneficiary: AccountId::new([9; 32]), ..entry.clone() },
            OutboxEntry { amount: 5, ..entry.clone() },
        ];
        for other in &others {
            assert!(!proves(&path, other));
            let path = OutboxPath { number: other.number, kind: other.kind, ..path.clone() };
            assert!(!proves(&path, other));
        }
        let mut shorter = path.clone();
        shorter.siblings.pop();
        let mut longer = path.clone();
        longer.siblings.try_push(H256::zero()).unwrap();
        let paths = [
            OutboxPath { number: 7, ..path.clone() },
            OutboxPath { kind: OutboxKind::Exit, ..path.clone() },
            OutboxPath { leaf_index: 3, ..path.clone() },
            OutboxPath { leaf_index: 6, ..path.clone() },
            OutboxPath { leaf_index: u32::MAX, leaves: u32::MAX, ..path.clone() },
            OutboxPath { leaves: 0, ..path.clone() },
            shorter,
            longer,
        ];
        for path in &paths {
            assert!(!proves(path, entry), "{path:?}");
        }
        assert!(!path.proves(&SHARD.0, &SHARD, entry, &root));
        assert!(!path.proves(&GENESIS, &ShardId(GENESIS), entry, &root));
        assert!(!path.proves(&GENESIS, &SHARD, entry, &H256::zero()));
    }

    const ID: &str = "0fe22891bfb896d0ba7744daa761682cb0b0de94d6855d0cb67667a256a53dba";
    const ROOT: &str = "d8696de59beeb4e95830d8ac05dc3d22cdf40aed7e456db94a9d53d073d6ff85";
}
