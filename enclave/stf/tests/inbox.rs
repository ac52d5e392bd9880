//! Layer one's inbox, and money as a whole.

mod shard;

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, H256, MIN_SHIELD, OutboxKind, ShardMode, UNIT, UNSHIELD_FEE,
};
use cloister_stf::{
    BlockError, Owed, ShieldOutcome, books, free_balance, genesis_storage, inbox_status, layer_one_head, metadata,
    outbox, total_issuance,
};
use cloister_wire::InboxStatus;
use codec::Encode;
use shard::{Shard, account_key};
use sp_keyring::Sr25519Keyring::{Alice, Bob};

/// What is owed to the sender of a shielding that block 1 returns.
fn returned(number: u64, beneficiary: &AccountId, amount: Balance) -> Owed {
    let beneficiary = beneficiary.clone();
    Owed { number, block: 1, kind: OutboxKind::Return, beneficiary, amount, refund_to: None }
}

#[test]
fn a_shielding_is_credited_or_returned() {
    let mut shard = Shard::new();
    let (alice, bob) = (Alice.to_account_id(), Bob.to_account_id());
    let (outcomes, finished) = shard.block(|block| {
        [
            block.shield(0, Some(alice.clone()), UNIT, &bob),
            block.shield(1, Some(bob.clone()), EXISTENTIAL_DEPOSIT - 1, &bob),
            block.shield(2, None, UNIT, &bob),
            block.shield(3, None, MIN_SHIELD, &alice),
            block.shield(4, Some(alice.clone()), EXISTENTIAL_DEPOSIT - 1, &bob),
            // Layer one takes none of less than `MIN_SHIELD`; if it did, no planck of it would be lost.
            block.shield(5, None, MIN_SHIELD - 1, &bob),
        ]
    });
    let [credited, back] = [Ok(ShieldOutcome::Credited), Ok(ShieldOutcome::Returned)];
    assert_eq!(outcomes, [credited.clone(), back.clone(), back.clone(), back.clone(), credited, back]);
    assert_eq!(free_balance(&shard.state, &alice), UNIT + EXISTENTIAL_DEPOSIT - 1);
    assert_eq!(free_balance(&shard.state, &bob), 0);
    let expected = [
        returned(0, &bob, EXISTENTIAL_DEPOSIT - 1),
        returned(1, &bob, UNIT - UNSHIELD_FEE),
        returned(2, &alice, EXISTENTIAL_DEPOSIT),
        returned(3, &bob, MIN_SHIELD - 1),
    ];
    assert_eq!(finished.opened, expected);
    assert_eq!(outbox(&shard.state), expected);
    let books = books(&shard.state);
    assert_eq!(books.shielded, 2 * UNIT + 2 * (EXISTENTIAL_DEPOSIT - 1) + 2 * MIN_SHIELD - 1);
    assert_eq!((books.fees, books.outbox_next, books.outbox_closed), (2 * UNSHIELD_FEE, 4, 0));
    assert_eq!(total_issuance(&shard.state), UNIT + EXISTENTIAL_DEPOSIT - 1);
    let expected = InboxStatus { consumed: 6, invokes: 0, shields_credited: 2, shields_returned: 4 };
    assert_eq!(inbox_status(&shard.state), expected);
    shard.assert_sound();
}

#[test]
fn a_shard_that_is_not_open_returns_what_it_could_credit() {
    for mode in [ShardMode::Maintenance, ShardMode::Retired] {
        let mut shard = Shard::with_alice();
        shard.mode = mode;
        let (alice, bob) = (Alice.to_account_id(), Bob.to_account_id());
        let outcome = shard.block(|block| block.shield(1, Some(alice.clone()), UNIT, &bob)).0;
        assert_eq!(outcome, Ok(ShieldOutcome::Returned));
        assert_eq!(free_balance(&shard.state, &alice), 1_000 * UNIT);
        assert_eq!(outbox(&shard.state), [Owed { block: 2, ..returned(0, &bob, UNIT - UNSHIELD_FEE) }]);
        shard.assert_sound();
    }
}

#[test]
fn a_shielding_that_an_account_cannot_hold_is_returned() {
    let mut shard = Shard::with_alice();
    // The simulation's root could have set so much.
    let mut info = shard.account(&Alice.to_account_id()).unwrap();
    info.data.free = Balance::MAX;
    shard.state.apply(&[(account_key(&Alice.to_account_id()), Some(info.encode()))].into_iter().collect());
    let (alice, bob) = (Alice.to_account_id(), Bob.to_account_id());
    let outcome = shard.block(|block| block.shield(1, Some(alice.clone()), UNIT, &bob)).0;
    assert_eq!(outcome, Ok(ShieldOutcome::Returned));
    assert_eq!(outbox(&shard.state), [Owed { block: 2, ..returned(0, &bob, UNIT - UNSHIELD_FEE) }]);
}

#[test]
fn more_than_layer_one_has_is_no_shielding() {
    let shard = Shard::with_alice();
    let (alice, bob) = (Alice.to_account_id(), Bob.to_account_id());
    let shielded = shard.try_block(|block| block.shield(1, Some(alice), Balance::MAX, &bob)).0;
    assert_eq!(shielded, Err(BlockError::Overflow));
}

#[test]
fn entries_are_consumed_once_and_in_order() {
    let mut shard = Shard::new();
    let alice = Alice.to_account_id();
    let consumed = shard.block(|block| {
        assert_eq!(block.set_aside_invoke(1), Err(BlockError::Inbox { expected: 0, got: 1 }));
        assert_eq!(block.set_aside_invoke(0), Ok(()));
        let again = block.shield(0, Some(alice.clone()), UNIT, &alice);
        assert_eq!(again, Err(BlockError::Inbox { expected: 1, got: 0 }));
        block.shield(1, Some(alice.clone()), UNIT, &alice)
    });
    assert_eq!(consumed.0, Ok(ShieldOutcome::Credited));
    shard.block(|block| assert_eq!(block.set_aside_invoke(1), Err(BlockError::Inbox { expected: 2, got: 1 })));
    let expected = InboxStatus { consumed: 2, invokes: 1, shields_credited: 1, shields_returned: 0 };
    assert_eq!(inbox_status(&shard.state), expected);
    assert_eq!(free_balance(&shard.state, &alice), UNIT);
}

#[test]
fn genesis_is_empty_and_the_same_every_time() {
    assert_eq!(genesis_storage().unwrap(), genesis_storage().unwrap());
    let shard = Shard::new();
    assert_eq!(shard.money(), (0, 0));
    assert_eq!(inbox_status(&shard.state), InboxStatus::default());
    assert_eq!(layer_one_head(&shard.state), (0, H256::zero()));
    assert_eq!(shard.state.commitment(), Shard::new().state.commitment());
}

#[test]
fn the_state_knows_the_layer_one_head_of_its_block() {
    let mut shard = Shard::new();
    let context = shard.context();
    shard.block(|_| ());
    assert_eq!(layer_one_head(&shard.state), (context.layer_one_number, context.layer_one_head));
}

#[test]
fn metadata_is_metadata() {
    assert_eq!(metadata().get(..5), Some([b"meta".as_slice(), &[14]].concat().as_slice()));
}
