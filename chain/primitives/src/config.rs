//! The measured configuration of an enclave: what decides whom it trusts is part of its fingerprint.

use alloc::vec::Vec;

use codec::{Decode, Encode};
use sp_crypto_hashing::sha2_256;

use crate::{BlockNumber, H256};

const MEASUREMENT_TAG: &[u8] = b"cloister/simulated-measurement/1";

/// Canonical configuration. Its SCALE encoding is measured.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MeasuredConfig {
    /// Hash of layer one's block 0.
    pub genesis: H256,
    /// Where the light client starts.
    pub checkpoint: Checkpoint,
    /// Whether evidence of a simulated TEE counts.
    pub simulation_allowed: bool,
    /// Whether the published, replayable form of queries about an account is answered.
    pub unbound_getters_allowed: bool,
    /// Milliseconds between two blocks of the shard while there is work.
    pub slot_ms: u32,
    /// Fewest layer-one blocks between the announcement of an upgrade of a shard and its effect.
    pub min_upgrade_delay: BlockNumber,
}

/// A finalized layer-one block and the authorities that finalize its successors.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Checkpoint {
    /// Height.
    pub number: BlockNumber,
    /// Hash.
    pub hash: H256,
    /// GRANDPA's number of the authority set.
    pub set_id: u64,
    /// The set: ed25519 keys and weights.
    pub authorities: Vec<([u8; 32], u64)>,
}

impl MeasuredConfig {
    /// The fingerprint that a simulated TEE declares for a binary with this SHA-256 and this configuration:
    /// SHA-256(tag ‖ SHA-256(binary) ‖ SHA-256(configuration)). Nothing but the process itself vouches for it.
    pub fn simulated_measurement(&self, binary_sha256: &[u8; 32]) -> [u8; 32] {
        let configuration = sha2_256(&self.encode());
        sha2_256(&[MEASUREMENT_TAG, binary_sha256, &configuration].concat())
    }
}
