//! Client of a layer-one node that survives the loss of its connection, and a node that lies.

mod channel;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, EnclaveRecord, H256, Header, Nonce, Registration, RegistrationRefused, ShardId,
    storage::{self, AccountInfo},
};
use codec::{Compact, Decode, DecodeAll, Encode};
use jsonrpsee::core::{
    client::{BatchResponse, ClientT, Error, Subscription, SubscriptionClientT},
    params::BatchRequestBuilder,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sp_core::{Bytes, crypto::Ss58Codec};
use tokio::time::Instant;

use self::channel::Channel;
use crate::operator::printable;

/// Why layer one did not answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerOneError {
    #[error("cannot reach layer one at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the connection to layer one was lost: {0}")]
    Lost(String),
    #[error("layer one did not answer {method} in time")]
    Timeout { method: String },
    #[error("layer one refused {method}: {message} ({code})")]
    Refused { method: String, code: i32, message: String },
    #[error("layer one's answer to {method} makes no sense: {reason}")]
    Unexpected { method: String, reason: String },
    #[error("the node is on another chain: its genesis is {found:?}, the configuration names {expected:?}")]
    OtherChain { expected: H256, found: H256 },
}

impl LayerOneError {
    /// Whether the node no longer has the state that was asked about.
    pub fn is_pruned(&self) -> bool {
        matches!(self, Self::Refused { code: UNKNOWN_STATE, .. })
    }

    /// Whether an extrinsic was refused because another one with its nonce waits, or is in a block already.
    pub fn is_nonce_taken(&self) -> bool {
        match self {
            Self::Refused { code: TOO_LOW_PRIORITY, .. } => true,
            Self::Refused { code: INVALID_TRANSACTION, message, .. } => message.contains("outdated"),
            _ => false,
        }
    }

    /// Whether an extrinsic was refused for what it was signed with: its nonce, its era or the runtime's version, and
    /// these go by.
    pub fn wants_new_signature(&self) -> bool {
        let is_stale = |message: &str| message.contains("ancient birth block") || message.contains("bad signature");
        self.is_nonce_taken()
            || matches!(self, Self::Refused { code: INVALID_TRANSACTION, message, .. } if is_stale(message))
    }

    /// Whether another try over a new connection may help.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost(_) | Self::Timeout { .. })
    }
}

/// The runtime's versions that extrinsics sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeVersion {
    pub spec_version: u32,
    pub transaction_version: u32,
}

/// What `grandpa_proveFinality` gives (`sc_consensus_grandpa::FinalityProof`).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct FinalityProof {
    pub block: H256,
    pub justification: Vec<u8>,
    pub unknown_headers: Vec<Header>,
}

/// A layer-one node. All tasks share one connection; whoever finds it lost makes a new one, at growing distances.
#[derive(Debug)]
pub struct LayerOne {
    url: String,
    genesis: OnceLock<H256>,
    connection: tokio::sync::Mutex<Connection>,
    connects: AtomicU64,
    /// For a connection, and for each answer.
    patience: Duration,
}

#[derive(Debug)]
struct Connection {
    channel: Option<Arc<Channel>>,
    failures: u32,
    next_attempt: Instant,
}

