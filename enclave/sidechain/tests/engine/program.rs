//! Business logic of one's own: what its calls read of layer one, what it does without being called, what it draws.

mod beginning;
mod waiting;
mod withheld;

use cloister_chain_primitives::{AccountId, DIRECT_CALL_FEE, H256};
use cloister_light_client::Error;
use cloister_sidechain::{QueryRefused, SnapshotRules};
use cloister_state::StateSecret;
use cloister_stf::{App, Context, Execution, VerifiedCall, WithApp};
use cloister_synthetic_layer_one::Voters;
use cloister_wire::{
    Getter, Outcome, PublicGetter, ShardId, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedOperation,
    TrustedOperationStatus::*, envelope::Purpose,
};
use codec::{Decode, Encode};
use frame_support::storage::unhashed;
use sp_core::Pair;
use sp_runtime::MultiSignature;

use cloister_simulation::{UNIT, World, account, key, state, world::Enclave};

/// Does what its calls say and keeps what came of it.
struct Probe;

#[derive(Encode, Decode)]
enum Call {
    /// Reads these keys of layer one and keeps the values.
    Read(Vec<Vec<u8>>),
    /// Reads them and keeps nothing.
    Look(Vec<Vec<u8>>),
    /// Reads a key that it does not name.
    ReadUnnamed(Vec<u8>),
    /// Keeps two draws.
    Draw,
    /// Has the next block from this time on do something.
    SetAlarm(u64),
    /// Weighs nothing that can be said.
    Unweighable,
    /// Has the next block begin in a way that it should not.
    Spoil(Spoilt),
}

/// What goes wrong before a block's calls.
#[derive(Clone, Copy, Encode, Decode)]
enum Spoilt {
    Fails,
    Panics,
    Loops,
    PanicsWhenAsked,
    LoopsWhenAsked,
}

#[derive(Encode, Decode)]
enum Query {
    /// What is kept under a key.
    Kept(Vec<u8>),
    /// Where the shard stands.
    Context,
    Panic,
    Loop,
}

impl App for Probe {
    type Call = Call;
    type Query = Query;
    type PublicQuery = Query;

    fn weight(&self, call: &Call) -> u64 {
        match call {
            // There is no state where a call is weighed.
            Call::Unweighable => unhashed::get(SPOILT).unwrap_or(0),
            _ => 100_000_000,
        }
    }

    fn layer_one_reads(&self, _: &AccountId, call: &Call) -> Vec<Vec<u8>> {
        match call {
            Call::Read(keys) | Call::Look(keys) => keys.clone(),
            _ => Vec::new(),
        }
    }

    fn execute(&self, _: &AccountId, call: Call, execution: &Execution<'_>) -> Result<(), String> {
        match call {
            Call::Read(keys) => {
                for key in keys {
                    let value = execution.layer_one(&key)?.map(<[u8]>::to_vec);
                    unhashed::put(&key, &(execution.layer_one_head, value));
                }
            }
            Call::Look(keys) => keys.iter().try_for_each(|key| execution.layer_one(key).map(drop))?,
            Call::ReadUnnamed(key) => unhashed::put(&key, &execution.layer_one(&key)?.map(<[u8]>::to_vec)),
            Call::Unweighable => return Err("it was weighed".into()),
            Call::Draw => unhashed::put(DRAWN, &[execution.random("dice"), execution.random("dice")]),
            Call::SetAlarm(at) => unhashed::put(ALARM, &at),
            Call::Spoil(how) => unhashed::put(SPOILT, &how),
        }
        Ok(())
    }

    fn begin_block_weight(&self) -> u64 {
        100_000_000
    }

    fn begin_block(&self, execution: &Execution<'_>) -> Result<(), String> {
        if let Some(at) = unhashed::get::<u64>(ALARM)
            && at <= execution.timestamp
        {
            unhashed::kill(ALARM);
            unhashed::put(RANG, &(execution.number, execution.timestamp, execution.anchored));
        }
        let Some(how) = unhashed::get::<Spoilt>(SPOILT) else { return Ok(()) };
        unhashed::put(RANG, &0u64);
        match how {
            Spoilt::Fails => Err("spoilt".into()),
            Spoilt::Panics => panic!("an app's mistake"),
            Spoilt::Loops => read_for_ever(),
            Spoilt::PanicsWhenAsked | Spoilt::LoopsWhenAsked => Ok(()),
        }
    }

