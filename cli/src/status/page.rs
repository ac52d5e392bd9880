//! A worker's status as its operator reads it: rows, and what needs attention.

use cloister_claims::TeeKind;
use cloister_wire::worker_status::{Obstacle, WorkerStatus};

use crate::{amount, output::printable, time, workers::SIMULATED};

/// Whether the shard's calls are executed now.
pub fn serves(status: &WorkerStatus) -> bool {
    status.phase == SERVING && status.paused.is_none()
}

/// Name and text of each row. `now` is this machine's clock (Unix milliseconds).
pub fn rows(status: &WorkerStatus, now: u64) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("phase", phase(status)),
        ("worker", format!("version {}, up {}", printable(&status.version), seconds(status.uptime_seconds))),
        ("shard", known(&status.shard)),
        ("mode", known(&status.mode)),
        ("account", known(&status.account)),
        ("enclave", enclave(status)),
    ];
    for (place, reason) in waits_for(status).into_iter().enumerate() {
        rows.push((if place == 0 { "waits for" } else { "" }, reason));
    }
    rows.extend([
        ("block", format!("{}, anchored up to {} ({})", status.block, status.anchored, behind(unanchored(status)))),
        ("pool", counted(status.pool, "waiting call")),
        ("state", format!("{}, {}", counted(status.accounts, "account"), bytes(status.state_bytes))),
        ("journal", format!("{} since {}", bytes(status.journal_bytes), snapshot(status))),
        ("store", bytes(status.store_bytes)),
        ("inbox", format!("{} consumed", counted_as(status.inbox_consumed, "entry", "entries"))),
        (
            "outbox",
            format!(
                "{} opened, {} still open",
                counted_as(status.outbox_opened, "entry", "entries"),
                status.outbox_open
            ),
        ),
        ("layer one", layer_one(status, now)),
        ("registration", registration(status)),
        ("funds", funds(status)),
        ("clients", format!("{}, {} answered", counted(status.connections, "connection"), requests(status))),
    ]);
    rows
}

/// What needs the operator's attention.
pub fn warnings(status: &WorkerStatus, now: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.phase != SERVING {
        warnings.push("it does not serve yet".into());
    }
    for Obstacle { waits_for, reason, command, .. } in &status.obstacles {
        let remedy = command.as_ref().map(|command| format!(": {}", printable(command))).unwrap_or_default();
        warnings.push(format!(
            "an extrinsic of the enclave waits ({}): {}{remedy}",
            printable(waits_for),
            printable(reason)
        ));
    }
    if let Some(reason) = &status.paused {
        warnings.push(format!("no blocks are made: {}", printable(reason)));
    }
    let lag = now.saturating_sub(status.layer_one_time);
    if status.layer_one_time > 0 && lag > MAX_LAYER_ONE_LAG_MS {
        warnings.push(format!("what the enclave knows of layer one is {} old: does finality stall?", time::span(lag)));
    }
    let unread = status.layer_one.saturating_sub(status.layer_one_read);
    if unread > MAX_UNREAD {
        warnings.push(format!("{unread} finalized blocks of layer one are not read yet"));
    }
    if unanchored(status) > MAX_UNANCHORED {
        warnings.push(format!("{} blocks are not anchored: has the enclave's account funds?", unanchored(status)));
    }
    match status.registration_expires_at {
        Some(expires) if expires <= status.layer_one_time => warnings.push("the registration has expired".into()),
        Some(expires) if expires - status.layer_one_time < SOON_MS => {
            let left = time::span(expires - status.layer_one_time);
            warnings.push(format!("the registration expires in {left} and is not renewed yet"));
        }
        _ => {}
    }
    match status.account_lasts_seconds {
        _ if status.account_free == "0" => warnings.push("the enclave's account has no funds".into()),
        Some(left) if left.saturating_mul(1_000) < SOON_MS => {
            warnings.push(format!("the enclave's funds last {} only", seconds(left)));
        }
        _ => {}
    }
    warnings
}

