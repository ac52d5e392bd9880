//! What people and operators write.

use cloister_chain_primitives::AccountId;
use cloister_client::{Scheme, Signer};
use sp_core::crypto::Ss58Codec;

use crate::scale::{self, Decoder};

#[path = "../../cli/src/amount.rs"]
mod amount;

const DECODERS: &[Decoder] = &[
    (planck, || b"340282366920938.463463374607UNIT".to_vec()),
    (planck, || b"123planck".to_vec()),
    (account, || b"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".to_vec()),
    (development_account, || b"Alice//stash/soft/7".to_vec()),
    (hex_seed, || b"0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".to_vec()),
    (shards, || bs58::encode([7; 32]).into_vec()),
];

pub fn run(input: &[u8]) {
    scale::choose(DECODERS, input);
}

pub fn seeds() -> Vec<Vec<u8>> {
    scale::seeds(DECODERS)
}

fn planck(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(planck) = amount::parse(text) {
        assert_eq!(amount::parse(&amount::format(planck)), Ok(planck), "another amount when read back");
    }
}

fn account(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(account) = AccountId::from_ss58check(text) {
        assert_eq!(AccountId::from_ss58check(&account.to_ss58check()).ok(), Some(account));
    }
}

/// Behind the development phrase, which is not stretched for each path.
fn development_account(bytes: &[u8]) {
    if let Ok(path) = std::str::from_utf8(bytes) {
        signer(&format!("//{path}"));
    }
}

fn hex_seed(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.starts_with("0x")
    {
        signer(text);
    }
}

fn signer(secret: &str) {
    for scheme in [Scheme::Ed25519, Scheme::Sr25519] {
        if let Ok(signer) = Signer::from_secret(scheme, secret) {
            let again = Signer::from_secret(scheme, secret).expect("it was read before");
            assert_eq!(signer.account(), again.account());
        }
    }
}

/// As clients name them to a worker.
fn shards(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let message =
        serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "author_pendingExtrinsics", "params": [text] });
    for call in cloister_rpc::calls(message.to_string().as_bytes(), 1) {
        if let Ok(Some(cloister_rpc::Call::PendingExtrinsics(shards))) = call {
            assert_eq!(shards.iter().map(|shard| bs58::encode(shard).into_string()).collect::<Vec<_>>(), [text]);
        }
    }
}
