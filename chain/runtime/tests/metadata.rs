//! What clients with generated code were built against.

use std::{env, fs, path::Path};

use cloister_runtime::Runtime;

/// The newest version that subxt understands.
const VERSION: u32 = 16;

#[test]
fn checked_in_metadata_is_the_runtimes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/subxt/metadata.scale");
    let metadata = Runtime::metadata_at_version(VERSION).unwrap();
    if env::var_os("CLOISTER_RENEW_METADATA").is_some() {
        fs::write(&file, &*metadata).unwrap();
    }
    let is_equal = fs::read(&file).unwrap() == *metadata;
    assert!(
        is_equal,
        "testing/subxt/metadata.scale is another runtime's; this renews it:\n\
         CLOISTER_RENEW_METADATA=1 cargo xtask test checked_in_metadata"
    );
}
