//! Many requests at once, and calls with a last block.

use cloister_pool::Admitted;
use cloister_rpc::MAX_SUBMIT_BATCH;
use cloister_wire::{BoundCall, BoundCallSigned};

use super::*;

/// A bound call of Alice that does nothing, and the operation's hash.
fn bound(fixture: &Fixture, nonce: u32, operation: fn(BoundCallSigned) -> TrustedOperation) -> TrustedOperation {
    let (pair, account) = alice();
    let bound = BoundCall { call: TrustedCall::Noop(account), nonce, last_block: 9 };
    let bytes = bound.signed_bytes(&fixture.clients.context.genesis, &fixture.clients.scope);
    operation(BoundCallSigned { signature: MultiSignature::Sr25519(pair.sign(&bytes)), bound })
}

fn direct(fixture: &Fixture, nonce: u32) -> TrustedOperation {
    bound(fixture, nonce, TrustedOperation::BoundCall)
}

impl Fixture {
    fn enveloped(&self, operation: &TrustedOperation) -> Request {
        self.request(self.sealed(&operation.encode()))
    }

    /// The answer to a batch, and the nonces that the engine heard of at once; it refuses odd ones.
    async fn batch(&mut self, requests: Vec<Request>) -> (Vec<Result<H256, String>>, Vec<u32>) {
        let Self { clients, commands } = self;
        let answer = clients.answer(Call::SubmitBatch(requests));
        let engine = async {
            let Some(Command::SubmitBatch { calls, reply }) = commands.recv().await else { panic!("no batch") };
            let nonces: Vec<_> = calls.iter().map(VerifiedCall::nonce).collect();
            let odd = |nonce: &u32| if nonce % 2 == 1 { Err(CallRefused::SetAside) } else { Ok(Admitted::Ready) };
            reply.send(nonces.iter().map(odd).collect()).unwrap();
            nonces
        };
        let (answer, nonces) = futures::join!(answer, engine);
        assert!(commands.is_empty(), "one command for all");
        let Reply::Answer(value) = answer else { panic!("watched") };
        assert_eq!((value.status, value.do_watch), (DirectRequestStatus::Ok, false));
        (DecodeAll::decode_all(&mut value.value.as_slice()).unwrap(), nonces)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_batch_has_an_answer_in_its_place() {
    let mut fixture = Fixture::serving();
    let operations: Vec<_> = (0..4).map(|nonce| direct(&fixture, nonce)).collect();
    let mut requests: Vec<_> = operations.iter().map(|operation| fixture.enveloped(operation)).collect();
    let no_call = TrustedCall::BalanceSetBalance(alice().1, alice().1, 1, 0);
    let forbidden = TrustedOperation::DirectCall(signed(no_call, &fixture.clients.scope));
    let elsewhere = Request { shard: ShardId(H256::zero()), ..requests[0].clone() };
    let published = TrustedOperation::DirectCall(signed(TrustedCall::Noop(alice().1), &fixture.clients.scope));
    requests.insert(1, fixture.enveloped(&forbidden));
    requests.insert(2, elsewhere);
    requests.insert(3, fixture.request(vec![1; 384]));
    requests.push(fixture.enveloped(&published));
    let before = fixture.clients.requests();
    let (answers, heard) = fixture.batch(requests).await;
    let refused = |reason: &dyn ToString| Err::<H256, _>(reason.to_string());
    assert_eq!(
        answers,
        [
            Ok(operations[0].hash()),
            refused(&Refused::SimulationForbidden),
            refused(&"unknown shard"),
            refused(&"a batch takes envelopes for the shard's present key only"),
            refused(&CallRefused::SetAside),
            Ok(operations[2].hash()),
            refused(&CallRefused::SetAside),
            Ok(published.hash()),
        ]
    );
    assert_eq!((heard, fixture.clients.requests() - before), (vec![0, 1, 2, 3, 0], 8));
}

/// Neither wording nor place nor time tells which of decryption, decoding and signature failed, however often in a batch.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_opaque_in_a_batch_is_told_with_the_rest_at_a_step() {
    let mut fixture = Fixture::serving();
    let operation = direct(&fixture, 0);
    let good = operation.encode();
    let indirect = bound(&fixture, 0, TrustedOperation::IndirectBoundCall);
    let context = fixture.clients.context;
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut torn = fixture.sealed(&good);
    *torn.last_mut().unwrap() ^= 1;
    let elsewhere = fixture.sealed_for(&Context { genesis: H256::zero(), ..context }, &good);
    let opaque: Vec<_> = [
        torn,
        elsewhere,
        fixture.sealed(b""),
        fixture.sealed(&good[1..]),
        fixture.sealed(&[&good[..], &[0]].concat()),
        fixture.sealed(&forged),
        fixture.sealed(&indirect.encode()),
        fixture.sealed(&TrustedOperation::Get(Getter::Public(PublicGetter::Inbox)).encode()),
    ]
    .map(|cyphertext| fixture.request(cyphertext))
    .into();
    for request in &opaque {
        // Nobody asks the engine of nothing, and the answer comes at a step all the same.
        let read = Instant::now();
        let alone = fixture.value(Call::SubmitBatch(vec![request.clone(); 16])).await;
        assert_eq!(alone, RpcReturnValue::ok(vec![Err::<H256, _>(OPAQUE.to_string()); 16]));
        assert!(read.elapsed() >= OPAQUE_STEP);
        assert!(fixture.commands.is_empty());
        let single = fixture.value(Call::Submit(request.clone())).await;
        assert_eq!(single, RpcReturnValue::error(OPAQUE));
    }
    let read = Instant::now();
    let mut requests = opaque.clone();
    requests.insert(3, fixture.enveloped(&operation));
    let (answers, _) = fixture.batch(requests).await;
    assert!(read.elapsed() >= OPAQUE_STEP, "one that was taken waits with the others");
    assert_eq!(answers[3], Ok(operation.hash()));
    assert_eq!(answers.iter().filter(|answer| **answer == Err(OPAQUE.into())).count(), opaque.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_batch_is_answered_without_the_engine_and_one_without_a_permit_not_looked_at() {
    let mut fixture = Fixture::serving();
    let empty = fixture.value(Call::SubmitBatch(Vec::new())).await;
    assert_eq!(empty, RpcReturnValue::ok(Vec::<Result<H256, String>>::new()));
    let batch = vec![fixture.enveloped(&direct(&fixture, 0)); 3];
    let Fixture { clients, commands } = &mut fixture;
    let all = clients.quick.available_permits();
    let flood = clients.quick.acquire_many(all.try_into().unwrap()).await.unwrap();
    let mut waiting = clients.answer(Call::SubmitBatch(batch)).boxed();
    assert!((&mut waiting).now_or_never().is_none());
    assert!(commands.is_empty());
    drop(flood);
    let command = async { commands.recv().await };
    tokio::select! {
        _ = &mut waiting => panic!("the engine has not answered"),
        command = command => assert!(matches!(command, Some(Command::SubmitBatch { calls, .. }) if calls.len() == 3)),
    }
    assert_eq!(clients.quick.available_permits(), all);
    drop(waiting);
    assert_eq!(
        Fixture::new().value(Call::SubmitBatch(Vec::new())).await,
        RpcReturnValue::error(CallRefused::NotServing)
    );
}

/// Who sends many batches of what does not verify keeps a query waiting for a few envelopes of each, not for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn others_have_their_turn_between_the_envelopes_of_a_batch() {
    let mut fixture = Fixture::serving();
    let query = fixture.request(Getter::Public(PublicGetter::Inbox).encode());
    let mut batch = vec![fixture.request(fixture.sealed(b"no operation")); MAX_SUBMIT_BATCH - 1];
    batch.push(fixture.enveloped(&direct(&fixture, 0)));
    let Fixture { clients, commands } = &mut fixture;
    let permits = clients.quick.available_permits();
    let flood = clients.quick.acquire_many(permits.try_into().unwrap()).await.unwrap();
    let mut batches: Vec<_> =
        (0..2 * permits).map(|_| clients.answer(Call::SubmitBatch(batch.clone())).boxed()).collect();
    assert!(batches.iter_mut().all(|batch| batch.now_or_never().is_none()), "they came first");
    let queries = async {
        // One after another, each behind all batches.
        for _ in 0..QUERIES {
            clients.answer(Call::ExecuteGetter(query.clone())).await;
        }
    };
    let mut heard = Vec::new();
    let engine = async {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Query { reply, .. } => {
                    heard.push("query");
                    reply.send(Ok(None)).unwrap();
                }
                Command::SubmitBatch { calls, reply } => {
                    heard.push("batch");
                    reply.send(calls.iter().map(|_| Ok(Admitted::Ready)).collect()).unwrap();
                }
                _ => panic!("nothing else is asked"),
            }
        }
    };
    drop(flood);
    tokio::select! {
        _ = async { futures::join!(futures::future::join_all(batches), queries) } => {}
        () = engine => {}
    }
    assert_eq!(heard, [vec!["query"; QUERIES], vec!["batch"; 2 * permits]].concat());
}

