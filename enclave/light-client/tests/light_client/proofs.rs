//! Reading finalized state by proof.

use cloister_chain_primitives::{
    AccountId, Hashing,
    storage::{
        self, AccountInfo, ENCLAVE_BRIDGE_VERSION, SIDECHAIN_VERSION, TEEREX_VERSION, enclave_bridge_version,
        sidechain_version, teerex_version,
    },
};
use cloister_light_client::{Error, MAX_PROOF_BYTES, MAX_PROOF_NODES, check_layout};
use codec::Encode;
use sp_core::storage::StateVersion;
use sp_runtime::traits::Hash;

use cloister_synthetic_layer_one::State;

fn account(seed: u8) -> Vec<u8> {
    storage::account(&AccountId::new([seed; 32]))
}

fn values() -> Vec<(Vec<u8>, Vec<u8>)> {
    let accounts =
        (0..40).map(|seed| (account(seed), AccountInfo { nonce: seed.into(), ..Default::default() }.encode()));
    // More than 32 bytes: state version 1 keeps such a value in a node of its own.
    let rest = [
        (storage::timestamp(), 1_700_000_000_000u64.encode()),
        (storage::events(), vec![0xee; 500]),
        (enclave_bridge_version(), ENCLAVE_BRIDGE_VERSION.encode()),
    ];
    accounts.chain(rest).collect()
}

fn state() -> State {
    State::new(values(), StateVersion::V1)
}

#[test]
fn reads_values_and_their_absence() {
    for version in [StateVersion::V0, StateVersion::V1] {
        let state = State::new(values(), version);
        let client = state.finalized();
        let header = client.finalized_header().unwrap();
        let keys = [account(7), account(200), storage::timestamp(), storage::events(), vec![]];
        let read = header.read(state.prove(&keys), &keys).unwrap();
        assert_eq!(read.at(), client.head());
        assert_eq!(read.decode::<AccountInfo>(&keys[0]).unwrap().unwrap().nonce, 7);
        assert_eq!(read.decode::<AccountInfo>(&keys[1]), Ok(None));
        assert_eq!(read.decode(&keys[2]), Ok(Some(1_700_000_000_000u64)));
        assert_eq!(read.get(&keys[3]), Ok(Some(&[0xee; 500][..])));
        assert_eq!(read.get(&keys[4]), Ok(None));
    }
}

#[test]
fn reads_less_than_was_proven() {
    let state = state();
    let client = state.finalized();
    let proof = state.prove(&[account(7), account(8)]);
    let read = client.finalized_header().unwrap().read(proof, &[account(8)]).unwrap();
    assert!(read.get(&account(8)).unwrap().is_some());
    assert_eq!(read.get(&account(7)), Err(Error::NotRead { key: account(7) }));
}

#[test]
fn a_key_that_was_not_read_is_not_absent() {
    let state = state();
    let client = state.finalized();
    let read = client.finalized_header().unwrap().read(state.prove(&[]), &[]);
    // A proof of nothing lacks even the root.
    assert_eq!(read, Err(Error::ProofOfAnotherRoot { root: state.root() }));
    let keys = [account(1)];
    let read = client.finalized_header().unwrap().read(state.prove(&keys), &keys).unwrap();
    assert_eq!(read.get(&account(2)), Err(Error::NotRead { key: account(2) }));
    assert_eq!(read.decode::<u32>(&account(2)), Err(Error::NotRead { key: account(2) }));
}

#[test]
fn refuses_values_that_do_not_decode() {
    let state = state();
    let client = state.finalized();
    let keys = [storage::timestamp()];
    let read = client.finalized_header().unwrap().read(state.prove(&keys), &keys).unwrap();
    let undecodable = Error::UndecodableValue { key: keys[0].clone() };
    assert_eq!(read.decode::<u128>(&keys[0]), Err(undecodable.clone()));
    // Bytes left over.
    assert_eq!(read.decode::<u32>(&keys[0]), Err(undecodable));
}

#[test]
fn refuses_a_proof_of_another_root() {
    let state = state();
    let client = state.finalized();
    let richer = AccountInfo { free: 1_000, ..Default::default() }.encode();
    let other = State::new(values().into_iter().chain([(account(7), richer)]), StateVersion::V1);
    let keys = [account(7)];
    let error = Error::ProofOfAnotherRoot { root: state.root() };
    assert_eq!(client.finalized_header().unwrap().read(other.prove(&keys), &keys), Err(error));
}

