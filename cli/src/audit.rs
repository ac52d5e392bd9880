//! `audit`: a shard's books against layer one.

use cloister_client::audit::{Audit, Host, Progress};
use serde_json::{Value, json};

use crate::{Session, Waiting, args::AuditArgs, failure, failure::Failure, output::Report, workers::hex0x};

pub async fn audit(session: &Session, AuditArgs { shard, url, from }: AuditArgs) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let host = Host::connect(&url).await?;
    let waiting = session.console.waits("asks layer one about the shard");
    let audit = Audit::run_reporting(&layer_one, &host, &shard, from, |progress| show(&waiting, progress)).await?;
    drop(waiting);
    Ok(report(&audit).hidden("shard", hex0x(&shard)))
}

fn show(waiting: &Waiting, progress: Progress) {
    match progress {
        Progress::Back { height } => {
            waiting.now_for(format_args!("looks for the oldest block that the worker keeps: has come to {height}"));
        }
        Progress::Blocks { done, total } => waiting.counted("reads the shard's blocks and checks them", done, total),
        Progress::Entries { done, total } => {
            waiting.counted("reads the entries of inbox and outbox on layer one", done, total);
        }
    }
}

fn report(audit: &Audit) -> Report {
    let Audit { bridge, blocks, books, checks } = audit;
    let mut report =
        Report::default().row("layer one", format_args!("block #{} {:?}", bridge.block_number, bridge.block_hash)).row(
            "shard",
            match blocks {
                Some(blocks) => format!("blocks {} to {}, which is anchored", blocks.start(), blocks.end()),
                None => "nothing is anchored yet".into(),
            },
        );
    if blocks.as_ref().is_some_and(|blocks| *blocks.start() > 1) {
        report = report.row("", "earlier blocks were not looked at: left out, or no longer kept by the worker");
    }
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
    let mut listed: Vec<Value> = Vec::new();
    report = report.line("");
    for check in checks {
        let verdict = if check.passed { "ok    " } else { "FAILED" };
        report = report.line(format_args!("{verdict}  {:width$}  {}", check.name, check.detail));
        listed.push(json!({ "check": check.name, "ok": check.passed, "detail": check.detail }));
    }
    report = report.line("").line("amounts in planck").line(MEANING);
    let planck = |planck: Option<u128>| planck.map(|planck| planck.to_string());
    report
        .hidden("ok", audit.passed())
        .hidden("layer_one_block", bridge.block_number)
        .hidden("layer_one_hash", format!("{:?}", bridge.block_hash))
        .hidden("from", blocks.as_ref().map(|blocks| *blocks.start()))
        .hidden("to", blocks.as_ref().map(|blocks| *blocks.end()))
        .hidden("issuance", planck(books.issuance()))
        .hidden("open", planck(books.open()))
        .hidden("fees", books.fees.to_string())
        .hidden("escrow", bridge.escrow.to_string())
        .hidden("checks", listed)
        .hidden("meaning", MEANING)
        .with_code(if audit.passed() { 0 } else { failure::INCONSISTENT })
}

const MEANING: &str = "This shows that books, anchor and escrow agree. That the enclave counted right inside its blocks is its \
                       own word: trust in its code and hardware remains.";
