//! What outlives an enclave: blocks before anybody hears of them, and a host that gives back what it likes.

use cloister_chain_primitives::{DIRECT_CALL_FEE, H256};
use cloister_pool::{Admitted, Refused};
use cloister_sidechain::{
    BlockFlaw, CallRefused, Keep, Kept, MAX_UNANCHORED, NotNewest, Pause, RecoveryError, SnapshotRules, Stop,
};
use cloister_simulation::{Disk, UNIT, World, account, key, layer_one::Effect, world::Enclave};
use cloister_state::SealError;
use cloister_stf::Payments;
use cloister_synthetic_layer_one::Voters;
use cloister_wire::{Outcome, TrustedCall, TrustedGetter, TrustedOperationStatus::*, sidechain::SignedBlock};
use codec::{Decode, Encode};

/// Alice has paid Bob in block 2.
fn paid() -> World {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let transfer = world.transfer("Alice", "Bob", 3 * UNIT, 0);
    world.engine.submit(transfer).unwrap();
    world.tick();
    assert_eq!(world.blocks.len(), 2);
    world
}

/// Layer one takes what was submitted, and its finality is proven.
fn settle(world: &mut World) {
    world.include();
    world.finalize();
}

#[test]
fn a_restart_goes_on_where_the_start_before_ended() {
    let mut before = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let transfer = before.transfer("Alice", "Bob", 3 * UNIT, 0);
    let operation = transfer.hash();
    before.engine.submit(transfer.clone()).unwrap();
    before.tick();
    let head = before.blocks[1].header.hash();

    let mut after = before.restart();
    assert_eq!(after.recovered, Some(2));
    assert_eq!(after.shard(), before.shard());
    let left = 7 * UNIT - DIRECT_CALL_FEE;
    assert_eq!((after.free_balance("Alice"), after.free_balance("Bob"), after.nonce("Alice")), (left, 3 * UNIT, 1));
    assert_eq!(after.inbox(), before.inbox());
    assert_eq!(
        after.read::<Outcome>("Alice", TrustedGetter::CallOutcome(account("Alice"), operation)),
        Some(Outcome { block_number: 2, result: Ok(()), outbox: None })
    );
    let used = Refused::NonceUsed { nonce: 0, next: 1 };
    assert_eq!(after.engine.submit(transfer), Err(CallRefused::Pool(used)));
    let next = after.transfer("Alice", "Bob", UNIT, 1);
    after.engine.submit(next).unwrap();
    after.shield(&account("Charlie"), UNIT);
    after.finalize();
    after.tick();
    let [third] = &after.blocks[..] else { panic!("one block") };
    assert_eq!((third.header.block_number, third.header.parent_hash), (3, head));
    assert_eq!((third.block_data.inbox_from, third.block_data.inbox_to), (1, 2));
    assert_ne!(third.block_data.block_author, before.blocks[1].block_data.block_author, "another incarnation");
    assert_eq!((after.free_balance("Bob"), after.free_balance("Charlie")), (4 * UNIT, UNIT));
}

#[test]
fn nothing_is_told_of_a_block_before_it_is_kept() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    world.keeps = false;
    let transfer = world.transfer("Alice", "Bob", UNIT, 0);
    let operation = transfer.hash();
    world.engine.submit(transfer.clone()).unwrap();
    world.tick();
    assert!(matches!(world.unkept[0].1, Keep::Mark(_)), "what is executed is marked first");
    assert_eq!(world.blocks.len(), 1, "and nothing is executed before");
    world.keep_one();
    assert!(matches!(world.unkept[0].1, Keep::Block { number: 2, .. }));
    world.tick();
    assert_eq!(world.unkept.len(), 1, "one block at a time");
    assert_eq!((world.free_balance("Bob"), world.nonce("Alice"), world.engine.figures().block), (0, 0, 1));
    assert_eq!(world.statuses, [(operation, Ready, None)]);
    // The nonce is on its way, though the state does not know it.
    assert_eq!(world.engine.submit(transfer), Err(CallRefused::Pool(Refused::NonceUsed { nonce: 0, next: 1 })));
    let next = world.transfer("Alice", "Bob", UNIT, 1);
    assert_eq!(world.engine.submit(next), Ok(Admitted::Ready));

    // A host that says so of something else changes nothing.
    let sequence = world.unkept[0].0;
    for wrong in [0, sequence - 1, sequence + 1, u64::MAX] {
        world.engine.stored(wrong);
    }
    world.take_actions();
    assert_eq!(world.engine.figures().block, 1);
    world.keep_one();
    assert_eq!(world.statuses.last().unwrap(), &(operation, InSidechainBlock(world.blocks[1].header.hash()), None));
    assert_eq!((world.free_balance("Bob"), world.nonce("Alice"), world.engine.figures().block), (UNIT, 1, 2));
    world.engine.stored(sequence);
    world.take_actions();
    assert_eq!(world.engine.figures().block, 2, "once");
}

