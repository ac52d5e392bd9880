//! `worker status`: how a worker is, as its own host says. Nothing of it is proven.

mod http;
mod page;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use cloister_wire::worker_status::WorkerStatus;
use tokio::time::sleep;

use crate::{
    failure::{self, Failure},
    output::{self, Report},
    time,
};

pub use http::{StatusUrl, parse_status_url};

/// Once.
pub async fn show(url: &StatusUrl) -> Result<Report, Failure> {
    Ok(report(&read(url).await?, time::now()))
}

/// Each second, until the process is stopped or nobody reads any more. A worker that does not answer may come back.
pub async fn watch(url: &StatusUrl, json: bool) -> Result<Report, Failure> {
    let clears = !json && io::stdout().is_terminal();
    loop {
        let text = match show(url).await {
            Ok(report) => report.text(json),
            Err(failure) => output::failure_text(&failure, json),
        };
        let clear = if clears { CLEAR_SCREEN } else { "" };
        let separator = if clears || json { "" } else { "\n" };
        if writeln!(io::stdout(), "{clear}{text}{separator}").is_err() {
            return Err(Failure::could_not_run(anyhow::anyhow!("nobody reads standard output")));
        }
        sleep(REFRESH).await;
    }
}

async fn read(url: &StatusUrl) -> Result<WorkerStatus, Failure> {
    let body = http::get(url, TIMEOUT).await?;
    let status: Option<WorkerStatus> = serde_json::from_slice(&body).ok();
    // Every field may be missing, but a worker of any version names that.
    status.filter(|status| !status.version.is_empty()).ok_or_else(|| {
        let error = anyhow::anyhow!("{url} does not answer with a worker's status");
        Failure::could_not_run(error).with_hint(http::IS_THAT_THE_HEALTH_PORT)
    })
}

fn report(status: &WorkerStatus, now: u64) -> Report {
    let warnings = page::warnings(status, now);
    let serves = page::serves(status);
    let mut report = Report::default().with_code(if serves { 0 } else { failure::REFUSED });
    for (name, text) in page::rows(status, now) {
        report = report.row(name, text);
    }
    for warning in &warnings {
        report = report.line(format_args!("warning: {warning}"));
    }
    let fields = serde_json::to_value(status).unwrap_or_default();
    report.hidden_all(fields).hidden("serves", serves).hidden("warnings", warnings)
}

const TIMEOUT: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_secs(1);
/// ECMA-48: cursor to the upper left corner, erase the display.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";
