//! The link's frames and messages, from both ends, and relayed connections.

use std::{collections::BTreeMap, fmt::Debug};

use cloister_chain_primitives::{AccountId, H256};
use cloister_claims::TeeKind;
use cloister_link::{
    ClientLimits, Connections, Kept, LinkError, MAX_FRAME, PROTOCOL, ProtocolError, StopReason, ToEnclave, ToHost,
    Write,
    connections::WINDOW,
    frame::{self, FrameDecoder},
    message::LinkMessage,
    transport,
};
use codec::Encode;
use tokio_util::{bytes::BytesMut, codec::Decoder};

use crate::{input::Input, layer_one, shard::SHARD};

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 5 {
        0 => stream::<ToEnclave>(input),
        1 => stream::<ToHost>(input),
        2 => message::<ToEnclave>(input.rest()),
        3 => message::<ToHost>(input.rest()),
        _ => connections(input),
    }
}

/// Any bytes, in chunks of any size: the messages are those that come in one piece, and the bytes those of the
/// messages.
fn stream<M: LinkMessage + Clone + PartialEq + Debug>(mut input: Input<'_>) {
    let chunk = usize::from(input.byte()).max(1);
    let bytes = input.rest();
    let (whole, rest) = decode::<M>([bytes]);
    assert_eq!(decode::<M>(bytes.chunks(chunk)), (whole.clone(), rest));
    let encoded: Vec<u8> = whole.iter().flat_map(|message| frame::encode(message).expect("it fitted")).collect();
    assert!(bytes.starts_with(&encoded), "a second encoding");
}

/// The messages before the first error, and whether there is one.
fn decode<'a, M: LinkMessage>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<M>, bool) {
    let (mut decoder, mut buffer, mut messages) = (FrameDecoder::<M>::default(), BytesMut::new(), vec![]);
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
        assert!(buffer.capacity() <= 2 * (MAX_FRAME + 4) + chunk.len(), "memory for no frame");
    }
    (messages, decoder.decode_eof(&mut buffer).is_err())
}

/// The body of one frame.
fn message<M: LinkMessage + PartialEq + Debug>(body: &[u8]) {
    let length = u32::try_from(body.len()).expect("inputs are short");
    let (messages, failed) = decode::<M>([[&length.to_le_bytes(), body].concat().as_slice()]);
    assert_ne!(messages.len() == 1, failed);
    for message in messages {
        assert_eq!(message.encode(), body, "a second encoding");
    }
}

/// What a host says of connections, in any order: each breach by its name, and no more memory than the windows.
fn connections(mut input: Input<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (near, _far) = tokio::io::duplex(1 << 20);
        let (sender, _receiver) = transport::split::<_, ToHost, ToEnclave>(near);
        let connections = Connections::new(sender, MOST_CONNECTIONS);
        let (mut next, mut streams) = (0, vec![]);
        let mut accepted = BTreeMap::<u64, usize>::new();
        for _ in 0..64 {
            if input.is_empty() {
                break;
            }
            let (event, connection) = (input.byte(), u64::from(input.byte()) % 16);
            match event % 6 {
                0 => {
                    let connection = if event == 252 { u64::MAX } else { connection };
                    let opened = connections.opened(connection).await;
                    let expected = connection >= next && connection < u64::MAX;
                    assert_eq!(opened.is_ok(), expected, "{opened:?}");
                    if let Ok(stream) = opened {
                        next = connection + 1;
                        streams.extend(stream);
                    }
                }
                1 | 2 => {
                    let length = usize::from(u16::from_le_bytes(input.array())) * 5;
                    let sent = connections.data(connection, &BYTES[..length]);
                    match sent {
                        Ok(()) => *accepted.entry(connection).or_default() += length,
                        Err(ProtocolError::EmptyData { .. }) => assert_eq!(length, 0),
                        Err(ProtocolError::NeverOpened { .. }) => assert!(connection >= next),
                        Err(ProtocolError::WindowExceeded { .. }) => {
                            assert!(accepted.get(&connection).copied().unwrap_or(0) + length > WINDOW);
                        }
                        Err(error) => assert_eq!(error, ProtocolError::DataAfterClose { connection }),
                    }
                }
                3 => {
                    let credit = u32::from_le_bytes(input.array());
                    let granted = connections.credit(connection, credit);
                    assert!(granted.is_err() || connection < next);
                }
                4 => {
                    let closed = connections.closed(connection);
                    assert!(closed.is_err() || connection < next);
                }
                _ => {
                    if event > 128 && !streams.is_empty() {
                        drop(streams.remove(usize::from(input.byte()) % streams.len()));
                    }
                    tokio::task::yield_now().await;
                }
            }
            assert!(connections.count() <= MOST_CONNECTIONS);
        }
        // Nobody reads, so a window is granted again only for what the pipe to the reader holds, at most.
        let most = 2 * WINDOW;
        assert!(
            streams.is_empty() || accepted.values().all(|bytes| *bytes <= most || connections.count() < next as usize)
        );
    });
}

