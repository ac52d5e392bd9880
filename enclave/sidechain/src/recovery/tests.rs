//! Blocks that are not what their author made, and the sealed format.

use cloister_chain_primitives::Anchor;
use cloister_state::StateSecret;
use cloister_wire::sidechain::{Books, SidechainHeader};

use super::*;

const GENESIS: H256 = H256::repeat_byte(1);
const SHARD: ShardId = ShardId(H256::repeat_byte(2));

fn body() -> BlockBody {
    let diff = [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)].into_iter().collect();
    let account = AccountId::new([4; 32]);
    let opened = Some((8, H256::repeat_byte(9)));
    let outcomes = vec![
        (account.clone(), H256::repeat_byte(5), Ok(()), opened),
        (account, H256::repeat_byte(6), Err("no".into()), None),
    ];
    BlockBody::new(H256::repeat_byte(7), diff, outcomes, vec![H256::repeat_byte(5)])
}

/// A block without changes, sealed and signed as its author does, that carries these acknowledgements. `change` comes
/// after it was sealed and before it was signed.
fn block(
    recovery: &Recovery,
    secret: &StateSecret,
    acknowledgements: Vec<Acknowledgement>,
    change: impl FnOnce(&mut BlockData),
) -> Vec<u8> {
    let scope = Scope { secret, genesis: &GENESIS, shard: &SHARD };
    let number = recovery.height().map_or(1, |number| number + 1);
    let Base::Whole(state) = &recovery.base else { panic!("no snapshot") };
    let parent_hash = parent(recovery).map_or(H256::zero(), |parent| parent.header_hash);
    let mut block_data = BlockData {
        timestamp: number,
        layer_one_head: H256::zero(),
        layer_one_number: 0,
        block_author: author(1).public().0,
        inbox_from: 0,
        inbox_to: 0,
        signed_top_hashes: vec![],
        parent_acknowledgements: acknowledgements,
        books: Books::default(),
        outbox_root: H256::zero(),
        commitment_before: state.commitment(),
        commitment_after: state.commitment(),
        encrypted_state_diff: vec![],
    };
    let body = BlockBody::new(public_hash(&parent_hash, &block_data), StateDiff::default(), vec![], vec![]);
    block_data.encrypted_state_diff = scope.seal(Purpose::Block { number }, &body.encode()).unwrap();
    change(&mut block_data);
    let header = SidechainHeader {
        parent_hash,
        block_number: number,
        shard_id: SHARD,
        block_data_hash: block_data.hash(),
        next_finalization_block_number: 0,
    };
    let signature = author(1).sign(&header.signed_bytes(&GENESIS)).0;
    SignedBlock { header, block_data, signature }.encode()
}

fn author(seed: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[seed; 32])
}

fn parent(recovery: &Recovery) -> Option<Anchor> {
    recovery.head.as_ref().map(|head| head.head.anchor)
}

fn acknowledgement(anchor: &Anchor, member: u8, key: u8) -> Acknowledgement {
    let signature = author(key).sign(&anchor.stored_bytes(&GENESIS, &SHARD)).0;
    Acknowledgement { account: AccountId::new([member; 32]), signature }
}

#[test]
fn a_block_carries_the_certificate_of_the_one_before() {
    let secret = StateSecret::from_bytes([3; 32]);
    let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
    let state = ShardState::genesis([], &secret.commitment_key());
    let mut recovery = Recovery::begin(AccountId::new([7; 32]), state);
    let take = |recovery: &mut Recovery, acknowledgements| {
        let block = block(recovery, &secret, acknowledgements, |_| {});
        recovery.block(&scope, &block)
    };
    let flaw = |number| Err(RecoveryError::Block { number, flaw: BlockFlaw::Acknowledgements });
    let nothing = Anchor {
        number: 0,
        header_hash: H256::zero(),
        inbox_consumed: 0,
        outbox_root: H256::zero(),
        outbox_closed: 0,
        fees: 0,
    };
    assert_eq!(take(&mut recovery, vec![acknowledgement(&nothing, 7, 1)]), flaw(1));
    assert_eq!(take(&mut recovery, vec![]), Ok(()));
    let parent = parent(&recovery).unwrap();
    let good = acknowledgement(&parent, 7, 1);
    for wrong in [
        vec![],
        vec![acknowledgement(&parent, 8, 1)],
        vec![acknowledgement(&parent, 7, 2)],
        vec![acknowledgement(&Anchor { inbox_consumed: 1, ..parent }, 7, 1)],
        vec![acknowledgement(&Anchor { outbox_root: H256::repeat_byte(1), ..parent }, 7, 1)],
        vec![acknowledgement(&Anchor { outbox_closed: 1, ..parent }, 7, 1)],
        vec![acknowledgement(&Anchor { fees: 1, ..parent }, 7, 1)],
        vec![good.clone(), good.clone()],
    ] {
        assert_eq!(take(&mut recovery, wrong), flaw(2));
    }
    assert_eq!(take(&mut recovery, vec![good]), Ok(()));
}

