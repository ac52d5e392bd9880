//! Storage that lives no longer than a call or a block and must never reach a diff: the events of 500 transfers
//! outweigh their balances, and a host that sees the size of a diff would learn from them.

use std::sync::LazyLock;

use frame_support::storage::storage_prefix;
use sp_core::storage::well_known_keys::{EXTRINSIC_INDEX, INTRABLOCK_ENTROPY};

/// Whether a key is scratch.
pub fn is_scratch(key: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The keys that grow with every event.
pub fn event_keys() -> &'static [Vec<u8>; 2] {
    &EVENT_KEYS
}

static EVENT_KEYS: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [b"Events".as_slice(), b"EventCount"].map(|item| storage_prefix(b"System", item).to_vec()));

static PREFIXES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let system = SYSTEM_ITEMS.iter().map(|item| storage_prefix(b"System", item.as_bytes()).to_vec());
    let timestamp = storage_prefix(b"Timestamp", b"DidUpdate").to_vec();
    system
        .chain([timestamp, EXTRINSIC_INDEX.to_vec(), INTRABLOCK_ENTROPY.to_vec(), TRANSACTION_LEVEL.to_vec()])
        .collect()
});

const SYSTEM_ITEMS: [&str; 10] = [
    "Events",
    "EventCount",
    "EventTopics",
    "ExecutionPhase",
    "BlockWeight",
    "BlockSize",
    "ExtrinsicCount",
    "ExtrinsicData",
    "ExtrinsicWeightReclaimed",
    "InherentsApplied",
];
/// How deep `frame_support::storage::with_transaction` is nested.
const TRANSACTION_LEVEL: &[u8] = b":transaction_level:";
