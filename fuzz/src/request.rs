//! A client's request on its way in: message, ciphertext, operation, signature. Keys are fixed.

use cloister_chain_primitives::{AccountId, InboxEntry};
use cloister_sidechain::{Opened, Opener, VerifiedGetter};
use cloister_stf::{Refused, VerifiedCall, verify, verify_bound};
use cloister_wire::{
    BoundCall, BoundCallSigned, BoundGetter, BoundGetterSigned, Getter, PublicGetter, TrustedCall, TrustedCallSigned,
    TrustedGetter, TrustedGetterSigned, TrustedOperation,
    envelope::{self, Context, Purpose},
};
use codec::{DecodeAll, Encode};
use sp_core::Pair;
use sp_runtime::MultiSignature;

use crate::{
    input::Input,
    scale::decoded,
    shard::{CLIENT, GENESIS, REQUESTS, SCOPE, SHARD, SHIELDING, client, rules},
};

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 10 {
        0 => ciphertext(input.rest()),
        1 => plaintext(input.rest()),
        2 => drop(operation(input.rest())),
        3 => signed_call(input),
        4 => getter(input.rest()),
        5 => signed_getter(input),
        6 => inbox(input.rest()),
        7 => message(input.rest()),
        8 => signed_bound_call(input),
        _ => message(submission("author_submitBatch", input.rest()).to_string().as_bytes()),
    }
}

/// What nobody sealed for this shard does not open, and what opens is decoded.
fn ciphertext(bytes: &[u8]) {
    if let Ok(plaintext) = SHIELDING.open(&REQUESTS, bytes) {
        operation(&plaintext);
        let foreign = Context { genesis: Default::default(), ..REQUESTS };
        let is_envelope = envelope::epoch(bytes) == Some(SHIELDING.public().epoch);
        assert!(!is_envelope || SHIELDING.open(&foreign, bytes).is_err(), "opens for another chain");
    }
}

/// What opens as an envelope opens in either way.
fn envelope_only(bytes: &[u8]) {
    if let Ok(plaintext) = SHIELDING.open_envelope(&REQUESTS, bytes) {
        assert_eq!(SHIELDING.open(&REQUESTS, bytes).ok().as_deref(), Some(&*plaintext));
        operation(&plaintext);
    }
}

fn plaintext(bytes: &[u8]) {
    let keys = SHIELDING.public();
    let sealed = envelope::seal(&REQUESTS, keys.epoch, &keys.hpke, bytes).expect("a good key");
    match SHIELDING.open(&REQUESTS, &sealed) {
        Ok(opened) => assert_eq!(opened.as_slice(), bytes),
        Err(_) => assert!(sealed.len() > 16_384, "does not open"),
    }
    operation(bytes);
}

fn operation(bytes: &[u8]) -> Option<VerifiedCall> {
    let operation = decoded::<TrustedOperation>(bytes)?;
    let hash = operation.hash();
    match operation {
        TrustedOperation::DirectCall(signed) | TrustedOperation::IndirectCall(signed) => {
            let call = verify(hash, signed.clone(), &SCOPE, &rules()).ok()?;
            assert_eq!((call.call(), call.nonce(), call.hash()), (&signed.call, signed.nonce, hash));
            assert!(signed.verify(&SCOPE) && *call.sender() == client(), "somebody else's signature");
            Some(call)
        }
        TrustedOperation::BoundCall(signed) | TrustedOperation::IndirectBoundCall(signed) => {
            let call = verify_bound(hash, signed.clone(), &GENESIS, &SCOPE, &rules()).ok()?;
            let BoundCall { call: what, nonce, last_block } = &signed.bound;
            let of_call = (call.call(), call.nonce(), call.last_block(), call.hash());
            assert_eq!(of_call, (what, *nonce, Some(*last_block), hash));
            assert!(signed.verify(&GENESIS, &SCOPE) && *call.sender() == client(), "somebody else's signature");
            Some(call)
        }
        TrustedOperation::Get(getter) => {
            let _ = VerifiedGetter::verify(getter, &GENESIS, &SCOPE, &rules());
            None
        }
    }
}

/// A call that the client signed: whose it is decides whether the signature counts.
fn signed_call(mut input: Input<'_>) {
    let nonce = u32::from_le_bytes(input.array());
    let Ok(call) = TrustedCall::decode_all(&mut input.rest()) else { return };
    let signed = sign(&call, nonce);
    let hash = TrustedOperation::DirectCall(signed.clone()).hash();
    let result = verify(hash, signed.clone(), &SCOPE, &rules());
    assert_eq!(matches!(result, Err(Refused::Signature)), *call.sender() != client());
    let again = TrustedCallSigned { nonce: nonce.wrapping_add(1), ..signed };
    assert!(!again.verify(&SCOPE), "a signature for two nonces");
}

