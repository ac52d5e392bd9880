//! Evidence, collateral and policy: what `attest` does.

mod args;
mod verdict;
mod verify;

use std::{fs, path::Path};

use anyhow::Context;
use cloister_attestation::{
    Roots, Subject, bundle,
    collateral::RootOfTrust,
    quote::{Quote, Report as QuoteReport},
};
use cloister_claims::{Collateral, Evidence, Policy};
use cloister_client::{
    AccountId, Call, EnclaveRecord, LayerOne, RegistrationPolicy, Wait,
    layer_one::{self, CollateralOf, SubmittedExtrinsic},
    report_data,
};
use futures::future::join_all;
use serde_json::json;

use crate::{
    Session,
    failure::Failure,
    output::Report,
    public::extrinsic_report,
    session::waits_for,
    time,
    workers::{Worker, founded_by, hex0x},
};

pub use args::Attest;
pub use verify::verify;

/// Which collateral of layer one a quote needs.
fn collateral_of(subject: &Subject) -> CollateralOf {
    let Subject { root, platform, fmspc, issuer } = *subject;
    CollateralOf { root, platform, fmspc, issuer }
}

/// `attest show`
pub async fn show(session: &Session, account: &str, out: Option<&Path>) -> Result<Report, Failure> {
    let account = session.accounts.address(account)?;
    let layer_one = session.layer_one().await?;
    let at = layer_one.finalized_hash().await?;
    let (record, evidence, shards, now) = tokio::try_join!(
        layer_one.enclave_at(&account, at),
        layer_one.evidence_at(&account, at),
        layer_one.shards_at(at),
        layer_one.time_at(at)
    )?;
    let (Some(record), Some(evidence)) = (record, evidence) else {
        let failure = Failure::refused(format_args!("{account} is not registered as an enclave"));
        return Err(
            failure.with_hint("`cloister list-workers` shows who is; a registration counts once it is finalized")
        );
    };
    let worker = Worker { account: &account, record: &record, shards: founded_by(&account, &shards), now };
    let mut report = Report::default().hidden_all(worker.json());
    for (name, text) in worker.rows() {
        report = report.row(name, text);
    }
    let bound = is_bound(&layer_one, &account, &record, &evidence).await;
    report = report
        .row("signer", hex0x(&record.signer))
        .row("platform", hex0x(&record.platform_id_hash))
        .row("incarnation", hex0x(&record.incarnation_key))
        .row("tls key", hex0x(&record.tls_key_hash))
        .row("verified", format_args!("{} by layer one", time::utc(record.verified_at)))
        .field_as("evidence bytes", evidence.bytes().len(), evidence.bytes().len())
        .field_as(
            "bound",
            bound,
            match bound {
                Some(true) => "the evidence states this account, these keys and that block",
                Some(false) => "THE EVIDENCE STATES OTHER KEYS, another account or another block",
                None => "unknown: the node no longer has the named block",
            },
        );
    match out {
        Some(directory) => export(report, &layer_one, &evidence, at, directory).await,
        None => Ok(report),
    }
}

/// Whether the evidence carries what the record says; `None` if the node cannot tell.
async fn is_bound(
    layer_one: &LayerOne,
    account: &AccountId,
    record: &EnclaveRecord,
    evidence: &Evidence,
) -> Option<bool> {
    let block = layer_one.block_hash(record.bound_block).await.ok()?;
    let stated = match Quote::parse(evidence.bytes()).ok()?.report {
        QuoteReport::Enclave(report) => report.report_data,
        QuoteReport::Domain(report) => report.report_data,
    };
    let keys = (&record.incarnation_key, &record.tls_key_hash);
    Some(stated == report_data(&layer_one.genesis(), account, keys.0, keys.1, &block))
}

