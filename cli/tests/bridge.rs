//! Commands about a shard's money on layer one as built, with a node that shows one block.

mod command;

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    AccountId, Anchor, Anchored, EXISTENTIAL_DEPOSIT, EnclaveRecord, Flows, H256, OutboxEntry, OutboxKind,
    OutflowLimit, OutflowUse, Retirement, ShardConfig, ShardEntry, ShardId, UNIT, domain,
    outbox::{OutboxTree, outbox_id},
    storage::{self, AccountInfo},
};
use cloister_claims::TeeKind;
use cloister_wire::OutboxProof;
use codec::{Compact, Encode};
use command::{
    Cli,
    node::{HEAD_NUMBER, Node, block_hash, hex0x, record},
    text,
    worker::Worker,
};
use frame_metadata::{
    RuntimeMetadataPrefixed,
    v14::{
        ExtrinsicMetadata, PalletConstantMetadata, PalletMetadata, PalletStorageMetadata, RuntimeMetadataV14,
        StorageEntryMetadata, StorageEntryModifier, StorageEntryType,
    },
};
use scale_info::{TypeInfo, meta_type};
use serde_json::{Value, json};

#[derive(Encode, TypeInfo)]
struct EventRecord {
    phase: Phase,
    event: RuntimeEvent,
    topics: Vec<H256>,
}

#[derive(Encode, TypeInfo)]
enum Phase {
    ApplyExtrinsic(u32),
}

#[derive(Encode, TypeInfo)]
enum RuntimeEvent {
    #[codec(index = 0)]
    Balances(Quiet),
    #[codec(index = 50)]
    Teerex(Registry),
    #[codec(index = 54)]
    EnclaveBridge(Bridge),
}

#[derive(Encode, TypeInfo)]
enum Quiet {
    Transfer { amount: u128 },
}

#[derive(Encode, TypeInfo)]
enum Registry {
    RemovedSovereignEnclave(AccountId),
}

#[derive(Encode, TypeInfo)]
enum Bridge {
    IndirectInvocationRegistered(ShardId),
    UnshieldRefused { shard: ShardId, call_hash: H256 },
}

const DEFAULT_LIMIT: OutflowLimit = OutflowLimit { amount: 100_000 * UNIT, period: 30 };

/// Of a runtime with those events and the default outflow limit.
fn metadata() -> Vec<u8> {
    let pallet = |name, index| PalletMetadata {
        name,
        storage: None,
        calls: None,
        event: None,
        constants: Vec::new(),
        error: None,
        index,
    };
    let mut system = pallet("System", 1);
    let events = StorageEntryMetadata {
        name: "Events",
        modifier: StorageEntryModifier::Default,
        ty: StorageEntryType::Plain(meta_type::<Vec<EventRecord>>()),
        default: Vec::new(),
        docs: Vec::new(),
    };
    system.storage = Some(PalletStorageMetadata { prefix: "System", entries: vec![events] });
    let mut bridge = pallet("EnclaveBridge", 54);
    bridge.constants = vec![PalletConstantMetadata {
        name: "DefaultOutflowLimit",
        ty: meta_type::<Option<OutflowLimit>>(),
        value: Some(DEFAULT_LIMIT).encode(),
        docs: Vec::new(),
    }];
    let extrinsic = ExtrinsicMetadata { ty: meta_type::<()>(), version: 4, signed_extensions: Vec::new() };
    RuntimeMetadataPrefixed::from(RuntimeMetadataV14::new(vec![system, bridge], extrinsic, meta_type::<()>())).encode()
}

fn node() -> Node {
    Node::with_methods(|module| {
        let version = json!({ "specVersion": 1, "transactionVersion": 1 });
        module.register_method("state_getRuntimeVersion", move |_, _, _| version.clone()).unwrap();
        module.register_method("state_getMetadata", |_, _, _| hex0x(&metadata())).unwrap();
        module
            .register_method("state_call", |parameters, _, _| {
                let (method, arguments, _): (String, String, H256) = parameters.parse().unwrap();
                assert_eq!(method, "TransactionPaymentCallApi_query_call_info");
                // A planck for each byte of the call and its length: whichever is longer costs more.
                let fee = (arguments.len() / 2 - 1) as u128;
                json!(hex0x(&(Compact(5u64), Compact(6u64), 0u8, fee).encode()))
            })
            .unwrap();
    })
}

fn run(node: &Node, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let output = Cli::new().run(&[arguments, &["--node-url", &node.url, "--json"]].concat());
    let objects = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), objects, text(&output.stderr))
}

