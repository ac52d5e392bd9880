//! What layer one takes for an extrinsic.

use cloister_chain_primitives::{
    AccountId, Balance,
    calls::Call,
    extrinsic::{Mortality, signed},
};
use codec::{Compact, DecodeAll, Encode};
use sp_core::sr25519;
use sp_runtime::{MultiSignature, generic::Era};

use super::{Error, LayerOne, from_hex, malformed, to_hex};

impl LayerOne {
    /// Planck that a signed extrinsic with this call costs at the finalized head, by the runtime's own reckoning. It
    /// rises while blocks are full.
    pub async fn estimate_fee(&self, call: &Call) -> Result<Balance, Error> {
        let chain = self.chain_version().await?;
        let at = self.finalized_hash().await?;
        // Only its length counts; an era of 64 blocks has the two bytes of any other.
        let mortality = Mortality { era: Era::mortal(64, 0), birth_hash: at };
        let nobody = AccountId::new([0; 32]);
        let signature = MultiSignature::from(sr25519::Signature::from_raw([0; 64]));
        let extrinsic = signed(call, &nobody, 0, mortality, &chain, |_| signature);
        let length = u32::try_from(extrinsic.len()).map_err(|error| malformed("a fee", error))?;
        let arguments = to_hex(&(call, length).encode());
        let method = "TransactionPaymentCallApi_query_call_info";
        let answer: String = self.request("state_call", (method, arguments, at)).await?;
        let answer = from_hex("a fee", &answer)?;
        // Weight (time, proof size), dispatch class, fee.
        let (_, _, _, fee): (Compact<u64>, Compact<u64>, u8, Balance) =
            DecodeAll::decode_all(&mut answer.as_slice()).map_err(|error| malformed("a fee", error))?;
        Ok(fee)
    }
}