impl LayerOne {
    /// Connects at the first request.
    /// The node's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn new(url: impl Into<String>) -> Self {
        let connection = Connection { channel: None, failures: 0, next_attempt: Instant::now() };
        Self {
            url: url.into(),
            genesis: OnceLock::new(),
            connection: tokio::sync::Mutex::new(connection),
            connects: AtomicU64::new(0),
            patience: PATIENCE,
        }
    }

    /// Refuses from now on, at this and every later connection, a node of another chain.
    pub async fn expect_genesis(&self, expected: H256) -> Result<(), LayerOneError> {
        let expected = *self.genesis.get_or_init(|| expected);
        check_genesis(expected, self.block_hash(0).await?)
    }

    /// Connections made so far.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    pub async fn runtime_version(&self) -> Result<RuntimeVersion, LayerOneError> {
        self.request("state_getRuntimeVersion", vec![]).await
    }

    pub async fn block_hash(&self, number: BlockNumber) -> Result<H256, LayerOneError> {
        self.request("chain_getBlockHash", vec![json!(number)]).await
    }

    /// Height and hash of the newest finalized block.
    pub async fn finalized(&self) -> Result<(BlockNumber, H256), LayerOneError> {
        let hash: H256 = self.request("chain_getFinalizedHead", vec![]).await?;
        let header: Header = self.request("chain_getHeader", vec![json!(hash)]).await?;
        Ok((header.number, hash))
    }

    /// Headers of the canonical chain from `first` to `last`, each with its hash.
    pub async fn headers(&self, first: BlockNumber, last: BlockNumber) -> Result<Vec<(H256, Header)>, LayerOneError> {
        let numbers: Vec<_> = (first..=last).collect();
        let hashes: Vec<H256> = self.request("chain_getBlockHash", vec![json!(numbers)]).await?;
        let unexpected =
            |reason: &str| LayerOneError::Unexpected { method: "chain_getHeader".into(), reason: reason.into() };
        if hashes.len() != numbers.len() {
            return Err(unexpected("not as many hashes as were asked for"));
        }
        let mut headers = Vec::with_capacity(hashes.len());
        let mut heights = numbers.into_iter();
        for hashes in hashes.chunks(HEADERS_PER_REQUEST) {
            let answers: Vec<Header> = self.batch("chain_getHeader", hashes.iter().map(|hash| json!(hash))).await?;
            for (hash, header) in hashes.iter().zip(answers) {
                if header.hash() != *hash {
                    return Err(unexpected("a header of another hash"));
                }
                if heights.next() != Some(header.number) {
                    return Err(unexpected("a header of another height"));
                }
                headers.push((*hash, header));
            }
        }
        Ok(headers)
    }

    /// The GRANDPA justifications that the node has stored for blocks.
    pub async fn justifications(&self, blocks: &[H256]) -> Result<Vec<Option<Vec<u8>>>, LayerOneError> {
        let answers: Vec<Value> = self.batch("chain_getBlock", blocks.iter().map(|hash| json!(hash))).await?;
        Ok(answers.iter().map(stored_justification).collect())
    }

    /// The last justification of the authority set that finalized a block.
    pub async fn prove_finality(&self, number: BlockNumber) -> Result<Option<FinalityProof>, LayerOneError> {
        let method = "grandpa_proveFinality";
        let proof: Option<Bytes> = self.request(method, vec![json!(number)]).await?;
        proof.map(|proof| decode(method, &proof)).transpose()
    }

    pub async fn read_proof(&self, keys: &[Vec<u8>], at: H256) -> Result<Vec<Vec<u8>>, LayerOneError> {
        #[derive(Deserialize)]
        struct ReadProof {
            proof: Vec<Bytes>,
        }
        let keys: Vec<_> = keys.iter().map(|key| hex_text(key)).collect();
        let answer: ReadProof = self.request("state_getReadProof", vec![json!(keys), json!(at)]).await?;
        Ok(answer.proof.into_iter().map(|node| node.0).collect())
    }

    /// A value in the state of a block, or of the best one.
    pub async fn storage(&self, key: &[u8], at: Option<H256>) -> Result<Option<Vec<u8>>, LayerOneError> {
        let value: Option<Bytes> = self.request("state_getStorage", vec![json!(hex_text(key)), json!(at)]).await?;
        Ok(value.map(|value| value.0))
    }

    /// Calls a runtime API with encoded arguments, in the state of a block, or of the best one.
    pub async fn state_call<R: Decode>(
        &self,
        api: &str,
        arguments: &[u8],
        at: Option<H256>,
    ) -> Result<R, LayerOneError> {
        let answer: Bytes = self.request("state_call", vec![json!(api), json!(hex_text(arguments)), json!(at)]).await?;
        decode(api, &answer)
    }

    /// What an account has, in the state of the best block.
    pub async fn account(&self, account: &AccountId) -> Result<AccountInfo, LayerOneError> {
        match self.storage(&storage::account(account), None).await? {
            Some(bytes) => decode("state_getStorage", &bytes),
            None => Ok(AccountInfo::default()),
        }
    }

    /// How many entries a shard's inbox ever had, in the state of the best block.
    pub async fn inbox_length(&self, shard: &ShardId) -> Result<u64, LayerOneError> {
        match self.storage(&storage::inbox_length(shard), None).await? {
            Some(bytes) => decode("state_getStorage", &bytes),
            None => Ok(0),
        }
    }

    /// The nonce of an account's next extrinsic, those that wait in the node's pool counted.
    pub async fn next_nonce(&self, account: &AccountId) -> Result<Nonce, LayerOneError> {
        self.request("system_accountNextIndex", vec![json!(account.to_ss58check())]).await
    }

    /// Planck that an extrinsic costs.
    pub async fn fee(&self, extrinsic: &[u8]) -> Result<Balance, LayerOneError> {
        /// `pallet_transaction_payment::RuntimeDispatchInfo`.
        #[derive(Decode)]
        struct DispatchInfo {
            _ref_time: Compact<u64>,
            _proof_size: Compact<u64>,
            _class: u8,
            partial_fee: Balance,
        }
        let length = u32::try_from(extrinsic.len()).unwrap_or(u32::MAX);
        let arguments = [extrinsic, &length.encode()].concat();
        let info: DispatchInfo = self.state_call("TransactionPaymentApi_query_info", &arguments, None).await?;
        Ok(info.partial_fee)
    }

    /// Tries a registration in the state of the best block, without submitting it.
    pub async fn check_registration(
        &self,
        account: &AccountId,
        registration: &Registration,
    ) -> Result<Result<EnclaveRecord, RegistrationRefused>, LayerOneError> {
        self.state_call("TeerexApi_check_registration", &(account, registration).encode(), None).await
    }

    /// Puts an extrinsic into the node's pool; one that is there already counts as put.
    pub async fn submit(&self, extrinsic: &[u8]) -> Result<(), LayerOneError> {
        let result = self.request::<H256>("author_submitExtrinsic", vec![json!(hex_text(extrinsic))]).await;
        match result {
            Err(LayerOneError::Refused { code: ALREADY_IMPORTED, .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Justifications as they come about; each is also the sign that there is something to fetch.
    pub async fn subscribe_justifications(&self) -> Result<Subscription<Bytes>, LayerOneError> {
        self.subscribe("grandpa_subscribeJustifications", "grandpa_unsubscribeJustifications").await
    }

    pub async fn subscribe_runtime_version(&self) -> Result<Subscription<RuntimeVersion>, LayerOneError> {
        self.subscribe("state_subscribeRuntimeVersion", "state_unsubscribeRuntimeVersion").await
    }

    async fn subscribe<T: DeserializeOwned>(&self, method: &str, end: &str) -> Result<Subscription<T>, LayerOneError> {
        let no_arguments = Vec::<Value>::new();
        let channel = self.channel().await?;
        let answer = channel.answer(channel.client.subscribe(method, no_arguments, end)).await;
        answer.map_err(|error| described(method, error))
    }

    async fn request<R: DeserializeOwned>(&self, method: &str, arguments: Vec<Value>) -> Result<R, LayerOneError> {
        let channel = self.channel().await?;
        let answer = channel.answer(channel.client.request(method, arguments)).await;
        answer.map_err(|error| described(method, error))
    }

    /// One request per argument, all or nothing.
    async fn batch<R: DeserializeOwned + Clone + core::fmt::Debug + 'static>(
        &self,
        method: &str,
        arguments: impl Iterator<Item = Value>,
    ) -> Result<Vec<R>, LayerOneError> {
        let unexpected =
            |reason: String| LayerOneError::Unexpected { method: method.into(), reason: printable(&reason) };
        let mut requests = BatchRequestBuilder::new();
        for argument in arguments {
            requests.insert(method, vec![argument]).map_err(|error| unexpected(error.to_string()))?;
        }
        let count = requests.iter().count();
        if count == 0 {
            return Ok(Vec::new());
        }
        let channel = self.channel().await?;
        let answers: Result<BatchResponse<'_, R>, _> = channel.answer(channel.client.batch_request(requests)).await;
        let answers = answers.map_err(|error| described(method, error))?;
        let mut values = Vec::with_capacity(count);
        for answer in answers {
            values.push(answer.map_err(|error| described(method, Error::Call(error.into_owned())))?);
        }
        if values.len() == count { Ok(values) } else { Err(unexpected("not all requests were answered".into())) }
    }

    /// The connection, made anew if it is lost. Waits for the time of the next attempt, so whoever repeats
    /// requests need not.
    async fn channel(&self) -> Result<Arc<Channel>, LayerOneError> {
        let mut connection = self.connection.lock().await;
        if let Some(channel) = connection.channel.as_ref().filter(|channel| channel.is_usable()) {
            return Ok(channel.clone());
        }
        connection.channel = None;
        tokio::time::sleep_until(connection.next_attempt).await;
        match self.connect().await {
            Ok(channel) => {
                let channel = Arc::new(channel);
                *connection = Connection { channel: Some(channel.clone()), failures: 0, next_attempt: Instant::now() };
                self.connects.fetch_add(1, Ordering::Relaxed);
                Ok(channel)
            }
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << connection.failures.min(16)).min(LONGEST_PAUSE);
                connection.failures = connection.failures.saturating_add(1);
                connection.next_attempt = Instant::now() + pause;
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Channel, LayerOneError> {
        let unreachable =
            |reason: String| LayerOneError::Unreachable { url: self.url.clone(), reason: printable(&reason) };
        let channel = Channel::open(&self.url, self.patience).await.map_err(unreachable)?;
        if let Some(expected) = self.genesis.get() {
            let method = "chain_getBlockHash";
            let found = channel.answer(channel.client.request(method, vec![0])).await;
            check_genesis(*expected, found.map_err(|error| described(method, error))?)?;
        }
        Ok(channel)
    }
}

fn check_genesis(expected: H256, found: H256) -> Result<(), LayerOneError> {
    if found == expected { Ok(()) } else { Err(LayerOneError::OtherChain { expected, found }) }
}

/// Repeats what failed for want of a connection until `patience` ends; then the last error.
pub async fn persist<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, LayerOneError>
where
    F: Future<Output = Result<T, LayerOneError>>,
{
    let deadline = Instant::now() + patience;
    let mut last = LayerOneError::Timeout { method: "connect".into() };
    loop {
        match tokio::time::timeout_at(deadline, attempt()).await {
            Ok(Err(error)) if error.is_connection() => last = error,
            Ok(result) => return result,
            Err(_) => return Err(last),
        }
        // A connection may break as soon as it is made: that must not become a busy loop.
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

/// `0x` hex.
pub fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn decode<R: Decode>(method: &str, mut bytes: &[u8]) -> Result<R, LayerOneError> {
    R::decode_all(&mut bytes)
        .map_err(|error| LayerOneError::Unexpected { method: method.into(), reason: printable(&error.to_string()) })
}

/// What nodes say ends in logs, on terminals and in messages to the enclave.
fn described(method: &str, error: Error) -> LayerOneError {
    let method = method.to_owned();
    match error {
        Error::Call(error) => {
            let detail = error.data().map(|detail| format!(": {}", detail.get())).unwrap_or_default();
            let message = printable(&format!("{}{detail}", error.message()));
            LayerOneError::Refused { method, code: error.code(), message }
        }
        Error::RequestTimeout => LayerOneError::Timeout { method },
        Error::Transport(_) | Error::RestartNeeded(_) => LayerOneError::Lost(printable(&error.to_string())),
        other => LayerOneError::Unexpected { method, reason: printable(&other.to_string()) },
    }
}

/// GRANDPA's entry in the justifications of a `chain_getBlock` answer: pairs of engine id and bytes.
fn stored_justification(block: &Value) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Justification([u8; 4], Vec<u8>);
    let all = Vec::<Justification>::deserialize(block.get("justifications")?).ok()?;
    all.into_iter().find(|justification| justification.0 == GRANDPA_ENGINE_ID).map(|justification| justification.1)
}

/// GRANDPA's name in digests and justifications.
pub const GRANDPA_ENGINE_ID: [u8; 4] = *b"FRNK";

/// The block is unknown or its state was pruned (sc-rpc-api).
const UNKNOWN_STATE: i32 = 4003;
/// The pool does not want an extrinsic (sc-rpc-api); `Transaction is outdated` if its nonce is too low.
const INVALID_TRANSACTION: i32 = 1010;
/// The pool has another extrinsic with the same nonce that it does not replace (sc-rpc-api).
const TOO_LOW_PRIORITY: i32 = 1014;
/// The node's pool has the extrinsic (sc-rpc-api).
const ALREADY_IMPORTED: i32 = 1013;
const HEADERS_PER_REQUEST: usize = 128;
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
#[cfg(test)]
pub mod meddler;
#[cfg(test)]
mod tests;