const MOST_CONNECTIONS: usize = 4;
static BYTES: [u8; 5 * 65_536] = [0; 5 * 65_536];

pub fn seeds() -> Vec<Vec<u8>> {
    let framed =
        |frames: Vec<Result<Vec<u8>, _>>| frames.into_iter().flat_map(Result::<_, LinkError>::unwrap).collect();
    let (enclave, host) = (to_enclave(), to_host());
    let mut seeds: Vec<Vec<u8>> = vec![
        [vec![0, 7], framed(enclave.iter().map(frame::encode).collect())].concat(),
        [vec![1, 200], framed(host.iter().map(frame::encode).collect())].concat(),
    ];
    seeds.push(vec![4, 0, 0, 1, 0, 10, 0, 5, 0, 3, 0, 1, 0, 0, 0, 4, 0, 0, 1, 0, 1, 1, 0, 200, 1, 1, 0, 9, 4, 1]);
    seeds.push(vec![4, 0, 3, 1, 3, 255, 255, 5, 0, 0, 9, 0, 10, 0, 11, 0, 12, 255, 0, 1, 5, 0]);
    seeds.extend(enclave.iter().map(|message| [vec![2], message.encode()].concat()));
    seeds.extend(host.iter().map(|message| [vec![3], message.encode()].concat()));
    seeds
}

fn to_enclave() -> Vec<ToEnclave> {
    vec![
        ToEnclave::Start {
            protocol: PROTOCOL,
            config: layer_one::config().encode(),
            shard: Some(SHARD),
            spec_version: 1,
            transaction_version: 1,
            sealed_identity: Some(vec![9; 80]),
            url: Some(layer_one::url()),
            limits: ClientLimits::default(),
        },
        ToEnclave::ChainVersion { spec_version: 2, transaction_version: 3 },
        ToEnclave::Finality { headers: vec![layer_one::header()], justification: vec![1; 40] },
        ToEnclave::ProofAnswer { question: 1, proof: Ok(vec![vec![1, 2], vec![]]) },
        ToEnclave::ProofAnswer { question: 2, proof: Err("none".into()) },
        ToEnclave::Tick { unix_ms: 1_700_000_000_000 },
        ToEnclave::ConnectionOpened { connection: 0 },
        ToEnclave::ConnectionData { connection: 0, bytes: b"GET / HTTP/1.1".to_vec() },
        ToEnclave::ConnectionCredit { connection: 0, bytes: 65_536 },
        ToEnclave::ConnectionClosed { connection: 0 },
        ToEnclave::SubmitFailed { extrinsic_hash: H256::repeat_byte(1), reason: "stale".into() },
        ToEnclave::Stop,
        ToEnclave::Kept(Kept::Mark(vec![1; 50])),
        ToEnclave::Kept(Kept::Manifest(vec![2; 50])),
        ToEnclave::Kept(Kept::Piece(vec![3; 50])),
        ToEnclave::Kept(Kept::Block(vec![4; 50])),
        ToEnclave::KeptAll,
        ToEnclave::Stored { sequence: 1 },
    ]
}

fn to_host() -> Vec<ToHost> {
    vec![
        ToHost::Identity {
            protocol: PROTOCOL,
            kind: TeeKind::Simulated,
            measurement: [1; 32],
            account: AccountId::new([2; 32]),
            birth: layer_one::birth(),
            shard: SHARD,
            sealed_identity: Some(vec![9; 80]),
            collateral: Some(layer_one::collateral()),
        },
        ToHost::Synced { number: 7, hash: H256::repeat_byte(7) },
        ToHost::ProofQuestion { question: 1, at: H256::repeat_byte(7), keys: vec![vec![1; 32], vec![2; 64]] },
        ToHost::Submit { extrinsic: vec![4; 100] },
        ToHost::Serving { shard: SHARD },
        ToHost::Store {
            sequence: 1,
            writes: vec![
                Write::Block { number: 1, hash: H256::repeat_byte(2), bytes: vec![3; 9] },
                Write::SnapshotPiece { snapshot: [4; 16], index: 5, bytes: vec![6; 9] },
                Write::Snapshot { snapshot: [7; 16], manifest: vec![8; 9], first: 9 },
                Write::Mark(vec![10; 9]),
            ],
        },
        ToHost::ConnectionData { connection: 0, bytes: vec![1; 20] },
        ToHost::ConnectionCredit { connection: 0, bytes: 65_536 },
        ToHost::ConnectionClosed { connection: 0 },
        ToHost::Register { registration: layer_one::registration(), extrinsic: vec![5; 60] },
        ToHost::Registered { expires_at: 1_700_000_000_000 },
        ToHost::LayerOneBehind { layer_one: 1, clock: 2 },
        ToHost::Recovered { number: 3 },
        ToHost::Stopped { reason: StopReason::Requested },
        ToHost::Stopped { reason: StopReason::ShardOfAnotherIncarnation(SHARD) },
        ToHost::Stopped { reason: StopReason::KeptTooOld("older".into()) },
    ]
}
