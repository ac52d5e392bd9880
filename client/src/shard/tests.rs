//! Whom the registry lets serve, and that nothing is sent to anybody else.
#![allow(clippy::type_complexity, reason = "tables of cases")]

use std::collections::BTreeMap;

use cloister_chain_primitives::{BuildMode, ShardBirth, ShardConfig, shard::ShieldingKeys, storage};
use cloister_claims::{TcbStatus, TeeKind};
use cloister_wire::envelope::SecretKey;
use codec::Encode;
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::json;
use sp_core::{Pair, ed25519};
use tokio::net::TcpListener;

use super::*;
use crate::layer_one::to_hex;

pub(super) const SECRET: [u8; 32] = [9; 32];
const NOW: Moment = 1_000_000;

pub(super) fn incarnation() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[1; 32])
}

pub(super) fn shard() -> Shard {
    let config = ShardConfig {
        enclave_fingerprint: [2; 32],
        max_instances: Some(1),
        authorities: None,
        maintenance_mode: false,
    };
    let hpke = SecretKey::from_bytes(SECRET).public().unwrap();
    let birth = ShardBirth {
        config,
        upgrade_delay: 10,
        escrow_cap: None,
        shielding_keys: ShieldingKeys { epoch: 0, hpke, rsa_modulus: [5; 384] },
        genesis_commitment: H256::zero(),
        founder: AccountId::new([3; 32]),
    };
    let genesis = H256::repeat_byte(6);
    let id = birth.shard_id(&genesis);
    Shard { id, entry: ShardEntry { birth, born_at: 1 }, enclave: record(), genesis }
}

fn record() -> EnclaveRecord {
    EnclaveRecord {
        fingerprint: [2; 32],
        signer: [7; 32],
        kind: TeeKind::Simulated,
        tcb_status: TcbStatus::UpToDate,
        advisories: Vec::new(),
        platform_id_hash: [8; 32],
        build_mode: BuildMode::Production,
        incarnation_key: incarnation().public().0,
        tls_key_hash: [4; 32],
        url: None,
        bound_block: 5,
        incarnation_since: 5,
        verified_at: NOW - 1_000,
        expires_at: NOW + 1,
        standing: Standing::Active,
    }
}

/// The shard as the registry with this record lets it be used.
fn served(record: Option<EnclaveRecord>, now: Moment) -> Result<Shard, Error> {
    let Shard { id, entry, genesis, .. } = shard();
    Shard::served(id, entry, record, genesis, now)
}

fn changed(change: impl FnOnce(&mut EnclaveRecord)) -> Option<EnclaveRecord> {
    let mut record = record();
    change(&mut record);
    Some(record)
}

#[test]
fn a_registered_enclave_serves_until_its_registration_expires() {
    assert_eq!(served(Some(record()), NOW).unwrap(), shard());
    let error = served(Some(record()), NOW + 1).unwrap_err();
    assert!(matches!(error, Error::Expired { expires_at, now, .. } if expires_at == now), "{error}");
    let error = served(Some(record()), NOW + 5_001).unwrap_err();
    assert!(error.to_string().ends_with("expired 5 s ago"), "{error}");
}

#[test]
fn nobody_else_serves() {
    let error = served(None, NOW).unwrap_err();
    assert!(matches!(&error, Error::NotRegistered { enclave, .. } if *enclave == AccountId::new([3; 32])), "{error}");
    let error = served(changed(|record| record.fingerprint = [9; 32]), NOW).unwrap_err();
    assert!(
        matches!(error, Error::FingerprintMismatch { found, wanted, .. } if (found, wanted) == ([9; 32], [2; 32])),
        "{error}"
    );
    let leaving = changed(|record| record.standing = Standing::Leaving { until: NOW + 60_000 });
    let error = served(leaving, NOW).unwrap_err();
    assert!(matches!(error, Error::Leaving { until, .. } if until == NOW + 60_000), "{error}");
}

#[test]
fn another_start_of_the_same_enclave_is_another_enclave() {
    let shard = shard();
    shard.still_served(Some(record()), NOW).unwrap();
    shard.still_served(changed(|record| (record.bound_block, record.expires_at) = (9, NOW + 9)), NOW).unwrap();
    for newer in [changed(|record| record.incarnation_key = [0; 32]), changed(|record| record.tls_key_hash = [0; 32])] {
        let error = shard.still_served(newer, NOW).unwrap_err();
        assert!(matches!(error, Error::Retired { .. }), "{error}");
    }
    assert!(matches!(shard.still_served(None, NOW), Err(Error::NotRegistered { .. })));
    assert!(matches!(shard.still_served(Some(record()), NOW + 1), Err(Error::Expired { .. })));
}

#[test]
fn what_the_registry_says_is_a_refusal() {
    for record in [None, changed(|record| record.fingerprint = [9; 32]), changed(|record| record.expires_at = 0)] {
        let error = served(record, NOW).unwrap_err();
        assert!(error.is_refusal() && error.is_registry(), "{error}");
    }
    assert!(!Error::NoAnswer.is_registry());
}

