//! `attest verify` as built: recorded evidence of genuine hardware, exit codes, JSON, and what it asks of a node.

mod command;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cloister_attestation::{Collateral, Evidence, Policy, Roots, Subject, bundle, collateral::CrlIssuer};
use cloister_chain_primitives::{H256, registry::Appraised, storage};
use cloister_synthetic_evidence::{Authority, Scenario};
use codec::{Decode, Encode};
use command::{
    Cli, NOWHERE,
    node::{HEAD_NUMBER, Node, block_hash, hex0x},
    text,
};
use serde_json::{Value, json};

const SGX_MRENCLAVE: &str = "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb";
/// 2022-12-21, when the evidence without revocation lists held.
const INTEGRITEE_TIME: &str = "1671606747000";

fn vectors(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attestation/tests/vectors").join(case)
}

fn path(case: &str, file: &str) -> String {
    vectors(case).join(file).to_str().unwrap().into()
}

/// A directory with files of a test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().into()
    }
}

/// `attest verify` with `--json`: exit code and object.
fn verify(evidence: &str, collateral: &[&str], options: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["attest", "verify", evidence];
    for file in collateral {
        arguments.extend(["--collateral", file]);
    }
    arguments.extend(options);
    Cli::new().json(&arguments)
}

fn verify_vector(case: &str, options: &[&str]) -> (i32, Value) {
    verify(&path(case, "quote.bin"), &[&path(case, "collateral.json")], options)
}

fn verify_integritee(options: &[&str]) -> (i32, Value) {
    let case = "sgx-v3-integritee";
    let files = ["tcb_info.json", "qe_identity.json", "tcb_info_issuer_chain.pem"].map(|file| path(case, file));
    verify(&path(case, "quote.bin"), &files.each_ref().map(String::as_str), options)
}

fn collateral(case: &str) -> Collateral {
    bundle::parse_json(&fs::read_to_string(vectors(case).join("collateral.json")).unwrap()).unwrap()
}

#[test]
fn genuine_evidence_is_accepted_within_its_window() {
    let (code, sgx) = verify_vector("sgx-v3", &["--at", "window"]);
    assert_eq!((code, &sgx["verdict"], &sgx["reason"]), (0, &json!("accepted"), &Value::Null), "{sgx}");
    assert_eq!(sgx["kind"], "sgx");
    assert_eq!(sgx["tcb_status"], "ConfigurationAndSWHardeningNeeded");
    assert_eq!(sgx["advisories"], json!(["INTEL-SA-00289", "INTEL-SA-00615"]));
    assert_eq!(sgx["measurement"], SGX_MRENCLAVE);
    assert_eq!(sgx["debug"], false);
    assert_eq!(sgx["checked_by"], "native");
    for (field, bytes) in [("signer", 32), ("report_data", 64), ("platform_id_hash", 32)] {
        assert_eq!(sgx[field].as_str().unwrap().len(), 2 * bytes, "{field}");
    }
    assert_eq!(sgx["at"].as_u64().unwrap(), sgx["valid_until"].as_u64().unwrap() - 1_000);

    let (code, tdx) = verify_vector("tdx-v4", &["--at", "window"]);
    assert_eq!((code, &tdx["verdict"], &tdx["kind"]), (0, &json!("accepted"), &json!("tdx")), "{tdx}");
    assert_eq!((&tdx["tcb_status"], &tdx["advisories"]), (&json!("UpToDate"), &json!([])));
    assert_eq!(tdx["measurement"].as_str().unwrap().len(), 96);
    assert_eq!(tdx["rtmr"].as_array().unwrap().len(), 4);
}

#[test]
fn outside_its_window_it_is_not() {
    let (_, inside) = verify_vector("sgx-v3", &["--at", "window"]);
    let time = |field: &str| inside[field].as_u64().unwrap();
    for at in ["now".to_string(), (time("valid_until") + 1_000).to_string(), (time("valid_from") - 1).to_string()] {
        let (code, answer) = verify_vector("sgx-v3", &["--at", &at]);
        assert_eq!((code, &answer["verdict"]), (2, &json!("rejected")), "{answer}");
        assert!(answer["reason"].is_string());
        assert_eq!(answer["measurement"], Value::Null);
    }
    // Now is what counts if nothing else is said.
    let (code, answer) = verify_vector("sgx-v3", &[]);
    assert_eq!((code, &answer["reason"]), (2, &json!("DocumentExpired")));
    for at in [time("valid_from"), time("valid_until")] {
        assert_eq!(verify_vector("sgx-v3", &["--at", &at.to_string()]).0, 0);
    }
}

