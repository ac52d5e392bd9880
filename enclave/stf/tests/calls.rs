//! Calls of clients: what is admitted, what it does, what a failure leaves behind.

mod shard;

use cloister_chain_primitives::{AccountId, Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, H256, UNIT};
use cloister_stf::{
    BlockContext, BlockError, BlockExecution, CallOutcome, Inputs, Payments, Program, Refused, Rules, VerifiedCall,
    account_exists, books, free_balance, get, nonce, reserved_balance, total_issuance,
};
use cloister_wire::{ParentchainId, ShardId, SignatureScope, TrustedCall, TrustedGetter};
use codec::Encode;
use frame_support::storage::storage_prefix;
use shard::{
    SCOPE, Shard, account_key, books_key, changes, indirect, issuance_key, nonce_key, sign, transfer, unshield,
    verified_by,
};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie};

const FEE: Balance = DIRECT_CALL_FEE;

fn account(who: Sr25519Keyring) -> AccountId {
    who.to_account_id()
}

fn failed(reason: &str) -> Result<CallOutcome, Refused> {
    Ok(CallOutcome::Failed(reason.into()))
}

/// The call is included, and the state differs from that after an empty block by nonce and fee alone.
fn assert_leaves_only_nonce_and_fee(shard: &mut Shard, call: &VerifiedCall, expected: Result<CallOutcome, Refused>) {
    let nonce_and_fee = shard.nonce_and_fee(call, call.fee().direct());
    let (outcome, finished) = shard.block(|block| block.call(call));
    assert_eq!(outcome, expected);
    assert_eq!(changes(&finished.diff), nonce_and_fee);
    assert_eq!(finished.opened, []);
    shard.assert_sound();
}

#[test]
fn a_transfer_moves_money_and_changes_no_other_key() {
    let mut shard = Shard::with_alice();
    shard.shield(Bob, UNIT);
    let call = transfer(Alice, 0, &account(Bob), 300 * UNIT);
    let (outcome, finished) = shard.block(|block| block.call(&call));
    assert_eq!(outcome, Ok(CallOutcome::Done));
    assert_eq!((shard.free(Alice), shard.free(Bob)), (700 * UNIT - FEE, 301 * UNIT));
    assert_eq!((nonce(&shard.state, &account(Alice)), nonce(&shard.state, &account(Bob))), (1, 0));

    let mut expected = vec![
        account_key(&account(Alice)),
        account_key(&account(Bob)),
        nonce_key(&account(Alice)),
        issuance_key(),
        books_key(),
        storage_prefix(b"System", b"Number").to_vec(),
        storage_prefix(b"Timestamp", b"Now").to_vec(),
        storage_prefix(b"Ledger", b"LayerOne").to_vec(),
    ];
    expected.sort();
    assert_eq!(changes(&finished.diff).into_keys().collect::<Vec<_>>(), expected);
    assert!(finished.diff.changes().all(|(_, value)| value.is_some_and(|value| value.len() <= 128)));
    shard.assert_sound();
}

#[test]
fn a_failed_transfer_leaves_exactly_nonce_and_fee() {
    let mut shard = Shard::with_alice();
    let alice = account(Alice);
    let too_much = transfer(Alice, 0, &account(Bob), 1_001 * UNIT);
    assert_leaves_only_nonce_and_fee(&mut shard, &too_much, failed("insufficient balance"));
    let too_little = transfer(Alice, 1, &account(Bob), EXISTENTIAL_DEPOSIT - 1);
    assert_leaves_only_nonce_and_fee(&mut shard, &too_little, failed("below the existential deposit"));
    let to_self = transfer(Alice, 2, &alice, 1_001 * UNIT);
    assert_leaves_only_nonce_and_fee(&mut shard, &to_self, failed("insufficient balance"));
    let nothing_moves = transfer(Alice, 3, &alice, UNIT);
    assert_leaves_only_nonce_and_fee(&mut shard, &nothing_moves, Ok(CallOutcome::Done));
    let largest = transfer(Alice, 4, &account(Bob), Balance::MAX);
    assert_leaves_only_nonce_and_fee(&mut shard, &largest, failed("insufficient balance"));
    let noop = verified_by(&Rules::default(), sign(Alice, 5, TrustedCall::Noop(alice))).unwrap();
    assert_leaves_only_nonce_and_fee(&mut shard, &noop, Ok(CallOutcome::Done));
}

