//! Clients that others have published, unmodified, at a real node, worker and enclave: what they see is what our own
//! client sees. Tests of JavaScript clients say so loudly and pass where there is no Node.js, unless
//! `CLOISTER_REQUIRE_NODE` is `1`.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{Balance, BlockNumber, Flows, H256, ShardId, UNIT, calls::Call, storage};
use cloister_client::{Selection, ShardClient};
use cloister_testing::{
    Chain, Deployment, Node, Worker, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, process::binary, signer,
    to_hex,
};
use jsonrpsee::rpc_params;
use serde_json::{Value, json};
use sp_core::crypto::Ss58Codec;
use sp_crypto_hashing::{blake2_128, blake2_256};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinSet};

const AMOUNT: Balance = 3 * UNIT;

#[tokio::test(flavor = "multi_thread")]
async fn encointer_worker_api_where_there_is_node_js() -> Result<()> {
    let Some(scripts) = Scripts::of("worker").await? else { return Ok(()) };
    Deployment::run(async |deployment| {
        let (alice, bob, eve) = (signer(Alice), signer(Bob), signer(Eve));
        deployment.shield(&alice, 100 * UNIT).await?;
        let before = deployment.chain.free_balance(&eve.account()).await?;
        let (node, worker) = (deployment.node.url(), deployment.worker.url());
        let amount = AMOUNT.to_string();
        let shard = &deployment.shard;
        let client = |names: [String; 4]| {
            let mut client = scripts.client("worker-api.mjs");
            client.args(names).args(["--node", node, "--worker", &worker, "--amount", &amount]);
            client
        };
        let refused = refusal(&mut client(names(shard.shard().id, OTHER_CODE)), 1).await?;
        assert!(refused.contains(&of_other_code(shard)), "{refused}");
        let seen = result_of(&mut client(named(shard))).await?;

        assert_eq!(seen["shard"], to_hex(shard.shard().id));
        assert_eq!(seen["mrenclave"], to_hex(shard.shard().scope().mrenclave));
        assert_eq!(seen["tlsKeyHash"], to_hex(shard.shard().enclave.tls_key_hash));
        assert_eq!(seen["modulusLength"], 3072);
        // Both took effect, also the one whose ciphertext lost its leading zero byte.
        assert_eq!(seen["operations"][0]["bytes"], 383);
        assert_eq!(seen["operations"][1]["bytes"], 384);
        for operation in seen["operations"].as_array().context("no operations")? {
            let hash: H256 = serde_json::from_value(operation["hash"].clone())?;
            let outcome = shard.outcome(&alice, hash).await?.with_context(|| format!("no outcome of {hash:?}"))?;
            assert!(outcome.result.is_ok(), "{outcome:?}");
        }
        let left = shard.free_balance(&alice).await?;
        assert_eq!(seen["balances"], json!([(100 * UNIT).to_string(), left.to_string()]));
        assert_eq!(seen["nonces"], json!([0, shard.nonce(&alice).await?]));
        assert_eq!((&seen["received"], &seen["paid"]), (&json!(amount), &json!(amount)));
        assert_eq!(shard.free_balance(&bob).await?, AMOUNT);
        assert_eq!(deployment.chain.free_balance(&eve.account()).await?, before + AMOUNT);
        let refusal = seen["refusal"].as_str().context("no refusal")?;
        assert!(refusal.ends_with("no vault: use enclaveBridge.shieldFunds"), "{refusal}");
        let impostor = seen["impostor"].as_str().context("no word of the impostor")?;
        assert!(impostor.contains("connection failed"), "{impostor}");
        deployment.ledgers().await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn polkadot_js_where_there_is_node_js() -> Result<()> {
    let Some(scripts) = Scripts::of("node").await? else { return Ok(()) };
    Deployment::run(async |deployment| {
        let mut client = shielding(scripts.client("polkadot-js.mjs"), deployment);
        let seen = result_of(client.args(named(&deployment.shard))).await?;
        has_shielded(deployment, Bob, &seen).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn polkadot_api_where_there_is_node_js() -> Result<()> {
    let Some(scripts) = Scripts::of("node").await? else { return Ok(()) };
    Deployment::run(async |deployment| {
        let mut client = shielding(scripts.client("polkadot-api.mjs"), deployment);
        let seen = result_of(client.args(named(&deployment.shard))).await?;
        has_shielded(deployment, Charlie, &seen).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn smoldot_where_there_is_node_js() -> Result<()> {
    let Some(scripts) = Scripts::of("node").await? else { return Ok(()) };
    const WEBSOCKET: &str = "/ip4/127.0.0.1/tcp/0/ws";
    let node = Node::start("node", &["--dev", "--listen-addr", WEBSOCKET]).await?;
    let first = websocket_address(&node.chain().await?).await?;
    let options = ["--chain", "dev", "--bootnodes", &first, "--listen-addr", WEBSOCKET];
    let observer = Node::start("observer", &options).await?;
    let second = websocket_address(&observer.chain().await?).await?;
    let worker = Worker::start(node.url(), WorkerOptions::default()).await?;
    let deployment = Deployment::connect(node, worker).await?;

    let spec = scripts.directory.path().join("spec.json");
    fs::write(&spec, chain_spec(&[first, second]).await?.to_string())?;
    let result = async {
        let seen = result_of(scripts.client("smoldot.mjs").arg("--spec").arg(&spec)).await?;
        assert_eq!(seen["genesis"], to_hex(deployment.chain.genesis()));
        assert_eq!(seen["shards"], json!([to_hex(deployment.shard.shard().id)]));
        is_finality(&deployment.chain, &seen).await
    };
    result.await.map_err(|error| deployment.explain(error))
}

#[tokio::test(flavor = "multi_thread")]
async fn subxt() -> Result<()> {
    Deployment::run(async |deployment| {
        let mut client = shielding(Command::new(binary("cloister-subxt-client")?), deployment);
        let seen = result_of(client.args(named(&deployment.shard))).await?;
        has_shielded(deployment, Dave, &seen).await
    })
    .await
}

/// Of two shards, and of a retired one. Clients in JavaScript among them where there is Node.js.
#[tokio::test(flavor = "multi_thread")]
async fn money_goes_only_to_the_shard_that_is_named() -> Result<()> {
    let scripts = Scripts::of("node").await?;
    Deployment::run(async |deployment| {
        let worker = Worker::start(deployment.node.url(), WorkerOptions::default()).await?;
        let second = eventually("the second shard on layer one", SETTLE_DEADLINE, async || {
            Ok(Some(ShardClient::connect(&deployment.layer_one, &worker.url(), &Selection::default()).await?))
        })
        .await?;
        let (first, second_id) = (&deployment.shard, second.shard().id);
        let shielded = async || -> Result<[Balance; 2]> {
            let (first, second) = (storage::flows(&first.shard().id), storage::flows(&second_id));
            let chain = &deployment.chain;
            let flows: [Option<Flows>; 2] = [chain.storage(&first, None).await?, chain.storage(&second, None).await?];
            Ok(flows.map(|flows| flows.unwrap_or_default().shielded))
        };
        let subxt = binary("cloister-subxt-client")?;
        let clients = || {
            let scripts = scripts.iter().flat_map(|scripts| NODE_SCRIPTS.map(|script| scripts.client(script)));
            scripts.chain([Command::new(&subxt)]).map(|client| shielding(client, deployment))
        };
        for shard in [first, &second] {
            // Each has money of its own.
            let mut running = JoinSet::new();
            for mut client in clients() {
                client.args(named(shard));
                running.spawn(async move { result_of(&mut client).await });
            }
            for seen in running.join_all().await {
                assert_eq!(seen?["shard"], to_hex(shard.shard().id));
            }
        }
        let all = AMOUNT * clients().count() as Balance;
        assert_eq!(shielded().await?, [all, all]);

        let retired = deployment.root(Call::retire_shard(&second_id)).await?;
        deployment.seen(retired).await?;
        for mut client in clients() {
            let unnamed = refusal(&mut client, 2).await?;
            assert!(["usage: ", "--shard", "--mrenclave"].iter().all(|word| unnamed.to_lowercase().contains(word)));
        }
        let absent = ShardId(H256::repeat_byte(7));
        let code = first.shard().scope().mrenclave;
        let wrong = [
            (names(first.shard().id, OTHER_CODE), of_other_code(first)),
            (names(absent, code), format!("expected: a shard {} on layer one", to_hex(absent))),
            (named(&second), "expected: a shard that is not going to be retired".into()),
        ];
        for (names, reason) in wrong {
            for mut client in clients() {
                let refused = refusal(client.args(&names), 1).await?;
                assert!(refused.contains(&reason), "{refused}");
            }
        }
        assert_eq!(shielded().await?, [all, all]);
        Ok(())
    })
    .await
}

/// Clients of the node, in JavaScript, that move money.
const NODE_SCRIPTS: [&str; 2] = ["polkadot-js.mjs", "polkadot-api.mjs"];
/// Fingerprint of no enclave here.
const OTHER_CODE: [u8; 32] = [0xee; 32];

/// What a client is told of where to and to which code money may go.
fn names(shard: ShardId, code: [u8; 32]) -> [String; 4] {
    ["--shard".into(), to_hex(shard), "--mrenclave".into(), to_hex(code)]
}

fn named(shard: &ShardClient) -> [String; 4] {
    names(shard.shard().id, shard.shard().scope().mrenclave)
}

/// Why a client that trusts [`OTHER_CODE`] only moves no money into this shard.
fn of_other_code(shard: &ShardClient) -> String {
    let (wanted, found) = (to_hex(OTHER_CODE), to_hex(shard.shard().scope().mrenclave));
    format!("expected: a shard of enclaves with fingerprint {wanted}, not {found}")
}

/// A client of the node that moves [`AMOUNT`] once it is told where to.
fn shielding(mut client: Command, deployment: &Deployment) -> Command {
    client.args(["--node", deployment.node.url(), "--amount", &AMOUNT.to_string()]);
    client
}

/// A client of the node saw what there is, and moved money of `owner`, as it says.
async fn has_shielded(deployment: &Deployment, owner: Sr25519Keyring, seen: &Value) -> Result<()> {
    let (chain, shard, owner) = (&deployment.chain, &deployment.shard, signer(owner));
    assert_eq!(seen["genesis"], to_hex(chain.genesis()));
    assert_eq!(seen["shard"], to_hex(shard.shard().id));
    assert_eq!(seen["account"], owner.account().to_ss58check());
    assert_eq!(seen["amount"], AMOUNT.to_string());
    is_finality(chain, seen).await?;

    let (number, hash): (BlockNumber, H256) = (
        serde_json::from_value(seen["block"]["number"].clone())?,
        serde_json::from_value(seen["block"]["hash"].clone())?,
    );
    assert_eq!(chain.block_hash(number).await?, hash);
    let block = chain.block(hash).await?;
    assert!(block.extrinsics.iter().any(|extrinsic| seen["extrinsic"] == to_hex(blake2_256(extrinsic))));
    let anchored = shard.anchor().await?.context("the shard is not anchored")?;
    let told = seen["anchored"].as_u64().context("it has seen no anchor")?;
    assert!((1..=anchored.anchor.number).contains(&told), "{told}: {anchored:?}");

    eventually("the shielded money", SETTLE_DEADLINE, async || {
        Ok((shard.free_balance(&owner).await? == AMOUNT).then_some(()))
    })
    .await?;
    deployment.ledgers().await.map(drop)
}

/// What a client took for finalized is: block after block of the chain, none above its finalized head.
async fn is_finality(chain: &Chain, seen: &Value) -> Result<()> {
    let followed: Vec<(BlockNumber, H256)> = serde_json::from_value(seen["finalized"].clone())?;
    ensure!(followed.len() >= 2, "it has followed {followed:?}");
    assert!(followed.is_sorted_by(|a, b| a.0 < b.0), "{followed:?}");
    for (number, hash) in &followed {
        assert_eq!(chain.block_hash(*number).await?, *hash, "block {number}");
    }
    let head = chain.finalized_head().await?.number;
    assert!(followed.iter().all(|(number, _)| *number <= head), "{followed:?}, above {head}");
    Ok(())
}

/// Where browsers reach a node's peer-to-peer port, with its identity.
async fn websocket_address(chain: &Chain) -> Result<String> {
    eventually("a websocket address", SETTLE_DEADLINE, async || {
        let addresses: Vec<String> = chain.request("system_localListenAddresses", rpc_params![]).await?;
        Ok(addresses.into_iter().find(|address| address.contains("/127.0.0.1/") && address.contains("/ws/")))
    })
    .await
}

/// The development chain as light clients want it.
async fn chain_spec(boot_nodes: &[String]) -> Result<Value> {
    let mut export = Command::new(binary("cloister-node")?);
    let exported = export.args(["export-chain-spec", "--chain", "dev", "--raw"]).output().await?;
    ensure!(exported.status.success(), "{exported:?}");
    let mut spec: Value = serde_json::from_slice(&exported.stdout)?;
    spec["bootNodes"] = json!(boot_nodes);
    Ok(spec)
}

/// Scripts of `testing/clients` with the packages that they need.
struct Scripts {
    directory: TempDir,
    folder: &'static str,
}

impl Scripts {
    /// Those of a folder, or `None` where there is no Node.js to run them.
    async fn of(folder: &'static str) -> Result<Option<Self>> {
        if let Err(missing) = node_js().await {
            if std::env::var_os("CLOISTER_REQUIRE_NODE").is_some_and(|value| value == "1") {
                return Err(missing.context("CLOISTER_REQUIRE_NODE is 1"));
            }
            let line = "*".repeat(100);
            eprintln!("{line}\n* SKIPPED: clients in JavaScript were NOT tested: {missing:#}\n{line}");
            return Ok(None);
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let packages = installed(&source.join(folder), folder).await?;
        // Node.js looks for packages beside the script.
        let directory = tempfile::tempdir()?;
        let there = directory.path().join(folder);
        fs::create_dir(&there)?;
        symlink(packages, there.join("node_modules"))?;
        for file in ["script.mjs".into(), format!("{folder}/package.json")].into_iter().chain(scripts(&source, folder)?)
        {
            fs::copy(source.join(&file), directory.path().join(&file)).context(file)?;
        }
        Ok(Some(Self { directory, folder }))
    }

    /// A script, to be run.
    fn client(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.directory.path().join(self.folder).join(script));
        command
    }
}

/// The scripts in a folder.
fn scripts(source: &Path, folder: &str) -> Result<Vec<String>> {
    let names = fs::read_dir(source.join(folder))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.iter().filter(|name| name.ends_with(".mjs")).map(|name| format!("{folder}/{name}")).collect())
}

/// Fails unless there are Node.js, 20 or newer, and npm.
async fn node_js() -> Result<()> {
    let version = output(Command::new("node").arg("--version")).await?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(major.is_some_and(|major| major >= 20), "Node.js {} is older than 20", version.trim());
    output(Command::new("npm").arg("--version")).await.map(drop)
}

/// The packages of a lock file, installed once for all checkouts that have the same, beside cargo's target directory.
async fn installed(source: &Path, folder: &str) -> Result<PathBuf> {
    const FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
    let contents = FILES.iter().map(|file| fs::read(source.join(file))).collect::<Result<Vec<_>, _>>()?;
    let name = format!("clients-{folder}-{}", hex::encode(blake2_128(&contents.concat())));
    // A test lies in `target/release/deps`.
    let program = std::env::current_exe()?;
    let beside = program.ancestors().nth(4).context("not in a target directory")?;
    let (directory, partial) = (beside.join(&name), beside.join(format!("{name}.partial")));
    // Released when the file is closed, also by the end of this process.
    let lock = File::create(beside.join("clients.lock"))?;
    lock.lock()?;
    if !directory.exists() {
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir(&partial)?;
        for (file, contents) in FILES.iter().zip(contents) {
            fs::write(partial.join(file), contents)?;
        }
        // Not `npm ci`, which wants optional packages of all platforms in the lock file. Hashes are checked all the same.
        let install = ["install", "--omit=optional", "--no-save", "--no-progress"];
        output(Command::new("npm").args(install).current_dir(&partial)).await?;
        fs::rename(&partial, &directory)?;
    }
    Ok(directory.join("node_modules"))
}

/// The JSON in the one line that a client prints.
async fn result_of(command: &mut Command) -> Result<Value> {
    let printed = output(command).await?;
    serde_json::from_str(&printed).with_context(|| format!("{:?} printed {printed:?}", command.as_std()))
}

/// What a client says that ends with this exit code, having done nothing.
async fn refusal(command: &mut Command, exit_code: i32) -> Result<String> {
    let Output { status, stdout, stderr } = command.kill_on_drop(true).output().await?;
    let (printed, said) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    ensure!(status.code() == Some(exit_code) && printed.is_empty(), "{status}: {printed}{said}");
    Ok(said)
}

/// What a program that ends well prints.
async fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{:?}", command.as_std());
    let ended = command.kill_on_drop(true).output().await.with_context(|| format!("cannot run {shown}"))?;
    let Output { status, stdout, stderr } = ended;
    if !status.success() {
        bail!("{shown}: {status}: {}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    }
    Ok(String::from_utf8(stdout)?)
}
