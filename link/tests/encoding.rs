//! Frozen encodings: a change here is a change of the protocol.

use cloister_chain_primitives::{
    AccountId, H256, Header, Registration, ShardBirth, ShardConfig, ShardId, ShardMode,
    registry::WorkerUrl,
    shard::{RSA_MODULUS_BYTES, ShieldingKeys},
};
use cloister_claims::{Collateral, Evidence, Signed, SignedCrl, TeeKind};
use cloister_link::{ClientLimits, Kept, PROTOCOL, StopReason, ToEnclave, ToHost, Write};
use codec::{DecodeAll, Encode};

fn header() -> Header {
    Header {
        parent_hash: H256::repeat_byte(1),
        number: 2,
        state_root: H256::repeat_byte(3),
        extrinsics_root: H256::repeat_byte(4),
        digest: Default::default(),
    }
}

fn birth() -> ShardBirth {
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: [1; 32],
            max_instances: Some(1),
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 2,
        escrow_cap: Some(3),
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; RSA_MODULUS_BYTES] },
        genesis_commitment: H256::repeat_byte(6),
        founder: AccountId::new([7; 32]),
    }
}

fn url() -> WorkerUrl {
    b"w".to_vec().try_into().unwrap()
}

fn limits() -> ClientLimits {
    ClientLimits {
        connections: 1,
        requests_per_second: 2,
        request_burst: 3,
        watched: 4,
        message_bytes: 5,
        handshake_ms: 6,
        idle_ms: 7,
        write_ms: 8,
    }
}

fn signed() -> Signed {
    Signed { body: vec![1], signature: [2; 64], issuer_chain: vec![3] }
}

fn writes() -> Vec<Write> {
    vec![
        Write::Block { number: 1, hash: H256::repeat_byte(2), bytes: vec![3] },
        Write::SnapshotPiece { snapshot: [4; 16], index: 5, bytes: vec![6] },
        Write::Snapshot { snapshot: [7; 16], manifest: vec![8], first: 9 },
        Write::Mark(vec![10]),
    ]
}

#[test]
fn what_is_to_be_kept_is_frozen() {
    let expected = [
        format!("000100000000000000{}0403", "02".repeat(32)),
        format!("01{}050000000406", "04".repeat(16)),
        format!("02{}04080900000000000000", "07".repeat(16)),
        "03040a".into(),
    ];
    for (write, expected) in writes().into_iter().zip(expected) {
        assert_eq!(hex::encode(write.encode()), expected, "{write:?}");
        assert_eq!(Write::decode_all(&mut &write.encode()[..]).unwrap(), write);
    }
}

/// The birth is longer than what is written out below; its own bytes are pinned here.
#[test]
fn the_birth_is_frozen() {
    let of = |byte: u8, count: usize| hex::encode(vec![byte; count]);
    let config = format!("{}01010000000000", of(1, 32));
    let expected = format!(
        "{config}02000000{}{}{}{}{}{}",
        format_args!("0103{}", of(0, 15)),
        "00000000",
        of(4, 32),
        of(5, 384),
        of(6, 32),
        of(7, 32)
    );
    assert_eq!(hex::encode(birth().encode()), expected);
}

#[test]
fn protocol_version_is_frozen() {
    assert_eq!(PROTOCOL, 6);
}

