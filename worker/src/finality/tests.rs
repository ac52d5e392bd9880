use cloister_link::{Receiver, ToHost, transport};
use jsonrpsee::server::ServerHandle;
use tokio::{io::DuplexStream, time::timeout};

use super::*;
use crate::{
    layer_one::{
        hex_text,
        meddler::{Meddling, meddle},
    },
    testing::{FakeNode, PATIENCE, VERSION, justification},
};

struct Chain {
    node: FakeNode,
    follower: Follower,
    _handle: ServerHandle,
}

async fn chain() -> Chain {
    let node = FakeNode::new();
    let (address, handle) = node.serve("127.0.0.1:0").await;
    let follower = Follower::new(Arc::new(LayerOne::new(format!("ws://{address}"))));
    Chain { node, follower, _handle: handle }
}

impl Chain {
    fn known(&self, number: BlockNumber) -> Synced {
        Synced { number, hash: self.node.hash(number) }
    }

    /// The next batch, of which headers and justification must fit; first and last height.
    async fn next(&mut self, known: BlockNumber) -> Option<(BlockNumber, BlockNumber)> {
        let batch = self.follower.next_batch(self.known(known), None).await.unwrap()?;
        Some(range(&batch))
    }
}

fn range(batch: &Batch) -> (BlockNumber, BlockNumber) {
    let (first, last) = (batch.headers.first().unwrap(), batch.headers.last().unwrap());
    assert_eq!(batch.justification, justification(last));
    assert!(batch.headers.windows(2).all(|pair| pair[1].parent_hash == pair[0].hash()));
    (first.number, last.number)
}

#[tokio::test]
async fn nothing_new_gives_no_batch() {
    let mut chain = chain().await;
    chain.node.grow(5);
    assert_eq!(chain.next(0).await, None);
    chain.node.finalize(3);
    assert_eq!(chain.next(0).await, Some((1, 3)));
    assert_eq!(chain.next(3).await, None);
}

#[tokio::test]
async fn catching_up_goes_in_bounded_batches() {
    let mut chain = chain().await;
    chain.node.grow(2_500);
    (1..=2_500).for_each(|number| chain.node.finalize(number));
    assert_eq!(chain.next(0).await, Some((1, 1024)));
    assert_eq!(chain.next(1024).await, Some((1025, 2048)));
    assert_eq!(chain.next(2048).await, Some((2049, 2500)));
    assert_eq!(chain.next(2500).await, None);
}

#[tokio::test]
async fn a_batch_ends_at_the_last_block_with_a_justification() {
    let mut chain = chain().await;
    chain.node.grow(1_500);
    [300, 900, 1_450].into_iter().for_each(|number| chain.node.finalize(number));
    assert_eq!(chain.next(0).await, Some((1, 900)));
    assert_eq!(chain.next(900).await, Some((901, 1450)));
}

#[tokio::test]
async fn a_batch_ends_where_the_authorities_change() {
    let mut chain = chain().await;
    chain.node.grow(9);
    chain.node.announce_change(0);
    chain.node.grow(9);
    chain.node.announce_change(5);
    chain.node.grow(30);
    (1..=50).for_each(|number| chain.node.finalize(number));
    assert_eq!(chain.next(0).await, Some((1, 10)));
    assert_eq!(chain.next(10).await, Some((11, 25)));
    assert_eq!(chain.next(25).await, Some((26, 50)));
}

#[tokio::test]
async fn a_change_announced_in_an_earlier_batch_is_remembered() {
    let mut chain = chain().await;
    chain.node.grow(4);
    chain.node.announce_change(20);
    chain.node.grow(40);
    chain.node.finalize(10);
    assert_eq!(chain.next(0).await, Some((1, 10)));
    (11..=45).for_each(|number| chain.node.finalize(number));
    assert_eq!(chain.next(10).await, Some((11, 25)));
    assert_eq!(chain.next(25).await, Some((26, 45)));
}

