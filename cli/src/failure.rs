//! What ends a command early: the message, the hint and the exit code.

use std::fmt::Write;

use cloister_client::{
    MIN_SHIELD, Nonce, audit, layer_one, shard,
    worker::{self, Stage},
};

use crate::{amount, output::printable_up_to};

/// Exit code of what did not get as far as an answer.
pub const COULD_NOT_RUN: u8 = 1;
/// Exit code of wrong usage, as clap has it.
pub const USAGE: u8 = 2;
/// Exit code of a no from chain or shard.
pub const REFUSED: u8 = 3;

/// Exit code of money that the other end refused, and that came back or comes back.
pub const CAME_BACK: u8 = 4;
/// Exit code of an audit that found something.
pub const INCONSISTENT: u8 = 5;

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// With its causes.
    pub error: anyhow::Error,
    /// What to try.
    pub hint: Option<String>,
}

impl Failure {
    /// The user asked for something that cannot be.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { code: USAGE, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// The chain says no.
    pub fn refused(message: impl std::fmt::Display) -> Self {
        Self { code: REFUSED, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// The other end refused money, which came back or comes back.
    pub fn came_back(error: impl Into<anyhow::Error>) -> Self {
        Self { code: CAME_BACK, error: error.into(), hint: None }
    }

    /// Something around the program did not work.
    pub fn could_not_run(error: impl Into<anyhow::Error>) -> Self {
        Self { code: COULD_NOT_RUN, error: error.into(), hint: None }
    }

    /// With advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error and its causes in one line, in which others' words can do no harm. A cause that the message before it already contains is left out.
    pub fn message(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if !line.contains(&text) {
                let separator = if line.is_empty() { "" } else { ": " };
                let _ = write!(line, "{separator}{text}");
            }
        }
        printable_up_to(MAX_MESSAGE, &line.replace('\n', " "))
    }
}

impl From<layer_one::Error> for Failure {
    fn from(error: layer_one::Error) -> Self {
        let code = if error.is_refusal() { REFUSED } else { COULD_NOT_RUN };
        let hint = layer_one_hint(&error);
        Self { code, error: error.into(), hint }
    }
}

impl From<shard::Error> for Failure {
    fn from(error: shard::Error) -> Self {
        let code = match &error {
            shard::Error::WrongSigner { .. }
            | shard::Error::BelowMinimumShield { .. }
            | shard::Error::Worker(worker::Error::InvalidUrl { .. }) => USAGE,
            shard::Error::ShieldReturned { .. } => CAME_BACK,
            error if error.is_refusal() => REFUSED,
            _ => COULD_NOT_RUN,
        };
        let hint = match &error {
            shard::Error::LayerOne(error) => layer_one_hint(error),
            shard::Error::Worker(error) => worker_hint(error),
            shard::Error::NoShard { mrenclave: Some(_) } => {
                Some("`cloister trusted get-shard` without --mrenclave shows what the worker runs".into())
            }
            shard::Error::NoShard { mrenclave: None } | shard::Error::UnknownShard(_) => {
                Some("`cloister-worker run --dev` bears a shard; it counts once its block is finalized".into())
            }
            shard::Error::NotRegistered { .. } | shard::Error::Expired { .. } | shard::Error::Leaving { .. } => {
                Some("nothing is sent to it; `cloister list-workers` shows who may serve".into())
            }
            shard::Error::FingerprintMismatch { .. } | shard::Error::OtherTlsKey { .. } => {
                Some("do not trust it; nothing is sent to it".into())
            }
            shard::Error::Debug { .. } => {
                Some("nothing is sent to it; --allow-debug takes it all the same, for development".into())
            }
            shard::Error::Simulated { .. } => {
                Some("nothing is sent to it; --allow-simulated takes it all the same, for development".into())
            }
            shard::Error::OtherShard { .. } => Some(
                "nothing is sent to it. An enclave that was started anew without its state no longer has its earlier \
                 shard; `cloister trusted get-shard` without --shard shows the one that it has"
                    .into(),
            ),
            shard::Error::Retired { .. } => Some(CONNECT_AGAIN.into()),
            shard::Error::StaleAnswer { .. } => Some("does the worker still follow layer one?".into()),
            shard::Error::NotProcessed { .. } => Some(
                "it stays in layer one's inbox and is executed when the shard goes on: do not send it again; `cloister \
                 trusted balance` tells later, `cloister worker status` shows the worker's operator what it waits for"
                    .into(),
            ),
            shard::Error::NotAnchored { .. } => Some(ANCHORED_LATER.into()),
            shard::Error::NoEffectYet { nonce, last_block, source, .. } => {
                Some(not_executed_so_far(*nonce, *last_block, source))
            }
            shard::Error::NonceUsed { .. } => Some(
                "nothing was sent: look whether that call did what you want, with `cloister trusted outcome` or \
                 `cloister trusted balance`, before you send this one without --nonce"
                    .into(),
            ),
            shard::Error::CallExpired { .. } => {
                Some("nothing was paid by this call; the same command again signs it anew".into())
            }
            shard::Error::PerhapsExecuted { .. } | shard::Error::OtherOperation { .. } => Some(
                "`cloister trusted nonce` of the sender tells, once it is higher the call was executed: look before you \
                 send it again"
                    .into(),
            ),
            shard::Error::BatchPerhapsExecuted { .. } => Some(
                "`cloister trusted nonce` of the sender tells how many of them were executed: look before you send them \
                 again"
                    .into(),
            ),
            shard::Error::PerhapsRewound { .. } => Some(
                "`cloister trusted nonce` and `cloister trusted balance` tell what the newer start has of it: look before \
                 you send it again, and before you give anything for a payment"
                    .into(),
            ),
            shard::Error::BelowMinimumShield { .. } => Some(format!(
                "a shielding is {} at least, so that it can be returned",
                amount::format(MIN_SHIELD)
            )),
            shard::Error::ShieldPerhapsReturned { .. } => {
                Some("`cloister trusted balance` of the beneficiary tells; if it was, it goes back to who paid".into())
            }
            shard::Error::NotConsumed { .. } => {
                Some("it is credited or returned when the shard goes on: does the worker follow layer one?".into())
            }
            shard::Error::PerhapsCredited { .. } | shard::Error::ShieldUnnumbered { .. } => Some(
                "it is credited or returned when the shard goes on: do not send it again; `cloister trusted balance` of \
                 the beneficiary tells later"
                    .into(),
            ),
            shard::Error::NotSettled { .. } => Some(
                "the money is on its way, and paid or credited again in the end: do not send it again. `cloister outbox \
                 list` shows it once it is anchored, `cloister outbox settle` has it paid"
                    .into(),
            ),
            shard::Error::VerdictForgotten { .. } => {
                Some("`cloister balance` of the beneficiary and `cloister trusted balance` of the payer tell".into())
            }
            shard::Error::NotClosed { .. } => {
                Some("it is credited when the shard goes on; `cloister trusted balance` tells later".into())
            }
            shard::Error::NoOutcome { .. } | shard::Error::NothingOpened { .. } => {
                Some("`cloister trusted balance` of the payer tells: look before you send it again".into())
            }
            shard::Error::OtherChain { .. } => Some("do node and worker belong to the same chain?".into()),
            _ => None,
        };
        Self { code, error: error.into(), hint }
    }
}

impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        shard::Error::from(error).into()
    }
}

