//! The production enclave holds nothing of the simulation, and without hardware it does nothing.

use std::{
    collections::BTreeSet,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use cloister_link::{
    ClientLimits, PROTOCOL, StopReason, ToEnclave, ToHost,
    transport::{Receiver, split},
};
use cloister_synthetic_layer_one::{Chain, Voters};
use codec::Encode;
use tokio::net::UnixStream;

const PRODUCTION: &str = env!("CARGO_BIN_EXE_cloister-enclave");

#[test]
fn the_production_enclave_depends_on_no_synthetic_evidence() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "cloister-enclave", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p} {f}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Features as a build of this package alone has them.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for needed in ["cloister-enclave", "cloister-tee", "cloister-sidechain"] {
        assert!(packages.contains(needed), "{needed} is missing, so this is not the tree");
    }
    for absent in ["cloister-synthetic-evidence", "cloister-enclave-simulated", "cloister-synthetic-layer-one"] {
        assert!(!packages.contains(absent), "{absent} is part of the production enclave");
    }
    let features: BTreeSet<_> = tree
        .lines()
        .filter(|line| line.starts_with("cloister-tee "))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert!(features.iter().all(|features| !features.split(',').any(|feature| feature == "sim")), "{features:?}");
}

/// A build of the whole workspace compiles `cloister-tee` once, with all its features. What nobody links must not be
/// in the binary all the same.
#[test]
fn the_production_binary_holds_no_trace_of_the_simulation() {
    let simulated = Path::new(PRODUCTION).with_file_name("cloister-enclave-simulated");
    let simulated = std::fs::read(&simulated)
        .unwrap_or_else(|error| panic!("{}: {error}: build the whole workspace", simulated.display()));
    let production = std::fs::read(PRODUCTION).unwrap();
    let traces: [&[u8]; 5] = [
        &cloister_synthetic_evidence::DEVELOPMENT_SEED,
        b"Cloister Development Root CA",
        b"cloister synthetic key",
        b"cloister/1 simulated sealing key",
        b"cloister/1 simulated platform",
    ];
    for trace in traces {
        let name = String::from_utf8_lossy(trace);
        assert!(contains(&simulated, trace), "{name:?} is no trace: the simulated enclave lacks it, too");
        assert!(!contains(&production, trace), "{name:?} is in the production enclave");
    }
}

#[tokio::test]
async fn without_hardware_the_production_enclave_stops() {
    let (chain, voters) = (Chain::new(0), Voters::new(0, 1..=4));
    let start = ToEnclave::Start {
        protocol: PROTOCOL,
        config: chain.config(&voters).encode(),
        shard: None,
        spec_version: 1,
        transaction_version: 1,
        sealed_identity: None,
        url: None,
        limits: ClientLimits::default(),
    };
    let (near, far) = StdUnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut child = tokio::process::Command::new(PRODUCTION)
        .stdin(Stdio::from(OwnedFd::from(far)))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (sender, mut receiver): (_, Receiver<_, ToHost>) = split(UnixStream::from_std(near).unwrap());
    sender.send(start).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
    let ToHost::Stopped { reason: StopReason::Tee(reason) } = first else { panic!("{first:?}") };
    assert!(reason.starts_with("no usable environment: looked for "), "{reason}");
    assert!(!tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
}

fn contains(binary: &[u8], trace: &[u8]) -> bool {
    binary.windows(trace.len()).any(|window| window == trace)
}

const PATIENCE: Duration = Duration::from_secs(60);
