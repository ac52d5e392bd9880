//! What is said of an end without success: message, hint and exit code.

use std::time::Duration;

use cloister_client::{H256, Wait};

use super::*;

fn perhaps_executed() -> worker::Error {
    let source = Box::new(worker::Error::Closed);
    worker::Error::PerhapsExecuted { what: "author_submitExtrinsic".into(), source }
}

#[test]
fn what_was_not_sent_is_not_said_to_be_perhaps_executed() {
    let late = worker::Error::TimedOut { what: "state_executeGetter".into(), limit: Duration::from_secs(30) };
    for error in [worker::Error::Closed, late] {
        let failure = Failure::from(error);
        assert!(failure.hint.as_deref().unwrap_or_default().starts_with("nothing was sent"), "{failure:?}");
        assert_eq!(failure.code, COULD_NOT_RUN);
    }
}

#[test]
fn who_pays_through_the_inbox_reads_when_it_is_final_and_how_not_to_pay_twice() {
    let no_effect = |source| {
        let source = Box::new(source);
        Failure::from(shard::Error::NoEffectYet { operation: H256::zero(), nonce: 5, last_block: 1_007, source })
    };
    let wait = "names block 1007 of the shard or a later one as anchored";
    let again = "send it again only with --nonce 5";
    let given_up = layer_one::Error::GivenUp { hash: H256::zero(), status: "it is no longer valid".into() };
    let ahead = no_effect(shard::Error::WithoutEffect { next: 3 });
    let (unknown, failed) = (no_effect(shard::Error::WithoutEffect { next: 5 }), no_effect(given_up.into()));
    for (failure, words) in [(&ahead, &[wait][..]), (&unknown, &[wait, again]), (&failed, &[wait, again])] {
        let hint = failure.hint.as_deref().unwrap_or_default();
        assert!(words.iter().all(|words| hint.contains(words)), "{failure:?}");
        let message = failure.message();
        assert!(message.contains("had no effect so far, and may still be executed until block 1007"), "{message}");
        assert_eq!(failure.code, COULD_NOT_RUN);
    }
    // A call with this nonce would wait for others, and so not take the first one's place.
    assert!(!ahead.hint.unwrap_or_default().contains("--nonce"));
    assert!(unknown.message().ends_with(
        "the shard processed it without executing it: nonce too high (the sender's next one is 5), sender unknown, \
         expired or not decryptable"
    ));

    let used = Failure::from(shard::Error::NonceUsed { nonce: 5, next: 6 });
    assert_eq!(used.message(), "a call with the nonce 5 was executed already: the sender's next one is 6");
    assert!(used.hint.as_deref().unwrap_or_default().starts_with("nothing was sent"), "{used:?}");
    assert_eq!(used.code, REFUSED);
}

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
        (perhaps_executed().into(), "may still be"),
        (
            shard::Error::PerhapsExecuted { operation, source: Box::new(perhaps_executed().into()) },
            "before you send it again",
        ),
        (
            shard::Error::BatchPerhapsExecuted {
                operations: vec![operation],
                source: Box::new(worker::Error::Closed.into()),
            },
            "before you send them again",
        ),
        (
            shard::Error::ShieldUnnumbered {
                extrinsic: hash,
                source: Box::new(layer_one::Error::UnknownBlock("7".into()).into()),
            },
            "do not send it again",
        ),
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
        shard::Error::CallExpired { operation, last_block: 7, block: 8 },
        worker::Error::Usurped { operation, reason: None }.into(),
        worker::Error::Dropped { operation, reason: None }.into(),
    ] {
        let failure = Failure::from(error);
        assert!(failure.hint.as_deref().unwrap_or_default().starts_with("nothing was paid"), "{failure:?}");
        assert_eq!(failure.code, REFUSED);
    }
}
