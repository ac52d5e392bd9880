//! The state against a model, and as the storage under an overlay.

use std::collections::BTreeMap;

use cloister_state::{BackendError, CommitmentKey, ShardState, StateDiff};
use proptest::{collection::vec, option, prelude::*};
use sp_core::storage::{ChildInfo, StateVersion};
use sp_runtime::traits::{BlakeTwo256, Hash};
use sp_state_machine::{Backend, IterArgs};

type Change = (Vec<u8>, Option<Vec<u8>>);
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn key() -> CommitmentKey {
    CommitmentKey::from_bytes([5; 32])
}

fn state(model: &Model) -> ShardState {
    ShardState::genesis(model.clone(), &key())
}

/// Short keys over few letters, so that changes meet.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    vec((vec(0u8..3, 0..4), option::of(vec(any::<u8>(), 0..5))), 0..12)
}

fn assert_equal(state: &ShardState, model: &Model) {
    let entries: Model = state.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(&entries, model);
    assert_eq!(state.len(), model.len());
    assert_eq!(state.bytes(), model.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>());
    let from_scratch = ShardState::genesis(model.iter().rev().map(|(k, v)| (k.clone(), v.clone())), &key());
    assert_eq!(state.commitment(), from_scratch.commitment());
}

proptest! {
    #[test]
    fn state_and_commitment_follow_every_diff(blocks in vec(changes(), 1..8)) {
        let (mut model, mut state) = (Model::new(), state(&Model::new()));
        for changes in blocks {
            let diff: StateDiff = changes.clone().into_iter().collect();
            let predicted = state.storage_root(diff.changes(), StateVersion::V1).0;
            state.apply(&diff);
            for (key, value) in changes {
                match value {
                    Some(value) => drop(model.insert(key, value)),
                    None => drop(model.remove(&key)),
                }
            }
            prop_assert_eq!(predicted, state.commitment());
            assert_equal(&state, &model);
        }
    }

    #[test]
    fn iteration_is_that_of_an_ordered_map(
        changes in changes(),
        prefix in option::of(vec(0u8..3, 0..3)),
        start in option::of(vec(0u8..3, 0..4)),
        exclusive in any::<bool>(),
    ) {
        let model: Model = changes.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
        let state = state(&model);
        let mut arguments = IterArgs::default();
        arguments.prefix = prefix.as_deref();
        arguments.start_at = start.as_deref();
        arguments.start_at_exclusive = exclusive;
        let expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| key.starts_with(prefix.as_deref().unwrap_or_default()))
            .filter(|(key, _)| start.as_ref().is_none_or(|start| if exclusive { *key > start } else { *key >= start }))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let pairs: Vec<_> = state.pairs(arguments).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(pairs, expected);
        let from = start.unwrap_or_default();
        let next = model.keys().find(|key| **key > from).cloned();
        prop_assert_eq!(state.next_storage_key(&from).unwrap(), next);
    }
}

#[test]
fn an_equal_value_changes_nothing() {
    let model = Model::from([(b"a".to_vec(), b"1".to_vec())]);
    let mut state = state(&model);
    state.apply(&[(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)].into_iter().collect());
    assert_equal(&state, &model);
}

#[test]
fn commitments_depend_on_the_secret() {
    let model = Model::from([(b"a".to_vec(), b"1".to_vec())]);
    let other = ShardState::genesis(model.clone(), &CommitmentKey::from_bytes([6; 32]));
    assert_ne!(state(&model).commitment(), other.commitment());
}

#[test]
fn what_the_state_does_not_have_is_a_typed_error() {
    let state = state(&Model::from([(b"a".to_vec(), b"1".to_vec())]));
    let child = ChildInfo::new_default(b"child");
    assert_eq!(state.child_storage(&child, b"a"), Err(BackendError::ChildTrie));
    assert_eq!(state.child_storage_hash(&child, b"a"), Err(BackendError::ChildTrie));
    assert_eq!(state.next_child_storage_key(&child, b"a"), Err(BackendError::ChildTrie));
    assert_eq!(state.closest_merkle_value(b"a").err(), Some(BackendError::MerkleValue));
    let mut arguments = IterArgs::default();
    arguments.child_info = Some(child);
    assert_eq!(state.raw_iter(arguments).err(), Some(BackendError::ChildTrie));
}

#[test]
fn the_backend_reads_what_is_there() {
    let state = state(&Model::from([(b"a".to_vec(), b"1".to_vec())]));
    assert_eq!(state.storage(b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!(state.storage_hash(b"a"), Ok(Some(BlakeTwo256::hash(b"1"))));
    assert_eq!((state.exists_storage(b"a"), state.exists_storage(b"b")), (Ok(true), Ok(false)));
    assert_eq!(state.storage(b"b"), Ok(None));
}

#[test]
fn debugging_shows_no_content() {
    let state = state(&Model::from([(b"key".to_vec(), b"value".to_vec())]));
    assert_eq!(format!("{state:?}"), "ShardState(1 keys, 8 bytes)");
}
