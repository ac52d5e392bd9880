//! Calls with a last block: for what they are signed, and in which blocks they may be.

mod shard;

use cloister_chain_primitives::{DIRECT_CALL_FEE, H256, UNIT};
use cloister_stf::{
    CallOutcome, InvokeOutcome, Refused, Rules, VerifiedCall, books, inbox_status, nonce, verify_bound,
};
use cloister_wire::{BoundCall, BoundCallSigned, ParentchainId, SignatureScope, TrustedCall, TrustedOperation};
use shard::{SCOPE, Shard, changes, sign, verified_by};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob};

const GENESIS: H256 = H256::repeat_byte(5);

fn pay() -> TrustedCall {
    TrustedCall::BalanceTransfer(Alice.to_account_id(), Bob.to_account_id(), UNIT)
}

fn bound(who: Sr25519Keyring, call: TrustedCall, nonce: u32, last_block: u64) -> BoundCallSigned {
    let bound = BoundCall { call, nonce, last_block };
    BoundCallSigned { signature: who.sign(&bound.signed_bytes(&GENESIS, &SCOPE)).into(), bound }
}

fn verified(signed: BoundCallSigned) -> Result<VerifiedCall, Refused> {
    let hash = TrustedOperation::BoundCall(signed.clone()).hash();
    verify_bound(hash, signed, &GENESIS, &SCOPE, &Rules::default())
}

fn until(last_block: u64, nonce: u32) -> VerifiedCall {
    verified(bound(Alice, pay(), nonce, last_block)).unwrap()
}

#[test]
fn signatures_are_for_one_chain_shard_code_call_nonce_and_last_block() {
    let good = bound(Alice, pay(), 3, 9);
    let call = verified(good.clone()).unwrap();
    assert_eq!((call.call(), call.nonce(), call.last_block()), (&pay(), 3, Some(9)));
    let published = verified_by(&Rules::default(), sign(Alice, 3, pay())).unwrap();
    assert_eq!((call.weight(), call.fee(), published.last_block()), (published.weight(), published.fee(), None));

    let altered = |alter: fn(&mut BoundCall)| {
        let mut altered = good.clone();
        alter(&mut altered.bound);
        altered
    };
    for altered in [
        altered(|bound| bound.last_block = 10),
        altered(|bound| bound.last_block = u64::MAX),
        altered(|bound| bound.nonce = 4),
        altered(|bound| bound.call = TrustedCall::Noop(Alice.to_account_id())),
        altered(|bound| bound.call = TrustedCall::BalanceTransfer(Bob.to_account_id(), Bob.to_account_id(), UNIT)),
        bound(Bob, pay(), 3, 9),
        // A signature of the published form.
        BoundCallSigned { signature: sign(Alice, 3, pay()).signature, ..good.clone() },
    ] {
        assert_eq!(verified(altered), Err(Refused::Signature));
    }
    for (genesis, scope) in [
        (H256::zero(), SCOPE),
        (GENESIS, SignatureScope { mrenclave: [0; 32], ..SCOPE }),
        (GENESIS, SignatureScope { shard: Default::default(), ..SCOPE }),
    ] {
        let elsewhere = verify_bound(H256::zero(), good.clone(), &genesis, &scope, &Rules::default());
        assert_eq!(elsewhere, Err(Refused::Signature));
    }
    // A wallet extension's wrapping is none of the forms' business.
    let wrapped = [b"<Bytes>", &good.bound.signed_bytes(&GENESIS, &SCOPE)[..], b"</Bytes>"].concat();
    assert!(verified(BoundCallSigned { signature: Alice.sign(&wrapped).into(), ..good }).is_ok());
}

#[test]
fn the_same_calls_are_refused_in_either_form() {
    let alice = Alice.to_account_id();
    for (call, refused) in [
        (TrustedCall::TimestampSet(alice.clone(), 1, ParentchainId::LayerOne), Refused::EnclaveOnly),
        (TrustedCall::BalanceSetBalance(alice.clone(), alice.clone(), 1, 0), Refused::SimulationForbidden),
        (TrustedCall::BalanceUnshield(alice.clone(), alice.clone(), 1, Default::default()), Refused::OtherShard),
    ] {
        assert_eq!(verified(bound(Alice, call.clone(), 0, 9)), Err(refused.clone()));
        assert_eq!(verified_by(&Rules::default(), sign(Alice, 0, call)), Err(refused));
    }
    let weight = until(9, 0).weight();
    let narrow = Rules { max_weight: weight - 1, ..Rules::default() };
    let refused = verify_bound(H256::zero(), bound(Alice, pay(), 0, 9), &GENESIS, &SCOPE, &narrow);
    assert_eq!(refused, Err(Refused::TooHeavy { weight, limit: weight - 1 }));
}

/// Alice's money came in block 1.
#[test]
fn a_call_may_be_in_its_last_block_and_in_no_later_one() {
    let mut shard = Shard::with_alice();
    assert_eq!(shard.call(&until(2, 0)), Ok(CallOutcome::Done), "block 2");
    let before = (shard.free(Alice), books(&shard.state).fees);
    let calm = shard.calm();
    let (outcome, finished) = shard.block(|block| block.call(&until(2, 1)));
    assert_eq!(outcome, Err(Refused::Expired { last_block: 2, block: 3 }));
    assert_eq!(changes(&finished.diff), calm, "no trace");
    assert_eq!((shard.free(Alice), books(&shard.state).fees), before);
    assert_eq!(nonce(&shard.state, &Alice.to_account_id()), 1);
    assert_eq!(shard.call(&until(u64::MAX, 1)), Ok(CallOutcome::Done), "its nonce was not used");
    assert_eq!(shard.call(&until(0, 2)), Err(Refused::Expired { last_block: 0, block: 5 }));
    // That it has expired, also one learns who has used the nonce.
    assert_eq!(shard.call(&until(5, 0)), Err(Refused::Expired { last_block: 5, block: 6 }));
    assert_eq!(shard.call(&until(7, 0)), Err(Refused::Nonce { expected: 2, got: 0 }));
    shard.assert_sound();
}

#[test]
fn an_entry_of_the_inbox_with_an_expired_call_is_consumed_and_leaves_nothing_else() {
    let mut shard = Shard::with_alice();
    assert_eq!(shard.invoke(&until(2, 0)), InvokeOutcome::Executed(CallOutcome::Done));
    let before = shard.free(Alice);
    for _ in 0..2 {
        let block = shard.blocks + 1;
        assert_eq!(shard.invoke(&until(2, 1)), InvokeOutcome::Refused(Refused::Expired { last_block: 2, block }));
    }
    assert_eq!((shard.free(Alice), nonce(&shard.state, &Alice.to_account_id())), (before, 1));
    assert_eq!(inbox_status(&shard.state).invokes, 3);
    // Nor does one that would fail without being tried.
    let number = shard.inbox;
    let set_aside = shard.block(|block| block.fail_invoke(number, &until(2, 1), "set aside")).0;
    assert_eq!(set_aside, Ok(InvokeOutcome::Refused(Refused::Expired { last_block: 2, block: 5 })));
    assert_eq!((shard.free(Alice), nonce(&shard.state, &Alice.to_account_id())), (before, 1));
    assert_eq!(before, 999 * UNIT, "who comes through layer one has paid for the work there");
    assert_eq!(shard.call(&until(6, 1)), Ok(CallOutcome::Done));
    assert_eq!(shard.free(Alice), 998 * UNIT - DIRECT_CALL_FEE);
    shard.assert_sound();
}
