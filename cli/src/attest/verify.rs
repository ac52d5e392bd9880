//! `attest verify`: evidence from a file, judged here or by the chain's runtime.

use std::{fs, path::Path};

use anyhow::Context;
use cloister_attestation::{
    Roots, Subject,
    bundle::{Assembler, BundleError},
    quote::Quote,
};
use cloister_claims::{Collateral, Error, Evidence, Policy};
use cloister_client::{Appraised, LayerOne};
use codec::DecodeAll;

use super::{
    args::{At, VerifyArgs},
    collateral_of,
    verdict::{self, CheckedBy},
};
use crate::{
    failure::{COULD_NOT_RUN, Failure},
    output::Report,
    time,
};

/// `attest verify`; with the node's address only if it stands on the command line.
pub async fn verify(args: VerifyArgs, node_url: Option<&str>) -> Result<Report, Failure> {
    // 2 is this command's word for a rejection.
    run(args, node_url).await.map_err(|failure| Failure { code: COULD_NOT_RUN, ..failure })
}

async fn run(args: VerifyArgs, node_url: Option<&str>) -> Result<Report, Failure> {
    let roots = Roots::intel_and_development();
    let evidence = read_evidence(&args.file)?;
    let policy = match &args.policy {
        Some(file) => read_policy(file)?,
        None => Policy::default(),
    };
    if args.chain_policy && node_url.is_none() {
        return Err(Failure::usage("--chain-policy needs --node-url"));
    }
    if args.collateral.is_empty() && node_url.is_none() {
        return Err(Failure::usage("no collateral")
            .with_hint("--collateral names its files; --node-url takes it from layer one"));
    }
    let subject = match cloister_attestation::subject(evidence.bytes(), &roots) {
        Ok(subject) => subject,
        // What names no platform is no evidence, whatever the collateral is.
        Err(error) => return Ok(not_genuine(&evidence, error)),
    };
    let layer_one = match node_url {
        Some(url) => Some(LayerOne::connect(url).await?),
        None => None,
    };
    let collateral = match &layer_one {
        Some(layer_one) if args.collateral.is_empty() => from_chain(layer_one, &subject).await?,
        _ => assemble(&args.collateral, &evidence, &subject)?,
    };

    let at = match args.at {
        At::Time(at) => at,
        At::Now => time::now(),
        At::Window => match cloister_attestation::validity_window(&evidence, &collateral, &roots) {
            // A second before the end: that is when the newest of what is known holds.
            Ok(window) => window.until.saturating_sub(1_000).max(window.from),
            // At no time, then.
            Err(error) => return Ok(not_genuine(&evidence, error)),
        },
    };
    let (appraised, checked_by) = match &layer_one {
        Some(layer_one) => {
            let policy = (!args.chain_policy).then_some(&policy);
            (layer_one.appraise(&evidence, &collateral, at, policy).await?, CheckedBy::Chain)
        }
        None => {
            let verification = cloister_attestation::verify(&evidence, &collateral, &roots, at);
            let appraisal = verification.as_ref().ok().map(|verification| policy.appraise(verification, at));
            (Appraised { verification, appraisal }, CheckedBy::Native)
        }
    };
    Ok(verdict::report(&evidence, &appraised, Some(at), checked_by))
}

fn not_genuine(evidence: &Evidence, error: Error) -> Report {
    let appraised = Appraised { verification: Err(error), appraisal: None };
    verdict::report(evidence, &appraised, None, CheckedBy::Native)
}

/// A quote as it is, in hex, or in layer one's encoding.
fn read_evidence(file: &Path) -> Result<Evidence, Failure> {
    let bytes = read(file)?;
    let digits = bytes.trim_ascii();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    let bytes = match hex::decode(digits) {
        Ok(decoded) if !decoded.is_empty() => decoded,
        // No quote consists of hexadecimal digits only.
        _ => bytes,
    };
    // A quote begins with its version, which is not 0 as the encoding is.
    Ok(Evidence::decode_all(&mut bytes.as_slice()).unwrap_or(Evidence::Dcap(bytes)))
}

fn read_policy(file: &Path) -> Result<Policy, Failure> {
    let policy = serde_json::from_slice(&read(file)?);
    policy
        .with_context(|| format!("{} is not a policy", file.display()))
        .map_err(|error| Failure::could_not_run(error).with_hint("`cloister attest verify --help` shows one"))
}

/// Collateral out of files.
fn assemble<P: AsRef<Path>>(files: &[P], evidence: &Evidence, subject: &Subject) -> Result<Collateral, Failure> {
    let mut assembler = assembler(files)?;
    if let Ok(quote) = Quote::parse(evidence.bytes()) {
        assembler.add_chain(quote.pck_chain);
    }
    assembler.finish(Some(subject)).map_err(incomplete)
}

/// Files put together, of no particular platform.
pub(super) fn assembler<P: AsRef<Path>>(files: &[P]) -> Result<Assembler, Failure> {
    let mut assembler = Assembler::default();
    for file in files {
        let file = file.as_ref();
        let added = assembler.add(&read(file)?);
        added
            .with_context(|| format!("cannot use {} as collateral", file.display()))
            .map_err(Failure::could_not_run)?;
    }
    Ok(assembler)
}

pub(super) fn incomplete(error: BundleError) -> Failure {
    Failure::could_not_run(anyhow::Error::new(error).context("the files are no complete collateral"))
        .with_hint("further --collateral files may add what is missing")
}

async fn from_chain(layer_one: &LayerOne, subject: &Subject) -> Result<Collateral, Failure> {
    let at = layer_one.finalized_hash().await?;
    let stored = layer_one.collateral_at(&collateral_of(subject), at).await?;
    stored.complete().map_err(|part| {
        Failure::could_not_run(anyhow::anyhow!("layer one has no {part} for this platform"))
            .with_hint("--collateral names files, `cloister attest submit` brings them to layer one")
    })
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display())).map_err(Failure::could_not_run)
}
