//! Calls through layer one's inbox, and calls that break the enclave.

use cloister_chain_primitives::H256;
use cloister_sidechain::{CallRefused, MAX_CALLS_PER_BLOCK, MAX_CLOCK_AHEAD_MS, MAX_INBOX_PER_BLOCK};
use cloister_simulation::{UNIT, World, account, key, layer_one::Effect};
use cloister_stf::{Execution, Program};
use cloister_wire::{
    InboxStatus, Outcome, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedOperation, TrustedOperationStatus::*,
    envelope::Purpose,
};
use codec::Encode;
use sp_core::Pair;
use sp_runtime::{MultiSignature, traits::Keccak256};

/// A call that comes through layer one; its operation.
fn invoke(world: &mut World, who: &str, call: TrustedCall, nonce: u32) -> H256 {
    let operation = indirect(world, who, call, nonce);
    let sealed = world.seal(Purpose::Request, &operation.encode());
    world.invoke(sealed);
    operation.hash()
}

fn indirect(world: &World, who: &str, call: TrustedCall, nonce: u32) -> TrustedOperation {
    let signature = MultiSignature::Sr25519(key(who).sign(&world.engine.scope().call_bytes(&call, nonce)));
    TrustedOperation::IndirectCall(TrustedCallSigned { call, nonce, signature })
}

fn pay(from: &str, to: &str, amount: u128) -> TrustedCall {
    TrustedCall::BalanceTransfer(account(from), account(to), amount)
}

fn outcome(world: &World, who: &str, operation: H256) -> Option<Result<(), String>> {
    let getter = TrustedGetter::CallOutcome(account(who), operation);
    world.read::<Outcome>(who, getter).map(|outcome| outcome.result)
}

fn roots(world: &World) -> Vec<H256> {
    let root = |effect: &Effect| match effect {
        Effect::Processed(_, root) => Some(*root),
        _ => None,
    };
    world.effects.iter().filter_map(root).collect()
}

#[test]
fn indirect_calls_are_executed_in_order_and_confirmed_by_their_root() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    (0..2).for_each(|_| {
        world.include();
        world.finalize();
    });
    assert_eq!(roots(&world), [H256::zero()], "a shielding is no call");
    let paid = invoke(&mut world, "Alice", pay("Alice", "Bob", 2 * UNIT), 0);
    let too_much = invoke(&mut world, "Alice", pay("Alice", "Bob", 100 * UNIT), 1);
    let gap = invoke(&mut world, "Alice", pay("Alice", "Bob", UNIT), 7);
    let stranger = invoke(&mut world, "Nobody", pay("Nobody", "Bob", UNIT), 0);
    world.invoke(vec![1, 2, 3]);
    let by_another = TrustedOperation::IndirectCall(TrustedCallSigned {
        call: pay("Alice", "Bob", UNIT),
        nonce: 2,
        signature: MultiSignature::Sr25519(key("Bob").sign(b"whatever")),
    });
    let sealed = world.seal(Purpose::Request, &by_another.encode());
    world.invoke(sealed);
    // What was sealed as a direct call, anybody who saw it could send through layer one.
    let TrustedOperation::IndirectCall(signed) = indirect(&world, "Alice", pay("Alice", "Bob", UNIT), 2) else {
        unreachable!()
    };
    let sealed = world.seal(Purpose::Request, &TrustedOperation::DirectCall(signed).encode());
    world.invoke(sealed);
    let last = invoke(&mut world, "Alice", pay("Alice", "Bob", UNIT), 2);
    world.finalize();
    world.tick();
    assert_eq!((world.free_balance("Alice"), world.free_balance("Bob"), world.nonce("Alice")), (7 * UNIT, 3 * UNIT, 3));
    assert_eq!(world.inbox(), InboxStatus { consumed: 9, invokes: 8, shields_credited: 1, shields_returned: 0 });
    assert_eq!((outcome(&world, "Alice", paid), outcome(&world, "Alice", last)), (Some(Ok(())), Some(Ok(()))));
    assert!(matches!(outcome(&world, "Alice", too_much), Some(Err(_))), "its nonce is used");
    assert_eq!((outcome(&world, "Alice", gap), outcome(&world, "Nobody", stranger)), (None, None));
    assert_eq!(world.blocks[1].block_data.signed_top_hashes, [paid, too_much, last]);
    (0..3).for_each(|_| {
        world.include();
        world.finalize();
    });
    let executed = binary_merkle_tree::merkle_root::<Keccak256, _>([paid, too_much, last]);
    assert_eq!(roots(&world), [H256::zero(), executed]);
}

