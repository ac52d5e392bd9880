//! The shard's books beside the balances: nonces, the inbox, shieldings set aside, dust, layer one's head.
//!
//! A FRAME pallet without calls: only the enclave writes here.

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, H256, Nonce};
use cloister_wire::InboxStatus;
use frame_support::traits::{OnKilledAccount, OnNewAccount};
pub use pallet::*;

use crate::ShieldOutcome;

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

    /// Shieldings that could not be credited, by inbox number: who paid on layer one, and how much is owed to them.
    #[pallet::storage]
    pub type SetAside<T: Config> = StorageMap<_, Twox64Concat, u64, (AccountId, Balance)>;

    /// Planck of reaped accounts that are too few to open the fee account.
    #[pallet::storage]
    pub type Dust<T: Config> = StorageValue<_, Balance, ValueQuery>;

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
        /// Of those, shieldings that were set aside.
        pub shields_set_aside: u64,
    }
}

impl<T: Config> Pallet<T> {
    /// Consumes the next entry, a call.
    pub(crate) fn consume_invoke() {
        Inbox::<T>::mutate(|inbox| {
            inbox.entries = inbox.entries.saturating_add(1);
            inbox.invokes = inbox.invokes.saturating_add(1);
        });
    }

    /// Consumes the next entry, which has this number, a shielding of `amount` by `sender`.
    pub(crate) fn consume_shield(number: u64, sender: &AccountId, amount: Balance, outcome: ShieldOutcome) {
        Inbox::<T>::mutate(|inbox| {
            inbox.entries = inbox.entries.saturating_add(1);
            let count = match outcome {
                ShieldOutcome::Credited => &mut inbox.shields_credited,
                ShieldOutcome::SetAside => &mut inbox.shields_set_aside,
            };
            *count = count.saturating_add(1);
        });
        if outcome == ShieldOutcome::SetAside {
            SetAside::<T>::insert(number, (sender, amount));
        }
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
            shields_set_aside: consumed.shields_set_aside,
        }
    }
}
