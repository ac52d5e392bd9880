//! Queries of a shard, and the way to it.

use cloister_claims::TeeKind;
use cloister_client::{Balance, BuildMode, Selection, ShardClient};
use cloister_wire::TrustedGetter;

use crate::{
    Session, amount,
    failure::Failure,
    output::Report,
    time,
    workers::{DEBUG, SIMULATED, hex0x},
};

/// `trusted balance`
pub async fn balance(session: &Session, selection: &Selection, account: &str) -> Result<Report, Failure> {
    let owner = session.accounts.signer(account)?;
    let client = connect(session, selection).await?;
    let free = client.ask::<Balance>(&owner, TrustedGetter::FreeBalance(owner.account())).await?;
    let reserved = client.reserved_balance(&owner).await?;
    let planck = free.value.unwrap_or_default();
    Ok(Report::default()
        .field("account", owner.account())
        .field_as("free", planck.to_string(), amount::format(planck))
        .field_as("reserved", reserved.to_string(), amount::format(reserved))
        .field_as("block number", free.block_number, free.block_number)
        .field_as("layer one", free.layer_one_number, free.layer_one_number)
        .field("shard", format_args!("0x{}", hex::encode(client.shard().id))))
}

/// `trusted nonce`
pub async fn nonce(session: &Session, selection: &Selection, account: &str) -> Result<Report, Failure> {
    let owner = session.accounts.signer(account)?;
    let nonce = connect(session, selection).await?.nonce(&owner).await?;
    Ok(Report::default().field("account", owner.account()).field_as("nonce", nonce, nonce))
}

/// `trusted get-shard`
pub async fn get_shard(session: &Session, selection: &Selection) -> Result<Report, Failure> {
    let client = connect(session, selection).await?;
    let shard = client.shard();
    let (birth, enclave) = (&shard.entry.birth, &shard.enclave);
    let maintenance = shard.entry.config.at(client.layer_one().finalized_number().await?).maintenance_mode;
    let escrow_cap = birth.escrow_cap;
    Ok(Report::default()
        .field("shard", format_args!("0x{}", hex::encode(shard.id)))
        .field("base58", bs58::encode(shard.id).into_string())
        .field("mrenclave", format_args!("0x{}", hex::encode(birth.config.enclave_fingerprint)))
        .field("enclave", shard.founder())
        .field_as(
            "kind",
            enclave.kind.name(),
            if enclave.kind == TeeKind::Simulated { SIMULATED } else { enclave.kind.name() },
        )
        .field("tcb status", enclave.tcb_status.name())
        .field("incarnation", format_args!("0x{}", hex::encode(enclave.incarnation_key)))
        .field("tls key", format_args!("0x{}", hex::encode(enclave.tls_key_hash)))
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

/// Connects to the shard and says whom the user is about to trust, before anything is entrusted to it.
pub async fn connect(session: &Session, selection: &Selection) -> Result<ShardClient, Failure> {
    let layer_one = session.layer_one().await?;
    let client = ShardClient::connect(&layer_one, &session.worker_url, selection).await?;
    let enclave = &client.shard().enclave;
    if selection.shard.is_none() && selection.mrenclave.is_none() {
        let (kind, fingerprint) = (enclave.kind.name(), hex0x(&enclave.fingerprint));
        eprintln!("enclave: kind {kind}, fingerprint {fingerprint}; --mrenclave accepts no other one");
    }
    if enclave.kind == TeeKind::Simulated {
        eprintln!("warning: the enclave is {SIMULATED}");
    }
    if enclave.build_mode == BuildMode::Debug {
        eprintln!("warning: the enclave runs in {DEBUG}");
    }
    Ok(client)
}
