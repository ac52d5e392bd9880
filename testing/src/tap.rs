//! A tap on the wire between a worker and its node: hears what the worker submits, keeps extrinsics or proofs from
//! passing, lies in the node's place or leads to another node, as a host or a network may.

mod lies;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use cloister_chain_primitives::ShardId;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

use crate::{from_hex, to_hex};
use lies::{Heard, Lies};

/// Listens in a node's place and passes on what it hears, both ways. Ends with its owner, and all its connections with
/// it.
pub struct Tap {
    url: String,
    wire: Arc<Wire>,
    _connections: JoinSet<()>,
}

/// What a tap does, and what it has heard.
struct Wire {
    /// A change ends all connections.
    node_url: watch::Sender<String>,
    lies: Mutex<Option<Lies>>,
    submitted: watch::Sender<Vec<Vec<u8>>>,
    swallows: Mutex<Box<Predicate>>,
    withholds_proofs: watch::Sender<bool>,
    /// Answers that were withheld since that began.
    proofs_withheld: watch::Sender<usize>,
}

/// Of an encoded extrinsic.
type Predicate = dyn Fn(&[u8]) -> bool + Send;

impl Tap {
    /// Listens before a node, on a free port.
    pub async fn before(node_url: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let wire = Arc::new(Wire {
            node_url: watch::Sender::new(node_url.into()),
            lies: Mutex::default(),
            submitted: watch::Sender::default(),
            swallows: Mutex::new(Box::new(|_| false)),
            withholds_proofs: watch::Sender::new(false),
            proofs_withheld: watch::Sender::new(0),
        });
        let mut connections = JoinSet::new();
        let shared = wire.clone();
        connections.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((worker, _)) = listener.accept().await {
                let wire = shared.clone();
                // Whichever end goes, the other one notices.
                relays.spawn(async move { relay(worker, &wire).await });
            }
        });
        Ok(Self { url, wire, _connections: connections })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on leads to this node; connections to the one before end.
    pub fn lead_to(&self, node_url: &str) {
        self.wire.node_url.send_replace(node_url.into());
    }

    /// From now on lies about one of so many messages of the node, by chance under a seed.
    pub fn lie(&self, seed: u64, one_in: u32) {
        *self.wire.lies() = Some(Lies::new(seed, one_in));
    }

    /// Says what the node says again; how many lies were told.
    pub fn tell_the_truth(&self) -> usize {
        self.wire.lies().take().map_or(0, |lies| lies.told())
    }

    /// All extrinsics that were submitted, swallowed ones too, repeated as often as they came.
    pub fn submitted(&self) -> Vec<Vec<u8>> {
        self.wire.submitted.borrow().clone()
    }

    /// From now on swallows extrinsics that `matching` takes: the worker is told that the node has them, and the node
    /// never hears of them.
    pub fn swallow(&self, matching: impl Fn(&[u8]) -> bool + Send + 'static) {
        *self.wire.swallows() = Box::new(matching);
    }

    /// Lets every extrinsic pass again.
    pub fn pass(&self) {
        self.swallow(|_| false);
    }

    /// Waits for an extrinsic that `matching` takes, after the first `from` of [`Self::submitted`].
    pub async fn submission(
        &self,
        from: usize,
        deadline: Duration,
        matching: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        let mut submitted = self.wire.submitted.subscribe();
        let wanted = |all: &[Vec<u8>]| all.iter().skip(from).find(|extrinsic| matching(extrinsic)).cloned();
        let found = timeout(deadline, submitted.wait_for(|all| wanted(all).is_some())).await;
        let found = found.with_context(|| format!("the extrinsic was not submitted within {deadline:?}"))??;
        wanted(&found).context("it was there")
    }

    /// From now on withholds the node's answers to `state_getReadProof`.
    pub fn withhold_proofs(&self) {
        self.wire.proofs_withheld.send_replace(0);
        self.wire.withholds_proofs.send_replace(true);
    }

    /// Waits until an answer was withheld.
    pub async fn proof_withheld(&self, deadline: Duration) -> Result<()> {
        let mut withheld = self.wire.proofs_withheld.subscribe();
        let waited = timeout(deadline, withheld.wait_for(|count| *count > 0)).await;
        waited.with_context(|| format!("no proof was asked for within {deadline:?}"))??;
        Ok(())
    }

    /// Lets answers pass again, withheld ones first.
    pub fn pass_proofs(&self) {
        self.wire.withholds_proofs.send_replace(false);
    }
}

