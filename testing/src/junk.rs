//! What nobody should send to a shard, and what the enclave says to it.

use anyhow::{Context, Result};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use cloister_chain_primitives::{
    H256, Request, ShardId, UNIT,
    inbox::MAX_CYPHERTEXT,
    shard::{RSA_MODULUS_BYTES, RSA_PUBLIC_EXPONENT},
};
use cloister_client::{Shard, Worker, worker::Error as WorkerError};
use cloister_wire::{
    Getter, TrustedCall, TrustedCallSigned, TrustedGetter, TrustedGetterSigned, TrustedOperation, envelope,
};
use codec::Encode;
use serde_json::{Value, json};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};

use crate::{signer, to_hex};

/// A request that comes to nothing.
#[derive(Clone, Debug)]
pub struct Junk {
    /// JSON-RPC method.
    pub method: &'static str,
    /// Its parameters.
    pub parameters: Value,
    /// What is answered.
    pub refusal: &'static str,
}

impl Junk {
    /// Some of each kind, cheap ones: nonsense, ciphertexts of nothing, strangers' and repeated signatures.
    pub fn of_each_kind(shard: &Shard) -> Result<Vec<Self>> {
        const SUBMIT: &str = "author_submitExtrinsic";
        const WATCH: &str = "author_submitAndWatchExtrinsic";
        const GETTER: &str = "state_executeGetter";
        let junk = |method, parameters, refusal| Self { method, parameters, refusal };
        let addressed = |cyphertext: Vec<u8>, shard| -> Result<Value> {
            let cyphertext = cyphertext.try_into().map_err(|_| anyhow::anyhow!("too long"))?;
            Ok(json!([to_hex(Request { shard, cyphertext }.encode())]))
        };
        let to = |cyphertext| addressed(cyphertext, shard.id);

        let call = TrustedCall::BalanceTransfer(Alice.to_account_id(), Bob.to_account_id(), UNIT);
        let forged = TrustedCallSigned {
            signature: signer(Charlie).sign(&shard.scope().call_bytes(&call, 0)),
            call: call.clone(),
            nonce: 0,
        };
        let forged = shard.seal_operation(&TrustedOperation::DirectCall(forged))?;
        let elsewhere = Shard { id: ShardId(H256::repeat_byte(9)), ..shard.clone() };
        let elsewhere = elsewhere.sign_call(call.clone(), 0, &signer(Alice))?;
        let elsewhere = shard.seal_operation(&TrustedOperation::DirectCall(elsewhere))?;
        let indirect = shard.sign_call(call, 0, &signer(Alice))?;
        let indirect = shard.seal_operation(&TrustedOperation::IndirectCall(indirect))?;
        let getter = TrustedGetter::FreeBalance(Alice.to_account_id());
        let signature = signer(Charlie).sign(&getter.encode());
        let stranger = Getter::Trusted(TrustedGetterSigned { getter, signature });
        let sealed = |bytes: &[u8]| {
            let no_point =
                [&envelope::MAGIC[..], &shard.entry.birth.shielding_keys.epoch.to_le_bytes(), bytes].concat();
            to(no_point)
        };
        Ok(vec![
            junk(SUBMIT, json!(["zz"]), MALFORMED),
            junk(SUBMIT, json!([]), MALFORMED),
            junk(WATCH, json!([null]), MALFORMED),
            junk(GETTER, json!({ "request": "00" }), "the parameters are not an array"),
            junk("author_nothing", json!([]), "Method not found"),
            junk(SUBMIT, json!(["00".repeat(17_000)]), "the request is too large"),
            junk(SUBMIT, addressed(vec![1; 100], ShardId(H256::repeat_byte(9)))?, "unknown shard"),
            junk(SUBMIT, to(vec![7; 200])?, OPAQUE),
            junk(WATCH, to(Vec::new())?, OPAQUE),
            junk(SUBMIT, sealed(&[0; 80])?, OPAQUE),
            junk(WATCH, sealed(&[0xff; 80])?, OPAQUE),
            junk(SUBMIT, to(forged.cyphertext.into_inner())?, OPAQUE),
            junk(SUBMIT, to(elsewhere.cyphertext.into_inner())?, OPAQUE),
            junk(WATCH, to(indirect.cyphertext.into_inner())?, OPAQUE),
            junk(GETTER, to(vec![3; 64])?, NOT_OWNER),
            junk(GETTER, to(stranger.encode())?, NOT_OWNER),
        ])
    }

    /// The most expensive ciphertext there is, in the published form: each block decrypts, and nothing comes of it.
    pub fn worst(shard: &Shard) -> Result<Request> {
        let exponent = RSA_PUBLIC_EXPONENT.to_be_bytes();
        let exponent: Vec<u8> = exponent.into_iter().skip_while(|byte| *byte == 0).collect();
        let components = PublicKeyComponents { n: &shard.entry.birth.shielding_keys.rsa_modulus[..], e: &exponent[..] };
        let key: PublicEncryptingKey = components.try_into().ok().context("no RSA key")?;
        let key = OaepPublicEncryptingKey::new(key).ok().context("no RSA key")?;
        let mut block = [0; RSA_MODULUS_BYTES];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, &[0; 318], &mut block, None).ok().context("no ciphertext")?;
        let blocks = MAX_CYPHERTEXT as usize / RSA_MODULUS_BYTES;
        let cyphertext = block.repeat(blocks).try_into().map_err(|_| anyhow::anyhow!("too long"))?;
        Ok(Request { shard: shard.id, cyphertext })
    }

    /// Sends it; whether it is refused as it should.
    pub async fn is_refused_by(&self, worker: &Worker) -> Result<bool> {
        let answered = worker.call(self.method, self.parameters.clone()).await;
        let reason = match answered {
            Err(WorkerError::Refused(reason)) => reason,
            Err(WorkerError::NotUnderstood { message, .. }) => message,
            Err(error) => return Err(error).with_context(|| format!("{} was not answered", self.method)),
            Ok(_) => return Ok(false),
        };
        Ok(reason.contains(self.refusal))
    }
}

const MALFORMED: &str = "the first parameter is not a hex-encoded request";
const OPAQUE: &str = "the request does not decrypt, decode or verify";
const NOT_OWNER: &str = "the query does not decode or is not signed by the account's owner";