#[test]
fn a_crash_at_any_step_of_a_block_loses_or_doubles_nothing() {
    // Requests to keep something that were carried out before the crash.
    for kept in 0..=2 {
        let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
        world.keeps = false;
        let transfer = world.transfer("Alice", "Bob", UNIT, 0);
        world.engine.submit(transfer.clone()).unwrap();
        world.shield(&account("Charlie"), UNIT);
        world.finalize();
        world.tick();
        (0..kept).for_each(|_| assert!(world.keep_one()));
        let confirmed = world.statuses.iter().any(|(_, status, _)| matches!(status, InSidechainBlock(_)));
        assert_eq!(confirmed, kept == 2);

        let mut after = world.restart();
        after.tick();
        assert_eq!(after.free_balance("Charlie"), UNIT, "credited once");
        if kept < 2 {
            assert_eq!(after.engine.submit(transfer), Ok(Admitted::Ready), "the client sends it again");
            after.tick();
        }
        assert_eq!((after.free_balance("Alice"), after.free_balance("Bob")), (9 * UNIT - DIRECT_CALL_FEE, UNIT));
        let last = after.disk.blocks.last_key_value().unwrap().1;
        let last = SignedBlock::decode(&mut &last.1[..]).unwrap();
        assert_eq!(last.block_data.commitment_after, after.restart().commitment());
    }
}

/// What a start says that gets this from its host.
fn refusal(world: &World, disk: Disk) -> Stop {
    let mut restarted = world.start_with(disk);
    restarted.come_up();
    assert!(!restarted.serving);
    restarted.stopped.unwrap()
}

fn bytes(disk: &mut Disk, number: u64) -> &mut Vec<u8> {
    &mut disk.blocks.get_mut(&number).unwrap().1
}

#[test]
fn altered_swapped_and_foreign_blocks_are_refused_by_number() {
    let mut world = paid();
    let transfer = world.transfer("Alice", "Bob", UNIT, 1);
    world.engine.submit(transfer).unwrap();
    world.tick();
    let block = |number, flaw| Stop::Kept(RecoveryError::Block { number, flaw });
    let with = |change: &dyn Fn(&mut Disk)| {
        let mut disk = world.disk.clone();
        change(&mut disk);
        refusal(&world, disk)
    };
    let edit = |number, change: &dyn Fn(&mut SignedBlock)| {
        with(&|disk| {
            let bytes = bytes(disk, number);
            let mut block = SignedBlock::decode(&mut &bytes[..]).unwrap();
            change(&mut block);
            *bytes = block.encode();
        })
    };
    assert_eq!(with(&|disk| bytes(disk, 2).push(0)), block(2, BlockFlaw::Encoding));
    assert_eq!(with(&|disk| bytes(disk, 1).truncate(99)), block(1, BlockFlaw::Encoding));
    assert_eq!(edit(2, &|block| block.signature[0] ^= 1), block(2, BlockFlaw::Signature));
    assert_eq!(edit(3, &|block| block.block_data.timestamp += 1), block(3, BlockFlaw::Body));
    assert_eq!(edit(2, &|block| block.header.parent_hash = H256::zero()), block(2, BlockFlaw::Parent));
    assert_eq!(edit(1, &|block| block.header.parent_hash = H256::repeat_byte(1)), block(1, BlockFlaw::Parent));
    assert_eq!(edit(2, &|block| block.header.block_number = 7), block(2, BlockFlaw::Number(7)));
    assert_eq!(
        with(&|disk| {
            let (second, third) = (disk.blocks[&2].clone(), disk.blocks[&3].clone());
            disk.blocks.extend([(2, third), (3, second)]);
        }),
        block(2, BlockFlaw::Number(3))
    );
    assert_eq!(with(&|disk| drop(disk.blocks.remove(&1))), block(1, BlockFlaw::Number(2)));
    assert_eq!(with(&|disk| drop(disk.blocks.remove(&2))), block(2, BlockFlaw::Number(3)));

    let stranger = paid();
    let foreign = stranger.disk.blocks[&1].clone();
    let replaced = with(&|disk| drop(disk.blocks.insert(1, foreign.clone())));
    assert_eq!(replaced, block(1, BlockFlaw::OtherShard(stranger.shard())));
    let claimed = edit(1, &|block| {
        *block = SignedBlock::decode(&mut &foreign.1[..]).unwrap();
        block.header.shard_id = world.shard();
    });
    assert_eq!(claimed, block(1, BlockFlaw::Signature), "the id is signed");
}

