//! A host that lies, replays, withholds and reorders. Each lie ends in a refusal and changes nothing.

use cloister_chain_primitives::{H256, ShardEntry, ShardId, storage};
use cloister_light_client::Error;
use cloister_sidechain::{CallRefused, MAX_BLOCKS_UNREAD, MAX_CLOCK_AHEAD_MS, Pause, QueryRefused, Stop};
use cloister_wire::{Getter, PublicGetter};
use codec::Encode;
use proptest::prelude::*;

use cloister_simulation::{UNIT, World, account, state};

#[test]
fn a_proof_of_another_state_is_refused() {
    let mut world = World::serving();
    world.shield(&account("Alice"), UNIT);
    world.build();
    world.tell_finality();
    let (question, at, keys) = world.questions.remove(0);
    let mut forged = world.storage.clone();
    forged.insert(storage::inbox_length(&world.shard()), 1_000u64.encode());
    world.engine.proof(question, Some(state(&forged).prove(&keys)));
    world.take_actions();
    assert!(matches!(world.refused[..], [Error::ProofOfAnotherRoot { .. }]), "{:?}", world.refused);
    assert_eq!(world.inbox().consumed, 0);
    // It asks again and goes on with the truth.
    world.tick();
    assert_eq!(world.questions[0].1, at);
    while world.answer_one() {}
    world.tick();
    assert_eq!(world.free_balance("Alice"), UNIT);
}

#[test]
fn an_incomplete_proof_is_refused() {
    let mut world = World::serving();
    world.shield(&account("Alice"), UNIT);
    world.build();
    world.tell_finality();
    let (question, _, keys) = world.questions.remove(0);
    let whole = state(&world.storage);
    let without_length: Vec<_> = keys.into_iter().filter(|key| *key != storage::inbox_length(&world.shard())).collect();
    world.engine.proof(question, Some(whole.prove(&without_length)));
    world.take_actions();
    assert!(matches!(world.refused[..], [Error::MissingNode { .. }]), "{:?}", world.refused);
    assert_eq!(world.inbox().consumed, 0);
}

#[test]
fn answers_to_questions_never_asked_or_answered_before_are_ignored() {
    let mut world = World::serving();
    world.shield(&account("Alice"), UNIT);
    world.build();
    world.tell_finality();
    let (question, _, keys) = world.questions[0].clone();
    let proof = state(&world.storage).prove(&keys);
    world.engine.proof(question + 1, Some(proof.clone()));
    world.engine.proof(0, Some(proof.clone()));
    world.take_actions();
    assert_eq!(world.questions.len(), 1);
    while world.answer_one() {}
    world.tick();
    world.engine.proof(question, Some(proof));
    world.take_actions();
    world.tick();
    assert_eq!(world.free_balance("Alice"), UNIT);
    assert_eq!(world.blocks.len(), 1);
}

#[test]
fn a_proof_that_is_shuffled_and_stuffed_proves_no_more_and_no_less() {
    let mut world = World::serving();
    world.shield(&account("Alice"), UNIT);
    world.build();
    world.tell_finality();
    let (question, _, keys) = world.questions.remove(0);
    let mut forged = world.storage.clone();
    forged.insert(storage::inbox_length(&world.shard()), 1_000u64.encode());
    let mut proof = state(&world.storage).prove(&keys);
    proof.reverse();
    proof.extend(state(&forged).prove(&keys));
    proof.push(vec![0xff; 100]);
    world.engine.proof(question, Some(proof));
    world.take_actions();
    while world.answer_one() {}
    world.tick();
    assert!(world.refused.is_empty());
    assert_eq!((world.inbox().consumed, world.free_balance("Alice")), (1, UNIT));
}

#[test]
fn answers_to_an_earlier_starts_questions_are_refused_by_the_next_start() {
    let world = World::with_accounts(&[("Alice", UNIT)]);
    let mut next = world.another_start();
    next.build();
    next.tell_finality();
    let (question, _, keys) = next.questions.remove(0);
    assert_eq!(question, 1, "every start counts from 1");
    next.engine.proof(question, Some(state(&world.storage).prove(&keys)));
    next.take_actions();
    assert!(matches!(next.refused[..], [Error::ProofOfAnotherRoot { .. }]), "{:?}", next.refused);
    assert_eq!((next.engine.figures().layer_one_read, next.serving), (0, false));
    next.come_up();
    assert!(next.serving, "{:?}", next.stopped);
    assert_eq!(next.free_balance("Alice"), UNIT);
}

