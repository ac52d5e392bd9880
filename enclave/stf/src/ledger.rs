//! The shard's books beside the balances: what moved since its birth, nonces, the inbox, the outbox, layer one's head.
//!
//! A FRAME pallet without calls: only the enclave writes here.

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Nonce, OutboxKind};
use cloister_wire::{InboxStatus, sidechain};
use frame_support::traits::{OnKilledAccount, OnNewAccount};
pub use pallet::*;

use crate::{Owed, ShieldOutcome};

#[allow(missing_docs, clippy::expect_used, reason = "of what FRAME's macro generates")]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use frame_support::pallet_prelude::*;

    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId = AccountId> {}

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// The next nonce of every account that ever called. Never reaped: an account that was emptied and filled again
    /// must not accept its old calls a second time.
    #[pallet::storage]
    pub type Nonces<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Nonce, ValueQuery>;

    /// What was consumed of layer one's inbox.
    #[pallet::storage]
    pub type Inbox<T: Config> = StorageValue<_, Consumed, ValueQuery>;

    /// What moved since the shard's birth.
    #[pallet::storage]
    pub type Books<T: Config> = StorageValue<_, Totals, ValueQuery>;

    /// Open entries of the outbox. Keys are numbers, big endian and without a hash: the order of keys is theirs.
    #[pallet::storage]
    pub type Outbox<T: Config> = CountedStorageMap<_, Identity, [u8; 8], Owed>;

    /// How many of them are returned shieldings.
    #[pallet::storage]
    pub type Returns<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// How many accounts exist.
    #[pallet::storage]
    pub type Accounts<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// The newest finalized layer-one block that the author of the last block saw.
    #[pallet::storage]
    pub type LayerOne<T: Config> = StorageValue<_, (BlockNumber, H256), ValueQuery>;

    /// Counters of the inbox; [`InboxStatus`] as storage needs it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
    pub struct Consumed {
        /// Entries, which is the number of the next one.
        pub entries: u64,
        /// Of those, calls.
        pub invokes: u64,
        /// Of those, shieldings that were credited.
        pub shields_credited: u64,
        /// Of those, shieldings that go back to who paid them.
        pub shields_returned: u64,
    }

    /// [`sidechain::Books`] as storage needs them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
    pub struct Totals {
        /// Shieldings consumed.
        pub shielded: Balance,
        /// Entries of the outbox opened.
        pub opened: Balance,
        /// Of those, closed as paid.
        pub paid: Balance,
        /// Of those, closed as refused and credited again.
        pub refunded: Balance,
        /// Fees and dust.
        pub fees: Balance,
        /// Set out of nothing.
        pub minted: Balance,
        /// Set to nothing.
        pub burnt: Balance,
        /// Number of the next entry of the outbox.
        pub outbox_next: u64,
        /// Entries of the outbox below this number are closed.
        pub outbox_closed: u64,
    }
}

/// A sum of the books exceeds what a balance can hold: more than layer one can ever have moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overflow;

impl<T: Config> Pallet<T> {
    /// Consumes the next entry, a call.
    pub(crate) fn consume_invoke() {
        Inbox::<T>::mutate(|inbox| {
            inbox.entries = inbox.entries.saturating_add(1);
            inbox.invokes = inbox.invokes.saturating_add(1);
        });
    }

    /// Consumes the next entry, a shielding.
    pub(crate) fn consume_shield(amount: Balance, outcome: ShieldOutcome) -> Result<(), Overflow> {
        Inbox::<T>::mutate(|inbox| {
            inbox.entries = inbox.entries.saturating_add(1);
            let count = match outcome {
                ShieldOutcome::Credited => &mut inbox.shields_credited,
                ShieldOutcome::Returned => &mut inbox.shields_returned,
            };
            *count = count.saturating_add(1);
        });
        Self::book(|books| &mut books.shielded, amount)
    }

    /// Adds to a sum of the books.
    pub(crate) fn book(sum: impl FnOnce(&mut Totals) -> &mut Balance, amount: Balance) -> Result<(), Overflow> {
        Books::<T>::try_mutate(|books| {
            let sum = sum(books);
            *sum = sum.checked_add(amount).ok_or(Overflow)?;
            Ok(())
        })
    }

    /// Gives an entry of the outbox its number, which it does not have yet, and puts it in.
    pub(crate) fn open(mut entry: Owed) -> Result<(), Overflow> {
        Books::<T>::try_mutate(|books| {
            entry.number = books.outbox_next;
            books.outbox_next = books.outbox_next.checked_add(1).ok_or(Overflow)?;
            books.opened = books.opened.checked_add(entry.amount).ok_or(Overflow)?;
            if entry.kind == OutboxKind::Return {
                Returns::<T>::mutate(|returns| *returns = returns.saturating_add(1));
            }
            Outbox::<T>::insert(entry.number.to_be_bytes(), entry);
            Ok(())
        })
    }

    /// Takes an entry out of the outbox, if it is there.
    pub(crate) fn close(number: u64) -> Option<Owed> {
        let key = number.to_be_bytes();
        let entry = Outbox::<T>::take(key)?;
        if entry.kind == OutboxKind::Return {
            Returns::<T>::mutate(|returns| *returns = returns.saturating_sub(1));
        }
        Books::<T>::mutate(|books| {
            if books.outbox_closed == number {
                // The entries that are passed over here are closed, and are never passed over again.
                let after = Outbox::<T>::iter_from(Outbox::<T>::hashed_key_for(key)).next();
                books.outbox_closed = after.map_or(books.outbox_next, |(key, _)| u64::from_be_bytes(key));
            }
        });
        Some(entry)
    }

    /// How many unshieldings and exits the outbox takes. Returns, which anybody can cause on layer one, take no room from
    /// them.
    pub(crate) fn room() -> u32 {
        crate::MAX_OPEN_OUTBOX.saturating_sub(Outbox::<T>::count().saturating_sub(Returns::<T>::get()))
    }
}

impl<T: Config> OnNewAccount<AccountId> for Pallet<T> {
    fn on_new_account(_: &AccountId) {
        Accounts::<T>::mutate(|accounts| *accounts = accounts.saturating_add(1));
    }
}

impl<T: Config> OnKilledAccount<AccountId> for Pallet<T> {
    fn on_killed_account(_: &AccountId) {
        Accounts::<T>::mutate(|accounts| *accounts = accounts.saturating_sub(1));
    }
}

impl From<Consumed> for InboxStatus {
    fn from(consumed: Consumed) -> Self {
        Self {
            consumed: consumed.entries,
            invokes: consumed.invokes,
            shields_credited: consumed.shields_credited,
            shields_returned: consumed.shields_returned,
        }
    }
}

impl From<Totals> for sidechain::Books {
    fn from(totals: Totals) -> Self {
        let Totals { shielded, opened, paid, refunded, fees, minted, burnt, outbox_next, outbox_closed } = totals;
        Self { shielded, opened, paid, refunded, fees, minted, burnt, outbox_next, outbox_closed }
    }
}