/// The same with a last block: the signature counts for nothing else.
fn signed_bound_call(mut input: Input<'_>) {
    let (nonce, last_block) = (u32::from_le_bytes(input.array()), input.number());
    let Ok(call) = TrustedCall::decode_all(&mut input.rest()) else { return };
    let signed = sign_bound(BoundCall { call, nonce, last_block });
    let hash = TrustedOperation::BoundCall(signed.clone()).hash();
    let result = verify_bound(hash, signed.clone(), &GENESIS, &SCOPE, &rules());
    assert_eq!(matches!(result, Err(Refused::Signature)), *signed.bound.call.sender() != client());
    assert!(!signed.verify(&Default::default(), &SCOPE), "a signature for two chains");
    let later = BoundCall { last_block: last_block.wrapping_add(1), ..signed.bound.clone() };
    assert!(!BoundCallSigned { bound: later, ..signed }.verify(&GENESIS, &SCOPE), "a signature for two last blocks");
}

/// The published form of a query, as it comes.
fn getter(bytes: &[u8]) {
    let Some(getter) = decoded::<Getter>(bytes) else { return };
    let public = matches!(getter, Getter::Public(_));
    let owner = match &getter {
        Getter::Public(_) => None,
        Getter::Trusted(signed) => Some(signed.getter.owner().clone()),
        Getter::Bound(signed) => Some(signed.query.getter.owner().clone()),
    };
    let verified = VerifiedGetter::verify(getter, &GENESIS, &SCOPE, &rules()).is_ok();
    assert!(verified || !public, "anybody may ask");
    assert!(!verified || public || owner == Some(client()), "somebody else's signature");
}

/// A query that the client signed.
fn signed_getter(mut input: Input<'_>) {
    let (last_block, client_nonce) = (input.number(), input.array());
    let Ok(getter) = TrustedGetter::decode_all(&mut input.rest()) else { return };
    let own = *getter.owner() == client();
    let signed = bound(BoundGetter { getter, last_block, client_nonce });
    assert_eq!(signed.verify(&GENESIS, &SHARD, &SCOPE.mrenclave), own);
    assert!(!signed.verify(&GENESIS, &SHARD, &[4; 32]), "a signature for other code");
}

/// An entry of layer one's inbox: only what its sender signed is a call, and money is never lost sight of.
fn inbox(bytes: &[u8]) {
    let Some(entry) = decoded::<InboxEntry>(bytes) else { return };
    let opener = Opener { shielding: SHIELDING.clone(), context: REQUESTS, scope: SCOPE, rules: rules() };
    match (opener.open(entry.clone()), &entry) {
        (Opened::Invoke(call), InboxEntry::Invoke(_)) => {
            assert!(call.is_none_or(|call| *call.sender() == client()), "somebody else's signature");
        }
        (Opened::Shield { amount, sender, .. }, InboxEntry::Shield { amount: paid, sender: payer, .. }) => {
            assert_eq!((amount, &sender), (*paid, payer));
        }
        (opened, _) => panic!("{entry:?} was opened as {opened:?}"),
    }
}

/// A message of a connection: JSON-RPC, hex, SCALE, and what is in it.
fn message(bytes: &[u8]) {
    for call in cloister_rpc::calls(bytes, 8) {
        use cloister_rpc::Call::{ExecuteGetter, Submit, SubmitAndWatch, SubmitBatch};
        match call {
            Ok(Some(Submit(request) | SubmitAndWatch(request))) => ciphertext(&request.cyphertext),
            Ok(Some(SubmitBatch(requests))) => {
                assert!(requests.len() <= cloister_rpc::MAX_SUBMIT_BATCH, "a batch without bound");
                requests.iter().for_each(|request| envelope_only(&request.cyphertext));
            }
            Ok(Some(ExecuteGetter(request))) => getter(&request.cyphertext),
            Ok(_) | Err(_) => {}
        }
    }
}

pub fn sign(call: &TrustedCall, nonce: u32) -> TrustedCallSigned {
    let signature = MultiSignature::Ed25519(CLIENT.sign(&SCOPE.call_bytes(call, nonce)));
    TrustedCallSigned { call: call.clone(), nonce, signature }
}