#[test]
fn a_replayed_indirect_call_does_nothing() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let operation = indirect(&world, "Alice", pay("Alice", "Bob", UNIT), 0).encode();
    for _ in 0..3 {
        let sealed = world.seal(Purpose::Request, &operation);
        world.invoke(sealed);
        world.finalize();
        world.tick();
    }
    assert_eq!((world.free_balance("Bob"), world.nonce("Alice"), world.inbox().invokes), (UNIT, 1, 3));
}

#[test]
fn an_emptied_account_does_not_open_its_nonces_again() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let operation = indirect(&world, "Alice", pay("Alice", "Bob", 10 * UNIT), 0).encode();
    for balance in [0, 10 * UNIT] {
        let sealed = world.seal(Purpose::Request, &operation);
        world.invoke(sealed);
        world.finalize();
        world.tick();
        assert_eq!((world.free_balance("Alice"), world.free_balance("Bob")), (balance, 10 * UNIT));
        if balance == 0 {
            world.shield(&account("Alice"), 10 * UNIT);
            world.finalize();
            world.tick();
        }
    }
    assert_eq!(world.nonce("Alice"), 1);
}

#[test]
fn of_the_same_nonce_direct_and_indirect_the_inbox_comes_first() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let direct: Vec<_> = (0..3).map(|nonce| world.transfer("Alice", "Bob", UNIT, nonce)).collect();
    for call in &direct {
        world.engine.submit(call.clone()).unwrap();
    }
    let indirect = invoke(&mut world, "Alice", pay("Alice", "Charlie", UNIT), 0);
    world.finalize();
    world.tick();
    assert_eq!((world.free_balance("Charlie"), world.free_balance("Bob"), world.nonce("Alice")), (UNIT, 2 * UNIT, 3));
    let last = |operation| world.statuses.iter().rfind(|(of, ..)| *of == operation).unwrap();
    assert_eq!(last(direct[0].hash()).1, Usurped);
    assert!(matches!(last(direct[1].hash()).1, InSidechainBlock(_)), "the later ones go on");
    assert_eq!(outcome(&world, "Alice", indirect), Some(Ok(())));

    // One that waits for its turn is told, too.
    let waiting = world.transfer("Alice", "Bob", UNIT, 4);
    world.engine.submit(waiting.clone()).unwrap();
    invoke(&mut world, "Alice", pay("Alice", "Charlie", UNIT), 3);
    invoke(&mut world, "Alice", pay("Alice", "Charlie", UNIT), 4);
    world.finalize();
    world.tick();
    assert_eq!(world.statuses.iter().rfind(|(of, ..)| *of == waiting.hash()).unwrap().1, Usurped);
}

#[test]
fn slots_do_not_wait_for_entries_that_are_being_opened() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    world.opens = false;
    invoke(&mut world, "Alice", pay("Alice", "Bob", UNIT), 0);
    invoke(&mut world, "Alice", pay("Alice", "Bob", UNIT), 1);
    world.finalize();
    world.shield(&account("Charlie"), UNIT);
    let direct = world.transfer("Alice", "Bob", 5 * UNIT, 0);
    world.engine.submit(direct).unwrap();
    world.tick();
    assert_eq!(world.free_balance("Bob"), 5 * UNIT);
    // Opened in whatever order, they are executed in the inbox's.
    for (number, entry) in std::mem::take(&mut world.unopened).into_iter().rev() {
        let opened = world.engine.opener().open(entry);
        world.engine.opened(number, opened.clone());
        world.engine.opened(number, opened);
        world.tick();
    }
    assert_eq!((world.free_balance("Bob"), world.nonce("Alice")), (6 * UNIT, 2), "nonce 0 came directly");
    assert_eq!(world.inbox().invokes, 2);
}

/// A program that does what amounts say.
struct Misbehaving;

const LOOPS: u128 = UNIT + 1;
const ALLOCATES: u128 = UNIT + 2;
const PANICS: u128 = UNIT + 3;
const TOO_HEAVY: u128 = UNIT + 4;
const LARGE: u128 = UNIT + 5;
const TALKATIVE: u128 = UNIT + 6;

