//! The encodings of the published interface, bit for bit, and of what stands beside it.

use cloister_chain_primitives::{Acknowledgement, Anchor};
use cloister_wire::{
    AccountId, BoundCall, BoundCallSigned, BoundGetter, BoundGetterSigned, DirectRequestStatus, Getter, H256,
    InboxStatus, Outcome, ParentchainId, PublicGetter, Request, RpcReturnValue, ShardId, SignatureScope, SignedAnswer,
    TrustedCall, TrustedCallSigned, TrustedGetter, TrustedGetterSigned, TrustedOperation, TrustedOperationStatus,
    shielding_key::PublishedShieldingKey,
    sidechain::{BlockData, Books, SidechainHeader, SignedBlock},
};
use codec::{Decode, DecodeAll, Encode};
use sp_core::{ecdsa, ed25519, sr25519};
use sp_runtime::MultiSignature;

/// 10^12 as a little-endian u128.
const ONE_UNIT: &str = "0010a5d4e80000000000000000000000";

fn account(byte: u8) -> AccountId {
    AccountId::new([byte; 32])
}

fn shard(byte: u8) -> ShardId {
    ShardId(H256::repeat_byte(byte))
}

/// 32 bytes of `byte` in hex.
fn word(byte: u8) -> String {
    hex::encode([byte; 32])
}

fn ed25519_signature() -> MultiSignature {
    MultiSignature::Ed25519(ed25519::Signature::from_raw([0x99; 64]))
}

#[track_caller]
fn assert_frozen<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: T, expected: &str) {
    assert_eq!(hex::encode(value.encode()), expected);
    assert_eq!(T::decode_all(&mut hex::decode(expected).unwrap().as_slice()).unwrap(), value);
}

#[test]
fn request() {
    let request = Request { shard: shard(7), cyphertext: vec![1, 2, 3].try_into().unwrap() };
    assert_frozen(request, &format!("{}0c010203", word(7)));
}

#[test]
fn a_request_above_the_bound_does_not_decode() {
    let mut bytes = shard(7).encode();
    vec![0u8; 16_385].encode_to(&mut bytes);
    assert!(Request::decode_all(&mut bytes.as_slice()).is_err());
    let mut bytes = shard(7).encode();
    vec![0u8; 16_384].encode_to(&mut bytes);
    assert!(Request::decode_all(&mut bytes.as_slice()).is_ok());
    bytes.push(0);
    assert!(Request::decode_all(&mut bytes.as_slice()).is_err());
}

#[test]
fn trusted_calls() {
    assert_frozen(TrustedCall::Noop(account(1)), &format!("00{}", word(1)));
    assert_frozen(
        TrustedCall::BalanceSetBalance(account(1), account(2), 1_000_000_000_000, 3),
        &format!("01{}{}{ONE_UNIT}03000000000000000000000000000000", word(1), word(2)),
    );
    assert_frozen(
        TrustedCall::BalanceTransfer(account(1), account(2), 1_000_000_000_000),
        &format!("02{}{}{ONE_UNIT}", word(1), word(2)),
    );
    assert_frozen(
        TrustedCall::BalanceUnshield(account(1), account(2), 1_000_000_000_000, shard(7)),
        &format!("03{}{}{ONE_UNIT}{}", word(1), word(2), word(7)),
    );
    assert_frozen(
        TrustedCall::BalanceShield(account(1), account(2), 1_000_000_000_000, ParentchainId::LayerOne),
        &format!("04{}{}{ONE_UNIT}00", word(1), word(2)),
    );
    assert_frozen(
        TrustedCall::TimestampSet(account(1), 0x0102_0304, ParentchainId::TargetB),
        &format!("05{}040302010000000002", word(1)),
    );
    assert_frozen(ParentchainId::TargetA, "01");
    assert_frozen(TrustedCall::App(account(1), vec![2, 3]), &format!("40{}080203", word(1)));
}

