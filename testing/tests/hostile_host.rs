//! A host that lies to its enclave, to itself and about layer one, or whose disk is full: each life ends with a reason
//! or tells the truth, and in the end all that was confirmed is there.
//!
//! `CLOISTER_LIES_SEED` repeats the lies of a run; where they hit, the machine decides, too.

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, UNIT};
use cloister_client::{Selection, ShardClient};
use cloister_testing::{
    Deployment, LyingLink, Node, Sidechain, Tap, Users, WorkerOptions,
    deployment::SETTLE_DEADLINE,
    lying_link::{Plan, Rule, Since},
    signer,
    users::{ACCOUNTS, Reckoning},
};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Ferdie};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn lies_of_several_lives_lose_nothing_that_was_confirmed() -> Result<()> {
    let seed = seed()?;
    println!("CLOISTER_LIES_SEED={seed}");
    let link = LyingLink::new()?;
    Deployment::run_tapped(lying(&link), async |deployment, tap| {
        let result = lives(deployment, tap, &link, seed).await;
        result.with_context(|| format!("CLOISTER_LIES_SEED={seed}"))
    })
    .await
}

async fn lives(deployment: &mut Deployment, tap: &Tap, link: &LyingLink, seed: u64) -> Result<()> {
    // Operators do not start workers again as often as this.
    deployment.chain.change_policy(|policy| policy.incarnation_gap = 1).await?;
    deployment.endow(Ferdie, &ACCOUNTS.map(|account| (account, ENDOWMENT))).await?;
    let birth = deployment.shard.shard().clone();
    let mut sidechain = Sidechain::new(birth.genesis, birth.id, birth.entry.birth.genesis_commitment);
    let mut users = Users::start(&birth, &[deployment.node.url()], deployment.worker.url(), seed);
    users.go_on(10, PATIENCE).await?;
    deployment.worker.kill().await?;

    let mut lies = 0;
    for life in 0..LIVES {
        let seed = seed.wrapping_add(life);
        let from = if life % 2 == 0 { Since::Serving } else { Since::Start };
        link.lies(Plan::Seeded { seed, one_in: 12, from })?;
        match from {
            Since::Serving => {
                deployment.worker.start_again().await?;
                users.worker_is_at(deployment.worker.url());
                users.go_on(1, PATIENCE).await?;
                tap.lie(seed, 12);
            }
            Since::Start => {
                tap.lie(seed, 12);
                deployment.worker.listen_again().await?;
                users.worker_is_at(deployment.worker.url());
            }
        }
        // Until it has ended by itself, or has lied enough.
        let last = format!("lying-link: lie {LIES}:");
        let _ = deployment.worker.process().line(&last, LIFE).await;
        let ended = match deployment.worker.process().is_running() {
            true => None,
            false => Some(deployment.worker.process().ended().await?),
        };
        deployment.worker.kill().await?;
        lies += tap.tell_the_truth() + deployment.worker.log().count("lying-link: lie ");
        let log = deployment.worker.log();
        for breakdown in ["a panic was caught", "panicked at"] {
            ensure!(!log.contains(breakdown), "life {life}: {breakdown}");
        }
        if let Some(status) = ended {
            let gave_a_reason = matches!(status.code(), Some(1..=9)) && log.contains("error: ");
            ensure!(gave_a_reason, "life {life} has ended without a reason: {status}");
        }
        let end = ended.and_then(|_| log.newest("error: ")).unwrap_or_else(|| "killed".into());
        println!("life {life}, {lies} lies so far: {end}");
    }
    ensure!(lies > 2 * LIVES as usize, "{lies} lies are few");

    link.tells_the_truth()?;
    deployment.start_worker_again().await?;
    users.worker_is_at(deployment.worker.url());
    sidechain.follow(deployment.worker.ports()).await?;
    users.heard().is_kept(&sidechain)?;
    users.go_on(20, PATIENCE).await?;
    let (histories, heard) = users.finish(PATIENCE).await?;
    deployment.reconnect().await?;
    let (chain, shard, ports) = (&deployment.chain, &deployment.shard, deployment.worker.ports());
    let sidechain = &mut sidechain;
    Reckoning { chain, shard, ports, sidechain, endowment: ENDOWMENT }.of(&histories, &heard).await?;
    let (status, answer) = deployment.audit()?;
    ensure!(status.success(), "{answer}");
    Ok(())
}