impl Program for Misbehaving {
    fn weight(&self, call: &TrustedCall) -> u64 {
        match call {
            TrustedCall::BalanceTransfer(.., TOO_HEAVY) => u64::MAX,
            call => cloister_stf::Payments.weight(call),
        }
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        match call {
            TrustedCall::BalanceTransfer(.., LOOPS) => loop {
                sp_io::storage::get(b"whatever");
            },
            TrustedCall::BalanceTransfer(.., ALLOCATES) => {
                for key in 0u64.. {
                    sp_io::storage::set(&key.encode(), &[0; 4096]);
                }
                Ok(())
            }
            TrustedCall::BalanceTransfer(.., LARGE) => {
                let at = sp_io::storage::get(b"at").map_or(0, |at| at.len());
                sp_io::storage::set(b"at", &vec![0; at + 1]);
                sp_io::storage::set(&[b"large", &at.to_le_bytes()[..]].concat(), &vec![at as u8; 900_000]);
                Ok(())
            }
            TrustedCall::BalanceTransfer(.., TALKATIVE) => Err("ü".repeat(10_000) + "x"),
            TrustedCall::BalanceTransfer(.., PANICS) => panic!("a pallet's mistake"),
            call => cloister_stf::Payments.execute(call, execution),
        }
    }
}

fn misbehaving() -> World {
    let mut world = World::running(&Misbehaving, None);
    world.come_up();
    for _ in 0..3 {
        world.include();
        world.finalize();
    }
    assert!(world.serving);
    world.shield(&account("Alice"), 100 * UNIT);
    world.finalize();
    world.tick();
    world
}

#[test]
fn calls_that_misbehave_fail_with_a_reason_and_the_shard_goes_on() {
    let mut world = misbehaving();
    let mut nonce = 0;
    for (amount, expected) in [(LOOPS, "exceeded its share"), (ALLOCATES, "exceeded its share"), (PANICS, "panicked")] {
        let direct = world.transfer("Alice", "Bob", amount, nonce);
        world.engine.submit(direct.clone()).unwrap();
        world.tick();
        let (_, status, reason) = world.statuses.iter().rfind(|(of, ..)| *of == direct.hash()).unwrap().clone();
        assert_eq!(status, Invalid);
        assert!(reason.unwrap().contains(expected));
        let operation = invoke(&mut world, "Alice", pay("Alice", "Bob", amount), nonce + 1);
        world.finalize();
        world.tick();
        assert!(outcome(&world, "Alice", operation).unwrap().unwrap_err().contains(expected));
        nonce += 2;
        assert_eq!((world.nonce("Alice"), world.free_balance("Bob")), (nonce, 0));
    }
    let fine = world.transfer("Alice", "Bob", UNIT, nonce);
    world.engine.submit(fine).unwrap();
    world.tick();
    assert_eq!(world.free_balance("Bob"), UNIT);

    // One that no slot has room for is refused at the door, and fails without being tried where there is no door.
    let scope = world.engine.scope();
    let too_heavy = indirect(&world, "Alice", pay("Alice", "Bob", TOO_HEAVY), nonce + 1);
    let TrustedOperation::IndirectCall(signed) = too_heavy else { unreachable!() };
    let refused = cloister_stf::verify(H256::zero(), signed, &scope, &world.engine.rules()).unwrap_err();
    assert_eq!(refused, cloister_stf::Refused::TooHeavy { weight: u64::MAX, limit: 240_000_000_000 });
    let operation = invoke(&mut world, "Alice", pay("Alice", "Bob", TOO_HEAVY), nonce + 1);
    world.finalize();
    world.tick();
    assert_eq!(outcome(&world, "Alice", operation), Some(Err(refused.to_string())));
    assert_eq!(world.nonce("Alice"), nonce + 2);
}

/// The enclave's process ends while it executes: the mark is kept, the block is not.
fn killed_while_executing(world: &mut World) -> World {
    world.keeps = false;
    world.tick();
    assert!(world.keep_one(), "the mark");
    assert!(world.unkept.iter().all(|(_, keep)| matches!(keep, cloister_sidechain::Keep::Block { .. })));
    world.restart()
}

#[test]
fn a_direct_call_that_ends_enclaves_is_set_aside_and_the_others_are_not() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT), ("Bob", 10 * UNIT)]);
    let (bad, good) = (world.transfer("Alice", "Charlie", UNIT, 0), world.transfer("Bob", "Charlie", UNIT, 0));
    // With the others, with other suspects, alone.
    for _ in 0..3 {
        for call in [&bad, &good] {
            world.engine.submit(call.clone()).unwrap();
        }
        world = killed_while_executing(&mut world);
    }
    assert_eq!(world.engine.submit(bad), Err(CallRefused::SetAside));
    world.engine.submit(good).unwrap();
    world.tick();
    assert_eq!((world.free_balance("Charlie"), world.nonce("Alice")), (UNIT, 0));
    let another = world.transfer("Alice", "Charlie", UNIT, 0);
    world.engine.submit(another).unwrap();
    world.tick();
    assert_eq!(world.free_balance("Charlie"), 2 * UNIT);
}