    fn due(&self, next: &Context) -> bool {
        match unhashed::get(SPOILT) {
            Some(Spoilt::PanicsWhenAsked) => panic!("an app's mistake"),
            Some(Spoilt::LoopsWhenAsked) => read_for_ever(),
            Some(Spoilt::Fails | Spoilt::Panics | Spoilt::Loops) => true,
            None => unhashed::get::<u64>(ALARM).is_some_and(|at| at <= next.timestamp),
        }
    }

    fn answer(&self, owner: &AccountId, query: Query, context: &Context) -> Option<Vec<u8>> {
        Some((owner, self.answer_public(query, context)).encode())
    }

    fn answer_public(&self, query: Query, context: &Context) -> Option<Vec<u8>> {
        match query {
            Query::Kept(key) => unhashed::get_raw(&key),
            Query::Context => {
                Some((context.number, context.timestamp, context.layer_one_head, context.anchored).encode())
            }
            Query::Panic => panic!("an app's mistake"),
            Query::Loop => read_for_ever(),
        }
    }

    fn methods(&self) -> &'static [&'static str] {
        &["probe_ask"]
    }

    fn rpc(&self, method: &str, mut params: &[u8], context: &Context) -> Result<Vec<u8>, String> {
        let query = Query::decode(&mut params).map_err(|_| "not a query")?;
        self.answer_public(query, context).ok_or_else(|| format!("{method}: nothing"))
    }
}

fn read_for_ever() -> ! {
    loop {
        unhashed::exists(b"nothing");
    }
}

const DRAWN: &[u8] = b"drawn";
const ALARM: &[u8] = b"alarm";
const RANG: &[u8] = b"rang";
const SPOILT: &[u8] = b"spoilt";
const UNREAD: &str = "layer one's state could not be read";

fn with_probe(identity: [u8; 32]) -> World {
    let enclave = Enclave { program: &WithApp(Probe), snapshots: SnapshotRules::default(), identity };
    let mut world = World::of(enclave, Voters::new(0, 1..=4), None);
    world.recover();
    world.finalize();
    world.register();
    world.finalize();
    world.bear();
    world.finalize();
    assert!(world.serving);
    world.submitted.clear();
    for who in ["Alice", "Bob"] {
        world.shield(&account(who), 100 * UNIT);
    }
    world.finalize();
    world.tick();
    world
}

fn probing() -> World {
    with_probe(H256::random().0)
}

fn app(world: &World, who: &str, call: Call, nonce: u32) -> VerifiedCall {
    world.sign_with(&key(who), TrustedCall::App(account(who), call.encode()), nonce)
}

fn submit(world: &mut World, call: &VerifiedCall) -> H256 {
    world.engine.submit(call.clone()).unwrap();
    world.take_actions();
    call.hash()
}

fn invoke(world: &mut World, who: &str, call: Call, nonce: u32) -> H256 {
    let call = TrustedCall::App(account(who), call.encode());
    let signature = MultiSignature::Sr25519(key(who).sign(&world.engine.scope().call_bytes(&call, nonce)));
    let operation = TrustedOperation::IndirectCall(TrustedCallSigned { call, nonce, signature });
    let sealed = world.seal(Purpose::Request, &operation.encode());
    world.invoke(sealed);
    operation.hash()
}

fn outcome(world: &World, who: &str, operation: H256) -> Option<Result<(), String>> {
    let getter = TrustedGetter::CallOutcome(account(who), operation);
    world.read::<Outcome>(who, getter).map(|outcome| outcome.result)
}

fn ask(world: &World, query: Query) -> Result<Option<Vec<u8>>, QueryRefused> {
    world.answer(&world.shard(), Getter::Public(PublicGetter::App(query.encode())))
}

