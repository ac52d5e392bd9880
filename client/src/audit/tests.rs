//! A shard whose every unit is accounted for, and what an audit says when one thing is changed.

use std::sync::{Arc, Mutex};

use cloister_chain_primitives::{
    Anchor, Anchored, Balance, EXISTENTIAL_DEPOSIT, Flows, H256, InboxEntry, UNSHIELD_FEE, Verdict, storage,
};
use cloister_wire::sidechain::{BlockData, Books, SidechainHeader, SignedBlock};
use codec::Encode;
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use sp_core::{Pair, ed25519};

use super::*;
use crate::{
    AccountInfo,
    layer_one::to_hex,
    shard::tests::{
        incarnation, shard,
        world::{Deployment, block_hash},
    },
};

const UNIT: Balance = cloister_chain_primitives::UNIT;

/// A block on top of another, signed by its author.
fn block(parent: Option<&SignedBlock>, author: &ed25519::Pair, change: impl FnOnce(&mut BlockData)) -> SignedBlock {
    let shard = shard();
    let before = parent.map(|parent| &parent.block_data);
    let mut data = BlockData {
        timestamp: 1,
        layer_one_head: block_hash(1),
        layer_one_number: 1,
        block_author: author.public().0,
        inbox_from: before.map_or(0, |before| before.inbox_to),
        inbox_to: before.map_or(0, |before| before.inbox_to),
        signed_top_hashes: Vec::new(),
        parent_acknowledgements: Vec::new(),
        books: before.map_or_else(Books::default, |before| before.books),
        outbox_root: before.map_or_else(H256::zero, |before| before.outbox_root),
        commitment_before: before.map_or(shard.entry.birth.genesis_commitment, |before| before.commitment_after),
        commitment_after: H256::random(),
        encrypted_state_diff: Vec::new(),
    };
    change(&mut data);
    let header = SidechainHeader {
        parent_hash: parent.map_or_else(H256::zero, |parent| parent.header.hash()),
        block_number: parent.map_or(1, |parent| parent.header.block_number + 1),
        shard_id: shard.id,
        block_data_hash: data.hash(),
        next_finalization_block_number: 0,
    };
    let signature = author.sign(&header.signed_bytes(&shard.genesis)).0;
    SignedBlock { header, block_data: data, signature }
}

/// 100 UNIT come in; 30 go out and are paid, 20 are on their way.
fn history() -> Vec<SignedBlock> {
    let author = incarnation();
    let first = block(None, &author, |_| ());
    let second = block(Some(&first), &author, |data| {
        data.inbox_to = 2;
        data.books.shielded = 100 * UNIT;
    });
    let third = block(Some(&second), &author, |data| {
        let books = &mut data.books;
        (books.opened, books.outbox_next, books.fees) = (50 * UNIT, 2, 2 * UNSHIELD_FEE);
        data.outbox_root = H256::repeat_byte(8);
    });
    let fourth = block(Some(&third), &author, |data| {
        (data.books.paid, data.books.outbox_closed) = (30 * UNIT, 1);
        data.outbox_root = H256::repeat_byte(9);
    });
    vec![first, second, third, fourth]
}

/// Checks that failed, by name.
fn failed(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
}

fn walk(blocks: Vec<SignedBlock>) -> (Vec<&'static str>, Option<u64>) {
    let shard = shard();
    let mut walk = Walk::from_birth(shard.genesis, shard.id, shard.entry.birth.genesis_commitment);
    for block in blocks {
        if !walk.take(block) {
            break;
        }
    }
    let (checks, newest) = walk.finish();
    (failed(&checks), newest.map(|newest| newest.header.block_number))
}

