//! What our programs are made of: one registry, pinned; no `unsafe` of ours; nothing under the node's licence outside the node.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `name|licence` of all that is linked into `package`.
fn linked(package: &str) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}"])
        .args(["--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let of_line = |line: &str| {
        let (name, licence) = line.split_once('|')?;
        Some((name.split(' ').next()?.to_owned(), licence.trim_end_matches(" (*)").to_owned()))
    };
    tree.lines().filter_map(of_line).collect()
}

/// Everything but the node, and what only tests run.
const SHIPPED: &[&str] = &["cloister-enclave", "cloister-enclave-simulated", "cloister-worker", "cloister-cli"];

#[test]
fn the_lock_names_one_registry_and_a_checksum_for_everything_that_is_not_ours() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let (mut registry, mut wrong) = (0, vec![]);
    for package in lock.split("[[package]]").skip(1) {
        let Some(source) = package.lines().find_map(|line| line.strip_prefix("source = ")) else { continue };
        registry += 1;
        let pinned = package.lines().any(|line| line.starts_with("checksum = "));
        if source != "\"registry+https://github.com/rust-lang/crates.io-index\"" || !pinned {
            wrong.push(package);
        }
    }
    assert!(registry > 500, "{registry} packages of a registry");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_package_of_ours_forbids_unsafe_code() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 30, "{members:?}");
    let excepted = |member: &str| {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        !manifest.contains("[lints]\nworkspace = true\n")
    };
    let excepted: Vec<_> = members.into_iter().filter(|member| excepted(member)).collect();
    assert_eq!(excepted, [""; 0], "a member with rules of its own has to stand in SECURITY.md");
}

#[test]
fn nothing_under_the_nodes_licence_is_linked_elsewhere() {
    for package in SHIPPED {
        let linked = linked(package);
        assert!(linked.len() > 100, "{package} links {} packages", linked.len());
        let copyleft = |licence: &str| licence.contains("GPL") && !licence.contains("OR") && !licence.contains('/');
        let wrong: Vec<_> =
            linked.iter().filter(|(name, licence)| name.starts_with("sc-") || copyleft(licence)).collect();
        assert!(wrong.is_empty(), "{package}: {wrong:?}");
    }
    assert!(linked("cloister-node").iter().any(|(name, _)| name.starts_with("sc-")), "the test finds nothing");
}

#[test]
fn what_is_shipped_has_no_rsa_with_secret_dependent_time_and_no_system_tls() {
    for package in SHIPPED {
        let linked = linked(package);
        let banned = ["rsa", "openssl-sys", "native-tls"];
        let wrong: Vec<_> = linked.iter().filter(|(name, _)| banned.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{package}: {wrong:?}");
    }
}
