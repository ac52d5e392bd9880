//! A shard on layer one: `shard show`, and root's calls about it.

use cloister_client::{
    Balance, BlockNumber, BridgeState, Call, OutflowLimit, Retirement, Selection, ShardConfig, ShardEntry, ShardId,
    ShardMode, layer_one::Outflow,
};
use serde_json::{Value, json};

use crate::{
    Session, amount,
    args::{Limit, RootArgs, Switch},
    failure::Failure,
    output::Report,
    public::extrinsic_report,
    workers::hex0x,
};

/// The shard that the user named, or the one that the worker's enclave says it serves.
pub async fn named_or_served(session: &Session, shard: Option<ShardId>) -> Result<ShardId, Failure> {
    match shard {
        Some(shard) => Ok(shard),
        None => Ok(session.connect(&Selection::default()).await?.shard().id),
    }
}

/// `shard show`
pub async fn show(session: &Session, shard: Option<ShardId>) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let shard = named_or_served(session, shard).await?;
    let _waiting = session.console.asks();
    let at = layer_one.finalized_hash().await?;
    let bridge = layer_one.bridge_at(&shard, at).await?.ok_or_else(|| unknown(&shard))?;
    let outflow = layer_one.outflow_at(&shard, at).await?;
    // What root has just announced may be in no finalized block yet.
    let best = layer_one.shard_at(&shard, layer_one.best_hash().await?).await?;
    Ok(shown(&shard, &bridge, &outflow, best.as_ref()))
}

fn shown(shard: &ShardId, bridge: &BridgeState, outflow: &Outflow, best: Option<&ShardEntry>) -> Report {
    let (entry, now) = (&bridge.entry, bridge.block_number);
    let (mode, meaning) = match entry.mode_at(now) {
        ShardMode::Open => ("open", "open"),
        ShardMode::Maintenance => ("maintenance", "MAINTENANCE: only money that leaves it"),
        ShardMode::Retired => ("retired", "RETIRED: everything on it goes to the same accounts on layer one"),
    };
    let pending = pending_at(entry, now);
    let newer = best.and_then(|best| pending_at(best, now)).filter(|newer| Some(*newer) != pending);
    let retirement = entry.retirement;
    let announced = best.and_then(|best| best.retirement).filter(|newer| Some(*newer) != retirement);
    let cap = entry.birth.escrow_cap;
    let unconsumed = bridge.unconsumed();
    let planck = |planck: u128| (planck.to_string(), amount::format(planck));
    let flows = bridge.flows;
    let money =
        [("escrow", bridge.escrow), ("shielded", flows.shielded), ("paid", flows.paid), ("repaid", flows.repaid)];
    let mut report = Report::default()
        .field("shard", hex0x(shard))
        .field("base58", bs58::encode(shard).into_string())
        .field_as("mode", mode, meaning)
        .field("founder", &entry.birth.founder)
        .field_as("born at", entry.born_at, entry.born_at)
        .field_as("config", config_json(entry.config.at(now)), config_text(entry.config.at(now)))
        .field_as(
            "pending",
            pending.map(pending_json),
            match (newer, pending) {
                (Some(newer), _) => format!("{}, {NOT_FINAL}", pending_text(newer)),
                (None, Some(pending)) => pending_text(pending),
                (None, None) => "none".into(),
            },
        )
        .hidden("pending_not_final", newer.map(pending_json))
        .field_as(
            "retirement",
            retirement.map(retirement_json),
            match (announced, retirement) {
                (Some(announced), _) => format!("{}, {NOT_FINAL}", retirement_text(announced)),
                (None, Some(retirement)) => retirement_text(retirement),
                (None, None) => "none".into(),
            },
        )
        .hidden("retirement_not_final", announced.map(retirement_json))
        .field_as("upgrade delay", entry.birth.upgrade_delay, format_args!("{} blocks", entry.birth.upgrade_delay))
        .field_as("outflow limit", limit_json(outflow), limit_text(outflow))
        .field_as("escrow cap", cap.map(|cap| cap.to_string()), cap.map_or("none".into(), amount::format));
    for (name, figure) in money {
        report = report.field_if(name, Some(planck(figure)));
    }
    report
        .field("escrow account", &bridge.escrow_account)
        .field_if("escrow balance", Some(planck(bridge.escrow_balance)))
        .field_as(
            "inbox",
            json!({ "length": bridge.inbox_length, "consumed": unconsumed.start, "pruned": bridge.inbox_pruned }),
            format_args!(
                "{} entries, {} consumed, {} pruned",
                bridge.inbox_length, unconsumed.start, bridge.inbox_pruned
            ),
        )
        .field_as(
            "anchor",
            bridge.anchored.map(|anchored| {
                let anchor = anchored.anchor;
                json!({
                    "number": anchor.number,
                    "header_hash": format!("{:?}", anchor.header_hash),
                    "inbox_consumed": anchor.inbox_consumed,
                    "outbox_root": format!("{:?}", anchor.outbox_root),
                    "outbox_closed": anchor.outbox_closed,
                    "fees": anchor.fees.to_string(),
                    "at": anchored.at,
                })
            }),
            bridge.anchored.map_or("none".into(), |anchored| {
                let (number, hash) = (anchored.anchor.number, anchored.anchor.header_hash);
                format!("block {number} {hash:?}, in layer one's block #{}", anchored.at)
            }),
        )
        .field_if("fees", bridge.anchored.map(|anchored| planck(anchored.anchor.fees)))
        .field_as("layer one", now, format_args!("block #{now}"))
}

