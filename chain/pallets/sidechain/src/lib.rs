//! Anchors of shards' blocks on layer one.
//!
//! An anchor says how far a shard has come: height and hash of its newest block, how much of its inbox it has
//! consumed, the root over what it owes on layer one, how much of that it has closed and what fees it has collected.
//! Anybody may submit one; the shard's founder is repaid for it out of those fees. What counts are the acknowledgements:
//! signatures of more than half of the shard's members, each by the incarnation that serves now. So nothing that an
//! earlier incarnation signed lands later, and what is anchored is never rewound.
//!
//! Trusts `EnclaveBridge` as to shards and inboxes, and the registry as to which enclaves serve and by which keys.
//! It must never take an anchor on its sender's word, nor replace one by another that does not follow it.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![allow(unused_qualifications, reason = "code that FRAME generates")]

pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;

#[allow(clippy::too_many_arguments, clippy::large_enum_variant, reason = "a call has all that its anchor has")]
#[frame_support::pallet]
pub mod pallet {
    use cloister_chain_primitives::{
        AccountId, Acknowledgement, Anchor, Anchored, Balance, BlockNumber, H256, ShardBirth, ShardId,
        SidechainBlockConfirmation,
        anchor::{self, MAX_MEMBERS},
    };
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use pallet_enclave_bridge::{InboxLength, RegisteredEnclaves, Shards};
    use sp_core::ed25519;
    use sp_runtime::{SaturatedConversion, traits::Zero};

    use crate::weights;

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(cloister_chain_primitives::storage::SIDECHAIN_VERSION);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// Shards, their inboxes and the registry are those of `EnclaveBridge`.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId = AccountId, Hash = H256> + pallet_enclave_bridge::Config {}

