//! What an enclave and a node tell, command by command.

mod command;

use std::fs;

use cloister_chain_primitives::{AccountId, EnclaveRecord, H256, ShardId, UNIT, storage};
use cloister_claims::TeeKind;
use command::{
    Cli,
    node::{FINGERPRINT, HEAD_NUMBER, Node, block_hash, hex0x, record},
    text,
    worker::{EXECUTED, FAILED, HEIGHT, OPEN, Worker, incarnation_key},
};
use jsonrpsee::RpcModule;
use serde_json::{Value, json};

const METADATA: &str = "0x6d65746104";

struct Deployment {
    node: Node,
    worker: Worker,
    shard: ShardId,
    cli: Cli,
}

impl Deployment {
    fn start() -> Self {
        let node = Node::with_methods(|module: &mut RpcModule<_>| {
            module.register_method("state_getMetadata", |_, _, _| METADATA).unwrap();
        });
        let founder = AccountId::new([3; 32]);
        let shard = node.bear(&founder, 5);
        let worker = Worker::serving(shard);
        let (tls_key_hash, incarnation_key) = (worker.tls_key_hash, incarnation_key());
        node.register(&founder, &EnclaveRecord { tls_key_hash, incarnation_key, ..record(TeeKind::Sgx) });
        Self { node, worker, shard, cli: Cli::new() }
    }

