//! Damage is noticed when the store is opened, and named.
use std::{fs, path::Path};

use cloister_simulation::torn::TornDisk;
use cloister_store::{FILE, Kept, Store, StoreError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::{
    model::{Author, Model},
    open, recovered, shard,
};

/// Contents of a store, as it was closed and as a crash after its last commit left it.
fn stores() -> ([Vec<u8>; 2], Vec<Kept>) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let disk = TornDisk::default();
    let store = Store::with_backend(disk.clone(), Path::new("simulated"), shard()).unwrap();
    let (mut model, mut author) = (Model::default(), Author::new(20_000));
    for _ in 0..60 {
        let writes = author.commit(&model, &mut random);
        if model.commit(&writes) {
            store.commit(&writes).unwrap();
        }
    }
    let crashed = disk.contents();
    let kept = recovered(&store);
    assert!(kept.len() > 5);
    drop(store);
    ([disk.contents(), crashed], kept)
}

/// What is kept in damaged contents, or how the damage shows.
fn opened(contents: &[u8]) -> Result<Vec<Kept>, StoreError> {
    let name = Path::new("simulated");
    let store = Store::with_backend(TornDisk::with(contents.to_vec()), name, shard())?;
    Ok(recovered(&store))
}

#[test]
fn damaged_bytes_are_an_error_or_nobodys() {
    let (stores, kept) = stores();
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut noticed = 0;
    for contents in &stores {
        let last = contents.iter().rposition(|byte| *byte != 0).unwrap();
        for case in 0..CASES {
            let mut damaged = contents.clone();
            let start = if case % 4 == 0 { random.gen_range(64..512) } else { random.gen_range(512..=last) };
            match case % 3 {
                0 => damaged[start] ^= 1 << random.gen_range(0..8),
                1 => random.fill(&mut damaged[start..(start + 512).min(contents.len())]),
                _ => damaged[start..(start + 4096).min(contents.len())].fill(0),
            }
            match opened(&damaged) {
                Ok(now) => assert!(now == kept, "case {case} at {start}: damage went unnoticed"),
                Err(error) => {
                    assert!(matches!(&error, StoreError::Damaged { .. }), "case {case} at {start}: {error}");
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > CASES / 2, "{noticed}");
}

/// What no checksum covers. After a crash one bit alone says which of the last two commits is the newest; which of
/// them the disk held when it lost power, only the enclave can know, from what others have seen of its blocks.
#[test]
fn damage_to_the_header_is_an_error_or_nobodys() {
    let (stores, kept) = stores();
    for contents in &stores {
        for bit in (0..64 * 8).filter(|bit| *bit != NEWEST_COMMIT) {
            let mut damaged = contents.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match opened(&damaged) {
                Ok(now) => assert_eq!(now, kept, "bit {bit}"),
                Err(error) => assert!(matches!(&error, StoreError::Damaged { .. }), "bit {bit}: {error}"),
            }
        }
    }
}

#[test]
fn a_file_of_another_length_is_an_error() {
    let (stores, kept) = stores();
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for contents in &stores {
        for _ in 0..100 {
            let length = random.gen_range(1..contents.len());
            match opened(&contents[..length]) {
                Ok(now) => assert_eq!(now, kept),
                Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "{length}: {error}"),
            }
        }
    }
}

#[test]
fn an_empty_or_foreign_file_is_never_taken_for_a_new_store() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    let path = directory.path().join(FILE);
    let named = format!("{}: is damaged: ", path.display());
    for contents in [vec![], b"{}".to_vec(), vec![0; 100_000]] {
        fs::write(&path, &contents).unwrap();
        let error = Store::open(directory.path(), shard()).unwrap_err();
        assert!(error.to_string().starts_with(&named), "{error}");
        assert_eq!(fs::read(&path).unwrap(), contents);
    }
    fs::remove_file(&path).unwrap();
    drop(redb::Database::create(&path).unwrap());
    let error = Store::open(directory.path(), shard()).unwrap_err();
    assert_eq!(error.to_string(), format!("{named}Table 'meta' does not exist"));
}

const CASES: usize = 600;
const NEWEST_COMMIT: usize = 9 * 8;
