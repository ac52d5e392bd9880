// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! The JSON-RPC methods that this node adds to those of `sc-service` (both generations: system, chain, state,
//! author; chainHead, chainSpec, transaction, archive).

use crate::{
    finality_proof::FinalityProver,
    service::{FullBackend, FullClient, Pool},
};
use cloister_chain_primitives::{AccountId, BlockNumber, H256, Nonce};
use cloister_runtime::opaque::Block;
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    types::{ErrorObject, ErrorObjectOwned},
};
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use sc_consensus_grandpa::{FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_rpc::SubscriptionTaskExecutor;
use sp_core::{Bytes, Encode};
use std::{fmt::Display, sync::Arc};
use substrate_frame_rpc_system::{System, SystemApiServer};
use tokio::sync::Semaphore;

/// What the methods answer from.
#[derive(Clone)]
pub struct Sources {
    pub client: Arc<FullClient>,
    pub pool: Arc<Pool>,
    pub finality: Finality,
}

/// GRANDPA's side of [`Sources`].
#[derive(Clone)]
pub struct Finality {
    pub authority_set: SharedAuthoritySet<H256, BlockNumber>,
    pub voter_state: SharedVoterState,
    pub justifications: GrandpaJustificationStream<Block>,
    pub proofs: Arc<FinalityProofProvider<FullBackend, Block>>,
}

impl Sources {
    /// `system_accountNextIndex` and `system_dryRun`, `payment_*`, `grandpa_*`.
    pub fn into_module(self, executor: SubscriptionTaskExecutor) -> Result<RpcModule<()>, RegisterMethodError> {
        let Self { client, pool, finality: Finality { authority_set, voter_state, justifications, proofs } } = self;
        let system = System::<_, _, Block>::new(client.clone(), pool);
        let payment = TransactionPayment::<_, Block>::new(client.clone());
        let prover = FinalityProver { client, authority_set: authority_set.clone(), proofs: proofs.clone() };
        let mut grandpa =
            GrandpaApiServer::into_rpc(Grandpa::new(executor, authority_set, voter_state, justifications, proofs));
        grandpa.remove_method(PROVE_FINALITY);

        let mut module = RpcModule::new(());
        module.merge(SystemApiServer::<H256, AccountId, Nonce>::into_rpc(system))?;
        module.merge(TransactionPaymentApiServer::into_rpc(payment))?;
        module.merge(grandpa)?;
        let permits = Arc::new(Semaphore::new(PROOFS_AT_A_TIME));
        module.register_async_method(PROVE_FINALITY, move |params, _, _| {
            let (prover, permits) = (prover.clone(), permits.clone());
            async move { prove_finality(prover, permits, params.one()?).await }
        })?;
        Ok(module)
    }
}

/// Waits for its turn, and on a thread that may wait for the database.
async fn prove_finality(
    prover: FinalityProver,
    permits: Arc<Semaphore>,
    block: BlockNumber,
) -> Result<Option<Bytes>, ErrorObjectOwned> {
    let failure = |error: &dyn Display| {
        let message = format!("no proof of finality for #{block}: {error}");
        ErrorObject::owned(PROVE_FINALITY_ERROR, message, None::<()>)
    };
    // Kept by the work, which goes on when the caller has left.
    let permit = permits.acquire_owned().await.map_err(|error| failure(&error))?;
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        prover.prove(block)
    });
    let proof = work.await.map_err(|error| failure(&error))?.map_err(|error| failure(&error))?;
    Ok(proof.map(|proof| Bytes(proof.encode())))
}

const PROVE_FINALITY: &str = "grandpa_proveFinality";
/// The code of `sc-consensus-grandpa-rpc` for the same failure.
const PROVE_FINALITY_ERROR: i32 = 4;
/// Proofs that are made at a time: each reads thousands of blocks.
const PROOFS_AT_A_TIME: usize = 1;
