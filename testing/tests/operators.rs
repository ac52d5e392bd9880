//! An operator's way to a worker that serves, without development's help, and anybody's way to verify recorded evidence.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use cloister_client::{LayerOne, Pin, Worker as WorkerClient};
use cloister_testing::{
    Node, Worker, WorkerOptions,
    process::{binary, output_json},
};
use serde_json::{Value, json};

/// What the inspecting commands print is what gets registered and served. The account is paid, the collateral submitted, by
/// the commands that the worker names.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_inspected_funded_and_serves() -> Result<()> {
    let node = Node::dev().await?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (config, data, dump) = (path("enclave.config"), path("data"), path("dump"));
    let url = node.url();
    let made =
        Command::new(binary("cloister-worker")?).args(["make-config", "--node-url", url, "--out", &config]).output()?;
    ensure!(made.status.success(), "{made:?}");
    let inspect = |command: &str, more: &[&str]| {
        let common = [command, "--node-url", url, "--enclave-config", &config, "--data-dir", &data, "--json"];
        let (code, answer) = output_json("cloister-worker", &[common.as_slice(), more].concat())?;
        ensure!(code == 0, "{command}: {answer}");
        Ok(answer)
    };
    let mrenclave = inspect("mrenclave", &[])?;
    assert_eq!(mrenclave["kind"], "simulated");
    ensure!(!Path::new(&data).join("identity.sealed").exists(), "`mrenclave` keeps nothing");
    let signing = inspect("signing-key", &[])?;
    let shielding = inspect("shielding-key", &[])?;
    let dumped = inspect("dump-ra", &["--out", &dump])?;

    let (evidence, collateral) = (format!("{dump}/evidence.bin"), format!("{dump}/collateral.json"));
    assert_eq!((&dumped["evidence"], &dumped["collateral"]), (&json!(evidence), &json!(collateral)));
    let policy = path("policy.json");
    fs::write(&policy, r#"{"simulation":"allowed"}"#)?;
    let verify = ["attest", "verify", &evidence, "--collateral", &collateral, "--policy", &policy, "--json"];
    let (code, verdict) = output_json("cloister", &verify)?;
    assert_eq!((code, &verdict["verdict"]), (0, &json!("accepted")), "{verdict}");
    assert_eq!(bare(&mrenclave["mrenclave"])?, bare(&verdict["measurement"])?);
    ensure!(bare(&verdict["report_data"])?.starts_with(bare(&signing["public_key"])?), "the account's key is bound");

    let options = WorkerOptions {
        enclave_config: Some(config.clone().into()),
        data_dir: Some(data.clone().into()),
        ..WorkerOptions::default()
    };
    let mut worker = Worker::start_idle(url, options, "waiting for money").await?;
    ensure!(!worker.is_serving().await?);
    let health = format!("http://127.0.0.1:{}", worker.ports().http);
    let status = ["worker", "status", "--url", &health, "--json"];
    let (code, answer) = output_json("cloister", &status)?;
    assert_eq!((code, &answer["phase"]), (3, &json!("registering")), "{answer}");
    assert_eq!((&answer["serves"], &answer["registration_expires_at"]), (&json!(false), &Value::Null));
    let account = signing["account"].as_str().context("no account")?;
    ensure!(worker.log().contains(account), "it does not say whom to pay{}", worker.log());
    let by_node = ["--node-url", url, "--json"];
    let paid = [["transfer", "//Ferdie", account, "100"].as_slice(), &by_node].concat();
    ensure!(output_json("cloister", &paid)?.0 == 0);
    worker.says("attest submit").await?;
    let submitted = ["attest", "submit", "//Ferdie", "--collateral", &collateral];
    let (code, answer) = output_json("cloister", &[submitted.as_slice(), &by_node].concat())?;
    ensure!(code == 0, "{answer}");
    worker.serves().await?;
    let (code, answer) = output_json("cloister", &status)?;
    assert_eq!((code, &answer["phase"], &answer["account"]), (0, &json!("serving"), &json!(account)), "{answer}");
    ensure!(answer["registration_expires_at"].as_u64() > answer["layer_one_time"].as_u64(), "{answer}");

    let layer_one = LayerOne::connect(url).await?;
    let enclaves = layer_one.enclaves().await?;
    let [(registered, record)] = enclaves.as_slice() else { anyhow::bail!("{} enclaves", enclaves.len()) };
    assert_eq!(registered.to_string(), account);
    assert_eq!(hex::encode(record.fingerprint), bare(&mrenclave["mrenclave"])?);
    let client = WorkerClient::connect(&worker.url(), Pin::TlsKey(record.tls_key_hash)).await?;
    let served: String = client.read("author_getShieldingKey", json!([])).await?;
    assert_eq!(serde_json::from_str::<Value>(&served)?, shielding);
    Ok(())
}

/// The vectors' stated verdicts, by the wasm of a node that runs (`state_call`) and by this machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_wasm_says_of_recorded_evidence_what_the_command_line_says() -> Result<()> {
    let node = Node::dev().await?;
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attestation/tests/vectors");
    let directory = tempfile::tempdir()?;
    let policy = directory.path().join("policy.json").display().to_string();
    fs::write(&policy, r#"{"crl":"optional","debug":"allowed"}"#)?;
    for (vector, more, code, status, reason) in [
        ("sgx-v3", &[][..], 0, Some("ConfigurationAndSWHardeningNeeded"), None),
        ("tdx-v4", &[], 0, Some("UpToDate"), None),
        ("sgx-v3-integritee", &[], 2, Some("SWHardeningNeeded"), Some("CrlMissing")),
        ("sgx-v3-integritee", &["--policy", &policy], 0, Some("SWHardeningNeeded"), None),
    ] {
        let (quote, collateral) = files(&vectors.join(vector))?;
        let mut arguments: Vec<&str> = vec!["attest", "verify", &quote, "--at", "window", "--json"];
        collateral.iter().for_each(|file| arguments.extend(["--collateral", file]));
        arguments.extend(more);
        let here = output_json("cloister", &arguments)?;
        assert_eq!(here.0, code, "{vector}: {}", here.1);
        assert_eq!((here.1["tcb_status"].as_str(), here.1["reason"].as_str()), (status, reason), "{vector}");
        arguments.extend(["--node-url", node.url()]);
        let there = output_json("cloister", &arguments)?;
        for field in ["verdict", "kind", "tcb_status", "advisories", "measurement", "report_data", "reason"] {
            assert_eq!((there.0, &there.1[field]), (code, &here.1[field]), "{vector}: {field}");
        }
    }
    Ok(())
}

/// A vector's quote, and its collateral in as many files as there are.
fn files(directory: &Path) -> Result<(String, Vec<String>)> {
    let quote = directory.join("quote.bin");
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let collateral = entries.iter().filter(|file| **file != quote).map(|file| file.display().to_string());
    Ok((quote.display().to_string(), collateral.collect()))
}

/// Hex digits without prefix.
fn bare(value: &Value) -> Result<&str> {
    let text = value.as_str().context("no text")?;
    Ok(text.strip_prefix("0x").unwrap_or(text))
}