#[test]
fn nonces_count_and_nothing_is_executed_twice() {
    let mut shard = Shard::with_alice();
    let bob = account(Bob);
    let first = transfer(Alice, 0, &bob, UNIT);
    assert_eq!(shard.call(&transfer(Alice, 1, &bob, UNIT)), Err(Refused::Nonce { expected: 0, got: 1 }));
    assert_eq!(shard.call(&first), Ok(CallOutcome::Done));
    assert_eq!(shard.call(&first), Err(Refused::Nonce { expected: 1, got: 0 }));
    let twice = transfer(Alice, 1, &bob, UNIT);
    let outcomes = shard.block(|block| [block.call(&twice), block.call(&twice)]).0;
    assert_eq!(outcomes, [Ok(CallOutcome::Done), Err(Refused::Nonce { expected: 2, got: 1 })]);
    assert_eq!(shard.free(Bob), 2 * UNIT);
}

#[test]
fn nonces_survive_an_emptied_account() {
    let mut shard = Shard::with_alice();
    let everything = transfer(Alice, 0, &account(Bob), 1_000 * UNIT - FEE);
    assert_eq!(shard.call(&everything), Ok(CallOutcome::Done));
    assert!(!account_exists(&shard.state, &account(Alice)));
    assert_eq!(nonce(&shard.state, &account(Alice)), 1);
    // While the account is empty, and after it was filled again.
    assert_eq!(shard.call(&everything), Err(Refused::Nonce { expected: 1, got: 0 }));
    shard.shield(Alice, 1_000 * UNIT);
    assert_eq!(shard.call(&everything), Err(Refused::Nonce { expected: 1, got: 0 }));
    shard.assert_sound();
}

#[test]
fn a_sender_that_does_not_exist_leaves_no_trace() {
    let mut shard = Shard::with_alice();
    let calm = shard.calm();
    let call = transfer(Bob, 0, &account(Alice), UNIT);
    let (outcome, finished) = shard.block(|block| block.call(&call));
    assert_eq!(outcome, Err(Refused::NoAccount));
    assert_eq!(changes(&finished.diff), calm);
    assert_eq!(nonce(&shard.state, &account(Bob)), 0);
}

#[test]
fn dust_is_booked_as_a_fee() {
    let mut shard = Shard::with_alice();
    let dust = EXISTENTIAL_DEPOSIT - 1;
    assert_eq!(shard.call(&transfer(Alice, 0, &account(Bob), 10 * UNIT)), Ok(CallOutcome::Done));
    let leave = transfer(Bob, 0, &account(Alice), 10 * UNIT - FEE - dust);
    assert_eq!(shard.call(&leave), Ok(CallOutcome::Done));
    assert!(!account_exists(&shard.state, &account(Bob)));
    assert_eq!(books(&shard.state).fees, 2 * FEE + dust);
    assert_eq!(total_issuance(&shard.state), 1_000 * UNIT - 2 * FEE - dust);
    shard.assert_sound();
}

#[test]
fn signatures_are_for_one_call_nonce_enclave_and_shard() {
    let call = TrustedCall::BalanceTransfer(account(Alice), account(Bob), UNIT);
    let good = sign(Alice, 0, call.clone());
    let rules = Rules::default();
    assert!(verified_by(&rules, good.clone()).is_ok());
    let mut nonce = good.clone();
    nonce.nonce = 1;
    let mut amount = good.clone();
    amount.call = TrustedCall::BalanceTransfer(account(Alice), account(Bob), 2 * UNIT);
    for bad in [nonce, amount, sign(Bob, 0, call)] {
        assert_eq!(verified_by(&rules, bad), Err(Refused::Signature));
    }
    for scope in [SignatureScope { mrenclave: [0; 32], ..SCOPE }, SignatureScope { shard: Default::default(), ..SCOPE }]
    {
        assert_eq!(cloister_stf::verify(H256::zero(), good.clone(), &scope, &rules), Err(Refused::Signature));
    }
}