#[test]
fn the_sender_is_the_first_field() {
    for call in [
        TrustedCall::Noop(account(1)),
        TrustedCall::BalanceSetBalance(account(1), account(2), 0, 0),
        TrustedCall::BalanceTransfer(account(1), account(2), 0),
        TrustedCall::BalanceUnshield(account(1), account(2), 0, shard(7)),
        TrustedCall::BalanceShield(account(1), account(2), 0, ParentchainId::LayerOne),
        TrustedCall::TimestampSet(account(1), 0, ParentchainId::LayerOne),
        TrustedCall::App(account(1), vec![2]),
    ] {
        assert_eq!(call.sender(), &account(1));
        assert_eq!(call.encode()[1..33], [1; 32]);
    }
}

#[test]
fn signed_call_in_a_direct_and_an_indirect_operation() {
    let signed = TrustedCallSigned {
        call: TrustedCall::BalanceTransfer(account(1), account(2), 1_000_000_000_000),
        nonce: 5,
        signature: ed25519_signature(),
    };
    let expected = format!("02{}{}{ONE_UNIT}0500000000{}", word(1), word(2), "99".repeat(64));
    assert_frozen(signed.clone(), &expected);
    assert_frozen(TrustedOperation::IndirectCall(signed.clone()), &format!("00{expected}"));
    let operation = TrustedOperation::DirectCall(signed);
    assert_eq!(
        hex::encode(operation.hash()),
        "460da0f51498df9c80803db320d6c048039e0efa2153942364747a0be797cc12",
        "BLAKE2b-256 of the encoding"
    );
    assert_frozen(operation, &format!("01{expected}"));
}

#[test]
fn signed_bytes_of_a_call() {
    let scope = SignatureScope { mrenclave: [6; 32], shard: shard(7) };
    let call = TrustedCall::BalanceTransfer(account(1), account(2), 1_000_000_000_000);
    assert_eq!(
        hex::encode(scope.call_bytes(&call, 5)),
        format!("02{}{}{ONE_UNIT}05000000{}{}", word(1), word(2), word(6), word(7))
    );
}

#[test]
fn bound_call_in_a_direct_and_an_indirect_operation() {
    let call = TrustedCall::BalanceTransfer(account(1), account(2), 1_000_000_000_000);
    let bound = BoundCall { call, nonce: 5, last_block: 258 };
    let bound_hex = format!("02{}{}{ONE_UNIT}050000000201000000000000", word(1), word(2));
    assert_frozen(bound.clone(), &bound_hex);
    let scope = SignatureScope { mrenclave: [6; 32], shard: shard(7) };
    // Each part with its length before it: tag, genesis, role, shard, mrenclave, call.
    assert_eq!(
        hex::encode(bound.signed_bytes(&H256::repeat_byte(8), &scope)),
        format!(
            "0a000000{}20000000{}04000000{}20000000{}20000000{}5d000000{bound_hex}",
            hex::encode("cloister/1"),
            word(8),
            hex::encode("call"),
            word(7),
            word(6)
        )
    );
    let signed = BoundCallSigned { bound, signature: ed25519_signature() };
    let expected = format!("{bound_hex}00{}", "99".repeat(64));
    assert_frozen(signed.clone(), &expected);
    assert_frozen(TrustedOperation::BoundCall(signed.clone()), &format!("40{expected}"));
    assert_frozen(TrustedOperation::IndirectBoundCall(signed), &format!("41{expected}"));
}

#[test]
fn signatures() {
    assert_frozen(ed25519_signature(), &format!("00{}", "99".repeat(64)));
    assert_frozen(MultiSignature::Sr25519(sr25519::Signature::from_raw([0x98; 64])), &format!("01{}", "98".repeat(64)));
    assert_frozen(MultiSignature::Ecdsa(ecdsa::Signature::from_raw([0x97; 65])), &format!("02{}", "97".repeat(65)));
}

