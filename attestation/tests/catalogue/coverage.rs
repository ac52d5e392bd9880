//! Every error has a test that expects it.

use std::collections::BTreeSet;

use cloister_attestation::Error;
use codec::{DecodeAll, Encode};

use crate::{certificates, cost, documents, platforms, quotes, revocation, time};

#[test]
fn every_error_is_expected_by_some_test() {
    let tables = [
        certificates::COVERED,
        cost::COVERED,
        documents::COVERED,
        platforms::COVERED,
        quotes::COVERED,
        revocation::COVERED,
        time::COVERED,
    ];
    let expected: BTreeSet<Vec<u8>> = tables.iter().copied().flatten().map(|(_, error)| error.encode()).collect();
    let missing: Vec<_> = (0..=u8::MAX)
        .filter_map(|index| Error::decode_all(&mut &[index][..]).ok())
        .filter(|error| !expected.contains(&error.encode()))
        .map(Error::name)
        .collect();
    assert!(missing.is_empty(), "no test expects {missing:?}");
}

/// A change would give old refusals a new meaning: layer one's errors and events carry the index.
#[test]
fn indices_are_frozen() {
    let names: String = (0..=u8::MAX)
        .filter_map(|index| {
            Error::decode_all(&mut &[index][..]).ok().map(|error| format!("{index} {}\n", error.name()))
        })
        .collect();
    let hash = <sha2::Sha256 as sha2::Digest>::digest(&names);
    assert_eq!(hex::encode(hash), "81097bf8f6bd222ab4616bbaad753b31d6e9ae71943200ff919d657823636fc0", "{names}");
}