#[test]
fn revocation_lists_are_required_unless_a_policy_says_otherwise() {
    let (code, answer) = verify_integritee(&["--at", INTEGRITEE_TIME]);
    assert_eq!((code, &answer["reason"]), (2, &json!("CrlMissing")), "{answer}");
    assert_eq!(answer["tcb_status"], "SWHardeningNeeded");

    let files = Files::new();
    let policy = files.write("policy.json", r#"{"crl": "optional", "debug": "allowed"}"#);
    let (code, answer) = verify_integritee(&["--at", INTEGRITEE_TIME, "--policy", &policy]);
    assert_eq!((code, &answer["verdict"]), (0, &json!("accepted")), "{answer}");
    assert_eq!((&answer["debug"], &answer["advisories"]), (&json!(true), &json!(["INTEL-SA-00334"])));
    assert_eq!(answer["measurement"], "6f90120b5c1f03619112eac855e29d6e0be4f35b2902aa169affff7719277ebc");
    assert_eq!(answer["signer"], "83d719e77deaca1470f6baf62a4d774303c899db69020f9c70ee1dfc08c7ce9e");
    assert_eq!(
        answer["report_data"],
        format!("4159c17656ac1195cea0ae4bdb9733eb6e87143793a26a6e8fcf3940433fcb5f{}", "00".repeat(32))
    );

    let policy = files.write("policy.json", r#"{"crl": "optional"}"#);
    let (code, answer) = verify_integritee(&["--at", INTEGRITEE_TIME, "--policy", &policy]);
    assert_eq!((code, &answer["reason"]), (2, &json!("Debug")), "{answer}");
}

#[test]
fn a_policy_refuses_what_is_genuine_and_the_facts_are_still_shown() {
    let files = Files::new();
    let policy = files.write("policy.json", r#"{"tcb_statuses": ["UpToDate"]}"#);
    let (code, answer) = verify_vector("sgx-v3", &["--at", "window", "--policy", &policy]);
    assert_eq!((code, &answer["reason"], &answer["measurement"]), (2, &json!("TcbStatus"), &json!(SGX_MRENCLAVE)));
    assert_eq!(verify_vector("tdx-v4", &["--at", "window", "--policy", &policy]).0, 0);
}

#[test]
fn evidence_is_raw_hex_or_as_layer_one_encodes_it() {
    let files = Files::new();
    let quote = fs::read(vectors("sgx-v3").join("quote.bin")).unwrap();
    let forms = [
        files.write("quote.hex", hex::encode(&quote)),
        files.write("quote.0x", format!("0x{}\n", hex::encode_upper(&quote))),
        files.write("evidence.scale", Evidence::Dcap(quote.clone()).encode()),
    ];
    for form in forms {
        let (code, answer) = verify(&form, &[&path("sgx-v3", "collateral.json")], &["--at", "window"]);
        assert_eq!((code, &answer["measurement"]), (0, &json!(SGX_MRENCLAVE)), "{form}: {answer}");
    }
}

#[test]
fn the_vendors_own_files_are_as_good_as_a_bundle() {
    for case in ["sgx-v3", "tdx-v4"] {
        let files = Files::new();
        let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = collateral(case);
        let pck_crl = pck_crl.unwrap();
        let wrapped = format!(
            "{{\"tcbInfo\":{},\"signature\":\"{}\"}}",
            String::from_utf8(tcb_info.body).unwrap(),
            hex::encode(tcb_info.signature)
        );
        let parts = [
            files.write("tcb_info.json", wrapped),
            files.write("identity.json", qe_identity.body),
            files.write("identity.sig", hex::encode(qe_identity.signature)),
            files.write("signer.pem", tcb_info.issuer_chain),
            files.write("root.crl", root_crl.unwrap()),
            files.write("pck.crl.hex", hex::encode(pck_crl.crl)),
            files.write("pck_issuer.pem", pck_crl.issuer_chain),
        ];
        let parts = parts.each_ref().map(String::as_str);
        let (code, answer) = verify(&path(case, "quote.bin"), &parts, &["--at", "window"]);
        assert_eq!((code, &answer), (0, &verify_vector(case, &["--at", "window"]).1), "{case}");
        assert_eq!(answer["revocation_checked"], true);

        // Without the lists it says so; without the identity it cannot run and says what is missing.
        let (code, answer) = verify(&path(case, "quote.bin"), &parts[..4], &["--at", "window"]);
        assert_eq!((code, &answer["reason"]), (2, &json!("CrlMissing")), "{answer}");
        let (code, failure) = verify(&path(case, "quote.bin"), &[parts[0], parts[3]], &["--at", "window"]);
        assert_eq!(code, 1);
        assert!(failure["error"].as_str().unwrap().ends_with("missing: identity of the quoting enclave"), "{failure}");
    }
}

#[test]
fn what_is_altered_or_nonsense_is_rejected_by_name() {
    let files = Files::new();
    let quote = fs::read(vectors("sgx-v3").join("quote.bin")).unwrap();
    let bundle = path("sgx-v3", "collateral.json");
    for at in ["window", "1752919277000"] {
        // A bit of MRENCLAVE.
        let mut altered = quote.clone();
        altered[48 + 64] ^= 1;
        let (code, answer) = verify(&files.write("altered.bin", altered), &[&bundle], &["--at", at]);
        assert_eq!((code, &answer["verdict"], &answer["kind"]), (2, &json!("rejected"), &Value::Null), "{answer}");
        assert_eq!(answer["reason"], "QuoteSignature", "{answer}");
        for nonsense in [&b""[..], b"nonsense", &quote[..1_000]] {
            let (code, answer) = verify(&files.write("nonsense.bin", nonsense), &[&bundle], &["--at", at]);
            assert_eq!((code, &answer["verdict"]), (2, &json!("rejected")), "{answer}");
        }
    }
    // Evidence with the collateral of another platform.
    let (code, answer) = verify(&path("tdx-v4", "quote.bin"), &[&bundle], &["--at", "window"]);
    assert_eq!((code, &answer["verdict"]), (2, &json!("rejected")), "{answer}");
}

#[test]
fn what_is_no_evidence_is_rejected_whatever_the_collateral_is() {
    let files = Files::new();
    let several = [path("sgx-v3", "collateral.json"), path("tdx-v4", "collateral.json")];
    let several = several.each_ref().map(String::as_str);
    let (code, failure) = verify(&path("sgx-v3", "quote.bin"), &[several[0], several[0]], &["--at", "window"]);
    assert_eq!(code, 0, "the same twice is one: {failure}");
    let quote = fs::read(vectors("sgx-v3").join("quote.bin")).unwrap();
    let (foreign, _) = Scenario::sgx(&Authority::from_seed([1; 32])).build();
    for (nonsense, reason) in
        [(&b"nonsense"[..], "QuoteTruncated"), (&quote[..1_000], "QuoteTruncated"), (&foreign, "RootUnknown")]
    {
        let (code, answer) = verify(&files.write("nonsense.bin", nonsense), &several, &["--at", "window"]);
        assert_eq!((code, &answer["verdict"], &answer["reason"]), (2, &json!("rejected"), &json!(reason)), "{answer}");
        assert_eq!((&answer["kind"], &answer["at"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn no_home_is_needed_to_verify() {
    let (quote, bundle) = (path("sgx-v3", "quote.bin"), path("sgx-v3", "collateral.json"));
    let arguments = ["attest", "verify", &quote, "--collateral", &bundle, "--at", "window"];
    let output = Cli::new().command(&arguments).env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // Those who need keys are told what is missing.
    let output = Cli::new().command(&["list-accounts"]).env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert_eq!(error, "error: no place for a keystore: neither --keystore nor XDG_DATA_HOME nor HOME is set\n");
}

#[test]
fn what_cannot_run_ends_with_1_and_says_why() {
    let files = Files::new();
    let (quote, bundle) = (path("sgx-v3", "quote.bin"), path("sgx-v3", "collateral.json"));
    let broken = files.write("broken.json", "{\"tcb_info\": ");
    let strange = files.write("strange.json", "{\"colour\": \"red\"}");
    let policy = files.write("policy.json", "{\"color\": \"red\"}");
    let cases: [(&[&str], &str); 11] = [
        (&["attest", "verify", "/nonexistent", "--collateral", &bundle], "cannot read /nonexistent"),
        (&["attest", "verify", &quote], "no collateral"),
        (&["attest", "verify", &quote, "--collateral", "/nonexistent"], "cannot read /nonexistent"),
        (&["attest", "verify", &quote, "--collateral", &broken], "broken.json"),
        (&["attest", "verify", &quote, "--collateral", &strange], "strange.json"),
        (&["attest", "verify", &quote, "--collateral", &bundle, "--policy", &policy], "is not a policy"),
        (&["attest", "verify", &quote, "--collateral", &bundle, "--policy", "/nonexistent"], "cannot read"),
        (&["attest", "verify", &quote, "--collateral", &bundle, "--at", "yesterday"], "Unix milliseconds"),
        (&["attest", "verify", &quote, "--collateral", &bundle, "--chain-policy"], "--node-url"),
        (&["attest", "verify", &quote, "--collateral", &bundle, "--node-url", NOWHERE], NOWHERE),
        (&["attest", "verify"], "required arguments"),
    ];
    for (arguments, reason) in cases {
        let (code, failure) = Cli::new().json(arguments);
        assert_eq!((code, &failure["code"]), (1, &json!(1)), "{arguments:?}: {failure}");
        assert!(failure["error"].as_str().unwrap().contains(reason), "{reason}: {failure}");
        assert_eq!(failure.get("verdict"), None);
        assert_eq!(Cli::new().run(arguments).status.code(), Some(1), "{arguments:?}");
    }
    // Of other commands it is 2.
    assert_eq!(Cli::new().json(&["attest", "show"]).0, 2);
    let help = Cli::new().run(&["attest", "verify", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    for line in ["  0  accepted", "  1  could not run", "  2  rejected"] {
        assert!(text(&help.stdout).contains(line));
    }
}

#[test]
fn people_read_a_table_whose_last_line_is_for_programs() {
    let arguments =
        ["attest", "verify", &path("sgx-v3", "quote.bin"), "--collateral", &path("sgx-v3", "collateral.json")];
    let arguments = [&arguments[..], &["--at", "window"]].concat();
    let output = Cli::new().run(&arguments);
    let table = text(&output.stdout);
    assert!(table.starts_with("verdict") && table.contains(&format!("mrenclave    {SGX_MRENCLAVE}")), "{table}");
    let last: Value = serde_json::from_str(table.lines().last().unwrap()).unwrap();
    assert_eq!(last, Cli::new().json(&arguments).1);
}

/// Evidence under the development root.
fn simulated() -> (Vec<u8>, Collateral) {
    Scenario::sgx(&Authority::development()).build()
}

#[test]
fn simulated_evidence_is_refused_by_default_and_always_announced() {
    let files = Files::new();
    let (quote, collateral) = simulated();
    let evidence = files.write("evidence.bin", quote);
    let bundle = files.write("collateral.json", bundle::to_json(&collateral));
    let (code, answer) = verify(&evidence, &[&bundle], &["--at", "window"]);
    assert_eq!((code, &answer["reason"], &answer["kind"]), (2, &json!("Simulated"), &json!("simulated")), "{answer}");

    let policy = files.write("policy.json", r#"{"simulation": "allowed"}"#);
    let arguments = ["attest", "verify", &evidence, "--collateral", &bundle, "--at", "window", "--policy", &policy];
    assert_eq!(Cli::new().json(&arguments).0, 0);
    let output = Cli::new().run(&arguments);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("*** SIMULATED"), "{}", text(&output.stdout));
}

/// A node that appraises as the runtime does, holds one case's collateral, and remembers which policies it was given.
fn appraising_node(evidence: &Evidence, collateral: Option<Collateral>) -> (Node, Arc<Mutex<Vec<Option<Policy>>>>) {
    let policies = Arc::new(Mutex::new(Vec::new()));
    let seen = policies.clone();
    let node = Node::with_methods(|module| {
        let appraise = move |arguments: &[u8]| {
            let mut input = arguments;
            let (evidence, collateral, at, policy) =
                <(Evidence, Collateral, u64, Option<Policy>)>::decode(&mut input).unwrap();
            assert!(input.is_empty());
            seen.lock().unwrap().push(policy.clone());
            let roots = Roots::intel_and_development();
            let verification = cloister_attestation::verify(&evidence, &collateral, &roots, at);
            let policy = policy.unwrap_or_default();
            let appraisal = verification.as_ref().ok().map(|verification| policy.appraise(verification, at));
            Appraised { verification, appraisal }.encode()
        };
        module
            .register_method("state_call", move |parameters, _, _| {
                let (method, arguments, at): (String, String, H256) = parameters.parse().unwrap();
                assert_eq!((method.as_str(), at), ("TeerexApi_appraise", block_hash(HEAD_NUMBER)));
                json!(hex0x(&appraise(&hex::decode(&arguments[2..]).unwrap())))
            })
            .unwrap();
    });
    if let Some(Collateral { tcb_info, qe_identity, root_crl, pck_crl }) = collateral {
        let Subject { root, platform, fmspc, issuer } =
            cloister_attestation::subject(evidence.bytes(), &Roots::intel_and_development()).unwrap();
        let pck_crl = pck_crl.unwrap();
        let root_crl = cloister_attestation::SignedCrl { crl: root_crl.unwrap(), ..pck_crl.clone() };
        node.set(&storage::raw_tcb_info(&(root, platform, fmspc)), tcb_info);
        node.set(&storage::raw_qe_identity(&(root, platform)), qe_identity);
        node.set(&storage::raw_revocation_list(&(root, CrlIssuer::Root)), root_crl);
        node.set(&storage::raw_revocation_list(&(root, issuer)), pck_crl);
    }
    (node, policies)
}

fn evidence(case: &str) -> Evidence {
    Evidence::Dcap(fs::read(vectors(case).join("quote.bin")).unwrap())
}

#[test]
fn the_chain_appraises_when_a_node_is_named() {
    for case in ["sgx-v3", "tdx-v4"] {
        let (node, policies) = appraising_node(&evidence(case), Some(collateral(case)));
        let (_, native) = verify_vector(case, &["--at", "window"]);
        let mut by_chain = native.clone();
        by_chain["checked_by"] = "chain".into();

        let from_files = verify_vector(case, &["--at", "window", "--node-url", &node.url]);
        assert_eq!(from_files, (0, by_chain.clone()));
        let from_storage = verify(&path(case, "quote.bin"), &[], &["--at", "window", "--node-url", &node.url]);
        assert_eq!(from_storage, (0, by_chain));
        let (code, answer) = verify_vector(case, &["--node-url", &node.url]);
        assert_eq!((code, &answer["reason"], &answer["checked_by"]), (2, &json!("DocumentExpired"), &json!("chain")));
        assert_eq!(verify_vector(case, &["--at", "window", "--node-url", &node.url, "--chain-policy"]).0, 0);
        let default = Some(Policy::default());
        assert_eq!(*policies.lock().unwrap(), [default.clone(), default.clone(), default, None]);
    }
}

#[test]
fn a_chain_without_the_collateral_cannot_appraise() {
    let (node, _) = appraising_node(&evidence("sgx-v3"), None);
    let (code, failure) = verify(&path("sgx-v3", "quote.bin"), &[], &["--at", "window", "--node-url", &node.url]);
    assert_eq!(code, 1);
    assert_eq!(failure["error"], "layer one has no TCB info for this platform");
    assert!(failure["hint"].as_str().unwrap().contains("attest submit"));
}
