//! Layer one through the JSON-RPC of a node that the user trusts.

mod bridge;
mod events;
mod fees;
pub(crate) mod finalized;
mod registry;
mod settlement;
mod shards;
mod submission;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use cloister_chain_primitives::{
    AccountId, BlockNumber, H256, Header, Moment, Nonce, ShardEntry, ShardId,
    extrinsic::ChainVersion,
    storage::{self, AccountInfo},
};
use codec::DecodeAll;
use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientT, SubscriptionClientT},
        traits::ToRpcParams,
    },
    ws_client::{WsClient, WsClientBuilder},
};
use serde::{Deserialize, de::DeserializeOwned};
use sp_crypto_hashing::blake2_128;
use tokio::{sync::Mutex, time::timeout};

use events::Metadata;

#[cfg(test)]
pub(crate) use events::tests::runtime_metadata;
pub(crate) use finalized::pause_before;

pub use bridge::{BridgeState, Outflow};
pub use events::{DispatchFailure, Event, decode_events};
pub use finalized::{FinalizedBlocks, Found};
pub use registry::{CollateralOf, StoredCollateral};
pub use settlement::{Settlement, UnshieldEvent, UnshieldResult};
pub use shards::{FinalizedSidechainBlock, ProcessedParentchainBlock};
pub use submission::{Inclusion, Progress, SubmittedExtrinsic, Wait};

/// A connection to a node. Clones share it.
#[derive(Clone)]
pub struct LayerOne {
    client: Arc<WsClient>,
    url: String,
    genesis: H256,
    metadata: Arc<Mutex<Option<VersionedMetadata>>>,
}

/// Metadata of the newest runtime seen, after its `spec_version`.
type VersionedMetadata = (u32, Arc<Metadata>);

/// What went wrong between this program, the node and the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection.
    #[error("cannot reach a node at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The connection broke, or the node refused a request.
    #[error("the node did not answer {method}")]
    Rpc {
        /// What was asked.
        method: &'static str,
        /// Why there is no answer.
        #[source]
        source: ClientError,
    },
    /// The node's answer does not have the form that it must have.
    #[error("the node's answer about {what} is malformed: {reason}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The node tells of more than there can be.
    #[error("the node tells of more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read at most.
        most: u64,
    },
    /// The node knows no such block.
    #[error("the node has no block {0}")]
    UnknownBlock(String),
    /// The transaction pool refused an extrinsic.
    #[error("the chain refused the extrinsic: {0}")]
    Refused(String),
    /// An extrinsic left the pool without being in a block, and cannot come into one any more.
    #[error("the extrinsic {hash:?} was given up: {status}")]
    GivenUp {
        /// The extrinsic.
        hash: H256,
        /// The pool's last word.
        status: String,
    },
    /// The node says no more of an extrinsic that it had taken: it may come into a block, or be in one.
    #[error("what becomes of the extrinsic {hash:?} is not known: {status}")]
    OutOfSight {
        /// The extrinsic.
        hash: H256,
        /// The last that was heard.
        status: String,
    },
    /// An extrinsic is in a block and failed.
    #[error("the extrinsic {hash:?} failed: {failure}")]
    ExtrinsicFailed {
        /// The extrinsic.
        hash: H256,
        /// The block.
        block_hash: H256,
        /// Why.
        failure: DispatchFailure,
    },
    /// The awaited status did not come in time.
    #[error("the extrinsic {hash:?} is not {wait} after {} s", .limit.as_secs())]
    TimedOut {
        /// The extrinsic.
        hash: H256,
        /// What was awaited.
        wait: Wait,
        /// How long.
        limit: Duration,
    },
}

impl Error {
    /// Whether the chain said no for good, as opposed to not having been heard.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::GivenUp { .. } | Self::ExtrinsicFailed { .. })
    }
}

