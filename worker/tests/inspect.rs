//! What the inspecting commands print of an enclave: on standard output what gets registered, for programs to read, and
//! on standard error what people must not overlook.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use cloister_chain_primitives::{
    AccountId, H256, ShardBirth, ShardConfig, ShardId,
    config::{Checkpoint, MeasuredConfig},
    shard::{RSA_MODULUS_BYTES, ShieldingKeys},
};
use cloister_claims::TeeKind;
use cloister_link::{PROTOCOL, ToEnclave, ToHost, transport};
use codec::Encode;
use serde_json::{Value, json};
use sp_core::crypto::Ss58Codec;
use tokio::io::AsyncReadExt;

const SIMULATED: &str = "warning: this enclave is simulated: only the process itself says what code it runs\n";

fn birth() -> ShardBirth {
    let mut rsa_modulus = [5; RSA_MODULUS_BYTES];
    rsa_modulus[0] = 0xc1;
    ShardBirth {
        config: ShardConfig {
            enclave_fingerprint: [1; 32],
            max_instances: Some(1),
            authorities: None,
            maintenance_mode: false,
        },
        upgrade_delay: 2,
        escrow_cap: None,
        shielding_keys: ShieldingKeys { epoch: 0, hpke: [4; 32], rsa_modulus },
        genesis_commitment: H256::zero(),
        founder: AccountId::new([7; 32]),
    }
}

/// Runs a command with an enclave that introduces itself as one of `kind` with the [`birth`] above.
async fn inspect(kind: TeeKind, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let config = MeasuredConfig {
        genesis: H256::zero(),
        checkpoint: Checkpoint { number: 0, hash: H256::zero(), set_id: 0, authorities: vec![] },
        simulation_allowed: true,
        unbound_getters_allowed: true,
        slot_ms: 300,
        min_upgrade_delay: 2,
    };
    std::fs::write(path("config"), config.encode()).unwrap();
    let birth = birth();
    let introduction = ToHost::Identity {
        protocol: PROTOCOL,
        kind,
        measurement: birth.config.enclave_fingerprint,
        account: birth.founder.clone(),
        birth,
        shard: ShardId(H256::repeat_byte(3)),
        sealed_identity: Some(b"sealed".to_vec()),
        collateral: None,
    };
    let (near, mut far) = tokio::io::duplex(1024 * 1024);
    let (sender, receiver) = transport::split::<_, ToHost, ToEnclave>(near);
    sender.send(introduction).await.unwrap();
    sender.flush().await.unwrap();
    drop((sender, receiver));
    let mut message = Vec::new();
    far.read_to_end(&mut message).await.unwrap();
    std::fs::write(path("message"), message).unwrap();
    script(&path("enclave"), &path("message"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloister-worker"));
    command.args(arguments).env_clear().env("RUST_LOG", "off");
    for (option, file) in [("--enclave-config", "config"), ("--enclave-binary", "enclave"), ("--data-dir", "data")] {
        command.arg(option).arg(path(file));
    }
    command.output().unwrap()
}

/// A program that says this and ends as soon as it was told something, too. The link is its standard input.
fn script(path: &Path, message: &Path) {
    let lines = format!("/bin/cat {} >&0\nexec /usr/bin/head -c 1 >/dev/null\n", message.display());
    std::fs::write(path, format!("#!/bin/sh\n{lines}")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}

fn printed(output: Output) -> (String, String) {
    assert!(output.status.success(), "{output:?}");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn the_fingerprint_is_the_shards_and_simulation_is_said_beside_it() {
    let fingerprint = format!("0x{}", hex::encode(birth().config.enclave_fingerprint));
    let simulated = printed(inspect(TeeKind::Simulated, &["mrenclave"]).await);
    assert_eq!(simulated, (format!("{fingerprint}\n"), SIMULATED.into()));
    assert_eq!(printed(inspect(TeeKind::Sgx, &["mrenclave"]).await), (format!("{fingerprint}\n"), String::new()));

    let (json, warning) = printed(inspect(TeeKind::Simulated, &["mrenclave", "--json"]).await);
    let base58 = bs58::encode([1; 32]).into_string();
    let expected = json!({ "mrenclave": fingerprint, "base58": base58, "kind": "simulated" });
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
    assert_eq!(warning, SIMULATED);
}

#[tokio::test]
async fn the_account_is_the_shards_founder() {
    let founder = birth().founder;
    let (address, key) = (founder.to_ss58check(), format!("0x{}", hex::encode(founder)));
    let (line, warning) = printed(inspect(TeeKind::Simulated, &["signing-key"]).await);
    assert_eq!((line, warning), (format!("{address} {key}\n"), SIMULATED.into()));
    let (json, _) = printed(inspect(TeeKind::Simulated, &["signing-key", "--json"]).await);
    let expected = json!({ "account": address, "public_key": key });
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
}

#[tokio::test]
async fn the_shielding_key_is_that_of_the_shards_birth() {
    let mut modulus = birth().shielding_keys.rsa_modulus;
    modulus.reverse();
    let (key, warning) = printed(inspect(TeeKind::Simulated, &["shielding-key"]).await);
    let expected = json!({ "n": modulus.to_vec(), "e": [1, 0, 1, 0] });
    assert_eq!(serde_json::from_str::<Value>(&key).unwrap(), expected);
    assert_eq!(warning, SIMULATED);
}