fn kept<T: Decode>(world: &World, key: &[u8]) -> Option<T> {
    let value = ask(world, Query::Kept(key.to_vec())).unwrap()?;
    Some(T::decode(&mut value.as_slice()).unwrap())
}

type Read = (H256, Option<Vec<u8>>);

fn last_status(world: &World, operation: H256) -> (cloister_wire::TrustedOperationStatus, Option<String>) {
    let (_, status, error) = world.statuses.iter().rfind(|(of, ..)| *of == operation).unwrap().clone();
    (status, error)
}

#[test]
fn a_call_reads_what_layer_one_is_proven_to_hold_at_its_blocks_head() {
    let mut world = probing();
    world.storage.insert(b"there".to_vec(), b"value".to_vec());
    world.finalize();
    let read = app(&world, "Alice", Call::Read(vec![b"there".to_vec(), b"absent".to_vec()]), 0);
    let operation = submit(&mut world, &read);
    world.tick();
    assert_eq!((world.blocks.len(), world.questions.len()), (1, 1), "it waits");
    let (_, at, keys) = world.questions[0].clone();
    assert_eq!((at, keys), (world.chain.headers.last().unwrap().hash(), vec![b"absent".to_vec(), b"there".to_vec()]));
    while world.answer_one() {}
    world.tick();
    assert_eq!(world.blocks[1].block_data.layer_one_head, at);
    assert_eq!(kept::<Read>(&world, b"there"), Some((at, Some(b"value".to_vec()))));
    assert_eq!(kept::<Read>(&world, b"absent"), Some((at, None)));
    assert_eq!(last_status(&world, operation), (InSidechainBlock(world.blocks[1].header.hash()), None));

    // At the next head it is another value, and what was proven before counts for nothing.
    world.storage.insert(b"there".to_vec(), b"another".to_vec());
    world.finalize();
    let again = app(&world, "Alice", Call::Read(vec![b"there".to_vec()]), 1);
    submit(&mut world, &again);
    world.tick();
    while world.answer_one() {}
    world.tick();
    let head = world.chain.headers.last().unwrap().hash();
    assert_eq!(kept::<Read>(&world, b"there"), Some((head, Some(b"another".to_vec()))));
}

#[test]
fn a_call_that_waits_holds_up_only_its_senders_later_ones() {
    let mut world = probing();
    let read = app(&world, "Alice", Call::Read(vec![b"key".to_vec()]), 0);
    let later = world.transfer("Alice", "Charlie", UNIT, 1);
    let others = world.transfer("Bob", "Charlie", UNIT, 0);
    for call in [&read, &later, &others] {
        submit(&mut world, call);
    }
    world.tick();
    assert_eq!((world.free_balance("Charlie"), world.nonce("Alice"), world.nonce("Bob")), (UNIT, 0, 1));
    let next = world.transfer("Bob", "Charlie", UNIT, 1);
    submit(&mut world, &next);
    world.tick();
    assert_eq!((world.free_balance("Charlie"), world.nonce("Alice"), world.nonce("Bob")), (2 * UNIT, 0, 2));
    while world.answer_one() {}
    world.tick();
    assert_eq!((world.free_balance("Charlie"), world.nonce("Alice")), (3 * UNIT, 2));
}

