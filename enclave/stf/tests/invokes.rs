//! Calls that come through layer one's inbox: each entry is consumed once, each nonce used once.

mod shard;

use cloister_chain_primitives::{AccountId, DIRECT_CALL_FEE, UNIT};
use cloister_stf::{
    BlockError, CallOutcome, InvokeOutcome, Refused, Rules, VerifiedCall, account_exists, free_balance, inbox_status,
    nonce,
};
use cloister_wire::{InboxStatus, TrustedCall, TrustedCallSigned};
use shard::{Shard, indirect, sign, verified_by};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob};

fn account(who: Sr25519Keyring) -> AccountId {
    who.to_account_id()
}

fn payment(from: Sr25519Keyring, nonce: u32, amount: u128) -> TrustedCallSigned {
    let to = if from == Alice { Bob } else { Alice };
    sign(from, nonce, TrustedCall::BalanceTransfer(account(from), account(to), amount))
}

fn invoke_of(signed: TrustedCallSigned) -> VerifiedCall {
    indirect(&Rules::default(), signed).unwrap()
}

fn direct_of(signed: TrustedCallSigned) -> VerifiedCall {
    verified_by(&Rules::default(), signed).unwrap()
}

/// Executes the next inbox entry in a block of its own.
fn invoke(shard: &mut Shard, signed: TrustedCallSigned) -> InvokeOutcome {
    let outcome = shard.invoke(&invoke_of(signed));
    assert_eq!(inbox_status(&shard.state).consumed, shard.inbox);
    shard.assert_sound();
    outcome
}

fn done() -> InvokeOutcome {
    InvokeOutcome::Executed(CallOutcome::Done)
}

fn failed(reason: &str) -> InvokeOutcome {
    InvokeOutcome::Executed(CallOutcome::Failed(reason.into()))
}

fn nonce_refused(expected: u32, got: u32) -> InvokeOutcome {
    InvokeOutcome::Refused(Refused::Nonce { expected, got })
}

#[test]
fn an_indirect_call_uses_its_nonce_whatever_fails() {
    let mut shard = Shard::with_alice();
    assert_eq!(invoke(&mut shard, payment(Alice, 0, UNIT)), done());
    assert_eq!(free_balance(&shard.state, &account(Bob)), UNIT);
    assert_eq!(invoke(&mut shard, payment(Alice, 1, 1_000 * UNIT)), failed("insufficient balance"));
    assert_eq!(nonce(&shard.state, &account(Alice)), 2);
    assert_eq!(free_balance(&shard.state, &account(Bob)), UNIT);
    let expected = InboxStatus { consumed: 3, invokes: 2, shields_credited: 1, shields_returned: 0 };
    assert_eq!(inbox_status(&shard.state), expected);
}

#[test]
fn what_is_not_executed_leaves_nothing_but_the_consumed_entry() {
    let shard = Shard::with_alice();
    let consumed = shard.try_block(|block| block.set_aside_invoke(1)).1;
    assert_ne!(consumed, shard.try_block(|_| ()).1);
    assert_eq!(shard.try_block(|block| block.invoke(1, None)), (Ok(InvokeOutcome::Unreadable), consumed.clone()));
    for (call, refused) in [
        (payment(Alice, 1, UNIT), Refused::Nonce { expected: 0, got: 1 }),
        (payment(Alice, u32::MAX, UNIT), Refused::Nonce { expected: 0, got: u32::MAX }),
        (payment(Bob, 0, UNIT), Refused::NoAccount),
    ] {
        let call = invoke_of(call);
        let result = shard.try_block(|block| block.invoke(1, Some(&call)));
        assert_eq!(result, (Ok(InvokeOutcome::Refused(refused)), consumed.clone()));
    }
}

#[test]
fn entries_are_invoked_once_and_in_order() {
    let mut shard = Shard::with_alice();
    let call = invoke_of(payment(Alice, 0, UNIT));
    let calm = shard.try_block(|block| block.invoke(1, Some(&call))).1;
    let (outcomes, diff) = shard.block(|block| {
        assert_eq!(block.invoke(2, Some(&call)), Err(BlockError::Inbox { expected: 1, got: 2 }));
        assert_eq!(block.fail_invoke(0, &call, ""), Err(BlockError::Inbox { expected: 1, got: 0 }));
        let first = block.invoke(1, Some(&call));
        [first, block.invoke(1, Some(&call))]
    });
    assert_eq!(outcomes, [Ok(done()), Err(BlockError::Inbox { expected: 2, got: 1 })]);
    assert_eq!(diff, calm);
}

