//! What an operator can learn about an enclave without serving anything: fingerprint, account, shielding key, evidence.

use std::{path::Path, sync::Arc, time::Duration};

use cloister_chain_primitives::{
    Registration,
    shard::{RSA_PUBLIC_EXPONENT, ShieldingKeys},
};
use cloister_claims::{Collateral, TeeKind};
use cloister_link::{ClientLimits, Connections};
use serde::Serialize;
use serde_json::{Value, json};
use sp_core::crypto::Ss58Codec;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    cli::{DEFAULT_SILENCE_SECONDS, DumpOptions, EnclaveOptions, InspectOptions},
    error::WorkerError,
    funds::{Purse, Sponsor},
    launch::{self, COLLATERAL, Enclave, Keep, Launch},
    layer_one::{LayerOne, RuntimeVersion, hex_text},
    operator::{Operator, say},
    registration::{Newest, Pending},
    run::{lock_directory, reach, stop_signal},
    sealed_identity,
    session::{Identity, Session},
    status::Shared,
    submission::Submitter,
};

/// Prints the fingerprint.
pub async fn mrenclave(options: &InspectOptions) -> Result<(), WorkerError> {
    let identity = identity(&options.enclave, Keep::Nothing).await?;
    let fingerprint = hex_text(&identity.measurement);
    if options.json {
        let base58 = bs58::encode(identity.measurement).into_string();
        say(json!({ "mrenclave": fingerprint, "base58": base58, "kind": identity.kind.name() }));
    } else {
        say(fingerprint);
    }
    Ok(())
}

/// Prints the account.
pub async fn signing_key(options: &InspectOptions) -> Result<(), WorkerError> {
    let account = identity(&options.enclave, Keep::Identity).await?.account;
    let (address, key) = (account.to_ss58check(), hex_text(account.as_ref()));
    if options.json {
        say(json!({ "account": address, "public_key": key }));
    } else {
        say(format_args!("{address} {key}"));
    }
    Ok(())
}

/// Prints the RSA shielding key; its form is JSON in any case.
pub async fn shielding_key(options: &InspectOptions) -> Result<(), WorkerError> {
    say(published(&identity(&options.enclave, Keep::Identity).await?.birth.shielding_keys));
    Ok(())
}

/// Starts an enclave as far as it takes to have its evidence, and writes that.
pub async fn dump_ra(options: &DumpOptions) -> Result<(), WorkerError> {
    let unwritable = |source| WorkerError::File { path: options.out.clone(), source };
    std::fs::create_dir_all(&options.out).map_err(unwritable)?;
    let stop = stop_signal()?;
    let dump = async {
        let layer_one = Arc::new(LayerOne::new(&options.enclave.node_url));
        let version = reach(&layer_one).await?;
        let (enclave, slot) = start(&options.enclave, &layer_one, Some(version), Keep::Identity).await?;
        first_registration(enclave, layer_one, version, slot).await
    };
    let dumped = tokio::select! {
        dumped = dump => dumped?,
        () = stop => return Ok(()),
    };
    let Some((pending, Identity { collateral, kind, .. })) = dumped else { return Ok(()) };
    write(&options.out, &pending, collateral.as_ref())?;
    let (evidence, bundle) = (options.out.join(EVIDENCE), options.out.join(COLLATERAL));
    if options.json {
        say(dumped_json(&evidence, collateral.is_some().then_some(bundle.as_path()), &pending.registration, kind));
    } else {
        say(evidence.display());
        match collateral {
            Some(_) => say(bundle.display()),
            None => tracing::info!("the enclave has no collateral of its own; the vendor has"),
        }
    }
    Ok(())
}

/// Starts the enclave, has it say who it is, and lets it end.
async fn identity(options: &EnclaveOptions, keep: Keep) -> Result<Identity, WorkerError> {
    let layer_one = LayerOne::new(&options.node_url);
    let (enclave, _) = start(options, &layer_one, None, keep).await?;
    let identity = enclave.identity.clone();
    enclave.dismiss().await;
    Ok(identity)
}

/// With what is needed to introduce itself; also the length of a slot. A kept identity is only read, which a running
/// worker does not mind; a new one, or an old one's newer form, is made under the directory's lock.
async fn start(
    options: &EnclaveOptions,
    layer_one: &LayerOne,
    version: Option<RuntimeVersion>,
    keep: Keep,
) -> Result<(Enclave, Duration), WorkerError> {
    let config = launch::configuration(options, layer_one).await?;
    let slot = Duration::from_millis(config.slot_ms.max(1).into());
    let lock = || lock_directory(&options.data_dir);
    let is_kept = keep == Keep::Identity && sealed_identity::load(&options.data_dir)?.is_some();
    let mut _lock = (keep == Keep::Identity && !is_kept).then(lock).transpose()?;
    let mut launch = Launch {
        program: launch::program(options, &config)?,
        config,
        data_dir: options.data_dir.clone(),
        keep: if is_kept { Keep::Unchanged } else { keep },
        // Only a worker that runs gives an identity up.
        if_refused: launch::IfRefused::Fail,
        shard: None,
        version: version.unwrap_or(UNUSED_VERSION),
        url: None,
        limits: ClientLimits::default(),
    };
    let mut enclave = Enclave::launch(&launch).await?;
    if is_kept && enclave.identity.sealed_identity.is_some() {
        // The newer form has secrets of its own: of two that are made from the same old one only one can be kept.
        enclave.dismiss().await;
        _lock = Some(lock()?);
        launch.keep = Keep::Identity;
        enclave = Enclave::launch(&launch).await?;
    }
    if enclave.identity.kind == TeeKind::Simulated {
        // Not by the log's level: nobody may take what is printed for more than it is.
        eprintln!("{SIMULATED}");
    }
    Ok((enclave, slot))
}