/// A node that shows one finalized block with the given storage.
struct Node {
    layer_one: LayerOne,
    _server: ServerHandle,
}

const HEAD: H256 = H256([1; 32]);

impl Node {
    async fn start(values: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let values: BTreeMap<String, String> =
            values.into_iter().map(|(key, value)| (to_hex(&key), to_hex(&value))).collect();
        let mut module = RpcModule::new(values);
        fn at_head(at: H256) -> Result<(), ErrorObjectOwned> {
            if at == HEAD { Ok(()) } else { Err(ErrorObjectOwned::owned(1, "another block", None::<()>)) }
        }
        module.register_method("chain_getBlockHash", |_, _, _| json!(shard().genesis)).unwrap();
        module.register_method("chain_getFinalizedHead", |_, _, _| json!(HEAD)).unwrap();
        module
            .register_method("state_getStorage", move |parameters, values, _| {
                let (key, at): (String, H256) = parameters.parse()?;
                at_head(at).map(|()| values.get(&key).cloned())
            })
            .unwrap();
        module
            .register_method("state_getKeysPaged", move |parameters, values, _| {
                let (prefix, count, start, at): (String, usize, Option<String>, H256) = parameters.parse()?;
                let after = |key: &&String| start.as_ref().is_none_or(|start| *key > start);
                let keys = values.keys().filter(|key| key.starts_with(&prefix)).filter(after);
                at_head(at).map(|()| keys.take(count).cloned().collect::<Vec<_>>())
            })
            .unwrap();
        module
            .register_method("state_queryStorageAt", move |parameters, values, _| {
                let (keys, at): (Vec<String>, H256) = parameters.parse()?;
                let changes: Vec<_> = keys.iter().map(|key| (key, values.get(key))).collect();
                at_head(at).map(|()| json!([{ "block": at, "changes": changes }]))
            })
            .unwrap();
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let _server = server.start(module);
        Self { layer_one: LayerOne::connect(&url).await.unwrap(), _server }
    }

    /// One with the shard, its enclave's record and the time.
    async fn with(record: Option<EnclaveRecord>, now: Moment) -> Self {
        let Shard { id, entry, .. } = shard();
        let mut values = vec![(storage::shard(&id), entry.encode()), (storage::timestamp(), now.encode())];
        values.extend(record.map(|record| (storage::enclave(&entry.birth.founder), record.encode())));
        Self::start(values).await
    }
}

#[tokio::test]
async fn a_shard_is_found_together_with_its_enclave() {
    let node = Node::with(Some(record()), NOW).await;
    assert_eq!(Shard::find(&node.layer_one, shard().id).await.unwrap(), shard());
    let unknown = Shard::find(&node.layer_one, ShardId::default()).await;
    assert!(matches!(unknown, Err(Error::UnknownShard(_))));
}

#[tokio::test]
async fn all_enclaves_are_read_page_by_page() {
    let accounts: Vec<_> =
        (0..600u32).map(|number| AccountId::new(sp_crypto_hashing::blake2_256(&number.encode()))).collect();
    let values = accounts.iter().zip(0..).map(|(account, number)| {
        let record = EnclaveRecord { bound_block: number, ..record() };
        (storage::enclave(account), record.encode())
    });
    let node = Node::start(values).await;
    let found: BTreeMap<_, _> = node.layer_one.enclaves().await.unwrap().into_iter().collect();
    assert_eq!(found.len(), 600);
    for (account, number) in accounts.iter().zip(0..) {
        assert_eq!(found[account].bound_block, number);
    }
}

#[tokio::test]
async fn a_worker_that_may_not_serve_is_not_even_called() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", listener.local_addr().unwrap());
    let refused: [(Option<EnclaveRecord>, fn(&Error) -> bool); 4] = [
        (None, |error| matches!(error, Error::NotRegistered { .. })),
        (changed(|record| record.expires_at = NOW), |error| matches!(error, Error::Expired { .. })),
        (changed(|record| record.standing = Standing::Leaving { until: NOW }), |error| {
            matches!(error, Error::Leaving { .. })
        }),
        (changed(|record| record.fingerprint = [0; 32]), |error| matches!(error, Error::FingerprintMismatch { .. })),
    ];
    for (record, expected) in refused {
        let node = Node::with(record, NOW).await;
        for shard in [Some(shard().id), None] {
            let selection = Selection { shard, mrenclave: None };
            let error = ShardClient::connect(&node.layer_one, &url, &selection).await.err().unwrap();
            assert!(expected(&error), "{error}");
        }
    }
    // Had anybody connected, the connection would be waiting here.
    let called = futures::future::poll_immediate(Box::pin(listener.accept())).await;
    assert!(called.is_none());
}
