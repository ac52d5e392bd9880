//! Money in, payments, queries.

use cloister_chain_primitives::{
    DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, H256, OutboxKind, UNSHIELD_FEE, outbox::OutboxTree,
};
use cloister_pool::Admitted;
use cloister_sidechain::{CallRefused, MAX_INBOX_PER_BLOCK, MAX_QUERY_LIFETIME_BLOCKS, QueryRefused};
use cloister_wire::{
    BoundGetter, BoundGetterSigned, Getter, InboxStatus, Outcome, ShardId, TrustedCall, TrustedGetter,
    TrustedGetterSigned, TrustedOperationStatus::*, envelope::Purpose,
};
use codec::Encode;
use sp_core::{Pair, ed25519};
use sp_runtime::MultiSignature;

use cloister_simulation::{SHIELDER, UNIT, World, account, key, layer_one::Effect};

#[test]
fn a_shielding_is_credited_once_and_paid_on() {
    let mut world = World::with_accounts(&[("Alice", 1_000 * UNIT)]);
    assert_eq!(world.free_balance("Alice"), 1_000 * UNIT);
    let transfer = world.transfer("Alice", "Bob", 300 * UNIT, 0);
    let operation = transfer.hash();
    assert_eq!(world.engine.submit(transfer), Ok(Admitted::Ready));
    world.tick();
    world.finalize();
    world.tick();
    let left = 700 * UNIT - DIRECT_CALL_FEE;
    assert_eq!((world.free_balance("Alice"), world.free_balance("Bob")), (left, 300 * UNIT));
    assert_eq!(world.nonce("Alice"), 1);
    let hash = world.blocks[1].header.hash();
    assert_eq!(world.statuses, [(operation, Ready, None), (operation, InSidechainBlock(hash), None)]);
    assert_eq!(
        world.read::<Outcome>("Alice", TrustedGetter::CallOutcome(account("Alice"), operation)),
        Some(Outcome { block_number: 2, result: Ok(()), outbox: None })
    );
    assert_eq!(world.blocks.len(), 2, "no blocks without work");
}

#[test]
fn blocks_are_chained_signed_and_say_what_they_consumed() {
    let mut world = World::with_accounts(&[("Alice", UNIT), ("Bob", UNIT)]);
    world.invoke(vec![1, 2, 3]);
    world.finalize();
    let transfer = world.transfer("Alice", "Bob", UNIT / 2, 0);
    let operation = transfer.hash();
    world.engine.submit(transfer).unwrap();
    world.tick();
    let [first, second] = &world.blocks[..] else { panic!("two blocks") };
    assert_eq!((first.header.block_number, second.header.block_number), (1, 2));
    assert_eq!((first.header.parent_hash, second.header.parent_hash), (H256::zero(), first.header.hash()));
    assert_eq!(first.block_data.commitment_before, world.engine.birth().genesis_commitment);
    assert_eq!(first.block_data.commitment_after, second.block_data.commitment_before);
    assert_ne!(second.block_data.commitment_before, second.block_data.commitment_after);
    assert_eq!((first.block_data.inbox_from, first.block_data.inbox_to), (0, 2));
    assert_eq!((second.block_data.inbox_from, second.block_data.inbox_to), (2, 3));
    assert_eq!(second.block_data.signed_top_hashes, [operation]);
    assert_eq!(second.block_data.layer_one_head, world.chain.headers.last().unwrap().hash());
    for block in [first, second] {
        assert_eq!(block.header.block_data_hash, block.block_data.hash());
        let key = ed25519::Public::from_raw(block.block_data.block_author);
        let signature = ed25519::Signature::from_raw(block.signature);
        assert!(ed25519::Pair::verify(&signature, block.header.signed_bytes(&world.genesis()), &key));
        let clear = account("Bob").encode();
        let diff = &block.block_data.encrypted_state_diff;
        assert!(!diff.windows(32).any(|window| window == clear), "an account in clear");
    }
    assert_eq!(world.inbox(), InboxStatus { consumed: 3, invokes: 1, shields_credited: 2, shields_returned: 0 });
}

