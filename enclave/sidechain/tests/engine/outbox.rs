//! Money's way out: submitted when its block is finally anchored, until layer one is proven to have settled it, once.

use cloister_chain_primitives::{
    AccountId, DIRECT_CALL_FEE, OutboxEntry, OutboxKind, OutflowLimit, UNSHIELD_FEE, Verdict, calls::Call,
    outbox::outbox_id, storage,
};
use cloister_light_client::Error;
use cloister_pool::Admitted;
use cloister_sidechain::CallRefused;
use cloister_simulation::{
    SHIELDER, UNIT, World, account, key,
    layer_one::{self, Called, Effect},
    state,
};
use cloister_wire::{
    InboxStatus, OutboxProof, Outcome, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedOperation,
    TrustedOperationStatus::*, envelope::Purpose,
};
use codec::Encode;
use sp_core::Pair;
use sp_runtime::MultiSignature;

/// On layer one; it does not exist there.
const FERDIE: AccountId = AccountId::new([0xfe; 32]);
const STRANGER: AccountId = AccountId::new([0x77; 32]);
const FEE: u128 = DIRECT_CALL_FEE + UNSHIELD_FEE;

/// A block of layer one with what was submitted, its finality and its proofs; and a slot.
fn step(world: &mut World) {
    world.include();
    world.finalize();
    world.tick();
}

/// Alice has 10 UNIT, and all that was to be told to layer one is.
fn funded() -> World {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    (0..4).for_each(|_| step(&mut world));
    assert_eq!((world.engine.figures().anchored, world.submitted.len()), (1, 0));
    world
}

/// Alice has asked for so much to be paid to Ferdie, in block 2.
fn asked(amount: u128) -> World {
    let mut world = funded();
    let call = world.unshield("Alice", &FERDIE, amount, 0);
    assert_eq!(world.engine.submit(call), Ok(Admitted::Ready));
    world.tick();
    assert_eq!((world.blocks.len(), world.engine.figures().outbox_open), (2, 1));
    world
}

/// Entries that the enclave wants settled now.
fn submitted(world: &World) -> Vec<OutboxEntry> {
    let calls = world.submitted.iter().flat_map(|extrinsic| layer_one::calls(extrinsic));
    let entry = |called| if let Called::Unshield { entry, .. } = called { Some(entry) } else { None };
    calls.filter_map(entry).collect()
}

fn settled(world: &World) -> Vec<(u64, Verdict)> {
    let settled = |effect: &Effect| match effect {
        Effect::Settled { entry, verdict, .. } => Some((entry.number, *verdict)),
        _ => None,
    };
    world.effects.iter().filter_map(settled).collect()
}

/// Goes on until nothing is open and all of it is anchored.
fn finish(world: &mut World) {
    for _ in 0..120 {
        let figures = world.engine.figures();
        if figures.outbox_open == 0 && figures.anchored == figures.block {
            return;
        }
        step(world);
    }
    panic!("{:?}", world.engine.figures());
}

fn paid(world: &World, account: &AccountId) -> u128 {
    world.bridge.accounts.get(account).copied().unwrap_or(0)
}

#[test]
fn an_entry_is_submitted_once_its_block_is_finally_anchored() {
    let mut world = asked(UNIT);
    let entry = OutboxEntry {
        number: 0,
        id: outbox_id(&world.genesis(), &world.shard(), 2, 0),
        kind: OutboxKind::Unshield,
        beneficiary: FERDIE,
        amount: UNIT,
    };
    assert_eq!((world.submitted.len(), submitted(&world)), (1, vec![]), "only the anchor");
    world.include();
    assert!(
        matches!(world.effects.last(), Some(Effect::Anchored(anchor)) if anchor.number == 2),
        "{:?}",
        world.effects
    );
    let block = world.build();
    world.tick();
    assert_eq!((submitted(&world), world.outbox()), (vec![], vec![]), "anchored, but not final");
    world.tell_finality_of(block);
    world.tick();
    assert_eq!((submitted(&world), world.outbox()), (vec![], vec![]), "final, but not proven");
    while world.answer_one() {}
    assert_eq!(submitted(&world), std::slice::from_ref(&entry));
    let [OutboxProof { entry: told, path }] = &world.outbox()[..] else { panic!("one") };
    assert_eq!(*told, entry);
    let root = world.blocks[1].block_data.outbox_root;
    assert!(path.proves(&world.genesis(), &world.shard(), &entry, &root));
    let larger = OutboxEntry { amount: UNIT + 1, ..entry };
    assert!(!path.proves(&world.genesis(), &world.shard(), &larger, &root));

    finish(&mut world);
    assert_eq!((settled(&world), paid(&world, &FERDIE)), (vec![(0, Verdict::Paid)], UNIT));
    assert_eq!(world.free_balance("Alice"), 9 * UNIT - FEE);
    let books = world.books();
    assert_eq!((books.opened, books.paid, books.refunded, books.fees), (UNIT, UNIT, 0, FEE));
    assert_eq!((books.outbox_next, books.outbox_closed), (1, 1));
    let blocks = world.blocks.len();
    (0..30).for_each(|_| step(&mut world));
    assert_eq!((settled(&world).len(), world.blocks.len()), (1, blocks));
    assert_eq!(world.settled(0), None, "layer one forgets what is closed, though nothing came through the inbox");
}

