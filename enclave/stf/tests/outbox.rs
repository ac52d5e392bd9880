//! Money's way out, and back if layer one refuses.

mod shard;

use cloister_chain_primitives::{
    AccountId, Balance, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, H256, OutboxKind, ShardId, UNIT, UNSHIELD_FEE, Verdict,
    outbox::{OutboxTree, outbox_id},
};
use cloister_stf::{
    BlockError, CallOutcome, Execution, InvokeOutcome, MAX_OPEN_OUTBOX, Owed, Payments, Program, Rules, ShieldOutcome,
    VerifiedCall, account_count, account_exists, books, get, nonce, outbox, total_issuance,
};
use cloister_wire::{TrustedCall, TrustedGetter};
use codec::Encode;
use frame_support::{Blake2_256, StorageHasher};
use shard::{Shard, changes, indirect, sign, transfer, unshield, verified_by};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Ferdie};

const BOTH_FEES: Balance = DIRECT_CALL_FEE + UNSHIELD_FEE;
const GENESIS: H256 = H256::repeat_byte(1);
const SHARD: ShardId = ShardId(H256::repeat_byte(2));

fn ferdie() -> AccountId {
    Ferdie.to_account_id()
}

fn failed(reason: &str) -> CallOutcome {
    CallOutcome::Failed(reason.into())
}

fn owed(number: u64, block: u64, amount: Balance, refund_to: Sr25519Keyring) -> Owed {
    let refund_to = Some(refund_to.to_account_id());
    Owed { number, block, kind: OutboxKind::Unshield, beneficiary: ferdie(), amount, refund_to }
}

/// Alice's shard, and her call with the next nonce that unshields to Ferdie.
fn out(shard: &Shard, amount: Balance) -> VerifiedCall {
    shard.sign_next(Alice, unshield(Alice, &ferdie(), amount))
}

/// Alice's shard with her unshielding of this amount, which is entry 0.
fn with_unshielding(amount: Balance) -> Shard {
    let mut shard = Shard::with_alice();
    let call = out(&shard, amount);
    assert_eq!(shard.call(&call), Ok(CallOutcome::Done));
    assert_eq!(outbox(&shard.state), [owed(0, 2, amount, Alice)]);
    shard
}

fn settle(shard: &mut Shard, number: u64, verdict: Verdict) -> Result<(), BlockError> {
    shard.block(|block| block.settle(number, verdict)).0
}

#[test]
fn an_unshielding_burns_the_amount_and_opens_an_entry() {
    let mut shard = Shard::with_alice();
    let (direct, next) = (out(&shard, 100 * UNIT), sign(Alice, 1, unshield(Alice, &ferdie(), 7)));
    let next = indirect(&Rules::default(), next).unwrap();
    let (outcomes, finished) = shard.block(|block| {
        let direct = block.call(&direct);
        assert_eq!(block.opened(), [owed(0, 2, 100 * UNIT, Alice)]);
        (direct, block.invoke(1, Some(&next)))
    });
    assert_eq!(outcomes, (Ok(CallOutcome::Done), Ok(InvokeOutcome::Executed(CallOutcome::Done))));
    let entries = [owed(0, 2, 100 * UNIT, Alice), owed(1, 2, 7, Alice)];
    assert_eq!(finished.opened, entries);
    assert_eq!(outbox(&shard.state), entries);
    let left = 900 * UNIT - 7 - BOTH_FEES - UNSHIELD_FEE;
    assert_eq!((shard.free(Alice), total_issuance(&shard.state)), (left, left));
    let books = books(&shard.state);
    assert_eq!((books.opened, books.fees), (100 * UNIT + 7, BOTH_FEES + UNSHIELD_FEE));
    assert_eq!((books.outbox_next, books.outbox_closed), (2, 0));
    shard.assert_sound();
    let later = shard.block(|_| ()).1;
    assert_eq!(later.opened, [], "each entry is told once");
}

#[test]
fn everything_can_leave() {
    let mut shard = Shard::with_alice();
    let everything = out(&shard, 1_000 * UNIT - BOTH_FEES);
    assert_eq!(shard.call(&everything), Ok(CallOutcome::Done));
    assert_eq!((account_count(&shard.state), total_issuance(&shard.state)), (0, 0));
    shard.assert_sound();
    // What is left below the existential deposit is a fee, as with a transfer.
    let mut shard = Shard::with_alice();
    let dust = EXISTENTIAL_DEPOSIT - 1;
    let nearly = out(&shard, 1_000 * UNIT - BOTH_FEES - dust);
    assert_eq!(shard.call(&nearly), Ok(CallOutcome::Done));
    assert_eq!((account_count(&shard.state), books(&shard.state).fees), (0, BOTH_FEES + dust));
    shard.assert_sound();
}