/// Whoever has a key of whatever kind can sign a block that names it as its author.
#[test]
fn what_a_block_says_in_clear_is_what_its_author_sealed() {
    let secret = StateSecret::from_bytes([3; 32]);
    let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
    let state = ShardState::genesis([], &secret.commitment_key());
    let mut recovery = Recovery::begin(AccountId::new([7; 32]), state);
    let changes: [fn(&mut BlockData); 8] = [
        |data| data.timestamp = u64::MAX,
        |data| data.layer_one_head = H256::repeat_byte(1),
        |data| data.layer_one_number = 1,
        |data| data.inbox_to = 1,
        |data| data.books.shielded = 1,
        |data| data.outbox_root = H256::repeat_byte(1),
        |data| data.signed_top_hashes = vec![H256::zero()],
        |data| data.block_author = author(2).public().0,
    ];
    for change in changes {
        let mut forged = SignedBlock::decode(&mut &block(&recovery, &secret, vec![], change)[..]).unwrap();
        let key = if forged.block_data.block_author == author(2).public().0 { 2 } else { 1 };
        forged.signature = author(key).sign(&forged.header.signed_bytes(&GENESIS)).0;
        let refused = recovery.block(&scope, &forged.encode());
        assert_eq!(refused, Err(RecoveryError::Block { number: 1, flaw: BlockFlaw::Forged }));
    }
    let honest = block(&recovery, &secret, vec![], |_| {});
    assert_eq!(recovery.block(&scope, &honest), Ok(()));
}

#[test]
fn the_format_of_a_body_is_frozen() {
    let secret = StateSecret::from_bytes([3; 32]);
    let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
    assert_eq!(hex::encode(body().encode()), BODY);
    assert_eq!(BlockBody::open(&scope, 7, &hex::decode(SEALED).unwrap()), Ok(body()));
    assert_eq!(
        BlockBody::open(&scope, 8, &hex::decode(SEALED).unwrap()),
        Err(BlockFlaw::Changes(SealError::NotAuthentic))
    );
}

#[test]
fn a_body_of_an_unknown_version_is_named() {
    let secret = StateSecret::from_bytes([3; 32]);
    let scope = Scope { secret: &secret, genesis: &GENESIS, shard: &SHARD };
    let open = |plain: &[u8]| BlockBody::open(&scope, 7, &scope.seal(Purpose::Block { number: 7 }, plain).unwrap());
    assert_eq!(open(&[1, 0]), Err(BlockFlaw::Version(1)));
    assert_eq!(open(&[]), Err(BlockFlaw::Changes(SealError::Encoding)));
    assert_eq!(open(&[&body().encode()[..], &[0]].concat()), Err(BlockFlaw::Changes(SealError::Encoding)));
}

const BODY: &str = "02070707070707070707070707070707070707070707070707070707070707070708046101043104620008040404040404040404040404040404040404040404040404040404040404040405050505050505050505050505050505050505050505050505050505050505050001080000000000000009090909090909090909090909090909090909090909090909090909090909090404040404040404040404040404040404040404040404040404040404040404060606060606060606060606060606060606060606060606060606060606060601086e6f00040505050505050505050505050505050505050505050505050505050505050505";
const SEALED: &str = "09255b938557a94a7d1f892ecf711d53c376903683e487a579181b0f532d479a6e50e7c55e036a3c436d4879786172a0ac7bc05192547f1e010b9d586a24f89f265add8ae9ace36c021d272ae22fdd29d96b57a70473338248906554179eeb291f9530e8e372e86c3eeb6a38683c176f0ab55fc6175e0da2d5ecb7a99f7b088e79428f638b7ea22e8b48a13f3aa54d063b4ba9225d55598f5f49c542193179ecd46daf074ce39ae5a5b94ce36076a684a6988615e928154672f12715be44fd15870210e02537fcbe54445a46788ec2d55acc4b2d72bb6e7701b313251ffc6e31c0e221769bf5c9c1fa7c7363a6b5d64f35d4bbdba423b32bbfcff5835cacb11356c3ff0844eee94e917b6ba925f91a026d4d55169fe4ffce747277bd4cc31c6bd2999ab69c50b043ee6e83";