#[test]
fn calls_that_are_not_the_clients_are_refused() {
    let alice = account(Alice);
    let simulated = Rules { simulation_allowed: true, root: Some(alice.clone()), ..Rules::default() };
    for (call, expected) in [
        (TrustedCall::BalanceShield(alice.clone(), alice.clone(), UNIT, ParentchainId::LayerOne), Refused::EnclaveOnly),
        (TrustedCall::TimestampSet(alice.clone(), 1, ParentchainId::LayerOne), Refused::EnclaveOnly),
        (TrustedCall::BalanceUnshield(alice.clone(), alice.clone(), UNIT, ShardId::default()), Refused::OtherShard),
    ] {
        assert_eq!(verified_by(&simulated, sign(Alice, 0, call.clone())), Err(expected));
        assert_eq!(verified_by(&simulated, sign(Bob, 0, call)), Err(Refused::Signature));
    }
    assert!(verified_by(&Rules::default(), sign(Alice, 0, unshield(Alice, &alice, UNIT))).is_ok());
    let set = |who: Sr25519Keyring| sign(who, 0, TrustedCall::BalanceSetBalance(account(who), alice.clone(), UNIT, 0));
    let real = Rules { root: Some(alice.clone()), ..Rules::default() };
    assert_eq!(verified_by(&real, set(Alice)), Err(Refused::SimulationForbidden));
    assert_eq!(verified_by(&simulated, set(Bob)), Err(Refused::NotRoot));
    let rootless = Rules { simulation_allowed: true, ..Rules::default() };
    assert_eq!(verified_by(&rootless, set(Alice)), Err(Refused::NotRoot));
    assert!(verified_by(&simulated, set(Alice)).is_ok());
}

#[test]
fn a_call_heavier_than_a_slot_is_refused() {
    let call = TrustedCall::BalanceTransfer(account(Alice), account(Bob), UNIT);
    let weight = Payments.weight(&call);
    let fits = Rules { max_weight: weight, ..Rules::default() };
    assert_eq!(verified_by(&fits, sign(Alice, 0, call.clone())).unwrap().weight(), weight);
    let narrow = Rules { max_weight: weight - 1, ..Rules::default() };
    let refused = Refused::TooHeavy { weight, limit: weight - 1 };
    for verify in [verified_by, indirect] {
        assert_eq!(verify(&narrow, sign(Alice, 0, call.clone())), Err(refused.clone()));
        assert_eq!(verify(&narrow, sign(Bob, 0, call.clone())), Err(Refused::Signature), "a stranger learns no more");
    }
    let text = format!("call weighs {weight} ps, more than the {} ps that a slot has", weight - 1);
    assert_eq!(refused.to_string(), text);
}