#[test]
fn what_cannot_leave_leaves_nonce_and_fee() {
    let mut shard = Shard::with_alice();
    let rest = 1_000 * UNIT - BOTH_FEES;
    for (amount, reason) in [
        (0, "nothing to unshield"),
        (rest + 1, "insufficient balance"),
        (1_001 * UNIT, "insufficient balance"),
        (Balance::MAX, "insufficient balance"),
    ] {
        let call = out(&shard, amount);
        let (outcome, finished) = shard.try_block(|block| block.call(&call));
        assert_eq!(outcome, Ok(failed(reason)));
        assert_eq!(changes(&finished.diff), shard.nonce_and_fee(&call, BOTH_FEES));
        assert_eq!(finished.opened, []);
    }
    // The number of an entry that was not opened is given to the next one.
    let (nothing, something) = (out(&shard, 0), sign(Alice, 1, unshield(Alice, &ferdie(), UNIT)));
    let something = verified_by(&Rules::default(), something).unwrap();
    let finished = shard.block(|block| [block.call(&nothing), block.call(&something)]).1;
    assert_eq!(finished.opened, [owed(0, 2, UNIT, Alice)]);
    shard.assert_sound();
}

/// Unshields, and comes to a bad end.
struct Spoilt(fn() -> Result<(), String>);

impl Program for Spoilt {
    fn weight(&self, call: &TrustedCall) -> u64 {
        Payments.weight(call)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        Payments.execute(call, execution)?;
        (self.0)()
    }
}

