//! Commands on a shard as built: whom they talk to, and what they say before anything is entrusted to an enclave.

mod command;

use cloister_chain_primitives::{AccountId, BuildMode, EnclaveRecord, ShardId};
use cloister_claims::TeeKind;
use command::{
    Cli, NO_WORKER,
    node::{Node, hex0x, record},
    text,
    worker::Worker,
};

/// An enclave that has two shards on layer one and serves the newer one, which it says.
struct Deployment {
    node: Node,
    worker: Worker,
    old: ShardId,
    new: ShardId,
}

impl Deployment {
    fn start(kind: TeeKind) -> Self {
        let node = Node::start();
        let founder = AccountId::new([3; 32]);
        let (old, new) = (node.bear(&founder, 5), node.bear(&founder, 6));
        let worker = Worker::serving(new);
        node.register(&founder, &EnclaveRecord { tls_key_hash: worker.tls_key_hash, ..record(kind) });
        Self { node, worker, old, new }
    }

    /// Runs a command with `--json`: exit code, object, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, serde_json::Value, String) {
        self.run_at(&self.worker.url, arguments)
    }

    fn run_at(&self, worker: &str, arguments: &[&str]) -> (i32, serde_json::Value, String) {
        let addresses = ["--node-url", &self.node.url, "--worker-url", worker, "--json"];
        let output = Cli::new().run(&[arguments, &addresses].concat());
        let object = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), object, text(&output.stderr))
    }
}

const SHIELD: [&str; 6] = ["shield-funds", "//Alice", "//Bob", "1", "--wait", "in-block"];
/// The fake node takes no extrinsic: whoever prepares one fails with this.
const WOULD_SUBMIT: &str = "the node did not answer system_accountNextIndex";
const SIMULATED: &str = "warning: the enclave is SIMULATED: no hardware, its evidence proves nothing";

