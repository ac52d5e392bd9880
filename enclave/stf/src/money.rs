//! Money that comes from layer one or goes there but by a call: shieldings, verdicts, exits.

use cloister_chain_primitives::{AccountId, Balance, OutboxKind, ShardMode, Verdict};
use frame_support::traits::{
    ReservableCurrency,
    fungible::Mutate,
    tokens::{Fortitude, Precision, Preservation},
};

use crate::{
    BlockError, BlockExecution, ShieldOutcome, dispatch,
    ledger::Pallet as Ledger,
    outbox,
    runtime::{Balances, Runtime, System},
};

impl BlockExecution<'_> {
    /// Closes entry `number` of the outbox, on which layer one is proven to have decided. What it refused is credited
    /// to who had asked for it.
    pub fn settle(&mut self, number: u64, verdict: Verdict) -> Result<(), BlockError> {
        if number >= self.outbox_from {
            return Err(BlockError::NotOpen { number });
        }
        self.attempt(|| {
            let entry = Ledger::<Runtime>::close(number).ok_or(BlockError::NotOpen { number })?;
            if let Some(account) = entry.keeps_alive() {
                System::dec_consumers(account);
            }
            match (verdict, &entry.refund_to) {
                (Verdict::Paid, _) => Ledger::<Runtime>::book(|books| &mut books.paid, entry.amount)?,
                (Verdict::Refused, Some(account)) => {
                    // The account exists or the amount opens it, so that nothing but an overflow can prevent it.
                    dispatch::credit(account, entry.amount).map_err(|_| BlockError::Overflow)?;
                    Ledger::<Runtime>::book(|books| &mut books.refunded, entry.amount)?;
                }
                (Verdict::Refused, None) => return Err(BlockError::NotRefusable { number }),
            }
            Ok(())
        })
    }

    /// Consumes inbox entry `number`, a shielding by `sender` on layer one. `beneficiary` is `None` where what the
    /// sender encrypted is no account. What cannot be credited, or comes to a shard that takes no money, goes back to
    /// the sender less the fee.
    pub fn shield(
        &mut self,
        number: u64,
        beneficiary: Option<AccountId>,
        amount: Balance,
        sender: &AccountId,
    ) -> Result<ShieldOutcome, BlockError> {
        self.expect_inbox(number)?;
        let beneficiary = beneficiary.filter(|_| self.mode == ShardMode::Open);
        let credited = beneficiary
            .is_some_and(|account| matches!(self.transact(|| dispatch::credit(&account, amount)), Ok(Ok(()))));
        let outcome = if credited { ShieldOutcome::Credited } else { ShieldOutcome::Returned };
        self.attempt(|| {
            Ledger::<Runtime>::consume_shield(amount, outcome)?;
            if outcome == ShieldOutcome::Returned {
                outbox::send(OutboxKind::Return, sender, amount)?;
            }
            Ok(())
        })?;
        self.note_opened();
        Ok(outcome)
    }

    /// Lets up to `limit` accounts leave a retired shard with all they have, and says how many did: in the order of
    /// their keys, as long as the outbox has room. An account waits while a refund to it may need it, or the program
    /// keeps it. From a shard that is not retired nobody leaves.
    pub fn exit(&mut self, limit: usize) -> Result<usize, BlockError> {
        if self.mode != ShardMode::Retired {
            return Ok(0);
        }
        let staying = self.staying();
        let left = self.attempt(|| {
            let limit = limit.min(usize::try_from(Ledger::<Runtime>::room()).unwrap_or(usize::MAX));
            let mut left = 0usize;
            // Those who left are gone, so that the first keys are always of those who stay; of them no more wait than
            // entries of the outbox are open, beside what the program keeps.
            let mut accounts = frame_system::Account::<Runtime>::iter_keys();
            while left < limit
                && let Some(account) = accounts.next()
            {
                if staying.contains(&account) {
                    continue;
                }
                Balances::unreserve(&account, Balances::reserved_balance(&account));
                if System::consumers(&account) == 0 {
                    leave(&account)?;
                    left = left.saturating_add(1);
                }
            }
            Ok(left)
        })?;
        self.note_opened();
        Ok(left)
    }
}

fn leave(account: &AccountId) -> Result<(), BlockError> {
    let amount = Balances::free_balance(account);
    Balances::burn_from(account, amount, Preservation::Expendable, Precision::Exact, Fortitude::Force)
        .map_err(|_| BlockError::Issuance)?;
    Ok(outbox::send(OutboxKind::Exit, account, amount)?)
}
