//! Values of layer one's storage and runtime that enclaves and clients read.

use cloister_chain_primitives::{
    AccountId, Anchor, Anchored, BlockNumber, BuildMode, EnclaveRecord, Flows, H256, Header, InboxEntry, OutflowLimit,
    OutflowUse, Registration, RegistrationPolicy, Request, Retirement, ShardBirth, ShardConfig, ShardEntry, ShardMode,
    ShieldingKeys, Standing, Verdict,
    config::{Checkpoint, MeasuredConfig},
    extrinsic::ChainVersion,
    registry::{Appraised, WorkerUrl},
    storage::AccountInfo,
};
use cloister_claims::{Collateral, Evidence, Policy, Signed, SignedCrl, TcbStatus, TeeKind};
use codec::Encode;
use sp_runtime::{Digest, DigestItem};

use crate::{
    scale::{self, Decoder, canonical, decoded},
    shard::{GENESIS, SHARD},
};

const DECODERS: &[Decoder] = &[
    (canonical::<u16>, || 2u16.encode()),
    (canonical::<u64>, || 7u64.encode()),
    (record, || enclave_record().encode()),
    (canonical::<Evidence>, || Evidence::Dcap(vec![1; 64]).encode()),
    (canonical::<RegistrationPolicy>, || policy().encode()),
    (canonical::<Signed>, || signed().encode()),
    (canonical::<SignedCrl>, || SignedCrl { crl: vec![1; 9], issuer_chain: vec![2; 9] }.encode()),
    (canonical::<Collateral>, || collateral().encode()),
    (shard_entry, || entry().encode()),
    (canonical::<InboxEntry>, || invoke().encode()),
    (canonical::<InboxEntry>, || shield().encode()),
    (canonical::<Verdict>, || Verdict::Paid.encode()),
    (canonical::<Flows>, || Flows::default().encode()),
    (outflow, || (OutflowLimit { amount: 1_000, period: 10 }, OutflowUse::default(), 5u32).encode()),
    (canonical::<Anchored>, || anchored().encode()),
    (canonical::<AccountInfo>, || AccountInfo { nonce: 1, free: 1_000, ..Default::default() }.encode()),
    (measured_config, || config().encode()),
    (canonical::<Appraised>, Vec::new),
    (canonical::<ChainVersion>, || (GENESIS, 1u32, 1u32).encode()),
    (canonical::<Header>, || header().encode()),
    (canonical::<Registration>, || registration().encode()),
];

pub fn run(input: &[u8]) {
    scale::choose(DECODERS, input);
}

pub fn seeds() -> Vec<Vec<u8>> {
    scale::seeds(DECODERS)
}

fn record(bytes: &[u8]) {
    if let Some(record) = decoded::<EnclaveRecord>(bytes) {
        for now in [0, record.expires_at, u64::MAX] {
            assert!(!record.serves_at(now) || now < record.expires_at, "serves although expired");
        }
    }
}

/// The mode at any height: retirement, once there, stays.
fn shard_entry(bytes: &[u8]) {
    let Some(entry) = decoded::<ShardEntry>(bytes) else { return };
    let heights: [BlockNumber; 5] = [0, entry.born_at, 1 << 20, BlockNumber::MAX - 1, BlockNumber::MAX];
    for height in heights {
        if entry.mode_at(height) == ShardMode::Retired {
            assert!(entry.retirement.is_some_and(|retirement| retirement.opens_at <= height));
        }
        entry.config.at(height);
    }
    entry.birth.shard_id(&GENESIS);
}

/// No more leaves than the limit, and what is counted does not grow by looking.
fn outflow(bytes: &[u8]) {
    let Some((limit, used, height)) = decoded::<(OutflowLimit, OutflowUse, BlockNumber)>(bytes) else { return };
    let room = limit.room(used, height);
    assert!(room <= limit.amount.saturating_add(used.shielded), "more than the limit");
    assert_eq!(limit.used(limit.used(used, height), height), limit.used(used, height));
}

fn measured_config(bytes: &[u8]) {
    if let Some(config) = decoded::<MeasuredConfig>(bytes) {
        config.simulated_measurement(&[0; 32]);
        drop(cloister_light_client::LightClient::new(&config));
    }
}

