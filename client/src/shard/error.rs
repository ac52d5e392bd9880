//! Why a shard could not be used or not be believed.

use cloister_chain_primitives::{AccountId, BlockNumber, H256, ShardId};

use crate::{layer_one, worker};

/// Why a shard could not be used or not be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Layer one.
    #[error(transparent)]
    LayerOne(#[from] layer_one::Error),
    /// The worker.
    #[error(transparent)]
    Worker(#[from] worker::Error),
    /// No such shard at the finalized head.
    #[error("layer one knows no finalized shard 0x{}", hex::encode(.0))]
    UnknownShard(ShardId),
    /// No shard at all, or none with the wanted code.
    #[error("layer one knows no finalized shard{}", .mrenclave.map(|code| format!(" of enclaves with fingerprint 0x{}", hex::encode(code))).unwrap_or_default())]
    NoShard {
        /// The wanted code.
        mrenclave: Option<[u8; 32]>,
    },
    /// The shard's enclaves run other code than wanted.
    #[error("the shard is served by enclaves with fingerprint 0x{}, not 0x{}", hex::encode(.found), hex::encode(.wanted))]
    WrongMeasurement {
        /// What the entry says.
        found: [u8; 32],
        /// What was asked for.
        wanted: [u8; 32],
    },
    /// The shard's key is none to which one can encrypt, or what is encrypted is too long.
    #[error("cannot encrypt to the shard: {0}")]
    Encryption(String),
    /// Signed by another account than the one that the call spends from or the query asks about.
    #[error("{signer} cannot sign for {owner}")]
    WrongSigner {
        /// Who would sign.
        signer: AccountId,
        /// Who must.
        owner: AccountId,
    },
    /// The enclave named the operation otherwise than we do: it decrypted something else.
    #[error("the enclave took the operation {found:?} instead of {sent:?}")]
    OtherOperation {
        /// Our hash.
        sent: H256,
        /// Its hash.
        found: H256,
    },
    /// The enclave gave no answer to a query.
    #[error("the enclave does not answer the query")]
    NoAnswer,
    /// The answer does not decode.
    #[error("the enclave's answer does not decode")]
    Undecodable,
    /// The answer is to another query.
    #[error("the answer belongs to another query")]
    OtherQuery,
    /// The answer is not signed by the shard's enclave.
    #[error("the answer is not signed by the shard's enclave")]
    BadAnswerSignature,
    /// The enclave has not followed layer one: its state may be an old one that its host shows.
    #[error(
        "stale answer: the enclave has seen layer one up to block {seen}, {} s behind finalized block {finalized}",
        .behind_ms / 1000
    )]
    StaleAnswer {
        /// Newest finalized block that the enclave has seen.
        seen: BlockNumber,
        /// Newest finalized block of the own node.
        finalized: BlockNumber,
        /// Milliseconds between the two blocks' times.
        behind_ms: u64,
    },
    /// The enclave follows a chain on which the own node is not.
    #[error("the enclave has seen block {number} as {seen:?}, this node has it as {own:?}")]
    OtherChain {
        /// Height.
        number: BlockNumber,
        /// The enclave's hash.
        seen: H256,
        /// The own node's hash.
        own: H256,
    },
}

impl Error {
    /// Whether the chain or the shard said no, as opposed to not having been heard.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::LayerOne(error) => error.is_refusal(),
            Self::Worker(error) => error.is_refusal(),
            Self::UnknownShard(_) | Self::NoShard { .. } | Self::WrongMeasurement { .. } => true,
            _ => false,
        }
    }
}
