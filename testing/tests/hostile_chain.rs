//! Users of layer one who flood a shard's inbox, or the registry with junk: it costs them, changes nothing, and the
//! shard comes through.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{
    DIRECT_CALL_FEE, EncryptedBeneficiary, H256, MIN_SHIELD, Registration, Request, ShardId, UNIT, calls::Call,
    registry::report_data, storage,
};
use cloister_claims::Evidence;
use cloister_client::Wait;
use cloister_synthetic_evidence::{Authority, Scenario};
use cloister_testing::{
    Deployment, Junk, WorkerOptions,
    calls::{self, AnyCall},
    deployment::SETTLE_DEADLINE,
    eventually, signer,
};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Dave, Eve};

/// Senders pay layer one for the enclave's work, so that no flood outruns an enclave that follows; one whose host gets
/// no proofs falls behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_flooded_inbox_is_worked_off_visibly_and_an_honest_shielding_in_its_midst_credited() -> Result<()> {
    Deployment::run_tapped(WorkerOptions::default(), async |deployment, tap| {
        let (alice, bob, dave) = (signer(Alice), signer(Bob), signer(Dave));
        deployment.shield(&alice, 1_000 * UNIT).await?;
        let (shard, chain) = (deployment.shard.shard(), &deployment.chain);
        let length = storage::inbox_length(&shard.id);
        let flooder = chain.free_balance(&Charlie.to_account_id()).await?;

        // What takes an enclave longest, as much of it as layer one lets into a block; and shieldings for nobody.
        let worst = AnyCall::from(Call::invoke(&Junk::worst(shard)?));
        let flood = calls::batch(&vec![worst; WORST_PER_BLOCK]);
        let nobody = EncryptedBeneficiary::try_from(vec![7; 384]).map_err(|_| anyhow::anyhow!("too long"))?;
        let lost = calls::batch(&vec![AnyCall::from(Call::shield_funds(&shard.id, &nobody, MIN_SHIELD)); LOST]);
        let too_many = calls::batch(&vec![AnyCall::from(Call::invoke(&Junk::worst(shard)?)); 2 * WORST_PER_BLOCK]);
        let refused =
            chain.submit_all(&Charlie.pair(), [too_many]).await.err().context("more than a block was taken")?;
        ensure!(format!("{refused:?}").contains("would exhaust the block limits"), "{refused:?}");

        tap.withhold_proofs();
        chain.submit_all(&Charlie.pair(), vec![flood; FLOODED_BLOCKS]).await?;
        chain.submit_all(&Eve.pair(), [lost]).await?;
        deployment.shard.shield(&bob, &dave.account(), 50 * UNIT, Wait::InBlock).await?;
        let all = 2 + (FLOODED_BLOCKS * WORST_PER_BLOCK + LOST) as u64;
        let mut payments = 0;
        loop {
            // Direct calls do not wait for the inbox.
            deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
            payments += 1;
            let there: u64 = chain.storage(&length, None).await?.unwrap_or_default();
            if there > all / 2 {
                break;
            }
        }
        let worker = &deployment.worker;
        eventually("a host that sees its enclave fall behind", SETTLE_DEADLINE, async || {
            let (final_one, read) =
                (worker.metric("layer_one_finalized").await?, worker.metric("layer_one_read").await?);
            Ok((final_one > read + 5.0).then_some(()))
        })
        .await?;
        assert_eq!(worker.metric("inbox_consumed").await?, 1.0);
        tap.pass_proofs();

        // The public count of shieldings does not tell whose were returned; the beneficiary can ask.
        eventually("the honest shielding", 2 * SETTLE_DEADLINE, async || {
            Ok((deployment.shard.free_balance(&dave).await? == 50 * UNIT).then_some(()))
        })
        .await?;
        eventually("a consumed inbox", 2 * SETTLE_DEADLINE, async || {
            Ok((worker.metric("inbox_consumed").await? as u64 == all).then_some(()))
        })
        .await?;
        assert_eq!(chain.storage::<u64>(&length, None).await?, Some(all));
        assert_eq!(worker.status().await?.paused, None);

        // Who shielded for nobody gets it back; nobody else pays for the flood.
        let ledgers = deployment.ledgers().await?;
        let status = deployment.shard.inbox_status().await?;
        assert_eq!((status.shields_credited, status.shields_returned), (2, LOST as u64));
        let balances = [(1_000 - payments) * UNIT - payments * DIRECT_CALL_FEE, payments * UNIT, 50 * UNIT];
        assert_eq!(ledgers.are_of(&deployment.shard, [&alice, &bob, &dave]).await?, balances);
        let fees = flooder - chain.free_balance(&Charlie.to_account_id()).await?;
        println!("{FLOODED_BLOCKS} blocks of {WORST_PER_BLOCK} worst invocations have cost {fees} planck");
        ensure!(fees > 0 && fees / FLOODED_BLOCKS as u128 >= UNIT / 1_000, "{fees} planck is cheap");
        assert!(!worker.log().contains("a panic was caught"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_registrations_and_collateral_cost_their_sender_and_change_nothing() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.shield(&alice, 100 * UNIT).await?;
        deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.finalized(SETTLE_DEADLINE).await?;
        let before = registry(deployment).await?;

        let junk = junk(deployment).await?;
        let (mut refusals, sender) = (Vec::new(), signer(Charlie));
        for (call, _) in &junk {
            let had = deployment.chain.free_balance(&sender.account()).await?;
            refusals.push(deployment.failure(call, &sender).await?);
            let has = deployment.chain.free_balance(&sender.account()).await?;
            ensure!(has < had, "{refusals:?}: the last was free");
        }
        for (refusal, (_, expected)) in refusals.iter().zip(&junk) {
            assert!(refusal.starts_with(expected), "{refusal} instead of {expected}: {refusals:?}");
        }
        assert_eq!(registry(deployment).await?, before);

        // All at once, again and again, from several senders, while the shard is used.
        for sender in [Charlie, Dave, Eve] {
            let calls = junk.iter().cycle().take(SPAM).map(|(call, _)| AnyCall::from(call));
            deployment.chain.submit_all(&sender.pair(), calls).await?;
        }
        deployment.shield(&bob, 7 * UNIT).await?;
        deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.finalized(SETTLE_DEADLINE).await?;
        eventually("an empty pool", 2 * SETTLE_DEADLINE, async || {
            let waiting: Vec<String> =
                deployment.chain.request("author_pendingExtrinsics", jsonrpsee::rpc_params![]).await?;
            Ok(waiting.is_empty().then_some(()))
        })
        .await?;
        assert_eq!(registry(deployment).await?, before);
        let ledgers = deployment.ledgers().await?;
        let balances = [98 * UNIT - 2 * DIRECT_CALL_FEE, 9 * UNIT];
        assert_eq!(ledgers.are_of(&deployment.shard, [&alice, &bob]).await?, balances);
        Ok(())
    })
    .await
}

/// Calls that anybody may make, and why each fails.
async fn junk(deployment: &Deployment) -> Result<Vec<(Call, &'static str)>> {
    let charlie = Charlie.to_account_id();
    let chain = &deployment.chain;
    let shard = deployment.shard.shard();
    let head = chain.finalized_head().await?;
    let (incarnation_key, tls_key_hash) = ([1; 32], [2; 32]);
    let data = report_data(&chain.genesis(), &charlie, &incarnation_key, &tls_key_hash, &head.hash());
    let registration = |evidence| {
        let block_number = head.number;
        Call::register_enclave(&Registration { evidence, incarnation_key, tls_key_hash, block_number, url: None })
    };
    let rightful = || Scenario::sgx(&Authority::development()).with_report_data(&data);
    let strangers = Scenario::sgx(&Authority::from_seed([9; 32]));
    let mut altered = rightful().quote();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;

    let foreign = strangers.collateral();
    let mut forged = Scenario::sgx(&Authority::development()).collateral();
    forged.tcb_info.signature[5] ^= 1;
    let crls = [foreign.root_crl.context("no list")?, foreign.pck_crl.context("no list")?.crl];
    let nowhere = ShardId(H256::repeat_byte(9));
    let request =
        Request { shard: nowhere, cyphertext: vec![1; 16_384].try_into().map_err(|_| anyhow::anyhow!("long"))? };
    let sealed = shard.seal_beneficiary(&charlie)?;
    let founder = &shard.entry.birth.founder;
    Ok(vec![
        (registration(Evidence::Dcap(vec![0; 16 * 1024])), "teerex.Registration(NotGenuine(QuoteVersion))"),
        // Which check it fails depends on where its middle is.
        (registration(Evidence::Dcap(altered)), "teerex.Registration(NotGenuine("),
        (
            registration(Evidence::Dcap(strangers.with_report_data(&data).quote())),
            "teerex.Registration(NotGenuine(RootUnknown))",
        ),
        (Call::register_tcb_info(&foreign.tcb_info), "teerex.Collateral(RootUnknown)"),
        (Call::register_tcb_info(&forged.tcb_info), "teerex.Collateral(DocumentSignature)"),
        (Call::register_quoting_enclave(&foreign.qe_identity), "teerex.Collateral(RootUnknown)"),
        (Call::register_crls(&crls, &foreign.tcb_info.issuer_chain), "teerex.Collateral(RootUnknown)"),
        (Call::evict(founder), "teerex.StillWanted"),
        (Call::evict(&charlie), "teerex.NotRegistered"),
        (Call::unregister_sovereign_enclave(), "teerex.NotRegistered"),
        (Call::invoke(&request), "enclaveBridge.UnknownShard"),
        (Call::shield_funds(&nowhere, &sealed, MIN_SHIELD), "enclaveBridge.UnknownShard"),
        (Call::shield_funds(&shard.id, &sealed, MIN_SHIELD - 1), "enclaveBridge.BelowMinimumShield"),
        (Call::create_shard(&shard.entry.birth), "enclaveBridge.NotTheFounder"),
        (Call::retire_shard(&shard.id), "badOrigin"),
    ])
}

/// All that the registry holds, and the shard's entry and money, at the finalized head.
async fn registry(deployment: &Deployment) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let chain = &deployment.chain;
    let at = chain.finalized_head().await?.hash();
    // A pallet's name, hashed, begins the key of each of its items.
    let mut values = chain.storage_under(&storage::teerex_version()[..16], at).await?;
    let shard = storage::shard(&deployment.shard.shard().id);
    let entry = chain.raw_storage(&shard, Some(at)).await?.context("no shard")?;
    values.insert(shard, entry);
    Ok(values)
}

/// Each weighs 40 ms of the 375 that a block has.
const WORST_PER_BLOCK: usize = 8;
const FLOODED_BLOCKS: usize = 8;
/// Shieldings for nobody.
const LOST: usize = 20;
/// Calls in the pool per sender.
const SPAM: usize = 15;
