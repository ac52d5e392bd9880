//! Calls with a last block, and the forms that a configuration forbids.

use cloister_chain_primitives::H256;
use cloister_pool::Admitted;
use cloister_sidechain::{CallRefused, QueryRefused, VerifiedGetter};
use cloister_simulation::{UNIT, World, account, key};
use cloister_stf::{Program, Rules, VerifiedCall, verify_bound};
use cloister_wire::{
    BoundCall, BoundCallSigned, BoundGetter, BoundGetterSigned, Getter, Outcome, PublicGetter, TrustedCall,
    TrustedGetter, TrustedGetterSigned, TrustedOperation,
    TrustedOperationStatus::{self, *},
    envelope::Purpose,
};
use codec::Encode;
use sp_core::Pair;
use sp_runtime::MultiSignature;

fn pay(from: &str, to: &str) -> TrustedCall {
    TrustedCall::BalanceTransfer(account(from), account(to), UNIT)
}

fn signed(world: &World, who: &str, call: TrustedCall, nonce: u32, last_block: u64) -> BoundCallSigned {
    let bound = BoundCall { call, nonce, last_block };
    let bytes = bound.signed_bytes(&world.genesis(), &world.engine.scope());
    BoundCallSigned { bound, signature: MultiSignature::Sr25519(key(who).sign(&bytes)) }
}

fn until(world: &World, who: &str, nonce: u32, last_block: u64) -> VerifiedCall {
    let signed = signed(world, who, pay(who, "Bob"), nonce, last_block);
    let hash = TrustedOperation::BoundCall(signed.clone()).hash();
    verify_bound(hash, signed, &world.genesis(), &world.engine.scope(), &world.engine.rules()).unwrap()
}

/// One that comes through layer one; its operation.
fn invoke(world: &mut World, nonce: u32, last_block: u64) -> H256 {
    let signed = signed(world, "Alice", pay("Alice", "Bob"), nonce, last_block);
    let operation = TrustedOperation::IndirectBoundCall(signed);
    let sealed = world.seal(Purpose::Request, &operation.encode());
    world.invoke(sealed);
    operation.hash()
}

fn last_status(world: &World, call: &VerifiedCall) -> (TrustedOperationStatus, Option<String>) {
    let (_, status, reason) = world.statuses.iter().rfind(|(of, ..)| *of == call.hash()).unwrap();
    (*status, reason.clone())
}

fn outcome(world: &World, operation: H256) -> Option<Result<(), String>> {
    let getter = TrustedGetter::CallOutcome(account("Alice"), operation);
    world.read::<Outcome>("Alice", getter).map(|outcome| outcome.result)
}

fn height(world: &World) -> u64 {
    world.engine.figures().block
}

/// A block in which nothing but a call of Charlie's is.
fn another_block(world: &mut World) {
    let nonce = world.nonce("Charlie");
    let call = world.sign("Charlie", TrustedCall::Noop(account("Charlie")), nonce);
    world.engine.submit(call).unwrap();
    let before = height(world);
    world.tick();
    assert_eq!(height(world), before + 1);
}

fn world() -> World {
    let world = World::with_accounts(&[("Alice", 100 * UNIT), ("Charlie", 100 * UNIT)]);
    assert_eq!(height(&world), 1);
    world
}

const EXPIRED: &str = "its last block has passed";

#[test]
fn an_expired_call_is_not_taken_and_one_in_its_last_block_is_executed() {
    let mut world = world();
    let expired = |last_block| Err(CallRefused::Expired { last_block, block: 2 });
    assert_eq!(world.engine.submit(until(&world, "Alice", 0, 0)), expired(0));
    assert_eq!(world.engine.submit(until(&world, "Alice", 0, 1)), expired(1), "the newest block is made");
    let call = until(&world, "Alice", 0, 2);
    assert_eq!(world.engine.submit(call.clone()), Ok(Admitted::Ready));
    world.tick();
    assert_eq!((height(&world), world.free_balance("Bob"), world.nonce("Alice")), (2, UNIT, 1));
    assert!(matches!(last_status(&world, &call), (InSidechainBlock(_), None)));
    assert_eq!(outcome(&world, call.hash()), Some(Ok(())));
}

