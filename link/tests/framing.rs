//! Frames survive any split of the stream, and whatever is no frame gets its own error.

use cloister_link::{
    LinkError, MAX_FRAME, ToEnclave, ToHost,
    frame::{FrameDecoder, encode},
    transport,
};
use codec::Encode;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio_util::{bytes::BytesMut, codec::Decoder};

fn message() -> impl Strategy<Value = ToEnclave> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        any::<u64>().prop_map(|unix_ms| ToEnclave::Tick { unix_ms }),
        (any::<u64>(), bytes()).prop_map(|(connection, bytes)| ToEnclave::ConnectionData { connection, bytes }),
        (any::<u64>(), proptest::collection::vec(bytes(), 0..4))
            .prop_map(|(question, nodes)| ToEnclave::ProofAnswer { question, proof: Ok(nodes) }),
        Just(ToEnclave::Stop),
    ]
}

proptest! {
    #[test]
    fn any_split_of_the_stream_gives_the_same_messages(
        messages in proptest::collection::vec(message(), 0..12),
        cuts in proptest::collection::vec(1usize..200, 1..64),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
        let mut decoder = FrameDecoder::<ToEnclave>::default();
        let (mut input, mut decoded, mut rest) = (BytesMut::new(), Vec::new(), &stream[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            input.extend_from_slice(now);
            rest = later;
            while let Some(message) = decoder.decode(&mut input).unwrap() { decoded.push(message) }
        }
        prop_assert_eq!(decoded, messages);
        prop_assert!(decoder.decode_eof(&mut input).unwrap().is_none());
    }

    #[test]
    fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut input = BytesMut::from(&encode(&garbage).unwrap()[..]);
        while let Ok(Some(_)) = FrameDecoder::<ToEnclave>::default().decode(&mut input) {}
        let mut input = BytesMut::from(&garbage[..]);
        while let Ok(Some(_)) = FrameDecoder::<ToHost>::default().decode(&mut input) {}
    }

    #[test]
    fn a_cut_stream_is_truncated(bytes in proptest::collection::vec(any::<u8>(), 0..50), cut in 1usize..40) {
        let frame = encode(&ToEnclave::ConnectionData { connection: 1, bytes }).unwrap();
        let cut = cut.min(frame.len() - 1);
        let mut input = BytesMut::from(&frame[..cut]);
        let result = FrameDecoder::<ToEnclave>::default().decode_eof(&mut input);
        prop_assert!(matches!(result, Err(LinkError::Truncated)));
    }
}

fn decode(bytes: &[u8]) -> Result<Option<ToEnclave>, LinkError> {
    FrameDecoder::default().decode(&mut BytesMut::from(bytes))
}

#[test]
fn an_oversized_frame_is_refused_from_its_length_alone() {
    let length = MAX_FRAME + 1;
    let mut input = BytesMut::from(&(length as u32).to_le_bytes()[..]);
    let result = FrameDecoder::<ToEnclave>::default().decode(&mut input);
    assert!(matches!(result, Err(LinkError::FrameTooLarge { length: named }) if named == length));
    assert!(input.capacity() < 1024, "nothing may be reserved");
    assert!(matches!(decode(&u32::MAX.to_le_bytes()), Err(LinkError::FrameTooLarge { .. })));
}

#[test]
fn an_oversized_message_is_not_sent() {
    let data = |bytes| ToEnclave::ConnectionData { connection: 0, bytes: vec![0; bytes] };
    let overhead = 1 + 8 + 4;
    assert!(encode(&data(MAX_FRAME - overhead)).is_ok());
    assert!(matches!(encode(&data(MAX_FRAME - overhead + 1)), Err(LinkError::FrameTooLarge { .. })));
}

#[test]
fn unknown_messages_and_surplus_bytes_are_refused() {
    assert!(matches!(decode(&[1, 0, 0, 0, 0x0b]), Err(LinkError::Malformed(_))));
    assert!(matches!(decode(&[0, 0, 0, 0]), Err(LinkError::Malformed(_))));
    assert!(matches!(decode(&[3, 0, 0, 0, 0x0a, 1, 2]), Err(LinkError::Surplus { surplus: 2 })));
}

#[test]
fn a_small_frame_cannot_take_much_memory() {
    // One byte on the wire per empty node, 24 bytes in memory.
    let nodes = vec![0u8; 3_000_000];
    let mut body = vec![3u8];
    (1u64, 0u8).encode_to(&mut body);
    codec::Compact(nodes.len() as u32).encode_to(&mut body);
    body.extend(nodes);
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    assert!(matches!(decode(&frame), Err(LinkError::Malformed(_))));
}

#[tokio::test]
async fn the_end_of_the_stream_is_told_from_a_cut_frame() {
    let (near, mut far) = tokio::io::duplex(64);
    let (_sender, mut receiver) = transport::split::<_, ToHost, ToEnclave>(near);
    far.write_all(&encode(&ToEnclave::Stop).unwrap()).await.unwrap();
    far.shutdown().await.unwrap();
    assert_eq!(receiver.recv().await.unwrap(), ToEnclave::Stop);
    assert!(matches!(receiver.recv().await, Err(LinkError::Closed)));

    let (near, mut far) = tokio::io::duplex(64);
    let (_sender, mut receiver) = transport::split::<_, ToHost, ToEnclave>(near);
    far.write_all(&[9, 0, 0]).await.unwrap();
    far.shutdown().await.unwrap();
    assert!(matches!(receiver.recv().await, Err(LinkError::Truncated)));
}

#[tokio::test]
async fn a_full_queue_makes_senders_wait_and_the_urgent_overtakes_bulk() {
    // The stream holds less than one message, so the writer blocks at once.
    let (near, far) = tokio::io::duplex(16);
    let (sender, _) = transport::split::<_, ToHost, ToEnclave>(near);
    let data = |connection| ToHost::ConnectionData { connection, bytes: vec![0; 100] };
    let filling = {
        let sender = sender.clone();
        tokio::spawn(async move {
            for connection in 0..1_000 {
                sender.send(data(connection)).await.unwrap();
            }
        })
    };
    sender.send(ToHost::Submit { extrinsic: vec![1] }).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!filling.is_finished());

    let (_far_sender, mut receiver) = transport::split::<_, ToEnclave, ToHost>(far);
    let mut urgent_at = None;
    for position in 0..1_001 {
        if let ToHost::Submit { .. } = receiver.recv().await.unwrap() {
            urgent_at = Some(position);
        }
    }
    filling.await.unwrap();
    assert!(urgent_at.unwrap() <= 1, "overtaken only by the message under way, but was at {urgent_at:?}");
}

#[tokio::test]
async fn flush_waits_for_everything_and_a_gone_peer_is_told() {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let (sender, own_receiver) = transport::split::<_, ToHost, ToEnclave>(near);
    for connection in 0..20 {
        sender.send(ToHost::ConnectionClosed { connection }).await.unwrap();
    }
    sender.flush().await.unwrap();
    drop((sender, own_receiver));
    let (far_sender, mut receiver) = transport::split::<_, ToEnclave, ToHost>(far);
    for connection in 0..20 {
        assert_eq!(receiver.recv().await.unwrap(), ToHost::ConnectionClosed { connection });
    }
    assert!(matches!(receiver.recv().await, Err(LinkError::Closed)));
    drop(receiver);
    while far_sender.send(ToEnclave::Stop).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(far_sender.flush().await, Err(LinkError::Closed)));
}