/// The history with one block's data changed, and everything after it built and signed anew.
fn changed(number: usize, change: impl FnOnce(&mut BlockData)) -> Vec<SignedBlock> {
    let mut change = Some(change);
    let mut blocks: Vec<SignedBlock> = Vec::new();
    for (index, original) in history().into_iter().enumerate() {
        let parent = blocks.last();
        let mut data = original.block_data;
        if let Some(parent) = parent {
            data.commitment_before = parent.block_data.commitment_after;
        }
        if index + 1 == number {
            change.take().unwrap()(&mut data);
        }
        blocks.push(block(parent, &incarnation(), |empty| *empty = data));
    }
    blocks
}

#[test]
fn an_honest_history_passes() {
    assert_eq!(walk(history()), (Vec::new(), Some(4)));
    // From an anchored block on, of whose books nothing more is known than the anchor.
    let (shard, blocks) = (shard(), history());
    let mut later = Walk::from_anchor(shard.genesis, shard.id, &blocks[1].anchor());
    assert_eq!(later.next_number(), 3);
    assert!(blocks[2..].iter().all(|block| later.take(block.clone())));
    assert_eq!(failed(&later.finish().0), Vec::<&str>::new());
}

#[test]
fn a_block_that_does_not_follow_ends_the_walk() {
    let linked = ("blocks follow each other", 1);
    let ends_after = |blocks: Vec<SignedBlock>, after: Option<u64>| {
        assert_eq!(walk(blocks), (vec![linked.0], after));
    };
    let blocks = history();
    ends_after(vec![blocks[0].clone(), blocks[2].clone()], Some(1));
    ends_after(blocks[1..].to_vec(), None);
    let mut other_body = history();
    other_body[1].block_data.timestamp += 1;
    ends_after(other_body, Some(1));
    ends_after(changed(3, |data| data.commitment_before = H256::zero()), Some(2));
    ends_after(changed(1, |data| data.commitment_before = H256::repeat_byte(1)), None);
}

#[test]
fn what_a_block_may_not_state_is_found() {
    let mut unsigned = history();
    unsigned[3].signature[0] ^= 1;
    assert_eq!(walk(unsigned).0, ["authors signed their blocks"]);
    for (number, change, expected) in [
        (2, (|data| data.inbox_from = 1) as fn(&mut BlockData), "inbox consumed in order"),
        (4, |data| (data.inbox_from, data.inbox_to) = (2, 1), "inbox consumed in order"),
        (1, |data| data.books.shielded = UNIT, "inbox consumed in order"),
        (4, |data| data.books.fees -= 1, "books never decrease"),
        (4, |data| data.books.minted = 0, ""),
        (3, |data| data.books.outbox_next = 0, "outbox numbers advance"),
        (4, |data| data.books.outbox_next = 3, "outbox numbers advance"),
        (4, |data| data.books.opened += UNIT, "outbox numbers advance"),
        (4, |data| data.books.outbox_closed = 3, "outbox numbers advance"),
        (4, |data| data.books.outbox_closed = 2, "outbox numbers advance"),
        (4, |data| data.books.paid = 51 * UNIT, "issuance is defined"),
        (4, |data| data.books.burnt = 100 * UNIT, "issuance is defined"),
    ] {
        let expected: Vec<_> = Some(expected).filter(|expected| !expected.is_empty()).into_iter().collect();
        assert_eq!(walk(changed(number, change)).0, expected, "block {number}");
    }
    // All is closed, and something is still under the root.
    let all_closed = changed(4, |data| (data.books.paid, data.books.outbox_closed) = (50 * UNIT, 2));
    assert_eq!(walk(all_closed).0, ["outbox numbers advance"]);
}

