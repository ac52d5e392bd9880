//! `trusted transfer-batch`: payments of one account, many in one message.

use std::{collections::VecDeque, fs, path::Path, time::Duration};

use anyhow::Context;
use cloister_client::{
    AccountId, Balance, DIRECT_CALL_FEE, H256, Selection, ShardClient, Signer, shard, worker::MAX_BATCH,
};
use cloister_wire::{Outcome, TrustedCall};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Failure, Report, Session, amount,
    args::BatchArgs,
    failure::{COULD_NOT_RUN, REFUSED},
    output::printable,
    workers::hex0x,
};

/// A line of the file.
struct Payment {
    line: usize,
    to: AccountId,
    amount: Balance,
}

/// What became of it.
enum Fate {
    Executed {
        operation: H256,
        outcome: Outcome,
    },
    Refused {
        reason: String,
    },
    /// Sent, and not heard of in time.
    Unknown {
        operation: H256,
    },
}

/// `trusted transfer-batch`
pub async fn transfer(session: &Session, selection: &Selection, args: BatchArgs) -> Result<Report, Failure> {
    let from = session.accounts.signer(&args.from)?;
    let payments = read(session, &args.file)?;
    let mut client = session.connect(selection).await?;
    if let Some(blocks) = args.lifetime {
        client = client.with_call_lifetime(blocks);
    }
    let mut report = Report::default();
    let (mut listed, mut code) = (Vec::<Value>::new(), 0);
    let (what, total) = ("waits until the shard has executed the payments", payments.len() as u64);
    let waiting = session.console.waits(what);
    for batch in payments.chunks(MAX_BATCH) {
        let before = listed.len();
        let progress = |executed: usize| waiting.counted(what, before.saturating_add(executed) as u64, total);
        progress(0);
        let (fates, trouble) = match send(&client, &from, batch, Duration::from_secs(args.timeout), progress).await {
            Ok(sent) => sent,
            // What came before is told all the same.
            Err(failure) if !listed.is_empty() => (Vec::new(), Some(failure.message())),
            Err(failure) => return Err(failure),
        };
        for (Payment { line, to, amount: planck }, fate) in batch.iter().zip(&fates) {
            code = code.max(fate.code());
            report = report.line(format_args!("{line:>5}  {to}  {}  {}", amount::format(*planck), fate.text()));
            listed.push(json!({
                "line": line,
                "to": to.to_string(),
                "amount": planck.to_string(),
                "operation": fate.operation().map(|operation| format!("{operation:?}")),
                "block_number": fate.outcome().map(|outcome| outcome.block_number),
                "ok": fate.code() == 0,
                "reason": fate.reason(),
            }));
        }
        if let Some(trouble) = trouble {
            code = u8::MAX;
            report = report.line(format_args!("{trouble}; {LOOK_FIRST}")).hidden("trouble", trouble);
            break;
        }
        // What comes after a call that is not executed has no nonce to come after.
        if fates.iter().any(|fate| !matches!(fate, Fate::Executed { .. })) {
            break;
        }
    }
    let unsent = payments.len().saturating_sub(listed.len());
    if unsent > 0 {
        report = report.line(format_args!("{unsent} more were not sent"));
    }
    let code = if code == u8::MAX { COULD_NOT_RUN } else { code };
    Ok(report
        .hidden("from", from.account().to_string())
        .hidden("payments", listed)
        .hidden("unsent", unsent)
        .hidden("fee_each", DIRECT_CALL_FEE.to_string())
        .hidden("shard", hex0x(&client.shard().id))
        .with_code(code))
}

/// Lines of account and amount; empty ones and those that begin with # say nothing.
fn read(session: &Session, file: &Path) -> Result<Vec<Payment>, Failure> {
    let place = || format!("cannot read {}", file.display());
    let text = fs::read_to_string(file).with_context(place).map_err(Failure::could_not_run)?;
    let mut payments = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let words: Vec<_> = text.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [word, ..] if word.starts_with('#') => {}
            [to, amount] => {
                let at = |failure: Failure| Failure::usage(format_args!("line {line}: {}", failure.message()));
                let to = session.accounts.address(to).map_err(at)?;
                let amount = amount::parse(amount).map_err(|error| at(Failure::usage(error)))?;
                payments.push(Payment { line, to, amount });
            }
            _ => {
                return Err(Failure::usage(format_args!(
                    "line {line}: neither an account and an amount nor a comment"
                )));
            }
        }
    }
    match payments.is_empty() {
        true => Err(Failure::usage(format_args!("{} holds no payment", file.display()))),
        false => Ok(payments),
    }
}

