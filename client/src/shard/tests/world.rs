//! A node with a chain of blocks, a worker with an enclave that answers, and a client of both.

use std::collections::VecDeque;

use cloister_chain_primitives::{Anchor, Anchored, Balance, calls::Call};
use cloister_wire::{
    BoundGetterSigned, DirectRequestStatus, Getter, InboxStatus, OutboxProof, Outcome, PublicGetter, SignedAnswer,
    TrustedGetter, TrustedOperationStatus, envelope::open,
};
use codec::{Decode, DecodeAll};
use jsonrpsee::{SubscriptionMessage, core::SubscriptionResult};
use scale_info::TypeInfo;

use super::*;
use crate::layer_one::runtime_metadata;

#[derive(Encode, TypeInfo)]
struct EventRecord {
    phase: Phase,
    event: RuntimeEvent,
    topics: Vec<H256>,
}

#[derive(Encode, TypeInfo)]
enum Phase {
    ApplyExtrinsic(u32),
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum RuntimeEvent {
    #[codec(index = 0)]
    System(SystemEvent),
    #[codec(index = 11)]
    TransactionPayment(PaymentEvent),
    #[codec(index = 53)]
    Sidechain(SidechainEvent),
    #[codec(index = 54)]
    EnclaveBridge(BridgeEvent),
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum SystemEvent {
    ExtrinsicFailed { dispatch_error: DispatchError },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum DispatchError {
    #[codec(index = 2)]
    BadOrigin,
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum PaymentEvent {
    TransactionFeePaid { who: AccountId, actual_fee: Balance, tip: Balance },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum SidechainEvent {
    FinalizedSidechainBlock { shard: ShardId, block_number: u64, block_header_hash: H256, inbox_consumed: u64 },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum BridgeEvent {
    ProcessedParentchainBlock { shard: ShardId, block_hash: H256, trusted_calls_merkle_root: H256, block_number: u32 },
    UnshieldedFunds { shard: ShardId, beneficiary: AccountId, amount: Balance, call_hash: H256 },
    UnshieldRefused { shard: ShardId, call_hash: H256 },
    UnshieldDeferred { shard: ShardId, call_hash: H256 },
}

pub(crate) fn processed(shard: ShardId, block_number: u32) -> RuntimeEvent {
    let block_hash = block_hash(block_number.into());
    let trusted_calls_merkle_root = H256::repeat_byte(3);
    RuntimeEvent::EnclaveBridge(BridgeEvent::ProcessedParentchainBlock {
        shard,
        block_hash,
        trusted_calls_merkle_root,
        block_number,
    })
}

/// What node and enclave know.
#[derive(Default)]
pub(crate) struct World {
    /// Events of each block.
    pub blocks: Vec<Vec<RuntimeEvent>>,
    /// The rest of storage: what a key has from the block of a height on.
    history: BTreeMap<String, BTreeMap<usize, Option<String>>>,
    /// Height of the newest final block.
    pub finalized: usize,
    /// What the next extrinsic emits.
    pub effects: Vec<RuntimeEvent>,
    /// What the node says of the next extrinsic, other than that it is in a final block.
    pub pool: Option<Value>,
    /// The extrinsic that was submitted, and the height of its block.
    pub submitted: Option<(Vec<u8>, usize)>,
    /// The operation that was submitted to the enclave.
    direct: Option<TrustedOperation>,
    /// What the enclave tells of the submitted call.
    pub outcome: Option<Outcome>,
    /// What the enclave tells of the inbox, one answer after another; the last for ever.
    pub inbox: VecDeque<InboxStatus>,
    /// What the enclave owes on layer one.
    pub outbox: Vec<OutboxProof>,
    /// The sender's open unshielding, and how often the enclave still tells of it.
    pub unshielding: Option<(u64, Balance, u32)>,
    /// The sender's next nonce, where it is not [`NONCE`].
    pub nonce: Option<Nonce>,
    /// Height of the block that the enclave answers of, where it is not 1.
    pub height: Option<u64>,
    /// What the enclave says of a call that it takes, where it does not say that it is in a block.
    pub statuses: Option<Vec<TrustedOperationStatus>>,
    /// The operations of the newest batch.
    pub batch: Vec<TrustedOperation>,
    /// The hash that the enclave answers a call with, where it is not the call's.
    pub named: Option<H256>,
    /// Every signed answer.
    pub answers: Vec<SignedAnswer>,
    /// What happens on an answer's way to the client.
    pub on_the_way: Option<fn(&mut World, &mut SignedAnswer)>,
}

type Shared = Arc<Mutex<World>>;

/// The sender's next nonce.
pub(crate) const NONCE: Nonce = 5;
/// Height of the newest block at the start; the next one takes the call.
pub(crate) const START: usize = 3;
/// The height of the block that takes the call.
pub(crate) const INCLUDED: u32 = START as u32 + 1;
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn block_hash(number: u64) -> H256 {
    if number == 0 { shard().genesis } else { H256::from_low_u64_be(number) }
}

pub(crate) fn bob() -> Signer {
    Signer::from_secret(Scheme::Sr25519, "//Bob").unwrap()
}

/// The shard's anchor of this block, as layer one stores it.
pub(crate) fn anchored(number: u64) -> Anchored {
    let (header_hash, outbox_root) = (H256::repeat_byte(4), H256::zero());
    let anchor = Anchor { number, header_hash, inbox_consumed: 1, outbox_root, outbox_closed: 0, fees: 0 };
    Anchored { anchor, at: 2 }
}

impl World {
    /// A final block with these events.
    pub fn grow(&mut self, events: Vec<RuntimeEvent>) {
        self.blocks.push(events);
        self.finalized = self.blocks.len() - 1;
    }

    /// What a key has from the newest block on.
    pub fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let value = value.map(|value| to_hex(&value));
        self.history.entry(to_hex(key)).or_default().insert(self.finalized, value);
    }

    fn value(&self, key: &str, at: usize) -> Option<String> {
        self.history.get(key)?.range(..=at).next_back()?.1.clone()
    }

    /// From the next block on the registry has another start of the enclave.
    pub fn restart(&mut self) {
        let key = storage::enclave(shard().founder());
        let current = self.value(&to_hex(&key), self.finalized).unwrap();
        let current = EnclaveRecord::decode(&mut hex::decode(&current[2..]).unwrap().as_slice()).unwrap();
        self.grow(Vec::new());
        let incarnation_since = self.finalized as u32;
        let incarnation_key = *H256::from_low_u64_be(incarnation_since.into()).as_fixed_bytes();
        self.set(&key, Some(EnclaveRecord { incarnation_key, incarnation_since, ..current }.encode()));
    }

    /// What a key will have from the block of a height on.
    pub fn set_later(&mut self, height: usize, key: &[u8], value: Vec<u8>) {
        self.history.entry(to_hex(key)).or_default().insert(height, Some(to_hex(&value)));
    }

    /// Takes an extrinsic into a new final block; its hash.
    fn take(&mut self, extrinsic: Vec<u8>) -> H256 {
        let effects = std::mem::take(&mut self.effects);
        self.grow(effects);
        self.submitted = Some((extrinsic, self.finalized));
        block_hash(self.finalized as u64)
    }

    /// The request in the submitted extrinsic, whose last field is the call.
    fn request(&self) -> Request {
        let (extrinsic, _) = self.submitted.as_ref().unwrap();
        let call = [&[54u8, 0][..], shard().id.as_ref()].concat();
        let start = extrinsic.windows(call.len()).position(|window| window == call).unwrap();
        let request = Request::decode_all(&mut &extrinsic[start + 2..]).unwrap();
        assert!(extrinsic.ends_with(&Call::invoke(&request).encode()));
        request
    }

    /// What was sent is no longer known.
    pub fn forget(&mut self) {
        (self.direct, self.submitted) = (None, None);
    }

    /// What the enclave opens.
    pub fn operation(&self) -> TrustedOperation {
        self.direct.clone().unwrap_or_else(|| opened(&self.request()))
    }

    fn answer(&mut self, getter: &TrustedGetter) -> Option<Vec<u8>> {
        match getter {
            TrustedGetter::Nonce(_) => Some(self.nonce.unwrap_or(NONCE).encode()),
            TrustedGetter::CallOutcome(_, operation) if *operation == self.operation().hash() => {
                self.outcome.as_ref().map(Encode::encode)
            }
            TrustedGetter::Unshielding(owner, asked) => {
                let (number, amount, answers) = self.unshielding.as_mut()?;
                *answers = answers.checked_sub(1)?;
                (number == asked).then(|| (owner, amount).encode())
            }
            _ => None,
        }
    }

    fn public_answer(&mut self, getter: &PublicGetter) -> Option<Vec<u8>> {
        match getter {
            PublicGetter::Inbox if self.inbox.len() > 1 => self.inbox.pop_front().map(|status| status.encode()),
            PublicGetter::Inbox => self.inbox.front().map(Encode::encode),
            PublicGetter::Outbox(from) => {
                let page = self.outbox.iter().filter(|proof| proof.entry.number >= *from).take(2);
                Some(page.collect::<Vec<_>>().encode())
            }
            PublicGetter::App(_) => None,
        }
    }

    /// A signed answer to a bound query, a plain one to a public one.
    fn execute(&mut self, request: &Value) -> Option<RpcReturnValue> {
        let request = request_of(request);
        let query = match Getter::decode(&mut request.cyphertext.as_slice()).ok()? {
            Getter::Bound(query) => query,
            Getter::Public(getter) => return Some(RpcReturnValue::ok(self.public_answer(&getter))),
            Getter::Trusted(_) => return None,
        };
        let Shard { id, genesis, .. } = shard();
        assert!(BoundGetterSigned::verify(&query, &genesis, &id, &shard().scope().mrenclave));
        let mut answer = SignedAnswer {
            value: self.answer(&query.query.getter),
            request_hash: query.hash(),
            commitment: H256::zero(),
            block_number: self.height.unwrap_or(1),
            layer_one_number: self.finalized as u32,
            layer_one_head: block_hash(self.finalized as u64),
            layer_one_time: NOW,
            signature: [0; 64],
        };
        sign(&mut answer, &incarnation());
        self.answers.push(answer.clone());
        if let Some(change) = self.on_the_way {
            change(self, &mut answer);
        }
        Some(RpcReturnValue::ok(Some(answer.encode())))
    }

    /// Takes a direct call: its hash, and that it is in a block of the shard.
    fn submit(&mut self, request: &Value) -> (Vec<u8>, Vec<DirectRequestStatus>) {
        let operation = opened(&request_of(request));
        let hash = self.named.unwrap_or(operation.hash());
        self.direct = Some(operation);
        let in_block = TrustedOperationStatus::InSidechainBlock(H256::repeat_byte(7));
        let statuses = self.statuses.clone().unwrap_or_else(|| vec![TrustedOperationStatus::Ready, in_block]);
        (hash.encode(), statuses.into_iter().map(DirectRequestStatus::TrustedOperationStatus).collect())
    }

    /// Takes the first of a batch of direct calls.
    fn submit_batch(&mut self, request: &Value) -> RpcReturnValue {
        let requests = Vec::<Request>::decode_all(&mut parameter(request).as_slice()).unwrap();
        self.batch = requests.iter().map(opened).collect();
        let answers = self.batch.iter().enumerate().map(|(place, operation)| match place {
            0 => Ok(self.named.unwrap_or(operation.hash())),
            _ => Err("no more than one".to_string()),
        });
        RpcReturnValue::ok(answers.collect::<Vec<Result<H256, String>>>())
    }
}

pub(crate) fn sign(answer: &mut SignedAnswer, incarnation: &ed25519::Pair) {
    answer.signature = incarnation.sign(&answer.signed_bytes(&shard().genesis, &shard().id)).0;
}

fn parameter(request: &Value) -> Vec<u8> {
    hex::decode(request["params"][0].as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn request_of(request: &Value) -> Request {
    Request::decode(&mut parameter(request).as_slice()).unwrap()
}

fn opened(request: &Request) -> TrustedOperation {
    let Shard { id, genesis, .. } = shard();
    let context = Context { genesis, shard: id, purpose: Purpose::Request };
    let opened = open(&context, &SecretKey::from_bytes(SECRET), &request.cyphertext).unwrap();
    TrustedOperation::decode_all(&mut opened.as_slice()).unwrap()
}

/// A node, a worker and a client of both.
pub(crate) struct Deployment {
    world: Shared,
    pub client: ShardClient,
    server: ServerHandle,
    worker: FakeWorker,
}

impl Deployment {
    pub async fn start() -> Self {
        let world = Shared::default();
        let enclave = world.clone();
        let worker = FakeWorker::answering(shard().id, move |request| {
            let mut enclave = enclave.lock().unwrap();
            match request["method"].as_str() {
                Some("state_executeGetter") => enclave.execute(request).map(|answer| (answer.encode(), Vec::new())),
                Some("author_submitAndWatchExtrinsic") => Some(enclave.submit(request)),
                Some("author_submitBatch") => Some((enclave.submit_batch(request).encode(), Vec::new())),
                _ => None,
            }
        })
        .await;
        {
            let mut world = world.lock().unwrap();
            world.grow(Vec::new());
            world.set(&storage::timestamp(), Some(NOW.encode()));
            world.set(&storage::shard(&shard().id), Some(shard().entry.encode()));
            world.set(&storage::enclave(shard().founder()), Some(worker.record().encode()));
            (0..START).for_each(|_| world.grow(Vec::new()));
        }
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let server = server.start(methods(world.clone()));
        let layer_one = LayerOne::connect(&url).await.unwrap();
        let client = ShardClient::connect(&layer_one, &worker.url, &named(&shard())).await.unwrap();
        worker.asked();
        Self { world, client, server, worker }
    }

    /// The worker hangs up at this point.
    pub fn hang_up(&self, when: HangsUp) {
        self.worker.hang_up(when);
    }

    /// The node hangs up on everybody.
    pub async fn stop_node(&self) {
        let _ = self.server.stop();
        self.server.clone().stopped().await;
    }

    pub fn world<T>(&self, use_it: impl FnOnce(&mut World) -> T) -> T {
        use_it(&mut self.world.lock().unwrap())
    }

    /// What the enclave was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        self.worker.asked()
    }
}

fn methods(world: Shared) -> RpcModule<Shared> {
    let mut module = RpcModule::new(world);
    let number = |hash: H256| if hash == shard().genesis { 0 } else { hash.to_low_u64_be() };
    module
        .register_method("chain_getBlockHash", |parameters, world, _| {
            let (number,): (u64,) = parameters.parse()?;
            let known = number < world.lock().unwrap().blocks.len() as u64;
            Ok::<_, ErrorObjectOwned>(json!(known.then(|| block_hash(number))))
        })
        .unwrap();
    module
        .register_method("chain_getFinalizedHead", |_, world, _| {
            json!(block_hash(world.lock().unwrap().finalized as u64))
        })
        .unwrap();
    module
        .register_method("chain_getHeader", move |parameters, _, _| {
            let (hash,): (H256,) = parameters.parse()?;
            let parent = block_hash(number(hash).saturating_sub(1));
            let (number, zero, digest) = (format!("{:#x}", number(hash)), H256::zero(), json!({ "logs": [] }));
            Ok::<_, ErrorObjectOwned>(json!({
                "parentHash": parent, "number": number, "stateRoot": zero, "extrinsicsRoot": zero, "digest": digest,
            }))
        })
        .unwrap();
    module
        .register_method("state_getStorage", move |parameters, world, _| {
            let (key, at): (String, H256) = parameters.parse()?;
            let (world, at) = (world.lock().unwrap(), number(at) as usize);
            Ok::<_, ErrorObjectOwned>(match key == to_hex(&storage::events()) {
                true => {
                    let record = |event| (Phase::ApplyExtrinsic(0), event, Vec::<H256>::new()).encode();
                    let records: Vec<u8> = world.blocks[at].iter().flat_map(record).collect();
                    let count = codec::Compact(world.blocks[at].len() as u32);
                    Some(to_hex(&[count.encode(), records].concat()))
                }
                false => world.value(&key, at),
            })
        })
        .unwrap();
    module
        .register_method("state_getKeysPaged", move |parameters, world, _| {
            let (prefix, _, start, at): (String, u32, Option<String>, H256) = parameters.parse()?;
            let (world, at) = (world.lock().unwrap(), number(at) as usize);
            let has_value = |key: &&String| key.starts_with(&prefix) && world.value(key, at).is_some();
            // One page has all.
            let keys = world.history.keys().filter(|_| start.is_none()).filter(has_value);
            Ok::<_, ErrorObjectOwned>(json!(keys.collect::<Vec<_>>()))
        })
        .unwrap();
    module
        .register_method("state_queryStorageAt", move |parameters, world, _| {
            let (keys, at): (Vec<String>, H256) = parameters.parse()?;
            let world = world.lock().unwrap();
            let changes: Vec<_> = keys.iter().map(|key| (key, world.value(key, number(at) as usize))).collect();
            Ok::<_, ErrorObjectOwned>(json!([{ "block": at, "changes": changes }]))
        })
        .unwrap();
    module
        .register_method("state_getRuntimeVersion", |_, _, _| json!({ "specVersion": 1, "transactionVersion": 1 }))
        .unwrap();
    module
        .register_method("state_getMetadata", |_, _, _| to_hex(&runtime_metadata::<Vec<EventRecord>>(Vec::new())))
        .unwrap();
    module.register_method("system_accountNextIndex", |_, _, _| 0).unwrap();
    module
        .register_method("chain_getBlock", move |parameters, world, _| {
            let (hash,): (H256,) = parameters.parse()?;
            let world = world.lock().unwrap();
            let (extrinsic, height) = world.submitted.as_ref().unwrap();
            assert_eq!(number(hash), *height as u64);
            Ok::<_, ErrorObjectOwned>(json!({ "block": { "extrinsics": [to_hex(extrinsic)] } }))
        })
        .unwrap();
    let (subscribe, unsubscribe) = ("author_submitAndWatchExtrinsic", "author_unwatchExtrinsic");
    module
        .register_subscription(subscribe, "author_extrinsicUpdate", unsubscribe, |parameters, pending, world, _| {
            let (extrinsic,): (String,) = parameters.parse().unwrap();
            let mut world = world.lock().unwrap();
            let statuses = match world.pool.take() {
                Some(status) => vec![json!("ready"), status],
                None => {
                    let block = world.take(hex::decode(&extrinsic[2..]).unwrap());
                    vec![json!("ready"), json!({ "inBlock": block }), json!({ "finalized": block })]
                }
            };
            async move {
                let sink = pending.accept().await?;
                for status in statuses {
                    sink.send(SubscriptionMessage::from_json(&status)?).await?;
                }
                SubscriptionResult::Ok(())
            }
        })
        .unwrap();
    module
}