    /// What people read, and the object; of a refusal the sentence.
    fn run(&self, arguments: &[&str]) -> (i32, Vec<String>, Value) {
        let addresses = ["--node-url", &self.node.url, "--worker-url", &self.worker.url];
        let arguments = [arguments, &addresses].concat();
        let output = self.cli.run(&arguments);
        let (code, object) = self.cli.json(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        (code, text(&output.stdout).lines().map(Into::into).collect(), object)
    }

    fn ok(&self, arguments: &[&str]) -> (Vec<String>, Value) {
        let (code, lines, object) = self.run(arguments);
        assert_eq!(code, 0, "{object}");
        (lines, object)
    }
}

#[test]
fn an_enclave_tells_of_itself() {
    let deployment = Deployment::start();
    let base58 = bs58::encode(FINGERPRINT).into_string();
    let (lines, object) = deployment.ok(&["trusted", "get-fingerprint"]);
    assert_eq!(lines, [base58.as_str()]);
    assert_eq!(object, json!({ "base58": base58, "mrenclave": hex0x(&FINGERPRINT) }));

    let (lines, object) = deployment.ok(&["trusted", "version"]);
    assert_eq!(lines, ["name     cloister-enclave", "version  0.1.0\\u{1b}[2J", "health   serving"]);
    assert_eq!(object["version"], "0.1.0\x1b[2J");

    let (lines, object) = deployment.ok(&["trusted", "rpc-methods"]);
    assert_eq!(lines, ["rpc_methods", "author_getShard"]);
    assert_eq!(object, json!({ "methods": ["rpc_methods", "author_getShard"] }));
}

#[test]
fn an_enclave_tells_of_its_shard() {
    let deployment = Deployment::start();
    let shard = hex0x(&deployment.shard);
    let header = deployment.ok(&["trusted", "get-header"]);
    assert_eq!(deployment.ok(&["trusted", "get-sidechain-header"]), header);
    assert_eq!(header.0[0], format!("block number     {HEIGHT}"));
    assert_eq!((&header.1["block_number"], &header.1["shard"]), (&json!(HEIGHT), &json!(shard)));
    assert_eq!(header.1["parent_hash"], format!("{:?}", H256::repeat_byte(1)));

    deployment.node.set(&storage::inbox_length(&deployment.shard), 9u64);
    let (lines, object) = deployment.ok(&["trusted", "inbox-status"]);
    assert_eq!(lines[0], "entries              9 on layer one, finally");
    let expected = json!({
        "entries": 9, "consumed": 6, "calls": 1, "shieldings_credited": 3, "shieldings_returned": 2, "shard": shard,
    });
    assert_eq!(object, expected);

    let (lines, object) = deployment.ok(&["trusted", "pending-calls"]);
    let waiting = format!("{:?}", H256::repeat_byte(8));
    assert_eq!((lines, object), (vec![waiting.clone()], json!({ "operations": [waiting] })));

    let (lines, object) = deployment.ok(&["trusted", "print-metadata"]);
    assert_eq!((lines, object), (vec!["0x6d6574610e".into()], json!({ "bytes": 5, "metadata": "0x6d6574610e" })));
    assert_eq!(deployment.ok(&["trusted", "print-sgx-metadata"]).0, ["0x6d6574610e"]);
}

#[test]
fn a_sender_learns_what_became_of_a_call() {
    let deployment = Deployment::start();
    let outcome = |operation: H256| deployment.run(&["trusted", "outcome", "//Alice", &format!("{operation:?}")]);
    let (code, lines, object) = outcome(EXECUTED);
    assert_eq!((code, lines.len()), (0, 5), "{object}");
    let hash = |byte| format!("{:?}", H256::repeat_byte(byte));
    assert_eq!(
        object,
        json!({ "operation": hash(0x11), "block_number": 5, "ok": true, "outbox_number": OPEN, "outbox_id": hash(3) })
    );
    let (code, lines, object) = outcome(FAILED);
    assert_eq!((code, lines[3].as_str()), (0, "reason        too poor\\u{1b}"), "{object}");
    assert_eq!((&object["ok"], &object["reason"]), (&json!(false), &json!("too poor\x1b")));
    let (code, _, failure) = outcome(H256::zero());
    let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let error = format!("the shard remembers no call {:?} of {alice}", H256::zero());
    assert_eq!((code, failure["error"].as_str()), (1, Some(error.as_str())), "it may still wait");

    let unshielding = |number: u64| deployment.run(&["trusted", "unshielding", "//Alice", &number.to_string()]);
    let (code, lines, object) = unshielding(OPEN);
    assert_eq!((code, lines[3].as_str()), (0, "amount        5 UNIT"), "{object}");
    let to = AccountId::new([7; 32]).to_string();
    let amount = (5 * UNIT).to_string();
    assert_eq!(object, json!({ "number": OPEN, "from": alice, "to": to, "amount": amount, "block_number": HEIGHT }));
    let (code, _, failure) = unshielding(OPEN + 1);
    let error = format!("{alice} has no open unshielding {}", OPEN + 1);
    assert_eq!((code, failure["error"].as_str()), (3, Some(error.as_str())));
}

#[test]
fn a_node_tells_of_its_chain() {
    let deployment = Deployment::start();
    let (lines, object) = deployment.ok(&["get-header"]);
    assert_eq!(lines[0], format!("number           {HEAD_NUMBER}"));
    assert_eq!((&object["hash"], &object["finalized"]), (&json!(block_hash(HEAD_NUMBER)), &json!(true)));
    assert_eq!(deployment.ok(&["get-header", "7"]).1["hash"], json!(block_hash(7)));
    let (code, _, failure) = deployment.run(&["get-header", "101"]);
    assert_eq!((code, failure["error"].as_str()), (1, Some("the node has no block 101")));

    let (lines, object) = deployment.ok(&["print-metadata"]);
    assert_eq!((lines, object), (vec![METADATA.into()], json!({ "bytes": 5, "metadata": METADATA })));
    let file = deployment.cli.home.path().join("metadata.scale");
    let path = file.to_str().unwrap();
    let (lines, object) = deployment.ok(&["print-metadata", "--out", path]);
    assert_eq!((lines, object), (vec![format!("5 bytes in {path}")], json!({ "bytes": 5, "file": path })));
    assert_eq!(fs::read(&file).unwrap(), b"meta\x04");
    let (code, _, failure) = deployment.run(&["print-metadata", "--out", "/dev/null/metadata"]);
    assert_eq!(code, 1);
    assert!(failure["error"].as_str().unwrap().starts_with("cannot write /dev/null/metadata: "), "{failure}");
}

#[test]
fn what_could_not_be_paid_is_shown() {
    let deployment = Deployment::start();
    let bob = cloister_client::Signer::from_secret(Default::default(), "//Bob").unwrap().account();
    deployment.node.set(&storage::unclaimed(&deployment.shard, &bob), 7u128);
    let (lines, object) = deployment.ok(&["unclaimed", "//Bob"]);
    let shard = hex0x(&deployment.shard);
    assert_eq!(object, json!({ "account": bob.to_string(), "amount": "7", "shard": shard }));
    assert_eq!(lines[0], format!("account  {bob}"));
    assert_eq!(deployment.ok(&["unclaimed", "//Eve", "--shard", &shard]).1["amount"], "0");
}

#[test]
fn many_are_paid_in_one_message() {
    let deployment = Deployment::start();
    let file = deployment.cli.home.path().join("wages.txt");
    let path = file.to_str().unwrap();
    let pay = |text: &str, options: &[&str]| {
        fs::write(&file, text).unwrap();
        deployment.run(&[&["trusted", "transfer-batch", "//Alice", path], options].concat())
    };
    let (code, lines, object) = pay("# June\n\n//Bob 2\n//Charlie 0.5\n", &[]);
    assert_eq!(code, 0, "{object}");
    let bob = cloister_client::Signer::from_secret(Default::default(), "//Bob").unwrap().account();
    assert_eq!((lines.len(), lines[0].as_str()), (2, format!("    3  {bob}  2 UNIT  paid in block 5").as_str()));
    let of = |object: &Value, field: &str| -> Value {
        object["payments"].as_array().unwrap().iter().map(|payment| payment[field].clone()).collect()
    };
    assert_eq!((of(&object, "line"), of(&object, "ok")), (json!([3, 4]), json!([true, true])));
    assert_eq!(deployment.worker.asked().iter().filter(|method| *method == "author_submitBatch").count(), 2);

    let (code, lines, object) = pay("//Bob 14planck\n//Bob 13planck\n//Bob 1", &[]);
    assert_eq!((code, of(&object, "ok")), (3, json!([false, false, true])), "{object}");
    assert!(lines[0].ends_with("0.000000000014 UNIT  NOT PAID: too much"), "{lines:?}");
    assert!(lines[1].ends_with("NOT PAID: the enclave refused: unwanted\\u{1b}"), "{lines:?}");

    // What is not known is not said to be refused, and nothing is sent after it.
    let many = "//Bob 1\n".repeat(127) + "//Bob 15planck\n//Bob 1\n";
    let (code, lines, object) = pay(&many, &["--timeout", "0"]);
    assert_eq!((code, &object["unsent"], lines.len()), (1, &json!(1), 129), "{object}");
    assert!(lines[127].contains("not heard of in time: `cloister trusted outcome` of 0x"), "{}", lines[127]);
    assert_eq!(lines[128], "1 more were not sent");

    // Nor is what was sent, when the worker hangs up before it answers: each call is named, so that it can be asked for.
    let many = "//Bob 1\n".repeat(128) + "//Bob 16planck\n//Bob 1\n" + &"//Bob 1\n".repeat(127);
    let (code, lines, object) = pay(&many, &[]);
    assert_eq!((code, &object["unsent"], lines.len()), (1, &json!(1), 256 + 2), "{object}");
    assert!(lines[127].ends_with("paid in block 5"), "{}", lines[127]);
    for line in &lines[128..256] {
        assert!(line.contains("not heard of in time: `cloister trusted outcome` of 0x"), "{line}");
    }
    assert!(
        lines[256].starts_with("the worker closed the connection; what was sent may count all the same"),
        "{lines:?}"
    );
    assert_eq!(
        (lines[257].as_str(), &object["trouble"]),
        ("1 more were not sent", &json!("the worker closed the connection"))
    );
    let operations = of(&object, "operation");
    assert!(operations.as_array().unwrap().iter().all(|operation| operation.is_string()), "{operations}");

    for (text, error) in [
        ("", format!("{path} holds no payment")),
        ("//Bob", "line 1: neither an account and an amount nor a comment".into()),
        ("//Bob 1\n//Bob much", "line 2: an amount is written like 1000, 0.5, 300UNIT or 123planck".into()),
    ] {
        let (code, _, failure) = pay(text, &[]);
        assert_eq!((code, failure["error"].as_str()), (2, Some(error.as_str())));
    }
}