/// What layer one knows at that history's end: one more shielding, and the second payment made already.
fn bridge(books: &Books) -> (BridgeState, LayerOneFacts) {
    let entry = shard().entry;
    let header_hash = H256::repeat_byte(4);
    let anchor = Anchor {
        number: 4,
        header_hash,
        inbox_consumed: 2,
        outbox_root: H256::repeat_byte(9),
        outbox_closed: 1,
        fees: books.fees,
    };
    let flows = Flows { shielded: 107 * UNIT, paid: 30 * UNIT, repaid: UNSHIELD_FEE };
    let escrow = 77 * UNIT - UNSHIELD_FEE;
    let bridge = BridgeState {
        block_number: 9,
        block_hash: block_hash(9),
        entry,
        anchored: Some(Anchored { anchor, at: 8 }),
        escrow,
        flows,
        escrow_account: crate::AccountId::new([1; 32]),
        escrow_balance: escrow + EXISTENTIAL_DEPOSIT,
        unclaimed: 0,
        inbox_length: 3,
        inbox_pruned: 1,
    };
    let verdicts = [(1, Verdict::Paid)].into();
    (bridge, LayerOneFacts { shields_unconsumed: 7 * UNIT, verdicts, existential_deposit: EXISTENTIAL_DEPOSIT })
}

type Change = fn(&mut BridgeState, &mut Books, &mut LayerOneFacts);

#[test]
fn books_and_layer_one_agree_to_the_planck() {
    let books = history()[3].block_data.books;
    let (state, facts) = bridge(&books);
    assert_eq!(failed(&check_books(&state, &books, &facts)), Vec::<&str>::new());

    let (shielded, held) = ("shielded, by both books", "escrow is what came less what went");
    let (repaid, paid) = ("fees cover what was repaid", "paid, by both books");
    let (covers, account) = ("escrow covers the shard", "escrow's account has the money");
    let cases: [(Change, &[&str]); 13] = [
        (|_, _, facts| facts.shields_unconsumed -= 1, &[shielded, covers]),
        (|_, books, _| books.shielded -= 1, &[shielded, covers]),
        (|bridge, _, _| bridge.escrow -= 1, &[held, covers]),
        (|bridge, _, _| bridge.escrow_balance -= 1, &[account]),
        (
            |bridge, _, _| (bridge.flows.repaid, bridge.escrow) = (3 * UNSHIELD_FEE, 77 * UNIT - 3 * UNSHIELD_FEE),
            &[repaid, covers],
        ),
        // Paid twice.
        (|bridge, _, _| (bridge.flows.paid, bridge.escrow) = (80 * UNIT, 27 * UNIT - UNSHIELD_FEE), &[paid, covers]),
        // Paid since the anchored block, of which the shard does not know yet.
        (|bridge, _, _| (bridge.flows.paid, bridge.escrow) = (50 * UNIT, 57 * UNIT - UNSHIELD_FEE), &[paid]),
        // Nothing says so of any open entry.
        (
            |bridge, _, facts| {
                (bridge.flows.paid, bridge.escrow) = (50 * UNIT, 57 * UNIT - UNSHIELD_FEE);
                facts.verdicts.clear();
            },
            &[paid],
        ),
        (|bridge, _, _| bridge.unclaimed = 1, &[account]),
        (
            |bridge, _, _| (bridge.flows.paid, bridge.escrow) = (29 * UNIT, 78 * UNIT - UNSHIELD_FEE),
            &[paid, covers, account],
        ),
        // More on accounts than ever came.
        (|_, books, _| books.minted = 8 * UNIT, &[covers]),
        // Less than what waits to be credited does not hide it.
        (|_, books, _| books.minted = 5 * UNIT, &[covers]),
        (|bridge, _, _| bridge.inbox_pruned = 3, &["inbox is where the anchor says"]),
    ];
    for (index, (change, expected)) in cases.into_iter().enumerate() {
        let (mut state, mut facts) = bridge(&books);
        let mut books = books;
        change(&mut state, &mut books, &mut facts);
        assert_eq!(failed(&check_books(&state, &books, &facts)), expected, "case {index}");
    }
    let minted = Books { minted: 8 * UNIT, ..books };
    let told = check_books(&state, &minted, &facts);
    let told = told.iter().find(|check| check.name == covers).unwrap();
    assert!(told.detail.ends_with("8000000000000 were set out of nothing, where simulation is allowed"), "{told:?}");
}

