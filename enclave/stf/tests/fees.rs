//! Who pays what.

mod shard;

use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, UNIT, UNSHIELD_FEE};
use cloister_stf::{
    CallOutcome, Execution, Fee, InvokeOutcome, Payments, Program, Refused, Rules, VerifiedCall, books, can_pay_fee,
};
use cloister_wire::TrustedCall;
use shard::{Shard, changes, indirect, sign, transfer, unshield, verified_by};
use sp_keyring::Sr25519Keyring::{Alice, Bob};

#[test]
fn calls_cost_what_the_table_says() {
    let (alice, bob) = (Alice.to_account_id(), Bob.to_account_id());
    let rules = Rules { simulation_allowed: true, root: Some(alice.clone()), ..Rules::default() };
    let table: [(TrustedCall, Balance, Balance); 4] = [
        (TrustedCall::Noop(alice.clone()), DIRECT_CALL_FEE, 0),
        (TrustedCall::BalanceTransfer(alice.clone(), bob.clone(), UNIT), DIRECT_CALL_FEE, 0),
        (unshield(Alice, &bob, UNIT), DIRECT_CALL_FEE + UNSHIELD_FEE, UNSHIELD_FEE),
        (TrustedCall::BalanceSetBalance(alice.clone(), bob, UNIT, 0), 0, 0),
    ];
    for (call, direct_fee, indirect_fee) in table {
        let direct = verified_by(&rules, sign(Alice, 0, call.clone())).unwrap();
        assert_eq!((direct.fee().direct(), direct.fee().indirect()), (direct_fee, indirect_fee));
        let mut shard = Shard::with_alice();
        assert_eq!(shard.call(&direct), Ok(CallOutcome::Done));
        assert_eq!(books(&shard.state).fees, direct_fee);
        shard.assert_sound();
        let mut shard = Shard::with_alice();
        let through_inbox = indirect(&rules, sign(Alice, 0, call)).unwrap();
        assert_eq!(shard.invoke(&through_inbox), InvokeOutcome::Executed(CallOutcome::Done));
        assert_eq!(books(&shard.state).fees, indirect_fee);
        shard.assert_sound();
    }
}

/// Alice's shard on which Bob has so much.
fn with_bob(planck: Balance) -> Shard {
    let mut shard = Shard::with_alice();
    let call = transfer(Alice, 0, &Bob.to_account_id(), planck);
    assert_eq!(shard.call(&call), Ok(CallOutcome::Done));
    shard
}

#[test]
fn who_cannot_pay_keeps_nonce_and_money() {
    let noop = || sign(Bob, 0, TrustedCall::Noop(Bob.to_account_id()));
    let out = || sign(Bob, 0, unshield(Bob, &Bob.to_account_id(), 1));
    let both = DIRECT_CALL_FEE + UNSHIELD_FEE;
    let rules = Rules::default();
    for (call, fee) in
        [(verified_by(&rules, noop()).unwrap(), DIRECT_CALL_FEE), (verified_by(&rules, out()).unwrap(), both)]
    {
        let poor = with_bob(fee + EXISTENTIAL_DEPOSIT - 1);
        assert!(!can_pay_fee(&poor.state, &call));
        let (outcome, finished) = poor.try_block(|block| block.call(&call));
        assert_eq!(outcome, Err(Refused::CannotPayFee(fee)));
        assert_eq!(changes(&finished.diff), poor.calm());
        let mut able = with_bob(fee + EXISTENTIAL_DEPOSIT);
        assert!(can_pay_fee(&able.state, &call));
        assert!(able.call(&call).is_ok());
        able.assert_sound();
    }
    // Through the inbox the unshielding costs its own fee alone, and nothing else costs anything.
    let out = indirect(&rules, out()).unwrap();
    let poor = with_bob(UNSHIELD_FEE + EXISTENTIAL_DEPOSIT - 1);
    let refused = poor.try_block(|block| block.invoke(1, Some(&out))).0;
    assert_eq!(refused, Ok(InvokeOutcome::Refused(Refused::CannotPayFee(UNSHIELD_FEE))));
    let reason = "sender cannot pay the fee of 3000000000 planck and keep the existential deposit";
    assert_eq!(Refused::CannotPayFee(UNSHIELD_FEE).to_string(), reason);
    let noop = indirect(&rules, noop()).unwrap();
    let mut poor = with_bob(EXISTENTIAL_DEPOSIT);
    assert_eq!(poor.invoke(&noop), InvokeOutcome::Executed(CallOutcome::Done));
}

#[test]
fn a_call_that_fails_has_paid() {
    let shard = Shard::with_alice();
    let out = || sign(Alice, 0, unshield(Alice, &Bob.to_account_id(), 1_000 * UNIT));
    let direct = verified_by(&Rules::default(), out()).unwrap();
    let failed = CallOutcome::Failed("insufficient balance".into());
    let (outcome, finished) = shard.try_block(|block| block.call(&direct));
    assert_eq!(outcome, Ok(failed.clone()));
    assert_eq!(changes(&finished.diff), shard.nonce_and_fee(&direct, DIRECT_CALL_FEE + UNSHIELD_FEE));

    let out = indirect(&Rules::default(), out()).unwrap();
    let consumed = changes(&shard.try_block(|block| block.set_aside_invoke(1)).1.diff);
    let mut expected = shard.nonce_and_fee(&out, UNSHIELD_FEE);
    expected.extend(consumed);
    let invoke = |call: &VerifiedCall| shard.try_block(|block| block.invoke(1, Some(call)));
    let fail = |call: &VerifiedCall| shard.try_block(|block| block.fail_invoke(1, call, "killed the enclave"));
    for ((outcome, finished), reason) in [(invoke(&out), "insufficient balance"), (fail(&out), "killed the enclave")] {
        assert_eq!(outcome, Ok(InvokeOutcome::Executed(CallOutcome::Failed(reason.into()))));
        assert_eq!(changes(&finished.diff), expected);
        assert_eq!(finished.opened, []);
    }
}

/// Pays as usual, and asks for more.
struct Greedy;

impl Program for Greedy {
    fn weight(&self, call: &TrustedCall) -> u64 {
        Payments.weight(call)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        Payments.execute(call, execution)
    }

    fn fee(&self, _: &TrustedCall) -> Fee {
        Fee { work: UNIT, layer_one: 2 * UNIT }
    }
}

#[test]
fn the_program_says_what_calls_cost() {
    let rules = Rules { program: &Greedy, ..Rules::default() };
    let signed = sign(Alice, 0, TrustedCall::Noop(Alice.to_account_id()));
    let mut shard = Shard::with_alice();
    shard.program = &Greedy;
    assert_eq!(shard.call(&verified_by(&rules, signed.clone()).unwrap()), Ok(CallOutcome::Done));
    assert_eq!(shard.free(Alice), 997 * UNIT);
    let mut shard = Shard::with_alice();
    shard.program = &Greedy;
    let through_inbox = indirect(&rules, signed).unwrap();
    assert_eq!(shard.invoke(&through_inbox), InvokeOutcome::Executed(CallOutcome::Done));
    assert_eq!(shard.free(Alice), 998 * UNIT);
}