impl LayerOne {
    /// Connects to a node's `ws://` or `wss://` address.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        if url.starts_with("wss:") {
            // Both of rustls' providers are in the dependency tree; without a choice it panics. An earlier choice stays.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let building = WsClientBuilder::new()
            .connection_timeout(CONNECTION_TIMEOUT)
            .request_timeout(REQUEST_TIMEOUT)
            .max_response_size(MAX_RESPONSE)
            .build(url);
        // The client's own limit ends with the TCP connection.
        let client = timeout(CONNECTION_TIMEOUT, building)
            .await
            .unwrap_or(Err(ClientError::RequestTimeout))
            .map_err(|source| Error::Unreachable { url: url.into(), source })?;
        let mut layer_one =
            Self { client: Arc::new(client), url: url.into(), genesis: H256::zero(), metadata: Arc::default() };
        layer_one.genesis = layer_one.block_hash(0).await?;
        Ok(layer_one)
    }

    /// The node's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Hash of block 0.
    pub fn genesis(&self) -> H256 {
        self.genesis
    }

    /// What extrinsics must sign now.
    pub async fn chain_version(&self) -> Result<ChainVersion, Error> {
        let version: RuntimeVersion = self.request("state_getRuntimeVersion", NO_PARAMETERS).await?;
        Ok(ChainVersion {
            genesis: self.genesis,
            spec_version: version.spec_version,
            transaction_version: version.transaction_version,
        })
    }

    /// Hash of the newest finalized block.
    pub async fn finalized_hash(&self) -> Result<H256, Error> {
        self.request("chain_getFinalizedHead", NO_PARAMETERS).await
    }

    /// Hash and header of the newest finalized block.
    pub async fn finalized_head(&self) -> Result<(H256, Header), Error> {
        let hash = self.finalized_hash().await?;
        Ok((hash, self.header(hash).await?))
    }

    /// Height of the newest finalized block.
    pub async fn finalized_number(&self) -> Result<BlockNumber, Error> {
        Ok(self.finalized_head().await?.1.number)
    }

    /// Hash of the best block, which may still be replaced.
    pub async fn best_hash(&self) -> Result<H256, Error> {
        self.request("chain_getBlockHash", NO_PARAMETERS).await
    }

    /// Hash of the best chain's block at a height.
    pub async fn block_hash(&self, number: BlockNumber) -> Result<H256, Error> {
        let hash: Option<H256> = self.request("chain_getBlockHash", (number,)).await?;
        hash.ok_or_else(|| Error::UnknownBlock(number.to_string()))
    }

    /// Header of a block.
    pub async fn header(&self, hash: H256) -> Result<Header, Error> {
        let header: Option<Header> = self.request("chain_getHeader", (hash,)).await?;
        header.ok_or_else(|| Error::UnknownBlock(format!("{hash:?}")))
    }

    /// The value under a key of [`storage`], as a block left it.
    pub async fn storage<T: DecodeAll>(&self, key: &[u8], at: H256) -> Result<Option<T>, Error> {
        self.storage_bytes(key, at).await?.map(|bytes| decoded(&bytes)).transpose()
    }

    /// An account at the best block; of all zeros if it does not exist.
    pub async fn account(&self, account: &AccountId) -> Result<AccountInfo, Error> {
        self.account_at(account, self.best_hash().await?).await
    }

    /// An account as a block left it; of all zeros if it did not exist.
    pub async fn account_at(&self, account: &AccountId, at: H256) -> Result<AccountInfo, Error> {
        Ok(self.storage(&storage::account(account), at).await?.unwrap_or_default())
    }

    /// The nonce of an account's next extrinsic, those in the pool counted.
    pub async fn next_nonce(&self, account: &AccountId) -> Result<Nonce, Error> {
        self.request("system_accountNextIndex", (account.to_string(),)).await
    }

    /// A block's time by layer one's own clock; 0 for the genesis block, which has none.
    pub async fn time_at(&self, at: H256) -> Result<Moment, Error> {
        Ok(self.storage(&storage::timestamp(), at).await?.unwrap_or_default())
    }

    /// All shards at the finalized head.
    pub async fn shards(&self) -> Result<Vec<(ShardId, ShardEntry)>, Error> {
        self.shards_at(self.finalized_hash().await?).await
    }

    /// All shards as a block left them.
    pub async fn shards_at(&self, at: H256) -> Result<Vec<(ShardId, ShardEntry)>, Error> {
        let entries = self.storage_map(&storage::shards_prefix(), at).await?;
        Ok(entries.into_iter().map(|(id, entry)| (ShardId(H256(id)), entry)).collect())
    }

    /// A shard's entry at the finalized head.
    pub async fn shard(&self, shard: &ShardId) -> Result<Option<ShardEntry>, Error> {
        self.shard_at(shard, self.finalized_hash().await?).await
    }

    /// A shard's entry as a block left it.
    pub async fn shard_at(&self, shard: &ShardId, at: H256) -> Result<Option<ShardEntry>, Error> {
        self.storage(&storage::shard(shard), at).await
    }

    /// All events of a block.
    pub async fn events(&self, block: H256) -> Result<Vec<Event>, Error> {
        let metadata = self.metadata(block).await?;
        match self.storage_bytes(&storage::events(), block).await? {
            Some(bytes) => metadata.events(&bytes),
            None => Ok(Vec::new()),
        }
    }

    /// Any method of the node.
    pub async fn request<R: DeserializeOwned>(
        &self,
        method: &'static str,
        parameters: impl ToRpcParams + Send,
    ) -> Result<R, Error> {
        self.client.request(method, parameters).await.map_err(|source| Error::Rpc { method, source })
    }

    async fn storage_bytes(&self, key: &[u8], at: H256) -> Result<Option<Vec<u8>>, Error> {
        let value: Option<String> = self.request("state_getStorage", (to_hex(key), at)).await?;
        value.map(|value| from_hex("storage", &value)).transpose()
    }

    /// All entries of a map whose keys end with 32 bytes, plain or after their BLAKE2b-128.
    async fn storage_map<T: DecodeAll>(&self, prefix: &[u8], at: H256) -> Result<Vec<([u8; 32], T)>, Error> {
        let mut entries = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        let mut bytes = 0usize;
        loop {
            let start = last.as_deref().map(to_hex);
            let page: Vec<String> =
                self.request("state_getKeysPaged", (to_hex(prefix), KEYS_PER_PAGE, &start, at)).await?;
            let keys = page.iter().map(|key| from_hex("storage keys", key)).collect::<Result<Vec<_>, _>>()?;
            if keys.len() > KEYS_PER_PAGE {
                return Err(malformed("storage keys", "more of them than were asked for"));
            }
            // Otherwise the same page could come for ever.
            if !last.iter().chain(&keys).is_sorted_by(|one, other| one < other) {
                return Err(malformed("storage keys", "they do not ascend"));
            }
            let names = keys.iter().map(|key| map_key(prefix, key)).collect::<Option<Vec<_>>>();
            let names = names.ok_or_else(|| malformed("storage keys", "a key that was not asked for"))?;
            for ((name, key), value) in names.into_iter().zip(&keys).zip(self.stored(&keys, at).await?) {
                let value = value.ok_or_else(|| malformed("storage", "a key without a value"))?;
                bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
                entries.push((name, decoded(&value)?));
            }
            if bytes > MAX_MAP_BYTES {
                return Err(Error::TooMany { what: "bytes in a storage map", most: MAX_MAP_BYTES as u64 });
            }
            if keys.len() < KEYS_PER_PAGE {
                return Ok(entries);
            }
            last = keys.into_iter().next_back();
        }
    }

    /// The values under keys, in their order; a key may stand there more than once.
    async fn storage_values<T: DecodeAll>(&self, keys: &[Vec<u8>], at: H256) -> Result<Vec<Option<T>>, Error> {
        let values = self.stored(keys, at).await?;
        values.into_iter().map(|value| value.map(|bytes| decoded(&bytes)).transpose()).collect()
    }

    async fn stored(&self, keys: &[Vec<u8>], at: H256) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_PAGE) {
            let page: Vec<String> = keys.iter().map(|key| to_hex(key)).collect();
            let sets: Vec<StorageChangeSet> = self.request("state_queryStorageAt", (&page, at)).await?;
            let found: HashMap<String, Option<String>> = sets.into_iter().flat_map(|set| set.changes).collect();
            for key in page {
                let value = found.get(&key).and_then(Option::as_deref);
                values.push(value.map(|value| from_hex("storage", value)).transpose()?);
            }
        }
        Ok(values)
    }

    /// Of the runtime that wrote a block's state.
    async fn metadata(&self, block: H256) -> Result<Arc<Metadata>, Error> {
        let version: RuntimeVersion = self.request("state_getRuntimeVersion", (block,)).await?;
        let mut known = self.metadata.lock().await;
        if let Some((spec_version, metadata)) = known.as_ref()
            && *spec_version == version.spec_version
        {
            return Ok(metadata.clone());
        }
        let bytes: String = self.request("state_getMetadata", (block,)).await?;
        let metadata = Arc::new(Metadata::decode(&from_hex("metadata", &bytes)?)?);
        *known = Some((version.spec_version, metadata.clone()));
        Ok(metadata)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeVersion {
    spec_version: u32,
    transaction_version: u32,
}

/// Of `state_queryStorageAt`: keys and their values at one block.
#[derive(Deserialize)]
struct StorageChangeSet {
    changes: Vec<(String, Option<String>)>,
}

/// What a map's key names: the 32 bytes at its end, if the key is one of the map with this prefix.
fn map_key(prefix: &[u8], key: &[u8]) -> Option<[u8; 32]> {
    let (hash, name) = key.strip_prefix(prefix)?.split_last_chunk::<32>()?;
    (hash.is_empty() || hash == blake2_128(name)).then_some(*name)
}

fn decoded<T: DecodeAll>(mut bytes: &[u8]) -> Result<T, Error> {
    T::decode_all(&mut bytes).map_err(|error| malformed("storage", error))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn from_hex(what: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|error| malformed(what, error))
}

fn malformed(what: &'static str, reason: impl std::fmt::Display) -> Error {
    Error::Malformed { what, reason: reason.to_string() }
}

const NO_PARAMETERS: [(); 0] = [];
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const KEYS_PER_PAGE: usize = 256;
/// Some 80 000 enclaves.
const MAX_MAP_BYTES: usize = 32 << 20;
/// Metadata and full blocks are the largest answers.
const MAX_RESPONSE: u32 = 32 << 20;