/// Hash of the block after which a host was asked for blocks.
type Asked = Arc<Mutex<Vec<H256>>>;

/// A worker's host that has the blocks from `oldest` on.
async fn host(blocks: Vec<SignedBlock>, oldest: u64) -> (Host, Asked, ServerHandle) {
    let asked = Asked::default();
    let mut module = RpcModule::new((blocks, asked.clone()));
    module
        .register_method("sidechain_fetchBlocksFromPeer", move |parameters, context, _| {
            let (from, until, id): (H256, Option<H256>, String) = parameters.parse()?;
            assert_eq!(id, to_hex(shard().id.as_ref()));
            let (blocks, asked) = context;
            asked.lock().unwrap().push(from);
            let kept = |block: &&SignedBlock| block.header.block_number >= oldest;
            let number = |hash: H256| {
                let found = blocks.iter().filter(kept).find(|block| block.header.hash() == hash);
                found.map(|block| block.header.block_number)
            };
            let begin = if from.is_zero() && oldest == 1 { Some(0) } else { number(from) };
            let (Some(begin), Some(end)) = (begin, until.map_or(Some(u64::MAX), number)) else {
                return Err(ErrorObjectOwned::owned(-32002, "a block is not kept", None::<()>));
            };
            let answer = blocks.iter().filter(|block| (begin + 1..=end).contains(&block.header.block_number));
            // One at a time.
            Ok(answer.take(1).map(|block| to_hex(&block.encode())).collect::<Vec<_>>())
        })
        .unwrap();
    let (host, handle) = served(module).await;
    (host, asked, handle)
}

async fn served<Context: Send + Sync + 'static>(module: RpcModule<Context>) -> (Host, ServerHandle) {
    let server = Server::builder().build("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let handle = server.start(module);
    (Host::connect(&url).await.unwrap(), handle)
}

/// A node whose layer one has anchored blocks 2 and 4 of the history, and has all the money.
async fn node(blocks: &[SignedBlock]) -> Deployment {
    let deployment = Deployment::start().await;
    let shard = shard().id;
    let (books, layer_one) = (blocks[3].block_data.books, deployment.client.layer_one());
    let (state, facts) = bridge(&books);
    let escrow_account = layer_one.escrow_account(&shard);
    deployment.world(|world| {
        let anchored = |block: &SignedBlock, at| Some(Anchored { anchor: block.anchor(), at }.encode());
        world.set(&storage::anchor(&shard), anchored(&blocks[1], 3));
        (0..3).for_each(|_| world.grow(Vec::new()));
        world.set(&storage::anchor(&shard), anchored(&blocks[3], 6));
        world.set(&storage::escrow(&shard), Some(state.escrow.encode()));
        world.set(&storage::flows(&shard), Some(state.flows.encode()));
        world.set(&storage::inbox_length(&shard), Some(state.inbox_length.encode()));
        world.set(&storage::inbox_pruned(&shard), Some(state.inbox_pruned.encode()));
        let shield = InboxEntry::Shield {
            encrypted_beneficiary: Default::default(),
            amount: facts.shields_unconsumed,
            sender: crate::AccountId::new([2; 32]),
        };
        world.set(&storage::inbox_entry(&shard, 2), Some(shield.encode()));
        world.set(&storage::settled(&shard, 1), Some(Verdict::Paid.encode()));
        let account = AccountInfo { free: state.escrow_balance, ..AccountInfo::default() };
        world.set(&storage::account(&escrow_account), Some(account.encode()));
    });
    deployment
}

