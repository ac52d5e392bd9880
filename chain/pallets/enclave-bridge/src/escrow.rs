//! The money of shards, to the planck.

use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, Flows, H256, MIN_SHIELD, OutboxEntry, OutboxKind, Retirement, ShardId, Verdict,
    anchor::Anchors,
};
use frame_support::{
    dispatch::DispatchResult,
    ensure,
    storage::with_storage_layer,
    traits::{Get, fungible::Mutate, tokens::Preservation},
    weights::Weight,
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::{DispatchError, SaturatedConversion, TokenError, traits::Zero};

use crate::{Config, Error, Escrow, Event, FlowsOf, Pallet, Settled, Shards, SubmissionFee, Unclaimed, outflow::Room};

/// Indices of the pallet and the call, before a call's arguments.
const INDICES_BYTES: usize = 2;

impl<T: Config> Pallet<T> {
    /// The account that holds a shard's money. Nobody has its key; it is derived from the shard.
    pub fn escrow_account(shard: &ShardId) -> AccountId {
        shard.escrow_account(&Self::genesis())
    }

    /// Hash of block 0, which System never forgets.
    pub(crate) fn genesis() -> H256 {
        frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero())
    }

    pub(crate) fn height() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Moves what is shielded from its sender into the escrow.
    pub(crate) fn receive(shard: &ShardId, sender: &AccountId, amount: Balance) -> DispatchResult {
        let entry = Self::open_shard(shard)?;
        // What comes in now would have to leave at once.
        ensure!(entry.retirement.is_none(), Error::<T>::ShardRetired);
        ensure!(amount >= MIN_SHIELD, Error::<T>::BelowMinimumShield);
        ensure!(Self::outflow_limit(shard).is_none_or(|limit| amount <= limit.amount), Error::<T>::AboveOutflowLimit);
        let (escrow, flows) = (Escrow::<T>::get(shard), FlowsOf::<T>::get(shard));
        let escrow = escrow.checked_add(amount).ok_or(Error::<T>::EscrowCapExceeded)?;
        let shielded = flows.shielded.checked_add(amount).ok_or(Error::<T>::EscrowCapExceeded)?;
        // Every shard has one member until others can register.
        ensure!(entry.birth.escrow_cap.is_none_or(|cap| escrow <= cap), Error::<T>::EscrowCapExceeded);
        T::Currency::transfer(sender, &Self::escrow_account(shard), amount, Preservation::Expendable)?;
        Escrow::<T>::insert(shard, escrow);
        FlowsOf::<T>::insert(shard, Flows { shielded, ..flows });
        Self::count_flow(shard, 0, amount);
        Ok(())
    }

    /// Settles an entry that stands in a shard's outbox, unless it is too early. Answers with whether it is settled.
    pub(crate) fn settle(shard: &ShardId, retirement: Option<Retirement>, entry: OutboxEntry) -> bool {
        let OutboxEntry { number, id: call_hash, kind, beneficiary, amount } = entry;
        let shard = *shard;
        let verdict = match kind {
            OutboxKind::Unshield => Self::unshield(&shard, &beneficiary, amount),
            OutboxKind::Return => Self::give_back(&shard, &beneficiary, amount),
            OutboxKind::Exit => Self::exit(&shard, retirement, &beneficiary, amount),
        };
        Self::deposit_event(match verdict {
            None => Event::UnshieldDeferred { shard, call_hash },
            Some(Verdict::Paid) => Event::UnshieldedFunds { shard, beneficiary, amount, call_hash },
            Some(Verdict::Refused) => Event::UnshieldRefused { shard, call_hash },
        });
        if let Some(verdict) = verdict {
            Settled::<T>::insert(shard, number, verdict);
        }
        verdict.is_some()
    }

    fn unshield(shard: &ShardId, beneficiary: &AccountId, amount: Balance) -> Option<Verdict> {
        match Self::outflow_room(shard, amount) {
            Room::Never => return Some(Verdict::Refused),
            Room::Later => return None,
            Room::Now => {}
        }
        let escrow = Escrow::<T>::get(shard);
        if amount > escrow || Self::pay(shard, beneficiary, amount).is_err() {
            return Some(Verdict::Refused);
        }
        Self::book_paid(shard, escrow, amount);
        Self::count_flow(shard, amount, 0);
        Some(Verdict::Paid)
    }

    /// Over the limit it waits, if need be until root sets a higher one: it cannot be refused.
    fn give_back(shard: &ShardId, beneficiary: &AccountId, amount: Balance) -> Option<Verdict> {
        (Self::outflow_room(shard, amount) == Room::Now).then_some(())?;
        Self::pay_or_owe(shard, beneficiary, amount)?;
        Self::count_flow(shard, amount, 0);
        Some(Verdict::Paid)
    }

    fn exit(
        shard: &ShardId,
        retirement: Option<Retirement>,
        beneficiary: &AccountId,
        amount: Balance,
    ) -> Option<Verdict> {
        retirement.filter(|retirement| retirement.opens_at <= Self::height())?;
        // Before it is counted: what waits for money keeps nobody else from leaving.
        (amount <= Escrow::<T>::get(shard) && Self::count_exit(shard)).then_some(())?;
        Self::pay_or_owe(shard, beneficiary, amount)?;
        Some(Verdict::Paid)
    }

    /// Pays what cannot be refused, or owes it. `None` if more was never shielded into the shard than has left it: then
    /// the shard made money up, as simulation may, and it must not be owed out of what backs others'.
    fn pay_or_owe(shard: &ShardId, beneficiary: &AccountId, amount: Balance) -> Option<()> {
        let escrow = Escrow::<T>::get(shard);
        (amount <= escrow).then_some(())?;
        if Self::pay(shard, beneficiary, amount).is_err() {
            Unclaimed::<T>::mutate(shard, beneficiary, |owed| *owed = owed.saturating_add(amount));
            Self::deposit_event(Event::BookedUnclaimed { shard: *shard, account: beneficiary.clone(), amount });
        }
        Self::book_paid(shard, escrow, amount);
        Some(())
    }

    /// Pays what is owed to an account, and answers with how much that was.
    pub(crate) fn pay_unclaimed(shard: &ShardId, account: &AccountId) -> Result<Balance, DispatchError> {
        let amount = Unclaimed::<T>::take(shard, account);
        ensure!(!amount.is_zero(), Error::<T>::NothingUnclaimed);
        Self::pay(shard, account, amount)?;
        Ok(amount)
    }

    /// Repays the sender of a call what it costs to submit it alone, as far as the shard's anchored fees reach and as
    /// the sender can be paid. A call has this weight and so many bytes of arguments.
    ///
    /// Who is not the shard's founder is repaid only when the newest anchor is so old that the founder seems to be gone.
    /// Otherwise it would pay to copy the founder's calls out of a node's pool and land first.
    pub fn repay(shard: &ShardId, sender: &AccountId, weight: Weight, arguments: usize) {
        let Some(anchored) = T::Anchors::anchored(shard) else { return };
        let is_founder = Shards::<T>::get(shard).is_some_and(|entry| entry.birth.founder == *sender);
        if !is_founder && Self::height() < anchored.at.saturating_add(T::StrangersRepaidAfter::get()) {
            return;
        }
        let fees = anchored.anchor.fees;
        let (escrow, flows) = (Escrow::<T>::get(shard), FlowsOf::<T>::get(shard));
        let left = fees.saturating_sub(flows.repaid).min(escrow);
        let fee = T::SubmissionFee::fee(weight, arguments.saturating_add(INDICES_BYTES));
        let amount = left.min(fee);
        if amount.is_zero() || Self::pay(shard, sender, amount).is_err() {
            return;
        }
        Self::book_escrow(shard, escrow.saturating_sub(amount));
        FlowsOf::<T>::insert(shard, Flows { repaid: flows.repaid.saturating_add(amount), ..flows });
        Self::deposit_event(Event::FeeRepaid { shard: *shard, account: sender.clone(), amount });
    }

    /// Moves money out of an escrow's account, all of it or none. The account's existential deposit stays.
    fn pay(shard: &ShardId, beneficiary: &AccountId, amount: Balance) -> DispatchResult {
        let escrow = Self::escrow_account(shard);
        // A transfer to itself would succeed, and pay nobody.
        ensure!(escrow != *beneficiary, DispatchError::Token(TokenError::CannotCreate));
        with_storage_layer(|| T::Currency::transfer(&escrow, beneficiary, amount, Preservation::Preserve).map(|_| ()))
    }

    fn book_paid(shard: &ShardId, escrow: Balance, amount: Balance) {
        Self::book_escrow(shard, escrow.saturating_sub(amount));
        FlowsOf::<T>::mutate(shard, |flows| flows.paid = flows.paid.saturating_add(amount));
    }

    /// Nothing is stored of an empty escrow.
    fn book_escrow(shard: &ShardId, escrow: Balance) {
        Escrow::<T>::mutate_exists(shard, |booked| *booked = Some(escrow).filter(|escrow| !escrow.is_zero()));
    }
}
