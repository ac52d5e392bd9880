//! Random blocks: no planck is made or lost, and every enclave comes to the same result.

mod shard;

use cloister_chain_primitives::{AccountId, Balance, EXISTENTIAL_DEPOSIT, OutboxKind, ShardMode, UNIT, Verdict};
use cloister_stf::{
    BlockExecution, CallOutcome, Finished, InvokeOutcome, Refused, Rules, ShieldOutcome, VerifiedCall, account_exists,
    books, inbox_status, nonce, outbox, total_issuance,
};
use cloister_wire::{TrustedCall, sidechain::Books};
use proptest::{collection::vec, prelude::*, sample::Index};
use shard::{Shard, indirect, sign, unshield, verified_by};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave};

const PEOPLE: [Sr25519Keyring; 4] = [Alice, Bob, Charlie, Dave];

#[derive(Clone, Debug)]
enum Step {
    Shield { to: Option<usize>, amount: Balance },
    Unreadable,
    Call { from: usize, what: What, road: Road },
    Settle { which: Index, verdict: Verdict },
    Exit { limit: usize },
}

#[derive(Clone, Debug)]
enum What {
    Noop,
    Transfer { to: usize, amount: Amount },
    Unshield { to: usize, amount: Amount },
    Set { to: usize, free: Balance, reserved: Balance },
}

/// Planck, or all that the sender had before the block but so much.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Planck(Balance),
    AllBut(Balance),
}

#[derive(Clone, Copy, Debug)]
enum Road {
    Direct,
    Inbox,
    SetAside,
}