#[test]
fn what_a_host_lies_about_a_calls_keys_is_refused_and_leaves_no_trace() {
    let there = || vec![b"there".to_vec()];
    let forged = |world: &World| {
        let mut storage = world.storage.clone();
        storage.insert(b"there".to_vec(), b"forged".to_vec());
        Some(state(&storage).prove(&there()))
    };
    type Lie<'a> = &'a dyn Fn(&World) -> Option<Vec<Vec<u8>>>;
    type Refusal = fn(&[Error]) -> bool;
    let lies: [(Lie<'_>, Refusal); 3] = [
        (&forged, |refused| matches!(refused, [Error::ProofOfAnotherRoot { .. }])),
        (&|world| Some(state(&world.storage).prove(&[b"elsewhere".to_vec()])), |refused| {
            matches!(refused, [Error::MissingNode { .. }])
        }),
        (&|_| None, |refused| refused.is_empty()),
    ];
    for (lie, expected) in lies {
        let mut world = probing();
        world.storage.insert(b"there".to_vec(), vec![7; 64]);
        world.finalize();
        let read = app(&world, "Alice", Call::Read(there()), 0);
        let later = world.transfer("Alice", "Charlie", UNIT, 1);
        let (operation, waiting) = (submit(&mut world, &read), submit(&mut world, &later));
        world.tick();
        let (question, ..) = world.questions.remove(0);
        let lie = lie(&world);
        // An answer to what was never asked changes nothing.
        world.engine.proof(question + 1, lie.clone());
        assert!(world.engine.take_actions().is_empty());
        world.engine.proof(question, lie);
        world.take_actions();
        assert!(expected(&world.refused), "{:?}", world.refused);
        assert_eq!(last_status(&world, operation), (Invalid, Some(UNREAD.into())));
        assert_eq!(last_status(&world, waiting), (Future, None));
        world.tick();
        assert_eq!((world.nonce("Alice"), world.free_balance("Alice")), (0, 100 * UNIT));
        assert_eq!((world.blocks.len(), world.questions.len()), (1, 0));
        // The call can be sent again, and the later one is executed after it.
        submit(&mut world, &read);
        world.tick();
        while world.answer_one() {}
        world.tick();
        assert_eq!((world.nonce("Alice"), world.free_balance("Charlie")), (2, UNIT));
    }
}

#[test]
fn a_key_that_cannot_be_proven_spoils_nobody_elses_call() {
    let mut world = probing();
    let bad = app(&world, "Alice", Call::Read(vec![b"bad".to_vec()]), 0);
    let good = app(&world, "Bob", Call::Read(vec![b"good".to_vec()]), 0);
    let (bad, good) = (submit(&mut world, &bad), submit(&mut world, &good));
    world.tick();
    let mut asked = Vec::new();
    while let Some((question, at, keys)) = world.questions.pop() {
        let spoilt = keys.contains(&b"bad".to_vec());
        let proof = (!spoilt).then(|| world_proof(&world, &at, &keys));
        asked.push(keys);
        world.engine.proof(question, proof);
        world.take_actions();
    }
    let [bad_key, good_key] = [b"bad".to_vec(), b"good".to_vec()];
    assert_eq!(asked, [vec![bad_key.clone(), good_key.clone()], vec![bad_key], vec![good_key]], "then each for itself");
    world.tick();
    assert_eq!(last_status(&world, bad), (Invalid, Some(UNREAD.into())));
    assert_eq!(last_status(&world, good), (InSidechainBlock(world.blocks[1].header.hash()), None));
}

fn world_proof(world: &World, at: &H256, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    assert_eq!(*at, world.chain.headers.last().unwrap().hash());
    state(&world.storage).prove(keys)
}

#[test]
fn many_keys_are_asked_for_in_bounded_questions() {
    let mut world = probing();
    for call in 0..20 {
        let keys = (0..4).map(|key| vec![call, key]).collect();
        let read = app(&world, "Alice", Call::Read(keys), call.into());
        submit(&mut world, &read);
    }
    // A key that another call names, too, is asked for once.
    let again = app(&world, "Bob", Call::Read(vec![vec![0, 0]]), 0);
    submit(&mut world, &again);
    world.tick();
    let mut asked = Vec::new();
    while let Some((.., keys)) = world.questions.first() {
        asked.push(keys.len());
        world.answer_one();
    }
    assert_eq!(asked, [64, 16]);
    world.tick();
    assert_eq!((world.nonce("Alice"), world.nonce("Bob"), world.blocks.len()), (20, 1, 2));
}

#[test]
fn an_indirect_call_waits_in_order_for_four_heads_and_then_fails() {
    let mut world = probing();
    let unread = invoke(&mut world, "Alice", Call::Read(vec![b"key".to_vec()]), 0);
    world.shield(&account("Charlie"), UNIT);
    for head in 0..4 {
        world.build();
        world.tell_finality();
        // The engine's own questions are answered, those for the call are not.
        while let Some((question, at, keys)) = (!world.questions.is_empty()).then(|| world.questions.remove(0)) {
            let proof = (keys != [b"key".to_vec()]).then(|| world_proof(&world, &at, &keys));
            world.engine.proof(question, proof);
            world.take_actions();
        }
        assert_eq!(world.free_balance("Charlie"), 0, "it has its turn, at head {head}");
        world.tick();
    }
    assert_eq!(outcome(&world, "Alice", unread), Some(Err(UNREAD.into())));
    assert_eq!((world.nonce("Alice"), world.free_balance("Charlie")), (1, UNIT));

    let read = invoke(&mut world, "Alice", Call::Read(vec![b"key".to_vec()]), 1);
    world.finalize();
    world.tick();
    while world.answer_one() {}
    world.tick();
    assert_eq!(outcome(&world, "Alice", read), Some(Ok(())));
}

#[test]
fn a_head_that_comes_between_choosing_and_executing_has_the_keys_proven_again() {
    let mut world = probing();
    world.storage.insert(b"there".to_vec(), b"old".to_vec());
    world.finalize();
    let read = app(&world, "Alice", Call::Read(vec![b"there".to_vec()]), 0);
    submit(&mut world, &read);
    world.tick();
    while world.answer_one() {}
    world.keeps = false;
    world.tick();
    world.storage.insert(b"there".to_vec(), b"new".to_vec());
    world.build();
    world.tell_finality();
    assert!(world.answer_one(), "the engine's own");
    assert!(world.keep_one(), "the mark");
    assert!(!world.keep_one(), "no block on what was proven before");
    world.keeps = true;
    world.tick();
    while world.answer_one() {}
    world.tick();
    let head = world.chain.headers.last().unwrap().hash();
    assert_eq!(kept::<Read>(&world, b"there"), Some((head, Some(b"new".to_vec()))));
}

#[test]
fn a_key_that_a_call_does_not_name_is_unknown_even_if_another_named_it() {
    let mut world = probing();
    let named = app(&world, "Alice", Call::Read(vec![b"key".to_vec()]), 0);
    let unnamed = app(&world, "Bob", Call::ReadUnnamed(b"key".to_vec()), 0);
    submit(&mut world, &named);
    world.tick();
    while world.answer_one() {}
    let operation = submit(&mut world, &unnamed);
    world.tick();
    let reason = "a key of layer one was read that the call does not name";
    assert_eq!(last_status(&world, operation), (Invalid, Some(reason.into())));
    assert_eq!((world.blocks[1].block_data.signed_top_hashes.len(), world.nonce("Bob")), (2, 1));
}

#[test]
fn a_call_that_names_too_much_of_layer_one_is_refused_at_the_door() {
    let world = probing();
    for keys in [vec![vec![1]; 5], vec![vec![1; 129]]] {
        let call = TrustedCall::App(account("Alice"), Call::Read(keys).encode());
        let signature = MultiSignature::Sr25519(key("Alice").sign(&world.engine.scope().call_bytes(&call, 0)));
        let signed = TrustedCallSigned { call, nonce: 0, signature };
        let refused = cloister_stf::verify(H256::zero(), signed, &world.engine.scope(), &world.engine.rules());
        assert_eq!(refused, Err(cloister_stf::Refused::TooManyReads));
    }
}

#[test]
fn a_payload_that_does_not_decode_fails_its_call() {
    let mut world = probing();
    let call = world.sign_with(&key("Alice"), TrustedCall::App(account("Alice"), vec![0xff]), 0);
    let operation = submit(&mut world, &call);
    world.tick();
    assert_eq!(last_status(&world, operation), (Invalid, Some("the call's payload does not decode".into())));
    assert_eq!(world.free_balance("Alice"), 100 * UNIT - DIRECT_CALL_FEE);
}

#[test]
fn a_block_is_made_when_the_program_is_due_and_not_before() {
    let mut world = probing();
    let at = world.now + 2_000;
    let alarm = app(&world, "Alice", Call::SetAlarm(at), 0);
    submit(&mut world, &alarm);
    world.tick();
    assert_eq!(world.blocks.len(), 2);
    while world.now + 300 < at {
        world.tick();
        assert_eq!(world.blocks.len(), 2);
    }
    world.tick();
    assert_eq!((world.blocks.len(), kept(&world, RANG)), (3, Some((3u64, world.now, 0u64))));
    for _ in 0..10 {
        world.tick();
    }
    assert_eq!(world.blocks.len(), 3, "once");
}

#[test]
fn what_is_anchored_is_what_layer_one_is_proven_to_have_anchored() {
    let mut world = probing();
    assert_eq!(context(&world).3, 0);
    world.include();
    world.finalize();
    assert_eq!(context(&world).3, 1);
    let alarm = app(&world, "Alice", Call::SetAlarm(0), 0);
    submit(&mut world, &alarm);
    world.tick();
    world.tick();
    assert_eq!(kept(&world, RANG), Some((3u64, world.now, 1u64)));
    let restarted = world.restart();
    assert_eq!(context(&restarted), context(&world), "proven anew");
}

fn context(world: &World) -> (u64, u64, H256, u64) {
    let context = ask(world, Query::Context).unwrap().unwrap();
    Decode::decode(&mut context.as_slice()).unwrap()
}

#[test]
fn draws_follow_from_secret_parent_and_head_and_from_nothing_that_a_start_has_of_its_own() {
    let identity = H256::random().0;
    let mut world = with_probe(identity);
    for restart in 0..2 {
        let draw = app(&world, "Alice", Call::Draw, restart);
        submit(&mut world, &draw);
        world.tick();
        let block = world.blocks.last().unwrap();
        let (header, data) = (&block.header, &block.block_data);
        let randomness = StateSecret::from_bytes(identity).block_randomness(
            &header.parent_hash,
            header.block_number,
            &data.layer_one_head,
        );
        let expected = [randomness.draw(b"dice", 0), randomness.draw(b"dice", 1)];
        assert_ne!(expected[0], expected[1]);
        assert_eq!(kept(&world, DRAWN), Some(expected));
        world = world.restart();
    }
}

#[test]
fn programs_answer_owners_everybody_and_methods_of_their_own() {
    let world = probing();
    let number = world.blocks.len() as u64;
    let head = world.blocks.last().unwrap().block_data.layer_one_head;
    let (height, time, ..) = context(&world);
    assert_eq!((height, time), (number, world.blocks.last().unwrap().block_data.timestamp));
    let own = world
        .read::<(AccountId, Option<Vec<u8>>)>("Alice", TrustedGetter::App(account("Alice"), Query::Context.encode()));
    assert_eq!(own, Some((account("Alice"), Some((number, time, head, 0u64).encode()))));
    let rpc = |query: Query| world.engine.rpc("probe_ask", &query.encode());
    assert_eq!(rpc(Query::Context), Ok(Ok((number, time, head, 0u64).encode())));
    assert_eq!(rpc(Query::Kept(vec![1])), Ok(Err("probe_ask: nothing".into())));
    assert_eq!(world.engine.rpc("probe_ask", &[99]), Ok(Err("not a query".into())));
    assert_eq!(rpc(Query::Panic), Ok(Err("panicked".into())));
    assert_eq!(rpc(Query::Loop), Ok(Err("exceeded its share: more than 10000 storage reads".into())));
    for query in [Query::Panic, Query::Loop, Query::Kept(vec![1])] {
        assert_eq!(ask(&world, query), Ok(None));
    }
    assert_eq!(world.answer(&world.shard(), Getter::Public(PublicGetter::App(vec![99]))), Ok(None));
    let other = ShardId(H256::repeat_byte(1));
    let getter = Getter::Public(PublicGetter::App(Query::Context.encode()));
    assert_eq!(world.answer(&other, getter), Err(QueryRefused::UnknownShard));
    assert_eq!(World::new().engine.rpc("probe_ask", &[]), Err(QueryRefused::NotServing));
}