#[test]
fn messages_to_the_enclave_are_frozen() {
    let of = |byte: u8| hex::encode([byte; 32]);
    let cases = [
        (
            ToEnclave::Start {
                protocol: 1,
                config: vec![0xaa],
                shard: Some(ShardId(H256::repeat_byte(0xbb))),
                spec_version: 2,
                transaction_version: 3,
                sealed_identity: Some(vec![0xcc]),
                url: Some(url()),
                limits: limits(),
            },
            format!(
                "00010004aa01{}02000000030000000104cc010477{}",
                of(0xbb),
                "0100000002000000030000000400000005000000060000000700000008000000"
            ),
        ),
        (
            ToEnclave::Start {
                protocol: 1,
                config: vec![],
                shard: None,
                spec_version: 2,
                transaction_version: 3,
                sealed_identity: None,
                url: None,
                limits: ClientLimits::default(),
            },
            format!(
                "000100000002000000030000000000{}",
                "00040000c800000090010000400000000000020010270000".to_owned() + "60ea0000204e0000"
            ),
        ),
        (ToEnclave::ChainVersion { spec_version: 1, transaction_version: 2 }, "010100000002000000".into()),
        (
            ToEnclave::Finality { headers: vec![header()], justification: vec![0xcc] },
            format!("0204{}08{}{}0004cc", of(1), of(3), of(4)),
        ),
        (
            ToEnclave::ProofAnswer { question: 1, proof: Ok(vec![vec![0xdd], vec![]]) },
            "030100000000000000000804dd00".into(),
        ),
        (ToEnclave::ProofAnswer { question: 1, proof: Err("x".into()) }, "030100000000000000010478".into()),
        (ToEnclave::Tick { unix_ms: 1 }, "040100000000000000".into()),
        (ToEnclave::ConnectionOpened { connection: 1 }, "050100000000000000".into()),
        (ToEnclave::ConnectionData { connection: 1, bytes: vec![0xee] }, "06010000000000000004ee".into()),
        (ToEnclave::ConnectionCredit { connection: 1, bytes: 2 }, "07010000000000000002000000".into()),
        (ToEnclave::ConnectionClosed { connection: 1 }, "080100000000000000".into()),
        (
            ToEnclave::SubmitFailed { extrinsic_hash: H256::repeat_byte(1), reason: "x".into() },
            format!("09{}0478", of(1)),
        ),
        (ToEnclave::Stop, "0a".into()),
        (ToEnclave::Kept(Kept::Mark(vec![1])), "0b000401".into()),
        (ToEnclave::Kept(Kept::Manifest(vec![1])), "0b010401".into()),
        (ToEnclave::Kept(Kept::Piece(vec![1])), "0b020401".into()),
        (ToEnclave::Kept(Kept::Block(vec![1])), "0b030401".into()),
        (ToEnclave::KeptAll, "0c".into()),
        (ToEnclave::Stored { sequence: 1 }, "0d0100000000000000".into()),
    ];
    for (message, expected) in cases {
        assert_eq!(hex::encode(message.encode()), expected, "{message:?}");
        assert_eq!(ToEnclave::decode_all(&mut &message.encode()[..]).unwrap(), message);
    }
}

