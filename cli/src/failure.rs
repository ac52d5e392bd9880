//! What ends a command early: the message, the hint and the exit code.

use std::fmt::Write;

use cloister_client::{
    MIN_SHIELD, audit, layer_one, shard,
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
            shard::Error::WithoutEffect { .. } => Some("nothing was paid on the shard".into()),
            shard::Error::CallExpired { .. } => {
                Some("nothing was paid by this call; the same command again signs it anew".into())
            }
            shard::Error::PerhapsExecuted { .. } | shard::Error::OtherOperation { .. } => Some(
                "`cloister trusted nonce` of the sender tells, once it is higher the call was executed: look before you \
                 send it again"
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
            shard::Error::PerhapsCredited { .. } => Some(
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
            audit::Error::UnknownShard(_) => (REFUSED, None),
            audit::Error::BeginsTooLate { .. } => (USAGE, None),
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
        worker::Error::Closed => Some(SENT.into()),
        worker::Error::TimedOut { what, .. } if what == "author_submitAndWatchExtrinsic" => Some(SENT.into()),
        worker::Error::Refused(reason) if reason.contains("does not exist") => {
            Some("`cloister shield-funds` brings money to the shard".into())
        }
        _ => None,
    }
}

const SENT: &str =
    "what was sent may still be executed: `cloister trusted nonce` of the sender tells, once the worker answers";
const CONNECT_AGAIN: &str = "the same command again connects to the newer one";
/// Characters: longer than any own message.
const MAX_MESSAGE: usize = 2_000;
const ANCHORED_LATER: &str = "the call may be executed already, and layer one may anchor it later: do not send it again; \
                              `cloister worker status` shows the worker's operator how far anchors lag";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cloister_client::{H256, Wait};

    use super::*;

    #[test]
    fn who_waited_in_vain_reads_what_to_do() {
        let (operation, limit) = (H256::zero(), Duration::from_secs(5));
        let in_time = |stage| shard::Error::from(worker::Error::NotInTime { operation, stage, limit });
        let (hash, wait) = (operation, Wait::Finalized);
        for (error, hint) in [
            (in_time(Stage::InBlock), "`cloister trusted nonce`"),
            (in_time(Stage::Finalized), "do not send it again"),
            (worker::Error::FinalityTimeout { operation, reason: None }.into(), "do not send it again"),
            (shard::Error::NotProcessed { block_number: 7, limit }, "stays in layer one's inbox"),
            (shard::Error::NotAnchored { height: 7, limit }, "do not send it again"),
            (layer_one::Error::TimedOut { hash, wait, limit }.into(), "`cloister balance`"),
            (layer_one::Error::OutOfSight { hash, status: "gone".into() }.into(), "before you send it again"),
            (shard::Error::PerhapsRewound { height: 7 }, "before you send it again"),
            (worker::Error::TimedOut { what: "author_submitAndWatchExtrinsic".into(), limit }.into(), "may still be"),
            (shard::Error::NoOutcome { operation }, "before you send it again"),
            (shard::Error::OtherOperation { sent: operation, found: operation }, "before you send it again"),
        ] {
            let failure = Failure::from(error);
            assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{failure:?}");
            assert_eq!(failure.code, COULD_NOT_RUN);
        }
    }

    #[test]
    fn what_was_sent_is_not_said_to_be_refused_because_its_enclave_is_retired() {
        let retired = || Box::new(shard::Error::Retired { enclave: [3; 32].into() });
        let failure = Failure::from(*retired());
        assert_eq!((failure.code, failure.hint.as_deref()), (REFUSED, Some(CONNECT_AGAIN)));
        for (error, words, hint) in [
            (
                shard::Error::PerhapsExecuted { operation: H256::zero(), source: retired() },
                "what became of it is not known: layer one knows a newer incarnation",
                "before you send it again",
            ),
            (
                shard::Error::PerhapsCredited { number: 7, source: retired() },
                "whether it is credited is not known: layer one knows a newer incarnation",
                "do not send it again",
            ),
        ] {
            let failure = Failure::from(error);
            assert!(failure.message().contains(words), "{}", failure.message());
            assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{failure:?}");
            assert_eq!(failure.code, COULD_NOT_RUN);
        }
    }

    #[test]
    fn a_call_that_never_takes_effect_is_a_refusal() {
        let operation = H256::zero();
        for error in [
            shard::Error::WithoutEffect { operation },
            shard::Error::CallExpired { operation, last_block: 7, block: 8 },
            worker::Error::Usurped { operation, reason: None }.into(),
            worker::Error::Dropped { operation, reason: None }.into(),
        ] {
            let failure = Failure::from(error);
            assert!(failure.hint.as_deref().unwrap_or_default().starts_with("nothing was paid"), "{failure:?}");
            assert_eq!(failure.code, REFUSED);
        }
    }
}