#[test]
fn every_altered_byte_of_a_block_and_of_a_mark_is_noticed() {
    let world = paid();
    let length = world.disk.blocks[&2].1.len();
    for position in (0..length).step_by(7) {
        let mut disk = world.disk.clone();
        bytes(&mut disk, 2)[position] ^= 1;
        let mut restarted = world.start_with(disk);
        restarted.take_actions();
        assert!(
            matches!(restarted.stopped, Some(Stop::Kept(RecoveryError::Block { number: 2, .. }))),
            "byte {position}: {:?}",
            restarted.stopped
        );
    }
    let mut disk = world.disk.clone();
    *disk.mark.as_mut().unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&world, disk), Stop::Kept(RecoveryError::Mark(SealError::NotAuthentic)));
}

#[test]
fn a_lost_tail_is_noticed_as_far_as_it_is_anchored() {
    let mut world = paid();
    settle(&mut world);
    assert_eq!(world.effects.iter().filter(|effect| matches!(effect, Effect::Anchored(_))).count(), 1);
    settle(&mut world);
    assert_eq!(world.engine.figures().anchored, 2);
    let transfer = world.transfer("Alice", "Bob", UNIT, 1);
    world.engine.submit(transfer).unwrap();
    world.tick();
    // Block 3 is not anchored: that it is kept is its host's promise.
    let mut disk = world.disk.clone();
    disk.rewind(2);
    let mut shorter = world.start_with(disk);
    shorter.come_up();
    assert!(shorter.serving && shorter.recovered == Some(2));

    let mut disk = world.disk.clone();
    disk.rewind(1);
    assert_eq!(refusal(&world, disk), Stop::NotNewest(NotNewest::Behind { anchored: 2, newest: 1 }));
    let nothing = Stop::NotNewest(NotNewest::Behind { anchored: 2, newest: 0 });
    assert_eq!(refusal(&world, Disk::default()), nothing);
}

#[test]
fn a_fork_of_what_is_anchored_is_refused() {
    let mut one = paid();
    let mut disk = one.disk.clone();
    disk.rewind(1);
    // Another start from block 1 makes another block 2, and that is anchored.
    let mut other = one.start_with(disk);
    other.come_up();
    let transfer = other.transfer("Alice", "Bob", UNIT, 0);
    other.engine.submit(transfer).unwrap();
    other.tick();
    settle(&mut other);
    settle(&mut other);
    assert_eq!(other.engine.figures().anchored, 2);
    one.join(&other);
    let older = one.disk.clone();
    assert_eq!(refusal(&other, older), Stop::NotNewest(NotNewest::Forked { anchored: 2 }));
    assert!(other.restart().serving);
}

