//! What the shard owes on layer one.

use cloister_chain_primitives::{
    AccountId, Balance, EXISTENTIAL_DEPOSIT, H256, OutboxEntry, OutboxKind, ShardId, UNSHIELD_FEE, outbox::outbox_id,
};
use codec::{Decode, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{
    ledger::{Overflow, Pallet as Ledger},
    runtime::{Runtime, System},
};

/// Most entries of the outbox that may be open for unshieldings and exits to be taken; they wait or fail at this many.
/// Returned shieldings, which layer one sends, are always taken.
pub const MAX_OPEN_OUTBOX: u32 = 4_096;

/// An open entry of the outbox, as the state holds it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Owed {
    /// Its place in the queue, from 0 without gaps.
    pub number: u64,
    /// Height of the block that opened it.
    pub block: u64,
    /// Why.
    pub kind: OutboxKind,
    /// Who is paid on layer one.
    pub beneficiary: AccountId,
    /// Planck.
    pub amount: Balance,
    /// The account of the shard that is credited if layer one refuses. Only an unshielding has one; it never leaves the
    /// enclave.
    pub refund_to: Option<AccountId>,
}

impl Owed {
    /// What layer one and everybody sees of it.
    pub fn entry(&self, genesis: &H256, shard: &ShardId) -> OutboxEntry {
        let Self { number, block, kind, ref beneficiary, amount, refund_to: _ } = *self;
        let id = outbox_id(genesis, shard, block, number);
        OutboxEntry { number, id, kind, beneficiary: beneficiary.clone(), amount }
    }

    /// Whether it holds a reference on the account to refund: less than the existential deposit could not be credited
    /// to an account that was reaped meanwhile.
    pub(crate) fn keeps_alive(&self) -> Option<&AccountId> {
        self.refund_to.as_ref().filter(|_| self.amount < EXISTENTIAL_DEPOSIT)
    }
}

/// Opens an unshielding whose amount has left the issuance. Inside externalities, as all below.
pub(crate) fn unshield(from: &AccountId, beneficiary: &AccountId, amount: Balance) -> Result<(), Overflow> {
    open(OutboxKind::Unshield, beneficiary, amount, Some(from.clone()))
}

/// Opens an entry by which an amount that is not part of the issuance goes to an account on layer one: less the fee, if
/// what is left can stand as an account's balance there.
pub(crate) fn send(kind: OutboxKind, beneficiary: &AccountId, amount: Balance) -> Result<(), Overflow> {
    let without_fee = amount.checked_sub(UNSHIELD_FEE).filter(|rest| *rest >= EXISTENTIAL_DEPOSIT);
    if without_fee.is_some() {
        Ledger::<Runtime>::book(|books| &mut books.fees, UNSHIELD_FEE)?;
    }
    open(kind, beneficiary, without_fee.unwrap_or(amount), None)
}

fn open(
    kind: OutboxKind,
    beneficiary: &AccountId,
    amount: Balance,
    refund_to: Option<AccountId>,
) -> Result<(), Overflow> {
    let beneficiary = beneficiary.clone();
    Ledger::<Runtime>::open(Owed { number: 0, block: System::block_number(), kind, beneficiary, amount, refund_to })
}
