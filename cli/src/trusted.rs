//! Commands on a shard.

use std::time::{Duration, Instant};

use cloister_claims::TeeKind;
use cloister_client::{
    Balance, BuildMode, Selection, ShardClient,
    worker::{self, Stage, Update},
};
use cloister_wire::{TrustedCall, TrustedGetter, TrustedOperationStatus};

use crate::{
    Session, amount,
    args::TransferArgs,
    failure::Failure,
    output::Report,
    public::{payment, show_progress},
    time,
    workers::{DEBUG, SIMULATED, hex0x},
};

/// `trusted transfer --direct`
pub async fn transfer(session: &Session, selection: &Selection, args: TransferArgs) -> Result<Report, Failure> {
    if args.payer.is_some() {
        return Err(Failure::usage("--payer pays layer one's fee, and a call with --direct has none"));
    }
    let from = session.accounts.signer(&args.from)?;
    let to = session.accounts.address(&args.to)?;
    let client = connect(session, selection).await?;
    let mut operation = client.transfer(&from, &to, args.amount).await?;
    eprintln!("submitted {:?}", operation.hash());
    let stage = Stage::from(args.wait);
    let block = operation.reached(stage, Duration::from_secs(args.timeout), show_update).await?;
    Ok(payment(&from, &to, args.amount)
        .field("operation", format_args!("{:?}", operation.hash()))
        .field("status", status(stage))
        .field("block hash", format_args!("{block:?}"))
        .field("shard", hex0x(&client.shard().id)))
}

/// `trusted transfer`
pub async fn transfer_indirect(
    session: &Session,
    selection: &Selection,
    args: TransferArgs,
) -> Result<Report, Failure> {
    let from = session.accounts.signer(&args.from)?;
    let to = session.accounts.address(&args.to)?;
    let payer = args.payer.as_deref().map(|payer| session.accounts.signer(payer)).transpose()?;
    let payer = payer.as_ref().unwrap_or(&from);
    let client = connect(session, selection).await?;
    let deadline = |since: Instant| Duration::from_secs(args.timeout).saturating_sub(since.elapsed());

    let call = TrustedCall::BalanceTransfer(from.account(), to.clone(), args.amount);
    let invocation = client.invoke_reporting(&from, payer, call, show_progress).await?;
    let since = Instant::now();
    eprintln!("waits until the shard reports that it has processed block #{}", invocation.block_number);
    let outcome = client.executed(&from, &invocation, deadline(since)).await?;
    eprintln!("processed in block #{} of the shard", outcome.block_number);
    let operation = invocation.operation;
    outcome.result.map_err(|reason| worker::Error::CallFailed { operation, reason })?;
    let stage = Stage::from(args.wait);
    if stage == Stage::Finalized {
        let anchored = client.anchored(outcome.block_number, deadline(since)).await?;
        eprintln!("anchored by layer one's block #{}", anchored.at);
    }
    Ok(payment(&from, &to, args.amount)
        .field("payer", payer.account())
        .field("operation", format_args!("{operation:?}"))
        .field("status", status(stage))
        .field_as("block number", outcome.block_number, outcome.block_number)
        .field_as("nonce", invocation.nonce, invocation.nonce)
        .field("extrinsic", format_args!("{:?}", invocation.extrinsic))
        .field_as("layer one", invocation.block_number, format_args!("block #{}", invocation.block_number))
        .field("shard", hex0x(&client.shard().id)))
}

fn show_update(update: &Update) {
    match update.status {
        TrustedOperationStatus::Ready => eprintln!("ready"),
        TrustedOperationStatus::Future => eprintln!("waits for calls with lower nonces"),
        TrustedOperationStatus::InSidechainBlock(block) => eprintln!("in block {block:?} of the shard"),
        TrustedOperationStatus::Finalized => eprintln!("anchored in a finalized block of layer one"),
        _ => {}
    }
}

fn status(stage: Stage) -> &'static str {
    match stage {
        Stage::InBlock => "in-sidechain-block",
        Stage::Finalized => "finalized",
    }
}

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
        .field_as(
            "maintenance",
            birth.config.maintenance_mode,
            if birth.config.maintenance_mode { "yes" } else { "no" },
        ))
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