#[test]
fn an_indirect_call_that_ended_three_enclaves_is_set_aside_and_a_shielding_never() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let operation = invoke(&mut world, "Alice", pay("Alice", "Bob", UNIT), 0);
    world.shield(&account("Charlie"), UNIT);
    world.finalize();
    for _ in 0..3 {
        world = killed_while_executing(&mut world);
    }
    world.tick();
    assert_eq!(outcome(&world, "Alice", operation), Some(Err("set aside: it ended the enclave three times".into())));
    assert_eq!((world.nonce("Alice"), world.free_balance("Bob")), (1, 0));
    world.tick();
    assert_eq!(world.free_balance("Charlie"), UNIT);

    world.shield(&account("Dave"), UNIT);
    world.finalize();
    for _ in 0..5 {
        world = killed_while_executing(&mut world);
    }
    world.tick();
    assert_eq!(world.free_balance("Dave"), UNIT);
}

#[test]
fn what_ends_the_enclave_in_a_pause_is_no_call() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let operation = invoke(&mut world, "Alice", pay("Alice", "Bob", UNIT), 0);
    world.finalize();
    for _ in 0..4 {
        world.keeps = false;
        world.engine.tick(world.now);
        world.take_actions();
        // Before the mark is stored the clock runs off, so that nothing is executed.
        world.engine.tick(world.now + MAX_CLOCK_AHEAD_MS + 5_000);
        world.take_actions();
        let blocks = world.blocks.len();
        while world.keep_one() {}
        assert_eq!(world.blocks.len(), blocks);
        world = world.restart();
    }
    world.tick();
    assert_eq!((outcome(&world, "Alice", operation), world.free_balance("Bob")), (Some(Ok(())), UNIT));
}

#[test]
fn suspects_do_not_wait_for_a_slot_each() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    for nonce in 0..MAX_INBOX_PER_BLOCK as u32 {
        invoke(&mut world, "Alice", TrustedCall::Noop(account("Alice")), nonce);
    }
    world.finalize();
    let mut world = killed_while_executing(&mut world);
    let before = world.blocks.len();
    world.tick();
    assert_eq!(world.blocks.len() - before, MAX_INBOX_PER_BLOCK / 32, "in groups");
    assert_eq!(world.nonce("Alice"), MAX_INBOX_PER_BLOCK as u32);
}

#[test]
fn a_block_is_no_larger_than_the_host_takes() {
    let mut world = misbehaving();
    let mut calls = Vec::new();
    for nonce in 0..8 {
        let call = match nonce % 2 {
            0 => {
                let direct = world.transfer("Alice", "Bob", LARGE, nonce);
                world.engine.submit(direct.clone()).unwrap();
                direct.hash()
            }
            _ => {
                let direct = world.transfer("Alice", "Bob", TALKATIVE, nonce);
                world.engine.submit(direct.clone()).unwrap();
                direct.hash()
            }
        };
        calls.push(call);
    }
    let before = world.blocks.len();
    (0..4).for_each(|_| world.tick());
    let blocks = &world.blocks[before..];
    assert!(blocks.len() > 1 && blocks.iter().all(|block| block.encoded_size() < 4 << 20));
    let executed: Vec<_> = blocks.iter().flat_map(|block| block.block_data.signed_top_hashes.clone()).collect();
    assert_eq!(executed, calls, "all of them, in order");
    let reason = outcome(&world, "Alice", calls[1]).unwrap().unwrap_err();
    assert_eq!(reason, "ü".repeat(128));
    assert_eq!(world.restart().commitment(), world.commitment());
}

/// Most calls, failing for the longest reasons, between two that write as much as they may.
#[test]
fn the_fullest_block_is_no_larger_than_the_host_takes() {
    let mut world = misbehaving();
    world.shield(&account("Bob"), 100 * UNIT);
    world.finalize();
    world.tick();
    let each = MAX_CALLS_PER_BLOCK as u32 / 2;
    for nonce in 0..each {
        let amount = if [0, each - 1].contains(&nonce) { LARGE } else { TALKATIVE };
        for (from, to, amount) in [("Bob", "Alice", TALKATIVE), ("Alice", "Bob", amount)] {
            let direct = world.transfer(from, to, amount, nonce);
            world.engine.submit(direct).unwrap();
        }
    }
    world.tick();
    let block = world.blocks.last().unwrap();
    assert_eq!(block.block_data.signed_top_hashes.len(), MAX_CALLS_PER_BLOCK);
    assert!(block.encoded_size() < 4 << 20, "{}", block.encoded_size());
}