/// Writes evidence and collateral as layer one stores them.
async fn export(
    report: Report,
    layer_one: &LayerOne,
    evidence: &Evidence,
    at: cloister_client::H256,
    directory: &Path,
) -> Result<Report, Failure> {
    let subject = cloister_attestation::subject(evidence.bytes(), &Roots::intel_and_development())
        .context("the stored evidence names no platform")
        .map_err(Failure::could_not_run)?;
    let stored = layer_one.collateral_at(&collateral_of(&subject), at).await?;
    let collateral = stored
        .complete()
        .map_err(|part| Failure::could_not_run(anyhow::anyhow!("layer one has no {part} for this platform")))?;
    let mut files = vec![
        ("evidence.bin", evidence.bytes().to_vec()),
        ("collateral.json", bundle::to_json(&collateral).into_bytes()),
    ];
    if subject.root == RootOfTrust::Development {
        files.push(("policy.json", SIMULATION_ALLOWED.to_vec()));
    }
    let place = || format!("cannot write to {}", directory.display());
    fs::create_dir_all(directory).with_context(place).map_err(Failure::could_not_run)?;
    let mut paths = Vec::new();
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).with_context(place).map_err(Failure::could_not_run)?;
        paths.push(path.display().to_string());
    }
    let [evidence_path, collateral_path, policy_path @ ..] = paths.as_slice() else { return Ok(report) };
    let mut command = format!("cloister attest verify {evidence_path} --collateral {collateral_path}");
    let mut report = report;
    if let [policy_path] = policy_path {
        command = format!("{command} --policy {policy_path}");
        report = report
            .hidden("policy_file", policy_path.as_str())
            .line("it is simulated: only a policy that allows simulation takes it, as policy.json does");
    }
    Ok(report
        .hidden("evidence_file", evidence_path.as_str())
        .hidden("collateral_file", collateral_path.as_str())
        .line(format!("verify it again, offline: {command}")))
}

/// A policy that takes simulated evidence, and otherwise wants what a policy wants that says nothing.
const SIMULATION_ALLOWED: &[u8] = b"{\"simulation\": \"allowed\"}\n";

/// `attest submit`
pub async fn submit<P: AsRef<Path>>(session: &Session, from: &str, files: &[P], wait: Wait) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let collateral = verify::assembler(files)?.finish(None).map_err(verify::incomplete)?;
    let layer_one = session.layer_one().await?;
    let documents = documents(&collateral);
    let first_nonce = layer_one.next_nonce(&from.account()).await?;
    let mut extrinsics = Vec::new();
    for ((_, call), nonce) in documents.iter().zip(first_nonce..) {
        extrinsics.push(layer_one.sign(call, &from, nonce).await?);
    }
    let submissions = extrinsics.iter().map(|extrinsic| layer_one.submit_encoded(extrinsic, wait, |_| ()));
    let waiting = session.console.waits(waits_for(wait));
    let results = join_all(submissions).await;
    drop(waiting);

    let mut report = Report::default().field("from", from.account());
    let mut outcomes = Vec::new();
    let mut failed = None;
    for ((name, _), result) in documents.iter().zip(results) {
        let outcome = outcome(&result, wait);
        report = report.row(name, &outcome);
        session.console.say(format_args!("{name}: {outcome}"));
        outcomes.push(json!({ "document": name, "outcome": outcome }));
        match result {
            Err(error) if outcome != KNOWN => failed = failed.or(Some(error)),
            _ => {}
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(report.hidden("documents", outcomes)),
    }
}

/// Revocation lists first: who signed the others is looked up in them.
fn documents(collateral: &Collateral) -> Vec<(&'static str, Call)> {
    let mut documents = Vec::new();
    let root_chain = &collateral.tcb_info.issuer_chain;
    let (pck_crl, chain) = match &collateral.pck_crl {
        Some(list) => (Some(list.crl.clone()), &list.issuer_chain),
        None => (None, root_chain),
    };
    let lists: Vec<_> = collateral.root_crl.iter().cloned().chain(pck_crl).collect();
    if !lists.is_empty() {
        documents.push(("revocation lists", Call::register_crls(&lists, chain)));
    }
    documents.push(("tcb info", Call::register_tcb_info(&collateral.tcb_info)));
    documents.push(("qe identity", Call::register_quoting_enclave(&collateral.qe_identity)));
    documents
}

