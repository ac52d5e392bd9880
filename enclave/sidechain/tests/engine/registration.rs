//! Every start is an incarnation: nothing is served before its own registration is proven, and nothing after it ended.

use cloister_chain_primitives::{RegistrationRefused, Standing, storage};
use cloister_claims::TeeKind;
use cloister_sidechain::{CallRefused, MAX_CLOCK_AHEAD_MS, Pause, QueryRefused, Stop};
use cloister_wire::{Getter, PublicGetter};

use cloister_simulation::{UNIT, World, account, layer_one::Effect};

/// Neither calls nor queries are taken, and no block is made.
fn serves_nothing(world: &mut World) {
    let call = world.transfer("Alice", "Bob", UNIT, 0);
    assert_eq!(world.engine.submit(call), Err(CallRefused::NotServing));
    let inbox = Getter::Public(PublicGetter::Inbox);
    assert_eq!(world.answer(&world.shard(), inbox), Err(QueryRefused::NotServing));
    let blocks = world.blocks.len();
    world.shield(&account("Alice"), UNIT);
    world.build();
    world.tick();
    assert_eq!(world.blocks.len(), blocks);
    assert!(!world.engine.is_serving());
}

#[test]
fn nothing_is_served_before_registration_and_birth_are_proven() {
    let mut world = World::new();
    serves_nothing(&mut world);
    world.finalize();
    assert_eq!(world.registrations.len(), 1);
    serves_nothing(&mut world);
    // A shard that somebody bore for it changes nothing.
    world.bear();
    world.finalize();
    assert!(!world.serving && world.registered.is_none());
    serves_nothing(&mut world);

    world.register();
    world.build();
    world.tell_finality();
    assert!(!world.serving, "final, but not yet proven to the enclave");
    serves_nothing(&mut world);
    while world.answer_one() {}
    assert!(world.serving);
    assert_eq!(world.registered, world.record().map(|record| record.expires_at));
}

#[test]
fn nothing_is_served_before_the_birth_which_is_the_enclaves_own_work() {
    let mut world = World::registered();
    assert_eq!(world.submitted.len(), 1);
    serves_nothing(&mut world);
    world.finalize();
    serves_nothing(&mut world);
    world.bear();
    world.finalize();
    assert!(world.serving);
    world.finalize();
    assert_eq!(world.submitted.len(), 1, "no second birth");
}

#[test]
fn the_birth_is_repeated_until_it_is_proven() {
    let mut world = World::registered();
    for _ in 0..10 {
        world.finalize();
    }
    assert_eq!(world.submitted.len(), 2, "lost on the way: the same again");
    assert_eq!(world.submitted[0], world.submitted[1]);
    // It lands, but layer one refuses it for some reason.
    world.land();
    world.finalize();
    assert_eq!(world.submitted.len(), 3);
    assert_ne!(world.submitted[1], world.submitted[2]);
    world.land();
    for _ in 0..5 {
        world.finalize();
    }
    assert_eq!(world.submitted.len(), 3, "not in every block");
}

/// A host with an old disk and an old view of the chain.
#[test]
fn an_old_view_of_the_chain_serves_nothing() {
    let mut first = World::serving();
    let mut restarted = first.another_start();
    restarted.tell_finality();
    while restarted.answer_one() {}
    assert_eq!((restarted.stopped.clone(), restarted.registered), (None, None));
    assert_eq!(restarted.registrations.len(), 1, "it wants to register");
    serves_nothing(&mut restarted);

    // Layer one goes on without it, and it is never told of more than what was before its registration.
    first.finalize();
    for _ in 0..30 {
        restarted.now += 300;
        restarted.engine.tick(restarted.now);
        restarted.take_actions();
    }
    serves_nothing(&mut restarted);
    assert_eq!(restarted.registrations.len(), 1, "there is no newer block to name");
}

/// The start before sent an anchor, which lands after this one has signed its registration.
#[test]
fn a_registration_whose_nonce_is_taken_is_signed_anew_at_once() {
    let mut world = World::new();
    world.finalize();
    assert_eq!(world.registrations.len(), 1);
    world.finalize();
    assert_eq!(world.registrations.len(), 1, "it may still land");
    world.land();
    world.finalize();
    let [first, second] = &world.registrations[..] else { panic!("{}", world.registrations.len()) };
    assert_eq!((first.block_number, second.block_number), (1, 3));
    world.register();
    world.finalize();
    assert!(world.registered.is_some());
    assert_eq!(world.registrations.len(), 2);
}

