//! Ways to write a command line that scripts for the published command line use.

mod command;

use std::{net::TcpListener, process::Command};

use cloister_chain_primitives::{AccountId, EnclaveRecord};
use cloister_claims::TeeKind;
use command::{
    Cli,
    node::{FINGERPRINT, Node, record},
    text,
    worker::Worker,
};

/// A port of this machine on which nobody listens.
fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn port(url: &str) -> &str {
    url.rsplit_once(':').unwrap().1
}

#[test]
fn host_and_port_of_a_node_may_stand_apart() {
    let cli = Cli::new();
    let port = closed_port();
    for (arguments, expected) in [
        (vec!["-u", "ws://127.0.0.1", "-p", port.as_str()], format!("ws://127.0.0.1:{port}")),
        (vec!["-p", &port], format!("ws://127.0.0.1:{port}")),
        (vec!["--node-url", "ws://127.0.0.1:9", "--node-port", &port], format!("ws://127.0.0.1:{port}")),
        (vec!["-u", "ws://127.0.0.1:9/rpc"], "ws://127.0.0.1:9/rpc".into()),
    ] {
        for arguments in
            [[&["balance", "//Alice"], &arguments[..]].concat(), [&arguments[..], &["balance", "//Alice"]].concat()]
        {
            let (code, failure) = cli.json(&arguments);
            assert_eq!(code, 1, "{failure}");
            let error = failure["error"].as_str().unwrap();
            assert!(error.starts_with(&format!("cannot reach a node at {expected}: ")), "{arguments:?}: {failure}");
        }
    }
    for wrong in [["-p", "65536"], ["-p", "many"], ["-P", "-1"], ["-u", "127.0.0.1"]] {
        assert_eq!(cli.json(&[&["balance", "//Alice"], &wrong[..]].concat()).0, 2, "{wrong:?}");
    }
}

#[test]
fn host_and_port_of_a_worker_may_stand_apart() {
    let node = Node::start();
    let founder = AccountId::new([3; 32]);
    let shard = node.bear(&founder, 5);
    let worker = Worker::serving(shard);
    let enclave = EnclaveRecord { tls_key_hash: worker.tls_key_hash, ..record(TeeKind::Sgx) };
    node.register(&founder, &enclave);
    let cli = Cli::new();
    let addresses = ["-u", "ws://127.0.0.1", "-p", port(&node.url), "-U", "wss://127.0.0.1", "-P", port(&worker.url)];
    let (code, shown) = cli.json(&[&addresses[..], &["trusted", "get-shard"]].concat());
    assert_eq!((code, shown["enclave"].as_str()), (0, Some(founder.to_string().as_str())), "{shown}");

    let closed = closed_port();
    let addresses = ["-u", &node.url, "-U", "wss://127.0.0.1:1", "-P", &closed];
    let (code, failure) = cli.json(&[&["trusted", "get-shard"], &addresses[..]].concat());
    let error = failure["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("cannot reach a worker at wss://127.0.0.1:{closed}: ")), "{failure}");
    assert_eq!(code, 1);
}

/// As the published tutorial does it, in a shell.
#[test]
fn a_script_reads_the_fingerprint_off_the_list_of_workers() {
    let node = Node::start();
    let founder = AccountId::new([3; 32]);
    let shard = node.bear(&founder, 5);
    let worker = Worker::serving(shard);
    let enclave = EnclaveRecord { tls_key_hash: worker.tls_key_hash, ..record(TeeKind::Sgx) };
    node.register(&founder, &enclave);
    node.register(&AccountId::new([4; 32]), &EnclaveRecord { fingerprint: [9; 32], ..enclave });
    let script = "read MRENCLAVE <<< $(\"$CLI\" list-workers | awk '/  MRENCLAVE: / { print $2; exit }')
        echo $MRENCLAVE
        \"$CLI\" trusted --mrenclave $MRENCLAVE get-fingerprint
        \"$CLI\" trusted --mrenclave $MRENCLAVE get-shard-vault";
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .args(["-c", script])
        .env("CLI", env!("CARGO_BIN_EXE_cloister"))
        .env("HOME", home.path())
        .env("CLOISTER_NODE_URL", &node.url)
        .env("CLOISTER_WORKER_URL", &worker.url)
        .output()
        .unwrap();
    let fingerprint = bs58::encode(FINGERPRINT).into_string();
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), [&fingerprint; 2]);
    assert_eq!(
        text(&output.stderr).trim_end(),
        "error: the enclave refused: no vault: use enclaveBridge.shieldFunds (`cloister shield-funds` moves money to the \
         shard)"
    );
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn direct_may_stand_before_the_command_and_other_code_is_refused() {
    let node = Node::start();
    let founder = AccountId::new([3; 32]);
    let shard = node.bear(&founder, 5);
    let worker = Worker::serving(shard);
    node.register(&founder, &EnclaveRecord { tls_key_hash: worker.tls_key_hash, ..record(TeeKind::Sgx) });
    let cli = Cli::new();
    let addresses = ["--node-url", &node.url, "--worker-url", &worker.url];
    let other = bs58::encode([9; 32]).into_string();
    for transfer in [
        &["trusted", "--mrenclave", &other, "--direct", "transfer", "//Alice", "//Bob", "1"][..],
        &["trusted", "transfer", "//Alice", "//Bob", "1", "--direct", "--mrenclave", &other],
    ] {
        let (code, failure) = cli.json(&[transfer, &addresses[..]].concat());
        let hex = "09".repeat(32);
        let error = format!("layer one knows no finalized shard of enclaves with fingerprint 0x{hex}");
        assert_eq!((code, failure["error"].as_str()), (3, Some(error.as_str())));
    }
    // What only a direct call refuses shows that it is one.
    let (code, failure) = cli.json(&[
        "trusted",
        "--direct",
        "transfer",
        "//Alice",
        "//Bob",
        "1",
        "--payer",
        "//Bob",
        addresses[0],
        addresses[1],
    ]);
    let error = "--payer pays layer one's fee, and a call with --direct has none";
    assert_eq!((code, failure["error"].as_str()), (2, Some(error)));
    for wrong in ["0x12", "0OIl", &bs58::encode([9; 31]).into_string()] {
        let (code, failure) = cli.json(&["trusted", "--mrenclave", wrong, "get-shard"]);
        assert_eq!(code, 2);
        assert!(failure["error"].as_str().unwrap().contains("a fingerprint is 32 bytes in hex or base58"), "{failure}");
    }
}

#[test]
fn keys_for_shards_are_those_for_layer_one() {
    let cli = Cli::new();
    let (code, made) = cli.json(&["trusted", "new-account"]);
    assert_eq!(code, 0, "{made}");
    let (code, listed) = cli.json(&["trusted", "list-accounts"]);
    assert_eq!((code, &listed), (0, &cli.json(&["list-accounts"]).1));
    assert!(listed["accounts"].as_array().unwrap().iter().any(|entry| entry["account"] == made["account"]), "{listed}");
}
