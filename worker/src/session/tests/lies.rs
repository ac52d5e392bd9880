//! An enclave that was broken into, or a node that lies, against its worker: a typed end of the session, or no effect.

use super::*;
use crate::layer_one::LayerOneError;

/// What steers a terminal, and is long.
fn words() -> String {
    format!("\x1b]0;x\x07\n\u{9b}31m\u{202e}{}", "long ".repeat(10_000))
}

#[track_caller]
fn assert_shown(text: &str) {
    assert!(text.contains("\\u{1b}]0;x\\u{7}\\u{a}\\u{9b}31m\\u{202e}long"), "{text}");
    assert!(!text.contains(|shown: char| shown.is_control() || shown == '\u{202e}'), "{text}");
    assert!(text.chars().count() < 1_000, "{text}");
}

/// A session whose node is gone, so that no answer comes soon.
async fn stage_without_node() -> Stage {
    let stage = stage().await;
    stage._handle.stop().unwrap();
    stage._handle.clone().stopped().await;
    stage
}

#[tokio::test]
async fn an_enclave_has_a_bounded_number_of_questions() {
    let stage = stage_without_node().await;
    for question in 0..=MAX_QUESTIONS as u64 {
        let asked = ToHost::ProofQuestion { question, at: H256::zero(), keys: vec![vec![0; 100_000]] };
        stage.enclave.send(asked).await.unwrap();
    }
    let error = stage.end().await.unwrap_err();
    let text = "the enclave sent another question, with too many unanswered, out of place";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (text, 3));
}

#[tokio::test]
async fn an_enclave_has_a_bounded_number_of_extrinsics_under_way() {
    let stage = stage_without_node().await;
    for number in 0..=MAX_EXTRINSICS as u32 {
        stage.enclave.send(ToHost::Submit { extrinsic: number.to_le_bytes().to_vec() }).await.unwrap();
    }
    let error = stage.end().await.unwrap_err();
    let text = "the enclave sent another extrinsic, with too many under way, out of place";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (text, 3));
}

#[tokio::test]
async fn an_extrinsic_that_is_under_way_is_not_submitted_twice() {
    let mut stage = stage_without_node().await;
    for _ in 0..=2 * MAX_EXTRINSICS {
        stage.enclave.send(ToHost::Submit { extrinsic: vec![7; 1_000] }).await.unwrap();
    }
    stage.enclave.send(ToHost::Serving { shard: shard() }).await.unwrap();
    assert_eq!(timeout(PATIENCE, stage.progress.recv()).await.unwrap(), Some(Progress::Serving { shard: shard() }));
    stage.stop.take().unwrap().send(()).unwrap();
    while stage.next().await != ToEnclave::Stop {}
    stage.enclave.send(ToHost::Stopped { reason: StopReason::Requested }).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn the_operator_is_told_once_that_clients_are_served_and_that_the_state_is_there() {
    let mut stage = stage().await;
    for _ in 0..3 {
        stage.enclave.send(ToHost::Serving { shard: shard() }).await.unwrap();
    }
    stage.enclave.send(ToHost::Recovered { number: 1 }).await.unwrap();
    for told in [Progress::Serving { shard: shard() }, Progress::Recovered { number: 1 }] {
        assert_eq!(timeout(PATIENCE, stage.progress.recv()).await.unwrap(), Some(told));
    }
    stage.enclave.send(ToHost::Recovered { number: 1 }).await.unwrap();
    let error = stage.end().await.unwrap_err();
    assert_eq!(error.to_string(), "the enclave sent its recovery a second time out of place");
}

#[tokio::test]
async fn words_of_an_enclave_steer_no_terminal() {
    let stage = stage().await;
    let mut paused_for = status();
    let ToHost::Status { paused, .. } = &mut paused_for else { panic!("{paused_for:?}") };
    *paused = Some(words());
    stage.enclave.send(paused_for).await.unwrap();
    let shared = stage.shared.clone();
    stage.enclave.send(ToHost::Stopped { reason: StopReason::FinalityRefused(words()) }).await.unwrap();
    assert_shown(&stage.end().await.unwrap_err().to_string());
    assert_shown(&shared.status().paused.unwrap());

    for reason in [
        StopReason::BadConfig(words()),
        StopReason::Protocol(words()),
        StopReason::Internal(words()),
        StopReason::Tee(words()),
        StopReason::Kept(words()),
        StopReason::KeptTooOld(words()),
    ] {
        let ((sender, mut receiver), (enclave, _host)) = link();
        enclave.send(ToHost::Stopped { reason }).await.unwrap();
        let introduction = Introduction {
            config: vec![],
            shard: None,
            version: VERSION,
            sealed_identity: None,
            url: None,
            limits: ClientLimits::default(),
        };
        assert_shown(&introduce(&sender, &mut receiver, introduction).await.unwrap_err().to_string());
    }
}

#[tokio::test]
async fn words_of_a_node_reach_log_and_enclave_short_and_escaped() {
    let log = Log::default();
    let _listening = log.listen();
    let mut stage = stage().await;
    let account_has_enough = u128::from(u64::MAX);
    stage.node.state().fund(&account(), account_has_enough);
    // In JSON control characters of the first set are escaped by the node itself.
    stage.node.state().refuse_extrinsics = Some(words().leak());
    stage.enclave.send(ToHost::Submit { extrinsic: vec![1] }).await.unwrap();
    let ToEnclave::SubmitFailed { reason, .. } = stage.next().await else { panic!("no refusal") };
    assert!(reason.contains("\\u{9b}31m\\u{202e}long") && reason.chars().count() < 600, "{reason}");
    let text = log.text();
    let line = text.lines().find(|line| line.contains("layer one did not take an extrinsic")).unwrap();
    assert!(line.contains(&reason) && !line.contains(|shown: char| shown.is_control()), "{line}");

    let error = LayerOneError::Lost(crate::operator::printable(&words()));
    assert_shown(&error.to_string());
}
