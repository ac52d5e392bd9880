//! [subxt](https://docs.rs/subxt) at layer one: moves money into a shard and reads the chain's own events. Types come
//! from the checked-in metadata, so that a change of the runtime that this program would misread does not compile.
//!
//! Prints what it saw as one line of JSON.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use clap::Parser;
use serde_json::json;
use subxt::{OnlineClient, SubstrateConfig};
use subxt_signer::sr25519::dev;

#[subxt::subxt(runtime_metadata_path = "metadata.scale", derive_for_all_types = "Clone, PartialEq")]
mod cloister {}

use cloister::{
    enclave_bridge::events as bridge,
    runtime_types::{
        bounded_collections::bounded_vec::BoundedVec,
        cloister_chain_primitives::{registry::BuildMode, shard::ShardId},
        cloister_claims::types::TeeKind,
    },
    sidechain::events as sidechain,
};

#[derive(Parser)]
struct Arguments {
    /// Where the money goes: 32 bytes, in base58 or as hex with 0x. `cloister list-workers` shows it.
    #[arg(long, value_parser = bytes32)]
    shard: [u8; 32],
    /// Fingerprint of the enclave code that you trust with it, likewise. Compare it with that of your own build.
    #[arg(long, value_parser = bytes32)]
    mrenclave: [u8; 32],
    /// Where a node answers.
    #[arg(long, default_value = "ws://127.0.0.1:9944")]
    node: String,
    /// Planck to shield, from //Dave into //Dave's account on the shard.
    #[arg(long, default_value_t = 3_000_000_000_000)]
    amount: u128,
    /// Seconds until it gives up.
    #[arg(long, default_value_t = 100)]
    deadline: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seen = tokio::time::timeout(Duration::from_secs(arguments.deadline), shield(&arguments)).await;
    println!("{}", seen.context("the deadline has passed")??);
    Ok(())
}

async fn shield(arguments: &Arguments) -> Result<serde_json::Value> {
    let api = OnlineClient::<SubstrateConfig>::from_insecure_url(&arguments.node).await?;
    let mut blocks = api.stream_blocks().await?;
    let now = api.at_current_block().await?;

    let shard = ShardId(arguments.shard.into());
    let entry = now.storage().try_fetch(cloister::storage().enclave_bridge().shards(), (shard.clone(),)).await?;
    let entry = entry.with_context(|| format!("expected: a shard {:?} on layer one", shard.0))?.decode()?;
    let (founder, keys) = (entry.birth.founder, entry.birth.shielding_keys);
    // Who bears a shard chooses its keys, and anybody may bear one.
    let (wanted, found) = (hex0x(&arguments.mrenclave), hex0x(&entry.birth.config.enclave_fingerprint));
    ensure!(found == wanted, "expected: a shard of enclaves with fingerprint {wanted}, not {found}");
    let record = now.storage().try_fetch(cloister::storage().teerex().sovereign_enclaves(), (founder,)).await?;
    let record = record.context("expected: a registration of the enclave that bore the shard")?.decode()?;
    let found = hex0x(&record.fingerprint);
    ensure!(found == wanted, "expected: an enclave registered with fingerprint {wanted}, not {found}");
    match (record.kind, record.build_mode) {
        (TeeKind::Simulated, _) => eprintln!("the enclave is simulated: nothing proves its fingerprint"),
        (_, BuildMode::Production) => {}
        (_, BuildMode::Debug) => bail!("expected: an enclave whose operator cannot read its memory"),
    }
    ensure!(entry.retirement.is_none(), "expected: a shard that is not going to be retired");

    let dave = dev::dave();
    let beneficiary = rsa_oaep(&keys.rsa_modulus, &dave.public_key().0)?;
    let call = cloister::tx().enclave_bridge().shield_funds(shard.clone(), beneficiary.clone(), arguments.amount);
    let submitted = now.transactions().sign_and_submit_then_watch_default(&call, &dave).await?;
    let included = submitted.wait_for_finalized().await?;
    let events = included.wait_for_success().await?;
    let shielded = events.find_first::<bridge::ShieldFunds>().context("no event ShieldFunds")??;
    ensure!(shielded.shard == shard && shielded.amount == arguments.amount, "{shielded:?}");
    ensure!(shielded.encrypted_beneficiary == beneficiary, "{shielded:?}");

    // The enclave reads finalized blocks only, and reports on layer one how far it has come.
    let shielded_at = api.at_block(included.block_hash()).await?.block_number();
    let (mut finalized, mut anchored) = (Vec::new(), None);
    loop {
        let block = blocks.next().await.context("the node has no more blocks")??;
        finalized.push(json!([block.number(), block.hash()]));
        let events = block.at().await?.events().fetch().await?;
        for event in events.find::<sidechain::FinalizedSidechainBlock>() {
            anchored = Some(event?).filter(|event| event.shard == shard).or(anchored);
        }
        let reports = events.find::<bridge::ProcessedParentchainBlock>().collect::<Result<Vec<_>, _>>()?;
        if reports.iter().any(|report| report.shard == shard && u64::from(report.block_number) >= shielded_at) {
            break;
        }
    }
    let anchored = anchored.context("no event FinalizedSidechainBlock")?;
    Ok(json!({
        "genesis": api.genesis_hash(),
        "shard": shard.0,
        "account": dave.public_key().to_account_id().to_string(),
        "amount": shielded.amount.to_string(),
        "extrinsic": included.extrinsic_hash(),
        "block": { "number": shielded_at, "hash": included.block_hash() },
        "finalized": finalized,
        "anchored": anchored.block_number,
    }))
}

/// 32 bytes in base58 or as hex with 0x.
fn bytes32(text: &str) -> Result<[u8; 32]> {
    let bytes = match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits)?,
        None => bs58::decode(text).into_vec()?,
    };
    bytes.try_into().map_err(|_| anyhow!("not 32 bytes"))
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A beneficiary's account, encrypted to the shard in the form that published clients use.
fn rsa_oaep(modulus: &[u8], account: &[u8]) -> Result<BoundedVec<u8>> {
    let key: PublicEncryptingKey = PublicKeyComponents { n: modulus, e: &[1, 0, 1][..] }.try_into()?;
    let key = OaepPublicEncryptingKey::new(key)?;
    let mut cyphertext = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, account, &mut cyphertext, None)?;
    Ok(BoundedVec(cyphertext))
}
