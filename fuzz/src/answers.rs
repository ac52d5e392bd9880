//! What clients and command line read of nodes and workers.

use std::sync::LazyLock;

use cloister_chain_primitives::{Anchored, Flows, H256, ShardEntry, Verdict};
use cloister_client::{
    BridgeState,
    audit::{LayerOneFacts, Walk, check_books},
    layer_one::decode_events,
    worker::{key_hash, says_something},
};
use cloister_wire::{
    DirectRequestStatus, RpcReturnValue, TrustedOperationStatus,
    sidechain::{Books, SignedBlock},
};
use codec::{DecodeAll, Encode};

use crate::{
    input::Input,
    layer_one,
    scale::{self, Decoder},
    shard::{GENESIS, SHARD},
    wire,
};

/// The shard's runtime describes itself as layer one's does.
static METADATA: LazyLock<Vec<u8>> = LazyLock::new(cloister_stf::metadata);

const DECODERS: &[Decoder] = &[
    (events, || vec![0]),
    (events, account_event),
    (altered_description, || [&[1][..], &77u64.to_le_bytes(), &[9], &account_event()].concat()),
    (message, || notification().into_bytes()),
    (message, || answer().into_bytes()),
    (certificate, || include_bytes!("../../attestation/src/roots/development-root-ca.der").to_vec()),
    (walk, || vec![wire::signed_block()].encode()),
    (audit, || facts().encode()),
];

pub fn run(input: &[u8]) {
    scale::choose(DECODERS, input);
}

pub fn seeds() -> Vec<Vec<u8>> {
    scale::seeds(DECODERS)
}

/// Values of `System.Events` by a real runtime's description.
fn events(bytes: &[u8]) {
    for event in decode_events(&METADATA, bytes).unwrap_or_default() {
        assert!(!event.pallet.is_empty() && !event.to_string().is_empty());
    }
}

/// A description that its node altered, and a value.
fn altered_description(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut metadata = METADATA.clone();
    for _ in 0..input.byte() % 16 {
        let at = input.number() as usize % metadata.len();
        metadata[at] = input.byte();
    }
    let _ = decode_events(&metadata, input.rest());
}

fn message(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        says_something(text);
    }
}

fn certificate(bytes: &[u8]) {
    key_hash(&bytes.to_vec().into());
}

/// Blocks as a host hands them to an auditor: whatever they say, there is a verdict.
fn walk(bytes: &[u8]) {
    let Ok(blocks) = Vec::<SignedBlock>::decode_all(&mut &*bytes) else { return };
    let mut walk = Walk::from_birth(GENESIS, SHARD, GENESIS);
    let taken = blocks.into_iter().take_while(|block| walk.take(block.clone())).count();
    assert_eq!(walk.next_number(), taken as u64 + 1);
    let (checks, newest) = walk.finish();
    assert!(!checks.is_empty() && newest.is_some() == (taken > 0));
}

type Facts = (ShardEntry, Option<Anchored>, Flows, [u128; 5], [u64; 2], Vec<(u64, Verdict)>, Books);

/// Books of a lying worker against whatever layer one says.
fn audit(bytes: &[u8]) {
    let Ok(facts) = Facts::decode_all(&mut &*bytes) else { return };
    let (entry, anchored, flows, amounts, [inbox_length, inbox_pruned], verdicts, books) = facts;
    let [escrow, escrow_balance, unclaimed, shields_unconsumed, existential_deposit] = amounts;
    let bridge = BridgeState {
        block_number: 1,
        block_hash: GENESIS,
        entry,
        anchored,
        escrow,
        flows,
        escrow_account: SHARD.escrow_account(&GENESIS),
        escrow_balance,
        unclaimed,
        inbox_length,
        inbox_pruned,
    };
    let verdicts = verdicts.into_iter().collect();
    let checks = check_books(&bridge, &books, &LayerOneFacts { shields_unconsumed, verdicts, existential_deposit });
    assert!(!checks.is_empty());
}

fn facts() -> Facts {
    let flows = Flows { shielded: 100, ..Flows::default() };
    let books = Books { shielded: 100, ..Books::default() };
    (ShardEntry::born(layer_one::birth(), 1), None, flows, [100, 200, 0, 0, 1], [3, 1], vec![(0, Verdict::Paid)], books)
}

/// `Balances.Endowed`-like: one record of the first extrinsic.
fn account_event() -> Vec<u8> {
    let record = (0u8, 0u32, 0u8, 3u8, [1u8; 32], Vec::<H256>::new());
    [vec![4], record.encode()].concat()
}

fn notification() -> String {
    let status = TrustedOperationStatus::InSidechainBlock(GENESIS);
    let result = format!("0x{}", hex::encode(DirectRequestStatus::TrustedOperationStatus(status).encode()));
    let params = serde_json::json!({ "error": null, "result": result, "subscription": "0x00" });
    serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "author_submitAndWatchExtrinsic", "params": params })
        .to_string()
}

fn answer() -> String {
    let result = format!("0x{}", hex::encode(RpcReturnValue::error("no").encode()));
    serde_json::json!({ "jsonrpc": "2.0", "result": result, "id": 1 }).to_string()
}