/// The change that a block has announced, and when it takes effect.
fn pending_at(entry: &ShardEntry, now: BlockNumber) -> Option<(&ShardConfig, BlockNumber)> {
    entry.config.pending_upgrade.as_ref().zip(entry.config.upgrade_at).filter(|(_, at)| *at > now)
}

fn pending_json((config, at): (&ShardConfig, BlockNumber)) -> Value {
    json!({ "config": config_json(config), "at": at })
}

fn pending_text((config, at): (&ShardConfig, BlockNumber)) -> String {
    format!("from block #{at} on: {}", config_text(config))
}

fn retirement_json(end: Retirement) -> Value {
    json!({ "announced_at": end.announced_at, "opens_at": end.opens_at })
}

fn retirement_text(end: Retirement) -> String {
    format!("announced in block #{}, opens in block #{}", end.announced_at, end.opens_at)
}

fn config_json(config: &ShardConfig) -> Value {
    json!({
        "fingerprint": hex0x(&config.enclave_fingerprint),
        "max_instances": config.max_instances,
        "authorities": config.authorities.as_ref().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "maintenance": config.maintenance_mode,
    })
}

fn config_text(config: &ShardConfig) -> String {
    let members = config.max_instances.map_or("any number of members".into(), |most| format!("{most} members at most"));
    let authorities = config.authorities.as_ref().map_or("any account".into(), |all| format!("{} accounts", all.len()));
    let maintenance = if config.maintenance_mode { ", in maintenance" } else { "" };
    format!("fingerprint {}, {members}, of {authorities}{maintenance}", hex0x(&config.enclave_fingerprint))
}

fn limit_json(outflow: &Outflow) -> Value {
    let Outflow { limit, is_own, used, room } = outflow;
    match limit {
        None => Value::Null,
        Some(OutflowLimit { amount, period }) => {
            let planck = |amount: Balance| amount.to_string();
            let (left, shielded, room) = (planck(used.left), planck(used.shielded), room.map(planck));
            json!({
                "amount": planck(*amount),
                "period": period,
                "left": left,
                "shielded": shielded,
                "room": room,
                "default": !is_own,
            })
        }
    }
}

fn limit_text(outflow: &Outflow) -> String {
    let Some(OutflowLimit { amount, period }) = outflow.limit else { return "none".into() };
    let default = if outflow.is_own { "" } else { ", the default" };
    let room = amount::format(outflow.room.unwrap_or(amount));
    format!("{} in {period} blocks{default}; {room} more in this one", amount::format(amount))
}

/// `shard config`
pub async fn config(
    session: &Session,
    root: &RootArgs,
    maintenance: Switch,
    delay: BlockNumber,
) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let at = layer_one.finalized_hash().await?;
    let height = layer_one.header(at).await?.number;
    let entry = layer_one.shard_at(&root.shard, at).await?.ok_or_else(|| unknown(&root.shard))?;
    if entry.config.upgrade_at.is_some_and(|at| at > height) {
        session.console.say("warning: this takes the place of the change that was announced before");
    }
    let config = ShardConfig { maintenance_mode: maintenance == Switch::On, ..entry.config.at(height).clone() };
    let call = Call::update_shard_config(&root.shard, &config, delay);
    as_root(
        session,
        root,
        &call,
        Report::default().field_as("maintenance", config.maintenance_mode, on_off(maintenance)),
    )
    .await
}

fn on_off(switch: Switch) -> &'static str {
    match switch {
        Switch::On => "on",
        Switch::Off => "off",
    }
}

/// `shard retire`
pub async fn retire(session: &Session, root: &RootArgs) -> Result<Report, Failure> {
    as_root(session, root, &Call::retire_shard(&root.shard), Report::default()).await
}

/// `shard limit`
pub async fn limit(
    session: &Session,
    root: &RootArgs,
    amount: Limit,
    period: Option<BlockNumber>,
) -> Result<Report, Failure> {
    let limit = match (amount, period) {
        (Limit::Default, None) => None,
        (Limit::Amount(amount), Some(period)) => Some(OutflowLimit { amount, period }),
        (Limit::Default, Some(_)) => return Err(Failure::usage("the default limit has its own period")),
        (Limit::Amount(_), None) => return Err(Failure::usage("a limit is an amount and the blocks of a period")),
    };
    let text = limit.map_or("default".into(), |OutflowLimit { amount, period }| {
        format!("{} in {period} blocks", amount::format(amount))
    });
    let call = Call::set_outflow_limit(&root.shard, limit.as_ref());
    as_root(session, root, &call, Report::default().field("limit", text)).await
}

async fn as_root(session: &Session, root: &RootArgs, call: &Call, report: Report) -> Result<Report, Failure> {
    let key = session.accounts.signer(&root.sudo)?;
    let layer_one = session.layer_one().await?;
    let wait = root.wait.into();
    let extrinsic = session.submit(&layer_one, &Call::sudo(call), &key, wait).await?;
    let report = report.field("shard", hex0x(&root.shard)).field("from", key.account());
    Ok(extrinsic_report(report, &extrinsic, wait))
}

fn unknown(shard: &ShardId) -> Failure {
    Failure::refused(format_args!("layer one knows no finalized shard {}", hex0x(shard))).with_hint(
        "`cloister list-workers` names the shards; one that was just born counts once its block is finalized",
    )
}

const NOT_FINAL: &str = "which is not final yet";
