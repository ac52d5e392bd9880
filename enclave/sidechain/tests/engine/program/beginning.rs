//! What goes wrong before a block's calls, and in what is asked of business logic.

use super::*;

#[test]
fn a_beginning_that_fails_changes_nothing_and_holds_up_no_calls() {
    let mut world = probing();
    let spoil = app(&world, "Alice", Call::Spoil(Spoilt::Fails), 0);
    submit(&mut world, &spoil);
    world.tick();
    for _ in 0..5 {
        world.tick();
    }
    assert_eq!(
        (world.blocks.len(), &world.begin_block_failures[..]),
        (2, &["spoilt".to_string()][..]),
        "not in a loop"
    );
    let transfer = world.transfer("Bob", "Charlie", UNIT, 0);
    submit(&mut world, &transfer);
    world.tick();
    assert_eq!((world.blocks.len(), world.free_balance("Charlie")), (3, UNIT));
    assert_eq!((kept::<u64>(&world, RANG), world.begin_block_failures.len()), (None, 2));
    world.finalize();
    world.tick();
    assert_eq!(world.begin_block_failures.len(), 3, "tried again on another head");
}

#[test]
fn a_beginning_that_panics_or_reads_for_ever_is_told_and_holds_up_no_calls() {
    const TOO_MUCH: &str = "exceeded its share: more than 10000 storage reads";
    for (how, reason) in [(Spoilt::Panics, "panicked"), (Spoilt::Loops, TOO_MUCH)] {
        let mut world = probing();
        let spoil = app(&world, "Alice", Call::Spoil(how), 0);
        submit(&mut world, &spoil);
        for _ in 0..5 {
            world.tick();
        }
        assert_eq!((world.blocks.len(), &world.begin_block_failures[..]), (2, &[reason.to_string()][..]));
        let transfer = world.transfer("Bob", "Charlie", UNIT, 0);
        submit(&mut world, &transfer);
        world.tick();
        assert_eq!((world.blocks.len(), world.free_balance("Charlie"), world.stopped.as_ref()), (3, UNIT, None));
        assert_eq!((kept::<u64>(&world, RANG), &world.begin_block_failures[1..]), (None, &[reason.to_string()][..]));
        assert_eq!(world.restart().commitment(), world.commitment());
    }
}

#[test]
fn a_call_whose_weight_panics_is_refused_and_through_the_inbox_it_is_nothing() {
    let mut world = probing();
    let call = TrustedCall::App(account("Alice"), Call::Unweighable.encode());
    let signature = MultiSignature::Sr25519(key("Alice").sign(&world.engine.scope().call_bytes(&call, 0)));
    let signed = TrustedCallSigned { call, nonce: 0, signature };
    let refused = cloister_stf::verify(H256::zero(), signed, &world.engine.scope(), &world.engine.rules());
    assert_eq!(refused, Err(cloister_stf::Refused::Panicked));
    let before = world.inbox().consumed;
    let operation = invoke(&mut world, "Alice", Call::Unweighable, 0);
    world.finalize();
    world.tick();
    assert_eq!((world.inbox().consumed - before, world.nonce("Alice")), (1, 0));
    assert_eq!((outcome(&world, "Alice", operation), world.stopped.as_ref()), (None, None));
}

#[test]
fn who_cannot_be_asked_whether_a_block_is_due_is_told_once_and_gets_no_block() {
    const TOO_MUCH: &str = "exceeded its share: more than 10000 storage reads";
    for (how, reason) in [(Spoilt::PanicsWhenAsked, "panicked"), (Spoilt::LoopsWhenAsked, TOO_MUCH)] {
        let mut world = probing();
        let spoil = app(&world, "Alice", Call::Spoil(how), 0);
        submit(&mut world, &spoil);
        for _ in 0..5 {
            world.tick();
        }
        assert_eq!((world.blocks.len(), &world.begin_block_failures[..]), (2, &[reason.to_string()][..]));
        world.finalize();
        world.tick();
        assert_eq!((world.blocks.len(), world.begin_block_failures.len()), (2, 2), "asked again on another head");
        let transfer = world.transfer("Bob", "Charlie", UNIT, 0);
        submit(&mut world, &transfer);
        world.tick();
        assert_eq!((world.blocks.len(), world.free_balance("Charlie")), (3, UNIT));
        assert_eq!(kept(&world, RANG), Some(0u64), "what it does in a block is done");
    }
}
