//! Shards, their inbox and their escrow on layer one.
//!
//! A shard is born by one call of a registered enclave, its founder, whose account pays a deposit for it. As long as
//! the founder may serve, `invoke` and `shield_funds` append numbered entries to the shard's inbox, from whatever
//! origin path they are called (batch, proxy, multisig, scheduler): what counts is the entry in storage, which the
//! enclave reads by proof at a finalized header. An entry of a call that fails is rolled back with the call.
//!
//! Money leaves by the shard's outbox: whoever shows that an entry stands under the anchored root has it settled, once
//! and for good. What is said of an entry stays in storage until an anchor says that the shard has read it.
//!
//! Trusts its origins, the registry as to which enclaves serve, and anchors as to what shards have consumed, owe and
//! collected in fees. It never looks into ciphertexts, never pays more for a shard than was shielded into it, and never
//! faster than its outflow limit allows. Only entries that an anchor says were consumed are pruned, and numbers are
//! never used again. Shards stay recorded after their retirement, and their deposits are never given back.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![allow(unused_qualifications, reason = "code that FRAME generates")]

extern crate alloc;

mod escrow;
mod inbox;
mod outflow;
mod shards;
pub mod usage;
pub mod weights;

use cloister_chain_primitives::{AccountId, Balance, EnclaveRecord};
use frame_support::weights::Weight;

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

/// Layer one's fees.
pub trait SubmissionFee {
    /// Planck that a sender pays at present who submits a call alone, with this weight and so many bytes.
    fn fee(weight: Weight, call_bytes: usize) -> Balance;
}

#[frame_support::pallet]
pub mod pallet {
    use alloc::boxed::Box;

    use cloister_chain_primitives::{
        AccountId, Balance, BlockNumber, EncryptedBeneficiary, Flows, H256, InboxEntry, OutboxEntry, OutboxPath,
        OutflowLimit, OutflowUse, Request, ShardBirth, ShardConfig, ShardEntry, ShardId, Verdict, anchor::Anchors,
    };
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{Mutate, MutateHold},
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::traits::Zero;

    use crate::{
        RegisteredEnclaves, SubmissionFee,
        usage::{ExitUse, InboxUse},
        weights,
    };

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

        /// How far shards have come. An anchor never says that more was consumed than an inbox ever had, and its counts
        /// never decrease.
        type Anchors: Anchors;

        /// What is repaid to those who submit a shard's anchors, confirmations and outbox.
        type SubmissionFee: SubmissionFee;

        /// How fast money may leave a shard for which root has set nothing else; as fast as it likes if `None`.
        #[pallet::constant]
        type DefaultOutflowLimit: Get<Option<OutflowLimit>>;

        /// Most exits of one retired shard that are settled in one block.
        #[pallet::constant]
        type MaxExitsPerBlock: Get<u32>;

        /// Most entries that one shard's inbox takes in one block.
        #[pallet::constant]
        type MaxInboxEntriesPerBlock: Get<u32>;

        /// Most bytes of encoded entries that one shard's inbox takes in one block. An enclave reads a block's
        /// entries by one storage proof, whose size is bounded.
        #[pallet::constant]
        type MaxInboxBytesPerBlock: Get<u32>;

        /// A shard's fees repay others than its founder once its newest anchor is so many blocks old.
        #[pallet::constant]
        type StrangersRepaidAfter: Get<BlockNumber>;

        /// Most entries of an inbox, and most verdicts, that one call prunes.
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

    /// Planck that were shielded into a shard and have not left it: what its [`Flows`] come to. Neither what somebody
    /// transfers to the escrow's account is counted, nor the account's existential deposit, nor what is [`Unclaimed`].
    #[pallet::storage]
    pub type Escrow<T> = StorageMap<_, Identity, ShardId, Balance, ValueQuery>;

    /// What was moved for a shard, ever.
    #[pallet::storage]
    pub type FlowsOf<T> = StorageMap<_, Identity, ShardId, Flows, ValueQuery>;

    /// What became of entries of every shard's outbox, by number, without those that were pruned.
    #[pallet::storage]
    pub type Settled<T> = StorageDoubleMap<_, Identity, ShardId, Twox64Concat, u64, Verdict>;

    /// How many verdicts of a shard were pruned: the first ones, all of entries that the shard has closed.
    #[pallet::storage]
    pub type SettledPruned<T> = StorageMap<_, Identity, ShardId, u64, ValueQuery>;

    /// Planck that left a shard for an account that could not be paid. They lie in the escrow's account.
    #[pallet::storage]
    pub type Unclaimed<T> = StorageDoubleMap<_, Identity, ShardId, Blake2_128Concat, AccountId, Balance, ValueQuery>;

    /// How fast money may leave a shard, where that is not the default.
    #[pallet::storage]
    pub type OutflowLimits<T> = StorageMap<_, Identity, ShardId, OutflowLimit>;