fn one(node: &Node, arguments: &[&str]) -> (i32, Value) {
    let (code, mut objects, _) = run(node, arguments);
    assert_eq!(objects.len(), 1, "{objects:?}");
    (code, objects.remove(0))
}

#[test]
fn fees_are_the_shards_constants_and_layer_ones_own_reckoning() {
    let (code, fees) = one(&node(), &["fees"]);
    let planck = |name: &str| fees[name].as_str().unwrap().parse::<u128>().unwrap();
    assert_eq!(code, 0, "{fees}");
    assert_eq!((planck("direct_call"), planck("unshield")), (100_000_000, 3_000_000_000));
    assert_eq!((planck("indirect_call"), planck("least_shielding")), (0, 4_000_000_000));
    // Shielding: indices, shard, length and 88 bytes, amount. Invoking: indices, shard, length and the sealed transfer.
    let (shield, invoke) = (2 + 32 + 2 + 88 + 16 + 4, 2 + 32 + 2 + (1 + 81 + 4 + 8 + 65 + 56) + 4);
    assert_eq!((planck("layer_one_shield"), planck("layer_one_invoke")), (shield, invoke), "{fees}");
}

#[test]
fn events_of_enclaves_and_shards_are_printed_one_a_line() {
    let node = node();
    let shards = [ShardId(H256::repeat_byte(7)), ShardId(H256::repeat_byte(8))];
    let account = AccountId::new([3; 32]);
    let refused = |shard| Bridge::UnshieldRefused { shard, call_hash: H256::repeat_byte(1) };
    let events = [
        RuntimeEvent::Balances(Quiet::Transfer { amount: 5 }),
        RuntimeEvent::Teerex(Registry::RemovedSovereignEnclave(account.clone())),
        RuntimeEvent::EnclaveBridge(Bridge::IndirectInvocationRegistered(shards[0])),
        RuntimeEvent::EnclaveBridge(refused(shards[1])),
        RuntimeEvent::EnclaveBridge(refused(shards[0])),
    ];
    let record = |event| EventRecord { phase: Phase::ApplyExtrinsic(1), event, topics: Vec::new() };
    node.set(&storage::events(), events.map(record).into_iter().collect::<Vec<_>>());

    let (code, objects, _) = run(&node, &["listen", "--blocks", "1"]);
    assert_eq!((code, objects.len()), (0, 5), "{objects:?}");
    let removed = json!({
        "block": HEAD_NUMBER, "pallet": "Teerex", "name": "RemovedSovereignEnclave", "fields": [account.to_string()],
    });
    assert_eq!(objects[0], removed);
    assert_eq!(objects[4], json!({ "blocks": 1, "events": 4, "last_block": HEAD_NUMBER }));

    let shard = hex0x(&shards[0]);
    let (_, objects, _) = run(&node, &["listen", "--blocks", "1", "--shard", &shard]);
    let names: Vec<_> = objects.iter().filter_map(|object| object["name"].as_str()).collect();
    assert_eq!(names, ["IndirectInvocationRegistered", "UnshieldRefused"]);
    let fields = json!({ "shard": shard, "call_hash": hex0x(&[1; 32]) });
    assert_eq!(objects[1]["fields"], fields);

    // Blocks that came before, up to the event.
    let from = (HEAD_NUMBER - 1).to_string();
    let (code, objects, _) = run(&node, &["listen", "--from", &from, "--until-event", "UnshieldRefused"]);
    assert_eq!(
        (code, objects.last().unwrap()),
        (0, &json!({ "blocks": 1, "events": 3, "last_block": HEAD_NUMBER - 1 }))
    );

    let output = Cli::new().run(&["listen", "--blocks", "1", "--node-url", &node.url]);
    let lines = text(&output.stdout);
    let first = format!("#{HEAD_NUMBER} teerex.RemovedSovereignEnclave [\"{account}\"]");
    assert_eq!(lines.lines().next(), Some(first.as_str()));
    assert_eq!(lines.lines().last(), Some("4 events in 1 blocks, the last #100"));
}

/// A shard on the node's chain that is in maintenance from block 110 on and ends with block 120.
fn shard(node: &Node) -> (ShardId, AccountId) {
    let founder = AccountId::new([3; 32]);
    node.register(&founder, &record(TeeKind::Sgx));
    let shard = node.bear(&founder, 5);
    let escrow = AccountId::new(domain::hash("escrow", &block_hash(0), &[shard.as_ref()]).0);
    (shard, escrow)
}