fn sign_bound(bound: BoundCall) -> BoundCallSigned {
    let signature = MultiSignature::Ed25519(CLIENT.sign(&bound.signed_bytes(&GENESIS, &SCOPE)));
    BoundCallSigned { bound, signature }
}

/// A JSON-RPC request with these bytes as its one parameter.
fn submission(method: &str, bytes: &[u8]) -> serde_json::Value {
    let params = [format!("0x{}", hex::encode(bytes))];
    serde_json::json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 })
}

pub fn direct(call: &TrustedCall) -> TrustedOperation {
    TrustedOperation::DirectCall(sign(call, 0))
}

pub fn transfer() -> TrustedCall {
    TrustedCall::BalanceTransfer(client(), AccountId::new([8; 32]), 5)
}

pub fn trusted_getter() -> Getter {
    let getter = TrustedGetter::FreeBalance(client());
    let signature = MultiSignature::Ed25519(CLIENT.sign(&getter.encode()));
    Getter::Trusted(TrustedGetterSigned { getter, signature })
}

pub fn bound_getter() -> Getter {
    Getter::Bound(bound(BoundGetter { getter: TrustedGetter::Nonce(client()), last_block: 9, client_nonce: [1; 16] }))
}

fn bound(query: BoundGetter) -> BoundGetterSigned {
    let bytes = query.signed_bytes(&GENESIS, &SHARD, &SCOPE.mrenclave);
    BoundGetterSigned { signature: MultiSignature::Ed25519(CLIENT.sign(&bytes)), query }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let seal = |purpose, bytes: &[u8]| {
        let keys = SHIELDING.public();
        let sealed = envelope::seal(&Context { purpose, ..REQUESTS }, keys.epoch, &keys.hpke, bytes);
        sealed.expect("a good key")
    };
    let request = |cyphertext: Vec<u8>| {
        let cyphertext = cyphertext.try_into().expect("short");
        cloister_chain_primitives::Request { shard: SHARD, cyphertext }
    };
    let signed = direct(&transfer()).encode();
    let indirect = TrustedOperation::IndirectCall(sign(&transfer(), 0)).encode();
    let sealed = seal(Purpose::Request, &signed);
    let bound_call = sign_bound(BoundCall { call: transfer(), nonce: 0, last_block: 9 });
    let sealed_bound = seal(Purpose::Request, &TrustedOperation::BoundCall(bound_call.clone()).encode());
    let batch = vec![request(sealed.clone()), request(sealed_bound), request(vec![1; 384])].encode();
    let submit = submission("author_submitExtrinsic", &request(sealed.clone()).encode());
    let read = submission("state_executeGetter", &request(trusted_getter().encode()).encode());
    let pending = serde_json::json!({
        "jsonrpc": "2.0", "method": "author_pendingExtrinsics", "params": [bs58::encode(SHARD).into_string()], "id": "a",
    });
    let shield = InboxEntry::Shield {
        encrypted_beneficiary: seal(Purpose::Beneficiary, &client().encode()).try_into().expect("short"),
        amount: 7,
        sender: client(),
    };
    let mut seeds: Vec<Vec<u8>> = [
        (0, sealed),
        (1, signed.clone()),
        (2, signed),
        (2, indirect.clone()),
        (2, TrustedOperation::BoundCall(bound_call.clone()).encode()),
        (2, TrustedOperation::IndirectBoundCall(bound_call).encode()),
        (2, TrustedOperation::Get(trusted_getter()).encode()),
        (3, (0u32, transfer()).encode()),
        (4, trusted_getter().encode()),
        (4, bound_getter().encode()),
        (4, Getter::Public(PublicGetter::Outbox(7)).encode()),
        (5, (9u64, [1u8; 16], TrustedGetter::Nonce(client())).encode()),
        (6, InboxEntry::Invoke(request(seal(Purpose::Request, &indirect))).encode()),
        (6, shield.encode()),
        (7, serde_json::json!([submit, read, pending]).to_string().into_bytes()),
        (7, submit.to_string().into_bytes()),
        (7, read.to_string().into_bytes()),
        (7, pending.to_string().into_bytes()),
        (8, (0u32, 9u64, transfer()).encode()),
        (9, batch),
    ]
    .into_iter()
    .map(|(choice, bytes)| [vec![choice], bytes].concat())
    .collect();
    seeds.extend(cloister_rpc::Method::ALL.map(|method| {
        let text = serde_json::json!({ "jsonrpc": "2.0", "method": method.name(), "id": 1 }).to_string();
        [vec![7], text.into_bytes()].concat()
    }));
    seeds
}
