//! `list-workers` and `attest show` as built, with a node that shows a registry.

mod command;

use cloister_attestation::{Evidence, Roots, collateral::CrlIssuer, subject};
use cloister_chain_primitives::{AccountId, BuildMode, EnclaveRecord, Standing, registry::report_data, storage};
use cloister_claims::{SignedCrl, TcbStatus, TeeKind};
use cloister_synthetic_evidence::{Authority, Scenario};
use command::{
    Cli,
    node::{HEAD_NUMBER, NOW, Node, block_hash, hex0x, record},
    text,
};
use serde_json::{Value, json};

fn account(number: u8) -> AccountId {
    AccountId::new([number; 32])
}

/// What people read, and the object.
fn show(node: &Node, arguments: &[&str]) -> (String, Value) {
    let cli = Cli::new();
    let arguments = [arguments, &["--node-url", &node.url]].concat();
    let output = cli.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (code, object) = cli.json(&arguments);
    assert_eq!(code, 0, "{object}");
    (text(&output.stdout), object)
}

#[test]
fn every_enclave_is_listed_with_all_that_layer_one_records() {
    let node = Node::start();
    let url = b"wss://worker.example:2000\x1b[2J".to_vec().try_into().unwrap();
    let advisories = vec!["INTEL-SA-00001".to_string().try_into().unwrap()];
    let tcb_status = TcbStatus::SwHardeningNeeded;
    node.register(&account(1), &EnclaveRecord { url: Some(url), advisories, tcb_status, ..record(TeeKind::Sgx) });
    let (older, newer) = (node.bear(&account(1), 5), node.bear(&account(1), 6));

    let (table, listed) = show(&node, &["list-workers"]);
    let expected = [
        format!("account      {}", account(1)),
        "kind         SGX".into(),
        "tcb status   SWHardeningNeeded, open: INTEL-SA-00001".into(),
        "build        production".into(),
        format!("fingerprint  0x{}", "02".repeat(32)),
        "url          wss://worker.example:2000\\u{1b}[2J".into(),
        "registered   names block 90, this start since 80".into(),
        "expires      2023-11-14T23:13:20Z (in 1 h 0 min)".into(),
        "standing     active".into(),
        format!("shards       {}, {}", hex0x(&newer), hex0x(&older)),
        format!("  MRENCLAVE: {}", bs58::encode([2; 32]).into_string()),
    ];
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
    let worker = json!({
        "account": account(1).to_string(),
        "kind": "sgx",
        "tcb_status": "SWHardeningNeeded",
        "advisories": ["INTEL-SA-00001"],
        "debug": false,
        "fingerprint": format!("0x{}", "02".repeat(32)),
        "mrenclave": bs58::encode([2; 32]).into_string(),
        "signer": format!("0x{}", "07".repeat(32)),
        "platform_id_hash": format!("0x{}", "08".repeat(32)),
        "incarnation_key": format!("0x{}", "05".repeat(32)),
        "tls_key_hash": format!("0x{}", "04".repeat(32)),
        "url": "wss://worker.example:2000\\u{1b}[2J",
        "bound_block": 90,
        "incarnation_since": 80,
        "verified_at": NOW - 60_000,
        "expires_at": NOW + 3_600_000,
        "expires": "2023-11-14T23:13:20Z",
        "remaining_ms": 3_600_000,
        "standing": "active",
        "leaving_until": null,
        "serves": true,
        "shards": [hex0x(&newer), hex0x(&older)],
    });
    assert_eq!(listed, json!({ "workers": [worker], "block_number": HEAD_NUMBER, "time": NOW }));
}

