// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Proves that a block is final to somebody who knows its validators.
//!
//! Anybody may ask a node for a proof of any block, so its size and work are bounded: whoever is far behind is shown an
//! earlier block of the same validators as final and asks again from there.

use crate::service::{FullBackend, FullClient};
use cloister_chain_primitives::{BlockNumber, H256, Header};
use cloister_runtime::opaque::Block;
use sc_client_api::BlockBackend;
use sc_consensus_grandpa::{
    FinalityProof, FinalityProofError, FinalityProofProvider, GRANDPA_ENGINE_ID, GrandpaJustification,
    SharedAuthoritySet,
};
use sp_blockchain::HeaderBackend;
use sp_core::Encode;
use sp_runtime::{generic::BlockId, traits::Header as _};
use std::sync::Arc;

/// Most headers of a proof: less than a megabyte. Also most blocks that are asked for a justification.
pub const MAX_UNKNOWN_HEADERS: BlockNumber = 4_096;

/// What a node proves finality from.
#[derive(Clone)]
pub struct FinalityProver {
    pub client: Arc<FullClient>,
    pub authority_set: SharedAuthoritySet<H256, BlockNumber>,
    pub proofs: Arc<FinalityProofProvider<FullBackend, Block>>,
}

impl FinalityProver {
    /// What `FinalityProofProvider` answers, within bounds, and also an answer on a chain whose validators never changed: it
    /// looks blocks up by the changes of the set that followed them, and finds none where there has been no change at all.
    pub fn prove(&self, block: BlockNumber) -> Result<Option<FinalityProof<Header>>, FinalityProofError> {
        let newest = match self.proofs.prove_finality_proof(block, false) {
            Err(FinalityProofError::BlockNotInAuthoritySetChanges) if self.authority_set.set_id() == 0 => {
                self.newest_of_first_set()?
            }
            answer => answer?,
        };
        let Some(FinalityProof { block: hash, justification, .. }) = newest else { return Ok(None) };
        let number = *self.client.expect_header(hash)?.number();
        Ok(Some(bounded(&*self.client, block, Justified { number, hash, justification })?))
    }

    fn newest_of_first_set(&self) -> Result<Option<FinalityProof<Header>>, FinalityProofError> {
        let newest = sc_consensus_grandpa::best_justification::<_, Block>(&*self.client)?;
        Ok(newest.map(|justification| {
            let (_, block) = GrandpaJustification::target(&justification);
            FinalityProof { block, justification: justification.encode(), unknown_headers: Vec::new() }
        }))
    }
}

/// A block with the justification that makes it final.
struct Justified {
    number: BlockNumber,
    hash: H256,
    justification: Vec<u8>,
}

/// The finalized chain as a proof reads it.
trait Finalized {
    fn header(&self, number: BlockNumber) -> Result<Header, sp_blockchain::Error>;

    /// The justification that is stored with a block, if there is one.
    fn justification(&self, hash: H256) -> Result<Option<Vec<u8>>, sp_blockchain::Error>;
}

impl Finalized for FullClient {
    fn header(&self, number: BlockNumber) -> Result<Header, sp_blockchain::Error> {
        self.expect_header(self.expect_block_hash_from_id(&BlockId::Number(number))?)
    }

    fn justification(&self, hash: H256) -> Result<Option<Vec<u8>>, sp_blockchain::Error> {
        let stored = self.justifications(hash)?;
        Ok(stored.and_then(|justifications| justifications.into_justification(GRANDPA_ENGINE_ID)))
    }
}

