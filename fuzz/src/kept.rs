//! What a host gives back to an enclave that starts.

use std::sync::LazyLock;

use cloister_chain_primitives::Hashing;
use cloister_claims::{Collateral, Evidence, TeeKind};
use cloister_keys::{AccountKey, ShieldingKeyPair};
use cloister_sidechain::{Kept, SnapshotRules};
use cloister_simulation::{UNIT, World, account};
use cloister_state::{Purpose, Scope, StateDiff, StateSecret};
use cloister_tee::{Attester, Entropy, Error, Sealer, Tee};
use cloister_wire::sidechain::SignedBlock;
use codec::{Decode, Encode};
use sp_core::{Hasher, Pair};
use zeroize::Zeroizing;

use crate::{
    engine,
    input::{Input, piece},
    scale::canonical,
    shard::{CLIENT, GENESIS},
};

/// A shard with some blocks and a snapshot.
static TEMPLATE: LazyLock<(World, Vec<Kept>)> = LazyLock::new(|| {
    let snapshots = SnapshotRules { journal_bytes: 2_000, piece_bytes: 4_000 };
    let mut world = engine::serving(snapshots);
    for round in 0..4 {
        world.shield(&account("Alice"), (round + 1) * 10 * UNIT);
        world.finalize();
        world.tick();
        world.tick();
    }
    let kept = world.disk.kept();
    assert!(world.stopped.is_none() && kept.len() > 3);
    (world, kept)
});

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    match input.byte() % 6 {
        0 => items(input),
        1 => authentic(input),
        2 => canonical::<StateDiff>(input.rest()),
        3 => keys(input.rest()),
        4 => unsealed(input),
        _ => identity(input),
    }
}

/// The kept things in any order, left out, repeated and altered: an enclave that still recovers has the truth.
fn items(mut input: Input<'_>) {
    let (world, kept) = &*TEMPLATE;
    let mut start = world.start_without_disk();
    while !input.is_empty() {
        let which = &kept[usize::from(input.byte()) % kept.len()];
        let item = match input.byte() {
            0..128 => which.clone(),
            128..192 => altered(which, |bytes| {
                let at = usize::from(u16::from_le_bytes(input.array())) % bytes.len();
                bytes[at] ^= input.byte();
            }),
            192..224 => altered(which, |bytes| bytes.truncate(input.number() as usize % (bytes.len() + 1))),
            224..240 => altered(which, |bytes| bytes.extend_from_slice(input.piece())),
            240..248 => altered(which, |bytes| *bytes = input.piece().to_vec()),
            248.. => altered(which, |bytes| {
                let Ok(mut block) = SignedBlock::decode(&mut &bytes[..]) else { return };
                block.block_data.timestamp ^= input.number();
                block.header.block_number ^= input.number();
                *bytes = block.encode();
            }),
        };
        start.engine.kept(item);
    }
    start.engine.kept_all();
    start.take_actions();
    assert!(start.stopped.is_some() || start.recovered.is_some(), "neither recovered nor stopped");
    if let (None, Some(header)) = (&start.stopped, start.engine.header()) {
        let known = world.blocks.iter().any(|block| block.header == *header);
        assert!(known, "recovered to what never was");
    }
}

fn altered(kept: &Kept, alter: impl FnOnce(&mut Vec<u8>)) -> Kept {
    let mut kept = kept.clone();
    let (Kept::Mark(bytes) | Kept::Manifest(bytes) | Kept::Piece(bytes) | Kept::Block(bytes)) = &mut kept;
    alter(bytes);
    kept
}