    /// The newest anchor of every shard that has one. Keys are hashes already.
    #[pallet::storage]
    pub type Anchors<T> = StorageMap<_, Identity, ShardId, Anchored>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A block of a shard was anchored. When this layer-one block is final, nothing rewinds the shard below it.
        FinalizedSidechainBlock {
            /// The shard.
            shard: ShardId,
            /// Height of the block.
            block_number: u64,
            /// Hash of its header.
            block_header_hash: H256,
            /// The first of the members that acknowledged it.
            validateer: AccountId,
            /// Entries of the shard's inbox that are consumed after it.
            inbox_consumed: u64,
            /// Root over what the shard owes on layer one after it.
            outbox_root: H256,
        },
        /// An anchor that the shard's members acknowledged does not follow the stored one, which stays. Equal heights
        /// prove that members signed two histories. Otherwise whoever has the shard's blocks can tell whether the
        /// refused one is among them: a lower height may be that of an older anchor sent again, and which ancestor a
        /// call names is its sender's word.
        AnchorConflict {
            /// The shard.
            shard: ShardId,
            /// What is anchored.
            stored: Anchor,
            /// What is not.
            refused: Anchor,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// No shard has this id.
        UnknownShard,
        /// This is the shard's newest anchor.
        AlreadyAnchored,
        /// The shard was anchored in this layer-one block; once is enough.
        AnchoredInThisBlock,
        /// Half of the shard's members or fewer acknowledge the anchor.
        NoMajority,
        /// Who acknowledges is not a member of the shard.
        NotAMember,
        /// A member acknowledges twice.
        AcknowledgedTwice,
        /// A member that acknowledges is not registered, or may not serve.
        MemberNotServing,
        /// A member that acknowledges is not what the shard's configuration authorises.
        FingerprintMismatch,
        /// A signature is not that of the member's current incarnation under this anchor, shard and chain.
        WrongSignature,
        /// The call names an ancestor, but the shard has no anchor.
        UnknownAncestor,
        /// The stored anchor has consumed more of the inbox.
        InboxConsumedDecreased,
        /// The shard's inbox does not have so many entries.
        InboxNotReached,
        /// The stored anchor has closed more of the outbox.
        OutboxClosedDecreased,
        /// The stored anchor has collected more fees.
        FeesDecreased,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Anchors a block of a shard that follows the anchored one, and repays the founder for it. An acknowledged candidate
        /// that does not follow it changes nothing and is told by [`Event::AnchorConflict`]; that is no error, because
        /// errors leave no events.
        #[pallet::call_index(0)]
        #[pallet::weight(weights::confirm_imported_sidechain_block::<T>(acknowledgements.len()))]
        pub fn confirm_imported_sidechain_block(
            origin: OriginFor<T>,
            shard: ShardId,
            latest_finalized_ancestor: Option<SidechainBlockConfirmation>,
            finalization_candidate: SidechainBlockConfirmation,
            inbox_consumed: u64,
            outbox_root: H256,
            outbox_closed: u64,
            fees: Balance,
            acknowledgements: BoundedVec<Acknowledgement, ConstU32<MAX_MEMBERS>>,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let SidechainBlockConfirmation { block_number: number, block_header_hash: header_hash } =
                finalization_candidate;
            let candidate = Anchor { number, header_hash, inbox_consumed, outbox_root, outbox_closed, fees };
            let birth = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?.birth;
            let at = frame_system::Pallet::<T>::block_number().saturated_into::<BlockNumber>();
            let stored = Anchors::<T>::get(shard);
            if let Some(stored) = stored {
                ensure!(candidate != stored.anchor, Error::<T>::AlreadyAnchored);
                ensure!(stored.at != at, Error::<T>::AnchoredInThisBlock);
            }
            let validateer = Self::ensure_acknowledged(&shard, &birth, &candidate, &acknowledgements)?;
            match stored.map(|stored| stored.anchor) {
                None => ensure!(latest_finalized_ancestor.is_none(), Error::<T>::UnknownAncestor),
                Some(stored) => {
                    let follows = latest_finalized_ancestor == Some(stored.confirmation());
                    if !follows || candidate.number <= stored.number {
                        Self::deposit_event(Event::AnchorConflict { shard, stored, refused: candidate });
                        return Ok(());
                    }
                    ensure!(inbox_consumed >= stored.inbox_consumed, Error::<T>::InboxConsumedDecreased);
                    ensure!(outbox_closed >= stored.outbox_closed, Error::<T>::OutboxClosedDecreased);
                    ensure!(fees >= stored.fees, Error::<T>::FeesDecreased);
                }
            }
            ensure!(inbox_consumed <= InboxLength::<T>::get(shard), Error::<T>::InboxNotReached);
            Anchors::<T>::insert(shard, Anchored { anchor: candidate, at });
            Self::deposit_event(Event::FinalizedSidechainBlock {
                shard,
                block_number: number,
                block_header_hash: header_hash,
                validateer,
                inbox_consumed,
                outbox_root,
            });
            let arguments = (shard, latest_finalized_ancestor, candidate, &acknowledgements).encoded_size();
            let weight = weights::confirm_imported_sidechain_block::<T>(acknowledgements.len());
            pallet_enclave_bridge::Pallet::<T>::repay(&shard, &sender, weight, arguments);
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// More than half of the shard's members acknowledge the anchor. Answers with the first of them.
        fn ensure_acknowledged(
            shard: &ShardId,
            birth: &ShardBirth,
            anchor: &Anchor,
            acknowledgements: &[Acknowledgement],
        ) -> Result<AccountId, Error<T>> {
            let members = members(birth);
            // What costs nothing comes before signatures. All are members, no two the same, so counting them is enough.
            for (index, Acknowledgement { account, .. }) in acknowledgements.iter().enumerate() {
                ensure!(members.contains(account), Error::<T>::NotAMember);
                let mut earlier = acknowledgements.iter().take(index);
                ensure!(earlier.all(|other| other.account != *account), Error::<T>::AcknowledgedTwice);
            }
            let enough = anchor::is_majority(acknowledgements.len(), members.len());
            let first = acknowledgements.first().filter(|_| enough).ok_or(Error::<T>::NoMajority)?;
            // Hash of block 0, which System never forgets.
            let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero());
            let signed = anchor.signed_bytes(&genesis, shard);
            for Acknowledgement { account, signature } in acknowledgements {
                let member = T::Registry::serving(account).ok_or(Error::<T>::MemberNotServing)?;
                ensure!(member.fingerprint == birth.config.enclave_fingerprint, Error::<T>::FingerprintMismatch);
                let key = ed25519::Public::from_raw(member.incarnation_key);
                let signature = ed25519::Signature::from_raw(*signature);
                ensure!(sp_io::crypto::ed25519_verify(&signature, &signed, &key), Error::<T>::WrongSignature);
            }
            Ok(first.account.clone())
        }
    }

    impl<T: Config> anchor::Anchors for Pallet<T> {
        fn anchored(shard: &ShardId) -> Option<Anchored> {
            Anchors::<T>::get(shard)
        }
    }

    /// Who speaks for a shard: until others can join, its founder.
    fn members(birth: &ShardBirth) -> &[AccountId] {
        core::slice::from_ref(&birth.founder)
    }
}