/// The headers after `block` up to the newest justified one; if they are too many, up to the last one with a stored
/// justification that is near enough. The same validators finalize all blocks up to the newest. If none is near enough,
/// what fits of the way to the newest.
fn bounded(
    chain: &impl Finalized,
    block: BlockNumber,
    newest: Justified,
) -> Result<FinalityProof<Header>, sp_blockchain::Error> {
    let furthest = block.saturating_add(MAX_UNKNOWN_HEADERS);
    let headers = (block.saturating_add(1)..=newest.number.min(furthest)).map(|number| chain.header(number));
    let mut unknown_headers = headers.collect::<Result<Vec<_>, _>>()?;
    if newest.number > furthest {
        for length in (1..=unknown_headers.len()).rev() {
            let hash = unknown_headers[length - 1].hash();
            if let Some(justification) = chain.justification(hash)? {
                unknown_headers.truncate(length);
                return Ok(FinalityProof { block: hash, justification, unknown_headers });
            }
        }
    }
    let Justified { hash, justification, .. } = newest;
    Ok(FinalityProof { block: hash, justification, unknown_headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_runtime::{Digest, DigestItem};
    use std::{cell::Cell, collections::HashMap};

    /// What the RPC server of the SDK answers at most (`sc_cli::RPC_DEFAULT_MAX_RESPONSE_SIZE_MB`).
    const MAX_RESPONSE_BYTES: usize = 15 * 1024 * 1024;
    /// A chain whose node was asked from its beginning.
    const LENGTH: BlockNumber = 50_000;

    /// Headers with the digests of AURA, and a justification every so many blocks.
    struct Chain {
        headers: Vec<Header>,
        numbers: HashMap<H256, BlockNumber>,
        period: BlockNumber,
        reads: Cell<usize>,
    }

    impl Chain {
        fn new(period: BlockNumber) -> Self {
            let mut parent = H256::zero();
            let headers = (0..=LENGTH).map(|number| {
                let logs = vec![DigestItem::PreRuntime(*b"aura", vec![1; 8]), DigestItem::Seal(*b"aura", vec![2; 64])];
                let (root, digest) = (H256::repeat_byte(3), Digest { logs });
                let header = Header::new(number, root, root, parent, digest);
                parent = header.hash();
                header
            });
            let headers: Vec<_> = headers.collect();
            let numbers = headers.iter().map(|header| (header.hash(), *header.number())).collect();
            Self { headers, numbers, period, reads: Cell::new(0) }
        }

        fn newest(&self) -> Justified {
            let header = self.headers.last().expect("there are some");
            Justified { number: *header.number(), hash: header.hash(), justification: vec![9; 300] }
        }

        fn prove(&self, block: BlockNumber) -> FinalityProof<Header> {
            bounded(self, block, self.newest()).expect("the chain has its headers")
        }
    }

    impl Finalized for Chain {
        fn header(&self, number: BlockNumber) -> Result<Header, sp_blockchain::Error> {
            self.reads.set(self.reads.get() + 1);
            let header = self.headers.get(number as usize).cloned();
            header.ok_or_else(|| sp_blockchain::Error::UnknownBlock(number.to_string()))
        }

        fn justification(&self, hash: H256) -> Result<Option<Vec<u8>>, sp_blockchain::Error> {
            self.reads.set(self.reads.get() + 1);
            let number = self.numbers[&hash];
            Ok(number.is_multiple_of(self.period).then(|| number.encode()))
        }
    }

    #[test]
    fn a_proof_from_the_beginning_of_a_long_chain_fits_an_answer() {
        for period in [1, 1_000, 2 * LENGTH] {
            let chain = Chain::new(period);
            let proof = chain.prove(0);
            assert!(proof.unknown_headers.len() <= MAX_UNKNOWN_HEADERS as usize);
            // In hexadecimal.
            assert!(2 * proof.encode().len() < MAX_RESPONSE_BYTES / 4);
            assert!(chain.reads.get() <= 2 * MAX_UNKNOWN_HEADERS as usize);
        }
        // As many headers as the SDK would give do not.
        let chain = Chain::new(1);
        assert!(2 * chain.headers.encode().len() > MAX_RESPONSE_BYTES);
    }

    #[test]
    fn whoever_is_far_behind_is_led_to_the_newest_block() {
        let chain = Chain::new(1_000);
        let (mut block, mut asked) = (7, 0);
        while block < LENGTH {
            let proof = chain.prove(block);
            let reached = proof.unknown_headers.last().expect("there are newer ones");
            assert_eq!((reached.hash(), proof.unknown_headers[0].number()), (proof.block, &(block + 1)));
            block = *reached.number();
            asked += 1;
            let justification = if block == LENGTH { chain.newest().justification } else { block.encode() };
            assert_eq!(proof.justification, justification);
        }
        assert_eq!(asked, LENGTH / 4_000 + 1);
    }

    #[test]
    fn near_the_newest_block_nothing_is_left_out() {
        let chain = Chain::new(1);
        for (block, headers) in [(LENGTH, 0), (LENGTH - 1, 1), (LENGTH - MAX_UNKNOWN_HEADERS, MAX_UNKNOWN_HEADERS)] {
            let proof = chain.prove(block);
            assert_eq!((proof.block, proof.unknown_headers.len()), (chain.newest().hash, headers as usize));
            assert_eq!(proof.justification, chain.newest().justification);
        }
        // Nor is a block beyond it an error here: the SDK says so before.
        assert_eq!(chain.prove(BlockNumber::MAX).unknown_headers, []);
    }
}
