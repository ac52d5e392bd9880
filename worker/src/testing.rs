//! A layer-one node for tests: a chain that grows on demand, behind a real JSON-RPC server that can be lost. And what an
//! enclave says.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, BuildMode, EnclaveRecord, H256, Header, Nonce, Registration, RegistrationRefused,
    ShardBirth, ShardConfig, ShardEntry, ShardId, ShardMode, Standing,
    shard::{RSA_MODULUS_BYTES, ShieldingKeys},
    storage,
};
use cloister_claims::{Collateral, Evidence, Signed, SignedCrl, TcbStatus, TeeKind};
use cloister_link::{ToEnclave, ToHost, transport};
use codec::{Compact, Decode, Encode};
use jsonrpsee::{
    RpcModule, SubscriptionMessage,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use sp_runtime::{Digest, DigestItem};
use tokio::{io::AsyncReadExt, sync::broadcast};

use crate::{
    funds::Purse,
    layer_one::{FinalityProof, GRANDPA_ENGINE_ID, LayerOne, RuntimeVersion, hex_text},
};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const VERSION: RuntimeVersion = RuntimeVersion { spec_version: 100, transaction_version: 1 };

/// What the node has and was asked.
#[derive(Debug, Default)]
pub struct State {
    pub headers: Vec<Header>,
    /// Blocks with a stored justification.
    pub justified: std::collections::BTreeSet<BlockNumber>,
    pub finalized: BlockNumber,
    pub submitted: Vec<Vec<u8>>,
    /// With what words extrinsics are refused.
    pub refuse_extrinsics: Option<&'static str>,
    pub refuse_proofs: bool,
    /// Whether only the newest finalized block's state is left.
    pub pruned: bool,
    pub storage: std::collections::HashMap<Vec<u8>, Vec<u8>>,
    /// What the chain says to registrations.
    pub refusal: Option<RegistrationRefused>,
    /// Registrations that were tried, and for whom.
    pub tried: Vec<(AccountId, Registration)>,
    /// How many extrinsics are refused because another one has their nonce.
    pub collisions: u32,
    pub nonce: Nonce,
    /// What an extrinsic does as soon as it is in the pool.
    pub effect: Option<fn(&mut State, &[u8])>,
}

impl State {
    /// Gives an account money.
    pub fn fund(&mut self, account: &AccountId, free: Balance) {
        let info = storage::AccountInfo { free, ..Default::default() };
        self.storage.insert(storage::account(account), info.encode());
    }

    /// The enclave is registered.
    pub fn record(&mut self) {
        self.storage.insert(storage::enclave(&account()), record().encode());
    }

    /// The enclave's shard is born.
    pub fn bear(&mut self) {
        let entry = ShardEntry::born(birth(), 1);
        self.storage.insert(storage::shard(&shard()), entry.encode());
    }
}

#[derive(Clone, Debug)]
pub struct FakeNode {
    pub state: Arc<Mutex<State>>,
    justifications: broadcast::Sender<Vec<u8>>,
    versions: broadcast::Sender<u32>,
}

impl FakeNode {
    /// With block 0 only.
    pub fn new() -> Self {
        let node = Self {
            state: Arc::default(),
            justifications: broadcast::channel(4096).0,
            versions: broadcast::channel(16).0,
        };
        node.push(Digest::default());
        node
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn push(&self, digest: Digest) {
        let mut state = self.state();
        let parent_hash = state.headers.last().map(Header::hash).unwrap_or_default();
        let number = state.headers.len() as u32;
        let root = H256::repeat_byte(number as u8);
        state.headers.push(Header { parent_hash, number, state_root: root, extrinsics_root: root, digest });
    }

    /// Adds blocks without special digests.
    pub fn grow(&self, count: usize) {
        (0..count).for_each(|_| self.push(Digest::default()));
    }

    /// Adds a block that announces a change of authorities.
    pub fn announce_change(&self, delay: BlockNumber) {
        let log = (1u8, vec![([7u8; 32], 1u64)], delay).encode();
        self.push(Digest { logs: vec![DigestItem::Consensus(GRANDPA_ENGINE_ID, log)] });
    }

    /// Finalizes up to a block, storing a justification for it alone.
    pub fn finalize(&self, number: BlockNumber) {
        let justification = {
            let mut state = self.state();
            state.finalized = number;
            state.justified.insert(number);
            justification(&state.headers[number as usize])
        };
        let _ = self.justifications.send(justification);
    }

    pub fn hash(&self, number: BlockNumber) -> H256 {
        self.state().headers[number as usize].hash()
    }

    pub fn upgrade(&self, spec_version: u32) {
        let _ = self.versions.send(spec_version);
    }

    /// Serves until the handle is stopped or dropped.
    pub async fn serve(&self, address: &str) -> (SocketAddr, ServerHandle) {
        let server = Server::builder().build(address).await.unwrap();
        let address = server.local_addr().unwrap();
        (address, server.start(self.module()))
    }

    fn module(&self) -> RpcModule<Self> {
        let mut module = RpcModule::new(self.clone());
        let mut method = |name: &'static str, answer: fn(&mut State, Vec<Value>) -> Result<Value, ErrorObjectOwned>| {
            module
                .register_method(name, move |params, node, _| {
                    let mut state = node.state();
                    answer(&mut state, params.parse().unwrap_or_default())
                })
                .unwrap();
        };
        method("chain_getBlockHash", |state, params| {
            let hash = |number: &Value| state.headers.get(number.as_u64().unwrap() as usize).map(Header::hash);
            Ok(match &params[0] {
                Value::Array(numbers) => json!(numbers.iter().map(hash).collect::<Vec<_>>()),
                number => json!(hash(number)),
            })
        });
        method("chain_getFinalizedHead", |state, _| Ok(json!(state.headers[state.finalized as usize].hash())));
        method("chain_getHeader", |state, params| Ok(json!(find(state, &params[0]))));
        method("chain_getBlock", |state, params| {
            let header = find(state, &params[0]).unwrap();
            let stored = state.justified.contains(&header.number);
            let justifications = stored.then(|| [(GRANDPA_ENGINE_ID, justification(&header))]);
            Ok(json!({ "block": { "header": header, "extrinsics": [] }, "justifications": justifications }))
        });
        method("grandpa_proveFinality", |state, _| {
            let header = &state.headers[state.finalized as usize];
            let (block, justification) = (header.hash(), justification(header));
            let proof = FinalityProof { block, justification, unknown_headers: vec![] };
            Ok(json!(hex_text(&proof.encode())))
        });
        method("state_getRuntimeVersion", |_, _| Ok(version(VERSION.spec_version)));
        method("state_call", |state, params| {
            if state.pruned && params[2] != json!(state.headers[state.finalized as usize].hash()) {
                return Err(ErrorObjectOwned::owned(4003, "State already discarded", None::<()>));
            }
            Ok(json!(hex_text(&match params[0].as_str().unwrap() {
                "GrandpaApi_current_set_id" => 5u64.encode(),
                "TransactionPaymentApi_query_info" => (Compact(7u64), Compact(8u64), 0u8, FEE).encode(),
                "TeerexApi_check_registration" => {
                    let arguments = hex::decode(&params[1].as_str().unwrap()[2..]).unwrap();
                    state.tried.push(Decode::decode(&mut &arguments[..]).unwrap());
                    state.refusal.map_or(Ok(record()), Err).encode()
                }
                _ => vec![([3u8; 32], 1u64)].encode(),
            })))
        });
        method("state_getReadProof", |state, params| match state.refuse_proofs {
            true => Err(ErrorObjectOwned::owned(4003, "State already discarded", None::<()>)),
            false => Ok(json!({ "at": params[1], "proof": params[0] })),
        });
        method("state_getStorage", |state, params| {
            let key = hex::decode(&params[0].as_str().unwrap()[2..]).unwrap();
            Ok(json!(state.storage.get(&key).map(|value| hex_text(value))))
        });
        method("author_submitExtrinsic", |state, params| {
            if let Some(words) = state.refuse_extrinsics {
                return Err(ErrorObjectOwned::owned(1010, "Invalid Transaction", Some(words)));
            }
            if state.collisions > 0 {
                state.collisions -= 1;
                return Err(ErrorObjectOwned::owned(1014, "Priority is too low", Some("(0 vs 0)")));
            }
            let extrinsic = hex::decode(&params[0].as_str().unwrap()[2..]).unwrap();
            if let Some(effect) = state.effect {
                effect(state, &extrinsic);
            }
            state.submitted.push(extrinsic);
            state.nonce += 1;
            Ok(json!(H256::zero()))
        });
        method("system_accountNextIndex", |state, _| Ok(json!(state.nonce)));
        let (subscribe, notify, unsubscribe) =
            ("grandpa_subscribeJustifications", "grandpa_justifications", "grandpa_unsubscribeJustifications");
        module
            .register_subscription(subscribe, notify, unsubscribe, |_, pending, node, _| async move {
                let mut justifications = node.justifications.subscribe();
                let sink = pending.accept().await?;
                while let Ok(justification) = justifications.recv().await {
                    sink.send(SubscriptionMessage::from_json(&hex_text(&justification))?).await?;
                }
                Ok(())
            })
            .unwrap();
        let (subscribe, notify, unsubscribe) =
            ("state_subscribeRuntimeVersion", "state_runtimeVersion", "state_unsubscribeRuntimeVersion");
        module
            .register_subscription(subscribe, notify, unsubscribe, |_, pending, node, _| async move {
                let mut versions = node.versions.subscribe();
                let sink = pending.accept().await?;
                sink.send(SubscriptionMessage::from_json(&version(VERSION.spec_version))?).await?;
                while let Ok(spec_version) = versions.recv().await {
                    sink.send(SubscriptionMessage::from_json(&version(spec_version))?).await?;
                }
                Ok(())
            })
            .unwrap();
        module
    }
}

/// Planck that any extrinsic costs.
pub const FEE: Balance = 1_000_000_000;

/// The enclave's account.
pub fn account() -> AccountId {
    AccountId::new([7; 32])
}

pub fn shard() -> ShardId {
    ShardId(H256::repeat_byte(3))
}

pub fn birth() -> ShardBirth {
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: [1; 32],
            max_instances: Some(1),
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 2,
        escrow_cap: None,
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus: [5; RSA_MODULUS_BYTES] },
        genesis_commitment: H256::zero(),
        founder: account(),
    }
}

