//! Light client of layer one: finality, ancestry and storage proofs from an untrusted host.
//!
//! It trusts the measured configuration (a checkpoint with its GRANDPA authorities) and two thirds of each authority
//! set that follows from it; the host that brings headers, justifications and proofs is the adversary. The core does no
//! input or output. It must never hand out a header or a value that it did not verify, and must never follow a second
//! chain: what is finalized stays so for the life of the process.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![warn(missing_docs)]

mod authorities;
mod error;
mod justification;
mod proof;

use authorities::{Authorities, AuthoritySet};
use cloister_chain_primitives::{BlockNumber, H256, Header, config::MeasuredConfig};
use codec::Encode;
use sp_core::ed25519;

pub use error::Error;
pub use proof::{ProvenValues, check_layout};

/// Follows the finality of layer one.
#[derive(Clone, Debug)]
pub struct LightClient {
    head: Head,
    /// `None` at the checkpoint, of which only number and hash are known.
    finalized: Option<VerifiedHeader>,
    authorities: Authorities,
}

impl LightClient {
    /// Starts at the checkpoint of the configuration. A set change must not be pending there: its signal lies in a
    /// header that the client will never see, so the client would refuse the next set (and stop, not err).
    ///
    /// # Errors
    /// If the checkpoint is another block 0 than genesis, or its authorities are not a valid set.
    pub fn new(config: &MeasuredConfig) -> Result<Self, Error> {
        let checkpoint = &config.checkpoint;
        if checkpoint.number == 0 && checkpoint.hash != config.genesis {
            return Err(Error::CheckpointContradictsGenesis { checkpoint: checkpoint.hash, genesis: config.genesis });
        }
        let authorities = checkpoint
            .authorities
            .iter()
            .map(|(key, weight)| (ed25519::Public::from_raw(*key).into(), *weight))
            .collect();
        Ok(Self {
            head: Head { number: checkpoint.number, hash: checkpoint.hash },
            finalized: None,
            authorities: Authorities::new(AuthoritySet::new(checkpoint.set_id, authorities)?),
        })
    }

    /// Finalizes the last of `headers`, and with it the others: each is the child of the one before it, the first is the
    /// child of [`Self::head`], and `justification` (a SCALE `GrandpaJustification`) proves that the current
    /// authorities finalized the last one. One import must not go beyond the block after which the set changes.
    ///
    /// # Errors
    /// One variant for each of these checks and bounds. On any error nothing changes. Errors that
    /// [stop for good](Error::stops_for_good) are given only for headers that are proven to be final.
    pub fn import(&mut self, headers: Vec<Header>, justification: &[u8]) -> Result<&VerifiedHeader, Error> {
        check_bounds(&headers)?;
        let head = self.check_ancestry(&headers)?;
        // A forced change that the host made up must not pass for one of layer one's: proof first.
        let signalled = match self.authorities.signalled_by(&headers) {
            Err(error) if !error.stops_for_good() => return Err(error),
            signalled => signalled,
        };
        justification::verify(justification, head, self.authorities.current())?;
        let signalled = signalled?;
        let header = headers.into_iter().next_back().ok_or(Error::NoHeaders)?;

        self.authorities.finalized(head.number, signalled);
        self.head = head;
        Ok(self.finalized.insert(VerifiedHeader { hash: head.hash, header }))
    }

    /// The last finalized block: the checkpoint until the first import.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The header of [`Self::head`]; `None` at the checkpoint, of which only number and hash are known.
    pub fn finalized_header(&self) -> Option<&VerifiedHeader> {
        self.finalized.as_ref()
    }

    /// GRANDPA's number of the set that finalizes the next block.
    pub fn set_id(&self) -> u64 {
        self.authorities.current().id()
    }

    /// The last block that this set finalizes, if a change is pending. Its own justification must be imported.
    pub fn set_changes_after(&self) -> Option<BlockNumber> {
        self.authorities.last_block()
    }

    fn check_ancestry(&self, headers: &[Header]) -> Result<Head, Error> {
        headers.iter().try_fold(self.head, |parent, header| {
            if parent.number.checked_add(1) != Some(header.number) {
                return Err(Error::WrongNumber { expected: parent.number.saturating_add(1), found: header.number });
            }
            if header.parent_hash != parent.hash {
                return Err(Error::BrokenAncestry { number: header.number });
            }
            Ok(Head { number: header.number, hash: header.hash() })
        })
    }
}

/// Number and hash of a finalized block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Height.
    pub number: BlockNumber,
    /// Hash.
    pub hash: H256,
}

/// A header that layer one finalized. Only [`LightClient::import`] makes one.
///
/// ```compile_fail
/// use cloister_light_client::VerifiedHeader;
/// fn forge(header: cloister_chain_primitives::Header) -> VerifiedHeader {
///     VerifiedHeader { hash: header.state_root, header }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedHeader {
    header: Header,
    hash: H256,
}

impl VerifiedHeader {
    /// Height.
    pub fn number(&self) -> BlockNumber {
        self.header.number
    }

    /// Hash.
    pub fn hash(&self) -> H256 {
        self.hash
    }

    /// Number and hash.
    pub fn head(&self) -> Head {
        Head { number: self.number(), hash: self.hash }
    }

    /// Root of the state after the block.
    pub fn state_root(&self) -> H256 {
        self.header.state_root
    }

    /// The header itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads `keys` from the state after the block, by the trie nodes of a `state_getReadProof` of at least these keys.
    ///
    /// # Errors
    /// `TooManyProofNodes`, `ProofTooLarge`, `ProofOfAnotherRoot` (also for a proof without the root node),
    /// `MissingNode`, `MalformedState`.
    pub fn read(&self, proof: Vec<Vec<u8>>, keys: &[Vec<u8>]) -> Result<ProvenValues, Error> {
        proof::read(self, proof, keys)
    }
}

fn check_bounds(headers: &[Header]) -> Result<(), Error> {
    if headers.is_empty() {
        return Err(Error::NoHeaders);
    }
    if headers.len() > MAX_HEADERS {
        return Err(Error::TooManyHeaders { count: headers.len(), max: MAX_HEADERS });
    }
    let mut bytes = 0usize;
    for header in headers {
        let count = header.digest.logs.len();
        if count > MAX_DIGEST_ITEMS {
            return Err(Error::TooManyDigestItems { number: header.number, count, max: MAX_DIGEST_ITEMS });
        }
        bytes = bytes.saturating_add(header.encoded_size());
        if bytes > MAX_HEADERS_BYTES {
            return Err(Error::HeadersTooLarge { max: MAX_HEADERS_BYTES });
        }
    }
    Ok(())
}

/// Most headers in one import.
pub const MAX_HEADERS: usize = 4096;
/// Most bytes of all headers in one import: as much as a frame of the link carries.
pub const MAX_HEADERS_BYTES: usize = 4 << 20;
/// Most digest items of a header; layer one has four at most (AURA's slot, GRANDPA, runtime upgrade, seal).
pub const MAX_DIGEST_ITEMS: usize = 64;
/// Most bytes of a justification: room for one vote of 132 bytes from each of [`MAX_AUTHORITIES`], and ancestry.
pub const MAX_JUSTIFICATION_BYTES: usize = 2 << 20;
/// Most authorities in a set.
pub const MAX_AUTHORITIES: usize = 10_000;
/// Most nodes of a storage proof.
pub const MAX_PROOF_NODES: usize = 16_384;
/// Most bytes of all nodes of a storage proof: as much as a frame of the link carries.
pub const MAX_PROOF_BYTES: usize = 4 << 20;