#[test]
fn acknowledgements_of_what_nobody_asked_for_and_repeated_ones_are_ignored() {
    let mut world = World::with_accounts(&[("Alice", 2 * UNIT)]);
    let transfer = world.transfer("Alice", "Bob", UNIT, 0);
    world.engine.submit(transfer).unwrap();
    world.keeps = false;
    world.tick();
    for what in ["mark", "block"] {
        assert_eq!(world.unkept.len(), 1, "one {what} is asked for");
        let asked = world.unkept[0].0;
        for never in [0, 1, asked - 1, asked + 1, asked + 2, u64::MAX] {
            world.engine.stored(never);
            assert!(world.engine.take_actions().is_empty(), "{what}: {never}");
        }
        assert_eq!(world.engine.figures().block, 1);
        assert!(world.keep_one());
    }
    assert_eq!(world.engine.figures().block, 2);
    assert_eq!(world.free_balance("Bob"), UNIT);
}

#[test]
fn a_clock_at_either_end_of_time_signs_nothing_for_that_time_and_loses_nothing() {
    let mut world = World::with_accounts(&[("Alice", 2 * UNIT)]);
    let transfer = world.transfer("Alice", "Bob", UNIT, 0);
    world.engine.submit(transfer).unwrap();
    world.engine.tick(u64::MAX);
    world.take_actions();
    assert_eq!(world.engine.figures().paused, Some(Pause::Expiring));
    let inbox = world.answer(&world.shard(), Getter::Public(PublicGetter::Inbox));
    assert_eq!(inbox, Err(QueryRefused::Paused(Pause::Expiring)));
    assert_eq!(world.blocks.len(), 1);
    world.finalize();
    world.engine.tick(0);
    world.take_actions();
    assert_eq!(world.blocks.last().unwrap().block_data.timestamp, world.now, "layer one's time");
    assert_eq!(world.free_balance("Bob"), UNIT);
}

#[test]
fn a_withheld_answer_is_asked_for_again() {
    let mut world = World::serving();
    world.tick();
    world.build();
    world.tell_finality();
    assert_eq!(world.questions.len(), 1);
    world.tick();
    assert_eq!(world.questions.len(), 1, "not yet");
    world.now += 30_000;
    world.tick();
    assert_eq!(world.questions.len(), 2);
    let first = world.questions[0].0;
    assert!(world.answer_one() && world.answer_one(), "the late answer to {first} is ignored");
    assert!(world.refused.is_empty());
}

#[test]
fn unjustified_and_repeated_finality_is_refused_and_asked_for_again() {
    let mut world = World::serving();
    let known = world.engine.figures().layer_one;
    let number = world.build();
    let good = world.voters.justify(world.chain.header(number)).encode();
    world.engine.finality(world.chain.range(number, number), &[]);
    world.engine.finality(world.chain.range(number, number), &good[..good.len() - 1]);
    world.engine.finality(world.chain.range(known, number), &good);
    world.take_actions();
    assert_eq!(world.refused.len(), 3);
    assert_eq!(world.engine.figures().layer_one, known);
    assert_eq!(world.stopped, None);
    world.engine.tick(world.now);
    assert!(world.engine.take_actions().iter().any(|action| matches!(
        action,
        cloister_sidechain::Action::Synced { number, .. } if *number == known
    )));
    world.tell_finality();
    assert_eq!(world.engine.figures().layer_one, number);
}