impl Wire {
    fn swallows(&self) -> MutexGuard<'_, Box<Predicate>> {
        self.swallows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lies(&self) -> MutexGuard<'_, Option<Lies>> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is heard of what the node says.
    fn pass_on(&self, text: &str, method: Option<&str>) -> Heard {
        match &mut *self.lies() {
            Some(lies) => lies.tell(text, method),
            None => Heard::Messages(vec![text.to_owned()]),
        }
    }

    /// What the worker is answered in the node's place, if that is not to hear the request.
    fn hear(&self, request: &Value) -> Option<Value> {
        let submits = ["author_submitExtrinsic", "author_submitAndWatchExtrinsic"];
        if !submits.contains(&request["method"].as_str()?) {
            return None;
        }
        let extrinsic = from_hex(request["params"][0].as_str()?).ok()?;
        let swallowed = self.swallows()(&extrinsic);
        let hash = to_hex(blake2_256(&extrinsic));
        self.submitted.send_modify(|submitted| submitted.push(extrinsic));
        swallowed.then(|| json!({ "jsonrpc": "2.0", "id": request["id"], "result": hash }))
    }
}

/// Passes messages until one end closes, or the tap leads elsewhere.
async fn relay(worker: TcpStream, wire: &Wire) -> Result<()> {
    let mut worker = accept_async(worker).await?;
    let mut leads = wire.node_url.subscribe();
    let node_url = leads.borrow_and_update().clone();
    let address = node_url.strip_prefix("ws://").context("the node's address")?;
    let (mut node, _) = client_async(&node_url, TcpStream::connect(address).await?).await?;
    // Methods of requests by id, as long as they are not answered.
    let mut asked = HashMap::new();
    let (release, mut released) = mpsc::unbounded_channel();
    let mut withheld = JoinSet::new();
    loop {
        tokio::select! {
            message = worker.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                // Each end is answered by the tap when it asks whether anybody is there.
                let Message::Text(text) = message else { continue };
                let request: Value = serde_json::from_str(&text)?;
                if let Some(method) = request["method"].as_str() {
                    asked.insert(request["id"].to_string(), method.to_owned());
                }
                match wire.hear(&request) {
                    Some(answer) => worker.send(Message::text(answer.to_string())).await?,
                    None => node.send(Message::Text(text)).await?,
                }
            }
            message = node.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let Message::Text(text) = message else { continue };
                let answer: Value = serde_json::from_str(&text)?;
                let method = answer.get("id").and_then(|id| asked.remove(&id.to_string()));
                let mut withholds = wire.withholds_proofs.subscribe();
                if method.as_deref() == Some("state_getReadProof") && *withholds.borrow_and_update() {
                    wire.proofs_withheld.send_modify(|count| *count += 1);
                    let release = release.clone();
                    withheld.spawn(async move {
                        // The worker may be gone by then.
                        if withholds.wait_for(|withholds| !withholds).await.is_ok() {
                            let _ = release.send(Message::Text(text));
                        }
                    });
                    continue;
                }
                match wire.pass_on(&text, method.as_deref()) {
                    Heard::End => return Ok(()),
                    Heard::Messages(messages) => {
                        for message in messages {
                            worker.send(Message::text(message)).await?;
                        }
                    }
                }
            }
            Some(message) = released.recv() => worker.send(message).await?,
            _ = leads.changed() => return Ok(()),
        }
    }
}

/// Whether an extrinsic asks for money out of a shard, alone or in a batch.
pub fn unshields(shard: ShardId) -> impl Fn(&[u8]) -> bool + Send + Clone + 'static {
    calls_with(54, 3, shard)
}

/// Whether an extrinsic anchors a block of a shard, alone or in a batch.
pub fn anchors(shard: ShardId) -> impl Fn(&[u8]) -> bool + Send + Clone + 'static {
    calls_with(53, 0, shard)
}

fn calls_with(pallet: u8, call: u8, shard: ShardId) -> impl Fn(&[u8]) -> bool + Send + Clone + 'static {
    let call = [&[pallet, call], shard.as_ref()].concat();
    move |extrinsic| extrinsic.windows(call.len()).any(|window| window == call)
}

