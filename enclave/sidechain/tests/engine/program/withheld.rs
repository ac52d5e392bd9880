//! A host that leaves open what calls through the inbox read of layer one, brings it too late, or cannot know it.

use cloister_chain_primitives::storage;

use super::*;

/// The next head, whose state the engine reads. What it asks for calls stays open.
pub(super) fn next_head(world: &mut World) {
    world.take_actions();
    world.questions.clear();
    world.build();
    world.tell_finality();
    let length = storage::inbox_length(&world.shard());
    while let Some(own) = world.questions.iter().position(|(_, _, keys)| keys.contains(&length)) {
        let (question, at, keys) = world.questions.remove(own);
        let proof = world_proof(world, &at, &keys);
        world.engine.proof(question, Some(proof));
        world.take_actions();
    }
    // Entries that were opened made it ask.
    world.take_actions();
}

/// The host answers all that is open, but has no proof of a key.
fn answer_all_but(world: &mut World, unprovable: &[u8]) {
    while !world.questions.is_empty() {
        let (question, at, keys) = world.questions.remove(0);
        let proof = (!keys.iter().any(|key| key == unprovable)).then(|| world_proof(world, &at, &keys));
        world.engine.proof(question, proof);
        world.take_actions();
    }
}

fn pay_charlie(world: &mut World, nonce: u32) {
    let transfer = world.transfer("Bob", "Charlie", UNIT, nonce);
    submit(world, &transfer);
}

fn unread() -> Option<Result<(), String>> {
    Some(Err(UNREAD.into()))
}

/// Alice's calls, each of which reads a key of its own.
fn invoke_five(world: &mut World) -> Vec<H256> {
    (0..5).map(|nonce| invoke(world, "Alice", Call::Read(vec![vec![nonce]]), nonce.into())).collect()
}

#[test]
fn what_a_silent_host_leaves_open_fails_together_after_four_heads() {
    let silent = |_: &mut World| {};
    // It says that it has no proof of all, and is silent when it is asked for one.
    let picky = |world: &mut World| {
        let (question, ..) = world.questions.remove(0);
        world.engine.proof(question, None);
        world.take_actions();
        assert_eq!(world.questions[0].2.len(), 1);
    };
    for lie in [silent as fn(&mut World), picky] {
        let mut world = probing();
        let waiting = invoke_five(&mut world);
        world.shield(&account("Dave"), UNIT);
        next_head(&mut world);
        for head in 0..4 {
            next_head(&mut world);
            assert_eq!(world.questions[0].2.len(), 5, "all are asked for at each head");
            lie(&mut world);
            pay_charlie(&mut world, head);
            world.tick();
            assert_eq!(world.free_balance("Charlie"), u128::from(head + 1) * UNIT, "nothing direct waits");
            assert_eq!((world.free_balance("Dave"), world.nonce("Alice")), (0, 0), "at head {head}");
        }
        next_head(&mut world);
        world.tick();
        assert!(waiting.iter().all(|operation| outcome(&world, "Alice", *operation) == unread()));
        assert_eq!((world.free_balance("Dave"), world.nonce("Alice"), world.stopped.as_ref()), (UNIT, 5, None));
        assert_eq!(world.restart().commitment(), world.commitment());
    }
}

#[test]
fn one_that_nobody_can_prove_fails_and_takes_none_of_the_others_with_it() {
    let mut world = probing();
    let bad = invoke(&mut world, "Bob", Call::Read(vec![b"bad".to_vec()]), 0);
    let good = invoke_five(&mut world);
    for _ in 0..4 {
        next_head(&mut world);
        // A slot that is quicker than the answers.
        world.tick();
        answer_all_but(&mut world, b"bad");
        assert_eq!((outcome(&world, "Bob", bad), world.nonce("Alice")), (None, 0));
        world.tick();
    }
    assert_eq!(outcome(&world, "Bob", bad), unread());
    assert!(good.iter().all(|operation| outcome(&world, "Alice", *operation) == Some(Ok(()))));
}

#[test]
fn a_host_that_answers_everything_makes_nothing_fail_however_fast_heads_come() {
    let mut world = probing();
    let calls = invoke_five(&mut world);
    for _ in 0..10 {
        // The next head comes before the answers and before a block.
        next_head(&mut world);
    }
    for _ in 0..10 {
        next_head(&mut world);
        answer_all_but(&mut world, b"");
    }
    world.tick();
    assert!(calls.iter().all(|operation| outcome(&world, "Alice", *operation) == Some(Ok(()))));
}