#[test]
fn a_clock_far_ahead_or_a_stall_of_finality_pauses_and_resumes_without_loss() {
    let mut world = World::with_accounts(&[("Alice", 2 * UNIT)]);
    let transfer = world.transfer("Alice", "Bob", UNIT, 0);
    world.engine.submit(transfer).unwrap();
    let now = world.now;
    world.now += MAX_CLOCK_AHEAD_MS;
    world.tick();
    assert_eq!(world.blocks.len(), 1, "paused");
    let second = world.transfer("Alice", "Bob", UNIT / 2, 1);
    assert_eq!(world.engine.submit(second.clone()), Err(CallRefused::Paused(Pause::ClockAhead)));
    world.finalize();
    world.tick();
    assert_eq!(world.free_balance("Bob"), UNIT, "resumed");
    // A clock that jumps back does not take the shard's time back.
    let time = world.blocks.last().unwrap().block_data.timestamp;
    world.engine.submit(second).unwrap();
    world.engine.tick(now - 1_000_000);
    world.take_actions();
    world.finalize();
    world.tick();
    assert!(world.blocks.last().unwrap().block_data.timestamp > time);
    assert_eq!(world.free_balance("Bob"), UNIT + UNIT / 2);
}

#[test]
fn an_enclave_that_is_shown_finality_without_state_pauses_until_it_is_shown_that_too() {
    let mut world = World::with_accounts(&[("Alice", 2 * UNIT)]);
    let inbox = || Getter::Public(PublicGetter::Inbox);
    let read = world.engine.figures().layer_one_read;
    for _ in 0..MAX_BLOCKS_UNREAD {
        world.finalize_unread();
    }
    let first = world.transfer("Alice", "Bob", UNIT, 0);
    world.engine.submit(first).unwrap();
    world.tick();
    world.fail_proofs();
    assert_eq!(world.blocks.len(), 2, "that far behind it goes on");
    world.answer(&world.shard(), inbox()).unwrap();

    world.finalize_unread();
    let figures = world.engine.figures();
    assert_eq!((figures.layer_one_read, figures.layer_one), (read, read + MAX_BLOCKS_UNREAD + 1));
    let second = world.transfer("Alice", "Bob", UNIT / 2, 1);
    let refused = world.engine.submit(second.clone()).unwrap_err();
    assert_eq!(refused, CallRefused::Paused(Pause::Unread));
    assert_eq!(refused.to_string(), "paused: layer one's state was proven too many finalized blocks ago");
    let refused = world.answer(&world.shard(), inbox()).unwrap_err();
    assert_eq!(refused, QueryRefused::Paused(Pause::Unread));
    assert_eq!(refused.to_string(), "paused: layer one's state was proven too many finalized blocks ago");

    world.tick();
    while world.answer_one() {}
    assert_eq!(world.engine.figures().layer_one_read, figures.layer_one);
    world.engine.submit(second).unwrap();
    world.tick();
    assert_eq!(world.free_balance("Bob"), UNIT + UNIT / 2, "resumed");
}

#[test]
fn a_paused_enclave_makes_no_block_of_what_it_had_taken() {
    let mut world = World::with_accounts(&[("Alice", 2 * UNIT)]);
    let transfer = world.transfer("Alice", "Bob", UNIT, 0);
    world.engine.submit(transfer).unwrap();
    for _ in 0..=MAX_BLOCKS_UNREAD {
        world.finalize_unread();
    }
    world.tick();
    assert_eq!(world.blocks.len(), 1);
    while world.answer_one() {}
    world.tick();
    assert_eq!((world.blocks.len(), world.free_balance("Bob")), (2, UNIT));
}

#[test]
fn fast_ticks_make_no_more_blocks() {
    let mut world = World::with_accounts(&[("Alice", 100 * UNIT)]);
    world.now += 1_000;
    for nonce in 0..10 {
        let transfer = world.transfer("Alice", "Bob", UNIT, nonce);
        world.engine.submit(transfer).unwrap();
        world.engine.tick(world.now + u64::from(nonce));
        world.take_actions();
    }
    assert_eq!(world.blocks.len(), 2);
}

#[test]
fn a_restarted_enclave_refuses_its_old_shard() {
    let old = World::serving();
    let mut restarted = World::wanting(Some(old.shard()));
    restarted.storage.insert(storage::shard(&old.shard()), ShardEntry::born(old.engine.birth().clone(), 1).encode());
    restarted.bear();
    restarted.finalize();
    assert_eq!(restarted.stopped, Some(Stop::ShardOfAnotherIncarnation(old.shard())));
    assert!(!restarted.engine.is_serving());

    let nowhere = ShardId(H256::repeat_byte(0xee));
    let mut restarted = World::wanting(Some(nowhere));
    restarted.finalize();
    assert_eq!(restarted.stopped, Some(Stop::UnknownShard(nowhere)));
}

