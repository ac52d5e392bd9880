//! Layer one's inbox, and money as a whole.

mod shard;

use cloister_chain_primitives::{Balance, EXISTENTIAL_DEPOSIT, H256, UNIT};
use cloister_stf::{
    BlockError, CallOutcome, InvokeOutcome, Refused, ShieldOutcome, free_balance, genesis_storage, inbox_status,
    layer_one_head, metadata, nonce, set_aside, total_issuance,
};
use cloister_wire::InboxStatus;
use proptest::{collection::vec, prelude::*};
use shard::{Shard, transfer};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave};

#[test]
fn a_shielding_is_credited_or_set_aside() {
    let mut shard = Shard::new();
    let (alice, bob) = (Alice.to_account_id(), Bob.to_account_id());
    let outcomes = shard.block(|block| {
        [
            block.shield(0, Some(alice.clone()), UNIT, &bob),
            block.shield(1, Some(bob.clone()), EXISTENTIAL_DEPOSIT - 1, &bob),
            block.shield(2, None, UNIT, &bob),
            block.shield(3, Some(alice.clone()), Balance::MAX, &bob),
            block.shield(4, Some(alice.clone()), EXISTENTIAL_DEPOSIT - 1, &bob),
        ]
    });
    let [credited, aside] = [Ok(ShieldOutcome::Credited), Ok(ShieldOutcome::SetAside)];
    assert_eq!(outcomes.0, [credited.clone(), aside.clone(), aside.clone(), aside, credited]);
    assert_eq!(free_balance(&shard.state, &alice), UNIT + EXISTENTIAL_DEPOSIT - 1);
    assert_eq!(free_balance(&shard.state, &bob), 0);
    assert_eq!(set_aside(&shard.state, 0), None);
    assert_eq!(set_aside(&shard.state, 1), Some((bob.clone(), EXISTENTIAL_DEPOSIT - 1)));
    assert_eq!(set_aside(&shard.state, 2), Some((bob.clone(), UNIT)));
    assert_eq!(set_aside(&shard.state, 3), Some((bob, Balance::MAX)));
    assert_eq!(total_issuance(&shard.state), UNIT + EXISTENTIAL_DEPOSIT - 1);
    let expected = InboxStatus { consumed: 5, invokes: 0, shields_credited: 2, shields_set_aside: 3 };
    assert_eq!(inbox_status(&shard.state), expected);
    shard.assert_sound();
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
    let expected = InboxStatus { consumed: 2, invokes: 1, shields_credited: 1, shields_set_aside: 0 };
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

const PEOPLE: [Sr25519Keyring; 4] = [Alice, Bob, Charlie, Dave];

#[derive(Clone, Debug)]
enum Step {
    Shield { to: Option<usize>, amount: Balance },
    Invoke,
    Transfer { from: usize, to: usize, amount: Balance },
    Empty { from: usize, to: usize, leave: Balance },
}

fn amount() -> impl Strategy<Value = Balance> {
    prop_oneof![0..2 * EXISTENTIAL_DEPOSIT, 0..4 * UNIT, Just(EXISTENTIAL_DEPOSIT), Just(Balance::MAX)]
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE.len();
    prop_oneof![
        2 => (prop::option::weighted(0.9, who()), amount()).prop_map(|(to, amount)| Step::Shield { to, amount }),
        1 => Just(Step::Invoke),
        4 => (who(), who(), amount()).prop_map(|(from, to, amount)| Step::Transfer { from, to, amount }),
        2 => (who(), who(), 0..2 * EXISTENTIAL_DEPOSIT).prop_map(|(from, to, leave)| Step::Empty { from, to, leave }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Only credited shieldings move the issuance; balances and waiting dust always sum up to it; the commitment is
    /// always that of the entries.
    #[test]
    fn money_is_conserved(blocks in vec(vec(step(), 1..6), 1..8)) {
        let mut shard = Shard::new();
        let mut credited: Balance = 0;
        for steps in blocks {
            for step in steps {
                let mut before = total_issuance(&shard.state);
                match step {
                    Step::Shield { to, amount } => {
                        let number = shard.inbox;
                        let to = to.map(|to| PEOPLE[to].to_account_id());
                        let sender = Alice.to_account_id();
                        let outcome = shard.block(|block| block.shield(number, to, amount, &sender)).0.unwrap();
                        shard.inbox += 1;
                        match outcome {
                            ShieldOutcome::Credited => {
                                credited += amount;
                                before += amount;
                            }
                            ShieldOutcome::SetAside => {
                                prop_assert_eq!(set_aside(&shard.state, number), Some((sender, amount)));
                            }
                        }
                    }
                    Step::Invoke => {
                        let number = shard.inbox;
                        let outcome = shard.block(|block| block.invoke(number, None)).0;
                        prop_assert_eq!(outcome, Ok(InvokeOutcome::Unreadable));
                        shard.inbox += 1;
                    }
                    Step::Transfer { from, to, amount } => pay(&mut shard, from, to, amount),
                    Step::Empty { from, to, leave } => {
                        let free = free_balance(&shard.state, &PEOPLE[from].to_account_id());
                        pay(&mut shard, from, to, free.saturating_sub(leave));
                    }
                }
                prop_assert_eq!(total_issuance(&shard.state), before);
            }
            prop_assert_eq!(total_issuance(&shard.state), credited);
            prop_assert_eq!(inbox_status(&shard.state).consumed, shard.inbox);
            shard.assert_sound();
        }
    }
}

fn pay(shard: &mut Shard, from: usize, to: usize, amount: Balance) {
    let sender = PEOPLE[from].to_account_id();
    let before = nonce(&shard.state, &sender);
    let call = transfer(PEOPLE[from], before, &PEOPLE[to].to_account_id(), amount);
    let outcome = shard.block(|block| block.call(&call)).0;
    let included = matches!(outcome, Ok(CallOutcome::Done | CallOutcome::Failed(_)));
    assert_eq!(nonce(&shard.state, &sender), before + u32::from(included));
    assert!(included || outcome == Err(Refused::NoAccount), "{outcome:?}");
}