fn phase(status: &WorkerStatus) -> String {
    let phase = printable(&status.phase);
    if status.paused.is_some() { format!("{phase}, PAUSED") } else { phase }
}

/// Lines.
fn waits_for(status: &WorkerStatus) -> Vec<String> {
    let reason = match (&status.paused, status.phase.as_str()) {
        (Some(reason), _) => return vec![printable(reason)],
        (None, "starting") => "its enclave and its node",
        (None, "recovering") => "the shard's state, from the snapshot and the blocks since",
        (None, "registering") if !status.obstacles.is_empty() => {
            return status.obstacles.iter().flat_map(removed_by).collect();
        }
        (None, "registering") => "its registration in a finalized block of layer one",
        _ => return Vec::new(),
    };
    vec![reason.into()]
}

/// What is missing, and how its operator sees to it.
fn removed_by(obstacle: &Obstacle) -> Vec<String> {
    let reason = printable(&obstacle.reason);
    let reason = match obstacle.waits_for.as_str() {
        "funds" => format!("money on its account: {reason}"),
        "collateral" => format!("collateral on layer one: {reason}"),
        _ => reason,
    };
    let command = obstacle.command.iter().map(|command| printable(command));
    [reason].into_iter().chain(command).collect()
}

fn enclave(status: &WorkerStatus) -> String {
    let kind = if status.kind == TeeKind::Simulated.name() { SIMULATED.into() } else { known(&status.kind) };
    if status.measurement.is_empty() { kind } else { format!("{kind}, {}", printable(&status.measurement)) }
}

fn snapshot(status: &WorkerStatus) -> String {
    match status.snapshot {
        0 => "the shard's birth, without a snapshot".into(),
        block => format!("the snapshot at block {block}"),
    }
}

fn layer_one(status: &WorkerStatus, now: u64) -> String {
    let WorkerStatus { layer_one, layer_one_read, layer_one_time, .. } = status;
    let unread = behind(layer_one.saturating_sub(*layer_one_read));
    let heads = format!("finalized up to {layer_one}, read up to {layer_one_read} ({unread})");
    match layer_one_time {
        0 => heads,
        time => format!("{heads}, of {} ({})", time::utc(*time), time::from_now(*time, now)),
    }
}

/// By layer one's time: it decides.
fn registration(status: &WorkerStatus) -> String {
    match status.registration_expires_at {
        Some(expires) => {
            let verb = if expires > status.layer_one_time { "expires" } else { "EXPIRED" };
            format!("{verb} {} ({})", time::utc(expires), time::from_now(expires, status.layer_one_time))
        }
        None => "none yet".into(),
    }
}

fn funds(status: &WorkerStatus) -> String {
    let free = match status.account_free.parse() {
        Ok(planck) => amount::format(planck),
        Err(_) => known(&status.account_free),
    };
    match status.account_lasts_seconds {
        Some(left) => format!("{free}, enough for {} at the present rate", seconds(left)),
        None => free,
    }
}

fn requests(status: &WorkerStatus) -> String {
    counted(status.rpc_requests, "request")
}

fn unanchored(status: &WorkerStatus) -> u64 {
    status.block.saturating_sub(status.anchored)
}

fn behind(blocks: u64) -> String {
    if blocks == 0 { "all".into() } else { format!("{blocks} behind") }
}

fn known(text: &str) -> String {
    if text.is_empty() { "not known yet".into() } else { printable(text) }
}

fn seconds(seconds: u64) -> String {
    time::span(seconds.saturating_mul(1_000))
}

fn counted(number: u64, singular: &str) -> String {
    counted_as(number, singular, &format!("{singular}s"))
}

fn counted_as(number: u64, singular: &str, plural: &str) -> String {
    format!("{number} {}", if number == 1 { singular } else { plural })
}