#[test]
fn kinds_and_standings_are_told_apart() {
    let node = Node::start();
    let (table, listed) = show(&node, &["list-workers"]);
    assert_eq!((table.as_str(), &listed["workers"]), ("no enclave is registered\n", &json!([])));

    let expired = NOW - 120_000;
    let records = [
        record(TeeKind::Tdx),
        EnclaveRecord { expires_at: expired, ..record(TeeKind::Simulated) },
        EnclaveRecord { standing: Standing::Leaving { until: NOW + 90_000 }, ..record(TeeKind::Sgx) },
        EnclaveRecord {
            standing: Standing::Leaving { until: NOW },
            build_mode: BuildMode::Debug,
            ..record(TeeKind::Sgx)
        },
        // Until when is exclusive.
        EnclaveRecord { expires_at: NOW, ..record(TeeKind::Tdx) },
    ];
    for (record, number) in records.iter().zip(1..) {
        node.register(&account(number), record);
    }
    let (table, listed) = show(&node, &["list-workers"]);
    let rows = |name: &str| -> Vec<String> {
        let rows = table.lines().filter_map(|line| line.strip_prefix(name));
        rows.map(|row| row.trim_start().to_string()).collect()
    };
    assert_eq!(rows("account "), [1, 2, 3, 4, 5].map(|number| account(number).to_string()));
    let simulated = "SIMULATED: no hardware, its evidence proves nothing";
    assert_eq!(rows("kind "), ["TDX", simulated, "SGX", "SGX", "TDX"]);
    let debug = "DEBUG: its operator can read its memory";
    assert_eq!(rows("build "), ["production", "production", "production", debug, "production"]);
    let standings = [
        "active",
        "EXPIRED: anybody may remove it",
        "LEAVING: may hand over its keys, nothing else, and may be removed in 1 min",
        "LEAVING: its grace is over, anybody may remove it",
        "EXPIRED: anybody may remove it",
    ];
    assert_eq!(rows("standing "), standings);
    assert_eq!(rows("expires ")[1], "2023-11-14T22:11:20Z (2 min ago)");
    assert_eq!((rows("url "), rows("shards ")), (vec!["none".to_string(); 5], vec!["none".to_string(); 5]));

    let fields = |name: &str| -> Value {
        let workers = listed["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker[name].clone()).collect()
    };
    assert_eq!(fields("kind"), json!(["tdx", "simulated", "sgx", "sgx", "tdx"]));
    assert_eq!(fields("standing"), json!(["active", "expired", "leaving", "leaving", "expired"]));
    assert_eq!(fields("serves"), json!([true, false, false, false, false]));
    assert_eq!(fields("leaving_until"), json!([null, null, NOW + 90_000, NOW, null]));
    assert_eq!(fields("remaining_ms"), json!([3_600_000, 0, 3_600_000, 3_600_000, 0]));
    assert_eq!(fields("debug"), json!([false, false, false, true, false]));
    assert_eq!(fields("url"), json!([null, null, null, null, null]));
    assert_eq!(fields("shards"), json!([[], [], [], [], []]));
}

/// Evidence for an account and the record's keys that names the record's block.
fn evidence(account: &AccountId, record: &EnclaveRecord) -> Evidence {
    let block = block_hash(record.bound_block);
    let stated = report_data(&block_hash(0), account, &record.incarnation_key, &record.tls_key_hash, &block);
    Evidence::Dcap(Scenario::sgx(&Authority::development()).with_report_data(&stated).quote())
}

#[test]
fn a_shown_enclaves_evidence_states_its_account_keys_and_block_or_does_not() {
    let node = Node::start();
    let (enclave, name) = (account(1), account(1).to_string());
    let record = record(TeeKind::Simulated);
    let stated = evidence(&enclave, &record);
    node.set(&storage::evidence(&enclave), &stated);
    node.register(&enclave, &record);
    let row = |table: &str| -> String {
        let row = table.lines().find_map(|line| line.strip_prefix("bound ")).unwrap();
        row.trim_start().to_string()
    };
    let (table, shown) = show(&node, &["attest", "show", &name]);
    assert_eq!(
        (row(&table).as_str(), &shown["bound"]),
        ("the evidence states this account, these keys and that block", &json!(true))
    );
    assert_eq!(shown["evidence_bytes"], stated.bytes().len());

    let others = [
        EnclaveRecord { incarnation_key: [0; 32], ..record.clone() },
        EnclaveRecord { tls_key_hash: [0; 32], ..record.clone() },
        EnclaveRecord { bound_block: 91, ..record.clone() },
    ];
    let shout = "THE EVIDENCE STATES OTHER KEYS, another account or another block";
    for other in others {
        node.register(&enclave, &other);
        let (table, shown) = show(&node, &["attest", "show", &name]);
        assert_eq!((row(&table).as_str(), &shown["bound"]), (shout, &json!(false)), "{other:?}");
    }
    node.register(&enclave, &record);
    node.set(&storage::evidence(&enclave), evidence(&account(2), &record));
    let (table, shown) = show(&node, &["attest", "show", &name]);
    assert_eq!((row(&table).as_str(), &shown["bound"]), (shout, &json!(false)));

    node.register(&enclave, &EnclaveRecord { bound_block: HEAD_NUMBER + 1, ..record });
    let (table, shown) = show(&node, &["attest", "show", &name]);
    assert_eq!(
        (row(&table).as_str(), &shown["bound"]),
        ("unknown: the node no longer has the named block", &Value::Null)
    );

    let (code, failure) = Cli::new().json(&["attest", "show", &account(9).to_string(), "--node-url", &node.url]);
    assert_eq!((code, &failure["error"]), (3, &json!(format!("{} is not registered as an enclave", account(9)))));
}

#[test]
fn the_suggested_command_verifies_exported_evidence_again() {
    let node = Node::start();
    let (quote, collateral) = Scenario::sgx(&Authority::development()).build();
    let (enclave, name) = (account(1), account(1).to_string());
    node.register(&enclave, &record(TeeKind::Simulated));
    node.set(&storage::evidence(&enclave), Evidence::Dcap(quote.clone()));
    let of = subject(&quote, &Roots::intel_and_development()).unwrap();
    let root_crl = SignedCrl { crl: collateral.root_crl.unwrap(), issuer_chain: Vec::new() };
    node.set(&storage::raw_tcb_info(&(of.root, of.platform, of.fmspc)), &collateral.tcb_info);
    node.set(&storage::raw_qe_identity(&(of.root, of.platform)), &collateral.qe_identity);
    node.set(&storage::raw_revocation_list(&(of.root, CrlIssuer::Root)), root_crl);
    node.set(&storage::raw_revocation_list(&(of.root, of.issuer)), collateral.pck_crl.unwrap());

    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("evidence").display().to_string();
    let (table, shown) = show(&node, &["attest", "show", &name, "--out", &out]);
    let policy = format!("{out}/policy.json");
    assert_eq!(shown["policy_file"], policy);
    let command = table.lines().find_map(|line| line.strip_prefix("verify it again, offline: cloister ")).unwrap();
    assert!(command.ends_with(&format!(" --policy {policy}")), "{command}");
    let words: Vec<_> = command.split(' ').chain(["--at", "window"]).collect();
    let (code, verdict) = Cli::new().json(&words);
    assert_eq!((code, &verdict["verdict"], &verdict["kind"]), (0, &json!("accepted"), &json!("simulated")));
}