/// Sealed by the shard, with contents that no code of this version writes.
fn authentic(mut input: Input<'_>) {
    let (world, _) = &*TEMPLATE;
    let (secret, genesis, shard) = (StateSecret::from_bytes(engine::IDENTITY), world.genesis(), world.shard());
    let scope = Scope { secret: &secret, genesis: &genesis, shard: &shard };
    let seal = |purpose, plain: &[u8]| scope.seal(purpose, plain).expect("short");
    let mut start = world.start_without_disk();
    let (mut snapshot, mut pieces) = ([0; 16], 0);
    while !input.is_empty() {
        let choice = input.byte();
        let plain = input.piece();
        start.engine.kept(match choice % 4 {
            0 => Kept::Mark(seal(Purpose::Mark, plain)),
            1 => {
                snapshot = plain.get(1..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
                Kept::Manifest(seal(Purpose::SnapshotManifest, plain))
            }
            3 => Kept::Block(block(world, &scope, plain)),
            _ => {
                let purpose = Purpose::SnapshotChunk { snapshot, index: pieces };
                pieces += 1;
                Kept::Piece(seal(purpose, plain))
            }
        });
    }
    start.take_actions();
}

/// A first block that its author signed and the shard vouches for, with any contents.
fn block(world: &World, scope: &Scope<'_>, body: &[u8]) -> Vec<u8> {
    let mut block = world.blocks[0].clone();
    block.block_data.block_author = CLIENT.public().0;
    block.block_data.encrypted_state_diff.clear();
    let public_hash = Hashing::hash(&(block.header.parent_hash, &block.block_data).encode());
    let plain = [&[BODY_VERSION][..], public_hash.as_bytes(), body].concat();
    block.block_data.encrypted_state_diff = scope.seal(Purpose::Block { number: 1 }, &plain).expect("short");
    block.header.block_data_hash = block.block_data.hash();
    block.signature = CLIENT.sign(&block.header.signed_bytes(scope.genesis)).0;
    block.encode()
}

/// Of the engine's block bodies.
const BODY_VERSION: u8 = 2;

fn keys(bytes: &[u8]) {
    if let Ok(pair) = ShieldingKeyPair::from_bytes(bytes) {
        assert_eq!(pair.to_bytes().as_slice(), bytes, "a second encoding");
    }
    if let Ok(seed) = bytes.try_into() {
        let _ = AccountKey::from_seed(seed);
    }
}

/// Whatever the host passes for what the enclave sealed to itself.
fn identity(mut input: Input<'_>) {
    let tee = Tee { attester: Box::new(Platform), sealer: Box::new(Platform), entropy: Box::new(Platform) };
    let genesis = GENESIS;
    let (at, change) = (usize::from(input.byte()), input.byte());
    let plain = input.rest();
    assert!(cloister_tee::unseal(&tee, &genesis, cloister_tee::Purpose::State, plain).is_err(), "forged");
    let mut sealed = cloister_tee::seal(&tee, &genesis, cloister_tee::Purpose::Identity, plain).expect("short");
    let at = at % sealed.len();
    sealed[at] ^= change;
    let opened = cloister_tee::unseal(&tee, &genesis, cloister_tee::Purpose::Identity, &sealed);
    assert_eq!(opened.ok().as_ref().map(|opened| opened.as_slice()), (change == 0).then_some(plain));
}

/// An environment whose keys and randomness everybody knows.
struct Platform;

impl Attester for Platform {
    fn kind(&self) -> TeeKind {
        TeeKind::Simulated
    }
    fn fingerprint(&self) -> [u8; 32] {
        [3; 32]
    }
    fn evidence(&self, _: &[u8; 64]) -> Result<Evidence, Error> {
        Err(Error::Evidence("none".into()))
    }
    fn collateral(&self) -> Result<Option<Collateral>, Error> {
        Ok(None)
    }
}

impl Sealer for Platform {
    fn sealing_key(&self, _: cloister_tee::Purpose) -> Result<Zeroizing<[u8; 32]>, Error> {
        Ok(Zeroizing::new([8; 32]))
    }
}

impl Entropy for Platform {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.fill(9);
        Ok(())
    }
}

/// Nobody but the shard seals.
fn unsealed(mut input: Input<'_>) {
    let (world, _) = &*TEMPLATE;
    let secret = StateSecret::from_bytes(engine::IDENTITY);
    let scope = Scope { secret: &secret, genesis: &world.genesis(), shard: &world.shard() };
    let purpose = match input.byte() % 4 {
        0 => Purpose::Mark,
        1 => Purpose::SnapshotManifest,
        2 => Purpose::SnapshotChunk { snapshot: input.array(), index: u32::from_le_bytes(input.array()) },
        _ => Purpose::Block { number: input.number() },
    };
    assert!(scope.open(purpose, input.rest()).is_err(), "forged");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let (_, kept) = &*TEMPLATE;
    let all = |alteration: &[u8], of: u8| {
        let items = (0..kept.len() as u8)
            .map(|index| [vec![index], if index == of { alteration.to_vec() } else { vec![0] }].concat());
        [vec![0], items.flatten().collect()].concat()
    };
    let mark = (1u8, 3u64, Vec::<u8>::new(), Vec::<u8>::new()).encode();
    let manifest = (1u8, [7u8; 16], 1u32, (0u64, [0u8; 32]), 0u64).encode();
    let chunk = (0u64, None::<Vec<u8>>, vec![(b"key".to_vec(), b"value".to_vec())]).encode();
    let diff: StateDiff = [(b"a".to_vec(), None), (b"b".to_vec(), Some(vec![1; 9]))].into_iter().collect();
    vec![
        all(&[0], 0),
        all(&[130, 9, 0, 1], 1),
        all(&[200, 9, 0, 0, 0, 0, 0, 0, 0], 2),
        all(&[[250].as_slice(), &[1; 16]].concat(), kept.len() as u8 - 1),
        [vec![1, 0], piece(&mark)].concat(),
        [vec![1, 1], piece(&manifest), vec![2], piece(&chunk)].concat(),
        [vec![1, 3], piece(&(&diff, Vec::<u8>::new(), vec![GENESIS]).encode())].concat(),
        [vec![2], diff.encode()].concat(),
        [vec![3], crate::shard::SHIELDING.to_bytes().to_vec()].concat(),
        [vec![4, 0], vec![1; 60]].concat(),
        [vec![5, 50, 1], b"CLS\x01 and what follows".to_vec()].concat(),
    ]
}