/// Follows the chain with the enclave until it wants to register; nothing is submitted. `None` if it was stopped before.
async fn first_registration(
    enclave: Enclave,
    layer_one: Arc<LayerOne>,
    version: RuntimeVersion,
    slot: Duration,
) -> Result<Option<(Arc<Pending>, Identity)>, WorkerError> {
    let Enclave { mut process, sender, receiver, identity } = enclave;
    let (registrations, mut newest) = watch::channel::<Newest>(None);
    let mut found = newest.clone();
    let (shared, operator) = (Arc::new(Shared::new()), Operator::listening(|_| {}));
    let purse = Purse::new(layer_one.clone(), &identity);
    let session = Session {
        connections: Connections::new(sender.clone(), 0),
        sender,
        receiver,
        layer_one,
        version,
        slot,
        submitter: Arc::new(Submitter::new(purse, Sponsor::Operator, operator.clone(), shared.clone())),
        shared,
        operator,
        registrations,
        // Evidence is of an enclave, not of its state, which a running worker may have open.
        silence: Duration::from_secs(DEFAULT_SILENCE_SECONDS),
        place: None,
    };
    let stop = async move {
        let _ = newest.wait_for(Option::is_some).await;
    };
    let ended = session.run(JoinSet::new(), stop).await;
    let pending = found.borrow_and_update().clone();
    let status = process.wait(crate::enclave_process::EXIT_PATIENCE).await;
    match (ended, pending) {
        (_, Some(pending)) => Ok(Some((pending, identity))),
        (Err(WorkerError::EnclaveDied(None)), None) => Err(WorkerError::EnclaveDied(status)),
        (Err(error), None) => Err(error),
        (Ok(()), None) => Ok(None),
    }
}

fn dumped_json(evidence: &Path, collateral: Option<&Path>, registration: &Registration, kind: TeeKind) -> Value {
    json!({
        "evidence": evidence.display().to_string(),
        "collateral": collateral.map(|path| path.display().to_string()),
        "kind": kind.name(),
        "block_number": registration.block_number,
        "incarnation_key": hex_text(&registration.incarnation_key),
        "tls_key_hash": hex_text(&registration.tls_key_hash),
    })
}

fn write(directory: &Path, pending: &Pending, collateral: Option<&Collateral>) -> Result<(), WorkerError> {
    let path = directory.join(EVIDENCE);
    std::fs::write(&path, pending.registration.evidence.bytes())
        .map_err(|source| WorkerError::File { path, source })?;
    match collateral {
        Some(collateral) => launch::write_collateral(&directory.join(COLLATERAL), collateral),
        None => Ok(()),
    }
}

/// As `author_getShieldingKey` gives it: numbers as little-endian arrays, `n` first.
fn published(keys: &ShieldingKeys) -> String {
    #[derive(Serialize)]
    struct Published {
        n: Vec<u8>,
        e: [u8; 4],
    }
    let n = keys.rsa_modulus.iter().rev().copied().collect();
    // Byte arrays under fixed names always have a JSON form.
    serde_json::to_string(&Published { n, e: RSA_PUBLIC_EXPONENT.to_le_bytes() }).unwrap_or_default()
}

const SIMULATED: &str = "warning: this enclave is simulated: only the process itself says what code it runs";
const EVIDENCE: &str = "evidence.bin";
/// An enclave that only introduces itself signs nothing.
const UNUSED_VERSION: RuntimeVersion = RuntimeVersion { spec_version: 0, transaction_version: 0 };

#[cfg(test)]
mod tests {
    use cloister_attestation::bundle;
    use cloister_chain_primitives::shard::RSA_MODULUS_BYTES;
    use cloister_link::{PROTOCOL, StopReason, ToHost};
    use jsonrpsee::server::ServerHandle;
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{FakeNode, account, collateral, fake_enclave, registration};

    /// With an enclave that says something else at all starts but the first.
    async fn options(first: &[ToHost], later: &[ToHost]) -> (EnclaveOptions, TempDir, FakeNode, ServerHandle) {
        let directory = tempfile::tempdir().unwrap();
        let node = FakeNode::new();
        let (address, handle) = node.serve("127.0.0.1:0").await;
        let options = EnclaveOptions {
            node_url: format!("ws://{address}"),
            data_dir: directory.path().join("data"),
            dev: true,
            enclave_binary: Some(fake_enclave(directory.path(), &[first.to_vec(), later.to_vec()]).await),
            enclave_config: None,
        };
        (options, directory, node, handle)
    }