#[tokio::test]
async fn a_shard_is_audited_from_its_first_block_to_the_anchored_one() {
    let mut blocks = history();
    let node = node(&blocks).await;
    // What is not anchored yet is not looked at.
    blocks.push(block(blocks.last(), &incarnation(), |data| data.books.shielded = 0));
    let (host, _, _handle) = host(blocks.clone(), 1).await;
    let layer_one = node.client.layer_one();
    let audit = Audit::run(layer_one, &host, &shard().id, 1).await.unwrap();
    assert_eq!(failed(&audit.checks), Vec::<&str>::new(), "{:#?}", audit.checks);
    assert!(audit.passed());
    assert_eq!((audit.blocks, audit.books), (Some(1..=4), blocks[3].block_data.books));
    assert_eq!(audit.bridge.block_number, 6);
    assert_eq!(audit.checks.len(), 15);
}

#[tokio::test]
async fn an_audit_tells_how_far_it_has_come() {
    let blocks = history();
    let node = node(&blocks).await;
    let layer_one = node.client.layer_one();
    let told = async |host: &Host| {
        let mut told = Vec::new();
        Audit::run_reporting(layer_one, host, &shard().id, 1, |progress| told.push(progress)).await.unwrap();
        told
    };
    let entries = [0, 1, 2].map(|done| Progress::Entries { done, total: 2 });
    let (all, _, _handle) = host(blocks.clone(), 1).await;
    let read = [0, 1, 2, 3, 4].map(|done| Progress::Blocks { done, total: 4 });
    assert_eq!(told(&all).await, [&read[..], &entries].concat());
    let (pruned, _, _handle) = host(blocks, 2).await;
    let read = [0, 1, 2].map(|done| Progress::Blocks { done, total: 2 });
    assert_eq!(told(&pruned).await, [&[Progress::Back { height: 2 }], &read[..], &entries].concat());
}

#[tokio::test]
async fn what_the_host_no_longer_has_begins_at_an_anchored_block() {
    let blocks = history();
    let node = node(&blocks).await;
    let layer_one = node.client.layer_one();
    let (pruned, asked, _handle) = host(blocks.clone(), 2).await;
    let audit = Audit::run(layer_one, &pruned, &shard().id, 1).await.unwrap();
    assert_eq!((failed(&audit.checks), audit.blocks), (Vec::new(), Some(3..=4)));
    assert!(asked.lock().unwrap().starts_with(&[H256::zero(), blocks[1].header.hash()]));

    // By wish, though all are there.
    let (all, _, _handle) = host(blocks.clone(), 1).await;
    for (from, first) in [(1, 1), (2, 1), (3, 3), (4, 3)] {
        let audit = Audit::run(layer_one, &all, &shard().id, from).await.unwrap();
        assert_eq!((audit.passed(), audit.blocks), (true, Some(first..=4)), "from {from}");
    }
    let error = Audit::run(layer_one, &all, &shard().id, 5).await.unwrap_err();
    assert!(matches!(error, Error::BeginsTooLate { from: 5, anchored: 4 }), "{error}");

    let (nothing, _, _handle) = host(blocks[..3].to_vec(), 1).await;
    let error = Audit::run(layer_one, &nothing, &shard().id, 1).await.unwrap_err();
    assert!(matches!(error, Error::NotKept { number: 4 }), "{error}");
    let error = Audit::run(layer_one, &all, &ShardId::default(), 1).await.unwrap_err();
    assert!(matches!(error, Error::UnknownShard(_)), "{error}");
}

#[tokio::test]
async fn an_author_whom_the_registry_does_not_know_and_another_anchor_are_found() {
    let stranger = ed25519::Pair::from_seed(&[9; 32]);
    let mut blocks = history();
    let data = blocks[3].block_data.clone();
    blocks[3] = block(Some(&blocks[2]), &stranger, |other| {
        *other = BlockData { block_author: stranger.public().0, ..data };
    });
    let node = node(&blocks).await;
    let layer_one = node.client.layer_one();
    let (host, _, _handle) = host(blocks.clone(), 1).await;
    let audit = Audit::run(layer_one, &host, &shard().id, 1).await.unwrap();
    assert_eq!(failed(&audit.checks), ["author is registered"]);
    assert!(!audit.passed());

    node.world(|world| {
        let anchor = Anchor { fees: 0, ..blocks[3].anchor() };
        world.set(&storage::anchor(&shard().id), Some(Anchored { anchor, at: 6 }.encode()));
    });
    let audit = Audit::run(layer_one, &host, &shard().id, 1).await.unwrap();
    assert_eq!(failed(&audit.checks), ["anchor is the newest block's", "author is registered"]);
}

