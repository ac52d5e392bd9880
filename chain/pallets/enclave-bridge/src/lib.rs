//! Shards, their inbox and their escrow on layer one.
//!
//! A shard is born by one call of a registered enclave, its founder, whose account pays a deposit for it. As long as
//! the founder may serve, `invoke` and `shield_funds` append numbered entries to the shard's inbox, from whatever
//! origin path they are called (batch, proxy, multisig, scheduler): what counts is the entry in storage, which the
//! enclave reads by proof at a finalized header. An entry of a call that fails is rolled back with the call.
//!
//! Trusts its origins, the registry as to which enclaves serve, and anchors as to what shards have consumed. It never
//! looks into ciphertexts, and never pays out: what lies in an escrow leaves it only by calls that carry a proof of the
//! shard's outbox. Only entries that an anchor says were consumed are pruned, and numbers are never used again. Shards
//! have no end, and their deposits are never given back.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![allow(unused_qualifications, reason = "code that FRAME generates")]

extern crate alloc;

pub mod weights;

use cloister_chain_primitives::{AccountId, EnclaveRecord};

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;

/// The registry of attested enclaves.
pub trait RegisteredEnclaves {
    /// The record of an enclave that may serve now.
    fn serving(account: &AccountId) -> Option<EnclaveRecord>;
}

#[frame_support::pallet]
pub mod pallet {
    use alloc::boxed::Box;

    use cloister_chain_primitives::{
        AccountId, Balance, BlockNumber, EncryptedBeneficiary, H256, InboxEntry, Request, ShardBirth, ShardEntry,
        ShardId, anchor::Anchors, domain,
    };
    use frame_support::{
        pallet_prelude::*,
        traits::{
            fungible::{Inspect, Mutate, MutateHold},
            tokens::Preservation,
        },
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::{SaturatedConversion, traits::Zero};

    use crate::{RegisteredEnclaves, weights};

    const STORAGE_VERSION: StorageVersion =
        StorageVersion::new(cloister_chain_primitives::storage::ENCLAVE_BRIDGE_VERSION);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// The types of layer one are fixed by `cloister-chain-primitives`, because enclaves read this pallet's storage
    /// without metadata.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId = AccountId, Hash = H256> {
        /// The money that is shielded, and that of deposits.
        type Currency: Mutate<AccountId, Balance = Balance>
            + MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;

        /// Why money is held.
        type RuntimeHoldReason: From<HoldReason>;

        /// Planck that are held of a founder's account for every shard that it bears.
        #[pallet::constant]
        type ShardDeposit: Get<Balance>;

        /// Who may bear and serve a shard.
        type Registry: RegisteredEnclaves;

        /// What shards have consumed of their inboxes. An anchor never says more than an inbox ever had.
        type Anchors: Anchors;

        /// Most entries that one shard's inbox takes in one block.
        #[pallet::constant]
        type MaxInboxEntriesPerBlock: Get<u32>;

        /// Most bytes of encoded entries that one shard's inbox takes in one block. An enclave reads a block's
        /// entries by one storage proof, whose size is bounded.
        #[pallet::constant]
        type MaxInboxBytesPerBlock: Get<u32>;

        /// Most entries that one call prunes.
        #[pallet::constant]
        type MaxPrunedPerCall: Get<u32>;
    }