#[test]
fn of_two_identical_ones_both_are_paid() {
    let mut world = funded();
    for nonce in 0..2 {
        let call = world.unshield("Alice", &FERDIE, UNIT, nonce);
        world.engine.submit(call).unwrap();
    }
    world.tick();
    finish(&mut world);
    assert_eq!(settled(&world), [(0, Verdict::Paid), (1, Verdict::Paid)]);
    assert_eq!((paid(&world, &FERDIE), world.free_balance("Alice")), (2 * UNIT, 8 * UNIT - 2 * FEE));
}

#[test]
fn what_layer_one_refuses_is_credited_again_less_the_fee() {
    let mut world = asked(1_000);
    let open = TrustedGetter::Unshielding(account("Alice"), 0);
    assert_eq!(world.read("Alice", open.clone()), Some((FERDIE, 1_000u128)));
    assert_eq!(world.read::<(AccountId, u128)>("Bob", TrustedGetter::Unshielding(account("Bob"), 0)), None);
    assert_eq!(world.free_balance("Alice"), 10 * UNIT - FEE - 1_000);
    finish(&mut world);
    assert_eq!((settled(&world), paid(&world, &FERDIE)), (vec![(0, Verdict::Refused)], 0));
    assert_eq!(world.free_balance("Alice"), 10 * UNIT - FEE);
    assert_eq!(world.read::<(AccountId, u128)>("Alice", open), None);
    let books = world.books();
    assert_eq!((books.opened, books.paid, books.refunded, books.fees), (1_000, 0, 1_000, FEE));
    (0..30).for_each(|_| step(&mut world));
    assert_eq!(world.free_balance("Alice"), 10 * UNIT - FEE, "once");

    // The account exists by now.
    world.bridge.accounts.insert(FERDIE, UNIT);
    let call = world.unshield("Alice", &FERDIE, 1_000, 1);
    world.engine.submit(call).unwrap();
    world.tick();
    finish(&mut world);
    assert_eq!((settled(&world)[1], paid(&world, &FERDIE)), ((1, Verdict::Paid), UNIT + 1_000));
}

#[test]
fn an_escrow_that_root_emptied_refuses() {
    let mut world = asked(UNIT);
    world.bridge.empty();
    finish(&mut world);
    assert_eq!((settled(&world), world.free_balance("Alice")), (vec![(0, Verdict::Refused)], 10 * UNIT - FEE));
}

#[test]
fn a_lost_submission_comes_again_and_time_refunds_nothing() {
    let mut world = asked(UNIT);
    step(&mut world);
    assert_eq!(submitted(&world).len(), 1);
    let lost = world.submitted.clone();
    world.submitted.clear();
    for _ in 0..9 {
        step(&mut world);
        assert_eq!(submitted(&world).len(), 0, "it may just be slow");
    }
    world.finalize();
    assert_eq!(world.submitted, lost, "the same bytes again");
    world.submitted.clear();
    let (blocks, balance) = (world.blocks.len(), world.free_balance("Alice"));
    let mut again = 0;
    for _ in 0..300 {
        world.finalize();
        world.tick();
        again += submitted(&world).len();
        world.submitted.clear();
    }
    assert!(again > 10, "{again}");
    assert_eq!((world.blocks.len(), world.free_balance("Alice")), (blocks, balance));
    assert_eq!((world.engine.figures().outbox_open, world.books().refunded), (1, 0));
    finish(&mut world);
    assert_eq!((settled(&world), paid(&world, &FERDIE)), (vec![(0, Verdict::Paid)], UNIT));
}

