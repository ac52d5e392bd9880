//! What `docs/wire.md` says of methods and limits.

use cloister_rpc::{Limits, MAX_SUBMIT_BATCH, Method};

#[test]
fn every_method_and_limit_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire.md");
    let page = std::fs::read_to_string(page).unwrap();
    for method in Method::ALL {
        assert!(page.contains(&format!("`{}`", method.name())), "{}", method.name());
    }
    let limits = Limits::default();
    for line in [
        format!("| message | {} KiB |", limits.message_bytes / 1024),
        format!("| {} a second, {} at once;", limits.requests_per_second, limits.request_burst),
        format!("| JSON-RPC batch | {} |", limits.batch),
        format!("| operations in `author_submitBatch` | {MAX_SUBMIT_BATCH} |"),
        format!("| watched operations of a connection | {} |", limits.watched),
        format!("| silence of a client | {} s;", limits.idle.as_secs()),
        format!("| answer | {} s |", limits.answer.as_secs()),
    ] {
        assert!(page.contains(&line), "{line}");
    }
}