#[test]
fn an_indirect_call_is_never_executed_twice() {
    let mut shard = Shard::with_alice();
    assert_eq!(invoke(&mut shard, payment(Alice, 1, UNIT)), nonce_refused(0, 1));
    assert_eq!(invoke(&mut shard, payment(Alice, 0, UNIT)), done());
    assert_eq!(invoke(&mut shard, payment(Alice, 0, UNIT)), nonce_refused(1, 0));
    assert_eq!(invoke(&mut shard, payment(Alice, 1, UNIT)), done(), "what came too early can come again");
    assert_eq!(free_balance(&shard.state, &account(Bob)), 2 * UNIT);
}

#[test]
fn the_same_call_direct_and_indirect_is_executed_once() {
    let signed = payment(Alice, 0, UNIT);
    let (through_inbox, direct) = (invoke_of(signed.clone()), direct_of(signed));
    assert_ne!(through_inbox.hash(), direct.hash());
    let used = Refused::Nonce { expected: 1, got: 0 };
    let mut shard = Shard::with_alice();
    let outcomes = shard.block(|block| (block.call(&direct), block.invoke(1, Some(&through_inbox)))).0;
    assert_eq!(outcomes, (Ok(CallOutcome::Done), Ok(InvokeOutcome::Refused(used.clone()))));
    assert_eq!(free_balance(&shard.state, &account(Bob)), UNIT);
    let mut shard = Shard::with_alice();
    let outcomes = shard.block(|block| (block.invoke(1, Some(&through_inbox)), block.call(&direct))).0;
    assert_eq!(outcomes, (Ok(done()), Err(used)));
    assert_eq!(free_balance(&shard.state, &account(Bob)), UNIT);
}

#[test]
fn old_calls_of_an_emptied_account_stay_used() {
    let mut shard = Shard::with_alice();
    assert_eq!(invoke(&mut shard, payment(Alice, 0, 1_000 * UNIT)), done());
    assert!(!account_exists(&shard.state, &account(Alice)));
    assert_eq!(invoke(&mut shard, payment(Alice, 0, 1_000 * UNIT)), nonce_refused(1, 0));
    assert_eq!(invoke(&mut shard, payment(Alice, 1, UNIT)), InvokeOutcome::Refused(Refused::NoAccount));
    let next = direct_of(payment(Alice, 1, UNIT));
    assert_eq!(shard.block(|block| block.call(&next)).0, Err(Refused::NoAccount));
    assert_eq!(nonce(&shard.state, &account(Alice)), 1);

    shard.shield(Alice, 1_000 * UNIT);
    assert_eq!(invoke(&mut shard, payment(Alice, 0, 1_000 * UNIT)), nonce_refused(1, 0));
    let old = direct_of(payment(Alice, 0, 1_000 * UNIT));
    assert_eq!(shard.block(|block| block.call(&old)).0, Err(Refused::Nonce { expected: 1, got: 0 }));
    assert_eq!(shard.block(|block| block.call(&next)).0, Ok(CallOutcome::Done));
    assert_eq!(free_balance(&shard.state, &account(Alice)), 999 * UNIT - DIRECT_CALL_FEE);
}

#[test]
fn a_call_that_is_set_aside_only_uses_its_nonce() {
    const REASON: &str = "killed the enclave";
    let mut shard = Shard::with_alice();
    let (poison, next) = (invoke_of(payment(Alice, 0, UNIT)), invoke_of(payment(Alice, 1, UNIT)));
    let outcomes = shard.block(|block| {
        [block.fail_invoke(1, &poison, REASON), block.fail_invoke(2, &poison, REASON), block.invoke(3, Some(&next))]
    });
    assert_eq!(outcomes.0, [Ok(failed(REASON)), Ok(nonce_refused(1, 0)), Ok(done())]);
    assert_eq!(free_balance(&shard.state, &account(Bob)), UNIT);
}