#[test]
fn an_entry_is_closed_by_nothing_but_the_proof_of_a_verdict() {
    let mut world = asked(UNIT);
    step(&mut world);
    assert_eq!(submitted(&world).len(), 1);
    let (shard, blocks) = (world.shard(), world.blocks.len());
    // Layer one has not settled it; the host says that it was refused, and that it was paid.
    for verdict in [Verdict::Refused, Verdict::Paid] {
        world.build();
        world.tell_finality();
        let (question, _, keys) = world.questions.remove(0);
        assert!(keys.contains(&storage::settled(&shard, 0)));
        let mut forged = world.storage.clone();
        forged.insert(storage::settled(&shard, 0), verdict.encode());
        world.engine.proof(question, Some(state(&forged).prove(&keys)));
        world.take_actions();
        assert!(matches!(world.refused.pop(), Some(Error::ProofOfAnotherRoot { .. })));
        world.tick();
        assert_eq!((world.blocks.len(), world.engine.figures().outbox_open), (blocks, 1));
    }
    while world.answer_one() {}

    // It is settled, and the host leaves that out of its proof.
    world.include();
    assert_eq!(world.settled(0), Some(Verdict::Paid));
    world.build();
    world.tell_finality();
    let (question, _, keys) = world.questions.remove(0);
    let without: Vec<_> = keys.into_iter().filter(|key| *key != storage::settled(&shard, 0)).collect();
    world.engine.proof(question, Some(state(&world.storage).prove(&without)));
    world.take_actions();
    world.tick();
    assert_eq!((world.blocks.len(), world.engine.figures().outbox_open), (blocks, 1));
    while world.answer_one() {}
    world.tick();
    assert_eq!((world.blocks.len(), world.engine.figures().outbox_open), (blocks + 1, 0));
    assert_eq!((world.books().paid, world.books().refunded), (UNIT, 0));
}

/// The enclave ends after so many steps of an entry's way; what it had submitted lands, or not.
fn restarted_after(steps: u32, lands: bool) {
    for amount in [UNIT, 1_000] {
        let mut world = asked(amount);
        for _ in 0..steps {
            world.include();
            world.build();
            world.tell_finality();
            while world.answer_one() {}
        }
        let pending = world.submitted.clone();
        if lands {
            world.include();
        }
        let mut world = world.restart();
        // What comes after the registration has a nonce that is used.
        world.submitted.splice(..0, pending);
        finish(&mut world);
        let [(0, verdict)] = settled(&world)[..] else { panic!("{steps}, {lands}: {:?}", world.effects) };
        let (expected, out) = if amount == UNIT { (Verdict::Paid, UNIT) } else { (Verdict::Refused, 0) };
        assert_eq!((verdict, paid(&world, &FERDIE)), (expected, out));
        assert_eq!(world.free_balance("Alice"), 10 * UNIT - FEE - out);
        let books = world.books();
        assert_eq!((books.opened, books.paid, books.refunded), (amount, out, amount - out));
    }
}

#[test]
fn a_restart_before_the_anchor_loses_and_doubles_nothing() {
    restarted_after(0, false);
    restarted_after(0, true);
}

#[test]
fn a_restart_between_anchor_and_submission_or_inclusion_loses_and_doubles_nothing() {
    restarted_after(1, false);
}

#[test]
fn a_restart_between_inclusion_and_proof_loses_and_doubles_nothing() {
    restarted_after(1, true);
    restarted_after(2, false);
}

/// The verdict is proven; the block that closes the entry is kept or not.
#[test]
fn a_restart_while_the_entry_is_closed_closes_it_once() {
    for kept in 0..=2 {
        let mut world = asked(1_000);
        (0..2).for_each(|_| {
            world.include();
            world.finalize();
        });
        world.keeps = false;
        world.tick();
        (0..kept).for_each(|_| assert!(world.keep_one()));
        let mut world = world.restart();
        finish(&mut world);
        assert_eq!(settled(&world), [(0, Verdict::Refused)]);
        assert_eq!((world.free_balance("Alice"), world.books().refunded), (10 * UNIT - FEE, 1_000), "{kept}");
    }
}

#[test]
fn what_an_earlier_incarnation_signed_has_no_effect_after_the_next() {
    let world = asked(UNIT);
    let anchor = layer_one::call_bytes(&world.submitted[0]);
    let mut after = world.restart();
    let effects = after.include_of(&STRANGER, &Call::encoded(anchor));
    assert!(matches!(effects[..], [Effect::Unacknowledged(_)]), "{effects:?}");
    finish(&mut after);
    assert_eq!((settled(&after), paid(&after, &FERDIE)), (vec![(0, Verdict::Paid)], UNIT));
}