#[test]
fn getters() {
    assert_frozen(TrustedGetter::FreeBalance(account(1)), &format!("00{}", word(1)));
    assert_frozen(TrustedGetter::ReservedBalance(account(1)), &format!("01{}", word(1)));
    assert_frozen(TrustedGetter::Nonce(account(1)), &format!("02{}", word(1)));
    assert_frozen(TrustedGetter::CallOutcome(account(1), H256::repeat_byte(8)), &format!("40{}{}", word(1), word(8)));
    assert_frozen(TrustedGetter::Unshielding(account(1), 2), &format!("41{}0200000000000000", word(1)));
    assert_frozen(Getter::Public(PublicGetter::Inbox), "0040");
    assert_frozen(Getter::Public(PublicGetter::Outbox(2)), "00410200000000000000");
    assert_frozen(Getter::Public(PublicGetter::App(vec![2, 3])), "0042080203");
    assert_frozen(TrustedGetter::App(account(1), vec![2, 3]), &format!("42{}080203", word(1)));

    let getter = TrustedGetter::FreeBalance(account(1));
    let signed = TrustedGetterSigned { getter: getter.clone(), signature: ed25519_signature() };
    let expected = format!("0100{}00{}", word(1), "99".repeat(64));
    assert_frozen(Getter::Trusted(signed.clone()), &expected);
    assert_frozen(TrustedOperation::Get(Getter::Trusted(signed)), &format!("02{expected}"));

    let query = BoundGetter { getter, last_block: 258, client_nonce: [3; 16] };
    assert_frozen(
        Getter::Bound(BoundGetterSigned { query, signature: ed25519_signature() }),
        &format!("4000{}0201000000000000{}00{}", word(1), "03".repeat(16), "99".repeat(64)),
    );
}

#[test]
fn answers_of_getters() {
    assert_frozen(
        InboxStatus { consumed: 4, invokes: 1, shields_credited: 2, shields_returned: 1 },
        "0400000000000000010000000000000002000000000000000100000000000000",
    );
    assert_frozen(Outcome { block_number: 9, result: Ok(()), outbox: None }, "09000000000000000000");
    assert_frozen(
        Outcome { block_number: 9, result: Ok(()), outbox: Some((1, H256::repeat_byte(2))) },
        &format!("090000000000000000010100000000000000{}", "02".repeat(32)),
    );
    assert_frozen(Outcome { block_number: 9, result: Err("no".into()), outbox: None }, "090000000000000001086e6f00");
    assert_frozen(
        SignedAnswer {
            value: Some(vec![1, 2]),
            request_hash: H256::repeat_byte(1),
            commitment: H256::repeat_byte(2),
            block_number: 3,
            layer_one_number: 4,
            layer_one_head: H256::repeat_byte(5),
            layer_one_time: 6,
            signature: [0x99; 64],
        },
        &format!(
            "01080102{}{}030000000000000004000000{}0600000000000000{}",
            word(1),
            word(2),
            word(5),
            "99".repeat(64)
        ),
    );
}

#[test]
fn answers_of_methods() {
    assert_frozen(RpcReturnValue::ok(7u32), "10070000000000");
    assert_frozen(RpcReturnValue::error("no"), "0c086e6f0002");
    assert_frozen(
        RpcReturnValue {
            value: vec![],
            do_watch: true,
            status: DirectRequestStatus::TrustedOperationStatus(TrustedOperationStatus::Submitted),
        },
        "00010100",
    );
}

#[test]
fn statuses() {
    use TrustedOperationStatus::*;
    let in_order = [
        Submitted,
        Future,
        Ready,
        Broadcast,
        InSidechainBlock(H256::repeat_byte(0xab)),
        Retracted,
        FinalityTimeout,
        Finalized,
        Usurped,
        Dropped,
        Invalid,
    ];
    for (index, status) in in_order.into_iter().enumerate() {
        let hash = if matches!(status, InSidechainBlock(_)) { word(0xab) } else { String::new() };
        assert_frozen(DirectRequestStatus::TrustedOperationStatus(status), &format!("01{index:02x}{hash}"));
    }
    assert_frozen(DirectRequestStatus::Ok, "00");
    assert_frozen(DirectRequestStatus::Error, "02");
}