#[cfg(test)]
mod tests {
    use jsonrpsee::{
        RpcModule,
        core::client::ClientT,
        rpc_params,
        server::{Server, ServerHandle},
        ws_client::{WsClient, WsClientBuilder},
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A node that counts the extrinsics that it has, with a worker's connection to it through a tap.
    async fn tapped() -> (Tap, WsClient, ServerHandle) {
        let mut node = RpcModule::new(Mutex::new(0));
        node.register_method("author_submitExtrinsic", |_, count, _| {
            *count.lock().unwrap() += 1;
            "0x00"
        })
        .unwrap();
        node.register_method("count", |_, count, _| *count.lock().unwrap()).unwrap();
        node.register_method("state_getReadProof", |_, _, _| "proof").unwrap();
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let handle = server.start(node);
        let tap = Tap::before(&format!("ws://{address}")).await.unwrap();
        let worker = WsClientBuilder::new().build(tap.url()).await.unwrap();
        (tap, worker, handle)
    }

    async fn submit(worker: &WsClient, extrinsic: &[u8]) -> String {
        worker.request("author_submitExtrinsic", rpc_params![to_hex(extrinsic)]).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_swallowed_is_heard_and_does_not_arrive() {
        let (tap, worker, _node) = tapped().await;
        assert_eq!(submit(&worker, b"one").await, "0x00");
        tap.swallow(|extrinsic| extrinsic == b"two");
        assert_eq!(submit(&worker, b"two").await, to_hex(blake2_256(b"two")));
        assert_eq!(submit(&worker, b"three").await, "0x00");
        tap.pass();
        assert_eq!(submit(&worker, b"two").await, "0x00");
        let arrived: u32 = worker.request("count", rpc_params![]).await.unwrap();
        assert_eq!(arrived, 3);
        assert_eq!(tap.submitted(), [&b"one"[..], b"two", b"three", b"two"]);
        let heard = tap.submission(2, SOON, |extrinsic| extrinsic.starts_with(b"t")).await;
        assert_eq!(heard.unwrap(), b"three");
        let missed = tap.submission(0, Duration::ZERO, |extrinsic| extrinsic.is_empty()).await.unwrap_err();
        assert_eq!(missed.to_string(), "the extrinsic was not submitted within 0ns");
    }

    #[tokio::test]
    async fn proofs_wait_and_everything_else_passes_them() {
        let (tap, worker, _node) = tapped().await;
        let proof = async || worker.request::<String, _>("state_getReadProof", rpc_params![]).await.unwrap();
        assert_eq!(proof().await, "proof");
        tap.withhold_proofs();
        let meanwhile = async {
            tap.proof_withheld(SOON).await.unwrap();
            assert_eq!(submit(&worker, b"one").await, "0x00");
            tap.pass_proofs();
        };
        assert_eq!(tokio::join!(proof(), meanwhile).0, "proof");
        assert_eq!(proof().await, "proof");
    }

    #[tokio::test]
    async fn lies_come_and_go_and_the_way_may_lead_elsewhere() {
        let (tap, worker, _node) = tapped().await;
        tap.lie(0, 1);
        crate::eventually("a lie", SOON, async || {
            // Some lies are no answer at all, and one is the connection's end.
            let asked = worker.request::<String, _>("author_submitExtrinsic", rpc_params!["0x00"]);
            let _ = timeout(Duration::from_millis(50), asked).await;
            Ok(tap.wire.lies().as_ref().is_some_and(|lies| lies.told() > 0).then_some(()))
        })
        .await
        .unwrap();
        assert!(tap.tell_the_truth() > 0);

        let (other, submitter, _other_node) = tapped().await;
        submit(&submitter, b"one").await;
        tap.lead_to(other.url());
        let worker = WsClientBuilder::new().build(tap.url()).await.unwrap();
        assert_eq!(worker.request::<u32, _>("count", rpc_params![]).await.unwrap(), 1);
    }

    #[test]
    fn a_call_is_found_in_a_batch() {
        let shard = ShardId([7; 32].into());
        let call = [&[54, 3], shard.as_ref()].concat();
        let batch = [&[9, 4, 8][..], &[1; 40], &call, &[2; 9]].concat();
        assert!(unshields(shard)(&batch) && !anchors(shard)(&batch) && !unshields(ShardId::default())(&batch));
    }
}