#[test]
fn a_call_that_expires_in_the_pool_is_dropped_and_its_senders_later_ones_wait() {
    let mut world = world();
    let [expires, later, last] = [(1, 3), (2, 9), (3, 3)].map(|(nonce, last)| until(&world, "Alice", nonce, last));
    for call in [&expires, &later, &last] {
        assert_eq!(world.engine.submit(call.clone()), Ok(Admitted::Future), "nonce 0 comes first");
    }
    another_block(&mut world);
    assert_eq!(last_status(&world, &expires).0, Future, "block 3 may still hold it");
    another_block(&mut world);
    for call in [&expires, &last] {
        assert_eq!(last_status(&world, call), (Dropped, Some(EXPIRED.into())));
    }
    assert_eq!((last_status(&world, &later).0, world.engine.figures().pool), (Future, 1));
    let refused = Err(CallRefused::Expired { last_block: 3, block: 4 });
    assert_eq!(world.engine.submit(expires), refused);
    // Others with the nonces take the place.
    for nonce in [0, 1] {
        world.engine.submit(until(&world, "Alice", nonce, 9)).unwrap();
    }
    world.tick();
    assert_eq!((world.nonce("Alice"), world.free_balance("Bob")), (3, 3 * UNIT));
    assert!(matches!(last_status(&world, &later).0, InSidechainBlock(_)));
}

#[test]
fn a_call_that_was_taken_for_a_block_and_put_off_expires_too() {
    let mut world = world_of(&EightToASlot);
    // All ready at once, more than a block holds: Alice's and Charlie's in turns.
    let calls: Vec<_> = (0..10).map(|nonce| until(&world, "Alice", nonce, if nonce == 5 { 2 } else { 9 })).collect();
    for nonce in 0..10 {
        world.engine.submit(calls[nonce as usize].clone()).unwrap();
        world.engine.submit(until(&world, "Charlie", nonce, 9)).unwrap();
    }
    world.tick();
    assert_eq!((height(&world), world.nonce("Alice"), world.nonce("Charlie")), (2, 4, 4));
    assert_eq!(last_status(&world, &calls[5]), (Dropped, Some(EXPIRED.into())));
    while world.nonce("Charlie") < 10 {
        world.tick();
    }
    assert_eq!((world.nonce("Alice"), world.engine.figures().pool), (5, 4), "6 to 9 wait for another 5");
    assert!(calls[6..].iter().all(|call| last_status(&world, call).0 == Future));
    world.engine.submit(until(&world, "Alice", 5, 9)).unwrap();
    world.tick();
    assert_eq!((world.nonce("Alice"), world.engine.figures().pool), (10, 0));
}

#[test]
fn an_indirect_call_that_has_expired_is_consumed_without_effect() {
    let mut world = world();
    let in_time = invoke(&mut world, 0, 2);
    world.finalize();
    world.tick();
    assert_eq!((height(&world), world.nonce("Alice"), outcome(&world, in_time)), (2, 1, Some(Ok(()))));
    let balance = world.free_balance("Alice");
    let late = invoke(&mut world, 1, 2);
    // What is signed is the same by either way, but what is sealed for one opens by no other.
    let direct = TrustedOperation::BoundCall(signed(&world, "Alice", pay("Alice", "Bob"), 1, 9));
    let sealed = world.seal(Purpose::Request, &direct.encode());
    world.invoke(sealed);
    let again = invoke(&mut world, 1, 3);
    world.finalize();
    world.tick();
    assert_eq!((height(&world), world.inbox().invokes), (3, 4));
    assert_eq!((outcome(&world, late), outcome(&world, direct.hash())), (None, None));
    assert_eq!((outcome(&world, again), world.nonce("Alice")), (Some(Ok(())), 2));
    assert_eq!(world.free_balance("Alice"), balance - UNIT);
    assert_eq!(world.blocks[2].block_data.signed_top_hashes, [again]);
}