    /// Why money of an account is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Layer one stores a shard that it bore.
        #[codec(index = 0)]
        Shard,
    }

    /// All shards. Keys are hashes already.
    #[pallet::storage]
    pub type Shards<T> = StorageMap<_, Identity, ShardId, ShardEntry>;

    /// How many entries a shard's inbox ever had; the next entry has this number.
    #[pallet::storage]
    pub type InboxLength<T> = StorageMap<_, Identity, ShardId, u64, ValueQuery>;

    /// How many entries of a shard's inbox were pruned; those from this number on stand in [`Inbox`].
    #[pallet::storage]
    pub type InboxPruned<T> = StorageMap<_, Identity, ShardId, u64, ValueQuery>;

    /// The entries of every shard's inbox by number, without those that were pruned.
    #[pallet::storage]
    pub type Inbox<T> = StorageDoubleMap<_, Identity, ShardId, Twox64Concat, u64, InboxEntry>;

    /// Planck that were shielded into a shard. What somebody transfers to the escrow's account is not counted.
    #[pallet::storage]
    pub type Escrow<T> = StorageMap<_, Identity, ShardId, Balance, ValueQuery>;

    /// What a shard's inbox took in the last block in which it took something.
    #[pallet::storage]
    pub type InboxUsage<T> = StorageMap<_, Identity, ShardId, InboxUse, ValueQuery>;

    /// What an inbox took in one block.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, MaxEncodedLen, TypeInfo)]
    pub struct InboxUse {
        /// The block; a use of an earlier one counts as none.
        pub block: BlockNumber,
        /// Entries.
        pub entries: u32,
        /// Bytes of encoded entries.
        pub bytes: u32,
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Money was moved into a shard.
        ShieldFunds {
            /// The shard.
            shard: ShardId,
            /// Who is credited there, encrypted to the shard.
            encrypted_beneficiary: EncryptedBeneficiary,
            /// Planck.
            amount: Balance,
        },
        /// An encrypted call was appended to the inbox of this shard.
        IndirectInvocationRegistered(ShardId),
        /// An enclave reports that it has consumed its shard's inbox up to a block.
        ProcessedParentchainBlock {
            /// The shard.
            shard: ShardId,
            /// Hash of the block.
            block_hash: H256,
            /// Root over the calls that it took from the block.
            trusted_calls_merkle_root: H256,
            /// Height of the block.
            block_number: BlockNumber,
        },
        /// This shard was born or its configuration changed.
        ShardConfigUpdated(ShardId),
    }

    #[pallet::error]
    pub enum Error<T> {
        /// No shard has this id.
        UnknownShard,
        /// A shard was born with these parameters before.
        ShardExists,
        /// The sender is not the shard's founder.
        NotTheFounder,
        /// The founder is not registered, or may not serve.
        FounderNotServing,
        /// The founder's measurement is not the fingerprint that the shard's configuration authorises.
        FingerprintMismatch,
        /// The founder is not among the authorities that the shard's configuration names.
        FounderNotAuthorised,
        /// The shard's configuration allows no member at all.
        NoInstancesAllowed,
        /// The shard is under maintenance and takes no calls and no money.
        InMaintenance,
        /// Less than the existential deposit cannot be shielded.
        BelowExistentialDeposit,
        /// The shard's escrow would hold more than it may.
        EscrowCapExceeded,
        /// The shard's inbox has taken as many entries in this block as it may.
        TooManyInboxEntries,
        /// The shard's inbox has taken as many bytes in this block as it may.
        TooManyInboxBytes,
        /// The inbox has used up its numbers.
        InboxExhausted,
        /// The reported block is not an ancestor of this one.
        BlockNotReached,
        /// Another block has the reported height.
        BlockHashMismatch,
        /// No registered enclave serves the shard now, so that it takes no calls and no money.
        ShardNotServed,
        /// The founder cannot pay the deposit of a shard.
        DepositNotPaid,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Appends an encrypted call to the inbox of the shard that can decrypt it.
        #[pallet::call_index(0)]
        #[pallet::weight(weights::invoke::<T>(request.cyphertext.len()))]
        pub fn invoke(origin: OriginFor<T>, request: Request) -> DispatchResult {
            ensure_signed(origin)?;
            let shard = request.shard;
            Self::open_shard(&shard)?;
            Self::append(&shard, InboxEntry::Invoke(request))?;
            Self::deposit_event(Event::IndirectInvocationRegistered(shard));
            Ok(())
        }

        /// Reports that the shard has consumed its inbox up to a block. Only the shard's founder may say so, while it
        /// may serve. Of what it has consumed, only what is below the anchored `inbox_consumed` goes, the oldest first
        /// and a bounded number per call: what is not anchored the shard can lose, and would then read again.
        #[pallet::call_index(1)]
        #[pallet::weight(weights::confirm_processed_parentchain_block::<T>(T::MaxPrunedPerCall::get()))]
        pub fn confirm_processed_parentchain_block(
            origin: OriginFor<T>,
            shard: ShardId,
            block_hash: H256,
            block_number: BlockNumber,
            trusted_calls_merkle_root: H256,
        ) -> DispatchResultWithPostInfo {
            let sender = ensure_signed(origin)?;
            let entry = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?;
            ensure!(sender == entry.birth.founder, Error::<T>::NotTheFounder);
            Self::ensure_founder_serves(&entry.birth)?;
            // A block does not know its own hash, so the current one cannot have been consumed.
            ensure!(block_number < Self::height(), Error::<T>::BlockNotReached);
            // System forgets the hashes of old blocks; what cannot be compared is taken on the founder's word.
            let known = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::from(block_number));
            ensure!(known.is_zero() || known == block_hash, Error::<T>::BlockHashMismatch);
            let pruned = Self::prune(&shard);
            Self::deposit_event(Event::ProcessedParentchainBlock {
                shard,
                block_hash,
                trusted_calls_merkle_root,
                block_number,
            });
            Ok(Some(weights::confirm_processed_parentchain_block::<T>(pruned)).into())
        }

        /// Moves `amount` planck of the sender into the shard's escrow and tells the shard to credit the beneficiary.
        #[pallet::call_index(2)]
        #[pallet::weight(weights::shield_funds::<T>(encrypted_beneficiary.len()))]
        pub fn shield_funds(
            origin: OriginFor<T>,
            shard: ShardId,
            encrypted_beneficiary: EncryptedBeneficiary,
            amount: Balance,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let entry = Self::open_shard(&shard)?;
            // Neither the escrow's account nor the credited one could hold less.
            ensure!(amount >= T::Currency::minimum_balance(), Error::<T>::BelowExistentialDeposit);
            let escrow = Escrow::<T>::get(shard).checked_add(amount).ok_or(Error::<T>::EscrowCapExceeded)?;
            // Every shard has one member until others can register.
            ensure!(entry.birth.escrow_cap.is_none_or(|cap| escrow <= cap), Error::<T>::EscrowCapExceeded);
            T::Currency::transfer(&sender, &Self::escrow_account(&shard), amount, Preservation::Expendable)?;
            Escrow::<T>::insert(shard, escrow);
            Self::append(
                &shard,
                InboxEntry::Shield { encrypted_beneficiary: encrypted_beneficiary.clone(), amount, sender },
            )?;
            Self::deposit_event(Event::ShieldFunds { shard, encrypted_beneficiary, amount });
            Ok(())
        }

        /// Bears a shard. Its founder signs, pays the deposit, and must be registered with the measurement that the
        /// shard authorises.
        #[pallet::call_index(10)]
        #[pallet::weight(weights::create_shard::<T>())]
        pub fn create_shard(origin: OriginFor<T>, birth: Box<ShardBirth>) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let birth = *birth;
            let (config, founder) = (&birth.config, &birth.founder);
            ensure!(sender == *founder, Error::<T>::NotTheFounder);
            Self::ensure_founder_serves(&birth)?;
            ensure!(
                config.authorities.as_ref().is_none_or(|authorities| authorities.contains(founder)),
                Error::<T>::FounderNotAuthorised
            );
            ensure!(config.max_instances != Some(0), Error::<T>::NoInstancesAllowed);
            let shard = birth.shard_id(&Self::genesis());
            ensure!(!Shards::<T>::contains_key(shard), Error::<T>::ShardExists);
            T::Currency::hold(&HoldReason::Shard.into(), founder, T::ShardDeposit::get())
                .map_err(|_| Error::<T>::DepositNotPaid)?;
            Shards::<T>::insert(shard, ShardEntry { birth, born_at: Self::height() });
            Self::deposit_event(Event::ShardConfigUpdated(shard));
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// The account that holds a shard's money. Nobody has its key; it is derived from the shard.
        pub fn escrow_account(shard: &ShardId) -> AccountId {
            AccountId::new(domain::hash("escrow", &Self::genesis(), &[shard.as_ref()]).0)
        }

        /// Hash of block 0, which System never forgets.
        fn genesis() -> H256 {
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero())
        }

        fn height() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }

        fn open_shard(shard: &ShardId) -> Result<ShardEntry, Error<T>> {
            let entry = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?;
            ensure!(!entry.birth.config.maintenance_mode, Error::<T>::InMaintenance);
            // Otherwise money could lie in the escrow of a shard whose only member is gone for good.
            Self::ensure_founder_serves(&entry.birth).map_err(|_| Error::<T>::ShardNotServed)?;
            Ok(entry)
        }

        /// The founder may serve, and is what the shard authorises.
        fn ensure_founder_serves(birth: &ShardBirth) -> Result<(), Error<T>> {
            let record = T::Registry::serving(&birth.founder).ok_or(Error::<T>::FounderNotServing)?;
            ensure!(record.fingerprint == birth.config.enclave_fingerprint, Error::<T>::FingerprintMismatch);
            Ok(())
        }

        fn append(shard: &ShardId, entry: InboxEntry) -> Result<(), Error<T>> {
            let block = Self::height();
            let used = InboxUsage::<T>::get(shard);
            let used = if used.block == block { used } else { InboxUse { block, ..Default::default() } };
            let entries = used.entries.saturating_add(1);
            ensure!(entries <= T::MaxInboxEntriesPerBlock::get(), Error::<T>::TooManyInboxEntries);
            let bytes = used.bytes.saturating_add(entry.encoded_size().saturated_into());
            ensure!(bytes <= T::MaxInboxBytesPerBlock::get(), Error::<T>::TooManyInboxBytes);
            InboxUsage::<T>::insert(shard, InboxUse { block, entries, bytes });

            let number = InboxLength::<T>::get(shard);
            InboxLength::<T>::insert(shard, number.checked_add(1).ok_or(Error::<T>::InboxExhausted)?);
            Inbox::<T>::insert(shard, number, entry);
            Ok(())
        }

        /// Removes the oldest entries that the shard has consumed for good, and answers with how many.
        fn prune(shard: &ShardId) -> u32 {
            let consumed = T::Anchors::anchored(shard).map_or(0, |anchored| anchored.anchor.inbox_consumed);
            let first = InboxPruned::<T>::get(shard);
            let end = consumed.min(first.saturating_add(T::MaxPrunedPerCall::get().into()));
            if first >= end {
                return 0;
            }
            for number in first..end {
                Inbox::<T>::remove(shard, number);
            }
            InboxPruned::<T>::insert(shard, end);
            end.saturating_sub(first).saturated_into()
        }
    }
}