/// The enclave's account and shard at a node.
pub fn purse(node: SocketAddr) -> Purse {
    let layer_one = Arc::new(LayerOne::new(format!("ws://{node}")));
    Purse { layer_one, account: account(), birth: birth(), shard: shard() }
}

/// An enclave's first word, with a new identity.
pub fn identity(protocol: u16) -> ToHost {
    ToHost::Identity {
        protocol,
        kind: TeeKind::Simulated,
        measurement: [1; 32],
        account: account(),
        birth: birth(),
        shard: shard(),
        sealed_identity: Some(b"sealed".to_vec()),
        collateral: Some(collateral()),
    }
}

/// What an enclave says now and then.
pub fn status() -> ToHost {
    ToHost::Status {
        pool: 1,
        block: 20,
        accounts: 3,
        state_bytes: 4,
        layer_one: 5,
        layer_one_read: 6,
        layer_one_time: 7_999,
        inbox_consumed: 8,
        rpc_requests: 9,
        connections: 10,
        anchored: 11,
        journal_bytes: 12,
        snapshot: 13,
        account_free: 14_000_000_000_000_000_000_000,
        execution_micros: 1_500_000,
        paused: Some("layer one's finality stalls".into()),
        outbox_next: 15,
        outbox_open: 16,
        mode: ShardMode::Retired,
    }
}