impl From<audit::Error> for Failure {
    fn from(error: audit::Error) -> Self {
        let (code, hint) = match error {
            audit::Error::LayerOne(error) => return error.into(),
            audit::Error::UnknownShard(_) => {
                (REFUSED, Some("`cloister list-workers` names the shards of each enclave"))
            }
            audit::Error::BeginsTooLate { .. } => {
                (USAGE, Some("an earlier --from, or none, begins where there are blocks"))
            }
            audit::Error::Unreachable { .. } | audit::Error::NoBlocks(_) | audit::Error::Malformed(_) => {
                (COULD_NOT_RUN, Some("is that the worker's untrusted port, 2001 by default? --url names another one"))
            }
            audit::Error::NotKept { .. } => (COULD_NOT_RUN, Some("does the worker serve this shard, and follow it?")),
            _ => (COULD_NOT_RUN, None),
        };
        Self { code, error: error.into(), hint: hint.map(Into::into) }
    }
}

fn layer_one_hint(error: &layer_one::Error) -> Option<String> {
    match error {
        layer_one::Error::Unreachable { url, .. } => {
            Some(format!("is the node running at {url}? --node-url or CLOISTER_NODE_URL names another one"))
        }
        layer_one::Error::TimedOut { .. }
        | layer_one::Error::OutOfSight { .. }
        | layer_one::Error::Rpc { method: "author_submitAndWatchExtrinsic", .. } => Some(
            "it may still come into a block: look at the sender with `cloister balance` before you send it again"
                .into(),
        ),
        layer_one::Error::Rpc { .. } => {
            Some("is the node still there, and up to date? The same command asks anew".into())
        }
        layer_one::Error::Malformed { .. } | layer_one::Error::TooMany { .. } => Some(
            "is it a node of this chain, and of a version that belongs to this program? --node-url names another"
                .into(),
        ),
        layer_one::Error::UnknownBlock(_) => Some(
            "the node has not come to it, or keeps it no longer: --node-url names one that keeps all blocks".into(),
        ),
        layer_one::Error::GivenUp { .. } => {
            Some("it had no effect on layer one; the same command signs it anew".into())
        }
        layer_one::Error::Refused(reason) if reason.contains("pay some fees") => {
            Some("the sender needs some UNIT on layer one".into())
        }
        layer_one::Error::ExtrinsicFailed { failure, .. } if failure.name == "teerex.OlderCollateral" => {
            Some("fetch newer collateral from the vendor".into())
        }
        layer_one::Error::ExtrinsicFailed { failure, .. } if failure.name == "sudo.RequireSudo" => {
            Some("only root may do this".into())
        }
        layer_one::Error::ExtrinsicFailed { failure, .. }
            if ["arithmetic.Underflow", "token.FundsUnavailable"].contains(&failure.name.as_str()) =>
        {
            Some("the sender has too little on layer one".into())
        }
        _ => None,
    }
}

