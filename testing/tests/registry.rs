//! Layer one's registry on a real chain: enclaves under the development root register, renew, expire and are evicted, and
//! what must not be registered is refused with its own reason.

use anyhow::{Context, Result};
use cloister_chain_primitives::{
    AccountId, BlockNumber, EnclaveRecord, H256, Registration, RegistrationPolicy, Standing, calls::Call,
    registry::report_data, storage,
};
use cloister_claims::{Evidence, TcbStatus};
use cloister_client::{LayerOne, Wait};
use cloister_synthetic_evidence::{Authority, Crl, Scenario};
use cloister_testing::{
    Chain, Deployment, Node, deployment::SETTLE_DEADLINE, eventually, process::output_json, signer, to_hex,
};
use serde_json::{Value, json};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Ferdie};

/// A development chain on which tests play enclaves: evidence under the development root can be made by anybody.
struct Registry {
    _node: Node,
    chain: Chain,
    layer_one: LayerOne,
}

impl Registry {
    /// A chain with collateral and this policy.
    async fn new(change: impl FnOnce(&mut RegistrationPolicy)) -> Result<Self> {
        let node = Node::dev().await?;
        let chain = node.chain().await?;
        let layer_one = LayerOne::connect(node.url()).await?;
        let registry = Self { _node: node, chain, layer_one };
        registry.policy(change).await?;
        registry.collateral(&scenario()).await?;
        Ok(registry)
    }

    async fn submit(&self, call: &Call, by: Sr25519Keyring) -> Result<()> {
        self.layer_one.submit(call, &signer(by), Wait::InBlock).await?;
        Ok(())
    }

    /// The reason for which a call fails in its block.
    async fn refusal(&self, call: &Call, by: Sr25519Keyring) -> Result<String> {
        let done = self.submit(call, by).await;
        Ok(done.err().context("it was not refused")?.to_string())
    }

    async fn policy(&self, change: impl FnOnce(&mut RegistrationPolicy)) -> Result<()> {
        let mut policy: RegistrationPolicy =
            self.chain.storage(&storage::registration_policy(), None).await?.context("no policy")?;
        change(&mut policy);
        self.submit(&Call::sudo(&Call::set_policy(&policy)), Alice).await
    }

    async fn collateral(&self, scenario: &Scenario) -> Result<()> {
        let collateral = scenario.collateral();
        let pck_crl = collateral.pck_crl.context("no PCK list")?;
        let crls = [collateral.root_crl.context("no root list")?, pck_crl.crl];
        self.submit(&Call::register_crls(&crls, &pck_crl.issuer_chain), Charlie).await?;
        self.submit(&Call::register_quoting_enclave(&collateral.qe_identity), Charlie).await?;
        self.submit(&Call::register_tcb_info(&collateral.tcb_info), Charlie).await
    }

    /// Newest finalized block.
    async fn head(&self) -> Result<BlockNumber> {
        Ok(self.chain.finalized_head().await?.number)
    }

    async fn finalized(&self, number: BlockNumber) -> Result<()> {
        let what = format!("finalized block {number}");
        eventually(&what, SETTLE_DEADLINE, async || Ok((self.head().await? >= number).then_some(()))).await
    }

    /// What an enclave with `account` states that was started with `incarnation` and has seen this block.
    async fn statement(&self, account: &AccountId, incarnation: u8, block: BlockNumber) -> Result<Registration> {
        self.statement_for(&self.chain.genesis(), account, incarnation, block).await
    }

    async fn statement_for(
        &self,
        genesis: &H256,
        account: &AccountId,
        incarnation: u8,
        block: BlockNumber,
    ) -> Result<Registration> {
        let (incarnation_key, tls_key_hash) = ([incarnation; 32], [incarnation ^ 0xff; 32]);
        let hash = self.chain.block_hash(block).await?;
        let data = report_data(genesis, account, &incarnation_key, &tls_key_hash, &hash);
        let quote = scenario().with_measurement(&FINGERPRINT).with_report_data(&data).quote();
        Ok(Registration {
            evidence: Evidence::Dcap(quote),
            incarnation_key,
            tls_key_hash,
            block_number: block,
            url: None,
        })
    }

    async fn record(&self, account: &AccountId) -> Result<Option<EnclaveRecord>> {
        self.chain.storage(&storage::enclave(account), None).await
    }
}

fn scenario() -> Scenario {
    Scenario::sgx(&Authority::development())
}

const FINGERPRINT: [u8; 32] = [0x5e; 32];

