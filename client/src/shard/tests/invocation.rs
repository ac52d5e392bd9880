//! Indirect calls: what layer one is given, and what is believed about their end.

use cloister_chain_primitives::{Anchor, Anchored, calls::Call};
use cloister_wire::{BoundGetterSigned, Getter, Outcome, SignedAnswer, TrustedGetter, envelope::open};
use codec::{Decode, DecodeAll};
use jsonrpsee::{SubscriptionMessage, core::SubscriptionResult};
use scale_info::TypeInfo;

use super::*;
use crate::layer_one::{Progress, runtime_metadata};

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

#[derive(Encode, TypeInfo)]
enum RuntimeEvent {
    #[codec(index = 53)]
    Sidechain(SidechainEvent),
    #[codec(index = 54)]
    EnclaveBridge(BridgeEvent),
}

#[derive(Encode, TypeInfo)]
enum SidechainEvent {
    FinalizedSidechainBlock { shard: ShardId, block_number: u64, block_header_hash: H256, inbox_consumed: u64 },
}

#[derive(Encode, TypeInfo)]
enum BridgeEvent {
    ProcessedParentchainBlock { shard: ShardId, block_hash: H256, trusted_calls_merkle_root: H256, block_number: u32 },
}

fn processed(shard: ShardId, block_number: u32) -> RuntimeEvent {
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
struct World {
    /// Events of each block.
    blocks: Vec<Vec<RuntimeEvent>>,
    /// The rest of storage, the same at all blocks.
    values: BTreeMap<String, String>,
    /// Height of the newest final block.
    finalized: usize,
    /// The extrinsic that was submitted, and the height of its block.
    submitted: Option<(Vec<u8>, usize)>,
    /// What the enclave tells of the submitted call.
    outcome: Option<Outcome>,
}

type Shared = Arc<Mutex<World>>;

/// The sender's next nonce.
const NONCE: Nonce = 5;
/// Height of the newest block at the start; the next one takes the call.
const START: usize = 3;

fn block_hash(number: u64) -> H256 {
    if number == 0 { shard().genesis } else { H256::from_low_u64_be(number) }
}

impl World {
    /// A final block with these events.
    fn grow(&mut self, events: Vec<RuntimeEvent>) {
        self.blocks.push(events);
        self.finalized = self.blocks.len() - 1;
    }

    /// Takes an extrinsic into a new final block; its hash.
    fn take(&mut self, extrinsic: Vec<u8>) -> H256 {
        self.grow(Vec::new());
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

    /// What the enclave opens.
    fn operation(&self) -> TrustedOperation {
        let Shard { id, genesis, .. } = shard();
        let context = Context { genesis, shard: id, purpose: Purpose::Request };
        let opened = open(&context, &SecretKey::from_bytes(SECRET), &self.request().cyphertext).unwrap();
        TrustedOperation::decode_all(&mut opened.as_slice()).unwrap()
    }

    fn answer(&self, getter: &TrustedGetter) -> Option<Vec<u8>> {
        match getter {
            TrustedGetter::Nonce(_) => Some(NONCE.encode()),
            TrustedGetter::CallOutcome(_, operation) if *operation == self.operation().hash() => {
                self.outcome.as_ref().map(Encode::encode)
            }
            _ => None,
        }
    }

    /// A signed answer to a bound query.
    fn execute(&self, request: &Value) -> Option<RpcReturnValue> {
        let bytes = hex::decode(request["params"][0].as_str()?.strip_prefix("0x")?).ok()?;
        let request = Request::decode(&mut bytes.as_slice()).ok()?;
        let Getter::Bound(query) = Getter::decode(&mut request.cyphertext.as_slice()).ok()? else { return None };
        let Shard { id, genesis, .. } = shard();
        assert!(BoundGetterSigned::verify(&query, &genesis, &id, &shard().scope().mrenclave));
        let mut answer = SignedAnswer {
            value: self.answer(&query.query.getter),
            request_hash: query.hash(),
            commitment: H256::zero(),
            block_number: 1,
            layer_one_number: self.finalized as u32,
            layer_one_head: block_hash(self.finalized as u64),
            layer_one_time: NOW,
            signature: [0; 64],
        };
        answer.signature = incarnation().sign(&answer.signed_bytes(&genesis, &id)).0;
        Some(RpcReturnValue::ok(Some(answer.encode())))
    }
}

/// A node, a worker and a client of both.
struct Deployment {
    world: Shared,
    client: ShardClient,
    _server: ServerHandle,
    _worker: FakeWorker,
}

impl Deployment {
    async fn start() -> Self {
        let world = Shared::default();
        let enclave = world.clone();
        let worker = FakeWorker::answering(shard().id, move |request| match request["method"].as_str() {
            Some("state_executeGetter") => enclave.lock().unwrap().execute(request),
            _ => None,
        })
        .await;
        {
            let mut world = world.lock().unwrap();
            (0..=START).for_each(|_| world.grow(Vec::new()));
            let mut set = |key: Vec<u8>, value: Vec<u8>| world.values.insert(to_hex(&key), to_hex(&value));
            set(storage::timestamp(), NOW.encode());
            set(storage::shard(&shard().id), shard().entry.encode());
            set(storage::enclave(shard().founder()), worker.record().encode());
        }
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let _server = server.start(methods(world.clone()));
        let layer_one = LayerOne::connect(&url).await.unwrap();
        let client = ShardClient::connect(&layer_one, &worker.url, &named(&shard())).await.unwrap();
        Self { world, client, _server, _worker: worker }
    }

    fn world<T>(&self, use_it: impl FnOnce(&mut World) -> T) -> T {
        use_it(&mut self.world.lock().unwrap())
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
            let (number, zero, digest) = (format!("{:#x}", number(hash)), H256::zero(), json!({ "logs": [] }));
            Ok::<_, ErrorObjectOwned>(json!({
                "parentHash": zero, "number": number, "stateRoot": zero, "extrinsicsRoot": zero, "digest": digest,
            }))
        })
        .unwrap();
    module
        .register_method("state_getStorage", move |parameters, world, _| {
            let (key, at): (String, H256) = parameters.parse()?;
            let world = world.lock().unwrap();
            Ok::<_, ErrorObjectOwned>(match key == to_hex(&storage::events()) {
                true => {
                    let records = world.blocks[number(at) as usize].iter();
                    let record = |event| (Phase::ApplyExtrinsic(0), event, Vec::<H256>::new()).encode();
                    let records: Vec<u8> = records.flat_map(record).collect();
                    let count = codec::Compact(world.blocks[number(at) as usize].len() as u32);
                    Some(to_hex(&[count.encode(), records].concat()))
                }
                false => world.values.get(&key).cloned(),
            })
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
            let block = world.lock().unwrap().take(hex::decode(&extrinsic[2..]).unwrap());
            async move {
                let sink = pending.accept().await?;
                for status in [json!("ready"), json!({ "inBlock": block }), json!({ "finalized": block })] {
                    sink.send(SubscriptionMessage::from_json(&status)?).await?;
                }
                SubscriptionResult::Ok(())
            }
        })
        .unwrap();
    module
}

/// The height of the block that takes the call.
const INCLUDED: u32 = START as u32 + 1;
const LONG: Duration = Duration::from_secs(3_600);

fn bob() -> Signer {
    Signer::from_secret(Scheme::Sr25519, "//Bob").unwrap()
}

#[tokio::test]
async fn an_indirect_call_is_sealed_for_the_shard_and_paid_on_layer_one() {
    let deployment = Deployment::start().await;
    let mut steps = Vec::new();
    let call = TrustedCall::BalanceTransfer(alice().account(), bob().account(), 7);
    let client = &deployment.client;
    let invocation = client.invoke_reporting(&alice(), &bob(), call.clone(), |step| steps.push(step)).await.unwrap();

    let (number, hash) = (INCLUDED, block_hash(INCLUDED.into()));
    let extrinsic = invocation.extrinsic;
    let expected = [
        Progress::Submitted { hash: extrinsic },
        Progress::InBlock { number, hash },
        Progress::Finalized { number, hash },
    ];
    assert_eq!(steps, expected);
    assert_eq!((invocation.nonce, invocation.block_number, invocation.block_hash), (NONCE, number, hash));
    deployment.world(|world| {
        let operation = world.operation();
        assert_eq!(operation.hash(), invocation.operation);
        let TrustedOperation::IndirectCall(signed) = operation else { panic!("{operation:?}") };
        assert!(signed.verify(&shard().scope()));
        assert_eq!((signed.call, signed.nonce), (call, NONCE));
        // Nothing of the call is readable, and another account pays.
        let (extrinsic, _) = world.submitted.as_ref().unwrap();
        let contains =
            |account: AccountId| extrinsic.windows(32).any(|window| window == AsRef::<[u8]>::as_ref(&account));
        assert_eq!((contains(bob().account()), contains(alice().account())), (true, false));
    });
}

#[tokio::test]
async fn the_outcome_is_asked_for_once_the_shard_reports_that_it_processed_the_block() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    let executed = async |limit| client.executed(&alice(), &invocation, limit).await;

    // Neither another shard's report, nor one about an earlier block, nor one that is not final.
    deployment.world(|world| {
        world.grow(vec![processed(shard_of(9, 9).id, INCLUDED + 1)]);
        world.grow(vec![processed(shard().id, INCLUDED - 1)]);
        world.blocks.push(vec![processed(shard().id, INCLUDED)]);
    });
    let error = executed(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotProcessed { block_number: INCLUDED, limit: Duration::ZERO }), "{error}");
    assert!(!error.is_refusal());

    let outcomes = [Ok(()), Err("insufficient balance".to_string())];
    let outcomes = outcomes.map(|result| Outcome { block_number: 12, result });
    deployment.world(|world| {
        world.grow(vec![processed(shard().id, INCLUDED + 8)]);
        // However late the wait begins.
        (0..20).for_each(|_| world.grow(Vec::new()));
    });
    for outcome in outcomes {
        deployment.world(|world| world.outcome = Some(outcome.clone()));
        assert_eq!(executed(Duration::ZERO).await.unwrap(), outcome);
    }
    let found = client.processed(INCLUDED, Duration::ZERO).await.unwrap();
    assert_eq!((found.block_number, found.value.block_number), (INCLUDED + 3, INCLUDED));
    assert_eq!(found.value.trusted_calls_merkle_root, H256::repeat_byte(3));
}

