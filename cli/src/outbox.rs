//! What a shard owes on layer one: `outbox list`, `outbox settle` and `claim`.

use cloister_client::{
    Call, OutboxKind, Selection, ShardId, Verdict, Wait, layer_one::UnshieldResult, shard::Submitted,
};
use cloister_wire::OutboxProof;
use serde_json::{Value, json};

use crate::{
    Session, amount, failure::Failure, output::Report, public::extrinsic_report, session::waits_for,
    shards::named_or_served, workers::hex0x,
};

/// `outbox list`
pub async fn list(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let waiting = session.console.asks();
    let proofs = client.outbox(0).await?;
    let anchored = client.anchor().await?;
    drop(waiting);
    let mut listed: Vec<Value> = Vec::new();
    let mut report = Report::default();
    for proof in &proofs {
        let entry = &proof.entry;
        let proven = client.is_owed(proof, anchored.as_ref());
        let unproven = if proven { "" } else { "  not under the anchored root" };
        report = report.line(format_args!(
            "{:>6}  {:<8}  {}  {}{unproven}",
            entry.number,
            kind(entry.kind),
            entry.beneficiary,
            amount::format(entry.amount)
        ));
        listed.push(json!({
            "number": entry.number,
            "id": format!("{:?}", entry.id),
            "kind": kind(entry.kind),
            "beneficiary": entry.beneficiary.to_string(),
            "amount": entry.amount.to_string(),
            "proven": proven,
        }));
    }
    if listed.is_empty() {
        report = report.line("nothing: what layer one has finally anchored is settled");
    }
    Ok(report.hidden("entries", listed).hidden("shard", hex0x(&client.shard().id)))
}

/// `outbox settle`
pub async fn settle(
    session: &Session,
    selection: &Selection,
    from: &str,
    number: Option<u64>,
    wait: Wait,
) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let client = session.connect(selection).await?;
    let is_wanted = |proof: &OutboxProof| number.is_none_or(|number| proof.entry.number == number);
    // What stands under the anchored root, and the rest: layer one would refuse it, at the payer's expense.
    let read = async || -> Result<(Vec<OutboxProof>, Vec<OutboxProof>), Failure> {
        let mut proofs = client.outbox(number.unwrap_or_default()).await?;
        proofs.retain(is_wanted);
        let anchored = client.anchor().await?;
        Ok(proofs.into_iter().partition(|proof| client.is_owed(proof, anchored.as_ref())))
    };
    let (mut due, mut unproven) = read().await?;
    if let (Some(number), true, true) = (number, due.is_empty(), unproven.is_empty()) {
        let failure = Failure::refused(format_args!("the shard does not owe entry {number}"));
        return Err(failure.with_hint("it is settled, or its block is not anchored in a finalized block yet"));
    }
    let mut report = Report::default().field("from", from.account());
    let mut listed: Vec<Value> = Vec::new();
    // An anchor that comes in between changes the root that paths lead to.
    for _ in 0..ATTEMPTS {
        let mut outdated = Vec::new();
        let waiting = session.console.waits(waits_for(wait));
        for batch in due.chunks(BATCH) {
            let (extrinsic, results) =
                client.settle(&from, batch, wait, |progress| session.console.progress(progress)).await?;
            for (OutboxProof { entry, .. }, result) in batch.iter().zip(results) {
                let Some(outcome) = outcome(result) else {
                    outdated.push(entry.number);
                    continue;
                };
                report = report.line(format_args!("entry {}: {outcome}", entry.number));
                let extrinsic = format!("{:?}", extrinsic.hash);
                listed.push(json!({ "number": entry.number, "outcome": outcome, "extrinsic": extrinsic }));
            }
        }
        drop(waiting);
        if outdated.is_empty() && unproven.is_empty() {
            due.clear();
            break;
        }
        session.console.say("a newer block may have been anchored in the meantime; asks for fresh paths");
        outdated.extend(unproven.iter().map(|proof| proof.entry.number));
        (due, unproven) = read().await?;
        for proofs in [&mut due, &mut unproven] {
            proofs.retain(|proof| outdated.contains(&proof.entry.number));
        }
    }
    if let Some(OutboxProof { entry, .. }) = unproven.first() {
        let message =
            format!("the enclave's path for entry {} does not lead to the root that is anchored", entry.number);
        return Err(Failure::could_not_run(anyhow::anyhow!(message)).with_hint(
            "nothing was sent for it: does the worker follow layer one? `cloister outbox list` shows what is proven",
        ));
    }
    if let Some(OutboxProof { entry, .. }) = due.first() {
        let message = format!("layer one does not find entry {} under the anchored root", entry.number);
        return Err(Failure::refused(message).with_hint("the same command again asks for fresh paths"));
    }
    if listed.is_empty() {
        report = report.line("nothing is left to settle");
    }
    Ok(report.hidden("entries", listed))
}

/// For people and programs; `None` if it is to be tried again.
fn outcome(result: Submitted) -> Option<&'static str> {
    Some(match result {
        Submitted::Done(UnshieldResult::Settled(Verdict::Paid)) => "paid",
        Submitted::Done(UnshieldResult::Settled(Verdict::Refused)) => "refused",
        Submitted::Done(UnshieldResult::Deferred) => "deferred",
        Submitted::Before(Verdict::Paid) => "paid before",
        Submitted::Before(Verdict::Refused) => "refused before",
        Submitted::Unknown => "submitted",
        Submitted::PathOutdated => return None,
    })
}

fn kind(kind: OutboxKind) -> &'static str {
    match kind {
        OutboxKind::Unshield => "unshield",
        OutboxKind::Return => "return",
        OutboxKind::Exit => "exit",
    }
}

/// `unclaimed`
pub async fn unclaimed(session: &Session, account: &str, shard: Option<ShardId>) -> Result<Report, Failure> {
    let account = session.accounts.address(account)?;
    let layer_one = session.layer_one().await?;
    let shard = named_or_served(session, shard).await?;
    let owed = layer_one.unclaimed(&shard, &account).await?;
    Ok(Report::default()
        .field("account", &account)
        .field_as("amount", owed.to_string(), amount::format(owed))
        .field("shard", hex0x(&shard)))
}

/// `claim`
pub async fn claim(
    session: &Session,
    from: &str,
    account: &str,
    shard: Option<ShardId>,
    wait: Wait,
) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let account = session.accounts.address(account)?;
    let layer_one = session.layer_one().await?;
    let shard = named_or_served(session, shard).await?;
    let owed = layer_one.unclaimed(&shard, &account).await?;
    if owed == 0 {
        return Err(Failure::refused(format_args!("layer one owes nothing of this shard to {account}")));
    }
    let extrinsic = session.submit(&layer_one, &Call::claim(&shard, &account), &from, wait).await?;
    let report = Report::default()
        .field("from", from.account())
        .field("account", &account)
        .field_as("amount", owed.to_string(), amount::format(owed))
        .field("shard", hex0x(&shard));
    Ok(extrinsic_report(report, &extrinsic, wait))
}

/// Once with the paths at hand, once with fresh ones.
const ATTEMPTS: usize = 2;
/// Entries in one extrinsic: a fraction of what fits into a block.
const BATCH: usize = 16;
