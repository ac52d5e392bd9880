//! The life of a shard.

use cloister_chain_primitives::{
    AccountId, BlockNumber, Retirement, ShardBirth, ShardConfig, ShardEntry, ShardId, ShardMode, UpgradableShardConfig,
};
use frame_support::{
    ensure,
    traits::{
        Get,
        fungible::{Inspect, Mutate, MutateHold},
        tokens::Preservation,
    },
};

use crate::{Config, Error, HoldReason, Pallet, RegisteredEnclaves, Shards};

impl<T: Config> Pallet<T> {
    /// Records a shard, whose id it answers with, and has its founder pay for it.
    pub(crate) fn bear(sender: &AccountId, birth: ShardBirth) -> Result<ShardId, Error<T>> {
        ensure!(*sender == birth.founder, Error::<T>::NotTheFounder);
        Self::ensure_founder_serves(&birth)?;
        ensure_founder_is_member::<T>(&birth.founder, &birth.config)?;
        let shard = birth.shard_id(&Self::genesis());
        ensure!(!Shards::<T>::contains_key(shard), Error::<T>::ShardExists);
        T::Currency::hold(&HoldReason::Shard.into(), sender, T::ShardDeposit::get())
            .map_err(|_| Error::<T>::DepositNotPaid)?;
        // Stays there, so that everything that is shielded can leave again.
        let escrow = Self::escrow_account(&shard);
        T::Currency::transfer(sender, &escrow, T::Currency::minimum_balance(), Preservation::Preserve)
            .map_err(|_| Error::<T>::DepositNotPaid)?;
        Shards::<T>::insert(shard, ShardEntry::born(birth, Self::height()));
        Ok(shard)
    }

    /// Announces another configuration of a shard.
    pub(crate) fn upgrade(shard: &ShardId, config: ShardConfig, delay: BlockNumber) -> Result<(), Error<T>> {
        let mut entry = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?;
        let height = Self::height();
        let active_config = entry.config.at(height).clone();
        // Only an enclave with this fingerprint has the shard's keys.
        ensure!(config.enclave_fingerprint == active_config.enclave_fingerprint, Error::<T>::FingerprintFixed);
        ensure_founder_is_member::<T>(&entry.birth.founder, &config)?;
        let only_maintenance =
            ShardConfig { maintenance_mode: active_config.maintenance_mode, ..config.clone() } == active_config;
        ensure!(only_maintenance || delay >= entry.birth.upgrade_delay, Error::<T>::UpgradeDelayTooShort);
        let upgrade_at = Some(height.saturating_add(delay));
        entry.config = UpgradableShardConfig { active_config, pending_upgrade: Some(config), upgrade_at };
        Shards::<T>::insert(shard, entry);
        Ok(())
    }

    /// Announces the end of a shard, and answers with when it is there.
    pub(crate) fn retire(shard: &ShardId) -> Result<BlockNumber, Error<T>> {
        let mut entry = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?;
        ensure!(entry.retirement.is_none(), Error::<T>::ShardRetired);
        let announced_at = Self::height();
        let opens_at = announced_at.saturating_add(entry.birth.upgrade_delay);
        entry.retirement = Some(Retirement { announced_at, opens_at });
        Shards::<T>::insert(shard, entry);
        Ok(opens_at)
    }

    /// A shard that takes calls.
    pub(crate) fn open_shard(shard: &ShardId) -> Result<ShardEntry, Error<T>> {
        let entry = Shards::<T>::get(shard).ok_or(Error::<T>::UnknownShard)?;
        match entry.mode_at(Self::height()) {
            ShardMode::Open => {}
            ShardMode::Maintenance => return Err(Error::<T>::InMaintenance),
            ShardMode::Retired => return Err(Error::<T>::ShardRetired),
        }
        // Otherwise money could lie in the escrow of a shard whose only member is gone for good.
        Self::ensure_founder_serves(&entry.birth).map_err(|_| Error::<T>::ShardNotServed)?;
        Ok(entry)
    }

    /// The founder may serve, and is what the shard authorises.
    pub(crate) fn ensure_founder_serves(birth: &ShardBirth) -> Result<(), Error<T>> {
        let record = T::Registry::serving(&birth.founder).ok_or(Error::<T>::FounderNotServing)?;
        ensure!(record.fingerprint == birth.config.enclave_fingerprint, Error::<T>::FingerprintMismatch);
        Ok(())
    }
}

fn ensure_founder_is_member<T: Config>(founder: &AccountId, config: &ShardConfig) -> Result<(), Error<T>> {
    let named = config.authorities.as_ref().is_none_or(|authorities| authorities.contains(founder));
    ensure!(named, Error::<T>::FounderNotAuthorised);
    ensure!(config.max_instances != Some(0), Error::<T>::NoInstancesAllowed);
    Ok(())
}