#[tokio::test(flavor = "multi_thread")]
async fn only_timely_evidence_of_the_sender_for_this_chain_is_registered() -> Result<()> {
    let registry = Registry::new(|policy| {
        policy.incarnation_gap = 3;
        policy.max_evidence_age = 20;
    })
    .await?;
    let bob = Bob.to_account_id();
    let first = registry.head().await?;
    let statement = registry.statement(&bob, 1, first).await?;
    let register = Call::register_enclave(&statement);

    let wrong_sender = registry.refusal(&register, Ferdie).await?;
    assert!(wrong_sender.contains("ReportData"), "{wrong_sender}");
    let foreign = registry.statement_for(&H256::repeat_byte(9), &bob, 1, first).await?;
    let foreign = registry.refusal(&Call::register_enclave(&foreign), Bob).await?;
    assert!(foreign.contains("ReportData"), "{foreign}");
    let stale = registry.statement(&bob, 1, 0).await?;
    registry.finalized(25).await?;
    let stale = registry.refusal(&Call::register_enclave(&stale), Bob).await?;
    assert!(stale.contains("EvidenceTooOld"), "{stale}");

    let first = registry.head().await?;
    let statement = registry.statement(&bob, 1, first).await?;
    let register = Call::register_enclave(&statement);
    registry.submit(&register, Bob).await?;
    let record = registry.record(&bob).await?.context("not registered")?;
    assert_eq!((record.fingerprint, record.bound_block), (FINGERPRINT, first));
    assert_eq!((record.tcb_status, record.standing), (TcbStatus::UpToDate, Standing::Active));

    let replayed = registry.refusal(&register, Bob).await?;
    assert!(replayed.contains("NotLater"), "{replayed}");
    registry.finalized(first + 1).await?;
    let soon = registry.statement(&bob, 2, first + 1).await?;
    let soon = registry.refusal(&Call::register_enclave(&soon), Bob).await?;
    assert!(soon.contains("TooSoon"), "{soon}");

    // One start's registration is held back until the next start's is there.
    let late = record.incarnation_since + 3;
    registry.finalized(late + 1).await?;
    let held_back = registry.statement(&bob, 2, late).await?;
    let newer = registry.statement(&bob, 3, late + 1).await?;
    registry.submit(&Call::register_enclave(&newer), Bob).await?;
    let held_back = registry.refusal(&Call::register_enclave(&held_back), Bob).await?;
    assert!(held_back.contains("NotLater"), "{held_back}");
    let record = registry.record(&bob).await?.context("not registered")?;
    assert_eq!(record.incarnation_key, [3; 32]);

    // The same start again is a renewal.
    registry.finalized(late + 2).await?;
    let renewal = registry.statement(&bob, 3, late + 2).await?;
    registry.submit(&Call::register_enclave(&renewal), Bob).await?;
    let renewed = registry.record(&bob).await?.context("not registered")?;
    assert_eq!((renewed.incarnation_since, renewed.bound_block), (record.incarnation_since, late + 2));

    // Nor does an earlier registration come back when the record is gone.
    registry.submit(&Call::unregister_sovereign_enclave(), Bob).await?;
    assert_eq!(registry.record(&bob).await?, None);
    let back = registry.refusal(&Call::register_enclave(&renewal), Bob).await?;
    assert!(back.contains("NotLater"), "{back}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_collateral_outdates_a_platform_and_older_is_refused() -> Result<()> {
    let registry = Registry::new(|policy| {
        policy.appraisal.tcb_statuses = vec![TcbStatus::UpToDate];
        policy.eviction_grace_ms = 0;
    })
    .await?;
    let bob = Bob.to_account_id();
    let register = registry.statement(&bob, 1, registry.head().await?).await?;
    registry.submit(&Call::register_enclave(&register), Bob).await?;
    let wanted = registry.refusal(&Call::evict(&bob), Ferdie).await?;
    assert!(wanted.contains("StillWanted"), "{wanted}");

    let mut outdated = scenario();
    outdated.tcb_info.issue_date += 1_000;
    outdated.tcb_info.tcb_evaluation_data_number += 1;
    for level in &mut outdated.tcb_info.tcb_levels {
        level.tcb_status = TcbStatus::OutOfDate.name().into();
    }
    registry.submit(&Call::register_tcb_info(&outdated.collateral().tcb_info), Charlie).await?;
    let old = scenario().collateral();
    let older = registry.refusal(&Call::register_tcb_info(&old.tcb_info), Charlie).await?;
    assert!(older.contains("OlderCollateral"), "{older}");
    let mut later = scenario();
    later.qe_identity.issue_date += 1_000;
    let list = later.pck_crl.as_mut().context("no PCK list")?;
    list.this_update += 1_000;
    list.extensions[0] = Crl::number(2);
    let later = later.collateral();
    registry.submit(&Call::register_quoting_enclave(&later.qe_identity), Charlie).await?;
    let older = registry.refusal(&Call::register_quoting_enclave(&old.qe_identity), Charlie).await?;
    assert!(older.contains("OlderCollateral"), "{older}");
    let (later, old) = (later.pck_crl.context("no list")?, old.pck_crl.context("no list")?);
    registry.submit(&Call::register_crls(&[later.crl], &later.issuer_chain), Charlie).await?;
    let older = registry.refusal(&Call::register_crls(&[old.crl], &old.issuer_chain), Charlie).await?;
    assert!(older.contains("OlderCollateral"), "{older}");

    let held_back = registry.statement(&bob, 1, registry.head().await?).await?;
    registry.submit(&Call::evict(&bob), Ferdie).await?;
    let leaving = registry.record(&bob).await?.context("gone at once")?;
    assert!(matches!(leaving.standing, Standing::Leaving { .. }), "{leaving:?}");
    eventually("the end of the grace", SETTLE_DEADLINE, async || {
        Ok(registry.submit(&Call::evict(&bob), Ferdie).await.is_ok().then_some(()))
    })
    .await?;
    assert_eq!(registry.record(&bob).await?, None);

    // A new statement names a block after the eviction.
    registry.finalized(registry.head().await? + 5).await?;
    let refused = registry.statement(&bob, 1, registry.head().await?).await?;
    let refused = registry.refusal(&Call::register_enclave(&refused), Bob).await?;
    assert!(refused.contains("TcbStatus"), "{refused}");
    let mut recovered = scenario();
    recovered.tcb_info.issue_date += 2_000;
    recovered.tcb_info.tcb_evaluation_data_number += 2;
    registry.submit(&Call::register_tcb_info(&recovered.collateral().tcb_info), Charlie).await?;
    // What was stated before the eviction does not count any more.
    let held_back = registry.refusal(&Call::register_enclave(&held_back), Bob).await?;
    assert!(held_back.contains("NotLater"), "{held_back}");
    registry.finalized(registry.head().await? + 4).await?;
    let again = registry.statement(&bob, 1, registry.head().await?).await?;
    registry.submit(&Call::register_enclave(&again), Bob).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_removed_by_anyone() -> Result<()> {
    let registry = Registry::new(|policy| policy.reattest_interval_ms = 5_000).await?;
    let bob = Bob.to_account_id();
    let register = registry.statement(&bob, 1, registry.head().await?).await?;
    registry.submit(&Call::register_enclave(&register), Bob).await?;
    eventually("an eviction after expiry", SETTLE_DEADLINE, async || {
        Ok(registry.submit(&Call::evict(&bob), Ferdie).await.is_ok().then_some(()))
    })
    .await?;
    assert_eq!(registry.record(&bob).await?, None);
    Ok(())
}

/// What layer one keeps can be verified again by anybody, with the chain's runtime and without the chain.
#[tokio::test(flavor = "multi_thread")]
async fn registered_evidence_is_verified_again_offline() -> Result<()> {
    Deployment::run(async |deployment| {
        let directory = tempfile::tempdir()?;
        let file = |name: &str| directory.path().join(name).display().to_string();
        let node = deployment.node.url();
        let listed = cloister(&["list-workers", "--node-url", node, "--json"])?;
        let founder = &deployment.shard.shard().entry.birth.founder;
        let record = deployment.layer_one.enclave(founder).await?.context("not registered")?;
        let worker = &listed.1["workers"][0];
        assert_eq!((listed.0, &worker["kind"], &worker["standing"]), (0, &json!("simulated"), &json!("active")));
        assert_eq!(worker["fingerprint"], to_hex(record.fingerprint));
        assert_eq!(worker["url"], deployment.worker.url());
        let account = founder.to_string();
        let shown = cloister(&["attest", "show", &account, "--out", &file(""), "--node-url", node, "--json"])?;
        assert_eq!((shown.0, &shown.1["bound"]), (0, &json!(true)), "{shown:?}");

        let (evidence, collateral) = (file("evidence.bin"), file("collateral.json"));
        let offline = ["attest", "verify", &evidence, "--collateral", &collateral, "--at", "now", "--json"];
        let (code, verdict) = cloister(&offline)?;
        assert_eq!((code, verdict["reason"].as_str()), (2, Some("Simulated")), "{verdict}");
        let policy = file("policy.json");
        let (code, verdict) = cloister(&[offline.as_slice(), &["--policy", &policy]].concat())?;
        assert_eq!((code, verdict["verdict"].as_str()), (0, Some("accepted")), "{verdict}");
        assert_eq!(verdict["kind"], "simulated");
        let by_chain = ["--policy", policy.as_str(), "--node-url", node];
        let (code, by_chain) = cloister(&[offline.as_slice(), by_chain.as_slice()].concat())?;
        assert_eq!((code, &by_chain["report_data"]), (0, &verdict["report_data"]), "{by_chain}");
        Ok(())
    })
    .await
}

fn cloister(arguments: &[&str]) -> Result<(i32, Value)> {
    output_json("cloister", arguments)
}