/// Sends one message and waits until its calls are executed, `limit` at most, and tells `progress` how many are; and says
/// what ended the wait if something else did: by then the calls are sent, and whatever the registry or the enclave refuses
/// now undoes none of them. With an error nothing was sent, or nothing taken.
async fn send(
    client: &ShardClient,
    from: &Signer,
    batch: &[Payment],
    limit: Duration,
    progress: impl Fn(usize),
) -> Result<(Vec<Fate>, Option<String>), Failure> {
    let calls =
        batch.iter().map(|payment| TrustedCall::BalanceTransfer(from.account(), payment.to.clone(), payment.amount));
    let answers = match client.submit_batch(from, calls.collect()).await {
        Ok(answers) => answers,
        Err(shard::Error::BatchPerhapsExecuted { operations, source }) => {
            let fates = operations.into_iter().map(|operation| Fate::Unknown { operation }).collect();
            return Ok((fates, Some(Failure::from(*source).message())));
        }
        Err(error) => return Err(error.into()),
    };
    let deadline = Instant::now() + limit;
    let mut fates: Vec<Fate> = answers
        .into_iter()
        .map(|answer| match answer {
            Ok(operation) | Err(shard::Error::OtherOperation { sent: operation, .. }) => Fate::Unknown { operation },
            Err(error) => Fate::Refused { reason: Failure::from(error).message() },
        })
        .collect();
    // They are executed in this order.
    let sent = fates.iter().enumerate().filter_map(|(at, fate)| Some((at, fate.sent()?)));
    let mut open: VecDeque<(usize, H256)> = sent.collect();
    while let Some((at, operation)) = open.front().copied() {
        match client.outcome(from, operation).await {
            Err(error) => return Ok((fates, Some(Failure::from(error).message()))),
            Ok(Some(outcome)) => {
                open.pop_front();
                progress(at + 1);
                if let Some(fate) = fates.get_mut(at) {
                    *fate = Fate::Executed { operation, outcome };
                }
            }
            Ok(None) if Instant::now() >= deadline => break,
            Ok(None) => sleep(POLL).await,
        }
    }
    Ok((fates, None))
}

impl Fate {
    fn sent(&self) -> Option<H256> {
        match self {
            Self::Unknown { operation } => Some(*operation),
            Self::Executed { .. } | Self::Refused { .. } => None,
        }
    }

    fn operation(&self) -> Option<H256> {
        match self {
            Self::Unknown { operation } | Self::Executed { operation, .. } => Some(*operation),
            Self::Refused { .. } => None,
        }
    }

    fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Executed { outcome, .. } => Some(outcome),
            Self::Refused { .. } | Self::Unknown { .. } => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Executed { outcome, .. } => outcome.result.as_ref().err().map(String::as_str),
            Self::Refused { reason } => Some(reason),
            Self::Unknown { .. } => None,
        }
    }

    /// The worst one counts: what is not known is worse than a refusal.
    fn code(&self) -> u8 {
        match self {
            Self::Unknown { .. } => u8::MAX,
            _ if self.reason().is_some() => REFUSED,
            _ => 0,
        }
    }

    fn text(&self) -> String {
        match (self, self.reason()) {
            (Self::Executed { outcome, .. }, None) => format!("paid in block {}", outcome.block_number),
            (Self::Unknown { operation }, _) => {
                format!("not heard of in time: `cloister trusted outcome` of {operation:?} tells later")
            }
            (_, reason) => format!("NOT PAID: {}", printable(reason.unwrap_or_default())),
        }
    }
}

const LOOK_FIRST: &str = "what was sent may count all the same: `cloister trusted nonce` of the sender tells how many calls \
                          were executed, look before you send it again";
/// A fraction of a slot.
const POLL: Duration = Duration::from_millis(200);
