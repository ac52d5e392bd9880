//! `listen`: what happens to enclaves and shards, block by block.

use std::io::{self, Write};

use cloister_client::{BlockNumber, Event, ShardId, layer_one::Found};
use serde_json::{Value, json};
use tokio::signal::ctrl_c;

use crate::{
    Session,
    args::ListenArgs,
    failure::Failure,
    output::{Report, json_text, printable_up_to},
    workers::hex0x,
};

/// What was seen.
#[derive(Default)]
struct Seen {
    blocks: u32,
    events: u64,
    last: Option<BlockNumber>,
}

/// Until what the arguments say, or Ctrl-C.
pub async fn listen(session: &Session, args: ListenArgs) -> Result<Report, Failure> {
    let mut seen = Seen::default();
    tokio::select! {
        ended = follow(session, &args, &mut seen) => ended?,
        _ = ctrl_c() => {}
    }
    let Seen { blocks, events, last } = seen;
    let last_text = last.map(|last| format!(", the last #{last}")).unwrap_or_default();
    Ok(Report::default()
        .hidden("blocks", blocks)
        .hidden("events", events)
        .hidden("last_block", last)
        .line(format_args!("{events} events in {blocks} blocks{last_text}")))
}

async fn follow(session: &Session, args: &ListenArgs, seen: &mut Seen) -> Result<(), Failure> {
    let layer_one = session.layer_one().await?;
    let from = match args.from {
        Some(from) => from,
        None => layer_one.finalized_number().await?,
    };
    let mut blocks = layer_one.finalized_blocks(from);
    let waiting = session.console.waits(format_args!("waits until block #{from} is final"));
    while args.blocks.is_none_or(|blocks| seen.blocks < blocks) {
        let Found { block_number, value: hash } = blocks.next().await?;
        let events = layer_one.events(hash).await?;
        (seen.blocks, seen.last) = (seen.blocks.saturating_add(1), Some(block_number));
        for event in events.iter().filter(|event| is_wanted(event, args.shard.as_ref())) {
            let line = match session.json {
                true => json_text(&json!({
                    "block": block_number, "pallet": event.pallet, "name": event.name, "fields": event.fields,
                })),
                false => printable_up_to(MAX_LINE, &format!("#{block_number} {event}")),
            };
            let written = session.console.aside(|| writeln!(io::stdout(), "{line}"));
            written.map_err(|_| Failure::could_not_run(anyhow::anyhow!("nobody reads standard output")))?;
            seen.events = seen.events.saturating_add(1);
            if args.until_event.as_ref() == Some(&event.name) {
                return Ok(());
            }
        }
        waiting.now_for(format_args!("waits until block #{} is final", block_number.saturating_add(1)));
    }
    Ok(())
}

/// Whether an event is of one of our pallets, and about the shard if there is a wanted one.
fn is_wanted(event: &Event, shard: Option<&ShardId>) -> bool {
    let ours = PALLETS.contains(&event.pallet.as_str());
    ours && shard.is_none_or(|shard| {
        let named = match &event.fields {
            Value::Object(fields) => fields.get("shard"),
            Value::Array(fields) => fields.first(),
            _ => None,
        };
        named.and_then(Value::as_str) == Some(hex0x(shard).as_str())
    })
}

/// Characters of an event for people.
const MAX_LINE: usize = 4_000;
const PALLETS: [&str; 3] = ["Teerex", "EnclaveBridge", "Sidechain"];
