//! Whose signature over what counts.

use cloister_wire::{
    AccountId, BoundGetter, BoundGetterSigned, H256, ShardId, SignatureScope, TrustedCall, TrustedCallSigned,
    TrustedGetter, TrustedGetterSigned, verify_signature,
};
use codec::Encode;
use sp_core::{Pair, ecdsa, ed25519, sr25519};
use sp_runtime::{MultiSignature, MultiSigner, traits::IdentifyAccount};

const MESSAGE: &[u8] = b"the message";

type Sign = Box<dyn Fn(&[u8]) -> MultiSignature>;

/// One signer of each published kind: its account and how it signs.
fn signers() -> Vec<(AccountId, Sign)> {
    let ed25519 = ed25519::Pair::from_seed(&[1; 32]);
    let sr25519 = sr25519::Pair::from_seed(&[2; 32]);
    let ecdsa = ecdsa::Pair::from_seed(&[3; 32]);
    vec![
        (MultiSigner::from(ed25519.public()).into_account(), Box::new(move |m| ed25519.sign(m).into())),
        (MultiSigner::from(sr25519.public()).into_account(), Box::new(move |m| sr25519.sign(m).into())),
        (MultiSigner::from(ecdsa.public()).into_account(), Box::new(move |m| ecdsa.sign(m).into())),
    ]
}

fn wrapped(message: &[u8]) -> Vec<u8> {
    [b"<Bytes>", message, b"</Bytes>"].concat()
}

#[test]
fn raw_and_wrapped_signatures_of_the_account_count() {
    for (account, sign) in signers() {
        assert!(verify_signature(&sign(MESSAGE), MESSAGE, &account));
        assert!(verify_signature(&sign(&wrapped(MESSAGE)), MESSAGE, &account));
    }
}

#[test]
fn other_messages_wrappings_and_accounts_do_not() {
    for (account, sign) in signers() {
        assert!(!verify_signature(&sign(b"another"), MESSAGE, &account));
        assert!(!verify_signature(&sign(&wrapped(&wrapped(MESSAGE))), MESSAGE, &account));
        assert!(!verify_signature(&sign(&[b"<Bytes>", MESSAGE].concat()), MESSAGE, &account));
        assert!(!verify_signature(&sign(MESSAGE), &wrapped(MESSAGE), &account));
        assert!(!verify_signature(&sign(MESSAGE), MESSAGE, &AccountId::new([9; 32])));
    }
    let all = signers();
    for (index, (account, _)) in all.iter().enumerate() {
        for (_, sign) in all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, signer)| signer) {
            assert!(!verify_signature(&sign(MESSAGE), MESSAGE, account));
        }
    }
}

/// The runtime's signature type knows a fourth kind, which derives accounts differently. It is valid in itself; a
/// shard does not take it, because published clients and enclaves know three.
#[test]
fn a_foreign_kind_of_key_does_not_count() {
    let pair = ecdsa::KeccakPair::from_seed(&[4; 32]);
    let account = MultiSigner::Eth(pair.public()).into_account();
    let signature = MultiSignature::Eth(pair.sign(MESSAGE));
    assert!(sp_runtime::traits::Verify::verify(&signature, MESSAGE, &account), "else the test proves nothing");
    assert!(!verify_signature(&signature, MESSAGE, &account));
}

#[test]
fn a_call_is_signed_for_one_nonce_code_and_shard() {
    let scope = SignatureScope { mrenclave: [6; 32], shard: ShardId(H256::repeat_byte(7)) };
    for (account, sign) in signers() {
        let call = TrustedCall::BalanceTransfer(account, AccountId::new([2; 32]), 5);
        let signature = sign(&scope.call_bytes(&call, 1));
        let signed = TrustedCallSigned { call: call.clone(), nonce: 1, signature };
        assert!(signed.verify(&scope));
        assert!(!TrustedCallSigned { nonce: 2, ..signed.clone() }.verify(&scope));
        assert!(!signed.verify(&SignatureScope { mrenclave: [5; 32], ..scope }));
        assert!(!signed.verify(&SignatureScope { shard: ShardId::default(), ..scope }));
        let richer = TrustedCall::BalanceTransfer(call.sender().clone(), AccountId::new([2; 32]), 6);
        assert!(!TrustedCallSigned { call: richer, ..signed.clone() }.verify(&scope));
        let wrapped = sign(&wrapped(&scope.call_bytes(&call, 1)));
        assert!(TrustedCallSigned { signature: wrapped, ..signed }.verify(&scope));
    }
}

#[test]
fn a_published_getter_is_signed_by_the_account_that_it_is_about() {
    for (account, sign) in signers() {
        let getter = TrustedGetter::FreeBalance(account);
        let signature = sign(&getter.encode());
        let signed = TrustedGetterSigned { getter, signature };
        assert!(signed.verify());
        let stranger = TrustedGetter::FreeBalance(AccountId::new([9; 32]));
        assert!(!TrustedGetterSigned { getter: stranger, ..signed.clone() }.verify());
        let nonce = TrustedGetter::Nonce(signed.getter.owner().clone());
        assert!(!TrustedGetterSigned { getter: nonce, ..signed }.verify());
    }
}

#[test]
fn a_bound_getter_is_signed_for_one_chain_shard_code_block_and_nonce() {
    let (genesis, shard, mrenclave) = (H256::repeat_byte(1), ShardId(H256::repeat_byte(2)), [3; 32]);
    for (account, sign) in signers() {
        let query = BoundGetter { getter: TrustedGetter::FreeBalance(account), last_block: 10, client_nonce: [4; 16] };
        let signature = sign(&query.signed_bytes(&genesis, &shard, &mrenclave));
        let signed = BoundGetterSigned { query: query.clone(), signature };
        assert!(signed.verify(&genesis, &shard, &mrenclave));
        assert!(!signed.verify(&H256::zero(), &shard, &mrenclave));
        assert!(!signed.verify(&genesis, &ShardId::default(), &mrenclave));
        assert!(!signed.verify(&genesis, &shard, &[0; 32]));
        for other in [
            BoundGetter { last_block: 11, ..query.clone() },
            BoundGetter { client_nonce: [5; 16], ..query.clone() },
            BoundGetter { getter: TrustedGetter::Nonce(query.getter.owner().clone()), ..query.clone() },
        ] {
            let forged = BoundGetterSigned { query: other, signature: signed.signature.clone() };
            assert!(!forged.verify(&genesis, &shard, &mrenclave));
            assert_ne!(forged.hash(), signed.hash());
        }
    }
}