pub fn collateral() -> Collateral {
    let signed = |body: &str| Signed { body: body.into(), signature: [6; 64], issuer_chain: b"PEM".to_vec() };
    Collateral {
        tcb_info: signed("{\"id\":\"SGX\"}"),
        qe_identity: signed("{\"id\":\"QE\"}"),
        root_crl: Some(vec![0x30, 1]),
        pck_crl: Some(SignedCrl { crl: vec![0x30, 2], issuer_chain: b"PEM of the issuer".to_vec() }),
    }
}

/// What an enclave states about itself with evidence of a block.
pub fn registration(block_number: BlockNumber) -> Registration {
    let evidence = Evidence::Dcap(vec![1, 2, 3]);
    Registration { evidence, incarnation_key: [8; 32], tls_key_hash: [9; 32], block_number, url: None }
}

fn record() -> EnclaveRecord {
    EnclaveRecord {
        fingerprint: [1; 32],
        signer: [2; 32],
        kind: TeeKind::Simulated,
        tcb_status: TcbStatus::UpToDate,
        advisories: vec![],
        platform_id_hash: [3; 32],
        build_mode: BuildMode::Production,
        incarnation_key: [8; 32],
        tls_key_hash: [9; 32],
        url: None,
        bound_block: 1,
        incarnation_since: 1,
        verified_at: 2,
        expires_at: 3,
        standing: Standing::Active,
    }
}

/// A program that speaks the link's protocol as an enclave would: at its n-th start the n-th of these sequences of
/// messages (the last for ever), and then nothing. It counts its starts in the file `starts`.
pub async fn fake_enclave(directory: &Path, starts: &[Vec<ToHost>]) -> PathBuf {
    let at = directory.display();
    let mut script = format!(
        "#!/bin/sh\necho >> {at}/starts\nstarts=0\nwhile read -r _; do starts=$((starts+1)); done < {at}/starts\n"
    );
    for (number, messages) in starts.iter().enumerate() {
        let path = directory.join(format!("messages-{number}"));
        std::fs::write(&path, framed(messages).await).unwrap();
        let last = number + 1 == starts.len();
        let condition = if last { "true".into() } else { format!("[ $starts -eq {} ]", number + 1) };
        let path = path.display();
        script.push_str(&format!("if {condition}; then /bin/cat {path} >&0; exec /bin/sleep 60; fi\n"));
    }
    let program = directory.join("enclave");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    program
}

/// Messages as they go over the link.
async fn framed(messages: &[ToHost]) -> Vec<u8> {
    let (near, mut far) = tokio::io::duplex(1024 * 1024);
    let (sender, receiver) = transport::split::<_, ToHost, ToEnclave>(near);
    for message in messages {
        sender.send(message.clone()).await.unwrap();
    }
    sender.flush().await.unwrap();
    drop((sender, receiver));
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Enough of a justification for a host, which does not verify it.
pub fn justification(header: &Header) -> Vec<u8> {
    (1u64, header.hash(), header.number, Compact(0u32)).encode()
}

fn version(spec_version: u32) -> Value {
    json!({ "specName": "cloister", "specVersion": spec_version, "transactionVersion": VERSION.transaction_version })
}

fn find(state: &State, hash: &Value) -> Option<Header> {
    let hash: H256 = serde_json::from_value(hash.clone()).unwrap();
    state.headers.iter().find(|header| header.hash() == hash).cloned()
}
