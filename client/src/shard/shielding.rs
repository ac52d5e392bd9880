//! Money's way into a shard.

use std::time::Duration;

use cloister_chain_primitives::{
    AccountId, Balance, EncryptedBeneficiary, H256, InboxEntry, MIN_SHIELD, calls::Call, storage,
};
use cloister_wire::InboxStatus;
use tokio::time::Instant;

use super::{Error, ShardClient};
use crate::{
    Signer, Wait,
    layer_one::{self, Progress, SubmittedExtrinsic, pause_before},
};

/// A shielding that layer one has taken.
#[derive(Clone, Debug)]
pub struct Shielding {
    /// The extrinsic.
    pub extrinsic: SubmittedExtrinsic,
    /// Number of its entry in the shard's inbox; absent after [`Wait::Submitted`].
    pub inbox_number: Option<u64>,
}

impl ShardClient {
    /// Moves planck from `from` on layer one into `beneficiary`'s account on the shard, as [`Self::shield_reporting`].
    pub async fn shield(
        &self,
        from: &Signer,
        beneficiary: &AccountId,
        amount: Balance,
        wait: Wait,
    ) -> Result<Shielding, Error> {
        self.shield_reporting(from, beneficiary, amount, wait, |_| ()).await
    }

    /// Moves planck from `from` on layer one into `beneficiary`'s account on the shard, and tells `report` how the
    /// extrinsic goes on. Money sent to a shard that no enclave has any more is lost, so enclave and registry are asked
    /// once more before.
    pub async fn shield_reporting(
        &self,
        from: &Signer,
        beneficiary: &AccountId,
        amount: Balance,
        wait: Wait,
        report: impl FnMut(Progress),
    ) -> Result<Shielding, Error> {
        if amount < MIN_SHIELD {
            return Err(Error::BelowMinimumShield { amount });
        }
        let sealed = self.shard().seal_beneficiary(beneficiary)?;
        self.recheck().await?;
        self.shard().require_served_by(self.worker()).await?;
        // The enclave's host may have held its answer back.
        self.recheck().await?;
        let call = Call::shield_funds(&self.shard().id, &sealed, amount);
        let extrinsic = self.layer_one().submit_reporting(&call, from, wait, report).await?;
        let inbox_number = match &extrinsic.inclusion {
            Some(inclusion) => {
                let number = self.inbox_number(inclusion.block_hash, &sealed).await;
                let unnumbered =
                    |source| Error::ShieldUnnumbered { extrinsic: extrinsic.hash, source: Box::new(source) };
                Some(number.map_err(unnumbered)?)
            }
            None => None,
        };
        Ok(Shielding { extrinsic, inbox_number })
    }

    /// Waits, for `limit` at most, until the shard has consumed entry `number` of its inbox, and makes sure that it
    /// credited the shielding. `before` is what the enclave told before the entry was made.
    pub async fn credited(&self, number: u64, before: InboxStatus, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        // The status that was told last before the entry was consumed.
        let mut last = before;
        loop {
            let status = self.inbox_status().await;
            let status = status.map_err(|source| Error::PerhapsCredited { number, source: source.into() })?;
            if status.consumed > number {
                return match (status.shields_returned > last.shields_returned, status.shields_credited) {
                    (false, _) => Ok(()),
                    (true, credited) if credited == last.shields_credited => Err(Error::ShieldReturned { number }),
                    (true, _) => Err(Error::ShieldPerhapsReturned { number }),
                };
            }
            last = status;
            if !pause_before(deadline).await {
                return Err(Error::NotConsumed { number, limit });
            }
        }
    }

    /// The number of the inbox entry with a beneficiary's ciphertext, which no other entry can have, among those that
    /// a block appended.
    async fn inbox_number(&self, block: H256, sealed: &EncryptedBeneficiary) -> Result<u64, Error> {
        let (layer_one, shard) = (self.layer_one(), &self.shard().id);
        let parent = layer_one.header(block).await?.parent_hash;
        let length = storage::inbox_length(shard);
        let before: u64 = layer_one.storage(&length, parent).await?.unwrap_or_default();
        let after: u64 = layer_one.storage(&length, block).await?.unwrap_or_default();
        if after.saturating_sub(before) > MAX_APPENDED {
            return Err(layer_one::Error::TooMany { what: "inbox entries in one block", most: MAX_APPENDED }.into());
        }
        for number in before..after {
            let entry = layer_one.storage(&storage::inbox_entry(shard, number), block).await?;
            match entry {
                Some(InboxEntry::Shield { encrypted_beneficiary, .. }) if encrypted_beneficiary == *sealed => {
                    return Ok(number);
                }
                _ => {}
            }
        }
        let reason = "the block has no entry for the shielding".to_string();
        Err(layer_one::Error::Malformed { what: "the inbox", reason }.into())
    }
}

/// Entries that a block appends to an inbox: far above the runtime's limit.
const MAX_APPENDED: u64 = 4_096;
