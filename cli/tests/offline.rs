//! The built command line, as far as it needs no chain: exit codes, JSON, secrets.

mod command;

use std::{fs, io::Write, os::unix::fs::PermissionsExt, process::Stdio};

use command::{Cli, NOWHERE, text};
use serde_json::Value;

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const SHARD: &str = "0x0707070707070707070707070707070707070707070707070707070707070707";
const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
#[test]
fn a_new_account_is_stored_listed_and_private() {
    let cli = Cli::new();
    for scheme in ["sr25519", "ed25519"] {
        let (code, made) = cli.json(&["new-account", "--scheme", scheme]);
        assert_eq!((code, made["scheme"].as_str()), (0, Some(scheme)));
        assert!(made.get("phrase").is_none());
        let file = made["file"].as_str().unwrap();
        assert!(file.starts_with(cli.home.path().join(".local/share/cloister/keystore").to_str().unwrap()), "{file}");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

        let (code, listed) = cli.json(&["list-accounts"]);
        let listed = listed["accounts"].as_array().unwrap().clone();
        assert_eq!(code, 0);
        let found = listed.iter().find(|entry| entry["account"] == made["account"]).unwrap();
        assert_eq!((&found["scheme"], &found["source"]), (&made["scheme"], &Value::from("keystore")));
        let alice = listed.iter().find(|entry| entry["account"] == ALICE).unwrap();
        assert_eq!((&alice["name"], &alice["source"]), (&Value::from("//Alice"), &Value::from("development")));
    }
}

#[test]
fn the_phrase_is_shown_only_when_asked_for() {
    let cli = Cli::new();
    let output = cli.run(&["new-account"]);
    let account = text(&output.stdout).trim().to_string();
    assert!(output.status.success());
    assert_eq!(account.split_whitespace().count(), 1);
    assert!(account.starts_with('5'));

    let output = cli.run(&["new-account", "--show-phrase"]);
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().last().unwrap().split_whitespace().count(), 12);
}

#[test]
fn help_names_every_exit_code() {
    let output = Cli::new().run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for line in [
        "  0  done",
        "  1  could not run",
        "  2  wrong usage",
        "  3  refused",
        "  4  refused at the other end",
        "  5  of `audit`",
        "0 accepted, 1 could not run",
    ] {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let cli = Cli::new();
    for arguments in [
        &["transfer", "//Alice", "//Bob", "1e3"][..],
        &["transfer", "//Alice", "//Bob", "0.0000000000001"],
        &["transfer", "//Alice", "Bob", "1"],
        &["transfer", ALICE, "//Bob", "1"],
        &["balance", "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"],
        &["balance", "-"],
        &["trusted", "--shard", "0x12", "get-shard"],
        &["trusted", "unshield-funds", "//Alice", "//Bob", "much"],
        &["shard", "limit", "5", "--shard", SHARD, "--sudo", "//Alice"],
        &["shard", "limit", "default", "5", "--shard", SHARD, "--sudo", "//Alice"],
        &["shard", "retire", "--shard", SHARD],
        &["audit"],
        &["audit", "--shard", SHARD, "--url", "http://worker:2001"],
        &["listen", "--blocks", "few"],
        &["new-account", "--scheme", "rsa"],
        &["nonsense"],
    ] {
        let (code, failure) = cli.json(arguments);
        assert_eq!((code, failure["code"].as_i64()), (2, Some(2)), "{arguments:?}: {failure}");
        assert!(!failure["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_payer_is_for_calls_through_layer_one() {
    for command in ["transfer", "unshield-funds"] {
        let (code, failure) =
            Cli::new().json(&["trusted", "--direct", command, "//Alice", "//Bob", "1", "--payer", "//Bob"]);
        assert_eq!(
            (code, &failure["error"]),
            (2, &"--payer pays layer one's fee, and a call with --direct has none".into())
        );
    }
}

#[test]
fn no_node_ends_with_1_and_says_where() {
    let cli = Cli::new();
    for arguments in [
        &["balance", ALICE][..],
        &["transfer", "//Alice", "//Bob", "1"],
        &["shield-funds", "//Alice", "//Bob", "1"],
        &["trusted", "balance", "//Alice"],
        &["trusted", "transfer", "//Alice", "//Bob", "1"],
        &["trusted", "transfer", "//Alice", "//Bob", "1", "--direct", "--wait", "finalized"],
        &["trusted", "unshield-funds", "//Alice", "//Bob", "1"],
        &["trusted", "unshield-funds", "//Alice", "//Bob", "1", "--direct", "--wait", "in-block"],
        &["outbox", "list"],
        &["outbox", "settle", "//Alice", "--number", "3"],
        &["claim", "//Alice", ALICE],
        &["fees"],
        &["listen", "--blocks", "1"],
        &["audit", "--shard", SHARD],
        &["shard", "show", "--shard", SHARD],
        &["shard", "config", "--maintenance", "on", "--shard", SHARD, "--sudo", "//Alice"],
        &["shard", "retire", "--shard", SHARD, "--sudo", "//Alice"],
        &["shard", "limit", "default", "--shard", SHARD, "--sudo", "//Alice"],
        &["list-workers"],
        &["attest", "show", ALICE],
        &["attest", "policy"],
        &["attest", "evict", "//Alice", ALICE],
    ] {
        let (code, failure) = cli.json(arguments);
        assert_eq!((code, failure["code"].as_i64()), (1, Some(1)), "{failure}");
        assert!(failure["hint"].as_str().unwrap().contains(NOWHERE), "{failure}");
    }
    let output = cli.run(&["balance", ALICE]);
    let line = text(&output.stderr);
    assert!(output.stdout.is_empty());
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("error: cannot reach a node at ws://127.0.0.1:9: "), "{line}");
}

#[test]
fn a_phrase_on_the_command_line_is_warned_of_and_not_repeated() {
    let cli = Cli::new();
    let output = cli.run(&["balance", PHRASE]);
    let errors = text(&output.stderr);
    assert!(errors.starts_with("warning: "), "{errors}");
    assert!(!errors.contains("bottom"), "{errors}");
}

#[test]
fn an_empty_secret_is_not_the_development_phrase() {
    let cli = Cli::new();
    let output = cli.command(&["balance", "-"]).env("CLOISTER_SURI", " ").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("it is empty"), "{}", text(&output.stderr));
}

#[test]
fn a_secret_comes_from_file_variable_or_input_without_a_warning() {
    let cli = Cli::new();
    let file = cli.home.path().join("secret");
    fs::write(&file, PHRASE).unwrap();
    let with_file = cli.run(&["balance", "-", "--suri-file", file.to_str().unwrap()]);
    let with_variable = cli.command(&["balance", "-"]).env("CLOISTER_SURI", PHRASE).output().unwrap();
    let mut child = cli
        .command(&["balance", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{PHRASE}").unwrap();
    let with_input = child.wait_with_output().unwrap();
    for output in [with_file, with_variable, with_input] {
        // Only the node is missing.
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).starts_with("error: cannot reach a node"), "{}", text(&output.stderr));
    }
}