    /// What left a shard in the last period in which something did.
    #[pallet::storage]
    pub type OutflowUsage<T> = StorageMap<_, Identity, ShardId, OutflowUse, ValueQuery>;

    /// How many exits of a shard were settled in the last block in which one was.
    #[pallet::storage]
    pub type ExitUsage<T> = StorageMap<_, Identity, ShardId, ExitUse, ValueQuery>;

    /// What a shard's inbox took in the last block in which it took something.
    #[pallet::storage]
    pub type InboxUsage<T> = StorageMap<_, Identity, ShardId, InboxUse, ValueQuery>;

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
        /// This shard was born, or a change of its configuration was announced.
        ShardConfigUpdated(ShardId),
        /// An entry of a shard's outbox is settled: its beneficiary was paid, or is owed the money for ever.
        UnshieldedFunds {
            /// The shard.
            shard: ShardId,
            /// Who was paid.
            beneficiary: AccountId,
            /// Planck.
            amount: Balance,
            /// The entry's id (the published name is kept).
            call_hash: H256,
        },
        /// An entry of a shard's outbox is settled: it cannot be paid, and the shard credits who asked for it.
        UnshieldRefused {
            /// The shard.
            shard: ShardId,
            /// The entry's id.
            call_hash: H256,
        },
        /// An entry of a shard's outbox cannot be settled yet. Nothing is stored, and anybody may submit it again.
        UnshieldDeferred {
            /// The shard.
            shard: ShardId,
            /// The entry's id.
            call_hash: H256,
        },
        /// An account that left a shard, or whose shielding was returned, could not be paid. It can be later, by a
        /// claim.
        BookedUnclaimed {
            /// The shard.
            shard: ShardId,
            /// Who is owed.
            account: AccountId,
            /// Planck that were added to what is owed.
            amount: Balance,
        },
        /// What was owed to an account was paid.
        Claimed {
            /// The shard.
            shard: ShardId,
            /// Who was paid.
            account: AccountId,
            /// Planck.
            amount: Balance,
        },
        /// A sender was repaid layer one's fee out of a shard's fees.
        FeeRepaid {
            /// The shard.
            shard: ShardId,
            /// The sender.
            account: AccountId,
            /// Planck.
            amount: Balance,
        },
        /// Root changed how fast money may leave a shard.
        OutflowLimitSet {
            /// The shard.
            shard: ShardId,
            /// The limit; the default if `None`.
            limit: Option<OutflowLimit>,
        },
        /// The end of a shard was announced.
        RetirementAnnounced {
            /// The shard.
            shard: ShardId,
            /// Height from which on the shard takes no calls, and all its accounts are paid.
            opens_at: BlockNumber,
        },
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
        /// Less than this cannot be shielded, because it could not be returned.
        BelowMinimumShield,
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
        /// The founder cannot pay the deposit of a shard and its escrow's existential deposit.
        DepositNotPaid,
        /// The shard's end is announced: it takes no money, and once it is there no calls.
        ShardRetired,
        /// What could not leave the shard within one period cannot be shielded.
        AboveOutflowLimit,
        /// This entry of the outbox is settled.
        AlreadySettled,
        /// The path does not lead from this entry to the anchored root.
        NotInOutbox,
        /// Nothing is owed to the account.
        NothingUnclaimed,
        /// The fingerprint of a shard does not change.
        FingerprintFixed,
        /// A change of the configuration must be announced as long before as the shard was born with.
        UpgradeDelayTooShort,
        /// A period has at least one block.
        EmptyPeriod,
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
        /// and a bounded number per call: what is not anchored the shard can lose, and would then read again. Likewise
        /// verdicts go below the anchored `outbox_closed`. The sender is repaid out of the shard's fees.
        #[pallet::call_index(1)]
        #[pallet::weight(weights::confirm_processed_parentchain_block::<T>(
            T::MaxPrunedPerCall::get(),
            T::MaxPrunedPerCall::get()
        ))]
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
            let (entries, verdicts) = (Self::prune_inbox(&shard), Self::prune_settled(&shard));
            Self::deposit_event(Event::ProcessedParentchainBlock {
                shard,
                block_hash,
                trusted_calls_merkle_root,
                block_number,
            });
            let weight = weights::confirm_processed_parentchain_block::<T>(entries, verdicts);
            let arguments = (shard, block_hash, block_number, trusted_calls_merkle_root).encoded_size();
            Self::repay(&shard, &sender, weight, arguments);
            Ok(Some(weight).into())
        }

        /// Moves `amount` planck of the sender into the shard's escrow and tells the shard to credit the beneficiary.
        #[pallet::call_index(2)]
        #[pallet::weight(weights::shield_funds::<T>(encrypted_account.len()))]
        pub fn shield_funds(
            origin: OriginFor<T>,
            shard: ShardId,
            encrypted_account: EncryptedBeneficiary,
            amount: Balance,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            Self::receive(&shard, &sender, amount)?;
            let entry = InboxEntry::Shield { encrypted_beneficiary: encrypted_account.clone(), amount, sender };
            Self::append(&shard, entry)?;
            Self::deposit_event(Event::ShieldFunds { shard, encrypted_beneficiary: encrypted_account, amount });
            Ok(())
        }

        /// Settles an entry of a shard's outbox that stands under the anchored root: pays it, refuses it for good, or
        /// changes nothing and says that it is too early. Whoever submits what is settled is repaid out of the shard's
        /// fees. A shard that nobody serves, under maintenance or retired pays like any other.
        #[pallet::call_index(3)]
        #[pallet::weight(weights::unshield_funds::<T>(path.siblings.len()))]
        pub fn unshield_funds(
            origin: OriginFor<T>,
            shard: ShardId,
            beneficiary: AccountId,
            amount: Balance,
            call_hash: H256,
            path: OutboxPath,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let retirement = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?.retirement;
            let anchor = T::Anchors::anchored(&shard).ok_or(Error::<T>::NotInOutbox)?.anchor;
            let (number, kind) = (path.number, path.kind);
            let settled = number < anchor.outbox_closed || Settled::<T>::contains_key(shard, number);
            ensure!(!settled, Error::<T>::AlreadySettled);
            let arguments = (shard, &beneficiary, amount, call_hash, &path).encoded_size();
            let entry = OutboxEntry { number, id: call_hash, kind, beneficiary, amount };
            ensure!(path.proves(&Self::genesis(), &shard, &entry, &anchor.outbox_root), Error::<T>::NotInOutbox);
            if Self::settle(&shard, retirement, entry) {
                let weight = weights::unshield_funds::<T>(path.siblings.len());
                Self::repay(&shard, &sender, weight, arguments);
            }
            Ok(())
        }

        /// Announces that a shard's configuration changes in so many blocks, in place of a change that was announced
        /// and does not hold yet. Maintenance alone may begin and end at any time, because it keeps nobody from
        /// leaving; anything else leaves as much time as the shard was born with.
        #[pallet::call_index(5)]
        #[pallet::weight(weights::update_shard_config::<T>())]
        pub fn update_shard_config(
            origin: OriginFor<T>,
            shard: ShardId,
            config: ShardConfig,
            upgrade_delay: BlockNumber,
        ) -> DispatchResult {
            ensure_root(origin)?;
            Self::upgrade(&shard, config, upgrade_delay)?;
            Self::deposit_event(Event::ShardConfigUpdated(shard));
            Ok(())
        }

        /// Bears a shard. Its founder signs, pays the deposit, and must be registered with the measurement that the
        /// shard authorises.
        #[pallet::call_index(10)]
        #[pallet::weight(weights::create_shard::<T>())]
        pub fn create_shard(origin: OriginFor<T>, birth: Box<ShardBirth>) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let shard = Self::bear(&sender, *birth)?;
            Self::deposit_event(Event::ShardConfigUpdated(shard));
            Ok(())
        }

        /// Announces the end of a shard, which nothing takes back. It takes no money from now on, and after the delay
        /// that it was born with it takes no calls, and all its accounts are paid.
        #[pallet::call_index(11)]
        #[pallet::weight(weights::retire_shard::<T>())]
        pub fn retire_shard(origin: OriginFor<T>, shard: ShardId) -> DispatchResult {
            ensure_root(origin)?;
            let opens_at = Self::retire(&shard)?;
            Self::deposit_event(Event::RetirementAnnounced { shard, opens_at });
            Ok(())
        }

        /// Changes how fast money may leave a shard; back to the default if `None`.
        #[pallet::call_index(12)]
        #[pallet::weight(weights::set_outflow_limit::<T>())]
        pub fn set_outflow_limit(origin: OriginFor<T>, shard: ShardId, limit: Option<OutflowLimit>) -> DispatchResult {
            ensure_root(origin)?;
            ensure!(Shards::<T>::contains_key(shard), Error::<T>::UnknownShard);
            ensure!(limit.is_none_or(|limit| !limit.period.is_zero()), Error::<T>::EmptyPeriod);
            OutflowLimits::<T>::set(shard, limit);
            Self::forget_shielded(&shard);
            Self::deposit_event(Event::OutflowLimitSet { shard, limit });
            Ok(())
        }

        /// Pays an account what is owed to it for a shard. Anybody may call this, at any time.
        #[pallet::call_index(13)]
        #[pallet::weight(weights::claim::<T>())]
        pub fn claim(origin: OriginFor<T>, shard: ShardId, account: AccountId) -> DispatchResult {
            ensure_signed(origin)?;
            let amount = Self::pay_unclaimed(&shard, &account)?;
            Self::deposit_event(Event::Claimed { shard, account, amount });
            Ok(())
        }
    }
}