fn worker_hint(error: &worker::Error) -> Option<String> {
    match error {
        worker::Error::Unreachable { url, .. } => {
            Some(format!("is the worker running at {url}? --worker-url or CLOISTER_WORKER_URL names another one"))
        }
        worker::Error::Tls { .. } | worker::Error::WebSocket { .. } => {
            Some("is that the worker's trusted port, 2000 by default?".into())
        }
        worker::Error::WrongTlsKey { .. } => Some(
            "nothing was sent to it. A restarted enclave serves once its new registration is final: `cloister list-workers` \
             shows it; if it was not restarted, do not trust it"
                .into(),
        ),
        worker::Error::NotInTime { stage: Stage::InBlock, .. } => Some(
            "it may still be executed: `cloister trusted nonce` of the sender tells, once it is higher the call was; \
             --timeout waits longer"
                .into(),
        ),
        worker::Error::NotInTime { stage: Stage::Finalized, .. } | worker::Error::FinalityTimeout { .. } => {
            Some(ANCHORED_LATER.into())
        }
        worker::Error::Usurped { .. } => {
            Some("nothing was paid by this call; the same command again takes the next nonce".into())
        }
        worker::Error::Dropped { .. } => Some("nothing was paid by this call; the same command again may pass".into()),
        worker::Error::PerhapsExecuted { .. } => Some(SENT.into()),
        worker::Error::Closed | worker::Error::TimedOut { .. } => {
            Some("nothing was sent for execution: does the worker still run? The same command again connects anew".into())
        }
        worker::Error::Refused(reason) if reason.contains("does not exist") => {
            Some("`cloister shield-funds` brings money to the shard".into())
        }
        _ => None,
    }
}

/// What somebody may do whose call anybody can have executed until a block of the shard.
fn not_executed_so_far(nonce: Nonce, last_block: u64, why: &shard::Error) -> String {
    let wait = format!(
        "wait until `cloister shard show` names block {last_block} of the shard or a later one as anchored, and see \
         whether `cloister trusted nonce` of the sender is {nonce} or less then"
    );
    match why {
        shard::Error::WithoutEffect { next } if *next < nonce => {
            format!(
                "do not pay in another way yet: its nonce {nonce} comes after {next}, the sender's next one; {wait}"
            )
        }
        shard::Error::LayerOne(error) => {
            let advice = match error {
                layer_one::Error::ExtrinsicFailed { .. } => layer_one_hint(error).map(|advice| advice + "; "),
                _ => None,
            };
            format!("{}{SAME_NONCE} {nonce}; or {wait}", advice.unwrap_or_default())
        }
        _ => format!(
            "if the sender's account does not exist, `cloister shield-funds` brings money to it, and this call may be \
             executed then; {SAME_NONCE} {nonce}; or {wait}"
        ),
    }
}

/// Of calls with one nonce one is executed at most.
const SAME_NONCE: &str = "to pay once, send it again only with --nonce";
const SENT: &str =
    "what was sent may still be executed: `cloister trusted nonce` of the sender tells, once the worker answers";
const CONNECT_AGAIN: &str = "the same command again connects to the newer one";
/// Characters: longer than any own message.
const MAX_MESSAGE: usize = 2_000;
const ANCHORED_LATER: &str = "the call may be executed already, and layer one may anchor it later: do not send it again; \
                              `cloister worker status` shows the worker's operator how far anchors lag";

#[cfg(test)]
mod tests;
