//! What a shard does over its life.

use cloister_chain_primitives::{
    H256, Retirement, ShardBirth, ShardConfig, ShardId, ShardMode, UNIT, UpgradableShardConfig,
};
use frame_support::{assert_noop, assert_ok, dispatch::DispatchResult};
use sp_runtime::{DispatchError, traits::Dispatchable};

use super::{born, last_event, signed};
use crate::{Error, Event, InboxLength, Shards, mock::*};

fn update(shard: ShardId, change: impl FnOnce(&mut ShardConfig), delay: u32) -> DispatchResult {
    let mut config = Shards::<Test>::get(shard).expect("it was born").config.at(System::block_number()).clone();
    change(&mut config);
    EnclaveBridge::update_shard_config(RuntimeOrigin::root(), shard, config, delay)
}

fn mode(shard: ShardId) -> ShardMode {
    Shards::<Test>::get(shard).expect("it was born").mode_at(System::block_number())
}

#[test]
fn changes_are_announced_as_long_before_as_the_shard_was_born_with() {
    run(|| {
        let shard = born(birth());
        let name = |config: &mut ShardConfig| config.max_instances = Some(7);
        assert_noop!(update(shard, name, 9), Error::<Test>::UpgradeDelayTooShort);
        assert_ok!(update(shard, name, 10));
        assert_eq!(last_event(), Event::ShardConfigUpdated(shard).into());
        let changed = ShardConfig { max_instances: Some(7), ..birth().config };
        let expected = UpgradableShardConfig {
            active_config: birth().config,
            pending_upgrade: Some(changed.clone()),
            upgrade_at: Some(11),
        };
        assert_eq!(Shards::<Test>::get(shard).expect("it was born").config, expected);
        let at = |height| Shards::<Test>::get(shard).expect("it was born").config.at(height).clone();
        assert_eq!((at(10), at(11)), (birth().config, changed.clone()));
        // What does not hold yet is replaced, and what holds is not.
        System::set_block_number(11);
        assert_ok!(update(shard, |config| config.max_instances = Some(8), 10));
        assert_eq!(at(11), changed);
        assert_ok!(update(shard, |config| config.max_instances = Some(9), 12));
        assert_eq!((at(21), at(22), at(23).max_instances), (changed.clone(), changed, Some(9)));
    });
}

#[test]
fn who_has_the_keys_does_not_change() {
    run(|| {
        let shard = born(birth());
        let refuse = |change: fn(&mut ShardConfig), error: Error<Test>| {
            assert_noop!(update(shard, change, 99), error);
        };
        refuse(|config| config.enclave_fingerprint = [9; 32], Error::FingerprintFixed);
        refuse(|config| config.max_instances = Some(0), Error::NoInstancesAllowed);
        refuse(
            |config| config.authorities = Some(vec![alice()].try_into().expect("one fits")),
            Error::FounderNotAuthorised,
        );
        assert_ok!(update(
            shard,
            |config| config.authorities = Some(vec![founder()].try_into().expect("one fits")),
            99
        ));
    });
}

#[test]
fn only_root_changes_and_retires_shards() {
    run(|| {
        let shard = born(birth());
        let config = birth().config;
        assert_noop!(
            EnclaveBridge::update_shard_config(RuntimeOrigin::signed(founder()), shard, config.clone(), 99),
            DispatchError::BadOrigin
        );
        assert_noop!(EnclaveBridge::retire_shard(RuntimeOrigin::signed(founder()), shard), DispatchError::BadOrigin);
        let unknown = ShardId(H256::zero());
        let root = RuntimeOrigin::root;
        assert_noop!(EnclaveBridge::update_shard_config(root(), unknown, config, 99), Error::<Test>::UnknownShard);
        assert_noop!(EnclaveBridge::retire_shard(root(), unknown), Error::<Test>::UnknownShard);
    });
}

#[test]
fn maintenance_begins_and_ends_at_any_time() {
    run(|| {
        let shard = born(birth());
        assert_ok!(update(shard, |config| config.maintenance_mode = true, 0));
        assert_eq!(mode(shard), ShardMode::Maintenance);
        assert_noop!(invoke(shard, 1).dispatch(signed()), Error::<Test>::InMaintenance);
        assert_noop!(shield(shard, UNIT).dispatch(signed()), Error::<Test>::InMaintenance);
        // Together with something else it is a change like any other.
        let more = |config: &mut ShardConfig| {
            config.maintenance_mode = false;
            config.max_instances = Some(7);
        };
        assert_noop!(update(shard, more, 9), Error::<Test>::UpgradeDelayTooShort);
        assert_ok!(update(shard, |config| config.maintenance_mode = false, 2));
        System::set_block_number(2);
        assert_noop!(invoke(shard, 1).dispatch(signed()), Error::<Test>::InMaintenance);
        System::set_block_number(3);
        assert_ok!(invoke(shard, 1).dispatch(signed()));
        assert_ok!(shield(shard, UNIT).dispatch(signed()));
        assert_eq!((mode(shard), InboxLength::<Test>::get(shard)), (ShardMode::Open, 2));
    });
}

#[test]
fn a_retired_shard_takes_nothing() {
    run(|| {
        let shard = born(birth());
        assert_ok!(EnclaveBridge::retire_shard(RuntimeOrigin::root(), shard));
        assert_eq!(last_event(), Event::RetirementAnnounced { shard, opens_at: 11 }.into());
        let entry = Shards::<Test>::get(shard).expect("it was born");
        assert_eq!(entry.retirement, Some(Retirement { announced_at: 1, opens_at: 11 }));
        // No money from now on, but calls, so that everybody can leave as they like.
        assert_noop!(shield(shard, UNIT).dispatch(signed()), Error::<Test>::ShardRetired);
        System::set_block_number(10);
        assert_ok!(invoke(shard, 1).dispatch(signed()));
        assert_eq!(mode(shard), ShardMode::Open);
        System::set_block_number(11);
        assert_noop!(invoke(shard, 1).dispatch(signed()), Error::<Test>::ShardRetired);
        assert_noop!(shield(shard, UNIT).dispatch(signed()), Error::<Test>::ShardRetired);
        assert_eq!(mode(shard), ShardMode::Retired);
        // Nothing takes it back or postpones it.
        assert_noop!(EnclaveBridge::retire_shard(RuntimeOrigin::root(), shard), Error::<Test>::ShardRetired);
        assert_ok!(update(shard, |config| config.maintenance_mode = true, 0));
        assert_eq!(mode(shard), ShardMode::Retired);
        let other = born(ShardBirth { upgrade_delay: 11, ..birth() });
        assert_ok!(shield(other, UNIT).dispatch(signed()));
    });
}