#[test]
fn root_sets_balances_of_a_simulated_shard() {
    let mut shard = Shard::new();
    let rules = Rules { simulation_allowed: true, root: Some(account(Alice)), ..Rules::default() };
    let set = |nonce, free, reserved| {
        let call = TrustedCall::BalanceSetBalance(account(Alice), account(Bob), free, reserved);
        verified_by(&rules, sign(Alice, nonce, call)).unwrap()
    };
    for (nonce, free, reserved) in [(0, 5 * UNIT, 2 * UNIT), (1, 3 * UNIT, 0), (2, UNIT, 4 * UNIT), (3, 0, 0)] {
        assert_eq!(shard.call(&set(nonce, free, reserved)), Ok(CallOutcome::Done));
        assert_eq!(free_balance(&shard.state, &account(Bob)), free);
        assert_eq!(reserved_balance(&shard.state, &account(Bob)), reserved);
        assert_eq!(total_issuance(&shard.state), free + reserved);
        shard.assert_sound();
    }
    // 7 UNIT, 3, 5, nothing.
    let books = books(&shard.state);
    assert_eq!((books.minted, books.burnt, books.fees), (9 * UNIT, 9 * UNIT, 0));
    let half = Balance::MAX / 2;
    for (nonce, free, reserved) in [(4, Balance::MAX, 1), (5, half, 0), (6, UNIT, half - 10 * UNIT + 1)] {
        let overflow = set(nonce, free, reserved);
        assert_leaves_only_nonce_and_fee(&mut shard, &overflow, failed("the amount is out of range"));
    }
    assert_eq!(shard.call(&set(7, half - 9 * UNIT, 0)), Ok(CallOutcome::Done));
    shard.assert_sound();
}

#[test]
fn events_and_other_scratch_never_reach_a_diff() {
    let mut shard = Shard::with_alice();
    let mut keys = std::collections::BTreeSet::new();
    for to in [Bob, Charlie, Bob] {
        let call = transfer(Alice, nonce(&shard.state, &account(Alice)), &account(to), UNIT);
        let finished = shard.block(|block| block.call(&call)).1;
        keys.extend(changes(&finished.diff).into_keys());
    }
    keys.extend(shard.entries().into_keys());
    for item in ["Events", "EventCount", "EventTopics", "ExecutionPhase", "BlockWeight", "BlockSize", "ExtrinsicCount"]
    {
        let prefix = storage_prefix(b"System", item.as_bytes());
        assert!(!keys.iter().any(|key| key.starts_with(&prefix)), "{item}");
    }
    let updated = storage_prefix(b"Timestamp", b"DidUpdate");
    assert!(!keys.iter().any(|key| key.starts_with(&updated)));
    // What is left starts with a pallet's and an item's hash; of well-known keys only a pallet's version has none.
    assert!(!keys.iter().any(|key| key.starts_with(b":")), "{keys:?}");
}

#[test]
fn getters_answer_in_scale() {
    let mut shard = Shard::with_alice();
    assert_eq!(shard.call(&transfer(Alice, 0, &account(Bob), UNIT)), Ok(CallOutcome::Done));
    let ask = |getter| get(&shard.state, &getter);
    assert_eq!(ask(TrustedGetter::FreeBalance(account(Alice))), Some((999 * UNIT - FEE).encode()));
    assert_eq!(ask(TrustedGetter::ReservedBalance(account(Alice))), Some(0u128.encode()));
    assert_eq!(ask(TrustedGetter::Nonce(account(Alice))), Some(1u32.encode()));
    assert_eq!(ask(TrustedGetter::FreeBalance(account(Charlie))), Some(0u128.encode()));
    assert_eq!(ask(TrustedGetter::CallOutcome(account(Alice), H256::zero())), None);
}

#[test]
fn a_block_follows_its_parent() {
    let mut shard = Shard::with_alice();
    shard.block(|_| ());
    let good = shard.context();
    let begin = |context| BlockExecution::begin(&shard.state, context, Inputs::none(), &Payments).map(drop);
    assert_eq!(begin(good), Ok(()));
    assert_eq!(begin(BlockContext { timestamp: 600, layer_one_number: 2, ..good }), Ok(()), "equal is enough");
    assert_eq!(begin(BlockContext { number: 2, ..good }), Err(BlockError::Number { expected: 3, got: 2 }));
    assert_eq!(begin(BlockContext { number: 4, ..good }), Err(BlockError::Number { expected: 3, got: 4 }));
    assert_eq!(begin(BlockContext { timestamp: 599, ..good }), Err(BlockError::Time { parent: 600, got: 599 }));
    assert_eq!(begin(BlockContext { layer_one_number: 1, ..good }), Err(BlockError::LayerOne { parent: 2, got: 1 }));
}