#[test]
fn a_failed_transfer_leaves_its_nonce_and_tells_its_sender_why() {
    let mut world = World::with_accounts(&[("Alice", UNIT)]);
    let too_much = world.transfer("Alice", "Bob", 2 * UNIT, 0);
    let too_little = world.transfer("Alice", "Bob", EXISTENTIAL_DEPOSIT - 1, 1);
    for call in [&too_much, &too_little] {
        world.engine.submit(call.clone()).unwrap();
    }
    world.tick();
    assert_eq!(
        (world.free_balance("Alice"), world.free_balance("Bob"), world.nonce("Alice")),
        (UNIT - 2 * DIRECT_CALL_FEE, 0, 2)
    );
    for call in [&too_much, &too_little] {
        let (_, status, reason) = world.statuses.iter().rfind(|(operation, ..)| *operation == call.hash()).unwrap();
        assert_eq!(*status, Invalid);
        let outcome: Outcome = world.read("Alice", TrustedGetter::CallOutcome(account("Alice"), call.hash())).unwrap();
        assert_eq!(outcome.result.unwrap_err(), *reason.as_ref().unwrap());
        assert_eq!(world.read::<Outcome>("Bob", TrustedGetter::CallOutcome(account("Bob"), call.hash())), None);
    }
}

#[test]
fn only_an_owner_reads() {
    let world = World::with_accounts(&[("Alice", UNIT)]);
    let shard = world.shard();
    let getter = TrustedGetter::FreeBalance(account("Alice"));
    let by = |who: &str| TrustedGetterSigned {
        getter: getter.clone(),
        signature: MultiSignature::Sr25519(key(who).sign(&getter.encode())),
    };
    assert_eq!(world.answer(&shard, Getter::Trusted(by("Alice"))), Ok(Some(UNIT.encode())));
    assert_eq!(world.answer(&shard, Getter::Trusted(by("Bob"))), Err(QueryRefused::NotOwner));
    let other = ShardId(H256::repeat_byte(1));
    assert_eq!(world.answer(&other, Getter::Trusted(by("Alice"))), Err(QueryRefused::UnknownShard));

    let bound = |who: &str, last_block, genesis: H256, mrenclave| {
        let query = BoundGetter { getter: getter.clone(), last_block, client_nonce: [1; 16] };
        let signature = MultiSignature::Sr25519(key(who).sign(&query.signed_bytes(&genesis, &shard, &mrenclave)));
        world.answer(&shard, Getter::Bound(BoundGetterSigned { query, signature }))
    };
    let mrenclave = world.engine.scope().mrenclave;
    assert!(bound("Alice", 1, world.genesis(), mrenclave).is_ok());
    assert_eq!(bound("Alice", 0, world.genesis(), mrenclave), Err(QueryRefused::Expired));
    assert!(bound("Alice", 1 + MAX_QUERY_LIFETIME_BLOCKS, world.genesis(), mrenclave).is_ok());
    for last_block in [2 + MAX_QUERY_LIFETIME_BLOCKS, u64::MAX] {
        assert_eq!(bound("Alice", last_block, world.genesis(), mrenclave), Err(QueryRefused::LivesTooLong));
    }
    assert_eq!(bound("Bob", 1, world.genesis(), mrenclave), Err(QueryRefused::NotOwner));
    assert_eq!(bound("Bob", u64::MAX, world.genesis(), mrenclave), Err(QueryRefused::NotOwner));
    assert_eq!(bound("Alice", 1, H256::zero(), mrenclave), Err(QueryRefused::NotOwner));
    assert_eq!(bound("Alice", 1, world.genesis(), [0; 32]), Err(QueryRefused::NotOwner));
}

#[test]
fn nonces_order_calls_and_never_repeat() {
    let mut world = World::with_accounts(&[("Alice", 10 * UNIT)]);
    let calls: Vec<_> = (0..3).map(|nonce| world.transfer("Alice", "Bob", UNIT, nonce)).collect();
    assert_eq!(world.engine.submit(calls[2].clone()), Ok(Admitted::Future));
    assert_eq!(world.engine.submit(calls[1].clone()), Ok(Admitted::Future));
    world.tick();
    assert_eq!(world.free_balance("Bob"), 0, "nothing is ready");
    assert_eq!(world.engine.submit(calls[0].clone()), Ok(Admitted::Ready));
    world.tick();
    assert_eq!((world.free_balance("Bob"), world.nonce("Alice")), (3 * UNIT, 3));
    assert_eq!(
        world.engine.submit(calls[0].clone()),
        Err(CallRefused::Pool(cloister_pool::Refused::NonceUsed { nonce: 0, next: 3 }))
    );
    let nobody = world.transfer("Nobody", "Bob", UNIT, 0);
    assert_eq!(world.engine.submit(nobody), Err(CallRefused::UnknownSender));
}