#[test]
fn evidence_is_not_made_while_the_light_client_catches_up() {
    let mut world = World::new();
    world.now += 60_000 + 1_000;
    let clock = world.now;
    world.tick();
    world.now -= 60_000 + 1_000 + 300;
    world.finalize();
    assert!(world.registrations.is_empty(), "layer one's time is more than a minute behind");
    world.now = clock;
    world.finalize();
    assert_eq!(world.registrations.len(), 1);
}

#[test]
fn the_host_is_told_that_its_clock_keeps_a_registration_waiting() {
    let mut world = World::new();
    world.attests = false;
    world.finalize();
    let layer_one = world.now;
    let mut tick = |clock: u64| {
        world.engine.tick(clock);
        world.take_actions();
        std::mem::take(&mut world.behind)
    };
    assert_eq!(tick(layer_one + 60_000), [], "not too far ahead");
    assert_eq!(tick(layer_one + 60_001), [(layer_one, layer_one + 60_001)]);
    assert_eq!(tick(layer_one + 60_002), [], "not in every slot");
    assert_eq!(tick(layer_one + 60_001 + 59_999), []);
    assert_eq!(tick(layer_one + 60_001 + 60_000), [(layer_one, layer_one + 120_001)], "every minute");
    assert_eq!(tick(layer_one), [], "set right");
    assert_eq!(tick(layer_one + 60_001), [(layer_one, layer_one + 60_001)], "news again");
}

#[test]
fn a_renewal_that_a_wrong_clock_keeps_waiting_is_told_before_the_registration_expires() {
    let mut world = World::serving();
    let half = some_blocks_later(&mut world);
    let ahead = 61_000;
    world.engine.tick(half - 1);
    world.take_actions();
    assert_eq!(world.behind, [], "none is due");
    world.now = half - 1_000;
    world.engine.tick(half + ahead);
    world.take_actions();
    assert_eq!(world.behind.len(), 1, "layer one's time as last proven is that of the registration");
    world.finalize();
    assert_eq!(world.registrations.len(), 1, "the clock is still too far ahead");
    world.engine.tick(half + ahead + 60_000);
    world.take_actions();
    assert_eq!(world.behind.last(), Some(&(half, half + ahead + 60_000)));
    world.engine.tick(half);
    world.take_actions();
    world.finalize();
    assert_eq!(world.registrations.len(), 2);
    assert_eq!(world.behind.len(), 2);
}

/// A host withholds finality, so that the enclave does not learn that its registration is over.
#[test]
fn nothing_is_signed_beyond_the_registrations_own_end() {
    let mut world = World::with_accounts(&[("Alice", 2 * UNIT)]);
    some_blocks_later(&mut world);
    world.registry.interval_ms = 20_000;
    let inbox = || Getter::Public(PublicGetter::Inbox);
    world.change_record(|record| record.expires_at = record.verified_at + 40_000);
    let expires_at = world.record().unwrap().expires_at;
    world.now = expires_at - 10_000;
    world.finalize();
    assert_eq!(world.registered, Some(expires_at));

    let transfers = [world.transfer("Alice", "Bob", UNIT, 0), world.transfer("Alice", "Bob", UNIT / 2, 1)];
    let [first, second] = transfers;
    world.engine.submit(first).unwrap();
    world.engine.tick(expires_at - 2);
    world.take_actions();
    assert_eq!(world.blocks.last().unwrap().block_data.timestamp, expires_at - 2);
    world.answer(&world.shard(), inbox()).unwrap();

    let blocks = world.blocks.len();
    world.engine.submit(second.clone()).unwrap();
    assert!(expires_at + 1_000 < world.engine.figures().layer_one_time + MAX_CLOCK_AHEAD_MS);
    world.engine.tick(expires_at + 1_000);
    world.take_actions();
    assert_eq!(world.blocks.len(), blocks);
    let refused = world.engine.submit(second).unwrap_err();
    assert_eq!(refused, CallRefused::Paused(Pause::Expiring));
    assert_eq!(refused.to_string(), "paused: the registration on layer one has run out and no renewal is proven");
    assert_eq!(world.answer(&world.shard(), inbox()), Err(QueryRefused::Paused(Pause::Expiring)));
    assert_eq!(world.stopped, None, "only a finalized block ends it");

    // The block that it was not shown has the renewal.
    world.now = expires_at + 500;
    world.register();
    world.finalize();
    assert!(world.registered > Some(expires_at));
    world.engine.tick(expires_at + 2_000);
    world.take_actions();
    assert_eq!(world.blocks.len(), blocks + 1, "resumed");
}