#[test]
fn anybody_may_have_it_paid_and_nobody_twice() {
    let mut world = asked(UNIT);
    step(&mut world);
    let own = world.submitted.clone();
    let [OutboxProof { entry, path }] = &world.outbox()[..] else { panic!("one") };
    let call = Call::unshield_funds(&world.shard(), entry, path);
    let theirs = OutboxEntry { beneficiary: STRANGER, ..entry.clone() };
    let forged = Call::unshield_funds(&world.shard(), &theirs, path);
    assert_eq!(world.include_of(&STRANGER, &forged), [Effect::NotInOutbox(theirs)]);
    let effects = world.include_of(&STRANGER, &call);
    assert!(matches!(&effects[..], [Effect::Settled { verdict: Verdict::Paid, .. }]));
    assert_eq!(paid(&world, &FERDIE), UNIT);
    assert_eq!(world.include_of(&STRANGER, &call), [Effect::AlreadySettled(0)]);
    assert_eq!(world.submitted, own);
    world.include();
    assert!(world.effects.contains(&Effect::AlreadySettled(0)));
    finish(&mut world);
    assert_eq!(world.include_of(&STRANGER, &call), [Effect::AlreadySettled(0)], "for ever");
    assert_eq!((paid(&world, &FERDIE), world.free_balance("Alice")), (UNIT, 9 * UNIT - FEE));
    // Who had it settled is repaid for that out of the fees.
    assert!(paid(&world, &STRANGER) > 0 && world.bridge.repaid.values().sum::<u128>() <= world.books().fees);
}

#[test]
fn what_is_over_the_outflow_limit_waits_and_what_no_period_lets_out_is_refunded() {
    let mut world = funded();
    world.bridge.limit = Some(OutflowLimit { amount: 2 * UNIT, period: 40 });
    for (nonce, amount) in [UNIT, 3 * UNIT, 2 * UNIT, UNIT / 2].into_iter().enumerate() {
        let call = world.unshield("Alice", &FERDIE, amount, nonce as u32);
        world.engine.submit(call).unwrap();
    }
    world.tick();
    (0..4).for_each(|_| step(&mut world));
    assert_eq!(settled(&world), [(0, Verdict::Paid), (1, Verdict::Refused), (3, Verdict::Paid)]);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Deferred(entry) if entry.number == 2)));
    assert_eq!((paid(&world, &FERDIE), world.engine.figures().outbox_open), (UNIT + UNIT / 2, 1));
    finish(&mut world);
    assert_eq!(settled(&world)[3..], [(2, Verdict::Paid)]);
    assert_eq!(paid(&world, &FERDIE), 3 * UNIT + UNIT / 2);
    assert_eq!(world.free_balance("Alice"), 10 * UNIT - (3 * UNIT + UNIT / 2) - 4 * FEE);
}

#[test]
fn an_indirect_unshielding_pays_for_layer_one_only() {
    let mut world = funded();
    let call = TrustedCall::BalanceUnshield(account("Alice"), FERDIE, UNIT, world.shard());
    let signature = MultiSignature::Sr25519(key("Alice").sign(&world.engine.scope().call_bytes(&call, 0)));
    let operation = TrustedOperation::IndirectCall(TrustedCallSigned { call, nonce: 0, signature });
    let sealed = world.seal(Purpose::Request, &operation.encode());
    world.invoke(sealed);
    world.finalize();
    world.tick();
    assert_eq!(world.free_balance("Alice"), 9 * UNIT - UNSHIELD_FEE);
    let outcome = world.read("Alice", TrustedGetter::CallOutcome(account("Alice"), operation.hash()));
    let id = outbox_id(&world.genesis(), &world.shard(), 2, 0);
    assert_eq!(outcome, Some(Outcome { block_number: 2, result: Ok(()), outbox: Some((0, id)) }));
    finish(&mut world);
    assert_eq!(paid(&world, &FERDIE), UNIT);
}