#[test]
fn nothing_is_served_before_all_that_was_kept_has_come() {
    let world = paid();
    let mut slow = world.start_with(world.disk.clone());
    assert_eq!(slow.recovered, Some(2));
    slow.engine.kept(Kept::Block(vec![]));
    slow.take_actions();
    assert_eq!(slow.stopped, Some(Stop::Kept(RecoveryError::AfterEnd)));

    let mut late = world.start_without_disk();
    late.take_actions();
    late.come_up();
    assert!(!late.serving && late.stopped.is_none() && late.registered.is_some());
    let call = late.transfer("Alice", "Bob", UNIT, 1);
    assert_eq!(late.engine.submit(call.clone()), Err(CallRefused::NotServing));
    late.disk = world.disk.clone();
    late.recover();
    late.finalize();
    assert!(late.serving);
    assert_eq!(late.engine.submit(call), Ok(Admitted::Ready));
}

#[test]
fn the_newest_block_is_anchored_and_its_calls_become_final() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    settle(&mut world);
    let calls: Vec<_> = (0..3).map(|nonce| world.transfer("Alice", "Bob", UNIT, nonce)).collect();
    for call in &calls {
        world.engine.submit(call.clone()).unwrap();
        world.tick();
    }
    let failed = world.transfer("Alice", "Bob", 100 * UNIT, 3);
    world.engine.submit(failed.clone()).unwrap();
    world.tick();
    assert!(world.statuses.iter().all(|(_, status, _)| *status != Finalized));
    (0..4).for_each(|_| settle(&mut world));
    let anchored = world.effects.iter().filter_map(|effect| match effect {
        Effect::Anchored(anchor) => Some((anchor.number, anchor.inbox_consumed)),
        _ => None,
    });
    assert_eq!(anchored.collect::<Vec<_>>(), [(1, 1), (2, 1), (5, 1)], "whatever is newest when it is asked");
    let newest = world.blocks.last().unwrap().header.hash();
    assert!(
        world.effects.iter().any(|effect| matches!(effect, Effect::Anchored(anchor) if anchor.header_hash == newest))
    );
    for call in &calls {
        let of: Vec<_> = world.statuses.iter().filter(|(operation, ..)| *operation == call.hash()).collect();
        assert!(matches!(of[..], [(_, Ready, None), (_, InSidechainBlock(_), None), (_, Finalized, None)]), "{of:?}");
    }
    let last = world.statuses.iter().rfind(|(operation, ..)| *operation == failed.hash()).unwrap();
    assert_eq!(last.1, Invalid);
    let submitted = world.effects.len();
    (0..30).for_each(|_| settle(&mut world));
    assert_eq!(world.effects.len(), submitted, "nothing changed, nothing is anchored");
}

/// Whoever sees the enclave's extrinsic can have the anchor land by another one.
#[test]
fn an_anchor_that_moves_by_a_strangers_hand_is_followed_at_once() {
    let mut world = paid();
    // It lands twice, once in the enclave's own extrinsic.
    (0..2).for_each(|_| settle(&mut world));
    let first = world.engine.figures().anchored;
    for nonce in 1..6 {
        let transfer = world.transfer("Alice", "Bob", UNIT / 10, nonce);
        world.engine.submit(transfer).unwrap();
        world.tick();
        (0..2).for_each(|_| settle(&mut world));
    }
    assert_eq!(world.engine.figures().anchored, first + 5);
    assert!(world.effects.iter().all(|effect| !matches!(effect, Effect::Refused(_))));
}

#[test]
fn production_pauses_when_layer_one_does_not_anchor_and_goes_on_when_it_does() {
    let mut world = World::with_accounts(&[("Alice", 1_000 * UNIT)]);
    let pair = key("Alice");
    for nonce in 0.. {
        let call = world.sign_with(&pair, TrustedCall::Noop(account("Alice")), nonce);
        if let Err(refused) = world.engine.submit(call) {
            assert_eq!(refused, CallRefused::Paused(Pause::Unanchored));
            break;
        }
        world.tick();
        // Layer one goes on, and its finality too; only the anchor does not land.
        if nonce % 3 == 0 {
            world.finalize();
        }
    }
    assert_eq!(world.engine.figures().block, MAX_UNANCHORED);
    assert_eq!(world.engine.figures().paused, Some(Pause::Unanchored));
    world.answer(&world.shard(), cloister_wire::Getter::Public(cloister_wire::PublicGetter::Inbox)).unwrap();
    (0..2).for_each(|_| settle(&mut world));
    // What was signed first may be older than the newest block; the newest follows.
    (0..2).for_each(|_| settle(&mut world));
    assert_eq!(world.engine.figures().anchored, MAX_UNANCHORED);
    let call = world.sign_with(&pair, TrustedCall::Noop(account("Alice")), MAX_UNANCHORED as u32 - 1);
    assert_eq!(world.engine.submit(call), Ok(Admitted::Ready));
    world.tick();
    assert_eq!(world.engine.figures().block, MAX_UNANCHORED + 1);
}