fn outcome(result: &Result<SubmittedExtrinsic, layer_one::Error>, wait: Wait) -> String {
    match result {
        Ok(_) if wait == Wait::Submitted => "submitted".into(),
        Ok(_) => "new".into(),
        Err(layer_one::Error::ExtrinsicFailed { failure, .. }) if failure.name == "teerex.AlreadyKnown" => KNOWN.into(),
        Err(error) => error.to_string(),
    }
}

/// What layer one had before.
const KNOWN: &str = "known";

/// `attest evict`
pub async fn evict(session: &Session, from: &str, account: &str, wait: Wait) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let account = session.accounts.address(account)?;
    let layer_one = session.layer_one().await?;
    let extrinsic = session.submit(&layer_one, &Call::evict(&account), &from, wait).await?;
    let events = extrinsic.inclusion.iter().flat_map(|inclusion| &inclusion.events);
    let outcome = events.filter(|event| event.pallet == "Teerex").find_map(|event| match event.name.as_str() {
        "EvictedEnclave" => Some(("evicted", format!("evicted {}", event.fields))),
        "LeavingEnclave" => Some(("leaving", format!("may hand over its keys and must leave {}", event.fields))),
        _ => None,
    });
    let mut report = Report::default().field("from", from.account()).field("account", &account);
    if let Some((outcome, text)) = outcome {
        report = report.field_as("outcome", outcome, text);
    }
    Ok(extrinsic_report(report, &extrinsic, wait))
}

/// `attest policy`
pub async fn policy(session: &Session) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let Some(policy) = layer_one.registration_policy().await? else {
        return Err(Failure::could_not_run(anyhow::anyhow!("layer one stores no policy for registrations")));
    };
    let stored = serde_json::to_value(&policy).map_err(Failure::could_not_run)?;
    let RegistrationPolicy { appraisal, .. } = &policy;
    let appraisal: &Policy = appraisal;
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_string() } else { names.join(", ") };
    let stance = |allowed: cloister_claims::Stance| {
        if allowed == cloister_claims::Stance::Allowed { "allowed" } else { "forbidden" }
    };
    Ok(Report::default()
        .hidden("policy", stored)
        .row("kinds", list(appraisal.kinds.iter().map(|kind| kind.name()).collect()))
        .row("simulation", stance(appraisal.simulation))
        .row("tcb statuses", list(appraisal.tcb_statuses.iter().map(|status| status.name()).collect()))
        .row(
            "advisories",
            match &appraisal.advisories {
                Some(accepted) => list(accepted.iter().map(|advisory| advisory.as_str()).collect()),
                None => "any".into(),
            },
        )
        .row("debug", stance(appraisal.debug))
        .row("service td", stance(appraisal.service_td))
        .row(
            "revocation",
            if appraisal.crl == cloister_claims::Crl::Required { "lists required" } else { "lists optional" },
        )
        .row("evaluation", format_args!("number {} or above", appraisal.min_evaluation_number))
        .row(
            "collateral",
            match appraisal.max_collateral_age_ms {
                Some(age) => format!("at most {} old", time::span(age)),
                None => "as long as it is valid".into(),
            },
        )
        .row("evidence", format_args!("at most {} blocks old", policy.max_evidence_age))
        .row("renewal", format_args!("every {}", time::span(policy.reattest_interval_ms)))
        .row("incarnations", format_args!("{} blocks apart at least", policy.incarnation_gap))
        .row("grace", time::span(policy.eviction_grace_ms)))
}

/// `attest set-policy`
pub async fn set_policy(session: &Session, from: &str, file: &Path, wait: Wait) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let policy: RegistrationPolicy = serde_json::from_slice(&verify::read(file)?)
        .with_context(|| format!("{} is not a policy for registrations", file.display()))
        .map_err(|error| Failure::usage(format!("{error:#}")).with_hint("`cloister attest policy --json` shows one"))?;
    let layer_one = session.layer_one().await?;
    let call = Call::sudo(&Call::set_policy(&policy));
    let extrinsic = session.submit(&layer_one, &call, &from, wait).await?;
    Ok(extrinsic_report(Report::default().field("from", from.account()), &extrinsic, wait))
}
