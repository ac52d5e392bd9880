//! On a terminal, what is waited for moves; nowhere else.

mod command;

use std::{
    io::Read,
    net::TcpListener,
    process::{Command, Stdio},
};

use cloister_chain_primitives::{AccountId, H256, InboxEntry, storage};
use codec::Encode;
use command::{
    Cli, NOWHERE,
    node::{Node, Values, hex0x},
    text,
};
use jsonrpsee::{RpcModule, types::ErrorObjectOwned};
use serde_json::json;

/// The built command line at a terminal of its own.
fn at_terminal(cli: &Cli, arguments: &str) -> Command {
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &format!("{} {arguments}", env!("CARGO_BIN_EXE_cloister"))])
        .arg("/dev/null")
        .env("HOME", cli.home.path())
        .env("TERM", "xterm")
        .env_remove("CLOISTER_NODE_URL")
        .stdin(Stdio::null());
    command
}

fn has_script() -> bool {
    let has = Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("\n*** SKIPPED: no script(1) of util-linux, so there is no terminal to test with ***\n");
    }
    has
}

#[test]
fn who_looks_on_sees_what_is_waited_for() {
    if !has_script() {
        return;
    }
    // It takes connections and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let cli = Cli::new();
    let command = at_terminal(&cli, &format!("--node-url {url} balance //Alice"));
    sees(command, &format!("connects to the node at {url}"));
}

/// Waits until the terminal has shown something, and ends the command.
fn sees(mut command: Command, expected: &str) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut seen, mut chunk) = (Vec::new(), [0; 256]);
    let mut output = child.stdout.take().unwrap();
    while !String::from_utf8_lossy(&seen).contains(expected) {
        let read = output.read(&mut chunk).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..read]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A node whose shard has an inbox of 300 entries, of which it gives the first page and never another.
fn that_stops_after_a_page(module: &mut RpcModule<Values>) {
    module.remove_method("state_queryStorageAt");
    module
        .register_async_method("state_queryStorageAt", |parameters, _, _| async move {
            let (keys, at): (Vec<String>, H256) = parameters.parse()?;
            if keys.len() < 256 {
                std::future::pending::<()>().await;
            }
            let shield = InboxEntry::Shield {
                encrypted_beneficiary: Default::default(),
                amount: 1,
                sender: AccountId::new([5; 32]),
            };
            let changes: Vec<_> = keys.iter().map(|key| (key.clone(), hex0x(&shield.encode()))).collect();
            Ok::<_, ErrorObjectOwned>(json!([{ "block": at, "changes": changes }]))
        })
        .unwrap();
}

#[test]
fn who_audits_sees_how_far_it_has_come() {
    if !has_script() {
        return;
    }
    let node = Node::with_methods(that_stops_after_a_page);
    let shard = node.bear(&AccountId::new([3; 32]), 5);
    node.set(&storage::inbox_length(&shard), 300u64);
    let cli = Cli::new();
    let (url, shard) = (&node.url, hex0x(&shard));
    let command = at_terminal(&cli, &format!("--node-url {url} audit --shard {shard} --url {url}"));
    sees(command, "256 of 300");
}

#[test]
fn nothing_moves_for_programs() {
    let cli = Cli::new();
    if has_script() {
        let output = at_terminal(&cli, &format!("--json --node-url {NOWHERE} balance //Alice")).output().unwrap();
        let shown = text(&output.stdout);
        let object: serde_json::Value = serde_json::from_str(shown.trim_end()).unwrap();
        assert_eq!((output.status.code(), object["code"].as_i64()), (Some(1), Some(1)), "{shown}");
    }
    let output = cli.run(&["balance", "//Alice"]);
    let errors = text(&output.stderr);
    assert_eq!((output.stdout.len(), errors.lines().count()), (0, 1), "{errors}");
    assert!(errors.starts_with(&format!("error: cannot reach a node at {NOWHERE}: ")), "{errors}");
}