#[test]
fn an_entry_goes_with_the_call_that_opened_it() {
    let ends: [(&'static Spoilt, &str); 3] = [
        (&Spoilt(|| Err("thought again".into())), "thought again"),
        (&Spoilt(|| panic!("a pallet's mistake")), "panicked"),
        (
            &Spoilt(|| {
                loop {
                    frame_support::storage::unhashed::exists(b"nothing");
                }
            }),
            "exceeded its share: more than 10000 storage reads",
        ),
    ];
    for amount in [UNIT, 1] {
        for (program, reason) in ends {
            let mut shard = Shard::with_alice();
            let call = out(&shard, amount);
            let expected = shard.nonce_and_fee(&call, BOTH_FEES);
            shard.program = program;
            let (outcome, finished) = shard.block(|block| block.call(&call));
            assert_eq!(outcome, Ok(failed(reason)));
            assert_eq!(changes(&finished.diff), expected);
            assert_eq!(finished.opened, []);
            shard.program = &Payments;
            let call = out(&shard, amount);
            assert_eq!(shard.block(|block| block.call(&call)).1.opened, [owed(0, 3, amount, Alice)]);
            shard.assert_sound();
        }
    }
}

#[test]
fn what_layer_one_paid_is_closed() {
    let mut shard = with_unshielding(UNIT);
    let before = shard.free(Alice);
    assert_eq!(settle(&mut shard, 0, Verdict::Paid), Ok(()));
    assert_eq!((shard.free(Alice), outbox(&shard.state)), (before, vec![]));
    let books = books(&shard.state);
    assert_eq!((books.paid, books.refunded, books.outbox_closed, books.open()), (UNIT, 0, 1, Some(0)));
    shard.assert_sound();
}

#[test]
fn what_layer_one_refused_is_credited_again_and_the_fee_is_kept() {
    let mut shard = with_unshielding(UNIT);
    let (before, call) = (shard.free(Alice), sign(Alice, 1, unshield(Alice, &ferdie(), 2)));
    let call = verified_by(&Rules::default(), call).unwrap();
    let finished = shard.block(|block| {
        assert_eq!(block.settle(0, Verdict::Refused), Ok(()));
        assert_eq!(block.call(&call), Ok(CallOutcome::Done));
    });
    assert_eq!(finished.1.opened, [owed(1, 3, 2, Alice)], "what is closed is not opened");
    assert_eq!(shard.free(Alice), before + UNIT - 2 - BOTH_FEES);
    let books = books(&shard.state);
    assert_eq!((books.paid, books.refunded, books.fees, books.outbox_closed), (0, UNIT, 2 * BOTH_FEES, 1));
    shard.assert_sound();
}

#[test]
fn a_refund_finds_an_account_that_is_gone() {
    let amount = 1_000 * UNIT - BOTH_FEES;
    let mut shard = with_unshielding(amount);
    assert!(!account_exists(&shard.state, &Alice.to_account_id()));
    assert_eq!(settle(&mut shard, 0, Verdict::Refused), Ok(()));
    assert_eq!((shard.free(Alice), account_count(&shard.state)), (amount, 1));
    assert_eq!(nonce(&shard.state, &Alice.to_account_id()), 1);
    shard.assert_sound();
}

#[test]
fn less_than_the_existential_deposit_keeps_its_account_alive() {
    let tiny = EXISTENTIAL_DEPOSIT - 1;
    for verdict in [Verdict::Paid, Verdict::Refused] {
        let mut shard = Shard::with_alice();
        let rest = 1_000 * UNIT - BOTH_FEES;
        let reaping = out(&shard, tiny);
        assert_eq!(shard.try_block(|block| block.call(&reaping)).0, Ok(CallOutcome::Done));
        // Two of them: each holds its own reference.
        for _ in 0..2 {
            let call = out(&shard, tiny);
            assert_eq!(shard.call(&call), Ok(CallOutcome::Done));
        }
        let rest = rest - 2 * tiny - BOTH_FEES;
        assert_eq!(shard.free(Alice), rest);
        let assert_locked = |shard: &mut Shard| {
            let rest = shard.free(Alice);
            let to_bob = |amount| TrustedCall::BalanceTransfer(Alice.to_account_id(), Bob.to_account_id(), amount);
            let pay = shard.sign_next(Alice, to_bob(rest - DIRECT_CALL_FEE));
            assert_eq!(shard.try_block(|block| block.call(&pay)).0, Ok(failed("the balance is locked")));
            let leave = out(shard, rest - BOTH_FEES);
            assert_eq!(shard.try_block(|block| block.call(&leave)).0, Ok(failed("insufficient balance")));
            let rules = Rules { simulation_allowed: true, root: Some(Bob.to_account_id()), ..Rules::default() };
            let clear = TrustedCall::BalanceSetBalance(Bob.to_account_id(), Alice.to_account_id(), 0, 0);
            let clear = verified_by(&rules, sign(Bob, 0, clear)).unwrap();
            assert_eq!(shard.try_block(|block| block.call(&clear)).0, Ok(failed("the account cannot be emptied")));
            // All but the existential deposit can go.
            let pay = shard.sign_next(Alice, to_bob(rest - DIRECT_CALL_FEE - EXISTENTIAL_DEPOSIT));
            assert_eq!(shard.try_block(|block| block.call(&pay)).0, Ok(CallOutcome::Done));
        };
        assert_locked(&mut shard);
        assert_eq!(settle(&mut shard, 1, verdict), Ok(()));
        assert_locked(&mut shard);
        assert_eq!(settle(&mut shard, 0, verdict), Ok(()));
        let expected = rest + if verdict == Verdict::Refused { 2 * tiny } else { 0 };
        assert_eq!(shard.free(Alice), expected);
        let everything = shard.sign_next(
            Alice,
            TrustedCall::BalanceTransfer(Alice.to_account_id(), Bob.to_account_id(), expected - DIRECT_CALL_FEE),
        );
        assert_eq!(shard.call(&everything), Ok(CallOutcome::Done));
        assert!(!account_exists(&shard.state, &Alice.to_account_id()));
        shard.assert_sound();
    }
}

#[test]
fn less_than_the_existential_deposit_cannot_be_all() {
    let mut shard = Shard::with_alice();
    // Bob can pay the fees and keep the existential deposit, and has one planck more.
    let pay = transfer(Alice, 0, &Bob.to_account_id(), BOTH_FEES + EXISTENTIAL_DEPOSIT + 1);
    assert_eq!(shard.call(&pay), Ok(CallOutcome::Done));
    for (amount, outcome) in [(2, failed("insufficient balance")), (1, CallOutcome::Done)] {
        let call = shard.sign_next(Bob, unshield(Bob, &ferdie(), amount));
        assert_eq!(shard.try_block(|block| block.call(&call)).0, Ok(outcome));
    }
    let call = shard.sign_next(Bob, unshield(Bob, &ferdie(), EXISTENTIAL_DEPOSIT + 1));
    assert_eq!(shard.call(&call), Ok(CallOutcome::Done), "the whole is another matter");
    assert!(!account_exists(&shard.state, &Bob.to_account_id()));
    shard.assert_sound();
}

#[test]
fn the_existential_deposit_needs_no_reference() {
    for (amount, references) in [(EXISTENTIAL_DEPOSIT - 1, 1), (EXISTENTIAL_DEPOSIT, 0)] {
        let mut shard = with_unshielding(amount);
        assert_eq!(shard.account(&Alice.to_account_id()).unwrap().consumers, references);
        assert_eq!(settle(&mut shard, 0, Verdict::Refused), Ok(()));
        assert_eq!(shard.account(&Alice.to_account_id()).unwrap().consumers, 0);
        shard.assert_sound();
    }
}

#[test]
fn an_entry_is_settled_once_and_not_by_the_block_that_opens_it() {
    let mut shard = with_unshielding(UNIT);
    let next = out(&shard, UNIT);
    let not_open = |number| Err(BlockError::NotOpen { number });
    for verdict in [Verdict::Paid, Verdict::Refused] {
        let outcomes = shard.try_block(|block| {
            assert_eq!(block.call(&next), Ok(CallOutcome::Done));
            [1, 2, u64::MAX, 0, 0].map(|number| block.settle(number, verdict))
        });
        assert_eq!(outcomes.0, [not_open(1), not_open(2), not_open(u64::MAX), Ok(()), not_open(0)]);
    }
    assert_eq!(settle(&mut shard, 0, Verdict::Paid), Ok(()));
    assert_eq!(settle(&mut shard, 0, Verdict::Refused), not_open(0));
    assert_eq!(BlockError::NotOpen { number: 3 }.to_string(), "entry 3 of the outbox is not open");
    shard.assert_sound();
}

#[test]
fn a_returned_shielding_cannot_be_refused() {
    let mut shard = Shard::new();
    shard.give_back(1);
    let refused = shard.try_block(|block| block.settle(0, Verdict::Refused)).0;
    assert_eq!(refused, Err(BlockError::NotRefusable { number: 0 }));
    assert_eq!(BlockError::NotRefusable { number: 0 }.to_string(), "entry 0 of the outbox cannot be refused");
    assert_eq!(outbox(&shard.state).len(), 1);
    assert_eq!(settle(&mut shard, 0, Verdict::Paid), Ok(()));
    assert_eq!(total_issuance(&shard.state), 0);
    shard.assert_sound();
}

#[test]
fn closed_is_what_lies_below_the_lowest_open_entry() {
    let mut shard = Shard::new();
    shard.give_back(6);
    for (number, closed) in [(2, 0), (1, 0), (5, 0), (0, 3), (4, 3), (3, 6)] {
        assert_eq!(settle(&mut shard, number, Verdict::Paid), Ok(()));
        assert_eq!(books(&shard.state).outbox_closed, closed);
        shard.assert_sound();
    }
    // The same in one block, and with entries opened meanwhile.
    shard.give_back(3);
    let inbox = shard.inbox;
    shard.block(|block| {
        for number in [8, 7, 6] {
            block.settle(number, Verdict::Paid).unwrap();
        }
        block.shield(inbox, None, UNIT, &ferdie()).unwrap();
    });
    let books = books(&shard.state);
    assert_eq!((books.outbox_closed, books.outbox_next), (9, 10));
    shard.assert_sound();
}

#[test]
fn a_full_outbox_takes_no_unshieldings() {
    let mut shard = Shard::with_alice();
    let call = |nonce| {
        let signed = sign(Alice, nonce, unshield(Alice, &ferdie(), UNIT / 100));
        verified_by(&Rules::default(), signed).unwrap()
    };
    let calls: Vec<_> = (0..MAX_OPEN_OUTBOX - 1).map(call).collect();
    shard.block(|block| calls.iter().for_each(|call| assert_eq!(block.call(call), Ok(CallOutcome::Done))));
    // Shieldings that layer one gets back take no room.
    shard.give_back(10);
    let last = out(&shard, UNIT);
    assert_eq!(shard.call(&last), Ok(CallOutcome::Done));
    let one_more = out(&shard, UNIT);
    let (outcome, finished) = shard.try_block(|block| block.call(&one_more));
    assert_eq!(outcome, Ok(failed("the outbox is full")));
    assert_eq!(changes(&finished.diff), shard.nonce_and_fee(&one_more, BOTH_FEES));
    shard.give_back(2);
    assert_eq!(outbox(&shard.state).len(), MAX_OPEN_OUTBOX as usize + 12);
    let returned = u64::from(MAX_OPEN_OUTBOX);
    for (number, expected) in [(returned, failed("the outbox is full")), (7, CallOutcome::Done)] {
        assert_eq!(settle(&mut shard, number, Verdict::Paid), Ok(()));
        assert_eq!(shard.try_block(|block| block.call(&one_more)).0, Ok(expected));
    }
    shard.assert_sound();
}

#[test]
fn only_its_owner_can_ask_for_an_unshielding() {
    let mut shard = with_unshielding(UNIT);
    shard.give_back(1);
    let ask = |shard: &Shard, who: Sr25519Keyring, number| {
        get(&shard.state, &TrustedGetter::Unshielding(who.to_account_id(), number))
    };
    assert_eq!(ask(&shard, Alice, 0), Some((ferdie(), UNIT).encode()));
    assert_eq!(
        [ask(&shard, Ferdie, 0), ask(&shard, Alice, 1), ask(&shard, Ferdie, 1), ask(&shard, Alice, 2)],
        [None, None, None, None]
    );
    assert_eq!(settle(&mut shard, 0, Verdict::Paid), Ok(()));
    assert_eq!(ask(&shard, Alice, 0), None);
}

/// Whoever guesses who unshielded has nothing to compare the guess with: id, entry and root are always the same.
#[test]
fn an_entry_tells_nothing_about_who_asked_for_it() {
    let mut seen = None;
    let people: Vec<Sr25519Keyring> = Sr25519Keyring::iter().collect();
    assert!(people.len() > 10);
    for who in people {
        let mut shard = Shard::new();
        shard.shield(who, 1_000 * UNIT);
        let call = shard.sign_next(who, unshield(who, &ferdie(), UNIT));
        let finished = shard.block(|block| block.call(&call)).1;
        let [owed] = finished.opened.try_into().unwrap();
        assert_eq!(owed.refund_to, Some(who.to_account_id()));
        let entry = owed.entry(&GENESIS, &SHARD);
        assert_eq!(entry.id, outbox_id(&GENESIS, &SHARD, 2, 0));
        let root = OutboxTree::new(&GENESIS, &SHARD, vec![entry.clone()]).root();
        assert_eq!(*seen.get_or_insert((entry.encode(), root)), (entry.encode(), root));
        // Nor does anything else that everybody sees of the block.
        assert_eq!(finished.books.outbox_next, 1);
    }
    // Nor for any other account that could be guessed.
    for guess in 0..1_000u64 {
        let refund_to = Some(AccountId::new(Blake2_256::hash(&guess.to_le_bytes())));
        let guessed = Owed { refund_to, ..owed(0, 2, UNIT, Alice) }.entry(&GENESIS, &SHARD);
        let root = OutboxTree::new(&GENESIS, &SHARD, vec![guessed.clone()]).root();
        assert_eq!(seen, Some((guessed.encode(), root)));
    }
}

#[test]
fn ids_differ_by_block_number_shard_and_chain() {
    let entry = owed(3, 5, UNIT, Alice);
    let id = entry.entry(&GENESIS, &SHARD).id;
    for other in [Owed { number: 4, ..entry.clone() }, Owed { block: 6, ..entry.clone() }] {
        assert_ne!(other.entry(&GENESIS, &SHARD).id, id);
    }
    assert_ne!(entry.entry(&H256::zero(), &SHARD).id, id);
    assert_ne!(entry.entry(&GENESIS, &ShardId::default()).id, id);
    let same = Owed { amount: 1, kind: OutboxKind::Exit, beneficiary: Alice.to_account_id(), refund_to: None, ..entry };
    assert_eq!(same.entry(&GENESIS, &SHARD).id, id);
}

/// Two identical unshieldings are two entries.
#[test]
fn the_same_amount_to_the_same_account_twice() {
    let mut shard = Shard::with_alice();
    let calls = [0, 1].map(|nonce| sign(Alice, nonce, unshield(Alice, &ferdie(), UNIT)));
    let calls = calls.map(|call| verified_by(&Rules::default(), call).unwrap());
    let (outcomes, finished) = shard.block(|block| calls.each_ref().map(|call| block.call(call)));
    assert_eq!(outcomes, [Ok(CallOutcome::Done), Ok(CallOutcome::Done)]);
    assert_eq!(finished.opened, [owed(0, 2, UNIT, Alice), owed(1, 2, UNIT, Alice)]);
    let [one, other] = [0, 1].map(|which: usize| finished.opened[which].entry(&GENESIS, &SHARD).id);
    assert_ne!(one, other);
    assert_eq!(settle(&mut shard, 0, Verdict::Refused), Ok(()));
    assert_eq!(outbox(&shard.state), [owed(1, 2, UNIT, Alice)]);
    shard.assert_sound();
}

impl Shard {
    /// Opens entries for shieldings by Ferdie that nobody can be credited with, in a block of their own.
    fn give_back(&mut self, entries: usize) {
        let first = self.inbox;
        self.inbox += entries as u64;
        let last = self.inbox;
        self.block(|block| {
            for number in first..last {
                assert_eq!(block.shield(number, None, UNIT, &ferdie()), Ok(ShieldOutcome::Returned));
            }
        });
    }
}
