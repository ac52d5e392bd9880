//! The list of layer one's validators, governed by root.
//!
//! `pallet-session` asks this pallet for the validators of the session after the next. It answers only when root has
//! changed the list, because `pallet-session` takes every answer for a new set, and a new set costs every light client
//! a change of GRANDPA's authorities.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![allow(unused_qualifications, reason = "code that FRAME generates")]

extern crate alloc;

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use alloc::{collections::BTreeSet, vec::Vec};

    use frame_support::{pallet_prelude::*, traits::Get};
    use frame_system::pallet_prelude::*;
    use pallet_session::{NextKeys, SessionManager};

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// Validators are accounts.
    #[pallet::config]
    pub trait Config:
        frame_system::Config + pallet_session::Config<ValidatorId = <Self as frame_system::Config>::AccountId>
    {
        /// Most validators.
        #[pallet::constant]
        type MaxValidators: Get<u32>;
    }

    /// Who is to validate.
    #[pallet::storage]
    pub type Validators<T: Config> = StorageValue<_, BoundedVec<T::AccountId, T::MaxValidators>, ValueQuery>;

    /// Whether the list has changed since `pallet-session` was told it.
    #[pallet::storage]
    pub type Changed<T> = StorageValue<_, bool, ValueQuery>;

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Who validates from block 1 on; all need keys in the genesis of `pallet-session`.
        pub validators: Vec<T::AccountId>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            assert!(Pallet::<T>::all_different(&self.validators), "a validator stands twice in the genesis");
            let validators = BoundedVec::try_from(self.validators.clone());
            Validators::<T>::put(validators.expect("the genesis names no more validators than allowed"));
        }
    }

    #[pallet::event]
    #[pallet::generate_deposit(fn deposit_event)]
    pub enum Event<T: Config> {
        /// The list was replaced; it takes effect at the end of the next session.
        ValidatorsChanged {
            /// The new list.
            validators: Vec<T::AccountId>,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// A chain without validators would stop for good.
        NoValidators,
        /// More validators than allowed.
        TooManyValidators,
        /// An account stands twice in the list.
        DuplicateValidator,
        /// An account has set no session keys, so it could not validate.
        NoSessionKeys,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Replaces the list of validators.
        #[pallet::call_index(0)]
        #[pallet::weight(T::DbWeight::get().reads_writes(validators.len() as u64, 2))]
        pub fn set_validators(origin: OriginFor<T>, validators: Vec<T::AccountId>) -> DispatchResult {
            ensure_root(origin)?;
            ensure!(!validators.is_empty(), Error::<T>::NoValidators);
            let bounded = BoundedVec::try_from(validators.clone()).map_err(|_| Error::<T>::TooManyValidators)?;
            ensure!(Self::all_different(&validators), Error::<T>::DuplicateValidator);
            ensure!(validators.iter().all(NextKeys::<T>::contains_key), Error::<T>::NoSessionKeys);
            Validators::<T>::put(bounded);
            Changed::<T>::put(true);
            Self::deposit_event(Event::ValidatorsChanged { validators });
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        fn all_different(validators: &[T::AccountId]) -> bool {
            validators.iter().collect::<BTreeSet<_>>().len() == validators.len()
        }
    }

    impl<T: Config> SessionManager<T::AccountId> for Pallet<T> {
        fn new_session_genesis(_: u32) -> Option<Vec<T::AccountId>> {
            let validators = Validators::<T>::get().into_inner();
            (!validators.is_empty()).then_some(validators)
        }

        fn new_session(_: u32) -> Option<Vec<T::AccountId>> {
            if !Changed::<T>::get() {
                return None;
            }
            // Who purged its keys since is left out; if all did, the old set goes on and is asked for again.
            let mut validators = Validators::<T>::get().into_inner();
            validators.retain(|validator| NextKeys::<T>::contains_key(validator));
            if validators.is_empty() {
                return None;
            }
            Changed::<T>::kill();
            Some(validators)
        }

        fn start_session(_: u32) {}

        fn end_session(_: u32) {}
    }
}