#[tokio::test]
async fn without_stored_justifications_the_newest_is_taken() {
    let mut chain = chain().await;
    chain.node.grow(100);
    chain.node.finalize(80);
    chain.node.state().justified.clear();
    assert_eq!(chain.next(0).await, Some((1, 80)));

    // But never past a change, for which only a stored one would do.
    chain.node.announce_change(0);
    chain.node.grow(10);
    chain.node.finalize(110);
    chain.node.state().justified.clear();
    let error = chain.follower.next_batch(chain.known(80), None).await.unwrap_err();
    assert_eq!(error, FinalityError::NoJustification { first: 81, last: 101 });
}

#[tokio::test]
async fn a_node_on_another_fork_feeds_nothing() {
    let mut chain = chain().await;
    chain.node.grow(5);
    chain.node.finalize(5);
    let known = Synced { number: 2, hash: H256::repeat_byte(0xee) };
    let error = chain.follower.next_batch(known, None).await.unwrap_err();
    assert_eq!(error, FinalityError::Diverged { number: 3 });
}

#[tokio::test]
async fn an_announcement_is_used_before_the_node_counts_the_block_as_final() {
    let mut chain = chain().await;
    chain.node.grow(6);
    chain.node.finalize(4);
    let announced = Announced::new(justification(&chain.node.state().headers[6])).unwrap();
    let batch = chain.follower.next_batch(chain.known(4), Some(&announced)).await.unwrap().unwrap();
    assert_eq!(range(&batch), (5, 6));
    assert!(Announced::new(vec![1, 2, 3]).is_none());
}

#[tokio::test]
async fn headers_that_do_not_fit_a_frame_wait_for_the_next_batch() {
    let chain = chain().await;
    chain.node.grow(3);
    let mut headers: Vec<_> = chain.node.state().headers[1..].to_vec();
    for header in &mut headers {
        header.digest.logs.push(DigestItem::Other(vec![0; MAX_HEADER_BYTES / 2 + 1]));
    }
    assert_eq!(chain.follower.end_of_batch(0, headers.iter()), 1);
}

/// An enclave that believes everything: answers `Finality` with `Synced`.
async fn next_finality(
    enclave: &mut Receiver<DuplexStream, ToEnclave>,
    synced: &watch::Sender<Option<Synced>>,
) -> (BlockNumber, BlockNumber) {
    let message = timeout(PATIENCE, enclave.recv()).await.expect("finality comes").unwrap();
    let ToEnclave::Finality { headers, justification } = message else { panic!("unexpected {message:?}") };
    let last = headers.last().unwrap();
    synced.send_replace(Some(Synced { number: last.number, hash: last.hash() }));
    range(&Batch { headers, justification })
}

/// An enclave that is fed by a follower.
struct Fed {
    node: FakeNode,
    enclave: Receiver<DuplexStream, ToEnclave>,
    synced: watch::Sender<Option<Synced>>,
    follower: tokio::task::JoinHandle<()>,
    _to_host: Sender<ToHost>,
    _handle: ServerHandle,
}

/// By a node with six blocks that is meddled with. The enclave may take so long with a batch.
async fn fed(meddling: impl FnOnce(&FakeNode) -> Vec<Meddling>, patience: Duration) -> Fed {
    let node = FakeNode::new();
    node.grow(6);
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let address = meddle(address, meddling(&node)).await;
    let layer_one = Arc::new(LayerOne::new(format!("ws://{address}")));
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let (sender, _) = transport::split::<_, ToEnclave, ToHost>(near);
    let (_to_host, enclave) = transport::split::<_, ToHost, ToEnclave>(far);
    let (synced, follow_synced) = watch::channel(Some(Synced { number: 0, hash: node.hash(0) }));
    let follower = Follower { patience, ..Follower::new(layer_one) };
    let follower = tokio::spawn(follower.run(sender, follow_synced));
    Fed { node, enclave, synced, follower, _to_host, _handle }
}

impl Fed {
    /// The first and the last height of the next batch, and its justification.
    async fn next(&mut self) -> (BlockNumber, BlockNumber, Vec<u8>) {
        let message = timeout(PATIENCE, self.enclave.recv()).await.expect("finality comes").unwrap();
        let ToEnclave::Finality { headers, justification } = message else { panic!("unexpected {message:?}") };
        (headers.first().unwrap().number, headers.last().unwrap().number, justification)
    }

