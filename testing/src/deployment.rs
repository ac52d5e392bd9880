//! Everything that a shard needs, on this machine.

use std::{process::ExitStatus, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{AccountId, Balance, BlockNumber, Nonce, calls::Call, storage};
use cloister_client::{LayerOne, Selection, ShardClient, Signer, Wait, layer_one};
use cloister_wire::{BoundGetter, BoundGetterSigned, Getter, TrustedGetter, TrustedGetterSigned};
use codec::Encode;
use serde_json::Value;
use sp_keyring::Sr25519Keyring;

use crate::{
    Chain, Cli, Ledgers, Node, Tap, Worker, WorkerOptions,
    calls::{self, AnyCall},
    eventually, to_hex,
};

/// How long the shard may take to credit what layer one has finalized, and layer one to finalize a few blocks.
pub const SETTLE_DEADLINE: Duration = Duration::from_secs(40);

/// A development chain, a worker with its enclave, and a user's connections to both.
pub struct Deployment {
    /// The user's view of the shard.
    pub shard: ShardClient,
    /// The user's view of layer one.
    pub layer_one: LayerOne,
    /// The harness's view of layer one.
    pub chain: Chain,
    /// The worker; stopped before its node.
    pub worker: Worker,
    /// The node.
    pub node: Node,
}

impl Deployment {
    /// Starts everything, lets `scenario` run, and adds the processes' logs to an error of it.
    pub async fn run(scenario: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<()> {
        Self::run_with(WorkerOptions::default(), scenario).await
    }

    /// As [`Self::run`], with a worker of these options.
    pub async fn run_with(options: WorkerOptions, scenario: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let node = Node::dev().await?;
        let worker = Worker::start(node.url(), options).await?;
        let mut deployment = Self::connect(node, worker).await?;
        let result = scenario(&mut deployment).await;
        result.map_err(|error| deployment.explain(error))
    }

    /// As [`Self::run_with`], with a tap between worker and node.
    pub async fn run_tapped(
        options: WorkerOptions,
        scenario: impl AsyncFnOnce(&mut Self, &Tap) -> Result<()>,
    ) -> Result<()> {
        let node = Node::dev().await?;
        let tap = Tap::before(node.url()).await?;
        let worker = Worker::start(tap.url(), options).await?;
        let mut deployment = Self::connect(node, worker).await?;
        let result = scenario(&mut deployment, &tap).await;
        result.map_err(|error| deployment.explain(error))
    }

    /// Connects to what runs.
    pub async fn connect(node: Node, worker: Worker) -> Result<Self> {
        let chain = node.chain().await?;
        let layer_one = LayerOne::connect(node.url()).await?;
        // The worker may be a block ahead of what this node has finalized.
        let shard = eventually("the shard on layer one", SETTLE_DEADLINE, async || {
            Ok(Some(ShardClient::connect(&layer_one, &worker.url(), &Selection::default()).await?))
        })
        .await?;
        Ok(Self { shard, layer_one, chain, worker, node })
    }

    /// Connects to the same shard again, after something of what runs was started again.
    pub async fn reconnect(&mut self) -> Result<()> {
        self.chain = self.node.chain().await?;
        self.layer_one = LayerOne::connect(self.node.url()).await?;
        let selection = Selection { shard: Some(self.shard.shard().id), mrenclave: None };
        self.shard = eventually("the shard of the new start", SETTLE_DEADLINE, async || {
            Ok(Some(ShardClient::connect(&self.layer_one, &self.worker.url(), &selection).await?))
        })
        .await?;
        Ok(())
    }

    /// Starts the worker again, after it has ended, and connects to it.
    pub async fn start_worker_again(&mut self) -> Result<()> {
        self.worker.start_again().await?;
        self.reconnect().await
    }

    /// Moves money of `owner` into their own account on the shard, and waits until it is there.
    pub async fn shield(&self, owner: &Signer, amount: Balance) -> Result<()> {
        let before = self.shard.free_balance(owner).await?;
        self.shard.shield(owner, &owner.account(), amount, Wait::Finalized).await?;
        eventually("the shielded money", SETTLE_DEADLINE, async || {
            Ok((self.shard.free_balance(owner).await? == before + amount).then_some(()))
        })
        .await
    }

    /// Adds the processes' last words to an error.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let logs = format!("{}{}", self.node.log(), self.worker.log());
        anyhow::anyhow!("{error:#}{logs}")
    }

    /// Waits until the shard has consumed what layer one's inbox holds now.
    pub async fn inbox_consumed(&self) -> Result<()> {
        let key = storage::inbox_length(&self.shard.shard().id);
        let length: u64 = self.chain.storage(&key, None).await?.unwrap_or_default();
        eventually(&format!("{length} consumed inbox entries"), SETTLE_DEADLINE, async || {
            Ok((self.shard.inbox_status().await?.consumed >= length).then_some(()))
        })
        .await
    }

    /// Waits until layer one has finalized `more` blocks than now; returns the height.
    pub async fn blocks_finalized(&self, more: BlockNumber) -> Result<BlockNumber> {
        let start = self.chain.finalized_head().await?.number;
        eventually(&format!("{more} more finalized blocks"), SETTLE_DEADLINE, async || {
            let now = self.chain.finalized_head().await?.number;
            Ok((now >= start + more).then_some(now))
        })
        .await
    }

    /// Planck booked for the shard on layer one.
    pub async fn escrow(&self) -> Result<Balance> {
        let key = storage::escrow(&self.shard.shard().id);
        Ok(self.chain.storage(&key, None).await?.unwrap_or_default())
    }

    /// Where it lies.
    pub fn escrow_account(&self) -> AccountId {
        let shard = self.shard.shard();
        shard.id.escrow_account(&shard.genesis)
    }

    /// Root calls, and the call succeeds; waits until that is final. Returns the height.
    pub async fn root(&self, call: impl Into<AnyCall>) -> Result<BlockNumber> {
        let sudo = Call::encoded(calls::sudo(&call.into()).encode());
        let done = self.layer_one.submit(&sudo, &signer(Sr25519Keyring::Alice), Wait::Finalized).await?;
        Ok(done.inclusion.context("final and in no block")?.block_number)
    }

    /// The name of the error with which a call fails on layer one.
    pub async fn failure(&self, call: &Call, sender: &Signer) -> Result<String> {
        match self.layer_one.submit(call, sender, Wait::InBlock).await {
            Err(layer_one::Error::ExtrinsicFailed { failure, .. }) => Ok(failure.name),
            other => bail!("it should have failed: {other:?}"),
        }
    }

    /// Waits until the shard is at rest, compares both ledgers, and has the auditor's command compare them, too.
    pub async fn ledgers(&self) -> Result<Ledgers> {
        let ledgers = Ledgers::at_rest(&self.chain, &self.shard, self.worker.ports()).await?;
        let (status, answer) = self.audit()?;
        ensure!(status.success(), "`cloister audit`: {status}: {answer}");
        Ok(ledgers)
    }

    /// How the auditor's command ends, and its answer.
    pub fn audit(&self) -> Result<(ExitStatus, Value)> {
        let [shard, url] = self.audited();
        let (output, answer) = Cli::of(self)?.run(&["audit", "--shard", &shard, "--url", &url])?;
        Ok((output.status, answer))
    }

    /// What an auditor is told: the shard, and where its blocks are.
    pub fn audited(&self) -> [String; 2] {
        [to_hex(self.shard.shard().id), format!("ws://127.0.0.1:{}", self.worker.ports().untrusted)]
    }

    /// Waits until the enclave has seen layer one's block at this height.
    pub async fn seen(&self, height: BlockNumber) -> Result<()> {
        let anybody = signer(Sr25519Keyring::One);
        eventually(&format!("an enclave that has seen block {height}"), SETTLE_DEADLINE, async || {
            let getter = TrustedGetter::Nonce(anybody.account());
            let answer = self.shard.ask::<Nonce>(&anybody, getter).await?;
            Ok((answer.layer_one_number >= height).then_some(()))
        })
        .await
    }

    /// Gives accounts money on the shard, by one extrinsic of `payer`; waits until the shard has taken it.
    pub async fn endow(&self, payer: Sr25519Keyring, amounts: &[(Sr25519Keyring, Balance)]) -> Result<()> {
        let shard = self.shard.shard();
        let shieldings = amounts.iter().map(|(account, amount)| {
            let sealed = shard.seal_beneficiary(&account.to_account_id())?;
            Ok(AnyCall::from(Call::shield_funds(&shard.id, &sealed, *amount)))
        });
        let shieldings = shieldings.collect::<Result<Vec<_>>>()?;
        self.chain.submit(&payer.pair(), calls::batch_all(&shieldings)).await?;
        self.inbox_consumed().await
    }

    /// Asks for `owner`'s balance with a signature of `stranger`, in both forms of the query.
    pub async fn ask_as_stranger(
        &self,
        owner: &Signer,
        stranger: &Signer,
    ) -> Result<[Result<Option<Vec<u8>>, cloister_client::worker::Error>; 2]> {
        let shard = self.shard.shard();
        let getter = TrustedGetter::FreeBalance(owner.account());
        let signature = stranger.sign(&getter.encode());
        let published = Getter::Trusted(TrustedGetterSigned { getter: getter.clone(), signature });

        let last_block = self.shard.block_number().await?.checked_add(1).context("the shard has no more blocks")?;
        let query = BoundGetter { getter, last_block, client_nonce: [7; 16] };
        let bytes = query.signed_bytes(&shard.genesis, &shard.id, &shard.scope().mrenclave);
        let bound = Getter::Bound(BoundGetterSigned { signature: stranger.sign(&bytes), query });

        let worker = self.shard.worker();
        Ok([worker.execute_getter(shard.id, &published).await, worker.execute_getter(shard.id, &bound).await])
    }
}

/// The client library's form of a development key.
pub fn signer(key: Sr25519Keyring) -> Signer {
    key.pair().into()
}
