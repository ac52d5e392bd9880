//! Money is conserved to the planck, whatever happens in whatever order.

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, MIN_SHIELD, OutboxEntry, OutboxKind, OutflowLimit, ShardId, UNIT, Verdict,
    outbox::outbox_id,
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};
use sp_runtime::traits::Dispatchable;

use super::{balance, born, by_founder, outbox::anchor_open, signed};
use crate::{Error, Escrow, FlowsOf, Settled, Unclaimed, mock::*};

#[derive(Clone, Debug)]
enum Step {
    Shield(Balance),
    /// The shard owes money that it has or has not.
    Owe(OutboxKind, usize, Balance),
    /// What is owed is anchored, and so many more planck of fees. Whether what is settled is closed, too.
    Anchor {
        fees: Balance,
        closes: bool,
    },
    /// Anybody submits one of the entries that are open, or were once.
    Submit(prop::sample::Index),
    Confirm,
    Claim(usize),
    /// Root takes money out of the escrow.
    Drain(Balance),
    /// Somebody gives some.
    Give(Balance),
    Limit(Option<Balance>),
    Retire,
    Blocks(u32),
}

fn amount() -> impl Strategy<Value = Balance> {
    prop_oneof![
        1..EXISTENTIAL_DEPOSIT,
        EXISTENTIAL_DEPOSIT..MIN_SHIELD,
        MIN_SHIELD..20 * UNIT,
        select(vec![0, 1, EXISTENTIAL_DEPOSIT - 1, EXISTENTIAL_DEPOSIT, UNIT, 100 * UNIT]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let kind = select(vec![OutboxKind::Unshield, OutboxKind::Return, OutboxKind::Exit]);
    prop_oneof![
        4 => (MIN_SHIELD..20 * UNIT).prop_map(Step::Shield),
        6 => (kind, 0..4usize, amount()).prop_map(|(kind, who, amount)| Step::Owe(kind, who, amount)),
        4 => (0..UNIT / 100, any::<bool>()).prop_map(|(fees, closes)| Step::Anchor { fees, closes }),
        12 => any::<prop::sample::Index>().prop_map(Step::Submit),
        2 => Just(Step::Confirm),
        2 => (0..4usize).prop_map(Step::Claim),
        1 => amount().prop_map(Step::Drain),
        1 => (EXISTENTIAL_DEPOSIT..UNIT).prop_map(Step::Give),
        1 => prop::option::of(UNIT..10 * UNIT).prop_map(Step::Limit),
        1 => Just(Step::Retire),
        3 => (1..12u32).prop_map(Step::Blocks),
    ]
}

/// What the shard and everybody else did, as it must come out.
struct World {
    shard: ShardId,
    escrow: AccountId,
    /// Everything that was ever owed, by number.
    owed: Vec<OutboxEntry>,
    /// Entries that are open in the shard, and those that were anchored as open last.
    open: Vec<OutboxEntry>,
    anchored: Vec<OutboxEntry>,
    /// What layer one said.
    verdicts: BTreeMap<u64, Verdict>,
    closed: u64,
    fees: Balance,
    shielded: Balance,
    given: Balance,
    drained: Balance,
}

impl World {
    fn new() -> Self {
        let shard = born(birth());
        let escrow = EnclaveBridge::escrow_account(&shard);
        let (owed, open, anchored, verdicts) = Default::default();
        let (closed, fees, shielded, given, drained) = Default::default();
        Self { shard, escrow, owed, open, anchored, verdicts, closed, fees, shielded, given, drained }
    }

    /// One who sends, one who never exists of himself, one who gets nothing else, and the escrow itself.
    fn who(&self, index: usize) -> AccountId {
        [alice(), bob(), AccountId::new([4; 32]), self.escrow.clone()][index].clone()
    }

    fn take(&mut self, step: Step) {
        let shard = self.shard;
        match step {
            Step::Shield(amount) => {
                let taken = shield(shard, amount).dispatch(signed()).is_ok();
                self.shielded += if taken { amount } else { 0 };
            }
            Step::Owe(kind, who, amount) => {
                let number = self.owed.len() as u64;
                let id = outbox_id(&System::block_hash(0), &shard, 1, number);
                let entry = OutboxEntry { number, id, kind, beneficiary: self.who(who), amount };
                self.owed.push(entry.clone());
                self.open.push(entry);
            }
            Step::Anchor { fees, closes } => {
                if closes {
                    self.open.retain(|entry| !self.verdicts.contains_key(&entry.number));
                    self.closed = self.open.first().map_or(self.owed.len() as u64, |entry| entry.number);
                }
                self.fees += fees;
                self.anchored = self.open.clone();
                anchor_open(shard, &self.open);
                anchor(shard, |anchor| (anchor.outbox_closed, anchor.fees) = (self.closed, self.fees));
            }
            Step::Submit(index) if !self.anchored.is_empty() => {
                let place = index.index(self.anchored.len());
                let number = self.anchored[place].number;
                let before = self.verdicts.get(&number).copied();
                let done = unshield(shard, &self.anchored, place as u32).dispatch(signed());
                let error = before.map(|_| Error::<Test>::AlreadySettled.into());
                assert_eq!(done.err().map(|refused| refused.error), error);
                if let Some(verdict) = Settled::<Test>::get(shard, number) {
                    assert_eq!(*self.verdicts.entry(number).or_insert(verdict), verdict);
                }
            }
            Step::Submit(_) => {}
            Step::Confirm => drop(confirm(shard).dispatch(by_founder()).expect("the founder may")),
            Step::Claim(who) => _ = EnclaveBridge::claim(signed(), shard, self.who(who)),
            Step::Drain(amount) => {
                let before = balance(&self.escrow);
                let escrow = self.escrow.clone();
                _ = Balances::force_transfer(RuntimeOrigin::root(), escrow, founder(), amount);
                self.drained += before - balance(&self.escrow);
            }
            Step::Give(amount) => {
                let given = Balances::transfer_allow_death(signed(), self.escrow.clone(), amount).is_ok();
                self.given += if given { amount } else { 0 };
            }
            Step::Limit(amount) => {
                let limit = amount.map(|amount| OutflowLimit { amount, period: 7 });
                EnclaveBridge::set_outflow_limit(RuntimeOrigin::root(), shard, limit).expect("root may");
            }
            Step::Retire => _ = EnclaveBridge::retire_shard(RuntimeOrigin::root(), shard),
            Step::Blocks(count) => System::set_block_number(System::block_number() + count),
        }
    }

    fn check(&self) {
        let flows = FlowsOf::<Test>::get(self.shard);
        let escrow = Escrow::<Test>::get(self.shard);
        assert_eq!(flows.shielded, self.shielded);
        assert_eq!(escrow, flows.shielded - flows.paid - flows.repaid);
        assert!(flows.repaid <= self.fees);
        // Everything is paid once: what is settled as paid, and nothing else.
        let paid = |entry: &&OutboxEntry| self.verdicts.get(&entry.number) == Some(&Verdict::Paid);
        let of = |entries: &[&OutboxEntry]| entries.iter().map(|entry| entry.amount).sum::<Balance>();
        let all: Vec<_> = self.owed.iter().filter(paid).collect();
        assert_eq!(flows.paid, of(&all));
        for who in [bob(), self.who(2)] {
            let theirs: Vec<_> = all.iter().copied().filter(|entry| entry.beneficiary == who).collect();
            assert_eq!(balance(&who) + Unclaimed::<Test>::get(self.shard, &who), of(&theirs));
        }
        // The money is there, but for what root took.
        let unclaimed: Balance = Unclaimed::<Test>::iter_prefix_values(self.shard).sum();
        let there = balance(&self.escrow) + self.drained - self.given;
        assert_eq!(there, escrow + unclaimed + EXISTENTIAL_DEPOSIT);
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(512) })]

    #[test]
    fn money_is_conserved(steps in vec(step(), 0..120)) {
        run(|| {
            let mut world = World::new();
            world.check();
            for step in steps {
                world.take(step);
                world.check();
            }
        });
    }
}