    /// The enclave says up to where it follows, whether that is news or not.
    fn say_synced(&self, number: BlockNumber) {
        self.synced.send_replace(Some(Synced { number, hash: self.node.hash(number) }));
    }

    /// As the last justification for a block has to be.
    fn justification(&self, number: BlockNumber) -> Vec<u8> {
        justification(&self.node.state().headers[number as usize])
    }

    async fn end(self) {
        drop(self.synced);
        timeout(PATIENCE, self.follower).await.expect("ends with the session").unwrap();
    }
}

#[tokio::test]
async fn a_refused_announcement_is_dropped_and_the_batch_given_again() {
    let altered = |node: &FakeNode| {
        let honest = justification(&node.state().headers[6]);
        let mut altered = honest.clone();
        altered[0] ^= 0x80;
        (honest, altered)
    };
    let swapped = |node: &FakeNode| {
        let (honest, altered) = altered(node);
        vec![Meddling::Swaps(hex_text(&honest), hex_text(&altered))]
    };
    let mut fed = fed(swapped, PATIENCE).await;
    fed.node.finalize(4);
    assert_eq!(fed.next().await, (1, 4, fed.justification(4)));
    fed.say_synced(4);
    // Announced before the node itself counts it as final.
    fed.node.finalize(6);
    fed.node.state().finalized = 4;
    assert_eq!(fed.next().await, (5, 6, altered(&fed.node).1));
    fed.node.state().finalized = 6;
    fed.say_synced(4);
    assert_eq!(fed.next().await, (5, 6, fed.justification(6)));
    fed.say_synced(6);
    fed.end().await;
}

#[tokio::test]
async fn a_batch_to_which_the_enclave_says_nothing_is_given_again() {
    let mut fed = fed(|_| vec![], Duration::from_millis(50)).await;
    fed.node.finalize(4);
    for _ in 0..3 {
        assert_eq!(fed.next().await, (1, 4, fed.justification(4)));
    }
    fed.end().await;
}

#[tokio::test]
async fn a_batch_that_no_message_holds_stops_nothing_for_good() {
    let Chain { node, mut follower, _handle } = chain().await;
    node.grow(2);
    node.state().headers[2].digest.logs.push(DigestItem::Other(vec![0; MAX_FRAME]));
    node.finalize(2);
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let (sender, _receiver) = transport::split::<_, ToEnclave, ToHost>(near);
    let (_to_host, mut enclave) = transport::split::<_, ToHost, ToEnclave>(far);
    let (_synced, mut synced) = watch::channel(Some(Synced { number: 1, hash: node.hash(1) }));
    let error = timeout(PATIENCE, follower.follow(&sender, &mut synced)).await.unwrap().unwrap_err();
    assert!(matches!(error, FinalityError::TooLong { first: 2, last: 2, length } if length > MAX_FRAME), "{error}");

    node.state().headers[2].digest.logs.clear();
    let message = tokio::select! {
        ended = follower.follow(&sender, &mut synced) => panic!("{ended:?}"),
        message = timeout(PATIENCE, enclave.recv()) => message.unwrap().unwrap(),
    };
    let ToEnclave::Finality { headers, justification } = message else { panic!("unexpected {message:?}") };
    assert_eq!(range(&Batch { headers, justification }), (2, 2));
}

#[tokio::test]
async fn a_justification_that_no_message_holds_is_none() {
    let node = FakeNode::new();
    let mut longest = justification(&node.state().headers[0]);
    longest.resize(MAX_JUSTIFICATION_BYTES, 0);
    assert!(Announced::new(longest.clone()).is_some());
    longest.push(0);
    assert_eq!(Announced::new(longest), None);
}