#[test]
fn a_shard_is_shown_with_all_that_layer_one_has_of_it() {
    let node = node();
    let (shard, escrow) = shard(&node);
    let name = hex0x(&shard);
    let entry: ShardEntry = node.get(&storage::shard(&shard));
    let pending = ShardConfig { maintenance_mode: true, ..entry.birth.config.clone() };
    let mut changed = entry;
    (changed.config.pending_upgrade, changed.config.upgrade_at) = (Some(pending), Some(110));
    changed.retirement = Some(Retirement { announced_at: 90, opens_at: 120 });
    node.set(&storage::shard(&shard), &changed);
    node.set(&storage::escrow(&shard), 50 * UNIT);
    node.set(&storage::flows(&shard), Flows { shielded: 80 * UNIT, paid: 29 * UNIT, repaid: UNIT });
    node.set(&storage::account(&escrow), AccountInfo { free: 51 * UNIT, ..AccountInfo::default() });
    let anchor = Anchor {
        number: 12,
        header_hash: H256::repeat_byte(4),
        inbox_consumed: 2,
        outbox_root: H256::zero(),
        outbox_closed: 3,
        fees: 9,
    };
    node.set(&storage::anchor(&shard), Anchored { anchor, at: 99 });
    node.set(&storage::inbox_length(&shard), 5u64);

    let (code, shown) = one(&node, &["shard", "show", "--shard", &name]);
    assert_eq!((code, &shown["shard"], &shown["mode"]), (0, &json!(name), &json!("open")), "{shown}");
    assert_eq!(
        (&shown["config"]["maintenance"], &shown["pending"]["config"]["maintenance"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&shown["pending"]["at"], &shown["retirement"]),
        (&json!(110), &json!({ "announced_at": 90, "opens_at": 120 }))
    );
    let planck = |units: u128| json!((units * UNIT).to_string());
    let figures = ["escrow", "shielded", "paid", "repaid", "escrow_balance"].map(|name| shown[name].clone());
    assert_eq!(figures, [50, 80, 29, 1, 51].map(planck));
    assert_eq!(shown["escrow_account"], escrow.to_string());
    assert_eq!(shown["inbox"], json!({ "length": 5, "consumed": 2, "pruned": 0 }));
    assert_eq!(
        (&shown["anchor"]["number"], &shown["anchor"]["outbox_closed"], &shown["fees"]),
        (&json!(12), &json!(3), &json!("9"))
    );
    let limit = |amount, period, left: Value, shielded: Value, room, default| {
        let (amount, room) = (planck(amount), planck(room));
        json!({ "amount": amount, "period": period, "left": left, "shielded": shielded, "room": room, "default": default })
    };
    let nothing = json!("0");
    assert_eq!(shown["outflow_limit"], limit(100_000, 30, nothing.clone(), nothing.clone(), 100_000, true));

    // Root's own limit, and what left in this period or in one before.
    node.set(&storage::outflow_limit(&shard), OutflowLimit { amount: 7 * UNIT, period: 40 });
    let cases =
        [(80, limit(7, 40, planck(6), planck(2), 3, false)), (79, limit(7, 40, nothing.clone(), nothing, 7, false))];
    for (block, limit) in cases {
        node.set(&storage::outflow_use(&shard), OutflowUse { block, left: 6 * UNIT, shielded: 2 * UNIT });
        let (_, shown) = one(&node, &["shard", "show", "--shard", &name]);
        assert_eq!(shown["outflow_limit"], limit);
    }

    let unknown = hex0x(&[9; 32]);
    let (code, failure) = one(&node, &["shard", "show", "--shard", &unknown]);
    assert_eq!((code, &failure["error"]), (3, &format!("layer one knows no finalized shard {unknown}").into()));
}

#[test]
fn what_root_has_just_announced_is_shown_before_it_is_final() {
    let node = node();
    let (shard, _) = shard(&node);
    let name = hex0x(&shard);
    let row = |name: &str| {
        let output = Cli::new().run(&["shard", "show", "--shard", &hex0x(&shard), "--node-url", &node.url]);
        let table = text(&output.stdout);
        let row = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        row.trim_start().to_string()
    };
    assert_eq!((row("retirement "), row("pending ")), ("none".into(), "none".into()));

    let entry: ShardEntry = node.get(&storage::shard(&shard));
    let mut changed = entry.clone();
    changed.retirement = Some(Retirement { announced_at: 101, opens_at: 120 });
    let pending = ShardConfig { maintenance_mode: true, ..entry.birth.config.clone() };
    (changed.config.pending_upgrade, changed.config.upgrade_at) = (Some(pending), Some(110));
    node.set_at_best(&storage::shard(&shard), &changed);
    let announced = "announced in block #101, opens in block #120";
    assert_eq!(row("retirement "), format!("{announced}, which is not final yet"));
    let pending = row("pending ");
    assert!(pending.starts_with("from block #110 on: "), "{pending}");
    assert!(pending.ends_with(", in maintenance, which is not final yet"), "{pending}");
    let (_, shown) = one(&node, &["shard", "show", "--shard", &name]);
    assert_eq!((&shown["retirement"], &shown["pending"], &shown["mode"]), (&Value::Null, &Value::Null, &json!("open")));
    assert_eq!(shown["retirement_not_final"], json!({ "announced_at": 101, "opens_at": 120 }));
    assert_eq!(shown["pending_not_final"]["at"], 110);

    // And then it is.
    node.set(&storage::shard(&shard), &changed);
    assert_eq!(row("retirement "), announced);
    let (_, shown) = one(&node, &["shard", "show", "--shard", &name]);
    assert_eq!((&shown["retirement_not_final"], &shown["pending_not_final"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["retirement"], json!({ "announced_at": 101, "opens_at": 120 }));
}

#[test]
fn an_audit_ends_with_5_if_the_money_is_not_there() {
    let node = node();
    let (shard, escrow) = shard(&node);
    let name = hex0x(&shard);
    // No block is asked for: nothing is anchored.
    let arguments = ["audit", "--shard", &name, "--url", &node.url];
    let (code, audit) = one(&node, &arguments);
    let failed = |audit: &Value| -> BTreeMap<String, bool> {
        let checks = audit["checks"].as_array().unwrap().iter();
        checks.map(|check| (check["check"].as_str().unwrap().into(), check["ok"] == true)).collect()
    };
    assert_eq!((code, &audit["ok"]), (5, &json!(false)), "{audit}");
    let lacking: Vec<_> = failed(&audit).into_iter().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
    assert_eq!(lacking, ["escrow's account has the money"]);

    node.set(&storage::account(&escrow), AccountInfo { free: EXISTENTIAL_DEPOSIT, ..AccountInfo::default() });
    let (code, audit) = one(&node, &arguments);
    assert_eq!((code, &audit["ok"], &audit["from"]), (0, &json!(true), &Value::Null), "{audit}");
    assert!(audit["meaning"].as_str().unwrap().contains("trust in its code and hardware remains"));
    let output = Cli::new().run(&[&arguments[..], &["--node-url", &node.url]].concat());
    let table = text(&output.stdout);
    assert!(table.contains("\nok      escrow covers the shard"), "{table}");
    assert!(table.trim_end().ends_with("trust in its code and hardware remains."), "{table}");

    let (code, failure) = one(&node, &["audit", "--shard", &name, "--url", "ws://127.0.0.1:9"]);
    let hint = failure["hint"].as_str().unwrap();
    assert!(code == 1 && hint.contains("untrusted port"), "{failure}");
}

#[test]
fn nothing_is_claimed_that_is_not_owed() {
    let node = node();
    let (shard, _) = shard(&node);
    let (name, account) = (hex0x(&shard), AccountId::new([5; 32]).to_string());
    let claim = ["claim", "//Alice", account.as_str(), "--shard", &name];
    let (code, failure) = one(&node, &claim);
    let error = format!("layer one owes nothing of this shard to {account}");
    assert_eq!((code, &failure["error"]), (3, &error.into()));
    node.set(&storage::unclaimed(&shard, &AccountId::new([5; 32])), 3u128);
    let (code, failure) = one(&node, &claim);
    assert!(failure["error"].as_str().unwrap().starts_with("the node did not answer system_accountNextIndex"));
    assert_eq!(code, 1);
}

#[test]
fn too_little_is_not_shielded() {
    let node = node();
    let founder = AccountId::new([3; 32]);
    let shard = node.bear(&founder, 5);
    let worker = Worker::serving(shard);
    let registered = record(TeeKind::Sgx);
    node.register(&founder, &EnclaveRecord { tls_key_hash: worker.tls_key_hash, ..registered });
    let shield = ["shield-funds", "//Alice", "//Bob", "0.003999999999", "--wait", "in-block"];
    let (code, failure) = one(&node, &[&shield[..], &["--worker-url", &worker.url]].concat());
    assert_eq!(failure["error"], "3999999999 planck are less than the 4000000000 that a shielding has at least");
    assert_eq!((code, &failure["hint"]), (2, &"a shielding is 0.004 UNIT at least, so that it can be returned".into()));
}

/// A shard whose enclave says that it owes five entries, of which layer one has anchored only some.
fn owing(node: &Node, anchored: &[u64]) -> Worker {
    let founder = AccountId::new([3; 32]);
    let shard = node.bear(&founder, 5);
    let genesis = block_hash(0);
    let entries = |numbers: &[u64]| -> Vec<OutboxEntry> {
        let entry = |number: &u64| OutboxEntry {
            number: *number,
            id: outbox_id(&genesis, &shard, 12, *number),
            kind: OutboxKind::Unshield,
            beneficiary: AccountId::new([5; 32]),
            amount: UNIT,
        };
        numbers.iter().map(entry).collect()
    };
    let proofs = |tree: &OutboxTree| -> Vec<OutboxProof> {
        let prove = |entry: &OutboxEntry| tree.prove(entry.number).unwrap();
        let proven = tree.entries().iter().map(prove);
        proven.map(|(entry, path)| OutboxProof { entry: entry.clone(), path }).collect()
    };
    let known = OutboxTree::new(&genesis, &shard, entries(anchored));
    // Everything else has paths of a tree that the enclave made up.
    let others: Vec<u64> = (4..9).filter(|number| !anchored.contains(number)).collect();
    let foreign = OutboxTree::new(&genesis, &shard, entries(&others));
    let mut owed = [proofs(&known), proofs(&foreign)].concat();
    owed.sort_by_key(|proof| proof.entry.number);
    let anchor = Anchor {
        number: 12,
        header_hash: H256::repeat_byte(4),
        inbox_consumed: 0,
        outbox_root: known.root(),
        outbox_closed: 0,
        fees: 0,
    };
    node.set(&storage::anchor(&shard), Anchored { anchor, at: 99 });
    let worker = Worker::owing(shard, owed);
    node.register(&founder, &EnclaveRecord { tls_key_hash: worker.tls_key_hash, ..record(TeeKind::Sgx) });
    worker
}

#[test]
fn nobody_pays_for_paths_that_layer_one_would_refuse() {
    let node = node();
    let worker = owing(&node, &[]);
    let at = ["--worker-url", worker.url.as_str()];
    // A submission would begin with a question that this node does not answer.
    for command in [&["outbox", "settle", "//Alice"][..], &["outbox", "settle", "//Alice", "--number", "4"]] {
        let (code, failure) = one(&node, &[command, &at].concat());
        let error = "the enclave's path for entry 4 does not lead to the root that is anchored";
        assert_eq!((code, &failure["error"]), (1, &error.into()), "{failure}");
        assert!(failure["hint"].as_str().unwrap().starts_with("nothing was sent for it"), "{failure}");
    }
    let (code, listed) = one(&node, &[&["outbox", "list"][..], &at].concat());
    let proven = |listed: &Value| -> Vec<bool> {
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["proven"] == true).collect()
    };
    assert_eq!((code, proven(&listed)), (0, vec![false; 5]), "{listed}");

    // Those that are proven are sent; the others among them are not.
    let worker = owing(&node, &[5, 7]);
    let at = ["--worker-url", worker.url.as_str()];
    let (_, listed) = one(&node, &[&["outbox", "list"][..], &at].concat());
    assert_eq!(proven(&listed), [false, true, false, true, false]);
    let (code, failure) = one(&node, &[&["outbox", "settle", "//Alice"][..], &at].concat());
    assert!(failure["error"].as_str().unwrap().starts_with("the node did not answer system_accountNextIndex"));
    assert_eq!(code, 1);
}

#[test]
fn figures_that_a_node_makes_up_end_an_audit_and_not_the_program() {
    let node = node();
    let (shard, escrow) = shard(&node);
    let name = hex0x(&shard);
    node.set(&storage::account(&escrow), AccountInfo { free: EXISTENTIAL_DEPOSIT, ..AccountInfo::default() });
    for (length, error) in [
        (u64::MAX, "the node tells of more than 1048576 entries of an inbox"),
        (1 << 20, "the node's answer about the inbox is malformed: an entry is missing"),
    ] {
        node.set(&storage::inbox_length(&shard), length);
        let (code, failure) = one(&node, &["audit", "--shard", &name, "--url", &node.url]);
        assert_eq!((code, &failure["error"]), (1, &error.into()), "{failure}");
    }
    // What is only shown is shown.
    let (code, shown) = one(&node, &["shard", "show", "--shard", &name]);
    assert_eq!((code, &shown["inbox"]["length"]), (0, &json!(1 << 20)), "{shown}");
}