    #[tokio::test]
    async fn the_fingerprint_is_found_without_touching_the_data_directory() {
        let (enclave, _directory, _node, _handle) = options(&[introduction()], &[]).await;
        assert_eq!(identity(&enclave, Keep::Nothing).await.unwrap().measurement, [1; 32]);
        assert!(!enclave.data_dir.exists());
    }

    #[tokio::test]
    async fn a_new_identity_needs_the_directory_and_a_kept_one_only_its_file() {
        let (enclave, _directory, _node, _handle) = options(&[introduction()], &[known_introduction()]).await;
        let lock = lock_directory(&enclave.data_dir).unwrap();
        let error = identity(&enclave, Keep::Identity).await.unwrap_err();
        assert!(matches!(error, WorkerError::DataDirectoryInUse { .. }), "{error}");
        drop(lock);
        assert_eq!(identity(&enclave, Keep::Identity).await.unwrap().account, account());
        assert_eq!(sealed_identity::load(&enclave.data_dir).unwrap().unwrap(), b"sealed");
        let _lock = lock_directory(&enclave.data_dir).unwrap();
        assert_eq!(identity(&enclave, Keep::Identity).await.unwrap().account, account());
    }

    #[tokio::test]
    async fn a_newer_form_of_an_identity_is_made_by_whoever_has_the_directory() {
        let (enclave, _directory, _node, _handle) = options(&[introduction()], &[introduction()]).await;
        std::fs::create_dir(&enclave.data_dir).unwrap();
        let lock = lock_directory(&enclave.data_dir).unwrap();
        sealed_identity::store(&enclave.data_dir, b"old").unwrap();
        let error = identity(&enclave, Keep::Identity).await.unwrap_err();
        assert!(matches!(error, WorkerError::DataDirectoryInUse { .. }), "{error}");
        assert_eq!(sealed_identity::load(&enclave.data_dir).unwrap().unwrap(), b"old");
        drop(lock);
        identity(&enclave, Keep::Identity).await.unwrap();
        assert_eq!(sealed_identity::load(&enclave.data_dir).unwrap().unwrap(), b"sealed");
    }

    #[tokio::test]
    async fn evidence_and_collateral_are_written_and_nothing_is_submitted() {
        let register = ToHost::Register { registration: registration(5), extrinsic: vec![1] };
        let stopped = ToHost::Stopped { reason: StopReason::Requested };
        let (enclave, directory, node, _handle) = options(&[introduction(), register, stopped], &[]).await;
        let out = directory.path().join("out/deep");
        dump_ra(&DumpOptions { enclave, out: out.clone(), json: true }).await.unwrap();
        assert_eq!(std::fs::read(out.join("evidence.bin")).unwrap(), [1, 2, 3]);
        assert_eq!(std::fs::read_to_string(out.join("collateral.json")).unwrap(), bundle::to_json(&collateral()));
        assert!(node.state().submitted.is_empty());
    }

    #[test]
    fn what_is_said_of_evidence_is_what_gets_registered() {
        let registration = registration(5);
        let (evidence, collateral) = (Path::new("out/evidence.bin"), Path::new("out/collateral.json"));
        let said = dumped_json(evidence, Some(collateral), &registration, TeeKind::Simulated);
        let expected = json!({
            "evidence": "out/evidence.bin",
            "collateral": "out/collateral.json",
            "kind": "simulated",
            "block_number": registration.block_number,
            "incarnation_key": hex_text(&registration.incarnation_key),
            "tls_key_hash": hex_text(&registration.tls_key_hash),
        });
        assert_eq!(said, expected);
        assert_eq!(dumped_json(evidence, None, &registration, TeeKind::Sgx)["collateral"], Value::Null);
    }

    #[tokio::test]
    async fn an_enclave_that_stops_before_it_has_evidence_is_an_error() {
        let stopped = ToHost::Stopped { reason: StopReason::FinalityRefused("forged".into()) };
        let (enclave, directory, _node, _handle) = options(&[introduction(), stopped], &[]).await;
        let out = directory.path().join("out");
        let error = dump_ra(&DumpOptions { enclave, out: out.clone(), json: true }).await.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert_eq!(std::fs::read_dir(out).unwrap().count(), 0);
    }

    fn introduction() -> ToHost {
        crate::testing::identity(PROTOCOL)
    }

    /// Of an enclave whose identity is kept as it is.
    fn known_introduction() -> ToHost {
        let mut introduction = introduction();
        if let ToHost::Identity { sealed_identity, .. } = &mut introduction {
            *sealed_identity = None;
        }
        introduction
    }

    #[test]
    fn the_shielding_key_is_little_endian() {
        let mut rsa_modulus = [0; RSA_MODULUS_BYTES];
        (rsa_modulus[0], rsa_modulus[383]) = (0xc1, 7);
        let text = published(&ShieldingKeys { epoch: 0, hpke: [0; 32], rsa_modulus });
        assert!(text.starts_with("{\"n\":[7,0,") && text.ends_with(",193],\"e\":[1,0,1,0]}"), "{text}");
    }
}
