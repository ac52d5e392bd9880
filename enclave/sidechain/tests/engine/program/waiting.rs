//! Direct calls that the pool has handed out and that wait for what they read of layer one.

use cloister_chain_primitives::EXISTENTIAL_DEPOSIT;
use cloister_pool::Admitted;
use cloister_sidechain::CallRefused;

use super::{
    withheld::{MORE_THAN_HALF, next_head},
    *,
};

/// The host says of the oldest question that it has no proof.
fn fail_one(world: &mut World) {
    let (question, ..) = world.questions.remove(0);
    world.engine.proof(question, None);
    world.take_actions();
}

fn reads(world: &World, who: &str, key: &[u8], nonce: u32) -> VerifiedCall {
    app(world, who, Call::Read(vec![key.to_vec()]), nonce)
}

#[test]
fn a_bounded_number_waits_and_others_go_past_whatever_the_host_withholds() {
    let mut world = probing();
    let senders: Vec<_> = (0..11).map(|sender| format!("Sender{sender}")).collect();
    for sender in &senders {
        world.shield(&account(sender), UNIT);
    }
    world.finalize();
    world.tick();
    for sender in &senders {
        for nonce in 0..1_000 {
            let read = reads(&world, sender, b"key", nonce);
            submit(&mut world, &read);
        }
    }
    assert_eq!(world.engine.figures().pool, 11_000);
    for _ in 0..20 {
        world.tick();
    }
    assert_eq!(world.engine.figures().pool, 11_000 - MAX_WAITING, "the rest stays under the pool's bounds");
    let read = reads(&world, "Alice", b"key", 0);
    assert_eq!(world.engine.submit(read.clone()), Err(CallRefused::TooManyWait));
    for nonce in 0..2 {
        let transfer = world.transfer("Bob", "Charlie", UNIT, nonce);
        submit(&mut world, &transfer);
        world.tick();
        assert_eq!(world.nonce("Bob"), nonce + 1, "who reads nothing waits for nothing");
    }
    while world.answer_one() {}
    while world.engine.figures().pool > 0 {
        world.tick();
        while world.answer_one() {}
    }
    assert_eq!(world.engine.submit(read), Ok(Admitted::Ready));
    for _ in 0..20 {
        world.tick();
    }
    assert!(senders.iter().all(|sender| world.nonce(sender) == 1_000));
    assert_eq!(world.nonce("Alice"), 1);
}

const MAX_WAITING: usize = 10_000;

#[test]
fn no_more_is_asked_for_than_can_be_held() {
    let mut world = probing();
    for call in [3, 31] {
        world.storage.insert(vec![call, 3], vec![7; MORE_THAN_HALF]);
    }
    world.finalize();
    for call in 0..40 {
        let keys = (0..4).map(|key| vec![call, key]).collect();
        let look = app(&world, "Alice", Call::Look(keys), call.into());
        submit(&mut world, &look);
    }
    world.tick();
    for _ in 0..2 {
        assert_eq!(world.questions[0].2.len(), 64);
        assert!(world.answer_one());
    }
    assert_eq!(world.questions, [], "what is held is above 4 MiB");
    world.tick();
    assert_eq!(world.nonce("Alice"), 32);
    world.tick();
    assert_eq!(world.questions[0].2.len(), 32, "a block has used it up");
    while world.answer_one() {}
    world.tick();
    assert_eq!(world.nonce("Alice"), 40);
}

const USURPED: &str = "another call of the sender with this nonce came first, through layer one";

#[test]
fn a_call_that_waits_is_overtaken_by_one_through_the_inbox_and_later_ones_go_on() {
    let mut world = probing();
    let (read, later) = (reads(&world, "Alice", b"key", 0), world.transfer("Alice", "Charlie", UNIT, 1));
    for call in [&read, &later] {
        submit(&mut world, call);
    }
    world.tick();
    let indirect = invoke(&mut world, "Alice", Call::Draw, 0);
    next_head(&mut world);
    world.tick();
    assert_eq!(outcome(&world, "Alice", indirect), Some(Ok(())));
    assert_eq!(last_status(&world, read.hash()), (Usurped, Some(USURPED.into())));
    world.tick();
    assert_eq!((world.nonce("Alice"), world.free_balance("Charlie")), (2, UNIT));
    // Nothing is left in the way of what comes then.
    let next = world.transfer("Alice", "Charlie", UNIT, 2);
    assert_eq!(world.engine.submit(next), Ok(Admitted::Ready));
    world.tick();
    assert_eq!(world.free_balance("Charlie"), 2 * UNIT);
}

