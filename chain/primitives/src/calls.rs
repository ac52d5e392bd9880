//! Calls of layer one by pinned pallet and call index, so that an enclave can sign extrinsics without trusting
//! metadata from its host.

use alloc::vec::Vec;

use cloister_claims::Signed;
use codec::{Compact, Encode};

use crate::{
    AccountId, Acknowledgement, Anchor, Balance, BlockNumber, EncryptedBeneficiary, H256, OutboxEntry, OutboxPath,
    OutflowLimit, Registration, RegistrationPolicy, Request, ShardBirth, ShardConfig, ShardId,
    SidechainBlockConfirmation,
};

/// An encoded call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call(Vec<u8>);

impl Encode for Call {
    fn encode_to<W: codec::Output + ?Sized>(&self, output: &mut W) {
        output.write(&self.0);
    }
}

impl Call {
    fn new(pallet: u8, call: u8, arguments: impl Encode) -> Self {
        let mut bytes = alloc::vec![pallet, call];
        arguments.encode_to(&mut bytes);
        Self(bytes)
    }

    /// A call that somebody else encoded, for whoever signs it to vouch for.
    pub fn encoded(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Pays `amount` planck to `to`; an account that falls below the existential deposit is reaped.
    pub fn transfer_allow_death(to: &AccountId, amount: Balance) -> Self {
        Self::new(10, 0, (0u8, to, Compact(amount)))
    }

    /// Calls as root.
    pub fn sudo(call: &Self) -> Self {
        Self::new(5, 0, call)
    }

    /// Calls one after another; all take effect or none.
    pub fn batch_all(calls: &[Self]) -> Self {
        Self::new(9, 2, calls)
    }

    /// Calls one after another; what fails hinders nothing else.
    pub fn force_batch(calls: &[Self]) -> Self {
        Self::new(9, 4, calls)
    }

    /// Registers the sender as an attested enclave, or renews its registration.
    pub fn register_enclave(registration: &Registration) -> Self {
        Self::new(50, 10, registration)
    }

    /// Submits TCB info: the signed bytes, their signature and the signer's PEM chain.
    pub fn register_tcb_info(tcb_info: &Signed) -> Self {
        Self::new(50, 5, (&tcb_info.body, tcb_info.signature, &tcb_info.issuer_chain))
    }

    /// Submits the identity of a quoting enclave, likewise.
    pub fn register_quoting_enclave(identity: &Signed) -> Self {
        Self::new(50, 4, (&identity.body, identity.signature, &identity.issuer_chain))
    }

    /// Submits revocation lists: DER of each, and a PEM chain from their issuers (root last).
    pub fn register_crls(crls: &[Vec<u8>], issuer_chain: &[u8]) -> Self {
        Self::new(50, 11, (crls, issuer_chain))
    }

    /// Takes the sender's own registration back.
    pub fn unregister_sovereign_enclave() -> Self {
        Self::new(50, 1, ())
    }

    /// Evicts an enclave whose registration has expired or is no longer wanted.
    pub fn evict(account: &AccountId) -> Self {
        Self::new(50, 12, account)
    }

    /// Changes what layer one demands of registrations (root).
    pub fn set_policy(policy: &RegistrationPolicy) -> Self {
        Self::new(50, 13, policy)
    }

    /// Anchors a block of a shard that follows `ancestor`, the shard's newest anchored block.
    pub fn confirm_imported_sidechain_block(
        shard: &ShardId,
        ancestor: Option<&SidechainBlockConfirmation>,
        anchor: &Anchor,
        acknowledgements: &[Acknowledgement],
    ) -> Self {
        // The published arguments come first, and an anchor begins with its block's published name.
        Self::new(53, 0, (shard, ancestor, anchor, acknowledgements))
    }

    /// Sends an encrypted call to a shard through its inbox.
    pub fn invoke(request: &Request) -> Self {
        Self::new(54, 0, request)
    }

    /// Reports that an enclave has consumed a shard's inbox up to a block.
    pub fn confirm_processed_parentchain_block(
        shard: &ShardId,
        block_hash: &H256,
        block_number: BlockNumber,
        trusted_calls_merkle_root: &H256,
    ) -> Self {
        Self::new(54, 1, (shard, block_hash, block_number, trusted_calls_merkle_root))
    }

    /// Moves money into a shard.
    pub fn shield_funds(shard: &ShardId, beneficiary: &EncryptedBeneficiary, amount: Balance) -> Self {
        Self::new(54, 2, (shard, beneficiary, amount))
    }

    /// Has an entry of a shard's outbox paid; anybody may, once an anchor's root contains it.
    pub fn unshield_funds(shard: &ShardId, entry: &OutboxEntry, path: &OutboxPath) -> Self {
        Self::new(54, 3, (shard, &entry.beneficiary, entry.amount, entry.id, path))
    }

    /// Changes a shard's configuration after `upgrade_delay` blocks (root).
    pub fn update_shard_config(shard: &ShardId, config: &ShardConfig, upgrade_delay: BlockNumber) -> Self {
        Self::new(54, 5, (shard, config, upgrade_delay))
    }

    /// Announces the end of a shard (root).
    pub fn retire_shard(shard: &ShardId) -> Self {
        Self::new(54, 11, shard)
    }

    /// Changes how fast money may leave a shard; `None` for the default (root).
    pub fn set_outflow_limit(shard: &ShardId, limit: Option<&OutflowLimit>) -> Self {
        Self::new(54, 12, (shard, limit))
    }

    /// Pays what is owed to an account that could not be paid; anybody may call it.
    pub fn claim(shard: &ShardId, account: &AccountId) -> Self {
        Self::new(54, 13, (shard, account))
    }

    /// Bears a shard; only its registered founder may.
    pub fn create_shard(birth: &ShardBirth) -> Self {
        Self::new(54, 10, birth)
    }
}