/// What breaks the link's rules ends the worker, with these words and this exit code.
const BREACHES: [(Rule, &str, i32); 13] = [
    (Rule::StartTwice, "the enclave stopped: protocol breach: Start came twice", 3),
    (Rule::TickFirst, "the enclave stopped: protocol breach: the first message must be Start", 3),
    (Rule::EarlierProtocol, "protocol breach: the host speaks version", 3),
    (Rule::OtherProtocol, "of the link's protocol, this worker", 3),
    (Rule::HugeFrame, "protocol breach: frame of 4194305 bytes exceeds 4194304", 3),
    (Rule::CutFrame, "protocol breach: the link ended within a frame", 3),
    (Rule::Gibberish, "protocol breach: malformed message", 3),
    (Rule::DataOfNobody, "protocol breach: connection 1099511627776 was never opened", 3),
    (Rule::NumberAgain, "protocol breach: connection 0 was opened out of order", 3),
    (Rule::KeptTwice, "what was kept of the shard is refused", 9),
    (Rule::KeptAltered, "what was kept of the shard is refused", 9),
    (Rule::KeptLate, "what was kept of the shard is refused", 9),
    (Rule::KeptWithheld, "layer one has anchored block", 9),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_breaks_the_links_rules_ends_with_the_reason_and_changes_nothing() -> Result<()> {
    let link = LyingLink::new()?;
    Deployment::run_tapped(lying(&link), async |deployment, _| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.chain.change_policy(|policy| policy.incarnation_gap = 1).await?;
        deployment.shield(&alice, 100 * UNIT).await?;
        deployment.shard.transfer(&alice, &bob.account(), 30 * UNIT).await?.finalized(SETTLE_DEADLINE).await?;
        let before = deployment.ledgers().await?;
        ensure!(deployment.worker.stop().await?.success());

        for (rule, words, code) in BREACHES {
            link.lies(Plan::Rule { rule })?;
            let status = match rule {
                Rule::NumberAgain => {
                    deployment.worker.listen_again().await?;
                    let _client = TcpStream::connect(("127.0.0.1", deployment.worker.ports().trusted)).await?;
                    deployment.worker.ends(words).await
                }
                _ => deployment.worker.start_again_in_vain(words).await,
            };
            let status = status.with_context(|| format!("{rule:?}"))?;
            assert_eq!(status.code(), Some(code), "{rule:?}");
            assert!(!deployment.worker.log().contains("a panic was caught"), "{rule:?}");
        }

        // The worker is lied to while somebody pays.
        link.lies(Plan::Rule { rule: Rule::StoreTwice })?;
        deployment.start_worker_again().await?;
        let paying = deployment.shard.transfer(&alice, &bob.account(), UNIT).await;
        let status = deployment.worker.ends("the enclave asked for something to be kept as request").await?;
        assert_eq!(status.code(), Some(3));
        drop(paying);

        link.tells_the_truth()?;
        deployment.start_worker_again().await?;
        let paid = deployment.shard.free_balance(&bob).await? - 30 * UNIT;
        ensure!(paid == 0 || paid == UNIT, "{paid}");
        let calls = u128::from(paid == UNIT) + 1;
        assert_eq!(deployment.shard.free_balance(&alice).await?, 70 * UNIT - paid - calls * DIRECT_CALL_FEE);
        let after = deployment.ledgers().await?;
        assert_eq!((after.books.shielded, after.flows), (before.books.shielded, before.flows));
        Ok(())
    })
    .await
}

/// A disk that lies about what it has: as far as layer one has anchored blocks, their loss is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_did_not_keep_what_it_said_is_found_out_by_the_anchor() -> Result<()> {
    let link = LyingLink::new()?;
    Deployment::run_tapped(lying(&link), async |deployment, _| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.chain.change_policy(|policy| policy.incarnation_gap = 1).await?;
        deployment.shield(&alice, 100 * UNIT).await?;
        ensure!(deployment.worker.stop().await?.success());
        link.lies(Plan::Rule { rule: Rule::StoresNothing })?;
        deployment.start_worker_again().await?;
        deployment.shard.transfer(&alice, &bob.account(), 30 * UNIT).await?.finalized(SETTLE_DEADLINE).await?;
        let escrow = deployment.escrow().await?;
        deployment.worker.kill().await?;

        link.tells_the_truth()?;
        let status =
            deployment.worker.start_again_in_vain("layer one has anchored block 2, and the newest that").await?;
        assert_eq!(status.code(), Some(9));
        assert_eq!(deployment.escrow().await?, escrow);
        Ok(())
    })
    .await
}