#[test]
fn a_proof_that_comes_after_a_heads_last_block_is_none() {
    let mut world = probing();
    let calls = invoke_five(&mut world);
    for head in 0..4 {
        next_head(&mut world);
        pay_charlie(&mut world, head);
        world.tick();
        assert_eq!((world.free_balance("Charlie"), world.nonce("Alice")), (u128::from(head + 1) * UNIT, 0));
        answer_all_but(&mut world, b"");
    }
    next_head(&mut world);
    world.tick();
    assert!(calls.iter().all(|operation| outcome(&world, "Alice", *operation) == unread()));
}

#[test]
fn a_head_that_comes_with_every_mark_puts_an_entry_off_four_times() {
    let mut world = probing();
    let calls = invoke_five(&mut world);
    next_head(&mut world);
    world.keeps = false;
    for head in 0..5 {
        answer_all_but(&mut world, b"");
        assert_eq!(world.nonce("Alice"), 0, "at head {head}");
        pay_charlie(&mut world, head);
        world.tick();
        // What was proven is chosen, and outdated when the mark is kept.
        next_head(&mut world);
        while world.keep_one() {}
        assert_eq!(world.free_balance("Charlie"), u128::from(head + 1) * UNIT);
    }
    assert!(calls.iter().all(|operation| outcome(&world, "Alice", *operation) == unread()));
}

#[test]
fn what_was_not_asked_for_because_too_much_is_held_loses_no_head() {
    let mut world = probing();
    for call in [0, 16] {
        world.storage.insert(vec![call, 0], vec![7; MORE_THAN_HALF]);
    }
    let bad = invoke(&mut world, "Bob", Call::Read(vec![b"bad".to_vec()]), 0);
    let keys = |call: u8| (0..4).map(|key| vec![call, key]).collect();
    let calls: Vec<_> = (0..40).map(|call| invoke(&mut world, "Alice", Call::Look(keys(call)), call.into())).collect();
    for _ in 0..4 {
        assert_eq!(world.nonce("Alice"), 0);
        next_head(&mut world);
        answer_all_but(&mut world, b"bad");
        world.tick();
        assert_eq!(world.questions, [], "no more is asked for");
    }
    assert_eq!((outcome(&world, "Bob", bad), world.nonce("Alice")), (unread(), 32));
    world.tick();
    answer_all_but(&mut world, b"bad");
    world.tick();
    assert!(calls.iter().all(|operation| outcome(&world, "Alice", *operation) == Some(Ok(()))));
}

/// Bytes of a value two of which are more than are held.
pub(super) const MORE_THAN_HALF: usize = (2 << 20) + 1;

#[test]
fn a_suspect_that_waits_for_layer_one_makes_blocks_no_faster() {
    let mut world = probing();
    invoke(&mut world, "Alice", Call::Read(vec![b"key".to_vec()]), 0);
    next_head(&mut world);
    answer_all_but(&mut world, b"");
    world.keeps = false;
    world.tick();
    assert!(world.keep_one(), "the mark of it");
    let mut world = world.restart();
    next_head(&mut world);
    world.now += 1_000;
    for nonce in 0..5 {
        pay_charlie(&mut world, nonce);
        world.engine.tick(world.now + u64::from(nonce));
        world.take_actions();
    }
    assert_eq!((world.blocks.len(), world.free_balance("Charlie")), (1, UNIT));
    next_head(&mut world);
    answer_all_but(&mut world, b"");
    world.tick();
    assert_eq!(world.nonce("Alice"), 1);
}

#[test]
fn an_inbox_call_that_names_too_much_is_as_if_it_were_unreadable() {
    let mut world = probing();
    let before = world.inbox().consumed;
    let too_many = invoke(&mut world, "Alice", Call::Read(vec![vec![1]; 5]), 0);
    let too_long = invoke(&mut world, "Alice", Call::Read(vec![vec![1; 129]]), 0);
    let right = invoke(&mut world, "Alice", Call::Draw, 0);
    world.finalize();
    world.tick();
    assert_eq!(
        (world.inbox().consumed - before, world.nonce("Alice"), world.free_balance("Alice")),
        (3, 1, 100 * UNIT)
    );
    assert_eq!([too_many, too_long].map(|operation| outcome(&world, "Alice", operation)), [None, None]);
    assert_eq!(outcome(&world, "Alice", right), Some(Ok(())));
}
