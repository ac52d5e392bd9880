//! Bytes that are no messages, or too many.

use cloister_hostile_host::{Host, LayerOne, Passing, Start};
use cloister_link::{Kept, MAX_FRAME, StopReason, ToEnclave, frame};

use crate::{SEED, breach, ends, funded, goes_on};

/// Sends bytes to an enclave that serves, and awaits its end.
async fn ends_at(bytes: Vec<u8>, reason: &str) {
    let host = funded().await;
    host.inject(Passing::Bytes(bytes));
    ends(host, breach(reason)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_above_the_bound_is_refused_before_it_is_read() {
    for length in [MAX_FRAME + 1, u32::MAX as usize] {
        let host = funded().await;
        // Nothing of it has come yet.
        host.inject(Passing::Bytes((length as u32).to_le_bytes().to_vec()));
        ends(host, breach(&format!("frame of {length} bytes exceeds {MAX_FRAME}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_a_message_is_refused() {
    let empty = "Could not decode `ToEnclave`, failed to read variant byte:\n\tNot enough data to fill buffer\n";
    ends_at(vec![0; 4], &format!("malformed message: {empty}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_an_unknown_kind_is_refused() {
    let unknown = [&1u32.to_le_bytes()[..], &[99]].concat();
    ends_at(unknown, "malformed message: Could not decode `ToEnclave`, variant doesn't exist").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_message_in_its_frame_are_refused() {
    let mut tick = frame::encode(&ToEnclave::Tick { unix_ms: 1 }).unwrap();
    tick.extend([0; 3]);
    tick[0] += 3;
    ends_at(tick, "3 bytes follow the message in its frame").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_takes_far_more_memory_than_bytes_is_refused() {
    let host = funded().await;
    host.say(ToEnclave::ProofAnswer { question: 0, proof: Ok(vec![vec![]; 3 << 20]) });
    let reason = host.until("its end", |seen| seen.stopped.clone()).await;
    let limit = "Heap memory limit exceeded while decoding";
    assert!(matches!(&reason, StopReason::Protocol(why) if why.contains(limit)), "{reason:?}");
    ends(host, reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_cut_off_is_refused() {
    let host = funded().await;
    let tick = frame::encode(&ToEnclave::Tick { unix_ms: 1 }).unwrap();
    host.inject(Passing::Bytes(tick[..7].to_vec()));
    host.inject(Passing::HangUp);
    let reason = host.until("its end", |seen| seen.stopped.clone()).await;
    // What an honest host said in between made the frame longer, or the link ended within it.
    let expected = ["the link ended within a frame", "malformed message"];
    assert!(
        matches!(&reason, StopReason::Protocol(why) if expected.iter().any(|expected| why.starts_with(expected))),
        "{reason:?}"
    );
    ends(host, reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_up_ends_the_enclave() {
    let host = funded().await;
    host.inject(Passing::HangUp);
    ends(host, breach("the host closed the link")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_byte_by_byte_are_messages_like_others() {
    let layer_one = LayerOne::start();
    let start = Start::of(&layer_one, SEED).lying(|passing| match passing {
        Passing::ToEnclave(message) => {
            let bytes = frame::encode(&message).unwrap();
            bytes.into_iter().map(|byte| Passing::Bytes(vec![byte])).collect()
        }
        passing => vec![passing],
    });
    let host = Host::served(&layer_one, start).await;
    host.shield(&cloister_hostile_host::account("Alice"), crate::SHIELDED).await;
    let alice = host.client("Alice").await;
    crate::pays(&alice, 0).await;
    host.anchored().await;
    goes_on(&host).await;
}

/// A host decides how much memory there is; but what it sends must not stay there.
#[tokio::test(flavor = "multi_thread")]
async fn many_of_the_largest_frames_do_not_pile_up() {
    let host = funded().await;
    let large = vec![vec![7; MAX_FRAME / 2]; 1];
    for question in 1..=100 {
        host.say(ToEnclave::ProofAnswer { question: u64::MAX - question, proof: Ok(large.clone()) });
    }
    goes_on(&host).await;
    let peak = host.process().peak_memory();
    assert!(peak < 256 << 20, "{} MiB", peak >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_piece_of_what_was_never_kept_is_refused_like_the_smallest() {
    for bytes in [0, MAX_FRAME - 64] {
        let mut first = funded().await;
        first.kill();
        let start = Start::of(&first.layer_one, SEED).with_disk(first.disk());
        let piece = vec![0; bytes];
        let mut host = Host::start(
            &first.layer_one,
            start.lying(move |passing| match passing {
                Passing::ToEnclave(ToEnclave::KeptAll) => {
                    let piece = ToEnclave::Kept(Kept::Piece(piece.clone()));
                    vec![Passing::ToEnclave(piece), Passing::ToEnclave(ToEnclave::KeptAll)]
                }
                passing => vec![passing],
            }),
        )
        .await;
        assert_eq!(host.stopped().await, StopReason::Kept("a piece of no snapshot".into()));
        crate::restarts(&first.layer_one, first.disk()).await;
    }
}