#[tokio::test]
async fn a_report_that_comes_while_it_is_awaited_ends_the_wait() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let invocation = client.transfer_indirect(&alice(), &bob().account(), 7).await.unwrap();
    let outcome = Outcome { block_number: 2, result: Ok(()) };
    deployment.world(|world| world.outcome = Some(outcome.clone()));
    let sender = alice();
    let mut waiting = Box::pin(client.executed(&sender, &invocation, LONG));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    deployment.world(|world| world.grow(vec![processed(shard().id, INCLUDED)]));
    assert_eq!(waiting.await.unwrap(), outcome);
}

#[tokio::test]
async fn a_call_that_was_consumed_without_being_executed_is_told_apart() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let call = TrustedCall::Noop(alice().account());
    let invocation = client.invoke_with_nonce(&alice(), &alice(), call, 0, |_| ()).await.unwrap();
    assert_eq!(invocation.nonce, 0);
    deployment.world(|world| world.grow(vec![processed(shard().id, INCLUDED)]));
    let error = client.executed(&alice(), &invocation, LONG).await.unwrap_err();
    assert!(matches!(error, Error::WithoutEffect { operation } if operation == invocation.operation), "{error}");
    assert!(error.is_refusal());
    let reason = "was processed without effect: nonce already used, sender unknown or not decryptable";
    assert!(error.to_string().ends_with(reason), "{error}");
}

