//! Restarts with an old disk, copies of a sealed identity, and enclaves that layer one no longer wants.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{AccountId, EnclaveRecord, RegistrationPolicy, ShardId, calls::Call, storage};
use cloister_client::{
    LayerOne, Pin, Selection, ShardClient, Wait, Worker as WorkerClient, worker::Error as WorkerError,
};
use cloister_testing::{
    Chain, Deployment, Node, Worker, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, process::binary, signer,
};
use cloister_wire::{Getter, PublicGetter};
use sp_keyring::Sr25519Keyring::Ferdie;
use tempfile::TempDir;

/// What `cloister-worker` exits with when layer one no longer wants its enclave.
const NO_LONGER_REGISTERED: i32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_a_new_incarnation_of_the_same_identity() -> Result<()> {
    let node = Node::dev().await?;
    let chain = node.chain().await?;
    let directory = tempfile::tempdir()?;
    let mut worker = Worker::start(node.url(), at(directory.path())).await?;
    let (account, first) = only_enclave(&chain).await?;
    ensure!(worker.stop().await?.success());
    private(&directory.path().join("identity.sealed"))?;

    let second = Worker::start(node.url(), at(directory.path())).await?;
    let (same_account, record) = only_enclave(&chain).await?;
    assert_eq!(same_account, account, "the sealed identity is kept");
    assert_eq!(record.fingerprint, first.fingerprint);
    assert_ne!(record.incarnation_key, first.incarnation_key);
    assert_ne!(record.tls_key_hash, first.tls_key_hash);
    assert!(record.incarnation_since > first.incarnation_since);

    // The first incarnation's TLS key is nobody's any more.
    let impostor = WorkerClient::connect(&second.url(), Pin::TlsKey(first.tls_key_hash)).await;
    assert!(matches!(impostor, Err(WorkerError::WrongTlsKey { .. })), "{:?}", impostor.err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_copies_only_the_newest_serves() -> Result<()> {
    let node = Node::dev().await?;
    let chain = node.chain().await?;
    let directory = tempfile::tempdir()?;
    let mut original = Worker::start(node.url(), at(directory.path())).await?;
    let (account, first) = only_enclave(&chain).await?;

    let copied = copy_of(directory.path())?;
    let copy = Worker::start(node.url(), at(copied.path())).await?;
    let status = original.ends("newer incarnation").await?;
    assert_eq!(status.code(), Some(NO_LONGER_REGISTERED));
    let (same_account, second) = only_enclave(&chain).await?;
    assert_eq!(same_account, account);
    assert_ne!(second.incarnation_key, first.incarnation_key);

    let layer_one = LayerOne::connect(node.url()).await?;
    newest_shard(&layer_one, &copy).await.context("the copy serves")?;
    Ok(())
}

/// The host of the older copy keeps the newer registration from it: it goes on, but clients who ask a node of their own
/// do not talk to it, and when it hears of layer one again it stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_an_old_view_of_the_chain_is_refused_by_clients() -> Result<()> {
    let node = Node::dev().await?;
    let mut stale = node.observer().await?;
    let directory = tempfile::tempdir()?;
    let mut older = Worker::start(stale.url(), at(directory.path())).await?;
    let layer_one = LayerOne::connect(node.url()).await?;
    let (shard, _) = newest_shard(&layer_one, &older).await.context("the older copy serves at first")?;

    stale.process().freeze()?;
    let copied = copy_of(directory.path())?;
    let newer = Worker::start(node.url(), at(copied.path())).await?;
    ensure!(older.process().is_running(), "the older copy knows nothing of it");
    let selection = Selection { shard: Some(shard), mrenclave: None };
    let refused =
        ShardClient::connect(&layer_one, &older.url(), &selection).await.err().context("a client was served")?;
    assert!(refused.to_string().contains("TLS key"), "{refused}");
    newest_shard(&layer_one, &newer).await.context("the newer copy serves")?;

    stale.process().thaw()?;
    let status = older.ends("newer incarnation").await?;
    assert_eq!(status.code(), Some(NO_LONGER_REGISTERED));
    Ok(())
}

/// The host starts an enclave again with its old disk at a node whose chain has ended, where no newer start is known. Layer
/// one's proofs are all in order there, but no block comes in which it could be registered.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_disk_with_an_old_view_of_the_chain_serves_nothing() -> Result<()> {
    let node = Node::dev().await?;
    let chain = node.chain().await?;
    let mut past = node.observer().await?;
    let directory = tempfile::tempdir()?;
    let mut first = Worker::start(past.url(), at(directory.path())).await?;
    let layer_one = LayerOne::connect(node.url()).await?;
    let (shard, _) = newest_shard(&layer_one, &first).await?;
    ensure!(first.stop().await?.success());
    let (account, record) = only_enclave(&chain).await?;
    let policy: RegistrationPolicy =
        chain.storage(&storage::registration_policy(), None).await?.context("the chain has no policy")?;
    let view = past.chain().await?;
    let soonest = record.incarnation_since + policy.incarnation_gap + 2;
    eventually("a view in which another start is allowed", SETTLE_DEADLINE, async || {
        Ok((view.finalized_head().await?.number >= soonest).then_some(()))
    })
    .await?;
    past.cut_off().await?;
    let copied = copy_of(directory.path())?;
    let newer = Worker::start(node.url(), at(copied.path())).await?;

    // Layer one knows a block's hash only in later blocks, and there are none.
    let older = Worker::start_idle(past.url(), at(directory.path()), "the named block is unknown").await?;
    ensure!(!older.is_serving().await?);
    let client = WorkerClient::connect(&older.url(), Pin::Unverified).await?;
    let getter = Getter::Public(PublicGetter::Inbox);
    let answer = client.execute_getter(shard, &getter).await.err().context("it answered a query")?;
    assert!(answer.to_string().contains("not served yet"), "{answer}");
    let selection = Selection { shard: Some(shard), mrenclave: None };
    let refused = ShardClient::connect(&layer_one, &older.url(), &selection).await.err().context("served")?;
    assert!(refused.to_string().contains("TLS key"), "{refused}");

    let (_, kept) = only_enclave(&chain).await?;
    assert!(kept.incarnation_since > record.incarnation_since);
    assert_eq!(only_enclave(&chain).await?.0, account);
    newest_shard(&layer_one, &newer).await.context("the newer start serves")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_enclave_renews_and_stops_when_the_policy_no_longer_wants_it() -> Result<()> {
    let node = Node::dev().await?;
    let chain = node.chain().await?;
    let layer_one = LayerOne::connect(node.url()).await?;
    let policy = chain.change_policy(|policy| policy.reattest_interval_ms = 16_000).await?;
    let worker = Worker::start(node.url(), WorkerOptions::default()).await?;
    let mut deployment = Deployment::connect(node, worker).await?;
    let scenario = async || -> Result<()> {
        let (account, first) = only_enclave(&chain).await?;
        let renewed = eventually("a renewal", SETTLE_DEADLINE, async || {
            let (_, record) = only_enclave(&chain).await?;
            Ok((record.expires_at > first.expires_at).then_some(record))
        })
        .await?;
        assert_eq!(renewed.incarnation_key, first.incarnation_key, "the same incarnation");
        assert_eq!(renewed.incarnation_since, first.incarnation_since);
        assert!(renewed.bound_block > first.bound_block);
        // Serving goes on over the renewal.
        deployment.shard.inbox_status().await?;

        let wanted = layer_one.submit(&Call::evict(&account), &signer(Ferdie), Wait::InBlock).await;
        let reason = wanted.err().context("an enclave that is wanted was evicted")?.to_string();
        assert!(reason.contains("teerex.StillWanted"), "{reason}");
        chain.change_policy(|policy| policy.appraisal.min_evaluation_number = u32::MAX).await?;
        layer_one.submit(&Call::evict(&account), &signer(Ferdie), Wait::Finalized).await?;
        Ok(())
    };
    let done = scenario().await;
    done.map_err(|error| deployment.explain(error))?;
    assert_eq!(policy.reattest_interval_ms, 16_000);
    let status = deployment.worker.ends("evicted").await?;
    assert_eq!(status.code(), Some(NO_LONGER_REGISTERED));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enclave_that_slept_through_its_expiry_is_evicted_by_anyone_and_stops() -> Result<()> {
    let node = Node::dev().await?;
    let chain = node.chain().await?;
    let layer_one = LayerOne::connect(node.url()).await?;
    chain.change_policy(|policy| policy.reattest_interval_ms = 16_000).await?;
    let mut worker = Worker::start(node.url(), WorkerOptions::default()).await?;
    let (account, _) = only_enclave(&chain).await?;
    let (shard, _) = newest_shard(&layer_one, &worker).await?;
    worker.process().freeze()?;

    eventually("the eviction of an expired enclave", SETTLE_DEADLINE, async || {
        let evicted = layer_one.submit(&Call::evict(&account), &signer(Ferdie), Wait::Finalized).await;
        Ok(evicted.is_ok().then_some(()))
    })
    .await?;
    assert_eq!(chain.storage::<EnclaveRecord>(&storage::enclave(&account), None).await?, None);
    worker.process().thaw()?;
    let selection = Selection { shard: Some(shard), mrenclave: None };
    let refused = ShardClient::connect(&layer_one, &worker.url(), &selection).await.err().context("served")?;
    assert!(refused.to_string().contains("not registered"), "{refused}");
    let status = worker.ends("stopped").await?;
    assert_eq!(status.code(), Some(NO_LONGER_REGISTERED));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_production_enclave_does_not_simulate() -> Result<()> {
    let node = Node::dev().await?;
    let options = WorkerOptions { enclave_binary: Some(binary("cloister-enclave")?), ..WorkerOptions::default() };
    let status = Worker::start_in_vain(node.url(), options, "trusted execution environment").await?;
    ensure!(!status.success(), "{status}");
    Ok(())
}

fn at(directory: &Path) -> WorkerOptions {
    WorkerOptions { data_dir: Some(directory.into()), ..WorkerOptions::default() }
}

/// What a host copies to run an enclave twice: the sealed identity and the shard's state.
fn copy_of(directory: &Path) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    fs::copy(directory.join("identity.sealed"), copy.path().join("identity.sealed"))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("shard-") {
            let to = copy.path().join(entry.file_name());
            fs::create_dir(&to)?;
            fs::copy(entry.path().join("state.redb"), to.join("state.redb"))?;
        }
    }
    Ok(copy)
}

fn private(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{} has mode {mode:o}", file.display());
    Ok(())
}

/// The one enclave in the registry.
async fn only_enclave(chain: &Chain) -> Result<(AccountId, EnclaveRecord)> {
    let head = chain.block_hash(chain.finalized_head().await?.number).await?;
    let keys = chain.keys(&storage::enclaves_prefix(), head).await?;
    ensure!(keys.len() == 1, "{} enclaves are registered", keys.len());
    let key = keys.first().context("no enclave")?;
    let account: [u8; 32] = key.get(key.len() - 32..).context("a short key")?.try_into()?;
    let record = chain.storage(key, Some(head)).await?.context("no record")?;
    Ok((account.into(), record))
}

/// The newest shard, as a client who connects to `worker` finds it.
async fn newest_shard(layer_one: &LayerOne, worker: &Worker) -> Result<(ShardId, ShardClient)> {
    eventually("the newest shard on layer one", SETTLE_DEADLINE, async || {
        let shards = layer_one.shards().await?;
        let Some((shard, _)) = shards.into_iter().max_by_key(|(_, entry)| entry.born_at) else { return Ok(None) };
        let selection = Selection { shard: Some(shard), mrenclave: None };
        let client = ShardClient::connect(layer_one, &worker.url(), &selection).await?;
        Ok(Some((shard, client)))
    })
    .await
}
