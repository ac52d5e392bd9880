//! Queries of a shard.

use cloister_claims::TeeKind;
use cloister_client::{AccountId, Balance, H256, Selection};
use cloister_wire::TrustedGetter;

use crate::{
    Session, amount,
    failure::Failure,
    output::{Report, printable},
    time,
    workers::{SIMULATED, hex0x},
};

/// `trusted balance`
pub async fn balance(session: &Session, selection: &Selection, account: &str) -> Result<Report, Failure> {
    let owner = session.accounts.signer(account)?;
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let free = client.ask::<Balance>(&owner, TrustedGetter::FreeBalance(owner.account())).await?;
    let reserved = client.reserved_balance(&owner).await?;
    let planck = free.value.unwrap_or_default();
    Ok(Report::default()
        .field("account", owner.account())
        .field_as("free", planck.to_string(), amount::format(planck))
        .field_as("reserved", reserved.to_string(), amount::format(reserved))
        .field_as("block number", free.block_number, free.block_number)
        .field_as("layer one", free.layer_one_number, free.layer_one_number)
        .field("shard", hex0x(&client.shard().id)))
}

/// `trusted nonce`
pub async fn nonce(session: &Session, selection: &Selection, account: &str) -> Result<Report, Failure> {
    let owner = session.accounts.signer(account)?;
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let nonce = client.nonce(&owner).await?;
    Ok(Report::default().field("account", owner.account()).field_as("nonce", nonce, nonce))
}

/// `trusted outcome`
pub async fn outcome(
    session: &Session,
    selection: &Selection,
    account: &str,
    operation: H256,
) -> Result<Report, Failure> {
    let sender = session.accounts.signer(account)?;
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let outcome = client.outcome(&sender, operation).await?.ok_or_else(|| {
        // It may still wait for a block.
        Failure::could_not_run(anyhow::anyhow!("the shard remembers no call {operation:?} of {}", sender.account()))
            .with_hint(
                "it was not executed, or not yet, or more than 1 000 blocks ago: `cloister trusted nonce` tells, once it \
                 is higher than the call's",
            )
    })?;
    let reason = outcome.result.as_ref().err();
    Ok(Report::default()
        .field("operation", format_args!("{operation:?}"))
        .field_as("block number", outcome.block_number, outcome.block_number)
        .field_as("ok", reason.is_none(), if reason.is_none() { "yes" } else { "no" })
        .field_if("reason", reason.map(|reason| (reason.as_str(), printable(reason))))
        .field_if("outbox number", outcome.outbox.map(|(number, _)| (number, number)))
        .field_if("outbox id", outcome.outbox.map(|(_, id)| (format!("{id:?}"), format!("{id:?}")))))
}

/// `trusted unshielding`
pub async fn unshielding(
    session: &Session,
    selection: &Selection,
    account: &str,
    number: u64,
) -> Result<Report, Failure> {
    let owner = session.accounts.signer(account)?;
    let client = session.connect(selection).await?;
    let _waiting = session.console.asks();
    let getter = TrustedGetter::Unshielding(owner.account(), number);
    let answer = client.ask::<(AccountId, Balance)>(&owner, getter).await?;
    let (beneficiary, planck) = answer.value.ok_or_else(|| {
        Failure::refused(format_args!("{} has no open unshielding {number}", owner.account()))
            .with_hint("it is settled, or somebody else's; `cloister balance` of the beneficiary tells")
    })?;
    Ok(Report::default()
        .field_as("number", number, number)
        .field("from", owner.account())
        .field("to", beneficiary)
        .field_as("amount", planck.to_string(), amount::format(planck))
        .field_as("block number", answer.block_number, answer.block_number))
}

/// `trusted get-shard`
pub async fn get_shard(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = session.connect(selection).await?;
    let shard = client.shard();
    let (birth, enclave) = (&shard.entry.birth, &shard.enclave);
    let maintenance = shard.entry.config.at(client.layer_one().finalized_number().await?).maintenance_mode;
    let escrow_cap = birth.escrow_cap;
    Ok(Report::default()
        .field("shard", hex0x(&shard.id))
        .field("base58", bs58::encode(shard.id).into_string())
        .field("mrenclave", hex0x(&birth.config.enclave_fingerprint))
        .field("enclave", shard.founder())
        .field_as(
            "kind",
            enclave.kind.name(),
            if enclave.kind == TeeKind::Simulated { SIMULATED } else { enclave.kind.name() },
        )
        .field("tcb status", enclave.tcb_status.name())
        .field("incarnation", hex0x(&enclave.incarnation_key))
        .field("tls key", hex0x(&enclave.tls_key_hash))
        .field_as("expires at", enclave.expires_at, time::utc(enclave.expires_at))
        .field_as("key epoch", birth.shielding_keys.epoch, birth.shielding_keys.epoch)
        .field_as("born at", shard.entry.born_at, shard.entry.born_at)
        .field_as(
            "escrow cap",
            escrow_cap.map(|planck| planck.to_string()),
            escrow_cap.map_or("none".into(), amount::format),
        )
        .field_as("maintenance", maintenance, if maintenance { "yes" } else { "no" }))
}