#[tokio::test]
async fn nobody_invokes_for_others() {
    let deployment = Deployment::start().await;
    let call = TrustedCall::Noop(bob().account());
    let error = deployment.client.invoke_with_nonce(&alice(), &bob(), call, 0, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::WrongSigner { .. }), "{error}");
    assert!(deployment.world(|world| world.submitted.is_none()));
}

#[tokio::test]
async fn a_block_is_anchored_once_it_or_a_later_one_is() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    let anchored = |number| {
        let (header_hash, outbox_root) = (H256::repeat_byte(4), H256::zero());
        Anchored { anchor: Anchor { number, header_hash, inbox_consumed: 1, outbox_root }, at: 2 }
    };
    let error = client.anchored(7, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotAnchored { height: 7, limit: Duration::ZERO }), "{error}");
    let key = to_hex(&storage::anchor(&shard().id));
    deployment.world(|world| world.values.insert(key.clone(), to_hex(&anchored(6).encode())));
    assert!(matches!(client.anchored(7, Duration::ZERO).await, Err(Error::NotAnchored { .. })));
    let mut waiting = Box::pin(client.anchored(7, LONG));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    deployment.world(|world| world.values.insert(key, to_hex(&anchored(8).encode())));
    assert_eq!(waiting.await.unwrap(), anchored(8));
}

#[tokio::test]
async fn reports_of_shards_are_read_from_events() {
    let deployment = Deployment::start().await;
    let (shard, block_header_hash) = (shard().id, H256::repeat_byte(4));
    let event =
        SidechainEvent::FinalizedSidechainBlock { shard, block_number: 7, block_header_hash, inbox_consumed: 2 };
    deployment.world(|world| world.grow(vec![RuntimeEvent::Sidechain(event), processed(shard, 1)]));
    let events = deployment.client.layer_one().events(block_hash(START as u64 + 1)).await.unwrap();
    let finalized = layer_one::FinalizedSidechainBlock { shard, block_number: 7, block_header_hash, inbox_consumed: 2 };
    assert_eq!(events[0].finalized_sidechain_block(), Some(finalized));
    assert_eq!(events[0].processed_parentchain_block(), None);
    let processed = events[1].processed_parentchain_block().unwrap();
    assert_eq!((processed.shard, processed.block_number, processed.block_hash), (shard, 1, block_hash(1)));
    assert_eq!(events[1].finalized_sidechain_block(), None);
}