#[test]
fn calls_that_never_come_up_give_way_in_a_full_pool_and_are_told_so() {
    let squatters: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let mut accounts: Vec<_> = squatters.iter().map(|who| (who.as_str(), UNIT)).collect();
    accounts.push(("Alice", UNIT));
    let mut world = World::with_accounts(&accounts);
    for who in &squatters {
        let (pair, sender) = (key(who), account(who));
        for nonce in 1..=1_000 {
            let call = world.sign_with(&pair, TrustedCall::Noop(sender.clone()), nonce);
            assert_eq!(world.engine.submit(call), Ok(Admitted::Future));
        }
    }
    world.take_actions();
    world.statuses.clear();
    let payment = world.transfer("Alice", "Bob", UNIT / 2, 0);
    assert_eq!(world.engine.submit(payment), Ok(Admitted::Ready));
    world.tick();
    assert_eq!(world.free_balance("Bob"), UNIT / 2);
    assert!(matches!(world.statuses[..], [(_, Dropped, Some(_)), (_, Ready, None), (_, InSidechainBlock(_), None)]));
}

#[test]
fn what_cannot_be_credited_is_returned() {
    let mut world = World::serving();
    world.append_shield(vec![1; 88], UNIT);
    let sealed_for_a_request = world.seal(Purpose::Request, &account("Alice").encode());
    world.append_shield(sealed_for_a_request, UNIT);
    let no_account = world.seal(Purpose::Beneficiary, &[1; 31]);
    world.append_shield(no_account, UNIT);
    world.shield(&account("Alice"), EXISTENTIAL_DEPOSIT - 1);
    world.shield(&account("Alice"), UNIT);
    world.finalize();
    world.tick();
    assert_eq!(world.inbox(), InboxStatus { consumed: 5, invokes: 0, shields_credited: 1, shields_returned: 4 });
    assert_eq!(world.free_balance("Alice"), UNIT);
    // Layer one takes no shielding of less than what can be returned without its fee.
    let (fees, amounts) = (3 * UNSHIELD_FEE, [UNIT - UNSHIELD_FEE; 3]);
    let books = world.books();
    assert_eq!((books.fees, books.opened), (fees, amounts.iter().sum::<u128>() + EXISTENTIAL_DEPOSIT - 1));
    world.include();
    world.finalize();
    let entries: Vec<_> = world.outbox().into_iter().map(|proof| proof.entry).collect();
    assert_eq!(
        OutboxTree::new(&world.genesis(), &world.shard(), entries.clone()).root(),
        world.blocks[0].block_data.outbox_root
    );
    assert!(entries.iter().all(|entry| entry.kind == OutboxKind::Return && entry.beneficiary == SHIELDER));
    assert_eq!(entries.iter().take(3).map(|entry| entry.amount).collect::<Vec<_>>(), amounts);
}

#[test]
fn a_long_inbox_is_consumed_in_bounded_steps() {
    let mut world = World::serving();
    let entries = 5 * MAX_INBOX_PER_BLOCK as u64 + 7;
    for _ in 0..entries {
        world.shield(&account("Alice"), UNIT);
    }
    world.finalize();
    for _ in 0..6 {
        world.tick();
        while world.answer_one() {}
    }
    assert_eq!(world.inbox().consumed, entries);
    assert_eq!(world.free_balance("Alice"), u128::from(entries) * UNIT);
    assert!(
        world
            .blocks
            .iter()
            .all(|block| { block.block_data.inbox_to - block.block_data.inbox_from <= MAX_INBOX_PER_BLOCK as u64 })
    );
}

#[test]
fn consumption_is_confirmed_until_it_lands() {
    let mut world = World::serving();
    world.shield(&account("Alice"), UNIT);
    world.finalize();
    world.tick();
    assert_eq!(world.submitted.len(), 1, "one extrinsic anchors and confirms");
    let lost = world.submitted.clone();
    world.finalize();
    assert_eq!(world.submitted.len(), 1, "it is still valid");
    for _ in 0..65 {
        world.build();
    }
    world.finalize();
    assert_eq!(world.submitted.len(), 2, "its era passed without a trace");
    assert_ne!(world.submitted[1], lost[0], "signed anew");
    world.include();
    assert!(matches!(world.effects[..], [Effect::Anchored(_), Effect::Processed(..)]), "{:?}", world.effects);
    for _ in 0..70 {
        world.build();
    }
    world.finalize();
    assert!(world.submitted.is_empty(), "it landed");
}
