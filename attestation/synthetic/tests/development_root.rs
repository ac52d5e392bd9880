//! The development root is checked in where the verifier pins it, and is what everybody can draw from its public seed.

use std::path::Path;

use cloister_synthetic_evidence::{Authority, Platform, collateral, sgx_quote};

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/roots/development-root-ca.der")
}

#[test]
fn the_checked_in_root_is_the_built_one() {
    let checked_in = std::fs::read(file()).expect("attestation/src/roots/development-root-ca.der");
    assert_eq!(Authority::development().root_der(), checked_in);
}

#[test]
fn the_same_scenario_is_the_same_bytes() {
    let build = || {
        let (authority, platform) = (Authority::development(), Platform::sgx([7; 32]));
        (sgx_quote(&authority, &platform, &[1; 32], &[2; 64]), collateral(&authority, &platform))
    };
    assert_eq!(build(), build());
}

/// Writes the file that the test above compares with: `cargo test -p cloister-synthetic-evidence -- --ignored write`.
/// A new root makes every simulated enclave's evidence worthless to those who still pin the old one.
#[test]
#[ignore = "writes attestation/src/roots/development-root-ca.der"]
fn write_the_development_root() {
    std::fs::write(file(), Authority::development().root_der()).expect("writable");
}