#[test]
fn refuses_a_proof_with_a_missing_node() {
    let state = state();
    let client = state.finalized();
    let header = client.finalized_header().unwrap();
    let keys = [account(7), storage::events()];
    let proof = state.prove(&keys);
    for missing in 0..proof.len() {
        let mut proof = proof.clone();
        let node = Hashing::hash(&proof.remove(missing));
        let error =
            if node == state.root() { Error::ProofOfAnotherRoot { root: node } } else { Error::MissingNode { node } };
        assert_eq!(header.read(proof, &keys), Err(error));
    }
    // A proof of one key does not prove the absence of another.
    let read = header.read(state.prove(&keys[..1]), &[account(8)]);
    assert!(matches!(read, Err(Error::MissingNode { .. })), "{read:?}");
}

#[test]
fn refuses_an_oversized_proof() {
    let state = state();
    let client = state.finalized();
    let header = client.finalized_header().unwrap();
    let keys = [account(7)];
    let proof = state.prove(&keys);
    let bytes: usize = proof.iter().map(Vec::len).sum();

    let mut filled = proof.clone();
    filled.push(vec![0; MAX_PROOF_BYTES - bytes]);
    assert!(header.read(filled.clone(), &keys).is_ok());
    filled.push(vec![0]);
    let error = Error::ProofTooLarge { bytes: MAX_PROOF_BYTES + 1, max: MAX_PROOF_BYTES };
    assert_eq!(header.read(filled, &keys), Err(error));

    let mut many = proof;
    many.resize(MAX_PROOF_NODES, vec![]);
    assert!(header.read(many.clone(), &keys).is_ok());
    many.push(vec![]);
    let error = Error::TooManyProofNodes { nodes: MAX_PROOF_NODES + 1, max: MAX_PROOF_NODES };
    assert_eq!(header.read(many, &keys), Err(error));
}

#[test]
fn refuses_a_state_that_is_no_trie() {
    // Whoever can finalize anything can finalize a root of nonsense.
    let garbage = vec![0xffu8; 40];
    let root = Hashing::hash(&garbage);
    let mut chain = cloister_synthetic_layer_one::Chain::new(0);
    let last = chain.push(|header| header.state_root = root);
    let voters = cloister_synthetic_layer_one::Voters::new(0, 1..=2);
    let mut client = chain.client(&voters);
    chain.import(&mut client, last, &voters).unwrap();
    let read = client.finalized_header().unwrap().read(vec![garbage], &[account(7)]);
    assert_eq!(read, Err(Error::MalformedState { root }));
}

#[test]
fn knows_its_storage_layout_only() {
    let known = [
        (enclave_bridge_version(), ENCLAVE_BRIDGE_VERSION),
        (teerex_version(), TEEREX_VERSION),
        (sidechain_version(), SIDECHAIN_VERSION),
    ];
    let keys = known.clone().map(|(key, _)| key);
    let read = |values: Vec<(Vec<u8>, Vec<u8>)>| {
        let state = State::new([(account(1), vec![1])].into_iter().chain(values), StateVersion::V1);
        let client = state.finalized();
        check_layout(&client.finalized_header().unwrap().read(state.prove(&keys), &keys).unwrap())
    };
    let good = || known.iter().map(|(key, version)| (key.clone(), version.encode())).collect::<Vec<_>>();
    assert_eq!(read(good()), Ok(()));
    for (index, pallet) in ["EnclaveBridge", "Teerex", "Sidechain"].into_iter().enumerate() {
        let newer = known[index].1 + 1;
        let mut values = good();
        values[index].1 = newer.encode();
        assert_eq!(read(values), Err(Error::UnknownStorageLayout { pallet, found: Some(newer) }));
        let mut values = good();
        values.remove(index);
        assert_eq!(read(values), Err(Error::UnknownStorageLayout { pallet, found: None }));
        let mut values = good();
        values[index].1 = vec![1];
        assert_eq!(read(values), Err(Error::UndecodableValue { key: keys[index].clone() }));
    }

    let (only, state) = ([enclave_bridge_version()], State::new(good(), StateVersion::V1));
    let read = state.finalized().finalized_header().unwrap().read(state.prove(&only), &only).unwrap();
    assert_eq!(check_layout(&read), Err(Error::NotRead { key: teerex_version() }));
}