#[test]
fn a_call_that_is_refused_while_another_with_its_nonce_is_being_stored_leaves_nobody_waiting() {
    let mut world = probing();
    let (read, later) = (reads(&world, "Alice", b"key", 0), world.transfer("Alice", "Charlie", UNIT, 1));
    for call in [&read, &later] {
        submit(&mut world, call);
    }
    world.tick();
    invoke(&mut world, "Alice", Call::Draw, 0);
    next_head(&mut world);
    world.keeps = false;
    world.tick();
    assert!(world.keep_one(), "the mark");
    fail_one(&mut world);
    assert_eq!(last_status(&world, read.hash()), (Invalid, Some(UNREAD.into())));
    assert_eq!(last_status(&world, later.hash()), (Future, None));
    assert!(world.keep_one(), "the block");
    world.keeps = true;
    world.tick();
    assert_eq!((world.nonce("Alice"), world.free_balance("Charlie")), (2, UNIT));
}

#[test]
fn with_a_refused_call_go_those_of_its_sender_that_wait() {
    for refused_meanwhile in [false, true] {
        let mut world = probing();
        // After the first one Bob has too little left for another fee.
        let rest = EXISTENTIAL_DEPOSIT + DIRECT_CALL_FEE / 2;
        let first = world.transfer("Bob", "Charlie", 100 * UNIT - DIRECT_CALL_FEE - rest, 0);
        let refused = world.transfer("Bob", "Charlie", 1, 1);
        let waits = reads(&world, "Bob", b"key", 2);
        for call in [&first, &refused, &waits] {
            submit(&mut world, call);
        }
        world.keeps = false;
        world.tick();
        assert!(world.keep_one(), "the mark");
        if refused_meanwhile {
            fail_one(&mut world);
            assert_eq!(last_status(&world, waits.hash()), (Invalid, Some(UNREAD.into())));
        }
        assert!(world.keep_one(), "the block");
        world.keeps = true;
        assert!(matches!(last_status(&world, first.hash()), (InSidechainBlock(_), None)));
        assert_eq!(last_status(&world, refused.hash()).0, Invalid);
        if !refused_meanwhile {
            let reason = "an earlier call of the sender was refused";
            assert_eq!(last_status(&world, waits.hash()), (Dropped, Some(reason.into())));
        }
        world.shield(&account("Bob"), UNIT);
        next_head(&mut world);
        world.tick();
        // The state tells the next nonce again.
        let again = world.transfer("Bob", "Charlie", 1, 1);
        assert_eq!(world.engine.submit(again), Ok(Admitted::Ready));
        world.tick();
        assert_eq!(world.nonce("Bob"), 2);
    }
}

#[test]
fn what_comes_back_from_the_line_has_all_its_heads_again() {
    let mut world = probing();
    let (read, later) = (reads(&world, "Alice", b"bad", 0), reads(&world, "Alice", b"key", 1));
    for call in [&read, &later] {
        submit(&mut world, call);
    }
    world.tick();
    for _ in 0..3 {
        next_head(&mut world);
    }
    // Of both together, and of the first alone.
    fail_one(&mut world);
    fail_one(&mut world);
    assert_eq!(last_status(&world, read.hash()), (Invalid, Some(UNREAD.into())));
    assert_eq!(last_status(&world, later.hash()), (Future, None));
    let other = app(&world, "Alice", Call::Draw, 0);
    submit(&mut world, &other);
    world.tick();
    for _ in 0..3 {
        next_head(&mut world);
        assert_eq!(last_status(&world, later.hash()), (Future, None));
    }
    while world.answer_one() {}
    world.tick();
    assert_eq!((world.nonce("Alice"), last_status(&world, later.hash()).1), (2, None));
}
