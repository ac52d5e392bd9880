//! Layer one as anybody sees it through a node's JSON-RPC, without trust in the client library under test.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, H256, Header, Nonce, RegistrationPolicy, calls::Call, storage,
};
use codec::{Compact, DecodeAll, Encode};
use jsonrpsee::{
    core::{
        client::{ClientT, Subscription, SubscriptionClientT},
        params::ArrayParams,
        traits::ToRpcParams,
    },
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sp_core::{Pair, sr25519};
use sp_crypto_hashing::blake2_256;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{MultiSignature, generic::Era};

use crate::{calls::AnyCall, from_hex, to_hex};

/// How long one request, or one extrinsic until it is final, may take.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a node.
pub struct Chain {
    rpc: WsClient,
    genesis: H256,
    spec_version: u32,
    transaction_version: u32,
}

/// A block with its extrinsics, each with its length before it as blocks hold them.
pub struct Block {
    /// The header.
    pub header: Header,
    /// The extrinsics.
    pub extrinsics: Vec<Vec<u8>>,
}

impl Chain {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let rpc = WsClientBuilder::new()
            .request_timeout(TIMEOUT)
            .max_response_size(64 << 20)
            .build(url)
            .await
            .with_context(|| format!("cannot connect to {url}"))?;
        let genesis = rpc.request("chain_getBlockHash", rpc_params![0]).await?;
        let version: Value = rpc.request("state_getRuntimeVersion", rpc_params![]).await?;
        let field = |name: &str| {
            let number = version.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
            number.with_context(|| format!("the runtime version has no {name}"))
        };
        let (spec_version, transaction_version) = (field("specVersion")?, field("transactionVersion")?);
        Ok(Self { rpc, genesis, spec_version, transaction_version })
    }

    /// Hash of block 0.
    pub fn genesis(&self) -> H256 {
        self.genesis
    }

    /// Any request.
    pub async fn request<T: DeserializeOwned>(&self, method: &str, params: impl ToRpcParams + Send) -> Result<T> {
        self.rpc.request(method, params).await.with_context(|| method.to_owned())
    }

    /// The last finalized block.
    pub async fn finalized_head(&self) -> Result<Header> {
        let hash: H256 = self.request("chain_getFinalizedHead", rpc_params![]).await?;
        self.header(hash).await
    }

    /// A header by hash.
    pub async fn header(&self, hash: H256) -> Result<Header> {
        let header: Option<Header> = self.request("chain_getHeader", rpc_params![hash]).await?;
        header.with_context(|| format!("no block {hash:?}"))
    }

    /// The hash of the block at a height.
    pub async fn block_hash(&self, number: BlockNumber) -> Result<H256> {
        let hash: Option<H256> = self.request("chain_getBlockHash", rpc_params![number]).await?;
        hash.with_context(|| format!("no block {number}"))
    }

    /// A block by hash.
    pub async fn block(&self, hash: H256) -> Result<Block> {
        let block: Value = self.request("chain_getBlock", rpc_params![hash]).await?;
        let block = block.get("block").with_context(|| format!("no block {hash:?}"))?;
        let part = |name: &str| block.get(name).cloned().with_context(|| format!("the block has no {name}"));
        let extrinsics: Vec<String> = serde_json::from_value(part("extrinsics")?)?;
        Ok(Block {
            header: serde_json::from_value(part("header")?)?,
            extrinsics: extrinsics.iter().map(|extrinsic| from_hex(extrinsic)).collect::<Result<_>>()?,
        })
    }

    /// The bytes under a storage key, at the best block or another.
    pub async fn raw_storage(&self, key: &[u8], at: Option<H256>) -> Result<Option<Vec<u8>>> {
        let value: Option<String> = self.request("state_getStorage", rpc_params![to_hex(key), at]).await?;
        value.as_deref().map(from_hex).transpose()
    }

    /// The value under a storage key, at the best block or another.
    pub async fn storage<T: DecodeAll>(&self, key: &[u8], at: Option<H256>) -> Result<Option<T>> {
        let value = self.raw_storage(key, at).await?;
        Ok(value.map(|value| T::decode_all(&mut value.as_slice())).transpose()?)
    }

    /// All storage keys that begin with `prefix`.
    pub async fn keys(&self, prefix: &[u8], at: H256) -> Result<Vec<Vec<u8>>> {
        const PAGE: usize = 256;
        let mut keys: Vec<String> = Vec::new();
        loop {
            let page = rpc_params![to_hex(prefix), PAGE, keys.last(), at];
            let page: Vec<String> = self.request("state_getKeysPaged", page).await?;
            let complete = page.len() < PAGE;
            keys.extend(page);
            if complete {
                return keys.iter().map(|key| from_hex(key)).collect();
            }
        }
    }

    /// What an account can spend.
    pub async fn free_balance(&self, account: &AccountId) -> Result<Balance> {
        let found: Option<storage::AccountInfo> = self.storage(&storage::account(account), None).await?;
        Ok(found.unwrap_or_default().free)
    }

    /// The trie nodes that prove what is under `keys`.
    pub async fn read_proof(&self, keys: &[Vec<u8>], at: H256) -> Result<Vec<Vec<u8>>> {
        let keys: Vec<String> = keys.iter().map(to_hex).collect();
        let answer: Value = self.request("state_getReadProof", rpc_params![keys, at]).await?;
        let nodes = answer.get("proof").cloned().context("the answer has no proof")?;
        serde_json::from_value::<Vec<String>>(nodes)?.iter().map(|node| from_hex(node)).collect()
    }

    /// Every header that becomes final.
    pub async fn finalized_heads(&self) -> Result<Subscription<Header>> {
        self.subscribe("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads", rpc_params![]).await
    }

    /// GRANDPA's justification, in hex, of every finalization.
    pub async fn justifications(&self) -> Result<Subscription<String>> {
        self.subscribe("grandpa_subscribeJustifications", "grandpa_unsubscribeJustifications", rpc_params![]).await
    }

    /// Signs a call, submits it and waits until it is final. Returns the block; whether the call succeeded there is for
    /// the caller to see by its effects.
    pub async fn submit(&self, signer: &sr25519::Pair, call: impl Into<AnyCall>) -> Result<H256> {
        let account = AccountId::from(signer.public());
        let nonce: Nonce = self.request("system_accountNextIndex", rpc_params![account]).await?;
        self.deliver(&self.signed(signer, nonce, &call.into())).await
    }

    /// Signs calls with one nonce after another and puts them all into the node's pool.
    pub async fn submit_all(&self, signer: &sr25519::Pair, calls: impl IntoIterator<Item = AnyCall>) -> Result<()> {
        let account = AccountId::from(signer.public());
        let first: Nonce = self.request("system_accountNextIndex", rpc_params![account]).await?;
        for (nonce, call) in (first..).zip(calls) {
            let extrinsic = to_hex(self.signed(signer, nonce, &call));
            let _: H256 = self.request("author_submitExtrinsic", rpc_params![extrinsic]).await?;
        }
        Ok(())
    }

    /// Everything that is stored under a prefix.
    pub async fn storage_under(&self, prefix: &[u8], at: H256) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut values = BTreeMap::new();
        for key in self.keys(prefix, at).await? {
            let value = self.raw_storage(&key, Some(at)).await?.unwrap_or_default();
            values.insert(key, value);
        }
        Ok(values)
    }

    /// Submits an extrinsic that somebody signed, and waits until it is final. Returns the block.
    pub async fn deliver(&self, extrinsic: &[u8]) -> Result<H256> {
        let (subscribe, unsubscribe) = ("author_submitAndWatchExtrinsic", "author_unwatchExtrinsic");
        let params = rpc_params![to_hex(extrinsic)];
        let mut statuses: Subscription<Value> = self.subscribe(subscribe, unsubscribe, params).await?;
        let finalized = async {
            while let Some(status) = statuses.next().await {
                let status = status?;
                if let Some(hash) = status.get("finalized") {
                    return Ok(serde_json::from_value(hash.clone())?);
                }
                if matches!(status.as_str(), Some("invalid" | "dropped")) || status.get("usurped").is_some() {
                    bail!("the extrinsic ended as {status}");
                }
            }
            bail!("the node gave the extrinsic up")
        };
        tokio::time::timeout(TIMEOUT, finalized).await.context("the extrinsic did not become final")?
    }

    /// Root changes what layer one demands of registrations; returns it, once it is final.
    pub async fn change_policy(&self, change: impl FnOnce(&mut RegistrationPolicy)) -> Result<RegistrationPolicy> {
        let key = storage::registration_policy();
        let mut policy: RegistrationPolicy = self.storage(&key, None).await?.context("the chain has no policy")?;
        change(&mut policy);
        let block = self.submit(&Sr25519Keyring::Alice.pair(), Call::sudo(&Call::set_policy(&policy))).await?;
        let found = self.storage(&key, Some(block)).await?;
        ensure!(found.as_ref() == Some(&policy), "the policy is {found:?}");
        Ok(policy)
    }

    async fn subscribe<T: DeserializeOwned>(
        &self,
        subscribe: &str,
        unsubscribe: &str,
        params: ArrayParams,
    ) -> Result<Subscription<T>> {
        self.rpc.subscribe(subscribe, params, unsubscribe).await.with_context(|| subscribe.to_owned())
    }

    /// An immortal extrinsic, by the format's own rules.
    fn signed(&self, signer: &sr25519::Pair, nonce: Nonce, call: &AnyCall) -> Vec<u8> {
        let (tip, no_metadata_hash) = (Compact(0 as Balance), 0u8);
        let extensions = (Era::Immortal, Compact(nonce), tip, no_metadata_hash);
        let implied = (self.spec_version, self.transaction_version, self.genesis, self.genesis, None::<H256>);
        let payload = (call, &extensions, implied).encode();
        let signature = MultiSignature::from(match payload.len() {
            0..=256 => signer.sign(&payload),
            _ => signer.sign(&blake2_256(&payload)),
        });
        let (signed_version_4, address_id) = (0x84u8, 0u8);
        (signed_version_4, address_id, AccountId::from(signer.public()), signature, extensions, call).encode().encode()
    }
}