#[test]
fn money_goes_only_to_a_shard_that_its_enclave_says_it_serves() {
    let deployment = Deployment::start(TeeKind::Sgx);
    let (old, new) = (hex0x(&deployment.old), hex0x(&deployment.new));
    let (code, failure, _) = deployment.run(&[&SHIELD[..], &["--shard", &old]].concat());
    assert_eq!(failure["error"], format!("the worker's enclave serves shard {new}, not {old}"));
    assert!(failure["hint"].as_str().unwrap().contains("started anew"), "{failure}");
    assert_eq!(code, 3);
    assert_eq!(deployment.worker.asked(), ["author_getShard"]);

    for selection in [&["--shard", new.as_str()][..], &[]] {
        let (code, failure, _) = deployment.run(&[&SHIELD[..], selection].concat());
        assert!(failure["error"].as_str().unwrap().starts_with(WOULD_SUBMIT), "{failure}");
        assert_eq!(code, 1);
        assert_eq!(deployment.worker.asked(), ["author_getShard", "author_getShard"]);
    }

    // Nobody there to say so.
    let (code, failure, _) = deployment.run_at(NO_WORKER, &[&SHIELD[..], &["--shard", &new]].concat());
    assert_eq!(code, 1);
    let error = failure["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("cannot reach a worker at {NO_WORKER}")), "{failure}");
    assert!(failure["hint"].as_str().unwrap().contains("--worker-url"), "{failure}");
}

#[test]
fn a_wanted_fingerprint_is_not_taken_from_a_simulation_unasked() {
    let deployment = Deployment::start(TeeKind::Simulated);
    let (fingerprint, shard) = (hex0x(&[2; 32]), hex0x(&deployment.new));
    let wanted = ["--mrenclave", fingerprint.as_str()];
    let founder = AccountId::new([3; 32]);
    for command in [&SHIELD[..], &["trusted", "balance", "//Alice"], &["trusted", "get-shard"]] {
        for selection in [&wanted[..], &["--shard", &shard, wanted[0], wanted[1]]] {
            let (code, failure, errors) = deployment.run(&[command, selection].concat());
            assert_eq!(failure["error"], format!("the enclave {founder} is simulated: nothing proves its fingerprint"));
            assert!(failure["hint"].as_str().unwrap().contains("--allow-simulated"), "{failure}");
            assert_eq!((code, errors.as_str()), (3, ""));
            assert!(deployment.worker.asked().is_empty());
        }
    }
    let (code, shown, errors) = deployment.run(&[&["trusted", "get-shard", "--allow-simulated"], &wanted[..]].concat());
    assert_eq!((code, &shown["kind"]), (0, &"simulated".into()), "{shown}");
    assert_eq!(errors.lines().collect::<Vec<_>>(), [SIMULATED]);

    let other = hex0x(&[9; 32]);
    let (code, failure, _) = deployment.run(&["trusted", "get-shard", "--allow-simulated", "--mrenclave", &other]);
    assert_eq!(code, 3);
    assert_eq!(failure["error"], format!("layer one knows no finalized shard of enclaves with fingerprint {other}"));

    let genuine = Deployment::start(TeeKind::Sgx);
    let (code, shown, errors) = genuine.run(&[&["trusted", "get-shard"], &wanted[..]].concat());
    assert_eq!((code, &shown["kind"], errors.as_str()), (0, &"sgx".into(), ""), "{shown}");
}

#[test]
fn a_wanted_fingerprint_is_not_taken_in_debug_mode_unasked() {
    let deployment = Deployment::start(TeeKind::Sgx);
    let founder = AccountId::new([3; 32]);
    let debug = EnclaveRecord {
        tls_key_hash: deployment.worker.tls_key_hash,
        build_mode: BuildMode::Debug,
        ..record(TeeKind::Sgx)
    };
    deployment.node.register(&founder, &debug);
    let (fingerprint, shard) = (hex0x(&[2; 32]), hex0x(&deployment.new));
    let wanted = ["--mrenclave", fingerprint.as_str()];
    for command in [&SHIELD[..], &["trusted", "balance", "//Alice"], &["trusted", "get-shard"]] {
        for selection in
            [&wanted[..], &["--shard", &shard, wanted[0], wanted[1]], &["--allow-simulated", wanted[0], wanted[1]]]
        {
            let (code, failure, errors) = deployment.run(&[command, selection].concat());
            let error = "runs in debug mode: its host can read and change everything in it";
            assert_eq!(failure["error"], format!("the enclave {founder} {error}"));
            assert!(failure["hint"].as_str().unwrap().contains("--allow-debug"), "{failure}");
            assert_eq!((code, errors.as_str()), (3, ""));
            assert!(deployment.worker.asked().is_empty());
        }
    }
    for selection in [&["--allow-debug", wanted[0], wanted[1]][..], &["--shard", &shard]] {
        let (code, _, errors) = deployment.run(&[&["trusted", "get-shard"], selection].concat());
        let warning = "warning: the enclave runs in DEBUG: its operator can read its memory";
        assert_eq!((code, errors.trim_end()), (0, warning));
    }
}

#[test]
fn who_names_neither_shard_nor_code_reads_first_whom_the_command_trusts() {
    for (kind, name, warning) in [(TeeKind::Sgx, "sgx", None), (TeeKind::Simulated, "simulated", Some(SIMULATED))] {
        let deployment = Deployment::start(kind);
        let fingerprint = hex0x(&[2; 32]);
        let introduction = format!("enclave: kind {name}, fingerprint {fingerprint}; --mrenclave accepts no other one");
        let expected: Vec<_> = [introduction.as_str()].into_iter().chain(warning).collect();
        for command in [&["trusted", "get-shard"][..], &["trusted", "balance", "//Alice"], &SHIELD] {
            let (_, _, errors) = deployment.run(command);
            assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
        }
        let (code, _, errors) = deployment.run(&["trusted", "get-shard", "--shard", &hex0x(&deployment.new)]);
        assert_eq!((code, errors.lines().collect::<Vec<_>>()), (0, Vec::from_iter(warning)));
    }
}