#[test]
fn a_restart_in_between_changes_nothing() {
    let mut world = world();
    world.finalize();
    let direct = until(&world, "Alice", 1, 3);
    world.engine.submit(direct.clone()).unwrap();
    let (in_time, late) = (invoke(&mut world, 0, 3), invoke(&mut world, 1, 2));
    another_block(&mut world);
    (0..2).for_each(|_| {
        world.include();
        world.finalize();
    });
    let mut world = world.restart();
    // The pool is gone with the start before; layer one's entries are not.
    world.tick();
    assert_eq!(height(&world), 3);
    assert_eq!((outcome(&world, in_time), outcome(&world, late), world.nonce("Alice")), (Some(Ok(())), None, 1));
    let refused = Err(CallRefused::Expired { last_block: 3, block: 4 });
    assert_eq!(world.engine.submit(direct), refused);
    assert_eq!(world.engine.submit(until(&world, "Alice", 1, 4)), Ok(Admitted::Ready));
    world.tick();
    assert_eq!(world.restart().commitment(), world.commitment());
}

/// Payments that are so heavy that eight of them fill a slot.
struct EightToASlot;

impl Program for EightToASlot {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::BalanceTransfer(..) => 30_000_000_000,
            call => cloister_stf::Payments.weight(call),
        }
    }

    fn execute(&self, call: &TrustedCall, execution: &cloister_stf::Execution<'_>) -> Result<(), String> {
        cloister_stf::Payments.execute(call, execution)
    }
}

fn world_of(program: &'static dyn Program) -> World {
    let mut world = World::running(program, None);
    world.come_up();
    for _ in 0..3 {
        world.include();
        world.finalize();
    }
    for who in ["Alice", "Charlie"] {
        world.shield(&account(who), 100 * UNIT);
    }
    world.finalize();
    world.tick();
    assert_eq!(height(&world), 1);
    world
}

#[test]
fn where_replayable_queries_are_switched_off_only_bound_ones_are_answered() {
    let world = world();
    let scope = world.engine.scope();
    let getter = TrustedGetter::FreeBalance(account("Alice"));
    let by = |who: &str| {
        let signature = MultiSignature::Sr25519(key(who).sign(&getter.encode()));
        Getter::Trusted(TrustedGetterSigned { getter: getter.clone(), signature })
    };
    let query = BoundGetter { getter: getter.clone(), last_block: 1, client_nonce: [1; 16] };
    let bytes = query.signed_bytes(&world.genesis(), &world.shard(), &scope.mrenclave);
    let signature = MultiSignature::Sr25519(key("Alice").sign(&bytes));
    let bound = Getter::Bound(BoundGetterSigned { query, signature });
    let verify = |getter: Getter, unbound_getters_allowed| {
        let rules = Rules { unbound_getters_allowed, ..world.engine.rules() };
        VerifiedGetter::verify(getter, &world.genesis(), &scope, &rules).map(drop)
    };
    assert!(world.engine.rules().unbound_getters_allowed, "this one's configuration allows them");
    assert_eq!(verify(by("Alice"), true), Ok(()));
    assert_eq!(verify(by("Bob"), true), Err(QueryRefused::NotOwner));
    // Whoever signed it.
    assert_eq!(verify(by("Alice"), false), Err(QueryRefused::Unbound));
    assert_eq!(verify(by("Bob"), false), Err(QueryRefused::Unbound));
    for allowed in [true, false] {
        assert_eq!(verify(bound.clone(), allowed), Ok(()));
        assert_eq!(verify(Getter::Public(PublicGetter::Inbox), allowed), Ok(()));
    }
    assert!(QueryRefused::Unbound.to_string().contains("use a bound getter"));
}
