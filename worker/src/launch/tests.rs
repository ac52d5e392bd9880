use cloister_chain_primitives::config::Checkpoint;
use cloister_link::{ClientLimits, PROTOCOL};
use tempfile::TempDir;

use super::*;
use crate::testing::{VERSION, collateral, fake_enclave, identity, shard};

/// An enclave whose n-th start says the n-th of these words, and then nothing.
async fn speaking(words: &[ToHost]) -> (TempDir, Launch) {
    let directory = tempfile::tempdir().unwrap();
    let starts: Vec<_> = words.iter().map(|word| vec![word.clone()]).collect();
    let program = fake_enclave(directory.path(), &starts).await;
    let data_dir = directory.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let checkpoint = Checkpoint { number: 0, hash: Default::default(), set_id: 0, authorities: vec![] };
    let config = MeasuredConfig {
        genesis: Default::default(),
        checkpoint,
        simulation_allowed: true,
        unbound_getters_allowed: true,
        slot_ms: 300,
        min_upgrade_delay: 1,
    };
    let launch = Launch {
        program,
        config,
        data_dir,
        keep: Keep::Identity,
        if_refused: IfRefused::Fail,
        shard: None,
        version: VERSION,
        url: None,
        limits: ClientLimits::default(),
    };
    (directory, launch)
}

fn refused() -> ToHost {
    ToHost::Stopped { reason: StopReason::SealedIdentity }
}

fn starts(directory: &TempDir) -> usize {
    std::fs::read_to_string(directory.path().join("starts")).unwrap().lines().count()
}

#[tokio::test]
async fn a_new_identity_is_on_the_disk_before_anything_else_happens() {
    let (_directory, launch) = speaking(&[identity(PROTOCOL)]).await;
    let enclave = Enclave::launch(&launch).await.unwrap();
    assert_eq!(enclave.identity.shard, shard());
    assert_eq!(sealed_identity::load(&launch.data_dir).unwrap().unwrap(), b"sealed");
}

#[tokio::test]
async fn an_identity_that_cannot_be_kept_is_not_used() {
    let (_directory, mut launch) = speaking(&[identity(PROTOCOL)]).await;
    launch.data_dir = "/nowhere".into();
    let error = Enclave::launch(&launch).await.unwrap_err();
    assert!(matches!(&error, WorkerError::File { path, .. } if path.starts_with("/nowhere")), "{error}");
}

#[tokio::test]
async fn who_only_looks_keeps_nothing() {
    let (_directory, mut launch) = speaking(&[identity(PROTOCOL)]).await;
    launch.keep = Keep::Nothing;
    Enclave::launch(&launch).await.unwrap();
    assert_eq!(sealed_identity::load(&launch.data_dir).unwrap(), None);
}

#[tokio::test]
async fn an_identity_that_does_not_open_is_named_and_left_where_it_is() {
    let (directory, launch) = speaking(&[refused()]).await;
    sealed_identity::store(&launch.data_dir, b"old").unwrap();
    let error = Enclave::launch(&launch).await.unwrap_err();
    let path = launch.data_dir.join("identity.sealed");
    assert!(matches!(&error, WorkerError::SealedIdentity { path: named } if *named == path), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()) && error.to_string().contains("move the file away"));
    assert_eq!((error.exit_code(), starts(&directory)), (8, 1));
    assert_eq!(std::fs::read(path).unwrap(), b"old");
}

#[tokio::test]
async fn development_starts_anew_once_and_loses_nothing() {
    let (directory, mut launch) = speaking(&[refused(), identity(PROTOCOL)]).await;
    launch.if_refused = IfRefused::StartAnew;
    sealed_identity::store(&launch.data_dir, b"old").unwrap();
    Enclave::launch(&launch).await.unwrap();
    assert_eq!(starts(&directory), 2);
    assert_eq!(std::fs::read(launch.data_dir.join("identity.sealed.refused-1")).unwrap(), b"old");
    assert_eq!(sealed_identity::load(&launch.data_dir).unwrap().unwrap(), b"sealed");

    // An enclave that refuses even that there is none.
    let (directory, mut launch) = speaking(&[refused()]).await;
    launch.if_refused = IfRefused::StartAnew;
    sealed_identity::store(&launch.data_dir, b"old").unwrap();
    assert_eq!(Enclave::launch(&launch).await.unwrap_err().exit_code(), 8);
    assert_eq!(starts(&directory), 2);
}

#[tokio::test]
async fn an_enclave_that_dies_is_told_with_its_status() {
    let (_directory, launch) = speaking(&[]).await;
    let error = Enclave::launch(&launch).await.unwrap_err();
    assert!(matches!(error, WorkerError::EnclaveDied(Some(_))), "{error}");
}

#[tokio::test]
async fn the_operator_learns_how_to_submit_collateral() {
    let directory = tempfile::tempdir().unwrap();
    let options = EnclaveOptions {
        node_url: "ws://node".into(),
        data_dir: directory.path().to_owned(),
        dev: false,
        enclave_binary: None,
        enclave_config: None,
    };
    let (_directory, launch) = speaking(&[identity(PROTOCOL)]).await;
    let mut identity = Enclave::launch(&launch).await.unwrap().identity;
    let path = directory.path().join("collateral.json");
    let command = format!("cloister attest submit SURI --collateral {} --node-url ws://node", path.display());
    assert_eq!(submit_collateral(&options, &identity).unwrap(), command);
    assert_eq!(std::fs::read_to_string(path).unwrap(), bundle::to_json(&collateral()));
    identity.collateral = None;
    let command = "cloister attest submit SURI --collateral FILE --node-url ws://node";
    assert_eq!(submit_collateral(&options, &identity).unwrap(), command);
}