#[tokio::test]
async fn changes_of_authorities_that_the_enclave_has_not_verified_are_forgotten() {
    let mut chain = chain().await;
    chain.node.grow(4);
    let honest = chain.node.clone().state().headers.clone();
    // Invented: it would take effect at block 25.
    chain.node.announce_change(20);
    chain.node.grow(5);
    chain.node.finalize(10);
    for _ in 0..2 * MAX_PROPOSED {
        assert_eq!(chain.next(0).await, Some((1, 10)));
    }
    assert_eq!((chain.follower.changes.len(), chain.follower.proposed.len()), (0, 1));

    // The enclave still is where it was, and the node has come to its senses.
    chain.node.state().headers = honest;
    chain.node.grow(40);
    chain.node.state().justified.clear();
    chain.node.finalize(44);
    assert_eq!(chain.next(0).await, Some((1, 44)));
}

#[tokio::test]
async fn following_survives_a_lost_node() {
    let node = FakeNode::new();
    let (address, handle) = node.serve("127.0.0.1:0").await;
    let layer_one = Arc::new(LayerOne::new(format!("ws://{address}")));
    layer_one.expect_genesis(node.hash(0)).await.unwrap();
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let (sender, _from_enclave) = transport::split::<_, ToEnclave, ToHost>(near);
    let (_to_host, mut enclave) = transport::split::<_, ToHost, ToEnclave>(far);
    let (synced, follow_synced) = watch::channel(Some(Synced { number: 0, hash: node.hash(0) }));
    node.grow(10);
    node.finalize(4);
    let follower = tokio::spawn(Follower::new(layer_one.clone()).run(sender, follow_synced));
    assert_eq!(next_finality(&mut enclave, &synced).await, (1, 4));
    node.finalize(6);
    assert_eq!(next_finality(&mut enclave, &synced).await, (5, 6));

    handle.stop().unwrap();
    handle.stopped().await;
    node.finalize(9);
    let (_, _handle) = node.serve(&address.to_string()).await;
    assert_eq!(next_finality(&mut enclave, &synced).await, (7, 9));
    assert!(layer_one.connects() >= 2);
    node.finalize(10);
    assert_eq!(next_finality(&mut enclave, &synced).await, (10, 10));

    drop(synced);
    timeout(PATIENCE, follower).await.expect("ends with the session").unwrap();
}

#[tokio::test]
async fn a_node_of_another_chain_is_refused_at_every_connection() {
    let node = FakeNode::new();
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let layer_one = LayerOne::new(format!("ws://{address}"));
    let expected = H256::repeat_byte(1);
    let refusal = LayerOneError::OtherChain { expected, found: node.hash(0) };
    assert_eq!(layer_one.expect_genesis(expected).await, Err(refusal.clone()));
    assert_eq!(layer_one.finalized().await, Err(refusal));
}

#[tokio::test]
async fn an_unreachable_node_is_tried_at_growing_distances() {
    let layer_one = LayerOne::new("ws://127.0.0.1:9");
    let started = tokio::time::Instant::now();
    for _ in 0..4 {
        assert!(matches!(layer_one.finalized().await, Err(LayerOneError::Unreachable { .. })));
    }
    // 100 + 200 + 400 ms between four attempts.
    assert!(started.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn new_runtime_versions_are_passed_on_once() {
    let node = FakeNode::new();
    let (address, _handle) = node.serve("127.0.0.1:0").await;
    let layer_one = Arc::new(LayerOne::new(format!("ws://{address}")));
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let (sender, _from_enclave) = transport::split::<_, ToEnclave, ToHost>(near);
    let (_to_host, mut enclave) = transport::split::<_, ToHost, ToEnclave>(far);
    tokio::spawn(follow_versions(layer_one, sender, (VERSION.spec_version - 1, VERSION.transaction_version)));
    let mut next = async || timeout(PATIENCE, enclave.recv()).await.unwrap().unwrap();
    let changed = |spec_version| ToEnclave::ChainVersion { spec_version, transaction_version: 1 };
    assert_eq!(next().await, changed(VERSION.spec_version));
    node.upgrade(VERSION.spec_version);
    node.upgrade(VERSION.spec_version + 1);
    assert_eq!(next().await, changed(VERSION.spec_version + 1));
}
