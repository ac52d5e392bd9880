//! Commands on layer one and on the keystore.

use std::time::Duration;

use cloister_client::{
    AccountId, Balance, Selection, Signer, UNSHIELD_FEE, Wait, layer_one::SubmittedExtrinsic, shard,
};
use serde_json::{Value, json};
use sp_core::{Pair, ed25519, sr25519};
use zeroize::Zeroizing;

use crate::{
    Session,
    accounts::{DEVELOPMENT_NAMES, development_name},
    amount,
    args::{SchemeName, ShieldWaitFor},
    failure::Failure,
    output::Report,
    session::waits_for,
};

/// `balance`
pub async fn balance(session: &Session, account: &str) -> Result<Report, Failure> {
    let account = session.accounts.address(account)?;
    let layer_one = session.layer_one().await?;
    let found = layer_one.account(&account).await?;
    Ok(Report::default()
        .field("account", &account)
        .field_as("free", found.free.to_string(), amount::format(found.free))
        .field_as("reserved", found.reserved.to_string(), amount::format(found.reserved))
        .field_as("frozen", found.frozen.to_string(), amount::format(found.frozen))
        .field_as("nonce", found.nonce, found.nonce))
}

/// `transfer`
pub async fn transfer(session: &Session, from: &str, to: &str, amount: Balance, wait: Wait) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let to = session.accounts.address(to)?;
    let layer_one = session.layer_one().await?;
    let call = cloister_client::Call::transfer_allow_death(&to, amount);
    let extrinsic = session.submit(&layer_one, &call, &from, wait).await?;
    Ok(extrinsic_report(payment_report(&from, &to, amount), &extrinsic, wait))
}

/// `submit-call`
pub async fn submit_call(session: &Session, from: &str, call: Vec<u8>, wait: Wait) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let layer_one = session.layer_one().await?;
    let call = cloister_client::Call::encoded(call);
    let extrinsic = session.submit(&layer_one, &call, &from, wait).await?;
    Ok(extrinsic_report(Report::default().field("from", from.account()), &extrinsic, wait))
}

/// `new-account`
pub fn new_account(session: &Session, scheme: SchemeName, show_phrase: bool) -> Result<Report, Failure> {
    let (signer, phrase) = match scheme {
        SchemeName::Sr25519 => {
            let (pair, phrase, _) = sr25519::Pair::generate_with_phrase(None);
            (Signer::from(pair), Zeroizing::new(phrase))
        }
        SchemeName::Ed25519 => {
            let (pair, phrase, _) = ed25519::Pair::generate_with_phrase(None);
            (Signer::from(pair), Zeroizing::new(phrase))
        }
    };
    let file = session.accounts.keystore.store(&signer, &phrase).map_err(Failure::could_not_run)?;
    session.console.say(format_args!("key stored in {}", file.display()));
    let mut report = Report::default()
        .hidden("account", signer.account().to_string())
        .hidden("scheme", SchemeName::name(signer.scheme()))
        .hidden("file", file.display().to_string())
        .line(signer.account());
    if show_phrase {
        report = report.hidden("phrase", phrase.as_str()).line(phrase.as_str());
    }
    Ok(report)
}

/// `list-accounts`
pub fn list_accounts(session: &Session) -> Result<Report, Failure> {
    let mut accounts: Vec<(AccountId, &str, &str)> = Vec::new();
    for key in session.accounts.keystore.list().map_err(Failure::could_not_run)? {
        accounts.push((key.account, SchemeName::name(key.scheme), "keystore"));
    }
    for name in DEVELOPMENT_NAMES {
        let signer = Signer::from_secret(Default::default(), name).map_err(Failure::could_not_run)?;
        accounts.push((signer.account(), SchemeName::name(signer.scheme()), "development"));
    }
    let mut report = Report::default();
    let mut listed: Vec<Value> = Vec::new();
    for (account, scheme, source) in &accounts {
        let name = development_name(account).unwrap_or_default();
        listed.push(json!({
            "account": account.to_string(),
            "scheme": scheme,
            "source": source,
            "name": Some(name).filter(|name| !name.is_empty()),
        }));
        report = report.line(format!("{account:<48}  {scheme}  {source:<11}  {name}").trim_end());
    }
    Ok(report.hidden("accounts", listed))
}

/// `shield-funds`
pub async fn shield_funds(
    session: &Session,
    from: &str,
    to: &str,
    amount: Balance,
    selection: &Selection,
    wait: ShieldWaitFor,
) -> Result<Report, Failure> {
    let from = session.accounts.signer(from)?;
    let to = session.accounts.address(to)?;
    // Money sent to a shard that no enclave has any more is stuck: the worker must show that its enclave serves it.
    let client = session.connect(selection).await?;
    let before = match wait {
        ShieldWaitFor::Credited => Some(client.inbox_status().await?),
        ShieldWaitFor::Submitted | ShieldWaitFor::InBlock | ShieldWaitFor::Finalized => None,
    };
    let waiting = session.console.waits(waits_for(wait.on_layer_one()));
    let say = |progress| session.console.progress(progress);
    let shielding = client.shield_reporting(&from, &to, amount, wait.on_layer_one(), say).await?;
    drop(waiting);
    let mut report =
        payment_report(&from, &to, amount).field("shard", format_args!("0x{}", hex::encode(client.shard().id)));
    report = extrinsic_report(report, &shielding.extrinsic, wait.on_layer_one());
    if let Some(number) = shielding.inbox_number {
        report = report.field_as("inbox number", number, number);
        if let Some(before) = before {
            let waiting = session.console.waits("waits until the shard has credited it");
            client.credited(number, before, CREDIT_TIMEOUT).await.map_err(|error| match error {
                shard::Error::ShieldReturned { .. } => {
                    let back = amount::format(amount.saturating_sub(UNSHIELD_FEE));
                    let (fee, payer) = (amount::format(UNSHIELD_FEE), from.account());
                    Failure::came_back(error).with_hint(format!(
                        "{back}, which is the amount less the shard's fee of {fee}, go back to {payer} on layer one; \
                         `cloister outbox list` shows them until they are paid"
                    ))
                }
                error => error.into(),
            })?;
            drop(waiting);
            session.console.say("credited on the shard");
            report = report.field_as("credited", true, "yes");
        }
    }
    Ok(report)
}

/// What every payment's report begins with.
pub fn payment_report(from: &Signer, to: &AccountId, planck: Balance) -> Report {
    Report::default().field("from", from.account()).field("to", to).field_as(
        "amount",
        planck.to_string(),
        amount::format(planck),
    )
}

/// What the report of everything that went to layer one ends with.
pub fn extrinsic_report(report: Report, extrinsic: &SubmittedExtrinsic, wait: Wait) -> Report {
    let report = report.field("extrinsic", format_args!("{:?}", extrinsic.hash));
    let Some(inclusion) = &extrinsic.inclusion else { return report.field("status", "submitted") };
    let events = inclusion
        .events
        .iter()
        .map(|event| json!({ "pallet": event.pallet, "name": event.name, "fields": event.fields }));
    report
        .field("status", if wait == Wait::Finalized { "finalized" } else { "in-block" })
        .field("block hash", format_args!("{:?}", inclusion.block_hash))
        .field_as("block number", inclusion.block_number, inclusion.block_number)
        .field_if("fee", inclusion.fee().map(|fee| (fee.to_string(), amount::format(fee))))
        .hidden("events", events.collect::<Vec<_>>())
}

const CREDIT_TIMEOUT: Duration = Duration::from_secs(60);