#[tokio::test]
async fn a_shard_without_an_anchor_owes_nothing() {
    let node = Deployment::start().await;
    let (host, asked, _handle) = host(Vec::new(), 1).await;
    let shard = shard().id;
    let layer_one = node.client.layer_one();
    let account = AccountInfo { free: EXISTENTIAL_DEPOSIT, ..AccountInfo::default() };
    node.world(|world| world.set(&storage::account(&layer_one.escrow_account(&shard)), Some(account.encode())));
    let audit = Audit::run(layer_one, &host, &shard, 1).await.unwrap();
    assert_eq!((audit.passed(), audit.blocks, audit.books), (true, None, Books::default()));
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn blocks_without_an_end_end_an_audit_at_the_anchored_height() {
    let blocks = history();
    let node = node(&blocks).await;
    // Otherwise the audit would wait until the shard knows what layer one has paid.
    node.world(|world| world.set(&storage::flows(&shard().id), None));
    // A host that makes a block for every question: linked to the one before, signed by nobody.
    let made: Arc<Mutex<(Option<SignedBlock>, u64)>> = Arc::default();
    let mut module = RpcModule::new(made.clone());
    module
        .register_method("sidechain_fetchBlocksFromPeer", |parameters, made, _| {
            let (from, _, _): (H256, Option<H256>, String) = parameters.parse()?;
            let mut made = made.lock().unwrap();
            let parent = if from.is_zero() { None } else { made.0.take() };
            let next = SignedBlock { signature: [7; 64], ..block(parent.as_ref(), &incarnation(), |_| ()) };
            *made = (Some(next.clone()), made.1 + 1);
            Ok::<_, ErrorObjectOwned>(vec![to_hex(&next.encode())])
        })
        .unwrap();
    let (host, _handle) = served(module).await;
    let audit = Audit::run(node.client.layer_one(), &host, &shard().id, 1).await.unwrap();
    let failed = failed(&audit.checks);
    assert!(failed.starts_with(&["authors signed their blocks", "anchor is the newest block's"]), "{failed:?}");
    assert_eq!(audit.blocks, Some(1..=4));
    // Whether it has the first, and each of the four.
    assert_eq!(made.lock().unwrap().1, 5);

    // All at once, and the anchored one not among them.
    let mut unending: Vec<SignedBlock> = Vec::new();
    for _ in 0..100 {
        unending.push(block(unending.last(), &incarnation(), |_| ()));
    }
    let mut walk = Walk::from_birth(shard().genesis, shard().id, shard().entry.birth.genesis_commitment);
    let mut module = RpcModule::new(());
    let encoded: Vec<_> = unending.iter().map(|block| to_hex(&block.encode())).collect();
    module.register_method("sidechain_fetchBlocksFromPeer", move |_, _, _| encoded.clone()).unwrap();
    let (host, _handle) = served(module).await;
    host.follow(&mut walk, &shard().id, &blocks[3].anchor(), |_| ()).await.unwrap();
    assert_eq!(walk.next_number(), 5);
}

#[tokio::test]
async fn who_takes_a_connection_and_says_nothing_is_not_waited_for_for_ever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (host, node) = tokio::join!(Host::connect(&url), LayerOne::connect(&url));
    let (host, node) = (host.err().unwrap(), node.err().unwrap());
    assert!(matches!(&host, Error::Unreachable { url: at, .. } if *at == url), "{host}");
    assert!(matches!(&node, layer_one::Error::Unreachable { url: at, .. } if *at == url), "{node}");
}
