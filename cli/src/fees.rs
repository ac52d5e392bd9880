//! `fees`: what shards and layer one charge.

use cloister_client::{
    AccountId, Balance, Call, DIRECT_CALL_FEE, EXISTENTIAL_DEPOSIT, MIN_SHIELD, Request, ShardId, Signer, UNSHIELD_FEE,
};
use cloister_wire::{BoundCall, BoundCallSigned, TrustedCall, TrustedOperation, envelope};
use codec::Encode;
use sp_core::{Pair, sr25519};

use crate::{Session, amount, failure::Failure, output::Report};

/// The shard's constants, and layer one's reckoning for the extrinsics that people send to shards.
pub async fn show(session: &Session) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let (shielding, invocation) = samples()?;
    let (shield, invoke) = tokio::try_join!(layer_one.estimate_fee(&shielding), layer_one.estimate_fee(&invocation))?;
    let fee = |planck: Balance, explanation: &str| {
        Some((planck.to_string(), format!("{}{explanation}", amount::format(planck))))
    };
    Ok(Report::default()
        .field_if("direct call", fee(DIRECT_CALL_FEE, ", on the shard"))
        .field_if("unshield", fee(UNSHIELD_FEE, ", on the shard, in addition; kept if layer one refuses"))
        .field_if("indirect call", fee(0, " on the shard; layer one's fee covers it"))
        .field_if("returned shielding", fee(UNSHIELD_FEE, ", out of its amount"))
        .field_if("least shielding", fee(MIN_SHIELD, ""))
        .field_if("existential deposit", fee(EXISTENTIAL_DEPOSIT, ", stays on an account that pays"))
        .field_if("layer one shield", fee(shield, " now, by the runtime's reckoning"))
        .field_if("layer one invoke", fee(invoke, " now, for a transfer")))
}

/// A shielding and an indirect transfer of the lengths that they really have.
fn samples() -> Result<(Call, Call), Failure> {
    let (shard, nobody) = (ShardId::default(), AccountId::new([0; 32]));
    let too_long = |_| Failure::could_not_run(anyhow::anyhow!("a sample is too long"));
    let beneficiary = vec![0; nobody.encoded_size() + envelope::OVERHEAD].try_into().map_err(too_long)?;
    let shielding = Call::shield_funds(&shard, &beneficiary, MIN_SHIELD);
    let signature = Signer::from(sr25519::Pair::from_seed(&[0; 32])).sign(&[]);
    let call = TrustedCall::BalanceTransfer(nobody.clone(), nobody, 0);
    let bound = BoundCall { call, nonce: 0, last_block: 0 };
    let operation = TrustedOperation::IndirectBoundCall(BoundCallSigned { bound, signature });
    let cyphertext = vec![0; operation.encoded_size() + envelope::OVERHEAD].try_into().map_err(too_long)?;
    Ok((shielding, Call::invoke(&Request { shard, cyphertext })))
}
