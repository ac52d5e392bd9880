// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! The JSON-RPC methods that this node adds to those of `sc-service` (both generations: system, chain, state,
//! author; chainHead, chainSpec, transaction, archive).

use crate::service::{FullBackend, FullClient, Pool};
use cloister_chain_primitives::{AccountId, BlockNumber, H256, Header, Nonce};
use cloister_runtime::opaque::Block;
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    types::{ErrorObject, ErrorObjectOwned},
};
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use sc_consensus_grandpa::{
    FinalityProof, FinalityProofError, FinalityProofProvider, GrandpaJustification, GrandpaJustificationStream,
    SharedAuthoritySet, SharedVoterState,
};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_rpc::SubscriptionTaskExecutor;
use sp_blockchain::HeaderBackend;
use sp_core::{Bytes, Encode};
use sp_runtime::generic::BlockId;
use std::sync::Arc;
use substrate_frame_rpc_system::{System, SystemApiServer};

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
        module.register_blocking_method(PROVE_FINALITY, move |params, _, _| {
            let block: BlockNumber = params.one()?;
            let proof = prover.prove(block).map_err(|error| {
                ErrorObject::owned(
                    PROVE_FINALITY_ERROR,
                    format!("no proof of finality for #{block}: {error}"),
                    None::<()>,
                )
            })?;
            Ok::<_, ErrorObjectOwned>(proof.map(|proof| Bytes(proof.encode())))
        })?;
        Ok(module)
    }
}

/// Proves that a block is final to somebody who knows its validators.
#[derive(Clone)]
struct FinalityProver {
    client: Arc<FullClient>,
    authority_set: SharedAuthoritySet<H256, BlockNumber>,
    proofs: Arc<FinalityProofProvider<FullBackend, Block>>,
}

impl FinalityProver {
    /// What `FinalityProofProvider` answers, and also an answer on a chain whose validators never changed: it looks
    /// blocks up by the changes of the set that followed them, and finds none where there has been no change at all.
    fn prove(&self, block: BlockNumber) -> Result<Option<FinalityProof<Header>>, FinalityProofError> {
        match self.proofs.prove_finality_proof(block, true) {
            Err(FinalityProofError::BlockNotInAuthoritySetChanges) if self.authority_set.set_id() == 0 => {
                self.prove_in_first_set(block)
            }
            answer => answer,
        }
    }

    /// The newest justification and the headers after `block` up to the one that it justifies.
    fn prove_in_first_set(&self, block: BlockNumber) -> Result<Option<FinalityProof<Header>>, FinalityProofError> {
        let Some(justification) = sc_consensus_grandpa::best_justification::<_, Block>(&*self.client)? else {
            return Ok(None);
        };
        let (target, hash) = GrandpaJustification::target(&justification);
        let unknown_headers = (block.saturating_add(1)..=target)
            .take(MAX_UNKNOWN_HEADERS)
            .map(|number| self.client.expect_header(self.client.expect_block_hash_from_id(&BlockId::Number(number))?))
            .collect::<Result<_, _>>()?;
        Ok(Some(FinalityProof { block: hash, justification: justification.encode(), unknown_headers }))
    }
}

const PROVE_FINALITY: &str = "grandpa_proveFinality";
/// The code of `sc-consensus-grandpa-rpc` for the same failure.
const PROVE_FINALITY_ERROR: i32 = 4;
/// Most headers of a proof, as in `sc-consensus-grandpa`.
const MAX_UNKNOWN_HEADERS: usize = 100_000;
