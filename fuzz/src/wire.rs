//! Types between clients and enclaves, and blocks.

use cloister_chain_primitives::{Acknowledgement, H256, OutboxEntry, OutboxKind, OutboxPath, Request};
use cloister_wire::{
    DirectRequestStatus, Getter, InboxStatus, OutboxProof, Outcome, RpcReturnValue, SignedAnswer, TrustedCall,
    TrustedCallSigned, TrustedOperation, TrustedOperationStatus,
    envelope::{self, Purpose, SecretKey},
    shielding_key::PublishedShieldingKey,
    sidechain::{BlockData, Books, SidechainHeader, SignedBlock},
    worker_status::WorkerStatus,
};
use codec::Encode;

use crate::{
    input::Input,
    request,
    scale::{self, Decoder, canonical, decoded},
    shard::{GENESIS, REQUESTS, SCOPE, SHARD, client},
};

const DECODERS: &[Decoder] = &[
    (canonical::<TrustedOperation>, || request::direct(&request::transfer()).encode()),
    (canonical::<TrustedCallSigned>, || request::sign(&request::transfer(), 0).encode()),
    (canonical::<Getter>, || request::trusted_getter().encode()),
    (canonical::<Getter>, || request::bound_getter().encode()),
    (canonical::<TrustedCall>, || TrustedCall::BalanceUnshield(client(), client(), 7, SHARD).encode()),
    (canonical::<Request>, || Request { shard: SHARD, cyphertext: vec![1; 90].try_into().expect("short") }.encode()),
    (canonical::<Outcome>, || outcome().encode()),
    (canonical::<RpcReturnValue>, || RpcReturnValue::ok(7u32).encode()),
    (canonical::<DirectRequestStatus>, || in_block().encode()),
    (canonical::<SignedAnswer>, || answer().encode()),
    (canonical::<InboxStatus>, || InboxStatus::default().encode()),
    (proofs, || (vec![proof()], GENESIS).encode()),
    (block, || signed_block().encode()),
    (canonical::<BlockData>, || signed_block().block_data.encode()),
    (canonical::<SidechainHeader>, || signed_block().header.encode()),
    (books, || Books { shielded: 10, opened: 2, ..Books::default() }.encode()),
    (open, || [&[5; 32][..], &sealed()].concat()),
    (seal, || [&[9; 32][..], b"plaintext"].concat()),
    (published_key, || PublishedShieldingKey::new(&[0xc1; 384]).to_json().into_bytes()),
    (status, || serde_json::to_vec(&WorkerStatus::default()).expect("JSON")),
];

pub fn run(input: &[u8]) {
    scale::choose(DECODERS, input);
}

pub fn seeds() -> Vec<Vec<u8>> {
    scale::seeds(DECODERS)
}

/// A path proves one entry at most.
fn proofs(bytes: &[u8]) {
    let Some((proofs, root)) = decoded::<(Vec<OutboxProof>, H256)>(bytes) else { return };
    for OutboxProof { entry, path } in proofs {
        if path.proves(&GENESIS, &SHARD, &entry, &root) {
            let other = OutboxEntry { amount: entry.amount.wrapping_add(1), ..entry };
            assert!(!path.proves(&GENESIS, &SHARD, &other, &root), "two entries at one place");
        }
    }
}

fn block(bytes: &[u8]) {
    if let Some(block) = decoded::<SignedBlock>(bytes) {
        assert_eq!(block.anchor().number, block.header.block_number);
        block.header.signed_bytes(&GENESIS);
    }
}

fn books(bytes: &[u8]) {
    if let Some(books) = decoded::<Books>(bytes)
        && let (Some(issuance), Some(open)) = (books.issuance(), books.open())
    {
        assert!(open <= books.opened && issuance <= u128::MAX - books.burnt);
    }
}

/// A ciphertext under a key; both are the input's.
fn open(bytes: &[u8]) {
    let mut input = Input(bytes);
    let secret = SecretKey::from_bytes(input.array());
    let envelope = input.rest();
    if envelope::open(&REQUESTS, &secret, envelope).is_ok() {
        assert!(envelope.len() >= envelope::OVERHEAD && envelope::epoch(envelope).is_some());
        let other = envelope::Context { purpose: Purpose::Beneficiary, ..REQUESTS };
        assert!(envelope::open(&other, &secret, envelope).is_err(), "opens for another purpose");
    }
}

/// To whatever key.
fn seal(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (recipient, plaintext) = (input.array(), input.rest());
    if let Ok(envelope) = envelope::seal(&REQUESTS, 0, &recipient, plaintext) {
        assert_eq!(envelope.len(), plaintext.len() + envelope::OVERHEAD);
    }
}

fn published_key(bytes: &[u8]) {
    if let Ok(key) = serde_json::from_slice::<PublishedShieldingKey>(bytes) {
        assert_eq!(serde_json::from_str::<PublishedShieldingKey>(&key.to_json()).ok(), Some(key));
    }
}

fn status(bytes: &[u8]) {
    if let Ok(status) = serde_json::from_slice::<WorkerStatus>(bytes) {
        let json = serde_json::to_string(&status).expect("JSON");
        assert_eq!(serde_json::from_str::<WorkerStatus>(&json).ok(), Some(status));
    }
}

fn sealed() -> Vec<u8> {
    let public = SecretKey::from_bytes([5; 32]).public().expect("a key");
    envelope::seal(&REQUESTS, 0, &public, b"plaintext").expect("a key")
}

fn in_block() -> DirectRequestStatus {
    DirectRequestStatus::TrustedOperationStatus(TrustedOperationStatus::InSidechainBlock(GENESIS))
}

fn outcome() -> Outcome {
    Outcome { block_number: 1, result: Err("no".into()), outbox: Some((1, GENESIS)) }
}

fn answer() -> SignedAnswer {
    SignedAnswer {
        value: Some(vec![1; 16]),
        request_hash: GENESIS,
        commitment: GENESIS,
        block_number: 1,
        layer_one_number: 2,
        layer_one_head: GENESIS,
        layer_one_time: 3,
        signature: SCOPE.mrenclave.repeat(2).try_into().expect("64 bytes"),
    }
}

fn proof() -> OutboxProof {
    let kind = OutboxKind::Exit;
    let entry = OutboxEntry { number: 0, id: GENESIS, kind, beneficiary: client(), amount: 5 };
    let siblings = vec![GENESIS].try_into().expect("one");
    OutboxProof { entry, path: OutboxPath { number: 0, kind, leaf_index: 0, leaves: 2, siblings } }
}

pub fn signed_block() -> SignedBlock {
    let block_data = BlockData {
        timestamp: 1,
        layer_one_head: GENESIS,
        layer_one_number: 2,
        block_author: [1; 32],
        inbox_from: 0,
        inbox_to: 1,
        signed_top_hashes: vec![GENESIS],
        parent_acknowledgements: vec![Acknowledgement { account: client(), signature: [1; 64] }],
        books: Books::default(),
        outbox_root: GENESIS,
        commitment_before: GENESIS,
        commitment_after: GENESIS,
        encrypted_state_diff: vec![1; 60],
    };
    let header = SidechainHeader {
        parent_hash: H256::zero(),
        block_number: 1,
        shard_id: SHARD,
        block_data_hash: block_data.hash(),
        next_finalization_block_number: 0,
    };
    SignedBlock { header, block_data, signature: [1; 64] }
}