fn planck() -> impl Strategy<Value = Balance> {
    prop_oneof![
        0..2 * EXISTENTIAL_DEPOSIT,
        0..10 * EXISTENTIAL_DEPOSIT,
        0..4 * UNIT,
        Just(EXISTENTIAL_DEPOSIT),
        Just(Balance::MAX >> 20)
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![planck().prop_map(Amount::Planck), (0..8 * EXISTENTIAL_DEPOSIT).prop_map(Amount::AllBut)]
}

fn what() -> impl Strategy<Value = What> {
    let who = || 0..PEOPLE.len();
    prop_oneof![
        1 => Just(What::Noop),
        4 => (who(), amount()).prop_map(|(to, amount)| What::Transfer { to, amount }),
        6 => (who(), amount()).prop_map(|(to, amount)| What::Unshield { to, amount }),
        1 => (who(), planck(), planck()).prop_map(|(to, free, reserved)| What::Set { to, free, reserved }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE.len();
    let road = prop_oneof![5 => Just(Road::Direct), 3 => Just(Road::Inbox), 1 => Just(Road::SetAside)];
    let verdict = prop_oneof![Just(Verdict::Paid), Just(Verdict::Refused)];
    prop_oneof![
        4 => (prop::option::weighted(0.8, who()), planck()).prop_map(|(to, amount)| Step::Shield { to, amount }),
        1 => Just(Step::Unreadable),
        9 => (who(), what(), road).prop_map(|(from, what, road)| Step::Call { from, what, road }),
        4 => (any::<Index>(), verdict).prop_map(|(which, verdict)| Step::Settle { which, verdict }),
        1 => (0..4usize).prop_map(|limit| Step::Exit { limit }),
    ]
}

fn mode() -> impl Strategy<Value = ShardMode> {
    prop_oneof![5 => Just(ShardMode::Open), 1 => Just(ShardMode::Maintenance), 1 => Just(ShardMode::Retired)]
}

/// What layer one and the clients know without asking the shard.
#[derive(Default)]
struct Outside {
    shielded: Balance,
    paid: Balance,
    refunded: Balance,
}

impl Outside {
    fn run(&mut self, shard: &mut Shard, steps: &[Step]) -> Finished {
        let rules = Rules { simulation_allowed: true, root: Some(Alice.to_account_id()), ..Rules::default() };
        let balances = PEOPLE.map(|who| shard.free(who));
        let mut nonces = PEOPLE.map(|who| nonce(&shard.state, &who.to_account_id()));
        let mut open = outbox(&shard.state);
        let (mode, first) = (shard.mode, shard.inbox);
        let (inbox, finished) = shard.block(|block| {
            let mut inbox = first;
            for step in steps {
                match step {
                    Step::Shield { to, amount } => {
                        let to = to.map(|to| PEOPLE[to].to_account_id());
                        let outcome = block.shield(inbox, to, *amount, &Bob.to_account_id()).unwrap();
                        assert!(outcome == ShieldOutcome::Returned || mode == ShardMode::Open);
                        self.shielded += amount;
                        inbox += 1;
                    }
                    Step::Unreadable => {
                        assert_eq!(block.invoke(inbox, None), Ok(InvokeOutcome::Unreadable));
                        inbox += 1;
                    }
                    Step::Call { from, what, road } => {
                        let call = call(*from, what, &balances);
                        let signed = sign(PEOPLE[*from], nonces[*from], call);
                        let verify = if matches!(road, Road::Direct) { verified_by } else { indirect };
                        let Ok(call) = verify(&rules, signed) else { continue };
                        inbox += u64::from(!matches!(road, Road::Direct));
                        if let Some(outcome) = attempt(block, &call, *road, inbox, mode) {
                            nonces[*from] += 1;
                            assert!(outcome != CallOutcome::Done || !matches!(road, Road::SetAside));
                        }
                    }
                    Step::Settle { which, verdict } if !open.is_empty() => {
                        let entry = open.swap_remove(which.index(open.len()));
                        let refundable = entry.kind == OutboxKind::Unshield;
                        let verdict = if refundable { *verdict } else { Verdict::Paid };
                        block.settle(entry.number, verdict).unwrap();
                        match verdict {
                            Verdict::Paid => self.paid += entry.amount,
                            Verdict::Refused => self.refunded += entry.amount,
                        }
                    }
                    Step::Settle { .. } => {}
                    Step::Exit { limit } => {
                        let left = block.exit(*limit).unwrap();
                        assert!(left <= *limit && (left == 0 || mode == ShardMode::Retired));
                    }
                }
            }
            inbox
        });
        shard.inbox = inbox;
        assert_eq!(PEOPLE.map(|who| nonce(&shard.state, &who.to_account_id())), nonces);
        finished
    }

    fn assert_conserved(&self, shard: &Shard) {
        let books = books(&shard.state);
        let Books { shielded, opened, paid, refunded, fees, minted, burnt, .. } = books;
        assert_eq!((shielded, paid, refunded), (self.shielded, self.paid, self.refunded));
        let open: Balance = outbox(&shard.state).iter().map(|entry| entry.amount).sum();
        assert_eq!(opened, open + paid + refunded);
        assert_eq!(shielded + minted, total_issuance(&shard.state) + open + paid + fees + burnt);
        assert_eq!(inbox_status(&shard.state).consumed, shard.inbox);
        shard.assert_sound();
        // A reference stands for each open entry that could not be credited otherwise, and for what is reserved.
        for who in PEOPLE.map(|who| who.to_account_id()) {
            let tiny = outbox(&shard.state)
                .iter()
                .filter(|entry| entry.refund_to.as_ref() == Some(&who) && entry.amount < EXISTENTIAL_DEPOSIT)
                .count();
            assert!(tiny == 0 || account_exists(&shard.state, &who));
            if let Some(info) = shard.account(&who) {
                assert_eq!(info.consumers as usize, tiny + usize::from(info.data.reserved > 0));
                assert!(info.data.free >= EXISTENTIAL_DEPOSIT);
            }
        }
    }
}

fn call(from: usize, what: &What, balances: &[Balance; 4]) -> TrustedCall {
    let amount_of = |amount: Amount| match amount {
        Amount::Planck(planck) => planck,
        Amount::AllBut(rest) => balances[from].saturating_sub(rest),
    };
    let (sender, account): (AccountId, fn(usize) -> AccountId) =
        (PEOPLE[from].to_account_id(), |who| PEOPLE[who].to_account_id());
    match *what {
        What::Noop => TrustedCall::Noop(sender),
        What::Transfer { to, amount } => TrustedCall::BalanceTransfer(sender, account(to), amount_of(amount)),
        What::Unshield { to, amount } => unshield(PEOPLE[from], &account(to), amount_of(amount)),
        What::Set { to, free, reserved } => TrustedCall::BalanceSetBalance(sender, account(to), free, reserved),
    }
}

/// What became of the call if it is part of the block. An entry of the inbox has the number before `inbox`.
fn attempt(
    block: &mut BlockExecution<'_>,
    call: &VerifiedCall,
    road: Road,
    inbox: u64,
    mode: ShardMode,
) -> Option<CallOutcome> {
    let outcome = match road {
        Road::Direct => block.call(call),
        Road::Inbox | Road::SetAside => {
            let invoked = if matches!(road, Road::Inbox) {
                block.invoke(inbox - 1, Some(call))
            } else {
                block.fail_invoke(inbox - 1, call, "killed the enclave")
            };
            match invoked.unwrap() {
                InvokeOutcome::Executed(outcome) => Ok(outcome),
                InvokeOutcome::Refused(refused) => Err(refused),
                InvokeOutcome::Unreadable => panic!("there is a call"),
            }
        }
    };
    match (outcome, mode) {
        (Ok(outcome), ShardMode::Open) => Some(outcome),
        (Ok(outcome), ShardMode::Maintenance) if matches!(call.call(), TrustedCall::BalanceUnshield(..)) => {
            Some(outcome)
        }
        (Err(Refused::NoAccount | Refused::CannotPayFee(_)), ShardMode::Open | ShardMode::Maintenance)
        | (Err(Refused::Maintenance), ShardMode::Maintenance)
        | (Err(Refused::Retired), ShardMode::Retired) => None,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn money_is_conserved(blocks in vec((mode(), vec(step(), 1..8)), 1..10)) {
        let run = || {
            let (mut shard, mut outside) = (Shard::new(), Outside::default());
            let finished: Vec<_> = blocks.iter().map(|(mode, steps)| {
                shard.mode = *mode;
                let finished = outside.run(&mut shard, steps);
                outside.assert_conserved(&shard);
                finished
            }).collect();
            (finished, shard.state.commitment())
        };
        prop_assert_eq!(run(), run());
    }
}