/// Enough of them that evidence may be made again; gives when a renewal is due.
fn some_blocks_later(world: &mut World) -> u64 {
    for _ in 0..10 {
        world.include();
        world.finalize();
    }
    let record = world.record().unwrap();
    record.verified_at + (record.expires_at - record.verified_at) / 2
}

/// A renewal waits for its host to remove what stands in its way, and confirmations do not wait with it.
#[test]
fn confirmations_go_out_while_a_renewal_is_obstructed() {
    let mut world = World::serving();
    world.now = some_blocks_later(&mut world);
    world.finalize();
    assert_eq!(world.registrations.len(), 2, "a renewal is due");
    world.shield(&account("Alice"), UNIT);
    for _ in 0..34 {
        world.include();
        world.finalize();
        world.tick();
    }
    world.include();
    assert!(matches!(world.effects[..], [Effect::Anchored(_), Effect::Processed(..)]), "once: {:?}", world.effects);
    assert_eq!(world.blocks.len(), 1);
    // What the host has to see to is newer by now.
    let [_, first, newest] = &world.registrations[..] else { panic!("{}", world.registrations.len()) };
    assert_eq!(newest.block_number, first.block_number + 30);
    world.register();
    world.finalize();
    assert_eq!(world.registered, world.record().map(|record| record.expires_at));
}

#[test]
fn a_newer_incarnation_retires_the_older_one() {
    let mut older = World::with_accounts(&[("Alice", UNIT)]);
    let mut newer = older.another_start();
    newer.finalize();
    newer.register();
    newer.finalize();
    assert!(newer.registered.is_some() && newer.stopped.is_none());

    older.join(&newer);
    older.tell_finality();
    assert!(older.engine.is_serving(), "not yet proven to it");
    while older.answer_one() {}
    assert_eq!(older.stopped, Some(Stop::Retired));
    serves_nothing(&mut older);

    assert!(newer.serving, "it goes on with the shard");
    assert_eq!((newer.shard(), newer.account()), (older.shard(), older.account()));
    assert_eq!(newer.free_balance("Alice"), UNIT);
}

#[test]
fn of_two_copies_of_one_identity_only_the_newest_serves() {
    let mut one = World::new();
    let mut other = one.another_start();
    one.finalize();
    one.register();
    for _ in 0..3 {
        one.finalize();
    }
    assert!(one.registered.is_some());
    // The other attests later, at a block that the first one's registration precedes.
    other.join(&one);
    other.tell_finality();
    while other.answer_one() {}
    other.register();
    other.bear();
    other.finalize();
    assert!(other.serving);
    one.join(&other);
    one.tell_finality();
    while one.answer_one() {}
    assert_eq!(one.stopped, Some(Stop::Retired));

    // What the first one signed and its host held back does not bring it back.
    let account = other.account();
    for registration in &one.registrations {
        let refused = other.registry.register(&mut other.storage, &account, registration, other.now);
        assert_eq!(refused, Err(RegistrationRefused::NotLater));
    }
    other.finalize();
    assert!(other.engine.is_serving());
}

#[test]
fn two_incarnations_are_blocks_apart() {
    let first = World::registered();
    let mut second = first.another_start();
    second.tell_finality();
    while second.answer_one() {}
    let registration = second.registrations.last().unwrap().clone();
    let account = second.account();
    let refused = second.registry.register(&mut second.storage, &account, &registration, second.now);
    assert_eq!(refused, Err(RegistrationRefused::TooSoon));
    assert_eq!(second.stopped, None, "the predecessor's record is no reason to stop");
}

#[test]
fn an_evicted_enclave_stops() {
    let mut removed = World::serving();
    removed.storage.remove(&storage::enclave(&removed.account()));
    removed.finalize();
    assert_eq!(removed.stopped, Some(Stop::Evicted));
    serves_nothing(&mut removed);

    let mut leaving = World::serving();
    leaving.change_record(|record| record.standing = Standing::Leaving { until: u64::MAX });
    leaving.finalize();
    assert_eq!(leaving.stopped, Some(Stop::Evicted));
    serves_nothing(&mut leaving);
}

#[test]
fn an_enclave_that_is_evicted_before_it_served_stops_too() {
    let mut world = World::registered();
    world.storage.remove(&storage::enclave(&world.account()));
    world.bear();
    world.finalize();
    assert_eq!(world.stopped, Some(Stop::Evicted));
    assert!(!world.serving);
}

