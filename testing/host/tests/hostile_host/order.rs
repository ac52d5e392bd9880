//! Messages at the wrong time, of the wrong version, or for the wrong number.

use cloister_chain_primitives::config::MeasuredConfig;
use cloister_hostile_host::{Host, LayerOne, Passing, Start, account};
use cloister_link::{ClientLimits, Kept, PROTOCOL, StopReason, ToEnclave};
use codec::Encode;

use crate::{PAID, SEED, breach, ends, funded, goes_on, restarts};

/// Starts an enclave to which `first` is said in place of `Start`.
async fn started_with(first: impl Fn(ToEnclave) -> ToEnclave + Send + 'static) -> StopReason {
    let layer_one = LayerOne::start();
    let start = Start::of(&layer_one, SEED).lying(move |passing| match passing {
        Passing::ToEnclave(start @ ToEnclave::Start { .. }) => vec![Passing::ToEnclave(first(start))],
        passing => vec![passing],
    });
    let mut host = Host::start(&layer_one, start).await;
    let reason = host.stopped().await;
    assert!(host.seen().identity.is_none() && host.seen().stores == 0, "it has said who it is");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_must_be_start() {
    for first in [
        ToEnclave::KeptAll,
        ToEnclave::Stop,
        ToEnclave::Tick { unix_ms: 0 },
        ToEnclave::Stored { sequence: 1 },
        ToEnclave::Kept(Kept::Mark(vec![])),
        ToEnclave::ConnectionOpened { connection: 0 },
    ] {
        let said = first.clone();
        assert_eq!(started_with(move |_| said.clone()).await, breach("the first message must be Start"), "{first:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_protocol_version_is_refused() {
    for version in [0, PROTOCOL - 1, PROTOCOL + 1, u16::MAX] {
        let reason = started_with(move |start| {
            let ToEnclave::Start { config, limits, .. } = start else { return start };
            ToEnclave::Start {
                protocol: version,
                config,
                limits,
                shard: None,
                spec_version: 1,
                transaction_version: 1,
                sealed_identity: None,
                url: None,
            }
        });
        let expected = format!("the host speaks version {version}, this enclave {PROTOCOL}");
        assert_eq!(reason.await, StopReason::Protocol(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used_is_refused() {
    fn with(change: impl Fn(MeasuredConfig) -> Vec<u8> + Send + 'static) -> impl Fn(ToEnclave) -> ToEnclave + Send {
        move |start| match start {
            ToEnclave::Start { protocol, config, spec_version, transaction_version, url, limits, .. } => {
                let config = codec::Decode::decode(&mut &config[..]).unwrap();
                let config = change(config);
                let (shard, sealed_identity) = (None, None);
                ToEnclave::Start {
                    protocol,
                    config,
                    shard,
                    spec_version,
                    transaction_version,
                    sealed_identity,
                    url,
                    limits,
                }
            }
            other => other,
        }
    }
    let bad = |what: &str| StopReason::BadConfig(what.into());
    let reason = started_with(with(|config| config.encode()[1..].to_vec())).await;
    assert_eq!(reason, bad("the configuration does not decode"));
    let reason = started_with(with(|config| [config.encode(), vec![0]].concat())).await;
    assert_eq!(reason, bad("the configuration does not decode"));
    let reason = started_with(with(|_| vec![0; (1 << 20) + 1])).await;
    assert_eq!(reason, bad("the configuration is larger than 1048576 bytes"));
    let reason = started_with(with(|config| MeasuredConfig { slot_ms: 0, ..config }.encode())).await;
    assert_eq!(reason, bad("slot_ms must not be 0"));
    let reason = started_with(with(|config| MeasuredConfig { simulation_allowed: false, ..config }.encode())).await;
    assert_eq!(reason, bad("the configuration forbids simulated evidence"));
    let reason = started_with(with(|mut config| {
        config.checkpoint.authorities.clear();
        config.encode()
    }));
    assert_eq!(reason.await, bad("the configured checkpoint: empty authority set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn start_twice_ends_the_enclave_and_loses_nothing() {
    let host = funded().await;
    host.say(ToEnclave::Start {
        protocol: PROTOCOL,
        config: host.layer_one.config().encode(),
        shard: None,
        spec_version: 1,
        transaction_version: 1,
        sealed_identity: None,
        url: None,
        limits: ClientLimits::default(),
    });
    ends(host, breach("Start came twice")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_cannot_come_twice_or_late() {
    let after_end = || StopReason::Kept("more after the end of what was kept".into());
    for late in [
        ToEnclave::KeptAll,
        ToEnclave::Kept(Kept::Block(vec![])),
        ToEnclave::Kept(Kept::Mark(vec![])),
        ToEnclave::Kept(Kept::Piece(vec![])),
        ToEnclave::Kept(Kept::Manifest(vec![])),
    ] {
        let host = funded().await;
        host.say(late);
        ends(host, after_end()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_end_of_what_is_kept_is_withheld_nobody_is_served() {
    let mut first = funded().await;
    first.kill();
    let start = Start::of(&first.layer_one, SEED).with_disk(first.disk());
    let host = Host::start(
        &first.layer_one,
        start.lying(|passing| match passing {
            Passing::ToEnclave(ToEnclave::KeptAll) => vec![],
            passing => vec![passing],
        }),
    )
    .await;
    host.until("registered", |seen| seen.registered.then_some(())).await;
    host.heard().await;
    let seen = host.seen();
    assert!(!seen.serving && seen.recovered.is_none() && seen.stores == 0);
    let client = host.client("Alice").await;
    assert_eq!(client.nonce().await.unwrap_err().to_string(), "the enclave refused: the shard is not served yet");
    host.say(ToEnclave::KeptAll);
    host.until("serving", |seen| seen.serving.then_some(())).await;
    goes_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_ahead_of_time_or_of_nothing_change_nothing() {
    let host = funded().await;
    host.lie(|passing| match passing {
        Passing::ToEnclave(ToEnclave::Stored { .. }) => vec![],
        passing => vec![passing],
    });
    let (alice, stores) = (host.client("Alice").await, host.seen().stores);
    let mut operation = alice.send(&account("Bob"), PAID, 1).await.unwrap();
    // First what is executed is to be kept, then the block.
    for asked in [stores + 1, stores + 2] {
        host.until("asked to keep", |seen| (seen.stores == asked).then_some(())).await;
        for sequence in [0, 1, stores, asked + 1, asked + 2, u64::MAX] {
            host.say(ToEnclave::Stored { sequence });
        }
        host.heard().await;
        assert_eq!(host.seen().stores, asked, "it went on");
        assert_eq!(alice.nonce().await.unwrap(), 1);
        host.say(ToEnclave::Stored { sequence: asked });
    }
    operation.in_block().await.unwrap();
    host.be_honest();
    assert_eq!(alice.nonce().await.unwrap(), 2);
    assert_eq!(alice.balance().await.unwrap(), crate::LEFT - PAID - cloister_client::DIRECT_CALL_FEE);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_questions_never_asked_are_ignored() {
    let host = funded().await;
    let questions = host.seen().questions;
    for question in [0, 1, questions, questions + 1_000_000, u64::MAX] {
        host.say(ToEnclave::ProofAnswer { question, proof: Ok(vec![vec![0; 64]; 3]) });
        host.say(ToEnclave::ProofAnswer { question, proof: Err("no".into()) });
    }
    goes_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_stop_in_the_midst_of_all_loses_nothing() {
    let mut host = funded().await;
    host.layer_one.shield(&host.identity().birth, &account("Charlie"), PAID);
    host.stop().await;
    assert!(host.process().log().iter().all(|line| !line.contains("ERROR")), "{:?}", host.process().log());
    restarts(&host.layer_one, host.disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_words_forge_no_lines_of_the_log() {
    let host = funded().await;
    let forged = "x\n2026-01-01T00:00:00Z ERROR cloister_enclave: forged\r\u{1b}[2Jend of words";
    host.say(ToEnclave::SubmitFailed { extrinsic_hash: Default::default(), reason: forged.into() });
    host.logs(&["end of words"]).await;
    let log = host.process().log();
    let lines: Vec<_> = log.iter().filter(|line| line.contains("forged")).collect();
    assert!(matches!(lines[..], [line] if line.contains("\\n2026") && !line.contains('\u{1b}')), "{lines:?}");
    goes_on(&host).await;
}
