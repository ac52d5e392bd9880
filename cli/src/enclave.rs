//! What an enclave says of itself and of its shard to anybody. The connection ends in the enclave whose TLS key layer
//! one records, so these are its own words; nothing signs them besides.

use std::path::Path;

use cloister_client::{AccountId, H256, Selection, worker};
use cloister_wire::{ParentchainId, sidechain::SidechainHeader};
use codec::DecodeAll;
use serde_json::{Value, json};

use crate::{Failure, Report, Session, chain::metadata_report, output::printable, workers::hex0x};

/// `trusted get-shard-vault`
pub async fn vault(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let answer = client.worker().read::<(AccountId, ParentchainId)>("author_getShardVault", json!([])).await;
    let (account, _) = answer.map_err(|error| {
        let has_none = matches!(error, worker::Error::Refused(_));
        let failure = Failure::from(error);
        if has_none { failure.with_hint("`cloister shield-funds` moves money to the shard") } else { failure }
    })?;
    Ok(Report::default().hidden("account", account.to_string()).line(account))
}

/// `trusted get-fingerprint`
pub async fn fingerprint(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let fingerprint: [u8; 32] = read(session, selection, "author_getFingerprint").await?;
    let base58 = bs58::encode(fingerprint).into_string();
    Ok(Report::default().line(&base58).hidden("base58", base58).hidden("mrenclave", hex0x(&fingerprint)))
}

/// `trusted get-header`
pub async fn header(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let header: SidechainHeader = read(session, selection, "chain_getHeader").await?;
    let next = header.next_finalization_block_number;
    Ok(Report::default()
        .field_as("block number", header.block_number, header.block_number)
        .field("hash", format_args!("{:?}", header.hash()))
        .field("parent hash", format_args!("{:?}", header.parent_hash))
        .field("block data hash", format_args!("{:?}", header.block_data_hash))
        .field("shard", hex0x(&header.shard_id))
        .hidden("next_finalization_block_number", next))
}

/// `trusted inbox-status`
pub async fn inbox(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let status = client.inbox_status().await?;
    let layer_one = client.layer_one();
    let at = layer_one.finalized_hash().await?;
    let length = layer_one.bridge_at(&client.shard().id, at).await?.map(|bridge| bridge.inbox_length);
    Ok(Report::default()
        .field_if("entries", length.map(|length| (length, format!("{length} on layer one, finally"))))
        .field_as("consumed", status.consumed, status.consumed)
        .field_as("calls", status.invokes, status.invokes)
        .field_as("shieldings credited", status.shields_credited, status.shields_credited)
        .field_as("shieldings returned", status.shields_returned, status.shields_returned)
        .field("shard", hex0x(&client.shard().id)))
}

/// `trusted pending-calls`
pub async fn pending(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let shard = bs58::encode(client.shard().id).into_string();
    let pending: Vec<H256> = client.worker().read("author_pendingExtrinsics", json!([shard])).await?;
    let hashes: Vec<String> = pending.iter().map(|hash| format!("{hash:?}")).collect();
    let report = match hashes.as_slice() {
        [] => Report::default().line("nothing waits"),
        hashes => hashes.iter().fold(Report::default(), Report::line),
    };
    Ok(report.hidden("operations", hashes))
}

/// `trusted print-metadata`
pub async fn metadata(session: &Session, selection: &Selection, out: Option<&Path>) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let answer = client.worker().call("state_getMetadata", json!([])).await?;
    metadata_report(&answer.value, out)
}

/// `trusted rpc-methods`
pub async fn methods(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let methods: Vec<String> = read(session, selection, "rpc_methods").await?;
    let report = methods.iter().map(|method| printable(method)).fold(Report::default(), Report::line);
    Ok(report.hidden("methods", Value::from(methods)))
}

/// `trusted version`
pub async fn version(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let mut report = Report::default();
    for (field, method) in [("name", "system_name"), ("version", "system_version"), ("health", "system_health")] {
        let text: String = client.worker().read(method, json!([])).await?;
        report = report.field_as(field, text.as_str(), printable(&text));
    }
    Ok(report)
}

async fn read<T: DecodeAll>(session: &Session, selection: &Selection, method: &str) -> Result<T, Failure> {
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    Ok(client.worker().read(method, json!([])).await?)
}