#[test]
fn blocks() {
    let header = SidechainHeader {
        parent_hash: H256::repeat_byte(1),
        block_number: 2,
        shard_id: shard(3),
        block_data_hash: H256::repeat_byte(4),
        next_finalization_block_number: 5,
    };
    let header_hex = format!("{}0200000000000000{}{}0500000000000000", word(1), word(3), word(4));
    assert_frozen(header.clone(), &header_hex);
    let block_data = BlockData {
        timestamp: 1,
        layer_one_head: H256::repeat_byte(2),
        layer_one_number: 3,
        block_author: [4; 32],
        inbox_from: 5,
        inbox_to: 6,
        signed_top_hashes: vec![H256::repeat_byte(7)],
        parent_acknowledgements: vec![Acknowledgement { account: account(11), signature: [12; 64] }],
        books: BOOKS,
        outbox_root: H256::repeat_byte(13),
        commitment_before: H256::repeat_byte(8),
        commitment_after: H256::repeat_byte(9),
        encrypted_state_diff: vec![10],
    };
    let data_hex = format!(
        "0100000000000000{}03000000{}0500000000000000060000000000000004{}04{}{}{}{}{}{}040a",
        word(2),
        word(4),
        word(7),
        word(11),
        "0c".repeat(64),
        books_hex(),
        word(13),
        word(8),
        word(9)
    );
    assert_frozen(block_data.clone(), &data_hex);
    let block = SignedBlock { header, block_data, signature: [0x99; 64] };
    let anchor = Anchor {
        number: 2,
        header_hash: block.header.hash(),
        inbox_consumed: 6,
        outbox_root: H256::repeat_byte(13),
        outbox_closed: 9,
        fees: 5,
    };
    assert_eq!(block.anchor(), anchor);
    assert_frozen(block, &format!("{header_hex}{data_hex}{}", "99".repeat(64)));
}

const BOOKS: Books = Books {
    shielded: 100,
    opened: 20,
    paid: 3,
    refunded: 4,
    fees: 5,
    minted: 6,
    burnt: 7,
    outbox_next: 8,
    outbox_closed: 9,
};

fn books_hex() -> String {
    let amounts = [100u128, 20, 3, 4, 5, 6, 7].map(|planck| hex::encode(planck.to_le_bytes()));
    format!("{}{}", amounts.concat(), [8u64, 9].map(|number| hex::encode(number.to_le_bytes())).concat())
}

#[test]
fn books_are_frozen_and_add_up() {
    assert_frozen(BOOKS, &books_hex());
    assert_eq!(BOOKS.issuance(), Some(100 - 20 + 4 - 5 + 6 - 7));
    assert_eq!(BOOKS.open(), Some(20 - 3 - 4));
    // Books that do not add up say nothing rather than something wrong.
    assert_eq!(Books { shielded: 21, ..BOOKS }.issuance(), None);
    assert_eq!(Books { minted: u128::MAX, ..BOOKS }.issuance(), None);
    assert_eq!(Books { paid: 17, ..BOOKS }.open(), None);
}

#[test]
fn shielding_key_json() {
    let modulus = core::array::from_fn(|index| if index == 0 { 0xc1 } else { 7 });
    let expected = format!("{{\"n\":[{}193],\"e\":[1,0,1,0]}}", "7,".repeat(383));
    assert_eq!(PublishedShieldingKey::new(&modulus).to_json(), expected);
}

#[test]
fn unknown_variants_and_trailing_bytes_do_not_decode() {
    let unknown_call = [&[6][..], &[0; 100]].concat();
    assert!(TrustedCall::decode_all(&mut unknown_call.as_slice()).is_err());
    assert!(TrustedOperation::decode_all(&mut [3u8].as_slice()).is_err());
    assert!(ParentchainId::decode_all(&mut [3u8].as_slice()).is_err());
    assert!(TrustedOperationStatus::decode_all(&mut [11u8].as_slice()).is_err());
    let trailing = [TrustedCall::Noop(account(1)).encode(), vec![0]].concat();
    assert!(TrustedCall::decode_all(&mut trailing.as_slice()).is_err());
}
