//! Storage proofs: reading layer one's state from trie nodes that the host supplies.

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    H256, Hashing,
    storage::{
        ENCLAVE_BRIDGE_VERSION, SIDECHAIN_VERSION, TEEREX_VERSION, enclave_bridge_version, sidechain_version,
        teerex_version,
    },
};
use codec::DecodeAll;
use sp_trie::{EMPTY_PREFIX, HashDBT, LayoutV1, StorageProof, read_trie_value, trie_types::TrieError};

use crate::{Error, Head, MAX_PROOF_BYTES, MAX_PROOF_NODES, VerifiedHeader};

/// What a finalized state holds under the keys of one read: a value, or the proven absence of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenValues {
    at: Head,
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl ProvenValues {
    /// The block whose state was read.
    pub fn at(&self) -> Head {
        self.at
    }

    /// The value of a key, `None` if it is proven that there is none.
    ///
    /// # Errors
    /// `NotRead` for a key that was not asked for: nothing is known about it, which is not absence.
    pub fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.values.get(key).map(Option::as_deref).ok_or_else(|| Error::NotRead { key: key.to_vec() })
    }

    /// The decoded value of a key, `None` if it is proven that there is none.
    ///
    /// # Errors
    /// `NotRead` as for [`Self::get`]; `UndecodableValue` if the value is not exactly the encoding of a `T`.
    pub fn decode<T: DecodeAll>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        self.get(key)?
            .map(|mut value| T::decode_all(&mut value))
            .transpose()
            .map_err(|_| Error::UndecodableValue { key: key.to_vec() })
    }
}

/// Checks that layer one lays out its storage as this enclave knows it. The read must have included
/// [`enclave_bridge_version`], [`teerex_version`] and [`sidechain_version`], best together with what is to be interpreted.
///
/// # Errors
/// `UnknownStorageLayout` for any other version of either pallet, also for none; `NotRead` if a key was left out.
pub fn check_layout(values: &ProvenValues) -> Result<(), Error> {
    for (pallet, key, known) in [
        ("EnclaveBridge", enclave_bridge_version(), ENCLAVE_BRIDGE_VERSION),
        ("Teerex", teerex_version(), TEEREX_VERSION),
        ("Sidechain", sidechain_version(), SIDECHAIN_VERSION),
    ] {
        let found = values.decode::<u16>(&key)?;
        if found != Some(known) {
            return Err(Error::UnknownStorageLayout { pallet, found });
        }
    }
    Ok(())
}

/// Reads `keys` from the state of `header`. Each node counts by its hash alone, so their order, and nodes that no key
/// needs, change nothing; their number and size are bounded before anything is hashed.
pub(crate) fn read(header: &VerifiedHeader, proof: Vec<Vec<u8>>, keys: &[Vec<u8>]) -> Result<ProvenValues, Error> {
    if proof.len() > MAX_PROOF_NODES {
        return Err(Error::TooManyProofNodes { nodes: proof.len(), max: MAX_PROOF_NODES });
    }
    let bytes = proof.iter().fold(0usize, |sum, node| sum.saturating_add(node.len()));
    if bytes > MAX_PROOF_BYTES {
        return Err(Error::ProofTooLarge { bytes, max: MAX_PROOF_BYTES });
    }

    let root = header.state_root();
    let nodes = StorageProof::new(proof).into_memory_db::<Hashing>();
    if !nodes.contains(&root, EMPTY_PREFIX) {
        return Err(Error::ProofOfAnotherRoot { root });
    }
    let values = keys
        .iter()
        .map(|key| {
            // Layout 1 reads tries of layout 0 too.
            let value = read_trie_value::<LayoutV1<Hashing>, _>(&nodes, &root, key, None, None)
                .map_err(|error| refusal(root, *error))?;
            Ok((key.clone(), value))
        })
        .collect::<Result<_, Error>>()?;
    Ok(ProvenValues { at: header.head(), values })
}

fn refusal(root: H256, error: TrieError<H256>) -> Error {
    match error {
        TrieError::IncompleteDatabase(node) => Error::MissingNode { node },
        TrieError::InvalidStateRoot(root) => Error::ProofOfAnotherRoot { root },
        // Nodes are found by their hash from the root on, so these are layer one's own and not the host's.
        TrieError::ValueAtIncompleteKey(..) | TrieError::DecoderError(..) | TrieError::InvalidHash(..) => {
            Error::MalformedState { root }
        }
    }
}
