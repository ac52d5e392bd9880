//! What a node says of layer one's chain: `get-header`, `print-metadata`.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use cloister_client::BlockNumber;
use serde_json::Value;

use crate::{Failure, Report, Session, args::parse_bytes, workers::hex0x};

/// `get-header`
pub async fn header(session: &Session, number: Option<BlockNumber>) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let (finalized_hash, finalized) = layer_one.finalized_head().await?;
    let (hash, header) = match number {
        None => (finalized_hash, finalized.clone()),
        Some(number) => {
            let hash = layer_one.block_hash(number).await?;
            (hash, layer_one.header(hash).await?)
        }
    };
    let is_final = header.number <= finalized.number;
    Ok(Report::default()
        .field_as("number", header.number, header.number)
        .field("hash", format_args!("{hash:?}"))
        .field("parent hash", format_args!("{:?}", header.parent_hash))
        .field("state root", format_args!("{:?}", header.state_root))
        .field("extrinsics root", format_args!("{:?}", header.extrinsics_root))
        .field_as("finalized", is_final, if is_final { "yes" } else { "no: another block may take its place" }))
}

/// `print-metadata`
pub async fn metadata(session: &Session, out: Option<&Path>) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let at = layer_one.finalized_hash().await?;
    let answer: Value = layer_one.request("state_getMetadata", [at]).await?;
    let bytes = answer.as_str().and_then(|text| parse_bytes(text).ok());
    let bytes = bytes.ok_or_else(|| Failure::could_not_run(anyhow!("the node's metadata is no hex")))?;
    metadata_report(&bytes, out)
}

/// Bytes of metadata: printed in hex, or written to a file.
pub fn metadata_report(bytes: &[u8], out: Option<&Path>) -> Result<Report, Failure> {
    let report = Report::default().hidden("bytes", bytes.len());
    let Some(file) = out else {
        let hex = hex0x(bytes);
        return Ok(report.line(&hex).hidden("metadata", hex));
    };
    let place = || format!("cannot write {}", file.display());
    fs::write(file, bytes).with_context(place).map_err(Failure::could_not_run)?;
    let text = format!("{} bytes in {}", bytes.len(), file.display());
    Ok(report.line(text).hidden("file", file.display().to_string()))
}