#[test]
fn a_changed_or_missing_entry_stops_the_enclave() {
    for change in [true, false] {
        let mut world = World::with_accounts(&[("Alice", UNIT)]);
        let key = storage::shard(&world.shard());
        if change {
            let mut birth = world.engine.birth().clone();
            birth.founder = account("Bob");
            world.storage.insert(key, ShardEntry::born(birth, 1).encode());
        } else {
            world.storage.remove(&key);
        }
        world.finalize();
        assert_eq!(world.stopped, Some(Stop::ShardEntryChanged));
        let call = world.transfer("Alice", "Bob", UNIT, 0);
        assert_eq!(world.engine.submit(call), Err(CallRefused::NotServing));
    }
}

#[test]
fn an_unknown_storage_layout_stops_the_enclave() {
    for version in [storage::enclave_bridge_version(), storage::teerex_version(), storage::sidechain_version()] {
        for value in [Some(9u16.encode()), None] {
            let mut world = World::serving();
            match value {
                Some(value) => world.storage.insert(version.clone(), value),
                None => world.storage.remove(&version),
            };
            world.finalize();
            assert_eq!(world.stopped, Some(Stop::StorageLayoutUnknown));
            assert!(!world.engine.is_serving());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Shield(u8, u8),
    Invoke,
    Transfer(u8, u8, u8),
    Build,
    Finality,
    Answer,
    Lose,
    Repeat,
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..3u8, 1..9u8).prop_map(|(to, amount)| Step::Shield(to, amount)),
        1 => Just(Step::Invoke),
        1 => (0..3u8, 0..3u8, 1..9u8).prop_map(|(from, to, amount)| Step::Transfer(from, to, amount)),
        1 => Just(Step::Build),
        2 => Just(Step::Finality),
        3 => Just(Step::Answer),
        1 => Just(Step::Lose),
        1 => Just(Step::Repeat),
        3 => Just(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Whatever the order in which a host passes things on, loses and repeats them, each entry is consumed once and
    /// money neither appears nor vanishes.
    #[test]
    fn money_is_conserved_under_any_schedule(steps in proptest::collection::vec(step(), 1..120)) {
        const NAMES: [&str; 3] = ["Alice", "Bob", "Charlie"];
        let mut world = World::serving();
        let (mut shielded, mut entries) = (0, 0);
        let mut last = None;
        for step in steps {
            match step {
                Step::Shield(to, amount) => {
                    shielded += u128::from(amount) * UNIT;
                    entries += 1;
                    world.shield(&account(NAMES[usize::from(to)]), u128::from(amount) * UNIT);
                },
                Step::Invoke => {
                    entries += 1;
                    world.invoke(vec![0; 8]);
                },
                Step::Transfer(from, to, amount) => {
                    let from = NAMES[usize::from(from)];
                    let nonce = world.nonce(from);
                    let call = world.transfer(from, NAMES[usize::from(to)], u128::from(amount) * UNIT, nonce);
                    // Refusals are part of the game.
                    let _ = world.engine.submit(call);
                    world.take_actions();
                },
                Step::Build => { world.build(); },
                Step::Finality => if world.chain.headers.len() as u32 - 1 > world.engine.figures().layer_one {
                    world.tell_finality();
                },
                Step::Answer => {
                    last = world.questions.first().cloned();
                    world.answer_one();
                },
                Step::Lose => world.questions.clear(),
                Step::Repeat => if let Some((question, ..)) = &last {
                    world.engine.proof(*question, Some(vec![]));
                    world.take_actions();
                },
                Step::Tick => world.tick(),
            }
        }
        // Whatever was lost comes again in the end.
        world.questions.clear();
        for _ in 0..6 {
            world.now += 30_000;
            world.finalize();
            world.tick();
            while world.answer_one() {}
        }
        prop_assert_eq!(&world.stopped, &None);
        let status = world.inbox();
        prop_assert_eq!(status.consumed, entries);
        prop_assert_eq!(status.shields_returned, 0);
        let sum: u128 = NAMES.iter().map(|name| world.free_balance(name)).sum();
        prop_assert_eq!(sum + world.books().fees, shielded);
    }
}