#[test]
fn maintenance_lets_money_out_and_nothing_else() {
    let mut world = funded();
    // Taken before, tried after.
    let early = world.transfer("Alice", "Bob", UNIT, 0);
    world.engine.submit(early.clone()).unwrap();
    world.maintain(true);
    world.shield(&account("Bob"), UNIT);
    world.finalize();
    world.tick();
    let last = world.statuses.iter().rfind(|(operation, ..)| *operation == early.hash()).unwrap();
    assert_eq!((last.1, world.nonce("Alice")), (Invalid, 0));
    assert_eq!(world.engine.submit(early.clone()), Err(CallRefused::Maintenance));
    assert_eq!(world.inbox(), InboxStatus { consumed: 2, invokes: 0, shields_credited: 1, shields_returned: 1 });
    let transfer = TrustedCall::BalanceTransfer(account("Alice"), account("Bob"), UNIT);
    let signature = MultiSignature::Sr25519(key("Alice").sign(&world.engine.scope().call_bytes(&transfer, 0)));
    let signed = TrustedCallSigned { call: transfer, nonce: 0, signature };
    let sealed = world.seal(Purpose::Request, &TrustedOperation::IndirectCall(signed).encode());
    world.invoke(sealed);
    world.finalize();
    world.tick();
    assert_eq!((world.inbox().invokes, world.nonce("Alice")), (1, 0), "consumed without a nonce");
    let out = world.unshield("Alice", &FERDIE, UNIT, 0);
    assert_eq!(world.engine.submit(out), Ok(Admitted::Ready));
    world.tick();
    finish(&mut world);
    assert_eq!((paid(&world, &FERDIE), paid(&world, &SHIELDER)), (UNIT, UNIT - UNSHIELD_FEE));
    assert_eq!((world.free_balance("Alice"), world.free_balance("Bob")), (9 * UNIT - FEE, 0));

    world.maintain(false);
    world.finalize();
    let late = world.transfer("Alice", "Bob", UNIT, 1);
    assert_eq!(world.engine.submit(late), Ok(Admitted::Ready));
    world.tick();
    assert_eq!(world.free_balance("Bob"), UNIT);
}
#[test]
fn what_never_fits_a_period_holds_up_nothing_else() {
    let mut world = funded();
    world.append_shield(vec![1; 88], 3 * UNIT);
    world.finalize();
    world.tick();
    // The limit was higher when layer one took the shielding.
    world.bridge.limit = Some(OutflowLimit { amount: UNIT, period: 40 });
    for nonce in 0..3 {
        let call = world.unshield("Alice", &FERDIE, UNIT * 3 / 4, nonce);
        world.engine.submit(call).unwrap();
    }
    world.tick();
    (0..400).for_each(|_| step(&mut world));
    assert_eq!(settled(&world), [(1, Verdict::Paid), (2, Verdict::Paid), (3, Verdict::Paid)]);
    assert_eq!((world.engine.figures().outbox_open, paid(&world, &SHIELDER)), (1, 0));
    world.bridge.limit = None;
    (0..700).for_each(|_| step(&mut world));
    assert_eq!((world.engine.figures().outbox_open, paid(&world, &SHIELDER)), (0, 3 * UNIT - UNSHIELD_FEE));
}

#[test]
fn paths_stay_known_while_the_shard_goes_on() {
    let mut world = asked(UNIT);
    let proofs = |world: &World| world.outbox().into_iter().map(|proof| proof.entry.number).collect::<Vec<_>>();
    step(&mut world);
    assert_eq!(proofs(&world), [0]);
    for nonce in 1..6 {
        // Whatever the enclave has submitted is held back.
        world.submitted.clear();
        let call = world.unshield("Alice", &FERDIE, UNIT / 2, nonce);
        world.engine.submit(call).unwrap();
        world.tick();
        world.finalize();
        assert_eq!((proofs(&world), world.blocks.len()), (vec![0], nonce as usize + 2));
        let OutboxProof { entry, path } = &world.outbox()[0];
        let root = world.blocks[1].block_data.outbox_root;
        assert!(path.proves(&world.genesis(), &world.shard(), entry, &root));
    }
}

/// Anybody can shield to nobody, and each time is owed a return.
#[test]
fn returns_take_no_room_from_who_unshields() {
    let mut world = funded();
    for _ in 0..200 {
        world.append_shield(vec![1; 88], 2 * UNSHIELD_FEE);
    }
    let call = world.unshield("Alice", &FERDIE, UNIT, 0);
    world.finalize();
    (0..4).for_each(|_| world.tick());
    world.engine.submit(call).unwrap();
    world.tick();
    let mut batches = Vec::new();
    for _ in 0..8 {
        step(&mut world);
        let entries = submitted(&world);
        if !entries.is_empty() {
            batches.push(entries.iter().map(|entry| entry.kind).collect::<Vec<_>>());
        }
    }
    // The first has what was anchored before Alice's call.
    assert!(batches[0].iter().all(|kind| *kind == OutboxKind::Return) && batches[0].len() > 32);
    assert!(batches[1].contains(&OutboxKind::Unshield) && batches[1].len() > 32);
    assert!(batches[2].contains(&OutboxKind::Return), "who came before still waits");
}