/// Far fewer than a batch has turns.
const QUERIES: usize = 5;

/// What layer one's inbox shows to everybody, nobody can submit to hear what the enclave says of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_call_opens_by_the_way_for_which_it_was_sealed() {
    let fixture = Fixture::serving();
    let open = async |operation: &TrustedOperation| fixture.clients.open(&fixture.enveloped(operation)).await.unwrap();
    let operation = direct(&fixture, 3);
    let call = open(&operation).await.unwrap();
    assert_eq!((call.nonce(), call.last_block(), call.hash()), (3, Some(9), operation.hash()));
    let indirect = bound(&fixture, 3, TrustedOperation::IndirectBoundCall);
    assert_eq!(open(&indirect).await, Err(Refused::Signature));
    let (genesis, scope) = (fixture.clients.context.genesis, fixture.clients.scope);
    let elsewhere = [
        (H256::zero(), scope),
        (genesis, SignatureScope { mrenclave: [0; 32], ..scope }),
        (genesis, SignatureScope { shard: ShardId(H256::zero()), ..scope }),
    ];
    let cyphertexts = elsewhere.map(|(genesis, scope)| {
        let bound = BoundCall { call: TrustedCall::Noop(alice().1), nonce: 0, last_block: 9 };
        let signature = MultiSignature::Sr25519(alice().0.sign(&bound.signed_bytes(&genesis, &scope)));
        fixture.sealed(&TrustedOperation::BoundCall(BoundCallSigned { bound, signature }).encode())
    });
    fixture.all_opaque(cyphertexts.into_iter().chain([fixture.sealed(&indirect.encode())])).await;
}

/// A query in the published form where the configuration forbids it: named at once, whoever signed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replayable_query_is_named_so_where_it_is_switched_off() {
    let mut fixture = Fixture::serving();
    fixture.clients.rules.unbound_getters_allowed = false;
    let getter = TrustedGetter::FreeBalance(alice().1);
    let signature = MultiSignature::Sr25519(alice().0.sign(&getter.encode()));
    let own = Getter::Trusted(TrustedGetterSigned { getter, signature }).encode();
    let mut forged = own.clone();
    *forged.last_mut().unwrap() ^= 1;
    for query in [own, forged] {
        let answer = fixture.value(Call::ExecuteGetter(fixture.request(query))).await;
        assert_eq!(answer, RpcReturnValue::error(QueryRefused::Unbound));
    }
    assert!(fixture.commands.is_empty());
}