#[test]
fn an_enclave_whose_registration_expired_stops() {
    let mut world = World::serving();
    world.now = world.registered.unwrap() - 1_000 - 1;
    world.finalize();
    assert!(world.engine.is_serving(), "one millisecond is left");
    let mut at_the_end = World::serving();
    at_the_end.now = at_the_end.registered.unwrap() - 1_000;
    at_the_end.finalize();
    assert_eq!(at_the_end.stopped, Some(Stop::Expired));
    serves_nothing(&mut at_the_end);
}

#[test]
fn a_registration_is_renewed_after_half_of_its_time_with_the_same_key_and_a_later_block() {
    let mut world = World::serving();
    let first = world.record().unwrap();
    let half = first.verified_at + (first.expires_at - first.verified_at) / 2;
    world.now = half - 1_000 - 1;
    world.finalize();
    assert_eq!(world.registrations.len(), 1, "not yet");
    world.now = half - 1_000;
    for _ in 0..10 {
        world.finalize();
    }
    let [original, renewal] = &world.registrations[..] else { panic!("{}", world.registrations.len()) };
    assert_eq!(renewal.incarnation_key, original.incarnation_key);
    assert_eq!(renewal.tls_key_hash, original.tls_key_hash);
    assert!(renewal.block_number > original.block_number);
    assert!(world.engine.is_serving());

    world.register();
    world.finalize();
    let renewed = world.record().unwrap();
    assert_eq!(renewed.incarnation_since, first.incarnation_since);
    assert!(renewed.expires_at > first.expires_at);
    assert_eq!(world.registered, Some(renewed.expires_at));
    for _ in 0..20 {
        world.finalize();
    }
    assert_eq!(world.registrations.len(), 2, "renewed");
    assert!(world.engine.is_serving());
}

#[test]
fn a_registration_that_does_not_land_comes_again_with_a_later_block() {
    let mut world = World::new();
    for _ in 0..21 {
        world.finalize();
    }
    let blocks: Vec<_> = world.registrations.iter().map(|registration| registration.block_number).collect();
    assert_eq!(blocks, [1, 11, 21]);
    // Any of them may land.
    let (account, early) = (world.account(), world.registrations[0].clone());
    world.registry.register(&mut world.storage, &account, &early, world.now).unwrap();
    world.land();
    world.finalize();
    assert!(world.registered.is_some());
}

#[test]
fn an_attester_that_fails_is_asked_again() {
    let mut world = World::new();
    world.attests = false;
    world.finalize();
    world.attests = true;
    for _ in 0..10 {
        assert!(world.registrations.is_empty());
        world.finalize();
    }
    assert_eq!(world.registrations.len(), 1);
    assert_eq!(world.registrations[0].block_number, 11);
}

#[test]
fn evidence_that_nobody_asked_for_is_ignored() {
    let mut world = World::registered();
    let count = world.registrations.len();
    world.engine.evidence(cloister_claims::Evidence::Dcap(vec![1]));
    world.take_actions();
    assert_eq!(world.registrations.len(), count);
}

#[test]
fn a_record_of_other_code_kind_or_key_under_the_own_account_stops_the_enclave() {
    type Change = fn(&mut cloister_chain_primitives::EnclaveRecord);
    let changes: [Change; 3] = [
        |record| record.fingerprint = [9; 32],
        |record| record.kind = TeeKind::Sgx,
        |record| record.tls_key_hash = [9; 32],
    ];
    for change in changes {
        let mut serving = World::serving();
        serving.change_record(change);
        serving.finalize();
        assert_eq!(serving.stopped, Some(Stop::ForeignRecord));
        serves_nothing(&mut serving);

        let mut starting = World::new();
        starting.finalize();
        starting.register();
        starting.change_record(change);
        starting.finalize();
        assert_eq!((starting.stopped, starting.registered), (Some(Stop::ForeignRecord), None));
    }
}

#[test]
fn confirmations_and_renewals_share_one_nonce() {
    let mut world = World::serving();
    world.shield(&account("Alice"), UNIT);
    world.finalize();
    world.tick();
    assert_eq!(world.submitted.len(), 1, "a confirmation is in flight");
    world.now = world.registered.unwrap() - 1_000_000;
    for _ in 0..6 {
        world.build();
    }
    world.finalize();
    assert_eq!(world.registrations.len(), 1, "the renewal waits for it");
    world.land();
    world.finalize();
    assert_eq!(world.registrations.len(), 2);
}