#[test]
fn messages_to_the_host_are_frozen() {
    let of = |byte: u8| hex::encode([byte; 32]);
    let shard = ShardId(H256::repeat_byte(0xbb));
    let reason = |reason| ToHost::Stopped { reason };
    let cases = [
        (
            ToHost::Identity {
                protocol: 1,
                kind: TeeKind::Simulated,
                measurement: [1; 32],
                account: AccountId::new([2; 32]),
                birth: birth(),
                shard,
                sealed_identity: Some(vec![0xcc]),
                collateral: Some(Collateral {
                    tcb_info: signed(),
                    qe_identity: signed(),
                    root_crl: Some(vec![4]),
                    pck_crl: Some(SignedCrl { crl: vec![5], issuer_chain: vec![6] }),
                }),
            },
            format!(
                "00010002{}{}{}{}0104cc01{document}{document}0104040104050406",
                of(1),
                of(2),
                hex::encode(birth().encode()),
                of(0xbb),
                document = format_args!("0401{}0403", hex::encode([2; 64])),
            ),
        ),
        (
            ToHost::Identity {
                protocol: 1,
                kind: TeeKind::Sgx,
                measurement: [1; 32],
                account: AccountId::new([2; 32]),
                birth: birth(),
                shard,
                sealed_identity: None,
                collateral: None,
            },
            format!("00010000{}{}{}{}0000", of(1), of(2), hex::encode(birth().encode()), of(0xbb)),
        ),
        (
            ToHost::Register {
                registration: Registration {
                    evidence: Evidence::Dcap(vec![1]),
                    incarnation_key: [2; 32],
                    tls_key_hash: [3; 32],
                    block_number: 4,
                    url: Some(url()),
                },
                extrinsic: vec![5],
            },
            format!("0b000401{}{}040000000104770405", of(2), of(3)),
        ),
        (ToHost::Registered { expires_at: 1 }, "0c0100000000000000".into()),
        (ToHost::LayerOneBehind { layer_one: 1, clock: 2 }, "0d01000000000000000200000000000000".into()),
        (ToHost::Synced { number: 1, hash: H256::repeat_byte(2) }, format!("0101000000{}", of(2))),
        (
            ToHost::ProofQuestion { question: 1, at: H256::repeat_byte(2), keys: vec![vec![3]] },
            format!("020100000000000000{}040403", of(2)),
        ),
        (ToHost::Submit { extrinsic: vec![1] }, "030401".into()),
        (ToHost::Serving { shard }, format!("04{}", of(0xbb))),
        (ToHost::Store { sequence: 1, writes: vec![] }, "05010000000000000000".into()),
        (
            ToHost::Store { sequence: 1, writes: writes() },
            format!(
                "05010000000000000010{}",
                hex::encode(writes().iter().map(Encode::encode).collect::<Vec<_>>().concat())
            ),
        ),
        (ToHost::Recovered { number: 1 }, "0e0100000000000000".into()),
        (ToHost::ConnectionData { connection: 1, bytes: vec![0xee] }, "06010000000000000004ee".into()),
        (ToHost::ConnectionCredit { connection: 1, bytes: 2 }, "07010000000000000002000000".into()),
        (ToHost::ConnectionClosed { connection: 1 }, "080100000000000000".into()),
        (
            ToHost::Status {
                pool: 1,
                block: 2,
                accounts: 3,
                state_bytes: 4,
                layer_one: 5,
                layer_one_read: 6,
                layer_one_time: 7,
                inbox_consumed: 8,
                rpc_requests: 9,
                connections: 10,
                anchored: 11,
                journal_bytes: 12,
                snapshot: 13,
                account_free: 14,
                execution_micros: 15,
                paused: Some("x".into()),
                outbox_next: 16,
                outbox_open: 17,
                mode: ShardMode::Retired,
            },
            "09010000000200000000000000030000000000000004000000000000000500000006000000070000000000000008000000\
             0000000009000000000000000a0000000b000000000000000c000000000000000d000000000000000e0000000000000000\
             000000000000000f0000000000000001047810000000000000001100000000000000\
             02"
            .into(),
        ),
        (reason(StopReason::Requested), "0a00".into()),
        (reason(StopReason::BadConfig("x".into())), "0a010478".into()),
        (reason(StopReason::FinalityRefused("x".into())), "0a020478".into()),
        (reason(StopReason::StorageLayoutUnknown), "0a03".into()),
        (reason(StopReason::ShardOfAnotherIncarnation(shard)), format!("0a04{}", of(0xbb))),
        (reason(StopReason::Protocol("x".into())), "0a050478".into()),
        (reason(StopReason::Internal("x".into())), "0a060478".into()),
        (reason(StopReason::Retired), "0a07".into()),
        (reason(StopReason::UnknownShard(shard)), format!("0a08{}", of(0xbb))),
        (reason(StopReason::Expired), "0a09".into()),
        (reason(StopReason::Evicted), "0a0a".into()),
        (reason(StopReason::Tee("x".into())), "0a0b0478".into()),
        (reason(StopReason::SealedIdentity), "0a0c".into()),
        (reason(StopReason::Kept("x".into())), "0a0d0478".into()),
        (reason(StopReason::KeptTooOld("x".into())), "0a0e0478".into()),
    ];
    for (message, expected) in cases {
        assert_eq!(hex::encode(message.encode()), expected, "{message:?}");
        assert_eq!(ToHost::decode_all(&mut &message.encode()[..]).unwrap(), message);
    }
}