/// Nodes of other chains: one that began elsewhere, and one whose validators finalized something else after the same
/// beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_is_not_followed_and_the_own_one_found_again() -> Result<()> {
    let twin = Node::dev().await?;
    let stranger_key = format!("{:064x}", 7);
    let stranger =
        Node::start("stranger", &["--chain", "local_testnet", "--alice", "--node-key", &stranger_key]).await?;
    let options = WorkerOptions { upgrade_delay: Some(10), ..WorkerOptions::default() };
    Deployment::run_tapped(options, async |deployment, tap| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.chain.change_policy(|policy| policy.incarnation_gap = 1).await?;
        deployment.shield(&alice, 100 * UNIT).await?;
        let own = deployment.node.url().to_owned();
        let genesis = deployment.chain.genesis();
        assert_eq!(twin.chain().await?.genesis(), genesis, "only its blocks are others");
        assert_ne!(stranger.chain().await?.genesis(), genesis);

        for (url, words) in [
            (stranger.url(), "the node is on another chain: its genesis is"),
            (twin.url(), "does not follow the block that the enclave knows to be final"),
        ] {
            tap.lead_to(url);
            deployment.worker.says(words).await?;
            // The truth that was proven is told on; what is paid waits for its anchor.
            let paying = deployment.shard.transfer(&alice, &bob.account(), UNIT).await?;
            ensure!(deployment.worker.process().is_running());
            tap.lead_to(&own);
            let mut paying = paying;
            paying.finalized(SETTLE_DEADLINE).await.with_context(|| words.to_owned())?;
        }
        assert_eq!(deployment.shard.free_balance(&bob).await?, 2 * UNIT);
        ensure!(deployment.worker.stop().await?.success());

        tap.lead_to(stranger.url());
        let status = deployment.worker.start_again_in_vain("the node is on another chain: its genesis is").await?;
        assert_eq!(status.code(), Some(5));

        // To a fresh start both continuations of the beginning are finalized by the measured validators. Whoever asks
        // the own node is told by its registry that this start is not the one.
        tap.lead_to(twin.url());
        deployment.worker.start_again().await?;
        let there = ShardClient::connect(&deployment.layer_one, &deployment.worker.url(), &Selection::default()).await;
        let refused = there.err().context("a start that layer one does not know was believed")?;
        ensure!(format!("{refused:#}").contains("which layer one does not record"), "{refused:#}");
        ensure!(deployment.worker.stop().await?.success());

        tap.lead_to(&own);
        deployment.start_worker_again().await?;
        let fees = 2 * DIRECT_CALL_FEE;
        let ledgers = deployment.ledgers().await?;
        assert_eq!(ledgers.are_of(&deployment.shard, [&alice, &bob]).await?, [98 * UNIT - fees, 2 * UNIT]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_worker_and_loses_nothing_that_was_confirmed() -> Result<()> {
    let options = WorkerOptions { disk_fills: true, ..WorkerOptions::default() };
    Deployment::run_with(options, async |deployment| {
        deployment.chain.change_policy(|policy| policy.incarnation_gap = 1).await?;
        deployment.endow(Ferdie, &ACCOUNTS.map(|account| (account, ENDOWMENT))).await?;
        let birth = deployment.shard.shard().clone();
        let mut sidechain = Sidechain::new(birth.genesis, birth.id, birth.entry.birth.genesis_commitment);
        let mut users = Users::start(&birth, &[deployment.node.url()], deployment.worker.url(), 1);
        users.go_on(10, PATIENCE).await?;

        // Full at any place of the file: at its end, and before something that it has already.
        for part in [1, 2] {
            let bytes = deployment.worker.metric("store_file_bytes").await? as u64;
            deployment.worker.fill_disk(bytes / part)?;
            let status = deployment.worker.ends("File too large").await?;
            assert_eq!(status.code(), Some(1));
            deployment.worker.start_again().await?;
            users.worker_is_at(deployment.worker.url());
            sidechain.follow(deployment.worker.ports()).await?;
            users.heard().is_kept(&sidechain)?;
            users.go_on(4, PATIENCE).await?;
        }
        let (histories, heard) = users.finish(PATIENCE).await?;
        deployment.reconnect().await?;
        let (chain, shard, ports) = (&deployment.chain, &deployment.shard, deployment.worker.ports());
        let sidechain = &mut sidechain;
        Reckoning { chain, shard, ports, sidechain, endowment: ENDOWMENT }.of(&histories, &heard).await
    })
    .await
}

/// A worker for development whose enclave's configuration is a file: what a node says later does not change it.
fn lying(link: &LyingLink) -> WorkerOptions {
    WorkerOptions { enclave_binary: Some(link.program()), upgrade_delay: Some(10), ..WorkerOptions::default() }
}

fn seed() -> Result<u64> {
    match env::var("CLOISTER_LIES_SEED") {
        Ok(seed) => seed.parse().with_context(|| format!("CLOISTER_LIES_SEED={seed}")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64),
    }
}

const LIVES: u64 = 4;
/// After so many a life is over.
const LIES: usize = 25;
/// And after so long, if it has not come to that.
const LIFE: Duration = Duration::from_secs(10);
/// What each account begins with: more than its owner can spend in the time.
const ENDOWMENT: Balance = 100_000 * UNIT;
/// How long users may stand still.
const PATIENCE: Duration = Duration::from_secs(90);