/// `512 B`, `1.5 KiB`, `20.0 GiB`.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(number) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1_024, larger);
    }
    match unit {
        "B" => format!("{number} B"),
        unit => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

const SERVING: &str = "serving";
/// A shard pauses when it has not heard of layer one for about this long.
const MAX_LAYER_ONE_LAG_MS: u64 = 60_000;
const MAX_UNREAD: u64 = 30;
const MAX_UNANCHORED: u64 = 100;
/// A registration is renewed after half its time, which is a day unless the chain's policy says otherwise.
const SOON_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn status() -> WorkerStatus {
        WorkerStatus {
            version: "0.1.0".into(),
            uptime_seconds: 11_520,
            shard: "8xLZ".into(),
            account: "5Grw".into(),
            kind: "sgx".into(),
            measurement: "0x02".into(),
            phase: "serving".into(),
            paused: None,
            obstacles: Vec::new(),
            block: 1_200,
            anchored: 1_193,
            pool: 1,
            accounts: 10_000,
            state_bytes: 1_572_864,
            journal_bytes: 2_047,
            snapshot: 1_000,
            store_bytes: 21_474_836_480,
            inbox_consumed: 2,
            outbox_opened: 9,
            outbox_open: 1,
            mode: "open".into(),
            layer_one: 500,
            layer_one_read: 500,
            layer_one_time: NOW - 4_000,
            registration_expires_at: Some(NOW - 4_000 + 46_800_000),
            account_free: "12500000000000".into(),
            account_lasts_seconds: Some(90_000),
            connections: 3,
            rpc_requests: 77,
        }
    }

    fn changed(change: impl FnOnce(&mut WorkerStatus)) -> WorkerStatus {
        let mut status = status();
        change(&mut status);
        status
    }

    #[test]
    fn a_worker_that_serves_is_shown_in_units() {
        let expected = [
            ("phase", "serving"),
            ("worker", "version 0.1.0, up 3 h 12 min"),
            ("shard", "8xLZ"),
            ("mode", "open"),
            ("account", "5Grw"),
            ("enclave", "sgx, 0x02"),
            ("block", "1200, anchored up to 1193 (7 behind)"),
            ("pool", "1 waiting call"),
            ("state", "10000 accounts, 1.5 MiB"),
            ("journal", "1.9 KiB since the snapshot at block 1000"),
            ("store", "20.0 GiB"),
            ("inbox", "2 entries consumed"),
            ("outbox", "9 entries opened, 1 still open"),
            ("layer one", "finalized up to 500, read up to 500 (all), of 2023-11-14T22:13:16Z (4 s ago)"),
            ("registration", "expires 2023-11-15T11:13:16Z (in 13 h 0 min)"),
            ("funds", "12.5 UNIT, enough for 1 d 1 h at the present rate"),
            ("clients", "3 connections, 77 requests answered"),
        ];
        assert_eq!(rows(&status(), NOW), expected.map(|(name, text)| (name, text.to_string())));
        assert!(serves(&status()));
        assert!(warnings(&status(), NOW).is_empty());
    }

    #[test]
    fn what_needs_attention_is_said() {
        type Change = fn(&mut WorkerStatus);
        let cases: [(Change, &str); 9] = [
            (|status| status.phase = "recovering".into(), "it does not serve yet"),
            (
                |status| status.paused = Some("layer one\x1b stalls".into()),
                "no blocks are made: layer one\\u{1b} stalls",
            ),
            (
                |status| status.layer_one_time = NOW - 120_000,
                "what the enclave knows of layer one is 2 min old: does finality stall?",
            ),
            (|status| status.layer_one_read = 400, "100 finalized blocks of layer one are not read yet"),
            (|status| status.anchored = 1_099, "101 blocks are not anchored: has the enclave's account funds?"),
            (|status| status.registration_expires_at = Some(NOW - 4_000), "the registration has expired"),
            (
                |status| status.registration_expires_at = Some(NOW + 1_796_000),
                "the registration expires in 30 min and is not renewed yet",
            ),
            (|status| status.account_lasts_seconds = Some(3_599), "the enclave's funds last 59 min only"),
            (|status| status.account_free = "0".into(), "the enclave's account has no funds"),
        ];
        for (change, warning) in cases {
            assert_eq!(warnings(&changed(change), NOW), [warning]);
        }
        // At the limits nothing is said.
        let limits = changed(|status| {
            (status.anchored, status.layer_one_read, status.account_lasts_seconds) = (1_100, 470, Some(3_600));
            status.layer_one_time = NOW - 60_000;
            status.registration_expires_at = Some(NOW - 60_000 + 3_600_000);
        });
        assert!(warnings(&limits, NOW).is_empty());
    }

    #[test]
    fn who_does_not_serve_says_what_it_waits_for() {
        let waits = |status: &WorkerStatus| {
            rows(status, NOW).into_iter().find(|(name, _)| *name == "waits for").map(|(_, text)| text)
        };
        for (name, reason) in [
            ("starting", "its enclave and its node"),
            ("recovering", "the shard's state, from the snapshot and the blocks since"),
            ("registering", "its registration in a finalized block of layer one"),
        ] {
            let status = changed(|status| status.phase = name.into());
            assert_eq!((serves(&status), waits(&status).as_deref()), (false, Some(reason)));
        }
        let poor = changed(|status| {
            status.phase = "registering".into();
            status.obstacles = vec![
                Obstacle {
                    waits_for: "funds".into(),
                    reason: "it has 1 UNIT of the 3 UNIT that it needs; send it 2 UNIT".into(),
                    missing: Some("2000000000000".into()),
                    command: Some("cloister transfer SURI 5Grw 2UNIT".into()),
                },
                Obstacle { waits_for: "refused".into(), reason: "too young\x1b".into(), ..Obstacle::default() },
            ];
        });
        let shown = rows(&poor, NOW);
        let at = shown.iter().position(|(name, _)| *name == "waits for").unwrap();
        let expected = [
            ("waits for", "money on its account: it has 1 UNIT of the 3 UNIT that it needs; send it 2 UNIT"),
            ("", "cloister transfer SURI 5Grw 2UNIT"),
            ("", "too young\\u{1b}"),
        ];
        assert_eq!(shown[at..at + 3], expected.map(|(name, text)| (name, text.to_string())));
        // Also while it serves: a renewal waits.
        let renewing = changed(|status| status.obstacles = poor.obstacles.clone());
        let words = [
            "an extrinsic of the enclave waits (funds): it has 1 UNIT of the 3 UNIT that it needs; send it 2 UNIT: \
             cloister transfer SURI 5Grw 2UNIT",
            "an extrinsic of the enclave waits (refused): too young\\u{1b}",
        ];
        assert_eq!((warnings(&renewing, NOW), waits(&renewing)), (words.map(String::from).to_vec(), None));
        let paused = changed(|status| status.paused = Some("finality of layer one".into()));
        assert_eq!((serves(&paused), waits(&paused).as_deref()), (false, Some("finality of layer one")));
        assert_eq!(rows(&paused, NOW)[0].1, "serving, PAUSED");
    }

    #[test]
    fn what_is_not_known_yet_is_no_zero() {
        let early = WorkerStatus { version: "0.1.0".into(), phase: "starting".into(), ..WorkerStatus::default() };
        let rows = rows(&early, NOW);
        for (name, text) in [
            ("shard", "not known yet"),
            ("enclave", "not known yet"),
            ("registration", "none yet"),
            ("funds", "not known yet"),
            ("journal", "0 B since the shard's birth, without a snapshot"),
            ("layer one", "finalized up to 0, read up to 0 (all)"),
        ] {
            assert!(rows.contains(&(name, text.to_string())), "{rows:?}");
        }
        assert_eq!(warnings(&early, NOW), ["it does not serve yet"]);
        let simulated = changed(|status| status.kind = TeeKind::Simulated.name().into());
        assert_eq!(enclave(&simulated), format!("{SIMULATED}, 0x02"));
    }

    #[test]
    fn bytes_have_a_unit_that_fits() {
        for (number, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
