//! Deposits: planck that stay an account's own, and are held as long as layer one stores what it made layer one store.

use crate::{Balance, UNIT};

/// What is held for `items` entries and `bytes` bytes.
pub const fn deposit(items: u32, bytes: u32) -> Balance {
    let of_items = (UNIT / 10).saturating_mul(items as Balance);
    of_items.saturating_add((UNIT / 10_000).saturating_mul(bytes as Balance))
}

/// Held of an enclave's account from its first registration on, renewals included. When the record goes, taken back or
/// evicted, all but [`MARK_DEPOSIT`] is given back. The same for all: record, evidence and mark at their largest.
pub const REGISTRATION_DEPOSIT: Balance = deposit(3, EVIDENCE_BYTES + RECORD_BYTES);

/// What stays held of [`REGISTRATION_DEPOSIT`] without a record: the mark of the newest incarnation is kept for ever. It
/// counts towards the deposit of the next registration.
pub const MARK_DEPOSIT: Balance = deposit(1, MARK_BYTES);

/// Held of a founder's account for each shard that it bears. A shard is recorded for ever, so this is never given back.
pub const SHARD_DEPOSIT: Balance = deposit(11, SHARD_BYTES);

/// Most bytes of an active enclave's encoded record, for which its deposit pays.
pub const MAX_RECORD_BYTES: usize = 1_700;

/// `Evidence::MAX_BYTES`.
const EVIDENCE_BYTES: u32 = 16 * 1024;
/// More than the record of an enclave, its mark and the keys of all three take, with a kilobyte of advisories.
const RECORD_BYTES: u32 = 2 * 1024;
/// The mark and its key.
const MARK_BYTES: u32 = 120;
/// More than the entry of a shard, its counters and flows, its limit, its anchor and the keys of all eleven take.
const SHARD_BYTES: u32 = 8 * 1024;

#[cfg(test)]
mod tests {
    use cloister_claims::{Advisory, Evidence, TcbStatus, TeeKind};
    use codec::{Encode, MaxEncodedLen};

    use super::*;
    use crate::{
        Anchored, BuildMode, EnclaveRecord, Flows, OutflowLimit, ShardEntry, Standing, registry::IncarnationMark,
    };

    #[test]
    fn deposits_are_frozen() {
        assert_eq!(deposit(2, 3), UNIT / 5 + 3 * UNIT / 10_000);
        assert_eq!(REGISTRATION_DEPOSIT, 2_143_200_000_000);
        assert_eq!(MARK_DEPOSIT, 112_000_000_000);
        assert_eq!(SHARD_DEPOSIT, 1_919_200_000_000);
    }

    #[test]
    fn the_largest_registration_is_paid_for() {
        assert_eq!(EVIDENCE_BYTES as usize, Evidence::MAX_BYTES);
        let advisory = |number| Advisory::try_from(format!("INTEL-SA-{number:05}")).expect("a name");
        let record = EnclaveRecord {
            fingerprint: [0; 32],
            signer: [0; 32],
            kind: TeeKind::Simulated,
            tcb_status: TcbStatus::UpToDate,
            advisories: (0..1024 / 16).map(advisory).collect(),
            platform_id_hash: [0; 32],
            build_mode: BuildMode::Production,
            incarnation_key: [0; 32],
            tls_key_hash: [0; 32],
            url: Some(vec![0; 256].try_into().expect("it fits")),
            bound_block: 0,
            incarnation_since: 0,
            verified_at: 0,
            expires_at: 0,
            standing: Standing::Active,
        };
        assert!(record.encoded_size() <= MAX_RECORD_BYTES, "{}", record.encoded_size());
        let until = Standing::Leaving { until: 0 }.encoded_size() - Standing::Active.encoded_size();
        // Prefix of the map, hash and account.
        let key = 32 + 16 + 32;
        let mark = IncarnationMark::max_encoded_len();
        // Of the evidence beside its bytes: variant and length.
        let stored = MAX_RECORD_BYTES + until + mark + 1 + 4 + 3 * key;
        assert!(stored <= RECORD_BYTES as usize, "{stored}");
        assert_eq!(MARK_BYTES as usize, mark + key);
    }

    #[test]
    fn the_largest_shard_is_paid_for() {
        // Prefix of the map and shard.
        let key = 32 + 32;
        let (inbox_length, inbox_pruned, settled_pruned, escrow) = (8, 8, 8, 16);
        let (inbox_use, outflow_use, exit_use) = (12, 36, 8);
        let counters = inbox_length + inbox_pruned + settled_pruned + escrow + inbox_use + outflow_use + exit_use;
        let moved = Flows::max_encoded_len() + OutflowLimit::max_encoded_len();
        let stored = ShardEntry::max_encoded_len() + counters + moved + Anchored::max_encoded_len() + 11 * key;
        assert!(stored <= SHARD_BYTES as usize, "{stored}");
    }
}