/// An enclave that takes snapshots of a few kilobytes often. Alice has made calls until one was complete, so many.
fn with_snapshot() -> (World, u32) {
    let rules = SnapshotRules { journal_bytes: 20_000, piece_bytes: 500 };
    let enclave = Enclave { program: &Payments, snapshots: rules, identity: H256::random().0 };
    let mut world = World::of(enclave, Voters::new(0, 1..=4), None);
    world.recover();
    world.come_up();
    (0..3).for_each(|_| settle(&mut world));
    (0..20).for_each(|number| world.shield(&account(&number.to_string()), UNIT));
    world.shield(&account("Alice"), 10 * UNIT);
    let pair = key("Alice");
    let mut nonce = 0;
    while world.disk.snapshot.is_none() {
        settle(&mut world);
        world.tick();
        let call = world.sign_with(&pair, TrustedCall::Noop(account("Alice")), nonce);
        nonce += u32::from(world.engine.submit(call).is_ok());
        assert!(world.stopped.is_none() && nonce < 10_000);
    }
    world.tick();
    (world, nonce)
}

#[test]
fn a_restart_from_a_snapshot_has_the_same_state() {
    let (mut world, nonce) = with_snapshot();
    let transfer = world.transfer("Alice", "Bob", 3 * UNIT, nonce);
    let operation = transfer.hash();
    world.engine.submit(transfer).unwrap();
    world.tick();
    (0..3).for_each(|_| settle(&mut world));
    let figures = world.engine.figures();
    assert!(figures.snapshot > 1 && figures.journal_bytes < 20_000, "{figures:?}");

    let after = world.restart();
    assert_eq!(after.commitment(), world.commitment());
    let left = 7 * UNIT - u128::from(nonce + 1) * DIRECT_CALL_FEE;
    assert_eq!((after.free_balance("Alice"), after.free_balance("Bob")), (left, 3 * UNIT));
    assert_eq!(after.engine.figures().snapshot, figures.snapshot);
    assert_eq!(after.engine.figures().journal_bytes, figures.journal_bytes);
    let outcome = TrustedGetter::CallOutcome(account("Alice"), operation);
    assert!(after.read::<Outcome>("Alice", outcome).is_some());

    // Without the blocks after it the snapshot is older than what is anchored; without its base, of no use.
    let base = world.disk.snapshot.as_ref().unwrap().2;
    let newest = world.engine.figures().block;
    let mut disk = world.disk.clone();
    disk.rewind(newest - 1);
    let behind = Stop::NotNewest(NotNewest::Behind { anchored: newest, newest: newest - 1 });
    assert_eq!(refusal(&world, disk), behind);
    for (oldest, refused) in [(base + 2, true), (base + 1, true), (base, false)] {
        let mut disk = world.disk.clone();
        disk.blocks = disk.blocks.split_off(&oldest);
        let mut restarted = world.start_with(disk);
        restarted.come_up();
        let gap = RecoveryError::Block { number: base, flaw: BlockFlaw::Number(oldest) };
        assert_eq!(restarted.stopped, refused.then_some(Stop::Kept(gap)), "from block {oldest}");
    }
    // Blocks before its base prove nothing by themselves, but the base's chain of parents does.
    let mut disk = world.disk.clone();
    bytes(&mut disk, base - 1)[0] ^= 1;
    assert!(matches!(refusal(&world, disk), Stop::Kept(RecoveryError::Block { .. })));
    let mut disk = world.disk.clone();
    disk.pieces.clear();
    assert!(matches!(refusal(&world, disk), Stop::Kept(RecoveryError::Snapshot(_))));
}