pub fn config() -> MeasuredConfig {
    MeasuredConfig {
        genesis: GENESIS,
        checkpoint: Checkpoint { number: 0, hash: GENESIS, set_id: 0, authorities: vec![([1; 32], 1), ([2; 32], 1)] },
        simulation_allowed: true,
        unbound_getters_allowed: true,
        slot_ms: 300,
        min_upgrade_delay: 100,
    }
}

pub fn url() -> WorkerUrl {
    b"wss://localhost:2000".to_vec().try_into().expect("short")
}

pub fn header() -> Header {
    let digest =
        Digest { logs: vec![DigestItem::PreRuntime(*b"aura", vec![1; 8]), DigestItem::Seal(*b"aura", vec![2; 64])] };
    Header {
        parent_hash: GENESIS,
        number: 1,
        state_root: H256::repeat_byte(3),
        extrinsics_root: H256::repeat_byte(4),
        digest,
    }
}

pub fn birth() -> ShardBirth {
    ShardBirth {
        config: shard_config(),
        upgrade_delay: 100,
        escrow_cap: Some(5),
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; 384] },
        genesis_commitment: H256::repeat_byte(6),
        founder: AccountId::new([7; 32]),
    }
}

pub fn registration() -> Registration {
    Registration {
        evidence: Evidence::Dcap(vec![1; 64]),
        incarnation_key: [2; 32],
        tls_key_hash: [3; 32],
        block_number: 4,
        url: Some(url()),
    }
}

pub fn collateral() -> Collateral {
    let list = SignedCrl { crl: vec![1; 9], issuer_chain: vec![2; 9] };
    Collateral { tcb_info: signed(), qe_identity: signed(), root_crl: Some(vec![4; 9]), pck_crl: Some(list) }
}

fn signed() -> Signed {
    Signed { body: b"{}".to_vec(), signature: [2; 64], issuer_chain: vec![3; 9] }
}

fn shard_config() -> ShardConfig {
    let authorities = vec![AccountId::new([1; 32])].try_into().expect("one");
    ShardConfig {
        enclave_fingerprint: [1; 32],
        max_instances: Some(1),
        authorities: Some(authorities),
        maintenance_mode: false,
    }
}

fn entry() -> ShardEntry {
    let mut entry = ShardEntry::born(birth(), 2);
    entry.config.pending_upgrade = Some(shard_config());
    entry.config.upgrade_at = Some(500);
    entry.retirement = Some(Retirement { announced_at: 600, opens_at: 700 });
    entry
}

fn enclave_record() -> EnclaveRecord {
    EnclaveRecord {
        fingerprint: [3; 32],
        signer: [0; 32],
        kind: TeeKind::Simulated,
        tcb_status: TcbStatus::UpToDate,
        advisories: vec![],
        platform_id_hash: [0; 32],
        build_mode: BuildMode::Production,
        incarnation_key: [1; 32],
        tls_key_hash: [2; 32],
        url: Some(url()),
        bound_block: 1,
        incarnation_since: 1,
        verified_at: 1,
        expires_at: 2,
        standing: Standing::Active,
    }
}

fn anchored() -> Anchored {
    let anchor =
        Anchor { number: 1, header_hash: GENESIS, inbox_consumed: 2, outbox_root: GENESIS, outbox_closed: 3, fees: 4 };
    Anchored { anchor, at: 5 }
}

fn policy() -> RegistrationPolicy {
    RegistrationPolicy {
        appraisal: Policy::default(),
        max_evidence_age: 1,
        reattest_interval_ms: 2,
        incarnation_gap: 3,
        eviction_grace_ms: 4,
    }
}

fn invoke() -> InboxEntry {
    InboxEntry::Invoke(Request { shard: SHARD, cyphertext: vec![1; 60].try_into().expect("short") })
}

fn shield() -> InboxEntry {
    InboxEntry::Shield {
        encrypted_beneficiary: vec![1; 88].try_into().expect("short"),
        amount: 5,
        sender: AccountId::new([1; 32]),
    }
}
