//! A node of layer one with one finalized block, and what the chain would record about enclaves and shards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use cloister_chain_primitives::{
    AccountId, BuildMode, EnclaveRecord, H256, ShardBirth, ShardConfig, ShardEntry, ShardId, Standing,
    shard::ShieldingKeys, storage,
};
use cloister_claims::{TcbStatus, TeeKind};
use cloister_wire::envelope::SecretKey;
use codec::{Decode, Encode};
use jsonrpsee::{RpcModule, server::Server};
use serde_json::json;

/// A node; it takes no extrinsics.
pub struct Node {
    pub url: String,
    values: Values,
    _runtime: tokio::runtime::Runtime,
}

pub type Values = Arc<Mutex<BTreeMap<String, String>>>;

/// Height of its finalized block. Its chain has no higher one.
pub const HEAD_NUMBER: u32 = 100;
/// Layer one's time at that block, Unix milliseconds.
pub const NOW: u64 = 1_700_000_000_000;

impl Node {
    pub fn start() -> Self {
        Self::with_methods(|_| ())
    }

    /// One that also answers the methods that `add` registers.
    pub fn with_methods(add: impl FnOnce(&mut RpcModule<Values>)) -> Self {
        let values = Values::default();
        let mut module = RpcModule::new(values.clone());
        module
            .register_method("chain_getBlockHash", |parameters, _, _| {
                match parameters.sequence().optional_next::<u32>().unwrap() {
                    Some(number) => json!((number <= HEAD_NUMBER).then(|| block_hash(number))),
                    None => json!(BEST),
                }
            })
            .unwrap();
        module.register_method("chain_getFinalizedHead", |_, _, _| json!(block_hash(HEAD_NUMBER))).unwrap();
        module
            .register_method("chain_getHeader", |_, _, _| {
                let (number, hash) = (format!("0x{HEAD_NUMBER:x}"), H256::zero());
                let digest = json!({ "logs": [] });
                json!({ "parentHash": hash, "number": number, "stateRoot": hash, "extrinsicsRoot": hash, "digest": digest })
            })
            .unwrap();
        module
            .register_method("state_getStorage", |parameters, values, _| {
                let (key, at): (String, H256) = parameters.parse().unwrap();
                let values = values.lock().unwrap();
                let at_best = Some(at).filter(|at| *at == BEST).and_then(|_| values.get(&of_best(&key)));
                json!(at_best.or_else(|| values.get(&key)))
            })
            .unwrap();
        module
            .register_method("state_getKeysPaged", |parameters, values, _| {
                let (prefix, _count, _start, _at): (String, usize, Option<String>, H256) = parameters.parse().unwrap();
                let values = values.lock().unwrap();
                json!(values.keys().filter(|key| key.starts_with(&prefix)).collect::<Vec<_>>())
            })
            .unwrap();
        module
            .register_method("state_queryStorageAt", |parameters, values, _| {
                let (keys, at): (Vec<String>, H256) = parameters.parse().unwrap();
                let values = values.lock().unwrap();
                let changes: Vec<_> = keys.iter().map(|key| (key, values.get(key))).collect();
                json!([{ "block": at, "changes": changes }])
            })
            .unwrap();
        add(&mut module);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = runtime.block_on(async {
            let server = Server::builder().build("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}", server.local_addr().unwrap());
            tokio::spawn(server.start(module).stopped());
            url
        });
        let node = Self { url, values, _runtime: runtime };
        node.set(&storage::timestamp(), NOW);
        node
    }

    pub fn set(&self, key: &[u8], value: impl Encode) {
        self.values.lock().unwrap().insert(hex0x(key), hex0x(&value.encode()));
    }

    /// Sets what only its best block has.
    pub fn set_at_best(&self, key: &[u8], value: impl Encode) {
        self.values.lock().unwrap().insert(of_best(&hex0x(key)), hex0x(&value.encode()));
    }

    pub fn get<T: Decode>(&self, key: &[u8]) -> T {
        let value = self.values.lock().unwrap()[&hex0x(key)].clone();
        T::decode(&mut hex::decode(&value[2..]).unwrap().as_slice()).unwrap()
    }

    pub fn register(&self, account: &AccountId, record: &EnclaveRecord) {
        self.set(&storage::enclave(account), record);
    }

    /// Lists a shard that an enclave bore; its id.
    pub fn bear(&self, founder: &AccountId, born_at: u32) -> ShardId {
        let config = ShardConfig {
            enclave_fingerprint: FINGERPRINT,
            max_instances: Some(1),
            authorities: None,
            maintenance_mode: false,
        };
        let hpke = SecretKey::from_bytes([9; 32]).public().unwrap();
        let birth = ShardBirth {
            config,
            upgrade_delay: 10,
            escrow_cap: None,
            shielding_keys: ShieldingKeys { epoch: 0, hpke, rsa_modulus: [5; 384] },
            genesis_commitment: block_hash(born_at),
            founder: founder.clone(),
        };
        let id = birth.shard_id(&block_hash(0));
        self.set(&storage::shard(&id), ShardEntry::born(birth, born_at));
        id
    }
}

fn of_best(key: &str) -> String {
    format!("best {key}")
}

/// Its best block, one above the finalized one.
const BEST: H256 = H256([0xbe; 32]);
pub const FINGERPRINT: [u8; 32] = [2; 32];

/// An enclave in good standing.
pub fn record(kind: TeeKind) -> EnclaveRecord {
    EnclaveRecord {
        fingerprint: FINGERPRINT,
        signer: [7; 32],
        kind,
        tcb_status: TcbStatus::UpToDate,
        advisories: Vec::new(),
        platform_id_hash: [8; 32],
        build_mode: BuildMode::Production,
        incarnation_key: [5; 32],
        tls_key_hash: [4; 32],
        url: None,
        bound_block: 90,
        incarnation_since: 80,
        verified_at: NOW - 60_000,
        expires_at: NOW + 3_600_000,
        standing: Standing::Active,
    }
}

pub fn block_hash(number: u32) -> H256 {
    H256::repeat_byte(u8::try_from(number).unwrap())
}

pub fn hex0x(bytes: &(impl AsRef<[u8]> + ?Sized)) -> String {
    format!("0x{}", hex::encode(bytes))
}
